//! Fragmented MP4 of any server, box by box: numbers of fragments, decode times, and that `mdat` holds what `trun` says.
//!
//! ISO/IEC 14496-12: 4.2 box, 8.8.5 `mfhd`, 8.8.7 `tfhd`, 8.8.12 `tfdt`, 8.8.8 `trun`. `penstock_proto::mp4::read` is
//! stricter and knows only what our muxer writes; here a server may put `styp`, `sidx`, `prft` and `emsg` where it likes.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

/// A `moov` or `moof` that is longer is none.
const HELD_BYTES_MAX: usize = 1 << 20;
const HEAD_BYTES: usize = 8;

#[derive(Debug, Default)]
pub struct Boxes {
    held: Vec<u8>,
    /// Bytes of a box that need not be looked at.
    passing: u64,
    sequence: Option<u32>,
    /// By track, where the next run must begin; none when its samples' lengths are not all said.
    ends: BTreeMap<u32, Option<u64>>,
    /// Defaults of `trex` by track: duration and size.
    defaults: BTreeMap<u32, (u32, u32)>,
    /// Bytes of samples that the next `mdat` holds.
    expected: Option<u64>,
}

impl Boxes {
    pub fn push(&mut self, mut bytes: &[u8], mut problem: impl FnMut(String)) -> anyhow::Result<()> {
        loop {
            let passed = self.passing.min(bytes.len() as u64);
            self.passing -= passed;
            bytes = &bytes[usize::try_from(passed)?..];
            if bytes.is_empty() {
                return Ok(());
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.missing()?));
            self.held.extend_from_slice(part);
            bytes = rest;
            if self.missing()? == 0 {
                let held = std::mem::take(&mut self.held);
                self.whole(&held, &mut problem)?;
            }
        }
    }

    /// Bytes until what is held can be looked at: a head, or all of a box that is looked into.
    fn missing(&self) -> anyhow::Result<usize> {
        let Some(head) = self.held.first_chunk::<HEAD_BYTES>() else {
            return Ok(HEAD_BYTES - self.held.len());
        };
        let kind = &head[4..];
        if !kind.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            bail!("no MP4 box: {head:?}");
        }
        let (size, extended) = size_of(head);
        if extended {
            return Ok(16usize.saturating_sub(self.held.len()));
        }
        if size < HEAD_BYTES as u64 {
            bail!("a box {} of {size} bytes", String::from_utf8_lossy(kind));
        }
        if !matches!(kind, b"moov" | b"moof") {
            return Ok(0);
        }
        let size = usize::try_from(size)?;
        if size > HELD_BYTES_MAX {
            bail!("a box {} of {size} bytes", String::from_utf8_lossy(kind));
        }
        Ok(size - self.held.len())
    }

    fn whole(&mut self, held: &[u8], problem: &mut impl FnMut(String)) -> anyhow::Result<()> {
        let head = held.first_chunk::<HEAD_BYTES>().context("a head is whole")?;
        let (mut size, extended) = size_of(head);
        if extended {
            size = held
                .get(8..16)
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(0, u64::from_be_bytes);
        }
        match &head[4..] {
            b"moov" => self.movie(&held[HEAD_BYTES..])?,
            b"moof" => self.fragment(&held[HEAD_BYTES..], problem)?,
            b"mdat" => {
                let payload = size.saturating_sub(held.len() as u64);
                if let Some(expected) = self.expected.take().filter(|expected| *expected != payload) {
                    problem(format!("an mdat of {payload} bytes holds samples of {expected}"));
                }
                self.passing = payload;
            }
            _ => self.passing = size.saturating_sub(held.len() as u64),
        }
        Ok(())
    }

    fn movie(&mut self, mut content: &[u8]) -> anyhow::Result<()> {
        // Another movie may count anew.
        *self = Boxes::default();
        while let Some((kind, content)) = child(&mut content)? {
            let mut inner = if kind == *b"mvex" { content } else { &[] };
            while let Some((kind, trex)) = child(&mut inner)? {
                if kind == *b"trex" {
                    let defaults = (word(trex, 12)?, word(trex, 16)?);
                    self.defaults.insert(word(trex, 4)?, defaults);
                }
            }
        }
        Ok(())
    }

    fn fragment(&mut self, mut content: &[u8], problem: &mut impl FnMut(String)) -> anyhow::Result<()> {
        let mut bytes = Some(0);
        while let Some((kind, content)) = child(&mut content)? {
            match &kind {
                b"mfhd" => {
                    let number = word(content, 4)?;
                    if let Some(last) = self.sequence.replace(number)
                        && (number.wrapping_sub(last) as i32) <= 0
                    {
                        problem(format!("fragment {number} follows {last}"));
                    }
                }
                b"traf" => {
                    let of_track = self.track(content, problem)?;
                    bytes = bytes.zip(of_track).map(|(bytes, of_track)| bytes + of_track);
                }
                _ => {}
            }
        }
        self.expected = bytes;
        Ok(())
    }

    /// Bytes of the samples, when all are said.
    fn track(&mut self, mut content: &[u8], problem: &mut impl FnMut(String)) -> anyhow::Result<Option<u64>> {
        let (mut track, mut defaults, mut time) = (0, (0, 0), None);
        let (mut duration, mut bytes) = (0u64, 0u64);
        while let Some((kind, content)) = child(&mut content)? {
            match &kind {
                b"tfhd" => {
                    let flags = word(content, 0)?;
                    track = word(content, 4)?;
                    defaults = self.defaults.get(&track).copied().unwrap_or_default();
                    let mut at = 8 + 8 * usize::from(flags & 1 != 0) + 4 * usize::from(flags & 2 != 0);
                    if flags & 8 != 0 {
                        defaults.0 = word(content, at)?;
                        at += 4;
                    }
                    if flags & 0x10 != 0 {
                        defaults.1 = word(content, at)?;
                    }
                }
                b"tfdt" if content.first() == Some(&1) => {
                    time = Some(u64::from(word(content, 4)?) << 32 | u64::from(word(content, 8)?));
                }
                b"tfdt" => time = Some(word(content, 4)?.into()),
                b"trun" => {
                    let (of_run, bytes_of_run) = run(content, defaults)?;
                    duration += of_run;
                    bytes += bytes_of_run;
                }
                _ => {}
            }
        }
        if let (Some(time), Some(Some(end))) = (time, self.ends.get(&track))
            && time != *end
        {
            problem(format!(
                "track {track}: a fragment begins at {time}, and the one before ends at {end}"
            ));
        }
        self.ends.insert(track, time.map(|time| time + duration));
        Ok(Some(bytes))
    }
}

