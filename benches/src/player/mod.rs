//! What a viewer says and understands, without its sockets: bytes and time in, requests and what was seen out.
//!
//! A player speaks on one or more *lanes*, connections that are made when there is something to say on them. It keeps no
//! media: what is not verified is counted and forgotten, and where the dialogue allows it not even read.

mod hls;
pub mod playlist;
mod progressive;
mod rtmp;
mod rtsp;
mod skim;

use std::sync::Arc;

use crate::target::{Authority, Protocol, Target};
use crate::verify::Ear;

/// Connections of one viewer: playlists and segments, of picture and sound.
pub const LANES_MAX: usize = 4;

/// Something to say on a lane.
#[derive(Debug)]
pub struct Ask {
    pub lane: usize,
    pub to: Arc<Authority>,
    pub bytes: Vec<u8>,
}

/// One call of a player: when, and what comes of it.
#[derive(Debug)]
pub struct Turn<'a> {
    pub now: u64,
    pub asks: &'a mut Vec<Ask>,
    /// Of a viewer that looks at its media.
    pub ear: Option<&'a mut Ear>,
    /// Whether media came.
    pub media: bool,
    /// For how long what is played by plan was not there, ns.
    pub underrun: u64,
    /// The stream has come to its end.
    pub ended: bool,
}

impl Turn<'_> {
    fn ask(&mut self, lane: usize, to: &Arc<Authority>, bytes: Vec<u8>) {
        let to = Arc::clone(to);
        self.asks.push(Ask { lane, to, bytes });
    }

    /// Media of a container came.
    fn hear(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.media |= !bytes.is_empty();
        match &mut self.ear {
            Some(ear) => ear.hear(bytes, self.now),
            None => Ok(()),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub enum Player {
    Progressive(progressive::Progressive),
    Rtmp(Box<rtmp::Rtmp>),
    Rtsp(Box<rtsp::Rtsp>),
    Hls(Box<hls::Hls>),
}

impl Player {
    pub fn new(target: &Target) -> Player {
        match target.protocol {
            Protocol::Http => Player::Progressive(progressive::Progressive::new(target)),
            Protocol::Hls => Player::Hls(Box::new(hls::Hls::new(target))),
            Protocol::Rtmp => Player::Rtmp(Box::new(rtmp::Rtmp::new(target))),
            Protocol::Rtsp => Player::Rtsp(Box::new(rtsp::Rtsp::new(target))),
        }
    }

    /// Whether media come in pieces that are asked for, so that silence on the wire is no stall.
    pub fn is_segmented(&self) -> bool {
        matches!(self, Player::Hls(_))
    }

    pub fn start(&mut self, turn: &mut Turn<'_>) {
        match self {
            Player::Progressive(player) => player.start(turn),
            Player::Rtmp(player) => player.start(turn),
            Player::Rtsp(player) => player.start(turn),
            Player::Hls(player) => player.start(turn),
        }
    }

    /// All of `input` is taken.
    pub fn take(&mut self, lane: usize, input: &[u8], turn: &mut Turn<'_>) -> anyhow::Result<()> {
        match self {
            Player::Progressive(player) => player.take(input, turn),
            Player::Rtmp(player) => player.take(input, turn),
            Player::Rtsp(player) => player.take(input, turn),
            Player::Hls(player) => player.take(lane, input, turn),
        }
    }

    /// Bytes that may be thrown away unseen, when nobody verifies.
    pub fn droppable(&self, lane: usize) -> usize {
        match self {
            Player::Progressive(player) => player.droppable(),
            Player::Hls(player) => player.droppable(lane),
            // Between the media are pings.
            Player::Rtmp(_) | Player::Rtsp(_) => 0,
        }
    }

    pub fn dropped(&mut self, lane: usize, bytes: usize, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        turn.media = true;
        match self {
            Player::Progressive(player) => player.dropped(bytes),
            Player::Hls(player) => player.dropped(lane, bytes, turn),
            Player::Rtmp(_) | Player::Rtsp(_) => Ok(()),
        }
    }

    /// The server has closed a lane.
    pub fn closed(&mut self, lane: usize, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        match self {
            Player::Hls(player) => player.closed(lane, turn),
            _ => anyhow::bail!("closed by the server"),
        }
    }

    /// When it wants to be woken, ns.
    pub fn due(&self) -> Option<u64> {
        match self {
            Player::Rtsp(player) => player.due(),
            Player::Hls(player) => player.due(),
            Player::Progressive(_) | Player::Rtmp(_) => None,
        }
    }

    pub fn wake(&mut self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        match self {
            Player::Rtsp(player) => player.wake(turn),
            Player::Hls(player) => return player.wake(turn),
            Player::Progressive(_) | Player::Rtmp(_) => {}
        }
        Ok(())
    }
}
