//! Stream names as MistServer sanitises them (reference/mistserver-control.md section 5.1).

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};

use super::NAME_BYTES_MAX;

/// A name that streams are found by. Made only by [`StreamName::sanitise`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamName {
    // First, so that names are ordered as their text is: see `Borrow`.
    text: Box<str>,
    base_bytes: u8,
}

/// A name with what sanitising did to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sanitised {
    pub name: StreamName,
    /// Characters were deleted: the peer asked for something else than it gets. Lower-casing, `?` with what is behind it,
    /// and a blank that became `+` do not count.
    pub changed: bool,
    /// What was asked for, made printable and cut, for the log.
    pub asked: String,
}

/// Why text is no stream name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing is left of the base part.
    Empty,
    TooLong {
        bytes: usize,
        bytes_max: usize,
    },
    /// In the wildcard part, which is used as given.
    WildcardCharacter {
        character: char,
        offset: usize,
    },
    WildcardDotDot {
        offset: usize,
    },
}

impl StreamName {
    /// What any protocol says, as a name.
    ///
    /// # Errors
    /// See [`NameError`]. Offsets count bytes from the start of `asked`.
    pub fn sanitise(asked: &str) -> Result<Sanitised, NameError> {
        let cut = asked.split('?').next().unwrap_or_default();
        let (base, wildcard) = match cut.find(['+', ' ']) {
            Some(position) => (&cut[..position], Some(&cut[position + 1..])),
            None => (cut, None),
        };
        let mut text = String::new();
        let mut changed = false;
        for character in base.chars() {
            match character.to_ascii_lowercase() {
                kept @ ('a'..='z' | '0'..='9' | '_' | '.' | '-') => text.push(kept),
                _ => changed = true,
            }
        }
        let base_bytes = text.len();
        if let Some(wildcard) = wildcard {
            check_wildcard(wildcard, base.len() + 1)?;
            text.push('+');
            text.push_str(wildcard);
        }
        if base_bytes == 0 {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong {
                bytes: text.len(),
                bytes_max: NAME_BYTES_MAX,
            });
        }
        let base_bytes = u8::try_from(base_bytes).expect("a base part is within NAME_BYTES_MAX");
        let name = StreamName {
            text: text.into_boxed_str(),
            base_bytes,
        };
        Ok(Sanitised {
            name,
            changed,
            asked: printable(asked),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part that the configuration is looked up by.
    pub fn base(&self) -> &str {
        &self.text[..usize::from(self.base_bytes)]
    }

    /// What stands behind the `+`.
    pub fn wildcard(&self) -> Option<&str> {
        self.text
            .get(usize::from(self.base_bytes) + 1..)
            .filter(|_| self.text.len() > usize::from(self.base_bytes))
    }
}

impl Hash for StreamName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Tables of names are asked by text: by a base, which is a name itself.
impl Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "stream name has none of the characters a-z, 0-9, _, . and -"),
            NameError::TooLong { bytes, bytes_max } => {
                write!(f, "stream name has {bytes} bytes, at most {bytes_max} are allowed")
            }
            NameError::WildcardCharacter { character, offset } => {
                write!(
                    f,
                    "{character:?} at byte {offset} is not allowed behind the + of a stream name"
                )
            }
            NameError::WildcardDotDot { offset } => {
                write!(
                    f,
                    "\"..\" at byte {offset} is not allowed behind the + of a stream name"
                )
            }
        }
    }
}

impl std::error::Error for NameError {}

fn check_wildcard(wildcard: &str, start: usize) -> Result<(), NameError> {
    if let Some((offset, character)) = wildcard
        .char_indices()
        .find(|(_, character)| matches!(character, '/' | '\\') || character.is_control())
    {
        return Err(NameError::WildcardCharacter {
            character,
            offset: start + offset,
        });
    }
    match wildcard.find("..") {
        Some(offset) => Err(NameError::WildcardDotDot { offset: start + offset }),
        None => Ok(()),
    }
}

