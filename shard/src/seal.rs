//! Seals: what one connection sends is sealed on its way to the socket, and what it receives is opened before the appliance
//! sees it. The seam for TLS, HTTP/2 and WebSocket (DESIGN.md 4.3, "Wrap"). What is sent is in `fanout/sealed.rs`.
//!
//! Invariants:
//! - Nothing plain goes out before the seal is open; what was queued before waits for that.
//! - A seal's own bytes (a handshake, an alert) go out in the order in which it made them, among what it has sealed.
//! - Bytes that a seal has not taken are kept for it, up to [`limits::SEALED_KEPT_BYTES_MAX`], and go with a connection that
//!   moves. A connection that has none has no buffer.
//! - Seals that are not open yet are served within [`limits::OPENING_MICROS`] of each pass: a crowd that arrives together
//!   takes its share of a core, and those who watch keep theirs.

use std::collections::VecDeque;
use std::error::Error;

use crate::connection::{ConnId, Life};
use crate::core::{Core, End};
use crate::kernel::Kernel;
use crate::limits;

/// Why a connection cannot go on: its peer is at fault, or the seal is worn out. The appliance knows the type.
pub type Broken = Box<dyn Error + Send + Sync>;

/// Seals what one connection sends, and opens what it receives. It moves with its connection.
pub trait Seal: Send {
    /// Both sides are ready: what is plain can be sealed. Once true it stays so.
    fn is_open(&self) -> bool {
        true
    }

    /// Appends the sealed form of `plain` (at most 16 KiB) to `out`. Only when it is open. `kept` is its input as
    /// [`Seal::open`] has left it, and stays so.
    ///
    /// # Errors
    /// Nothing more can be sealed.
    fn seal(&mut self, plain: &[u8], kept: &mut [u8], out: &mut Vec<u8>) -> Result<(), Broken>;

    /// Opens as much as is whole of `sealed`, which begins with what was left of it before, changed or not: appends what
    /// was in it to `plain`, and what the seal itself has to say to `out`. It is called with nothing at the start.
    ///
    /// # Errors
    /// What came is not what this seal takes. `plain` has what came before that, `out` the last word to the peer.
    fn open(&mut self, sealed: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Taken, Broken>;

    /// Appends this side's end to `out`. Only when it is open, and nothing is sealed behind it. `kept`: as for
    /// [`Seal::seal`].
    fn close(&mut self, _kept: &mut [u8], _out: &mut Vec<u8>) {}
}

/// How much of its input a seal has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub bytes: usize,
    /// The peer sends nothing more.
    pub closed: Closed,
}

/// Whether the peer has said that it sends nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    No,
    Yes,
}

/// How a connection's bytes reach the socket.
#[derive(Default)]
pub(crate) enum Wrap {
    /// Feed bytes by reference.
    #[default]
    Plain,
    /// One sealed buffer at a time, of a few records.
    Sealed(Box<Sealed>),
}

pub(crate) struct Sealed {
    pub seal: Box<dyn Seal>,
    pub unsent: Vec<u8>,
    pub sent: usize,
    pub holds: Holds,
    /// Received, and not taken yet.
    pub kept: Vec<u8>,
    pub state: State,
    /// It stands in the queue of those who are served within a share of the pass.
    pub queued: bool,
    /// When it is to be open (µs).
    pub opens_until: u64,
    /// The deadline that the appliance has set meanwhile.
    pub deadline: u64,
}

/// What the last of the unsent bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// The session's, or the seal's.
    Own,
    /// A feed's, or what the connection shares with others.
    Body,
}

/// How far a seal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Opening,
    Open,
    /// The peer has closed it: it sends nothing more.
    Deaf,
    /// This side has closed it, or it is broken: nothing more is sealed.
    Over,
}

/// What came of opening.
#[derive(Debug)]
pub(crate) enum Outcome {
    Opened,
    PeerClosed,
    Broken(Broken),
    /// The connection is gone.
    Gone,
}

impl Wrap {
    /// Nothing is sealed and not sent.
    pub fn is_sent(&self) -> bool {
        match self {
            Wrap::Plain => true,
            Wrap::Sealed(sealed) => sealed.is_sent(),
        }
    }

