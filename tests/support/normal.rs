//! What ffmpeg reads from a recording, brought to a normal form in which containers make no difference.
//!
//! A frame becomes its units (NAL units, OBUs, or one raw audio frame) without what a container adds: length prefixes
//! and start codes, access unit delimiters, parameter sets that equal the current generation, temporal delimiters and
//! padding, ADTS headers. Times are nanoseconds. One `ffprobe` lists the packets, one `ffmpeg -c copy -f data` gives
//! their bytes: both use the same demuxers and parsers, so the sizes of the one cut the bytes of the other.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::run;

/// A recording on a loaded machine with two cores is read within this.
const READ: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Video,
    Audio,
}

/// One NAL unit, OBU or raw frame: its type as the codec numbers it, its size and a hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub kind: u8,
    pub bytes: usize,
    pub hash: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub dts_nanos: i64,
    pub pts_nanos: i64,
    pub key: bool,
    pub units: Vec<Unit>,
    /// Hash of the parameter sets (sequence header, decoder configuration) in force at this frame.
    pub sets: u64,
}

/// One codec's line in the recording.
#[derive(Debug, Clone)]
pub struct Track {
    pub kind: Kind,
    pub codec: String,
    /// The container's tick.
    pub tick_nanos: i64,
    pub sample_rate: u32,
    pub frames: Vec<Frame>,
    /// Units of the codec's header that are no parameter sets (x265 puts its SEI there): a container without such a
    /// header has them in band.
    pub carried: Vec<Unit>,
}

impl Track {
    /// Samples of one audio frame, where the codec fixes them.
    pub fn frame_samples(&self) -> Option<u32> {
        match self.codec.as_str() {
            "aac" => Some(1024),
            "mp3" if self.sample_rate >= 32_000 => Some(1152),
            "mp3" => Some(576),
            "ac3" => Some(1536),
            _ => None,
        }
    }
}

/// Audio and video tracks of a recording, video first.
#[derive(Debug, Clone)]
pub struct Recording {
    pub name: String,
    pub tracks: Vec<Track>,
}

/// Reads a recording through ffmpeg.
pub fn read(path: &Path) -> Recording {
    let (name, container, sources) = sources(path);
    let tracks = sources.into_iter().map(|source| {
        let mut format = Format::new(&source.codec, &container, &source.setup);
        let frames = source.packets.iter().map(|packet| Frame {
            dts_nanos: packet.dts_nanos,
            pts_nanos: packet.pts_nanos,
            key: packet.key,
            units: format.units(&packet.bytes),
            sets: format.sets_hash(),
        });
        Track {
            kind: source.kind,
            frames: frames.collect(),
            codec: source.codec,
            tick_nanos: source.tick_nanos,
            sample_rate: source.sample_rate,
            carried: format.carried,
        }
    });
    Recording {
        name,
        tracks: tracks.collect(),
    }
}

/// A track as its file has it.
pub struct Source {
    pub kind: Kind,
    pub codec: String,
    pub tick_nanos: i64,
    pub sample_rate: u32,
    pub channels: u32,
    pub width: u32,
    pub height: u32,
    /// The codec's header.
    pub setup: Vec<u8>,
    pub packets: Vec<SourcePacket>,
}

pub struct SourcePacket {
    pub dts_nanos: i64,
    pub pts_nanos: i64,
    pub key: bool,
    pub bytes: Vec<u8>,
}

/// Name, container and tracks of a file, video first.
pub fn sources(path: &Path) -> (String, String, Vec<Source>) {
    let name = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let headers = probe(path, &["-show_data", "-show_streams", "-show_format"]);
    let container = headers["format"]["format_name"].as_str().unwrap_or("").to_string();
    let packets = packets(path, &container);
    let mut found: Vec<(u64, Source)> = Vec::new();
    for stream in headers["streams"].as_array().map_or(&[][..], Vec::as_slice) {
        let kind = match stream["codec_type"].as_str() {
            Some("video") => Kind::Video,
            Some("audio") => Kind::Audio,
            _ => continue,
        };
        let (num, den) = stream["time_base"]
            .as_str()
            .and_then(|text| text.split_once('/'))
            .expect("a time base");
        let sample_rate = stream["sample_rate"].as_str().and_then(|text| text.parse().ok());
        let number = |key: &str| stream[key].as_u64().unwrap_or(0) as u32;
        let index = stream["index"].as_u64().expect("every stream has an index");
        let listed = packets.get(&index).map_or(&[][..], Vec::as_slice);
        let bytes = payload(path, index);
        let total: usize = listed.iter().map(|packet| packet.bytes).sum();
        assert_eq!(
            total,
            bytes.len(),
            "{name}: ffprobe and ffmpeg read stream {index} differently"
        );
        let mut rest = bytes.as_slice();
        let cut = listed.iter().map(|packet| {
            let (bytes, after) = rest.split_at(packet.bytes);
            rest = after;
            SourcePacket {
                dts_nanos: nanos(packet.dts, num, den),
                pts_nanos: nanos(packet.pts, num, den),
                key: packet.key,
                bytes: bytes.to_vec(),
            }
        });
        let source = Source {
            kind,
            packets: cut.collect(),
            codec: stream["codec_name"].as_str().unwrap_or("unknown").to_string(),
            tick_nanos: nanos(1, num, den),
            sample_rate: sample_rate.unwrap_or(0),
            channels: number("channels"),
            width: number("width"),
            height: number("height"),
            setup: hex_dump(stream["extradata"].as_str().unwrap_or("")),
        };
        found.push((index, source));
    }
    found.sort_by_key(|(index, source)| (source.kind, *index));
    let sources = found.into_iter().map(|(_, source)| source).collect();
    (name, container, sources)
}

