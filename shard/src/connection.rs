//! Connections of one shard: a slab whose places are also the slots of the ring's registered files.
//!
//! A parked viewer is one [`Connection`] and one cursor in it, no task and no buffer. Its generation keeps a late
//! completion of an earlier connection in the same place from being taken for its own.

use std::sync::Arc;

use crate::fanout::{CastId, Limit};
use crate::limits;
use crate::seal::{Holds, Wrap};

/// Names one connection of one shard; stale once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(crate) index: u32,
    /// 24 bits.
    pub(crate) generation: u32,
}

impl ConnId {
    /// For tables of the appliance that run beside the slab.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// A number that names this connection in logs: unique in its shard for 2^24 reuses of its place.
    pub fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

pub(crate) const GENERATION_MASK: u32 = 0x00ff_ffff;

/// A viewer's place in a feed.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Place of the feed in the shard's table.
    pub feed: u32,
    /// Place of this connection in the feed's list.
    pub place: u32,
    /// Next byte to send. [`WAITING`] until the feed has a join point.
    pub position: u64,
    /// End of the queued range, on a record boundary. The cursor stands on a boundary when `position == end`.
    pub end: u64,
    /// It has been put at a join point before: a further one is a skip.
    pub begun: bool,
    /// What becomes of its join header.
    pub heading: Heading,
    /// It was put at a join point that the appliance has not been told of: nothing of the feed is sent before.
    pub held: bool,
    /// Of a range: where it stops. None for who watches an endless feed.
    pub limit: Option<Limit>,
    /// It is copied, however much of it goes at a time.
    pub is_short: bool,
    /// Of a range: all that is there is sent, and its feed counts it among those that wait for more.
    pub waits: bool,
}

/// What becomes of the header of the join point that a viewer starts at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heading {
    /// It goes out ahead of the feed, and skip headers where the viewer is moved.
    Sent,
    /// The appliance reads it, and says what goes out ahead of the feed; a skip sends nothing.
    Told,
}

/// The position of a cursor that has not started.
pub(crate) const WAITING: u64 = u64::MAX;

impl Cursor {
    pub fn is_on_boundary(&self) -> bool {
        self.position == self.end
    }
}

/// Bytes of the session itself, sent between records.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub bytes: Vec<u8>,
    pub sent: usize,
    /// The first bytes are so much of a record that a viewer stood in when it left: the feed's, not the session's.
    pub rest: usize,
    /// Unsent bytes that go out before the answer that was put behind them; what was added since waits for its end.
    pub ahead: usize,
}

impl Own {
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Unsent bytes that can go out together.
    pub fn first(&self) -> &[u8] {
        match self.ahead {
            0 => self.unsent(),
            ahead => &self.unsent()[..ahead],
        }
    }

    /// So many went out.
    pub fn took(&mut self, bytes: usize) {
        self.sent += bytes;
        self.ahead = self.ahead.saturating_sub(bytes);
    }

    /// Unsent bytes that the session has put there.
    pub fn answers(&self) -> usize {
        self.bytes.len() - self.rest.max(self.sent)
    }

    /// Appends session bytes. What was sent goes when it is the larger part: a peer that always leaves a little unread does
    /// not make the buffer grow. Returns how many bytes of a rest went with it.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let mut gone = 0;
        if self.sent > self.bytes.len() / 2 {
            gone = self.rest.min(self.sent);
            self.bytes.drain(..self.sent);
            self.rest -= gone;
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
        gone
    }
}

/// Bytes that many connections are sent, on their way to one of them.
#[derive(Debug)]
pub(crate) struct Shared {
    pub bytes: Arc<[u8]>,
    pub sent: usize,
    /// How many of them were copied for this connection alone, and count as a rest.
    pub copied: usize,
}

impl Shared {
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// This side is making it.
    Connecting,
    Open,
    /// The peer takes nothing more; what it had sent before is still read, up to its end.
    Deaf,
    /// Everything queued is sent, then the sending side ends.
    Flushing,
    /// The peer was told the end; what it still sends is thrown away.
    Draining,
    /// Its receive is being cancelled, to move it elsewhere.
    Detaching,
}

