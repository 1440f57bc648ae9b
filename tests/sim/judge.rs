//! What a viewer received, judged by the strict readers: whole records, whole payloads, no frame twice, times that do
//! not fall, starts at keyframes.
//!
//! Gaps are counted here; whether the server has said that it skipped is compared in the world.

use penstock_proto::media::{Item, Kind};
use penstock_proto::mp4::{self, ReadError};
use penstock_proto::tag::Demux;
use penstock_proto::{flv, ts};

use super::clip::{self, AUDIO, Seen, VIDEO};
use super::dial::Media;
use super::stage::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Flv,
    Ts,
    Mp4,
    Rtmp,
}

impl Output {
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Output::Flv => Some("flv"),
            Output::Ts => Some("ts"),
            Output::Mp4 => Some("mp4"),
            Output::Rtmp => None,
        }
    }
}

/// How a viewer's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server ended it in good manners: everything must be there.
    Clean,
    /// Anywhere.
    Cut,
}

/// The frames of each track that a viewer got, in the order of its bytes.
#[derive(Debug, Default)]
pub struct Watched {
    pub video: Vec<Seen>,
    pub audio: Vec<Seen>,
    /// Places where a muxer's own count says that something is left out.
    pub jumps: u64,
    /// Places where frames are missing, over tracks.
    pub gaps: Vec<String>,
    /// Output and stream.
    pub whose: String,
}

/// Behind the head of an answer.
pub fn body_of(received: &[u8]) -> Option<&[u8]> {
    let end = received
        .windows(4)
        .take(4096)
        .position(|window| window == b"\r\n\r\n")?;
    Some(&received[end + 4..])
}

pub fn body(output: Output, bytes: &[u8], ending: Ending) -> Result<Watched, String> {
    match output {
        Output::Flv => flv_file(bytes, ending),
        Output::Ts => transport_stream(bytes, ending),
        Output::Mp4 => movie(bytes, ending),
        Output::Rtmp => unreachable!("RTMP has no body"),
    }
}

fn flv_file(bytes: &[u8], ending: Ending) -> Result<Watched, String> {
    let mut reader = flv::Reader::new();
    let mut media: Vec<Media> = Vec::new();
    reader.feed(bytes);
    let mut taken = 13;
    while let Some(tag) = reader.next_tag().map_err(|error| error.to_string())? {
        taken += 11 + tag.body.len() + 4;
        media.push((tag.kind, tag.timestamp, tag.body.to_vec()));
    }
    if ending == Ending::Clean && !bytes.is_empty() && taken != bytes.len() {
        return Err(format!("{taken} bytes are whole tags, of {}", bytes.len()));
    }
    self::media(&media)
}

/// Messages as RTMP and FLV carry them.
pub fn media(media: &[Media]) -> Result<Watched, String> {
    let mut demux = Demux::new();
    let mut watched = Watched::default();
    let mut last = [i64::MIN; 2];
    for (kind, time, body) in media {
        demux
            .push(*kind, *time, body)
            .map_err(|error| format!("{kind:?} at {time} ms: {error}"))?;
        let tracks: Vec<(u32, Kind)> = demux.tracks().iter().map(|track| (track.id, track.kind())).collect();
        while let Some(item) = demux.poll() {
            let Item::Frame(frame) = item else { continue };
            let kind = tracks.iter().find(|(id, _)| *id == frame.track).map(|(_, kind)| *kind);
            let (track, data) = match kind {
                Some(Kind::Video) => (VIDEO, frame.data.get(6..).unwrap_or(&[])),
                Some(Kind::Audio) => (AUDIO, frame.data),
                _ => continue,
            };
            let (seen, len) = clip::read_payload(data)?;
            if len != data.len() || seen.track != track {
                return Err(format!("{seen:?} has {len} bytes, its message {}", data.len()));
            }
            let before = std::mem::replace(&mut last[track as usize], frame.dts);
            if before >= frame.dts {
                return Err(format!("{seen:?}: decode time {} behind {before}", frame.dts));
            }
            watched.push(seen);
        }
    }
    Ok(watched)
}

