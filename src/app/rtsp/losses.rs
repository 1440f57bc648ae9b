//! What a player reports of what it receives (RFC 3550, 6.4): its losses are counted, each once. That it reports shows that it
//! lives, which is not said here.
//!
//! Invariant: what a player can add to the counters is what a report can hold for each of its tracks.

use penstock_proto::rtp::wire::rtcp::{self, Blocks, Part};

use crate::counters::AppCounters;
use crate::limits;

/// The most that was reported lost so far, by medium.
#[derive(Debug, Default)]
pub(super) struct Losses {
    most: [i32; limits::RTSP_LANES_MAX],
}

impl Losses {
    /// Reads a compound packet of the player about `medium`. What cannot be read is passed over: it is the player's own word.
    pub fn note(&mut self, medium: usize, packet: &[u8], counters: &AppCounters) {
        let Some(most) = self.most.get_mut(medium) else { return };
        for part in rtcp::parts(packet).map_while(Result::ok) {
            let blocks: Blocks<'_> = match part {
                Part::ReceiverReport { blocks, .. } | Part::SenderReport(_, blocks) => blocks,
                Part::Name { .. } | Part::Goodbye { .. } | Part::Other { .. } => continue,
            };
            for block in blocks {
                counters.viewer_reports.add(1);
                // What comes late is taken off again by the player; it was missing when it was due.
                let more = block.lost.saturating_sub(*most).max(0);
                *most += more;
                counters.viewer_packets_lost.add(more.unsigned_abs().into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver report with one block (6.4.2), padded to none.
    fn report(lost: i32) -> Vec<u8> {
        let mut packet = vec![0x81, 201, 0, 7];
        packet.extend([0, 0, 0, 1]);
        packet.extend([0, 0, 0, 2]);
        packet.extend(((0x40 << 24) | (lost & 0x00ff_ffff)).to_be_bytes());
        packet.extend([0; 16]);
        packet
    }

    #[test]
    fn losses_are_counted_once() {
        let counters = AppCounters::default();
        let mut losses = Losses::default();
        for (medium, lost, total) in [
            (0, 0, 0),
            (0, 3, 3),
            (0, 3, 3),
            (0, 2, 3),
            (0, 5, 5),
            (1, 4, 9),
            (1, -4, 9),
            (7, 100, 9),
        ] {
            losses.note(medium, &report(lost), &counters);
            assert_eq!(counters.viewer_packets_lost.value(), total, "{medium}: {lost}");
        }
        assert_eq!(counters.viewer_reports.value(), 7);
        losses.note(0, &report(9)[..20], &counters);
        losses.note(0, b"nonsense", &counters);
        assert_eq!(counters.viewer_packets_lost.value(), 9);
    }
}
