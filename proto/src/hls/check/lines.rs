//! A playlist's lines (4.1), judged as text.

use super::{Problems, What};
use crate::hls::limits::CHECK_BYTES_MAX;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Name with its `#`, and what stands behind the colon.
    Tag(&'a str, Option<&'a str>),
    Uri(&'a str),
}

/// The lines that mean something, by number from 1: neither comments nor empty ones, nor the first.
pub(super) fn lines<'a>(text: &'a str, problems: &mut Problems) -> Vec<(usize, Line<'a>)> {
    if text.len() > CHECK_BYTES_MAX {
        problems.add(0, What::TooLong);
        return Vec::new();
    }
    if !text.ends_with('\n') {
        problems.add(text.lines().count(), What::NoFinalLineFeed);
    }
    let mut found = Vec::new();
    for (at, line) in text.split('\n').enumerate() {
        let number = at + 1;
        let bare = line.strip_suffix('\r').unwrap_or(line);
        if bare.len() < line.len() {
            problems.add(number, What::CarriageReturn);
        }
        if bare.chars().any(|char| char.is_control() || char == '\u{feff}') {
            problems.add(number, What::Control);
        }
        if number == 1 && bare != "#EXTM3U" {
            problems.add(number, What::FirstLine);
        }
        if number == 1 || bare.is_empty() {
            continue;
        }
        match bare.strip_prefix('#') {
            None => found.push((number, Line::Uri(bare))),
            Some(rest) if rest.starts_with("EXT") => {
                let (name, value) = match bare.split_once(':') {
                    Some((name, value)) => (name, Some(value)),
                    None => (bare, None),
                };
                found.push((number, Line::Tag(name, value)));
            }
            Some(_) => {}
        }
    }
    found
}
