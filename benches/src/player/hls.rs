//! HLS and LL-HLS as a player does them: master, playlist, segments or parts, the playlist again and again.
//!
//! RFC 8216, 6.3 (start three segments from the end, reload after a target duration, after half of one when nothing had
//! changed); rfc8216bis, 6.2.5 (`_HLS_msn` and `_HLS_part`, preload hints). Each connection is kept and carries one
//! request at a time: one per track, and for low latency one for its playlists and one for its media.
//!
//! What plays is planned, not decoded: it begins with the first piece that is whole and lasts as long as its pieces say.
//! A piece that comes after that time is an underrun.

use std::collections::VecDeque;

use anyhow::{Context, bail};

use super::playlist::{self, At, BYTES_MAX, Media, Piece as Item, Place, Playlist};
use super::{LANES_MAX, Turn};
use crate::answer::{Answer, Head, Piece};
use crate::target::Target;

const NANOS: f64 = 1e9;
const REDIRECTS_MAX: u8 = 5;
/// A server that says it blocks, and does not, is not asked more often.
const RELOAD_SECONDS_MIN: f64 = 0.1;

#[derive(Debug)]
pub struct Hls {
    target: Target,
    tracks: Vec<Track>,
    lanes: [Lane; LANES_MAX],
    /// When the pieces that are here have been played.
    planned_until: Option<u64>,
    pub missed: u64,
}

/// Picture (with sound), or the sound beside it.
#[derive(Debug)]
struct Track {
    list_target: Target,
    list: Media,
    place: Option<Place>,
    /// When the list was asked for last.
    asked_at: u64,
    reload_due: Option<u64>,
    fetching: bool,
    /// URI and range of the newest piece, which a hint may have told early.
    newest: Option<(String, Option<(u64, u64)>)>,
    map: Option<Item>,
    /// A hint that was no resource.
    refused: Option<String>,
}

#[derive(Debug, Default)]
struct Lane {
    answer: Answer,
    at_work: Option<Job>,
    waiting: VecDeque<Job>,
    /// A playlist as far as it came.
    text: Vec<u8>,
    /// The request at work has been sent a second time.
    again: bool,
    redirects: u8,
    outcome: Outcome,
}

/// What the head at work said.
#[derive(Clone, Debug, Default)]
enum Outcome {
    #[default]
    Good,
    Moved(String),
    Refused,
}

#[derive(Clone, Debug)]
struct Job {
    target: Target,
    range: Option<(u64, u64)>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    List(usize),
    Map(usize),
    Media {
        track: usize,
        seconds: f64,
        next: Place,
        starts_segment: bool,
        hinted: bool,
    },
}

impl Hls {
    pub fn new(target: &Target) -> Hls {
        Hls {
            target: target.clone(),
            tracks: vec![Track::new(target.clone())],
            lanes: Default::default(),
            planned_until: None,
            missed: 0,
        }
    }

    pub fn start(&mut self, turn: &mut Turn<'_>) {
        self.ask_list(0, self.target.clone(), turn);
    }

    /// For how long what is played has not been there, ns.
    pub fn underrun(&self, now: u64) -> u64 {
        self.planned_until.map_or(0, |until| now.saturating_sub(until))
    }

    pub fn due(&self) -> Option<u64> {
        self.tracks.iter().filter_map(|track| track.reload_due).min()
    }

    pub fn wake(&mut self, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        for track in 0..self.tracks.len() {
            if self.tracks[track].reload_due.is_some_and(|due| due <= turn.now) {
                self.ask_list(track, self.tracks[track].list_target.clone(), turn);
            }
        }
        Ok(())
    }

    pub fn droppable(&self, lane: usize) -> usize {
        let lane = &self.lanes[lane];
        match (&lane.at_work, &lane.outcome) {
            (
                Some(Job {
                    what: What::Media { .. },
                    ..
                }),
                Outcome::Good,
            ) => lane.answer.droppable(),
            _ => 0,
        }
    }

    pub fn dropped(&mut self, lane: usize, bytes: usize, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        if self.lanes[lane].answer.dropped(bytes) {
            self.complete(lane, turn)?;
        }
        Ok(())
    }

    pub fn closed(&mut self, lane: usize, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let at = &mut self.lanes[lane];
        if at.answer.ends_by_close() {
            at.answer = Answer::default();
            return self.complete(lane, turn);
        }
        let Some(job) = &at.at_work else {
            at.answer = Answer::default();
            return Ok(());
        };
        // A server may close a kept connection in the moment in which it is used.
        if !at.answer.is_idle() || at.again {
            bail!("closed by the server in the answer to {}", job.target.path);
        }
        at.again = true;
        turn.ask(lane, &job.target.authority, job.target.request(job.range));
        Ok(())
    }

