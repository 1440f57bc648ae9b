//! Requests and their answers, up to PLAY; and how one connection follows another.

use super::address::{is_absolute, join, sendable};
use super::limits::{CONNECTIONS_MAX, LANES_MAX, SESSION_ID_BYTES_MAX, STALE_MAX};
use super::login::{self, Challenge};
use super::play::{self, KeepAlive};
use super::{Error, Event, Lane, Over, Plan, Preference, Session, Stage, Way};
use crate::media::Kind;
use crate::rtsp::session::Part;
use crate::rtsp::wire::message::{Head, Reader, Start};
use crate::rtsp::wire::transport::{Delivery, Ports, Transport};
use crate::sdp::{Description, Direction, Media};

/// A request that awaits its answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    sequence: u32,
    method: &'static str,
    url: String,
    /// Beyond those of every request; whole lines.
    headers: String,
    /// It went with an answer to a challenge.
    is_signed: bool,
    /// Nonces that were stale for it.
    stale: u32,
}

/// How the server lets us in.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    challenge: Challenge,
    /// Requests that were answered to it.
    count: u32,
    /// The server took one of them.
    is_proven: bool,
}

impl Session {
    /// On a new connection.
    pub(super) fn begin(&mut self) {
        self.stage = Stage::Options;
        let url = self.address.url().to_owned();
        self.ask("OPTIONS", url, String::new());
    }

    fn ask(&mut self, method: &'static str, url: String, headers: String) {
        let asked = Asked {
            sequence: 0,
            method,
            url,
            headers,
            is_signed: false,
            stale: 0,
        };
        self.step_ms = self.now_ms;
        self.send(asked);
    }

    fn send(&mut self, mut asked: Asked) {
        asked.is_signed = self.authority.is_some();
        asked.sequence = self.write_request(asked.method, &asked.url, &asked.headers);
        self.asked = Some(asked);
    }

