//! Requests to answers and events: what is legal when, and what is kept between requests.

use std::fmt::Write;

use super::{Begin, Carriage, Event, Lane, Part, Ports, Purpose, Refusal, Session, Stage};
use crate::rtsp::auth::{self, Credentials, Freshness};
use crate::rtsp::limits::{LANES_MAX, SESSION_SECONDS, URL_BYTES_MAX};
use crate::rtsp::tunnel::{COOKIE_HEADER, Opening};
use crate::rtsp::wire::message::{Head, Start, Version};
use crate::rtsp::wire::range::Range;
use crate::rtsp::wire::transport::{Delivery, Group, Mode, Transport};
use crate::rtsp::wire::url::{Target, medium_number};
use crate::sdp::{Description, Origin};

/// What was described to a player, or announced by a publisher.
#[derive(Debug)]
pub(super) struct Presentation {
    pub(super) target: Target,
    pub(super) purpose: Purpose,
    /// What a publisher calls its media; of a player's only their number counts.
    pub(super) controls: Vec<String>,
    /// By medium.
    pub(super) lanes: Vec<Lane>,
    /// As the peer set them up, for `RTP-Info`.
    pub(super) urls: Vec<(usize, String)>,
}

/// A request that waits for its decision.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) sequence: u32,
    /// It came with a digest for a nonce that is not in force.
    pub(super) freshness: Freshness,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Describe {
        target: Target,
        url: String,
    },
    /// SETUP of what was not described before.
    Discover {
        target: Target,
        url: String,
        head: Box<Head>,
    },
    Announce {
        target: Target,
        controls: Vec<String>,
    },
    Ports(Box<Choice>),
    Group(Box<Choice>),
    Play,
    Record,
    /// Nothing follows on this session.
    Tunnel,
}

/// A SETUP on its way through the peer's alternatives.
#[derive(Debug)]
pub(super) struct Choice {
    medium: usize,
    url: String,
    chosen: Transport,
    /// Worse ones, best last.
    rest: Vec<Transport>,
}

impl Session {
    pub(super) fn request(&mut self, head: Head, body: &[u8]) {
        let Start::Request { method, url, version } = &head.start else {
            self.counters.responses_ignored = self.counters.responses_ignored.saturating_add(1);
            return;
        };
        if let Some(agent) = head.header("User-Agent")
            && self.user_agent.is_empty()
        {
            self.user_agent = agent.chars().take(USER_AGENT_CHARS_MAX).collect();
        }
        let opening = self.opening(&head).filter(|_| *version == Version::Http);
        self.opens_tunnel = false;
        if let Some(opening) = opening {
            self.sequence = None;
            self.events.push(Event::TunnelRequested(opening));
            return self.ask(&head, What::Tunnel);
        }
        let sequence = head.sequence();
        self.sequence = sequence;
        let known = head
            .header("Session")
            .map(|id| id.split(';').next().unwrap_or(id).trim());
        // Who begins anew may name a session that is over.
        let begins = matches!(method.as_str(), "OPTIONS" | "DESCRIBE" | "ANNOUNCE" | "SETUP");
        let is_other = |id: &str| self.id.as_deref().map_or(!begins, |ours| ours != id);
        let refused = match (version, sequence) {
            (Version::Http, _) => Some(501),
            (Version::Other, _) => Some(505),
            (_, None) => Some(400),
            _ if head.header("Require").is_some() => Some(551),
            _ if url.len() > URL_BYTES_MAX => Some(414),
            _ if known.is_some_and(is_other) => Some(454),
            _ => None,
        };
        if let Some(status) = refused {
            let unsupported = head.header("Require").filter(|_| status == 551);
            let header = unsupported.map(|feature| format!("Unsupported: {feature}\r\n"));
            self.refuse_request(status, &header.unwrap_or_default());
            return;
        }
        let (method, url) = (method.clone(), url.clone());
        match method.as_str() {
            "OPTIONS" => self.answer(200, &format!("Public: {PUBLIC}\r\n"), ""),
            "GET_PARAMETER" | "SET_PARAMETER" => self.answer(200, "", ""),
            "DESCRIBE" => self.describe(&head, url),
            "ANNOUNCE" => self.announce(&head, &url, body),
            "SETUP" => self.set_up(head, url),
            "PLAY" => self.play(&head, &url),
            "RECORD" => self.record(&url),
            "PAUSE" => self.pause(&url),
            "TEARDOWN" => self.tear_down(&url),
            _ => self.refuse_request(501, &format!("Public: {PUBLIC}\r\n")),
        }
    }

