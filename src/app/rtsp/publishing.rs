//! An RTSP peer publishes. Everything is decided at ANNOUNCE, where clients tell what they were refused for.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use penstock_proto::rtp::format::PayloadFormat;
use penstock_proto::rtsp::auth::{Credentials, Proof};
use penstock_proto::rtsp::wire::url::Target;
use penstock_proto::rtsp::{Carriage, Event, Lane, Output, Refusal};
use penstock_proto::sdp::Description;
use penstock_shard::connection::ConnId;
use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;
use tracing::debug;

use super::{Presentation, RtspPeer};
use crate::app::App;
use crate::app::admission::{self, Asked};
use crate::app::dialogue::{Denial, Dialogue, Role};
use crate::config::Protocol;
use crate::messages::Message;
use crate::stream::{Input, Piece};

/// How an address is written that has a name and a passphrase.
const FORM: &str = "rtsp://HOST/NAME?pass=PASSPHRASE";

/// What a publisher said it would send.
#[derive(Debug)]
pub(super) struct Announced {
    /// By medium; none of what is no RTP.
    pub formats: Vec<Option<PayloadFormat>>,
    /// Ours, in reports.
    pub ssrc: u32,
    /// As it was set up; empty before RECORD.
    lanes: Vec<Lane>,
}

impl Announced {
    pub fn new(formats: Vec<Option<PayloadFormat>>, ssrc: u32) -> Announced {
        let lanes = Vec::new();
        Announced { formats, ssrc, lanes }
    }
}

/// A publisher that was asked for a passphrase, and may come again with it.
#[derive(Debug)]
pub(super) struct Challenged {
    name: String,
    refusal: admission::Refusal,
}

impl<K: Kernel> Dialogue<K> for RtspPeer {
    fn protocol(&self) -> Protocol {
        Protocol::Rtsp
    }

    fn role(&mut self) -> &mut Role {
        &mut self.role
    }

    fn input(&self, now: u64) -> Input {
        match &self.presentation {
            Presentation::Announced(announced) => Input::packets(&announced.formats, announced.ssrc, now),
            Presentation::None | Presentation::Described(_) => Input::packets(&[], 0, now),
        }
    }

    fn accept_publish(&mut self) {
        self.session.announced();
    }

    /// Encoders send their passphrase when they are asked for it, and not before.
    fn is_challenged(&mut self, now: u64, asked: &str, refusal: &admission::Refusal) -> bool {
        let may_help = refusal.denial == Denial::PassphraseMissing && !self.was_challenged;
        if may_help {
            self.was_challenged = true;
            self.challenged = Some(Challenged {
                name: asked.to_owned(),
                refusal: refusal.clone(),
            });
            self.session.challenged(now / 1000);
        }
        may_help
    }

    fn refuse_publish(&mut self, denial: Denial, why: &str) {
        let refusal = match denial {
            Denial::BadName | Denial::Unknown => Refusal::NotFound,
            Denial::Taken => Refusal::NotNow,
            Denial::Rejected | Denial::PassphraseMissing | Denial::Unauthorized => Refusal::Forbidden,
            Denial::Failed => Refusal::Unavailable,
        };
        self.session.refused(refusal, why);
    }

    fn replaced(&mut self) {
        self.session.close();
    }

    fn transmit(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(bytes) => core.send(conn, bytes),
                Output::Event(Event::Closed) => core.finish(conn),
                // Nothing of it is logged: it may have a passphrase.
                Output::Event(_) => debug!("an event behind a decision is left out"),
                Output::Packet { .. } => {}
            }
        }
    }

    fn is_portable(&self) -> bool {
        !self.is_tunnelled()
    }

    fn export(&self, out: &mut Vec<u8>) {
        RtspPeer::export(self, out);
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
        app.rtsp_feed(core, conn, address, self, bytes);
    }
}