struct Packet {
    dts: i64,
    pts: i64,
    bytes: usize,
    key: bool,
}

fn packets(path: &Path, container: &str) -> BTreeMap<u64, Vec<Packet>> {
    let mut command = Command::new("ffprobe");
    if !container.contains("mpegts") {
        // The parser would set the key flag of a picture whose container has lost it. TS has no flag to lose.
        command.args(["-fflags", "+noparse"]);
    }
    command
        .args([
            "-v",
            "error",
            "-show_entries",
            "packet=stream_index,pts,dts,size,flags",
            "-of",
            "compact",
        ])
        .arg(path);
    let mut tracks: BTreeMap<u64, Vec<Packet>> = BTreeMap::new();
    for line in run("ffprobe (packets)", &mut command, READ).lines() {
        // A recording of a stream that was stopped may end inside a packet; ffprobe says so on lines of its own.
        let Some(fields) = line.strip_prefix("packet|") else {
            continue;
        };
        let field = |name: &str| {
            fields
                .split('|')
                .find_map(|each| each.strip_prefix(name)?.strip_prefix('='))
        };
        let number = |name: &str| field(name).and_then(|text| text.parse::<i64>().ok());
        let (Some(index), Some(bytes)) = (number("stream_index"), number("size")) else {
            continue;
        };
        let dts = number("dts").or_else(|| number("pts")).unwrap_or(i64::MIN);
        let packet = Packet {
            dts,
            pts: number("pts").unwrap_or(dts),
            bytes: bytes as usize,
            key: field("flags").is_some_and(|flags| flags.starts_with('K')),
        };
        tracks.entry(index as u64).or_default().push(packet);
    }
    tracks
}

fn payload(path: &Path, index: u64) -> Vec<u8> {
    let out = super::scratch("payload").join("bytes");
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-v", "fatal", "-y", "-i"]).arg(path);
    command
        .args([
            "-map",
            &format!("0:{index}"),
            "-c",
            "copy",
            "-copyinkf",
            "-copyts",
            "-f",
            "data",
        ])
        .arg(&out);
    run("ffmpeg (payload)", &mut command, READ);
    let bytes = std::fs::read(&out).expect("written by the command above");
    std::fs::remove_dir_all(out.parent().expect("joined above")).expect("scratch is ours");
    bytes
}

fn probe(path: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "fatal", "-of", "json"]).args(arguments).arg(path);
    let text = run("ffprobe (streams)", &mut command, READ);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", path.display()))
}

fn nanos(ticks: i64, num: &str, den: &str) -> i64 {
    let part = |text: &str| text.parse::<i128>().expect("ffprobe prints whole numbers");
    (i128::from(ticks) * part(num) * 1_000_000_000 / part(den)) as i64
}

/// The bytes of ffprobe's dump: `00000000: 0164 001e …  .d..` a line.
fn hex_dump(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| line.contains(": ")) {
        let columns = line.split_once(": ").map_or("", |(_, rest)| rest);
        let digits: String = columns.split("  ").next().unwrap_or("").split(' ').collect();
        bytes.extend(digits.as_bytes().chunks(2).filter_map(|two| {
            let two = std::str::from_utf8(two).ok()?;
            u8::from_str_radix(two, 16).ok()
        }));
    }
    bytes
}

/// How the bytes of one track divide into units, and its parameter sets in force.
pub struct Format {
    codec: Codec,
    /// Length prefixes that ffmpeg wrote by itself where start codes were: it leaves a zero of the next one in a unit.
    has_zeros: bool,
    sets: BTreeMap<(u8, u64), Vec<u8>>,
    pub carried: Vec<Unit>,
}

