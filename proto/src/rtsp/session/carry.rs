//! A session as bytes, to move between shards and processes: fields in a fixed order, big-endian, lengths before what has
//! one. Not a format for storage: [`LAYOUT`] changes with the fields.
//!
//! Not every state moves ([`Session::is_portable`]): what is asked of the appliance in the middle of a SETUP or DESCRIBE is
//! answered where it was asked.

use std::net::IpAddr;

use super::dialogue::{Asked, Presentation, What};
use super::{Carriage, Group, Lane, Ports, Purpose, Session, Stage};
use crate::rtsp::auth::{self, Freshness};
use crate::rtsp::error::ImportError;
use crate::rtsp::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, LANES_MAX, URL_BYTES_MAX};
use crate::rtsp::wire::message::Reader;
use crate::rtsp::wire::url::Target;

const LAYOUT: u8 = 2;
/// Media of a description.
const MEDIA_MAX: u32 = crate::sdp::limits::MEDIA_MAX as u32;

impl Session {
    /// Whether it can be exported now.
    pub fn is_portable(&self) -> bool {
        let waits = self.asked.as_ref().map(|asked| &asked.what);
        self.is_drained() && matches!(waits, None | Some(What::Announce { .. } | What::Play | What::Record))
    }

    /// Appends the session to `out`.
    ///
    /// # Panics
    /// Unless it [is portable](Session::is_portable).
    pub fn export(&self, out: &mut Vec<u8>) {
        assert!(self.is_portable(), "a session moves between two messages");
        out.push(LAYOUT);
        for number in [self.seed, self.heard_ms, self.began_ms, self.message_ms, self.wall_ms] {
            put_u64(out, number);
        }
        for number in [self.nonce_number, self.nonce_ms] {
            put_u64(out, number);
        }
        out.push(u8::from(self.ran));
        out.push(u8::from(self.opens_tunnel));
        put_u32(out, self.ids);
        put_option(out, self.sequence.as_ref(), |out, sequence| put_u32(out, *sequence));
        put_option(out, self.id.as_ref(), |out, id| put_bytes(out, id.as_bytes()));
        put_bytes(out, self.user_agent.as_bytes());
        let (offset, line_ends, unfinished) = self.reader.unfinished();
        put_u64(out, offset);
        put_u32(out, line_ends);
        put_bytes(out, unfinished);
        match &self.stage {
            Stage::Fresh => out.push(0),
            Stage::Known(known) => {
                out.push(1);
                put_presentation(out, known);
            }
            Stage::Running(running) => {
                out.push(2);
                put_presentation(out, running);
            }
            Stage::Closed => out.push(3),
        }
        put_option(out, self.asked.as_ref(), put_asked);
    }

