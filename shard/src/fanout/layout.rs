//! How a range of framed datagrams is sent: which packets it holds, of which channel, and where their bytes are. Made once
//! for all viewers who stand at one place, and looked up by each.
//!
//! ```text
//! mark u8 | channel u8 | payload bytes u16, big-endian | payload        the next packet, up to the record's end
//! ```
//!
//! What the four bytes ahead of a payload mean to others is not known here, nor what the payload is.
//!
//! Invariants: the packets of one channel stand together, in their order; a layout does not change while a send that names
//! its pieces is under way.

use std::ops::Range;

use crate::feed::Feed;
use crate::kernel::Pieces;
use crate::limits;

const HEAD_BYTES: u64 = 4;

/// Which range it is of; a place of the shard's table of feeds stands for one feed until that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub feed: u32,
    pub position: u64,
    pub end: u64,
}

#[derive(Debug)]
pub(super) struct Layout {
    pub key: Key,
    pub packets: Vec<Packet>,
    pub pieces: Pieces,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub channel: u8,
    pub bytes: u16,
    /// Of its payload, in the feed.
    position: u64,
    /// Its first piece.
    piece: u32,
}

/// Packets that go out in one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub packets: u32,
    pub bytes: usize,
    pub pieces: Range<usize>,
    /// What each of them has, where there are several; the last may have less.
    pub segment: Option<u16>,
}

/// Whether the kernel cuts datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Here,
    ByKernel,
}

impl Layout {
    pub fn new() -> Layout {
        Layout {
            key: Key {
                feed: u32::MAX,
                position: 0,
                end: 0,
            },
            packets: Vec::new(),
            pieces: Pieces::default(),
        }
    }

    /// Lays out a range that `shard` has claimed, and that ends with a record.
    pub fn lay(&mut self, key: Key, feed: &Feed, shard: usize) {
        self.key = key;
        self.packets.clear();
        self.pieces.clear();
        let mut at = key.position;
        while at + HEAD_BYTES <= key.end {
            let mut head = [0; HEAD_BYTES as usize];
            let is_there = feed.copy_out(at, &mut head);
            let bytes = u16::from_be_bytes([head[2], head[3]]);
            let position = at + HEAD_BYTES;
            let next = position + u64::from(bytes);
            debug_assert!(is_there && next <= key.end, "packets end with their record");
            if !is_there || next > key.end {
                break;
            }
            if bytes > 0 {
                self.packets.push(Packet {
                    channel: head[1],
                    bytes,
                    position,
                    piece: 0,
                });
            }
            at = next;
        }
        // Nothing is allocated by this sort; positions keep each channel's order.
        self.packets
            .sort_unstable_by_key(|packet| (packet.channel, packet.position));
        for packet in &mut self.packets {
            packet.piece = self.pieces.len() as u32;
            let end = packet.position + u64::from(packet.bytes);
            let mut from = packet.position;
            // A packet may lie across two blocks.
            while from < end {
                let span = feed.span(shard, from, end);
                from += span.len as u64;
                self.pieces.push(span);
            }
        }
    }

    /// Behind the packets of the channel that the packet at `at` is of.
    pub fn channel_end(&self, at: usize) -> usize {
        let channel = self.packets[at].channel;
        let rest = &self.packets[at..];
        at + rest.partition_point(|packet| packet.channel <= channel)
    }

