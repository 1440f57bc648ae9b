//! The header in its network form (reference/mistserver-media.md, 1.5 to 1.7): what tracks a stream has, without the
//! tables of fragments, keys and parts that index files add.
//!
//! Those tables, and what else a header may hold, are passed over when one is read.

use super::object::{self, Object};
use super::packet::{self, Kind as PacketKind};
use crate::dtsc::Error;
use crate::dtsc::limits::TRACKS_MAX;
use crate::media::{Codec, Format, Kind, Track};

/// The only version of today; others are refused where it matters, in index files.
pub const VERSION: i64 = 4;

/// A stream as a header describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// `live`, otherwise `vod`.
    pub live: bool,
    pub version: i64,
    /// Unix ms of media time 0.
    pub unix_zero_ms: Option<i64>,
    pub entries: Vec<Entry>,
    /// Tracks of codecs that this crate does not know, left out of `entries`. Nothing is emitted for them.
    pub unknown_tracks: usize,
}

/// A track with what only a header says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its id is `trackid`. Read, it counts samples (audio), 90,000 ticks a second (video) or ms (meta).
    pub track: Track,
    pub first_ms: i64,
    pub last_ms: i64,
    /// Average and peak.
    pub bytes_per_second: u32,
    pub bytes_per_second_max: u32,
    /// ISO 639-2; empty when unknown.
    pub language: String,
}

impl Entry {
    /// Of a track of which nothing was seen yet.
    pub fn new(track: Track) -> Self {
        let bytes_per_second = track.bitrate_hint / 8;
        Entry {
            track,
            first_ms: 0,
            last_ms: 0,
            bytes_per_second,
            bytes_per_second_max: bytes_per_second,
            language: String::new(),
        }
    }

    /// The unique identifier (1.7), which ends in the track's index. Meta tracks have theirs as recorded.
    pub fn name(&self) -> String {
        let codec = self.track.codec.name();
        let mut name = match self.track.format {
            Format::Video { width, height, .. } => {
                let frames_per_second = self.frames_per_kilosecond() as f64 / 1000.0;
                format!("video_{codec}_{width}x{height}_{frames_per_second}fps_")
            }
            Format::Audio {
                sample_rate, channels, ..
            } => format!("audio_{codec}_{channels}ch_{sample_rate}hz_"),
            Format::Meta => format!("meta_{codec}_"),
        };
        if self.has_language() {
            name.push_str(&self.language);
        }
        if self.has_language() || self.track.kind() == Kind::Meta {
            name.push('_');
        }
        name.push_str(&self.track.id.saturating_sub(1).to_string());
        name
    }

    fn has_language(&self) -> bool {
        !self.language.is_empty() && self.language != "und"
    }

    /// `fpks`.
    fn frames_per_kilosecond(&self) -> i64 {
        match self.track.format {
            Format::Video { frame_rate, .. } => (frame_rate * 1000.0).round() as i64,
            _ => 0,
        }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let track = &self.track;
        object::push_name(self.name().as_bytes(), out);
        object::open(out);
        object::push_integer("trackid", track.id.into(), out);
        object::push_integer("firstms", self.first_ms, out);
        object::push_integer("lastms", self.last_ms, out);
        object::push_integer("bps", self.bytes_per_second.into(), out);
        object::push_integer("maxbps", self.bytes_per_second_max.into(), out);
        object::push_bytes("init", &track.codec_data, out);
        object::push_bytes("codec", track.codec.name().as_bytes(), out);
        object::push_bytes("type", type_name(track.kind()).as_bytes(), out);
        if self.has_language() {
            object::push_bytes("lang", self.language.as_bytes(), out);
        }
        match track.format {
            Format::Video { width, height, .. } => {
                object::push_integer("width", width.into(), out);
                object::push_integer("height", height.into(), out);
                object::push_integer("fpks", self.frames_per_kilosecond(), out);
                object::push_integer("efpks", self.frames_per_kilosecond(), out);
            }
            Format::Audio {
                sample_rate,
                channels,
                sample_bits,
            } => {
                object::push_integer("rate", sample_rate.into(), out);
                object::push_integer("size", sample_bits.into(), out);
                object::push_integer("channels", channels.into(), out);
            }
            Format::Meta => {}
        }
        object::close(out);
    }