/// What a send in flight carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InFlight {
    Nothing,
    /// Bytes of the session, then of its feed or of what it shares.
    Plain {
        own: u32,
        body: u32,
    },
    Sealed {
        bytes: u32,
        holds: Holds,
    },
}

/// Whether the feed's bytes go to a connection by zero-copy sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZeroCopyUse {
    /// They are copied, or go by `sendfile`, for as long as it lasts: ways do not change.
    Never,
    /// The last so many were reported as copied.
    Tried { copied: u8 },
}

#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub socket: S,
    pub life: Life,
    pub receive_armed: bool,
    /// More had arrived than its last receive took.
    pub has_unread: bool,
    pub writable_armed: bool,
    /// Stands in the urgent queue.
    pub queued: bool,
    pub in_flight: InFlight,
    pub own: Own,
    pub cursor: Option<Cursor>,
    /// It watches by datagrams, beside its dialogue; then there is no cursor.
    pub cast: Option<CastId>,
    /// With it there is no cursor.
    pub shared: Option<Shared>,
    /// The feed of its last range ended before the range did.
    pub is_cut: bool,
    pub wrap: Wrap,
    /// µs of the shard's clock, `u64::MAX` for none.
    pub deadline: u64,
    /// When the wheel brings it up next (µs), `u64::MAX` for never.
    pub looked_at: u64,
    /// Bytes its socket took.
    pub bytes_sent: u64,
    /// Unsent bytes at which its socket counts as full.
    pub low_water: u32,
    /// Bytes a second that its socket sends at most; 0 for no bound.
    pub pacing: u32,
    pub zero_copy: ZeroCopyUse,
}

impl<S> Connection<S> {
    /// A range or shared bytes are under way to it.
    pub fn is_answered(&self) -> bool {
        self.shared.is_some() || self.cursor.as_ref().is_some_and(|cursor| cursor.limit.is_some())
    }
}

/// The slab. Places are reused last in, first out, and not before the appliance has been told of the end of the
/// connection that stood there: its own tables run beside this one. Generations make names unique.
#[derive(Debug)]
pub(crate) struct Connections<S> {
    places: Vec<Place<S>>,
    free: Vec<u32>,
    /// Empty, and not to be reused yet.
    left: Vec<u32>,
    max: u32,
}

#[derive(Debug)]
struct Place<S> {
    /// Of the connection that stands or will stand here next.
    generation: u32,
    connection: Option<Box<Connection<S>>>,
}

impl<S> Connections<S> {
    pub fn new(max: u32) -> Self {
        Connections {
            places: Vec::new(),
            free: Vec::new(),
            left: Vec::new(),
            max,
        }
    }

    pub fn open(&self) -> usize {
        self.places.len() - self.free.len() - self.left.len()
    }

    /// All ends have been told.
    pub fn reuse(&mut self) {
        self.free.append(&mut self.left);
    }

    /// How many can be inserted before [`Connections::reuse`].
    pub fn room(&self) -> usize {
        self.free.len() + (self.max as usize - self.places.len())
    }

