//! Smooth Streaming and HDS: manifests, and every fragment that they list, byte for byte what was published.

mod support;

use std::time::{Duration, Instant};

use penstock_proto::xml::{self, Element};
use serde_json::json;

use support::clips;
use support::fetch::{Client, resolve};
use support::flv::{self, AUDIO, Tag, VIDEO};
use support::rtmp::Publisher;
use support::segmented::config;
use support::server::Server;

const PACE: u32 = 4;
const WITHIN: Duration = Duration::from_secs(15);

/// `tfxd`: the fragment's own time and duration (MS-SSTR 2.2.4.4).
const TFXD: [u8; 16] = *b"\x6d\x1d\x9b\x05\x42\xd5\x44\xe6\x80\xe2\x14\x1d\xaf\xf7\x57\xb2";
/// `tfrf`: those of the next ones (MS-SSTR 2.2.4.5).
const TFRF: [u8; 16] = *b"\xd4\x80\x7e\xf2\xca\x39\x46\x95\x8e\x54\x26\xcb\x9e\x46\xa7\x9f";

/// A stream that has ended, and had been asked for `path` when it was live; its last text there.
fn ended(server: &Server, path: &str, sent: &[Tag], is_live: impl Fn(&[u8]) -> bool) -> (Client, Vec<u8>) {
    let mut client = Client::new(server.http);
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    publisher.send(sent);
    client.text_when_there(path, WITHIN);
    let live = client.body(path);
    assert!(
        is_live(&live),
        "{path} of a live stream:\n{}",
        String::from_utf8_lossy(&live)
    );
    publisher.end();
    let deadline = Instant::now() + WITHIN;
    loop {
        let text = client.body(path);
        if !is_live(&text) {
            return (client, text);
        }
        assert!(Instant::now() < deadline, "{path} says live after the end");
    }
}

/// Frames of a kind as they were sent, without what RTMP puts before them.
fn frames(sent: &[Tag], kind: u8) -> Vec<u8> {
    let before = if kind == VIDEO { 5 } else { 2 };
    let frames = sent.iter().filter(|tag| tag.is_frame(kind));
    frames.flat_map(|tag| tag.body[before..].iter().copied()).collect()
}

/// Boxes one behind the other.
fn boxes(mut bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let size = u32::from_be_bytes(*bytes.first_chunk().expect("a box has its size")) as usize;
        assert!(
            (8..=bytes.len()).contains(&size),
            "a box of {size} bytes in {}",
            bytes.len()
        );
        let (whole, rest) = bytes.split_at(size);
        found.push((whole[4..8].try_into().expect("four bytes"), &whole[8..]));
        bytes = rest;
    }
    found
}

fn one<'a>(found: &[([u8; 4], &'a [u8])], kind: &[u8; 4]) -> &'a [u8] {
    let mut of_kind = found.iter().filter(|(known, _)| known == kind);
    let first = of_kind.next();
    let name = String::from_utf8_lossy(kind);
    assert!(of_kind.next().is_none(), "one {name}");
    first.unwrap_or_else(|| panic!("a {name} among {found:?}")).1
}

