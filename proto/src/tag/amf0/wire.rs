//! Markers, lengths and bytes: parse and emit side by side.

use super::limits::{DEPTH_MAX, SHORT_BYTES_MAX, VALUES_MAX};
use super::{Error, Value};

/// The first value of `input` and the bytes it took.
pub fn parse(input: &[u8]) -> Result<(Value, usize), Error> {
    let mut cursor = Cursor::new(input);
    let value = cursor.value(0)?;
    Ok((value, cursor.at))
}

/// Every value of `input`, to its last byte.
pub fn parse_all(input: &[u8]) -> Result<Vec<Value>, Error> {
    let mut cursor = Cursor::new(input);
    let mut values = Vec::new();
    while cursor.at < input.len() {
        values.push(cursor.value(0)?);
    }
    Ok(values)
}

impl Value {
    /// Appends the value. A name or class longer than 65,535 bytes is cut at a character boundary: the wire has no
    /// longer ones.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Value::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Value::Boolean(truth) => out.extend_from_slice(&[BOOLEAN, u8::from(*truth)]),
            Value::String(text) if text.len() <= SHORT_BYTES_MAX => {
                out.push(STRING);
                emit_short(text, out);
            }
            Value::String(text) => emit_long(LONG_STRING, text, out),
            Value::Xml(text) => emit_long(XML, text, out),
            Value::Object(members) => {
                out.push(OBJECT);
                emit_members(members, out);
            }
            Value::Typed { class, members } => {
                out.push(TYPED);
                emit_short(class, out);
                emit_members(members, out);
            }
            Value::EcmaArray(members) => {
                out.push(ECMA_ARRAY);
                out.extend_from_slice(&count(members.len()));
                emit_members(members, out);
            }
            Value::StrictArray(values) => {
                out.push(STRICT_ARRAY);
                out.extend_from_slice(&count(values.len()));
                for value in values {
                    value.emit(out);
                }
            }
            Value::Date { millis, zone } => {
                out.push(DATE);
                out.extend_from_slice(&millis.to_be_bytes());
                out.extend_from_slice(&zone.to_be_bytes());
            }
            Value::Reference(index) => {
                out.push(REFERENCE);
                out.extend_from_slice(&index.to_be_bytes());
            }
            Value::Null => out.push(NULL),
            Value::Undefined => out.push(UNDEFINED),
            Value::Unsupported => out.push(UNSUPPORTED),
        }
    }
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
    values_left: usize,
}

impl<'a> Cursor<'a> {
    fn new(input: &'a [u8]) -> Self {
        Cursor {
            input,
            at: 0,
            values_left: VALUES_MAX,
        }
    }

    /// `depth` values stand around this one.
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        let offset = self.at;
        if depth >= DEPTH_MAX {
            return Err(Error::TooDeep {
                offset,
                depth_max: DEPTH_MAX,
            });
        }
        self.values_left = self.values_left.checked_sub(1).ok_or(Error::TooManyValues {
            offset,
            values_max: VALUES_MAX,
        })?;
        let [marker] = self.array()?;
        Ok(match marker {
            NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            BOOLEAN => Value::Boolean(self.array::<1>()? != [0]),
            STRING => Value::String(self.short()?),
            LONG_STRING => Value::String(self.long()?),
            XML => Value::Xml(self.long()?),
            OBJECT => Value::Object(self.members(depth, End::Marked)?),
            TYPED => {
                let class = self.short()?;
                let members = self.members(depth, End::Marked)?;
                Value::Typed { class, members }
            }
            ECMA_ARRAY => {
                // The count is a hint by specification, and wrong in practice.
                let _count: [u8; 4] = self.array()?;
                Value::EcmaArray(self.members(depth, End::MarkedOrInput)?)
            }
            STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.array()?);
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::StrictArray(values)
            }
            DATE => Value::Date {
                millis: f64::from_be_bytes(self.array()?),
                zone: i16::from_be_bytes(self.array()?),
            },
            REFERENCE => Value::Reference(u16::from_be_bytes(self.array()?)),
            NULL => Value::Null,
            UNDEFINED => Value::Undefined,
            UNSUPPORTED => Value::Unsupported,
            OBJECT_END => return Err(Error::StrayObjectEnd { offset }),
            AVM_PLUS => return Err(Error::Amf3 { offset }),
            marker => return Err(Error::UnknownMarker { offset, marker }),
        })
    }

    fn members(&mut self, depth: usize, end: End) -> Result<Vec<(String, Value)>, Error> {
        let mut members = Vec::new();
        loop {
            let rest = &self.input[self.at..];
            if rest.starts_with(&END_OF_MEMBERS) {
                self.at += END_OF_MEMBERS.len();
                return Ok(members);
            }
            if end == End::MarkedOrInput && END_OF_MEMBERS.starts_with(rest) {
                self.at = self.input.len();
                return Ok(members);
            }
            let name = self.short()?;
            members.push((name, self.value(depth + 1)?));
        }
    }

    fn short(&mut self) -> Result<String, Error> {
        let length = u16::from_be_bytes(self.array()?);
        self.text(usize::from(length))
    }

    fn long(&mut self) -> Result<String, Error> {
        let length = u32::from_be_bytes(self.array()?);
        self.text(length as usize)
    }

    fn text(&mut self, length: usize) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take(N) lends N bytes"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let rest = &self.input[self.at..];
        let taken = rest.get(..length).ok_or(Error::Truncated {
            offset: self.at,
            missing: length - rest.len().min(length),
        })?;
        self.at += length;
        Ok(taken)
    }
}

