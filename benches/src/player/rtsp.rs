//! RTSP with RTP interleaved in its connection: OPTIONS, DESCRIBE, SETUP of every track, PLAY, keep-alive.
//!
//! RFC 2326 (10.12 for the `$` frames), RFC 4566 for what is described. No authentication, no reports of reception.

use anyhow::{Context, bail};

use super::Turn;
use crate::target::Target;

/// Head and description together.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Two channels each; their numbers are a byte.
const TRACKS_MAX: usize = 8;
/// When the server names no time.
const TIMEOUT_SECONDS: u64 = 60;
const NANOS: u64 = 1_000_000_000;
const FRAME_HEAD_BYTES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Options,
    Describe,
    Setup(usize),
    Play,
    Playing,
}

#[derive(Debug)]
pub struct Rtsp {
    target: Target,
    stage: Stage,
    sequence: u32,
    /// URLs of the tracks to set up.
    controls: Vec<String>,
    /// URL that the session as a whole is controlled by.
    aggregate: String,
    session: Option<String>,
    timeout_seconds: u64,
    due: Option<u64>,
    /// A frame or an answer that is not whole.
    held: Vec<u8>,
    /// Bytes of a frame that nobody wants.
    passing: usize,
}

impl Rtsp {
    pub fn new(target: &Target) -> Rtsp {
        Rtsp {
            target: target.clone(),
            stage: Stage::Options,
            sequence: 0,
            controls: Vec::new(),
            aggregate: target.url(),
            session: None,
            timeout_seconds: TIMEOUT_SECONDS,
            due: None,
            held: Vec::new(),
            passing: 0,
        }
    }

    pub fn start(&mut self, turn: &mut Turn<'_>) {
        let url = self.target.url();
        self.request("OPTIONS", &url, "", turn);
    }

    pub fn due(&self) -> Option<u64> {
        self.due
    }

    pub fn wake(&mut self, turn: &mut Turn<'_>) {
        if self.due.is_some_and(|due| due <= turn.now) {
            let url = self.aggregate.clone();
            self.request("GET_PARAMETER", &url, "", turn);
            self.keep_alive(turn.now);
        }
    }

    fn keep_alive(&mut self, now: u64) {
        self.due = Some(now + self.timeout_seconds.max(2) * NANOS / 2);
    }

    fn request(&mut self, method: &str, url: &str, more: &str, turn: &mut Turn<'_>) {
        self.sequence += 1;
        let session = self
            .session
            .as_ref()
            .map_or_else(String::new, |id| format!("Session: {id}\r\n"));
        let sequence = self.sequence;
        let text = format!(
            "{method} {url} RTSP/1.0\r\nCSeq: {sequence}\r\nUser-Agent: penstock-benches\r\n{session}{more}\r\n"
        );
        turn.ask(0, &self.target.authority, text.into_bytes());
    }

    pub fn take(&mut self, mut input: &[u8], turn: &mut Turn<'_>) -> anyhow::Result<()> {
        if !self.held.is_empty() {
            // Only the end of what came is ever held: a frame or an answer at most.
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(input);
            let rest = self.walk(&held, turn)?;
            held.drain(..held.len() - rest);
            self.held = held;
        } else {
            let rest = self.walk(input, turn)?;
            input = &input[input.len() - rest..];
            self.held = input.to_vec();
        }
        Ok(())
    }

    /// Bytes at the end that are not whole.
    fn walk(&mut self, mut input: &[u8], turn: &mut Turn<'_>) -> anyhow::Result<usize> {
        loop {
            let passed = self.passing.min(input.len());
            self.passing -= passed;
            input = &input[passed..];
            match input.first() {
                None => return Ok(0),
                Some(b'$') => {
                    let Some([_, channel, high, low]) = input.first_chunk::<FRAME_HEAD_BYTES>() else {
                        return Ok(input.len());
                    };
                    let bytes = usize::from(u16::from_be_bytes([*high, *low]));
                    // Even channels carry RTP, odd ones RTCP.
                    turn.media |= channel % 2 == 0;
                    match &mut turn.ear {
                        Some(_) if input.len() < FRAME_HEAD_BYTES + bytes => return Ok(input.len()),
                        Some(ear) if channel % 2 == 0 => {
                            ear.packet(*channel, &input[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + bytes], turn.now);
                        }
                        _ => {}
                    }
                    self.passing = FRAME_HEAD_BYTES + bytes;
                }
                Some(_) => match self.answer(input, turn)? {
                    Some(bytes) => input = &input[bytes..],
                    None => return Ok(input.len()),
                },
            }
        }
    }

