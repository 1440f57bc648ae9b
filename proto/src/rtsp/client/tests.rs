//! Scripted peers: what a camera sends, and what is to be done about it, line by line; a file for each kind.
//!
//! A script's lines by their first letter: `@` the address, how packets are to come and how many pairs of ports there are, `<` the server's message (`{length}`
//! stands for its body's), `$` its interleaved frame (channel, bytes in hexadecimal, how often), `+` so many ms pass, `o` the connection
//! is there, `x` it ended, `u` a packet came by UDP, `n` there are no ports, `c` the pull is closed. `>` is what we send, `=`
//! what the driver is told, `!` how it ends. `#` is for the reader.

use super::*;

pub(super) const SCRIPTS: &[(&str, &str)] = &[
    ("basic", include_str!("testdata/basic.txt")),
    ("bosch", include_str!("testdata/bosch.txt")),
    ("closes-with-401", include_str!("testdata/closes-with-401.txt")),
    ("dahua", include_str!("testdata/dahua.txt")),
    ("dahua-recorder", include_str!("testdata/dahua-recorder.txt")),
    ("escam", include_str!("testdata/escam.txt")),
    ("hikvision", include_str!("testdata/hikvision.txt")),
    ("hikvision-firewall", include_str!("testdata/hikvision-firewall.txt")),
    ("keep-alive", include_str!("testdata/keep-alive.txt")),
    ("mistserver", include_str!("testdata/mistserver.txt")),
    ("no-ports", include_str!("testdata/no-ports.txt")),
    ("redirect", include_str!("testdata/redirect.txt")),
    ("stale", include_str!("testdata/stale.txt")),
    ("tapo", include_str!("testdata/tapo.txt")),
    ("various", include_str!("testdata/various.txt")),
    ("wrong-password", include_str!("testdata/wrong-password.txt")),
];

/// One thing that happens to the session.
#[derive(Clone, Debug)]
enum Act {
    Bytes(Vec<u8>),
    Wait(u64),
    Connected,
    Disconnected,
    Datagram,
    NoPorts,
    Close,
}

/// What happens, each with the line of the script that it ends on, and what is to come of it.
struct Script {
    address: Address,
    preference: Preference,
    pairs: u16,
    acts: Vec<(usize, Act)>,
    /// Before the first act, then behind each.
    expected: Vec<Vec<String>>,
}

impl Script {
    fn parse(text: &str) -> Script {
        let mut lines = text.lines().enumerate().peekable();
        let mut begun: Option<(Address, Preference, u16)> = None;
        let (mut acts, mut expected) = (Vec::new(), vec![Vec::new()]);
        while let Some((at, line)) = lines.next() {
            let (letter, rest) = line.split_at(line.len().min(1));
            let rest = rest.trim();
            let act = match letter {
                "@" => {
                    let mut words = rest.split(' ');
                    let address = Address::parse(words.next().unwrap()).unwrap();
                    let preference = match words.next() {
                        Some("tcp") => Preference::Tcp,
                        Some("udp") => Preference::Udp,
                        _ => Preference::Auto,
                    };
                    let pairs = words.next().map_or(0, |pairs| pairs.parse().unwrap());
                    begun = Some((address, preference, pairs));
                    continue;
                }
                ">" | "=" | "!" => {
                    expected.last_mut().unwrap().push(line.trim_end().to_owned());
                    continue;
                }
                "<" => {
                    let mut message = vec![rest.to_owned()];
                    while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with('<')) {
                        message.push(line[1..].trim_start_matches(' ').to_owned());
                    }
                    Act::Bytes(message_of(&message))
                }
                "$" => {
                    let (channel, packet) = rest.split_once(' ').expect("a channel and a packet");
                    let (packet, times) = packet.split_once('*').unwrap_or((packet, "1"));
                    let packet = crate::codec::cases::hex(packet).repeat(times.parse().unwrap());
                    let [high, low] = (packet.len() as u16).to_be_bytes();
                    Act::Bytes([&[b'$', channel.parse().unwrap(), high, low], &packet[..]].concat())
                }
                "+" => Act::Wait(rest.parse().unwrap()),
                "o" => Act::Connected,
                "x" => Act::Disconnected,
                "u" => Act::Datagram,
                "n" => Act::NoPorts,
                "c" => Act::Close,
                _ => continue,
            };
            acts.push((at + 1, act));
            expected.push(Vec::new());
        }
        let (address, preference, pairs) = begun.expect("a script begins with an address");
        Script {
            address,
            preference,
            pairs,
            acts,
            expected,
        }
    }

    /// What comes of each act, when the server's bytes come so many at a time.
    fn run(&self, step: usize) -> Vec<Vec<String>> {
        let mut session = Session::new(1_000, self.address.clone(), self.preference, 7);
        let (mut now, mut pairs) = (1_000, self.pairs);
        let mut all = vec![drained(&mut session, &mut pairs)];
        for (_, act) in &self.acts {
            let mut said = Vec::new();
            let result = match act {
                Act::Bytes(bytes) => bytes.chunks(step).try_for_each(|mut piece| {
                    loop {
                        let taken = session.handle_input(now, piece)?;
                        piece = &piece[taken..];
                        let more = drained(&mut session, &mut pairs);
                        let is_quiet = more.is_empty() && taken == 0;
                        said.extend(more);
                        if piece.is_empty() || is_quiet {
                            assert!(
                                piece.is_empty()
                                    || session.is_closed()
                                    || said.iter().any(|line| line.starts_with("= ports"))
                            );
                            return Ok(());
                        }
                    }
                }),
                Act::Wait(millis) => {
                    now += millis;
                    session.handle_timeout(now)
                }
                Act::Connected => {
                    session.connected(now);
                    Ok(())
                }
                Act::Disconnected => session.disconnected(now),
                Act::Datagram => {
                    session.alive(now);
                    Ok(())
                }
                Act::NoPorts => session.ports_refused(),
                Act::Close => {
                    session.close();
                    Ok(())
                }
            };
            said.extend(drained(&mut session, &mut pairs));
            said.extend(result.err().map(|error| format!("! {error}")));
            all.push(said);
        }
        all
    }
}

