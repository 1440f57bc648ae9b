//! How librtmp writes, to the byte, and what OBS says through it: for publishers whose bytes are the point.
//!
//! Reconstructed from what is public of OBS 30 and 31 (its librtmp and its FLV writer), not captured: the order of the
//! messages, their chunk streams and header formats, field names and their order, and transaction numbers are theirs.
//! OBS offers no list of codecs in `connect`, sends enhanced packets all the same, and says its metadata once.

use std::collections::BTreeMap;

use penstock_proto::tag::amf0::Value;

use super::flv::{AUDIO, SCRIPT, Tag, VIDEO};

/// Which header librtmp is asked for; it makes a medium one smaller where the last message of the channel allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Large,
    Medium,
}

/// What was last sent on a channel, as librtmp calls a chunk stream.
#[derive(Debug, Clone, Copy)]
struct Last {
    time: u32,
    bytes: usize,
    kind: u8,
}

/// The sending half of librtmp.
#[derive(Debug)]
struct Librtmp {
    chunk_bytes: usize,
    channels: BTreeMap<u8, Last>,
}

/// A message but for its body.
#[derive(Debug, Clone, Copy)]
struct Envelope {
    header: Header,
    channel: u8,
    kind: u8,
    time: u32,
    stream: u32,
}

impl Librtmp {
    fn message(&mut self, envelope: Envelope, body: &[u8], out: &mut Vec<u8>) {
        let Envelope {
            header,
            channel,
            kind,
            time,
            stream,
        } = envelope;
        let mut format = 0;
        let mut before = 0;
        if let (Header::Medium, last) = (header, self.channels.get(&channel)) {
            format = 1;
            if let Some(last) = last {
                if (last.bytes, last.kind) == (body.len(), kind) {
                    // The time may be left out as well when it is the last one's.
                    format = if last.time == time { 3 } else { 2 };
                }
                before = last.time;
            }
        }
        // Time that falls wraps, and is written with the extended stamp.
        let field = time.wrapping_sub(before);
        let is_extended = field >= EXTENDED;
        out.push(format << 6 | channel);
        if format < 3 {
            out.extend_from_slice(&field.min(EXTENDED).to_be_bytes()[1..]);
        }
        if format < 2 {
            out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
            out.push(kind);
        }
        if format == 0 {
            out.extend_from_slice(&stream.to_le_bytes());
        }
        if format < 3 && is_extended {
            out.extend_from_slice(&field.to_be_bytes());
        }
        for (nth, part) in body.chunks(self.chunk_bytes).enumerate() {
            if nth > 0 {
                out.push(3 << 6 | channel);
                if is_extended {
                    out.extend_from_slice(&field.to_be_bytes());
                }
            }
            out.extend_from_slice(part);
        }
        let bytes = body.len();
        self.channels.insert(channel, Last { time, bytes, kind });
    }
}

/// OBS Studio as a publisher. Each step appends what it sends; the answers between them are the caller's business.
#[derive(Debug)]
pub struct Obs {
    link: Librtmp,
    app: String,
    url: String,
    key: String,
    invokes: f64,
}

impl Obs {
    /// `key` is the field of that name in its settings, query and all.
    pub fn new(host: &str, app: &str, key: &str) -> Obs {
        Obs {
            link: Librtmp {
                chunk_bytes: 128,
                channels: BTreeMap::new(),
            },
            app: app.to_string(),
            url: format!("rtmp://{host}/{app}"),
            key: key.to_string(),
            invokes: 0.0,
        }
    }

