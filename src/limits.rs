//! Bounds of the appliance, each with its reason. Protocols bound themselves in their own `limits.rs`.

/// The least memory budget: a stream of 2.6 Mb/s with viewers of every packaging takes some 12 MiB.
pub const MEMORY_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// The budget's share of what the process may use, unless the operator says otherwise: sockets' buffers, which the kernel
/// counts to the same group, and the sessions need the rest.
pub const MEMORY_PERCENT: u8 = 50;

/// Names one arbiter knows: bounds what a publisher with a wildcard rule can make us remember (about 200 bytes each).
pub const NAMES_PER_ARBITER_MAX: usize = 16_384;

/// Input kept for a session that waits for a decision of ours; a peer that sends more meanwhile is closed. An encoder
/// that does not wait for the answer to `publish` sends some hundred ms of media.
pub const PENDING_INPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The same of a viewer that waits for its stream: requests or commands, of which it has no use for more than a few. A
/// session keeps 8 KiB of them itself.
pub const PENDING_REQUESTS_BYTES_MAX: usize = 64 * 1024;

/// What all sessions of one shard hold of their peers' input: unfinished messages, half request heads, frames of a start.
/// A publisher holds its largest frame twice at the most; 256 of them with 4K pictures of 1 MiB have room. Without it
/// 65,536 connections with half a request head were 1.5 GiB.
pub const INPUT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What is kept of it when it was too much: those who held the rest are ended, not one by one.
pub const INPUT_BYTES_KEPT: usize = INPUT_BYTES_MAX / 8 * 7;
const _: () = assert!(INPUT_BYTES_KEPT > 4 * PENDING_INPUT_BYTES_MAX + 2 * START_HOLD_BYTES);

/// Counts of connections by address: 256 KiB, when they are bounded.
pub const ADDRESS_PLACES: usize = 65_536;

/// Messages that wait for room in another shard's inbox: releases, answers and ends of a burst that its inbox (8,192) did
/// not take. Beyond it a shard is as good as dead.
pub const OUTBOX_MESSAGES_MAX: usize = 65_536;
/// When they are tried again: a shard empties its inbox once a pass, which is a few ms even under load.
pub const OUTBOX_RETRY_MICROS: u64 = 5_000;

/// Viewers' questions that a home keeps while a stream's first frames are looked at.
pub const OPENS_PENDING_MAX: usize = 1024;

/// How often a shard with viewers or streams measures its load, and looks whether another has much less.
pub const LOAD_MICROS: u64 = 1_000_000;
/// Viewers that a shard gives away in one round: each costs some 100 µs here and there, so a round takes a fortieth of a
/// core, and 5,000 viewers are evened out in ten rounds.
pub const MOVES_PER_ROUND: u32 = 256;
/// Offers of one round: one a feed. Where a shard has its load from thousands of streams with one viewer each, it takes
/// more rounds.
pub const OFFERS_PER_ROUND: usize = 64;
/// Feeds whose seats a shard holds for others at a time: more offers are refused, and made again.
pub const SEATINGS_MAX: usize = 256;
const _: () = assert!(OFFERS_PER_ROUND <= SEATINGS_MAX);
/// A viewer that was moved stays for so long, and a shard that took some gives none for as long: rates that waver at the
/// moment of a move send nobody back and forth.
pub const MOVED_REST_MICROS: u64 = 5_000_000;
const _: () = assert!(MOVED_REST_MICROS > 2 * LOAD_MICROS);

/// How long a viewer waits for a stream that is being started.
pub const OPEN_WAIT_MICROS: u64 = 10_000_000;

/// Media held back at a publisher's start until all announced tracks have been seen: encoders announce audio that never
/// comes (client-habits 4.1, Streamlabs iOS).
pub const START_HOLD_MICROS: i64 = 2_000_000;
/// The same when nothing was announced.
pub const START_HOLD_UNANNOUNCED_MICROS: i64 = 500_000;
/// And in bytes: two seconds of 40 Mb/s.
pub const START_HOLD_BYTES: usize = 10 * 1024 * 1024;
const _: () = assert!(START_HOLD_UNANNOUNCED_MICROS <= START_HOLD_MICROS);

