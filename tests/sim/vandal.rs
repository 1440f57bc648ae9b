//! Peers that speak no protocol: they connect and say nothing, rubbish, or half of something, and go.
//!
//! Nothing is judged but that nobody else suffers from them.

use super::dial::Dial;
use super::net::Net;
use super::noise::Noise;
use super::stage::Stage;
use super::viewer::Dismissal;

#[derive(Debug)]
pub struct Vandal {
    comes: u64,
    next_at: u64,
    dial: Option<Dial>,
}

impl Vandal {
    pub fn new(noise: &mut Noise, now: u64) -> Vandal {
        Vandal {
            comes: noise.between(1, 3),
            next_at: now + noise.below(3_000_000),
            dial: None,
        }
    }

    pub fn next_at(&self, _net: &Net) -> Option<u64> {
        (self.comes > 0 || self.dial.is_some()).then_some(self.next_at)
    }

    pub fn act(&mut self, net: &mut Net, stage: &Stage) {
        self.next_at = net.now + net.noise.between(1_000, 2_000_000);
        if self.dial.is_some() && net.noise.once_in(3) {
            return self.dismiss_one(net);
        }
        if self.dial.is_none() && self.comes > 0 {
            self.comes -= 1;
            let shard = net.noise.below(net.ports.len() as u64) as usize;
            let tag = net.noise.one_of(&[stage.http, stage.rtmp]);
            self.dial = net.connect(shard, tag).map(Dial::new);
        }
        let Some(dial) = &mut self.dial else { return };
        let bytes: Vec<u8> = match net.noise.below(5) {
            0 => Vec::new(),
            1 => b"GET /live.flv HTTP/1.1\r\nHo".to_vec(),
            // Asks, and reads no answer.
            2 => b"HEAD /none.ts HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3_000),
            3 => (0..net.noise.below(5_000)).map(|_| net.noise.next() as u8).collect(),
            _ => b"HEAD /live.ts HTTP/1.1\r\nHost: x\r\n\r\nGET /none.mp4 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        };
        dial.say(&bytes);
        dial.flush(net);
        if !net.is_served(dial.link) {
            self.dismiss_one(net);
        }
    }

    /// The world ends.
    pub fn dismiss(&mut self, net: &mut Net, dismissal: Dismissal) {
        self.comes = 0;
        if let Some(dial) = self.dial.take() {
            match dismissal {
                Dismissal::Closes => net.client_close(dial.link),
                Dismissal::Abandons => net.client_abandon(dial.link),
            }
        }
    }

    fn dismiss_one(&mut self, net: &mut Net) {
        if let Some(dial) = self.dial.take() {
            match net.noise.once_in(2) {
                true => net.client_reset(dial.link),
                false => net.client_close(dial.link),
            }
        }
    }
}
