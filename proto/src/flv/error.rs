use std::fmt;

/// Why bytes are no FLV; all the sender's fault. `offset` counts from the first byte of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The file does not begin with `FLV`.
    Signature { bytes: [u8; 3] },
    /// `DataOffset` is shorter than the header that states it, or beyond reason.
    HeaderBytes { bytes: u32, bytes_max: u32 },
    /// No tag begins here.
    NotATag { offset: u64, tag_type: u8 },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Signature { bytes } => write!(f, "file begins with '{}', not with 'FLV'", bytes.escape_ascii()),
            Error::HeaderBytes { bytes, bytes_max } => {
                write!(f, "FLV header of {bytes} bytes, where 9 to {bytes_max} can be")
            }
            Error::NotATag { offset, tag_type } => write!(f, "byte {tag_type:#04x} at {offset} begins no FLV tag"),
        }
    }
}

impl std::error::Error for Error {}
