//! The simulated network: connections as two bounded, delayed pipes, with ends, resets and memory sent by reference.
//!
//! It is TCP as far as a server can see it: partial sends, full sockets, FIN behind data, RST that overtakes it, a close
//! with unread bytes that resets, a peer that is gone. It is no packet network: nothing is lost or reordered.
//!
//! Bytes of the pool that went by `sendfile` are kept as places, not copies, and read when the peer reads, as the kernel
//! does it: a block that was overwritten meanwhile shows. Punching takes the pages out of the file and leaves them to
//! the sockets ([`Net::punch`]).

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use penstock_shard::kernel::Outgoing;
use penstock_shard::limits::PACING_BYTES_MIN;
use penstock_shard::pool::Pool;

use super::mail::Mail;
use super::noise::{Noise, Trace};
use super::port::Port;
use super::zero_copy::{InUse, Notice};

pub type Shared = Arc<Mutex<Net>>;
/// Names a connection for the length of a world.
pub type LinkId = usize;

/// errno.h, Linux.
pub const EAGAIN: i32 = 11;
pub const EINVAL: i32 = 22;
pub const EPIPE: i32 = 32;
pub const ENOBUFS: i32 = 105;
pub const ECONNRESET: i32 = 104;
pub const ENOTCONN: i32 = 107;
pub const ECONNREFUSED: i32 = 111;
pub const ECANCELED: i32 = 125;
pub const EMFILE: i32 = 24;
pub const EOVERFLOW: i32 = 75;

/// Everything outside of the shards.
#[derive(Debug)]
pub struct Net {
    /// µs.
    pub now: u64,
    pub noise: Noise,
    pub trace: Trace,
    pub pool: Arc<Pool>,
    pub ports: Vec<Port>,
    pub links: Vec<Link>,
    /// By number: those of one shard and tag.
    pub listeners: Vec<Listener>,
    /// Older kernels have none.
    pub has_zero_copy: bool,
    /// Zero-copy sends whose notification is to come.
    pub notices: Vec<Notice>,
    pub mail: Mail,
}

#[derive(Debug)]
pub struct Listener {
    pub shard: usize,
    pub tag: u32,
    pub is_open: bool,
    /// Connections and when they come in, in order.
    pub backlog: VecDeque<(u64, LinkId)>,
}

#[derive(Debug)]
pub struct Link {
    pub peer: SocketAddr,
    latency: u64,
    /// Owners at the server: sockets and slots. It is closed when there is none.
    pub owners: u32,
    accepted: bool,
    /// Shards that it has been on, one after the other.
    pub stays: u32,
    up: VecDeque<Arrival>,
    up_bytes: usize,
    up_max: usize,
    /// When the server sees the client's FIN or RST.
    up_end: Option<(u64, End)>,
    /// The server has been told of the reset.
    up_told: bool,
    down: VecDeque<Sent>,
    down_bytes: usize,
    down_max: usize,
    down_end: Option<(u64, End)>,
    /// Since when the server's socket takes bytes again.
    writable_at: u64,
    write_shut: bool,
    resets_on_close: bool,
    client: Client,
    /// When the client last took something, or began to have something to take.
    took_at: u64,
    /// Bytes a second that the server's socket may send, 0 for no bound.
    pub pacing: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Open,
    /// Sends nothing more, and reads.
    HalfClosed,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
}

#[derive(Debug)]
struct Arrival {
    at: u64,
    bytes: Vec<u8>,
    taken: usize,
}

#[derive(Debug)]
struct Sent {
    at: u64,
    taken: usize,
    what: What,
    /// A zero-copy send's: its notification comes behind the last of it.
    in_use: Option<InUse>,
}

#[derive(Debug)]
enum What {
    Bytes(Vec<u8>),
    /// Pages of the pool's file, as long as they are the file's.
    Pages {
        file_offset: u64,
        len: usize,
    },
}

impl Sent {
    fn len(&self) -> usize {
        match &self.what {
            What::Bytes(bytes) => bytes.len(),
            What::Pages { len, .. } => *len,
        }
    }
}