    /// A tunnel is opened by the first message of a connection, and by no other.
    fn opening(&self, head: &Head) -> Option<Opening> {
        let Start::Request { method, .. } = &head.start else {
            return None;
        };
        Opening::parse(method, head.header(COOKIE_HEADER)).filter(|_| self.opens_tunnel)
    }

    fn ask(&mut self, head: &Head, what: What) {
        let value = head.header("Authorization").unwrap_or_default();
        let freshness = match auth::is_stale(value, &self.nonce) {
            true => Freshness::Stale,
            false => Freshness::First,
        };
        let sequence = self.sequence.unwrap_or(0);
        self.asked = Some(Asked {
            sequence,
            freshness,
            what,
        });
    }

    fn credentials(&self, head: &Head) -> Option<Credentials> {
        let Start::Request { method, .. } = &head.start else {
            return None;
        };
        let value = head.header("Authorization")?;
        Some(Credentials::parse(value, method, &self.nonce))
    }

    fn describe(&mut self, head: &Head, url: String) {
        if matches!(self.stage, Stage::Running(_)) {
            return self.refuse_request(455, "");
        }
        let target = Target::parse(&url);
        let credentials = self.credentials(head);
        self.events.push(Event::DescribeRequested {
            target: target.clone(),
            credentials,
        });
        self.ask(head, What::Describe { target, url });
    }

    fn announce(&mut self, head: &Head, url: &str, body: &[u8]) {
        if matches!(self.stage, Stage::Running(_)) {
            return self.refuse_request(455, "");
        }
        let Ok(description) = Description::parse(body) else {
            return self.refuse_request(400, "");
        };
        let target = Target::parse(url);
        let controls = description.media.iter().map(|medium| medium.control.clone()).collect();
        let credentials = self.credentials(head);
        self.events.push(Event::AnnounceRequested {
            target: target.clone(),
            description,
            credentials,
        });
        self.ask(head, What::Announce { target, controls });
    }

    fn set_up(&mut self, head: Head, url: String) {
        let (target, name) = Target::parse_medium(&url);
        let is_new = head.header("Session").is_none();
        let presentation = match &mut self.stage {
            Stage::Running(_) | Stage::Closed => return self.refuse_request(455, ""),
            Stage::Fresh => None,
            Stage::Known(known) => Some(known),
        };
        let is_same = |known: &&mut Presentation| {
            known.purpose == Purpose::Record
                || known.target.path == target.path
                || known.target.path == Target::parse(&url).path
        };
        let Some(known) = presentation.filter(is_same) else {
            if matches!(&self.stage, Stage::Known(known) if !known.lanes.is_empty() && !is_new) {
                return self.refuse_request(459, "");
            }
            let credentials = self.credentials(&head);
            self.events.push(Event::DescribeRequested {
                target: target.clone(),
                credentials,
            });
            let boxed = Box::new(head.clone());
            return self.ask(
                &head,
                What::Discover {
                    target,
                    url,
                    head: boxed,
                },
            );
        };
        // ffmpeg sets everything up again without a session, when nothing came by UDP.
        if is_new && self.id.is_some() {
            known.lanes.clear();
            known.urls.clear();
            self.id = None;
        }
        let medium = known.medium(&url, &name);
        self.choose(&head, url, medium);
    }

    fn choose(&mut self, head: &Head, url: String, medium: Result<usize, u16>) {
        let medium = match medium {
            Ok(medium) => medium,
            Err(status) => return self.refuse_request(status, ""),
        };
        let mut rest = Transport::parse_all(head.header("Transport").unwrap_or_default());
        rest.reverse();
        let chosen = Transport::default();
        self.try_next(Choice {
            medium,
            url,
            chosen,
            rest,
        });
    }

