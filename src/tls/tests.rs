//! Both sides of TLS against each other and against rustls's own, byte by byte and damaged, and what is said of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use penstock_shard::limits::SEALED_PLAIN_BYTES;
use penstock_shard::seal::{Closed, Seal};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore, SupportedProtocolVersion};

use super::seal::Tls;
use super::*;

/// A folder of the test's own, gone behind it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("penstock-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

struct Made {
    der: CertificateDer<'static>,
    certificate: String,
    key: String,
}

/// Self-signed, good for these years.
fn made(names: &[&str], years: (i32, i32)) -> Made {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Made {
        der: certificate.der().clone(),
        certificate: pem("CERTIFICATE", certificate.der()),
        key: pem("PRIVATE KEY", &key.serialize_der()),
    }
}

fn pair(folder: &Folder, name: &str, made: &Made) -> Pair {
    Pair {
        certificate: folder.write(&format!("{name}.crt"), &made.certificate),
        key: folder.write(&format!("{name}.key"), &made.key),
    }
}

const PLAIN_ANSWER: &[u8] = b"this port speaks TLS";

fn server_of(pairs: &[Pair]) -> Server {
    Server::new(Certificates::load(pairs).unwrap(), PLAIN_ANSWER)
}

fn usual() -> (Made, Server) {
    let folder = Folder::new();
    let made = made(&["localhost", "127.0.0.1"], (2020, 2100));
    let server = server_of(&[pair(&folder, "usual", &made)]);
    (made, server)
}

/// A seal with its buffers, as a shard has them.
struct End {
    seal: Box<dyn Seal>,
    kept: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
    closed: Closed,
}

impl End {
    fn new(seal: Box<dyn Seal>) -> End {
        let mut end = End {
            seal,
            kept: Vec::new(),
            plain: Vec::new(),
            out: Vec::new(),
            closed: Closed::No,
        };
        end.take(&[]).unwrap();
        end
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.kept.extend_from_slice(bytes);
        let taken = self.seal.open(&mut self.kept, &mut self.plain, &mut self.out);
        let taken = taken.map_err(|broken| *broken.downcast::<Error>().expect("it is ours"))?;
        self.kept.drain(..taken.bytes);
        if taken.closed == Closed::Yes {
            self.closed = Closed::Yes;
        }
        Ok(())
    }

    fn say(&mut self, plain: &[u8]) {
        self.seal.seal(plain, &mut self.kept, &mut self.out).unwrap();
    }
}

/// Carries bytes both ways, `step` at a time, until nobody has any.
fn talk(one: &mut End, two: &mut End, step: usize) -> Result<(), Error> {
    while !one.out.is_empty() || !two.out.is_empty() {
        let (to_two, to_one) = (std::mem::take(&mut one.out), std::mem::take(&mut two.out));
        for bytes in to_two.chunks(step) {
            two.take(bytes)?;
        }
        for bytes in to_one.chunks(step) {
            one.take(bytes)?;
        }
    }
    Ok(())
}

fn trusting(made: &Made) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(made.der.clone()).unwrap();
    Client::trusting(Trust::System, roots).unwrap()
}

#[test]
fn both_sides_speak_however_their_bytes_are_cut() {
    let (made, server) = usual();
    for step in [1, 7, 1000, usize::MAX] {
        let mut ours = End::new(server.seal());
        let mut theirs = End::new(trusting(&made).seal("localhost").unwrap());
        assert!(!theirs.out.is_empty() && ours.out.is_empty(), "a client speaks first");
        talk(&mut theirs, &mut ours, step).unwrap();
        assert!(ours.seal.is_open() && theirs.seal.is_open());
        let long: Vec<u8> = (0..3 * SEALED_PLAIN_BYTES as u32).map(|n| (n % 251) as u8).collect();
        for piece in long.chunks(SEALED_PLAIN_BYTES) {
            ours.say(piece);
            theirs.say(piece);
        }
        ours.say(b"x");
        talk(&mut theirs, &mut ours, step).unwrap();
        assert!(ours.plain == long && theirs.plain[..long.len()] == long && theirs.plain.ends_with(b"x"));
        assert!(ours.kept.is_empty() && theirs.kept.is_empty());
        theirs.seal.close(&mut [], &mut theirs.out);
        talk(&mut theirs, &mut ours, step).unwrap();
        assert_eq!((ours.closed, theirs.closed), (Closed::Yes, Closed::No));
        ours.say(b"last");
        ours.seal.close(&mut [], &mut ours.out);
        talk(&mut theirs, &mut ours, step).unwrap();
        assert!(theirs.plain.ends_with(b"last") && theirs.closed == Closed::Yes);
    }
}