/// How a run of members may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Marked,
    MarkedOrInput,
}

fn emit_members(members: &[(String, Value)], out: &mut Vec<u8>) {
    for (name, value) in members {
        emit_short(name, out);
        value.emit(out);
    }
    out.extend_from_slice(&END_OF_MEMBERS);
}

fn emit_short(text: &str, out: &mut Vec<u8>) {
    let mut length = text.len().min(SHORT_BYTES_MAX);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..length]);
}

fn emit_long(marker: u8, text: &str, out: &mut Vec<u8>) {
    out.push(marker);
    out.extend_from_slice(&count(text.len()));
    out.extend_from_slice(text.as_bytes());
}

fn count(length: usize) -> [u8; 4] {
    let length = u32::try_from(length).expect("no message is as long as 4 GiB");
    length.to_be_bytes()
}

/// An empty name and the end marker.
const END_OF_MEMBERS: [u8; 3] = [0, 0, OBJECT_END];

const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const REFERENCE: u8 = 0x07;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0a;
const DATE: u8 = 0x0b;
const LONG_STRING: u8 = 0x0c;
const UNSUPPORTED: u8 = 0x0d;
const XML: u8 = 0x0f;
const TYPED: u8 = 0x10;
const AVM_PLUS: u8 = 0x11;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Bytes with the value they hold; the fuzzer starts from them.
    pub fn cases() -> Vec<(Vec<u8>, Value)> {
        let member = |name: &str, value| (name.to_owned(), value);
        vec![
            (b"\x00\x3f\xf0\x00\x00\x00\x00\x00\x00".to_vec(), Value::Number(1.0)),
            (b"\x01\x01".to_vec(), Value::Boolean(true)),
            (b"\x01\x00".to_vec(), Value::Boolean(false)),
            (b"\x02\x00\x03abc".to_vec(), "abc".into()),
            (b"\x02\x00\x00".to_vec(), "".into()),
            (
                b"\x03\x00\x03app\x02\x00\x04live\x00\x00\x09".to_vec(),
                Value::Object(vec![member("app", "live".into())]),
            ),
            (
                // A member may have an empty name as long as no end marker follows it.
                b"\x03\x00\x00\x05\x00\x00\x09".to_vec(),
                Value::Object(vec![member("", Value::Null)]),
            ),
            (b"\x05".to_vec(), Value::Null),
            (b"\x06".to_vec(), Value::Undefined),
            (b"\x07\x01\x02".to_vec(), Value::Reference(0x102)),
            (
                b"\x08\x00\x00\x00\x01\x00\x01a\x05\x00\x00\x09".to_vec(),
                Value::EcmaArray(vec![member("a", Value::Null)]),
            ),
            (
                b"\x0a\x00\x00\x00\x02\x05\x0a\x00\x00\x00\x00".to_vec(),
                Value::StrictArray(vec![Value::Null, Value::StrictArray(vec![])]),
            ),
            (
                b"\x0b\x40\x00\x00\x00\x00\x00\x00\x00\xff\xc4".to_vec(),
                Value::Date { millis: 2.0, zone: -60 },
            ),
            (b"\x0d".to_vec(), Value::Unsupported),
            (b"\x0f\x00\x00\x00\x04<a/>".to_vec(), Value::Xml("<a/>".into())),
            (
                b"\x10\x00\x01C\x00\x01x\x06\x00\x00\x09".to_vec(),
                Value::Typed {
                    class: "C".into(),
                    members: vec![member("x", Value::Undefined)],
                },
            ),
        ]
    }

    #[test]
    fn every_type_parses_and_emits_the_same_bytes() {
        for (bytes, value) in cases() {
            assert_eq!(parse(&bytes), Ok((value.clone(), bytes.len())));
            let mut out = Vec::new();
            value.emit(&mut out);
            assert_eq!(out, bytes);
            for cut in 0..bytes.len() {
                let parsed = parse(&bytes[..cut]);
                // Between members, and inside the end mark.
                let tolerated = matches!(value, Value::EcmaArray(_)) && !matches!(cut, 0..=4 | 7 | 8);
                assert_eq!(parsed.is_err(), !tolerated, "{value:?} cut to {cut}");
            }
        }
    }

    #[test]
    fn a_sequence_of_values_is_taken_to_its_end() {
        let (mut all, mut values) = (Vec::new(), Vec::new());
        for (bytes, value) in cases() {
            all.extend_from_slice(&bytes);
            values.push(value);
        }
        assert_eq!(parse_all(&all), Ok(values));
        all.push(0x0e);
        assert_eq!(
            parse_all(&all),
            Err(Error::UnknownMarker {
                offset: all.len() - 1,
                marker: 0x0e
            })
        );
    }

    #[test]
    fn strings_choose_their_length_field() {
        for (length, marker) in [(65_535, STRING), (65_536, LONG_STRING)] {
            let value = Value::String("é".repeat(length / 2) + &"x".repeat(length % 2));
            let mut out = Vec::new();
            value.emit(&mut out);
            assert_eq!(out[0], marker);
            assert_eq!(parse(&out), Ok((value, out.len())));
        }
        assert_eq!(parse(b"\x0c\x00\x00\x00\x01a"), Ok(("a".into(), 6)));
    }

    #[test]
    fn a_name_too_long_for_the_wire_is_cut_between_characters() {
        let value = Value::Object(vec![("é".repeat(40_000), Value::Null)]);
        let mut out = Vec::new();
        value.emit(&mut out);
        let expected = Value::Object(vec![("é".repeat(32_767), Value::Null)]);
        assert_eq!(parse(&out), Ok((expected, out.len())));
    }

    #[test]
    fn ecma_arrays_are_read_by_their_end_and_not_by_their_count() {
        let expected = Value::EcmaArray(vec![("a".into(), Value::Null), ("b".into(), Value::Null)]);
        for (count, end, taken) in [
            (0_u32, &b"\x00\x00\x09"[..], 16),
            (1, b"\x00\x00\x09", 16),
            (u32::MAX, b"\x00\x00\x09", 16),
            (2, b"", 13),
            (2, b"\x00\x00", 15),
        ] {
            let mut bytes = vec![ECMA_ARRAY];
            bytes.extend_from_slice(&count.to_be_bytes());
            bytes.extend_from_slice(b"\x00\x01a\x05\x00\x01b\x05");
            bytes.extend_from_slice(end);
            assert_eq!(parse(&bytes), Ok((expected.clone(), taken)));
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_kept_as_far_as_it_goes() {
        assert_eq!(parse(b"\x02\x00\x03a\xe9b"), Ok(("a\u{fffd}b".into(), 6)));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let truncated = |offset, missing| Err(Error::Truncated { offset, missing });
        for (bytes, expected) in [
            (&b""[..], truncated(0, 1)),
            (b"\x00\x00", truncated(1, 7)),
            (b"\x02\x00\x05ab", truncated(3, 3)),
            (b"\x0c\xff\xff\xff\xffab", truncated(5, 0xffff_fffd)),
            (b"\x0a\xff\xff\xff\xff\x05", truncated(6, 1)),
            (b"\x03\x00\x00", truncated(3, 1)),
            (b"\x11\x00", Err(Error::Amf3 { offset: 0 })),
            (b"\x09", Err(Error::StrayObjectEnd { offset: 0 })),
            (b"\x03\x00\x01a\x04", Err(Error::UnknownMarker { offset: 4, marker: 4 })),
        ] {
            assert_eq!(parse(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn members_are_found_by_name() {
        let value = Value::EcmaArray(vec![("width".into(), 640.0.into()), ("stereo".into(), true.into())]);
        assert_eq!(value.member("width").and_then(Value::as_number), Some(640.0));
        assert_eq!(value.member("stereo").and_then(Value::as_bool), Some(true));
        assert_eq!(value.member("Width"), None);
        assert_eq!(Value::Null.member("width"), None);
    }
}
