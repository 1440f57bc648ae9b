//! An RTSP peer plays: what a stream has, which tracks it takes, where its packets begin.

use std::net::SocketAddr;

use penstock_proto::media::{Codec, Kind, Track};
use penstock_proto::rtp::pack;
use penstock_proto::rtsp::mux::limits::{TCP_PACKET_BYTES, UDP_PACKET_BYTES};
use penstock_proto::rtsp::wire::url::Target;
use penstock_proto::rtsp::{Begin, Carriage, JoinPoint, Lane, Refusal};
use penstock_proto::sdp::{Description, Direction, Media};
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, FeedId};
use penstock_shard::kernel::Kernel;
use tracing::info;

use super::ranges::LIVE;
use super::{Presentation, RtspPeer, groups};
use crate::app::App;
use crate::app::dialogue::Role;
use crate::app::rtmp::play_name;
use crate::app::viewers::Answer;
use crate::limits;
use crate::messages::{Message, Settling};
use crate::names::StreamName;
use crate::registry::{self, Audience, Lanes, Packaging};

/// What a player was told of a stream.
#[derive(Debug)]
pub(super) struct Described {
    pub name: StreamName,
    /// By medium.
    pub offers: Vec<Offer>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub track: u32,
    pub payload_type: u8,
}

impl Described {
    /// The packets of these lanes; none if they are not all of this description, or go different ways.
    fn packaging(&self, lanes: &[Lane]) -> Option<Packaging> {
        if groups::audience(lanes)? == Audience::Groups {
            return Some(self.to_groups());
        }
        let mut chosen = [None; limits::RTSP_LANES_MAX];
        let mut packet_bytes_max = TCP_PACKET_BYTES;
        for (place, lane) in lanes.iter().enumerate() {
            let offer = self.offers.get(lane.medium)?;
            let (rtp, rtcp) = match lane.carriage {
                Carriage::Interleaved { rtp, rtcp } => (rtp, rtcp),
                Carriage::Datagrams { .. } => {
                    packet_bytes_max = UDP_PACKET_BYTES;
                    channels(place)
                }
                Carriage::Multicast(_) => return None,
            };
            *chosen.get_mut(place)? = Some(registry::Lane {
                track: offer.track,
                payload_type: offer.payload_type,
                rtp_channel: rtp,
                rtcp_channel: rtcp,
            });
        }
        Some(Packaging::Rtsp(Lanes {
            lanes: chosen,
            audience: Audience::Viewers,
            packet_bytes_max: packet_bytes_max as u16,
        }))
    }

    /// All that is described: who listens to a part is sent it all.
    fn to_groups(&self) -> Packaging {
        let mut chosen = [None; limits::RTSP_LANES_MAX];
        for (medium, (place, offer)) in chosen.iter_mut().zip(&self.offers).enumerate() {
            let (rtp_channel, rtcp_channel) = channels(medium);
            *place = Some(registry::Lane {
                track: offer.track,
                payload_type: offer.payload_type,
                rtp_channel,
                rtcp_channel,
            });
        }
        Packaging::Rtsp(Lanes {
            lanes: chosen,
            audience: Audience::Groups,
            packet_bytes_max: UDP_PACKET_BYTES as u16,
        })
    }

    fn medium(&self, track: u32) -> Option<usize> {
        self.offers.iter().position(|offer| offer.track == track)
    }
}

/// Of the lane in this place, where no viewer names them: all who get datagrams share a feed.
pub(super) fn channels(place: usize) -> (u8, u8) {
    let rtp = 2 * place as u8;
    (rtp, rtp + 1)
}

/// The first picture and the first sound, as for viewers of every other output, and what passes unread.
fn describe(name: &StreamName, tracks: &[Track]) -> (Description, Vec<Offer>) {
    let of_kind = |kind| {
        let mut found = tracks.iter().filter(move |track| track.kind() == kind);
        found.find(|track| pack::format(track, &[]).is_some())
    };
    let unread = tracks.iter().filter(|track| track.codec == Codec::Rtp);
    let chosen = [of_kind(Kind::Video), of_kind(Kind::Audio)];
    let chosen = chosen.into_iter().flatten().chain(unread);
    let (mut media, mut offers, mut taken) = (Vec::new(), Vec::new(), Vec::new());
    for track in chosen.take(limits::RTSP_LANES_MAX) {
        let Some(format) = pack::format(track, &taken) else {
            continue;
        };
        taken.push(format.payload_type);
        offers.push(Offer {
            track: track.id,
            payload_type: format.payload_type,
        });
        media.push(Media {
            port: 0,
            protocol: "RTP/AVP".to_owned(),
            control: String::new(),
            direction: Direction::default(),
            group: None,
            format: Some(format),
        });
    }
    let description = Description {
        name: name.as_str().to_owned(),
        control: "*".to_owned(),
        range: LIVE.text(),
        media,
    };
    (description, offers)
}

