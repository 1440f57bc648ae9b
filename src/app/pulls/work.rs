//! What a pull says to its source and hears from it: the session's outputs, its connection, and what comes of them for the
//! stream. Its UDP sockets are in `datagrams`.

use std::net::{IpAddr, SocketAddr};

use penstock_proto::rtp::Arrival;
use penstock_proto::rtsp::Part;
use penstock_proto::rtsp::client::{self, Address, Event, Lane, Output, Security, Way};
use penstock_proto::sdp::Description;
use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use penstock_shard::kernel::Kernel;
use penstock_shard::seal::{Broken, Seal};
use tracing::{debug, info};

use super::{Attempt, Early, Link, PullPeer, UNKNOWN};
use crate::app::moves::Travel;
use crate::app::{App, Peer, Session, reason};
use crate::limits;
use crate::messages::Message;
use crate::resolver::Question;
use crate::stream::{Input, Piece, Publisher};

/// Why an attempt is over.
pub(super) enum Failure {
    Session(client::Error),
    /// Of our own, in words.
    Ours(String),
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        Failure::Session(error)
    }
}

impl Failure {
    fn words(&self) -> String {
        match self {
            Failure::Ours(words) => words.clone(),
            Failure::Session(error) => match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        }
    }
}

pub(super) type Worked = Result<(), Failure>;

impl<K: Kernel> App<K> {
    /// Works with a pull's attempt, which is not in the table meanwhile, and does what its session has to say.
    pub(super) fn with_pull(
        &mut self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        work: impl FnOnce(&mut App<K>, &mut Core<Message<K>, K>, &mut Attempt) -> Worked,
    ) {
        let Some(mut attempt) = self.pulls.at_mut(place).and_then(|pull| pull.attempt.take()) else {
            return;
        };
        let worked = work(self, core, &mut attempt).and_then(|()| self.pull_drain(core, place, &mut attempt));
        if let Err(failure) = worked {
            return self.pull_failed(core, place, attempt, failure.words());
        }
        if let Link::Open(conn) = attempt.link {
            let of_session = attempt.session.poll_timeout().map(|millis| millis * 1000);
            let stream = self.stream_of_pull(place);
            let publisher = stream.and_then(|stream| self.streams.at(stream)?.publisher.as_ref());
            let of_input = publisher.and_then(|publisher| publisher.input.poll_timeout());
            if publisher.is_some_and(|publisher| publisher.input.has_ended()) {
                let why = "the source said that nothing more comes";
                return self.pull_failed(core, place, attempt, why.to_owned());
            }
            core.set_deadline(conn, of_session.into_iter().chain(of_input).min());
        }
        if let Some(pull) = self.pulls.at_mut(place) {
            pull.attempt = Some(attempt);
        }
    }

    fn pull_drain(&mut self, core: &mut Core<Message<K>, K>, place: usize, attempt: &mut Attempt) -> Worked {
        let mut grew = None;
        loop {
            let event = match attempt.session.poll_output() {
                None => break,
                Some(Output::Transmit(bytes)) => {
                    if let Link::Open(conn) = attempt.link {
                        core.send(conn, bytes);
                    }
                    None
                }
                Some(Output::Packet { medium, part, packet }) => {
                    let what = (medium, part, Arrival::Interleaved);
                    grew = match attempt.playing_since {
                        None => self.pull_early(core, place, &mut attempt.early, what, packet),
                        Some(_) => self.pull_packet(core, place, what, packet),
                    }
                    .or(grew);
                    None
                }
                Some(Output::Event(event)) => Some(event),
            };
            match event {
                None => {}
                Some(Event::Connect(address)) => self.pull_connect(core, place, attempt, &address)?,
                Some(Event::PortsRequested { medium }) => self.pull_ports(core, place, attempt, medium)?,
                Some(Event::SetUp { description, lanes }) => {
                    self.pull_set_up(core, place, attempt, &description, lanes)?;
                }
                Some(Event::Playing { begins }) => {
                    self.pull_plays(core, place, attempt, &begins);
                    grew = self.stream_of_pull(place);
                }
                Some(Event::Closed) => self.pull_unlink(core, place, attempt),
            }
        }
        if let Some(stream) = grew {
            self.flush_stream(core, stream);
        }
        Ok(())
    }

