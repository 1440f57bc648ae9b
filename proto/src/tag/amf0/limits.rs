//! Bounds of one AMF0 parse.

/// Values inside values. Commands and metadata nest three deep at most (`onMetaData` > `keyframes` > `times`); each
/// level costs one stack frame of the parser.
pub const DEPTH_MAX: usize = 16;

/// Values of one parse, at every depth together. A `keyframes` index of a ten-hour file has about 20,000 numbers, at
/// two arrays; with 56 bytes a value the bound is 3.5 MiB for the duration of one message.
pub const VALUES_MAX: usize = 65_536;

/// Bytes of a name or short string: their length has 16 bits.
pub const SHORT_BYTES_MAX: usize = u16::MAX as usize;

const _: () = assert!(DEPTH_MAX >= 4);
const _: () = assert!(VALUES_MAX >= DEPTH_MAX);
