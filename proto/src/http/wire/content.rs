//! Heads of answers whose bodies others send: segments, parts, playlists, manifests; and of the answer that there is nothing
//! new (RFC 9110 sections 8, 14.4 and 15.4.5, RFC 9111 section 5.2, RFC 9112 section 6).
//!
//! It is only what is said about a body. Where its bytes come from, and when they are out, is the caller's to know.

use super::date;
use super::range::ContentRange;
use super::request::Persistence;
use super::response::{HeadWriter, Status};

/// What is said about a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// [`Status::Ok`], [`Status::PartialContent`] or [`Status::NotModified`]; anything else is a refusal.
    pub status: Status,
    pub content_type: &'a str,
    /// Of what is sent: of a range its own.
    pub length: Length,
    /// With `PartialContent`, and with nothing else.
    pub content_range: Option<ContentRange>,
    /// With its quotes. Each coding has its own.
    pub etag: Option<&'a str>,
    pub cache: Cache,
    pub coding: Coding,
    /// Now, since 1970: caches count the answer's age from it.
    pub wall_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Known(u64),
    /// Not known when the head is sent: the body comes in chunks ([`chunk_head`](super::chunks::chunk_head)).
    Chunked,
}

/// How long an answer may be given again without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// This URL never means other bytes.
    Immutable {
        max_age_seconds: u32,
    },
    MaxAge {
        seconds: u32,
    },
    /// May be kept, and is asked for again each time, with its tag.
    NoCache,
    NoStore,
}

/// In which forms something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// In one, for everybody: ranges of it can be asked for.
    Only,
    /// Plain, of something that is also there in gzip. It is sent whole.
    Identity,
    Gzip,
}

/// Where the receiver sees the body's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
    /// HTTP/1.0 knows no chunks.
    Close,
}

/// Longest head in the ordinary: content types and tags of up to 64 characters. Taken at once, so that it does not grow by
/// and by.
pub const HEAD_BYTES: usize = 832;

/// What scripts of other origins may read besides what they always may: players count bytes, ranges, clocks and ages.
const EXPOSED: &str = "Access-Control-Expose-Headers: Accept-Ranges, Age, Content-Encoding, Content-Length, Content-Range, Date, ETag\r\n";

/// # Panics
/// If what is said contradicts itself.
pub fn write_head(out: &mut Vec<u8>, persistence: Persistence, said: &Head<'_>, framing: Framing) {
    check(said);
    out.reserve(HEAD_BYTES);
    let mut head = HeadWriter::begin(out, said.status, persistence);
    head.text(EXPOSED);
    head.text("Timing-Allow-Origin: *\r\nDate: ");
    head.bytes(&date::imf_fixdate(said.wall_seconds));
    head.text("\r\n");
    write_cache(&mut head, said.cache);
    if let Some(etag) = said.etag {
        head.field("ETag", etag);
    }
    match said.coding {
        Coding::Only => {}
        Coding::Identity | Coding::Gzip => head.text("Vary: Accept-Encoding\r\n"),
    }
    if said.status != Status::NotModified {
        write_content(&mut head, said, framing);
    }
    head.end();
}

fn write_cache(head: &mut HeadWriter<'_>, cache: Cache) {
    head.text("Cache-Control: ");
    match cache {
        Cache::Immutable { max_age_seconds } => {
            head.text("max-age=");
            head.number(u64::from(max_age_seconds));
            head.text(", immutable\r\n");
        }
        Cache::MaxAge { seconds } => {
            head.text("max-age=");
            head.number(u64::from(seconds));
            head.text("\r\n");
        }
        Cache::NoCache => head.text("no-cache\r\n"),
        Cache::NoStore => head.text("no-store\r\n"),
    }
}

/// The fields about the body, which an answer that has none must not have: a cache would take them over.
fn write_content(head: &mut HeadWriter<'_>, said: &Head<'_>, framing: Framing) {
    head.field("Content-Type", said.content_type);
    match said.coding {
        Coding::Only => head.text("Accept-Ranges: bytes\r\n"),
        Coding::Identity => head.text("Accept-Ranges: none\r\n"),
        Coding::Gzip => head.text("Accept-Ranges: none\r\nContent-Encoding: gzip\r\n"),
    }
    if let Some(range) = said.content_range {
        range.write(head);
    }
    match framing {
        Framing::Length(bytes) => {
            head.text("Content-Length: ");
            head.number(bytes);
            head.text("\r\n");
        }
        Framing::Chunked => head.text("Transfer-Encoding: chunked\r\n"),
        Framing::Close => {}
    }
}

fn check(said: &Head<'_>) {
    assert!(
        matches!(said.status, Status::Ok | Status::PartialContent | Status::NotModified),
        "{:?} is a refusal",
        said.status
    );
    assert_eq!(
        said.status == Status::PartialContent,
        said.content_range.is_some(),
        "a part says which, and the whole does not"
    );
    if let Some(etag) = said.etag {
        let tag = etag.strip_prefix("W/").unwrap_or(etag);
        assert!(
            tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"'),
            "{etag} is no tag"
        );
    }
    let Some(range) = said.content_range else { return };
    assert!(said.coding == Coding::Only, "what has two forms is sent whole");
    if let Length::Known(bytes) = said.length {
        assert_eq!(
            Some(bytes),
            (range.last - range.first).checked_add(1),
            "the range has so many bytes"
        );
    }
}