/// What a client's read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    Bytes,
    /// Nothing there yet.
    Nothing,
    End(End),
}

impl Net {
    pub fn new(seed: u64, pool: Arc<Pool>, shards: usize) -> Net {
        Net {
            // Clocks do not begin at 0: a subtraction that goes below would be hidden.
            now: 1_000_000,
            noise: Noise::new(seed),
            trace: Trace::new(),
            pool,
            ports: (0..shards).map(|_| Port::new()).collect(),
            links: Vec::new(),
            listeners: Vec::new(),
            has_zero_copy: !Noise::new(seed).once_in(6),
            notices: Vec::new(),
            mail: Mail::default(),
        }
    }

    // ---- a client's side

    /// Connects to the listener with `tag` of a shard; none when it is closed.
    pub fn connect(&mut self, shard: usize, tag: u32) -> Option<LinkId> {
        let id = self.links.len();
        let host = (id % 250) as u8 + 1;
        let latency = self.noise.one_of(&[1, 50, 300, 2_000, 20_000]);
        let at = self.now + latency;
        let listener = self
            .listeners
            .iter_mut()
            .find(|listener| listener.shard == shard && listener.tag == tag)?;
        if !listener.is_open {
            return None;
        }
        listener.backlog.push_back((at, id));
        self.links.push(Link {
            // Some are on the server's machine.
            peer: SocketAddr::from((
                Ipv4Addr::new(if id % 8 == 7 { 127 } else { 10 }, 0, 0, host),
                40_000 + id as u16,
            )),
            latency,
            owners: 0,
            accepted: false,
            stays: 0,
            up: VecDeque::new(),
            up_bytes: 0,
            up_max: self.noise.one_of(&[2_000, 16_000, 128_000]),
            up_end: None,
            up_told: false,
            down: VecDeque::new(),
            down_bytes: 0,
            down_max: self.noise.one_of(&[3_000, 40_000, 150_000, 400_000]),
            down_end: None,
            writable_at: 0,
            write_shut: false,
            resets_on_close: false,
            client: Client::Open,
            took_at: 0,
            pacing: 0,
        });
        self.trace.add(id as u64);
        Some(id)
    }

    fn delay(&mut self, id: LinkId) -> u64 {
        let latency = self.links[id].latency;
        self.now + latency + self.noise.below(latency / 4 + 1)
    }

    /// Sends what there is room for; how much.
    pub fn client_send(&mut self, id: LinkId, bytes: &[u8]) -> usize {
        let delay = self.delay(id);
        let (now, link) = (self.now, &mut self.links[id]);
        let room = link.up_max - link.up_bytes;
        let count = room.min(bytes.len());
        if count == 0 || link.client != Client::Open || link.up_end.is_some() {
            return 0;
        }
        if link.accepted && link.owners == 0 {
            // Nobody reads there any more.
            link.reset_down(now + 2 * link.latency);
            return count;
        }
        let at = delay.max(link.up.back().map_or(0, |last| last.at));
        link.up_bytes += count;
        link.up.push_back(Arrival {
            at,
            bytes: bytes[..count].to_vec(),
            taken: 0,
        });
        count
    }

    /// Reads at most `bytes_max` to `to`.
    pub fn client_read(&mut self, id: LinkId, bytes_max: usize, to: &mut Vec<u8>) -> Read {
        let (now, pool) = (self.now, self.pool.clone());
        let link = &mut self.links[id];
        let full_before = !link.has_room();
        let before = to.len();
        while let Some(sent) = link.down.front_mut() {
            let count = (sent.len() - sent.taken).min(bytes_max - (to.len() - before));
            if sent.at > now || count == 0 {
                break;
            }
            match &sent.what {
                What::Bytes(bytes) => to.extend_from_slice(&bytes[sent.taken..sent.taken + count]),
                What::Pages { file_offset, .. } => {
                    let from = to.len();
                    to.resize(from + count, 0);
                    pool.read(file_offset + sent.taken as u64, &mut to[from..]);
                }
            }
            sent.taken += count;
            link.down_bytes -= count;
            if sent.taken == sent.len() {
                link.down.pop_front();
            }
        }
        if full_before && link.has_room() {
            link.writable_at = now + link.latency;
        }
        if to.len() > before {
            link.took_at = now;
            self.trace.add((to.len() - before) as u64);
            return Read::Bytes;
        }
        match link.down_end {
            Some((at, end)) if at <= now && link.down.is_empty() => Read::End(end),
            _ => Read::Nothing,
        }
    }