/// A message's lines as they go, its body behind the empty one.
fn message_of(lines: &[String]) -> Vec<u8> {
    let head = lines.iter().position(String::is_empty).unwrap_or(lines.len());
    let body: String = lines.iter().skip(head + 1).map(|line| format!("{line}\r\n")).collect();
    let head: String = lines[..head].iter().map(|line| format!("{line}\r\n")).collect();
    format!("{}\r\n{body}", head.replace("{length}", &body.len().to_string())).into_bytes()
}

/// Outputs as a script writes them. Ports are answered, as many pairs as there are, the last with 5000-5001.
fn drained(session: &mut Session, pairs: &mut u16) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        let asks = match session.poll_output() {
            None => return said,
            Some(Output::Transmit(bytes)) => {
                let text = String::from_utf8(bytes.to_vec()).expect("we send ASCII");
                assert!(text.ends_with("\r\n\r\n") && text.matches('\n').count() == text.matches("\r\n").count());
                said.extend(
                    text.trim_end_matches("\r\n")
                        .split("\r\n")
                        .map(|line| format!("> {line}").trim_end().to_owned()),
                );
                None
            }
            Some(Output::Packet { medium, part, packet }) => {
                let bytes = packet.iter().take(4).map(|byte| format!("{byte:02x}"));
                let (bytes, length) = (bytes.collect::<String>(), packet.len());
                said.push(format!("= packet {medium} {part:?} {bytes} ({length})"));
                None
            }
            Some(Output::Event(Event::PortsRequested { medium })) => Some(medium),
            Some(Output::Event(event)) => {
                said.push(shown(&event));
                None
            }
        };
        if let Some(medium) = asks {
            said.push(format!("= ports {medium}"));
            if *pairs > 0 {
                *pairs -= 1;
                let rtp = 5000 + *pairs * 2;
                session.ports(Ports { rtp, rtcp: rtp + 1 });
            }
        }
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::Connect(address) => {
            format!("= connect {} {} {:?}", address.host, address.port, address.security)
        }
        Event::PortsRequested { medium } => format!("= ports {medium}"),
        Event::SetUp { lanes, description } => {
            let lane = |lane: &Lane| {
                assert!(description.media[lane.medium].format.is_some());
                match lane.way {
                    Way::Interleaved { rtp, rtcp } => format!(" {} by {rtp}-{rtcp}", lane.medium),
                    Way::Datagrams { ours, theirs, source } => {
                        let from = theirs.map(|theirs| format!(" from {}-{}", theirs.rtp, theirs.rtcp));
                        let at = source.map(|source| format!(" at {source}"));
                        let (from, at) = (from.unwrap_or_default(), at.unwrap_or_default());
                        format!(" {} to {}-{}{from}{at}", lane.medium, ours.rtp, ours.rtcp)
                    }
                }
            };
            format!("= set up{}", lanes.iter().map(lane).collect::<Vec<_>>().join(","))
        }
        Event::Playing { begins } => {
            let begins = begins.iter().map(|(medium, time)| format!(" {medium}@{time}"));
            format!("= playing{}", begins.collect::<String>())
        }
        Event::Closed => "= closed".to_owned(),
    }
}

