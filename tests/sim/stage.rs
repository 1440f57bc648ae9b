//! What the actors of a world know of each other: ports, and who has published what.
//!
//! No part of the server is looked into: it holds what peers of the real one could tell each other.

use super::clip::{Seen, Shape};

#[derive(Debug)]
pub struct Stage {
    /// Tags of the listeners.
    pub http: u32,
    pub rtmp: u32,
    /// By number.
    pub published: Vec<Published>,
    /// The server takes leave of everybody.
    pub is_stopping: bool,
}

#[derive(Debug)]
pub struct Published {
    pub stream: String,
    pub shape: Shape,
    /// Frames of each track, of a publisher that sent all of them and was taken leave of.
    pub all: Option<[u64; 2]>,
}

impl Stage {
    pub fn publishes(&mut self, stream: &str, shape: Shape) -> u32 {
        self.published.push(Published {
            stream: stream.to_owned(),
            shape,
            all: None,
        });
        self.published.len() as u32 - 1
    }

    /// Whether nothing of its track came behind it, as far as is known.
    pub fn is_last(&self, seen: Seen) -> bool {
        let all = self.published[seen.publisher as usize].all;
        all.is_none_or(|all| u64::from(seen.number) + 1 == all[seen.track as usize])
    }

    pub fn all_sent(&mut self, number: u32, made: [u64; 2]) {
        if !self.is_stopping {
            self.published[number as usize].all = Some(made);
        }
    }
}