    /// When the client has something to read that it has not got yet.
    pub fn client_readable_at(&self, id: LinkId) -> Option<u64> {
        let link = &self.links[id];
        match link.down.front() {
            Some(sent) => Some(sent.at),
            None => link.down_end.map(|(at, _)| at),
        }
    }

    /// Whether a server that has not ended this connection is there.
    pub fn is_served(&self, id: LinkId) -> bool {
        self.links[id].down_end.is_none()
    }

    /// Sends the end, and goes on reading.
    pub fn client_half_close(&mut self, id: LinkId) {
        if self.links[id].client == Client::Open {
            self.client_end(id, End::Fin);
            self.links[id].client = Client::HalfClosed;
        }
    }

    /// The client's machine loses interest: it is reset, closed, or left as it is for good.
    pub fn client_abandon(&mut self, id: LinkId) {
        match self.noise.below(4) {
            0 => self.client_reset(id),
            1 => self.client_close(id),
            _ => {}
        }
    }

    /// What `TCP_USER_TIMEOUT` does: a peer that takes nothing for so long is gone.
    pub fn time_out(&mut self, micros: u64) {
        let now = self.now;
        for link in &mut self.links {
            if link.down.is_empty() || link.took_at + micros >= now {
                continue;
            }
            match link.owners {
                // Closed, and the kernel goes on for a while: what it still had is thrown away.
                0 => link.reset_down(0),
                _ => link.up_end.get_or_insert((now + 1, End::Reset)).1 = End::Reset,
            }
        }
    }

    /// Closes: a FIN, or an RST when there is something unread.
    pub fn client_close(&mut self, id: LinkId) {
        let unread = !self.links[id].down.is_empty();
        self.client_leave(id, if unread { End::Reset } else { End::Fin });
    }

    pub fn client_reset(&mut self, id: LinkId) {
        self.client_leave(id, End::Reset);
    }

    fn client_leave(&mut self, id: LinkId, end: End) {
        if self.links[id].client == Client::Gone {
            return;
        }
        self.client_end(id, end);
        let link = &mut self.links[id];
        link.client = Client::Gone;
        link.down.clear();
        link.down_bytes = 0;
        link.writable_at = link.writable_at.max(self.now + link.latency);
    }

    fn client_end(&mut self, id: LinkId, end: End) {
        let delay = self.delay(id);
        let (now, link) = (self.now, &mut self.links[id]);
        match (link.up_end, end) {
            (Some((_, End::Reset)), _) | (Some(_), End::Fin) => {}
            (_, End::Fin) => link.up_end = Some((delay.max(link.up.back().map_or(0, |last| last.at)), End::Fin)),
            (_, End::Reset) => {
                // What is on its way is overtaken by nothing; what comes behind is not there.
                link.up_end = Some((delay.max(now + 1), End::Reset));
            }
        }
    }

    // ---- the server's side