/// A manifest may be in UTF-16, as MistServer's is.
fn xml_of(bytes: &[u8]) -> Element {
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => {
            let units: Vec<u16> = rest
                .chunks_exact(2)
                .map(|two| u16::from_le_bytes([two[0], two[1]]))
                .collect();
            String::from_utf16(&units).expect("UTF-16")
        }
        _ => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
    };
    let text = text.trim_start_matches('\u{feff}');
    xml::read(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn number(element: &Element, name: &str) -> u64 {
    let value = element
        .attribute(name)
        .unwrap_or_else(|| panic!("{name} of {element:?}"));
    value.parse().unwrap_or_else(|_| panic!("{name}={value:?}"))
}

/// Start and duration of each fragment of a `StreamIndex` (MS-SSTR 2.2.2.6).
fn listed(index: &Element) -> Vec<(u64, u64)> {
    let mut fragments = Vec::new();
    let mut next = 0;
    for c in index.all("c") {
        let duration = number(c, "d");
        let repeats = c.attribute("r").map_or(1, |text| text.parse().expect("a count"));
        next = c.attribute("t").map_or(next, |text| text.parse().expect("a time"));
        for _ in 0..repeats {
            fragments.push((next, duration));
            next += duration;
        }
    }
    fragments
}

#[test]
fn smooth() {
    let server = Server::start(&config(json!({})));
    let sent = clips::B_FRAMES.part(u32::MAX);
    let path = "/cmaf/live/Manifest";
    let is_live = |bytes: &[u8]| {
        xml_of(bytes)
            .attribute("IsLive")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    };
    let (mut client, text) = ended(&server, path, &sent, is_live);
    let manifest = xml_of(&text);
    assert_eq!(manifest.name, "SmoothStreamingMedia");
    let mut kinds = Vec::new();
    for index in manifest.all("StreamIndex") {
        let kind = index.attribute("Type").expect("a type").to_string();
        let url = index.attribute("Url").expect("a template");
        let level = index.first("QualityLevel").expect("a level");
        let fragments = listed(index);
        assert!(fragments.len() >= 3, "6 s in segments of 2 s: {fragments:?}");
        assert_eq!(number(index, "Chunks"), fragments.len() as u64);
        let mut media = Vec::new();
        for (start, duration) in &fragments {
            let target = url
                .replace("{bitrate}", level.attribute("Bitrate").expect("a rate"))
                .replace("{start time}", &start.to_string())
                .replace("{start_time}", &start.to_string());
            let bytes = client.body(&resolve(path, &target));
            let found = boxes(&bytes);
            let moof = boxes(one(&found, b"moof"));
            let traf = boxes(one(&moof, b"traf"));
            let own = |id: &[u8; 16]| traf.iter().find(|(name, body)| name == b"uuid" && body.starts_with(id));
            // Behind the id, version and flags: 64 bit, as a live time needs.
            let (_, tfxd) = own(&TFXD).unwrap_or_else(|| panic!("{target} has no tfxd"));
            assert_eq!(tfxd[16], 1, "tfxd of version 1");
            let said = |at: usize| u64::from_be_bytes(*tfxd[at..].first_chunk().expect("8 bytes"));
            assert_eq!((said(20), said(28)), (*start, *duration), "{target} says its place");
            let _ = own(&TFRF);
            media.extend_from_slice(one(&found, b"mdat"));
        }
        let wanted = frames(&sent, if kind == "video" { VIDEO } else { AUDIO });
        assert_eq!(media.len(), wanted.len(), "{kind}");
        assert!(media == wanted, "{kind}: other bytes than were sent");
        kinds.push(kind);
    }
    kinds.sort_unstable();
    assert_eq!(kinds, ["audio", "video"]);
}

/// First fragment, its time in ms, duration.
struct Run {
    first: u32,
    duration: u32,
}

/// What an `abst` says (F4F 2.11.2): whether live, how many fragments, and runs of equal ones.
struct Bootstrap {
    is_live: bool,
    last: u32,
    runs: Vec<Run>,
}

fn bootstrap(bytes: &[u8]) -> Bootstrap {
    let found = boxes(bytes);
    let mut rest = Reading(one(&found, b"abst"));
    rest.take(4 + 4);
    let is_live = rest.take(1)[0] & 0x20 != 0;
    rest.take(4 + 8 + 8);
    rest.text();
    for _ in 0..2 {
        for _ in 0..rest.take(1)[0] {
            rest.text();
        }
    }
    rest.text();
    rest.text();
    assert_eq!(rest.take(1)[0], 1, "one segment run table");
    let size = u32::from_be_bytes(*rest.0.first_chunk().expect("a box")) as usize;
    let asrt = boxes(rest.take(size));
    let mut asrt = Reading(one(&asrt, b"asrt"));
    assert_eq!(asrt.take(5), [0; 5]);
    let segments = asrt.number();
    assert_eq!((segments, asrt.number()), (1, 1), "one run, of segment 1");
    let count = asrt.number();
    assert_eq!(rest.take(1)[0], 1, "one fragment run table");
    let afrt = boxes(rest.0);
    let mut afrt = Reading(one(&afrt, b"afrt"));
    afrt.take(4 + 4);
    assert_eq!(afrt.take(1)[0], 0, "no quality of its own");
    let mut runs = Vec::new();
    for _ in 0..afrt.number() {
        let first = afrt.number();
        afrt.take(8);
        let duration = afrt.number();
        if duration == 0 {
            // An end or a hole.
            afrt.take(1);
            continue;
        }
        runs.push(Run { first, duration });
    }
    Bootstrap {
        is_live,
        // Counted from fragment 1; without a bound while the stream goes on.
        last: count,
        runs,
    }
}

struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn text(&mut self) {
        let end = self.0.iter().position(|byte| *byte == 0).expect("a text has its end");
        self.take(end + 1);
    }
}