    /// Nothing when all places are taken; the socket is then closed by its drop.
    pub fn insert(&mut self, socket: S) -> Option<ConnId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.places.len() < self.max as usize => {
                self.places.push(Place {
                    generation: 0,
                    connection: None,
                });
                self.places.len() as u32 - 1
            }
            None => return None,
        };
        let place = &mut self.places[index as usize];
        let generation = place.generation;
        debug_assert!(place.connection.is_none());
        place.connection = Some(Box::new(Connection {
            socket,
            life: Life::Open,
            receive_armed: false,
            has_unread: false,
            writable_armed: false,
            queued: false,
            in_flight: InFlight::Nothing,
            own: Own::default(),
            cursor: None,
            cast: None,
            shared: None,
            is_cut: false,
            wrap: Wrap::Plain,
            deadline: u64::MAX,
            looked_at: u64::MAX,
            bytes_sent: 0,
            low_water: limits::NOT_SENT_BYTES_MIN,
            pacing: 0,
            zero_copy: ZeroCopyUse::Never,
        }));
        Some(ConnId { index, generation })
    }

    pub fn get(&self, id: ConnId) -> Option<&Connection<S>> {
        let place = self.places.get(id.index as usize)?;
        place
            .connection
            .as_deref()
            .filter(|_| place.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection<S>> {
        let place = self.places.get_mut(id.index as usize)?;
        place
            .connection
            .as_deref_mut()
            .filter(|_| place.generation == id.generation)
    }

    /// Whatever connection stands at `index`.
    pub fn at(&self, index: u32) -> Option<ConnId> {
        let place = self.places.get(index as usize)?;
        place.connection.as_ref().map(|_| ConnId {
            index,
            generation: place.generation,
        })
    }

    /// Its place stays empty until [`Connections::reuse`].
    pub fn remove(&mut self, id: ConnId) -> Option<Box<Connection<S>>> {
        let place = self
            .places
            .get_mut(id.index as usize)
            .filter(|place| place.generation == id.generation)?;
        let connection = place.connection.take()?;
        place.generation = (place.generation + 1) & GENERATION_MASK;
        self.left.push(id.index);
        Some(connection)
    }

    /// # Panics
    /// When the list of free places contradicts the places.
    pub fn check_invariants(&self) {
        assert!(self.places.len() <= self.max as usize);
        assert!(self.left.is_empty(), "all ends have been told");
        assert_eq!(self.open(), self.ids().count());
        let mut free = self.free.clone();
        free.sort_unstable();
        let empty = (0..self.places.len() as u32).filter(|index| self.at(*index).is_none());
        assert_eq!(free, empty.collect::<Vec<_>>(), "every empty place is free, once");
    }

    pub fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        (0..self.places.len() as u32).filter_map(|index| self.at(index))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_stale_name_finds_nothing_and_a_full_table_refuses() {
        let mut connections = Connections::new(2);
        let first = connections.insert(()).unwrap();
        let second = connections.insert(()).unwrap();
        assert!(connections.room() == 0 && connections.insert(()).is_none());
        assert!(connections.remove(first).is_some());
        assert!(connections.get(first).is_none() && connections.remove(first).is_none());
        assert!(connections.insert(()).is_none(), "its end has not been told");
        assert_eq!(connections.open(), 1);
        connections.reuse();
        connections.check_invariants();
        let third = connections.insert(()).unwrap();
        assert_eq!((third.index, third.generation), (first.index, 1));
        assert!(connections.get(first).is_none() && connections.get_mut(second).is_some());
        assert_eq!(connections.ids().collect::<Vec<_>>(), [third, second]);
    }

    #[test]
    fn session_bytes_that_are_never_all_read_do_not_pile_up() {
        let mut own = Own {
            bytes: vec![0; 1000],
            sent: 0,
            rest: 900,
            ahead: 0,
        };
        assert_eq!(own.answers(), 100);
        let (mut gone, mut sent) = (0, 0_u32);
        for round in 0..10_000_u32 {
            own.sent += 80;
            sent += 80;
            gone += own.push(&[round as u8; 80]);
            assert_eq!(own.unsent().len(), 1000);
            assert_eq!(own.answers(), 1000 - (900_usize.saturating_sub(sent as usize)));
            assert!(own.bytes.len() <= 2200, "{}", own.bytes.len());
        }
        assert_eq!((gone, own.rest), (900, 0));
        assert_eq!(own.unsent().last(), Some(&(9999_u32 as u8)));
    }

    #[test]
    fn a_parked_connection_is_small() {
        assert!(
            size_of::<Connection<OwnedFd>>() + size_of::<Place<OwnedFd>>() <= 256,
            "{}",
            size_of::<Connection<OwnedFd>>()
        );
    }
}
