//! Delivery directives: what a player asks of a playlist, and when that is answered (6.2.5).

use super::limits::{
    ADVANCE_PARTS_MICROS, ADVANCE_PARTS_MIN, ADVANCE_SEGMENTS_MAX, NUMBER_DIGITS_MAX, PART_TARGET_MICROS_MIN,
};
use super::{Error, Skip};
use crate::media::{Presentation, Rendition};

/// What a request for a media playlist says. By default: now, and whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    pub msn: Option<u64>,
    /// Only with `msn`.
    pub part: Option<u64>,
    pub skip: Skip,
}

/// What is newest in a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Of the newest segment of which anything is listed.
    pub number: u64,
    /// How many parts of it are listed; 0 where its packaging has none.
    pub parts: u32,
    pub is_complete: bool,
    /// Nothing more will come.
    pub is_ended: bool,
    /// 0 where the packaging has no parts.
    pub part_target_micros: u32,
}

/// When a reload is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Now,
    /// When something newer is listed, it is judged again.
    Wait,
    /// 400: further ahead than 6.2.5.2 lets anybody ask.
    TooFar,
}

impl Reload {
    /// Reads the directives among the decoded `pairs` of a query; others are not looked at.
    ///
    /// # Errors
    /// A directive that is repeated, malformed or incomplete.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, Error> {
        let (mut msn, mut part, mut skip) = (None, None, None);
        for (name, value) in pairs {
            let value = value.as_ref();
            match name.as_ref() {
                MSN => once(&mut msn, MSN, number(MSN, value)?)?,
                PART => once(&mut part, PART, number(PART, value)?)?,
                SKIP => {
                    let kind = match value {
                        "YES" => Skip::Yes,
                        "v2" => Skip::V2,
                        _ => return Err(Error::SkipUnknown),
                    };
                    once(&mut skip, SKIP, kind)?;
                }
                _ => {}
            }
        }
        if msn.is_none() && part.is_some() {
            return Err(Error::PartWithoutMsn);
        }
        Ok(Reload {
            msn,
            part,
            skip: skip.unwrap_or_default(),
        })
    }

    /// Whether a playlist that ends at `edge` is the answer.
    pub fn judge(&self, edge: Edge) -> Verdict {
        let Some(msn) = self.msn else { return Verdict::Now };
        if edge.is_ended || edge.has(msn, self.part) {
            return Verdict::Now;
        }
        let ahead_max = edge.last_segment().saturating_add(ADVANCE_SEGMENTS_MAX);
        // Of the newest segment those that are listed are no advance; of a later one all are.
        let listed = if msn == edge.number { u64::from(edge.parts) } else { 0 };
        let advance = self
            .part
            .map_or(0, |part| part.saturating_add(1).saturating_sub(listed));
        if msn > ahead_max || advance > edge.advance_parts_max() {
            Verdict::TooFar
        } else {
            Verdict::Wait
        }
    }
}

impl Edge {
    /// `None` before anything is listed: then every first answer is worth waiting for.
    pub fn of(presentation: &Presentation, rendition: &Rendition) -> Option<Self> {
        let growing = rendition.growing.as_ref().filter(|growing| !growing.parts.is_empty());
        let newest = growing.or(rendition.segments.back())?;
        Some(Edge {
            number: newest.number,
            parts: u32::try_from(newest.parts.len()).unwrap_or(u32::MAX),
            is_complete: growing.is_none(),
            is_ended: presentation.is_ended,
            part_target_micros: rendition.part_target_micros,
        })
    }

    /// A part that its segment turned out not to have is the first of the next (6.2.5.2).
    fn has(&self, msn: u64, part: Option<u64>) -> bool {
        if msn != self.number {
            return msn < self.number;
        }
        match part {
            None => self.is_complete,
            Some(_) if self.part_target_micros == 0 => self.is_complete,
            Some(part) => part < u64::from(self.parts),
        }
    }

    /// Number of the last whole segment; one before the first is none, and counts as 0.
    fn last_segment(&self) -> u64 {
        if self.is_complete {
            self.number
        } else {
            self.number.saturating_sub(1)
        }
    }

    fn advance_parts_max(&self) -> u64 {
        let target = u64::from(self.part_target_micros).max(PART_TARGET_MICROS_MIN);
        ADVANCE_PARTS_MICROS.div_ceil(target).max(ADVANCE_PARTS_MIN)
    }
}

fn once<T>(place: &mut Option<T>, directive: &'static str, value: T) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::Repeated { directive }),
    }
}

fn number(directive: &'static str, value: &str) -> Result<u64, Error> {
    let is_number = (1..=NUMBER_DIGITS_MAX).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = is_number.then(|| value.parse().ok()).flatten();
    parsed.ok_or(Error::NotANumber { directive })
}