#[test]
fn every_peer_is_answered_as_its_script_says() {
    let mut wrong = Vec::new();
    for (name, text) in SCRIPTS {
        let script = Script::parse(text);
        let all = script.run(usize::MAX);
        for step in [1, 7] {
            assert_eq!(script.run(step), all, "{name}, {step} bytes at a time");
        }
        for (at, (said, expected)) in all.iter().zip(&script.expected).enumerate() {
            let line = at.checked_sub(1).map_or(0, |at| script.acts[at].0);
            if said != expected {
                let said = said.join("\n");
                wrong.push(format!("testdata/{name}.txt, behind line {line}:\n{said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "what comes in fact:\n{}", wrong.join("\n"));
}

/// What the scripts' servers send, for the fuzzer: an act a piece, as [`super::fuzz::dialogue`] reads them.
pub(super) fn dialogues() -> Vec<Vec<u8>> {
    let of = |(_, text): &(&str, &str)| {
        let script = Script::parse(text);
        let mut all = vec![match script.preference {
            Preference::Auto => 0,
            Preference::Udp => 1,
            Preference::Tcp => 2,
        }];
        for (_, act) in &script.acts {
            let (letter, bytes): (u8, &[u8]) = match act {
                Act::Bytes(bytes) => (0, bytes),
                Act::Wait(millis) => (1, &millis.to_be_bytes()),
                Act::Datagram => (2, &[]),
                Act::Disconnected => (3, &[]),
                Act::Close => (4, &[]),
                // These follow by themselves.
                Act::Connected | Act::NoPorts => continue,
            };
            all.push(letter);
            all.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            all.extend_from_slice(bytes);
        }
        all
    };
    SCRIPTS.iter().map(of).collect()
}

#[test]
fn errors_and_debug_show_no_password() {
    let address = Address::parse("rtsp://user:SECRET@h/x?token=SECRET").unwrap();
    let mut session = Session::new(0, address, Preference::Tcp, 7);
    drained(&mut session, &mut 0);
    session.connected(0);
    drained(&mut session, &mut 0);
    let challenge = b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n";
    session.handle_input(0, challenge).unwrap();
    drained(&mut session, &mut 0);
    assert!(!format!("{session:?}").contains("SECRET"));
    let again = b"RTSP/1.0 401 No\r\nCSeq: 2\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n";
    let error = session.handle_input(0, again).unwrap_err();
    assert_eq!(error, Error::LoginWrong);
    assert!(!format!("{error:?} {error}").contains("SECRET") && session.is_closed());
}

#[test]
fn every_step_has_its_time() {
    let check = |input: &[&[u8]], preference, expected: &str| {
        let mut session = Session::new(0, Address::parse("rtsp://h/x").unwrap(), preference, 7);
        let mut pairs = 9;
        drained(&mut session, &mut pairs);
        for (at, piece) in input.iter().enumerate() {
            if at == 0 {
                session.connected(0);
                drained(&mut session, &mut pairs);
            }
            let mut piece = *piece;
            while !piece.is_empty() {
                piece = &piece[session.handle_input(0, piece).unwrap()..];
                drained(&mut session, &mut pairs);
            }
        }
        loop {
            let at = session.poll_timeout().expect("it waits for something");
            match session.handle_timeout(at) {
                Ok(()) => drop(drained(&mut session, &mut pairs)),
                Err(error) => return assert_eq!(error.to_string(), expected),
            }
        }
    };
    let ok: &[u8] = b"RTSP/1.0 200 OK\r\n\r\n";
    let sdp = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";
    let described = format!("RTSP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    let described = described.as_bytes();
    let tcp = Preference::Tcp;
    check(&[], tcp, "no connection after 10000 ms");
    check(&[b""], tcp, "no answer to OPTIONS after 10000 ms");
    check(
        &[b"RTSP/1.0 100 Continue\r\n\r\n"],
        tcp,
        "no answer to OPTIONS after 10000 ms",
    );
    check(&[ok], tcp, "no answer to DESCRIBE after 10000 ms");
    check(&[ok, described], tcp, "no answer to SETUP after 10000 ms");
    check(&[ok, described, ok], tcp, "no answer to PLAY after 10000 ms");
    check(&[ok, described, ok, ok], tcp, "no packet for 15000 ms");
    check(
        &[ok, described, ok, ok],
        Preference::Udp,
        "no packet by UDP for 15000 ms",
    );
    check(
        &[ok, described, ok, ok],
        Preference::Auto,
        "no connection after 10000 ms",
    );
    check(
        &[ok, described, ok, b"$\0\0\x05"],
        tcp,
        "no answer to PLAY after 10000 ms",
    );
}