    /// The least that will do: there are cameras that stumble over each further header (Hikvision). Its `CSeq`.
    pub(super) fn write_request(&mut self, method: &str, url: &str, headers: &str) -> u32 {
        self.sequence += 1;
        let mut text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.sequence);
        if let (Some(authority), Some(login)) = (&mut self.authority, &self.address.login) {
            authority.count += 1;
            let ours = login::nonce(self.seed, u64::from(self.sequence));
            let answer = authority.challenge.answer(login, (method, url), authority.count, &ours);
            text += &format!("Authorization: {answer}\r\n");
        }
        if let Some(id) = &self.id {
            text += &format!("Session: {id}\r\n");
        }
        text += headers;
        text += "\r\n";
        self.out.extend_from_slice(text.as_bytes());
        self.sequence
    }

    pub(super) fn message(&mut self, head: &Head, body: &[u8]) -> Result<(), Error> {
        let (status, reason) = match &head.start {
            Start::Request { method, .. } => return self.requested(method, head),
            Start::Response { status, reason } => (*status, reason.as_str()),
        };
        // An answer without a number is to what waits for one.
        let is_for = |asked: &mut Asked| head.sequence().is_none_or(|sequence| sequence == asked.sequence);
        let is_final = status >= 200;
        let Some(asked) = self.asked.take_if(|asked| is_for(asked) && is_final) else {
            if is_final && !self.keep_alive_answered(status, head) {
                self.counters.responses_ignored = self.counters.responses_ignored.saturating_add(1);
            }
            return Ok(());
        };
        match (status, head.header("Location")) {
            (401, _) => self.challenged(asked, head),
            (301 | 302 | 303 | 305 | 307 | 308, Some(location)) => self.redirected(location),
            _ => {
                if let Some(authority) = &mut self.authority {
                    authority.is_proven |= status < 300 && asked.is_signed;
                }
                self.answered(&asked, (status, reason), head, body)
            }
        }
    }

    fn answered(
        &mut self,
        asked: &Asked,
        (status, reason): (u16, &str),
        head: &Head,
        body: &[u8],
    ) -> Result<(), Error> {
        let is_success = status < 300;
        let refused = Error::refused(self.step(), status, reason);
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            // Nobody needs to know it: what is not allowed is refused later.
            Stage::Options => {
                self.keep_alive = KeepAlive::of(head.all("Public").chain(head.all("Allow")));
                self.stage = Stage::Describe;
                let url = self.address.url().to_owned();
                self.ask("DESCRIBE", url, "Accept: application/sdp\r\n".to_owned());
                Ok(())
            }
            Stage::Describe if is_success => self.described(&asked.url, head, body),
            Stage::SetUp { plan, way } if is_success => self.set_up(plan, way, head),
            Stage::SetUp { plan, .. } => self.set_up_refused(plan, status, refused),
            Stage::Play(plan) if is_success => {
                let begins = play::begins(head, &plan.media);
                self.events.push(Event::Playing { begins });
                self.stage = Stage::Playing(plan);
                self.step_ms = self.now_ms;
                self.keep_alive.next_ms = self.now_ms + self.keep_alive_millis();
                Ok(())
            }
            _ => Err(refused),
        }
    }

    fn challenged(&mut self, mut asked: Asked, head: &Head) -> Result<(), Error> {
        if self.address.login.is_none() {
            return Err(Error::LoginMissing);
        }
        let challenge = self.challenge(head).ok_or(Error::SchemeUnknown)?;
        let is_new = |known: &Authority| known.is_proven && known.challenge != challenge;
        let is_worth_it = !asked.is_signed
            || challenge.is_stale && asked.stale < STALE_MAX
            || self.authority.as_ref().is_some_and(is_new);
        if !is_worth_it {
            return Err(Error::LoginWrong);
        }
        asked.stale += u32::from(asked.is_signed && challenge.is_stale);
        self.trust(challenge);
        let closes = head
            .header("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if closes {
            return self.connect_anew();
        }
        self.send(asked);
        Ok(())
    }

    pub(super) fn challenge(&self, head: &Head) -> Option<Challenge> {
        Challenge::best(head.all("WWW-Authenticate"), self.handover)
    }

    pub(super) fn trust(&mut self, challenge: Challenge) {
        self.authority = Some(Authority {
            challenge,
            count: 0,
            is_proven: false,
        });
    }

    pub(super) fn redirected(&mut self, location: &str) -> Result<(), Error> {
        let (address, handover) = self.address.redirected(location).ok_or(Error::Redirect)?;
        self.address = address;
        self.handover = handover;
        // Another server has other nonces.
        self.authority = None;
        self.connect_anew()
    }

    pub(super) fn connect_anew(&mut self) -> Result<(), Error> {
        if self.reconnections == CONNECTIONS_MAX {
            return Err(Error::TOO_MANY_CONNECTIONS);
        }
        self.reconnections += 1;
        self.stage = Stage::Connecting;
        self.step_ms = self.now_ms;
        self.asked = None;
        self.id = None;
        self.heard_ms = None;
        self.reader = Reader::default();
        self.events.push(Event::Connect(self.address.clone()));
        Ok(())
    }

    pub(super) fn may_fall_back(&self) -> bool {
        self.preference == Preference::Auto && self.over == Over::Udp
    }

    /// To TCP. On a new connection and with a new DESCRIBE: Hikvision sets up nothing else than it described last.
    pub(super) fn fall_back(&mut self) -> Result<(), Error> {
        self.over = Over::Tcp;
        self.tear_down();
        self.connect_anew()
    }

    /// Nobody waits for the answer.
    pub(super) fn tear_down(&mut self) {
        let url = match &self.stage {
            Stage::SetUp { plan, .. } | Stage::AwaitsPorts(plan) | Stage::Play(plan) | Stage::Playing(plan) => {
                plan.url.clone()
            }
            _ => return,
        };
        if self.id.is_some() {
            self.write_request("TEARDOWN", &url, "");
        }
    }

    fn described(&mut self, url: &str, head: &Head, body: &[u8]) -> Result<(), Error> {
        let description = Description::parse(body).map_err(Error::Description)?;
        let headers = ["Content-Base", "Content-Location"];
        let said = headers.iter().find_map(|name| head.header(name).and_then(sendable));
        let base = match said {
            Some(said) if is_absolute(&said) => said,
            Some(said) if said.starts_with('/') => join(url, &said),
            _ => url.to_owned(),
        };
        let media = wanted(&description)
            .into_iter()
            .filter_map(|medium| Some((medium, sendable(&join(&base, &description.media[medium].control))?)))
            .take(LANES_MAX)
            .collect();
        let plan = Plan {
            url: sendable(&join(&base, &description.control)).unwrap_or(base),
            description: Some(Box::new(description)),
            media,
            next: 0,
            lanes: Vec::new(),
            refused: None,
        };
        self.set_up_next(plan)
    }

    fn set_up_next(&mut self, mut plan: Plan) -> Result<(), Error> {
        if let Some((medium, url)) = plan.media.get(plan.next).cloned() {
            if self.over == Over::Udp {
                self.events.push(Event::PortsRequested { medium });
                self.stage = Stage::AwaitsPorts(plan);
                return Ok(());
            }
            let rtp = plan.next as u8 * 2;
            let rtcp = rtp + 1;
            let headers = format!("Transport: RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}\r\n");
            let way = Way::Interleaved { rtp, rtcp };
            self.stage = Stage::SetUp { plan, way };
            self.ask("SETUP", url, headers);
            return Ok(());
        }
        if plan.lanes.is_empty() {
            return Err(plan.refused.unwrap_or(Error::NothingToPlay));
        }
        let description = plan
            .description
            .take()
            .expect("it is given out once, with all media set up");
        let lanes = plan.lanes.clone();
        self.events.push(Event::SetUp { description, lanes });
        let url = plan.url.clone();
        self.stage = Stage::Play(plan);
        // Without a range some do not begin (Parrot).
        self.ask("PLAY", url, "Range: npt=0.000-\r\n".to_owned());
        Ok(())
    }

    pub(super) fn set_up_by_udp(&mut self, ours: Ports) {
        let plan = self.plan_that_awaits_ports();
        let (_, url) = plan.media[plan.next].clone();
        let way = Way::Datagrams {
            ours,
            theirs: None,
            source: None,
        };
        self.stage = Stage::SetUp { plan, way };
        let Ports { rtp, rtcp } = ours;
        self.ask(
            "SETUP",
            url,
            format!("Transport: RTP/AVP;unicast;client_port={rtp}-{rtcp}\r\n"),
        );
    }

    pub(super) fn set_up_without_ports(&mut self) -> Result<(), Error> {
        let plan = self.plan_that_awaits_ports();
        if !self.may_fall_back() {
            return Err(Error::NoPorts);
        }
        if plan.lanes.is_empty() {
            // Nothing was set up that would have to be described anew.
            self.over = Over::Tcp;
            return self.set_up_next(plan);
        }
        self.stage = Stage::AwaitsPorts(plan);
        self.fall_back()
    }

    fn plan_that_awaits_ports(&mut self) -> Plan {
        match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::AwaitsPorts(plan) => plan,
            _ => panic!("no ports were asked for"),
        }
    }

    fn set_up(&mut self, mut plan: Plan, asked: Way, head: &Head) -> Result<(), Error> {
        if let Some(value) = head.header("Session") {
            self.note_session(value);
        }
        let answer = head.header("Transport").map(Transport::parse);
        let way = way(asked, answer.as_ref()).ok_or(Error::Transport)?;
        let is_taken = |lane: &Lane| matches!((lane.way, way), (Way::Interleaved { rtp, .. }, Way::Interleaved { rtp: other, .. }) if rtp == other);
        if plan.lanes.iter().any(is_taken) {
            return Err(Error::Transport);
        }
        let (medium, _) = plan.media[plan.next];
        plan.lanes.push(Lane { medium, way });
        plan.next += 1;
        self.set_up_next(plan)
    }

    fn set_up_refused(&mut self, mut plan: Plan, status: u16, refused: Error) -> Result<(), Error> {
        let (medium, _) = plan.media[plan.next];
        let description = plan.description.as_deref().expect("it is there until all is set up");
        let is_picture = kind(&description.media[medium]) == Some(Kind::Video);
        let is_about_transport = status == 461 || plan.lanes.is_empty() || is_picture;
        if self.may_fall_back() && is_about_transport {
            let way = Way::Interleaved { rtp: 0, rtcp: 1 };
            self.stage = Stage::SetUp { plan, way };
            return self.fall_back();
        }
        if is_picture {
            return Err(refused);
        }
        self.counters.media_refused += 1;
        plan.refused = Some(refused);
        plan.next += 1;
        self.set_up_next(plan)
    }

    /// `ID;timeout=SECONDS`
    fn note_session(&mut self, value: &str) {
        let mut parts = value.split(';').map(str::trim);
        let id = parts.next().unwrap_or_default();
        let is_id =
            !id.is_empty() && id.len() <= SESSION_ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
        if is_id {
            self.id = Some(id.to_owned());
        }
        let seconds = parts.find_map(|part| part.strip_prefix("timeout")?.trim_start().strip_prefix('='));
        if let Some(seconds) = seconds.and_then(|seconds| seconds.trim().parse::<u32>().ok()) {
            self.timeout_ms = u64::from(seconds) * 1000;
        }
    }

    fn requested(&mut self, method: &str, head: &Head) -> Result<(), Error> {
        let (status, headers) = match method {
            "OPTIONS" => (
                "200 OK",
                "Public: OPTIONS, GET_PARAMETER, SET_PARAMETER, REDIRECT, TEARDOWN\r\n",
            ),
            "GET_PARAMETER" | "SET_PARAMETER" | "REDIRECT" => ("200 OK", ""),
            "TEARDOWN" => return Err(Error::TornDown),
            // MistServer repeats its ANNOUNCE until it is told so.
            _ => ("501 Not Implemented", ""),
        };
        let sequence = head.sequence().map(|sequence| format!("CSeq: {sequence}\r\n"));
        let answer = format!("RTSP/1.0 {status}\r\n{}{headers}\r\n", sequence.unwrap_or_default());
        self.out.extend_from_slice(answer.as_bytes());
        self.counters.requests_refused += u32::from(!status.starts_with("200"));
        match (method, head.header("Location")) {
            ("REDIRECT", Some(location)) => self.redirected(location),
            ("REDIRECT", None) => self.connect_anew(),
            _ => Ok(()),
        }
    }

    pub(super) fn of_channel(&self, channel: u8) -> Option<(usize, Part)> {
        let (Stage::Play(plan) | Stage::Playing(plan)) = &self.stage else {
            return None;
        };
        plan.lanes.iter().find_map(|lane| match lane.way {
            Way::Interleaved { rtp, .. } if rtp == channel => Some((lane.medium, Part::Rtp)),
            Way::Interleaved { rtcp, .. } if rtcp == channel => Some((lane.medium, Part::Rtcp)),
            _ => None,
        })
    }
}

