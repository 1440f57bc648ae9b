//! Any dialogue, and what reads its packets: whatever comes, and however it is cut, nothing panics or turns for ever, no more
//! is held than the bounds say, and the same is said.

use super::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, NOTHING_ASKED_MILLIS_MAX};
use super::tunnel::Decoder;
use super::wire::message::FRAME_HEAD_BYTES;
use super::wire::transport::Ports;
use super::{Begin, Error, Event, Lane, Output, Part, Refusal, Session};
use crate::media::Item;
use crate::noise::chosen_by;
use crate::rtp::wire::packet::is_rtcp;
use crate::rtp::wire::rtcp;
use crate::rtp::{self, Arrival, Input};
use crate::sdp::Description;

/// What a session holds beside an unfinished message: answers to one input, a nonce, addresses.
const BESIDE_BYTES_MAX: usize = 64 * 1024;
/// Capacities grow by doubling.
const BYTES_MAX: usize = 2 * (HEAD_BYTES_MAX + BODY_BYTES_MAX + FRAME_HEAD_BYTES) + BESIDE_BYTES_MAX;
/// From one packet to the next.
const PACKET_MICROS: i64 = 10_000;

/// Any bytes from the first of a connection. All is granted, but for what the bytes choose.
pub fn server(input: &[u8]) {
    let whole = life(session(), input, usize::MAX);
    let step = [1, 7, 100, 500][chosen_by(input, 4)];
    assert_eq!(life(session(), input, step), whole, "in steps of {step}");
}

/// Any bytes as an exported session.
pub fn exported(input: &[u8]) {
    let Ok(mut session) = Session::import(input) else {
        return;
    };
    let _ = session.handle_timeout(u64::MAX);
    while session.poll_output().is_some() {}
    assert!(session.bytes() <= BYTES_MAX);
    if session.is_portable() && !session.awaits_decision() {
        life(
            moved(&session),
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\0\0\x01a",
            usize::MAX,
        );
    }
}

/// Any bytes as what comes up a tunnel.
pub fn tunnel(input: &[u8]) {
    let decoded = |step: usize| {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let end = input
            .chunks(step)
            .find_map(|piece| decoder.decode(piece, &mut out).err());
        assert!(out.len() <= input.len() / 4 * 3 + 3);
        (out, end)
    };
    let whole = decoded(input.len().max(1));
    assert_eq!(decoded(1 + chosen_by(input, 9)), whole);
    let life = life(Session::tunnelled(0, 7, SEED), &whole.0, usize::MAX);
    assert!(life.said.starts_with(b"HTTP/1.0 200 OK\r\n"));
}

/// The session's id is what the seeds say.
const SEED: u64 = 0x5EED;

fn session() -> Session {
    Session::new(0, 7, SEED)
}

/// What came of one life.
#[derive(Debug, Default, PartialEq)]
struct Life {
    said: Vec<u8>,
    events: Vec<Event>,
    /// Medium, part and length of each.
    packets: Vec<(usize, Part, usize)>,
    /// Track, decode time and length of each.
    frames: Vec<(u32, i64, usize)>,
    end: Option<Error>,
}

/// A publisher's packets, as they are read.
#[derive(Default)]
struct Reading {
    input: Option<Input>,
    /// Which medium of the description is which of the input.
    numbers: Vec<Option<usize>>,
    now: i64,
}

impl Reading {
    fn announced(&mut self, description: &Description) {
        let (mut inputs, mut numbers) = (Vec::new(), Vec::new());
        for medium in &description.media {
            let format = medium.format.as_ref().filter(|_| inputs.len() < rtp::limits::MEDIA_MAX);
            numbers.push(format.map(|_| inputs.len()));
            inputs.extend(format.cloned());
        }
        self.numbers = numbers;
        self.input = Some(Input::new(&inputs, rtp::Options::default(), self.now));
    }

    fn packet(&mut self, medium: usize, part: Part, packet: &[u8], life: &mut Life) {
        self.now += PACKET_MICROS;
        let Some(input) = &mut self.input else { return };
        let Some(at) = self.numbers.get(medium).copied().flatten() else {
            return;
        };
        // Half of all publishers send datagrams: they wait for each other.
        let arrival = match life.events.len() % 2 {
            0 => Arrival::Interleaved,
            _ => Arrival::Datagram,
        };
        match part {
            Part::Rtp => input.rtp(at, self.now, arrival, packet),
            Part::Rtcp => input.rtcp(at, self.now, packet),
        }
        drain_frames(input, life);
        if input.poll_timeout() <= self.now {
            input.handle_timeout(self.now);
            assert!(input.poll_timeout() > self.now, "what is due is done");
            drain_frames(input, life);
        }
        while let Some((_, report)) = input.poll_report() {
            assert!(is_rtcp(report) && rtcp::parts(report).all(|part| part.is_ok()));
        }
        input.check_invariants();
    }