    pub fn sealed(&self) -> Option<&Sealed> {
        match self {
            Wrap::Plain => None,
            Wrap::Sealed(sealed) => Some(sealed),
        }
    }

    pub fn sealed_mut(&mut self) -> Option<&mut Sealed> {
        match self {
            Wrap::Plain => None,
            Wrap::Sealed(sealed) => Some(sealed),
        }
    }
}

impl Sealed {
    pub fn is_sent(&self) -> bool {
        self.sent == self.unsent.len()
    }

    /// Lets go what the seal has taken; what came of it.
    fn judge(&mut self, opened: Result<Taken, Broken>) -> Outcome {
        let taken = match opened {
            Ok(taken) => taken,
            Err(broken) => {
                self.state = State::Over;
                return Outcome::Broken(broken);
            }
        };
        self.kept.drain(..taken.bytes);
        match taken.closed {
            Closed::Yes => {
                self.state = State::Deaf;
                Outcome::PeerClosed
            }
            Closed::No if self.kept.len() >= limits::SEALED_KEPT_BYTES_MAX => {
                self.state = State::Over;
                Outcome::Broken(Box::new(TooLong))
            }
            Closed::No => Outcome::Opened,
        }
    }
}

impl std::fmt::Debug for Wrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wrap::Plain => f.write_str("Plain"),
            Wrap::Sealed(sealed) => f
                .debug_struct("Sealed")
                .field("state", &sealed.state)
                .field("unsent", &(sealed.unsent.len() - sealed.sent))
                .field("kept", &sealed.kept.len())
                .finish_non_exhaustive(),
        }
    }
}

/// What the seals of one shard share.
#[derive(Debug, Default)]
pub(crate) struct Seals {
    /// Who has input and is not open.
    pub opening: VecDeque<ConnId>,
    /// Plain bytes that are to be sealed.
    pub record: Vec<u8>,
    /// Buffers for what is sealed, and for what is kept.
    spare: Vec<Vec<u8>>,
}