/// rustls's other interface as the peer, which is offered one version only.
fn peer(made: &Made, version: &'static SupportedProtocolVersion) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(made.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.enable_secret_extraction = true;
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

fn exchange(peer: &mut ClientConnection, ours: &mut End) {
    while peer.wants_write() || !ours.out.is_empty() {
        let mut to_us = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut to_us).unwrap();
        }
        ours.take(&to_us).unwrap();
        let to_peer = std::mem::take(&mut ours.out);
        let mut rest = to_peer.as_slice();
        while !rest.is_empty() {
            peer.read_tls(&mut rest).unwrap();
            peer.process_new_packets().unwrap();
        }
    }
}

#[test]
fn each_version_is_spoken_and_keys_are_changed_when_the_peer_asks() {
    use std::io::{Read as _, Write as _};
    let (made, server) = usual();
    for version in [&TLS12, &TLS13] {
        let mut ours = End::new(server.seal());
        let mut peer = peer(&made, version);
        exchange(&mut peer, &mut ours);
        assert_eq!(peer.protocol_version(), Some(version.version));
        for round in 0..3_u8 {
            if version.version == TLS13.version {
                peer.refresh_traffic_keys().unwrap();
            }
            peer.writer().write_all(&[round; 100]).unwrap();
            exchange(&mut peer, &mut ours);
            ours.say(&[round; 200]);
            exchange(&mut peer, &mut ours);
            let mut heard = [0; 200];
            peer.reader().read_exact(&mut heard).unwrap();
            assert_eq!(heard, [round; 200]);
        }
        assert_eq!(ours.plain.len(), 300);
    }
}

/// A record of TLS 1.3 (RFC 8446, 5.2) with keys that were taken from its sender.
fn record(secrets: &ConnectionTrafficSecrets, sequence: u64, kind: u8, bytes: &[u8]) -> Vec<u8> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("not the usual algorithm");
    };
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    for (byte, of_sequence) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= of_sequence;
    }
    let mut inner = [bytes, &[kind]].concat();
    let [high, low] = (inner.len() as u16 + 16).to_be_bytes();
    let head = [23, 3, 3, high, low];
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(head), &mut inner)
        .unwrap();
    [&head[..], &inner].concat()
}

