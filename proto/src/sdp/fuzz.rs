//! Any text: no panic, all bounds kept, and what was written is read back the same.

use std::net::{IpAddr, Ipv4Addr};

use super::limits::{MEDIA_MAX, PARAMETERS_MAX};
use super::{Description, Origin};

/// Any bytes as a description.
pub fn text(input: &[u8]) {
    let Ok(description) = Description::parse(input) else {
        return;
    };
    assert!((1..=MEDIA_MAX).contains(&description.media.len()));
    for format in description.media.iter().filter_map(|medium| medium.format.as_ref()) {
        assert!(format.clock_rate > 0 && format.payload_type < 128);
        assert!(format.parameters.len() <= PARAMETERS_MAX);
    }
    let origin = Origin {
        session: 1,
        version: 2,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let written = description.text(origin);
    assert!(
        written
            .split("\r\n")
            .all(|line| line.is_empty() || line.as_bytes()[1] == b'='),
        "{written}"
    );
    let media = |description: &Description| description.media.iter().filter(|one| one.format.is_some()).count();
    if let Ok(again) = Description::parse(written.as_bytes()) {
        assert_eq!(media(&again), media(&description));
        // Read once, a text is clean: it is the same from here on.
        assert_eq!(
            Description::parse(again.text(origin).as_bytes()).map(|third| third.media.len()),
            Ok(again.media.len())
        );
    } else {
        assert_eq!(media(&description), 0);
    }
}

#[cfg(test)]
mod runs {
    use super::super::tests::TEXTS;
    use crate::damage::{Cost, damaged};

    #[test]
    fn sdp_text() {
        let seeds: Vec<Vec<u8>> = TEXTS.iter().map(|(_, text, _)| text.to_vec()).collect();
        let tokens: &[&[u8]] = &[
            b"\nm=video 0 RTP/AVP 96",
            b"\nm=audio 0 RTP/AVP 0 8 97",
            b"\na=rtpmap:96 ",
            b"\na=fmtp:96 ",
            b"\na=control:",
            b"\na=sendonly",
            b"/90000",
            b"/0",
            b"==",
            b" x=y",
            b";",
            b"\xe9",
            b"\t",
        ];
        damaged("sdp_text", Cost::Heavy, &seeds, tokens, super::text);
    }
}
