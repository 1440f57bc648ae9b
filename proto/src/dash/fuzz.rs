//! Any bytes as a manifest, and as an update of itself.

use super::check::Watcher;
use super::time::{parse_duration, parse_instant};
use crate::noise::chosen_by;

/// The checker takes any text, also as the one that follows another.
pub fn manifest(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut watcher = Watcher::new();
    let now = chosen_by(input, usize::MAX >> 1) as i64;
    watcher.push(&text, now);
    // The same text again is no change.
    let report = watcher.push(&text, now);
    assert!(report.problems.len() as u64 <= report.problem_count);
    let begin = chosen_by(input, input.len());
    let piece = String::from_utf8_lossy(&input[begin..]);
    parse_instant(&piece);
    parse_duration(&piece);
}

#[cfg(test)]
mod tests {
    use super::super::scene::{LATENCY, Scene};
    use super::super::{Latency, Naming};
    use crate::damage::{Cost, damaged};

    #[test]
    fn dash_manifest() {
        let forms: [(Naming, Option<Latency>); 2] = [(Naming::Timeline, None), (Naming::Number, Some(LATENCY))];
        let seeds = forms.map(|(naming, latency)| {
            let mut text = String::new();
            assert!(Scene::new(0, 120).at(30_000).write(naming, latency, &mut text));
            text.into_bytes()
        });
        let tokens: &[&[u8]] = &[
            b"9223372036854775807",
            b"18446744073709551615",
            b" r=\"-1\"",
            b" r=\"1000000\"",
            b" timescale=\"1\"",
            b" presentationTimeOffset=\"9223372036854775807\"",
            b" endNumber=\"0\"",
            b"PT99999999999999S",
            b"<Period id=\"p0\">",
            b"$",
            b"&#0;",
        ];
        damaged("dash_manifest", Cost::Heavy, &seeds, tokens, super::manifest);
    }
}