/// Windows are shortened while less than this part of the memory budget is free (`app/shortage.rs`): a publisher of 40 Mb/s
/// fills an eighth of the smallest budget in 0.4 s, in which every shard has long been asked.
pub const MEMORY_SHORT_PART: u64 = 8;
/// And until so much is: a thirty-second more, so that a scan of all streams makes room for many frames.
pub const MEMORY_ENOUGH_PARTS: u64 = 5;
pub const MEMORY_ENOUGH_OF: u64 = 32;
/// New streams are refused while less than this part is free, whatever has been shortened; what is left is for those on
/// air, whose next GOP may be larger than their last.
pub const MEMORY_REFUSE_PART: u64 = 16;
/// The shortage is over when this part is free.
pub const MEMORY_PLENTY_PART: u64 = 4;
const _: () = assert!(
    MEMORY_PLENTY_PART * MEMORY_ENOUGH_PARTS < MEMORY_ENOUGH_OF
        && MEMORY_ENOUGH_OF < MEMORY_ENOUGH_PARTS * MEMORY_SHORT_PART
        && MEMORY_SHORT_PART < MEMORY_REFUSE_PART,
    "each step is taken before the next one, and taken back later than it is taken"
);
/// Blocks that a stream takes to begin with: its ring's root, packets, index, segments and codec data.
pub const STREAM_BLOCKS: u64 = 5;
/// Copies of a frame that room is kept for: the ring's, and those of a packaging or two.
pub const MEMORY_COPIES: u64 = 3;
/// How often a shard says what its largest window is while memory is not plenty: shards that are short of it ask each other.
pub const WINDOWS_PUBLISHED_MICROS: u64 = 50_000;

/// Memory of one stream's ring beyond which the window is shortened, whatever `DVR` asks.
pub const RING_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Bytes of one feed kept for slow viewers, beside the newest GOP.
pub const FEED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of a feed that viewers behind its window may still hold.
pub const FEED_CLAIMED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An unwatched feed is kept so long: a player that reconnects finds it made.
pub const FEED_UNUSED_MICROS: u64 = 5_000_000;

/// Feeds of one stream: every packaging, and RTMP's ids of a few odd players.
pub const FEEDS_PER_STREAM_MAX: usize = 32;

/// Tracks of an RTSP viewer: picture, sound, and two of what passes unread (a camera's events, a second payload). Each
/// choice of them is a feed of its own, of which its name is a part.
pub const RTSP_LANES_MAX: usize = 4;

/// How long an RTSP player may stay when its stream has ended and it was told so: it asks for TEARDOWN within a round trip.
pub const GOODBYE_MICROS: u64 = 2_000_000;

/// UDP ports that are tried for the pairs of all shards, where other processes have some.
pub const UDP_PORTS_TRIED: u16 = 512;
const _: () = assert!(UDP_PORTS_TRIED as usize >= 4 * penstock_shard::limits::SHARDS_MAX);

/// Threads that look up names of sources: a name server that does not answer holds one of them for some seconds.
pub const RESOLVERS: usize = 4;
/// Names that wait for them, of all shards: every camera of a large site at the start.
pub const NAMES_ASKED_MAX: usize = 1024;
/// Addresses of one host name that are tried.
pub const PULL_ADDRESSES_MAX: usize = 4;
/// How often pulls are looked at: a wait may be longer by so much.
pub const PULL_LOOK_MICROS: u64 = 250_000;
/// Between two attempts to pull a source: the first wait, and the longest.
pub const PULL_RETRY_MICROS_MIN: u64 = 1_000_000;
pub const PULL_RETRY_MICROS_MAX: u64 = 30_000_000;
/// Of a source, packets that overtake the answer to PLAY: those of a keyframe of 4K, and the sound beside it.
pub const PULL_EARLY_BYTES_MAX: usize = 1024 * 1024;
/// A source that has played for so long is one that works: when it fails, the first wait is the shortest again.
pub const PULL_PROVEN_MICROS: u64 = 10_000_000;
const _: () = assert!(PULL_LOOK_MICROS < PULL_RETRY_MICROS_MIN && PULL_RETRY_MICROS_MIN < PULL_RETRY_MICROS_MAX);

/// Descriptors of the process beside connections: listeners, rings, files of the executor.
pub const DESCRIPTORS_RESERVED: u64 = 256;
/// And for each shard: its listeners, its ring, the executor's three, their wake-ups.
pub const DESCRIPTORS_PER_SHARD: u64 = 16;

/// A viewer that has ended its sending side and takes nothing for so long is gone: it may have closed while the stream
/// had nothing to send, and only a send tells.
pub const HALF_CLOSED_MICROS: u64 = 10_000_000;

/// Between two names in the log that were asked for with characters that names do not have: a scanner asks for many.
pub const NAMES_LOGGED_MICROS: u64 = 1_000_000;

/// How long viewers are given to read the end when the process stops.
pub const SHUTDOWN_MICROS: u64 = 1_500_000;