    /// Sends from the server; the count, or a negative errno.
    pub fn server_send(&mut self, id: LinkId, from: Outgoing<'_>, by_reference: ByReference) -> i32 {
        let partial = self.noise.once_in(12);
        let cut = self.noise.next() as usize;
        let delay = self.delay(id);
        let (now, link) = (self.now, &mut self.links[id]);
        if let Some(errno) = link.send_error(now) {
            return -errno;
        }
        let mut count = link.room().min(from.len());
        if count == 0 {
            return -EAGAIN;
        }
        if partial {
            count = cut % count + 1;
        }
        let at = delay.max(link.down.back().map_or(0, |last| last.at));
        let in_use = None;
        let what = match from {
            Outgoing::Own(bytes) | Outgoing::OwnAndMore(bytes) => What::Bytes(bytes[..count].to_vec()),
            Outgoing::Span(span) if by_reference == ByReference::Yes => What::Pages {
                file_offset: span.file_offset,
                len: count,
            },
            Outgoing::Span(span) => {
                let mut bytes = vec![0; count];
                self.pool.read(span.file_offset, &mut bytes);
                What::Bytes(bytes)
            }
        };
        self.trace.add(count as u64);
        if link.client == Client::Gone {
            // The peer's machine answers with a reset.
            let at = now + 2 * link.latency;
            link.up_end = match link.up_end {
                Some((before, End::Reset)) => Some((before.min(at), End::Reset)),
                _ => Some((at, End::Reset)),
            };
            return count as i32;
        }
        if link.down.is_empty() {
            link.took_at = now;
        }
        link.down_bytes += count;
        link.down.push_back(Sent {
            at,
            taken: 0,
            what,
            in_use,
        });
        count as i32
    }

    /// What a receive would bring by now: bytes to `to`, at most `bytes_max`; or 0 or a negative errno, once.
    pub fn server_receive(&mut self, id: LinkId, bytes_max: usize, to: &mut Vec<u8>) -> Option<i32> {
        let (now, link) = (self.now, &mut self.links[id]);
        let was_reset = matches!(link.up_end, Some((at, End::Reset)) if at <= now);
        if !was_reset {
            while let Some(arrival) = link.up.front_mut() {
                let count = (arrival.bytes.len() - arrival.taken).min(bytes_max - to.len());
                if arrival.at > now || count == 0 {
                    break;
                }
                to.extend_from_slice(&arrival.bytes[arrival.taken..arrival.taken + count]);
                arrival.taken += count;
                link.up_bytes -= count;
                if arrival.taken == arrival.bytes.len() {
                    link.up.pop_front();
                }
            }
            if !to.is_empty() {
                return Some(to.len() as i32);
            }
        }
        match link.up_end {
            Some((at, End::Reset)) if at <= now => {
                let told = std::mem::replace(&mut link.up_told, true);
                Some(if told { 0 } else { -ECONNRESET })
            }
            Some((at, End::Fin)) if at <= now && link.up.is_empty() => Some(0),
            _ => None,
        }
    }

    /// When a receive has something to bring.
    pub fn receivable_at(&self, id: LinkId) -> Option<u64> {
        let link = &self.links[id];
        let end = link.up_end.map(|(at, end)| (at, end == End::Reset));
        let arrival = link.up.front().map(|arrival| arrival.at);
        match (arrival, end) {
            (Some(arrival), Some((at, true))) => Some(arrival.min(at)),
            (Some(arrival), _) => Some(arrival),
            (None, end) => end.map(|(at, _)| at),
        }
    }

    /// When a poll for room reports.
    pub fn writable_at(&self, id: LinkId) -> Option<u64> {
        let link = &self.links[id];
        let reset = link.up_end.filter(|(_, end)| *end == End::Reset).map(|(at, _)| at);
        match (link.has_room() || link.write_shut, reset) {
            (true, Some(at)) => Some(at.min(link.writable_at)),
            (true, None) => Some(link.writable_at),
            (false, reset) => reset,
        }
    }

    /// Accepted by the server; who owns it counts from here.
    pub fn accept(&mut self, id: LinkId) {
        let link = &mut self.links[id];
        assert!(!link.accepted, "accepted twice");
        link.accepted = true;
        link.owners = 1;
    }

    /// A connection that nobody will accept.
    pub fn refuse(&mut self, id: LinkId, at: u64) {
        self.links[id].reset_down(at);
    }

    /// The peer's address; gone with a connection that was reset.
    pub fn peer_address(&self, id: LinkId) -> Result<SocketAddr, i32> {
        let link = &self.links[id];
        match link.up_end {
            Some((at, End::Reset)) if at <= self.now => Err(ENOTCONN),
            _ => Ok(link.peer),
        }
    }

