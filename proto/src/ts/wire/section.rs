//! Sections: PAT (2.4.4.4), PMT (2.4.4.9) and SDT (EN 300 468, 5.2.3), their CRC, and their way through packets.

use super::{PACKET_BYTES, packet};
use crate::ts::Error;
use crate::ts::limits::{PROVIDER_BYTES_MAX, SECTION_LENGTH_MAX, SERVICE_TEXT_BYTES_MAX};

pub const TABLE_PAT: u8 = 0x00;
pub const TABLE_PMT: u8 = 0x02;
pub const TABLE_SDT: u8 = 0x42;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pat {
    pub transport_stream_id: u16,
    /// 5 bits, as in all tables.
    pub version: u8,
    /// Program number and PID of its PMT.
    pub programs: Vec<(u16, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pmt {
    pub program: u16,
    pub version: u8,
    pub pcr_pid: u16,
    pub streams: Vec<Stream>,
}

/// A line of the PMT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub stream_type: u8,
    pub pid: u16,
    /// Descriptors, one behind the other, with their tags and lengths.
    pub descriptors: Vec<u8>,
}

/// One service of this multiplex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdt {
    pub transport_stream_id: u16,
    pub network: u16,
    pub version: u8,
    pub service: u16,
    /// 1 television, 2 radio.
    pub service_type: u8,
    pub provider: String,
    pub name: String,
}

impl Pat {
    pub fn put(&self, out: &mut Vec<u8>) {
        section(out, TABLE_PAT, 0xb0, self.transport_stream_id, self.version, |out| {
            for &(program, pid) in &self.programs {
                out.extend_from_slice(&program.to_be_bytes());
                out.extend_from_slice(&(0xe000 | pid).to_be_bytes());
            }
        });
    }

    pub fn parse(section: &[u8]) -> Result<Self, Error> {
        let head = Head::parse(section, TABLE_PAT)?;
        if !head.body.len().is_multiple_of(4) {
            return Err(truncated("program_map_PID", section.len()));
        }
        let programs = head
            .body
            .chunks_exact(4)
            .map(|line| (word(line), pid(&line[2..])))
            .collect();
        Ok(Pat {
            transport_stream_id: head.id,
            version: head.version,
            programs,
        })
    }
}

impl Pmt {
    pub fn put(&self, out: &mut Vec<u8>) {
        section(out, TABLE_PMT, 0xb0, self.program, self.version, |out| {
            out.extend_from_slice(&(0xe000 | self.pcr_pid).to_be_bytes());
            out.extend_from_slice(&0xf000u16.to_be_bytes());
            for stream in &self.streams {
                out.push(stream.stream_type);
                out.extend_from_slice(&(0xe000 | stream.pid).to_be_bytes());
                out.extend_from_slice(&(0xf000 | stream.descriptors.len() as u16).to_be_bytes());
                out.extend_from_slice(&stream.descriptors);
            }
        });
    }

    pub fn parse(section: &[u8]) -> Result<Self, Error> {
        let head = Head::parse(section, TABLE_PMT)?;
        let mut rest = Rest {
            section,
            bytes: head.body,
        };
        let pcr_pid = pid(rest.take(2, "PCR_PID")?);
        let program_info = usize::from(word(rest.take(2, "program_info_length")?) & 0x0fff);
        rest.take(program_info, "program_info descriptors")?;
        let mut streams = Vec::new();
        while !rest.bytes.is_empty() {
            let stream_type = rest.take(1, "stream_type")?[0];
            let pid = pid(rest.take(2, "elementary_PID")?);
            let length = usize::from(word(rest.take(2, "ES_info_length")?) & 0x0fff);
            let descriptors = rest.take(length, "ES_info descriptors")?.to_vec();
            streams.push(Stream {
                stream_type,
                pid,
                descriptors,
            });
        }
        Ok(Pmt {
            program: head.id,
            version: head.version,
            pcr_pid,
            streams,
        })
    }
}

impl Sdt {
    /// Text that does not fit the descriptor is cut between two characters.
    pub fn put(&self, out: &mut Vec<u8>) {
        let provider = cut(&self.provider, PROVIDER_BYTES_MAX);
        let name = cut(&self.name, SERVICE_TEXT_BYTES_MAX - provider.len());
        let bytes = 1 + text_bytes(provider) + text_bytes(name);
        section(out, TABLE_SDT, 0xf0, self.transport_stream_id, self.version, |out| {
            out.extend_from_slice(&self.network.to_be_bytes());
            out.push(0xff);
            out.extend_from_slice(&self.service.to_be_bytes());
            // no EIT; running_status 4, running; not scrambled
            out.push(0xfc);
            out.extend_from_slice(&(0x8000 | (2 + bytes) as u16).to_be_bytes());
            out.extend_from_slice(&[SERVICE_DESCRIPTOR, bytes as u8, self.service_type]);
            put_text(out, provider);
            put_text(out, name);
        });
    }

