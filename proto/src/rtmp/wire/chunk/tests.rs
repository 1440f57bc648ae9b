use super::super::super::limits::{AUDIO_BYTES_MAX, VIDEO_BYTES_MAX};
use super::super::message::{AUDIO, COMMAND, DATA, VIDEO};
use super::*;

/// What a reader gives: csid, type, time, message stream, body.
type Got = (u32, u8, u32, u32, Vec<u8>);

fn read_all(reader: &mut Reader, input: &[u8]) -> Result<Vec<Got>, Error> {
    let mut got = Vec::new();
    let mut at = 0;
    loop {
        let (taken, message) = reader.read(&input[at..])?;
        at += taken;
        match message {
            Some(m) => got.push((m.csid, m.kind, m.timestamp, m.message_stream, reader.body().to_vec())),
            None => {
                assert_eq!(at, input.len(), "no message, so all input is taken");
                return Ok(got);
            }
        }
    }
}

impl Reader {
    /// Where the next byte stands.
    pub(in crate::rtmp) fn place(&self) -> &'static str {
        match (self.current, self.pending.len, self.bodies.as_ref()) {
            (Some(_), ..) => "in a chunk's payload",
            (None, 1.., _) => "in a chunk's header",
            (None, 0, Some(bodies)) if !bodies.assemblies.is_empty() => "between two chunks of a message",
            (None, 0, _) => "between messages",
        }
    }
}

/// A case is read whole, byte by byte, and exported and imported at every byte: always the same.
pub(crate) fn check(input: &[u8], expected: Result<Vec<Got>, Error>) {
    assert_eq!(read_all(&mut Reader::new(0), input), expected, "whole");
    let mut reader = Reader::new(0);
    let mut got = Ok(Vec::new());
    for byte in input {
        let mut bytes = Vec::new();
        reader.release();
        reader.export(&mut Snapshot(&mut bytes));
        reader = Reader::import(&mut Import::new(&bytes)).unwrap();
        match read_all(&mut reader, &[*byte]) {
            Ok(more) => got.as_mut().unwrap().extend(more),
            Err(error) => {
                got = Err(error);
                break;
            }
        }
    }
    assert_eq!(got, expected, "byte by byte");
}

fn head(format: u8, csid: u8, rest: &[u8]) -> Vec<u8> {
    [&[format << 6 | csid], rest].concat()
}

/// Format 0.
fn first(csid: u8, time: u32, bytes: u32, kind: u8, stream: u8) -> Vec<u8> {
    let (time, bytes) = (time.to_be_bytes(), bytes.to_be_bytes());
    head(
        0,
        csid,
        &[
            time[1], time[2], time[3], bytes[1], bytes[2], bytes[3], kind, stream, 0, 0, 0,
        ],
    )
}

#[test]
fn what_is_written_is_read_for_every_id_size_and_time() {
    let body: Vec<u8> = (0..300u32).map(|n| n as u8).collect();
    for csid in [2, 3, 63, 64, 319, 320, 65_599] {
        for timestamp in [0, 1, 0xFF_FFFE, 0xFF_FFFF, 0x100_0000, u32::MAX] {
            for chunk_bytes in [1, 128, 300, 65_536] {
                for length in [0, 1, 128, 129, 300] {
                    let message = Message {
                        csid,
                        kind: VIDEO,
                        timestamp,
                        message_stream: 0x0102_0304,
                    };
                    let mut out = Vec::new();
                    for _ in 0..2 {
                        write_message(message, chunk_bytes, &body[..length], &mut out);
                    }
                    let mut reader = Reader::new(0);
                    reader.set_chunk_bytes(chunk_bytes).unwrap();
                    let got = (csid, VIDEO, timestamp, 0x0102_0304, body[..length].to_vec());
                    assert_eq!(read_all(&mut reader, &out), Ok(vec![got.clone(), got]));
                }
            }
        }
    }
}