impl Seals {
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    pub fn give_back(&mut self, mut buffer: Vec<u8>) {
        let poolable = (1..=limits::SEALED_POOLED_BYTES).contains(&buffer.capacity());
        if poolable && self.spare.len() < limits::SEALED_POOLED_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

impl<M, K: Kernel> Core<M, K> {
    /// Everything this connection sends from here on is sealed, and what it receives is opened before `received` has it. A
    /// seal that has to speak first does so now.
    pub fn seal(&mut self, id: ConnId, seal: Box<dyn Seal>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        debug_assert!(connection.wrap.sealed().is_none(), "one seal a connection");
        let opens_until = self.now + limits::OPENING_MICROS_MAX;
        let deadline = connection.deadline;
        let mut sealed = Box::new(Sealed {
            state: if seal.is_open() { State::Open } else { State::Opening },
            seal,
            unsent: Vec::new(),
            sent: 0,
            holds: Holds::Own,
            kept: Vec::new(),
            queued: false,
            opens_until,
            deadline,
        });
        if sealed.state == State::Opening {
            self.counters.seals_begun.add(1);
            // Nothing came: nothing can be wrong with it, or be in it.
            let _nothing_taken = sealed.seal.open(&mut [], &mut Vec::new(), &mut sealed.unsent);
        }
        let (is_to_speak, is_opening) = (!sealed.is_sent(), sealed.state == State::Opening);
        connection.wrap = Wrap::Sealed(sealed);
        if is_opening {
            self.put_deadline(id, Some(deadline.min(opens_until)));
        }
        if is_to_speak {
            self.make_urgent(id);
        }
    }

    /// Whether what this connection sends is sealed.
    pub fn is_sealed(&self, id: ConnId) -> bool {
        self.connections.get(id).is_some_and(|c| c.wrap.sealed().is_some())
    }

    /// The deadline of a connection whose seal is not open is that of the seal, or one that the appliance has set before
    /// that; `at` is kept until then.
    pub(crate) fn deadline_beside_seal(&mut self, id: ConnId, at: Option<u64>) -> Option<u64> {
        let sealed = self.connections.get_mut(id).and_then(|c| c.wrap.sealed_mut());
        let Some(sealed) = sealed.filter(|sealed| sealed.state == State::Opening) else {
            return at;
        };
        sealed.deadline = at.unwrap_or(u64::MAX);
        Some(sealed.deadline.min(sealed.opens_until))
    }

    /// Ends a connection whose seal is not open in its time; false when it has time, or is open.
    pub(crate) fn end_unopened(&mut self, id: ConnId) -> bool {
        let sealed = self.connections.get(id).and_then(|connection| connection.wrap.sealed());
        let now = self.now;
        if !sealed.is_some_and(|sealed| sealed.state == State::Opening && sealed.opens_until <= now) {
            return false;
        }
        self.counters.seals_timed_out.add(1);
        self.end(id, End::Unopened);
        true
    }

    /// Keeps what was received for the seal of `id`, if it has one; whether it is to be opened at once.
    pub(crate) fn keep_sealed(&mut self, id: ConnId, bytes: &[u8]) -> bool {
        let sealed = self.connections.get_mut(id).and_then(|c| c.wrap.sealed_mut());
        let Some(sealed) = sealed else { return false };
        if sealed.state == State::Over || sealed.state == State::Deaf {
            return false;
        }
        if sealed.kept.capacity() == 0 {
            sealed.kept = self.seals.buffer();
        }
        sealed.kept.extend_from_slice(bytes);
        self.counters.sealed_bytes_kept.add(bytes.len() as u64);
        let may_wait = sealed.state == State::Opening && sealed.kept.len() < limits::SEALED_KEPT_BYTES_MAX;
        if may_wait {
            self.queue_opening(id);
        }
        if self.counters.sealed_bytes_kept.value() > limits::SEALED_KEPT_ALL_BYTES_MAX {
            self.bound_kept();
        }
        !may_wait
    }

    /// Ends those for whose seals the most is kept when it is too much for all of them together, first those that are not
    /// open.
    fn bound_kept(&mut self) {
        let holder = |id: ConnId| {
            let sealed = self.connections.get(id)?.wrap.sealed()?;
            let bytes = sealed.kept.len();
            (bytes > 0).then_some((sealed.state == State::Open, std::cmp::Reverse(bytes), id))
        };
        let mut holders: Vec<_> = self.connections.ids().filter_map(holder).collect();
        holders.sort_unstable();
        for (_, _, id) in holders {
            if self.counters.sealed_bytes_kept.value() <= limits::SEALED_KEPT_ALL_BYTES_LEFT {
                break;
            }
            self.counters.seals_closed_kept.add(1);
            self.end(id, End::Aborted);
        }
    }

    /// It is served in this pass or a later one.
    pub(crate) fn queue_opening(&mut self, id: ConnId) {
        let sealed = self.connections.get_mut(id).and_then(|c| c.wrap.sealed_mut());
        if let Some(sealed) = sealed.filter(|sealed| !sealed.queued && !sealed.kept.is_empty()) {
            sealed.queued = true;
            self.seals.opening.push_back(id);
        }
    }

    /// The next of those who wait for their share.
    pub(crate) fn next_opening(&mut self) -> Option<ConnId> {
        while let Some(id) = self.seals.opening.pop_front() {
            let sealed = self.connections.get_mut(id).and_then(|c| c.wrap.sealed_mut());
            if let Some(sealed) = sealed.filter(|sealed| sealed.queued) {
                sealed.queued = false;
                return Some(id);
            }
        }
        None
    }

    /// Whether input of `id` waits for its share of a pass.
    pub(crate) fn waits_for_opening(&self, id: ConnId) -> bool {
        let sealed = self.connections.get(id).and_then(|connection| connection.wrap.sealed());
        sealed.is_some_and(|sealed| sealed.queued)
    }

    /// Whether the peer has said, through the seal, that it sends nothing more.
    pub(crate) fn has_peer_closed(&self, id: ConnId) -> bool {
        let sealed = self.connections.get(id).and_then(|connection| connection.wrap.sealed());
        sealed.is_some_and(|sealed| matches!(sealed.state, State::Deaf | State::Over))
    }

    /// Has the seal of `id` open what is kept for it: what was in it goes to `plain`.
    pub(crate) fn open_sealed(&mut self, id: ConnId, plain: &mut Vec<u8>) -> Outcome {
        let Some(connection) = self.connections.get_mut(id) else {
            return Outcome::Gone;
        };
        let life = connection.life;
        let Some(sealed) = connection.wrap.sealed_mut() else {
            return Outcome::Gone;
        };
        sealed.queued = false;
        if matches!(sealed.state, State::Over | State::Deaf) || matches!(life, Life::Flushing | Life::Draining) {
            return Outcome::Opened;
        }
        debug_assert_eq!(connection.in_flight, crate::connection::InFlight::Nothing);
        if sealed.unsent.capacity() == 0 {
            sealed.unsent = self.seals.buffer();
        }
        let (before, was_open) = (sealed.unsent.len(), sealed.state == State::Open);
        let kept_before = sealed.kept.len();
        let opened = sealed.seal.open(&mut sealed.kept, plain, &mut sealed.unsent);
        let has_spoken = sealed.unsent.len() > before;
        if has_spoken {
            sealed.holds = Holds::Own;
        } else if sealed.unsent.is_empty() {
            self.seals.give_back(std::mem::take(&mut sealed.unsent));
        }
        let is_opened = !was_open && sealed.seal.is_open();
        if is_opened {
            sealed.state = State::Open;
            self.counters.seals_opened.add(1);
        }
        let is_refused = sealed.state == State::Opening;
        let outcome = sealed.judge(opened);
        if let Outcome::Broken(_) = outcome {
            let counters = (&self.counters.seals_refused, &self.counters.seals_broken);
            if is_refused { counters.0 } else { counters.1 }.add(1);
        }
        let takes_more = matches!(sealed.state, State::Open | State::Opening);
        let kept = if takes_more { sealed.kept.len() } else { 0 };
        if kept == 0 {
            self.seals.give_back(std::mem::take(&mut sealed.kept));
        }
        self.counters.sealed_bytes_kept.sub((kept_before - kept) as u64);
        let deadline = sealed.deadline;
        if sealed.unsent.len() - sealed.sent > limits::SEALED_ANSWERS_BYTES_MAX {
            self.counters.connections_closed_own.add(1);
            self.end(id, End::OwnOverflow);
            return Outcome::Gone;
        }
        if has_spoken || is_opened {
            self.make_urgent(id);
        }
        if is_opened && matches!(life, Life::Open | Life::Deaf | Life::Detaching) {
            self.put_deadline(id, Some(deadline));
        }
        outcome
    }

    /// Of a connection that is being finished, when all is sent: the seal says the end. False when it has nothing to say.
    pub(crate) fn seal_end(&mut self, id: ConnId) -> bool {
        let sealed = self.connections.get_mut(id).and_then(|c| c.wrap.sealed_mut());
        let Some(sealed) = sealed.filter(|sealed| matches!(sealed.state, State::Open | State::Deaf)) else {
            return false;
        };
        sealed.state = State::Over;
        sealed.seal.close(&mut sealed.kept, &mut sealed.unsent);
        !sealed.is_sent()
    }

    /// A seal can seal no more.
    pub(crate) fn worn_out(&mut self, id: ConnId) {
        self.counters.seals_broken.add(1);
        self.end(id, End::Failed(libc::EPROTO));
    }

    /// # Panics
    /// When a seal and what is kept for it contradict each other. Returns whether its input waits for its share.
    pub(crate) fn check_seal(&self, sealed: &Sealed) -> bool {
        assert!(sealed.sent <= sealed.unsent.len());
        assert!(
            sealed.kept.len() < limits::SEALED_KEPT_BYTES_MAX,
            "what is kept is bounded"
        );
        assert!(
            !sealed.kept.is_empty() || sealed.kept.capacity() == 0,
            "who has nothing has no buffer"
        );
        assert_eq!(
            sealed.state == State::Opening,
            !sealed.seal.is_open() && sealed.state != State::Over
        );
        assert!(!sealed.queued || !sealed.kept.is_empty(), "who waits has what to open");
        sealed.queued
    }
}

/// A record or a message of the seal's own is longer than any may be.
#[derive(Debug)]
struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "more than {} bytes make no whole", limits::SEALED_KEPT_BYTES_MAX)
    }
}

impl Error for TooLong {}
