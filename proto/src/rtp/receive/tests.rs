use super::*;
use crate::noise::Noise;
use crate::rtp::link::{Camera, Flight, Link};

fn camera() -> Camera {
    Camera {
        payload_type: 96,
        ssrc: 7,
        sequence: 65_500,
        base: u32::MAX - 10_000,
    }
}

/// Delivered payloads' first bytes as numbers, with a mark for what is before them.
#[derive(Debug, Default)]
struct Heard {
    numbers: Vec<u32>,
    losses: usize,
    sources: usize,
    timestamps: Vec<i64>,
}

impl Heard {
    fn take(&mut self, delivery: &Delivery<'_>) {
        let number = delivery
            .payload
            .first_chunk()
            .map_or(0, |four| u32::from_be_bytes(*four));
        self.numbers.push(number);
        self.timestamps.push(delivery.timestamp);
        self.losses += usize::from(delivery.gap == Gap::Lost);
        self.sources += usize::from(delivery.source == Source::New);
    }
}

fn hear(receiver: &mut Receiver, heard: &mut Heard, now: i64, arrival: Arrival, bytes: &[u8]) {
    receiver.handle_timeout(now, &mut |delivery| heard.take(delivery));
    let packet = Packet::parse(bytes).unwrap();
    receiver.packet(now, arrival, &packet, &mut |delivery| heard.take(delivery));
    receiver.check_invariants();
}

#[test]
fn counters_are_what_the_link_did() {
    for (seed, lost, duplicated, delayed) in [(1, 0, 0, 0), (2, 10, 50, 100), (3, 100, 100, 300), (4, 500, 300, 500)] {
        let mut camera = camera();
        let sent: Vec<Flight> = (0..60_000_u32)
            .map(|number| Flight {
                micros: i64::from(number) * 2_000,
                medium: 0,
                bytes: camera.packet(i64::from(number) * 180, false, &number.to_be_bytes()),
            })
            .collect();
        let link = Link {
            lost,
            duplicated,
            delayed,
            delay_micros: 90_000,
            jitter_micros: 5_000,
        };
        let (flights, ledgers) = link.carry(&sent, 1, &mut Noise(seed));
        let (mut receiver, mut heard) = (Receiver::new(96, 90_000, 100_000), Heard::default());
        for flight in &flights {
            hear(
                &mut receiver,
                &mut heard,
                flight.micros,
                Arrival::Datagram,
                &flight.bytes,
            );
        }
        receiver.flush(&mut |delivery| heard.take(delivery));
        let expected = Counters {
            received: ledgers[0].arrived,
            lost: ledgers[0].lost,
            duplicate: ledgers[0].duplicated,
            reordered: ledgers[0].reordered,
            ..Counters::default()
        };
        assert_eq!(receiver.counters(), expected, "seed {seed}");
        assert!(heard.numbers.windows(2).all(|two| two[0] < two[1]), "in order");
        let first = heard.numbers[0];
        let steps = |two: &[u32]| two[1] - two[0] > 1;
        assert_eq!(heard.losses, heard.numbers.windows(2).filter(|two| steps(two)).count());
        assert_eq!(heard.numbers.len() as u64, expected.received - expected.duplicate);
        // Unwrapped: 60,000 packets of 180 ticks pass 2^16 sequence numbers once, and 2^32 ticks near the beginning.
        let origin = heard.timestamps[0];
        for (number, timestamp) in heard.numbers.iter().zip(&heard.timestamps) {
            assert_eq!(timestamp - origin, i64::from(number - first) * 180);
        }
        assert!(heard.timestamps.last().unwrap() > &(1 << 32));
        let report = receiver.report(0).unwrap();
        assert_eq!(report.sequence, (65_500 + 59_999) as u32);
        let missing = expected.lost as i64 - expected.duplicate as i64;
        assert_eq!(i64::from(report.lost), missing);
    }
}

#[test]
fn what_comes_too_late_was_lost() {
    let mut camera = camera();
    let packets: Vec<Vec<u8>> = (0..10_u32)
        .map(|number| camera.packet(i64::from(number) * 180, false, &number.to_be_bytes()))
        .collect();
    let (mut receiver, mut heard) = (Receiver::new(96, 90_000, 100_000), Heard::default());
    let mut hear_at = |now, number: usize| hear(&mut receiver, &mut heard, now, Arrival::Datagram, &packets[number]);
    hear_at(0, 0);
    hear_at(10_000, 2);
    hear_at(20_000, 3);
    hear_at(20_000, 2);
    // The wait counts from the packet that showed the gap.
    hear_at(109_999, 4);
    hear_at(110_000, 5);
    hear_at(120_000, 1);
    hear_at(130_000, 1);
    hear_at(140_000, 5);
    assert_eq!(heard.numbers, [0, 2, 3, 4, 5]);
    let expected = Counters {
        received: 9,
        lost: 1,
        late: 1,
        duplicate: 3,
        ..Counters::default()
    };
    assert_eq!(receiver.counters(), expected);
    assert_eq!(receiver.poll_timeout(), None);
}

#[test]
fn interleaved_packets_wait_for_nothing() {
    let mut camera = camera();
    let (mut receiver, mut heard) = (Receiver::new(96, 90_000, 100_000), Heard::default());
    for number in 0..1_000_u32 {
        let packet = camera.packet(i64::from(number) * 180, false, &number.to_be_bytes());
        if number % 10 != 5 {
            hear(&mut receiver, &mut heard, 0, Arrival::Interleaved, &packet);
            assert_eq!(heard.numbers.last(), Some(&number));
            assert_eq!(receiver.poll_timeout(), None);
        }
    }
    assert_eq!((receiver.counters().lost, heard.losses), (100, 100));
}

