//! RTMP play as a player does it: the dialogue, then media, with its acknowledgements and answers to pings.
//!
//! A viewer that verifies puts messages together ([`Client`]); one that does not passes over them ([`Skim`]).

use anyhow::bail;
use penstock_proto::rtmp::client::{Client, Event, Options};
use penstock_proto::rtmp::session::Output;
use penstock_proto::rtmp::wire::chunk::{Message, write_message};
use penstock_proto::rtmp::wire::handshake::{HELLO_BYTES, PACKET_BYTES};
use penstock_proto::rtmp::wire::message::Control;

use super::Turn;
use super::skim::{Seen, Skim};
use crate::target::Target;

/// S0, S1 and S2: before the first chunk.
const REPLY_BYTES: u64 = (HELLO_BYTES + PACKET_BYTES) as u64;
/// Until the server says how often it wants to know, as ffmpeg has it.
const WINDOW_BYTES: u32 = 2_500_000;
/// Chunk stream of control messages.
const CSID_CONTROL: u32 = 2;
const CHUNK_BYTES: u32 = 128;

#[derive(Debug)]
pub struct Rtmp {
    target: Target,
    /// Until media come; for one that verifies until the end.
    client: Option<Client>,
    /// What the client has not taken.
    input: Vec<u8>,
    skim: Skim,
    came: u64,
    acknowledged: u64,
    window: u32,
}

impl Rtmp {
    pub fn new(target: &Target) -> Rtmp {
        let (app, name, tc_url) = target.application();
        Rtmp {
            client: Some(Client::play(Options::default(), app, &tc_url, name)),
            target: target.clone(),
            input: Vec::new(),
            skim: Skim::new(),
            came: 0,
            acknowledged: 0,
            window: WINDOW_BYTES,
        }
    }

    pub fn start(&mut self, turn: &mut Turn<'_>) {
        if let Some(Output::Transmit(bytes)) = self.client.as_mut().and_then(Client::poll_output) {
            turn.ask(0, &self.target.authority, bytes.to_vec());
        }
    }

    pub fn take(&mut self, input: &[u8], turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let chunks = usize::try_from(REPLY_BYTES.saturating_sub(self.came))?.min(input.len());
        self.came += input.len() as u64;
        let mut out = Vec::new();
        if self.client.is_some() {
            self.converse(input, turn, &mut out)?;
        }
        let (mut media, mut window) = (false, self.window);
        let verifies = turn.ear.is_some();
        if !verifies {
            self.skim.feed(&input[chunks..], |seen| match seen {
                Seen::Media => media = true,
                // Until media come the client answers.
                Seen::Control(Control::PingRequest(stamp)) if self.client.is_none() => {
                    say(Control::PingResponse(stamp), &mut out);
                }
                Seen::Control(Control::WindowAckSize(bytes)) => window = bytes,
                Seen::Control(_) => {}
            })?;
        }
        self.window = window.max(1);
        if media {
            turn.media = true;
            self.client = None;
            self.input = Vec::new();
        } else if self.client.is_none() {
            turn.media = true;
        }
        if self.came - self.acknowledged >= u64::from(self.window) {
            self.acknowledged = self.came;
            // The sequence number wraps.
            say(Control::Acknowledgement(self.came as u32), &mut out);
        }
        if !out.is_empty() {
            turn.ask(0, &self.target.authority, out);
        }
        Ok(())
    }

    fn converse(&mut self, input: &[u8], turn: &mut Turn<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let Some(client) = &mut self.client else { return Ok(()) };
        self.input.extend_from_slice(input);
        let mut at = 0;
        loop {
            while let Some(output) = client.poll_output() {
                match output {
                    Output::Transmit(bytes) => out.extend_from_slice(bytes),
                    Output::Media {
                        kind, timestamp, body, ..
                    } => {
                        turn.media = true;
                        if let Some(ear) = &mut turn.ear {
                            ear.message(kind, timestamp, body, turn.now);
                        }
                    }
                    Output::Event(Event::Refused { code, description }) => bail!("refused: {code}: {description}"),
                    Output::Event(Event::Control(Control::WindowAckSize(bytes))) => self.window = bytes.max(1),
                    Output::Event(_) => {}
                }
            }
            let taken = client.handle_input(0, &self.input[at..])?;
            if taken == 0 {
                break;
            }
            at += taken;
        }
        self.input.drain(..at);
        Ok(())
    }
}