    fn end(&mut self, life: &mut Life) {
        if let Some(input) = &mut self.input {
            input.flush(self.now);
            drain_frames(input, life);
            input.check_invariants();
        }
    }
}

fn drain_frames(input: &mut Input, life: &mut Life) {
    while let Some(item) = input.poll() {
        if let Item::Frame(frame) = item {
            life.frames.push((frame.track, frame.dts, frame.data.len()));
        }
    }
}

fn life(mut session: Session, mut input: &[u8], step: usize) -> Life {
    let (mut life, mut reading) = (Life::default(), Reading::default());
    let turns_max = 8 * input.len() + 64;
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(turns <= turns_max, "it goes round");
        let part = &input[..input.len().min(step)];
        let taken = match session.handle_input(0, part) {
            Ok(taken) => taken,
            Err(error) => {
                assert!(session.is_closed() && session.poll_output().is_none());
                life.end = Some(error);
                reading.end(&mut life);
                return life;
            }
        };
        input = &input[taken..];
        let mut outputs = drain(&mut session, &mut reading, &mut life);
        assert!(session.bytes() <= BYTES_MAX, "{} bytes", session.bytes());
        if session.awaits_decision() {
            if matches!(life.events.last(), Some(Event::TunnelRequested(_))) {
                break;
            }
            if turns % 5 == 0 && session.is_portable() {
                session = moved(&session);
            }
            decide(&mut session, &life);
            outputs += 1 + drain(&mut session, &mut reading, &mut life);
        }
        if taken == 0 && outputs == 0 {
            assert!(input.is_empty(), "input is neither taken nor waits");
            break;
        }
        if turns % 16 == 0 && session.is_portable() {
            session = moved(&session);
        }
    }
    // Time passes: it is ended.
    if let Err(error) = session.handle_timeout(NOTHING_ASKED_MILLIS_MAX * 100) {
        assert!(session.is_closed());
        life.end = Some(error);
    }
    drain(&mut session, &mut reading, &mut life);
    reading.end(&mut life);
    life
}

/// By what is asked: the same for the same input, however it is cut.
fn decide(session: &mut Session, life: &Life) {
    let asked = life.events.last().expect("what is asked is an event");
    match (asked, life.events.len() % 8) {
        (Event::DescribeRequested { .. } | Event::AnnounceRequested { .. }, 7) => session.challenged(0),
        (Event::DescribeRequested { target, .. }, 6) => session.redirected(&target.path),
        (Event::DescribeRequested { .. }, _) => {
            session.described(&Description::parse(DESCRIBED).expect("a description"));
        }
        (Event::AnnounceRequested { .. }, 6) => session.refused(Refusal::NotNow, "not\r\nnow"),
        (Event::AnnounceRequested { .. }, _) => session.announced(),
        (Event::PortsRequested { .. }, 5) | (Event::GroupRequested { .. }, _) => session.transport_refused(),
        (Event::PortsRequested { .. }, _) => session.ports(Ports { rtp: 9000, rtcp: 9001 }),
        (Event::PlayRequested { .. }, 4) => session.refused(Refusal::InvalidRange, "no"),
        (Event::PlayRequested { lanes, range, .. }, _) => {
            let begin = |lane: &Lane| Begin {
                medium: lane.medium,
                sequence: 1,
                timestamp: 2,
            };
            session.playing(&lanes.iter().map(begin).collect::<Vec<_>>(), *range);
        }
        (Event::RecordRequested { .. }, _) => session.recording(),
        (other, _) => panic!("a decision about {other:?}"),
    }
}

const DESCRIBED: &[u8] = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 0 RTP/AVP 0\r\n";

fn drain(session: &mut Session, reading: &mut Reading, life: &mut Life) -> usize {
    let mut outputs = 0;
    while let Some(output) = session.poll_output() {
        outputs += 1;
        match output {
            Output::Transmit(bytes) => life.said.extend_from_slice(bytes),
            Output::Packet { medium, part, packet } => {
                life.packets.push((medium, part, packet.len()));
                reading.packet(medium, part, packet, life);
            }
            Output::Event(event) => {
                if let Event::AnnounceRequested { description, .. } = &event {
                    reading.announced(description);
                }
                life.events.push(event);
            }
        }
    }
    outputs
}

