//! Type 9: one video packet, or several tracks' packets of one type.

use super::enhanced::{self, Cursor, FourCc, Head, MultitrackType, illegal};
use crate::tag::Error;

/// `FrameType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    Key = 1,
    Inter = 2,
    DisposableInter = 3,
    GeneratedKey = 4,
    Command = 5,
}

/// How the codec is named: `CodecID` or `VideoFourCc`. Which codec that is is not decided here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    Legacy(u8),
    Enhanced(FourCc),
}

impl VideoCodec {
    pub const AVC: VideoCodec = VideoCodec::Legacy(7);
    /// By agreement among Chinese encoders and CDNs, from before E-RTMP.
    pub const HEVC_LEGACY: VideoCodec = VideoCodec::Legacy(12);
    pub const AVC1: VideoCodec = VideoCodec::Enhanced(*b"avc1");
    pub const HVC1: VideoCodec = VideoCodec::Enhanced(*b"hvc1");
    pub const AV01: VideoCodec = VideoCodec::Enhanced(*b"av01");
    pub const VP08: VideoCodec = VideoCodec::Enhanced(*b"vp08");
    pub const VP09: VideoCodec = VideoCodec::Enhanced(*b"vp09");

    /// Whether frames of this codec bring a composition time.
    fn is_reordered(self) -> bool {
        matches!(self, Self::AVC | Self::HEVC_LEGACY | Self::AVC1 | Self::HVC1) || self == Self::Enhanced(*b"vvc1")
    }
}

