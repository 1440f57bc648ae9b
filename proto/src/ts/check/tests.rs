//! The checker on streams that are damaged on purpose: each kind of damage is found, as what it is.

use super::*;
use crate::ts::Error;
use crate::ts::mux::scene::{Scene, muxed, report};
use crate::ts::wire::section::{self, Stream};
use crate::ts::wire::{Adaptation, pes};

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;
const PMT: u16 = 0x1000;

type Packets = Vec<[u8; PACKET_BYTES]>;

fn good() -> Packets {
    let stream = muxed(&Scene {
        millis: 2_000,
        ..Scene::default()
    })
    .concat();
    stream.as_chunks().0.to_vec()
}

/// Index of the `n`th packet from 0 for which `wanted` holds.
fn find(packets: &Packets, n: usize, wanted: impl Fn(&Packet<'_>) -> bool) -> usize {
    let holds = |bytes: &[u8; PACKET_BYTES]| wanted(&packet::parse(bytes).unwrap());
    packets
        .iter()
        .enumerate()
        .filter(|(_, bytes)| holds(bytes))
        .map(|(index, _)| index)
        .nth(n)
        .unwrap()
}

fn starts(packets: &Packets, n: usize, pid: u16) -> usize {
    find(packets, n, |packet| packet.pid == pid && packet.start)
}

/// Where the payload of a packet begins.
fn payload_at(bytes: &[u8; PACKET_BYTES]) -> usize {
    PACKET_BYTES - packet::parse(bytes).unwrap().payload.unwrap().len()
}

/// Replaces the first occurrence of `from` in the packet.
fn replace(bytes: &mut [u8; PACKET_BYTES], from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
}

/// A packet of `pid` with all the counters behind it moved on by one.
fn insert(packets: &mut Packets, at: usize, pid: u16, payload: &[u8]) {
    let counter = packets[..at]
        .iter()
        .rfind(|bytes| packet::pid(bytes) == pid)
        .map_or(15, |bytes| bytes[3] & 15);
    for bytes in packets[at..].iter_mut().filter(|bytes| packet::pid(bytes) == pid) {
        bytes[3] = bytes[3] & 0xf0 | (bytes[3] + 1) & 15;
    }
    let mut out = Vec::new();
    let head = packet::Head {
        pid,
        start: true,
        counter: (counter + 1) % 16,
    };
    packet::put(&mut out, head, &Adaptation::default(), payload);
    packets.insert(at, out[..].try_into().unwrap());
}

/// Puts `pcr` where the packet has one.
fn move_pcr(bytes: &mut [u8; PACKET_BYTES], by: i64) {
    let found = packet::parse(bytes).unwrap();
    let (pid, start, counter) = (found.pid, found.start, found.counter);
    let mut adaptation = found.adaptation.unwrap();
    adaptation.pcr = adaptation.pcr.map(|pcr| Pcr::new(pcr.ticks() as i64 + by));
    let payload = found.payload.unwrap_or_default().to_vec();
    let mut out = Vec::new();
    packet::put(&mut out, packet::Head { pid, start, counter }, &adaptation, &payload);
    bytes.copy_from_slice(&out);
}

/// Puts other stamps into the PES head that begins in the packet.
fn set_stamps(bytes: &mut [u8; PACKET_BYTES], change: impl Fn(&mut pes::Head)) {
    let at = payload_at(bytes);
    let parsed = pes::Head::parse(&bytes[at..]).unwrap();
    let mut head = parsed.head;
    change(&mut head);
    let mut out = Vec::new();
    head.put(&mut out, parsed.payload_bytes.unwrap());
    bytes[at..at + out.len()].copy_from_slice(&out);
}

fn later(stamp: Option<u64>, millis: i64) -> Option<u64> {
    stamp.map(|stamp| crate::ts::wire::stamp(stamp as i64 + millis * 90))
}

/// The damage, and what must be the first problem; `only` when nothing else may be found.
fn check(name: &str, damage: impl FnOnce(&mut Packets), expected: impl Fn(&What) -> bool) {
    let mut packets = good();
    damage(&mut packets);
    let report = report(packets.as_flattened());
    let first = report
        .problems
        .first()
        .unwrap_or_else(|| panic!("{name}: nothing found"));
    assert!(expected(&first.what), "{name}: {first}");
    assert!(
        report.problems.iter().all(|problem| expected(&problem.what)),
        "{name}: {:?}",
        report.problems
    );
}

#[test]
fn the_good_stream_is_good() {
    let packets = good();
    let report = report(packets.as_flattened());
    assert_eq!(report.problems, []);
    assert_eq!(report.packets, packets.len() as u64);
    assert_eq!((report.video_frames, report.video_access_points), (50, 2));
    assert_eq!(report.audio_frames, 86);
    assert_eq!(
        report.pids.keys().copied().collect::<Vec<_>>(),
        [0, PID_SDT, VIDEO, AUDIO, PMT]
    );
    assert_eq!(report.pcr_interval_micros_max, 40_000);
}

#[test]
fn damaged_packets() {
    check(
        "sync",
        |packets| packets[9][0] = 0x46,
        |what| matches!(what, What::Packet(Error::Sync { found: 0x46 })),
    );
    check(
        "adaptation length",
        |packets| {
            let at = find(packets, 3, |packet| packet.adaptation.is_some() && packet.pid == AUDIO);
            packets[at][4] = 184;
        },
        |what| {
            matches!(
                what,
                What::Packet(Error::AdaptationLength {
                    bytes: 184,
                    bytes_max: 182
                })
            )
        },
    );
    check(
        "stuffing",
        |packets| {
            let at = find(packets, 3, |packet| {
                packet.adaptation.is_some() && !packet.start && packet.pid == VIDEO
            });
            packets[at][6] = 0;
        },
        |what| matches!(what, What::Packet(Error::Stuffing { offset: 6, found: 0 })),
    );
    check(
        "scrambled",
        |packets| packets[9][3] |= 0x80,
        |what| matches!(what, What::Scrambled),
    );
    check(
        "error",
        |packets| packets[9][1] |= 0x80,
        |what| matches!(what, What::TransportError),
    );
    check(
        "reserved",
        |packets| packets[9][3] &= 0xcf,
        |what| matches!(what, What::Packet(Error::NoContent)),
    );
}

#[test]
fn damaged_continuity() {
    let counter = |what: &What| matches!(what, What::Continuity { .. });
    check("flipped", |packets| packets[9][3] ^= 4, counter);
    check("dropped", |packets| drop(packets.drain(9..10)), counter);
    check("doubled", |packets| packets.insert(9, packets[9]), counter);
    check("swapped", |packets| packets.swap(9, 10), counter);
    check(
        "tables dropped",
        |packets| drop(packets.drain(starts(packets, 1, PMT)..=starts(packets, 1, PMT))),
        |what| {
            matches!(
                what,
                What::Continuity { .. } | What::TableLate { table: Table::Pmt, .. }
            )
        },
    );
    // an adaptation-only packet does not count
    check(
        "counting PCR packet",
        |packets| {
            let at = starts(packets, 3, AUDIO);
            let mut out = Vec::new();
            let counter = packets[at][3] & 15;
            packet::put(
                &mut out,
                packet::Head {
                    pid: AUDIO,
                    start: false,
                    counter,
                },
                &Adaptation::default(),
                &[],
            );
            packets.insert(at, out[..].try_into().unwrap());
        },
        counter,
    );
}

#[test]
fn damaged_tables() {
    for pid in [PID_PAT, PMT, PID_SDT] {
        check(
            "crc",
            |packets| {
                let at = starts(packets, 2, pid);
                packets[at][8] ^= 1;
            },
            // a table that cannot be read is missed as well
            |what| matches!(what, What::Section(Error::Crc { .. }) | What::TableLate { .. }),
        );
    }
    let without = |pid: u16| {
        move |packets: &mut Packets| {
            let first = starts(packets, 0, pid);
            let kept = packets[first];
            packets.retain(|bytes| packet::pid(bytes) != pid);
            packets.insert(first, kept);
        }
    };
    check("PAT once", without(PID_PAT), |what| {
        matches!(what, What::TableLate { table: Table::Pat, .. })
    });
    check("PMT once", without(PMT), |what| {
        matches!(what, What::TableLate { table: Table::Pmt, .. })
    });
    check("SDT once", without(PID_SDT), |what| {
        matches!(what, What::TableLate { table: Table::Sdt, .. })
    });
    let never = |packets: &mut Packets| packets.retain(|bytes| packet::pid(bytes) != PID_SDT);
    check("no SDT", never, |what| matches!(what, What::TableMissing(Table::Sdt)));
    let changed = |version: u8| {
        move |packets: &mut Packets| {
            let mut section = Vec::new();
            let line = |stream_type, pid| Stream {
                stream_type,
                pid,
                descriptors: Vec::new(),
            };
            let streams = vec![line(0x1b, VIDEO), line(0x0f, AUDIO), line(0x0f, 0x102)];
            Pmt {
                program: 1,
                version,
                pcr_pid: VIDEO,
                streams,
            }
            .put(&mut section);
            let mut out = Vec::new();
            section::put_packets(&mut out, PMT, &mut 0, &section);
            for bytes in packets.iter_mut().filter(|bytes| packet::pid(bytes) == PMT).skip(1) {
                bytes[4..].copy_from_slice(&out[4..PACKET_BYTES]);
            }
        }
    };
    check("changed", changed(0), |what| {
        matches!(what, What::SameVersion(Table::Pmt))
    });
    let mut packets = good();
    changed(1)(&mut packets);
    assert_eq!(report(packets.as_flattened()).problems, []);
}

#[test]
fn damaged_beginnings() {
    check(
        "no PAT first",
        |packets| packets[..3].rotate_right(1),
        |what| matches!(what, What::BeginsWithoutPat),
    );
    check(
        "PES before PMT",
        |packets| packets.swap(1, 3),
        |what| {
            matches!(
                what,
                What::PesBeforeTables
                    | What::Continuity { .. }
                    | What::BeginsWithoutRandomAccess
                    | What::PesWithoutStart
            )
        },
    );
    check(
        "no random access",
        |packets| {
            let at = starts(packets, 0, VIDEO);
            packets[at][5] &= !0x40;
        },
        |what| matches!(what, What::BeginsWithoutRandomAccess),
    );
    check(
        "unknown PID",
        |packets| insert(packets, 50, 0x1234, &[0, 0, 1, 0xe0]),
        |what| matches!(what, What::UnknownPid),
    );
}

#[test]
fn damaged_clocks() {
    let with_pcr = |packets: &Packets, n| {
        find(packets, n, |packet| {
            packet.adaptation.is_some_and(|field| field.pcr.is_some())
        })
    };
    let ms = CLOCK_PER_MS;
    let moved = |by: i64| {
        move |packets: &mut Packets| {
            let at = with_pcr(packets, 5);
            move_pcr(&mut packets[at], by);
        }
    };
    check("early", moved(-30 * ms), |what| {
        matches!(what, What::PcrLate { micros: 70_000 })
    });
    check("late", moved(30 * ms), |what| {
        matches!(what, What::PcrLate { micros: 70_000 })
    });
    check("same as before", moved(-40 * ms), |what| {
        matches!(what, What::PcrBack { ticks: 0 } | What::PcrLate { .. })
    });
    check("before", moved(-50 * ms), |what| {
        matches!(what, What::PcrBack { .. } | What::PcrLate { micros: 90_000 })
    });
    check(
        "missing",
        |packets| {
            let at = with_pcr(packets, 5);
            packets[at][5] &= !0x10;
            packets[at][6..12].fill(0xff);
        },
        |what| matches!(what, What::PcrLate { micros: 80_000 }),
    );
    check(
        "none",
        |packets| {
            for bytes in packets
                .iter_mut()
                .filter(|bytes| bytes[3] & 0x20 != 0 && bytes[4] > 0 && bytes[5] & 0x10 != 0)
            {
                bytes[5] &= !0x10;
                bytes[6..12].fill(0xff);
            }
        },
        |what| matches!(what, What::PcrMissing),
    );
}

#[test]
fn clocks_that_jump_or_stand_elsewhere() {
    check(
        "on the audio PID",
        |packets| {
            let mut out = Vec::new();
            let at = starts(packets, 3, AUDIO);
            let counter = (packets[at][3] + 15) & 15;
            let adaptation = Adaptation {
                pcr: Some(Pcr::new(77)),
                ..Default::default()
            };
            packet::put(
                &mut out,
                packet::Head {
                    pid: AUDIO,
                    start: false,
                    counter,
                },
                &adaptation,
                &[],
            );
            packets.insert(at, out[..].try_into().unwrap());
        },
        |what| matches!(what, What::PcrElsewhere),
    );
    check(
        "jump without a word",
        |packets| {
            for bytes in packets[300..].iter_mut() {
                if bytes[3] & 0x20 != 0 && bytes[4] > 0 && bytes[5] & 0x10 != 0 {
                    move_pcr(bytes, 2_000 * CLOCK_PER_MS);
                }
            }
        },
        |what| {
            matches!(
                what,
                What::PcrLate { .. } | What::DtsBehindPcr { .. } | What::TableLate { .. }
            )
        },
    );
}

#[test]
fn damaged_stamps() {
    let changed = |pid: u16, n: usize, change: fn(&mut pes::Head)| {
        move |packets: &mut Packets| {
            let at = starts(packets, n, pid);
            set_stamps(&mut packets[at], change);
        }
    };
    check(
        "PTS before DTS",
        changed(VIDEO, 5, |head| head.pts = later(head.dts, -1)),
        |what| matches!(what, What::PtsBeforeDts { ticks: 90 }),
    );
    check(
        "DTS back",
        changed(VIDEO, 5, |head| head.dts = later(head.dts, -50)),
        |what| matches!(what, What::DtsBack { ticks: 900 }),
    );
    check(
        "DTS behind",
        changed(AUDIO, 5, |head| head.pts = later(head.pts, -700)),
        |what| matches!(what, What::DtsBehindPcr { .. } | What::DtsBack { .. }),
    );
    check(
        "DTS far ahead",
        changed(AUDIO, 5, |head| head.pts = later(head.pts, 12_000)),
        |what| matches!(what, What::DtsFarAhead { .. } | What::DtsBack { .. }),
    );
    check(
        "no PTS",
        |packets| {
            let at = starts(packets, 5, AUDIO);
            let begin = payload_at(&packets[at]);
            packets[at][begin + 7] = 0;
            packets[at][begin + 9..begin + 14].fill(0xff);
        },
        |what| matches!(what, What::StampMissing),
    );
    check(
        "marker bits",
        |packets| {
            let at = starts(packets, 5, AUDIO);
            let begin = payload_at(&packets[at]);
            packets[at][begin + 9] &= 0xfe;
        },
        |what| matches!(what, What::PesHead(Error::Illegal { field: "PTS", .. })),
    );
}

#[test]
fn damaged_pes() {
    let length = |by: i32| {
        move |packets: &mut Packets| {
            let at = starts(packets, 5, AUDIO);
            let begin = payload_at(&packets[at]) + 4;
            let stated = i32::from(u16::from_be_bytes([packets[at][begin], packets[at][begin + 1]])) + by;
            packets[at][begin..begin + 2].copy_from_slice(&(stated as u16).to_be_bytes());
        }
    };
    check(
        "longer",
        length(5),
        |what| matches!(what, What::PesLength { stated, found } if *stated == found + 5),
    );
    check("shorter", length(-5), |what| {
        matches!(what, What::PesLength { stated, found } if stated + 5 == *found)
            || matches!(what, What::Adts { offset: 0 })
    });
    check(
        "unbounded audio",
        |packets| {
            let at = starts(packets, 5, AUDIO);
            let begin = payload_at(&packets[at]) + 4;
            packets[at][begin..begin + 2].fill(0);
        },
        |what| matches!(what, What::PesUnbounded),
    );
    check(
        "start lost",
        |packets| {
            let at = starts(packets, 0, AUDIO);
            packets[at][1] &= !0x40;
        },
        |what| matches!(what, What::PesWithoutStart),
    );
    check(
        "prefix",
        |packets| {
            let at = starts(packets, 5, VIDEO);
            let begin = payload_at(&packets[at]);
            packets[at][begin + 2] = 2;
        },
        |what| {
            matches!(
                what,
                What::PesHead(Error::Illegal {
                    field: "packet_start_code_prefix",
                    ..
                })
            )
        },
    );
    check(
        "half a PES packet",
        |packets| packets.truncate(starts(packets, 5, AUDIO) + 1),
        |what| matches!(what, What::EndsInPes { .. }),
    );
    let stream = good();
    let cut = report(&stream.as_flattened()[..stream.len() * PACKET_BYTES - 7]);
    assert!(
        cut.problems
            .iter()
            .any(|problem| problem.what == What::EndsInPacket { bytes: 181 })
    );
}

#[test]
fn damaged_elementary_streams() {
    let delimiter = |to: &'static [u8]| {
        move |packets: &mut Packets| {
            let at = starts(packets, 5, VIDEO);
            replace(&mut packets[at], &[0, 0, 0, 1, 0x09, 0xf0], to);
        }
    };
    check("no AUD", delimiter(&[0, 0, 0, 1, 0x0c, 0xff]), |what| {
        matches!(what, What::DelimiterMissing)
    });
    check("bytes first", delimiter(&[9, 0, 0, 1, 0x09, 0xf0]), |what| {
        matches!(what, What::DelimiterMissing)
    });
    check(
        "two AUDs",
        |packets| {
            let at = starts(packets, 5, VIDEO);
            let end = PACKET_BYTES - 6;
            packets[at][end..].copy_from_slice(&[0, 0, 0, 1, 0x09, 0xf0]);
        },
        |what| matches!(what, What::DelimiterRepeated { count: 2 }),
    );
    let head = |offset: usize, value: u8| {
        move |packets: &mut Packets| {
            let at = starts(packets, 5, AUDIO);
            let begin = payload_at(&packets[at]) + 14 + offset;
            packets[at][begin] ^= value;
        }
    };
    check("ADTS sync", head(0, 1), |what| matches!(what, What::Adts { offset: 0 }));
    check("ADTS length", head(4, 1), |what| matches!(what, What::Adts { .. }));
}

#[test]
fn any_cut_of_the_input_gives_the_same_report() {
    let packets = good();
    let stream = &packets.as_flattened()[..100 * PACKET_BYTES];
    let whole = report(stream);
    for size in [1, 7, 187, 188, 189, 500, 19_000] {
        let mut checker = Checker::new();
        stream.chunks(size).for_each(|piece| checker.push(piece));
        assert_eq!(checker.finish(), whole, "{size}");
    }
}

#[test]
fn the_report_is_bounded() {
    let mut checker = Checker::new();
    for pid in 0..2000u16 {
        let mut out = Vec::new();
        let head = packet::Head {
            pid: pid + 20,
            start: true,
            counter: 3,
        };
        packet::put(&mut out, head, &Adaptation::default(), &[1; 20]);
        checker.push(&out);
    }
    assert_eq!(checker.pids.len(), CHECK_PIDS_MAX);
    let report = checker.finish();
    assert_eq!(
        (report.packets, report.problems.len(), report.pids.len()),
        (2000, CHECK_PROBLEMS_MAX, CHECK_PIDS_MAX)
    );
    assert!(report.problem_count > 2000);
}
