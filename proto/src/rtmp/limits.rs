//! Bounds of one RTMP peer.

/// Chunk size that both sides begin with (specification 5.4.1).
pub const CHUNK_BYTES_DEFAULT: u32 = 128;

/// Chunk size of everything we send after the answer to `connect`, and of every feed. 64 KiB keeps the cost of chunk
/// headers below 0.002 % and is what players of MistServer receive; being fixed, one feed serves all players.
pub const PLAY_CHUNK_BYTES: u32 = 65_536;

/// No message is longer than its 24-bit length, so a larger chunk size means the same as this one.
pub const CHUNK_BYTES_MAX: u32 = 0x00FF_FFFF;

/// Chunk streams of one peer, 24 bytes each. Encoders use two to eight; one per track with many tracks stays below.
pub const CHUNK_STREAMS_MAX: usize = 64;

/// What an imported session may say that it has received: 100 Gb/s for eleven years. Counting goes on from there.
pub const RECEIVED_BYTES_MAX: u64 = 1 << 62;

/// Messages that are under way at once, on as many chunk streams. Encoders interleave two, with control three.
pub const ASSEMBLIES_MAX: usize = 16;

/// Buffers that wait for the next message, so that a publisher's frames allocate nothing: audio inside video needs two.
pub const SPARES_MAX: usize = 2;

/// One video message or aggregate: an intra frame of 60 Mb/s at one picture a second.
pub const VIDEO_BYTES_MAX: u32 = 8 << 20;

/// One audio message: a second of 8-channel 96 kHz 32-bit PCM is 3 MB, but nobody sends it in one; 1 MiB is ample.
pub const AUDIO_BYTES_MAX: u32 = 1 << 20;

/// One script data message: the keyframe index of a ten-hour file is 360 kB.
pub const SCRIPT_BYTES_MAX: u32 = 1 << 20;

/// One command. The longest, `connect`, is below 2 kB with a token in its URL.
pub const COMMAND_BYTES_MAX: u32 = 64 << 10;

/// One protocol control message (4 to 10 bytes by specification) or a message of unknown type.
pub const CONTROL_BYTES_MAX: u32 = 64 << 10;

/// All reassembly buffers of a peer together, by capacity: two of the largest video messages.
pub const REASSEMBLY_BYTES_MAX: usize = 2 * VIDEO_BYTES_MAX as usize;

/// The same of a peer that does not publish: what it may say are commands, and the longest of them is below. Anybody can
/// connect; a thousand who hold this are 256 MiB.
pub const REASSEMBLY_BYTES_MAX_UNPUBLISHED: usize = 4 * COMMAND_BYTES_MAX as usize;

/// First allocation of a reassembly buffer; it then doubles, never beyond the message's length.
pub const ASSEMBLY_BYTES_FIRST: usize = 4096;

/// Message streams (`createStream`) of a connection. Encoders hold one; each costs one bit.
pub const STREAMS_MAX: u32 = 8;

/// Application, stream name or query: tokens and JWTs stay below 2 KiB.
pub const NAME_BYTES_MAX: usize = 2048;

/// `tcUrl` and `flashVer`, which are only reported: longer ones are cut.
pub const REPORTED_BYTES_MAX: usize = 1024;

/// Bytes after which a peer acknowledges: what we announce, and the most that a peer's own window counts for.
pub const WINDOW_BYTES: u32 = 2_500_000;

/// A peer's smaller window is taken for this, so that nobody makes us answer every chunk.
pub const WINDOW_BYTES_MIN: u32 = 16 << 10;

/// An acknowledgement goes out after this part of the window: a peer that counts otherwise than we do never stalls.
pub const ACKNOWLEDGE_DIVISOR: u32 = 4;

/// From the connection to the end of the handshake: three round trips over a bad line.
pub const HANDSHAKE_MILLIS_MAX: u64 = 10_000;

/// A connection on which nothing is published or played, in all: a byte a second does not lengthen it.
pub const DIALOGUE_IDLE_MILLIS_MAX: u64 = 60_000;

/// A publisher without a byte: encoders send audio every 20 to 50 ms, cameras a picture every 10 s at the least.
pub const PUBLISHER_IDLE_MILLIS_MAX: u64 = 30_000;

/// A publisher without a whole message: a byte a second does not keep a name. The largest message takes so long at
/// 560 kb/s.
pub const PUBLISHER_MESSAGE_MILLIS_MAX: u64 = 120_000;

/// A player without a byte is pinged, so that a dead one is found by TCP.
pub const PING_MILLIS: u64 = 30_000;

/// A player that has answered pings before and then is silent so long is gone.
pub const PLAYER_SILENT_MILLIS_MAX: u64 = 120_000;

/// A joining viewer of an audio-only stream waits at most so long for its place to begin.
pub const AUDIO_JOIN_MILLIS: i64 = 1000;

/// State of one peer that plays, inline and heap together, beside the bytes of its application name.
pub const PARKED_BYTES_MAX: usize = 512;

const _: () = assert!(VIDEO_BYTES_MAX <= CHUNK_BYTES_MAX);
const _: () = assert!(PLAY_CHUNK_BYTES >= CHUNK_BYTES_DEFAULT && PLAY_CHUNK_BYTES <= CHUNK_BYTES_MAX);
const _: () = assert!(REASSEMBLY_BYTES_MAX >= VIDEO_BYTES_MAX as usize + AUDIO_BYTES_MAX as usize);
const _: () = assert!(WINDOW_BYTES_MIN <= WINDOW_BYTES && WINDOW_BYTES_MIN / ACKNOWLEDGE_DIVISOR >= 1024);
const _: () = assert!(REASSEMBLY_BYTES_MAX_UNPUBLISHED >= COMMAND_BYTES_MAX as usize + CONTROL_BYTES_MAX as usize);
const _: () = assert!(PUBLISHER_MESSAGE_MILLIS_MAX > PUBLISHER_IDLE_MILLIS_MAX);
const _: () = assert!(PLAYER_SILENT_MILLIS_MAX >= 3 * PING_MILLIS);
const _: () = assert!(STREAMS_MAX <= 8, "one bit each in a byte");
const _: () = assert!(CHUNK_STREAMS_MAX <= u8::MAX as usize);
