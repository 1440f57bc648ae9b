//! Connections that are sealed: those of listeners with certificates, and what is said when one cannot be.
//!
//! A session does not know: what it sends is sealed, and what it hears was opened, in the shard. Only what would go past the
//! seal is refused where it is asked for (media by UDP).

use penstock_shard::connection::ConnId;
use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;
use penstock_shard::seal::Broken;
use tracing::{debug, info};

use super::{App, Port};
use crate::limits;
use crate::messages::Message;
use crate::tls::{Error, Reason, Servers};

/// Of a listener's tag: the port's kind, and above it the place of its certificates, counted from 1.
const PORT_BITS: u32 = 8;

impl Port {
    /// What a listener of this kind tells with each connection. `certificates`: the place of its own.
    pub fn tag(self, certificates: Option<usize>) -> u32 {
        let place = certificates.map_or(0, |place| place as u32 + 1);
        self as u32 | place << PORT_BITS
    }
}

impl<K: Kernel> App<K> {
    /// Certificates of all listeners that have some.
    pub fn show_certificates(&mut self, servers: Servers) {
        self.tls = servers;
    }

    /// Seals a connection if its listener says so; of what kind that is.
    pub(super) fn seal_accepted(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, tag: u32) -> u32 {
        let place = (tag >> PORT_BITS) as usize;
        if let Some(server) = place.checked_sub(1).and_then(|place| self.tls.get(place)) {
            core.seal(conn, server.seal());
        }
        tag & ((1 << PORT_BITS) - 1)
    }

    /// What came is not what the seal takes. Its last word goes out, then the end.
    pub(super) fn seal_broken(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, why: &Broken) {
        let reason = why.downcast_ref::<Error>().map_or(Reason::Garbled, Error::reason);
        let counter = match reason {
            Reason::Plain => &self.counters.tls_ended_plain,
            Reason::Garbled => &self.counters.tls_ended_garbled,
            Reason::NothingInCommon => &self.counters.tls_ended_nothing_in_common,
            Reason::Untrusted => &self.counters.tls_ended_untrusted,
            Reason::Refused => &self.counters.tls_ended_refused,
            Reason::Other => &self.counters.tls_ended_other,
        };
        counter.add(1);
        if self.pull_seal_broken(core, conn, why) {
            return;
        }
        let peer = self.peers.get(conn).map(|peer| peer.address);
        let peer = peer.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        // Anybody can say nonsense as often as he likes.
        match core.now() >= self.refusals_logged_from {
            true => {
                self.refusals_logged_from = core.now() + limits::REFUSALS_LOGGED_MICROS;
                info!(peer, error = %why, "a connection cannot be sealed with TLS");
            }
            false => debug!(peer, error = %why, "a connection cannot be sealed with TLS"),
        }
        match why.downcast_ref::<Error>() {
            Some(Error::Defect) => core.panicked(conn),
            _ => core.finish(conn),
        }
    }
}
