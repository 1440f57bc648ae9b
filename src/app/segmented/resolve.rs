//! Where a thing is, on an edition of a stream's shelf: pure, and the same for every viewer.

use std::ops::Range;
use std::sync::Arc;

use penstock_proto::hls::{Reload, Verdict};
use penstock_shard::feed::Feed;

use crate::shelf::{Edition, Growing, Item, Lane, LaneKey, Shelved, Source, Text};

/// What an edition has for a request.
#[derive(Clone, Debug)]
pub enum Found {
    Text(Arc<Text>),
    /// Of this generation.
    Init(Arc<Lane>, u32, Arc<[u8]>),
    /// Bytes of a feed.
    Range(Arc<Lane>, Arc<Feed>, Range<u64>, Tag),
    /// The segment that is being made.
    Growing(Arc<Lane>, Growing),
    /// It is next, or soon to come.
    Wait,
    /// Not on this edition: the home is to be asked.
    Ask,
    /// It is not there, nor will it be.
    Gone,
    /// Further ahead than may be asked for.
    TooFar,
}

/// What tells a thing from all others of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub number: u64,
    pub part: Option<u32>,
}

/// Parts that may be asked for ahead of the last one there is: the hinted one, and the one behind it.
const PARTS_AHEAD: usize = 1;

pub fn resolve(edition: &Edition, item: &Item, reload: &Reload) -> Found {
    match *item {
        Item::Text(key) => match edition.text(key) {
            None => Found::Ask,
            Some(text) => judge(text, reload),
        },
        Item::Init { lane, generation } => in_lane(edition, lane, |lane| {
            let found = match generation {
                Some(generation) => lane.inits.iter().find(|(known, _)| *known == generation),
                None => lane.inits.last(),
            };
            // A lane that has just begun has none before its first segment.
            let none = if lane.inits.is_empty() {
                Found::Wait
            } else {
                Found::Gone
            };
            found.map_or(none, |(generation, init)| {
                Found::Init(lane.clone(), *generation, init.clone())
            })
        }),
        Item::Segment { lane, name_millis } => segment(edition, lane, |name, _| name == name_millis),
        Item::Numbered { lane, number } => segment(edition, lane, |_, found| found == number),
        Item::Part {
            lane,
            name_millis,
            part,
        } => in_lane(edition, lane, |lane| part_of(lane, name_millis, part)),
    }
}

fn judge(text: &Arc<Text>, reload: &Reload) -> Found {
    let verdict = text.edge.map_or(Verdict::Now, |edge| reload.judge(edge));
    match verdict {
        Verdict::Now => Found::Text(text.clone()),
        Verdict::Wait => Found::Wait,
        Verdict::TooFar => Found::TooFar,
    }
}

fn in_lane(edition: &Edition, key: LaneKey, find: impl FnOnce(&Arc<Lane>) -> Found) -> Found {
    edition.lane(key).map_or(Found::Ask, find)
}

fn segment(edition: &Edition, key: LaneKey, is_it: impl Fn(i64, u64) -> bool) -> Found {
    in_lane(edition, key, |lane| {
        let shelved = lane
            .segments
            .iter()
            .find(|shelved| is_it(shelved.name_millis, shelved.number));
        if let Some(shelved) = shelved {
            return range(lane, shelved, shelved.range.clone(), None);
        }
        match &lane.growing {
            Some(growing) if is_it(growing.name_millis, growing.number) => match lane.chunked {
                Some(_) => Found::Growing(lane.clone(), growing.clone()),
                None => Found::Ask,
            },
            // A name can be of an older segment, which the home makes again; numbers ahead of the growing one are not there.
            Some(growing) if is_it(growing.name_millis, growing.number + 1) => Found::Wait,
            _ => Found::Ask,
        }
    })
}

fn part_of(lane: &Arc<Lane>, name_millis: i64, part: u32) -> Found {
    let index = part as usize;
    if let Some(growing) = lane
        .growing
        .as_ref()
        .filter(|growing| growing.name_millis == name_millis)
    {
        let tag = Tag {
            number: growing.number,
            part: Some(part),
        };
        return match growing.parts.get(index) {
            Some(place) => Found::Range(lane.clone(), lane.live.clone(), place.clone(), tag),
            None if index <= growing.parts.len() + PARTS_AHEAD => Found::Wait,
            None => Found::TooFar,
        };
    }
    match lane.segments.iter().find(|shelved| shelved.name_millis == name_millis) {
        None => Found::Ask,
        Some(shelved) => match shelved.parts.get(index) {
            Some(place) => range(lane, shelved, place.clone(), Some(part)),
            // One that was hinted at and did not come, since its segment ended.
            None => Found::Gone,
        },
    }
}

fn range(lane: &Arc<Lane>, shelved: &Shelved, place: Range<u64>, part: Option<u32>) -> Found {
    let feed = match (shelved.from, &lane.again) {
        (Source::Live, _) => &lane.live,
        (Source::Again, Some(again)) => again,
        (Source::Again, None) => return Found::Ask,
    };
    let tag = Tag {
        number: shelved.number,
        part,
    };
    Found::Range(lane.clone(), feed.clone(), place, tag)
}

#[cfg(test)]
pub(super) mod tests;