fn moved(session: &Session) -> Session {
    let mut bytes = Vec::new();
    session.export(&mut bytes);
    let moved = Session::import(&bytes).expect("what was exported is imported");
    let mut again = Vec::new();
    moved.export(&mut again);
    assert_eq!(bytes, again);
    moved
}

#[cfg(test)]
mod runs {
    use super::super::session::tests::scripts::dialogues;
    use super::*;
    use crate::damage::{Cost, damaged};
    use crate::rtp::wire::rtcp::{Ntp, SenderReport};

    const TOKENS: &[&[u8]] = &[
        b"$\0\0\x04",
        b"$\x01\xff\xff",
        b"\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n",
        b"PAUSE rtsp://h/live RTSP/1.0\r\nCSeq: 9\r\n\r\n",
        b"TEARDOWN rtsp://h/live/track0 RTSP/1.0\r\nCSeq: 9\r\n\r\n",
        b"Session: ",
        b"Content-Length: 65536\r\n",
        b"Content-Length: 4294967296\r\n",
        b"Transport: RTP/AVP/TCP;interleaved=254-255\r\n",
        b"Transport: RTP/AVP;multicast,RTP/AVP;client_port=65535,RTP/AVP/TCP\r\n",
        b"Range: npt=now-\r\n",
        b"Range: clock=19700101T000000Z-99991231T235959Z\r\n",
        b"Authorization: Digest nonce=\"\", uri=\"",
        b"Require: x\r\n",
        b"x-sessioncookie: a\r\n",
        b"/streamid=1",
        b"HTTP/1.0",
        b"\x80\x60\0\x01",
        b"\x81\xcb\0\x01",
        b"m=audio 0 RTP/AVP 0\r\n",
        b"a=rtpmap:96 H265/90000\r\n",
    ];

    const ANNOUNCED: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
        a=rtpmap:96 VIDEO/90000\r\na=control:streamid=0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 AUDIO\r\n\
        a=control:streamid=1\r\n";

    /// Its dialogue, then packets of both media and a report.
    fn publisher(video: (&str, &[u8]), audio: (&str, &[u8])) -> Vec<u8> {
        let sdp = ANNOUNCED.replace("VIDEO", video.0).replace("AUDIO", audio.0);
        let head = "rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n";
        let mut all = format!("ANNOUNCE {head}Content-Length: {}\r\n\r\n{sdp}", sdp.len());
        for medium in 0..2 {
            let (rtp, rtcp) = (2 * medium, 2 * medium + 1);
            let transport = format!("Transport: RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};mode=record\r\n");
            let set_up = head.replace("live", &format!("live/streamid={medium}"));
            all += &format!(
                "SETUP {set_up}{}{transport}\r\n",
                if medium == 0 { "" } else { "Session: ID\r\n" }
            );
        }
        all += &format!("RECORD {head}\r\n");
        let mut all = all.replace("Session: ID\r\n", &session_header()).into_bytes();
        let report = SenderReport {
            ssrc: 7,
            ntp: Ntp(1 << 60),
            rtp_time: 1,
            packets: 1,
            octets: 1,
        };
        let mut reported = Vec::new();
        rtcp::emit_sender_report(&report, &mut reported);
        rtcp::emit_goodbye(9, &mut reported);
        let mut lanes = [captured(video.1), captured(audio.1)];
        // Few packets, so that damage is found by the dialogue too.
        for number in 0..12 {
            for (medium, lane) in lanes.iter_mut().enumerate() {
                if let Some(mut packet) = lane.next() {
                    packet[1] = packet[1] & 0x80 | (96 + medium as u8);
                    packet.truncate(400);
                    framed(2 * medium as u8, &packet, &mut all);
                }
            }
            if number % 4 == 0 {
                framed(1, &reported, &mut all);
            }
        }
        all.extend(format!("TEARDOWN {head}\r\n").into_bytes());
        all
    }

    fn session_header() -> String {
        let said = life(session(), &dialogues()[0], usize::MAX).said;
        let said = String::from_utf8(said).unwrap();
        let line = said.lines().find(|line| line.starts_with("Session: ")).unwrap();
        format!("{}\r\n", line.split(';').next().unwrap())
    }

    fn framed(channel: u8, packet: &[u8], out: &mut Vec<u8>) {
        let [high, low] = (packet.len() as u16).to_be_bytes();
        out.extend_from_slice(&[b'$', channel, high, low]);
        out.extend_from_slice(packet);
    }

