//! A panic in one connection's code ends that connection and nothing else.
//!
//! What a panic leaves half done belongs to the peer, and with a publisher to its stream: both are thrown away, so nobody
//! looks at it again. A panic elsewhere (in a turn, in a timer of the shard) ends the process, which the service manager
//! starts again (`serve.rs`).

use std::panic::{AssertUnwindSafe, catch_unwind};

use penstock_shard::connection::ConnId;
use penstock_shard::core::{Core, End};
use penstock_shard::kernel::Kernel;
use tracing::info;

use super::{App, Peer, Session};
use crate::messages::{Message, Open, Opening};

impl<K: Kernel> App<K> {
    /// Works with a peer, which is not in the table meanwhile.
    pub(super) fn with_peer(
        &mut self,
        core: &mut Core<Message<K>, K>,
        conn: ConnId,
        work: impl FnOnce(&mut App<K>, &mut Core<Message<K>, K>, &mut Peer),
    ) {
        let Some(mut peer) = self.peers.take(conn) else { return };
        let done = catch_unwind(AssertUnwindSafe(|| work(self, core, &mut peer)));
        // Its end, which follows, frees what it holds: a name, a place among those who wait.
        self.peers.insert(peer);
        if done.is_err() {
            core.panicked(conn);
        }
    }

    pub(super) fn peer_ended(&mut self, core: &mut Core<Message<K>, K>, conn: ConnId, why: End) {
        let Some(mut peer) = self.peers.take(conn) else { return };
        let done = catch_unwind(AssertUnwindSafe(|| match &mut peer.session {
            Session::Http(session) => self.http_ended(core, conn, peer.address, session, why),
            Session::Rtmp(session) => self.rtmp_ended(core, conn, peer.address, session, why),
        }));
        if done.is_err() {
            core.panicked(conn);
        }
    }

    /// Ends a stream whose muxers may be in the middle of something: viewers get what was whole, and no last words.
    pub(super) fn discard_stream(&mut self, core: &mut Core<Message<K>, K>, place: usize) {
        let Some(mut stream) = self.streams.remove(place) else {
            return;
        };
        info!(stream = stream.name.as_str(), "stream ended by a defect of penstock");
        self.counters.streams.sub(1);
        self.counters.feeds.sub(stream.feeds.len() as u64);
        for packaged in stream.feeds.drain(..) {
            let (feed, local) = (packaged.feed().clone(), packaged.local);
            drop(packaged);
            core.feed_grew(&feed, local);
        }
        // The name is free once its publisher has released it: the arbiter asks, and finds no stream here.
        for Open { name, packaging, from } in stream.opens {
            let outcome = Opening::NotThere;
            self.deliver(
                core,
                from,
                Message::Opened {
                    name,
                    packaging,
                    outcome,
                },
            );
        }
    }
}
