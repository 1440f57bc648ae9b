//! What a session description says of one RTP payload type, as plain data: the seam between `sdp`, which reads and writes
//! it, and the payload formats, which know what it means.

use crate::media::Kind;

/// One payload type of one media line (RFC 8866, 6.6 and 6.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFormat {
    /// [`Kind::Meta`] for `application` and all else.
    pub kind: Kind,
    /// 0 to 127.
    pub payload_type: u8,
    /// As in `a=rtpmap`, in capitals; of a static payload type without one, its name in RFC 3551.
    pub encoding: String,
    /// Ticks of the RTP timestamp per second; not 0.
    pub clock_rate: u32,
    /// As in `a=rtpmap`; 1 if it says nothing, 0 for what is not sound.
    pub channels: u32,
    /// `a=fmtp`: names in lower case, values as they stand there.
    pub parameters: Vec<(String, String)>,
}

impl PayloadFormat {
    /// A format parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}