    /// The best alternative that is left.
    fn try_next(&mut self, mut choice: Choice) {
        let Stage::Known(known) = &mut self.stage else {
            return self.refuse_request(455, "");
        };
        let purpose = known.purpose;
        let others = || known.lanes.iter().filter(|lane| lane.medium != choice.medium);
        while let Some(transport) = choice.rest.pop() {
            let mode = match transport.mode.unwrap_or(Mode::Play) {
                Mode::Play => Purpose::Play,
                Mode::Record => Purpose::Record,
            };
            // Publishers may say nothing of their mode: it was announced.
            if !transport.is_rtp() || (mode == Purpose::Record && purpose == Purpose::Play) {
                continue;
            }
            choice.chosen = transport;
            let chosen = &choice.chosen;
            if chosen.is_interleaved() {
                if others().any(|lane| !matches!(lane.carriage, Carriage::Interleaved { .. })) {
                    continue;
                }
                let Some((rtp, rtcp)) = known.channels(choice.medium, chosen.interleaved) else {
                    continue;
                };
                let carriage = Carriage::Interleaved { rtp, rtcp };
                return self.lane(choice, carriage);
            }
            if others().any(|lane| matches!(lane.carriage, Carriage::Interleaved { .. })) {
                continue;
            }
            let medium = choice.medium;
            let asked = match (chosen.delivery, chosen.client_port, purpose) {
                (Some(Delivery::Multicast), _, Purpose::Play) => {
                    self.events.push(Event::GroupRequested { medium });
                    What::Group(Box::new(choice))
                }
                (Some(Delivery::Multicast), ..) | (_, None, _) => continue,
                (_, Some(peer), _) => {
                    self.events.push(Event::PortsRequested { medium, purpose, peer });
                    What::Ports(Box::new(choice))
                }
            };
            self.asked = Some(Asked {
                sequence: self.sequence.unwrap_or(0),
                freshness: Freshness::First,
                what: asked,
            });
            return;
        }
        self.refuse_request(461, "");
    }

