//! Bounds of a shard, each with its reason. What the mapped memory holds is bounded beside its layout, in `pool`,
//! `ring` and `feed`.

/// Shards of one process: the width of a feed's subscriber mask.
pub const SHARDS_MAX: usize = 64;

/// Submission entries: two full fan-out slices and what the sessions queue beside them; a full queue is submitted.
pub const RING_SUBMISSIONS: u32 = 512;
/// Completion entries: a slice of sends, every receive buffer, the accepts of 64 listeners, and four times as much again.
/// Hang-ups and notifications may come in larger crowds; the kernel keeps what has no place.
pub const RING_COMPLETIONS: u32 = 8192;

/// Buffers for receives of all connections of a shard; a power of two. Each is held only while its bytes are handed to
/// a session, so their number bounds one batch of completions, not the connections.
pub const RECEIVE_BUFFERS: u16 = 128;
/// One buffer: a publisher's socket is drained in few completions, and 128 of them are 2 MiB a shard. A datagram of 16 KiB
/// fits behind its head: there are cameras that send 10,000 bytes at once.
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024 + DATAGRAM_HEAD_BYTES;
/// What the kernel writes ahead of a datagram: four lengths, and its peer's address.
pub const DATAGRAM_HEAD_BYTES: usize = 64;
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two());

/// Connections waiting for `accept`; the kernel lowers it to `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Accepts of one listener in one pass: each costs some 20 µs with what follows it, so a flood takes a third of a
/// millisecond of each pass, and 16 a pass are more than 10,000 a second on a shard whose every pass sends.
pub const ACCEPTS_ARMED: u32 = 16;
/// Listening sockets of a shard.
pub const LISTENERS_MAX: usize = 64;
const _: () = assert!(
    RING_COMPLETIONS as usize > SLICE_SENDS + RECEIVE_BUFFERS as usize + LISTENERS_MAX * ACCEPTS_ARMED as usize,
    "one pass never overflows the completion queue"
);
/// How long accepting rests when the process is out of descriptors: long enough not to spin, short enough not to lose
/// the backlog.
pub const ACCEPT_REST_MICROS: u64 = 100_000;

/// A peer that takes nothing for so long is ended, unless the configuration says otherwise (DESIGN.md 4.3).
pub const STALL_MAX_MILLIS: u64 = 60_000;
/// Floor of `TCP_NOTSENT_LOWAT` (DESIGN.md 4.4): smaller values tripled the number of sends.
pub const NOT_SENT_BYTES_MIN: u32 = 64 * 1024;
/// Ceiling of it: beyond, a stopped reader swallows memory.
pub const NOT_SENT_BYTES_MAX: u32 = 2 * 1024 * 1024;

/// How long a feed's rate is measured for it: a GOP or two, so that keyframes are not taken for the rate.
pub const RATE_MICROS: u64 = 4_000_000;

/// Sends in one kernel entry: 1,000 of them froze a core for 9-23 ms (DESIGN.md 4.3).
pub const SLICE_SENDS: usize = 128;
/// A slice also ends after so many bytes: copying them into sockets is done in the kernel entry, after the slice's own time
/// was looked at, and takes half a millisecond and more.
pub const SLICE_BYTES: usize = 2 * 1024 * 1024;
/// How late publishers and what is realtime may be served on a full shard. Counted when it is exceeded.
pub const PASS_MICROS_MAX: u64 = 5000;
/// A slice also ends after so much time.
pub const SLICE_MICROS: u64 = 1000;
/// A turn that takes more than so many tenths of its class's longest pause has left the elastic range: beyond, each
/// further viewer makes all wait longer.
pub const OVERLOAD_TENTHS: u64 = 8;
/// So many such turns in a row are an overload; one is a hiccup of the machine.
pub const OVERLOAD_TURNS: u32 = 3;
/// How long an overload holds behind its last late turn: long enough that refusing new viewers does not flicker.
pub const OVERLOAD_KEPT_MICROS: u64 = 2_000_000;
/// Bytes queued for one viewer at a time, ended on a record boundary: a catching-up viewer takes its turns like others.
pub const RANGE_BYTES: u64 = 256 * 1024;
/// From here up a send goes by `sendfile` (DESIGN.md 4.3, measured).
pub const SENDFILE_BYTES: usize = 64 * 1024;
/// A range of less is copied all the same: those who wait for one part are sent it one behind the other, out of the core's
/// cache (`numbers ll-burst`).
pub const SENDFILE_RANGE_BYTES: u64 = 256 * 1024;

