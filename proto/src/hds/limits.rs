//! Bounds of HDS.

/// A fragment, whose size must be known before its first byte is sent: 20 s of 200 Mb/s. Frames beyond it are left out.
pub const FRAGMENT_BYTES_MAX: usize = 512 << 20;

/// The size of a box has 32 bits.
const _: () = assert!(FRAGMENT_BYTES_MAX < u32::MAX as usize);