    fn lane(&mut self, choice: Choice, carriage: Carriage) {
        let Stage::Known(known) = &mut self.stage else {
            unreachable!("a choice is made when something is known")
        };
        let medium = choice.medium;
        known.lanes.retain(|lane| lane.medium != medium);
        known.urls.retain(|(of, _)| *of != medium);
        if known.lanes.len() >= LANES_MAX {
            return self.refuse_request(453, "");
        }
        known.lanes.push(Lane { medium, carriage });
        known.lanes.sort_by_key(|lane| lane.medium);
        known.urls.push((medium, choice.url));
        let mode = match known.purpose {
            Purpose::Play => "",
            Purpose::Record => ";mode=record",
        };
        let protocol = &choice.chosen.protocol;
        let transport = match carriage {
            Carriage::Interleaved { rtp, rtcp } => format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}{mode}"),
            Carriage::Datagrams { peer, ours } => format!(
                "{protocol};unicast;client_port={}-{};server_port={}-{}{mode}",
                peer.rtp, peer.rtcp, ours.rtp, ours.rtcp
            ),
            Carriage::Multicast(group) => format!(
                "{protocol};multicast;destination={};port={}-{};ttl={}",
                group.address, group.ports.rtp, group.ports.rtcp, group.ttl
            ),
        };
        if self.id.is_none() {
            self.ids += 1;
            self.id = Some(auth::nonce(self.seed, u64::MAX - u64::from(self.ids)));
        }
        let id = self.id.as_deref().unwrap_or_default();
        let session = format!("Transport: {transport}\r\nSession: {id};timeout={SESSION_SECONDS}\r\n");
        self.answer_plainly(200, &session, "");
    }

    fn play(&mut self, head: &Head, url: &str) {
        let range = match head.header("Range").map(Range::parse) {
            Some(None) => return self.refuse_request(457, ""),
            range => range.flatten(),
        };
        match &self.stage {
            Stage::Known(known) if known.purpose == Purpose::Play && !known.lanes.is_empty() => {
                if known.single(url).is_some() {
                    return self.refuse_request(460, "");
                }
                self.ask_to_play(range);
            }
            // A keep-alive of old players.
            Stage::Running(running) if running.purpose == Purpose::Play && range.is_none() => self.answer(200, "", ""),
            _ => self.refuse_request(455, ""),
        }
    }

    fn ask_to_play(&mut self, range: Option<Range>) {
        let Stage::Known(known) = &self.stage else {
            unreachable!("nothing is played that is not known")
        };
        let (target, lanes) = (known.target.clone(), known.lanes.clone());
        self.events.push(Event::PlayRequested { target, range, lanes });
        self.asked = Some(Asked {
            sequence: self.sequence.unwrap_or(0),
            freshness: Freshness::First,
            what: What::Play,
        });
    }

    fn record(&mut self, url: &str) {
        match &self.stage {
            Stage::Known(known) if known.purpose == Purpose::Record && !known.lanes.is_empty() => {
                if known.single(url).is_some() {
                    return self.refuse_request(460, "");
                }
                let (target, lanes) = (known.target.clone(), known.lanes.clone());
                self.events.push(Event::RecordRequested { target, lanes });
                self.asked = Some(Asked {
                    sequence: self.sequence.unwrap_or(0),
                    freshness: Freshness::First,
                    what: What::Record,
                });
            }
            _ => self.refuse_request(455, ""),
        }
    }

    fn pause(&mut self, url: &str) {
        let status = match &self.stage {
            Stage::Known(known) | Stage::Running(known) if known.single(url).is_some() => 460,
            Stage::Known(_) | Stage::Running(_) => 200,
            Stage::Fresh | Stage::Closed => 455,
        };
        if status != 200 {
            return self.refuse_request(status, "");
        }
        self.stop_running();
        self.answer(200, "", "");
    }

    fn stop_running(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Fresh) {
            Stage::Running(running) => {
                self.stage = Stage::Known(running);
                self.events.push(Event::Paused);
            }
            stage => self.stage = stage,
        }
    }

    /// Of one medium, the others go on: a player's from a join point, as the answer says, which it gets when it plays again.
    fn tear_down(&mut self, url: &str) {
        let single = match &self.stage {
            Stage::Known(known) | Stage::Running(known) => known.single(url),
            Stage::Fresh | Stage::Closed => None,
        };
        let Some(medium) = single else {
            self.answer(200, "Connection: close\r\n", "");
            self.events.push(Event::TornDown);
            return self.close();
        };
        let plays = matches!(&self.stage, Stage::Running(running) if running.purpose == Purpose::Play);
        if plays {
            self.stop_running();
        }
        if let Stage::Known(known) | Stage::Running(known) = &mut self.stage {
            known.lanes.retain(|lane| lane.medium != medium);
            known.urls.retain(|(of, _)| *of != medium);
        }
        match plays {
            true => self.ask_to_play(None),
            false => self.answer(200, "", ""),
        }
    }

    fn take_asked(&mut self) -> What {
        let asked = self.asked.take().expect("a decision answers a request");
        self.sequence = Some(asked.sequence);
        asked.what
    }

    pub(super) fn decide_described(&mut self, description: &Description, origin: Origin) {
        let what = self.take_asked();
        let (target, media) = match &what {
            What::Describe { target, .. } | What::Discover { target, .. } => (target.clone(), description.media.len()),
            other => panic!("a description answers no {other:?}"),
        };
        self.id = None;
        self.stage = Stage::Known(Presentation {
            target,
            purpose: Purpose::Play,
            controls: vec![String::new(); media],
            lanes: Vec::new(),
            urls: Vec::new(),
        });
        match what {
            What::Describe { url, .. } => {
                // Without the query: a medium's name behind that is no address, and GStreamer resolves it to another one.
                let base = url.split('?').next().unwrap_or(&url);
                let slash = if base.ends_with('/') { "" } else { "/" };
                let headers = format!(
                    "Content-Base: {}{slash}\r\nContent-Type: application/sdp\r\n",
                    line(base)
                );
                self.answer(200, &headers, &description.text(origin));
            }
            What::Discover { url, head, .. } => {
                let (_, name) = Target::parse_medium(&url);
                let Stage::Known(known) = &self.stage else {
                    unreachable!("set above")
                };
                let medium = known.medium(&url, &name);
                self.choose(&head, url, medium);
            }
            _ => unreachable!("told apart above"),
        }
    }

    pub(super) fn decide_challenged(&mut self, now_ms: u64) {
        let asked = self.asked.take().expect("a decision answers a request");
        self.sequence = Some(asked.sequence);
        self.renew_nonce(now_ms);
        let challenges = auth::challenges(&self.nonce, asked.freshness);
        let headers: String = challenges
            .iter()
            .map(|one| format!("WWW-Authenticate: {one}\r\n"))
            .collect();
        self.answer(401, &headers, "");
    }

    pub(super) fn decide_announced(&mut self) {
        match self.take_asked() {
            What::Announce { target, controls } => {
                self.id = None;
                self.stage = Stage::Known(Presentation {
                    target,
                    purpose: Purpose::Record,
                    controls,
                    lanes: Vec::new(),
                    urls: Vec::new(),
                });
                self.answer(200, "", "");
            }
            other => panic!("an announcement is not {other:?}"),
        }
    }

    pub(super) fn decide_redirected(&mut self, url: &str) {
        let _described = self.take_asked();
        self.answer(302, &format!("Location: {}\r\n", line(url)), "");
    }

    pub(super) fn decide_ports(&mut self, ours: Ports) {
        match self.take_asked() {
            What::Ports(choice) => {
                let peer = choice
                    .chosen
                    .client_port
                    .expect("ports are asked for a peer that named its own");
                self.lane(*choice, Carriage::Datagrams { peer, ours });
            }
            other => panic!("ports answer no {other:?}"),
        }
    }

    pub(super) fn decide_grouped(&mut self, group: Group) {
        match self.take_asked() {
            What::Group(choice) => self.lane(*choice, Carriage::Multicast(group)),
            other => panic!("a group answers no {other:?}"),
        }
    }

    pub(super) fn decide_transport_refused(&mut self) {
        match self.take_asked() {
            What::Ports(choice) | What::Group(choice) => self.try_next(*choice),
            other => panic!("no transport is asked for by {other:?}"),
        }
    }

    pub(super) fn decide_playing(&mut self, begins: &[Begin], range: Option<Range>) {
        assert!(matches!(self.take_asked(), What::Play), "a play is asked for");
        let Stage::Known(known) = std::mem::replace(&mut self.stage, Stage::Fresh) else {
            unreachable!("a play is asked for when something is known")
        };
        let mut headers = String::new();
        if let Some(range) = range {
            write!(headers, "Range: {}\r\n", range.text()).expect("a string takes all");
        }
        let parts = begins.iter().filter_map(|begin| {
            let (_, url) = known.urls.iter().find(|(medium, _)| *medium == begin.medium)?;
            let Begin {
                sequence, timestamp, ..
            } = begin;
            Some(format!("url={};seq={sequence};rtptime={timestamp}", line(url)))
        });
        let joined = parts.collect::<Vec<_>>().join(",");
        if !joined.is_empty() {
            write!(headers, "RTP-Info: {joined}\r\n").expect("a string takes all");
        }
        self.stage = Stage::Running(known);
        self.answer(200, &headers, "");
    }

    pub(super) fn decide_recording(&mut self) {
        assert!(matches!(self.take_asked(), What::Record), "a publish is asked for");
        if let Stage::Known(known) = std::mem::replace(&mut self.stage, Stage::Fresh) {
            self.stage = Stage::Running(known);
        }
        self.answer(200, "", "");
    }

    pub(super) fn decide_refused(&mut self, refusal: Refusal, description: &str) {
        let _refused = self.take_asked();
        if refusal == Refusal::InvalidRange {
            // It may ask for another.
            return self.refuse_request(refusal.status(), "");
        }
        let body = format!("{}\r\n", line(description));
        self.answer(
            refusal.status(),
            "Content-Type: text/plain\r\nConnection: close\r\n",
            &body,
        );
        self.close();
    }

    /// The medium and part of a channel, while something runs.
    pub(super) fn of_channel(&self, channel: u8) -> Option<(usize, Part)> {
        let Stage::Running(running) = &self.stage else {
            return None;
        };
        running.lanes.iter().find_map(|lane| match lane.carriage {
            Carriage::Interleaved { rtp, .. } if rtp == channel => Some((lane.medium, Part::Rtp)),
            Carriage::Interleaved { rtcp, .. } if rtcp == channel => Some((lane.medium, Part::Rtcp)),
            _ => None,
        })
    }

    fn refuse_request(&mut self, status: u16, headers: &str) {
        self.counters.requests_refused = self.counters.requests_refused.saturating_add(1);
        self.answer(status, headers, "");
    }

    /// With the session's id, where there is one.
    fn answer(&mut self, status: u16, headers: &str, body: &str) {
        let session = match &self.id {
            Some(id) if status != 454 => format!("Session: {id};timeout={SESSION_SECONDS}\r\n"),
            _ => String::new(),
        };
        self.answer_plainly(status, &format!("{session}{headers}"), body);
    }

    fn answer_plainly(&mut self, status: u16, headers: &str, body: &str) {
        let mut text = format!("RTSP/1.0 {status} {}\r\n", reason(status));
        if let Some(sequence) = self.sequence {
            write!(text, "CSeq: {sequence}\r\n").expect("a string takes all");
        }
        text.push_str(headers);
        if !body.is_empty() {
            write!(text, "Content-Length: {}\r\n", body.len()).expect("a string takes all");
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.out.extend_from_slice(text.as_bytes());
    }
}

