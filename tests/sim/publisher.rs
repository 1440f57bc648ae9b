//! Publishers: they come, send at the pace of their clock, stall, leave in every manner, and come back.
//!
//! What one has sent whole, and was taken leave of by the server, every viewer that was there must have to its last frame.

use penstock_proto::rtmp::client::Event;

use super::clip::{Maker, Shape, Tag};
use super::dial::Talk;
use super::net::{End, Net};
use super::noise::Noise;
use super::stage::Stage;

/// Bytes that a publisher writes ahead of its connection; encoders block beyond.
const AHEAD_BYTES: usize = 200_000;

#[derive(Debug)]
pub struct Publisher {
    stream: String,
    state: State,
    /// How often it comes yet.
    comes: u64,
    big: Big,
    /// It sends this, whole, and nothing else.
    steady: Option<Shape>,
}

/// Whether a world's pictures fill blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Big {
    Yes,
    No,
}

#[derive(Debug)]
enum State {
    Away { until: u64 },
    There(Box<Session>),
    Gone,
}

#[derive(Debug)]
struct Session {
    talk: Talk,
    number: u32,
    maker: Maker,
    next: Option<Tag>,
    /// When the first message was due; none before the server said that it may begin.
    since: Option<u64>,
    /// Its own clock at its begin, ms; wraps.
    start_millis: u32,
    how: Leaves,
    /// Frames after which something happens.
    until_frames: u64,
    stalled_until: u64,
    /// Everything is said.
    is_over: bool,
    /// The server has no cause to miss any of it.
    is_whole: bool,
    gives_up_at: u64,
    is_connected: bool,
    has_asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Politely,
    /// Everything sent, then a FIN without a word.
    Silently,
    /// A FIN in the middle of something.
    Vanishes,
    Resets,
    /// Sends what is no RTMP.
    TalksRubbish,
    /// Sends nothing more for longer than anybody waits.
    Freezes,
    /// Is gone right behind its question, before it can be answered.
    AsksAndResets,
}

impl Publisher {
    pub fn new(noise: &mut Noise, now: u64, stream: &str, big: Big) -> Publisher {
        Publisher {
            stream: stream.to_owned(),
            state: State::Away {
                until: now + noise.below(400_000),
            },
            comes: noise.between(1, 4),
            big,
            steady: None,
        }
    }

