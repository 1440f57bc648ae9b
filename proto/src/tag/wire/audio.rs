//! Type 8: one audio packet, or several tracks' packets of one type.

use super::enhanced::{self, Cursor, FourCc, Head, MultitrackType, illegal};
use crate::tag::Error;

/// The first byte of a legacy body: `SoundFormat`, `SoundRate`, `SoundSize`, `SoundType`. AAC writes 44.1 kHz stereo
/// whatever it is; MP3 and G.711 are described by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundFormat {
    pub id: u8,
    /// 0 to 3: 5.5, 11, 22 and 44 kHz.
    pub rate: u8,
    /// 8 or 16.
    pub bits: u8,
    /// 1 or 2.
    pub channels: u8,
}

impl SoundFormat {
    pub const PCM_PLATFORM: u8 = 0;
    pub const MP3: u8 = 2;
    pub const PCM_LITTLE: u8 = 3;
    pub const ALAW: u8 = 7;
    pub const ULAW: u8 = 8;
    pub const AAC: u8 = 10;
    pub const MP3_8K: u8 = 14;

    pub fn sample_rate(self) -> u32 {
        match self.id {
            Self::ALAW | Self::ULAW | Self::MP3_8K => 8_000,
            _ => [5_512, 11_025, 22_050, 44_100][usize::from(self.rate & 3)],
        }
    }
}

/// How the codec is named: by `SoundFormat` or by `AudioFourCc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioCodec {
    Legacy(SoundFormat),
    Enhanced(FourCc),
}