    /// `None` when the codec is unknown, or its kind is not what `type` says.
    fn read(members: Object<'_>) -> Result<Option<Self>, Error> {
        let codec = members.bytes("codec").ok_or(Error::Member { name: "codec" })?;
        let Some(codec) = CODECS.into_iter().find(|known| known.name().as_bytes() == codec) else {
            return Ok(None);
        };
        let kind = codec.kind();
        if members.bytes("type") != Some(type_name(kind).as_bytes()) {
            return Ok(None);
        }
        let id = members.integer("trackid").and_then(|id| u32::try_from(id).ok());
        let bytes_per_second = count(members, "bps");
        let format = read_format(members, kind);
        let timescale = match format {
            Format::Audio {
                sample_rate: rate @ 1..,
                ..
            } => rate,
            Format::Video { .. } => 90_000,
            _ => 1000,
        };
        let track = Track {
            id: id.ok_or(Error::Member { name: "trackid" })?,
            generation: 0,
            codec,
            timescale,
            codec_data: members.bytes("init").unwrap_or_default().to_vec(),
            bitrate_hint: bytes_per_second.saturating_mul(8),
            format,
        };
        let language = members.bytes("lang").unwrap_or_default();
        Ok(Some(Entry {
            track,
            first_ms: members.integer("firstms").unwrap_or(0),
            last_ms: members.integer("lastms").unwrap_or(0),
            bytes_per_second,
            bytes_per_second_max: count(members, "maxbps"),
            language: String::from_utf8_lossy(&language[..language.len().min(LANGUAGE_BYTES_MAX)]).into_owned(),
        }))
    }
}

impl Header {
    pub fn new(live: bool, entries: Vec<Entry>) -> Self {
        Header {
            live,
            version: VERSION,
            unix_zero_ms: None,
            entries,
            unknown_tracks: 0,
        }
    }

    /// Appends the packet.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        packet::emit_object(PacketKind::Header, out, |out| {
            object::open(out);
            object::push_integer(if self.live { "live" } else { "vod" }, 1, out);
            object::push_integer("version", self.version, out);
            if let Some(unix_zero_ms) = self.unix_zero_ms {
                object::push_integer("unixzero", unix_zero_ms, out);
            }
            object::push_name(b"tracks", out);
            object::open(out);
            for entry in &self.entries {
                entry.emit(out);
            }
            object::close(out);
            object::close(out);
        })
    }

    /// Reads the body of a [`PacketKind::Header`]. A header without `tracks` describes a stream that has none.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let members = object::parse(body)?;
        let mut header = Header {
            live: members.integer("live").is_some_and(|flag| flag != 0),
            version: members.integer("version").unwrap_or(0),
            unix_zero_ms: members.integer("unixzero"),
            entries: Vec::new(),
            unknown_tracks: 0,
        };
        let Some(tracks) = members.member("tracks") else {
            return Ok(header);
        };
        let tracks = tracks.as_object().ok_or(Error::Member { name: "tracks" })?;
        for (index, (_, track)) in tracks.members().enumerate() {
            if index == TRACKS_MAX {
                return Err(Error::TooManyTracks { tracks_max: TRACKS_MAX });
            }
            let track = track.as_object().ok_or(Error::Member { name: "tracks" })?;
            match Entry::read(track)? {
                Some(entry) => header.entries.push(entry),
                None => header.unknown_tracks += 1,
            }
        }
        Ok(header)
    }
}

fn read_format(members: Object<'_>, kind: Kind) -> Format {
    match kind {
        Kind::Video => {
            let declared = count(members, "fpks");
            let measured = count(members, "efpks");
            Format::Video {
                width: count(members, "width"),
                height: count(members, "height"),
                frame_rate: f64::from(if declared > 0 { declared } else { measured }) / 1000.0,
            }
        }
        Kind::Audio => Format::Audio {
            sample_rate: count(members, "rate"),
            channels: count(members, "channels"),
            sample_bits: count(members, "size"),
        },
        Kind::Meta => Format::Meta,
    }
}

/// 0 when missing or senseless.
fn count(members: Object<'_>, name: &str) -> u32 {
    let value = members.integer(name).unwrap_or(0);
    u32::try_from(value).unwrap_or(0)
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "video",
        Kind::Audio => "audio",
        Kind::Meta => "meta",
    }
}

/// ISO 639-2 has three letters; tags of BCP 47 are at most this long in practice (RFC 5646, 4.4.1).
const LANGUAGE_BYTES_MAX: usize = 35;

const CODECS: [Codec; 19] = [
    Codec::H264,
    Codec::Hevc,
    Codec::Av1,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Aac,
    Codec::Mp3,
    Codec::Opus,
    Codec::Flac,
    Codec::Ac3,
    Codec::Eac3,
    Codec::Alaw,
    Codec::Ulaw,
    Codec::Pcm,
    Codec::Json,
    Codec::Mjpeg,
    Codec::G722,
    Codec::Mp2,
    Codec::Rtp,
];

#[cfg(test)]
mod tests {
    use super::*;