    /// The first service of the section.
    pub fn parse(section: &[u8]) -> Result<Self, Error> {
        let head = Head::parse(section, TABLE_SDT)?;
        let mut rest = Rest {
            section,
            bytes: head.body,
        };
        let network = word(rest.take(2, "original_network_id")?);
        rest.take(1, "reserved_future_use")?;
        let service = word(rest.take(2, "service_id")?);
        rest.take(1, "EIT_present_following_flag")?;
        let length = usize::from(word(rest.take(2, "descriptors_loop_length")?) & 0x0fff);
        let mut descriptors = Rest {
            section,
            bytes: rest.take(length, "service descriptors")?,
        };
        let (mut service_type, mut provider, mut name) = (0, String::new(), String::new());
        while !descriptors.bytes.is_empty() {
            let tag = descriptors.take(1, "descriptor_tag")?[0];
            let length = descriptors.take(1, "descriptor_length")?[0];
            let bytes = descriptors.take(length.into(), "descriptor")?;
            if tag == SERVICE_DESCRIPTOR {
                let mut descriptor = Rest { section, bytes };
                service_type = descriptor.take(1, "service_type")?[0];
                provider = descriptor.text("service_provider_name")?;
                name = descriptor.text("service_name")?;
            }
        }
        let (transport_stream_id, version) = (head.id, head.version);
        Ok(Sdt {
            transport_stream_id,
            network,
            version,
            service,
            service_type,
            provider,
            name,
        })
    }
}

/// Appends `section` as packets of `pid`, each with `pointer_field` or continuation, stuffed behind the section, and
/// counts `counter` on.
pub fn put_packets(out: &mut Vec<u8>, pid: u16, counter: &mut u8, section: &[u8]) {
    let mut rest = section;
    let mut start = true;
    while !rest.is_empty() {
        let mut body = [0xff; PACKET_BYTES - 4];
        let begin = usize::from(start);
        if start {
            body[0] = 0;
        }
        let taken = rest.len().min(body.len() - begin);
        body[begin..begin + taken].copy_from_slice(&rest[..taken]);
        packet::put(
            out,
            packet::Head {
                pid,
                start,
                counter: *counter,
            },
            &packet::Adaptation::default(),
            &body,
        );
        *counter = (*counter + 1) % 16;
        rest = &rest[taken..];
        start = false;
    }
}

/// Packets that [`put_packets`] makes of `section`.
pub fn packets(section: &[u8]) -> usize {
    (section.len() + 1).div_ceil(PACKET_BYTES - 4)
}

/// Puts sections of one PID together again.
#[derive(Debug, Default)]
pub struct Sections {
    bytes: Vec<u8>,
    /// A section has begun and its packets are whole so far.
    open: bool,
}

impl Sections {
    /// The payload of the next packet. `each` is called with every section that is whole, of any table and with its CRC
    /// unchecked.
    pub fn push(&mut self, start: bool, payload: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        if !start {
            if self.open {
                self.bytes.extend_from_slice(payload);
                self.drain(&mut each);
            }
            return Ok(());
        }
        let (&pointer, rest) = payload.split_first().ok_or(truncated("pointer_field", 0))?;
        let (before, behind) = rest.split_at_checked(pointer.into()).ok_or(Error::Illegal {
            field: "pointer_field",
            value: pointer.into(),
            offset: 0,
        })?;
        let unfinished = self.open && !self.bytes.is_empty();
        if unfinished {
            self.bytes.extend_from_slice(before);
            self.drain(&mut each);
        }
        let cut_short = self.open && unfinished && !self.bytes.is_empty();
        self.bytes.clear();
        self.bytes.extend_from_slice(behind);
        self.open = true;
        self.drain(&mut each);
        if cut_short {
            Err(truncated("section", 0))
        } else {
            Ok(())
        }
    }

    /// Packets were lost: nothing is put together before the next start.
    pub fn lose(&mut self) {
        self.bytes.clear();
        self.open = false;
    }

