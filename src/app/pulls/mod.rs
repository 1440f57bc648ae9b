//! Streams that are fetched from a source of their own: begun by the first viewer or at the start, ended when nobody
//! watches, tried again when the source fails. What is said to the source is in `work`.
//!
//! A pull lives at its stream's home and holds the name's claim from begin to end, as a publisher does. The stream is
//! there from the begin, so that viewers wait as for any that is being started; a source that fails is a publisher that
//! left: viewers are held for `grace`, and one timeline goes on when it is back.
//!
//! Invariants: a name has one pull; a socket or connection that a pull no longer knows is closed; a pull that is taken out
//! to be worked with, and does not come back, is tried again.

mod datagrams;
mod work;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use penstock_proto::rtp::Arrival;
use penstock_proto::rtsp::Part;
use penstock_proto::rtsp::client::{Lane, Preference, Session};
use penstock_shard::connection::ConnId;
use penstock_shard::core::Core;
use penstock_shard::datagrams::DatagramId;
use penstock_shard::kernel::Kernel;
use penstock_shard::mesh::ShardId;
use tracing::{debug, info, warn};

use super::moves::Travel;
use super::{App, Timer, guarded};
use crate::config::{self, SecondPublisher, Source};
use crate::directory::{Grant, arbiter_of};
use crate::limits;
use crate::messages::{ClaimId, Message};
use crate::names::StreamName;
use crate::stream::{Input, Publisher};
use crate::tls::Trust;

/// A shard's pulls by place.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    places: Vec<Option<Pull>>,
    /// UDP sockets of all of them.
    sockets: HashMap<DatagramId, Socket>,
    /// Attempts so far: each has a number, by which what comes late is told apart.
    attempts: u64,
    /// Where the next pair of UDP ports is looked for, behind the first one.
    next_port: u16,
    is_timed: bool,
}

/// What comes to a UDP socket.
#[derive(Clone, Copy, Debug)]
struct Socket {
    place: usize,
    /// Index in the description.
    medium: usize,
    part: Part,
    /// Of the pair's RTCP.
    reports: DatagramId,
}

#[derive(Debug)]
struct Pull {
    name: StreamName,
    claim: ClaimId,
    source: config::Pull,
    trust: Trust,
    /// How long it goes on without viewers (µs).
    idle_micros: u64,
    /// Makes nonces and waits.
    seed: u64,
    /// How the next attempt begins.
    preference: Preference,
    /// Attempts that failed, one after the other.
    failures: u32,
    retry_at: u64,
    /// None between two of them, and while it is worked with.
    attempt: Option<Box<Attempt>>,
    unwatched_since: Option<u64>,
    /// What was last warned of.
    warned: Option<String>,
}

/// One dialogue with the source.
#[derive(Debug)]
struct Attempt {
    session: Session,
    /// Of its connection; a new one with each.
    number: u64,
    link: Link,
    /// The host that a connection by TLS must be to.
    tls_host: Option<String>,
    /// Of the source, as far as it is connected to.
    address: Option<SocketAddr>,
    lanes: Vec<Lane>,
    playing_since: Option<u64>,
    early: Early,
}

/// Packets that overtook the answer to PLAY, which says where they begin: by UDP they often do. Kept for it, as far as there
/// is room.
#[derive(Debug, Default)]
struct Early {
    packets: Vec<(usize, Part, Arrival, Vec<u8>)>,
    bytes: usize,
}

#[derive(Debug)]
enum Link {
    None,
    Resolving,
    Connecting {
        conn: ConnId,
        /// To be tried after it.
        rest: Vec<IpAddr>,
    },
    Open(ConnId),
}

/// The side of a pull that stands beside the shard's connections.
#[derive(Debug)]
pub(super) struct PullPeer {
    place: usize,
    /// Of the attempt.
    number: u64,
    /// It goes nowhere.
    pub travel: Travel,
}

impl Pulls {
    fn at_mut(&mut self, place: usize) -> Option<&mut Pull> {
        self.places.get_mut(place)?.as_mut()
    }

