//! F4M 1.0.

use std::fmt::Write;

use super::bootstrap::{TIMESCALE, millis};
use crate::media::{Format, Presentation, Rendition};
use crate::tag::mux;
use crate::xml::escape;

/// Appends the manifest of the stream `name`: a bootstrap and a media element for each rendition.
pub fn manifest(presentation: &Presentation, name: &str, renditions: &[&Rendition], out: &mut String) {
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str("<manifest xmlns=\"http://ns.adobe.com/f4m/1.0\">\n<id>");
    escape(name, out);
    let stream_type = if presentation.is_ended { "recorded" } else { "live" };
    out.push_str("</id>\n");
    put(out, format_args!("<streamType>{stream_type}</streamType>\n"));
    out.push_str("<deliveryType>streaming</deliveryType>\n");
    let longest = renditions.iter().filter_map(|rendition| length(rendition)).max();
    if let Some(length) = longest.filter(|_| presentation.is_ended) {
        let (seconds, rest) = (length / u64::from(TIMESCALE), length % u64::from(TIMESCALE));
        put(out, format_args!("<duration>{seconds}.{rest:03}</duration>\n"));
    }
    for rendition in renditions {
        let path = &rendition.path;
        put(
            out,
            format_args!("<bootstrapInfo profile=\"named\" id=\"bootstrap{path}\" url=\"{path}.abst\"/>\n"),
        );
    }
    for rendition in renditions {
        put_media(rendition, out);
    }
    out.push_str("</manifest>\n");
}

fn put_media(rendition: &Rendition, out: &mut String) {
    let path = &rendition.path;
    // A player appends `Seg1-FragN`.
    put(
        out,
        format_args!("<media streamId=\"{path}\" url=\"{path}-\" bootstrapInfoId=\"bootstrap{path}\""),
    );
    let kilobits = rendition.rate.average.div_ceil(1_000);
    if kilobits > 0 {
        put(out, format_args!(" bitrate=\"{kilobits}\""));
    }
    let size = rendition.tracks.iter().find_map(|track| match track.format {
        Format::Video { width, height, .. } if width > 0 && height > 0 => Some((width, height)),
        _ => None,
    });
    if let Some((width, height)) = size {
        put(out, format_args!(" width=\"{width}\" height=\"{height}\""));
    }
    out.push_str(">\n<metadata>");
    let mut metadata = Vec::new();
    mux::metadata(&rendition.tracks, &mut metadata);
    put_base64(&metadata, out);
    out.push_str("</metadata>\n</media>\n");
}

/// From the first fragment to the end of the last, ms.
fn length(rendition: &Rendition) -> Option<u64> {
    let (first, last) = (rendition.segments.front()?, rendition.segments.back()?);
    let end = millis(last.start.saturating_add(last.duration), rendition.timescale);
    Some(end.saturating_sub(millis(first.start, rendition.timescale)))
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all");
}

/// RFC 4648, 4.
fn put_base64(bytes: &[u8], out: &mut String) {
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            let digit = (word >> (18 - 6 * index)) & 63;
            out.push(if index <= group.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = String::new();
            put_base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, expected);
        }
        let mut out = String::new();
        put_base64(&[0xfb, 0xff, 0xfe], &mut out);
        assert_eq!(out, "+//+");
    }
}
