//! Certificates and their keys, from PEM files (RFC 7468): a chain of certificates with the server's own first, and its key.
//! Several pairs are told apart by the name that a client asks for.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, client};

use super::expiry::Validity;
use crate::limits::CERTIFICATE_FILE_BYTES_MAX;

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Certificate,
    Key,
}

/// What is wrong with one of the files. Nothing of the file is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    Unreadable(std::io::ErrorKind),
    TooLarge,
    NotPem,
    NoCertificate,
    BadCertificate,
    NoKey,
    /// A passphrase would be needed.
    EncryptedKey,
    UnusableKey,
    /// The key is not the certificate's.
    Mismatch,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Unreadable(std::io::ErrorKind::NotFound) => f.write_str("there is no such file"),
            FileError::Unreadable(std::io::ErrorKind::PermissionDenied) => {
                f.write_str("may not be read by the user that penstock runs as; `chmod` or `chown` it")
            }
            FileError::Unreadable(kind) => write!(f, "cannot be read: {kind}"),
            FileError::TooLarge => write!(f, "has more than {CERTIFICATE_FILE_BYTES_MAX} bytes"),
            FileError::NotPem => f.write_str("is no PEM file, or is cut off: a BEGIN, base64 and an END line are needed"),
            FileError::NoCertificate => f.write_str("has no certificate (a line `-----BEGIN CERTIFICATE-----`)"),
            FileError::BadCertificate => f.write_str("has a certificate that cannot be read"),
            FileError::NoKey => f.write_str("has no private key (a line `-----BEGIN PRIVATE KEY-----`)"),
            FileError::EncryptedKey => f.write_str(
                "has a key with a passphrase, which penstock cannot ask for; `openssl pkey -in FILE -out FILE2` writes one without",
            ),
            FileError::UnusableKey => f.write_str("has a key of a kind that TLS does not use here: RSA from 2048 bits, ECDSA or Ed25519"),
            FileError::Mismatch => f.write_str("is not the key of this certificate: one of the two is of another"),
        }
    }
}

impl std::error::Error for FileError {}

/// One or more pairs that were read. The first one serves who asks for no name, or for one that none has.
#[derive(Debug)]
pub struct Certificates {
    pairs: Vec<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

impl Certificates {
    /// Reads all of them. It blocks, for the control plane.
    ///
    /// # Errors
    /// The first file that is of no use, by the place of its pair.
    pub fn load(pairs: &[Pair]) -> Result<Certificates, (usize, Which, FileError)> {
        let load = |(place, pair)| Loaded::load(pair).map_err(|(which, error)| (place, which, error));
        let pairs = pairs.iter().enumerate().map(load).collect::<Result<_, _>>()?;
        Ok(Certificates { pairs })
    }

    /// One certificate and its key in DER, which were not in files.
    ///
    /// # Errors
    /// They are of no use, or not of each other.
    pub fn of_der(certificate: Vec<u8>, key: Vec<u8>) -> Result<Certificates, FileError> {
        let key = PrivateKeyDer::try_from(key).map_err(|_| FileError::UnusableKey)?;
        let loaded = Loaded::of(vec![certificate.into()], key).map_err(|(_, error)| error)?;
        Ok(Certificates { pairs: vec![loaded] })
    }

    /// From when to when each is good.
    pub fn validities(&self) -> impl Iterator<Item = Validity> + '_ {
        self.pairs.iter().map(|loaded| loaded.validity)
    }

    /// As a thief would: another's certificate, signed for with the keys that are there.
    #[cfg(test)]
    pub(super) fn showing(self, certificate: CertificateDer<'static>) -> Certificates {
        let show = |loaded: Loaded| Loaded {
            key: Arc::new(CertifiedKey::new(vec![certificate.clone()], loaded.key.key.clone())),
            ..loaded
        };
        Certificates {
            pairs: self.pairs.into_iter().map(show).collect(),
        }
    }

    fn for_name(&self, name: Option<&str>, signs: impl Fn(&CertifiedKey) -> bool) -> Option<&Arc<CertifiedKey>> {
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let is_for = |loaded: &&Loaded| {
            let parsed = loaded.key.cert.first().map(ParsedCertificate::try_from);
            match (&name, parsed) {
                (Some(name), Some(Ok(parsed))) => client::verify_server_name(&parsed, name).is_ok(),
                _ => false,
            }
        };
        let of_name = self.pairs.iter().filter(is_for).find(|loaded| signs(&loaded.key));
        let any = || self.pairs.iter().find(|loaded| signs(&loaded.key));
        of_name.or_else(any).map(|loaded| &loaded.key)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.for_name(hello.server_name(), signs).cloned()
    }
}

impl Loaded {
    fn load(pair: &Pair) -> Result<Loaded, (Which, FileError)> {
        let certificate = |error| (Which::Certificate, error);
        let key = |error| (Which::Key, error);
        let chain = chain(&read(&pair.certificate).map_err(certificate)?).map_err(certificate)?;
        // The certificate is looked at before the key's file is.
        times(&chain[0]).map_err(certificate)?;
        let private = private_key(&read(&pair.key).map_err(key)?).map_err(key)?;
        Loaded::of(chain, private)
    }

    fn of(chain: Vec<CertificateDer<'static>>, private: PrivateKeyDer<'static>) -> Result<Loaded, (Which, FileError)> {
        let key = |error| (Which::Key, error);
        let validity = times(&chain[0]).map_err(|error| (Which::Certificate, error))?;
        let made = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider());
        let made = made.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => key(FileError::Mismatch),
            _ => key(FileError::UnusableKey),
        })?;
        Ok(Loaded {
            key: Arc::new(made),
            validity,
        })
    }
}

fn times(certificate: &CertificateDer<'_>) -> Result<Validity, FileError> {
    ParsedCertificate::try_from(certificate).map_err(|_| FileError::BadCertificate)?;
    Validity::of(certificate).ok_or(FileError::BadCertificate)
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let unreadable = |error: std::io::Error| FileError::Unreadable(error.kind());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let read = file.take(CERTIFICATE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    match bytes.len() as u64 > CERTIFICATE_FILE_BYTES_MAX {
        true => Err(FileError::TooLarge),
        false => Ok(bytes),
    }
}

/// All certificates of a file, at least one.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let chain: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| FileError::NotPem)?;
    match chain.is_empty() {
        true => Err(FileError::NoCertificate),
        false => Ok(chain),
    }
}

/// The parser's own words would quote the file.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileError> {
    let has = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(FileError::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => FileError::NoKey,
        _ => FileError::NotPem,
    })
}