    /// Reads what [`Session::export`] wrote and nothing else. Its counters begin anew.
    ///
    /// # Errors
    /// The bytes are of another layout, or no such session.
    pub fn import(bytes: &[u8]) -> Result<Session, ImportError> {
        let mut source = Source { bytes, at: 0 };
        let found = source.u8()?;
        if found != LAYOUT {
            let expected = LAYOUT;
            return Err(ImportError::Layout { found, expected });
        }
        let seed = source.u64()?;
        let (heard_ms, began_ms, message_ms) = (source.u64()?, source.u64()?, source.u64()?);
        let wall_ms = source.u64()?;
        let mut session = Session::new(began_ms, wall_ms, seed);
        (session.heard_ms, session.message_ms) = (heard_ms, message_ms);
        (session.nonce_number, session.nonce_ms) = (source.u64()?, source.u64()?);
        session.nonce = auth::nonce(seed, session.nonce_number);
        session.ran = source.flag()?;
        session.opens_tunnel = source.flag()?;
        session.ids = source.u32()?;
        session.sequence = source.option(Source::u32)?;
        session.id = source.option(Source::text)?;
        session.user_agent = source.text()?;
        let (offset, line_ends) = (source.u64()?, source.u32()?);
        let unfinished = source.slice()?;
        let reader = Reader::resumed(offset, line_ends, unfinished);
        session.reader = reader.ok_or(ImportError::Invalid { offset: source.at })?;
        session.stage = match source.u8()? {
            0 => Stage::Fresh,
            1 => Stage::Known(source.presentation()?),
            2 => Stage::Running(source.presentation()?),
            3 => Stage::Closed,
            _ => return Err(source.invalid()),
        };
        session.asked = source.option(Source::asked)?;
        let fits = match (&session.asked, &session.stage) {
            (Some(asked), Stage::Known(_)) => matches!(asked.what, What::Play | What::Record | What::Announce { .. }),
            (Some(asked), Stage::Fresh) => matches!(asked.what, What::Announce { .. }),
            (Some(_), Stage::Running(_) | Stage::Closed) => false,
            (None, _) => true,
        };
        if !fits || source.at != bytes.len() {
            return Err(source.invalid());
        }
        Ok(session)
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

fn put_option<T: ?Sized>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_target(out: &mut Vec<u8>, target: &Target) {
    put_bytes(out, target.path.as_bytes());
    put_bytes(out, target.query.as_bytes());
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put_u32(out, texts.len() as u32);
    for text in texts {
        put_bytes(out, text.as_bytes());
    }
}

fn put_ports(out: &mut Vec<u8>, ports: Ports) {
    out.extend_from_slice(&ports.rtp.to_be_bytes());
    out.extend_from_slice(&ports.rtcp.to_be_bytes());
}

fn put_presentation(out: &mut Vec<u8>, presentation: &Presentation) {
    put_target(out, &presentation.target);
    out.push(match presentation.purpose {
        Purpose::Play => 0,
        Purpose::Record => 1,
    });
    put_texts(out, &presentation.controls);
    put_u32(out, presentation.lanes.len() as u32);
    for lane in &presentation.lanes {
        put_u32(out, lane.medium as u32);
        match lane.carriage {
            Carriage::Interleaved { rtp, rtcp } => out.extend_from_slice(&[0, rtp, rtcp]),
            Carriage::Datagrams { peer, ours } => {
                out.push(1);
                put_ports(out, peer);
                put_ports(out, ours);
            }
            Carriage::Multicast(group) => {
                out.push(2);
                put_bytes(out, group.address.to_string().as_bytes());
                put_ports(out, group.ports);
                out.push(group.ttl);
            }
        }
    }
    put_u32(out, presentation.urls.len() as u32);
    for (medium, url) in &presentation.urls {
        put_u32(out, *medium as u32);
        put_bytes(out, url.as_bytes());
    }
}

fn put_asked(out: &mut Vec<u8>, asked: &Asked) {
    put_u32(out, asked.sequence);
    out.push(match asked.freshness {
        Freshness::First => 0,
        Freshness::Stale => 1,
    });
    match &asked.what {
        What::Announce { target, controls } => {
            out.push(0);
            put_target(out, target);
            put_texts(out, controls);
        }
        What::Play => out.push(1),
        What::Record => out.push(2),
        other => unreachable!("not portable: {other:?}"),
    }
}

struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Source<'a> {
    fn invalid(&self) -> ImportError {
        ImportError::Invalid { offset: self.at }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ImportError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ImportError::Truncated {
            offset: self.bytes.len(),
        })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], ImportError> {
        let taken = self.take(LENGTH)?;
        Ok(taken.try_into().expect("take gives the length asked for"))
    }

    fn u8(&mut self) -> Result<u8, ImportError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, ImportError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, ImportError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, ImportError> {
        self.array().map(u64::from_be_bytes)
    }

