//! TLS from outside: certificates made for a test, and a client of rustls's that says what it trusts and speaks.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::{Value, json};

use super::wire::PATIENCE;

/// Signed by itself.
#[derive(Debug)]
pub struct Certificate {
    pub der: CertificateDer<'static>,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}

impl Certificate {
    /// For these names, as `NAME.crt` and `NAME.key` in `dir`; written over what is there.
    pub fn make(dir: &Path, name: &str, names: &[&str]) -> Certificate {
        Certificate::good_until(dir, name, names, 2100)
    }

    pub fn good_until(dir: &Path, name: &str, names: &[&str], year: i32) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names are names");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("there is a provider");
        let made = params.self_signed(&key).expect("the key signs");
        let files = [
            ("crt", pem("CERTIFICATE", made.der())),
            ("key", pem("PRIVATE KEY", &key.serialize_der())),
        ];
        let [certificate, key] = files.map(|(extension, text)| {
            let path = dir.join(format!("{name}.{extension}"));
            std::fs::write(&path, text).expect("scratch is ours");
            path
        });
        Certificate {
            der: made.der().clone(),
            certificate,
            key,
        }
    }
}

/// With a port for RTSPS that shows these.
pub fn with_rtsps(mut config: Value, certificates: &[&Certificate]) -> Value {
    let files = |file: fn(&Certificate) -> &PathBuf| -> Vec<&PathBuf> {
        certificates.iter().map(|certificate| file(certificate)).collect()
    };
    let connector = json!({
        "connector": "RTSPS", "port": 0, "interface": "127.0.0.1",
        "cert": files(|made| &made.certificate), "key": files(|made| &made.key),
    });
    let protocols = config["config"]["protocols"].as_array_mut();
    protocols.expect("every configuration has them").push(connector);
    config
}

/// A client that trusts these alone, asks for `name`, and has shaken hands or not.
pub fn connect(
    to: SocketAddr,
    name: &'static str,
    trusted: &[&Certificate],
    versions: &[&'static SupportedProtocolVersion],
) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.der.clone()).expect("it was just made");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(versions).expect("they are known");
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name).expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a usual configuration");
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    Ok(StreamOwned::new(connection, stream))
}
