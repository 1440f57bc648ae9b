//! A stream that is fetched piece by piece while it is published: who follows it, and what they have in the end.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::compare::{self, Rules};
use super::fetch::Client;
use super::flv::Tag;
use super::follow::{Delivery, Followed, Follower, playlists};
use super::normal::{self, Recording};
use super::rtmp::Publisher;
use super::server::{self, Server};

/// Sent before anybody comes, ms of media.
const HEAD_MILLIS: u32 = 1_000;

/// The usual configuration with everything that is fetched piece by piece.
pub fn config(stream: Value) -> Value {
    let mut config = server::config_with(
        2,
        json!({"live": {"source": "push://127.0.0.1", "grace": 300, "DVR": 60_000}}),
    );
    let protocols = config["config"]["protocols"].as_array_mut().expect("a list");
    protocols.extend(["HLS", "CMAF", "HDS"].map(|connector| json!({"connector": connector})));
    for (key, value) in stream.as_object().into_iter().flatten() {
        config["streams"]["live"][key] = value.clone();
    }
    config
}

/// A master playlist, and how its media playlists are followed.
pub type Master = (&'static str, Delivery);

pub const TS: Master = ("/hls/live/index.m3u8", Delivery::Segments);
pub const CMAF: Master = ("/cmaf/live/index.m3u8", Delivery::Parts);
pub const CMAF_SEGMENTS: Master = ("/cmaf/live/index.m3u8?llhls=0", Delivery::Segments);

/// Followers of every media playlist of one master.
pub struct Following {
    thread: JoinHandle<Vec<Follower>>,
}

impl Following {
    /// They come as soon as the master is there.
    pub fn start(server: &Server, (master, delivery): Master) -> Following {
        let to = server.http;
        let thread = std::thread::spawn(move || {
            let paths = playlists(&mut Client::new(to), master);
            assert!(!paths.is_empty(), "{master} lists nothing");
            paths.iter().map(|path| Follower::start(to, path, delivery)).collect()
        });
        Following { thread }
    }

    /// To the end of the stream; one for each media playlist.
    pub fn finish(self) -> Vec<Followed> {
        let followers = self.thread.join().expect("the master is answered");
        followers.into_iter().map(Follower::finish).collect()
    }
}

/// Publishes `tags` so many times faster than their clock, to their end, while `masters` are followed.
pub fn publish_followed(server: &Server, tags: &[Tag], pace: u32, masters: &[Master]) -> Vec<Vec<Followed>> {
    let mut publisher = Publisher::start(server.rtmp, "live", pace);
    let head = tags.partition_point(|tag| tag.time < HEAD_MILLIS);
    publisher.send(&tags[..head]);
    let following: Vec<Following> = masters.iter().map(|master| Following::start(server, *master)).collect();
    publisher.send(&tags[head..]);
    publisher.end();
    following.into_iter().map(Following::finish).collect()
}

/// What the media playlists of one master have together, of a stream without a break: each rendition is one file, which
/// decodes without an error.
pub fn recording(followed: &[Followed], dir: &Path, label: &str, extension: &str) -> Recording {
    let mut tracks = Vec::new();
    for (at, playlist) in followed.iter().enumerate() {
        let files = playlist.files(dir, &format!("{label}-{at}"), extension);
        let [file]: &[PathBuf; 1] = files[..].try_into().unwrap_or_else(|_| {
            panic!(
                "{}: {} runs where nothing broke\n{}",
                playlist.path,
                files.len(),
                playlist.text
            )
        });
        compare::assert_decodes(file);
        tracks.extend(normal::read(file).tracks);
    }
    tracks.sort_by_key(|track| track.kind);
    Recording {
        name: label.to_string(),
        tracks,
    }
}

/// Requires that all renditions of `followed` together have the frames of `sent`, or those of its tracks that `carried` says.
pub fn assert_saw(sent: &Recording, got: &Recording, rules: Rules) {
    let mut sent = sent.clone();
    // A packaging that cannot carry a codec leaves its track out.
    sent.tracks
        .retain(|track| got.tracks.iter().any(|other| other.codec == track.codec));
    if let Err(difference) = compare::compare(&sent, got, rules) {
        panic!("{} is not what was sent: {difference}", got.name);
    }
}
