//! Ranges of bytes: `Range` and `If-Range` of requests, `Content-Range` of answers (RFC 9110 sections 13.1.5 and 14; RFC 8673
//! for what is still growing).
//!
//! One range is answered; several, an unknown unit and what is malformed are answered with the whole, as if nothing had been
//! asked. Numbers are any length and saturate: no sum is made of them.

use super::conditions;
use super::response::HeadWriter;

/// Last position that RFC 8673 asks for when it means "as far as it will come", and names in the answer: 2^53 - 1, what a
/// script can count to.
pub const OPEN_LAST: u64 = (1 << 53) - 1;

/// Which bytes a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// No range is asked for, or none that is answered as one: all of it, with 200.
    None,
    /// From `first` to `last`, both included. Of an object whose length is known, inside it; of one that is growing, `last`
    /// is what was asked for.
    One { first: u64, last: u64 },
    /// Of an object that is growing: from `first` to wherever it will end.
    Open { first: u64 },
    /// None of it is there: 416.
    Unsatisfiable,
}

impl ByteRange {
    /// Reads the value of `Range`. `length` is the object's; `None` while it grows.
    pub fn parse(value: &str, length: Option<u64>) -> ByteRange {
        match only_spec(value).and_then(Spec::parse) {
            Some(spec) => spec.of(length),
            None => ByteRange::None,
        }
    }
}

/// The one range of a set in bytes; `None` if there are several, or none, or it is something else.
fn only_spec(value: &str) -> Option<&str> {
    let (unit, set) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Empty elements of a list count nothing (RFC 9110 section 5.6.1.2).
    let mut specs = set.split(',').map(conditions::trim).filter(|spec| !spec.is_empty());
    let spec = specs.next()?;
    specs.next().is_none().then_some(spec)
}

/// A range as written.
#[derive(Clone, Copy, Debug)]
enum Spec {
    /// `first-last`, or `first-`.
    From { first: u64, last: u64 },
    /// `-bytes`
    Last { bytes: u64 },
}

impl Spec {
    fn parse(text: &str) -> Option<Spec> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            return number(last).map(|bytes| Spec::Last { bytes });
        }
        let first = number(first)?;
        let last = if last.is_empty() { u64::MAX } else { number(last)? };
        (first <= last).then_some(Spec::From { first, last })
    }

    fn of(self, length: Option<u64>) -> ByteRange {
        match (self, length) {
            (Spec::From { first, .. }, Some(length)) if first >= length => ByteRange::Unsatisfiable,
            (Spec::From { first, last }, Some(length)) => ByteRange::One {
                first,
                last: last.min(length - 1),
            },
            (Spec::From { first, .. }, None) if first >= OPEN_LAST => ByteRange::Unsatisfiable,
            (Spec::From { first, last }, None) if last >= OPEN_LAST => ByteRange::Open { first },
            (Spec::From { first, last }, None) => ByteRange::One { first, last },
            (Spec::Last { bytes: 0 }, _) => ByteRange::Unsatisfiable,
            // The end of what has none is not known, and of nothing `Content-Range` cannot tell.
            (Spec::Last { .. }, None | Some(0)) => ByteRange::None,
            (Spec::Last { bytes }, Some(length)) => ByteRange::One {
                first: length.saturating_sub(bytes),
                last: length - 1,
            },
        }
    }
}

