//! A strict checker of playlists, for tests and for whoever looks into a stream.
//!
//! [`check_media`] and [`check_master`] judge what RFC 8216bis demands of one text (syntax and types of every tag, order,
//! versions, durations, parts, hints, groups); a [`Watcher`] judges what it demands of the reloads of one playlist, with the
//! times at which they were fetched; [`check_delta`] whether a delta update is what it stands for, and [`check_reports`]
//! whether rendition reports tell the truth. Beyond the RFC it holds us to what players need (`What::is_ours`).
//!
//! It fetches nothing and knows nothing of segments' bytes. It trusts nothing: texts and reports are bounded. After a fault of
//! syntax in a line that line counts for nothing, and what follows from that is reported as well.

mod attributes;
mod judge;
mod lines;
mod master;
mod problem;
mod read;
mod tags;
#[cfg(test)]
mod tests;
mod watch;

pub use self::master::check_master;
pub use self::problem::{Problem, What};
pub use self::read::{Control, Hint, Map, Media, Part, Report, Segment};
pub use self::watch::{Watcher, check_delta, check_reports};

use super::limits::CHECK_PROBLEMS_MAX;

/// Judges one media playlist.
pub fn check_media(text: &str) -> Vec<Problem> {
    read_media(text).1
}

/// A media playlist's content, as far as it can be read, and what is wrong with it.
pub fn read_media(text: &str) -> (Media, Vec<Problem>) {
    let mut problems = Problems::default();
    let media = read::read(text, &mut problems);
    judge::judge(&media, &mut problems);
    (media, problems.found)
}

/// The first of them.
#[derive(Debug, Default)]
struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, line: usize, what: What) {
        if self.found.len() < CHECK_PROBLEMS_MAX {
            self.found.push(Problem { line, what });
        }
    }
}
