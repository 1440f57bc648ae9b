//! Answers: a head of the session's own, and bytes that are sent without being copied.

use std::sync::Arc;

use penstock_proto::http::{
    Answer, ByteRange, CHUNK_END, Cache, Coding, ContentRange, Head, Length, Method, Output, Status, Version,
    chunk_head,
};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, FeedId};
use penstock_shard::fanout::{Class, Limit};
use penstock_shard::feed::Feed;
use penstock_shard::kernel::Kernel;
use penstock_shard::sys::clock;

use super::resolve::{Found, Tag};
use super::{App, Fetch};
use crate::app::http::{HttpPeer, State};
use crate::limits;
use crate::messages::Message;
use crate::shelf::{Edition, Growing, Item, Lane, LaneKey, Text, TextKey};

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    /// What it is for is not there yet.
    Wait,
    /// What it is for has left its feed.
    Passed,
}

/// Bytes that follow a head.
enum Body {
    Shared(Arc<[u8]>),
    Range {
        feed: FeedId,
        start: u64,
        limit: Limit,
        /// In front of it, as a chunk of its own: the rest of a part that is there.
        lead: Vec<u8>,
    },
}

/// How the bytes of a thing are asked for.
struct Wanted {
    method: Method,
    version: Version,
    range: ByteRange,
    is_fresh: bool,
    accepts_gzip: bool,
}

/// Everything an answer says beside its length.
struct Said<'a> {
    content_type: &'a str,
    etag: &'a str,
    cache: Cache,
    coding: Coding,
}

impl<K: Kernel> App<K> {
    pub(super) fn answer_fetch(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        fetch: &Fetch,
        found: Found,
        edition: &Arc<Edition>,
    ) -> Outcome {
        let cache = cache_of(edition, fetch);
        match found {
            Found::Text(text) => {
                edition.usage.used_text(core.id(), text.key, core.now());
                self.answer_text(core, conn, peer, &text, text_cache(edition, fetch, &text))
            }
            Found::Init(lane, generation, init) => {
                edition.usage.used_lane(core.id(), lane.key, core.now());
                let etag = format!("\"{}-{}-i{generation}\"", edition.epoch, lane_tag(&lane));
                let said = said(lane.content_type, &etag, cache);
                self.answer_init(core, conn, peer, init, &said)
            }
            Found::Range(lane, feed, range, tag) => {
                edition.usage.used_lane(core.id(), lane.key, core.now());
                let etag = etag_of(edition, &lane, tag);
                let said = said(lane.content_type, &etag, cache);
                self.answer_range(core, conn, peer, &feed, range, &said)
            }
            Found::Growing(lane, growing) => {
                edition.usage.used_lane(core.id(), lane.key, core.now());
                let tag = Tag {
                    number: growing.number,
                    part: None,
                };
                let etag = etag_of(edition, &lane, tag);
                let said = said(lane.content_type, &etag, cache);
                self.answer_growing(core, conn, peer, &lane, &growing, &said)
            }
            Found::Wait | Found::Ask | Found::Gone | Found::TooFar => Outcome::Wait,
        }
    }

    fn answer_text(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        text: &Arc<Text>,
        cache: Cache,
    ) -> Outcome {
        let Some(probe) = wanted(peer, &text.etag, None) else {
            return Outcome::Answered;
        };
        let (bytes, etag, coding) = match probe.accepts_gzip {
            true => (&text.gzip, &text.etag_gzip, Coding::Gzip),
            false => (&text.identity, &text.etag, Coding::Identity),
        };
        let is_fresh = wanted(peer, etag, None).is_some_and(|wanted| wanted.is_fresh);
        let head = Head {
            status: if is_fresh { Status::NotModified } else { Status::Ok },
            content_type: text_type(text.key),
            length: Length::Known(bytes.len() as u64),
            content_range: None,
            etag: Some(etag),
            cache,
            coding,
            wall_seconds: wall_seconds(),
        };
        self.begin_answer(core, conn, peer, &head, Body::Shared(bytes.clone()));
        Outcome::Answered
    }