/// What is to be sealed while half a message of the handshake's kind has come, in a whole record: rustls has taken the record
/// and looks for the message in its input again.
#[test]
fn sealing_while_a_message_is_half_there_is_safe() {
    const HANDSHAKE: u8 = 22;
    const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
    let (made, server) = usual();
    for at in 1..KEY_UPDATE.len() {
        let mut ours = End::new(server.seal());
        let mut peer = peer(&made, &TLS13);
        exchange(&mut peer, &mut ours);
        let secrets = peer.dangerous_extract_secrets().unwrap();
        let (sequence, secrets) = secrets.tx;
        let (first, second) = KEY_UPDATE.split_at(at);
        ours.take(&record(&secrets, sequence, HANDSHAKE, first)).unwrap();
        assert!(!ours.kept.is_empty(), "half a message is kept");
        let before = ours.out.len();
        ours.say(b"meanwhile");
        assert!(ours.out.len() > before + 9);
        ours.take(&record(&secrets, sequence + 1, HANDSHAKE, second)).unwrap();
        assert!(ours.kept.is_empty());
        ours.say(b"afterwards");
        // Between the two halves nothing else may come.
        let mut ours = End::new(server.seal());
        let mut peer = self::peer(&made, &TLS13);
        exchange(&mut peer, &mut ours);
        let (sequence, secrets) = peer.dangerous_extract_secrets().unwrap().tx;
        ours.take(&record(&secrets, sequence, HANDSHAKE, first)).unwrap();
        let why = ours.take(&record(&secrets, sequence + 1, 23, b"data")).unwrap_err();
        assert_eq!((why.reason(), &ours.plain[..]), (Reason::Garbled, &b""[..]));
        // rustls panics without its input; that ends no more than this connection.
        let mut ours = End::new(server.seal());
        let mut peer = self::peer(&made, &TLS13);
        exchange(&mut peer, &mut ours);
        let (sequence, secrets) = peer.dangerous_extract_secrets().unwrap().tx;
        ours.take(&record(&secrets, sequence, HANDSHAKE, first)).unwrap();
        let broken = ours.seal.seal(b"x", &mut [], &mut Vec::new()).unwrap_err();
        assert!(matches!(broken.downcast_ref(), Some(Error::Defect)), "{broken}");
    }
}

#[test]
fn half_a_record_waits_for_its_rest() {
    use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
    let (made, server) = usual();
    for at in [1, 4, 5, 6, 20] {
        let mut ours = End::new(server.seal());
        let mut peer = peer(&made, &TLS13);
        exchange(&mut peer, &mut ours);
        peer.refresh_traffic_keys().unwrap();
        let mut update = Vec::new();
        peer.write_tls(&mut update).unwrap();
        ours.take(&update[..at]).unwrap();
        assert_eq!(ours.kept.len(), at);
        ours.say(b"meanwhile");
        ours.take(&update[at..]).unwrap();
        ours.say(b"afterwards");
        let out = std::mem::take(&mut ours.out);
        let mut rest = out.as_slice();
        while !rest.is_empty() {
            peer.read_tls(&mut rest).unwrap();
            peer.process_new_packets().unwrap();
        }
        let mut heard = Vec::new();
        let _until_there_is_no_more = std::io::Read::read_to_end(&mut peer.reader(), &mut heard);
        assert_eq!(heard, b"meanwhileafterwards");
    }
    // A hello in two records.
    let mut hello =
        rustls::client::UnbufferedClientConnection::new(client_config(&made), "localhost".try_into().unwrap()).unwrap();
    let UnbufferedStatus { state, .. } = hello.process_tls_records(&mut []);
    let Ok(ConnectionState::EncodeTlsData(mut message)) = state else {
        panic!()
    };
    let mut record = vec![0; 4096];
    let bytes = message.encode(&mut record).unwrap();
    let (head, body) = record[..bytes].split_at(5);
    let (first, second) = body.split_at(body.len() / 2);
    let split = |piece: &[u8]| [&head[..3], &(piece.len() as u16).to_be_bytes(), piece].concat();
    let mut ours = End::new(server.seal());
    ours.take(&split(first)).unwrap();
    assert!(ours.out.is_empty());
    ours.take(&split(second)).unwrap();
    assert!(!ours.out.is_empty(), "it is answered");
}