    pub fn shutdown_write(&mut self, id: LinkId) -> Result<(), i32> {
        let delay = self.delay(id);
        let (now, link) = (self.now, &mut self.links[id]);
        if matches!(link.up_end, Some((at, End::Reset)) if at <= now) {
            return Err(ENOTCONN);
        }
        link.write_shut = true;
        link.fin_down(delay);
        Ok(())
    }

    /// Bounds the server's sending.
    pub fn pace(&mut self, id: LinkId, bytes_per_second: u32) {
        let pacing = std::mem::replace(&mut self.links[id].pacing, bytes_per_second);
        assert!(pacing < bytes_per_second, "set when it is raised, not per send");
        assert!(u64::from(bytes_per_second) >= PACING_BYTES_MIN);
    }

    pub fn resets_on_close(&mut self, id: LinkId) {
        self.links[id].resets_on_close = true;
    }

    /// One owner less; the last one closes.
    pub fn disown(&mut self, id: LinkId) {
        let delay = self.delay(id);
        let (now, link) = (self.now, &mut self.links[id]);
        assert!(link.owners > 0, "a closed connection has no owner");
        link.owners -= 1;
        if link.owners > 0 {
            return;
        }
        let unread = link.up.iter().any(|arrival| arrival.at <= now);
        if link.resets_on_close || unread {
            link.reset_down(now + link.latency);
        } else {
            link.fin_down(delay);
        }
        link.up.clear();
        link.up_bytes = 0;
        self.trace.add(id as u64);
    }

    /// Punches what waits for it. Sockets keep what the pages held.
    pub fn punch(&mut self) {
        self.look_at_notices();
        let mut held = Vec::new();
        for link in &mut self.links {
            for sent in &mut link.down {
                if let What::Pages { file_offset, len } = sent.what {
                    let mut before = vec![0; len];
                    self.pool.read(file_offset, &mut before);
                    held.push((sent, before));
                }
            }
        }
        let done = self.pool.punch_pending(usize::MAX).expect("a memfd can be punched");
        if done == 0 {
            return;
        }
        for (sent, before) in held {
            if let What::Pages { file_offset, len } = sent.what {
                let mut after = vec![0; len];
                self.pool.read(file_offset, &mut after);
                if after != before {
                    sent.what = What::Bytes(before);
                }
            }
        }
        self.notice_punches();
    }

    /// Connections that the server has accepted and not closed.
    pub fn open_at_server(&self) -> usize {
        self.links.iter().filter(|link| link.owners > 0).count()
    }
}

/// Whether a send leaves the bytes where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByReference {
    Yes,
    No,
}

impl Link {
    /// What was sent last is in use until all of it is gone.
    pub fn hold_last(&mut self, in_use: InUse) {
        // Nothing is there when the client is gone.
        if let Some(sent) = self.down.back_mut().filter(|_| self.client != Client::Gone) {
            sent.in_use = Some(in_use);
        }
    }

    fn room(&self) -> usize {
        self.down_max - self.down_bytes
    }

    /// Enough for a poll to report it: a third, as in Linux.
    fn has_room(&self) -> bool {
        self.room() >= self.down_max / 3
    }

    fn send_error(&mut self, now: u64) -> Option<i32> {
        match self.up_end {
            Some((at, End::Reset)) if at <= now => {
                let told = std::mem::replace(&mut self.up_told, true);
                Some(if told { EPIPE } else { ECONNRESET })
            }
            _ if self.write_shut => Some(EPIPE),
            _ => None,
        }
    }

    fn fin_down(&mut self, at: u64) {
        let at = at.max(self.down.back().map_or(0, |last| last.at));
        self.down_end.get_or_insert((at, End::Fin));
    }

    /// What has not come by then never does.
    fn reset_down(&mut self, at: u64) {
        if matches!(self.down_end, Some((before, End::Reset)) if before <= at) {
            return;
        }
        self.down.retain(|sent| sent.at <= at);
        self.down_bytes = self.down.iter().map(|sent| sent.len() - sent.taken).sum();
        self.down_end = Some((at, End::Reset));
    }
}
