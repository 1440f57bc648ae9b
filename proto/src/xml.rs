//! XML as manifests need it: text made safe on the way out, and documents read into a bounded tree on the way in.
//!
//! No namespaces, no DTD, no entities but the five that XML has: a document with a `DOCTYPE` is refused. What is read is never
//! on the data path: checkers read it, and nothing of the appliance.

use std::fmt;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

/// Elements of one document. A manifest of a day in segments of two seconds, each with a line of its own in six renditions, has
/// 260,000.
pub const ELEMENTS_MAX: usize = 1 << 20;

/// Elements within elements: MPD has 7.
pub const DEPTH_MAX: usize = 32;

/// `text` for the inside of an attribute or an element. What XML 1.0 has no way to say (2.2) becomes U+FFFD.
pub fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // As they are, they would be read as spaces in an attribute (3.3.3).
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

/// An element with all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Without its prefix.
    pub name: String,
    /// In the order of the text, names as they are there.
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Element>,
    pub text: String,
}

/// Why it is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Syntax {
        offset: u64,
        says: String,
    },
    DocType {
        offset: u64,
    },
    TooDeep {
        depth_max: usize,
    },
    TooMany {
        elements_max: usize,
    },
    /// Text ends inside an element, or has none.
    NoRoot,
    /// Something stands behind the root element.
    SecondRoot {
        offset: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Syntax { offset, says } => write!(f, "not XML at byte {offset}: {says}"),
            Error::DocType { offset } => write!(f, "a DOCTYPE at byte {offset}"),
            Error::TooDeep { depth_max } => write!(f, "elements more than {depth_max} deep"),
            Error::TooMany { elements_max } => write!(f, "more than {elements_max} elements"),
            Error::NoRoot => write!(f, "no complete root element"),
            Error::SecondRoot { offset } => write!(f, "more than one root element, at byte {offset}"),
        }
    }
}

impl std::error::Error for Error {}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub fn first(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
}

/// The root element of a document.
pub fn read(text: &str) -> Result<Element, Error> {
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().enable_all_checks(true);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        let offset = reader.buffer_position();
        let syntax = |says: &dyn fmt::Display| Error::Syntax {
            offset,
            says: says.to_string(),
        };
        let event = reader.read_event().map_err(|error| syntax(&error))?;
        let (begun, is_whole) = match event {
            Event::Start(start) => (Some(start), false),
            Event::Empty(start) => (Some(start), true),
            Event::End(_) => (None, true),
            Event::Eof => break,
            Event::DocType(_) => return Err(Error::DocType { offset }),
            Event::Text(piece) => {
                add_text(&mut open, &piece.xml10_content()).map_err(|says| syntax(&says))?;
                continue;
            }
            Event::CData(piece) => {
                add_text(&mut open, &piece.xml10_content()).map_err(|says| syntax(&says))?;
                continue;
            }
            Event::GeneralRef(name) => {
                let reference = format!("&{};", name.xml10_content());
                let piece = quick_xml::escape::unescape(&reference).map_err(|error| syntax(&error))?;
                add_text(&mut open, &piece).map_err(|says| syntax(&says))?;
                continue;
            }
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => continue,
        };
        if let Some(start) = begun {
            elements += 1;
            if elements > ELEMENTS_MAX {
                let elements_max = ELEMENTS_MAX;
                return Err(Error::TooMany { elements_max });
            }
            if open.len() == DEPTH_MAX {
                return Err(Error::TooDeep { depth_max: DEPTH_MAX });
            }
            if root.is_some() {
                return Err(Error::SecondRoot { offset });
            }
            open.push(element(&start).map_err(|says| syntax(&says))?);
        }
        if is_whole {
            let whole = open.pop().ok_or(Error::NoRoot)?;
            match open.last_mut() {
                Some(parent) => parent.children.push(whole),
                None => root = Some(whole),
            }
        }
    }
    match open.is_empty() {
        true => root.ok_or(Error::NoRoot),
        false => Err(Error::NoRoot),
    }
}

fn add_text(open: &mut [Element], piece: &str) -> Result<(), &'static str> {
    match open.last_mut() {
        Some(element) => element.text.push_str(piece),
        None if piece.trim_matches(['\u{feff}', ' ', '\t', '\n', '\r']).is_empty() => {}
        None => return Err("text outside the root element"),
    }
    Ok(())
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut element = Element {
        name: start.local_name().as_ref().to_owned(),
        ..Element::default()
    };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute
            .normalized_value(XmlVersion::Explicit1_0)
            .map_err(|error| error.to_string())?;
        if value.contains('\u{0}') || attribute.value.contains('<') {
            return Err(format!(
                "a sign that attribute {} must not have",
                attribute.key.as_ref()
            ));
        }
        element
            .attributes
            .push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_read_as_it_was() {
        for text in ["", "a+b", "<&>\"'", "ü \t\n\r x", "]]>", "&amp;", "<!--"] {
            let mut document = "<r a=\"".to_owned();
            escape(text, &mut document);
            document.push_str("\">");
            escape(text, &mut document);
            document.push_str("</r>");
            let read = read(&document).unwrap_or_else(|error| panic!("{document}: {error}"));
            assert_eq!(read.attribute("a"), Some(text), "{document}");
            assert_eq!(read.text, text, "{document}");
        }
        let mut controls = String::new();
        escape("a\u{1}\u{1f}\u{ffff}b", &mut controls);
        assert_eq!(controls, "a\u{fffd}\u{fffd}\u{fffd}b");
    }

    #[test]
    fn a_tree_is_read_and_what_is_none_is_refused() {
        let tree =
            read("<?xml version=\"1.0\"?>\n<!-- c --><x:a b='1' c=\"&lt;\"><d/>t<d e='2'>u</d></x:a>\n").unwrap();
        assert_eq!((tree.name.as_str(), tree.text.as_str()), ("a", "t"));
        assert_eq!(tree.attribute("c"), Some("<"));
        assert_eq!(tree.all("d").count(), 2);
        assert_eq!(tree.first("d").map(|d| d.attributes.len()), Some(0));
        let deep = "<a>".repeat(DEPTH_MAX + 1);
        for bad in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "<a b='1' b='2'/>",
            "<a b=1/>",
            "<a>&nbsp;</a>",
            "<a b='&x;'/>",
            "<!DOCTYPE a><a/>",
            "<a b='<'/>",
            "</a>",
            &deep,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
