//! Fuzz bodies: any query as delivery directives, any text as playlists and as their reloads.

use super::check::{Watcher, check_delta, check_master, check_media, check_reports};
use super::{Edge, Reload, Verdict};
use crate::noise::chosen_by;

/// Any query: read or refused; and what is answered now is answered as well when more is there.
pub fn reload(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let Ok(reload) = Reload::parse(pairs) else { return };
    let chosen = chosen_by(input, usize::MAX) as u64;
    let mut edge = Edge {
        number: reload.msn.unwrap_or(chosen).saturating_sub(chosen % 5),
        parts: (chosen >> 8) as u32 % 8,
        is_complete: chosen & 0x10_0000 != 0,
        is_ended: chosen & 0xf0_0000 == 0,
        part_target_micros: (chosen >> 24) as u32 & 0x0f_ffff,
    };
    let mut before = reload.judge(edge);
    for _ in 0..8 {
        // One more part, or the first of the next segment.
        if edge.is_complete {
            let Some(number) = edge.number.checked_add(1) else {
                return;
            };
            edge = Edge {
                number,
                parts: 1,
                is_complete: false,
                ..edge
            };
        } else if edge.parts < 6 {
            edge.parts += 1;
        } else {
            edge.is_complete = true;
        }
        let now = reload.judge(edge);
        assert!(before != Verdict::Now || now == Verdict::Now, "{reload:?} {edge:?}");
        assert!(before != Verdict::Wait || now != Verdict::TooFar, "{reload:?} {edge:?}");
        before = now;
    }
}

/// Any text: judged as what it may be, and each playlist in it as a reload of the one before.
pub fn playlist(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    check_master(&text);
    let mut watcher = Watcher::new();
    let mut before = "";
    for (at, piece) in text.split("#EXTM3U").skip(1).take(8).enumerate() {
        let whole = format!("#EXTM3U{piece}");
        let problems = check_media(&whole);
        assert!(problems.len() <= super::limits::CHECK_PROBLEMS_MAX);
        problems
            .iter()
            .for_each(|problem| assert!(!problem.to_string().is_empty()));
        watcher.see(at as u64 * 1_000, &whole);
        check_delta(before, &whole, &text);
        check_reports(&whole, &[("../2/index.m3u8", before)]);
        before = piece;
    }
}

#[cfg(test)]
mod runs {
    use super::super::scene::texts;
    use crate::damage::{Cost, damaged};

    #[test]
    fn hls_reload() {
        let seeds = [
            "_HLS_msn=12&_HLS_part=3&_HLS_skip=YES",
            "e=abcdef&_HLS_msn=18446744073709551615&_HLS_part=0",
            "_HLS_skip=v2",
        ];
        let seeds = seeds.map(|seed| seed.as_bytes().to_vec());
        let tokens: &[&[u8]] = &[
            b"_HLS_msn=",
            b"_HLS_part=",
            b"_HLS_skip=",
            b"&",
            b"YES",
            b"99",
            b"-1",
            b"%20",
        ];
        damaged("hls_reload", Cost::Light, &seeds, tokens, super::reload);
    }

    #[test]
    fn hls_playlist() {
        let tokens: &[&[u8]] = &[
            b"#EXTM3U\n",
            b"\n",
            b"\r\n",
            b"#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n",
            b"#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n",
            b"#EXT-X-TARGETDURATION:18446744073709551615\n",
            b"#EXTINF:18446744073.9,\n",
            b"#EXT-X-BYTERANGE:18446744073709551615@1\n",
            b"#EXT-X-DISCONTINUITY\n",
            b"#EXT-X-GAP\n",
            b",BYTERANGE=\"1@18446744073709551614\"",
            b"#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:59.999Z\n",
            b"#EXT-X-ENDLIST\n",
            b"\"",
            b",",
            b"=",
        ];
        damaged("hls_playlist", Cost::Heavy, &texts(), tokens, super::playlist);
    }
}
