use super::*;

fn ear(asked_at: u64) -> (Ear, Arc<Mutex<Heard>>) {
    let heard = Arc::default();
    (Ear::new(asked_at, &heard), heard)
}

fn finish((ear, heard): (Ear, Arc<Mutex<Heard>>)) -> Heard {
    ear.finish();
    let heard = lock(&heard);
    heard.clone()
}

fn message(kind: MessageKind, timestamp: u32) -> Heard {
    let mut ear = ear(0);
    ear.0.message(kind, 5, b"", 0);
    ear.0.message(kind, timestamp, b"", 0);
    finish(ear)
}

#[test]
fn time_must_not_run_back() {
    assert_eq!(message(MessageKind::Video, 5).problems, 0);
    assert_eq!(message(MessageKind::Video, 4).problems, 1);
    assert_eq!(message(MessageKind::Script, 4).problems, 0);
    // It wraps.
    let mut ear = ear(0);
    ear.0.message(MessageKind::Audio, u32::MAX, b"", 0);
    ear.0.message(MessageKind::Audio, 3, b"", 0);
    assert_eq!(finish(ear).problems, 0);
}

#[test]
fn packets_follow_each_other_on_their_channel() {
    let packet = |sequence: u16| {
        let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet
    };
    let mut ear = ear(0);
    for (channel, sequence) in [(0, 65_535), (2, 9), (0, 0), (2, 10), (0, 1)] {
        ear.0.packet(channel, &packet(sequence), 0);
    }
    assert_eq!(lock(&ear.1).problems, 0);
    ear.0.packet(0, &packet(3), 0);
    ear.0.packet(2, &[1, 2, 3], 0);
    assert_eq!(finish(ear).problems, 2);
}

#[test]
fn numbers_left_out_are_lost_frames() {
    let mut ear = ear(100);
    for (number, nanos) in [(4, 50), (5, 200), (9, 300)] {
        let mut bytes = Vec::new();
        Stamp { nanos, number }.emit(&mut bytes);
        ear.0.look_for_stamps(&bytes, 1_000_300);
    }
    let heard = finish(ear);
    assert_eq!((heard.pictures, heard.breaks, heard.frames_lost), (3, 1, 3));
    // The first was sent before the viewer asked.
    assert_eq!((heard.latency.count(), heard.first_picture.count()), (2, 1));
}

fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut out = (content.len() as u32 + 8).to_be_bytes().to_vec();
    out.extend_from_slice(kind);
    out.extend_from_slice(content);
    out
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// A fragment of two samples of 10 ticks and 3 bytes.
fn fragment(number: u32, time: u32, payload: usize) -> Vec<u8> {
    let mut traf = boxed(b"tfhd", &words(&[0x08, 1, 10]));
    traf.extend(boxed(b"tfdt", &words(&[0, time])));
    traf.extend(boxed(b"trun", &words(&[0x200, 2, 3, 3])));
    let mut moof = boxed(b"mfhd", &words(&[0, number]));
    moof.extend(boxed(b"traf", &traf));
    let mut out = boxed(b"styp", b"msdh\0\0\0\0");
    out.extend(boxed(b"moof", &moof));
    out.extend(boxed(b"mdat", &vec![0; payload]));
    out
}

#[test]
fn fragments_follow_each_other() {
    for (second, problems) in [
        (fragment(2, 20, 6), 0),
        // They may grow by more than one (14496-12, 8.8.5), and not stand still.
        (fragment(3, 20, 6), 0),
        (fragment(1, 20, 6), 1),
        (fragment(2, 21, 6), 1),
        (fragment(2, 20, 7), 1),
    ] {
        let mut file = boxed(b"ftyp", b"isom\0\0\0\0");
        file.extend(boxed(b"moov", &boxed(b"mvhd", &[0; 100])));
        file.extend(fragment(1, 0, 6));
        file.extend(second);
        for step in [1, 7, 64, file.len()] {
            let mut ear = ear(0);
            for piece in file.chunks(step) {
                ear.0.hear(piece, 0).unwrap();
            }
            let heard = finish(ear);
            assert_eq!(heard.problems, problems, "pieces of {step}: {:?}", heard.texts);
        }
    }
    assert!(ear(0).0.hear(b"\0\0\0\x01\x02\x03\x04\x05\x06", 0).is_err());
}

#[test]
fn a_lost_transport_packet_is_found() {
    let packet = |counter: u8| {
        let mut packet = vec![0xff; 188];
        packet[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | counter]);
        packet
    };
    let hear = |counters: &[u8]| {
        let mut ear = ear(0);
        for counter in counters {
            ear.0.hear(&packet(*counter), 0).unwrap();
        }
        let texts = finish(ear).texts;
        texts.iter().filter(|text| text.contains("Continuity")).count()
    };
    assert_eq!(hear(&[1, 2, 3]), 0);
    assert_eq!(hear(&[1, 3]), 1);
}

/// Parts of three pictures 30 ms apart; the second ends where a picture lasts 60, which is known when the next is sent.
#[test]
fn a_parts_end_is_when_it_is_known_to_be_full() {
    const MILLI: u64 = 1_000_000;
    let mut ear = ear(0);
    let mut send = |sent: &[u64], asked: u64, came: u64| {
        ear.0.piece_asked(asked * MILLI);
        for (number, nanos) in sent.iter().enumerate() {
            let mut bytes = b"pictures".to_vec();
            Stamp {
                nanos: nanos * MILLI,
                number: number as u32,
            }
            .emit(&mut bytes);
            ear.0.look_for_stamps(&bytes, came * MILLI);
        }
        ear.0.piece_came(came * MILLI);
    };
    // Asked for when it is there: nothing of the server's.
    send(&[10, 40, 70], 200, 201);
    send(&[100, 130, 160], 90, 192);
    send(&[190, 220], 185, 314);
    // 250 lasts 60, and is alone.
    send(&[250], 249, 312);
    send(&[310, 340], 311, 371);
    send(&[370, 400], 371, 430);
    let heard = finish(ear);
    assert_eq!((heard.part_end.count(), heard.holes), (4, 1));
    // 2 ms behind 190, 4 behind 310, 2 behind 310, 1 behind 370.
    let longest = heard.part_end.quantile_millis(1.0);
    assert!((3.9..4.2).contains(&longest), "{longest}");
}
