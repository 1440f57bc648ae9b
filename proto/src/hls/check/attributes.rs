//! Attribute lists and their types (4.2), and decimal numbers wherever they stand.

use super::{Problems, What};

/// Types of 4.2.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Integer,
    Hexadecimal,
    Float,
    SignedFloat,
    Quoted,
    /// One of these; of an empty list anything.
    Enumerated(&'static [&'static str]),
    Resolution,
}

/// What a tag's attribute must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
}

/// The attributes of one line that are as they should be, quotes taken off.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Attributes<'a> {
    /// Reads a list by its rules; names that begin with `prefixes` are anybody's.
    pub(super) fn read(text: &'a str, rules: &[Rule], line: usize, problems: &mut Problems) -> Self {
        let mut found = Attributes::default();
        let mut rest = text;
        loop {
            let Some((name, value, after)) = pair(rest) else {
                problems.add(line, What::AttributeSyntax);
                break;
            };
            found.take(name, value, rules, line, problems);
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None if after.is_empty() => break,
                None => {
                    problems.add(line, What::AttributeSyntax);
                    break;
                }
            }
        }
        for rule in rules.iter().filter(|rule| rule.need == Need::Required) {
            let is_there = names(text).any(|name| name == rule.name);
            if !is_there {
                problems.add(line, What::AttributeMissing(rule.name));
            }
        }
        found
    }

    fn take(&mut self, name: &'a str, value: &'a str, rules: &[Rule], line: usize, problems: &mut Problems) {
        if self.text(name).is_some() {
            problems.add(line, What::AttributeRepeated);
            return;
        }
        let Some(rule) = rules.iter().find(|rule| rule.name == name) else {
            let is_private = ["X-", "SCTE35-", "REQ-"].iter().any(|prefix| name.starts_with(prefix));
            if !is_private {
                problems.add(line, What::AttributeUnknown);
            }
            return;
        };
        match rule.kind.unquoted(value) {
            Some(value) => self.pairs.push((name, value)),
            None => problems.add(line, What::AttributeValue(rule.name)),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    pub(super) fn is_yes(&self, name: &str) -> bool {
        self.text(name) == Some("YES")
    }

    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(integer)
    }

    pub(super) fn nanos(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(nanos)
    }
}

/// `name=value` at the start of `rest`, and what is behind it.
fn pair(rest: &str) -> Option<(&str, &str, &str)> {
    let (name, value) = rest.split_once('=')?;
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_name) {
        return None;
    }
    let end = match value.strip_prefix('"') {
        Some(quoted) => quoted.find('"')? + 2,
        None => value.find(',').unwrap_or(value.len()),
    };
    let (value, after) = value.split_at(end);
    let is_bare = |char: char| !char.is_whitespace() && char != '"';
    let is_good = value.starts_with('"') || (!value.is_empty() && value.chars().all(is_bare));
    is_good.then_some((name, value, after))
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (name, _, after) = pair(rest?)?;
        rest = after.strip_prefix(',');
        Some(name)
    })
}

impl Kind {
    /// The value without quotes, if it is of this type.
    fn unquoted(self, value: &str) -> Option<&str> {
        let is_of = match self {
            Kind::Quoted => {
                let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                return quoted;
            }
            Kind::Integer => integer(value).is_some(),
            Kind::Float => nanos(value).is_some(),
            Kind::SignedFloat => nanos(value.strip_prefix('-').unwrap_or(value)).is_some(),
            Kind::Hexadecimal => {
                let digits = value.strip_prefix("0x").or(value.strip_prefix("0X")).unwrap_or("");
                !digits.is_empty()
                    && digits
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
            }
            Kind::Enumerated(values) => !value.starts_with('"') && (values.is_empty() || values.contains(&value)),
            Kind::Resolution => value
                .split_once('x')
                .is_some_and(|(width, height)| integer(width).is_some() && integer(height).is_some()),
        };
        is_of.then_some(value)
    }
}

/// decimal-integer
pub(super) fn integer(text: &str) -> Option<u64> {
    let is_number = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// decimal-floating-point in billionths; digits beyond the ninth are dropped.
pub(super) fn nanos(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.is_empty() || !is_digits(fraction) {
        return None;
    }
    let mut below = 0;
    for at in 0..9 {
        below = below * 10 + fraction.as_bytes().get(at).map_or(0, |digit| u64::from(digit - b'0'));
    }
    integer(whole)?.checked_mul(1_000_000_000)?.checked_add(below)
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn numbers_are_decimal_and_nothing_else() {
        for (text, expected) in [
            ("2", Some(2_000_000_000)),
            ("0.33334", Some(333_340_000)),
            ("1.0000000019", Some(1_000_000_001)),
            ("1.", None),
            (".5", None),
            ("-1", None),
            ("1e3", None),
            ("", None),
            ("1.5s", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
        assert_eq!(integer("18446744073709551615"), Some(u64::MAX));
        assert_eq!(integer("18446744073709551616"), None);
    }
}
