//! Reads objects of a file by the tables, and collects what is wrong with its place.

use std::collections::HashMap;
use std::net::IpAddr;

use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::{Range, Ranged};

use super::limits;
use super::near::nearest;
use super::problem::{Fault, Notice, Place, Problem, Warning, quoted};
use super::table::{Kind, Section, Setting};
use crate::tls::Trust;

/// A file being read.
#[derive(Debug)]
pub struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    line_starts: Vec<usize>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

/// An object of the file, read by its section: each setting has its value, given or default.
#[derive(Debug)]
pub struct Opened<'v, 't> {
    section: &'static Section,
    pub path: String,
    pub range: Range,
    values: HashMap<&'static str, Reading>,
    inner: HashMap<&'static str, &'v Value<'t>>,
    /// What unknown keys were perhaps meant to be.
    mistyped: Vec<&'static str>,
}

#[derive(Clone, Debug)]
enum Reading {
    Integer(u64),
    Switch(bool),
    Address(Option<IpAddr>),
    Choice(&'static str),
    Trust(Trust),
    /// Each with its place.
    Paths(Vec<(Range, String)>),
}

impl<'t> Reader<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Self {
        let ends = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(offset, _)| offset + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        Reader {
            file,
            text,
            line_starts,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub fn problem(&mut self, range: Range, path: &str, fault: Fault) {
        let kept = limits::PROBLEMS_MAX;
        if self.problems.len() < kept {
            let place = self.place(range.start, path);
            self.problems.push(Problem { place, fault });
        } else if self.problems.len() == kept {
            let place = self.place(0, "");
            self.problems.push(Problem {
                place,
                fault: Fault::More { kept },
            });
        }
    }

    pub fn warn(&mut self, range: Range, path: &str, notice: Notice) {
        let kept = limits::WARNINGS_MAX;
        if self.warnings.len() < kept {
            let place = self.place(range.start, path);
            self.warnings.push(Warning { place, notice });
        } else if self.warnings.len() == kept {
            let place = self.place(0, "");
            self.warnings.push(Warning {
                place,
                notice: Notice::More { kept },
            });
        }
    }

    /// Counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    pub fn place(&self, offset: usize, path: &str) -> Place {
        let line = self.line(offset);
        let start = self.line_starts[line - 1];
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Place {
            file: self.file.to_owned(),
            line,
            column,
            path: path.to_owned(),
        }
    }