/// From here up a zero-copy send may be worth its notification: below, copying costs less (DESIGN.md 4.3).
pub const ZERO_COPY_BYTES: usize = 16 * 1024;
/// Zero-copy sends of a connection that the kernel reports as copied, one after the other, before it copies for good: one
/// may be a packet that was tapped or sent again, a way that copies copies all.
pub const ZERO_COPY_COPIED_MAX: u8 = 3;
/// Zero-copy sends whose notification is to come, per shard: four each of 16,384 viewers, 2.5 MiB of bookkeeping.
pub const ZERO_COPY_SENDS_MAX: usize = 65_536;
/// What they may hold of the pool, all shards together (DESIGN.md 4.3: above it, sends copy).
pub const ZERO_COPY_POOL_PART: u64 = 4;
/// How long sends copy after the kernel had no room to hold more pages (the limit of locked memory counts them).
pub const ZERO_COPY_REST_MICROS: u64 = 1_000_000;

/// Sending is never bounded below this, in bytes a second: a rate measured while a picture stood still would keep a viewer
/// from what follows.
pub const PACING_BYTES_MIN: u64 = 125_000;

/// Session bytes that a connection may have unsent: response heads, join headers, answers. A peer that makes us answer
/// more without reading is closed.
pub const OWN_BYTES_MAX: usize = 256 * 1024;
/// Buffers up to this size go back to the shard's pool.
pub const OWN_POOLED_BYTES: usize = 4096;
/// Pooled buffers kept: a slice's worth of joins.
pub const OWN_POOLED_MAX: usize = 256;
/// Rests of records copied for viewers that fell behind, per shard; beyond it such a viewer is closed.
pub const REST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What may be left of a range that its feed evicts, to be copied rather than closed: one range of a send. Counted among
/// the rests.
pub const RANGE_COPIED_BYTES_MAX: u64 = RANGE_BYTES;
/// How soon a shard publishes what its ranges have let go, where that holds blocks back: as the longest pause of a class.
pub const RELEASE_MICROS: u64 = 500_000;
/// Plain bytes sealed at once: one TLS record.
pub const SEALED_PLAIN_BYTES: usize = 16 * 1024;
/// One sealed buffer: one record. Several would save sends (a fifth to a third of what TLS costs at 33 to 116 kB a turn), and hold
/// more for each viewer that stops reading.
pub const SEALED_BUFFER_BYTES: usize = SEALED_PLAIN_BYTES + SEALED_OVERHEAD_BYTES;
/// What sealing adds to a record: TLS 1.2 the most, 29 bytes, and now and then a message of its own ahead of it.
pub const SEALED_OVERHEAD_BYTES: usize = 128;
/// What is kept for a seal that waits for the rest of a record or of a message of its own: TLS's longest handshake message is
/// 65,535 bytes in as few records as there may be.
pub const SEALED_KEPT_BYTES_MAX: usize = 80 * 1024;
/// And for all seals of a shard: 8,000 connections with half a record each. Who holds more than that has no use for it.
pub const SEALED_KEPT_ALL_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// What is left of it when it was too much.
pub const SEALED_KEPT_ALL_BYTES_LEFT: u64 = SEALED_KEPT_ALL_BYTES_MAX / 8 * 7;
/// How long a seal may take to be open: a handshake is two round trips, and a lost packet costs a second or three.
pub const OPENING_MICROS_MAX: u64 = 10_000_000;
/// Bytes of a seal's own that may be unsent, behind one sealed buffer: a handshake's answers with a long chain of
/// certificates. A peer that makes it say more without reading is closed.
pub const SEALED_ANSWERS_BYTES_MAX: usize = 128 * 1024;
/// Seals that are not open yet take so much of a pass, or one of them does: a handshake is a signature and a key exchange,
/// 0.1 to 1 ms, and a thousand viewers may come back in the same second.
pub const OPENING_MICROS: u64 = 1000;
/// Buffers up to this size go back to the shard's pool: a sealed buffer, or a receive behind half a record.
pub const SEALED_POOLED_BYTES: usize = SEALED_KEPT_BYTES_MAX;
const _: () = assert!(SEALED_BUFFER_BYTES <= SEALED_POOLED_BYTES);
/// Pooled buffers kept: a slice's worth of sends.
pub const SEALED_POOLED_MAX: usize = SLICE_SENDS;