    fn answer_init(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        init: Arc<[u8]>,
        said: &Said<'_>,
    ) -> Outcome {
        let length = init.len() as u64;
        let Some(wanted) = wanted(peer, said.etag, Some(length)) else {
            return Outcome::Answered;
        };
        match part_asked(&wanted, length) {
            Asked::Unsatisfiable => self.refuse_range(core, peer, Some(length)),
            Asked::Whole(status) => {
                let head = said.head(status, Length::Known(length), None);
                self.begin_answer(core, conn, peer, &head, Body::Shared(init));
            }
            Asked::Range { first, last } => {
                let content = Some(content_range(first, last, length));
                let head = said.head(Status::PartialContent, Length::Known(last + 1 - first), content);
                let piece = Arc::from(&init[first as usize..=last as usize]);
                self.begin_answer(core, conn, peer, &head, Body::Shared(piece));
            }
        }
        Outcome::Answered
    }

    fn answer_range(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        feed: &Arc<Feed>,
        range: std::ops::Range<u64>,
        said: &Said<'_>,
    ) -> Outcome {
        let length = range.end - range.start;
        let Some(wanted) = wanted(peer, said.etag, Some(length)) else {
            return Outcome::Answered;
        };
        let (status, first, last) = match part_asked(&wanted, length) {
            Asked::Unsatisfiable => {
                self.refuse_range(core, peer, Some(length));
                return Outcome::Answered;
            }
            Asked::Whole(status) => (status, 0, length - 1),
            Asked::Range { first, last } => (Status::PartialContent, first, last),
        };
        let content = (status == Status::PartialContent).then(|| content_range(first, last, length));
        let head = said.head(status, Length::Known(last + 1 - first), content);
        let body = Body::Range {
            feed: self.open_range_feed(core, feed),
            start: range.start + first,
            limit: Limit::At(range.start + last + 1),
            lead: Vec::new(),
        };
        self.begin_ranged(core, conn, peer, &wanted, &head, body)
    }

    /// A segment that is being made: what there is of it, and the rest as it comes.
    fn answer_growing(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        lane: &Arc<Lane>,
        growing: &Growing,
        said: &Said<'_>,
    ) -> Outcome {
        let Some(wanted) = wanted(peer, said.etag, None) else {
            return Outcome::Answered;
        };
        let there = growing.parts.last().map_or(0, |part| part.end - growing.start);
        let first = match wanted.range {
            ByteRange::Unsatisfiable => {
                self.refuse_range(core, peer, None);
                return Outcome::Answered;
            }
            ByteRange::One { last, .. } if last >= there => return Outcome::Wait,
            ByteRange::One { first, last } => {
                let content = ContentRange {
                    first,
                    last,
                    complete: None,
                };
                let head = said.head(Status::PartialContent, Length::Known(last + 1 - first), Some(content));
                let body = Body::Range {
                    feed: self.open_range_feed(core, &lane.live),
                    start: growing.start + first,
                    limit: Limit::At(growing.start + last + 1),
                    lead: Vec::new(),
                };
                return self.begin_ranged(core, conn, peer, &wanted, &head, body);
            }
            ByteRange::Open { first } => Some(first),
            ByteRange::None => None,
        };
        // Who knows no chunks is given it when its length is known; so is one who asks for what is not there at all.
        let Some(chunked) = lane.chunked.as_ref().filter(|_| wanted.version == Version::Http11) else {
            return Outcome::Wait;
        };
        let Some((start, lead)) = place_in_chunks(lane, growing, first.unwrap_or(0)) else {
            return Outcome::Wait;
        };
        let status = if first.is_some() {
            Status::PartialContent
        } else {
            Status::Ok
        };
        let head = said.head(status, Length::Chunked, first.map(ContentRange::open));
        let body = Body::Range {
            feed: self.open_range_feed(core, chunked),
            start,
            limit: Limit::EndOfObject,
            lead,
        };
        self.counters.segments_followed.add(1);
        self.begin_ranged(core, conn, peer, &wanted, &head, body)
    }

    /// The body is claimed before its head is written: a promise that could not be kept is not made.
    fn begin_ranged(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        wanted: &Wanted,
        head: &Head<'_>,
        body: Body,
    ) -> Outcome {
        let Body::Range { feed, start, .. } = body else {
            self.begin_answer(core, conn, peer, head, body);
            return Outcome::Answered;
        };
        let follows = wanted.method != Method::Head && head.status != Status::NotModified;
        if follows && core.hold(feed, start).is_err() {
            self.range_feed_unused(core, feed);
            return Outcome::Passed;
        }
        self.begin_answer(core, conn, peer, head, body);
        if follows {
            core.let_go(feed, start);
        }
        self.range_feed_unused(core, feed);
        Outcome::Answered
    }

