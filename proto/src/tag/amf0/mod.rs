//! AMF0 values: what RTMP commands and script data are written in.
//!
//! Specification: "Action Message Format - AMF 0" (Adobe, 2007), sections 2.2 to 2.18. This is not AMF3: the marker that
//! switches to it (0x11, section 3.1) is [`Error::Amf3`]. It knows no command and no property name.
//!
//! Invariants: nesting is at most [`limits::DEPTH_MAX`] and one call makes at most [`limits::VALUES_MAX`] values, so
//! that neither the stack nor memory is the peer's to choose; no count on the wire reserves anything; what was emitted
//! parses to an equal value.
//!
//! Tolerated: an ECMA array whose count is wrong (many encoders write 0 or forget to recount), or whose end mark is cut
//! off by the end of the input; bytes that are not UTF-8 (cameras write Latin-1) become U+FFFD.

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod limits;
mod wire;

pub use error::Error;
pub use wire::{parse, parse_all};

/// One AMF0 value. Members keep the order of the wire; a name may occur twice, [`Value::member`] finds the first.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Boolean(bool),
    /// String and long string: which one is written depends on the length alone.
    String(String),
    Object(Vec<(String, Value)>),
    Null,
    Undefined,
    EcmaArray(Vec<(String, Value)>),
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970 UTC; `zone` is reserved and written as 0 by most.
    Date {
        millis: f64,
        zone: i16,
    },
    Xml(String),
    Typed {
        class: String,
        members: Vec<(String, Value)>,
    },
    /// Index of an object that came earlier in the same message; not followed.
    Reference(u16),
    /// The marker with which a sender says that it could not write a value.
    Unsupported,
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// Members of an object, typed object or ECMA array.
    pub fn members(&self) -> Option<&[(String, Value)]> {
        match self {
            Value::Object(members) | Value::EcmaArray(members) | Value::Typed { members, .. } => Some(members),
            _ => None,
        }
    }

    /// The first member of that name; names are case-sensitive.
    pub fn member(&self, name: &str) -> Option<&Value> {
        let found = self.members()?.iter().find(|(member, _)| member == name)?;
        Some(&found.1)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Boolean(truth)
    }
}