    /// What goes out with the packet at `at`: packets behind it of its channel and size, and one smaller at the end.
    pub fn run(&self, at: usize, cut: Cut) -> Run {
        let first = self.packets[at];
        let (mut count, mut bytes) = (1, usize::from(first.bytes));
        if cut == Cut::ByKernel {
            for packet in self.packets[at + 1..].iter().take(limits::SEGMENTS_MAX - 1) {
                let together = bytes + usize::from(packet.bytes);
                let fits = packet.bytes <= first.bytes && together <= limits::SEGMENTED_BYTES_MAX;
                if packet.channel != first.channel || !fits {
                    break;
                }
                (count, bytes) = (count + 1, together);
                if packet.bytes < first.bytes {
                    break;
                }
            }
        }
        let end = at + count;
        let pieces_end = self
            .packets
            .get(end)
            .map_or(self.pieces.len(), |next| next.piece as usize);
        Run {
            packets: count as u32,
            bytes,
            pieces: first.piece as usize..pieces_end,
            segment: (count > 1).then_some(first.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::feed::{Config, Headers, Record, Writer};
    use crate::pool::{BLOCK_BYTES, Pool};

    fn framed(packets: &[(u8, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, (channel, len)) in packets.iter().enumerate() {
            bytes.extend_from_slice(&[0x24, *channel]);
            bytes.extend_from_slice(&(*len as u16).to_be_bytes());
            bytes.extend(std::iter::repeat_n(at as u8, *len));
        }
        bytes
    }

    fn laid(packets: &[(u8, usize)], ahead: usize) -> (Layout, Arc<Pool>) {
        let pool = Pool::create(16 * BLOCK_BYTES as u64).unwrap();
        let config = Config {
            lag_max_micros: 1_000_000,
            bytes_max: 1 << 20,
            claimed_bytes_max: 1 << 20,
        };
        let mut writer = Writer::create(&pool, config).unwrap();
        let empty = Headers { join: &[], skip: &[] };
        let mut append = |bytes: &[u8]| {
            let record = Record {
                bytes: &[bytes],
                join: Some(empty),
                dts_micros: 0,
                flags: 0,
            };
            writer.append(&[record]).unwrap();
        };
        if ahead > 0 {
            append(&vec![0; ahead]);
        }
        append(&framed(packets));
        let feed = writer.feed().clone();
        feed.claim(0, ahead as u64).unwrap();
        let mut layout = Layout::new();
        let key = Key {
            feed: 0,
            position: ahead as u64,
            end: feed.head(),
        };
        layout.lay(key, &feed, 0);
        (layout, pool)
    }

    fn bytes_of(layout: &Layout, pool: &Pool, run: &Run) -> Vec<u8> {
        let spans = &layout.pieces.spans()[run.pieces.clone()];
        let read = spans.iter().map(|span| {
            let mut bytes = vec![0; span.len];
            pool.read(span.file_offset, &mut bytes);
            bytes
        });
        read.flatten().collect()
    }

    #[test]
    fn runs_are_of_one_channel_and_size_and_end_with_a_smaller_one() {
        let packets = [
            (0, 1000),
            (2, 300),
            (0, 1000),
            (0, 400),
            (2, 310),
            (0, 1000),
            (0, 0),
            (1, 28),
            (2, 310),
        ];
        let (layout, pool) = laid(&packets, 0);
        let (mut at, mut runs) = (0, Vec::new());
        while at < layout.packets.len() {
            let run = layout.run(at, Cut::ByKernel);
            let numbers = bytes_of(&layout, &pool, &run);
            assert_eq!(numbers.len(), run.bytes);
            let mut numbers: Vec<u8> = numbers;
            numbers.dedup();
            runs.push((layout.packets[at].channel, run.segment, numbers));
            at += run.packets as usize;
        }
        let expected = [
            (0, Some(1000), vec![0, 2, 3]),
            (0, None, vec![5]),
            (1, None, vec![7]),
            (2, None, vec![1]),
            (2, Some(310), vec![4, 8]),
        ];
        assert_eq!(runs, expected);
        assert_eq!(
            (layout.channel_end(0), layout.channel_end(4), layout.channel_end(5)),
            (4, 5, 8)
        );
        for at in 0..layout.packets.len() {
            let run = layout.run(at, Cut::Here);
            assert_eq!((run.packets, run.segment), (1, None));
            assert_eq!(run.bytes, usize::from(layout.packets[at].bytes));
        }
    }

    #[test]
    fn a_run_is_no_longer_than_the_kernel_takes() {
        let (layout, _pool) = laid(&[(0, 100); 100], 0);
        assert_eq!(layout.run(0, Cut::ByKernel).packets as usize, limits::SEGMENTS_MAX);
        assert_eq!(layout.run(64, Cut::ByKernel).packets, 36);
        let (layout, _pool) = laid(&[(0, 9_000); 8], 0);
        let run = layout.run(0, Cut::ByKernel);
        assert_eq!((run.packets, run.bytes), (7, 63_000));
        let (layout, _pool) = laid(&[(0, 65_535), (0, 1)], 0);
        assert_eq!(layout.run(0, Cut::ByKernel).packets, 1);
    }

    #[test]
    fn packets_and_heads_lie_across_blocks() {
        // Packets of 1,004 bytes: the block's end falls into payload, and into each byte of a head.
        for ahead in [
            BLOCK_BYTES - 2_500,
            BLOCK_BYTES - 2_008,
            BLOCK_BYTES - 2_010,
            BLOCK_BYTES - 2_011,
        ] {
            let (layout, pool) = laid(&[(0, 1000); 5], ahead);
            let run = layout.run(0, Cut::ByKernel);
            assert_eq!((run.packets, run.bytes), (5, 5_000));
            let expected: Vec<u8> = (0..5).flat_map(|number| [number; 1000]).collect();
            assert!(bytes_of(&layout, &pool, &run) == expected, "{ahead}");
        }
    }
}
