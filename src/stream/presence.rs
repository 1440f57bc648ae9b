//! Which of a publisher's tracks have frames. Encoders do not say that a microphone was pulled or a camera switched off:
//! the frames just stop. A player that comes then, and is told of the track, waits for it for ever; and without pictures
//! there is no keyframe to begin at. So a track that has had none for long, while others go on, *rests*: it is off the
//! stream's track set until its next frame.

use penstock_proto::media::{Break, Kind, Track};

use crate::limits;

/// Owned by the stream.
#[derive(Debug, Default)]
pub struct Presence {
    /// As the publisher's demuxer has them.
    published: Vec<Track>,
    /// One for each of `published`, in the same order.
    states: Vec<State>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    /// Its last frame, or the stream's first since it was published; µs of stream time.
    heard_micros: Option<i64>,
    rests: bool,
}

impl Presence {
    /// The publisher has these tracks from the next frame on. What rests goes on resting, if it is the same.
    pub fn publish(&mut self, kind: Break, tracks: &[Track]) {
        let before = |track: &Track| {
            let known = self.published.iter().position(|known| known == track);
            // Another publisher counts its tracks anew.
            known
                .filter(|_| kind != Break::Publisher)
                .map(|at| self.states[at])
                .unwrap_or_default()
        };
        self.states = tracks.iter().map(before).collect();
        self.published = tracks.to_vec();
    }

    /// The tracks that do not rest.
    pub fn present(&self) -> Vec<Track> {
        let all = self.published.iter().zip(&self.states);
        all.filter(|(_, state)| !state.rests)
            .map(|(track, _)| track.clone())
            .collect()
    }

    pub fn rests(&self, track: u32) -> bool {
        self.at(track).is_some_and(|at| self.states[at].rests)
    }

    /// The track has a frame again.
    pub fn wake(&mut self, track: u32) {
        if let Some(at) = self.at(track) {
            self.states[at] = State::default();
        }
    }

    /// A frame of `track`. Whether others have come to rest with it: at a keyframe of the main track, where viewers can
    /// begin without them, or at once when it is the main track that has stopped.
    pub fn hear(&mut self, track: u32, micros: i64, main: Option<u32>, key_main: bool) -> usize {
        let Some(own) = self.at(track) else { return 0 };
        self.states[own].heard_micros = Some(micros);
        let mut due = 0;
        let mut main_stopped = false;
        for (track, state) in self.published.iter().zip(&mut self.states) {
            if is_due(track, state, micros) {
                due += 1;
                main_stopped |= main == Some(track.id);
            }
        }
        if due == 0 || !key_main && !main_stopped {
            return 0;
        }
        for (track, state) in self.published.iter().zip(&mut self.states) {
            state.rests |= is_due(track, state, micros);
        }
        due
    }

    fn at(&self, track: u32) -> Option<usize> {
        self.published.iter().position(|known| known.id == track)
    }
}

/// Script data come when something happens; they are nobody's to wait for.
fn is_due(track: &Track, state: &mut State, micros: i64) -> bool {
    let heard = *state.heard_micros.get_or_insert(micros);
    !state.rests && track.kind() != Kind::Meta && micros.saturating_sub(heard) > limits::TRACK_REST_MICROS
}
