//! The canonical clips: made once by ffmpeg with a fixed seed, kept beside the build, read as RTMP message bodies.
//!
//! Ten seconds of test picture with noise (so that the bit rate is reached) and a tone, H.264 with two B-frames and a
//! keyframe every two seconds, AAC of 48 kHz. One thread of x264: the same ffmpeg gives the same bytes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use penstock_proto::flv;
use penstock_proto::tag::MessageKind;

const SECONDS: u32 = 10;
/// The bit rates that figures are told of, kb/s.
pub const CANONICAL_KILOBITS: [u32; 3] = [600, 2600, 8000];
const RATE_TOLERANCE: f64 = 0.05;
/// Bit rates that a clip can have, kb/s: below, x264 cannot; above, making it takes minutes.
pub const KILOBITS_MIN: u32 = 60;
pub const KILOBITS_MAX: u32 = 50_000;

/// One message of the clip.
#[derive(Clone, Debug)]
pub struct Timed {
    pub kind: MessageKind,
    pub millis: u32,
    pub body: Vec<u8>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Metadata and sequence headers, sent once.
    pub setup: Vec<Timed>,
    pub frames: Vec<Timed>,
    /// From the first frame to where the one behind the last would be.
    pub millis: u32,
}

impl Clip {
    /// The clip of a total bit rate, from `cache` or made into it.
    pub fn of(kilobits: u32, cache: &Path) -> anyhow::Result<Clip> {
        if !(KILOBITS_MIN..=KILOBITS_MAX).contains(&kilobits) {
            bail!("a clip has {KILOBITS_MIN} to {KILOBITS_MAX} kb/s, not {kilobits}");
        }
        let path = cache.join(format!("canonical-{kilobits}k.flv"));
        if !path.exists() {
            make(kilobits, &path)?;
        }
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let clip = Clip::read(&bytes).with_context(|| format!("{} is no clip; delete it", path.display()))?;
        clip.check_rate(kilobits).with_context(|| path.display().to_string())?;
        Ok(clip)
    }

    /// From an FLV file.
    pub fn read(bytes: &[u8]) -> anyhow::Result<Clip> {
        let (mut setup, mut frames) = (Vec::new(), Vec::new());
        let mut reader = flv::Reader::new();
        reader.feed(bytes);
        while let Some(tag) = reader.next_tag()? {
            let timed = Timed {
                kind: tag.kind,
                millis: tag.timestamp,
                body: tag.body.to_vec(),
            };
            match (tag.kind, tag.body.get(1)) {
                (MessageKind::Script, _) | (_, Some(0)) => setup.push(timed),
                (_, Some(1)) => frames.push(timed),
                // The end of sequence would end the looped stream.
                _ => {}
            }
        }
        let millis = [MessageKind::Video, MessageKind::Audio].map(|kind| span_millis(&frames, kind));
        let millis = millis.into_iter().max().unwrap_or(0);
        if millis == 0 {
            bail!("it has no frames");
        }
        Ok(Clip { setup, frames, millis })
    }

    /// Figures are told of the canonical rates, so a clip of one must have it.
    fn check_rate(&self, kilobits: u32) -> anyhow::Result<()> {
        let found = self.kilobits() / f64::from(kilobits);
        if CANONICAL_KILOBITS.contains(&kilobits) && (found - 1.0).abs() > RATE_TOLERANCE {
            bail!("a clip of {kilobits} kb/s has {:.0}", self.kilobits());
        }
        Ok(())
    }

    /// Mean bit rate of its messages, kb/s.
    pub fn kilobits(&self) -> f64 {
        let bytes: usize = self.frames.iter().map(|frame| frame.body.len()).sum();
        bytes as f64 * 8.0 / f64::from(self.millis)
    }
}