fn say(control: Control, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    let kind = control.emit(&mut body);
    let message = Message {
        csid: CSID_CONTROL,
        kind,
        timestamp: 0,
        message_stream: 0,
    };
    write_message(message, CHUNK_BYTES, &body, out);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use penstock_proto::rtmp::session::{Event as Request, Session};
    use penstock_proto::rtmp::wire::message;

    use super::*;
    use crate::player::Ask;
    use crate::verify::{Ear, Heard};

    /// A server and a viewer of it, with time that passes when it is told to.
    struct Pair {
        session: Session,
        player: Rtmp,
        ear: Option<Ear>,
        media: bool,
        from_player: Vec<u8>,
    }

    impl Pair {
        fn new(ear: Option<Ear>) -> Pair {
            let target = Target::parse("rtmp://127.0.0.1:1/app/live").unwrap();
            let mut pair = Pair {
                session: Session::new(0, 1),
                player: Rtmp::new(&target),
                ear,
                media: false,
                from_player: Vec::new(),
            };
            pair.turn(|player, turn| {
                player.start(turn);
                Ok(())
            });
            pair
        }

        fn turn(&mut self, act: impl FnOnce(&mut Rtmp, &mut Turn<'_>) -> anyhow::Result<()>) {
            let mut asks: Vec<Ask> = Vec::new();
            let mut turn = Turn {
                now: 0,
                asks: &mut asks,
                ear: self.ear.as_mut(),
                media: false,
                underrun: 0,
                ended: false,
            };
            act(&mut self.player, &mut turn).unwrap();
            self.media |= turn.media;
            asks.iter()
                .for_each(|ask| self.from_player.extend_from_slice(&ask.bytes));
        }

        /// Carries what both have to say until neither says more; the player's bytes.
        fn settle(&mut self, now_ms: u64) -> usize {
            let mut said = 0;
            loop {
                let mut wire = Vec::new();
                while let Some(output) = self.session.poll_output() {
                    match output {
                        Output::Transmit(bytes) => wire.extend_from_slice(bytes),
                        Output::Event(Request::PlayRequested { .. }) => self.session.accept_play(),
                        _ => {}
                    }
                }
                for piece in wire.chunks(700) {
                    self.turn(|player, turn| player.take(piece, turn));
                }
                let taken = self.session.handle_input(now_ms, &self.from_player).unwrap();
                said += taken;
                self.from_player.drain(..taken);
                if wire.is_empty() && taken == 0 {
                    return said;
                }
            }
        }

        fn media(&mut self, bytes: usize) {
            let mut wire = Vec::new();
            for _ in 0..bytes.div_ceil(100) {
                let message = Message {
                    csid: 6,
                    kind: message::VIDEO,
                    timestamp: 0,
                    message_stream: 1,
                };
                write_message(message, CHUNK_BYTES, &[0x27; 100], &mut wire);
            }
            self.turn(|player, turn| player.take(&wire, turn));
        }
    }

    #[test]
    fn a_viewer_stays_for_longer_than_a_silent_one_may() {
        let heard: Arc<Mutex<Heard>> = Arc::default();
        for ear in [None, Some(Ear::new(0, &heard))] {
            let mut pair = Pair::new(ear);
            pair.settle(0);
            assert!(!pair.media);
            pair.media(100);
            assert!(pair.media);
            let mut pongs = 0;
            for second in 0..600 {
                pair.session.handle_timeout(second * 1000).unwrap();
                pongs += usize::from(pair.settle(second * 1000) > 0);
            }
            assert!(!pair.session.is_closed());
            assert!((15..=20).contains(&pongs), "a pong for each ping: {pongs}");
            // And says how much has come.
            pair.media(3_000_000);
            assert!(pair.settle(600_000) > 0);
        }
    }
}