/// A track without a frame for so long, while others go on, is taken off its stream until its next one. Longer than what
/// a demuxer leaves as a gap in time, and than any interval of frames in use.
pub const TRACK_REST_MICROS: i64 = 12_000_000;
const _: () = assert!(TRACK_REST_MICROS > penstock_proto::tag::limits::JUMP_FORWARD_MILLIS * 1_000 + 1_000_000);

/// Track sets that a stream remembers for muxers that start in the past.
pub const TRACK_SETS_MAX: usize = 64;

/// Blocks punched in one round, and the pause between two: up to 1.2 GB/s of blocks sent by sendfile, at most one core's
/// time while that lasts.
pub const PUNCHES_PER_ROUND: usize = 256;
pub const PUNCH_PAUSE_MILLIS: u64 = 50;

/// Segments last at least as long, by target duration: players reload at half of it.
pub const TARGET_MICROS_MIN: i64 = 2_000_000;
/// A keyframe may come so much later than the ones before let expect: times jitter, and a clip that is looped has a hole. Less
/// than half a second, so that durations, rounded to seconds as RFC 8216bis compares them, are within the target.
pub const KEY_LATE_MICROS_MAX: i64 = 100_000;
/// And at most so long, before a playlist has said what the target is: a GOP that is longer is cut.
pub const TARGET_MICROS_MAX: i64 = 20_000_000;
/// GOPs that fit the target before it is promised that segments begin with keyframes.
pub const GOPS_STABLE: u32 = 3;
/// A frame is not taken to last longer, where segments are cut by what the next frame would make of them.
pub const FRAME_MICROS_MAX: i64 = 1_000_000;
/// Segments over which rates are measured.
pub const RATE_SEGMENTS: usize = 16;

/// Renditions of one stream in one packaging: what a ring's segments name.
pub const LANES_MAX: usize = 32;
/// Whole segments that a lane's live feed keeps beside the one that is made: where players start, and one more.
pub const LIVE_SEGMENTS: usize = 4;
/// Initialization segments of one rendition: as many as its codec data can have changed in a window that is fetched.
pub const INITS_MAX: usize = 64;
/// Bytes of older segments that are kept made again, of one lane.
pub const AGAIN_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Fragments ahead of itself that a Smooth fragment tells of (`tfrf`): players of live streams find the next one by it. Each is
/// one segment more of delay.
pub const SMOOTH_LOOK_AHEAD: usize = 1;
/// A shelf, and a rendition on it, that nobody asks for is kept so long beyond three target durations: players reload
/// once in one of them.
pub const SHELF_UNUSED_MICROS: u64 = 15_000_000;
/// A stream that has ended stays on its shelf for so long at most, so that players fetch its end.
pub const SHELF_ENDED_MICROS: u64 = 60_000_000;

/// Requests that wait for something of one stream on one shard: 16,384 viewers of a low-latency stream, each with its next
/// playlist and its next part.
pub const WAITERS_PER_STREAM_MAX: usize = 32_768;
/// Things of one stream that a shard asks the home for at a time.
pub const QUESTIONS_PER_SHELF_MAX: usize = 256;
/// How long a shard waits for what its stream's home has promised before it asks again: what nobody has asked for in a while
/// is forgotten there.
pub const PROMISE_MICROS: u64 = 1_000_000;
/// Of a part that a range of the growing segment begins inside, this much is copied to be a chunk of its own: below
/// what a session may have unsent.
pub const CHUNK_LEAD_BYTES_MAX: u64 = 128 * 1024;
const _: () = assert!(2 * CHUNK_LEAD_BYTES_MAX as usize <= penstock_shard::limits::OWN_BYTES_MAX);
/// How often those who wait are looked at: their waits are seconds.
pub const WAITERS_LOOKED_AT_MICROS: u64 = 250_000;
/// Times that a segment which left its feed between question and answer is asked for again.
pub const FETCH_TRIES_MAX: u8 = 3;

/// A file with a certificate and its chain, or with a key: a few KiB each.
pub const CERTIFICATE_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Pairs of one listener: each handshake looks through their names, a few µs each.
pub const CERTIFICATES_MAX: usize = 64;
/// How often files of certificates are looked at: a look is some system calls, and a renewal may wait so long.
pub const CERTIFICATES_LOOKED_AT_MILLIS: u64 = 2_000;
/// Between two lines of the log that say why a peer's connection could not be sealed: a scanner tries many.
pub const REFUSALS_LOGGED_MICROS: u64 = 1_000_000;