    fn begin_answer(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &mut HttpPeer,
        head: &Head<'_>,
        body: Body,
    ) {
        let answer = peer.session.respond_body(core.now() / 1000, head);
        peer.state = State::Idle;
        while let Some(output) = peer.session.poll_output() {
            if let Output::Transmit(bytes) = output {
                core.send(conn, bytes);
            } else {
                break;
            }
        }
        if answer == Answer::HeadOnly {
            return;
        }
        peer.state = State::Sending;
        match body {
            Body::Shared(bytes) => core.send_shared(conn, bytes),
            Body::Range {
                feed,
                start,
                limit,
                lead,
            } => {
                core.send(conn, &lead);
                // What is held has not been passed.
                let joined = core.join_range(conn, feed, start, limit);
                debug_assert!(joined.is_ok());
            }
        }
    }

    fn refuse_range(&mut self, core: &mut Core<Message<K>, K>, peer: &mut HttpPeer, length: Option<u64>) {
        self.counters.http_errors.add(1);
        let status = Status::RangeNotSatisfiable { length };
        peer.session
            .refuse(core.now() / 1000, status, "no byte of that range is there");
        peer.state = State::Idle;
    }

    /// This shard's name of a feed of which ranges are sent.
    fn open_range_feed(&mut self, core: &mut Core<Message<K>, K>, feed: &Arc<Feed>) -> FeedId {
        if let Some(id) = self.segmented.local_feed(feed) {
            return id;
        }
        let id = core.open_feed(feed.clone(), Class::Waiting);
        self.segmented.keep_feed(id, feed.clone());
        id
    }

    /// A feed of which nothing is sent here any more is forgotten. Whether it was one of those.
    pub(in crate::app) fn range_feed_unused(&mut self, core: &mut Core<Message<K>, K>, id: FeedId) -> bool {
        if !self.segmented.feeds.contains_key(&id) {
            return false;
        }
        if !core.is_needed(id) {
            self.segmented.forget_feed(id);
            core.close_feed(id);
        }
        true
    }

    /// The body of an answer is sent: the next request is read.
    pub(in crate::app) fn body_sent(&mut self, core: &mut Core<Message<K>, K>, peer: &mut HttpPeer) {
        peer.state = State::Idle;
        peer.session.body_sent(core.now() / 1000);
    }
}

impl<'a> Said<'a> {
    fn head(&self, status: Status, length: Length, content_range: Option<ContentRange>) -> Head<'a> {
        Head {
            status,
            content_type: self.content_type,
            length,
            content_range,
            etag: Some(self.etag),
            cache: self.cache,
            coding: self.coding,
            wall_seconds: wall_seconds(),
        }
    }
}

fn said<'a>(content_type: &'a str, etag: &'a str, cache: Cache) -> Said<'a> {
    Said {
        content_type,
        etag,
        cache,
        coding: Coding::Only,
    }
}

/// Nothing when no request waits.
fn wanted(peer: &HttpPeer, etag: &str, length: Option<u64>) -> Option<Wanted> {
    let request = peer.session.request()?;
    Some(Wanted {
        method: request.method(),
        version: request.version(),
        range: request.byte_range(length, Some(etag)),
        is_fresh: request.if_none_match(etag),
        accepts_gzip: request.accepts_gzip(),
    })
}

/// Which bytes of a thing of known length go out.
enum Asked {
    Whole(Status),
    Range { first: u64, last: u64 },
    Unsatisfiable,
}

fn part_asked(wanted: &Wanted, length: u64) -> Asked {
    match wanted.range {
        _ if wanted.is_fresh => Asked::Whole(Status::NotModified),
        ByteRange::One { first, last } => Asked::Range { first, last },
        ByteRange::Open { first } => Asked::Range {
            first,
            last: length - 1,
        },
        ByteRange::Unsatisfiable => Asked::Unsatisfiable,
        ByteRange::None => Asked::Whole(Status::Ok),
    }
}