impl Presentation {
    /// Which medium a SETUP means, or the status that refuses it.
    fn medium(&self, url: &str, name: &str) -> Result<usize, u16> {
        let count = self.controls.len();
        let by_number = || {
            let number = medium_number(name)? as usize;
            (number < count).then_some(number)
        };
        let is_control = |control: &String| {
            let (url, control) = (url.trim_end_matches('/'), control.trim_matches('/'));
            !control.is_empty() && (url == control || url.strip_suffix(control).is_some_and(|base| base.ends_with('/')))
        };
        let found = match self.purpose {
            Purpose::Play => by_number(),
            Purpose::Record => self.controls.iter().position(is_control).or_else(by_number),
        };
        match found {
            Some(medium) => Ok(medium),
            None if count == 1 && name.is_empty() => Ok(0),
            None if name.is_empty() && self.purpose == Purpose::Play => Err(459),
            None => Err(404),
        }
    }

    /// The medium, of several that are set up, which is meant by an address that it was set up with.
    fn single(&self, url: &str) -> Option<usize> {
        let (wanted, is_one_of_several) = (url.trim_end_matches('/'), self.lanes.len() > 1);
        let mut of_urls = self.urls.iter().filter(|(_, url)| url.trim_end_matches('/') == wanted);
        let (medium, _) = of_urls.next().filter(|_| is_one_of_several)?;
        Some(*medium)
    }

