//! This side of a connection that is accepted: certificates of a listener, and a seal for each connection.

use std::fmt;
use std::sync::Arc;

use penstock_shard::seal;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::NoServerSessionStorage;

use super::certificates::Certificates;
use super::seal::Tls;

/// Every listener's, in the order of the configuration.
pub type Servers = Arc<[Server]>;

/// Cheap to clone; shared by all shards.
#[derive(Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    plain_answer: &'static [u8],
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// `plain_answer`: what a peer is told, in words of its own protocol, that speaks without TLS.
    pub fn new(certificates: Certificates, plain_answer: &'static [u8]) -> Server {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder
            .expect("the provider has algorithms for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Server {
            config: Arc::new(config),
            plain_answer,
        }
    }

    /// The seal of a connection that was accepted.
    pub fn seal(&self) -> Box<dyn seal::Seal> {
        let tls = Tls::server(self.config.clone(), self.plain_answer);
        Box::new(tls.expect("records are of the usual size"))
    }
}