    /// The bytes of an answer, when it is whole.
    fn answer(&mut self, input: &[u8], turn: &mut Turn<'_>) -> anyhow::Result<Option<usize>> {
        if input.len() > TEXT_BYTES_MAX {
            bail!("an answer of more than {TEXT_BYTES_MAX} bytes");
        }
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4) else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&input[..end]);
        let line = head.lines().next().unwrap_or_default();
        let header = |name: &str| {
            let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            let found = lines.find(|(found, _)| found.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let length = header("content-length").map_or(Ok(0), |text| text.parse::<usize>());
        let length = length.context("an answer's content-length is no number")?;
        if length > TEXT_BYTES_MAX {
            bail!("an answer of more than {TEXT_BYTES_MAX} bytes");
        }
        let Some(body) = input.get(end..end + length) else {
            return Ok(None);
        };
        if let Some(sequence) = header("cseq").filter(|_| !line.starts_with("RTSP/")) {
            // The server asks something: it is told that we do nothing of the kind.
            let text = format!("RTSP/1.0 501 Not Implemented\r\nCSeq: {sequence}\r\n\r\n");
            turn.ask(0, &self.target.authority, text.into_bytes());
            return Ok(Some(end + length));
        }
        let status = line.split(' ').nth(1).unwrap_or_default();
        // A server without GET_PARAMETER has still seen a sign of life.
        if status != "200" && !matches!(self.stage, Stage::Playing | Stage::Options) {
            bail!("answered {line}");
        }
        if let Some(session) = header("session") {
            let (id, parameters) = session.split_once(';').unwrap_or((&session, ""));
            self.session = Some(id.trim().to_owned());
            if let Some(seconds) = parameters.trim().strip_prefix("timeout=") {
                self.timeout_seconds = seconds.trim().parse().unwrap_or(TIMEOUT_SECONDS);
            }
        }
        let base = header("content-base").or_else(|| header("content-location"));
        self.advance(base, &String::from_utf8_lossy(body), turn)?;
        Ok(Some(end + length))
    }

    fn advance(&mut self, base: Option<String>, body: &str, turn: &mut Turn<'_>) -> anyhow::Result<()> {
        self.stage = match self.stage {
            Stage::Options => {
                let url = self.target.url();
                self.request("DESCRIBE", &url, "Accept: application/sdp\r\n", turn);
                Stage::Describe
            }
            Stage::Describe => {
                let base = base.unwrap_or_else(|| self.target.url());
                (self.aggregate, self.controls) = controls(body, &base);
                if !(1..=TRACKS_MAX).contains(&self.controls.len()) {
                    bail!("described {} tracks", self.controls.len());
                }
                self.set_up(0, turn);
                Stage::Setup(0)
            }
            Stage::Setup(track) if track + 1 < self.controls.len() => {
                self.set_up(track + 1, turn);
                Stage::Setup(track + 1)
            }
            Stage::Setup(_) => {
                let url = self.aggregate.clone();
                self.request("PLAY", &url, "Range: npt=now-\r\n", turn);
                Stage::Play
            }
            Stage::Play => {
                self.keep_alive(turn.now);
                Stage::Playing
            }
            Stage::Playing => Stage::Playing,
        };
        Ok(())
    }

    fn set_up(&mut self, track: usize, turn: &mut Turn<'_>) {
        let url = self.controls[track].clone();
        let (rtp, rtcp) = (2 * track, 2 * track + 1);
        let transport = format!("Transport: RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}\r\n");
        self.request("SETUP", &url, &transport, turn);
    }
}

/// What controls all, and each track.
fn controls(description: &str, base: &str) -> (String, Vec<String>) {
    let absolute = |control: &str| match control {
        "*" | "" => base.to_owned(),
        control if control.contains("://") => control.to_owned(),
        control => format!("{}/{control}", base.trim_end_matches('/')),
    };
    let (mut all, mut tracks, mut in_track) = (base.to_owned(), Vec::new(), false);
    for line in description.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            in_track = true;
            tracks.push(base.to_owned());
        } else if let Some(control) = line.strip_prefix("a=control:") {
            match tracks.last_mut() {
                Some(track) if in_track => *track = absolute(control.trim()),
                _ => all = absolute(control.trim()),
            }
        }
    }
    (all, tracks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_track_is_found() {
        let description = "v=0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=control:track1\r\nm=audio 0 RTP/AVP 97\r\n\
                           a=control:rtsp://h/x/track2\r\n";
        let (all, tracks) = controls(description, "rtsp://h/x/");
        assert_eq!(all, "rtsp://h/x/");
        assert_eq!(tracks, ["rtsp://h/x/track1", "rtsp://h/x/track2"]);
    }
}