#[test]
fn hds() {
    let server = Server::start(&config(json!({})));
    let sent = clips::B_FRAMES.part(u32::MAX);
    let mut client = Client::new(server.http);
    let mut publisher = Publisher::start(server.rtmp, "live", PACE);
    publisher.send(&sent);
    let path = "/dynamic/live/manifest.f4m";
    let text = client.text_when_there(path, WITHIN);
    let manifest = xml_of(text.as_bytes());
    assert_eq!(manifest.name, "manifest");
    let media = manifest.first("media").expect("a rendition");
    let wanted = media.attribute("bootstrapInfoId").expect("an id");
    let info = manifest
        .all("bootstrapInfo")
        .find(|info| info.attribute("id") == Some(wanted));
    let table = info
        .and_then(|info| info.attribute("url"))
        .expect("a bootstrap to be fetched");
    let table = resolve(path, table);
    assert!(bootstrap(&client.body(&table)).is_live);
    publisher.end();
    let deadline = Instant::now() + WITHIN;
    let end = loop {
        let end = bootstrap(&client.body(&table));
        if !end.is_live {
            break end;
        }
        assert!(Instant::now() < deadline, "{table} says live after the end");
    };
    assert!(end.runs.iter().all(|run| run.duration > 0));
    let first = end.runs.first().expect("something is listed").first;
    assert!(end.last >= first + 2, "6 s in fragments of 2 s");
    let mut tags = Vec::new();
    for fragment in first..=end.last {
        let url = format!("{}Seg1-Frag{fragment}", media.attribute("url").expect("a URL"));
        let bytes = client.body(&resolve(path, &url));
        let found = boxes(&bytes);
        // As a file has them: behind its header.
        let mut file = flv::file(&[]);
        file.extend_from_slice(one(&found, b"mdat"));
        let whole = flv::tags(&file);
        assert!(
            whole[0].is_header() || whole[0].is_frame(VIDEO),
            "fragment {fragment} begins with {:?}",
            whole[0].kind
        );
        tags.extend(whole);
    }
    for kind in [VIDEO, AUDIO] {
        let of = |tags: &[Tag]| -> Vec<(u32, Vec<u8>)> {
            let frames = tags.iter().filter(|tag| tag.is_frame(kind));
            frames.map(|tag| (tag.time, tag.body.clone())).collect()
        };
        let (got, wanted) = (of(&tags), of(&sent));
        assert_eq!(got.len(), wanted.len(), "frames of kind {kind}");
        for (at, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            assert_eq!(got.1, wanted.1, "frame {at} of kind {kind}");
            assert!(
                got.0.abs_diff(wanted.0) <= 1,
                "frame {at} of kind {kind} at {} ms, not {}",
                got.0,
                wanted.0
            );
        }
    }
}
