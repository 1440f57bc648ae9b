//! Addresses of requests, as clients write them: what stream is meant, and which of its media.
//!
//! Clients put a medium's name behind what they were told the base is, query and all: `rtsp://h/live?pass=x/track1` is
//! ffmpeg's and live555's, `rtsp://h/live/track1?pass=x` GStreamer's.

use std::fmt;

/// What a request is about.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// As the peer wrote it, percent signs included; without slashes at its ends, without `.sdp`, and without what names a
    /// medium (`/trackN`, `/trackID=N`, `/streamid=N`) where a medium is asked for.
    pub path: String,
    /// Behind the question mark; empty if there is none. It may hold secrets: `Debug` leaves it out.
    pub query: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// Of an absolute address, a path, or `*` (which is empty).
    pub fn parse(url: &str) -> Target {
        let (path, query) = split(url);
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".sdp").unwrap_or(path);
        Target {
            path: path.to_owned(),
            query: query.trim_end_matches('/').to_owned(),
        }
    }

    /// Of a medium's address: the target, and the last part as it names the medium; empty if nothing does.
    pub fn parse_medium(url: &str) -> (Target, String) {
        let mut target = Target::parse(url);
        let name = cut_medium(&mut target.query).or_else(|| cut_medium(&mut target.path));
        let path = target.path.trim_matches('/');
        target.path = path.strip_suffix(".sdp").unwrap_or(path).to_owned();
        (target, name.unwrap_or_default())
    }
}

/// The last part, if it names a medium. A text of one part is a stream's name, whatever it looks like.
fn cut_medium(text: &mut String) -> Option<String> {
    let at = text.rfind('/')?;
    medium_number(&text[at + 1..])?;
    let name = text.split_off(at + 1);
    text.truncate(at);
    Some(name)
}

/// `track1`, `trackID=1`, `streamid=1`, `stream=1`: the number.
pub fn medium_number(name: &str) -> Option<u32> {
    let lower = name.to_ascii_lowercase();
    let names = ["trackid=", "track", "streamid=", "stream="];
    let rest = names.iter().find_map(|begin| lower.strip_prefix(begin))?;
    let is_number = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| rest.parse().ok()).flatten()
}

/// Path and query of an address, without scheme and host.
fn split(url: &str) -> (&str, &str) {
    let behind = match url.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            &rest[end..]
        }
        _ if url == "*" => "",
        _ => url,
    };
    behind.split_once('?').unwrap_or((behind, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_found_in_every_spelling() {
        for (url, path, query, medium) in [
            ("rtsp://h:5554/live", "live", "", ""),
            ("rtsp://h/live/", "live", "", ""),
            ("rtsp://h/live.sdp", "live", "", ""),
            ("rtsp://h/live.sdp/streamid=1", "live", "", "streamid=1"),
            ("rtsp://h/live/track1", "live", "", "track1"),
            ("rtsp://h/live//trackID=12/", "live", "", "trackID=12"),
            (
                "rtsp://h/app/live?pass=x/streamid=0",
                "app/live",
                "pass=x",
                "streamid=0",
            ),
            ("rtsp://h/live/streamid=0?pass=x", "live", "pass=x", "streamid=0"),
            ("rtsp://h/live/?pass=x/", "live", "pass=x", ""),
            ("rtsp://h/track1", "track1", "", ""),
            ("rtsp://h/live/tracks", "live/tracks", "", ""),
            ("rtsp://h/live/track", "live/track", "", ""),
            ("rtsp://h?a=b", "", "a=b", ""),
            ("rtsp://h", "", "", ""),
            ("*", "", "", ""),
            ("/live/track0", "live", "", "track0"),
            ("/live?url=rtsp://x/y", "live", "url=rtsp://x/y", ""),
            ("rtsp://h/a%2Fb%20c", "a%2Fb%20c", "", ""),
        ] {
            let (target, name) = Target::parse_medium(url);
            assert_eq!(
                (target.path.as_str(), target.query.as_str(), name.as_str()),
                (path, query, medium),
                "{url}"
            );
        }
        let target = Target::parse("rtsp://h/live/track1?pass=x");
        assert_eq!((target.path.as_str(), target.query.as_str()), ("live/track1", "pass=x"));
        assert!(!format!("{target:?}").contains("pass"));
        assert_eq!(medium_number("trackID=4294967296"), None);
    }
}