fn client_config(made: &Made) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(made.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn refused(client: &Client, host: &str, server: &Server) -> (Error, Option<Error>) {
    let mut ours = End::new(server.seal());
    let mut theirs = End::new(client.seal(host).unwrap());
    let why = talk(&mut theirs, &mut ours, usize::MAX).unwrap_err();
    let told = std::mem::take(&mut theirs.out);
    assert!(!theirs.seal.is_open() && !told.is_empty(), "it says why it leaves");
    (why, ours.take(&told).err())
}

#[test]
fn whom_a_client_trusts_is_what_it_was_told() {
    let (made, server) = usual();
    let shown = Fingerprint::of(&made.der);
    let reaches = |client: &Client, host: &str| {
        let mut ours = End::new(server.seal());
        let mut theirs = End::new(client.seal(host).unwrap());
        talk(&mut theirs, &mut ours, usize::MAX).map(|()| theirs.seal.is_open())
    };
    let none = RootCertStore::empty;
    for (client, host) in [
        (trusting(&made), "localhost"),
        (trusting(&made), "127.0.0.1"),
        (Client::trusting(Trust::Only(shown), none()).unwrap(), "camera.example"),
        (Client::trusting(Trust::Anyone, none()).unwrap(), "[::1]"),
    ] {
        assert!(reaches(&client, host).unwrap(), "{host}");
    }
    let other = self::made(&["localhost"], (2020, 2100));
    for (client, host, words) in [
        (trusting(&made), "camera.example", "not valid for name"),
        (trusting(&other), "localhost", "BadSignature"),
        (
            Client::trusting(Trust::Only(Fingerprint::of(&other.der)), none()).unwrap(),
            "localhost",
            "it is not sha256:",
        ),
    ] {
        let (why, told) = refused(&client, host, &server);
        assert_eq!(why.reason(), Reason::Untrusted);
        let said = why.to_string();
        assert!(said.contains(words) && said.contains(&shown.to_string()), "{said}");
        assert_eq!(told.unwrap().reason(), Reason::Refused);
    }
    for host in ["", "a b", "a/b", "exa\u{1F600}mple"] {
        assert!(trusting(&made).seal(host).is_err(), "{host}");
    }
}

/// A server that shows a certificate whose key it does not have.
#[test]
fn a_stolen_certificate_is_no_proof_even_to_who_trusts_anyone() {
    let (made, _) = usual();
    let folder = Folder::new();
    let other = self::made(&["localhost"], (2020, 2100));
    let own = pair(&folder, "own", &other);
    let signing = Certificates::load(std::slice::from_ref(&own)).unwrap();
    let server = Server::new(signing.showing(made.der.clone()), PLAIN_ANSWER);
    for trust in [Trust::Anyone, Trust::Only(Fingerprint::of(&made.der))] {
        let client = Client::trusting(trust, RootCertStore::empty()).unwrap();
        let (why, _) = refused(&client, "localhost", &server);
        assert!(matches!(why.reason(), Reason::Untrusted | Reason::Garbled), "{why}");
    }
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let folder = Folder::new();
    let all = [
        made(&["first.example"], (2020, 2100)),
        made(&["second.example", "10.1.2.3"], (2020, 2100)),
        made(&["*.third.example"], (2020, 2100)),
    ];
    let names = ["first", "second", "third"];
    let pairs: Vec<Pair> = all
        .iter()
        .zip(names)
        .map(|(made, name)| pair(&folder, name, made))
        .collect();
    let server = server_of(&pairs);
    for (host, place) in [
        ("first.example", 0),
        ("second.example", 1),
        ("SECOND.example", 1),
        ("a.third.example", 2),
        // Nobody has it, and no name is sent with an address: the first one answers.
        ("a.b.third.example", 0),
        ("elsewhere.example", 0),
        ("10.1.2.3", 0),
    ] {
        let trust = Trust::Only(Fingerprint::of(&all[place].der));
        let mut theirs = End::new(
            Client::trusting(trust, RootCertStore::empty())
                .unwrap()
                .seal(host)
                .unwrap(),
        );
        let mut ours = End::new(server.seal());
        talk(&mut theirs, &mut ours, usize::MAX).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
}

#[test]
fn text_is_answered_in_text_and_named_without_what_may_be_secret() {
    let (_, server) = usual();
    for (bytes, begins) in [
        (&b"OPTIONS rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n\r\n"[..], "OPTIONS"),
        (b"ANNOUNCE rtsp://h/live?pass=secret RTSP/1.0\r\n", "ANNOUNCE"),
        (b"DESCRIBE rtsp://u:secret@h/live RTSP/1.0\r\n", "DESCRIBE"),
    ] {
        let mut ours = End::new(server.seal());
        let why = ours.take(bytes).unwrap_err();
        assert_eq!((why.reason(), &ours.out[..]), (Reason::Plain, PLAIN_ANSWER));
        let said = why.to_string();
        assert_eq!(said, format!("it begins with {begins:?}: the peer does not speak TLS"));
    }
    for bytes in [
        &b"\x00\x01garbage"[..],
        &[0x16; 64],
        &[0x80, 0x2e, 1, 0, 2],
        b"\x16\x03\x01\x00\x05hello",
    ] {
        let mut ours = End::new(server.seal());
        let why = ours.take(bytes).unwrap_err();
        assert_eq!(why.reason(), Reason::Garbled, "{why}");
        assert!(!ours.seal.is_open());
    }
}

/// xorshift64.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// What a client says up to its first bytes, changed, cut, doubled and put in another order: it is taken or refused, nothing
/// of it is invented, and nothing is held beyond what one message may be.
#[test]
fn damaged_input_is_refused_and_never_more() {
    let (made, server) = usual();
    let mut noise = Noise(0x5EA1_ED00_0000_0001);
    for round in 0..3_000 {
        let mut ours = End::new(server.seal());
        let mut theirs = End::new(trusting(&made).seal("localhost").unwrap());
        let mut is_damaged = false;
        // The hello as it is, then the rest as noise has it; or the hello too.
        let damages_from = noise.next(4);
        for flight in 0..4 {
            let mut bytes = std::mem::take(&mut theirs.out);
            if flight == 2 && theirs.seal.is_open() {
                theirs.say(b"DESCRIBE something");
                bytes.append(&mut theirs.out);
            }
            if flight >= damages_from && !bytes.is_empty() {
                is_damaged = true;
                for _ in 0..=noise.next(3) {
                    let at = noise.next(bytes.len());
                    match noise.next(5) {
                        0 => bytes[at] ^= 1 << noise.next(8),
                        1 => bytes.truncate(at.max(1)),
                        2 => bytes.extend_from_within(at..),
                        3 => bytes.rotate_left(at),
                        _ => {
                            let length = noise.next(70_000) as u16;
                            bytes.splice(at..at, length.to_be_bytes());
                        }
                    }
                }
            }
            let cut = noise.next(bytes.len().max(1));
            let result = ours.take(&bytes[..cut]).and_then(|()| ours.take(&bytes[cut..]));
            assert!(ours.kept.len() < penstock_shard::limits::SEALED_KEPT_BYTES_MAX);
            assert!(ours.out.len() <= penstock_shard::limits::SEALED_ANSWERS_BYTES_MAX);
            if let Err(why) = result {
                assert!(is_damaged, "round {round}: {why}");
                break;
            }
            if ours.seal.is_open() {
                ours.say(b"answer");
            }
            let back = std::mem::take(&mut ours.out);
            if theirs.take(&back).is_err() {
                break;
            }
        }
        let said = b"DESCRIBE something";
        assert!(
            ours.plain.is_empty() || ours.plain == said,
            "round {round}: a forged byte was taken"
        );
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_and_nothing_of_it() {
    let folder = Folder::new();
    let good = made(&["a.example"], (2020, 2100));
    let other = made(&["b.example"], (2020, 2100));
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let path = |name: &str, bytes: &str| folder.write(name, bytes);
    let (crt, key) = (path("good.crt", &good.certificate), path("good.key", &good.key));
    let absent = folder.0.join("absent");
    let cut_key = &good.key[..good.key.len() - 40];
    let bad_base64 = good.key.replacen('M', "!", 1);
    let bad_section = format!("-----BEGIN {}\n", &good.key[60..100]);
    use FileError as F;
    use Which::{Certificate as C, Key as K};
    for (certificate, key, expected) in [
        (crt.clone(), key.clone(), None),
        (
            absent.clone(),
            key.clone(),
            Some((C, F::Unreadable(std::io::ErrorKind::NotFound))),
        ),
        (
            crt.clone(),
            absent,
            Some((K, F::Unreadable(std::io::ErrorKind::NotFound))),
        ),
        (
            folder.0.clone(),
            key.clone(),
            Some((C, F::Unreadable(std::io::ErrorKind::IsADirectory))),
        ),
        (path("empty.crt", ""), key.clone(), Some((C, F::NoCertificate))),
        (key.clone(), key.clone(), Some((C, F::NoCertificate))),
        (
            path("cut.crt", &good.certificate[..200]),
            key.clone(),
            Some((C, F::NotPem)),
        ),
        (
            path("torn.crt", &pem("CERTIFICATE", b"no certificate")),
            key.clone(),
            Some((C, F::BadCertificate)),
        ),
        (crt.clone(), crt.clone(), Some((K, F::NoKey))),
        (crt.clone(), path("cut.key", cut_key), Some((K, F::NotPem))),
        (crt.clone(), path("bad.key", &bad_base64), Some((K, F::NotPem))),
        (crt.clone(), path("section.key", &bad_section), Some((K, F::NotPem))),
        (
            crt.clone(),
            path("kind.key", &pem("PRIVATE KEY", b"no key")),
            Some((K, F::UnusableKey)),
        ),
        (
            crt.clone(),
            path("locked.key", &pem("ENCRYPTED PRIVATE KEY", b"0")),
            Some((K, F::EncryptedKey)),
        ),
        (crt.clone(), path("other.key", &other.key), Some((K, F::Mismatch))),
        (
            crt.clone(),
            path("ed.key", &pem("PRIVATE KEY", &ed.serialize_der())),
            Some((K, F::Mismatch)),
        ),
        (
            crt.clone(),
            path("huge.key", &"x".repeat(2 << 20)),
            Some((K, F::TooLarge)),
        ),
        // A chain, and what tools print between.
        (
            path(
                "chain.crt",
                &format!("subject=a\n{}\n{}", good.certificate, other.certificate),
            ),
            key,
            None,
        ),
    ] {
        let loaded = Certificates::load(&[Pair {
            certificate: certificate.clone(),
            key: key_of(&key),
        }]);
        match (loaded, expected) {
            (Ok(loaded), None) => assert_eq!(loaded.validities().count(), 1),
            (Err((0, which, error)), Some(expected)) => {
                assert_eq!((which, error), expected, "{}", certificate.display());
                let said = format!("{error} {error:?}");
                for line in good.key.lines().filter(|line| line.len() > 8 && !line.starts_with('-')) {
                    assert!(!said.contains(&line[..8]), "{said}");
                }
            }
            (loaded, expected) => panic!("{}: {loaded:?}, not {expected:?}", certificate.display()),
        }
    }
    let loaded = Certificates::load(&[pair(&folder, "good", &good)]).unwrap();
    let shown = format!("{loaded:?} {:?}", Server::new(loaded_again(&folder, &good), b""));
    for line in good.key.lines().filter(|line| !line.starts_with('-')) {
        assert!(!shown.contains(&line[..8.min(line.len())]), "a key in Debug");
    }
}

fn key_of(path: &Path) -> PathBuf {
    path.to_owned()
}

fn loaded_again(folder: &Folder, made: &Made) -> Certificates {
    Certificates::load(&[pair(folder, "again", made)]).unwrap()
}

#[test]
fn times_of_a_certificate_are_read_and_said() {
    let folder = Folder::new();
    let made = made(&["old.example"], (2001, 2003));
    let loaded = Certificates::load(&[pair(&folder, "old", &made)]).unwrap();
    let validity = loaded.validities().next().unwrap();
    assert_eq!((validity.from, validity.until), (978_307_200, 1_041_379_200));
    let said = |now| outside(validity, now);
    assert_eq!(said(1_000_000_000), None);
    let late = said(1_041_379_201).unwrap();
    assert!(late.contains("expired on 2003-01-01"), "{late}");
    let early = said(978_307_199).unwrap();
    assert!(early.contains("not good before 2001-01-01"), "{early}");
    // Nothing of damaged ones is believed, and nothing panics.
    let mut noise = Noise(77);
    for _ in 0..20_000 {
        let mut der = made.der.to_vec();
        for _ in 0..=noise.next(4) {
            let at = noise.next(der.len());
            der[at] = noise.next(256) as u8;
        }
        der.truncate(noise.next(der.len()) + 1);
        let _ = Validity::of(&der);
    }
    assert_eq!(Validity::of(&made.der), Some(validity));
}

/// What a client of this name is shown.
fn shown_by(servers: &Servers, expected: &Made) -> bool {
    let trust = Trust::Only(Fingerprint::of(&expected.der));
    let mut theirs = End::new(
        Client::trusting(trust, RootCertStore::empty())
            .unwrap()
            .seal("h")
            .unwrap(),
    );
    let mut ours = End::new(servers[0].seal());
    talk(&mut theirs, &mut ours, usize::MAX).is_ok()
}

#[test]
fn a_replaced_certificate_is_read_and_a_bad_one_changes_nothing() {
    let folder = Folder::new();
    let (old, new) = (made(&["h"], (2020, 2100)), made(&["h"], (2020, 2101)));
    let pairs = vec![pair(&folder, "live", &old)];
    let (told, heard) = channel();
    let stopped = Arc::new(AtomicBool::new(false));
    let mut refusals = 1;
    // The first time an inbox is full.
    let tell = move |servers: &Servers| {
        refusals -= 1;
        refusals < 0 && told.send(servers.clone()).is_ok()
    };
    let asking = watch(vec![pairs], PLAIN_ANSWER, stopped.clone(), tell).unwrap();
    let patience = Duration::from_secs(20);
    // Half of it: the key is the old one's. Then the other half.
    folder.write("live.crt", &new.certificate);
    asking.ask();
    folder.write("live.key", &new.key);
    let servers = heard.recv_timeout(patience).unwrap();
    assert!(shown_by(&servers, &new) && !shown_by(&servers, &old));
    // Asked for, it comes again though nothing has changed.
    asking.ask();
    assert!(shown_by(&heard.recv_timeout(patience).unwrap(), &new));
    // Gone, then back as another file: nobody asks.
    std::fs::remove_file(folder.0.join("live.crt")).unwrap();
    folder.write("live.key", &old.key);
    folder.write("live.crt", &old.certificate);
    assert!(shown_by(&heard.recv_timeout(patience).unwrap(), &old));
    stopped.store(true, Ordering::Release);
}

#[test]
fn a_connection_that_is_sealed_stays_small() {
    let (made, server) = usual();
    let mut ours = End::new(server.seal());
    let mut theirs = End::new(trusting(&made).seal("localhost").unwrap());
    talk(&mut theirs, &mut ours, usize::MAX).unwrap();
    assert!(ours.kept.is_empty() && ours.out.is_empty());
    assert!(size_of::<Tls>() <= 64, "{}", size_of::<Tls>());
}

#[test]
fn each_trust_has_its_client() {
    let only = Trust::Only(Fingerprint::of(b"x"));
    let clients = Clients::new([Trust::Anyone, only, Trust::Anyone].into_iter()).unwrap();
    assert!(clients.of(Trust::Anyone).is_some() && clients.of(only).is_some() && clients.of(Trust::System).is_none());
    // What this system trusts is what it has installed.
    let has_roots = !rustls_native_certs::load_native_certs().certs.is_empty();
    assert_eq!(Client::new(Trust::System).is_ok(), has_roots);
}