#[test]
fn every_format_leaves_out_what_it_may() {
    let mut input = first(4, 1000, 2, AUDIO, 1);
    input.extend(b"aa");
    input.extend(head(1, 4, &[0, 0, 23, 0, 0, 3, DATA]));
    input.extend(b"bbb");
    input.extend(head(2, 4, &[0, 0, 24]));
    input.extend(b"ccc");
    input.extend(head(3, 4, b"ddd"));
    input.extend(head(3, 4, b"eee"));
    let got = |kind, time, body: &[u8]| (4, kind, time, 1, body.to_vec());
    check(
        &input,
        Ok(vec![
            got(AUDIO, 1000, b"aa"),
            got(DATA, 1023, b"bbb"),
            got(DATA, 1047, b"ccc"),
            got(DATA, 1071, b"ddd"),
            got(DATA, 1095, b"eee"),
        ]),
    );
}

#[test]
fn format_3_after_format_0_repeats_its_time_as_delta_as_ffmpeg_writes_it() {
    let mut input = first(4, 23, 1, AUDIO, 1);
    input.extend(b"a");
    input.extend(head(3, 4, b"b"));
    check(
        &input,
        Ok(vec![(4, AUDIO, 23, 1, b"a".to_vec()), (4, AUDIO, 46, 1, b"b".to_vec())]),
    );
}

#[test]
fn librtmp_begins_a_chunk_stream_with_format_1() {
    let mut input = head(1, 2, &[0, 0, 1, 0, 0, 2, COMMAND]);
    input.extend(b"ab");
    check(&input, Ok(vec![(2, COMMAND, 1, 0, b"ab".to_vec())]));
    for format in [2, 3] {
        let error = Error::FreshChunkStream {
            offset: if format == 2 { 4 } else { 1 },
            csid: 9,
            format,
        };
        check(
            &head(format, 9, &[0, 0, 1][..if format == 2 { 3 } else { 0 }]),
            Err(error),
        );
    }
}

#[test]
fn librtmp_writes_a_time_that_falls_as_a_delta_that_wraps() {
    // OBS has sound and pictures on one chunk stream, and may be one ahead of the other.
    let mut input = first(4, 1000, 1, VIDEO, 1);
    input.extend(b"v");
    let back = (0_u32.wrapping_sub(21)).to_be_bytes();
    input.extend(head(1, 4, &[0xFF, 0xFF, 0xFF, 0, 0, 130, AUDIO]));
    input.extend(back);
    input.extend([7; 128]);
    input.extend(head(3, 4, &back));
    input.extend(b"aa");
    input.extend(head(1, 4, &[0, 0, 61, 0, 0, 1, VIDEO]));
    input.extend(b"w");
    check(
        &input,
        Ok(vec![
            (4, VIDEO, 1000, 1, b"v".to_vec()),
            (4, AUDIO, 979, 1, [&[7; 128][..], b"aa"].concat()),
            (4, VIDEO, 1040, 1, b"w".to_vec()),
        ]),
    );
}

#[test]
fn chunk_streams_interleave() {
    let mut input = first(6, 10, 200, VIDEO, 1);
    input.extend([1; 128]);
    input.extend(first(4, 11, 3, AUDIO, 1));
    input.extend(b"aud");
    input.extend(head(3, 6, &[2; 72]));
    let video = [vec![1; 128], vec![2; 72]].concat();
    check(
        &input,
        Ok(vec![(4, AUDIO, 11, 1, b"aud".to_vec()), (6, VIDEO, 10, 1, video)]),
    );
}

/// Two chunks of one message at a time beyond 24 bit, continued with or without the stamp.
fn extended(format_0: bool, stamp: u32, stamp_on_3: Option<u32>, second: &[u8]) -> Vec<u8> {
    let length = 128 + second.len() as u32;
    let mut input = match format_0 {
        true => first(6, 0xFF_FFFF, length, VIDEO, 1),
        false => head(1, 6, &[0xFF, 0xFF, 0xFF, 0, 0, length as u8, VIDEO]),
    };
    input.extend(stamp.to_be_bytes());
    input.extend([7; 128]);
    input.extend(head(3, 6, &[]));
    if let Some(stamp) = stamp_on_3 {
        input.extend(stamp.to_be_bytes());
    }
    input.extend(second);
    input
}

