//! A server's challenges (RFC 7617, RFC 7616, and RFC 2069 as cameras still speak it), and the answer to one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::address::{Handover, Login};
use crate::rtsp::auth::{self, Algorithm, Answer, parameters};

/// What a server asks, as far as it can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: Scheme,
    /// The nonce before it was right, but is in force no longer.
    pub is_stale: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scheme {
    Basic,
    Digest {
        algorithm: Algorithm,
        realm: String,
        nonce: String,
        opaque: Option<String>,
        /// `qop` has `auth`: requests are counted.
        is_counted: bool,
    },
}

impl Challenge {
    /// The strongest of all values of `WWW-Authenticate` that can be answered.
    pub fn best<'a>(values: impl Iterator<Item = &'a str>, handover: Handover) -> Option<Challenge> {
        let all = values.flat_map(challenges).filter_map(|text| Challenge::parse(&text));
        all.filter(|challenge| handover == Handover::Any || challenge.scheme != Scheme::Basic)
            .max_by_key(|challenge| match &challenge.scheme {
                Scheme::Basic => 0,
                Scheme::Digest { algorithm, .. } => match algorithm {
                    Algorithm::Md5 => 1,
                    Algorithm::Sha256 => 2,
                },
            })
    }

    fn parse(text: &str) -> Option<Challenge> {
        let (scheme, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            let scheme = Scheme::Basic;
            let is_stale = false;
            return Some(Challenge { scheme, is_stale });
        }
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let fields = parameters(rest);
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let algorithm = match field("algorithm").unwrap_or_default().to_ascii_uppercase().as_str() {
            "" | "MD5" => Algorithm::Md5,
            "SHA-256" => Algorithm::Sha256,
            _ => return None,
        };
        let qualities = field("qop").unwrap_or_default().to_ascii_lowercase();
        let is_counted = qualities.split(',').any(|one| one.trim() == "auth");
        if !is_counted && !qualities.trim().is_empty() {
            return None;
        }
        Some(Challenge {
            scheme: Scheme::Digest {
                algorithm,
                realm: field("realm").unwrap_or_default(),
                nonce: field("nonce").unwrap_or_default(),
                opaque: field("opaque"),
                is_counted,
            },
            is_stale: field("stale").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    /// `Authorization` of a request. `count` is of this nonce, from 1; `ours` is a nonce of the client.
    pub fn answer(&self, login: &Login, (method, url): (&str, &str), count: u32, ours: &str) -> String {
        let Login { user, password } = login;
        let Scheme::Digest {
            algorithm,
            realm,
            nonce,
            opaque,
            is_counted,
        } = &self.scheme
        else {
            return format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        };
        let quality = is_counted.then(|| (format!("{count:08x}"), ours.to_owned()));
        let answer = Answer {
            algorithm: *algorithm,
            method: method.to_owned(),
            realm: realm.clone(),
            nonce: nonce.clone(),
            uri: url.to_owned(),
            quality: quality.clone(),
            response: String::new(),
        };
        let response = answer.expected(user, password);
        let user = user.replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{url}\", response=\"{response}\""
        );
        if *algorithm == Algorithm::Sha256 {
            text += ", algorithm=SHA-256";
        }
        if let Some(opaque) = opaque {
            text += &format!(", opaque=\"{opaque}\"");
        }
        if let Some((count, ours)) = quality {
            text += &format!(", qop=auth, nc={count}, cnonce=\"{ours}\"");
        }
        text
    }
}

/// A nonce of the client, for the request that has this number.
pub(super) fn nonce(seed: u64, number: u64) -> String {
    auth::nonce(seed, number)
}

/// One header may have several: each begins with a scheme, a blank, and a parameter or nothing.
fn challenges(value: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for piece in pieces(value) {
        let piece = piece.trim();
        let name = piece.split('=').next().unwrap_or_default().trim_end();
        let is_scheme = name.contains(char::is_whitespace) || !piece.contains('=');
        match all.last_mut() {
            Some(last) if !is_scheme => {
                last.push_str(", ");
                last.push_str(piece);
            }
            _ => all.push(piece.to_owned()),
        }
    }
    all
}

/// Between commas that stand in no quotes.
fn pieces(value: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    value.split(move |char| {
        is_quoted ^= char == '"';
        char == ',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(values: &[&str]) -> Option<Challenge> {
        Challenge::best(values.iter().copied(), Handover::Any)
    }

    fn answer(values: &[&str], count: u32) -> String {
        let login = Login {
            user: "Mufasa".into(),
            password: "Circle of Life".into(),
        };
        let ours = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        best(values)
            .unwrap()
            .answer(&login, ("GET", "/dir/index.html"), count, ours)
    }

    /// RFC 7616, 3.9.1, and RFC 7617, 2.
    #[test]
    fn the_answers_are_those_of_the_rfcs() {
        let both = [
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
        ];
        let md5 = answer(&both[..1], 1);
        assert!(md5.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""), "{md5}");
        let sha256 = answer(&both, 1);
        let expected = "response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", algorithm=SHA-256, opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", qop=auth, nc=00000001, cnonce=\"f2/";
        assert!(sha256.contains(expected), "{sha256}");
        assert!(answer(&both, 17).contains("nc=00000011"));
        assert_eq!(answer(&["Basic realm=\"x\""], 1), "Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl");
    }

    #[test]
    fn the_strongest_challenge_is_answered() {
        let one_header = "Basic realm=\"a, b\", Digest realm=\"c, d\", nonce=\"n\", stale=TRUE";
        let found = best(&[one_header]).unwrap();
        assert!(found.is_stale);
        let text = found.answer(
            &Login {
                user: "a\"b".into(),
                password: String::new(),
            },
            ("PLAY", "u"),
            1,
            "",
        );
        assert!(
            text.starts_with("Digest username=\"a\\\"b\", realm=\"c, d\", nonce=\"n\", uri=\"u\""),
            "{text}"
        );
        assert_eq!(best(&["Basic"]).unwrap().scheme, Scheme::Basic);
        for none in [
            "",
            "Negotiate",
            "Digest algorithm=SHA-512-256, nonce=\"x\"",
            "Digest qop=\"auth-int\", nonce=\"x\"",
            "=,=,\"=",
        ] {
            assert_eq!(best(&[none]), None, "{none}");
        }
        let stranger = |values: &[&str]| Challenge::best(values.iter().copied(), Handover::DigestOnly);
        assert_eq!(stranger(&["Basic realm=x"]), None);
        assert!(stranger(&["Basic realm=x", "Digest realm=x, nonce=y"]).is_some());
    }
}
