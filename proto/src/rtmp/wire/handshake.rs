//! The handshake: three fixed-size packets each way, in the simple form of the specification (5.2) or in the form with
//! digests that Adobe's players and servers speak (not in the specification; facts in reference/mistserver-media.md 7.1).
//!
//! It is not RTMPE: version 6 is answered with version 3, as a server without encryption would. C2 is never verified:
//! ffmpeg does not compute it and others get it wrong.
//!
//! ```text
//! C0/S0  1 byte   version
//! C1/S1  1,536    time 4 | version 4 | scheme 0: (offset 4 .. digest 32 ..) 764 | (key) 764     scheme 1: the halves swapped
//! C2/S2  1,536    simple: the peer's C1/S1    digest: random 1,504 | HMAC 32 keyed by the peer's digest
//! ```

use aws_lc_rs::hmac;

use super::super::error::Error;

/// C1, S1, C2 and S2.
pub const PACKET_BYTES: usize = 1536;
/// C0 with C1, and S0 with S1.
pub const HELLO_BYTES: usize = 1 + PACKET_BYTES;

/// Where the digest stands in C1 or S1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Digest in the first half.
    Zero,
    /// Digest in the second half.
    One,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Simple,
    Digest(Scheme),
}

/// Whether `version`, a peer's very first byte, can begin a handshake. From 32 on it is text of another protocol.
pub fn check_version(version: u8) -> Result<(), Error> {
    match version {
        3..=31 => Ok(()),
        _ => Err(Error::Version { version }),
    }
}

/// Appends S0, S1 and S2 to `out`. `hello` is C0 and C1; `seed` makes S1's random bytes.
pub fn answer(hello: &[u8; HELLO_BYTES], seed: u64, out: &mut Vec<u8>) -> Result<Form, Error> {
    check_version(hello[0])?;
    let c1 = &hello[1..];
    let mut random = Random::new(seed);
    out.push(VERSION);
    let form = form_of(c1, PLAYER_KEY);
    let s1 = out.len();
    match form {
        Form::Simple => {
            out.extend_from_slice(&[0; 8]);
            random.fill(out, PACKET_BYTES - 8);
            out.extend_from_slice(c1);
        }
        Form::Digest(scheme) => {
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&SERVER_VERSION);
            random.fill(out, PACKET_BYTES - 8);
            seal(&mut out[s1..], scheme, SERVER_KEY);
            let at = digest_at(c1, scheme);
            append_proof(&c1[at..at + DIGEST_BYTES], SERVER_KEY, &mut random, out);
        }
    }
    Ok(form)
}

/// Appends C0 and C1 of a client that speaks `form`.
pub fn hello(form: Form, seed: u64, out: &mut Vec<u8>) {
    out.push(VERSION);
    let c1 = out.len();
    out.extend_from_slice(&[0; 4]);
    match form {
        Form::Simple => out.extend_from_slice(&[0; 4]),
        Form::Digest(_) => out.extend_from_slice(&PLAYER_VERSION),
    }
    Random::new(seed).fill(out, PACKET_BYTES - 8);
    if let Form::Digest(scheme) = form {
        seal(&mut out[c1..], scheme, PLAYER_KEY);
    }
}

/// Appends C2, the client's answer to S0 and S1.
pub fn confirm(form: Form, hello: &[u8; HELLO_BYTES], seed: u64, out: &mut Vec<u8>) -> Result<(), Error> {
    check_version(hello[0]).map_err(|_| Error::Reply { version: hello[0] })?;
    let s1 = &hello[1..];
    match (form, form_of(s1, SERVER_KEY)) {
        (Form::Digest(_), Form::Digest(scheme)) => {
            let at = digest_at(s1, scheme);
            append_proof(&s1[at..at + DIGEST_BYTES], PLAYER_KEY, &mut Random::new(seed), out);
        }
        _ => out.extend_from_slice(s1),
    }
    Ok(())
}

/// Whether `packet` (S2 or C2) proves that its sender knows the digest that was sent to it; `key` is the sender's.
#[cfg(test)]
fn proves(packet: &[u8], digest: &[u8], key: &[u8]) -> bool {
    let (random, proof) = packet.split_at(PACKET_BYTES - DIGEST_BYTES);
    sign(sign(key, &[digest]).as_ref(), &[random]).as_ref() == proof
}

fn form_of(packet: &[u8], key: &[u8]) -> Form {
    for scheme in [Scheme::Zero, Scheme::One] {
        let at = digest_at(packet, scheme);
        if digest(packet, at, key).as_ref() == &packet[at..at + DIGEST_BYTES] {
            return Form::Digest(scheme);
        }
    }
    Form::Simple
}

fn digest_at(packet: &[u8], scheme: Scheme) -> usize {
    let half = match scheme {
        Scheme::Zero => 8,
        Scheme::One => 8 + HALF_BYTES,
    };
    let sum: usize = packet[half..half + 4].iter().map(|&byte| usize::from(byte)).sum();
    half + 4 + sum % (HALF_BYTES - 4 - DIGEST_BYTES)
}

