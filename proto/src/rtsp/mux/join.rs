//! Where a viewer begins in a feed, as [`super::Mux`] keeps it beside each join record: what `RTP-Info` (RFC 2326, 12.33) and
//! `Range` of the answer to PLAY are made of. It is never sent as it is.
//!
//! Big-endian: stream time in ms (i64), the wall's time of it in ms since 1970 (u64, 0 if it is not known), then of each lane its track (u32), SSRC (u32), sequence number (u16) and RTP time
//! (u32), in the order of the packaging's lanes.

/// A join record's place in stream time and in each lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinPoint {
    /// Decode time of the join record's frame, rounded down.
    pub stream_millis: i64,
    /// The same moment since 1970, as sender reports say it; none if they say nothing yet.
    pub wall_millis: Option<u64>,
    pub lanes: Vec<JoinLane>,
}

/// Where a lane begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinLane {
    /// As the packaging names it, whatever another publisher calls it.
    pub track: u32,
    pub ssrc: u32,
    /// Of the first packet in or behind the join record.
    pub sequence: u16,
    /// Of [`JoinPoint::stream_millis`], exactly: the first packet's own may be later, and earlier by what lanes are apart.
    pub rtp_time: u32,
}

const MOMENT_BYTES: usize = 8;
const LANE_BYTES: usize = 14;

impl JoinPoint {
    /// None for anything that [`JoinPoint::emit`] does not write.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (millis, rest) = bytes.split_first_chunk::<MOMENT_BYTES>()?;
        let (wall, rest) = rest.split_first_chunk::<MOMENT_BYTES>()?;
        let (lanes, behind) = rest.as_chunks::<LANE_BYTES>();
        let lane = |&[t0, t1, t2, t3, s0, s1, s2, s3, n0, n1, r0, r1, r2, r3]: &[u8; LANE_BYTES]| JoinLane {
            track: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            sequence: u16::from_be_bytes([n0, n1]),
            rtp_time: u32::from_be_bytes([r0, r1, r2, r3]),
        };
        behind.is_empty().then(|| JoinPoint {
            stream_millis: i64::from_be_bytes(*millis),
            wall_millis: Some(u64::from_be_bytes(*wall)).filter(|wall| *wall != 0),
            lanes: lanes.iter().map(lane).collect(),
        })
    }

    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream_millis.to_be_bytes());
        out.extend_from_slice(&self.wall_millis.unwrap_or(0).to_be_bytes());
        for lane in &self.lanes {
            out.extend_from_slice(&lane.track.to_be_bytes());
            out.extend_from_slice(&lane.ssrc.to_be_bytes());
            out.extend_from_slice(&lane.sequence.to_be_bytes());
            out.extend_from_slice(&lane.rtp_time.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_is_parsed_and_nothing_else() {
        let lane = JoinLane {
            track: 7,
            ssrc: 0xdead_beef,
            sequence: 0xffff,
            rtp_time: 0x8000_0001,
        };
        for lanes in [vec![], vec![lane], vec![lane, JoinLane { track: 9, ..lane }]] {
            let point = JoinPoint {
                stream_millis: -5,
                wall_millis: Some(1_795_350_020_298).filter(|_| lanes.len() != 1),
                lanes,
            };
            let mut bytes = Vec::new();
            point.emit(&mut bytes);
            assert_eq!(JoinPoint::parse(&bytes), Some(point));
            bytes.push(0);
            assert_eq!(JoinPoint::parse(&bytes), None);
        }
        assert_eq!(JoinPoint::parse(&[0; 15]), None);
    }
}
