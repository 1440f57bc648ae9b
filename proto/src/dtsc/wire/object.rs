//! The value encoding of DTSC (reference/mistserver-media.md, 1.2): a typed, binary JSON.
//!
//! [`parse`] checks all bytes once; the values it returns are lenses over them and are walked without further failure.
//! Nothing is allocated. Member names of NULs, and the empty name, are deleted members and are not seen.

use crate::dtsc::Error;
use crate::dtsc::limits::{DEPTH_MAX, NAME_BYTES_MAX, VALUES_MAX};

/// A value, lent from checked bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Integer(i64),
    /// Text or binary; DTSC does not tell them apart.
    Bytes(&'a [u8]),
    Null,
    Double(f64),
    Array(Array<'a>),
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Value::Integer(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<Object<'a>> {
        match *self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }
}

/// Values back to back, checked, without the closing mark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    values: &'a [u8],
}

impl<'a> Array<'a> {
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut rest = self.values;
        std::iter::from_fn(move || take_value(&mut rest))
    }
}

/// Members back to back, checked, without the closing mark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object<'a> {
    members: &'a [u8],
}

impl<'a> Object<'a> {
    /// In their order, without deleted ones.
    pub fn members(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
        let mut rest = self.members;
        std::iter::from_fn(move || {
            loop {
                let (length, behind) = rest.split_first_chunk::<2>()?;
                let (name, values) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
                rest = values;
                let value = take_value(&mut rest)?;
                if !is_deleted(name) {
                    return Some((name, value));
                }
            }
        })
    }

    /// The first member of this name.
    pub fn member(&self, name: &str) -> Option<Value<'a>> {
        self.members()
            .find(|member| member.0 == name.as_bytes())
            .map(|member| member.1)
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.member(name)?.as_integer()
    }

    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.member(name)?.as_bytes()
    }
}

/// Reads one object that `bytes` hold from first to last byte.
pub fn parse(bytes: &[u8]) -> Result<Object<'_>, Error> {
    let (object, end) = parse_prefix(bytes)?;
    if end != bytes.len() {
        return Err(Error::Trailing { at: end });
    }
    Ok(object)
}

/// Reads the object that `bytes` begin with. Returns it and where it ends.
pub fn parse_prefix(bytes: &[u8]) -> Result<(Object<'_>, usize), Error> {
    if !matches!(bytes.first(), Some(&(OBJECT | OBJECT_LEGACY))) {
        return Err(Error::NoObject { at: 0 });
    }
    let mut scan = Scan {
        bytes,
        values_left: VALUES_MAX,
    };
    let end = scan.skip_container(0, 1)?;
    let members = &bytes[1..end - CLOSE.len()];
    Ok((Object { members }, end))
}

fn is_deleted(name: &[u8]) -> bool {
    name.iter().all(|&byte| byte == 0)
}

/// Finds the end of values in bytes that nobody has checked.
struct Scan<'a> {
    bytes: &'a [u8],
    values_left: usize,
}

impl Scan<'_> {
    /// Where the value at `at` ends.
    fn skip_value(&mut self, at: usize, depth: usize) -> Result<usize, Error> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Error::TooManyValues {
            values_max: VALUES_MAX,
            at,
        })?;
        let byte = *self.bytes.get(at).ok_or(Error::Truncated { at })?;
        let payload_bytes = match byte {
            INTEGER | DOUBLE => 8,
            NULL => 0,
            BYTES => {
                let length = self.bytes[at + 1..].first_chunk().ok_or(Error::Truncated { at })?;
                4 + u32::from_be_bytes(*length) as usize
            }
            ARRAY | OBJECT | OBJECT_LEGACY => return self.skip_container(at, depth + 1),
            _ => return Err(Error::ValueType { byte, at }),
        };
        let end = at + 1 + payload_bytes;
        if end > self.bytes.len() {
            return Err(Error::Truncated { at });
        }
        Ok(end)
    }

    /// As `skip_value`; `at` is the type byte of an array or object on level `depth`, from 1.
    fn skip_container(&mut self, begin: usize, depth: usize) -> Result<usize, Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep {
                depth_max: DEPTH_MAX,
                at: begin,
            });
        }
        let named = self.bytes[begin] != ARRAY;
        let mut at = begin + 1;
        loop {
            let rest = self.bytes.get(at..).ok_or(Error::Truncated { at })?;
            if rest.starts_with(&CLOSE) {
                return Ok(at + CLOSE.len());
            }
            if named {
                let length = rest.first_chunk().ok_or(Error::Truncated { at })?;
                at += 2 + usize::from(u16::from_be_bytes(*length));
            }
            at = self.skip_value(at, depth)?;
        }
    }
}

