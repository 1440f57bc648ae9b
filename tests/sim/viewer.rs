//! Viewers: they join over every output, read fast, slowly or not at all, come back, and leave in every manner.
//!
//! What a viewer got is judged when it goes, by the strict reader of its output.

use penstock_proto::rtmp::client::Event;
use penstock_proto::rtmp::wire::command::Command;
use penstock_proto::rtmp::wire::message::Control;
use penstock_proto::tag::amf0::Value;

use super::dial::{Dial, Talk};
use super::judge::{self, Ending, Output, Watched};
use super::net::{End, Net, Read};
use super::noise::Noise;
use super::stage::Stage;

#[derive(Debug)]
pub struct Viewer {
    state: State,
    comes: u64,
    streams: Vec<String>,
    /// It comes once, reads as bytes come, and leaves then (µs).
    steady_until: Option<u64>,
}

/// How a viewer goes when its world ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    Closes,
    /// In good manners, in bad ones, or not at all: it never does anything again.
    Abandons,
}

#[derive(Debug)]
enum State {
    Away { until: u64 },
    There(Box<Session>),
    Gone,
}

#[derive(Debug)]
struct Session {
    stream: String,
    output: Output,
    way: Way,
    /// What HTTP sent, head and all.
    received: Vec<u8>,
    /// Rest of a question that is asked in two pieces.
    ask_later: Vec<u8>,
    habit: Habit,
    reads_at: u64,
    leaves_at: u64,
    leaves: Leaves,
    has_half_closed: bool,
    is_playing: bool,
    /// When it came, or something came to it last.
    got_at: u64,
    /// When it pauses or resumes next.
    turns_at: u64,
    is_paused: bool,
}

/// How it is connected.
#[derive(Debug)]
enum Way {
    Http(Dial),
    Rtmp(Box<Talk>),
}

/// How it reads.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// As bytes come.
    Prompt,
    /// So many bytes each so many µs.
    Trickle { bytes: usize, micros: u64 },
    /// Stops at once for so long, and is prompt behind.
    Stalls { until: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Closes,
    Resets,
    /// Ends its side and reads on.
    HalfCloses,
}

impl Viewer {
    pub fn new(noise: &mut Noise, now: u64, streams: &[String]) -> Viewer {
        Viewer {
            state: State::Away {
                until: now + noise.below(3_000_000),
            },
            comes: noise.between(1, 3),
            streams: streams.to_vec(),
            steady_until: None,
        }
    }