    fn flag(&mut self) -> Result<bool, ImportError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid()),
        }
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ImportError>) -> Result<Option<T>, ImportError> {
        self.flag()?.then(|| read(self)).transpose()
    }

    fn slice(&mut self) -> Result<&'a [u8], ImportError> {
        let length = self.u32()? as usize;
        if length > HEAD_BYTES_MAX + BODY_BYTES_MAX {
            return Err(self.invalid());
        }
        self.take(length)
    }

    fn text(&mut self) -> Result<String, ImportError> {
        let bytes = self.slice()?;
        if bytes.len() > 2 * URL_BYTES_MAX {
            return Err(self.invalid());
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| self.invalid())
    }

    fn count(&mut self, count_max: u32) -> Result<u32, ImportError> {
        let count = self.u32()?;
        if count > count_max {
            return Err(self.invalid());
        }
        Ok(count)
    }

    fn texts(&mut self) -> Result<Vec<String>, ImportError> {
        let count = self.count(MEDIA_MAX)?;
        (0..count).map(|_| self.text()).collect()
    }

    fn target(&mut self) -> Result<Target, ImportError> {
        Ok(Target {
            path: self.text()?,
            query: self.text()?,
        })
    }

    fn ports(&mut self) -> Result<Ports, ImportError> {
        Ok(Ports {
            rtp: self.u16()?,
            rtcp: self.u16()?,
        })
    }

    fn lane(&mut self) -> Result<Lane, ImportError> {
        let medium = self.count(MEDIA_MAX - 1)? as usize;
        let carriage = match self.u8()? {
            0 => Carriage::Interleaved {
                rtp: self.u8()?,
                rtcp: self.u8()?,
            },
            1 => Carriage::Datagrams {
                peer: self.ports()?,
                ours: self.ports()?,
            },
            2 => Carriage::Multicast(Group {
                address: self.text()?.parse::<IpAddr>().map_err(|_| self.invalid())?,
                ports: self.ports()?,
                ttl: self.u8()?,
            }),
            _ => return Err(self.invalid()),
        };
        Ok(Lane { medium, carriage })
    }

    fn presentation(&mut self) -> Result<Presentation, ImportError> {
        let target = self.target()?;
        let purpose = match self.u8()? {
            0 => Purpose::Play,
            1 => Purpose::Record,
            _ => return Err(self.invalid()),
        };
        let controls = self.texts()?;
        let lanes = self.count(LANES_MAX as u32)?;
        let lanes = (0..lanes).map(|_| self.lane()).collect::<Result<Vec<_>, _>>()?;
        let urls = self.count(LANES_MAX as u32)?;
        let url = |source: &mut Self| Ok((source.count(MEDIA_MAX - 1)? as usize, source.text()?));
        let urls = (0..urls).map(|_| url(self)).collect::<Result<Vec<_>, _>>()?;
        Ok(Presentation {
            target,
            purpose,
            controls,
            lanes,
            urls,
        })
    }

    fn asked(&mut self) -> Result<Asked, ImportError> {
        let sequence = self.u32()?;
        let freshness = match self.u8()? {
            0 => Freshness::First,
            1 => Freshness::Stale,
            _ => return Err(self.invalid()),
        };
        let what = match self.u8()? {
            0 => What::Announce {
                target: self.target()?,
                controls: self.texts()?,
            },
            1 => What::Play,
            2 => What::Record,
            _ => return Err(self.invalid()),
        };
        Ok(Asked {
            sequence,
            freshness,
            what,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::{Event, Output};

    const ANNOUNCE: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
                            a=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";

    fn request(method: &str, tail: &str, headers: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("{method} rtsp://h/live{tail} RTSP/1.0\r\nCSeq: 7\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    /// What a session says to `input`, moved before each byte of it if it can be.
    fn said(mut session: Session, input: &[u8], moves: bool) -> (Session, Vec<u8>, Vec<String>) {
        let (mut bytes, mut events) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < input.len() {
            if moves && session.is_portable() {
                let mut exported = Vec::new();
                session.export(&mut exported);
                session = Session::import(&exported).unwrap();
                let mut again = Vec::new();
                session.export(&mut again);
                assert_eq!(again, exported);
            }
            let taken = session.handle_input(1, &input[at..=at]).unwrap();
            at += taken;
            let mut decide = None;
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Transmit(part) => bytes.extend_from_slice(part),
                    Output::Packet { medium, part, packet } => events.push(format!("{medium} {part:?} {packet:?}")),
                    Output::Event(event) => {
                        events.push(format!("{event:?}"));
                        decide = Some(event);
                    }
                }
            }
            if moves && session.is_portable() {
                let mut exported = Vec::new();
                session.export(&mut exported);
                session = Session::import(&exported).unwrap();
            }
            match decide {
                Some(Event::AnnounceRequested { .. }) => session.announced(),
                Some(Event::RecordRequested { .. }) => session.recording(),
                _ => continue,
            }
            while let Some(output) = session.poll_output() {
                if let Output::Transmit(part) = output {
                    bytes.extend_from_slice(part);
                }
            }
        }
        (session, bytes, events)
    }

    #[test]
    fn a_session_that_moves_before_every_byte_says_the_same() {
        let mut input = request("ANNOUNCE", "?pass=x", "Content-Type: application/sdp\r\n", ANNOUNCE);
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=4-5;mode=record\r\n";
        input.extend(request("SETUP", "/streamid=0", transport, ""));
        input.extend(request("RECORD", "", "", ""));
        input.extend(b"$\x04\x00\x03abc$\x05\x00\x01r");
        input.extend(request("GET_PARAMETER", "", "", ""));
        let stays = said(Session::new(0, 5, 9), &input, false);
        let moves = said(Session::new(0, 5, 9), &input, true);
        assert_eq!((&stays.1, &stays.2), (&moves.1, &moves.2));
        assert!(stays.2.iter().any(|event| event.contains("Rtp ")), "{:?}", stays.2);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        stays.0.export(&mut one);
        moves.0.export(&mut other);
        assert_eq!(one, other);
    }

    #[test]
    fn what_is_no_session_is_refused() {
        let (session, ..) = said(
            Session::new(0, 5, 9),
            &request("ANNOUNCE", "", "Content-Type: application/sdp\r\n", ANNOUNCE),
            false,
        );
        let mut bytes = Vec::new();
        session.export(&mut bytes);
        for end in 0..bytes.len() {
            assert!(Session::import(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(session) = Session::import(&damaged) {
                    assert!(session.is_portable() || session.is_closed());
                }
            }
        }
        bytes.push(0);
        assert!(Session::import(&bytes).is_err());
    }
}