    fn insert(&mut self, pull: Pull) -> usize {
        let free = self.places.iter().position(Option::is_none);
        let place = free.unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(pull);
        place
    }

    fn place_of(&self, number: u64) -> Option<usize> {
        let is_its = |pull: &Pull| pull.attempt.as_deref().is_some_and(|attempt| attempt.number == number);
        self.places.iter().position(|pull| pull.as_ref().is_some_and(is_its))
    }

    /// What its session holds of the source's input.
    pub fn held_bytes(&self, peer: &PullPeer) -> usize {
        let pull = self.places.get(peer.place).and_then(Option::as_ref);
        let attempt = pull.and_then(|pull| pull.attempt.as_deref());
        attempt.map_or(0, |attempt| attempt.session.bytes() + attempt.early.bytes)
    }
}

impl<K: Kernel> App<K> {
    /// As arbiter: the name is to be pulled, if it has a source and nobody. Its home.
    pub(super) fn start_pull(&mut self, core: &mut Core<Message<K>, K>, name: &StreamName) -> Option<ShardId> {
        let is_pulled = matches!(self.configured(name)?.source, Source::Pull(_));
        // A wildcard is no camera, and as many names as anybody likes.
        if !is_pulled || name.wildcard().is_some() || self.stopping {
            return None;
        }
        self.claims += 1;
        let claim = ClaimId(u64::from(core.id().0) << 48 | self.claims);
        match self.directory.claim(name, claim, core.id(), SecondPublisher::Refuse) {
            Grant::Granted { home } => {
                let name = name.clone();
                self.deliver(core, home, Message::Pull { name, claim });
                Some(home)
            }
            Grant::Busy => self.directory.home(name),
            Grant::Replaced { .. } | Grant::Full => None,
        }
    }

    /// As home: the pull begins.
    pub(super) fn pull(&mut self, core: &mut Core<Message<K>, K>, name: StreamName, claim: ClaimId) {
        let stream = self
            .configured(&name)
            .map(|stream| (stream.source.clone(), stream.input_timeout_seconds, stream.tls_trust));
        let Some((Source::Pull(source), idle_seconds, trust)) = stream else {
            return self.release(core, name, claim);
        };
        let publisher = Publisher::new(claim, None, Input::packets(&[], 0, core.now()), core.now());
        if let Err(why) = self.take_publisher(core, &name, publisher) {
            warn!(stream = name.as_str(), source = %source.address, reason = why, "source is not pulled");
            // What is always on is tried again, and makes its stream when it plays.
            if !source.always_on {
                return self.release(core, name, claim);
            }
        }
        info!(stream = name.as_str(), source = %source.address, shard = core.id().0, "source is pulled");
        let now = core.now();
        let place = self.pulls.insert(Pull {
            seed: RandomState::new().hash_one((name.as_str(), now)),
            name,
            claim,
            preference: source.transport,
            source,
            trust,
            idle_micros: u64::from(idle_seconds) * 1_000_000,
            failures: 0,
            retry_at: now,
            attempt: None,
            unwatched_since: None,
            warned: None,
        });
        self.counters.pulls.add(1);
        if !self.pulls.is_timed {
            self.pulls.is_timed = true;
            core.set_timer(now + limits::PULL_LOOK_MICROS, Timer::Pulls.key(0));
        }
        self.try_pull(core, place);
    }

    /// What is due of any pull that no connection reminds of.
    pub(super) fn look_at_pulls(&mut self, core: &mut Core<Message<K>, K>) {
        for place in 0..self.pulls.places.len() {
            let done = guarded(|| self.look_at_pull(core, place));
            if done.is_none() {
                self.pull_broken(core, place);
            }
        }
        self.pulls.is_timed = self.pulls.places.iter().any(Option::is_some);
        if self.pulls.is_timed {
            core.set_timer(core.now() + limits::PULL_LOOK_MICROS, Timer::Pulls.key(0));
        }
    }