    /// C0 and C1: milliseconds of the machine's uptime, no version, noise.
    pub fn hello() -> Vec<u8> {
        let mut bytes = vec![3];
        bytes.extend_from_slice(&3_600_000_u32.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let mut noise = 12_345_u32;
        while bytes.len() < 1 + 1536 {
            noise = noise.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            bytes.push((noise >> 16) as u8);
        }
        bytes
    }

    /// Behind the handshake: the chunk size, ahead of `connect`.
    pub fn connect(&mut self, out: &mut Vec<u8>) {
        let size = Envelope {
            header: Header::Large,
            channel: 2,
            kind: 1,
            time: 0,
            stream: 0,
        };
        self.link.chunk_bytes = 4096;
        self.link.message(size, &4096_u32.to_be_bytes(), out);
        let text = |name: &str, value: &str| (name.to_string(), Value::from(value));
        let object = Value::Object(vec![
            text("app", &self.app),
            text("type", "nonprivate"),
            text("flashVer", "FMLE/3.0 (compatible; FMSc/1.0)"),
            text("swfUrl", &self.url),
            text("tcUrl", &self.url),
        ]);
        self.invoke(Header::Large, "connect", &[object], out);
    }

    /// Behind the answer to `connect`.
    pub fn create(&mut self, out: &mut Vec<u8>) {
        let key = Value::from(self.key.as_str());
        self.invoke(Header::Medium, "releaseStream", &[Value::Null, key.clone()], out);
        self.invoke(Header::Medium, "FCPublish", &[Value::Null, key], out);
        self.invoke(Header::Medium, "createStream", &[Value::Null], out);
    }

    /// Behind the answer to `createStream`, on the channel of the media.
    pub fn publish(&mut self, out: &mut Vec<u8>) {
        self.invokes += 1.0;
        let mut body = Vec::new();
        for value in [
            "publish".into(),
            self.invokes.into(),
            Value::Null,
            self.key.as_str().into(),
            "live".into(),
        ] {
            value.emit(&mut body);
        }
        let envelope = Envelope {
            header: Header::Large,
            channel: 4,
            kind: 20,
            time: 0,
            stream: 1,
        };
        self.link.message(envelope, &body, out);
    }

    /// One tag of its FLV writer: sound and pictures share the channel.
    pub fn tag(&mut self, tag: &Tag, out: &mut Vec<u8>) {
        let header = match tag.kind {
            AUDIO | VIDEO if tag.time > 0 => Header::Medium,
            _ => Header::Large,
        };
        let envelope = Envelope {
            header,
            channel: 4,
            kind: tag.kind,
            time: tag.time,
            stream: 1,
        };
        self.link.message(envelope, &tag.body, out);
    }

    pub fn end(&mut self, out: &mut Vec<u8>) {
        let key = Value::from(self.key.as_str());
        self.invoke(Header::Medium, "FCUnpublish", &[Value::Null, key], out);
        self.invoke(Header::Medium, "deleteStream", &[Value::Null, 1.0.into()], out);
    }

    fn invoke(&mut self, header: Header, name: &str, values: &[Value], out: &mut Vec<u8>) {
        self.invokes += 1.0;
        let mut body = Vec::new();
        Value::from(name).emit(&mut body);
        Value::from(self.invokes).emit(&mut body);
        for value in values {
            value.emit(&mut body);
        }
        let envelope = Envelope {
            header,
            channel: 3,
            kind: 20,
            time: 0,
            stream: 0,
        };
        self.link.message(envelope, &body, out);
    }
}

/// OBS's `onMetaData`, for a picture codec by the number it writes: 7, or the fourCC's four bytes.
pub fn metadata(video_codec: f64, encoder: &str) -> Tag {
    let mut members: Vec<(String, Value)> = [
        ("duration", 0.0),
        ("fileSize", 0.0),
        ("width", 640.0),
        ("height", 360.0),
        ("videocodecid", video_codec),
        ("videodatarate", 2500.0),
        ("framerate", 25.0),
        ("audiocodecid", 10.0),
        ("audiodatarate", 160.0),
        ("audiosamplerate", 48_000.0),
        ("audiosamplesize", 16.0),
        ("audiochannels", 2.0),
    ]
    .map(|(name, number)| (name.to_string(), number.into()))
    .to_vec();
    let layouts = ["stereo", "2.1", "3.1", "4.0", "4.1", "5.1", "7.1"];
    members.extend(layouts.map(|name| (name.to_string(), (name == "stereo").into())));
    members.push(("encoder".to_string(), encoder.into()));
    let mut body = Vec::new();
    Value::from("@setDataFrame").emit(&mut body);
    Value::from("onMetaData").emit(&mut body);
    Value::EcmaArray(members).emit(&mut body);
    Tag {
        kind: SCRIPT,
        time: 0,
        body,
    }
}

/// OBS's HDR description of a picture track: a frame type of 0, which no specification has.
pub fn color(fourcc: &[u8; 4]) -> Tag {
    let numbers = |names: &[(&str, f64)]| {
        let members = names.iter().map(|(name, number)| (name.to_string(), (*number).into()));
        Value::Object(members.collect())
    };
    let config = numbers(&[
        ("bitDepth", 10.0),
        ("colorPrimaries", 9.0),
        ("transferCharacteristics", 16.0),
        ("matrixCoefficients", 9.0),
    ]);
    let range = numbers(&[("maxLuminance", 1000.0), ("minLuminance", 0.0)]);
    let mut body = [&[0x84][..], fourcc].concat();
    Value::from("colorInfo").emit(&mut body);
    Value::Object(vec![
        ("colorConfig".to_string(), config),
        ("hdrMdcv".to_string(), range),
    ])
    .emit(&mut body);
    Tag {
        kind: VIDEO,
        time: 0,
        body,
    }
}

/// A time field that says: 32 bits follow.
const EXTENDED: u32 = 0x00FF_FFFF;