/// Takes the value that checked bytes begin with.
fn take_value<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let bytes = *rest;
    let (value, end) = match *bytes.first()? {
        INTEGER => (Value::Integer(i64::from_be_bytes(*bytes[1..].first_chunk()?)), 9),
        DOUBLE => (Value::Double(f64::from_be_bytes(*bytes[1..].first_chunk()?)), 9),
        NULL => (Value::Null, 1),
        BYTES => {
            let end = 5 + u32::from_be_bytes(*bytes[1..].first_chunk()?) as usize;
            (Value::Bytes(bytes.get(5..end)?), end)
        }
        kind => {
            let mut scan = Scan {
                bytes,
                values_left: VALUES_MAX,
            };
            let end = scan.skip_container(0, 1).ok()?;
            let inner = &bytes[1..end - CLOSE.len()];
            match kind {
                ARRAY => (Value::Array(Array { values: inner }), end),
                _ => (Value::Object(Object { members: inner }), end),
            }
        }
    };
    *rest = &bytes[end..];
    Some(value)
}

/// Appends a value.
pub fn emit(value: &Value<'_>, out: &mut Vec<u8>) {
    match *value {
        Value::Integer(integer) => {
            out.push(INTEGER);
            out.extend_from_slice(&integer.to_be_bytes());
        }
        Value::Bytes(bytes) => {
            let length = u32::try_from(bytes.len()).expect("values are parts of packets, which are below 4 GiB");
            out.push(BYTES);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        Value::Null => out.push(NULL),
        Value::Double(double) => {
            out.push(DOUBLE);
            out.extend_from_slice(&double.to_be_bytes());
        }
        Value::Array(array) => {
            out.push(ARRAY);
            array.values().for_each(|value| emit(&value, out));
            close(out);
        }
        Value::Object(object) => {
            open(out);
            for (name, value) in object.members() {
                push_name(name, out);
                emit(&value, out);
            }
            close(out);
        }
    }
}

/// Begins an object: members follow, then [`close`].
pub fn open(out: &mut Vec<u8>) {
    out.push(OBJECT);
}

/// Ends the object or array begun last.
pub fn close(out: &mut Vec<u8>) {
    out.extend_from_slice(&CLOSE);
}

/// Appends a member's name; its value follows.
pub fn push_name(name: &[u8], out: &mut Vec<u8>) {
    assert!(!is_deleted(name), "a name of NULs is a deleted member");
    assert!(name.len() <= NAME_BYTES_MAX, "a name's length has 16 bits");
    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
    out.extend_from_slice(name);
}

pub fn push_integer(name: &str, value: i64, out: &mut Vec<u8>) {
    push_name(name.as_bytes(), out);
    emit(&Value::Integer(value), out);
}

pub fn push_bytes(name: &str, value: &[u8], out: &mut Vec<u8>) {
    push_name(name.as_bytes(), out);
    emit(&Value::Bytes(value), out);
}

pub(super) const INTEGER: u8 = 1;
pub(super) const BYTES: u8 = 2;
const NULL: u8 = 3;
const DOUBLE: u8 = 4;
const ARRAY: u8 = 0x0a;
pub(super) const OBJECT: u8 = 0xe0;
const OBJECT_LEGACY: u8 = 0xff;

/// Ends an object or array: no name is empty, and no value begins with a zero.
pub(super) const CLOSE: [u8; 3] = [0, 0, 0xee];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_emitted_and_read_again() {
        let mut bytes = Vec::new();
        open(&mut bytes);
        push_integer("integer", i64::MIN, &mut bytes);
        push_bytes("bytes", b"\0\0\xee", &mut bytes);
        push_name(b"null", &mut bytes);
        emit(&Value::Null, &mut bytes);
        push_name(b"double", &mut bytes);
        emit(&Value::Double(-0.5), &mut bytes);
        push_name(b"array", &mut bytes);
        bytes.push(ARRAY);
        emit(&Value::Integer(1), &mut bytes);
        emit(&Value::Bytes(b""), &mut bytes);
        close(&mut bytes);
        push_name(b"object", &mut bytes);
        open(&mut bytes);
        close(&mut bytes);
        close(&mut bytes);

        let object = parse(&bytes).unwrap();
        assert_eq!(object.integer("integer"), Some(i64::MIN));
        assert_eq!(object.bytes("bytes"), Some(&b"\0\0\xee"[..]));
        assert_eq!(object.member("null"), Some(Value::Null));
        assert_eq!(object.member("double"), Some(Value::Double(-0.5)));
        let Some(Value::Array(array)) = object.member("array") else {
            panic!("an array was written");
        };
        assert_eq!(
            array.values().collect::<Vec<_>>(),
            [Value::Integer(1), Value::Bytes(b"")]
        );
        assert_eq!(
            object.member("object").unwrap().as_object().unwrap().members().count(),
            0
        );
        assert_eq!(object.member("other"), None);
        let mut again = Vec::new();
        emit(&Value::Object(object), &mut again);
        assert_eq!(again, bytes);
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn deleted_members_are_not_seen_and_the_legacy_type_is_an_object() {
        let bytes = b"\xff\0\x02\0\0\x01\0\0\0\0\0\0\0\x01\0\x01a\x03\0\0\xee";
        let object = parse(bytes).unwrap();
        assert_eq!(object.members().collect::<Vec<_>>(), [(&b"a"[..], Value::Null)]);
    }

    #[test]
    fn what_is_too_deep_too_many_or_not_there_is_refused() {
        let mut deepest = b"\xe0\0\x01a".repeat(DEPTH_MAX);
        deepest.push(NULL);
        deepest.extend_from_slice(&CLOSE.repeat(DEPTH_MAX));
        assert!(parse(&deepest).is_ok());
        let mut deeper = b"\xe0\0\x01a".repeat(DEPTH_MAX + 1);
        deeper.push(NULL);
        deeper.extend_from_slice(&CLOSE.repeat(DEPTH_MAX + 1));
        assert!(matches!(parse(&deeper), Err(Error::TooDeep { .. })));

        let mut many = b"\xe0\0\x01a\x0a".to_vec();
        many.resize(many.len() + VALUES_MAX, NULL);
        many.extend_from_slice(&CLOSE.repeat(2));
        assert!(matches!(parse(&many), Err(Error::TooManyValues { .. })));

        for (bytes, expected) in [
            (&b""[..], Error::NoObject { at: 0 }),
            (b"\x01\0\0\0\0\0\0\0\0", Error::NoObject { at: 0 }),
            (b"\xe0\0\x01a\x05", Error::ValueType { byte: 5, at: 4 }),
            (b"\xe0\0\x01a\x02\xff\xff\xff\xff", Error::Truncated { at: 4 }),
            (b"\xe0\0\0\xeex", Error::Trailing { at: 4 }),
        ] {
            assert_eq!(parse(bytes), Err(expected), "{bytes:?}");
        }
    }
}
