//! What a request makes its answer depend on: `If-None-Match` and `If-Range` (RFC 9110 sections 8.8.3 and 13.1), and the
//! codings it takes (section 12.5.3).
//!
//! Only entity tags are compared: there is no `Last-Modified` here, so a date never matches. What is malformed does not match
//! either, and the answer is the whole in plain bytes, which is never wrong.

use super::request::weight_thousandths;

/// Blanks and tabs off both ends.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Whether a line of `If-None-Match` names `etag`, by weak comparison, or anything (`*`).
pub(super) fn names_tag(line: &str, etag: &str) -> bool {
    if trim(line) == "*" {
        return true;
    }
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        match split_tag(rest) {
            Some((tag, after)) if weakly(tag) != weakly(etag) => rest = after,
            found => return found.is_some(),
        }
    }
}

/// Whether the value of `If-Range` is `etag`, by strong comparison.
pub(super) fn is_tag(value: &str, etag: &str) -> bool {
    !etag.starts_with("W/") && trim(value) == etag
}

/// The tag at the beginning, quotes and all, and what stands behind it. Commas may stand inside.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let quoted = weakly(text).strip_prefix('"')?;
    let end = quoted.find('"')? + 1;
    Some(text.split_at(text.len() - quoted.len() + end))
}

fn weakly(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Whether gzip is at least as welcome as plain bytes. A client that says nothing of codings may have no decoder.
pub(super) fn prefers_gzip<'a>(lines: impl Iterator<Item = &'a str>) -> bool {
    let (mut gzip, mut identity, mut other) = (None, None, None);
    for choice in lines.flat_map(|line| line.split(',')) {
        let (coding, parameters) = choice.split_once(';').unwrap_or((choice, ""));
        let coding = trim(coding);
        let weight = if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            &mut gzip
        } else if coding.eq_ignore_ascii_case("identity") {
            &mut identity
        } else if coding == "*" {
            &mut other
        } else {
            continue;
        };
        *weight = Some(weight_thousandths(parameters));
    }
    let gzip = gzip.or(other).unwrap_or(0);
    // Plain bytes that nobody spoke of are taken, but not preferred.
    gzip > 0 && gzip >= identity.or(other).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_compared_weakly() {
        let long = format!("{}\"a\"", "\"x\", ".repeat(4_000));
        let cases: &[(&str, &str, bool)] = &[
            ("\"a\"", "\"a\"", true),
            ("\"b\"", "\"a\"", false),
            ("\"A\"", "\"a\"", false),
            ("\"b\", \"a\"", "\"a\"", true),
            ("\"b\",\"a\",\"c\"", "\"a\"", true),
            (" , ,\"b\",\t, \"a\" ", "\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("W/\"b\", W/\"a\"", "W/\"a\"", true),
            ("w/\"a\"", "\"a\"", false),
            ("*", "\"a\"", true),
            (" * ", "\"a\"", true),
            ("*, \"b\"", "\"a\"", false),
            ("\"b,\"", "\"a\"", false),
            ("\"b, \", \"a\"", "\"a\"", true),
            ("\"a,b\"", "\"a,b\"", true),
            // Half a tag, or none.
            ("", "\"a\"", false),
            (",", "\"a\"", false),
            ("a", "\"a\"", false),
            ("\"a", "\"a\"", false),
            ("\"", "\"a\"", false),
            ("W/", "\"a\"", false),
            ("b, \"a\"", "\"a\"", false),
            ("\"ab\"", "\"a\"", false),
            (&long, "\"a\"", true),
        ];
        for (line, etag, expected) in cases {
            assert_eq!(names_tag(line, etag), *expected, "{line} for {etag}");
        }
    }

    #[test]
    fn if_range_is_compared_strongly() {
        let cases = [
            ("\"a\"", "\"a\"", true),
            (" \"a\"\t", "\"a\"", true),
            ("\"b\"", "\"a\"", false),
            ("W/\"a\"", "\"a\"", false),
            ("W/\"a\"", "W/\"a\"", false),
            ("\"a\"", "W/\"a\"", false),
            ("*", "\"a\"", false),
            ("Wed, 21 Oct 2015 07:28:00 GMT", "\"a\"", false),
            ("", "\"a\"", false),
        ];
        for (value, etag, expected) in cases {
            assert_eq!(is_tag(value, etag), expected, "{value} for {etag}");
        }
    }

    #[test]
    fn gzip_is_for_those_who_prefer_it() {
        let cases: &[(&[&str], bool)] = &[
            (&[], false),
            (&[""], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["gzip, deflate, br, zstd"], true),
            (&["deflate", "gzip"], true),
            (&["br"], false),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.000"], false),
            (&["gzip;Q=0"], false),
            (&["gzip;q=0, *"], false),
            (&["gzip;q=0.001"], true),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["identity"], false),
            (&["identity;q=0"], false),
            (&["identity;q=0, gzip;q=0.1"], true),
            (&["identity;q=0, *"], true),
            (&["gzip;q=0.5, identity;q=0.8"], false),
            (&["gzip;q=0.8, identity;q=0.8"], true),
            (&["gzip;q=0.5, *;q=0.8"], false),
            (&["gzip, *;q=0"], true),
            // What a browser says for `<video>`, and what curl does with --compressed.
            (&["identity;q=1, *;q=0"], false),
            (&["deflate, gzip, br"], true),
            (&["gzip;q=many"], true),
            (&["gzip;level=9;q=0"], false),
            (&[";;,;q=0,gzipped"], false),
        ];
        for (lines, expected) in cases {
            assert_eq!(prefers_gzip(lines.iter().copied()), *expected, "{lines:?}");
        }
    }
}