/// Text in which `%2B` stands for `+`, as encoders leave it in what they were given as a URL; what is no escape stays as
/// it is. A `+` is no blank.
pub fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = &tail[if escaped.is_some() { 2 } else { 0 }..];
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// For the log: no control characters, and cut. What stands behind `?` may be a password or a token and is left out.
fn printable(asked: &str) -> String {
    let cut = asked.split('?').next().unwrap_or_default();
    cut.chars()
        .take(NAME_BYTES_MAX)
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_sanitised_as_mistserver_does() {
        type Expected = Result<(&'static str, bool), NameError>;
        let cases: &[(&str, Expected)] = &[
            ("live", Ok(("live", false))),
            ("Live", Ok(("live", false))),
            ("live?pass=x+y", Ok(("live", false))),
            ("Live+Cam 1", Ok(("live+Cam 1", false))),
            ("live Cam+2", Ok(("live+Cam+2", false))),
            ("live+", Ok(("live+", false))),
            ("live+Cam?x", Ok(("live+Cam", false))),
            ("a.b_c-9", Ok(("a.b_c-9", false))),
            ("mein strom", Ok(("mein+strom", false))),
            ("Käse", Ok(("kse", true))),
            ("a/b", Ok(("ab", true))),
            ("\u{212a}elvin", Ok(("elvin", true))),
            ("live+größe", Ok(("live+größe", false))),
            ("", Err(NameError::Empty)),
            ("?x", Err(NameError::Empty)),
            ("+cam", Err(NameError::Empty)),
            ("äö", Err(NameError::Empty)),
            (
                "a+b/c",
                Err(NameError::WildcardCharacter {
                    character: '/',
                    offset: 3,
                }),
            ),
            (
                "a+b\\c",
                Err(NameError::WildcardCharacter {
                    character: '\\',
                    offset: 3,
                }),
            ),
            (
                "a+\n",
                Err(NameError::WildcardCharacter {
                    character: '\n',
                    offset: 2,
                }),
            ),
            (
                "a+\u{85}",
                Err(NameError::WildcardCharacter {
                    character: '\u{85}',
                    offset: 2,
                }),
            ),
            ("a+..", Err(NameError::WildcardDotDot { offset: 2 })),
            ("a+x..y", Err(NameError::WildcardDotDot { offset: 3 })),
            ("a+.", Ok(("a+.", false))),
        ];
        for (asked, expected) in cases {
            let found = StreamName::sanitise(asked);
            let found = found
                .as_ref()
                .map(|found| (found.name.as_str(), found.changed))
                .map_err(|error| *error);
            assert_eq!(&found, expected, "{asked:?}");
        }
    }

    #[test]
    fn a_hundred_bytes_are_the_most() {
        let longest = format!("{}+{}", "a".repeat(50), "b".repeat(49));
        assert_eq!(StreamName::sanitise(&longest).unwrap().name.as_str(), longest);
        let error = NameError::TooLong {
            bytes: 101,
            bytes_max: 100,
        };
        assert_eq!(StreamName::sanitise(&format!("{longest}b")), Err(error));
        // Characters that are deleted do not count.
        assert!(StreamName::sanitise(&format!("{}{}", "!".repeat(500), "a")).is_ok());
        let long = StreamName::sanitise(&"a".repeat(100_000));
        assert_eq!(
            long,
            Err(NameError::TooLong {
                bytes: 100_000,
                bytes_max: 100
            })
        );
    }

    #[test]
    fn parts_and_what_was_asked() {
        let sanitised = StreamName::sanitise("L!ve+Cam\u{1}".trim_end_matches('\u{1}')).unwrap();
        assert_eq!((sanitised.name.base(), sanitised.name.wildcard()), ("lve", Some("Cam")));
        assert_eq!(sanitised.asked, "L!ve+Cam");
        let plain = StreamName::sanitise("x\u{7}?token=secret").unwrap();
        assert_eq!((plain.name.base(), plain.name.wildcard()), ("x", None));
        assert_eq!(plain.asked, "x\u{fffd}");
        assert!(plain.changed);
        assert_eq!(StreamName::sanitise("x+").unwrap().name.wildcard(), Some(""));
    }

    #[test]
    fn tables_of_names_are_asked_by_text() {
        use std::collections::{BTreeMap, HashMap};
        let names = ["live", "live+Cam", "live-2", "a"].map(|text| StreamName::sanitise(text).unwrap().name);
        let tree: BTreeMap<StreamName, usize> = names.iter().cloned().zip(0..).collect();
        let hash: HashMap<StreamName, usize> = names.iter().cloned().zip(0..).collect();
        for (place, name) in names.iter().enumerate() {
            assert_eq!((tree[name.as_str()], hash[name.as_str()]), (place, place), "{name}");
        }
        assert_eq!(tree.get(names[1].base()), Some(&0));
        assert_eq!(tree.get("liv"), None);
    }

    #[test]
    fn escapes_of_urls_are_undone() {
        for (text, expected) in [
            ("live", "live"),
            ("live%2BCam%201", "live+Cam 1"),
            ("a%2fb", "a/b"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%25%32%42", "%2B"),
            ("gr%C3%B6%C3%9Fe", "größe"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(percent_decoded(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn sanitising_is_idempotent_and_safe(asked in ".{0,120}") {
            if let Ok(Sanitised { name, .. }) = StreamName::sanitise(&asked) {
                let again = StreamName::sanitise(name.as_str()).expect("a name is a name");
                prop_assert_eq!(&again.name, &name);
                prop_assert!(!again.changed);
                prop_assert!(name.as_str().len() <= NAME_BYTES_MAX);
                prop_assert!(!name.as_str().contains(['/', '\\', '?']));
            }
        }
    }
}