impl<K: Kernel> App<K> {
    pub(super) fn rtsp_announced(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        (target, description): (&Target, &Description),
        credentials: Option<&Credentials>,
    ) {
        // It has come again.
        peer.challenged = None;
        let formats: Vec<_> = description.media.iter().map(|medium| medium.format.clone()).collect();
        if formats.iter().all(Option::is_none) {
            let why = "nothing that is announced is RTP";
            return peer.session.refused(Refusal::UnsupportedMedia, why);
        }
        let ssrc = RandomState::new().hash_one(conn.number()) as u32;
        peer.presentation = Presentation::Announced(Announced::new(formats, ssrc));
        let proves = |passphrase: &str| credentials.is_some_and(|one| one.proves(passphrase) == Proof::Proven);
        let asked = Asked {
            name: &target.path,
            password: Some(passphrase(&target.query)),
            proof: credentials.map(|_| &proves as &dyn Fn(&str) -> bool),
            form: FORM,
        };
        self.publish(core, conn, address, peer, &asked);
    }

    /// What is not set up will not come.
    pub(super) fn rtsp_record(&mut self, core: &mut Core<Message<K>, K>, peer: &mut RtspPeer, lanes: &[Lane]) {
        let (Presentation::Announced(announced), Role::Publishing { place, .. }) = (&mut peer.presentation, &peer.role)
        else {
            return peer.session.refused(Refusal::Failed, "nothing is announced");
        };
        if announced.lanes.is_empty() {
            for (medium, format) in announced.formats.iter_mut().enumerate() {
                if lanes.iter().all(|lane| lane.medium != medium) {
                    *format = None;
                }
            }
            let input = Input::packets(&announced.formats, announced.ssrc, core.now());
            let stream = self.streams.at_mut(*place);
            if let Some(publisher) = stream.and_then(|stream| stream.publisher.as_mut()) {
                publisher.input = input;
            }
        }
        announced.lanes = lanes.to_vec();
        peer.session.recording();
    }

    /// Packets that are missing are given up, and the publisher gets its reports.
    pub(super) fn rtsp_input_time(
        &mut self,
        core: &mut Core<Message<K>, K>,
        (conn, address): (ConnId, SocketAddr),
        peer: &RtspPeer,
        place: usize,
    ) {
        let now = core.now();
        let publisher = self.streams.at(place).and_then(|stream| stream.publisher.as_ref());
        if publisher
            .and_then(|publisher| publisher.input.poll_timeout())
            .is_none_or(|at| now < at)
        {
            return;
        }
        self.push_media(core, place, &Piece::Time);
        let Presentation::Announced(announced) = &peer.presentation else {
            return;
        };
        let Some(mut publisher) = self.streams.at_mut(place).and_then(|stream| stream.publisher.take()) else {
            return;
        };
        while let Some((medium, report)) = publisher.input.poll_report() {
            let lane = announced.lanes.iter().find(|lane| lane.medium == medium);
            match lane.map(|lane| lane.carriage) {
                Some(Carriage::Interleaved { rtcp, .. }) => {
                    let [high, low] = (report.len() as u16).to_be_bytes();
                    core.send(conn, &[b'$', rtcp, high, low]);
                    core.send(conn, report);
                }
                Some(Carriage::Datagrams { peer, .. }) => self.rtsp_send_report(core, address, peer.rtcp, report),
                Some(Carriage::Multicast(_)) | None => {}
            }
        }
        if let Some(stream) = self.streams.at_mut(place) {
            stream.publisher = Some(publisher);
        }
    }

    /// A publisher that was asked for a passphrase has gone without another word.
    pub(super) fn rtsp_gave_up(&self, address: SocketAddr, peer: &mut RtspPeer) {
        if let Some(Challenged { name, refusal }) = peer.challenged.take() {
            let asked = Asked {
                name: &name,
                password: Some(""),
                proof: None,
                form: FORM,
            };
            self.count_refusal(&refusal);
            self.log_refusal(&asked, address, &refusal);
        }
    }
}

/// `pass` of an address's query.
fn passphrase(query: &str) -> &str {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("pass"));
    found.map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::passphrase;

    #[test]
    fn a_passphrase_is_found_in_a_query() {
        for (query, found) in [
            ("", ""),
            ("pass=x", "x"),
            ("a=b&pass=x=y&pass=z", "x=y"),
            ("PASS=%41", "%41"),
            ("compass=x&pass", ""),
        ] {
            assert_eq!(passphrase(query), found, "{query}");
        }
    }
}
