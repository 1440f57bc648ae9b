//! A ring's writer and its readers in every order: frames, codec data, breaks, clock points and states.
//!
//! Not windows and sequences of calls, which the property tests have. A reader is overtaken in the middle of what it reads,
//! and must say so, look again, or have it whole.

use loom::thread;

use super::limits::{CODEC_BYTES_MAX, DESCRIPTION_BYTES_MAX};
use super::*;
use crate::models::{in_every_order, with_one_switch};
use crate::pool::BLOCK_BYTES;
use crate::sys::memory::PAGE_BYTES;

/// A root, a block of index, a block of codec data, and so many of packets.
fn ring(packet_blocks: u64, window_micros: u64) -> (Writer, Reader) {
    let blocks = 3 + packet_blocks;
    let pool = Pool::create(blocks * BLOCK_BYTES as u64 + 2 * PAGE_BYTES as u64).unwrap();
    let config = Config {
        window_micros,
        bytes_max: PACKETS_KEPT * PACKET as u64,
        segment_number_first: 0,
    };
    let mut writer = Writer::create(&pool, config).unwrap();
    add_generation(&mut writer, 0, 0);
    let reader = writer.reader();
    (writer, reader)
}

fn add_generation(writer: &mut Writer, track: u32, generation: u32) {
    let byte = generation as u8;
    writer
        .add_generation(
            track,
            generation,
            &[byte; CODEC_BYTES_MAX],
            &[!byte; DESCRIPTION_BYTES_MAX],
        )
        .unwrap();
}

const PACKET: usize = 512;
/// Beyond, the oldest leave, whatever their age.
const PACKETS_KEPT: u64 = 2;

/// Two packets fill a block. Each is a key frame, and so a GOP.
fn append(writer: &mut Writer, number: u8) {
    let frame = Frame {
        track: 0,
        generation: 0,
        dts: i64::from(number),
        offset: 0,
        flags: flags::KEY | flags::KEY_MAIN,
        dts_micros: i64::from(number),
        head: &[],
        payload: &[number; PACKET],
        tail: &[],
    };
    writer.append(&frame).unwrap();
}

fn assert_frame(entry: &Entry, packet: &[u8], sequence: u64) {
    let number = sequence as u8;
    assert_eq!((entry.sequence, entry.dts), (sequence, i64::from(number)));
    assert_eq!(packet.len(), PACKET);
    assert_eq!(
        (&packet[..8], &packet[PACKET - 8..]),
        (&[number; 8][..], &[number; 8][..])
    );
}

#[test]
fn a_frame_that_is_announced_can_be_read() {
    in_every_order(|| {
        let (mut writer, reader) = ring(1, 1_000_000);
        let shard = thread::spawn(move || {
            let (head, key) = (reader.head_sequence(), reader.newest_key());
            let mut packet = Vec::new();
            for sequence in 0..head {
                let entry = reader.frame(sequence, &mut packet).expect("nothing has left");
                assert_frame(&entry, &packet, sequence);
            }
            if let Some(key) = key {
                assert!(reader.entry(key).is_ok(), "a key that is announced is there");
            }
        });
        append(&mut writer, 0);
        append(&mut writer, 1);
        shard.join().unwrap();
    });
}

/// Each further packet pushes one out, and every second a block, which is written again.
#[test]
fn a_frame_that_leaves_is_whole_or_missing() {
    in_every_order(|| {
        let (mut writer, reader) = ring(2, 1_000_000);
        for number in 0..3 {
            append(&mut writer, number);
        }
        let shard = thread::spawn(move || {
            let mut packet = Vec::new();
            for sequence in [1, 2] {
                match reader.frame(sequence, &mut packet) {
                    Ok(entry) => assert_frame(&entry, &packet, sequence),
                    Err(Missing::Gone { sequence: of, .. }) => assert_eq!(of, sequence),
                    Err(missing) => panic!("{missing}"),
                }
            }
        });
        append(&mut writer, 3);
        append(&mut writer, 4);
        shard.join().unwrap();
    });
}

