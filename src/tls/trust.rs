//! Whom this side trusts when it makes a connection: whom the system trusts, the one with a certificate that is named, or
//! anybody. That a server holds the key of the certificate it shows is checked in every case.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

/// As the operator says it: `system`, `sha256:…` or `anyone`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Certificates of the authorities that this system trusts, for the host's name, in their time.
    #[default]
    System,
    /// This certificate, whoever issued it and for whom: a camera's own.
    Only(Fingerprint),
    /// Any certificate. What is sent can be read and changed by who sits between.
    Anyone,
}

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Why a server's certificate was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    why: String,
    /// What it can be named by.
    shown: Option<Fingerprint>,
}

impl Fingerprint {
    pub fn of(certificate: &[u8]) -> Fingerprint {
        let hash = digest::digest(&digest::SHA256, certificate);
        Fingerprint(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// None of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTrust;

impl fmt::Display for NotTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be \"system\", \"sha256:\" and the 64 digits of a certificate's fingerprint, or \"anyone\"")
    }
}

impl std::error::Error for NotTrust {}

impl FromStr for Trust {
    type Err = NotTrust;

    /// The digits as tools print them: in either case, with colons or without.
    fn from_str(text: &str) -> Result<Trust, NotTrust> {
        match text {
            "system" => return Ok(Trust::System),
            "anyone" => return Ok(Trust::Anyone),
            _ => {}
        }
        let digits = text.strip_prefix("sha256:").ok_or(NotTrust)?;
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b':').collect();
        let mut fingerprint = [0; 32];
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(NotTrust);
        }
        for (byte, pair) in fingerprint.iter_mut().zip(digits.chunks(2)) {
            let pair = str::from_utf8(pair).map_err(|_| NotTrust)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotTrust)?;
        }
        Ok(Trust::Only(Fingerprint(fingerprint)))
    }
}

impl Untrusted {
    pub(super) fn of(error: &CertificateError) -> Untrusted {
        if let CertificateError::Other(other) = error
            && let Some(untrusted) = other.0.downcast_ref::<Untrusted>()
        {
            return untrusted.clone();
        }
        Untrusted {
            why: error.to_string(),
            shown: None,
        }
    }

    fn with(why: String, shown: &CertificateDer<'_>) -> rustls::Error {
        let untrusted = Untrusted {
            why,
            shown: Some(Fingerprint::of(shown)),
        };
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its certificate is not trusted: {}", self.why)?;
        match &self.shown {
            Some(shown) => write!(f, " (it is {shown})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Untrusted {}

/// Judges servers' certificates.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    /// Where the system is trusted.
    roots: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// `roots`: the authorities, where they are asked.
    ///
    /// # Errors
    /// There are no authorities, and they are to be asked.
    pub fn new(trust: Trust, roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Verifier, NoRoots> {
        let roots = match trust {
            Trust::System => {
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
                Some(verifier.build().map_err(|_| NoRoots)?)
            }
            Trust::Only(_) | Trust::Anyone => None,
        };
        Ok(Verifier { trust, roots, provider })
    }
}

/// The system names no authority that it trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoots;

impl fmt::Display for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the system trusts no authority: install ca-certificates, or name the certificate by its fingerprint",
        )
    }
}

impl std::error::Error for NoRoots {}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match (self.trust, &self.roots) {
            (Trust::Only(fingerprint), _) if Fingerprint::of(shown) != fingerprint => {
                Err(Untrusted::with(format!("it is not {fingerprint}"), shown))
            }
            (Trust::System, Some(roots)) => roots
                .verify_server_cert(shown, chain, name, ocsp, now)
                .map_err(|error| match error {
                    rustls::Error::InvalidCertificate(why) => Untrusted::with(why.to_string(), shown),
                    other => other,
                }),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_read_as_it_is_written_and_as_tools_print_fingerprints() {
        let fingerprint = Fingerprint::of(b"abc");
        let plain = fingerprint.to_string();
        assert_eq!(
            plain,
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let digits = plain.strip_prefix("sha256:").unwrap().to_uppercase();
        let pairs: Vec<&str> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| str::from_utf8(pair).unwrap())
            .collect();
        let colons = format!("sha256:{}", pairs.join(":"));
        for text in [&plain, &colons] {
            assert_eq!(text.parse(), Ok(Trust::Only(fingerprint)));
        }
        assert_eq!(
            ("system".parse(), "anyone".parse()),
            (Ok(Trust::System), Ok(Trust::Anyone))
        );
        let short = &plain[..70];
        let odd = plain.replace('f', "g");
        for text in ["", "none", "sha256:", short, &odd, &digits] {
            assert_eq!(text.parse::<Trust>(), Err(NotTrust), "{text}");
        }
    }

    #[test]
    fn a_system_that_trusts_nobody_is_told_at_once() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let made = Verifier::new(Trust::System, Arc::new(RootCertStore::empty()), provider);
        assert_eq!(made.map(drop), Err(NoRoots));
    }
}