/// Digits only: `parse` alone would take a plus sign. More than fit are as many as fit.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Which bytes an answer has (206).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    pub first: u64,
    /// Included.
    pub last: u64,
    /// Length of the whole object; `None` while it grows.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// Of an object that is growing: from `first` to wherever it will end (RFC 8673 section 2.2).
    pub const fn open(first: u64) -> ContentRange {
        ContentRange {
            first,
            last: OPEN_LAST,
            complete: None,
        }
    }

    /// # Panics
    /// If it is no range, or not one of that object.
    pub(super) fn write(&self, head: &mut HeadWriter<'_>) {
        assert!(self.first <= self.last, "a range has bytes");
        assert!(
            self.complete.is_none_or(|complete| self.last < complete),
            "it is inside the object"
        );
        head.text("Content-Range: bytes ");
        head.number(self.first);
        head.text("-");
        head.number(self.last);
        match self.complete {
            Some(complete) => {
                head.text("/");
                head.number(complete);
                head.text("\r\n");
            }
            None => head.text("/*\r\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: ByteRange = ByteRange::None;
    const NO: ByteRange = ByteRange::Unsatisfiable;

    const fn one(first: u64, last: u64) -> ByteRange {
        ByteRange::One { first, last }
    }

    /// A value, what it is of an object of 1,000 bytes, and of one that is growing.
    const CASES: &[(&str, ByteRange, ByteRange)] = &[
        ("bytes=0-", one(0, 999), ByteRange::Open { first: 0 }),
        ("bytes=0-0", one(0, 0), one(0, 0)),
        ("bytes=10-19", one(10, 19), one(10, 19)),
        ("bytes=999-", one(999, 999), ByteRange::Open { first: 999 }),
        ("bytes=999-999", one(999, 999), one(999, 999)),
        ("bytes=1000-", NO, ByteRange::Open { first: 1000 }),
        ("bytes=1000-1000", NO, one(1000, 1000)),
        ("bytes=990-5000", one(990, 999), one(990, 5000)),
        ("bytes=-1", one(999, 999), NONE),
        ("bytes=-1000", one(0, 999), NONE),
        ("bytes=-5000", one(0, 999), NONE),
        ("bytes=-0", NO, NO),
        ("BYTES=007-0008", one(7, 8), one(7, 8)),
        ("bytes= \t10-19 ", one(10, 19), one(10, 19)),
        ("bytes=,, 10-19 ,", one(10, 19), one(10, 19)),
        // RFC 8673: a very large last position.
        ("bytes=7-9007199254740990", one(7, 999), one(7, OPEN_LAST - 1)),
        ("bytes=7-9007199254740991", one(7, 999), ByteRange::Open { first: 7 }),
        (
            "bytes=7-18446744073709551615",
            one(7, 999),
            ByteRange::Open { first: 7 },
        ),
        (
            "bytes=7-18446744073709551616",
            one(7, 999),
            ByteRange::Open { first: 7 },
        ),
        ("bytes=9007199254740990-", NO, ByteRange::Open { first: OPEN_LAST - 1 }),
        ("bytes=9007199254740991-", NO, NO),
        ("bytes=99999999999999999999999-", NO, NO),
        ("bytes=99999999999999999999999-99999999999999999999999", NO, NO),
        ("bytes=-99999999999999999999999", one(0, 999), NONE),
        // Several, though the first is fine.
        ("bytes=0-1,5-6", NONE, NONE),
        ("bytes=0-1, x", NONE, NONE),
        ("bytes=5000-6000,7000-", NONE, NONE),
        // Not legal.
        ("", NONE, NONE),
        ("bytes", NONE, NONE),
        ("bytes=", NONE, NONE),
        ("bytes=,", NONE, NONE),
        ("bytes=-", NONE, NONE),
        ("bytes=5", NONE, NONE),
        ("bytes=5-4", NONE, NONE),
        ("bytes=99999999999999999999999-4", NONE, NONE),
        ("bytes=+1-2", NONE, NONE),
        ("bytes=1-+2", NONE, NONE),
        ("bytes=1 - 2", NONE, NONE),
        ("bytes=0x1-2", NONE, NONE),
        ("bytes=a-", NONE, NONE),
        ("bytes=-b", NONE, NONE),
        ("bytes=--1", NONE, NONE),
        ("bytes=1--2", NONE, NONE),
        ("bytes=1-2-3", NONE, NONE),
        ("bytes=\u{661}-", NONE, NONE),
        ("bytes:0-1", NONE, NONE),
        ("bytes =0-1", NONE, NONE),
        ("seconds=0-1", NONE, NONE),
        ("=0-1", NONE, NONE),
    ];

    #[test]
    fn ranges_are_what_the_table_says() {
        for &(value, of_known, of_growing) in CASES {
            assert_eq!(ByteRange::parse(value, Some(1000)), of_known, "{value} of 1000");
            assert_eq!(ByteRange::parse(value, None), of_growing, "{value} of a growing one");
        }
    }

    #[test]
    fn nothing_of_an_empty_object_can_be_told_as_a_range() {
        for (value, expected) in [
            ("bytes=0-", NO),
            ("bytes=0-0", NO),
            ("bytes=-1", NONE),
            ("bytes=-0", NO),
        ] {
            assert_eq!(ByteRange::parse(value, Some(0)), expected, "{value}");
        }
    }

    /// Whatever is asked, what is answered is inside the object.
    #[test]
    fn a_range_is_inside_its_object() {
        let edges = [
            0,
            1,
            2,
            999,
            1000,
            OPEN_LAST - 1,
            OPEN_LAST,
            OPEN_LAST + 1,
            u64::MAX - 1,
            u64::MAX,
        ];
        for length in edges {
            for first in edges {
                for last in edges.iter().map(u64::to_string).chain([String::new()]) {
                    for value in [format!("bytes={first}-{last}"), format!("bytes=-{last}")] {
                        match ByteRange::parse(&value, Some(length)) {
                            ByteRange::One { first, last } => {
                                assert!(first <= last && last < length, "{value} of {length}")
                            }
                            ByteRange::Open { .. } => panic!("{value}: the end of {length} bytes is known"),
                            ByteRange::None | ByteRange::Unsatisfiable => {}
                        }
                        match ByteRange::parse(&value, None) {
                            ByteRange::One { first, last } => assert!(first <= last && last < OPEN_LAST, "{value}"),
                            ByteRange::Open { first } => assert!(first < OPEN_LAST, "{value}"),
                            ByteRange::None | ByteRange::Unsatisfiable => {}
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn thousands_of_ranges_are_none() {
        let many = format!("bytes={}0-1", "0-0,".repeat(4_000));
        assert_eq!(ByteRange::parse(&many, Some(10)), NONE);
        let commas = format!("bytes={}0-1", ",".repeat(16_000));
        assert_eq!(ByteRange::parse(&commas, Some(10)), one(0, 1));
    }

    #[test]
    fn content_ranges_are_written() {
        let cases = [
            (
                ContentRange {
                    first: 0,
                    last: 0,
                    complete: Some(1),
                },
                "0-0/1",
            ),
            (
                ContentRange {
                    first: 5,
                    last: 9,
                    complete: Some(1_000),
                },
                "5-9/1000",
            ),
            (
                ContentRange {
                    first: 5,
                    last: 9,
                    complete: None,
                },
                "5-9/*",
            ),
            (ContentRange::open(40_960), "40960-9007199254740991/*"),
        ];
        for (range, expected) in cases {
            let mut out = Vec::new();
            range.write(&mut HeadWriter::append_to(&mut out));
            assert_eq!(out, format!("Content-Range: bytes {expected}\r\n").as_bytes());
        }
    }

    #[test]
    #[should_panic(expected = "inside the object")]
    fn a_range_behind_the_end_is_a_defect() {
        let range = ContentRange {
            first: 0,
            last: 10,
            complete: Some(10),
        };
        range.write(&mut HeadWriter::append_to(&mut Vec::new()));
    }
}
