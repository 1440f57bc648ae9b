//! The built-in clip, played in a loop as a publisher of this process: what `penstock demo` shows.

use penstock_proto::flv;
use penstock_proto::tag::demux::MessageKind;
use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;
use tracing::info;

use super::{App, Timer, guarded};
use crate::directory::Grant;
use crate::messages::{ClaimId, Message};
use crate::names::StreamName;
use crate::stream::{Input, Piece, Publisher};

/// About ten seconds of test picture and tone, made by `src/demo/make-clip`.
const CLIP: &[u8] = include_bytes!("../demo/clip.flv");

/// The clip's place in its loop. Lives at the stream's home.
#[derive(Debug)]
pub(super) struct Clip {
    name: StreamName,
    claim: ClaimId,
    place: usize,
    messages: Vec<Timed>,
    next: usize,
    /// Clip time 0 of this round, µs of the shard's clock.
    round_since: u64,
    /// Rounds played.
    rounds: u64,
    round_millis: u64,
}

#[derive(Debug)]
struct Timed {
    kind: MessageKind,
    millis: u32,
    body: Vec<u8>,
}

enum Played {
    Goes,
    Over,
}

impl Clip {
    fn read(name: StreamName, claim: ClaimId, place: usize, now: u64) -> Clip {
        let mut reader = flv::Reader::new();
        let mut messages = Vec::new();
        reader.feed(CLIP);
        while let Ok(Some(tag)) = reader.next_tag() {
            messages.push(Timed {
                kind: tag.kind,
                millis: tag.timestamp,
                body: tag.body.to_vec(),
            });
        }
        let round_millis = [MessageKind::Video, MessageKind::Audio]
            .map(|kind| span_millis(&messages, kind))
            .into_iter()
            .max()
            .unwrap_or(0)
            .max(1);
        Clip {
            name,
            claim,
            place,
            messages,
            next: 0,
            round_since: now,
            rounds: 0,
            round_millis,
        }
    }
}

/// From the first message of a kind to where the one after its last would be.
fn span_millis(messages: &[Timed], kind: MessageKind) -> u64 {
    let mut times: Vec<u32> = messages
        .iter()
        .filter(|timed| timed.kind == kind)
        .map(|timed| timed.millis)
        .collect();
    // Sequence headers and the end of sequence stand at the times of frames.
    times.dedup();
    match times[..] {
        [first, .., before, last] => u64::from(last - first) + u64::from(last - before),
        _ => 0,
    }
}

impl<K: Kernel> App<K> {
    /// As arbiter: the clip gets the name, with its home here.
    pub(super) fn start_clip(&mut self, core: &mut Core<Message<K>, K>, name: StreamName) {
        self.claims += 1;
        let claim = ClaimId(u64::from(core.id().0) << 48 | self.claims);
        let Grant::Granted { .. } = self.directory.claim_at(&name, claim, core.id()) else {
            return info!(stream = name.as_str(), "the clip is not played: the name is taken");
        };
        match self.take_publisher(core, &name, Publisher::new(claim, None, Input::tags(), core.now())) {
            Ok(place) => {
                info!(stream = name.as_str(), "the built-in clip plays");
                self.clip = Some(Clip::read(name, claim, place, core.now()));
                self.play_clip(core);
            }
            Err(why) => info!(stream = name.as_str(), reason = why, "the clip is not played"),
        }
    }

    /// Everything that is due goes in; the timer comes back for the next.
    pub(super) fn play_clip(&mut self, core: &mut Core<Message<K>, K>) {
        let Some(mut clip) = self.clip.take() else { return };
        match guarded(|| self.play_due(core, &mut clip)) {
            Some(Played::Goes) => self.clip = Some(clip),
            Some(Played::Over) => {}
            None => {
                self.discard_stream(core, clip.place);
                self.release(core, clip.name, clip.claim);
            }
        }
    }

    fn play_due(&mut self, core: &mut Core<Message<K>, K>, clip: &mut Clip) -> Played {
        let stream = self.streams.at_mut(clip.place);
        let publisher = stream.and_then(|stream| stream.publisher.as_ref());
        // Over when it has nothing to play, or another publisher was let in.
        if clip.messages.is_empty() || publisher.is_none_or(|publisher| publisher.claim != clip.claim) {
            return Played::Over;
        }
        let now = core.now();
        loop {
            if clip.next == clip.messages.len() {
                clip.next = 0;
                clip.rounds += 1;
                clip.round_since += clip.round_millis * 1000;
            }
            let timed = &clip.messages[clip.next];
            let due = clip.round_since + u64::from(timed.millis) * 1000;
            if due > now {
                core.set_timer(due, Timer::Clip.key(0));
                break;
            }
            // 32-bit stream time wraps, as a publisher's does.
            let timestamp = (u64::from(timed.millis) + clip.rounds * clip.round_millis) as u32;
            let message = Piece::Message {
                kind: timed.kind,
                timestamp,
                body: &timed.body,
            };
            self.push_media(core, clip.place, &message);
            clip.next += 1;
        }
        self.flush_stream(core, clip.place);
        Played::Goes
    }
}