fn span_millis(frames: &[Timed], kind: MessageKind) -> u32 {
    let mut of_kind = frames.iter().filter(|frame| frame.kind == kind);
    let (Some(first), Some(last)) = (of_kind.next(), of_kind.next_back()) else {
        return 0;
    };
    let count = frames.iter().filter(|frame| frame.kind == kind).count() as u32;
    let span = last.millis.saturating_sub(first.millis);
    span + span / (count - 1)
}

fn make(kilobits: u32, path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("a clip stands in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    eprintln!("making {} (once)", path.display());
    // Two makers at a time write to files of their own; the later rename wins, with the same bytes.
    let unfinished: PathBuf = folder.join(format!("making-{}-{kilobits}k.flv", std::process::id()));
    let (size, rate) = match kilobits {
        ..300 => ("320x180", 15),
        300..1500 => ("640x360", 30),
        _ => ("1280x720", 30),
    };
    let audio = (kilobits / 10).clamp(24, 128);
    let video = format!("{}k", kilobits - audio);
    let source = format!("testsrc2=size={size}:rate={rate},noise=alls=24:allf=t:all_seed=7");
    let params = format!("keyint={0}:min-keyint={0}:scenecut=0:bframes=2:threads=1", 2 * rate);
    let output = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-hide_banner",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            &source,
        ])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args([
            "-t",
            &SECONDS.to_string(),
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
        ])
        .args([
            "-x264-params",
            &params,
            "-b:v",
            &video,
            "-minrate",
            &video,
            "-maxrate",
            &video,
            "-bufsize",
            &video,
        ])
        .args([
            "-c:a",
            "aac",
            "-b:a",
            &format!("{audio}k"),
            "-flags",
            "+bitexact",
            "-fflags",
            "+bitexact",
        ])
        .arg(&unfinished)
        .stdin(Stdio::null())
        .output()
        .context("ffmpeg makes the canonical clip; install it: apt-get install ffmpeg")?;
    if !output.status.success() {
        bail!("ffmpeg made no clip: {}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, millis: u32, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(&millis.to_be_bytes()[1..]);
        out.extend_from_slice(&[(millis >> 24) as u8, 0, 0, 0]);
        out.extend_from_slice(body);
        out.extend_from_slice(&(body.len() as u32 + 11).to_be_bytes());
        out
    }

    #[test]
    fn setup_and_frames_are_told_apart_and_the_loop_has_no_gap() {
        let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        for (kind, millis, body) in [
            (18, 0, &b"\x02\0\x0aonMetaData"[..]),
            (9, 0, &[0x17, 0, 0, 0, 0, 1]),
            (8, 0, &[0xaf, 0, 0x11, 0x90]),
            (9, 0, &[0x17, 1, 0, 0, 0, 9]),
            (8, 5, &[0xaf, 1, 3]),
            (9, 40, &[0x27, 1, 0, 0, 0, 9]),
            (9, 80, &[0x27, 1, 0, 0, 0, 9]),
            (9, 80, &[0x17, 2, 0, 0, 0]),
        ] {
            file.extend(tag(kind, millis, body));
        }
        let clip = Clip::read(&file).unwrap();
        assert_eq!((clip.setup.len(), clip.frames.len(), clip.millis), (3, 4, 120));
        assert!(Clip::read(b"FLV\x01\x05\0\0\0\x09\0\0\0\0").is_err());
        assert!(Clip::read(b"no file at all").is_err());
    }

    #[test]
    fn a_canonical_clip_has_its_rate() {
        for (kilobits, bytes, good) in [
            (600, 75_000, true),
            (600, 78_000, true),
            (600, 79_500, false),
            (600, 71_000, false),
            (8000, 1_000_000, true),
            (8000, 900_000, false),
            (700, 1, true),
        ] {
            let frame = Timed {
                kind: MessageKind::Video,
                millis: 0,
                body: vec![0; bytes],
            };
            let clip = Clip {
                setup: Vec::new(),
                frames: vec![frame],
                millis: 1000,
            };
            assert_eq!(
                clip.check_rate(kilobits).is_ok(),
                good,
                "{bytes} bytes for {kilobits} kb/s"
            );
        }
    }
}