/// The log of codec data is moved together, to give back its oldest block, while a reader asks for what is moved.
#[test]
fn codec_data_that_moves_is_never_nowhere() {
    with_one_switch(|| {
        let (mut writer, reader) = ring(2, 0);
        append(&mut writer, 0);
        let each = CODEC_BYTES_MAX + DESCRIPTION_BYTES_MAX;
        // Moved together beyond a block and twice what is alive.
        let last = (BLOCK_BYTES + 4 * each) / each - 1;
        for generation in 0..last as u32 {
            add_generation(&mut writer, 1, generation);
        }
        let shard = thread::spawn(move || {
            let (mut codec, mut description) = (Vec::new(), Vec::new());
            assert!(
                reader.generation(0, 0, &mut codec, &mut description),
                "a frame cites it"
            );
            assert_eq!(
                (&codec[..], &description[..]),
                (&[0; CODEC_BYTES_MAX][..], &[0xff; DESCRIPTION_BYTES_MAX][..])
            );
        });
        let before = writer.codec_tail();
        add_generation(&mut writer, 1, last as u32);
        assert!(writer.codec_tail() > before, "it was moved");
        shard.join().unwrap();
    });
}

/// The table has a place less than there are changes.
#[test]
fn codec_data_that_is_replaced_is_whole_or_not_there() {
    with_one_switch(|| {
        let (mut writer, reader) = ring(1, 0);
        append(&mut writer, 0);
        add_generation(&mut writer, 1, 5);
        let shard = thread::spawn(move || {
            let (mut codec, mut description) = (Vec::new(), Vec::new());
            if reader.generation(1, 5, &mut codec, &mut description) {
                assert_eq!(
                    (&codec[..], &description[..]),
                    (&[5; CODEC_BYTES_MAX][..], &[!5; DESCRIPTION_BYTES_MAX][..])
                );
            }
        });
        add_generation(&mut writer, 1, 6);
        add_generation(&mut writer, 1, 7);
        shard.join().unwrap();
    });
}

/// The table has two places; the third break takes that of the first, when the tail has passed it. No block is taken
/// meanwhile, whose order could stand in for the table's own.
#[test]
fn breaks_of_a_range_are_all_told_or_the_range_is_gone() {
    in_every_order(|| {
        let (mut writer, reader) = ring(2, 1_000_000);
        append(&mut writer, 0);
        for sequence in [1, 2] {
            writer.add_break(sequence).unwrap();
            append(&mut writer, sequence);
        }
        let shard = thread::spawn(move || {
            let [first, second, third] = [1, 2, 4].map(|sequence| Break {
                sequence,
                kind: sequence as u8,
            });
            let mut breaks = Vec::new();
            match reader.breaks(1..3, &mut breaks) {
                Ok(()) => assert_eq!(breaks, [first, second]),
                Err(_) => assert!(breaks.is_empty() && reader.tail_sequence() > 1),
            }
            breaks.clear();
            reader.breaks(2..5, &mut breaks).expect("frame 2 stays");
            assert!(breaks == [second] || breaks == [second, third], "{breaks:?}");
        });
        append(&mut writer, 3);
        writer.add_break(4).unwrap();
        shard.join().unwrap();
    });
}

/// The table has two places; the third point takes that of the first.
#[test]
fn wall_time_is_that_of_one_map() {
    in_every_order(|| {
        let (mut writer, reader) = ring(1, 0);
        let second = 1_000_000;
        writer.observe_clock(0, 0, 1);
        writer.observe_clock(60 * second, 60 * second + second / 2, 1);
        let shard = thread::spawn(move || {
            let wall = reader.wall_of(30 * second).expect("there are points");
            // Between both points, or when the first has left.
            let walls = [30 * second + second / 4, 30 * second + second / 2];
            assert!(walls.contains(&wall), "{wall}");
        });
        writer.observe_clock(120 * second, 121 * second + second / 2, 1);
        shard.join().unwrap();
    });
}

#[test]
fn a_publisher_that_comes_and_goes_is_gone_since_it_went() {
    in_every_order(|| {
        let (mut writer, reader) = ring(1, 0);
        let shard = thread::spawn(move || match reader.state() {
            State::PublisherGone { since_micros } => assert!([5, 9].contains(&since_micros), "since {since_micros}"),
            state => assert_eq!(state, State::Live),
        });
        writer.set_state(State::PublisherGone { since_micros: 5 });
        writer.set_state(State::Live);
        writer.set_state(State::PublisherGone { since_micros: 9 });
        shard.join().unwrap();
    });
}
