//! RTMP peers: publishers and players of one dialogue.

use std::net::SocketAddr;

use penstock_proto::rtmp::{self, Event, Output, PlayRejection, PublishRejection, StopReason};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use penstock_shard::kernel::Kernel;
use tracing::{debug, info};

use super::admission::Asked;
use super::dialogue::{Denial, Dialogue, Role};
use super::moves::Travel;
use super::viewers::Answer;
use super::{App, reason};
use crate::config::Protocol;
use crate::limits;
use crate::messages::{Message, Settling};
use crate::names::{StreamName, percent_decoded};
use crate::registry::Packaging;
use crate::stream::{Input, Piece};

#[derive(Debug)]
pub(super) struct RtmpPeer {
    pub session: rtmp::Session,
    /// Input that the session has not taken, because it waits for a decision.
    pub pending: Vec<u8>,
    pub role: Role,
    pub travel: Travel,
}

impl RtmpPeer {
    pub fn new<K: Kernel>(core: &mut Core<Message<K>, K>, conn: ConnId) -> Self {
        // The handshake's filler need not be secret, only unlike the last one.
        let seed = core.now() ^ conn.number().rotate_left(40);
        let peer = RtmpPeer::resumed(rtmp::Session::new(core.now() / 1000, seed), Vec::new());
        peer.set_deadline(core, conn);
        peer
    }

    pub fn resumed(session: rtmp::Session, pending: Vec<u8>) -> Self {
        RtmpPeer {
            session,
            pending,
            role: Role::None,
            travel: Travel::default(),
        }
    }

    pub fn is_watching(&self) -> bool {
        matches!(self.role, Role::Watching { .. })
    }

    /// The question that waits for its answer.
    pub fn asks(&self) -> Option<(&StreamName, Option<Packaging>)> {
        match &self.role {
            Role::Asking { name, packaging, .. } => Some((name, Some(*packaging))),
            _ => None,
        }
    }

    /// What it holds of its peer's input.
    pub fn held_bytes(&self) -> usize {
        self.session.bytes() + self.pending.capacity()
    }

    pub fn set_deadline<K: Kernel>(&self, core: &mut Core<Message<K>, K>, conn: ConnId) {
        let at = match self.role {
            Role::Asking { .. } => Some(core.now() + limits::OPEN_WAIT_MICROS),
            _ => self.session.poll_timeout().map(|millis| millis * 1000),
        };
        core.set_deadline(conn, at);
    }
}

impl<K: Kernel> Dialogue<K> for RtmpPeer {
    fn protocol(&self) -> Protocol {
        Protocol::Rtmp
    }

    fn role(&mut self) -> &mut Role {
        &mut self.role
    }

    fn input(&self, _now: u64) -> Input {
        Input::tags()
    }

    fn accept_publish(&mut self) {
        self.session.accept_publish();
    }

    fn refuse_publish(&mut self, denial: Denial, why: &str) {
        let code = match denial {
            Denial::BadName | Denial::Unknown | Denial::Taken => PublishRejection::BadName,
            Denial::Rejected => PublishRejection::Rejected,
            Denial::PassphraseMissing | Denial::Unauthorized => PublishRejection::Unauthorized,
            Denial::Failed => PublishRejection::Failed,
        };
        self.session.reject_publish(code, why);
    }

    fn replaced(&mut self) {
        self.session.publish_stopped(StopReason::Replaced);
    }

    fn transmit(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(bytes) => core.send(conn, bytes),
                Output::Event(Event::Closed) => core.finish(conn),
                // Nothing of it is logged: a publisher's application is its passphrase.
                Output::Event(_) => debug!("an event behind a decision is left out"),
                Output::Media { .. } => {}
            }
        }
    }

    fn export(&self, out: &mut Vec<u8>) {
        self.session.export(out);
    }

    fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    fn is_leaving(&self) -> bool {
        self.travel.leaving.is_some()
    }

    fn awaits_decision(&self) -> bool {
        self.session.awaits_decision()
    }

    fn feed(
        &mut self,
        app: &mut App<K>,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        bytes: &[u8],
    ) {
        app.rtmp_feed(core, conn, address, self, bytes);
    }
}