fn transport_stream(bytes: &[u8], ending: Ending) -> Result<Watched, String> {
    let whole = bytes.len() / 188 * 188;
    if ending == Ending::Clean && whole != bytes.len() {
        return Err(format!("{} bytes are no whole packets", bytes.len()));
    }
    if whole == 0 {
        return Ok(Watched::default());
    }
    let mut checker = ts::check::Checker::new();
    checker.push(&bytes[..whole]);
    let report = checker.finish();
    let is_of_cut = |what: &ts::check::What| {
        use ts::check::What;
        let of_cut = matches!(
            what,
            What::EndsInPes { .. }
                | What::PesLength { .. }
                | What::Adts { .. }
                | What::TableMissing(_)
                | What::PcrMissing
        );
        ending == Ending::Cut && of_cut
    };
    if let Some(problem) = report.problems.iter().find(|problem| !is_of_cut(&problem.what)) {
        return Err(format!("{problem} ({} problems)", report.problem_count));
    }
    let mut watched = Watched {
        jumps: report.discontinuities,
        ..Watched::default()
    };
    for pid in report.pids.keys() {
        let mut elementary = Vec::new();
        for packet in bytes[..whole].as_chunks::<188>().0 {
            if ts::wire::packet::pid(packet) == *pid
                && let Ok(packet) = ts::wire::packet::parse(packet)
            {
                elementary.extend_from_slice(packet.payload.unwrap_or_default());
            }
        }
        let mut found = Vec::new();
        match clip::find_payloads(&elementary, &mut found) {
            Err(clip::Unreadable::Short { .. }) if ending == Ending::Cut => {}
            result => result.map_err(|error| format!("PID {pid}: {error}"))?,
        }
        found.into_iter().for_each(|seen| watched.push(seen));
    }
    Ok(watched)
}

fn movie(bytes: &[u8], ending: Ending) -> Result<Watched, String> {
    let mut watched = Watched::default();
    let Some(header_bytes) = header_of(bytes) else {
        return match (bytes.is_empty(), ending) {
            (false, Ending::Clean) => Err("the movie's header is cut".to_owned()),
            _ => Ok(watched),
        };
    };
    // A viewer that was moved on meets a gap; what follows must be right again.
    let mut rest = bytes.to_vec();
    loop {
        let (movie, at) = match ending {
            Ending::Cut => mp4::read_whole_chunks(&rest),
            Ending::Clean => mp4::read(&rest).map(|movie| (movie, rest.len())),
        }
        .or_else(|error| match error {
            ReadError::Sequence { at, .. } => {
                watched.jumps += 1;
                mp4::read(&rest[..at]).map(|movie| (movie, at))
            }
            error => Err(error),
        })
        .map_err(|error| error.to_string())?;
        for track in &movie.tracks {
            for sample in &track.samples {
                let data = if track.handler == *b"vide" {
                    &sample.bytes[6..]
                } else {
                    sample.bytes
                };
                let (seen, len) = clip::read_payload(data)?;
                if len != data.len() {
                    return Err(format!("{seen:?} has {len} bytes, its sample {}", data.len()));
                }
                watched.push(seen);
            }
        }
        let (header, behind) = (&rest[..header_bytes], &rest[at..]);
        if behind.is_empty()
            || mp4::read_whole_chunks(&[header, behind].concat()).is_ok_and(|(_, read)| read == header_bytes)
        {
            return Ok(watched);
        }
        rest = [header, behind].concat();
    }
}

/// `ftyp` and `moov`, when they are there whole.
fn header_of(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for _ in 0..2 {
        let size = u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
        at += size;
    }
    (at <= bytes.len()).then_some(at)
}

impl Watched {
    fn push(&mut self, seen: Seen) {
        match seen.track {
            VIDEO => self.video.push(seen),
            _ => self.audio.push(seen),
        }
    }

    /// Frames of this stream's publishers, each once and in order; counts what is missing between them.
    pub fn check(&mut self, stream: &str, ending: Ending, stage: &Stage) -> Result<(), String> {
        let mut gaps = Vec::new();
        for line in [&self.video, &self.audio] {
            let mut former: Vec<u32> = Vec::new();
            let mut last: Option<Seen> = None;
            for seen in line {
                let published = stage.published.get(seen.publisher as usize);
                let published = published.filter(|published| published.stream == stream);
                let published = published.ok_or_else(|| format!("{seen:?} was not sent to {stream}"))?;
                let is_next = match last {
                    None => false,
                    Some(last) if last.publisher == seen.publisher => {
                        if seen.number <= last.number {
                            return Err(format!("{seen:?} behind {last:?}"));
                        }
                        seen.number == last.number + 1
                    }
                    Some(last) => {
                        former.push(last.publisher);
                        seen.number == 0 && stage.is_last(last)
                    }
                };
                if former.contains(&seen.publisher) {
                    return Err(format!("{seen:?} of a publisher that another came after"));
                }
                if !is_next {
                    gaps.extend(last.map(|last| format!("from {last:?} to {seen:?}")));
                    let is_key = u64::from(seen.number) % published.shape.gop == 0;
                    if seen.track == VIDEO && !is_key {
                        return Err(format!("{seen:?} behind {last:?}: a start that is no keyframe"));
                    }
                }
                last = Some(*seen);
            }
            let cut_short = last.filter(|last| ending == Ending::Clean && !stage.is_last(*last));
            gaps.extend(cut_short.map(|last| format!("ends at {last:?}")));
        }
        self.gaps = gaps;
        Ok(())
    }
}