    const PULL_LIVE: &[u8] = include_bytes!("../testdata/mistserver-pull-live.dtsc");
    const PULL_VOD: &[u8] = include_bytes!("../testdata/mistserver-pull-vod.dtsc");
    const INDEX: &[u8] = include_bytes!("../testdata/mistserver-clip6.flv.dtsh");

    /// The first header of a recording, as packet.
    fn recorded(mut bytes: &[u8]) -> &[u8] {
        loop {
            let packet = packet::split(bytes).unwrap().unwrap();
            let (whole, rest) = bytes.split_at(packet.bytes());
            if packet.kind == PacketKind::Header {
                return whole;
            }
            bytes = rest;
        }
    }

    #[test]
    fn recorded_headers_are_read_and_emitted_byte_for_byte() {
        for (recording, live) in [(PULL_LIVE, true), (PULL_VOD, false)] {
            let whole = recorded(recording);
            let header = Header::parse(&whole[packet::PREFIX_BYTES..]).unwrap();
            assert_eq!((header.live, header.version, header.unknown_tracks), (live, VERSION, 0));
            assert_eq!(header.unix_zero_ms.is_some(), live);
            let names: Vec<_> = header.entries.iter().map(Entry::name).collect();
            let expected = ["meta_JSON__0", "video_H264_640x360_25fps_1", "audio_AAC_2ch_44100hz_2"];
            assert_eq!(names, expected);
            let mut out = Vec::new();
            header.emit(&mut out).unwrap();
            assert_eq!(out, whole);
        }
    }

    #[test]
    fn the_tables_of_an_index_file_are_passed_over() {
        let header = Header::parse(&recorded(INDEX)[packet::PREFIX_BYTES..]).unwrap();
        let [meta, video, audio] = &header.entries[..] else {
            panic!("the file has three tracks");
        };
        assert_eq!(meta.track.codec, Codec::Json);
        let format = Format::Video {
            width: 640,
            height: 360,
            frame_rate: 25.0,
        };
        assert_eq!((video.track.format, video.track.timescale), (format, 90_000));
        assert_eq!((video.track.codec, video.track.codec_data.len()), (Codec::H264, 40));
        assert_eq!((audio.track.codec, audio.track.timescale), (Codec::Aac, 44_100));
    }

    #[test]
    fn every_codec_and_a_language_survive() {
        let mut entries = Vec::new();
        for (index, codec) in CODECS.into_iter().enumerate() {
            let format = match codec.kind() {
                Kind::Video => Format::Video {
                    width: 1918,
                    height: 1078,
                    frame_rate: 29.97,
                },
                Kind::Audio => Format::Audio {
                    sample_rate: 48_000,
                    channels: 6,
                    sample_bits: 16,
                },
                Kind::Meta => Format::Meta,
            };
            let timescale = [90_000, 48_000, 1000][codec.kind() as usize];
            let track = Track {
                id: index as u32 + 1,
                generation: 0,
                codec,
                timescale,
                codec_data: vec![index as u8; index],
                bitrate_hint: 8000,
                format,
            };
            let language = if codec.kind() == Kind::Audio { "eng" } else { "" };
            entries.push(Entry {
                first_ms: -5,
                last_ms: 1 << 40,
                language: language.into(),
                ..Entry::new(track)
            });
        }
        assert_eq!(entries[0].name(), "video_H264_1918x1078_29.97fps_0");
        assert_eq!(entries[5].name(), "audio_AAC_6ch_48000hz_eng_5");
        let header = Header::new(true, entries);
        let mut out = Vec::new();
        header.emit(&mut out).unwrap();
        let packet = packet::split(&out).unwrap().unwrap();
        assert_eq!(Header::parse(packet.body), Ok(header));
    }

    #[test]
    fn unknown_codecs_are_counted_and_wrong_members_refused() {
        let header = |codec: &str, with_id| {
            let mut body = Vec::new();
            object::open(&mut body);
            object::push_name(b"tracks", &mut body);
            object::open(&mut body);
            object::push_name(b"a", &mut body);
            object::open(&mut body);
            object::push_bytes("codec", codec.as_bytes(), &mut body);
            object::push_bytes("type", b"video", &mut body);
            if with_id {
                object::push_integer("trackid", 1, &mut body);
            }
            for _ in 0..3 {
                object::close(&mut body);
            }
            Header::parse(&body)
        };
        assert_eq!(header("H264", true).map(|header| header.entries.len()), Ok(1));
        assert_eq!(header("theora", true).map(|header| header.unknown_tracks), Ok(1));
        assert_eq!(header("AAC", true).map(|header| header.unknown_tracks), Ok(1));
        assert_eq!(header("H264", false), Err(Error::Member { name: "trackid" }));
        assert_eq!(Header::parse(b"\xe0\0\0\xee").map(|header| header.entries.len()), Ok(0));
    }
}