    /// Its stream, if it has one.
    pub(super) fn pull_packet(
        &mut self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        (medium, part, arrival): (usize, Part, Arrival),
        bytes: &[u8],
    ) -> Option<usize> {
        let stream = self.stream_of_pull(place)?;
        let packet = Piece::Packet {
            medium,
            part,
            arrival,
            bytes,
        };
        self.push_media(core, stream, &packet);
        Some(stream)
    }

    /// A new connection: the first, or where the session was sent.
    fn pull_connect(
        &mut self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        attempt: &mut Attempt,
        address: &Address,
    ) -> Worked {
        self.pull_unlink(core, place, attempt);
        let stream = self.stream_of_pull(place);
        let has_frames = stream.is_some_and(|stream| {
            let publisher = self.streams.at(stream).and_then(|stream| stream.publisher.as_ref());
            publisher.is_some_and(|publisher| publisher.frames > 0)
        });
        if has_frames {
            // What comes next is another publisher, on the same timeline.
            self.pull_leaves(core, place, attempt.address, "sent to another place");
        }
        self.pulls.attempts += 1;
        attempt.number = self.pulls.attempts;
        attempt.playing_since = None;
        attempt.early = Early::default();
        attempt.lanes.clear();
        attempt.tls_host = (address.security == Security::Tls).then(|| address.host.clone());
        if let Ok(ip) = address.host.parse::<IpAddr>() {
            return self.pull_connect_to(core, attempt, vec![ip], address.port);
        }
        attempt.address = Some(SocketAddr::new(UNKNOWN.ip(), address.port));
        attempt.link = Link::Resolving;
        let question = Question {
            host: address.host.clone(),
            from: core.id(),
            tag: attempt.number,
        };
        match self.resolver.as_ref().is_some_and(|resolver| resolver.ask(question)) {
            true => Ok(()),
            false => Err(Failure::Ours("too many host names are being looked up".to_owned())),
        }
    }

    /// To the first of these addresses; the rest are tried behind it.
    fn pull_connect_to(
        &mut self,
        core: &mut Core<Message<K>, K>,
        attempt: &mut Attempt,
        mut rest: Vec<IpAddr>,
        port: u16,
    ) -> Worked {
        let ip = rest.remove(0);
        let to = SocketAddr::new(ip, port);
        attempt.address = Some(to);
        let deadline = core.now() + client::limits::STEP_MILLIS_MAX * 1000;
        match core.connect(to, attempt.number, deadline) {
            Ok(conn) => {
                attempt.link = Link::Connecting { conn, rest };
                Ok(())
            }
            Err(error) if rest.is_empty() => Err(Failure::Ours(format!("no connection: {error}"))),
            Err(_) => self.pull_connect_to(core, attempt, rest, port),
        }
    }

    /// A host name has addresses, or none.
    pub(in crate::app) fn pull_resolved(
        &mut self,
        core: &mut Core<Message<K>, K>,
        tag: u64,
        addresses: std::io::Result<Vec<IpAddr>>,
    ) {
        let Some(place) = self.pulls.place_of(tag) else { return };
        self.with_pull(core, place, |app, core, attempt| {
            if !matches!(attempt.link, Link::Resolving) {
                return Ok(());
            }
            let port = attempt.address.map_or(0, |address| address.port());
            match addresses {
                Ok(mut addresses) if !addresses.is_empty() => {
                    addresses.truncate(limits::PULL_ADDRESSES_MAX);
                    app.pull_connect_to(core, attempt, addresses, port)
                }
                Ok(_) => Err(Failure::Ours("its host name has no address".to_owned())),
                Err(error) => Err(Failure::Ours(format!("its host name has no address: {error}"))),
            }
        });
    }

