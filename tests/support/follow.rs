//! A strict HLS client: follows a media playlist from wherever it comes to `EXT-X-ENDLIST`, fetches all that it lists, and
//! what it hints at before it is there. Every playlist is judged by [`Watcher`]; what is wrong is collected and told at the
//! end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use penstock_proto::hls::check::{self, Media, Watcher, What};

use super::fetch::{Client, resolve, text_of, with_query};
use super::wire::PATIENCE;

/// No stream of a test is longer.
const LONGEST: Duration = Duration::from_secs(90);
/// A hint and the reload that lists it are answered at the same event; the rest is what a busy machine may take.
const APART_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Whole segments, with playlists that wait for the next one.
    Segments,
    /// Parts as they come, by their hints.
    Parts,
}

/// One segment as it was fetched.
#[derive(Debug, Default, Clone)]
pub struct Fetched {
    pub uri: String,
    pub bytes: Vec<u8>,
    pub nanos: u64,
    /// URI of its initialization segment.
    pub map: Option<String>,
    pub is_discontinuity: bool,
    parts: BTreeMap<usize, (String, Vec<u8>)>,
}

/// All that one playlist listed until its end.
#[derive(Debug, Default)]
pub struct Followed {
    pub path: String,
    pub inits: BTreeMap<String, Vec<u8>>,
    pub segments: BTreeMap<u64, Fetched>,
    /// The last playlist.
    pub text: String,
    pub texts: usize,
    /// Parts that were there when they had been asked for by their hint.
    pub hinted: usize,
    /// Hints at what did not come.
    pub unkept: usize,
    pub faults: Vec<String>,
}

pub struct Follower {
    thread: JoinHandle<Followed>,
}

impl Follower {
    /// In a thread of its own; it waits for the stream to be there.
    pub fn start(to: SocketAddr, path: &str, delivery: Delivery) -> Follower {
        let path = path.to_string();
        let thread = std::thread::spawn(move || Follow::new(to, &path, delivery).until_end());
        Follower { thread }
    }

    pub fn finish(self) -> Followed {
        let followed = self.thread.join().expect("what is fetched is answered");
        assert!(
            followed.faults.is_empty(),
            "{}:\n{}\n{}",
            followed.path,
            followed.faults.join("\n"),
            followed.text
        );
        followed
    }
}

