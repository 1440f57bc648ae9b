//! Fan-out through a [`Seal`](crate::connection::Seal): the plain bytes of a piece are copied, sealed, and sent from a
//! buffer of the connection, one at a time (DESIGN.md 4.3, "Wrap").

use crate::connection::{ConnId, Connection, InFlight, Wrap};
use crate::core::{Core, End, Operation};
use crate::kernel::{Kernel, Outgoing};
use crate::limits;

use super::Step;
use super::send::Piece;

impl<M, K: Kernel> Core<M, K> {
    pub(super) fn step_sealed(&mut self, id: ConnId) -> Step {
        if self.fill_sealed(id).is_none() {
            return self.nothing_left(id);
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return Step::Idle;
        };
        let Connection {
            wrap: Wrap::Sealed(sealed),
            in_flight,
            ..
        } = connection
        else {
            return Step::Idle;
        };
        let unsent = &sealed.unsent[sealed.sent..];
        *in_flight = InFlight::Sealed {
            bytes: unsent.len() as u32,
        };
        let user_data = Operation::Send.of_connection(id);
        let queued = self.kernel.send(id.index, Outgoing::Own(unsent), user_data);
        self.queued(id, queued)
    }

    /// At most one sealed buffer is unsent; when there is none, the next piece of plain bytes fills it.
    fn fill_sealed(&mut self, id: ConnId) -> Option<()> {
        let Wrap::Sealed(sealed) = &mut self.connections.get_mut(id)?.wrap else {
            return None;
        };
        if sealed.sent < sealed.unsent.len() {
            return Some(());
        }
        if sealed.sent > 0 {
            (sealed.unsent, sealed.sent) = (Vec::new(), 0);
        }
        let mut plain = std::mem::take(&mut self.fanout.scratch);
        plain.clear();
        let filled = self.take_plain(id, &mut plain);
        if filled.is_some()
            && let Some(Wrap::Sealed(sealed)) = self.connections.get_mut(id).map(|connection| &mut connection.wrap)
        {
            sealed.seal.seal(&plain, &mut sealed.unsent);
        }
        self.fanout.scratch = plain;
        filled
    }

    /// Up to one record of plain bytes, taken off the session's bytes or the feed.
    fn take_plain(&mut self, id: ConnId, plain: &mut Vec<u8>) -> Option<()> {
        match self.next_piece(id) {
            Piece::Nothing => None,
            Piece::Own => {
                let own = &mut self.connections.get_mut(id)?.own;
                let bytes = own.first().len().min(limits::SEALED_PLAIN_BYTES);
                plain.extend_from_slice(&own.first()[..bytes]);
                own.took(bytes);
                self.settle_own(id);
                Some(())
            }
            Piece::Shared => {
                let shared = self.connections.get_mut(id)?.shared.as_mut()?;
                let bytes = shared.unsent().len().min(limits::SEALED_PLAIN_BYTES);
                plain.extend_from_slice(&shared.unsent()[..bytes]);
                shared.sent += bytes;
                Some(())
            }
            Piece::Range => {
                let feed = self.cursor_feed(id)?;
                let cursor = self.connections.get_mut(id)?.cursor.as_mut()?;
                let bytes = ((cursor.end - cursor.position) as usize).min(limits::SEALED_PLAIN_BYTES);
                plain.resize(bytes, 0);
                if !feed.copy_out(cursor.position, plain) {
                    self.counters.cursors_closed_lag.add(1);
                    self.end(id, End::Lagged);
                    return None;
                }
                cursor.position += bytes as u64;
                Some(())
            }
        }
    }
}