    /// Packets of a capture, each behind its length.
    fn captured(mut rest: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<2>()?;
            let (packet, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = behind;
            Some(packet.to_vec())
        })
    }

    macro_rules! capture {
        ($name:literal) => {
            &include_bytes!(concat!("../rtp/unpack/testdata/", $name, ".rtp"))[..]
        };
    }

    fn seeds() -> Vec<Vec<u8>> {
        let mut seeds = dialogues();
        const AAC: &str =
            "MPEG4-GENERIC/44100/2\r\na=fmtp:97 sizelength=13;indexlength=3;indexdeltalength=3;config=1210";
        for (video, audio) in [
            (("H264", capture!("h264-inband")), (AAC, capture!("aac-gst"))),
            (("H265", capture!("hevc-gst")), ("OPUS/48000/2", capture!("opus"))),
            (("VP8", capture!("vp8")), ("PCMU/8000", capture!("ulaw"))),
            (("VP9", capture!("vp9-gst")), ("AC3/48000", capture!("ac3"))),
        ] {
            seeds.push(publisher(video, audio));
        }
        seeds.push(b"GET /live HTTP/1.0\r\nx-sessioncookie: abc\r\n\r\n".to_vec());
        seeds.push(b"POST /live HTTP/1.0\r\nx-sessioncookie: abc\r\nContent-Length: 32767\r\n\r\nT1BU".to_vec());
        seeds
    }

    /// Damage would find nothing where the seeds are not understood.
    #[test]
    fn what_is_damaged_is_understood_before() {
        let seeds = seeds();
        let lives: Vec<Life> = seeds.iter().map(|seed| life(session(), seed, usize::MAX)).collect();
        let has = |one: fn(&Event) -> bool| lives.iter().filter(|life| life.events.iter().any(one)).count();
        assert!(has(|event| matches!(event, Event::PlayRequested { .. })) >= 3);
        assert!(has(|event| matches!(event, Event::RecordRequested { .. })) >= 7);
        assert!(has(|event| matches!(event, Event::TunnelRequested(_))) == 2);
        for life in lives.iter().filter(|life| life.packets.len() > 5) {
            assert!(life.frames.len() > 2, "{} frames", life.frames.len());
        }
        let lengths: Vec<usize> = lives.iter().map(|life| life.packets.len()).collect();
        assert!(lengths.iter().filter(|length| **length > 5).count() >= 4, "{lengths:?}");
    }

    #[test]
    fn rtsp_server() {
        damaged("rtsp_server", Cost::Heavy, &seeds(), TOKENS, server);
    }

    #[test]
    fn rtsp_tunnel() {
        use base64::Engine;
        let encoded = |seed: &Vec<u8>| {
            let pieces = seed
                .chunks(600)
                .map(|piece| base64::engine::general_purpose::STANDARD.encode(piece));
            pieces.collect::<String>().into_bytes()
        };
        let seeds: Vec<Vec<u8>> = dialogues().iter().map(encoded).collect();
        damaged(
            "rtsp_tunnel",
            Cost::Heavy,
            &seeds,
            &[b"=", b"==", b"\r\n", b"T1BU", b"*"],
            tunnel,
        );
    }

    #[test]
    fn rtsp_exported() {
        let mut seeds = Vec::new();
        for input in self::seeds() {
            for cut in [
                0,
                60,
                200,
                input.len() / 3,
                input.len() / 2,
                input.len() * 2 / 3,
                input.len(),
            ] {
                let mut session = session();
                let (mut reading, mut life) = (Reading::default(), Life::default());
                let mut rest = &input[..cut.min(input.len())];
                loop {
                    let taken = session.handle_input(0, rest).unwrap();
                    rest = &rest[taken..];
                    let outputs = drain(&mut session, &mut reading, &mut life);
                    if session.is_portable() && (session.awaits_decision() || rest.is_empty()) {
                        let mut bytes = Vec::new();
                        session.export(&mut bytes);
                        seeds.push(bytes);
                    }
                    if session.awaits_decision() && !matches!(life.events.last(), Some(Event::TunnelRequested(_))) {
                        decide(&mut session, &life);
                        drain(&mut session, &mut reading, &mut life);
                    } else if taken == 0 && outputs == 0 {
                        break;
                    }
                }
            }
        }
        assert!(seeds.len() > 50, "{} sessions", seeds.len());
        damaged(
            "rtsp_exported",
            Cost::Light,
            &seeds,
            &[b"\x02", b"\0\0\0\x10"],
            exported,
        );
    }
}
