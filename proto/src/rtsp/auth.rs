//! Basic (RFC 7617) and Digest (RFC 7616, and RFC 2069 as cameras still speak it): what a server asks, and whether an
//! answer proves that the peer knows a password. Passwords are the caller's alone.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

/// The realm of every challenge.
pub const REALM: &str = "penstock";

/// What a peer says to prove who it is. Nothing of it is shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    claim: Claim,
}

#[derive(Clone, PartialEq, Eq)]
enum Claim {
    Basic {
        password: String,
    },
    Digest(Box<Answer>),
    /// Another scheme, or a digest for a nonce that is not in force: proves nothing.
    Void,
}

/// The fields of a digest's answer that go into it, and the method of the request.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) algorithm: Algorithm,
    pub(super) method: String,
    pub(super) realm: String,
    pub(super) nonce: String,
    /// As the peer wrote it: full, relative or the base address (Bosch, VLC, HappyTime).
    pub(super) uri: String,
    /// `qop=auth`: count and client's nonce.
    pub(super) quality: Option<(String, String)>,
    pub(super) response: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha256,
}

/// Whether [`Credentials`] come from somebody who knows a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Proven,
    NotProven,
}

impl Credentials {
    /// `value` of `Authorization`, of a request with `method`, while `nonce` is in force.
    pub(super) fn parse(value: &str, method: &str, nonce: &str) -> Credentials {
        let (scheme, rest) = value.trim().split_once([' ', '\t']).unwrap_or((value, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                let decoded = STANDARD.decode(rest.trim()).unwrap_or_default();
                let text = String::from_utf8_lossy(&decoded);
                let (user, password) = text.split_once(':').unwrap_or((&text, ""));
                Credentials {
                    user: user.to_owned(),
                    claim: Claim::Basic {
                        password: password.to_owned(),
                    },
                }
            }
            "digest" => digest_credentials(rest, method, nonce),
            _ => Credentials {
                user: String::new(),
                claim: Claim::Void,
            },
        }
    }

    /// As the peer wrote it; it may be empty.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the peer knows `password`, whatever user it is called. May be asked about one candidate after the other.
    pub fn proves(&self, password: &str) -> Proof {
        let holds = match &self.claim {
            Claim::Basic { password: claimed } => same(claimed.as_bytes(), password.as_bytes()),
            Claim::Digest(answer) => {
                let expected = answer.expected(&self.user, password);
                same(expected.as_bytes(), answer.response.to_ascii_lowercase().as_bytes())
            }
            Claim::Void => false,
        };
        if holds { Proof::Proven } else { Proof::NotProven }
    }
}

impl Answer {
    /// RFC 7616, 3.4.1.
    pub(super) fn expected(&self, user: &str, password: &str) -> String {
        let hash = |text: String| self.algorithm.hash(text.as_bytes());
        let first = hash(format!("{user}:{}:{password}", self.realm));
        let second = hash(format!("{}:{}", self.method, self.uri));
        hash(match &self.quality {
            Some((count, theirs)) => format!("{first}:{}:{count}:{theirs}:auth:{second}", self.nonce),
            None => format!("{first}:{}:{second}", self.nonce),
        })
    }
}

impl Algorithm {
    fn hash(self, bytes: &[u8]) -> String {
        match self {
            Algorithm::Md5 => hex(&Md5::digest(bytes)),
            Algorithm::Sha256 => hex(digest(&SHA256, bytes).as_ref()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The values of `WWW-Authenticate`, in an order that all cope with: ffmpeg, GStreamer and live555 take the last digest,
/// and ffmpeg knows MD5 alone.
pub(super) fn challenges(nonce: &str, freshness: Freshness) -> [String; 3] {
    let stale = match freshness {
        Freshness::First => "",
        Freshness::Stale => ", stale=TRUE",
    };
    [
        format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=SHA-256{stale}"),
        format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\"{stale}"),
        format!("Basic realm=\"{REALM}\""),
    ]
}

/// Why a challenge is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    First,
    /// The peer's nonce is no longer in force: it need not ask its user again.
    Stale,
}

/// A nonce that nobody can guess who does not know `seed`.
pub(super) fn nonce(seed: u64, number: u64) -> String {
    let bytes = [seed.to_be_bytes(), number.to_be_bytes()].concat();
    hex(&digest(&SHA256, &bytes).as_ref()[..16])
}

/// Whether a digest is for another nonce than `nonce`.
pub(super) fn is_stale(value: &str, nonce: &str) -> bool {
    let is_digest = value
        .trim()
        .get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("digest"));
    is_digest
        && !parameters(value)
            .iter()
            .any(|(name, value)| name.ends_with("nonce") && !name.ends_with("cnonce") && value == nonce)
}

fn digest_credentials(text: &str, method: &str, nonce: &str) -> Credentials {
    let fields = parameters(text);
    let field = |name: &str| {
        let found = fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let algorithm = match field("algorithm").to_ascii_uppercase().as_str() {
        "" | "MD5" => Some(Algorithm::Md5),
        "SHA-256" => Some(Algorithm::Sha256),
        _ => None,
    };
    let quality = match field("qop").to_ascii_lowercase().as_str() {
        "" => Some(None),
        "auth" => Some(Some((field("nc"), field("cnonce")))),
        _ => None,
    };
    let is_ours = field("nonce") == nonce && field("realm") == REALM;
    let claim = match (algorithm, quality) {
        (Some(algorithm), Some(quality)) if is_ours => Claim::Digest(Box::new(Answer {
            algorithm,
            method: method.to_owned(),
            realm: field("realm"),
            nonce: field("nonce"),
            uri: field("uri"),
            quality,
            response: field("response"),
        })),
        _ => Claim::Void,
    };
    Credentials {
        user: field("username"),
        claim,
    }
}

/// `name="value", name=value`: names in lower case, values without quotes.
pub(super) fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind.split_at(behind.find(',').unwrap_or(behind.len())),
        };
        let name = name.trim_matches(|char: char| char == ',' || char.is_whitespace());
        found.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        rest = behind;
    }
    found
}