    /// The peer's channels, or others if they are taken or none were named.
    fn channels(&self, medium: usize, wanted: Option<(u8, u8)>) -> Option<(u8, u8)> {
        let is_taken = |channel: u8| {
            let others = self.lanes.iter().filter(|lane| lane.medium != medium);
            others.into_iter().any(|lane| matches!(lane.carriage, Carriage::Interleaved { rtp, rtcp } if rtp == channel || rtcp == channel))
        };
        let free = |pair: &(u8, u8)| pair.0 != pair.1 && !is_taken(pair.0) && !is_taken(pair.1);
        let pairs = (0..=127_u8).map(|pair| (2 * pair, 2 * pair + 1));
        wanted.into_iter().chain(pairs).find(free)
    }
}

impl Refusal {
    fn status(self) -> u16 {
        match self {
            Refusal::Forbidden => 403,
            Refusal::NotFound => 404,
            Refusal::NotAcceptable => 406,
            Refusal::UnsupportedMedia => 415,
            Refusal::NotEnoughBandwidth => 453,
            Refusal::NotNow => 455,
            Refusal::InvalidRange => 457,
            Refusal::Failed => 500,
            Refusal::Unavailable => 503,
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        406 => "Not Acceptable",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        453 => "Not Enough Bandwidth",
        454 => "Session Not Found",
        455 => "Method Not Valid in This State",
        457 => "Invalid Range",
        459 => "Aggregate Operation Not Allowed",
        460 => "Only Aggregate Operation Allowed",
        461 => "Unsupported Transport",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "RTSP Version Not Supported",
        551 => "Option not supported",
        _ => "Error",
    }
}

/// Without what would end the line.
fn line(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

const PUBLIC: &str = "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";
const USER_AGENT_CHARS_MAX: usize = 128;