#[test]
fn a_new_source_needs_two_datagrams_in_order() {
    for arrival in [Arrival::Datagram, Arrival::Interleaved] {
        for (ssrc, sequence, base) in [
            (8, 65_500, 77),                // another source with whatever numbers
            (7, 65_400, u32::MAX - 10_000), // numbers that begin anew, and time that does
            (7, 40_000, 5_000_000),
        ] {
            let mut camera = camera();
            let (mut receiver, mut heard) = (Receiver::new(96, 90_000, 100_000), Heard::default());
            for number in 0..10_u32 {
                let packet = camera.packet(i64::from(number) * 900_000, false, &number.to_be_bytes());
                hear(&mut receiver, &mut heard, 0, arrival, &packet);
            }
            (camera.ssrc, camera.sequence, camera.base) = (ssrc, sequence, base);
            for number in 10..20_u32 {
                let packet = camera.packet(i64::from(number) * 180, false, &number.to_be_bytes());
                hear(&mut receiver, &mut heard, 0, arrival, &packet);
            }
            assert_eq!(
                heard.numbers,
                (0..20).collect::<Vec<_>>(),
                "{arrival:?} {ssrc} {sequence}"
            );
            assert_eq!((heard.sources, heard.losses), (2, 1));
            let counters = receiver.counters();
            assert_eq!((counters.restarts, counters.lost, counters.received), (1, 0, 20));
            assert_eq!(receiver.ssrc(), Some(ssrc));
        }
    }
}

#[test]
fn strays_and_other_formats_change_nothing() {
    let mut camera = camera();
    let mut stray = Camera {
        ssrc: 99,
        ..camera.clone()
    };
    let (mut receiver, mut heard) = (Receiver::new(96, 90_000, 100_000), Heard::default());
    for number in 0..100_u32 {
        // Every tenth is comfort noise or the like, in the same sequence.
        camera.payload_type = if number % 10 == 9 { 13 } else { 96 };
        let packet = camera.packet(i64::from(number) * 180, false, &number.to_be_bytes());
        hear(&mut receiver, &mut heard, 0, Arrival::Datagram, &packet);
        if number % 25 == 0 {
            let packet = stray.packet(0, false, &[0xff; 4]);
            stray.sequence = stray.sequence.wrapping_add(3);
            hear(&mut receiver, &mut heard, 0, Arrival::Datagram, &packet);
        }
        // Retransmissions are a source of their own.
        stray.payload_type = 97;
        let packet = stray.packet(0, false, &[0xff; 4]);
        hear(&mut receiver, &mut heard, 0, Arrival::Datagram, &packet);
        stray.payload_type = 96;
    }
    let expected: Vec<u32> = (0..100).filter(|number| number % 10 != 9).collect();
    assert_eq!((heard.numbers, heard.losses), (expected, 0));
    let counters = receiver.counters();
    assert_eq!((counters.strays, counters.other_format, counters.restarts), (4, 110, 0));
}

#[test]
fn what_waits_is_bounded() {
    let mut camera = camera();
    let (mut receiver, mut heard) = (Receiver::new(96, 90_000, i64::MAX / 4), Heard::default());
    for number in 0..20_000_u32 {
        let mut payload = vec![0; 10_000];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        let packet = camera.packet(0, false, &payload);
        if number % 300 != 1 {
            hear(&mut receiver, &mut heard, 0, Arrival::Datagram, &packet);
        }
    }
    // None is waited for: two megabytes came behind the last of them.
    assert_eq!(receiver.counters().lost, 67);
    receiver.flush(&mut |delivery| heard.take(delivery));
    assert_eq!(heard.numbers.len(), 20_000 - 67);
    // A thousand missing at once are not waited for.
    camera.sequence = camera.sequence.wrapping_add(1_000);
    let packet = camera.packet(0, false, &[0; 4]);
    hear(&mut receiver, &mut heard, 0, Arrival::Datagram, &packet);
    assert_eq!(receiver.counters().lost, 1_067);
}

/// RFC 3550, A.3 and A.8, by hand.
#[test]
fn reports_say_what_was_lost_and_how_even_it_came() {
    let mut camera = camera();
    let (mut receiver, mut heard) = (Receiver::new(96, 90_000, 0), Heard::default());
    for number in 0..400_u32 {
        let packet = camera.packet(i64::from(number) * 900, false, &number.to_be_bytes());
        // 10 ms apart, every other one 2 ms late.
        let now = i64::from(number) * 10_000 + i64::from(number % 2) * 2_000;
        if number % 4 != 3 || number < 200 {
            hear(&mut receiver, &mut heard, now, Arrival::Datagram, &packet);
        }
        if number == 199 {
            let block = receiver.report(now).unwrap();
            assert_eq!((block.fraction_lost, block.lost, block.last_report), (0, 0, 0));
            // 2 ms are 180 ticks.
            assert!((170..=181).contains(&block.jitter), "{}", block.jitter);
            receiver.note_report(now, Ntp(0x1111_2222_3333_4444));
        }
    }
    let block = receiver.report(199 * 10_000 + 2_000 + 1_500_000).unwrap();
    // 398 is the last that came: 49 of 199 were lost.
    assert_eq!((block.fraction_lost, block.lost), ((49 * 256 / 199) as u8, 49));
    assert_eq!((block.last_report, block.delay), (0x2222_3333, 98_304));
    assert_eq!(receiver.report(0).unwrap().fraction_lost, 0);
}