    /// The value as an object; `null`, as MistServer writes an empty one, is none.
    pub fn object<'v>(&mut self, value: &'v Value<'t>, path: &str) -> Option<&'v Object<'t>> {
        match value {
            Value::Object(object) => Some(object),
            Value::NullKeyword(_) => None,
            other => {
                let fault = Fault::WrongType {
                    expected: "an object",
                    found: kind_of(other),
                };
                self.problem(other.range(), path, fault);
                None
            }
        }
    }

    /// The properties to look at: without `x-LSP-` keys, which belong to MistServer's UI, and each key once.
    pub fn properties<'v>(&mut self, object: &'v Object<'t>, path: &str) -> Vec<&'v ObjectProp<'t>> {
        let mut first: HashMap<&str, usize> = HashMap::new();
        let mut kept = Vec::new();
        for property in &object.properties {
            let key = property.name.as_str();
            if key.starts_with("x-LSP-") {
                continue;
            }
            let line = self.line(property.range.start);
            match first.get(key) {
                Some(&first_line) => self.problem(property.range, &join(path, key), Fault::Repeated { first_line }),
                None => {
                    first.insert(key, line);
                    kept.push(property);
                }
            }
        }
        kept
    }

    /// Reads every key of an object by its section.
    pub fn open<'v>(&mut self, section: &'static Section, object: &'v Object<'t>, path: &str) -> Opened<'v, 't> {
        let mut opened = Opened {
            range: object.range,
            path: path.to_owned(),
            ..Opened::of_defaults(section)
        };
        for property in self.properties(object, path) {
            let key = property.name.as_str();
            let value = &property.value;
            let path = join(path, key);
            if let Some(setting) = section.settings.iter().find(|setting| setting.key == key) {
                if let Some(reading) = self.read(setting, value, &path) {
                    opened.values.insert(setting.key, reading);
                } else if !is_empty(value) {
                    opened.mistyped.push(setting.key);
                }
            } else if let Some(inner) = section.inner.iter().find(|inner| **inner == key) {
                opened.inner.insert(inner, value);
            } else if let Some(unsupported) = section.unsupported.iter().find(|unsupported| unsupported.key == key) {
                if !is_empty(value) {
                    self.warn(
                        property.range,
                        &path,
                        Notice::Unsupported {
                            effect: unsupported.effect,
                        },
                    );
                }
            } else if !section.written_by_mistserver.contains(&key) {
                let near = nearest(key, section.keys());
                opened.mistyped.extend(near);
                self.problem(property.range, &path, Fault::UnknownKey { near });
            }
        }
        opened
    }

    /// One value, checked; `None` when it is absent (`null`) or wrong.
    fn read(&mut self, setting: &'static Setting, value: &Value<'t>, path: &str) -> Option<Reading> {
        let result = match (setting.kind, value) {
            (_, Value::NullKeyword(_)) => return None,
            // MistServer's UI writes a cleared field so.
            (Kind::Integer { .. } | Kind::IntegerOrFound { .. } | Kind::Switch { .. }, Value::StringLit(text))
                if text.value.is_empty() =>
            {
                return None;
            }
            (Kind::Integer { min, max, unit, .. }, value) => read_integer(value, min, max, unit).map(Reading::Integer),
            (Kind::IntegerOrFound { min, max, unit }, value) => read_integer(value, 0, 0, unit)
                .or_else(|_| read_integer(value, min, max, unit))
                .map(Reading::Integer),
            (Kind::Switch { .. }, Value::BooleanLit(switch)) => Ok(Reading::Switch(switch.value)),
            (Kind::Switch { .. }, value) => read_integer(value, 0, 1, "").map(|number| Reading::Switch(number == 1)),
            (Kind::Address { .. }, Value::StringLit(text)) => read_address(&text.value).map(Reading::Address),
            (Kind::Choice { choices, .. }, Value::StringLit(text)) => {
                read_choice(&text.value, choices).map(Reading::Choice)
            }
            (Kind::Trust, Value::StringLit(text)) => text.value.parse().map(Reading::Trust).map_err(Fault::NotTrust),
            (Kind::Paths, value) => read_paths(value).map(Reading::Paths),
            (Kind::Address { .. } | Kind::Choice { .. } | Kind::Trust, other) => Err(Fault::WrongType {
                expected: "text",
                found: kind_of(other),
            }),
        };
        result.map_err(|fault| self.problem(value.range(), path, fault)).ok()
    }
}

impl<'v, 't> Opened<'v, 't> {
    /// As an empty object would be read.
    pub fn of_defaults(section: &'static Section) -> Self {
        let defaults = section.settings.iter().map(|setting| {
            let reading = match setting.kind {
                Kind::Integer { default, .. } => Reading::Integer(default),
                Kind::IntegerOrFound { .. } => Reading::Integer(0),
                Kind::Switch { default } => Reading::Switch(default),
                Kind::Address { default } => Reading::Address(read_address(default).expect("the table has addresses")),
                Kind::Choice { default, .. } => Reading::Choice(default),
                Kind::Trust => Reading::Trust(Trust::default()),
                Kind::Paths => Reading::Paths(Vec::new()),
            };
            (setting.key, reading)
        });
        let range = Range { start: 0, end: 0 };
        Opened {
            section,
            path: String::new(),
            range,
            values: defaults.collect(),
            inner: HashMap::new(),
            mistyped: Vec::new(),
        }
    }

    /// # Panics
    /// This and the next: if the section has no such setting of that kind.
    pub fn integer(&self, key: &str) -> u64 {
        match self.values.get(key) {
            Some(Reading::Integer(number)) => *number,
            other => panic!("{}.{key} is {other:?} in the table", self.section.place),
        }
    }

    pub fn switch(&self, key: &str) -> bool {
        match self.values.get(key) {
            Some(Reading::Switch(switch)) => *switch,
            other => panic!("{}.{key} is {other:?} in the table", self.section.place),
        }
    }