    pub fn take(&mut self, lane: usize, mut input: &[u8], turn: &mut Turn<'_>) -> anyhow::Result<()> {
        loop {
            let at = &mut self.lanes[lane];
            if at.at_work.is_none() && !input.is_empty() {
                bail!("an answer that nobody asked for");
            }
            match at.answer.next(&mut input)? {
                Piece::More => return Ok(()),
                Piece::Head(head) => at.outcome = at.judge(&head)?,
                Piece::Body(body) => self.body(lane, body, turn)?,
                Piece::End => self.complete(lane, turn)?,
            }
        }
    }

    fn body(&mut self, lane: usize, body: &[u8], turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let at = &mut self.lanes[lane];
        let (Some(job), Outcome::Good) = (&at.at_work, &at.outcome) else {
            return Ok(());
        };
        match job.what {
            What::List(_) if at.text.len() + body.len() > BYTES_MAX => {
                bail!("a playlist of more than {BYTES_MAX} bytes")
            }
            What::List(_) => at.text.extend_from_slice(body),
            What::Map(0) | What::Media { track: 0, .. } => {
                let is_media = turn.media || matches!(job.what, What::Media { .. });
                turn.hear(body)?;
                turn.media = is_media;
            }
            // Sound beside the picture has no stamps.
            What::Map(_) => {}
            What::Media { .. } => turn.media = true,
        }
        Ok(())
    }

    /// The answer at work is whole.
    fn complete(&mut self, lane: usize, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let at = &mut self.lanes[lane];
        let mut job = at.at_work.take().context("an answer has its request")?;
        at.again = false;
        match std::mem::take(&mut at.outcome) {
            Outcome::Moved(place) => {
                job.target = job.target.resolve(&place)?;
                at.waiting.push_front(job);
            }
            Outcome::Refused => {
                if let What::Media { track, .. } = job.what {
                    let at = &mut self.tracks[track];
                    at.fetching = false;
                    at.refused = at.newest.take().map(|(uri, _)| uri);
                }
            }
            Outcome::Good => {
                at.redirects = 0;
                self.good(lane, &job, turn)?;
            }
        }
        self.next_job(lane, turn);
        Ok(())
    }

    fn good(&mut self, lane: usize, job: &Job, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        match job.what {
            What::List(track) => {
                let text =
                    String::from_utf8(std::mem::take(&mut self.lanes[lane].text)).context("a playlist is UTF-8")?;
                let list = playlist::parse(&text).with_context(|| format!("in {}", job.target.path))?;
                self.listed(track, &job.target, list, turn)
            }
            What::Map(track) => {
                self.tracks[track].fetching = false;
                self.fetch(track, turn)
            }
            What::Media {
                track, seconds, next, ..
            } => {
                if track == 0 {
                    if let Some(ear) = &mut turn.ear {
                        ear.piece_came(turn.now);
                    }
                    let late = self.underrun(turn.now);
                    turn.underrun = turn.underrun.max(late);
                    let from = self.planned_until.map_or(turn.now, |until| until.max(turn.now));
                    self.planned_until = Some(from + (seconds * NANOS) as u64);
                }
                self.tracks[track].place = Some(next);
                self.tracks[track].fetching = false;
                self.fetch(track, turn)
            }
        }
    }

    fn listed(&mut self, track: usize, target: &Target, list: Playlist, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let mut list = match list {
            Playlist::Media(list) => list,
            Playlist::Master(_) if self.tracks[track].place.is_some() || target.path != self.target.path => {
                bail!("a master playlist in place of a media playlist");
            }
            Playlist::Master(master) => {
                let picture = target.resolve(&master.picture)?;
                if let Some(sound) = master.sound {
                    let sound = target.resolve(&sound)?;
                    self.tracks.push(Track::new(sound.clone()));
                    self.ask_list(1, sound, turn);
                }
                // The master is asked for once; its place is taken.
                self.target.path = String::new();
                self.tracks[0].list_target = picture.clone();
                self.ask_list(0, picture, turn);
                return Ok(());
            }
        };
        let at = &mut self.tracks[track];
        let changed = list.end() != at.list.end() || at.place.is_none();
        let place = *at.place.get_or_insert_with(|| list.start());
        list.forget_before(place.0);
        let wait = match (list.is_low_latency(), changed) {
            (true, true) => 0.0,
            (true, false) => list.part_seconds.unwrap_or(0.0).max(RELOAD_SECONDS_MIN),
            (false, true) => list.target_seconds.max(RELOAD_SECONDS_MIN),
            (false, false) => (list.target_seconds / 2.0).max(RELOAD_SECONDS_MIN),
        };
        at.reload_due = (!list.ended).then(|| at.asked_at + (wait * NANOS) as u64);
        at.list = list;
        if changed {
            at.refused = None;
        }
        if wait == 0.0 && at.reload_due.is_some() {
            self.ask_list(track, self.tracks[track].list_target.clone(), turn);
        }
        self.fetch(track, turn)
    }