    pub(in crate::app) fn pull_connected(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, tag: u64) {
        let place = self.pulls.place_of(tag);
        let address = core.peer(conn).unwrap_or(UNKNOWN);
        let peer = PullPeer {
            place: place.unwrap_or(usize::MAX),
            number: tag,
            travel: Travel::default(),
        };
        // In the table too when nobody wants it any more: its end finds it there.
        self.peers
            .insert(Peer::new(conn, address, Session::Pull(Box::new(peer))));
        let Some(place) = place.filter(|_| !self.stopping) else {
            return core.abort(conn);
        };
        self.with_peer(core, conn, |app, core, _| {
            app.with_pull(core, place, |app, core, attempt| {
                attempt.link = Link::Open(conn);
                if let Some(host) = &attempt.tls_host {
                    let seal = app.seal_of_source(place, host)?;
                    core.seal(conn, seal);
                }
                attempt.session.connected(core.now() / 1000);
                Ok(())
            });
        });
    }

    fn seal_of_source(&mut self, place: usize, host: &str) -> Result<Box<dyn Seal>, Failure> {
        let trust = self.pulls.at_mut(place).map(|pull| pull.trust);
        let client = trust.and_then(|trust| self.trusts.of(trust));
        // Sent from rtsp:// to rtsps://.
        let client = client.ok_or_else(|| Failure::Ours("it is by TLS, which its address does not say".to_owned()))?;
        client.seal(host).map_err(|why| Failure::Ours(why.to_string()))
    }

    /// What came is not what the seal takes, or not of whom it trusts. Whether the connection is a source's.
    pub(in crate::app) fn pull_seal_broken(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        why: &Broken,
    ) -> bool {
        let is_source = |peer: &Peer| matches!(peer.session, Session::Pull(_));
        let is_ours = self.peers.get(conn).is_some_and(is_source);
        if is_ours {
            let why = format!("no TLS with it: {why}");
            self.with_peer(core, conn, |app, core, peer| {
                if let Session::Pull(peer) = &peer.session {
                    app.with_link(core, conn, peer, |_, _, _| Err(Failure::Ours(why)));
                }
                core.finish(conn);
            });
        }
        is_ours
    }

    pub(in crate::app) fn pull_not_connected(&mut self, core: &mut Core<Message<K>, K>, tag: u64, errno: i32) {
        let Some(place) = self.pulls.place_of(tag) else { return };
        self.with_pull(core, place, |app, core, attempt| {
            let Link::Connecting { rest, .. } = std::mem::replace(&mut attempt.link, Link::None) else {
                return Ok(());
            };
            let port = attempt.address.map_or(0, |address| address.port());
            if rest.is_empty() {
                let error = std::io::Error::from_raw_os_error(errno);
                return Err(Failure::Ours(format!("no connection: {error}")));
            }
            app.pull_connect_to(core, attempt, rest, port)
        });
    }

    pub(in crate::app) fn pull_received(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &PullPeer,
        mut bytes: &[u8],
    ) {
        let attempt = self.pulls.at_mut(peer.place).and_then(|pull| pull.attempt.as_deref());
        if attempt.is_none_or(|attempt| attempt.number != peer.number) {
            // Nobody listens to it any more.
            return core.finish(conn);
        }
        self.with_link(core, conn, peer, |app, core, attempt| {
            // What is behind the end of a dialogue is another's.
            while matches!(attempt.link, Link::Open(open) if open == conn) {
                let taken = attempt.session.handle_input(core.now() / 1000, bytes)?;
                bytes = &bytes[taken..];
                app.pull_drain(core, peer.place, attempt)?;
                if bytes.is_empty() {
                    break;
                }
            }
            Ok(())
        });
    }