/// One track's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audio<'a> {
    pub codec: AudioCodec,
    /// `audioTrackId`; None outside multitrack bodies, which means track 0.
    pub track: Option<u8>,
    /// To be added to the message's time, nanoseconds; 0 in legacy bodies.
    pub nanos: u32,
    pub packet: AudioPacket<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioPacket<'a> {
    SequenceStart(&'a [u8]),
    Frame(&'a [u8]),
    SequenceEnd,
    MultichannelConfig { channels: u8, order: ChannelOrder<'a> },
}

/// `AudioChannelOrder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder<'a> {
    Unspecified,
    /// One bit a speaker.
    Native(u32),
    /// One speaker a channel.
    Custom(&'a [u8]),
}

impl<'a> Audio<'a> {
    /// The packets of one message body.
    pub fn parse(body: &'a [u8]) -> Result<Audios<'a>, Error> {
        let mut cursor = Cursor::new(body);
        let first = cursor.u8("SoundFormat")?;
        if first >> 4 == EX_HEADER {
            let head = enhanced::parse(first & 0x0f, MULTITRACK, &mut cursor)?;
            return Ok(Audios(State::Enhanced { head, cursor }));
        }
        let format = SoundFormat {
            id: first >> 4,
            rate: first >> 2 & 3,
            bits: if first & 2 == 0 { 8 } else { 16 },
            channels: 1 + (first & 1),
        };
        let packet = if format.id == SoundFormat::AAC {
            let offset = cursor.at;
            match cursor.u8("AACPacketType")? {
                0 => AudioPacket::SequenceStart(cursor.remainder()),
                1 => AudioPacket::Frame(cursor.remainder()),
                value => return Err(illegal("AACPacketType", value, offset)),
            }
        } else {
            AudioPacket::Frame(cursor.remainder())
        };
        Ok(Audios(State::One(Audio {
            codec: AudioCodec::Legacy(format),
            track: None,
            nanos: 0,
            packet,
        })))
    }

    /// Appends a body of this one packet; with a `track`, it is a OneTrack multitrack. Panics for a packet that legacy
    /// bodies do not know.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self.codec {
            AudioCodec::Legacy(format) => self.emit_legacy(format, out),
            AudioCodec::Enhanced(fourcc) => {
                let head = self.head(self.track.map(|_| MultitrackType::OneTrack));
                head.emit(EX_HEADER << 4, MULTITRACK, out);
                head.emit_track(fourcc, self.track.unwrap_or(0), out, |out| self.emit_payload(out));
            }
        }
    }

    /// Appends one body of several tracks. Panics unless all are enhanced packets of one type, with `nanos` alike and,
    /// in ManyTracks, of one codec.
    pub fn emit_many(layout: MultitrackType, audios: &[Audio<'_>], out: &mut Vec<u8>) {
        let head = audios[0].head(Some(layout));
        head.emit(EX_HEADER << 4, MULTITRACK, out);
        for audio in audios {
            let AudioCodec::Enhanced(fourcc) = audio.codec else {
                panic!("only enhanced packets can be multitrack");
            };
            assert!(
                head.fourcc.is_none_or(|common| common == fourcc),
                "ManyTracks has one codec"
            );
            assert_eq!(audio.head(Some(layout)).packet_type, head.packet_type);
            assert_eq!(audio.nanos, head.nanos);
            head.emit_track(fourcc, audio.track.unwrap_or(0), out, |out| audio.emit_payload(out));
        }
    }

    fn head(&self, multitrack: Option<MultitrackType>) -> Head {
        let packet_type = match self.packet {
            AudioPacket::SequenceStart(_) => SEQUENCE_START,
            AudioPacket::Frame(_) => CODED_FRAMES,
            AudioPacket::SequenceEnd => SEQUENCE_END,
            AudioPacket::MultichannelConfig { .. } => MULTICHANNEL_CONFIG,
        };
        let fourcc = match self.codec {
            _ if multitrack == Some(MultitrackType::ManyTracksManyCodecs) => None,
            AudioCodec::Enhanced(fourcc) => Some(fourcc),
            AudioCodec::Legacy(_) => None,
        };
        Head {
            packet_type,
            nanos: self.nanos,
            multitrack,
            fourcc,
        }
    }

    fn emit_payload(&self, out: &mut Vec<u8>) {
        match self.packet {
            AudioPacket::SequenceStart(data) | AudioPacket::Frame(data) => out.extend_from_slice(data),
            AudioPacket::SequenceEnd => {}
            AudioPacket::MultichannelConfig { channels, order } => match order {
                ChannelOrder::Unspecified => out.extend_from_slice(&[0, channels]),
                ChannelOrder::Native(flags) => {
                    out.extend_from_slice(&[1, channels]);
                    out.extend_from_slice(&flags.to_be_bytes());
                }
                ChannelOrder::Custom(mapping) => {
                    assert_eq!(mapping.len(), usize::from(channels), "one speaker a channel");
                    out.extend_from_slice(&[2, channels]);
                    out.extend_from_slice(mapping);
                }
            },
        }
    }

    fn emit_legacy(&self, format: SoundFormat, out: &mut Vec<u8>) {
        let size = u8::from(format.bits == 16);
        out.push(format.id << 4 | (format.rate & 3) << 2 | size << 1 | u8::from(format.channels == 2));
        let is_aac = format.id == SoundFormat::AAC;
        match self.packet {
            AudioPacket::SequenceStart(data) if is_aac => {
                out.push(0);
                out.extend_from_slice(data);
            }
            AudioPacket::Frame(data) => {
                if is_aac {
                    out.push(1);
                }
                out.extend_from_slice(data);
            }
            _ => panic!("legacy bodies know no such packet"),
        }
    }
}

/// The packets of one body, in order. Ends behind the first error.
#[derive(Clone, Debug)]
pub struct Audios<'a>(State<'a>);

#[derive(Clone, Debug)]
enum State<'a> {
    One(Audio<'a>),
    Enhanced { head: Head, cursor: Cursor<'a> },
    End,
}

impl<'a> Iterator for Audios<'a> {
    type Item = Result<Audio<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match std::mem::replace(&mut self.0, State::End) {
            State::One(audio) => Some(Ok(audio)),
            State::Enhanced { head, mut cursor } => {
                let audio = parse_track(head, &mut cursor);
                if audio.is_ok() && !cursor.is_empty() {
                    self.0 = State::Enhanced { head, cursor };
                }
                Some(audio)
            }
            State::End => None,
        }
    }
}

fn parse_track<'a>(head: Head, cursor: &mut Cursor<'a>) -> Result<Audio<'a>, Error> {
    let part = head.track(cursor)?;
    let payload = part.payload;
    let packet = match head.packet_type {
        SEQUENCE_START => AudioPacket::SequenceStart(payload.remainder()),
        CODED_FRAMES => AudioPacket::Frame(payload.remainder()),
        SEQUENCE_END => AudioPacket::SequenceEnd,
        MULTICHANNEL_CONFIG => parse_channels(payload)?,
        value => return Err(illegal("AudioPacketType", value, 0)),
    };
    Ok(Audio {
        codec: AudioCodec::Enhanced(part.fourcc),
        track: part.track,
        nanos: head.nanos,
        packet,
    })
}

fn parse_channels(mut payload: Cursor<'_>) -> Result<AudioPacket<'_>, Error> {
    let offset = payload.at;
    let order = payload.u8("AudioChannelOrder")?;
    let channels = payload.u8("channelCount")?;
    let order = match order {
        0 => ChannelOrder::Unspecified,
        1 => ChannelOrder::Native(u32::from_be_bytes(payload.array("audioChannelFlags")?)),
        2 => ChannelOrder::Custom(payload.take(channels.into(), "audioChannelMapping")?),
        value => return Err(illegal("AudioChannelOrder", value, offset)),
    };
    Ok(AudioPacket::MultichannelConfig { channels, order })
}

/// The `SoundFormat` that says "enhanced".
const EX_HEADER: u8 = 9;

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const MULTICHANNEL_CONFIG: u8 = 4;
const MULTITRACK: u8 = 5;