/// How long a connection that was ended cleanly may take to read the rest (DESIGN.md 4.3).
pub const DRAIN_MICROS: u64 = 2_000_000;

/// Datagram sockets of a shard: a pair for each track of a thousand cameras, and the few that viewers share.
pub const DATAGRAM_SOCKETS_MAX: u32 = 4096;
/// Asked of the kernel for each direction of a datagram socket: a keyframe for each of 200 viewers who share it.
pub const DATAGRAM_SOCKET_BYTES: u32 = 8 * 1024 * 1024;
/// Where one viewer's datagrams go: a pair for each of 16 tracks.
pub const ROUTES_MAX: usize = 32;
/// Feeds that a shard sends to group addresses: each is configured by hand.
pub const GROUPS_MAX: usize = 1024;
/// Datagrams that the kernel cuts out of one send: UDP_MAX_SEGMENTS of older kernels.
pub const SEGMENTS_MAX: usize = 64;
/// What they may hold together, below the 65,507 that one datagram may.
pub const SEGMENTED_BYTES_MAX: usize = 65_000;
/// What a viewer that starts, or was moved, is sent at a time of what was there before it: fits into the receive buffer that
/// a socket has by default (208 KiB, of which each datagram of 1,200 bytes takes 2,304).
pub const DATAGRAM_BURST_BYTES: u64 = 64 * 1024;
/// The pause behind it: 13 MB a second, so that some seconds of stream are caught up within a fraction of one.
pub const DATAGRAM_BURST_MICROS: u64 = 5_000;
/// Datagrams of the appliance's own that are queued in one pass: reports and answers, a few a second and peer.
pub const LETTERS_MAX: usize = 1024;
/// Their bytes.
pub const LETTER_BYTES_MAX: usize = 256 * 1024;
/// How the packets of a range are laid out is kept for so many ranges from slice to slice: one for each feed that has
/// grown, its viewers standing at one place.
pub const LAYOUTS_KEPT: usize = 64;
/// Layouts of one slice: each costs a walk through its packets.
pub const LAYOUTS_MAX: usize = 2 * SLICE_SENDS;

/// Connections that are being made, per shard: every camera of a large site at the start.
pub const CONNECTS_MAX: usize = 1024;

/// Messages waiting for one shard. A full inbox refuses: the sender answers its peer "busy".
pub const INBOX_MESSAGES: usize = 8192;

/// Ticks of the connection timer wheel. A deadline beyond one round is looked at again each round.
pub const WHEEL_TICKS: usize = 512;
/// One tick: session time-outs are seconds, and are met within this.
pub const WHEEL_TICK_MICROS: u64 = 50_000;

/// Deadlines armed in the kernel at a time. Only an earlier one is armed beside those that are.
pub const TIMEOUTS_ARMED_MAX: usize = 64;
