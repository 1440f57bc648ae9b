//! What a GB costs against the floor that makes the same sends: the ratios that were promised, each in pairs of its own.
//!
//! One core each for server and generator, whatever `--shards` says.

use crate::floor::{self, Bars, options};
use crate::report::Report;
use crate::server::Settings;

/// 1,000 FLV viewers.
pub fn flv(settings: &Settings) -> anyhow::Result<Report> {
    let bars = Bars {
        at_most: 1.0,
        aims: Some([0.95, 0.85]),
        latency: None,
    };
    let title = "floor, FLV: 1,000 viewers of 2.6 Mb/s, default class";
    floor::run(&options("--packaging flv"), settings, title, Some(bars))
}

/// 1,000 RTMP viewers.
pub fn rtmp(settings: &Settings) -> anyhow::Result<Report> {
    let bars = Bars {
        at_most: 1.1,
        aims: None,
        latency: Some(100.0),
    };
    let title = "floor, RTMP: 1,000 viewers of 2.6 Mb/s, default class";
    floor::run(&options("--packaging rtmp"), settings, title, Some(bars))
}

/// 1,000 RTSP viewers whose packets are interleaved in their connections.
pub fn rtsp(settings: &Settings) -> anyhow::Result<Report> {
    let bars = Bars {
        at_most: 1.2,
        aims: None,
        latency: None,
    };
    let title = "floor, RTSP over TCP: 1,000 viewers of 2.6 Mb/s, default class";
    floor::run(&options("--packaging rtsp"), settings, title, Some(bars))
}

/// 1,000 RTMP viewers with three turns a second, about what SRS makes of its merged write of 350 ms. A turn is part of the
/// time that its class pauses for, so that turns begin 333 ms apart. Sends are some more than turns: a range that goes over
/// the end of a feed's block is two.
pub fn merged(settings: &Settings) -> anyhow::Result<Report> {
    let bars = Bars {
        at_most: 1.1,
        aims: None,
        latency: None,
    };
    let title = "floor, RTMP merged: 1,000 viewers of 2.6 Mb/s, 3 turns a second (SRS needs about 2.1 x)";
    floor::run(&options("--packaging rtmp --pause 333"), settings, title, Some(bars))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_have_the_viewers_and_pairs_that_were_asked_for() {
        for words in [
            "--packaging flv",
            "--packaging rtmp",
            "--packaging rtsp",
            "--packaging rtmp --pause 333",
        ] {
            let options = options(words);
            assert_eq!((options.viewers, options.bitrate), (1000, 2600));
            assert!(options.pairs >= 5 && options.call == floor::Call::Send && options.every.is_none());
        }
    }
}