enum Codec {
    /// H.264 or HEVC, with length prefixes of this many bytes or, with none, start codes.
    Nal {
        hevc: bool,
        prefix_bytes: Option<usize>,
    },
    Av1,
    Adts,
    Raw,
}

impl Format {
    pub fn new(codec: &str, container: &str, setup: &[u8]) -> Format {
        let boxed = setup.first() == Some(&1);
        let codec = match codec {
            "h264" => Codec::Nal {
                hevc: false,
                prefix_bytes: boxed.then(|| usize::from(setup[4] & 3) + 1),
            },
            "hevc" => Codec::Nal {
                hevc: true,
                prefix_bytes: boxed.then(|| usize::from(setup[21] & 3) + 1),
            },
            "av1" => Codec::Av1,
            "aac" if container.contains("mpegts") || container == "aac" => Codec::Adts,
            _ => Codec::Raw,
        };
        let mut format = Format {
            codec,
            has_zeros: container.contains("matroska"),
            sets: BTreeMap::new(),
            carried: Vec::new(),
        };
        format.begin(setup);
        format
    }

    /// Takes the codec's header as the first generation.
    fn begin(&mut self, setup: &[u8]) {
        match self.codec {
            Codec::Nal {
                hevc,
                prefix_bytes: Some(_),
            } => {
                let nals = if hevc { nals_of_hvcc(setup) } else { nals_of_avcc(setup) };
                for nal in nals {
                    if set_id(hevc, nal_kind(hevc, &nal), &nal).is_some() {
                        self.keep_set(hevc, &nal);
                    } else {
                        self.carried.push(unit(nal_kind(hevc, &nal), trimmed(&nal)));
                    }
                }
            }
            Codec::Nal {
                hevc,
                prefix_bytes: None,
            } => {
                for nal in start_coded(setup) {
                    self.keep_set(hevc, nal);
                }
            }
            Codec::Av1 => {
                let obus = if setup.first() == Some(&0x81) {
                    setup.get(4..).unwrap_or(&[])
                } else {
                    setup
                };
                for (kind, obu) in obus_of(obus) {
                    if kind == AV1_SEQUENCE_HEADER {
                        self.sets.insert((kind, 0), obu);
                    }
                }
            }
            // The configuration is known from the headers of the frames, which have the same facts in other words.
            Codec::Adts | Codec::Raw => {}
        }
    }

    /// Remembers a parameter set; equal ones of the same identity change nothing.
    fn keep_set(&mut self, hevc: bool, nal: &[u8]) {
        let kind = nal_kind(hevc, nal);
        if let Some(id) = set_id(hevc, kind, nal) {
            self.sets.insert((kind, id), trimmed(nal).to_vec());
        }
    }

    pub fn units(&mut self, frame: &[u8]) -> Vec<Unit> {
        match self.codec {
            Codec::Nal { hevc, prefix_bytes } => {
                let nals = prefix_bytes.map_or_else(|| start_coded(frame), |bytes| length_prefixed(frame, bytes));
                let mut units = Vec::with_capacity(nals.len());
                for nal in nals {
                    let kind = nal_kind(hevc, nal);
                    let is_delimiter = kind == if hevc { 35 } else { 9 };
                    // A set is no unit: it shows in `Frame::sets`, wherever the container keeps it.
                    if is_delimiter || nal.is_empty() {
                        continue;
                    }
                    if set_id(hevc, kind, nal).is_some() {
                        self.keep_set(hevc, nal);
                        continue;
                    }
                    let is_trimmed = prefix_bytes.is_none() || self.has_zeros;
                    units.push(unit(kind, if is_trimmed { trimmed(nal) } else { nal }));
                }
                units
            }
            Codec::Av1 => {
                let mut units = Vec::new();
                for (kind, obu) in obus_of(frame) {
                    match kind {
                        AV1_TEMPORAL_DELIMITER | AV1_PADDING => {}
                        AV1_SEQUENCE_HEADER => {
                            self.sets.insert((kind, 0), obu);
                        }
                        _ => units.push(unit(kind, &obu)),
                    }
                }
                units
            }
            Codec::Adts => {
                let header = if frame.get(1).is_some_and(|byte| byte & 1 == 0) {
                    9
                } else {
                    7
                };
                assert_eq!(frame.first(), Some(&0xFF), "an ADTS frame begins with its sync word");
                vec![unit(0, &frame[header..])]
            }
            Codec::Raw => vec![unit(0, frame)],
        }
    }

    /// AAC's configuration is left out: TS carries it in each ADTS header, and a decoder that disagrees says so.
    pub fn sets_hash(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        self.sets.values().for_each(|set| set.hash(&mut hash));
        hash.finish()
    }
}