/// What a server that grants SETUP means by its answer.
fn way(asked: Way, answer: Option<&Transport>) -> Option<Way> {
    let Some(answer) = answer else { return Some(asked) };
    if let Some((rtp, rtcp)) = answer.interleaved {
        // Also where the answer says RTP/AVP (Escam), or other numbers than were asked for.
        return Some(Way::Interleaved { rtp, rtcp });
    }
    match asked {
        Way::Interleaved { .. } => {
            let is_by_udp = answer.client_port.is_some() || answer.server_port.is_some();
            (answer.protocol.ends_with("/TCP") || !is_by_udp).then_some(asked)
        }
        Way::Datagrams { .. } if answer.delivery == Some(Delivery::Multicast) => None,
        Way::Datagrams { ours, .. } => Some(Way::Datagrams {
            ours,
            theirs: answer.server_port,
            source: answer.source,
        }),
    }
}

/// Media that are worth a SETUP: pictures, sound, then the rest. Talk-back is not, unless it is said of everything, which
/// cannot be.
fn wanted(description: &Description) -> Vec<usize> {
    let all = || {
        let media = description.media.iter().enumerate();
        media.filter(|(_, medium)| medium.format.is_some())
    };
    let is_back = |medium: &Media| medium.direction == Direction::SendOnly;
    let is_meaningless = all().all(|(_, medium)| is_back(medium));
    let is_wanted = |medium: &Media| is_meaningless || !is_back(medium) || kind(medium) == Some(Kind::Video);
    let mut wanted: Vec<usize> = all()
        .filter(|(_, medium)| is_wanted(medium))
        .map(|(at, _)| at)
        .collect();
    wanted.sort_by_key(|at| match kind(&description.media[*at]) {
        Some(Kind::Video) => 0,
        Some(Kind::Audio) => 1,
        _ => 2,
    });
    wanted
}

fn kind(medium: &Media) -> Option<Kind> {
    medium.format.as_ref().map(|format| format.kind)
}