impl<K: Kernel> App<K> {
    pub(super) fn rtsp_describe(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        target: &Target,
    ) {
        let name = match self.stream_name(core.now(), &play_name(&target.path), address) {
            Ok(name) => name,
            Err(error) => {
                self.counters.viewers_not_found.add(1);
                return peer.session.refused(Refusal::NotFound, &error.to_string());
            }
        };
        peer.wants_groups = groups::is_wanted(&target.query);
        let answer = self.ask(core, conn, &name, None, Settling::Settled);
        peer.role = Role::Describing { name };
        if let Some(answer) = answer {
            self.rtsp_decide(core, conn, address, peer, answer);
        }
    }

    pub(super) fn rtsp_play(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        lanes: &[Lane],
    ) {
        let Presentation::Described(described) = &peer.presentation else {
            return peer.session.refused(Refusal::Failed, "nothing is described");
        };
        let Some(packaging) = described.packaging(lanes) else {
            return peer
                .session
                .refused(Refusal::NotAcceptable, "these media cannot be sent together");
        };
        let is_for_groups = packaging.is_for_groups();
        peer.routes = match is_for_groups {
            true => None,
            false => self.datagrams.routes(address, lanes, channels),
        };
        let name = described.name.clone();
        let since = match peer.role {
            Role::Paused { since, .. } => Some(since),
            _ => None,
        };
        if peer.routes.is_some() || peer.is_tunnelled() {
            // The sockets, or one half of it, are this shard's: it is served where it is.
            peer.travel.settling = Settling::Settled;
        }
        // Its groups are sent to from its home, whoever has room.
        let settling = match is_for_groups {
            true => Settling::Settled,
            false => peer.travel.settling,
        };
        let answer = self.ask(core, conn, &name, Some(packaging), settling);
        peer.role = Role::Asking { name, packaging, since };
        if let Some(answer) = answer {
            self.rtsp_decide(core, conn, address, peer, answer);
        }
    }

    /// The answer to a question that could not be answered at once.
    pub(in crate::app) fn rtsp_answered(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        answer: Answer,
    ) {
        self.rtsp_decide(core, conn, address, peer, answer);
        let pending = std::mem::take(&mut peer.pending);
        self.rtsp_feed(core, conn, address, peer, &pending);
    }

    fn rtsp_decide(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        answer: Answer,
    ) {
        match &peer.role {
            Role::Describing { name } => {
                let name = name.clone();
                peer.role = Role::None;
                self.rtsp_described(peer, name, &answer);
            }
            Role::Asking { name, packaging, since } => {
                let question = (name, Some(*packaging));
                let Some(answer) = self.or_elsewhere(core, conn, question, &mut peer.travel, answer) else {
                    return;
                };
                let (name, packaging, since) = (name.clone(), *packaging, *since);
                let key = (name.clone(), Some(packaging));
                if packaging.is_for_groups() && self.rtsp_goes_home(core, conn, peer, &key) {
                    return;
                }
                peer.role = Role::None;
                peer.travel.settling = Settling::Free;
                let answer = match since {
                    Some(_) => answer,
                    None => self.unless_overloaded(core, answer),
                };
                match answer {
                    Answer::Watch(feed) => self.rtsp_watch(core, conn, address, peer, (name, packaging, since), feed),
                    answer => self.rtsp_not_played(core, conn, address, peer, (name, packaging, since), answer),
                }
            }
            _ => {}
        }
    }

    fn rtsp_watch(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        (name, packaging, since): (StreamName, Packaging, Option<u64>),
        feed: FeedId,
    ) {
        if packaging.is_for_groups() {
            if !self.rtsp_listen(core, conn, peer, (&name, packaging), feed) {
                return self.rtsp_not_played(core, conn, address, peer, (name, packaging, since), Answer::Busy);
            }
            peer.session.playing(&[], Some(LIVE));
        } else {
            match &peer.routes {
                Some(routes) => core.join_datagrams(conn, feed, routes),
                None => core.join_with(conn, feed),
            }
        }
        if since.is_none() {
            self.counters.viewers.add(1);
            self.counters.viewers_total.add(1);
            info!(stream = name.as_str(), output = "RTSP", peer = %address, "viewer came");
        }
        let since = since.unwrap_or(core.now());
        peer.role = Role::Watching { name, packaging, since };
        self.keep_time(core);
    }