    pub(in crate::app) fn pull_ended(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &PullPeer,
        why: End,
    ) {
        debug!(
            connection = conn.number(),
            reason = reason(why),
            "connection to a source ended"
        );
        self.with_link(core, conn, peer, |_, core, attempt| {
            attempt.link = Link::None;
            Ok(attempt.session.disconnected(core.now() / 1000)?)
        });
    }

    pub(in crate::app) fn pull_deadline(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, peer: &PullPeer) {
        let place = peer.place;
        self.with_link(core, conn, peer, |app, core, attempt| {
            app.pull_input_time(core, place, attempt);
            Ok(attempt.session.handle_timeout(core.now() / 1000)?)
        });
    }

    /// The session's time, without a connection.
    pub(super) fn pull_time(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        self.with_pull(core, place, |_, core, attempt| {
            Ok(attempt.session.handle_timeout(core.now() / 1000)?)
        });
    }

    /// Works with the attempt that this connection is of, if it still is.
    fn with_link(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        peer: &PullPeer,
        work: impl FnOnce(&mut App<K>, &mut Core<Message<K>, K>, &mut Attempt) -> Worked,
    ) {
        let attempt = self.pulls.at_mut(peer.place).and_then(|pull| pull.attempt.as_deref());
        let is_its = |attempt: &&Attempt| {
            attempt.number == peer.number && matches!(attempt.link, Link::Open(open) if open == conn)
        };
        if attempt.filter(is_its).is_some() {
            self.with_pull(core, peer.place, work);
        }
    }

    /// All media are set up: the stream has a publisher from here on.
    fn pull_set_up(
        &mut self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        attempt: &mut Attempt,
        description: &Description,
        lanes: Vec<Lane>,
    ) -> Worked {
        let media = description.media.iter().enumerate();
        let is_set_up = |medium| lanes.iter().any(|lane| lane.medium == medium);
        let formats: Vec<_> = media
            .map(|(medium, media)| media.format.clone().filter(|_| is_set_up(medium)))
            .collect();
        let Some(pull) = self.pulls.at_mut(place) else {
            return Ok(());
        };
        let (name, claim, ssrc) = (pull.name.clone(), pull.claim, pull.seed as u32);
        let input = Input::packets(&formats, ssrc, core.now());
        match self.stream_of_pull(place) {
            Some(stream) => {
                let publisher = self.streams.at_mut(stream).and_then(|stream| stream.publisher.as_mut());
                publisher.expect("it is the stream that this pull writes").input = input;
            }
            None => {
                let publisher = Publisher::new(claim, None, input, core.now());
                self.take_publisher(core, &name, publisher).map_err(Failure::Ours)?;
            }
        }
        for lane in &lanes {
            self.pull_punch(core, place, attempt, lane);
        }
        attempt.lanes = lanes;
        Ok(())
    }

    fn pull_plays(
        &mut self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        attempt: &mut Attempt,
        begins: &[(usize, u32)],
    ) {
        let now = core.now();
        let Some(pull) = self.pulls.at_mut(place) else { return };
        pull.warned = None;
        attempt.playing_since = Some(now);
        let by_udp = attempt
            .lanes
            .iter()
            .any(|lane| matches!(lane.way, Way::Datagrams { .. }));
        let transport = if by_udp { "udp" } else { "tcp" };
        info!(stream = pull.name.as_str(), source = %pull.source.address, transport, "source plays");
        let Some(stream) = self.stream_of_pull(place) else {
            return;
        };
        if let Some(publisher) = self.streams.at_mut(stream).and_then(|stream| stream.publisher.as_mut()) {
            for (medium, rtp_time) in begins {
                publisher.input.announce(*medium, *rtp_time);
            }
        }
        self.pull_early_on(core, place, &mut attempt.early);
        attempt.early = Early::default();
    }

