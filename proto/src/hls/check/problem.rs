//! What the checker can find.

use std::fmt;

/// Something wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 where no line is to blame.
    pub line: usize,
    pub what: What,
}

/// Durations in nanoseconds unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    TooLong,
    /// The first line is not `#EXTM3U` alone.
    FirstLine,
    /// A byte order mark or a control character.
    Control,
    CarriageReturn,
    NoFinalLineFeed,
    UnknownTag,
    /// A tag of a master in a media playlist, or the other way round.
    Mixed,
    /// More than once, where once is allowed.
    Repeated(&'static str),
    Missing(&'static str),
    /// Behind what it must stand before.
    Late(&'static str),
    /// Applies to nothing.
    Loose(&'static str),
    /// The value is no such tag's.
    Value(&'static str),
    AttributeSyntax,
    AttributeRepeated,
    AttributeUnknown,
    AttributeMissing(&'static str),
    /// Not of its type, or none of its values.
    AttributeValue(&'static str),
    Version {
        stated: u64,
        needed: u64,
    },
    /// AVPlayer refuses `EXT-X-SERVER-CONTROL` below version 9 (-12646).
    ControlVersion {
        stated: u64,
    },
    ExtinfRounded {
        seconds: u64,
        target: u64,
    },
    ExtinfOver {
        nanos: u64,
        target: u64,
    },
    UriTwice,
    RangeWithoutOffset,
    RangeHole {
        expected: u64,
        found: u64,
    },
    MapMissing,
    DateFalls {
        millis: i64,
    },
    DateDrifts {
        millis: i64,
    },
    DateMissing,
    PartOver {
        nanos: u64,
        target: u64,
    },
    PartShort {
        nanos: u64,
        target: u64,
    },
    PartsSum {
        parts: u64,
        segment: u64,
    },
    PartsMissing,
    PartsOld,
    PartDependent,
    HoldBack {
        nanos: u64,
        needed: u64,
    },
    PartHoldBack {
        nanos: u64,
        needed: u64,
    },
    SkipBoundary {
        nanos: u64,
        needed: u64,
    },
    NoBlockingReload,
    SkipUnannounced,
    /// Less than the skip boundary is left.
    SkipTooMuch {
        nanos: u64,
    },
    HintOfThePast,
    AfterEnd(&'static str),
    Empty,
    // Of masters.
    NoVariant,
    UriMissing,
    Bandwidth {
        average: u64,
        peak: u64,
    },
    CodecsMissing,
    CodecsWithoutAudio,
    GroupUnknown,
    GroupUnused,
    NameTwice,
    DefaultTwice,
    DefaultNotSelected,
    SelectedAlike,
    GroupsDiffer,
    MediaUri,
    // Of reloads.
    SequenceFalls {
        from: u64,
        to: u64,
    },
    SequenceLeaps {
        from: u64,
        to: u64,
    },
    TargetChanged {
        from: u64,
        to: u64,
    },
    PartTargetChanged {
        from: u64,
        to: u64,
    },
    SegmentChanged {
        number: u64,
        field: &'static str,
    },
    SegmentGone {
        number: u64,
    },
    PartChanged {
        number: u64,
        index: usize,
    },
    PartGone {
        number: u64,
    },
    RemovedTooMuch {
        nanos: u64,
    },
    RemovedFromEvent,
    DiscontinuitySequence {
        expected: u64,
        found: u64,
    },
    UpdateLate {
        millis: u64,
    },
    EndTakenBack,
    ChangedAfterEnd,
    HintUntrue,
    DeltaOfNothing,
    DeltaDiffers {
        field: &'static str,
    },
    ReportMissing,
    ReportUnknown,
    ReportUntrue {
        msn: u64,
        part: u64,
    },
}

impl What {
    /// Where RFC 8216bis says so; empty where it does not, and only we promise it.
    pub fn section(&self) -> &'static str {
        match self {
            What::TooLong | What::CarriageReturn | What::NoFinalLineFeed | What::ExtinfOver { .. } => "",
            What::DateMissing | What::PartsMissing | What::HintUntrue | What::CodecsWithoutAudio => "",
            What::CodecsMissing | What::ControlVersion { .. } => "",
            What::GroupUnused | What::SequenceLeaps { .. } | What::PartTargetChanged { .. } => "",
            What::FirstLine => "4.4.1.1",
            What::Control | What::UnknownTag | What::Mixed | What::Empty => "4.1",
            What::Repeated(_) | What::Missing(_) | What::Late(_) | What::Loose(_) | What::Value(_) => "4.4",
            What::AttributeSyntax | What::AttributeRepeated | What::AttributeUnknown => "4.2",
            What::AttributeMissing(_) | What::AttributeValue(_) => "4.4",
            What::Version { .. } => "8",
            What::ExtinfRounded { .. } => "4.4.3.1",
            What::UriTwice => "4.4.4",
            What::RangeWithoutOffset | What::RangeHole { .. } => "4.4.4.2",
            What::MapMissing => "3.1.2",
            What::DateFalls { .. } | What::DateDrifts { .. } => "6.2.1",
            What::PartOver { .. } | What::PartShort { .. } | What::PartsSum { .. } => "4.4.4.9",
            What::PartDependent => "4.4.2.1",
            What::PartsOld => "6.2.2",
            What::HoldBack { .. } | What::PartHoldBack { .. } | What::SkipBoundary { .. } => "4.4.3.8",
            What::NoBlockingReload => "B.1",
            What::SkipUnannounced | What::SkipTooMuch { .. } => "6.2.5.1",
            What::HintOfThePast => "4.4.5.3",
            What::AfterEnd(_) => "4.4.3.4",
            What::NoVariant | What::UriMissing | What::Bandwidth { .. } => "4.4.6.2",
            What::GroupUnknown => "4.4.6.2.1",
            What::NameTwice | What::DefaultTwice | What::SelectedAlike | What::GroupsDiffer => "4.4.6.1.1",
            What::DefaultNotSelected | What::MediaUri => "4.4.6.1",
            What::SequenceFalls { .. } | What::RemovedTooMuch { .. } => "6.2.2",
            What::DiscontinuitySequence { .. } => "6.2.2",
            What::TargetChanged { .. } | What::SegmentChanged { .. } | What::SegmentGone { .. } => "6.2.1",
            What::PartChanged { .. } | What::PartGone { .. } | What::RemovedFromEvent => "6.2.1",
            What::UpdateLate { .. } | What::EndTakenBack | What::ChangedAfterEnd => "6.2.1",
            What::DeltaOfNothing | What::DeltaDiffers { .. } => "6.2.5.1",
            What::ReportMissing | What::ReportUnknown | What::ReportUntrue { .. } => "4.4.5.4",
        }
    }

    /// No MUST of the RFC: our own promise, or what a player that we know needs.
    pub fn is_ours(&self) -> bool {
        self.section().is_empty()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = self.what.section();
        match section {
            "" => write!(f, "line {}: {:?} (our promise)", self.line, self.what),
            _ => write!(f, "line {}: {:?} (RFC 8216bis {section})", self.line, self.what),
        }
    }
}