/// One track's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Video<'a> {
    pub frame_type: FrameType,
    pub codec: VideoCodec,
    /// `videoTrackId`; None outside multitrack bodies, which means track 0.
    pub track: Option<u8>,
    /// To be added to the message's time, nanoseconds; 0 in legacy bodies.
    pub nanos: u32,
    pub packet: VideoPacket<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoPacket<'a> {
    /// The configuration record.
    SequenceStart(&'a [u8]),
    /// `composition_millis` is presentation minus decode time. CodedFrames and CodedFramesX alike: zero is written as
    /// the latter.
    Frame {
        composition_millis: i32,
        data: &'a [u8],
    },
    SequenceEnd,
    /// AMF pairs, as `colorInfo` of HDR.
    Metadata(&'a [u8]),
    /// A descriptor as in MPEG-2 TS.
    Mpeg2TsSequenceStart(&'a [u8]),
    /// Of a frame of type Command: 0 and 1 begin and end a seek on the client.
    Command(u8),
}

impl<'a> Video<'a> {
    /// The packets of one message body.
    pub fn parse(body: &'a [u8]) -> Result<Videos<'a>, Error> {
        let mut cursor = Cursor::new(body);
        let first = cursor.u8("FrameType")?;
        let frame_type = match first >> 4 & 0x07 {
            // OBS leaves it out of the HDR metadata, which are no frame.
            0 if first == EX_HEADER | METADATA || first == EX_HEADER | MULTITRACK => FrameType::Key,
            1 => FrameType::Key,
            2 => FrameType::Inter,
            3 => FrameType::DisposableInter,
            4 => FrameType::GeneratedKey,
            5 => FrameType::Command,
            value => return Err(illegal("FrameType", value, 0)),
        };
        if first & EX_HEADER == 0 {
            let one = parse_legacy(frame_type, first & 0x0f, cursor)?;
            return Ok(Videos(State::One(one)));
        }
        let packet_type = first & 0x0f;
        if frame_type == FrameType::Command && packet_type != METADATA {
            return Ok(Videos(State::One(parse_command(packet_type, cursor)?)));
        }
        let head = enhanced::parse(packet_type, MULTITRACK, &mut cursor)?;
        Ok(Videos(State::Enhanced {
            frame_type,
            head,
            cursor,
        }))
    }

    /// Appends a body of this one packet; with a `track`, it is a OneTrack multitrack.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let layout = self.track.map(|_| MultitrackType::OneTrack);
        match self.codec {
            VideoCodec::Legacy(id) => self.emit_legacy(id, out),
            VideoCodec::Enhanced(fourcc) => {
                let head = self.head(layout);
                head.emit(self.first(), MULTITRACK, out);
                if let VideoPacket::Command(command) = self.packet {
                    return out.push(command);
                }
                head.emit_track(fourcc, self.track.unwrap_or(0), out, |out| {
                    self.emit_payload(head.packet_type, out);
                });
            }
        }
    }

    /// Appends one body of several tracks. Panics unless all are enhanced packets of one type and frame type, with
    /// `nanos` alike and, in ManyTracks, of one codec.
    pub fn emit_many(layout: MultitrackType, videos: &[Video<'_>], out: &mut Vec<u8>) {
        let mut head = videos[0].head(Some(layout));
        if videos.iter().any(|video| video.head(None).packet_type == CODED_FRAMES) && head.packet_type == CODED_FRAMES_X
        {
            head.packet_type = CODED_FRAMES;
        }
        head.emit(videos[0].first(), MULTITRACK, out);
        for video in videos {
            let VideoCodec::Enhanced(fourcc) = video.codec else {
                panic!("only enhanced packets can be multitrack");
            };
            assert!(
                head.fourcc.is_none_or(|common| common == fourcc),
                "ManyTracks has one codec"
            );
            assert_eq!((video.first(), video.nanos), (videos[0].first(), videos[0].nanos));
            head.emit_track(fourcc, video.track.unwrap_or(0), out, |out| {
                video.emit_payload(head.packet_type, out);
            });
        }
    }

    fn first(&self) -> u8 {
        EX_HEADER | (self.frame_type as u8) << 4
    }

    fn head(&self, multitrack: Option<MultitrackType>) -> Head {
        let reordered = self.codec.is_reordered();
        let packet_type = match self.packet {
            VideoPacket::SequenceStart(_) | VideoPacket::Command(_) => SEQUENCE_START,
            VideoPacket::Frame {
                composition_millis: 0, ..
            } if reordered => CODED_FRAMES_X,
            VideoPacket::Frame { .. } => CODED_FRAMES,
            VideoPacket::SequenceEnd => SEQUENCE_END,
            VideoPacket::Metadata(_) => METADATA,
            VideoPacket::Mpeg2TsSequenceStart(_) => MPEG2_TS_SEQUENCE_START,
        };
        let fourcc = match (self.codec, self.packet) {
            (_, VideoPacket::Command(_)) => None,
            _ if multitrack == Some(MultitrackType::ManyTracksManyCodecs) => None,
            (VideoCodec::Enhanced(fourcc), _) => Some(fourcc),
            (VideoCodec::Legacy(_), _) => None,
        };
        Head {
            packet_type,
            nanos: self.nanos,
            multitrack,
            fourcc,
        }
    }

    fn emit_payload(&self, packet_type: u8, out: &mut Vec<u8>) {
        match self.packet {
            VideoPacket::Frame {
                composition_millis,
                data,
            } => {
                if packet_type == CODED_FRAMES && self.codec.is_reordered() {
                    out.extend_from_slice(&si24(composition_millis));
                }
                out.extend_from_slice(data);
            }
            VideoPacket::SequenceStart(data)
            | VideoPacket::Metadata(data)
            | VideoPacket::Mpeg2TsSequenceStart(data) => out.extend_from_slice(data),
            VideoPacket::SequenceEnd => {}
            VideoPacket::Command(command) => out.push(command),
        }
    }

    fn emit_legacy(&self, id: u8, out: &mut Vec<u8>) {
        out.push((self.frame_type as u8) << 4 | id);
        let (packet_type, composition_millis, data) = match self.packet {
            VideoPacket::Command(command) => return out.push(command),
            VideoPacket::SequenceStart(data) => (0, 0, data),
            VideoPacket::Frame {
                composition_millis,
                data,
            } => (1, composition_millis, data),
            VideoPacket::SequenceEnd => (2, 0, &[][..]),
            VideoPacket::Metadata(_) | VideoPacket::Mpeg2TsSequenceStart(_) => {
                panic!("legacy bodies know no such packet")
            }
        };
        if self.codec.is_reordered() {
            out.push(packet_type);
            out.extend_from_slice(&si24(composition_millis));
        }
        out.extend_from_slice(data);
    }
}

/// The packets of one body, in order. Ends behind the first error.
#[derive(Clone, Debug)]
pub struct Videos<'a>(State<'a>);

#[derive(Clone, Debug)]
enum State<'a> {
    One(Video<'a>),
    Enhanced {
        frame_type: FrameType,
        head: Head,
        cursor: Cursor<'a>,
    },
    End,
}

impl<'a> Iterator for Videos<'a> {
    type Item = Result<Video<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match std::mem::replace(&mut self.0, State::End) {
            State::One(video) => Some(Ok(video)),
            State::Enhanced {
                frame_type,
                head,
                mut cursor,
            } => {
                let video = parse_track(frame_type, head, &mut cursor);
                if video.is_ok() && !cursor.is_empty() {
                    self.0 = State::Enhanced {
                        frame_type,
                        head,
                        cursor,
                    };
                }
                Some(video)
            }
            State::End => None,
        }
    }
}

fn parse_legacy<'a>(frame_type: FrameType, id: u8, mut cursor: Cursor<'a>) -> Result<Video<'a>, Error> {
    let codec = VideoCodec::Legacy(id);
    let packet = if frame_type == FrameType::Command {
        VideoPacket::Command(cursor.u8("VideoInfo command")?)
    } else if codec.is_reordered() {
        let offset = cursor.at;
        let packet_type = cursor.u8("AVCPacketType")?;
        // Some senders of an end of sequence leave the composition time away.
        if packet_type == 2 {
            VideoPacket::SequenceEnd
        } else {
            let composition_millis = cursor.composition_time()?;
            let data = cursor.remainder();
            match packet_type {
                0 => VideoPacket::SequenceStart(data),
                1 => VideoPacket::Frame {
                    composition_millis,
                    data,
                },
                value => return Err(illegal("AVCPacketType", value, offset)),
            }
        }
    } else {
        VideoPacket::Frame {
            composition_millis: 0,
            data: cursor.remainder(),
        }
    };
    Ok(Video {
        frame_type,
        codec,
        track: None,
        nanos: 0,
        packet,
    })
}