fn content_range(first: u64, last: u64, length: u64) -> ContentRange {
    ContentRange {
        first,
        last,
        complete: Some(length),
    }
}

/// Where in the chunked feed the byte `first` of the growing segment is: the start of a chunk, and in front of it, as a chunk of
/// its own, the rest of the part it stands in. Nothing when it is ahead of all parts, or gone.
fn place_in_chunks(lane: &Lane, growing: &Growing, first: u64) -> Option<(u64, Vec<u8>)> {
    let position = growing.start.checked_add(first)?;
    let at = growing.parts.iter().position(|part| position < part.end);
    let Some(at) = at else {
        let end = growing.parts.last().map_or(growing.start, |part| part.end);
        let next = growing.chunks.last().filter(|_| position == end)?;
        return Some((*next, Vec::new()));
    };
    let part = &growing.parts[at];
    if part.start == position {
        return Some((*growing.chunks.get(at)?, Vec::new()));
    }
    // Of a long part the rest is not copied: who asks for it is answered when the segment is complete.
    if part.end - position > limits::CHUNK_LEAD_BYTES_MAX {
        return None;
    }
    let mut rest = vec![0; (part.end - position) as usize];
    if !lane.live.copy_out(position, &mut rest) {
        return None;
    }
    let mut lead = Vec::new();
    chunk_head(rest.len(), &mut lead);
    lead.extend_from_slice(&rest);
    lead.extend_from_slice(CHUNK_END);
    Some((*growing.chunks.get(at + 1)?, lead))
}

fn lane_tag(lane: &Lane) -> String {
    let pair = |first: u32, second: Option<u32>| second.map_or(first.to_string(), |second| format!("{first}_{second}"));
    match lane.key {
        LaneKey::Ts { first, second } => format!("t{}", pair(first, second)),
        LaneKey::Cmaf { track } => format!("c{track}"),
        LaneKey::Smooth { track } => format!("s{track}"),
        LaneKey::Hds { first, second } => format!("h{}", pair(first, second)),
    }
}

fn etag_of(edition: &Edition, lane: &Lane, tag: Tag) -> String {
    let (epoch, lane) = (&edition.epoch, lane_tag(lane));
    match tag.part {
        None => format!("\"{epoch}-{lane}-{}\"", tag.number),
        Some(part) => format!("\"{epoch}-{lane}-{}.{part}\"", tag.number),
    }
}

/// A URL with the stream's epoch never means other bytes; without, it may soon, as one of the initialization segment that is in
/// force.
fn cache_of(edition: &Edition, fetch: &Fetch) -> Cache {
    let is_of_now = matches!(fetch.asked.item, Item::Init { generation: None, .. });
    match fetch.asked.epoch.as_deref() == Some(&edition.epoch[..]) && !is_of_now {
        true => Cache::Immutable {
            max_age_seconds: u32::try_from(edition.window_millis / 1000).unwrap_or(u32::MAX).max(1),
        },
        false => Cache::MaxAge { seconds: 1 },
    }
}

/// A playlist that was waited for is what that URL means for good; others are new for a while.
fn text_cache(edition: &Edition, fetch: &Fetch, text: &Text) -> Cache {
    let seconds = match (text.life_millis, fetch.asked.reload.msn) {
        (None, _) => u32::try_from(edition.window_millis / 1000).unwrap_or(u32::MAX),
        (Some(_), Some(_)) => 6 * edition.target_seconds,
        (Some(millis), None) => millis / 1000,
    };
    Cache::MaxAge {
        seconds: seconds.max(1),
    }
}

fn text_type(key: TextKey) -> &'static str {
    match key {
        TextKey::TsMaster | TextKey::TsMedia { .. } | TextKey::CmafMaster { .. } | TextKey::CmafMedia { .. } => {
            "application/vnd.apple.mpegurl"
        }
        TextKey::Mpd { .. } => "application/dash+xml",
        TextKey::Smooth => "text/xml; charset=utf-16",
        TextKey::Hds => "application/f4m+xml",
        TextKey::HdsBootstrap { .. } => "video/abst",
    }
}

fn wall_seconds() -> u64 {
    u64::try_from(clock::wall_micros() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