    /// One of an output over HTTP that comes at `at`, and leaves at `until` in good manners.
    pub fn steady(at: u64, streams: &[String], until: u64) -> Viewer {
        Viewer {
            state: State::Away { until: at },
            comes: 1,
            streams: streams.to_vec(),
            steady_until: Some(until),
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// Whether it reads, and has got nothing since `since`.
    pub fn waits_since(&self, since: u64) -> bool {
        match &self.state {
            State::There(session) => {
                session.turns_at == u64::MAX && matches!(session.habit, Habit::Prompt) && session.got_at < since
            }
            _ => false,
        }
    }

    pub fn next_at(&self, net: &Net) -> Option<u64> {
        match &self.state {
            State::Away { until } => Some(*until),
            State::Gone => None,
            State::There(session) => Some(session.due(net)),
        }
    }

    pub fn act(&mut self, net: &mut Net, stage: &Stage, watched: &mut Vec<Watched>) -> Result<(), String> {
        match &mut self.state {
            State::Gone => {}
            State::Away { until } if *until > net.now => {}
            State::Away { .. } => self.come(net, stage),
            State::There(session) => {
                if let Some(ending) = session.act(net)? {
                    let link = session.link();
                    watched.extend(session.judge(ending, stage)?);
                    net.client_close(link);
                    self.leave(net);
                }
            }
        }
        Ok(())
    }

    /// The world ends: it goes, whatever it is doing.
    pub fn dismiss(
        &mut self,
        net: &mut Net,
        dismissal: Dismissal,
        stage: &Stage,
        watched: &mut Vec<Watched>,
    ) -> Result<(), String> {
        if let State::There(session) = &mut self.state {
            watched.extend(session.judge(Ending::Cut, stage)?);
            match dismissal {
                Dismissal::Closes => net.client_close(session.link()),
                Dismissal::Abandons => net.client_abandon(session.link()),
            }
        }
        self.state = State::Gone;
        Ok(())
    }

    fn leave(&mut self, net: &mut Net) {
        let away = net.noise.one_of(&[500, 50_000, 700_000]);
        self.state = match self.comes {
            0 => State::Gone,
            _ => State::Away { until: net.now + away },
        };
    }

    fn come(&mut self, net: &mut Net, stage: &Stage) {
        self.comes -= 1;
        let shard = net.noise.below(net.ports.len() as u64) as usize;
        let stream = self.streams[net.noise.below(self.streams.len() as u64) as usize].clone();
        let output = match self.steady_until {
            Some(_) => net.noise.one_of(&[Output::Flv, Output::Ts, Output::Mp4]),
            None => net.noise.one_of(&[Output::Flv, Output::Ts, Output::Mp4, Output::Rtmp]),
        };
        let tag = if output == Output::Rtmp { stage.rtmp } else { stage.http };
        let Some(link) = net.connect(shard, tag) else {
            return self.leave(net);
        };
        let seed = net.noise.next();
        let (way, ask_later) = match output.extension() {
            None => (Way::Rtmp(Box::new(Talk::play(link, &stream, seed))), Vec::new()),
            Some(extension) => {
                let question = format!("GET /{stream}.{extension} HTTP/1.1\r\nHost: penstock\r\n\r\n");
                let cut = match net.noise.once_in(4) && self.steady_until.is_none() {
                    true => net.noise.below(question.len() as u64) as usize,
                    false => question.len(),
                };
                let mut dial = Dial::new(link);
                dial.say(&question.as_bytes()[..cut]);
                dial.flush(net);
                (Way::Http(dial), question.as_bytes()[cut..].to_vec())
            }
        };
        let (now, noise) = (net.now, &mut net.noise);
        let habit = match noise.below(6) {
            0..3 => Habit::Prompt,
            3 => Habit::Trickle {
                bytes: noise.between(200, 30_000) as usize,
                micros: noise.one_of(&[3_000, 30_000, 120_000]),
            },
            _ => Habit::Stalls {
                until: now + noise.between(200_000, 5_000_000),
            },
        };
        let leaves_at = now + noise.one_of(&[2_000, 300_000, 1_500_000, 60_000_000, 60_000_000]);
        let (habit, leaves_at) = match self.steady_until {
            Some(until) => (Habit::Prompt, until),
            None => (habit, leaves_at),
        };
        self.state = State::There(Box::new(Session {
            stream,
            output,
            way,
            received: Vec::new(),
            ask_later,
            habit,
            reads_at: now,
            leaves_at,
            leaves: noise.one_of(&[Leaves::Closes, Leaves::Closes, Leaves::Resets, Leaves::HalfCloses]),
            has_half_closed: false,
            is_playing: false,
            got_at: now,
            turns_at: if output == Output::Rtmp && noise.once_in(3) {
                now + noise.between(50_000, 2_000_000)
            } else {
                u64::MAX
            },
            is_paused: false,
        }));
    }
}

impl Session {
    fn link(&self) -> usize {
        match &self.way {
            Way::Http(dial) => dial.link,
            Way::Rtmp(talk) => talk.dial.link,
        }
    }

    fn due(&self, net: &Net) -> u64 {
        let reads = net.client_readable_at(self.link()).map(|at| at.max(self.reads_at));
        reads.unwrap_or(u64::MAX).min(self.leaves_at).min(self.turns_at)
    }

    /// How its session ended, when it has.
    fn act(&mut self, net: &mut Net) -> Result<Option<Ending>, String> {
        if net.now >= self.leaves_at {
            match self.leaves {
                Leaves::Closes => return Ok(Some(Ending::Cut)),
                Leaves::Resets => {
                    net.client_reset(self.link());
                    return Ok(Some(Ending::Cut));
                }
                Leaves::HalfCloses => {
                    net.client_half_close(self.link());
                    self.has_half_closed = true;
                    // Who does not close upon this is waited for no longer.
                    self.leaves_at = net.now + 10_000_000;
                    self.leaves = Leaves::Closes;
                    return Ok(None);
                }
            }
        }
        self.pause_or_resume(net);
        if net.now < self.reads_at {
            return Ok(None);
        }
        if net.client_readable_at(self.link()).is_some_and(|at| at <= net.now) {
            self.got_at = net.now;
        }
        let bytes_max = self.reads(net.now);
        let end = match &mut self.way {
            Way::Http(dial) => {
                dial.say(&std::mem::take(&mut self.ask_later));
                dial.flush(net);
                match net.client_read(dial.link, bytes_max, &mut self.received) {
                    Read::End(end) => Some(end),
                    _ => None,
                }
            }
            Way::Rtmp(talk) => {
                // An answer of the session's own, which must find its place between two records.
                if self.is_playing && net.noise.once_in(6) {
                    let mut out = Vec::new();
                    talk.client.send_control(Control::PingRequest(7), &mut out);
                    talk.dial.say(&out);
                }
                let end = talk.listen(net, bytes_max)?;
                for event in std::mem::take(&mut talk.events) {
                    match event {
                        Event::Playing { .. } => self.is_playing = true,
                        Event::Refused { .. } => return Ok(Some(Ending::Cut)),
                        _ => {}
                    }
                }
                end
            }
        };
        if end.is_none() && self.is_refused() {
            return Ok(Some(Ending::Cut));
        }
        Ok(end.map(|end| match end {
            End::Fin if !self.has_half_closed => Ending::Clean,
            _ => Ending::Cut,
        }))
    }

    fn pause_or_resume(&mut self, net: &mut Net) {
        let Way::Rtmp(talk) = &mut self.way else { return };
        if net.now < self.turns_at {
            return;
        }
        if !self.is_playing {
            self.turns_at = net.now + 100_000;
            return;
        }
        self.is_paused = !self.is_paused;
        let arguments = vec![Value::Null, Value::Boolean(self.is_paused), Value::Number(0.0)];
        let mut out = Vec::new();
        talk.client
            .send_command(1, &Command::new("pause", 0.0, arguments), &mut out);
        talk.dial.say(&out);
        talk.dial.flush(net);
        self.turns_at = net.now + net.noise.between(1_000, 1_500_000);
    }

    /// How much it reads now, and when it does so again.
    fn reads(&mut self, now: u64) -> usize {
        match self.habit {
            Habit::Prompt => usize::MAX,
            Habit::Trickle { bytes, micros } => {
                self.reads_at = now + micros;
                bytes
            }
            Habit::Stalls { until } => {
                self.reads_at = until;
                // The head and what came with it; the rest when it reads again.
                usize::MAX
            }
        }
    }

    /// An answer other than the stream: it is not waited for its end.
    fn is_refused(&self) -> bool {
        let Way::Http(_) = self.way else { return false };
        self.received.len() > 12
            && !self.received.starts_with(b"HTTP/1.1 200")
            && judge::body_of(&self.received).is_some()
    }

    /// What it was sent, looked at by a strict reader.
    fn judge(&self, ending: Ending, stage: &Stage) -> Result<Vec<Watched>, String> {
        let context = |why: String| format!("{:?} of {} ({ending:?}): {why}", self.output, self.stream);
        let mut watched = Vec::new();
        match &self.way {
            Way::Rtmp(talk) => {
                // Who pauses may be paused, or be gone back to a stream that is over, at the end.
                let ending = if self.turns_at < u64::MAX { Ending::Cut } else { ending };
                let ends = talk.resumed.iter().copied().chain([talk.media.len()]);
                let mut from = 0;
                for end in ends {
                    let mut part = judge::media(&talk.media[from..end]).map_err(context)?;
                    let ending = if end == talk.media.len() { ending } else { Ending::Cut };
                    part.check(&self.stream, ending, stage).map_err(context)?;
                    part.whose = format!("{:?} of {}", self.output, self.stream);
                    watched.push(part);
                    from = end;
                }
            }
            Way::Http(_) => {
                let body = judge::body_of(&self.received).filter(|_| self.received.starts_with(b"HTTP/1.1 200"));
                if let Some(body) = body {
                    let mut all = judge::body(self.output, body, ending).map_err(context)?;
                    all.check(&self.stream, ending, stage).map_err(context)?;
                    all.whose = format!("{:?} of {}", self.output, self.stream);
                    watched.push(all);
                }
            }
        }
        Ok(watched)
    }
}
