//! What can be wrong with a manifest, with where and why.

use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `MPD / Period p1 / Representation 2 / S 3`
    pub place: String,
    pub what: What,
}

/// Times are µs of the presentation, unless said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    NotXml {
        says: String,
    },
    NotMpd {
        name: String,
    },
    Missing {
        attribute: &'static str,
    },
    Malformed {
        attribute: String,
        value: String,
    },
    /// Legal elsewhere, but not with this type of presentation.
    Forbidden {
        attribute: &'static str,
    },
    Unknown {
        element: String,
    },
    /// The schema wants it before one that stands before it.
    Order {
        element: String,
    },
    /// None that says how segments are found in a live presentation.
    Profile {
        profiles: String,
    },
    NoPeriod,
    NoAdaptationSet,
    NoRepresentation,
    DuplicateId {
        id: String,
    },
    /// Not later than the one before.
    PeriodStart {
        start: i64,
        before: i64,
    },
    /// A Period lasts to after the next one begins.
    PeriodEnd {
        end: i64,
        next: i64,
    },
    /// Media times of one Period do not fit together.
    TimeOffset {
        offset: i64,
        other: i64,
    },
    Bandwidth {
        value: u64,
    },
    Codecs {
        codecs: String,
        mime: String,
    },
    /// Neither a timeline nor a duration, or both.
    Addressing,
    Template {
        media: String,
        says: &'static str,
    },
    NoSegments,
    Overlap {
        time: i64,
        end: i64,
    },
    ZeroDuration {
        time: i64,
    },
    SegmentTooLong {
        duration: i64,
        duration_max: i64,
    },
    /// Not in its Period.
    Outside {
        time: i64,
        start: i64,
        end: i64,
    },
    /// Representations of one set whose segments do not begin together.
    NotAligned {
        time: i64,
        other: i64,
    },
    /// It can be asked for at `available`, in µs since 1970, and it is `now`.
    EdgeAhead {
        available: i64,
        now: i64,
    },
    EdgeBehind {
        available: i64,
        now: i64,
    },
    /// The manifest was made at `published`, µs since 1970, and it is `now`, or began at it.
    Published {
        published: i64,
        now: i64,
    },
    /// A live presentation without a clock, or with one that players do not read.
    Clock {
        scheme: String,
    },
    EndsAt {
        said: i64,
        found: i64,
    },
    Delay {
        delay: i64,
        window: i64,
    },
    AvailabilityOffset {
        offset: f64,
        says: &'static str,
    },
    Latency {
        says: &'static str,
    },
    StartChanged {
        from: i64,
        to: i64,
    },
    PublishedBefore {
        from: i64,
        to: i64,
    },
    /// A presentation that had ended goes on.
    Reborn,
    PeriodGone {
        id: String,
    },
    PeriodMoved {
        id: String,
        from: i64,
        to: i64,
    },
    RepresentationGone {
        id: String,
    },
    /// A player knows the tracks of a Period from when it first saw it.
    RepresentationJoined {
        id: String,
    },
    RepresentationChanged {
        id: String,
        attribute: &'static str,
        from: String,
        to: String,
    },
    /// It was listed at a time, and is no more, though older ones are or it was the newest.
    SegmentGone {
        time: i64,
    },
    SegmentChanged {
        time: i64,
        from: (u64, i64),
        to: (u64, i64),
    },
    /// Listed between or before others that had been listed without it.
    SegmentInserted {
        time: i64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::NotXml { says } => write!(f, "{says}"),
            What::NotMpd { name } => write!(f, "the root element is {name}"),
            What::Missing { attribute } => write!(f, "{attribute} is missing"),
            What::Malformed { attribute, value } => write!(f, "{attribute} is {value:?}"),
            What::Forbidden { attribute } => write!(f, "{attribute} must not be here"),
            What::Unknown { element } => write!(f, "element {element} is unknown here"),
            What::Order { element } => write!(f, "element {element} stands too late"),
            What::Profile { profiles } => write!(f, "profiles {profiles:?} are not those of live"),
            What::NoPeriod => write!(f, "there is no Period"),
            What::NoAdaptationSet => write!(f, "there is no AdaptationSet"),
            What::NoRepresentation => write!(f, "there is no Representation"),
            What::DuplicateId { id } => write!(f, "id {id} is used twice"),
            What::PeriodStart { start, before } => write!(f, "Period starts at {start} µs, the one before at {before}"),
            What::PeriodEnd { end, next } => write!(f, "Period ends at {end} µs, the next one begins at {next}"),
            What::TimeOffset { offset, other } => {
                write!(
                    f,
                    "presentationTimeOffset is {offset} µs, another of the Period {other}"
                )
            }
            What::Bandwidth { value } => write!(f, "bandwidth is {value}"),
            What::Codecs { codecs, mime } => write!(f, "codecs {codecs:?} in {mime:?}"),
            What::Addressing => write!(f, "exactly one of SegmentTimeline and duration must be there"),
            What::Template { media, says } => write!(f, "template {media:?} {says}"),
            What::NoSegments => write!(f, "there are no segments"),
            What::Overlap { time, end } => write!(f, "segment begins at {time} µs, the one before ends at {end}"),
            What::ZeroDuration { time } => write!(f, "segment at {time} µs has no duration"),
            What::SegmentTooLong { duration, duration_max } => {
                write!(f, "segment lasts {duration} µs where {duration_max} is the bound")
            }
            What::Outside { time, start, end } => {
                write!(f, "segment at {time} µs is not in its Period, {start} to {end}")
            }
            What::NotAligned { time, other } => {
                write!(f, "segment begins at {time} µs, where another begins at {other}")
            }
            What::EdgeAhead { available, now } => {
                write!(
                    f,
                    "newest segment can be had at {available} µs, it is {now}: {} early",
                    available - now
                )
            }
            What::EdgeBehind { available, now } => {
                write!(
                    f,
                    "newest segment could be had at {available} µs, it is {now}: {} late",
                    now - available
                )
            }
            What::Published { published, now } => write!(f, "published at {published} µs, where {now} is the bound"),
            What::Clock { scheme } => write!(f, "clock {scheme:?} is none that players read"),
            What::EndsAt { said, found } => write!(f, "presentation ends at {said} µs, its segments at {found}"),
            What::Delay { delay, window } => write!(f, "delay of {delay} µs in a window of {window}"),
            What::AvailabilityOffset { offset, says } => write!(f, "availabilityTimeOffset {offset} {says}"),
            What::Latency { says } => write!(f, "ServiceDescription: {says}"),
            update => update.fmt_update(f),
        }
    }
}