    /// A packet before the answer to PLAY. Its stream, if that got anything.
    pub(super) fn pull_early(
        &mut self,
        core: &mut Core<Message<K>, K>,
        place: usize,
        early: &mut Early,
        what: (usize, Part, Arrival),
        bytes: &[u8],
    ) -> Option<usize> {
        if early.keep(what, bytes) {
            return None;
        }
        self.pull_early_on(core, place, early);
        self.pull_packet(core, place, what, bytes)
    }

    /// What was kept goes on, in its order.
    fn pull_early_on(&mut self, core: &mut Core<Message<K>, K>, place: usize, early: &mut Early) {
        for (medium, part, arrival, bytes) in early.packets.drain(..) {
            self.pull_packet(core, place, (medium, part, arrival), &bytes);
        }
    }

    /// Packets that are missing are given up, and the source gets its reports.
    fn pull_input_time(&mut self, core: &mut Core<Message<K>, K>, place: usize, attempt: &Attempt) {
        let now = core.now();
        let Some(stream) = self.stream_of_pull(place) else {
            return;
        };
        let publisher = self.streams.at(stream).and_then(|stream| stream.publisher.as_ref());
        if publisher
            .and_then(|publisher| publisher.input.poll_timeout())
            .is_none_or(|at| now < at)
        {
            return;
        }
        self.push_media(core, stream, &Piece::Time);
        self.flush_stream(core, stream);
        let Some(mut publisher) = self.streams.at_mut(stream).and_then(|stream| stream.publisher.take()) else {
            return;
        };
        while let Some((medium, report)) = publisher.input.poll_report() {
            let lane = attempt.lanes.iter().find(|lane| lane.medium == medium);
            match (lane.map(|lane| lane.way), &attempt.link) {
                (Some(Way::Interleaved { rtcp, .. }), Link::Open(conn)) => {
                    let [high, low] = (report.len() as u16).to_be_bytes();
                    core.send(*conn, &[b'$', rtcp, high, low]);
                    core.send(*conn, report);
                }
                (
                    Some(Way::Datagrams {
                        theirs: Some(theirs),
                        source,
                        ..
                    }),
                    _,
                ) => self.pull_send_report(core, place, (medium, attempt), (source, theirs.rtcp), report),
                _ => {}
            }
        }
        if let Some(stream) = self.streams.at_mut(stream) {
            stream.publisher = Some(publisher);
        }
    }

    /// What a session that was closed has to say still.
    pub(super) fn pull_say_goodbye(&mut self, core: &mut Core<Message<K>, K>, attempt: &mut Attempt) {
        while let Some(output) = attempt.session.poll_output() {
            if let (Output::Transmit(bytes), Link::Open(conn)) = (output, &attempt.link) {
                core.send(*conn, bytes);
            }
        }
    }

    /// Connection and sockets are given up.
    pub(super) fn pull_unlink(&mut self, core: &mut Core<Message<K>, K>, place: usize, attempt: &mut Attempt) {
        match std::mem::replace(&mut attempt.link, Link::None) {
            Link::Open(conn) => core.finish(conn),
            Link::Connecting { conn, .. } => core.abort(conn),
            Link::None | Link::Resolving => {}
        }
        self.pull_close_sockets(core, place);
    }
}

impl Early {
    /// False, and it is not kept, where there is no room for it; and for none after it, which would overtake it.
    fn keep(&mut self, (medium, part, arrival): (usize, Part, Arrival), packet: &[u8]) -> bool {
        let bytes = self.bytes + packet.len() + size_of::<(usize, Part, Arrival, Vec<u8>)>();
        let has_room = bytes <= limits::PULL_EARLY_BYTES_MAX;
        self.bytes = bytes.min(limits::PULL_EARLY_BYTES_MAX);
        if has_room {
            self.packets.push((medium, part, arrival, packet.to_vec()));
        }
        has_room
    }
}