/// Duration and bytes of a run's samples.
fn run(content: &[u8], defaults: (u32, u32)) -> anyhow::Result<(u64, u64)> {
    let (flags, count) = (word(content, 0)?, word(content, 4)?);
    let mut at = 8 + 4 * usize::from(flags & 1 != 0) + 4 * usize::from(flags & 4 != 0);
    let (mut duration, mut bytes) = (0, 0);
    let mut field = |flag: u32, default: u32| -> anyhow::Result<u32> {
        if flags & flag == 0 {
            return Ok(default);
        }
        at += 4;
        word(content, at - 4)
    };
    for _ in 0..count {
        duration += u64::from(field(0x100, defaults.0)?);
        bytes += u64::from(field(0x200, defaults.1)?);
        field(0x400, 0)?;
        field(0x800, 0)?;
        if flags & 0xf00 == 0 {
            let count = u64::from(count);
            return Ok((u64::from(defaults.0) * count, u64::from(defaults.1) * count));
        }
    }
    Ok((duration, bytes))
}

/// Size, and whether it stands in 64 bits behind the head.
fn size_of(head: &[u8; HEAD_BYTES]) -> (u64, bool) {
    match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
        1 => (0, true),
        // To the end of the file: an endless `mdat`.
        0 => (u64::MAX, false),
        size => (size.into(), false),
    }
}

fn child<'a>(content: &mut &'a [u8]) -> anyhow::Result<Option<([u8; 4], &'a [u8])>> {
    if content.is_empty() {
        return Ok(None);
    }
    let head = content.first_chunk::<HEAD_BYTES>().context("a box is cut off")?;
    let size = usize::try_from(size_of(head).0)?;
    let inner = content
        .get(HEAD_BYTES..size)
        .context("a box is longer than what holds it")?;
    *content = &content[size..];
    Ok(Some(([head[4], head[5], head[6], head[7]], inner)))
}

fn word(content: &[u8], at: usize) -> anyhow::Result<u32> {
    let bytes = content.get(at..at + 4).context("a box is too short")?;
    Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
