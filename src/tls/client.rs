//! This side of a connection that it makes: what it trusts, read once, and a seal for each connection.

use std::fmt;
use std::sync::Arc;

use penstock_shard::seal;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::seal::Tls;
use super::trust::{NoRoots, Trust, Verifier};

/// Cheap to clone; shared by all shards.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// One for each trust that the configuration names; the system's list is read once.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    clients: Vec<(Trust, Client)>,
}

impl Clients {
    /// As [`Client::new`].
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn new(trusts: impl Iterator<Item = Trust>) -> Result<Clients, NoRoots> {
        let mut clients = Clients::default();
        for trust in trusts {
            if clients.of(trust).is_none() {
                clients.clients.push((trust, Client::new(trust)?));
            }
        }
        Ok(clients)
    }

    /// None of a trust that it was not made for.
    pub fn of(&self, trust: Trust) -> Option<&Client> {
        let mut clients = self.clients.iter();
        clients.find(|(known, _)| *known == trust).map(|(_, client)| client)
    }
}

/// A host that no certificate can be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAHost {
    host: String,
}

impl fmt::Display for NotAHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no host name and no address", self.host)
    }
}

impl std::error::Error for NotAHost {}

impl Client {
    /// Reads the system's list of authorities where that is trusted: it blocks, for the control plane at the start.
    ///
    /// # Errors
    /// The system's list is empty.
    pub fn new(trust: Trust) -> Result<Client, NoRoots> {
        let mut roots = RootCertStore::empty();
        if trust == Trust::System {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Client::trusting(trust, roots)
    }

    /// With authorities that somebody else names.
    pub(super) fn trusting(trust: Trust, roots: RootCertStore) -> Result<Client, NoRoots> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Verifier::new(trust, Arc::new(roots), provider.clone())?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder
            .expect("the provider has algorithms for both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Client {
            config: Arc::new(config),
        })
    }

    /// The seal of a connection to `host`, a name or an address without brackets: for [`penstock_shard::core::Core::seal`], once
    /// it is made.
    ///
    /// # Errors
    /// `host` is neither.
    pub fn seal(&self, host: &str) -> Result<Box<dyn seal::Seal>, NotAHost> {
        let bare = host
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(host);
        let not_a_host = || NotAHost { host: host.to_owned() };
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| not_a_host())?;
        let tls = Tls::client(self.config.clone(), name).map_err(|_| not_a_host())?;
        Ok(Box::new(tls))
    }
}