/// Paths of all media playlists of a master, which has to be right; variants first.
pub fn playlists(client: &mut Client, master: &str) -> Vec<String> {
    let text = client.text_when_there(master, PATIENCE);
    let problems = check::check_master(&text);
    assert!(problems.is_empty(), "{master}: {problems:?}\n{text}");
    let variants = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let renditions = text.lines().filter(|line| line.starts_with("#EXT-X-MEDIA:"));
    let uris = renditions.filter_map(|line| line.split_once("URI=\"")?.1.split('"').next());
    let mut paths: Vec<String> = Vec::new();
    for uri in variants.chain(uris) {
        let path = resolve(master, uri);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

struct Follow {
    lists: Client,
    media: Client,
    delivery: Delivery,
    watcher: Watcher,
    begun: Instant,
    seen: Followed,
    /// Bodies of hinted parts that no playlist has listed yet.
    ahead: BTreeMap<String, Vec<u8>>,
}

impl Follow {
    fn new(to: SocketAddr, path: &str, delivery: Delivery) -> Follow {
        Follow {
            lists: Client::new(to),
            media: Client::new(to),
            delivery,
            watcher: Watcher::new(),
            begun: Instant::now(),
            seen: Followed {
                path: path.to_string(),
                ..Followed::default()
            },
            ahead: BTreeMap::new(),
        }
    }

    fn until_end(mut self) -> Followed {
        let path = self.seen.path.clone();
        let mut text = self.lists.text_when_there(&path, PATIENCE);
        loop {
            let problems = self.watcher.see(self.begun.elapsed().as_millis() as u64, &text);
            for problem in problems.iter().filter(|problem| !is_of_the_test(&problem.what)) {
                self.seen.faults.push(format!("{problem:?} in\n{text}"));
            }
            self.seen.texts += 1;
            self.seen.text.clone_from(&text);
            let list = self.watcher.media().expect("it has seen one").clone();
            self.fetch(&list);
            if list.is_ended || self.seen.faults.len() > 3 {
                break;
            }
            assert!(self.begun.elapsed() < LONGEST, "{path}: no end within {LONGEST:?}");
            text = self.next(&path, &list);
        }
        for hint in self.ahead.keys() {
            self.seen
                .faults
                .push(format!("{hint} was answered, and is in no playlist"));
        }
        self.again();
        self.seen
    }

    /// Waits for the playlist behind `list`, and for what that hints at.
    fn next(&mut self, path: &str, list: &Media) -> String {
        // Whole segments are waited for too, though their playlists do not announce it: hls.js asks so.
        let can_wait = list.control.as_ref().is_some_and(|control| control.can_block_reload);
        assert!(
            can_wait || self.delivery == Delivery::Segments,
            "{path}:\n{}",
            self.seen.text
        );
        let directives = match (&list.growing, list.segments.last()) {
            (Some(growing), _) if self.delivery == Delivery::Parts => {
                format!("_HLS_msn={}&_HLS_part={}", growing.number, growing.parts.len())
            }
            (_, Some(last)) if self.delivery == Delivery::Parts => format!("_HLS_msn={}&_HLS_part=0", last.number + 1),
            (_, Some(last)) => format!("_HLS_msn={}", last.number + 1),
            (Some(growing), None) => format!("_HLS_msn={}", growing.number),
            (None, None) => format!("_HLS_msn={}", list.sequence),
        };
        let hint = list.hints.iter().find(|hint| hint.kind == "PART");
        let hint = hint.filter(|_| self.delivery == Delivery::Parts);
        let hint = hint.map(|hint| (hint.uri.clone(), resolve(path, &hint.uri)));
        if let Some((_, target)) = &hint {
            self.media.ask(target);
        }
        let target = with_query(path, &directives);
        let answer = self.lists.get(&target);
        let listed = Instant::now();
        assert_eq!(
            answer.status,
            200,
            "GET {target}:\n{}\n{}",
            answer.head,
            text_of(&answer)
        );
        let text = text_of(&answer);
        if text == self.seen.text {
            self.fault(format!("{target} is answered before anything is new\n{text}"));
        }
        if let Some((uri, target)) = hint {
            let answer = self.media.answer(&target);
            let apart = listed.elapsed();
            match answer.status {
                200 => {
                    if apart > APART_MAX {
                        self.fault(format!("{uri} came {apart:?} after the playlist that lists it"));
                    }
                    self.seen.hinted += 1;
                    self.ahead.insert(uri, answer.body);
                }
                // The segment ended before it.
                404 if !text.contains(&format!("\"{uri}\"")) => self.seen.unkept += 1,
                status => self.fault(format!("hinted {uri}: {status}, with the playlist\n{text}")),
            }
        }
        text
    }

    fn fault(&mut self, what: String) {
        self.seen.faults.push(what);
    }

    /// Everything in the list that is not here.
    fn fetch(&mut self, list: &Media) {
        let path = self.seen.path.clone();
        for segment in list.segments.iter().chain(&list.growing) {
            if self.delivery == Delivery::Parts {
                for (index, part) in segment.parts.iter().enumerate() {
                    let known = self.seen.segments.entry(segment.number).or_default();
                    if known.parts.contains_key(&index) {
                        continue;
                    }
                    let bytes = match self.ahead.remove(&part.uri) {
                        Some(bytes) => bytes,
                        None => self.media.body(&resolve(&path, &part.uri)),
                    };
                    known.parts.insert(index, (part.uri.clone(), bytes));
                }
            }
            if let Some(map) = &segment.map
                && !self.seen.inits.contains_key(&map.uri)
            {
                let bytes = self.media.body(&resolve(&path, &map.uri));
                self.seen.inits.insert(map.uri.clone(), bytes);
            }
            let is_new = |known: &Fetched| known.uri.is_empty();
            if segment.uri.is_empty() || segment.is_gap || !self.seen.segments.get(&segment.number).is_none_or(is_new) {
                continue;
            }
            let bytes = self.media.body(&resolve(&path, &segment.uri));
            let known = self.seen.segments.entry(segment.number).or_default();
            known.uri.clone_from(&segment.uri);
            known.nanos = segment.nanos;
            known.map = segment.map.as_ref().map(|map| map.uri.clone());
            known.is_discontinuity = segment.is_discontinuity;
            known.bytes = bytes;
            // A list that has left the parts of a segment out has them no more.
            let joined: Vec<u8> = known
                .parts
                .values()
                .flat_map(|(_, bytes)| bytes.iter().copied())
                .collect();
            let is_whole = !segment.parts.is_empty() && known.parts.len() == segment.parts.len();
            if is_whole && joined != known.bytes {
                let (parts, whole) = (joined.len(), known.bytes.len());
                self.fault(format!("{}: {parts} bytes in parts, {whole} in one", segment.uri));
            }
        }
    }

    /// The same segments once more, and initialization segments: the same bytes.
    fn again(&mut self) {
        let path = self.seen.path.clone();
        let Some(list) = self.watcher.media().cloned() else {
            return;
        };
        for segment in &list.segments {
            let answer = self.media.get(&resolve(&path, &segment.uri));
            let known = self.seen.segments.get(&segment.number);
            if answer.status != 200 || known.is_none_or(|known| known.bytes != answer.body) {
                let had = known.map_or(0, |known| known.bytes.len());
                let (status, has) = (answer.status, answer.body.len());
                self.fault(format!("{} again: {status}, {has} bytes, before {had}", segment.uri));
            }
        }
        for (uri, bytes) in self.seen.inits.clone() {
            if self.media.get(&resolve(&path, &uri)).body != bytes {
                self.fault(format!("{uri} again: other bytes"));
            }
        }
    }
}

/// What comes of how these tests publish.
pub fn is_of_the_test(what: &What) -> bool {
    match what {
        // Rounded, as 4.4.3.1 says: a sound's last frame ends behind its picture's.
        What::ExtinfOver { nanos, target } => (nanos + 500_000_000) / 1_000_000_000 * 1_000_000_000 <= *target,
        // A stream that runs faster than the clock on the wall is ahead of it, until a break sets it right.
        What::DateFalls { .. } | What::DateDrifts { .. } => true,
        _ => false,
    }
}

impl Followed {
    /// One file for each run of segments with one initialization segment and no discontinuity, in order.
    pub fn files(&self, dir: &Path, label: &str, extension: &str) -> Vec<PathBuf> {
        let mut files: Vec<(Option<String>, Vec<u8>)> = Vec::new();
        for segment in self.segments.values().filter(|segment| !segment.uri.is_empty()) {
            let goes_on = files.last().is_some_and(|(map, _)| *map == segment.map) && !segment.is_discontinuity;
            if !goes_on {
                let init = segment.map.as_ref().map_or(Vec::new(), |map| self.inits[map].clone());
                files.push((segment.map.clone(), init));
            }
            let (_, bytes) = files.last_mut().expect("pushed above");
            bytes.extend_from_slice(&segment.bytes);
        }
        let mut paths = Vec::new();
        for (at, (_, bytes)) in files.into_iter().enumerate() {
            let path = dir.join(format!("{label}-{at}.{extension}"));
            std::fs::write(&path, bytes).expect("scratch is ours");
            paths.push(path);
        }
        paths
    }
}