    fn ask_list(&mut self, track: usize, mut target: Target, turn: &mut Turn<'_>) {
        let at = &mut self.tracks[track];
        at.asked_at = turn.now;
        at.reload_due = None;
        if at.list.is_low_latency() {
            let ((number, part), _) = at.list.end();
            let sign = if target.path.contains('?') { '&' } else { '?' };
            target.path += &format!("{sign}_HLS_msn={number}&_HLS_part={part}");
        }
        let job = Job {
            target,
            range: None,
            what: What::List(track),
        };
        self.queue(2 * track, job, turn);
    }

    /// Asks for the next piece, when it can be asked for.
    fn fetch(&mut self, track: usize, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        let at = &mut self.tracks[track];
        let Some(mut place) = at.place.filter(|_| !at.fetching) else {
            return Ok(());
        };
        let (piece, next, map, hinted) = loop {
            let (piece, next, map, hinted) = match at.list.at(place) {
                At::Piece { piece, next, map } => (piece, next, map, false),
                At::Hint { piece, next } => (piece, next, at.list.open_map, true),
                At::NotYet => {
                    turn.ended |= at.list.ended && !at.fetching;
                    at.place = Some(place);
                    return Ok(());
                }
                At::Gone => {
                    self.missed += at.list.first - place.0;
                    place = at.list.start();
                    continue;
                }
            };
            if at
                .newest
                .as_ref()
                .is_some_and(|(uri, range)| *uri == piece.uri && *range == piece.range)
            {
                // It came early, as a hint, under another number.
                place = next;
                continue;
            }
            break (piece, next, map, hinted);
        };
        if hinted && at.refused.as_ref() == Some(&piece.uri) {
            return Ok(());
        }
        at.place = Some(place);
        let map = map.and_then(|index| at.list.maps.get(index).cloned());
        let job = if let Some(map) = map.filter(|map| at.map.as_ref() != Some(map)) {
            at.map = Some(map.clone());
            Job {
                target: at.list_target.resolve(&map.uri)?,
                range: map.range,
                what: What::Map(track),
            }
        } else {
            at.newest = Some((piece.uri.clone(), piece.range));
            let seconds = if hinted {
                at.list.part_seconds.unwrap_or(0.0)
            } else {
                piece.seconds
            };
            let starts_segment = place.1 == 0;
            let what = What::Media {
                track,
                seconds,
                next,
                starts_segment,
                hinted,
            };
            Job {
                target: at.list_target.resolve(&piece.uri)?,
                range: piece.range,
                what,
            }
        };
        at.fetching = true;
        let lane = 2 * track + usize::from(at.list.is_low_latency());
        self.queue(lane, job, turn);
        Ok(())
    }

    fn queue(&mut self, lane: usize, job: Job, turn: &mut Turn<'_>) {
        self.lanes[lane].waiting.push_back(job);
        if self.lanes[lane].at_work.is_none() {
            self.next_job(lane, turn);
        }
    }

    fn next_job(&mut self, lane: usize, turn: &mut Turn<'_>) {
        let at = &mut self.lanes[lane];
        if at.at_work.is_some() {
            return;
        }
        let Some(job) = at.waiting.pop_front() else { return };
        if let (
            What::Media {
                starts_segment,
                track: 0,
                ..
            },
            Some(ear),
        ) = (&job.what, &mut turn.ear)
        {
            ear.piece_asked(turn.now);
            if *starts_segment {
                ear.segment_begins();
            }
        }
        turn.ask(lane, &job.target.authority, job.target.request(job.range));
        at.at_work = Some(job);
    }
}

impl Lane {
    fn judge(&mut self, head: &Head) -> anyhow::Result<Outcome> {
        let job = self.at_work.as_ref().context("an answer has its request")?;
        if let Some(place) = head.redirect().filter(|_| self.redirects < REDIRECTS_MAX) {
            self.redirects += 1;
            return Ok(Outcome::Moved(place.to_owned()));
        }
        // A hint is a guess of the server's.
        if matches!(job.what, What::Media { hinted: true, .. }) && head.status == 404 {
            return Ok(Outcome::Refused);
        }
        head.check().with_context(|| job.target.path.clone())?;
        Ok(Outcome::Good)
    }
}

impl Track {
    fn new(list_target: Target) -> Track {
        Track {
            list_target,
            list: Media::default(),
            place: None,
            asked_at: 0,
            reload_due: None,
            fetching: false,
            newest: None,
            map: None,
            refused: None,
        }
    }
}
