//! Host names of push rules, looked up again from time to time in a thread of their own, since a look-up blocks. Shards
//! are told when an address has changed; a name that stops to have one is warned of once.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use penstock_shard::mesh::{Mesh, ShardId};
use tracing::{info, warn};

use crate::messages::Message;
use crate::names::{Hosts, ResolveError, ask_system};

/// Begins to look names up; nothing begins when there are none. Nobody waits for the thread's end, which a name server
/// may delay by seconds.
///
/// # Errors
/// There can be no such thread.
pub fn start(hosts: Hosts, interval: Duration, mesh: Arc<Mesh<Message>>, stopped: Arc<AtomicBool>) -> io::Result<()> {
    if hosts.is_empty() {
        return Ok(());
    }
    let run = move || {
        let mut lookups = Lookups {
            told: hosts.clone(),
            // The configuration's reader has warned of these.
            failing: hosts.unknown().map(str::to_owned).collect(),
            hosts,
        };
        let mut next = Instant::now() + interval;
        while !stopped.load(Ordering::Acquire) {
            let now = Instant::now();
            if now < next {
                std::thread::park_timeout(next - now);
                continue;
            }
            let failed = lookups.hosts.look_up(ask_system);
            lookups.tell(&mesh);
            lookups.say(failed);
            next = Instant::now() + interval;
        }
    };
    std::thread::Builder::new().name("lookups".into()).spawn(run).map(drop)
}

struct Lookups {
    hosts: Hosts,
    /// What every shard knows.
    told: Hosts,
    failing: BTreeSet<String>,
}

impl Lookups {
    fn say(&mut self, failed: Vec<ResolveError>) {
        let before = std::mem::take(&mut self.failing);
        for ResolveError { name, source } in failed {
            if !before.contains(&name) {
                let error = source.map_or_else(|| "no answer".to_owned(), |source| source.to_string());
                let effect = match self.hosts.is_unknown(&name) {
                    true => "nobody may push by it",
                    false => "its last addresses stay allowed",
                };
                warn!(name, error, "a host name of a push rule has no address: {effect}");
            }
            self.failing.insert(name);
        }
        for name in before.difference(&self.failing) {
            info!(name, "a host name of a push rule has an address again");
        }
    }

    /// A shard whose inbox is full is told with the next look-up.
    fn tell(&mut self, mesh: &Mesh<Message>) {
        if self.hosts == self.told {
            return;
        }
        let hosts = Arc::new(self.hosts.clone());
        let tell = |number| mesh.send_from_outside(ShardId(number as u16), Message::Hosts(hosts.clone()));
        if (0..mesh.shards()).all(|number| tell(number).is_ok()) {
            self.told = self.hosts.clone();
            info!("host names of push rules have other addresses");
        }
    }
}