    fn look_at_pull(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let now = core.now();
        let Some(pull) = self.pulls.at_mut(place) else { return };
        if !pull.source.always_on {
            let stream = self
                .streams
                .place_of(&pull.name)
                .and_then(|place| self.streams.at(place));
            let is_watched = stream.map(|stream| stream.is_watched(now));
            if is_watched != Some(false) {
                pull.unwatched_since = None;
            }
            let since = *pull.unwatched_since.get_or_insert(now);
            let why = match is_watched {
                // Its viewers have been told of the end.
                None => Some("the source did not come back"),
                Some(false) if now >= since + pull.idle_micros => Some("nobody watches"),
                Some(_) => None,
            };
            if let Some(why) = why {
                return self.end_pull(core, place, why);
            }
        }
        match &pull.attempt {
            None if now >= pull.retry_at => self.try_pull(core, place),
            // An open connection has a deadline of its own.
            Some(attempt) if !matches!(attempt.link, Link::Open(_)) => self.pull_time(core, place),
            _ => {}
        }
    }

    fn try_pull(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let now = core.now();
        let Some(pull) = self.pulls.at_mut(place) else { return };
        let seed = pull.seed.wrapping_add(u64::from(pull.failures)) ^ now;
        let session = Session::new(now / 1000, pull.source.address.clone(), pull.preference, seed);
        pull.attempt = Some(Box::new(Attempt {
            session,
            number: 0,
            link: Link::None,
            tls_host: None,
            address: None,
            lanes: Vec::new(),
            playing_since: None,
            early: Early::default(),
        }));
        self.counters.pulls_tried.add(1);
        self.with_pull(core, place, |_, _, _| Ok(()));
    }

    /// An attempt is over; another follows. What it had is closed.
    fn pull_failed(&mut self, core: &mut Core<Message<K>, K>, place: usize, mut attempt: Box<Attempt>, cause: String) {
        let now = core.now();
        attempt.session.close();
        self.pull_say_goodbye(core, &mut attempt);
        self.pull_unlink(core, place, &mut attempt);
        let address = attempt.address;
        self.pull_leaves(core, place, address, &cause);
        let Some(pull) = self.pulls.at_mut(place) else { return };
        let lasted = attempt.playing_since.map_or(0, |since| now - since);
        if lasted >= limits::PULL_PROVEN_MICROS {
            pull.failures = 0;
        }
        // What has played is what it begins with next time.
        pull.preference = match attempt.playing_since {
            Some(_) => attempt.session.tried(),
            None => pull.source.transport,
        };
        let wait = pull.back_off();
        pull.retry_at = now + wait;
        pull.failures = pull.failures.saturating_add(1);
        let (stream, source, seconds) = (pull.name.as_str(), &pull.source.address, wait as f64 / 1e6);
        // Once for each cause: a camera that is switched off for a week is no news.
        if pull.warned.as_ref() == Some(&cause) {
            debug!(stream, %source, reason = cause, seconds, "source failed again");
        } else {
            warn!(stream, %source, reason = cause, seconds, "source failed; it is tried again in so many seconds");
            pull.warned = Some(cause);
        }
        self.counters.pulls_failed.add(1);
    }

    /// A panic in the work for a pull: its stream, which may be in the middle of something, ends; the pull is tried again.
    pub(super) fn pull_broken(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        self.pull_close_sockets(core, place);
        let wait = limits::PULL_RETRY_MICROS_MAX;
        let now = core.now();
        let Some(pull) = self.pulls.at_mut(place) else { return };
        pull.attempt = None;
        pull.retry_at = now + wait;
        let (name, claim) = (pull.name.clone(), pull.claim);
        let Some(stream) = self.streams.place_of(&name) else {
            return;
        };
        // Its publisher may be out of its place: then nobody else's is there.
        let is_its = |stream: &crate::stream::Stream| match &stream.publisher {
            Some(publisher) => publisher.claim == claim,
            None => stream.gone_since.is_none(),
        };
        if self.streams.at(stream).is_some_and(is_its) {
            self.discard_stream(core, stream);
        }
    }

    pub(super) fn pull_peer_broken(&mut self, core: &mut Core<Message<K>, K>, peer: &PullPeer) {
        self.pull_broken(core, peer.place);
    }

