//! Fan-out through a [`Seal`](crate::seal::Seal): the plain bytes of a piece are copied, sealed, and sent from a buffer of
//! the connection, one at a time (DESIGN.md 4.3, "Wrap"). The buffer is the shard's again when the socket has taken it.

use crate::connection::{ConnId, Connection, InFlight};
use crate::core::{Core, End, Operation};
use crate::kernel::{Kernel, Outgoing};
use crate::limits;
use crate::seal::{Holds, State, Wrap};

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
            holds: sealed.holds,
        };
        self.fanout.slice_bytes += unsent.len();
        let user_data = Operation::Send.of_connection(id);
        let queued = self.kernel.send(id.index, Outgoing::Own(unsent), user_data);
        self.queued(id, queued)
    }

    /// At most one sealed buffer is unsent; when there is none, the next pieces of plain bytes fill it, a record each.
    fn fill_sealed(&mut self, id: ConnId) -> Option<()> {
        let sealed = self.connections.get_mut(id)?.wrap.sealed_mut()?;
        if !sealed.is_sent() {
            return Some(());
        }
        if !matches!(sealed.state, State::Open | State::Deaf) {
            return None;
        }
        let mut record = std::mem::take(&mut self.seals.record);
        let mut filled = None;
        loop {
            record.clear();
            let taken = self.take_plain(id, &mut record);
            let room = taken.and_then(|holds| self.seal_record(id, &record, holds));
            filled = filled.or(room.map(drop));
            if !matches!(room, Some(Room::Left)) {
                break;
            }
        }
        self.seals.record = record;
        filled
    }

    /// None when the connection is gone.
    fn seal_record(&mut self, id: ConnId, plain: &[u8], holds: Holds) -> Option<Room> {
        let sealed = self.connections.get_mut(id)?.wrap.sealed_mut()?;
        if sealed.unsent.capacity() == 0 {
            sealed.unsent = self.seals.buffer();
        }
        // Not by doubling: what a viewer that stops reading holds is this and no more.
        if sealed.unsent.capacity() < sealed.unsent.len() + plain.len() + limits::SEALED_OVERHEAD_BYTES {
            let more = limits::SEALED_BUFFER_BYTES.saturating_sub(sealed.unsent.len());
            sealed.unsent.reserve_exact(more);
        }
        if sealed.unsent.is_empty() || holds == Holds::Body {
            sealed.holds = holds;
        }
        let done = sealed.seal.seal(plain, &mut sealed.kept, &mut sealed.unsent);
        if done.is_err() {
            self.worn_out(id);
            return None;
        }
        let with_another = sealed.unsent.len() + limits::SEALED_PLAIN_BYTES + limits::SEALED_OVERHEAD_BYTES;
        match with_another <= limits::SEALED_BUFFER_BYTES {
            true => Some(Room::Left),
            false => Some(Room::Gone),
        }
    }

    /// The socket took so much of a sealed buffer.
    pub(super) fn took_sealed(&mut self, id: ConnId, taken: u32) {
        let sealed = self.connections.get_mut(id).and_then(|c| c.wrap.sealed_mut());
        let Some(sealed) = sealed else { return };
        sealed.sent += taken as usize;
        let holds = sealed.holds;
        if sealed.is_sent() {
            self.seals.give_back(std::mem::take(&mut sealed.unsent));
            sealed.sent = 0;
        }
        match holds {
            Holds::Body => self.count_body(taken),
            Holds::Own => self.counters.bytes_sent_own.add(u64::from(taken)),
        }
    }

    /// Up to one record of plain bytes, taken off the session's bytes or the feed.
    fn take_plain(&mut self, id: ConnId, plain: &mut Vec<u8>) -> Option<Holds> {
        match self.next_piece(id) {
            Piece::Nothing => None,
            Piece::Own => {
                let own = &mut self.connections.get_mut(id)?.own;
                let bytes = own.first().len().min(limits::SEALED_PLAIN_BYTES);
                plain.extend_from_slice(&own.first()[..bytes]);
                own.took(bytes);
                self.settle_own(id);
                Some(Holds::Own)
            }
            Piece::Shared => {
                let shared = self.connections.get_mut(id)?.shared.as_mut()?;
                let bytes = shared.unsent().len().min(limits::SEALED_PLAIN_BYTES);
                plain.extend_from_slice(&shared.unsent()[..bytes]);
                shared.sent += bytes;
                Some(Holds::Body)
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
                Some(Holds::Body)
            }
        }
    }
}

/// Whether a sealed buffer takes another record.
#[derive(Clone, Copy, Debug)]
enum Room {
    Left,
    Gone,
}