/// Over the whole packet but the digest's own bytes; keyed by the name without the secret behind it.
fn digest(packet: &[u8], at: usize, key: &[u8]) -> hmac::Tag {
    let name = &key[..key.len() - SECRET_BYTES];
    sign(name, &[&packet[..at], &packet[at + DIGEST_BYTES..]])
}

fn seal(packet: &mut [u8], scheme: Scheme, key: &[u8]) {
    let at = digest_at(packet, scheme);
    let tag = digest(packet, at, key);
    packet[at..at + DIGEST_BYTES].copy_from_slice(tag.as_ref());
}

fn append_proof(peer_digest: &[u8], key: &[u8], random: &mut Random, out: &mut Vec<u8>) {
    let begin = out.len();
    random.fill(out, PACKET_BYTES - DIGEST_BYTES);
    let proof = sign(sign(key, &[peer_digest]).as_ref(), &[&out[begin..]]);
    out.extend_from_slice(proof.as_ref());
}

fn sign(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        signing.update(part);
    }
    signing.sign()
}

/// xorshift64*: the bytes only have to differ between connections, nothing secret hangs on them.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed ^ 0x9E37_79B9_7F4A_7C15 | 1)
    }

    fn fill(&mut self, out: &mut Vec<u8>, bytes: usize) {
        debug_assert!(bytes.is_multiple_of(8));
        for _ in 0..bytes / 8 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            out.extend_from_slice(&self.0.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes());
        }
    }
}

const VERSION: u8 = 3;
/// Not 0, which would say "no digest"; ffmpeg checks our digest from 3 on.
const SERVER_VERSION: [u8; 4] = [4, 5, 0, 1];
/// Flash Player 9.0.124.2, as ffmpeg and librtmp say.
const PLAYER_VERSION: [u8; 4] = [9, 0, 124, 2];
const DIGEST_BYTES: usize = 32;
const HALF_BYTES: usize = (PACKET_BYTES - 8) / 2;
const SECRET_BYTES: usize = 32;

const SERVER_KEY: &[u8; 36 + SECRET_BYTES] = b"Genuine Adobe Flash Media Server 001\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";
const PLAYER_KEY: &[u8; 30 + SECRET_BYTES] = b"Genuine Adobe Flash Player 001\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(form: Form) -> (Vec<u8>, Form, Vec<u8>) {
        let mut c = Vec::new();
        hello(form, 7, &mut c);
        let mut s = Vec::new();
        let seen = answer(c.as_slice().try_into().unwrap(), 9, &mut s).unwrap();
        assert_eq!((c.len(), s.len()), (HELLO_BYTES, HELLO_BYTES + PACKET_BYTES));
        (c, seen, s)
    }

    #[test]
    fn every_form_is_recognised_and_proved_both_ways() {
        for scheme in [Scheme::Zero, Scheme::One] {
            let (c, seen, s) = exchange(Form::Digest(scheme));
            assert_eq!(seen, Form::Digest(scheme));
            let at = 1 + digest_at(&c[1..], scheme);
            assert!(proves(&s[HELLO_BYTES..], &c[at..at + DIGEST_BYTES], SERVER_KEY));
            let mut c2 = Vec::new();
            confirm(seen, s[..HELLO_BYTES].try_into().unwrap(), 1, &mut c2).unwrap();
            let at = 1 + digest_at(&s[1..HELLO_BYTES], scheme);
            assert!(proves(&c2, &s[at..at + DIGEST_BYTES], PLAYER_KEY));
            assert!(!proves(&c2, &s[at..at + DIGEST_BYTES], SERVER_KEY));
        }
    }

    #[test]
    fn simple_form_echoes_the_whole_of_c1_as_streamlabs_wants() {
        let (c, seen, s) = exchange(Form::Simple);
        assert_eq!(seen, Form::Simple);
        assert_eq!(s[0], 3);
        assert_eq!(s[HELLO_BYTES..], c[1..]);
        assert_ne!(s[9..HELLO_BYTES], c[9..]);
        let mut c2 = Vec::new();
        confirm(seen, s[..HELLO_BYTES].try_into().unwrap(), 1, &mut c2).unwrap();
        assert_eq!(c2, s[1..HELLO_BYTES]);
    }

    #[test]
    fn one_wrong_bit_of_a_digest_makes_it_simple() {
        let mut c = Vec::new();
        hello(Form::Digest(Scheme::Zero), 7, &mut c);
        c[1500] ^= 1;
        let mut s = Vec::new();
        assert_eq!(answer(c.as_slice().try_into().unwrap(), 9, &mut s), Ok(Form::Simple));
    }

    #[test]
    fn versions() {
        for (version, expected) in [
            (3, Ok(Form::Simple)),
            (6, Ok(Form::Simple)),
            (31, Ok(Form::Simple)),
            (0, Err(Error::Version { version: 0 })),
            (b'G', Err(Error::Version { version: b'G' })),
            (0x16, Ok(Form::Simple)),
        ] {
            let mut out = Vec::new();
            let mut c = [5; HELLO_BYTES];
            c[0] = version;
            assert_eq!(answer(&c, 1, &mut out), expected, "{version}");
            assert!(expected.is_err() || out[0] == 3);
        }
    }
}
