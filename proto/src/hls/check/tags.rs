//! The tags of 4.4: where each belongs and what its attributes are.

use super::attributes::{Kind, Need, Rule};

/// Where a tag belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Both,
    Media,
    Master,
}

/// `None`: no tag that 4.4 knows.
pub(super) fn place(name: &str) -> Option<Place> {
    Some(match name {
        "#EXTM3U" | "#EXT-X-VERSION" | "#EXT-X-INDEPENDENT-SEGMENTS" | "#EXT-X-START" | "#EXT-X-DEFINE" => Place::Both,
        "#EXT-X-TARGETDURATION" | "#EXT-X-MEDIA-SEQUENCE" | "#EXT-X-DISCONTINUITY-SEQUENCE" | "#EXT-X-ENDLIST" => {
            Place::Media
        }
        "#EXT-X-PLAYLIST-TYPE" | "#EXT-X-I-FRAMES-ONLY" | "#EXT-X-PART-INF" | "#EXT-X-SERVER-CONTROL" => Place::Media,
        "#EXTINF" | "#EXT-X-BYTERANGE" | "#EXT-X-DISCONTINUITY" | "#EXT-X-KEY" | "#EXT-X-MAP" => Place::Media,
        "#EXT-X-PROGRAM-DATE-TIME" | "#EXT-X-GAP" | "#EXT-X-BITRATE" | "#EXT-X-PART" => Place::Media,
        "#EXT-X-DATERANGE" | "#EXT-X-SKIP" | "#EXT-X-PRELOAD-HINT" | "#EXT-X-RENDITION-REPORT" => Place::Media,
        "#EXT-X-MEDIA" | "#EXT-X-STREAM-INF" | "#EXT-X-I-FRAME-STREAM-INF" | "#EXT-X-SESSION-DATA" => Place::Master,
        "#EXT-X-SESSION-KEY" | "#EXT-X-CONTENT-STEERING" => Place::Master,
        _ => return None,
    })
}

const fn need(name: &'static str, kind: Kind) -> Rule {
    let need = Need::Required;
    Rule { name, kind, need }
}

const fn may(name: &'static str, kind: Kind) -> Rule {
    let need = Need::Optional;
    Rule { name, kind, need }
}

const YES: Kind = Kind::Enumerated(&["YES"]);
const YES_NO: Kind = Kind::Enumerated(&["YES", "NO"]);
const ANY: Kind = Kind::Enumerated(&[]);

pub(super) const START: &[Rule] = &[need("TIME-OFFSET", Kind::SignedFloat), may("PRECISE", YES_NO)];
pub(super) const DEFINE: &[Rule] = &[
    may("NAME", Kind::Quoted),
    may("VALUE", Kind::Quoted),
    may("IMPORT", Kind::Quoted),
    may("QUERYPARAM", Kind::Quoted),
];
pub(super) const PART_INF: &[Rule] = &[need("PART-TARGET", Kind::Float)];
pub(super) const SERVER_CONTROL: &[Rule] = &[
    may("CAN-SKIP-UNTIL", Kind::Float),
    may("CAN-SKIP-DATERANGES", YES),
    may("HOLD-BACK", Kind::Float),
    may("PART-HOLD-BACK", Kind::Float),
    may("CAN-BLOCK-RELOAD", YES),
];
pub(super) const KEY: &[Rule] = &[
    need("METHOD", ANY),
    may("URI", Kind::Quoted),
    may("IV", Kind::Hexadecimal),
    may("KEYFORMAT", Kind::Quoted),
    may("KEYFORMATVERSIONS", Kind::Quoted),
];
pub(super) const MAP: &[Rule] = &[need("URI", Kind::Quoted), may("BYTERANGE", Kind::Quoted)];
pub(super) const PART: &[Rule] = &[
    need("URI", Kind::Quoted),
    need("DURATION", Kind::Float),
    may("INDEPENDENT", YES),
    may("BYTERANGE", Kind::Quoted),
    may("GAP", YES),
];
pub(super) const DATERANGE: &[Rule] = &[
    need("ID", Kind::Quoted),
    may("CLASS", Kind::Quoted),
    may("START-DATE", Kind::Quoted),
    may("CUE", Kind::Quoted),
    may("END-DATE", Kind::Quoted),
    may("DURATION", Kind::Float),
    may("PLANNED-DURATION", Kind::Float),
    may("END-ON-NEXT", YES),
];
pub(super) const SKIP: &[Rule] = &[
    need("SKIPPED-SEGMENTS", Kind::Integer),
    may("RECENTLY-REMOVED-DATERANGES", Kind::Quoted),
];
pub(super) const PRELOAD_HINT: &[Rule] = &[
    need("TYPE", Kind::Enumerated(&["PART", "MAP"])),
    need("URI", Kind::Quoted),
    may("BYTERANGE-START", Kind::Integer),
    may("BYTERANGE-LENGTH", Kind::Integer),
];
pub(super) const RENDITION_REPORT: &[Rule] = &[
    need("URI", Kind::Quoted),
    need("LAST-MSN", Kind::Integer),
    may("LAST-PART", Kind::Integer),
];
pub(super) const MEDIA: &[Rule] = &[
    need(
        "TYPE",
        Kind::Enumerated(&["AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"]),
    ),
    need("GROUP-ID", Kind::Quoted),
    need("NAME", Kind::Quoted),
    may("URI", Kind::Quoted),
    may("LANGUAGE", Kind::Quoted),
    may("ASSOC-LANGUAGE", Kind::Quoted),
    may("STABLE-RENDITION-ID", Kind::Quoted),
    may("DEFAULT", YES_NO),
    may("AUTOSELECT", YES_NO),
    may("FORCED", YES_NO),
    may("INSTREAM-ID", Kind::Quoted),
    may("BIT-DEPTH", Kind::Integer),
    may("SAMPLE-RATE", Kind::Integer),
    may("CHARACTERISTICS", Kind::Quoted),
    may("CHANNELS", Kind::Quoted),
];
pub(super) const STREAM_INF: &[Rule] = &[
    need("BANDWIDTH", Kind::Integer),
    may("AVERAGE-BANDWIDTH", Kind::Integer),
    may("SCORE", Kind::Float),
    may("CODECS", Kind::Quoted),
    may("SUPPLEMENTAL-CODECS", Kind::Quoted),
    may("RESOLUTION", Kind::Resolution),
    may("FRAME-RATE", Kind::Float),
    may("HDCP-LEVEL", Kind::Enumerated(&["TYPE-0", "TYPE-1", "NONE"])),
    may("ALLOWED-CPC", Kind::Quoted),
    may("VIDEO-RANGE", Kind::Enumerated(&["SDR", "HLG", "PQ"])),
    may("REQ-VIDEO-LAYOUT", Kind::Quoted),
    may("STABLE-VARIANT-ID", Kind::Quoted),
    may("AUDIO", Kind::Quoted),
    may("VIDEO", Kind::Quoted),
    may("SUBTITLES", Kind::Quoted),
    may("CLOSED-CAPTIONS", ANY_OR_QUOTED),
    may("PATHWAY-ID", Kind::Quoted),
    may("NAME", Kind::Quoted),
];
/// `CLOSED-CAPTIONS` is quoted or NONE; we write neither, and a quoted one is a group's name.
const ANY_OR_QUOTED: Kind = Kind::Enumerated(&["NONE"]);