impl<K: Kernel> App<K> {
    /// Gives the session what it takes; the rest is kept.
    pub(super) fn rtmp_feed(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        mut bytes: &[u8],
    ) {
        while peer.travel.leaving.is_none() {
            let taken = match peer.session.handle_input(core.now() / 1000, bytes) {
                Ok(taken) => taken,
                Err(error) => {
                    self.counters.protocol_errors.add(1);
                    // Who was let in is worth a line; anybody else can say nonsense as often as he likes.
                    if let Role::Publishing { name, .. } = &peer.role {
                        info!(peer = %address, stream = name.as_str(), %error, "RTMP publisher broke the protocol");
                    } else {
                        debug!(peer = %address, %error, "RTMP peer broke the protocol");
                    }
                    self.rtmp_drain(core, conn, address, peer);
                    peer.pending.clear();
                    if let Role::Publishing { place, .. } = peer.role {
                        self.flush_stream(core, place);
                    }
                    return core.finish(conn);
                }
            };
            bytes = &bytes[taken..];
            let drained = self.rtmp_drain(core, conn, address, peer);
            let is_leaving = matches!(peer.role, Role::Moving { .. }) || peer.travel.leaving.is_some();
            if taken == 0 && drained == 0 || is_leaving {
                break;
            }
        }
        peer.pending.extend_from_slice(bytes);
        if let Role::Publishing { place, .. } = peer.role {
            self.flush_stream(core, place);
        }
        if !core.has_unread(conn) {
            peer.session.acknowledge();
            peer.transmit(core, conn);
        }
        peer.set_deadline(core, conn);
    }

    /// Acts on what the session has to say; how many outputs there were.
    fn rtmp_drain(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
    ) -> usize {
        let mut outputs = 0;
        loop {
            let event = match peer.session.poll_output() {
                None => return outputs,
                Some(Output::Transmit(bytes)) => {
                    core.send(conn, bytes);
                    None
                }
                Some(Output::Media {
                    kind, timestamp, body, ..
                }) => {
                    if let Role::Publishing { place, .. } = peer.role {
                        let message = Piece::Message { kind, timestamp, body };
                        self.push_media(core, place, &message);
                    }
                    None
                }
                Some(Output::Event(event)) => Some(event),
            };
            outputs += 1;
            if let Some(event) = event {
                self.rtmp_event(core, conn, address, peer, event);
            }
        }
    }

    fn rtmp_event(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        event: Event,
    ) {
        match event {
            Event::Connected { flash_ver, .. } => debug!(peer = %address, flash_ver, "RTMP connected"),
            Event::PublishRequested { app, name, .. } => {
                // One level of path: it is the name, and there is no password.
                let (name, password) = if name.is_empty() {
                    (app.as_str(), None)
                } else {
                    (name.as_str(), Some(app.as_str()))
                };
                let asked = Asked {
                    name,
                    password,
                    proof: None,
                    form: "rtmp://HOST/PASSPHRASE/NAME",
                };
                self.publish(core, conn, address, peer, &asked);
            }
            Event::PublishEnded { .. } => self.unpublish(core, address, &mut peer.role, "unpublished".into()),
            Event::PlayRequested {
                stream_id, app, name, ..
            } => {
                let asked = if name.is_empty() { app } else { name };
                self.rtmp_play(core, conn, address, peer, stream_id, &asked);
            }
            Event::PlayEnded { .. } => {
                core.leave_feed(conn);
                self.viewer_gone(core, conn, address, &mut peer.role, "stopped".into());
            }
            Event::Paused { .. } => self.rtmp_paused(core, conn, peer),
            Event::Resumed { .. } => self.rtmp_resumed(core, conn, address, peer),
            Event::SeekRefused { .. } => debug!(peer = %address, "seek refused: the stream is live"),
            Event::Closed => core.finish(conn),
        }
    }

    fn rtmp_paused(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &mut RtmpPeer) {
        peer.role = match std::mem::replace(&mut peer.role, Role::None) {
            Role::Watching { name, packaging, since } => {
                core.leave_feed(conn);
                Role::Paused { name, packaging, since }
            }
            Role::Asking {
                name,
                packaging,
                since: Some(since),
            } => {
                self.wait_no_longer(conn, &name, Some(packaging));
                Role::Paused { name, packaging, since }
            }
            role => role,
        };
    }

    fn rtmp_resumed(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, address: SocketAddr, peer: &mut RtmpPeer) {
        match std::mem::replace(&mut peer.role, Role::None) {
            Role::Paused { name, packaging, since } => {
                let answer = self.ask(core, conn, &name, Some(packaging), peer.travel.settling);
                let since = Some(since);
                peer.role = Role::Asking { name, packaging, since };
                if let Some(answer) = answer {
                    self.rtmp_decide(core, conn, address, peer, answer);
                }
            }
            role => peer.role = role,
        }
    }

    fn rtmp_play(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        message_stream: u32,
        asked: &str,
    ) {
        let name = match self.stream_name(core.now(), &play_name(asked), address) {
            Ok(name) => name,
            Err(error) => {
                self.counters.viewers_not_found.add(1);
                return peer
                    .session
                    .reject_play(PlayRejection::StreamNotFound, &error.to_string());
            }
        };
        let packaging = Packaging::Rtmp { message_stream };
        let answer = self.ask(core, conn, &name, Some(packaging), peer.travel.settling);
        peer.role = Role::Asking {
            name,
            packaging,
            since: None,
        };
        if let Some(answer) = answer {
            self.rtmp_decide(core, conn, address, peer, answer);
        }
    }