const MSN: &str = "_HLS_msn";
const PART: &str = "_HLS_part";
const SKIP: &str = "_HLS_skip";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Reload, Error> {
        Reload::parse(query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))))
    }

    #[test]
    fn directives_are_read_and_malformed_ones_say_why() {
        let reload = |msn, part, skip| Ok(Reload { msn, part, skip });
        let not_msn = Err(Error::NotANumber { directive: "_HLS_msn" });
        let cases = [
            ("", reload(None, None, Skip::No)),
            ("e=abcdef&llhls=range&_HLS_other=1", reload(None, None, Skip::No)),
            ("_HLS_msn=7", reload(Some(7), None, Skip::No)),
            ("_HLS_part=0&a=b&_HLS_msn=007", reload(Some(7), Some(0), Skip::No)),
            (
                "_HLS_msn=18446744073709551615&_HLS_skip=YES",
                reload(Some(u64::MAX), None, Skip::Yes),
            ),
            ("_HLS_skip=v2", reload(None, None, Skip::V2)),
            ("_HLS_skip=yes", Err(Error::SkipUnknown)),
            ("_HLS_skip", Err(Error::SkipUnknown)),
            ("_HLS_part=1", Err(Error::PartWithoutMsn)),
            ("_HLS_msn", not_msn),
            ("_HLS_msn=", not_msn),
            ("_HLS_msn=-1", not_msn),
            ("_HLS_msn=+1", not_msn),
            ("_HLS_msn=1.5", not_msn),
            ("_HLS_msn= 1", not_msn),
            ("_HLS_msn=18446744073709551616", not_msn),
            ("_HLS_msn=000000000000000000001", not_msn),
            (
                "_HLS_msn=1&_HLS_part=x",
                Err(Error::NotANumber { directive: "_HLS_part" }),
            ),
            ("_HLS_msn=1&_HLS_msn=1", Err(Error::Repeated { directive: "_HLS_msn" })),
            (
                "_HLS_msn=1&_HLS_part=1&_HLS_part=2",
                Err(Error::Repeated { directive: "_HLS_part" }),
            ),
            (
                "_HLS_skip=YES&_HLS_skip=v2",
                Err(Error::Repeated { directive: "_HLS_skip" }),
            ),
        ];
        for (query, expected) in cases {
            assert_eq!(parse(query), expected, "{query}");
        }
        // Errors are sentences that an answer can carry.
        assert_eq!(Error::PartWithoutMsn.to_string(), "_HLS_part without _HLS_msn");
    }

    /// Client habits 4.7: hls.js asks for part 0 of a future segment and waits; a request without directives never does; nothing
    /// is answered before the part is there (ExoPlayer), nor refused that will come.
    #[test]
    fn reloads_are_judged_as_6_2_5_2_says() {
        // Segment 20 has parts 0 to 2 so far; 19 is the last whole one.
        let growing = Edge {
            number: 20,
            parts: 3,
            is_complete: false,
            is_ended: false,
            part_target_micros: 333_333,
        };
        // Segment 20 is whole with six parts, and of 21 nothing is there.
        let whole = Edge {
            parts: 6,
            is_complete: true,
            ..growing
        };
        let plain = Edge {
            parts: 0,
            part_target_micros: 0,
            ..whole
        };
        let long = Edge {
            part_target_micros: 1_500_000,
            ..growing
        };
        use Verdict::{Now, TooFar, Wait};
        let cases: &[(&str, Edge, &str, Verdict)] = &[
            ("no directive", growing, "", Now),
            ("skip alone", growing, "_HLS_skip=YES", Now),
            ("long gone", growing, "_HLS_msn=0", Now),
            ("whole already", growing, "_HLS_msn=19", Now),
            ("any part of an older one", growing, "_HLS_msn=19&_HLS_part=99", Now),
            ("the growing one whole", growing, "_HLS_msn=20", Wait),
            ("a part that is there", growing, "_HLS_msn=20&_HLS_part=2", Now),
            ("the next part", growing, "_HLS_msn=20&_HLS_part=3", Wait),
            ("part 0 of the next", growing, "_HLS_msn=21&_HLS_part=0", Wait),
            ("next whole", growing, "_HLS_msn=21", Wait),
            ("last + 3", growing, "_HLS_msn=22", TooFar),
            ("last + 3, part 0", growing, "_HLS_msn=22&_HLS_part=0", TooFar),
            ("10 parts ahead", growing, "_HLS_msn=20&_HLS_part=12", Wait),
            ("11 parts ahead", growing, "_HLS_msn=20&_HLS_part=13", TooFar),
            ("10 into the next", growing, "_HLS_msn=21&_HLS_part=9", Wait),
            ("11 into the next", growing, "_HLS_msn=21&_HLS_part=10", TooFar),
            ("3 long parts ahead", long, "_HLS_msn=20&_HLS_part=5", Wait),
            ("4 long parts ahead", long, "_HLS_msn=20&_HLS_part=6", TooFar),
            (
                "absurd",
                growing,
                "_HLS_msn=18446744073709551615&_HLS_part=18446744073709551615",
                TooFar,
            ),
            (
                "absurd part",
                growing,
                "_HLS_msn=20&_HLS_part=18446744073709551615",
                TooFar,
            ),
            ("the whole one", whole, "_HLS_msn=20", Now),
            ("its last part", whole, "_HLS_msn=20&_HLS_part=5", Now),
            (
                "a part it has not: 0 of the next",
                whole,
                "_HLS_msn=20&_HLS_part=6",
                Wait,
            ),
            ("last + 2", whole, "_HLS_msn=22&_HLS_part=0", Wait),
            ("last + 3 of whole", whole, "_HLS_msn=23", TooFar),
            ("no parts: whole", plain, "_HLS_msn=20&_HLS_part=4", Now),
            ("no parts: next", plain, "_HLS_msn=21&_HLS_part=0", Wait),
            (
                "ended",
                Edge {
                    is_ended: true,
                    ..growing
                },
                "_HLS_msn=99",
                Now,
            ),
            ("the first", Edge { number: 0, ..growing }, "_HLS_msn=0", Wait),
        ];
        for (name, edge, query, expected) in cases {
            assert_eq!(parse(query).expect(name).judge(*edge), *expected, "{name}");
        }
        // That part 0 of 21 answers who asked for part 6 of 20.
        let next = Edge {
            number: 21,
            parts: 1,
            is_complete: false,
            ..whole
        };
        assert_eq!(parse("_HLS_msn=20&_HLS_part=6").expect("legal").judge(next), Now);
    }
}