    /// One that sends so many frames at the pace of its clock and ends.
    pub fn steady(now: u64, stream: &str, frames: u64) -> Publisher {
        Publisher {
            stream: stream.to_owned(),
            state: State::Away { until: now },
            comes: 1,
            big: Big::No,
            steady: Some(Shape {
                key_bytes: 4_000,
                picture_bytes: 400,
                gop: 13,
                frames,
                has_audio: false,
            }),
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// When it has something to do.
    pub fn next_at(&self, net: &Net) -> Option<u64> {
        match &self.state {
            State::Away { until } => Some(*until),
            State::Gone => None,
            State::There(session) => {
                let readable = net.client_readable_at(session.talk.dial.link);
                [Some(session.due()), readable].into_iter().flatten().min()
            }
        }
    }

    pub fn act(&mut self, net: &mut Net, stage: &mut Stage) -> Result<(), String> {
        match &mut self.state {
            State::Gone => {}
            State::Away { until } if *until > net.now => {}
            State::Away { .. } => self.come(net, stage),
            State::There(session) => {
                if session.act(net, stage)? {
                    let link = session.talk.dial.link;
                    net.client_close(link);
                    self.leave(net);
                }
            }
        }
        Ok(())
    }

    /// The world ends: it goes, whatever it is doing.
    pub fn dismiss(&mut self, net: &mut Net) {
        if let State::There(session) = &self.state {
            net.client_abandon(session.talk.dial.link);
        }
        self.state = State::Gone;
    }

    fn leave(&mut self, net: &mut Net) {
        // Within the grace, at its end, and beyond.
        let away = net.noise.one_of(&[1_000, 200_000, 600_000, 2_500_000]);
        self.state = match self.comes {
            0 => State::Gone,
            _ => State::Away { until: net.now + away },
        };
    }

    fn come(&mut self, net: &mut Net, stage: &mut Stage) {
        self.comes -= 1;
        let shard = net.noise.below(net.ports.len() as u64) as usize;
        let Some(link) = net.connect(shard, stage.rtmp) else {
            return self.leave(net);
        };
        let noise = &mut net.noise;
        let (key_bytes, picture_bytes) = match self.big {
            Big::Yes => (noise.between(60_000, 200_000), noise.between(5_000, 30_000)),
            Big::No => (noise.between(300, 8_000), noise.between(30, 1_500)),
        };
        let shape = Shape {
            key_bytes: key_bytes as usize,
            picture_bytes: picture_bytes as usize,
            gop: noise.one_of(&[4, 7, 13, 25]),
            frames: noise.between(3, 250),
            has_audio: !noise.once_in(5),
        };
        let shape = self.steady.unwrap_or(shape);
        let number = stage.publishes(&self.stream, shape);
        let mut maker = Maker::new(number, shape);
        let next = maker.next();
        let choices = [
            Leaves::Politely,
            Leaves::Politely,
            Leaves::Silently,
            Leaves::Vanishes,
            Leaves::Resets,
            Leaves::TalksRubbish,
            Leaves::Freezes,
            Leaves::AsksAndResets,
        ];
        self.state = State::There(Box::new(Session {
            talk: Talk::publish(link, &self.stream, noise.next()),
            number,
            maker,
            next,
            since: None,
            // Close to where 32 bits of ms end, among others.
            start_millis: noise.one_of(&[0, 5_000, u32::MAX - 900, 0x00ff_ffff - 400]),
            how: match self.steady {
                Some(_) => Leaves::Politely,
                None => noise.one_of(&choices),
            },
            until_frames: match self.steady {
                Some(_) => u64::MAX,
                None => noise.between(1, shape.frames),
            },
            stalled_until: 0,
            is_over: false,
            is_whole: true,
            gives_up_at: net.now + self.steady.map_or(20_000_000, |_| 600_000_000),
            is_connected: false,
            has_asked: false,
        }));
    }
}

impl Session {
    fn due(&self) -> u64 {
        let pace = match (&self.since, &self.next) {
            _ if self.talk.dial.unsent() > 0 => 0,
            (Some(since), Some(tag)) => since + tag.millis * 1000,
            _ => self.gives_up_at,
        };
        pace.max(self.stalled_until).min(self.gives_up_at)
    }

    /// Whether its connection is over.
    fn act(&mut self, net: &mut Net, stage: &mut Stage) -> Result<bool, String> {
        let end = self.talk.listen(net, usize::MAX)?;
        for event in std::mem::take(&mut self.talk.events) {
            match event {
                Event::Publishing { .. } => {
                    self.since = Some(net.now);
                    for tag in self.maker.setup() {
                        self.send(&tag);
                    }
                }
                Event::Refused { .. } => return Ok(true),
                Event::Connected(_) => self.is_connected = true,
                Event::Status { code } if code != "NetStream.Unpublish.Success" => self.is_whole = false,
                _ => {}
            }
        }
        if self.how == Leaves::AsksAndResets && self.is_connected && self.since.is_none() {
            // The answer to `connect` has come before, that to `createStream` with this: `publish` is on its way.
            if std::mem::replace(&mut self.has_asked, true) && self.gives_up_at > net.now + 1_000_000 {
                self.gives_up_at = net.now + net.noise.between(1, 1_500);
            }
        }
        if let Some(end) = end {
            // A server that closes behind a polite end has taken everything.
            if end == End::Fin && self.is_over && self.is_whole && self.talk.dial.unsent() == 0 {
                stage.all_sent(self.number, self.maker.made());
            }
            return Ok(true);
        }
        if net.now >= self.gives_up_at {
            if self.how == Leaves::AsksAndResets {
                net.client_reset(self.talk.dial.link);
            }
            return Ok(true);
        }
        if net.now >= self.stalled_until && self.speak(net) {
            return Ok(true);
        }
        self.talk.dial.flush(net);
        if self.talk.dial.unsent() > 0 && net.now >= self.stalled_until {
            self.stalled_until = net.now + 3_000;
        }
        Ok(false)
    }

    fn send(&mut self, tag: &Tag) {
        let mut out = Vec::new();
        let timestamp = self.start_millis.wrapping_add(tag.millis as u32);
        self.talk.client.send_media(tag.kind, timestamp, &tag.body, &mut out);
        self.talk.dial.say(&out);
    }

    /// Sends what is due; whether it is gone now.
    fn speak(&mut self, net: &mut Net) -> bool {
        let Some(since) = self.since else { return false };
        while let Some(tag) = self.next.take_if(|tag| since + tag.millis * 1000 <= net.now) {
            if self.talk.dial.unsent() > AHEAD_BYTES {
                self.next = Some(tag);
                return false;
            }
            self.send(&tag);
            self.next = self.maker.next();
            if self.maker.made()[0] > self.until_frames && self.is_interrupted(net) {
                return true;
            }
        }
        if self.next.is_none() && !self.is_over {
            self.is_over = true;
            if self.how == Leaves::Politely {
                let mut out = Vec::new();
                self.talk.client.send_end(&mut out);
                self.talk.dial.say(&out);
            }
        }
        self.talk.dial.flush(net);
        if self.is_over && self.talk.dial.unsent() == 0 {
            net.client_half_close(self.talk.dial.link);
        }
        false
    }

    /// In the middle of its media; whether it is gone now.
    fn is_interrupted(&mut self, net: &mut Net) -> bool {
        self.until_frames = u64::MAX;
        self.talk.dial.flush(net);
        match self.how {
            Leaves::Politely | Leaves::Silently => {
                if net.noise.once_in(3) {
                    self.stalled_until = net.now + net.noise.between(10_000, 3_000_000);
                }
                false
            }
            Leaves::Vanishes => {
                let unsent = self.talk.dial.unsent() as u64;
                let kept = net.noise.below(unsent + 1) as usize;
                self.talk.dial.cut(kept);
                self.talk.dial.flush(net);
                true
            }
            Leaves::Resets => {
                net.client_reset(self.talk.dial.link);
                true
            }
            Leaves::TalksRubbish => {
                let bytes = net.noise.between(1, 3000);
                let mut rubbish: Vec<u8> = (0..bytes).map(|_| net.noise.next() as u8).collect();
                // It goes on with a chunk stream that never began: nothing of it can be taken for media.
                rubbish[0] = net.noise.one_of(&[0x40, 0x80, 0xc0]) as u8 | net.noise.between(10, 63) as u8;
                self.talk.dial.say(&rubbish);
                self.next = None;
                (self.is_over, self.is_whole) = (true, false);
                false
            }
            Leaves::AsksAndResets => true,
            Leaves::Freezes => {
                self.stalled_until = self.gives_up_at;
                self.gives_up_at = net.now + net.noise.between(1_000_000, 9_000_000);
                false
            }
        }
    }
}