    pub fn address(&self, key: &str) -> Option<IpAddr> {
        match self.values.get(key) {
            Some(Reading::Address(address)) => *address,
            other => panic!("{}.{key} is {other:?} in the table", self.section.place),
        }
    }

    pub fn choice(&self, key: &str) -> &'static str {
        match self.values.get(key) {
            Some(Reading::Choice(choice)) => choice,
            other => panic!("{}.{key} is {other:?} in the table", self.section.place),
        }
    }

    pub fn trust(&self, key: &str) -> Trust {
        match self.values.get(key) {
            Some(Reading::Trust(trust)) => *trust,
            other => panic!("{}.{key} is {other:?} in the table", self.section.place),
        }
    }

    pub fn paths(&self, key: &str) -> &[(Range, String)] {
        match self.values.get(key) {
            Some(Reading::Paths(paths)) => paths,
            other => panic!("{}.{key} is {other:?} in the table", self.section.place),
        }
    }

    /// Whether an unknown key was said to be a mistyped one: `key` is not to be missed as well.
    pub fn is_mistyped(&self, key: &str) -> bool {
        self.mistyped.contains(&key)
    }

    /// The value of a key that has a reader of its own.
    pub fn inner(&self, key: &str) -> Option<&'v Value<'t>> {
        self.inner.get(key).copied()
    }
}

/// `a.b`, or `a["b c"]` when the key would not be read as one.
pub fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .chars()
            .all(|character| character.is_alphanumeric() || "_-+".contains(character));
    match (plain, path) {
        (true, "") => quoted(key),
        (true, path) => format!("{path}.{}", quoted(key)),
        (false, path) => format!("{path}[{:?}]", quoted(key)),
    }
}

pub fn kind_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "text",
        Value::NumberLit(number) if number.value.contains(['.', 'e', 'E']) => "a number with decimals",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "true or false",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}

/// A whole number, also as text of digits: forms and scripts write them so.
fn read_integer(value: &Value<'_>, min: u64, max: u64, unit: &'static str) -> Result<u64, Fault> {
    let digits: &str = match value {
        Value::NumberLit(number) if !number.value.contains(['.', 'e', 'E']) => number.value,
        Value::StringLit(text) if text.value.bytes().all(|byte| byte.is_ascii_digit()) => &text.value,
        other => {
            return Err(Fault::WrongType {
                expected: "a whole number",
                found: kind_of(other),
            });
        }
    };
    let number = digits.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| Fault::OutOfRange {
        found: quoted(digits),
        min,
        max,
        unit,
    })
}

/// Empty text is no path: MistServer's UI writes a cleared field so.
fn read_paths(value: &Value<'_>) -> Result<Vec<(Range, String)>, Fault> {
    let text = |value: &Value<'_>| match value {
        Value::StringLit(text) => Ok((text.range, text.value.to_string())),
        other => Err(Fault::WrongType {
            expected: "a path, or a list of paths",
            found: kind_of(other),
        }),
    };
    let paths: Result<Vec<_>, _> = match value {
        Value::Array(list) => list.elements.iter().map(text).collect(),
        one => text(one).map(|path| vec![path]),
    };
    paths.map(|paths| paths.into_iter().filter(|(_, path)| !path.is_empty()).collect())
}

fn read_address(text: &str) -> Result<Option<IpAddr>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .map(Some)
        .map_err(|_| Fault::NotAnAddress { found: quoted(text) })
}

fn read_choice(text: &str, choices: &'static [&'static str]) -> Result<&'static str, Fault> {
    choices
        .iter()
        .copied()
        .find(|choice| *choice == text)
        .ok_or_else(|| Fault::NotAChoice {
            found: quoted(text),
            near: nearest(text, choices.iter().copied()),
            choices,
        })
}

/// A value by which nobody asks for anything; files written by a UI are full of them.
fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::NullKeyword(_) => true,
        Value::BooleanLit(switch) => !switch.value,
        Value::StringLit(text) => text.value.is_empty(),
        Value::NumberLit(number) => number.value == "0",
        Value::Array(array) => array.elements.is_empty(),
        Value::Object(object) => object.properties.is_empty(),
    }
}