const AV1_SEQUENCE_HEADER: u8 = 1;
const AV1_TEMPORAL_DELIMITER: u8 = 2;
const AV1_PADDING: u8 = 15;

fn unit(kind: u8, bytes: &[u8]) -> Unit {
    let mut hash = DefaultHasher::new();
    bytes.hash(&mut hash);
    Unit {
        kind,
        bytes: bytes.len(),
        hash: hash.finish(),
    }
}

fn nal_kind(hevc: bool, nal: &[u8]) -> u8 {
    let first = nal.first().copied().unwrap_or(0);
    if hevc { first >> 1 & 0x3F } else { first & 0x1F }
}

/// The identity of a parameter set (its id as the codec numbers it), or none for other units.
fn set_id(hevc: bool, kind: u8, nal: &[u8]) -> Option<u64> {
    match (hevc, kind) {
        (false, 7) => exp_golomb(nal.get(4..)?),
        (false, 8) => exp_golomb(nal.get(1..)?),
        (true, 32) => Some(u64::from(nal.get(2)? >> 4)),
        // One sequence set: its id stands behind a profile of variable length, and no encoder here has two.
        (true, 33) => Some(0),
        (true, 34) => exp_golomb(nal.get(2..)?),
        _ => None,
    }
}

fn exp_golomb(bytes: &[u8]) -> Option<u64> {
    let bit = |at: usize| bytes.get(at / 8).map(|byte| u64::from(byte >> (7 - at % 8) & 1));
    let zeros = (0..32).find(|at| bit(*at) != Some(0))?;
    let mut value = 0;
    for at in zeros..=2 * zeros {
        value = value << 1 | bit(at)?;
    }
    Some(value - 1)
}

/// Bytes zero at the end belong to the next start code, not to the unit.
fn trimmed(nal: &[u8]) -> &[u8] {
    let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &nal[..end]
}

fn start_coded(bytes: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= bytes.len() {
        // Look at the third byte first: most of them rule out a start code at three places at once.
        match bytes[at + 2] {
            0 => at += 1,
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => {
                starts.push(at + 3);
                at += 3;
            }
            _ => at += 3,
        }
    }
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([bytes.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| trimmed(&bytes[*start..end]))
        .collect()
}

fn length_prefixed(mut bytes: &[u8], prefix: usize) -> Vec<&[u8]> {
    let mut nals = Vec::new();
    while bytes.len() >= prefix {
        let length = bytes[..prefix]
            .iter()
            .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let rest = &bytes[prefix..];
        let (nal, after) = rest.split_at(length.min(rest.len()));
        nals.push(nal);
        bytes = after;
    }
    nals
}

fn nals_of_avcc(setup: &[u8]) -> Vec<Vec<u8>> {
    let mut at = 5;
    let mut sets = Vec::new();
    for mask in [0x1F, 0xFF] {
        let count = setup.get(at).map_or(0, |byte| byte & mask);
        at += 1;
        for _ in 0..count {
            at = take_set(setup, at, &mut sets);
        }
    }
    sets
}

fn nals_of_hvcc(setup: &[u8]) -> Vec<Vec<u8>> {
    let mut at = 23;
    let mut sets = Vec::new();
    for _ in 0..setup.get(22).copied().unwrap_or(0) {
        let count = setup
            .get(at + 1..at + 3)
            .map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
        at += 3;
        for _ in 0..count {
            at = take_set(setup, at, &mut sets);
        }
    }
    sets
}

fn take_set(setup: &[u8], at: usize, sets: &mut Vec<Vec<u8>>) -> usize {
    let length = setup
        .get(at..at + 2)
        .map_or(0, |two| usize::from(u16::from_be_bytes([two[0], two[1]])));
    if let Some(set) = setup.get(at + 2..at + 2 + length) {
        sets.push(set.to_vec());
    }
    at + 2 + length
}

/// Type and payload of each OBU, without its size field.
fn obus_of(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut obus = Vec::new();
    while let Some(&header) = bytes.first() {
        let mut at = 1 + usize::from(header >> 2 & 1);
        let mut length = bytes.len().saturating_sub(at);
        if header & 2 != 0 {
            length = 0;
            for shift in 0..8 {
                let byte = bytes.get(at).copied().unwrap_or(0);
                at += 1;
                length |= usize::from(byte & 0x7F) << (7 * shift);
                if byte & 0x80 == 0 {
                    break;
                }
            }
        }
        let end = (at + length).min(bytes.len());
        obus.push((header >> 3 & 15, bytes.get(at..end).unwrap_or(&[]).to_vec()));
        bytes = &bytes[end.max(1)..];
    }
    obus
}