    fn drain(&mut self, each: &mut impl FnMut(&[u8])) {
        loop {
            // behind the last section there is only stuffing, until the next start
            if self.bytes.first().is_none_or(|&table| table == 0xff) {
                self.lose();
                return;
            }
            let &[_, high, low, ..] = &self.bytes[..] else { return };
            let length = 3 + usize::from(u16::from_be_bytes([high & 0x0f, low]));
            if self.bytes.len() < length {
                return;
            }
            each(&self.bytes[..length]);
            self.bytes.drain(..length);
        }
    }
}

/// CRC_32 of Annex A: polynomial 04C11DB7, from all ones, not reflected. Zero over a section with its CRC.
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        crc << 8 ^ CRC_TABLE[usize::from((crc >> 24) as u8 ^ byte)]
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 != 0 {
                crc << 1 ^ 0x04c1_1db7
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// `bits` are those above `section_length`: section_syntax_indicator, a zero (PAT, PMT) or a reserved one (SDT).
fn section(out: &mut Vec<u8>, table: u8, bits: u8, id: u16, version: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    let [id_high, id_low] = id.to_be_bytes();
    out.extend_from_slice(&[table, bits, 0, id_high, id_low, 0xc1 | (version & 31) << 1, 0, 0]);
    body(out);
    let length = out.len() - begin - 3 + 4;
    assert!(length <= SECTION_LENGTH_MAX, "limits keep tables in one section");
    out[begin + 1] = bits | (length >> 8) as u8;
    out[begin + 2] = length as u8;
    let crc = crc32(&out[begin..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

/// What all three tables begin with, checked.
struct Head<'a> {
    id: u16,
    version: u8,
    body: &'a [u8],
}

impl<'a> Head<'a> {
    fn parse(section: &'a [u8], table: u8) -> Result<Self, Error> {
        let illegal = |field, value: u8, offset| {
            Err(Error::Illegal {
                field,
                value: value.into(),
                offset,
            })
        };
        let Some((head, behind)) = section.split_first_chunk::<8>() else {
            return Err(truncated("section", section.len()));
        };
        let Some((body, crc)) = behind.split_last_chunk::<4>() else {
            return Err(truncated("CRC_32", section.len()));
        };
        let length = usize::from(u16::from_be_bytes([head[1] & 0x0f, head[2]]));
        if length > SECTION_LENGTH_MAX || length + 3 != section.len() {
            return Err(Error::Illegal {
                field: "section_length",
                value: length as u64,
                offset: 1,
            });
        }
        if crc32(section) != 0 {
            let expected = crc32(&section[..section.len() - 4]);
            return Err(Error::Crc {
                expected,
                found: u32::from_be_bytes(*crc),
            });
        }
        if head[0] != table {
            return illegal("table_id", head[0], 0);
        }
        if head[1] & 0x80 == 0 {
            return illegal("section_syntax_indicator", 0, 1);
        }
        if head[5] & 1 == 0 {
            return illegal("current_next_indicator", 0, 5);
        }
        if head[6] != 0 || head[7] != 0 {
            return illegal("last_section_number", head[7], 7);
        }
        Ok(Head {
            id: word(&head[3..]),
            version: head[5] >> 1 & 31,
            body,
        })
    }
}

/// Taken apart from the front.
struct Rest<'a> {
    section: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let offset = (self.bytes.as_ptr() as usize).saturating_sub(self.section.as_ptr() as usize);
        let (taken, behind) = self
            .bytes
            .split_at_checked(bytes)
            .ok_or(Error::Truncated { field, offset })?;
        self.bytes = behind;
        Ok(taken)
    }

    fn text(&mut self, field: &'static str) -> Result<String, Error> {
        let length = self.take(1, field)?[0];
        let bytes = self.take(length.into(), field)?;
        let text = bytes.strip_prefix(&[TEXT_UTF8]).unwrap_or(bytes);
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

/// EN 300 468, A.2: the default table has ASCII in it, everything else says that it is UTF-8.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push((text_bytes(text) - 1) as u8);
    if !text.is_ascii() {
        out.push(TEXT_UTF8);
    }
    out.extend_from_slice(text.as_bytes());
}

/// With the length byte.
fn text_bytes(text: &str) -> usize {
    1 + usize::from(!text.is_ascii()) + text.len()
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Big-endian, of the first two bytes of a slice that has them.
fn word(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn pid(bytes: &[u8]) -> u16 {
    word(bytes) & 0x1fff
}

fn truncated(field: &'static str, offset: usize) -> Error {
    Error::Truncated { field, offset }
}

const SERVICE_DESCRIPTOR: u8 = 0x48;
const TEXT_UTF8: u8 = 0x15;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out);
        out
    }

    fn pmt(lines: u16) -> Pmt {
        let line = |index| Stream {
            stream_type: 6,
            pid: 0x100 + index,
            descriptors: b"\x05\x04Opus\x7f\x02\x80\x02".to_vec(),
        };
        Pmt {
            program: 1,
            version: 31,
            pcr_pid: 0x100,
            streams: (0..lines).map(line).collect(),
        }
    }

    fn sdt(name: &str) -> Sdt {
        Sdt {
            transport_stream_id: 1,
            network: 1,
            version: 2,
            service: 1,
            service_type: 1,
            provider: "penstock".into(),
            name: name.into(),
        }
    }

    #[test]
    fn emit_then_parse_gives_the_tables_back() {
        let pat = Pat {
            transport_stream_id: 7,
            version: 3,
            programs: vec![(1, 0x1000), (2, 0x1fff)],
        };
        assert_eq!(Pat::parse(&bytes(|out| pat.put(out))), Ok(pat));
        for lines in [0, 1, 32] {
            assert_eq!(Pmt::parse(&bytes(|out| pmt(lines).put(out))), Ok(pmt(lines)));
        }
        for name in ["", "live", "live+früh"] {
            assert_eq!(Sdt::parse(&bytes(|out| sdt(name).put(out))), Ok(sdt(name)));
        }
        let long = "ü".repeat(300);
        let parsed = Sdt::parse(&bytes(|out| sdt(&long).put(out))).unwrap();
        assert!(long.starts_with(&parsed.name) && parsed.name.len() >= 240);
    }

    #[test]
    fn the_pat_is_known_bytes() {
        // PAT of one program 1 on 0x1000, as ffmpeg's muxer writes it
        let pat = Pat {
            transport_stream_id: 1,
            version: 0,
            programs: vec![(1, 0x1000)],
        };
        let expected = [0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0x2a, 0xb1, 0x04, 0xb2];
        assert_eq!(bytes(|out| pat.put(out)), expected);
    }

    #[test]
    fn sections_come_through_packets_and_only_whole() {
        let sections = [
            bytes(|out| pmt(32).put(out)),
            bytes(|out| pmt(1).put(out)),
            bytes(|out| sdt("a").put(out)),
        ];
        let (mut out, mut counter) = (Vec::new(), 14);
        for section in &sections {
            put_packets(&mut out, 0x1000, &mut counter, section);
        }
        assert_eq!(usize::from(counter), (14 + out.len() / PACKET_BYTES) % 16);
        let run = |lost: usize| {
            let (mut whole, mut reader) = (Vec::new(), Sections::default());
            let mut result = Ok(());
            for (index, bytes) in out.chunks_exact(PACKET_BYTES).enumerate() {
                let packet = packet::parse(bytes.try_into().unwrap()).unwrap();
                if index == lost {
                    continue;
                }
                let pushed = reader.push(packet.start, packet.payload.unwrap(), |section| {
                    whole.push(section.to_vec())
                });
                result = result.and(pushed);
            }
            (whole, result)
        };
        assert_eq!(run(usize::MAX), (sections.to_vec(), Ok(())));
        assert_eq!(run(0).0, sections[1..]);
        assert!(run(2).1.is_err());
    }

    #[test]
    fn two_sections_in_one_packet_and_one_across_two() {
        let (first, second) = (bytes(|out| sdt("first").put(out)), bytes(|out| sdt("second").put(out)));
        let mut both = [&first[..], &second[..]].concat();
        let tail = both.split_off(first.len() + 10);
        let (mut whole, mut reader) = (Vec::new(), Sections::default());
        let mut push = |start, payload: &[u8]| reader.push(start, payload, |section| whole.push(section.to_vec()));
        push(true, &[&[0], &both[..]].concat()).unwrap();
        push(
            true,
            &[&[tail.len() as u8], &tail[..], &first[..], &[0xff; 20]].concat(),
        )
        .unwrap();
        assert_eq!(whole, [first.clone(), second, first]);
        assert!(matches!(reader.push(true, &[3, 0], |_| {}), Err(Error::Illegal { .. })));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = bytes(|out| pmt(2).put(out));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Pmt::parse(&bad).is_err(), "{bit}");
        }
        assert!(matches!(
            Pat::parse(&good),
            Err(Error::Illegal { field: "table_id", .. })
        ));
    }
}