#[test]
fn extended_timestamps_on_format_3_are_there_or_not() {
    let stamp = 0x0123_4567;
    for second in [&b"x"[..], b"\x01", b"\x01\x23\x45", b"\x01\x23\x45\x68", b"abcdef"] {
        for stamp_on_3 in [Some(stamp), None] {
            let mut input = extended(true, stamp, stamp_on_3, second);
            // A message behind it: bytes that were read to compare must come back as its header.
            input.extend(first(4, 5, 1, AUDIO, 1));
            input.extend(b"z");
            let body = [&[7; 128], second].concat();
            check(
                &input,
                Ok(vec![(6, VIDEO, stamp, 1, body), (4, AUDIO, 5, 1, b"z".to_vec())]),
            );
        }
    }
}

#[test]
fn a_delta_beyond_24_bits_is_repeated_as_delta_or_as_time() {
    let mut begin = first(6, 1000, 1, VIDEO, 1);
    begin.extend(b"k");
    let delta = 0x0200_0000;
    for on_3 in [Some(delta), Some(delta + 1000), None] {
        let input = [begin.clone(), extended(false, delta, on_3, b"tail")].concat();
        let body = [&[7; 128][..], b"tail"].concat();
        check(
            &input,
            Ok(vec![
                (6, VIDEO, 1000, 1, b"k".to_vec()),
                (6, VIDEO, delta + 1000, 1, body),
            ]),
        );
    }
}

#[test]
fn times_wrap() {
    let mut input = first(4, 0xFF_FFFF, 1, AUDIO, 1);
    input.extend((u32::MAX - 9).to_be_bytes());
    input.extend(b"a");
    input.extend(head(2, 4, &[0, 0, 23]));
    input.extend(b"b");
    check(
        &input,
        Ok(vec![
            (4, AUDIO, u32::MAX - 9, 1, b"a".to_vec()),
            (4, AUDIO, 13, 1, b"b".to_vec()),
        ]),
    );
}

#[test]
fn a_message_that_another_cuts_off_or_an_abort_is_dropped_and_counted() {
    let mut input = first(6, 0, 200, VIDEO, 1);
    input.extend([1; 128]);
    input.extend(first(6, 40, 2, VIDEO, 1));
    input.extend(b"vv");
    check(&input, Ok(vec![(6, VIDEO, 40, 1, b"vv".to_vec())]));

    let mut reader = Reader::new(0);
    assert_eq!(read_all(&mut reader, &input[..140]), Ok(vec![]));
    reader.abort(7);
    assert_eq!(reader.cut(), 0);
    reader.abort(6);
    assert_eq!(reader.cut(), 1);
    assert_eq!(
        read_all(&mut reader, &input[140..]),
        Ok(vec![(6, VIDEO, 40, 1, b"vv".to_vec())])
    );
    assert_eq!(reader.cut(), 1);
}

#[test]
fn chunk_sizes() {
    let mut reader = Reader::new(0);
    assert_eq!(reader.set_chunk_bytes(0), Err(Error::ChunkSizeZero { offset: 0 }));
    assert_eq!(
        reader.set_chunk_bytes(0x8000_0000),
        Err(Error::ChunkSizeZero { offset: 0 })
    );
    reader.set_chunk_bytes(u32::MAX).unwrap();
    let mut input = first(6, 0, 70_000, VIDEO, 1);
    input.extend([1; 70_000]);
    assert_eq!(
        read_all(&mut reader, &input),
        Ok(vec![(6, VIDEO, 0, 1, vec![1; 70_000])])
    );
}

