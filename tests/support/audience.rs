//! Viewers of every output, there from a stream's first GOP to its clean end, and whether they saw what was sent.

use std::path::PathBuf;

use super::compare::{self, Rules, WHOLE};
use super::flv::{self, Tag};
use super::normal::{self, Recording};
use super::rtmp::Player;
use super::server::Server;
use super::strict;
use super::tags;
use super::wire::Recorder;

/// Every output over HTTP.
pub const ALL: [&str; 3] = ["flv", "ts", "mp4"];

/// Who watches a stream.
pub struct Audience {
    dir: PathBuf,
    http: Vec<(String, Recorder)>,
    player: Player,
}

impl Audience {
    /// Viewers of these outputs over HTTP, and of RTMP, each of whom was let in.
    pub fn join(server: &Server, name: &str, kinds: &[&str]) -> Audience {
        let dir = super::scratch(name);
        let record = |kind: &&str| {
            let file = dir.join(format!("{name}.{kind}"));
            let recorder = Recorder::start(server.http, &format!("/{name}.{kind}"), &file);
            (kind.to_string(), recorder)
        };
        let http: Vec<(String, Recorder)> = kinds.iter().map(record).collect();
        for (kind, viewer) in &http {
            let answer = viewer.answer();
            assert_eq!(answer.status, 200, "{name}.{kind}: {}", answer.head);
        }
        let player = Player::start(server.rtmp, name);
        Audience { dir, http, player }
    }

    /// Waits for the clean end of each.
    pub fn finish(self) -> Seen {
        let mut files = Vec::new();
        for (kind, viewer) in self.http {
            let file = viewer.path.clone();
            viewer.finish();
            files.push((kind, file));
        }
        Seen {
            dir: self.dir,
            files,
            rtmp: self.player.finish(),
        }
    }
}

/// What they saw.
pub struct Seen {
    dir: PathBuf,
    files: Vec<(String, PathBuf)>,
    rtmp: Vec<Tag>,
}

impl Seen {
    /// Each output's recording. FLV and RTMP are read by penstock's own reader, which knows enhanced bodies, TS and MP4
    /// by ffmpeg; what a strict reader or a decoder finds wrong in them is said here.
    pub fn recordings(&self) -> Vec<(String, Recording)> {
        let mut all = vec![("rtmp".to_string(), tags::recording("RTMP", &self.rtmp))];
        for (kind, file) in &self.files {
            strict::assert_strict(file);
            let recording = if kind == "flv" {
                let bytes = std::fs::read(file).expect("recorded before");
                tags::recording("FLV", &flv::tags(&bytes))
            } else {
                compare::assert_decodes(file);
                normal::read(file)
            };
            all.push((kind.clone(), recording));
        }
        all
    }

    /// Requires that every output has exactly the frames of these messages.
    pub fn assert_saw(&self, sent: &[Tag]) {
        self.assert_saw_recording(&tags::recording("sent", sent), WHOLE);
    }

    pub fn assert_saw_recording(&self, sent: &Recording, rules: Rules) {
        for (kind, got) in self.recordings() {
            if let Err(difference) = compare::compare(sent, &got, rules) {
                panic!("{kind} ({}) is not what was sent: {difference}", self.dir.display());
            }
        }
        self.discard();
    }

    /// The messages of the RTMP player, as they came.
    pub fn rtmp(&self) -> &[Tag] {
        &self.rtmp
    }

    pub fn file(&self, kind: &str) -> &PathBuf {
        let found = self.files.iter().find(|(known, _)| known == kind);
        &found.unwrap_or_else(|| panic!("nobody watched {kind}")).1
    }

    /// Recordings that were good are not kept.
    pub fn discard(&self) {
        std::fs::remove_dir_all(&self.dir).expect("scratch is ours");
    }
}