impl What {
    /// What is wrong from one text to the next.
    fn fmt_update(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::StartChanged { from, to } => write!(f, "availabilityStartTime went from {from} to {to} µs"),
            What::PublishedBefore { from, to } => write!(f, "publishTime went from {from} to {to} µs"),
            What::Reborn => write!(f, "dynamic after it had been static"),
            What::PeriodGone { id } => write!(f, "Period {id} is gone from between others"),
            What::PeriodMoved { id, from, to } => write!(f, "Period {id} moved from {from} to {to} µs"),
            What::RepresentationJoined { id } => write!(f, "Representation {id} joins a Period that was there"),
            What::RepresentationGone { id } => write!(f, "Representation {id} is gone from its Period"),
            What::RepresentationChanged {
                id,
                attribute,
                from,
                to,
            } => {
                write!(f, "Representation {id}: {attribute} went from {from:?} to {to:?}")
            }
            What::SegmentGone { time } => write!(f, "segment at {time} µs is gone, and older ones are not"),
            What::SegmentChanged { time, from, to } => {
                write!(
                    f,
                    "segment at {time} µs: number and duration went from {from:?} to {to:?}"
                )
            }
            What::SegmentInserted { time } => write!(f, "segment at {time} µs comes after later ones"),
            found => write!(f, "{found:?}"),
        }
    }
}