#[test]
fn bounds_hold_and_name_themselves() {
    let bytes = VIDEO_BYTES_MAX + 1;
    let error = Error::MessageTooLarge {
        offset: 12,
        kind: VIDEO,
        bytes,
        bytes_max: VIDEO_BYTES_MAX,
    };
    check(&first(6, 0, bytes, VIDEO, 1), Err(error));
    let bytes = AUDIO_BYTES_MAX + 1;
    let error = Error::MessageTooLarge {
        offset: 12,
        kind: AUDIO,
        bytes,
        bytes_max: AUDIO_BYTES_MAX,
    };
    check(&first(6, 0, bytes, AUDIO, 1), Err(error));

    let many: Vec<u8> = (0..=CHUNK_STREAMS_MAX as u8)
        .flat_map(|n| [&[0, n][..], &[0; 11]].concat())
        .collect();
    let error = read_all(&mut Reader::new(0), &many).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooManyChunkStreams {
                max: CHUNK_STREAMS_MAX,
                ..
            }
        ),
        "{error}"
    );

    let open: Vec<u8> = (2..=18)
        .flat_map(|csid| [first(csid, 0, 200, VIDEO, 1), vec![0; 128]].concat())
        .collect();
    let error = read_all(&mut Reader::new(0), &open).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooManyAssemblies {
                csid: 18,
                max: ASSEMBLIES_MAX,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn memory_follows_the_bytes_received_up_to_the_bound_and_comes_back() {
    let mut reader = Reader::new(0);
    reader.set_chunk_bytes(CHUNK_BYTES_MAX).unwrap();
    let announced = first(6, 0, VIDEO_BYTES_MAX, VIDEO, 1);
    read_all(&mut reader, &announced).unwrap();
    read_all(&mut reader, b"few").unwrap();
    assert!(
        reader.heap_bytes() < 2 * ASSEMBLY_BYTES_FIRST,
        "nothing is reserved by a length"
    );
    reader.park();
    assert!(
        reader.heap_bytes() >= ASSEMBLY_BYTES_FIRST,
        "an unfinished message stays"
    );
    read_all(&mut reader, &vec![1; VIDEO_BYTES_MAX as usize - 3]).unwrap();
    assert!(
        reader.heap_bytes() < VIDEO_BYTES_MAX as usize + 1024,
        "exactly the message in the end"
    );
    reader.park();
    assert!(reader.heap_bytes() < 64, "{}", reader.heap_bytes());

    let mut reader = Reader::new(0);
    reader.set_chunk_bytes(1 << 20).unwrap();
    let block = vec![1; 1 << 20];
    let mut result = Ok(vec![]);
    'rounds: for round in 0..8 {
        for csid in [5, 6, 7] {
            let header = match round {
                0 => first(csid, 0, VIDEO_BYTES_MAX, VIDEO, 1),
                _ => head(3, csid, &[]),
            };
            result = read_all(&mut reader, &[&header[..], &block].concat());
            assert!(reader.heap_bytes() < REASSEMBLY_BYTES_MAX + 4096);
            if result.is_err() {
                break 'rounds;
            }
        }
    }
    let error = result.unwrap_err();
    assert!(
        matches!(
            error,
            Error::ReassemblyTooLarge {
                bytes_max: REASSEMBLY_BYTES_MAX,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn audio_inside_video_reuses_buffers() {
    let mut reader = Reader::new(0);
    let mut round = first(6, 0, 200, VIDEO, 1);
    round.extend([1; 128]);
    round.extend(first(4, 11, 3, AUDIO, 1));
    round.extend(b"aud");
    round.extend(head(3, 6, &[2; 72]));
    read_all(&mut reader, &round).unwrap();
    let heap = reader.heap_bytes();
    for _ in 0..100 {
        read_all(&mut reader, &round).unwrap();
        assert_eq!(reader.heap_bytes(), heap);
    }
}
