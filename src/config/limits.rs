//! Bounds of a configuration file, each with its reason.

/// A file. 10,000 streams with every option, as MistServer's UI writes them, come to about 6 MB.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Problems and warnings that are kept; who has more sees the same mistake many times.
pub const PROBLEMS_MAX: usize = 50;
pub const WARNINGS_MAX: usize = 200;

/// Each stream costs a name in every shard's table; MistServer slows down beyond a few thousand.
pub const STREAMS_MAX: usize = 10_000;

/// The least of `max_pacing`, in percent: a viewer that gets no more than the rate never makes up for a lost packet.
pub const MAX_PACING_MIN: u64 = 110;

/// Sockets that listen, on every shard.
pub const LISTENERS_MAX: usize = penstock_shard::limits::LISTENERS_MAX;

/// Text in a message that was taken from the file, in characters.
pub const QUOTED_CHARACTERS_MAX: usize = 40;