    /// The answer to a question that could not be answered at once.
    pub(super) fn rtmp_answered(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        answer: Answer,
    ) {
        self.rtmp_decide(core, conn, address, peer, answer);
        let pending = std::mem::take(&mut peer.pending);
        self.rtmp_feed(core, conn, address, peer, &pending);
    }

    fn rtmp_decide(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        answer: Answer,
    ) {
        let Role::Asking { name, packaging, since } = &peer.role else {
            return;
        };
        let question = (name, Some(*packaging));
        let Some(answer) = self.or_elsewhere(core, conn, question, &mut peer.travel, answer) else {
            return;
        };
        let (name, packaging, since) = (name.clone(), *packaging, *since);
        peer.role = Role::None;
        peer.travel.settling = Settling::Free;
        let answer = match since {
            Some(_) => answer,
            None => self.unless_overloaded(core, answer),
        };
        if let Answer::Watch(feed) = answer {
            if since.is_none() {
                peer.session.accept_play();
                self.counters.viewers.add(1);
                self.counters.viewers_total.add(1);
                info!(stream = name.as_str(), output = "RTMP", peer = %address, "viewer came");
            }
            peer.transmit(core, conn);
            core.join(conn, feed);
            self.keep_time(core);
            peer.role = Role::Watching {
                name,
                packaging,
                since: since.unwrap_or(core.now()),
            };
            return;
        }
        let why = self.why_not(&answer, &name, packaging);
        if let Some(since) = since {
            peer.session.play_stopped(StopReason::StreamEnded);
            peer.transmit(core, conn);
            peer.role = Role::Paused { name, packaging, since };
            return self.viewer_gone(core, conn, address, &mut peer.role, why);
        }
        if matches!(answer, Answer::Overloaded | Answer::Busy) {
            return peer.session.reject_play(PlayRejection::Failed, &why);
        }
        self.counters.viewers_not_found.add(1);
        peer.session.reject_play(PlayRejection::StreamNotFound, &why);
    }

    /// The feed has ended: the session says so, behind its last record.
    pub(super) fn rtmp_reached_end(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &mut RtmpPeer) {
        let reason = if self.stopping {
            StopReason::ServerClosing
        } else {
            StopReason::StreamEnded
        };
        peer.session.play_stopped(reason);
        peer.transmit(core, conn);
        core.finish(conn);
    }

    pub(super) fn rtmp_deadline(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
    ) {
        // Where it goes to, its time goes on.
        if peer.travel.leaving.is_some() {
            return;
        }
        if let Role::Asking { name, packaging, since } = &peer.role {
            let why = format!("{} has not begun yet; try again", name.as_str());
            if since.is_some() {
                peer.session.play_stopped(StopReason::StreamEnded);
                self.viewer_gone(core, conn, address, &mut peer.role, why);
            } else {
                self.wait_no_longer(conn, name, Some(*packaging));
                peer.role = Role::None;
                peer.session.reject_play(PlayRejection::Failed, &why);
            }
        } else if let Err(error) = peer.session.handle_timeout(core.now() / 1000) {
            match error {
                rtmp::Error::Idle { .. } | rtmp::Error::NothingAsked { .. } => self.counters.connections_idle.add(1),
                _ => self.counters.connections_slow.add(1),
            }
            debug!(peer = %address, %error, "RTMP peer timed out");
            self.rtmp_drain(core, conn, address, peer);
            return core.finish(conn);
        }
        self.rtmp_drain(core, conn, address, peer);
        peer.set_deadline(core, conn);
    }

    pub(super) fn rtmp_ended(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtmpPeer,
        why: End,
    ) {
        debug!(peer = %address, connection = conn.number(), reason = reason(why), "RTMP connection ended");
        self.unpublish(core, address, &mut peer.role, reason(why));
        self.viewer_gone(core, conn, address, &mut peer.role, reason(why));
    }
}

/// What is asked for in URLs of any kind: escapes are undone (mistserver-control.md 5.5), VLC and mpv write `mp4:` before
/// names, and what follows a slash is nobody's name (mistserver-media.md 7.3).
pub(super) fn play_name(asked: &str) -> String {
    const PREFIX_BYTES_MAX: usize = 5;
    let asked = percent_decoded(asked);
    let name = match asked.split_once(':') {
        Some((prefix, name)) if prefix.len() <= PREFIX_BYTES_MAX => name,
        _ => &asked,
    };
    name.split('/').next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::play_name;

    #[test]
    fn a_players_prefix_is_not_the_name() {
        for (asked, name) in [
            ("live", "live"),
            ("mp4:live", "live"),
            ("live/extra", "live"),
            ("camera1:x", "camera1:x"),
            ("mp4%3Alive%2BCam%2Fextra", "live+Cam"),
        ] {
            assert_eq!(play_name(asked), name);
        }
    }
}