    /// Nobody wants it, or we stop. The stream ends with it.
    fn end_pull(&mut self, core: &mut Core<Message<K>, K>, place: usize, why: &str) {
        let Some(pull) = self.pulls.at_mut(place) else { return };
        let (name, claim) = (pull.name.clone(), pull.claim);
        let mut address = None;
        if let Some(mut attempt) = pull.attempt.take() {
            address = attempt.address;
            attempt.session.close();
            self.pull_say_goodbye(core, &mut attempt);
            self.pull_unlink(core, place, &mut attempt);
        }
        info!(stream = name.as_str(), reason = why, "source is pulled no more");
        self.pull_leaves(core, place, address, why);
        self.pulls.places[place] = None;
        self.counters.pulls.sub(1);
        if let Some(stream) = self.streams.place_of(&name) {
            self.with_stream(core, stream, |app, core| app.end_stream(core, stream));
        }
        self.release(core, name, claim);
    }

    pub(super) fn end_all_pulls(&mut self, core: &mut Core<Message<K>, K>) {
        for place in 0..self.pulls.places.len() {
            self.end_pull(core, place, "the server is closing");
        }
    }

    /// The stream that a pull writes now.
    fn stream_of_pull(&self, place: usize) -> Option<usize> {
        let pull = self.pulls.places.get(place)?.as_ref()?;
        let stream = self.streams.place_of(&pull.name)?;
        let publisher = self.streams.at(stream)?.publisher.as_ref()?;
        (publisher.claim == pull.claim).then_some(stream)
    }

    /// The source sends nothing more for now.
    fn pull_leaves(&mut self, core: &mut Core<Message<K>, K>, place: usize, address: Option<SocketAddr>, why: &str) {
        let Some(stream) = self.stream_of_pull(place) else {
            return;
        };
        let claim = self.pulls.at_mut(place).map(|pull| pull.claim);
        if let Some(claim) = claim {
            let address = address.unwrap_or(UNKNOWN);
            self.publisher_left(core, address, stream, claim, why.to_owned());
        }
    }

    /// From the control plane, to the arbiter: the source is pulled whether or not anybody watches.
    pub(super) fn pull_from_start(&mut self, core: &mut Core<Message<K>, K>, name: &StreamName) {
        debug_assert!(arbiter_of(name, core.shards()) == core.id());
        self.start_pull(core, name);
    }
}

impl Pull {
    /// From one second doubling to thirty, and up to a quarter more, so that cameras behind one switch come back one by one.
    fn back_off(&self) -> u64 {
        let doubled = limits::PULL_RETRY_MICROS_MIN << self.failures.min(10);
        let wait = doubled.min(limits::PULL_RETRY_MICROS_MAX);
        let random = self
            .seed
            .rotate_left(self.failures.wrapping_mul(7))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 32;
        wait + random % (wait / 4)
    }
}

/// A publisher that was never connected.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use penstock_proto::rtsp::client::Address;

    use super::*;

    #[test]
    fn waits_double_from_one_second_to_thirty() {
        let source = config::Pull {
            address: Address::parse("rtsp://h/").unwrap(),
            transport: Preference::Auto,
            always_on: true,
        };
        let mut waits = Vec::new();
        for seed in [1, 77] {
            let mut pull = Pull {
                name: StreamName::sanitise("a").unwrap().name,
                claim: ClaimId(1),
                source: source.clone(),
                trust: Trust::System,
                idle_micros: 0,
                seed: RandomState::new().hash_one(seed),
                preference: Preference::Auto,
                failures: 0,
                retry_at: 0,
                attempt: None,
                unwatched_since: None,
                warned: None,
            };
            for least in [
                1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000, 30_000_000, 30_000_000,
            ] {
                let wait = pull.back_off();
                assert!((least..least + least / 4).contains(&wait), "{wait} of {least}");
                waits.push(wait);
                pull.failures += 1;
            }
            pull.failures = u32::MAX;
            assert!(pull.back_off() >= 30_000_000);
        }
        assert_ne!(waits[..7], waits[7..], "two pulls do not come back together");
    }
}
