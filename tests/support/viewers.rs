//! Viewers of every output of a stream, from wherever they join to its clean end, and what each of them has then.
//!
//! FLV and RTMP are read by our own reader, which knows that codec data can change; TS and MP4 by ffmpeg.

use std::path::{Path, PathBuf};

use super::compare;
use super::flv;
use super::normal::{self, Recording};
use super::rtmp::Player;
use super::server::Server;
use super::strict;
use super::tags;
use super::wire::{Progress, Recorder};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Flv,
    Ts,
    Mp4,
    Rtmp,
}

pub const HTTP: [(Output, &str); 3] = [(Output::Flv, "flv"), (Output::Ts, "ts"), (Output::Mp4, "mp4")];

pub struct Viewers {
    http: Vec<(Output, Recorder)>,
    player: Player,
    played: PathBuf,
}

/// What one of them received.
pub struct Seen {
    pub output: Output,
    pub file: PathBuf,
    pub recording: Recording,
}

/// What ffmpeg 5.1 can be asked of the recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ffmpeg {
    DecodesAll,
    /// It does not know enhanced FLV.
    DecodesTsAndMp4,
}

impl Viewers {
    /// One viewer an output, each with the answer that it waits for; their files are called `label`.
    pub fn join(server: &Server, dir: &Path, label: &str) -> Viewers {
        Viewers::join_asking(server, dir, label, |_| ())
    }

    /// As [`Viewers::join`]; `asked` is called when all have asked, and before the first answer is waited for.
    pub fn join_asking(server: &Server, dir: &Path, label: &str, asked: impl FnOnce(&Server)) -> Viewers {
        let record = |(output, kind): (Output, &str)| {
            let file = dir.join(format!("{label}.{kind}"));
            (output, Recorder::start(server.http, &format!("/live.{kind}"), &file))
        };
        let http: Vec<(Output, Recorder)> = HTTP.into_iter().map(record).collect();
        asked(server);
        for (_, viewer) in &http {
            assert_eq!(viewer.answer().status, 200);
        }
        Viewers {
            http,
            player: Player::start(server.rtmp, "live"),
            played: dir.join(format!("{label}-rtmp.flv")),
        }
    }

    /// How far each is, in numbers of its own.
    pub fn progress(&self) -> Vec<u64> {
        self.each().map(Progress::reached).collect()
    }

    /// Waits until each has got something more.
    pub fn wait_beyond(&self, before: &[u64]) {
        for (progress, before) in self.each().zip(before) {
            progress.wait_beyond(*before);
        }
    }

    fn each(&self) -> impl Iterator<Item = &Progress> {
        let http = self.http.iter().map(|(_, viewer)| &*viewer.progress);
        http.chain([&*self.player.progress])
    }

    /// Waits for the clean end of each, and looks for what is wrong in itself.
    pub fn finish(self) -> Vec<Seen> {
        self.finish_with(Ffmpeg::DecodesAll)
    }

    pub fn finish_with(self, ffmpeg: Ffmpeg) -> Vec<Seen> {
        let files = self.files();
        let seen = files.into_iter().map(|(output, file)| {
            if ffmpeg == Ffmpeg::DecodesAll || matches!(output, Output::Ts | Output::Mp4) {
                compare::assert_decodes(&file);
            }
            let recording = read(&file);
            Seen {
                output,
                file,
                recording,
            }
        });
        seen.collect()
    }

    /// Waits for the clean end of each; what it has is in its file, and strict.
    pub fn files(self) -> Vec<(Output, PathBuf)> {
        let mut files = Vec::new();
        for (output, viewer) in self.http {
            files.push((output, viewer.path.clone()));
            viewer.finish();
        }
        std::fs::write(&self.played, flv::file(&self.player.finish())).expect("scratch is ours");
        files.push((Output::Rtmp, self.played));
        files.iter().for_each(|(_, file)| strict::assert_strict(file));
        files
    }
}

/// What a recording has, whatever its container.
pub fn read(file: &Path) -> Recording {
    if file.extension().is_some_and(|extension| extension == "flv") {
        let name = file.display().to_string();
        let bytes = std::fs::read(file).expect("recorded before");
        return tags::recording(&name, &flv::tags(&bytes));
    }
    normal::read(file)
}