fn parse_command<'a>(packet_type: u8, mut cursor: Cursor<'a>) -> Result<Video<'a>, Error> {
    let mut head = Head {
        packet_type,
        nanos: 0,
        multitrack: None,
        fourcc: None,
    };
    enhanced::parse_modifiers(&mut head, &mut cursor)?;
    Ok(Video {
        frame_type: FrameType::Command,
        codec: VideoCodec::Enhanced(*b"\0\0\0\0"),
        track: None,
        nanos: head.nanos,
        packet: VideoPacket::Command(cursor.u8("VideoCommand")?),
    })
}

fn parse_track<'a>(frame_type: FrameType, head: Head, cursor: &mut Cursor<'a>) -> Result<Video<'a>, Error> {
    let part = head.track(cursor)?;
    let codec = VideoCodec::Enhanced(part.fourcc);
    let mut payload = part.payload;
    let packet = match head.packet_type {
        SEQUENCE_START => VideoPacket::SequenceStart(payload.remainder()),
        CODED_FRAMES => VideoPacket::Frame {
            composition_millis: if codec.is_reordered() {
                payload.composition_time()?
            } else {
                0
            },
            data: payload.remainder(),
        },
        CODED_FRAMES_X => VideoPacket::Frame {
            composition_millis: 0,
            data: payload.remainder(),
        },
        SEQUENCE_END => VideoPacket::SequenceEnd,
        METADATA => VideoPacket::Metadata(payload.remainder()),
        MPEG2_TS_SEQUENCE_START => VideoPacket::Mpeg2TsSequenceStart(payload.remainder()),
        value => return Err(illegal("VideoPacketType", value, 0)),
    };
    Ok(Video {
        frame_type,
        codec,
        track: part.track,
        nanos: head.nanos,
        packet,
    })
}

/// Beyond 24 bits (2.3 h) nothing plays; it stops at the bound so that the sign stays right.
fn si24(millis: i32) -> [u8; 3] {
    let [_, high, middle, low] = millis.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
    [high, middle, low]
}

const EX_HEADER: u8 = 0x80;

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MPEG2_TS_SEQUENCE_START: u8 = 5;
const MULTITRACK: u8 = 6;
