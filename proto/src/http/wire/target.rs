//! Request targets (RFC 9112 section 3.2) and their percent-encoding (RFC 3986 section 2.1).
//!
//! A path is decoded once, and every check is made on the decoded text: no dot segments, no control characters, UTF-8.
//! `+` stays `+` in a path (it divides a wildcard stream's name) and means a blank in a query.

use std::borrow::Cow;
use std::ops::Range;

use super::super::Error;

/// Where the parts of a request target stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub authority: Option<Range<usize>>,
    pub path: Range<usize>,
    /// Behind the `?`.
    pub query: Range<usize>,
}

/// Splits origin-form (`/a?b`), absolute-form (`http://host/a?b`) and `*`. A fragment, which no client should send, is
/// cut off.
pub fn split(target: &str) -> Result<Parts, Error> {
    let end = target.find('#').unwrap_or(target.len());
    let (authority, path_start) = if target.starts_with('/') || target == "*" {
        (None, 0)
    } else {
        let scheme_bytes = scheme_bytes(target).ok_or(Error::TargetForm)?;
        let rest = &target[scheme_bytes..end.max(scheme_bytes)];
        let authority_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
        if authority_bytes == 0 {
            return Err(Error::TargetForm);
        }
        let path_start = scheme_bytes + authority_bytes;
        (Some(scheme_bytes..path_start), path_start)
    };
    let rest = &target[path_start..end];
    let path_bytes = rest.find('?').unwrap_or(rest.len());
    let path_end = path_start + path_bytes;
    let query_start = (path_end + 1).min(end);
    Ok(Parts {
        authority,
        path: path_start..path_end,
        query: query_start..end,
    })
}

fn scheme_bytes(target: &str) -> Option<usize> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let start = target.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(scheme.len())
    })
}

/// Appends the decoded path to `out`; an empty one (absolute-form without path) is `/`.
pub fn decode_path(raw: &str, out: &mut String) -> Result<(), Error> {
    if raw.is_empty() {
        out.push('/');
        return Ok(());
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let offset = raw.len() - rest.len();
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, tail),
                _ => return Err(Error::TargetEncoding { offset }),
            },
            (b'%', _) => return Err(Error::TargetEncoding { offset }),
            (byte, tail) => (byte, tail),
        };
        if byte.is_ascii_control() {
            return Err(Error::TargetEncoding { offset });
        }
        bytes.push(byte);
        rest = tail;
    }
    let text = str::from_utf8(&bytes).map_err(|error| Error::TargetEncoding {
        offset: error.valid_up_to(),
    })?;
    if text.chars().any(char::is_control) {
        return Err(Error::TargetEncoding { offset: 0 });
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Error::DotSegment);
    }
    out.push_str(text);
    Ok(())
}

/// The `name=value` pairs of a query, decoded. What is not UTF-8 or badly encoded stays as it was written: parameters are
/// options, not addresses, and a player's stray `%` must not cost it the stream.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_query(name), decode_query(value))
    })
}

fn decode_query(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['%', '+']) {
        return Cow::Borrowed(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(raw), Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_and_paths_decoded() {
        type Expected = Result<(&'static str, &'static str), Error>;
        let cases: &[(&str, Expected)] = &[
            ("/live.flv", Ok(("/live.flv", ""))),
            ("/live%2Bcam%201.ts?a=b#c", Ok(("/live+cam 1.ts", "a=b"))),
            ("/live+cam.ts?", Ok(("/live+cam.ts", ""))),
            ("http://h:8080/x?y", Ok(("/x", "y"))),
            ("HTTPS://h?y", Ok(("/", "y"))),
            ("http://h#f/x", Ok(("/", ""))),
            ("*", Ok(("*", ""))),
            ("/a%2Fb", Ok(("/a/b", ""))),
            ("/caf%C3%A9", Ok(("/café", ""))),
            ("/a/../b", Err(Error::DotSegment)),
            ("/a/%2e%2E/b", Err(Error::DotSegment)),
            ("/a..b", Ok(("/a..b", ""))),
            ("/%", Err(Error::TargetEncoding { offset: 1 })),
            ("/a%4", Err(Error::TargetEncoding { offset: 2 })),
            ("/a%4g", Err(Error::TargetEncoding { offset: 2 })),
            ("/%00", Err(Error::TargetEncoding { offset: 1 })),
            ("/a%0d%0aSet-Cookie:x", Err(Error::TargetEncoding { offset: 2 })),
            ("/%ff", Err(Error::TargetEncoding { offset: 1 })),
            ("/%C2%85", Err(Error::TargetEncoding { offset: 0 })),
            ("host:443", Err(Error::TargetForm)),
            ("http:///x", Err(Error::TargetForm)),
            ("ftp://h/x", Err(Error::TargetForm)),
        ];
        for (target, expected) in cases {
            let found = split(target).and_then(|parts| {
                let mut path = String::new();
                decode_path(&target[parts.path.clone()], &mut path)?;
                Ok((path, &target[parts.query]))
            });
            let found = found
                .as_ref()
                .map(|(path, query)| (path.as_str(), *query))
                .map_err(|error| *error);
            assert_eq!(&found, expected, "{target}");
        }
    }

    #[test]
    fn query_pairs_are_decoded_leniently() {
        let pairs: Vec<_> = query_pairs("a=1&&b=x+y%21&c&d=%zz&e=%ff&=v").collect();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            pairs,
            [
                ("a", "1"),
                ("b", "x y!"),
                ("c", ""),
                ("d", "%zz"),
                ("e", "%ff"),
                ("", "v")
            ]
        );
    }
}