/// In a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differing == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_and_both_digests_prove_a_password_and_no_other() {
        let check = |value: &str, password: &str| {
            let credentials = Credentials::parse(value, "DESCRIBE", "abc");
            let wrong = [
                credentials.proves(""),
                credentials.proves("wrong"),
                credentials.proves(&format!("{password}x")),
            ];
            assert_eq!(wrong, [Proof::NotProven; 3], "{value}");
            assert!(!format!("{credentials:?}").contains(password));
            (credentials.user().to_owned(), credentials.proves(password))
        };
        let proven = |user: &str| (user.to_owned(), Proof::Proven);
        assert_eq!(check("Basic dXNlcjpwQDo6JTIw", "p@::%20"), proven("user"));
        // By ffmpeg's and curl's own arithmetic: md5(md5("u:penstock:secret") : "abc" : md5("DESCRIBE:URI")).
        for uri in ["rtsp://h/live", "/live", "rtsp://h/live/"] {
            let first = hex(&Md5::digest(b"u:penstock:secret"));
            let second = hex(&Md5::digest(format!("DESCRIBE:{uri}").as_bytes()));
            let response = hex(&Md5::digest(format!("{first}:abc:{second}").as_bytes()));
            let value = format!(
                "Digest username=\"u\", realm=\"penstock\", nonce=\"abc\", uri=\"{uri}\", response=\"{response}\""
            );
            assert_eq!(check(&value, "secret"), proven("u"));
            let other = Credentials::parse(&value, "DESCRIBE", "another");
            assert_eq!(other.proves("secret"), Proof::NotProven);
            assert!(is_stale(&value, "another") && !is_stale(&value, "abc"));
        }
        let sha = |text: &str| hex(digest(&SHA256, text.as_bytes()).as_ref());
        let (first, second) = (sha("u:penstock:secret"), sha("DESCRIBE:/x"));
        let response = sha(&format!("{first}:abc:00000001:xyz:auth:{second}"));
        let value = format!(
            "digest username=u,realm=\"penstock\",nonce=abc,uri=\"/x\",algorithm=SHA-256,qop=auth,nc=00000001,cnonce=\"xyz\",response={response}"
        );
        assert_eq!(check(&value, "secret"), proven("u"));
        assert_eq!(check("Bearer secret", "secret").1, Proof::NotProven);
    }

    /// RFC 7616, 3.9.1.
    #[test]
    fn the_specification_s_own_example_holds() {
        let answer = |algorithm, response: &str| Answer {
            algorithm,
            method: "GET".to_owned(),
            realm: "http-auth@example.org".to_owned(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".to_owned(),
            uri: "/dir/index.html".to_owned(),
            quality: Some((
                "00000001".to_owned(),
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".to_owned(),
            )),
            response: response.to_owned(),
        };
        let md5 = answer(Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(md5.expected("Mufasa", "Circle of Life"), md5.response);
        let sha = answer(
            Algorithm::Sha256,
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        );
        assert_eq!(sha.expected("Mufasa", "Circle of Life"), sha.response);
    }

    #[test]
    fn nonces_differ_and_md5_is_the_last_digest() {
        assert_ne!(nonce(1, 1), nonce(1, 2));
        assert_ne!(nonce(1, 1), nonce(2, 1));
        let [sha, md5, basic] = challenges("n", Freshness::Stale);
        assert!(sha.contains("SHA-256") && sha.contains("stale=TRUE"));
        assert!(md5.starts_with("Digest") && !md5.contains("SHA") && basic.starts_with("Basic"));
    }
}