    fn rtsp_described(&mut self, peer: &mut RtspPeer, name: StreamName, answer: &Answer) {
        let Answer::There(tracks) = answer else {
            let (refusal, why) = match answer {
                Answer::Busy => (Refusal::Unavailable, "the server is too busy; try again".to_owned()),
                _ => (Refusal::NotFound, self.no_stream(&name)),
            };
            self.counters
                .viewers_not_found
                .add(u64::from(refusal == Refusal::NotFound));
            return peer.session.refused(refusal, &why);
        };
        let (mut description, offers) = describe(&name, tracks);
        if peer.wants_groups {
            for (number, medium) in description.media.iter_mut().enumerate() {
                if let Some((group, port)) = self.group_of(&name, number).and_then(groups::described) {
                    (medium.group, medium.port) = (Some(group), port);
                }
            }
        }
        if offers.is_empty() {
            let why = format!("no track of {} can be carried in RTSP", name.as_str());
            return peer.session.refused(Refusal::NotAcceptable, &why);
        }
        peer.presentation = Presentation::Described(Described { name, offers });
        peer.session.described(&description);
    }

    fn rtsp_not_played(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        (name, packaging, since): (StreamName, Packaging, Option<u64>),
        answer: Answer,
    ) {
        let refusal = match answer {
            Answer::Busy => Refusal::Unavailable,
            Answer::Overloaded => Refusal::NotEnoughBandwidth,
            Answer::NothingToCarry => Refusal::NotAcceptable,
            _ => Refusal::NotFound,
        };
        let why = self.why_not(&answer, &name, packaging);
        peer.session.refused(refusal, &why);
        match since {
            Some(since) => {
                peer.role = Role::Paused { name, packaging, since };
                self.viewer_gone(core, conn, address, &mut peer.role, why);
            }
            None => self
                .counters
                .viewers_not_found
                .add(u64::from(refusal == Refusal::NotFound)),
        }
    }

    /// The viewer stands at a join point: it is told where that is, ahead of the first packet.
    pub(in crate::app) fn rtsp_joining(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
        header: &[u8],
    ) {
        if !peer.is_joining() {
            return;
        }
        let JoinPoint { wall_millis, lanes, .. } = JoinPoint::parse(header).unwrap_or_default();
        let begins: Vec<Begin> = match &peer.presentation {
            Presentation::Described(described) => {
                let begin = |lane: &penstock_proto::rtsp::JoinLane| {
                    Some(Begin {
                        medium: described.medium(lane.track)?,
                        sequence: lane.sequence,
                        timestamp: lane.rtp_time,
                    })
                };
                lanes.iter().filter_map(begin).collect()
            }
            Presentation::None | Presentation::Announced(_) => Vec::new(),
        };
        peer.session.playing(&begins, Some(peer.unit.served(wall_millis)));
        let pending = std::mem::take(&mut peer.pending);
        self.rtsp_feed(core, conn, address, peer, &pending);
    }

    pub(super) fn rtsp_paused(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &mut RtspPeer) {
        if let Role::Watching { name, packaging, since } = &peer.role {
            peer.role = Role::Paused {
                name: name.clone(),
                packaging: *packaging,
                since: *since,
            };
            core.leave_feed(conn);
            self.rtsp_listens_no_more(core, conn, peer);
        }
    }

    /// Whether something was waited for, and is no longer.
    pub(super) fn rtsp_wait_is_over(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
    ) -> bool {
        if peer.is_joining() {
            // There is no join point yet: its packets begin where they begin.
            peer.session.playing(&[], Some(peer.unit.served(None)));
            return true;
        }
        let name = match &peer.role {
            Role::Asking { name, .. } | Role::Describing { name } => name.as_str(),
            _ => return false,
        };
        let why = format!("{name} has not begun yet; try again");
        peer.session.refused(Refusal::Unavailable, &why);
        self.viewer_gone(core, conn, address, &mut peer.role, why);
        true
    }

    /// The feed has ended, and its last record is sent. A player that was told so by RTCP leaves by itself; one that finds
    /// the connection closed before complains.
    pub(in crate::app) fn rtsp_reached_end(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        address: SocketAddr,
        peer: &mut RtspPeer,
    ) {
        if peer.session.awaits_decision() {
            peer.session.refused(Refusal::NotFound, "the stream has ended");
        } else if peer.is_watching() && !self.stopping {
            self.rtsp_leaves(core, conn, address, peer, "ended");
            peer.leaves_by = Some(core.now() + limits::GOODBYE_MICROS);
            return self.rtsp_set_deadline(core, conn, peer);
        } else {
            peer.session.close();
        }
        crate::app::dialogue::Dialogue::<K>::transmit(peer, core, conn);
        core.finish(conn);
    }
}
