//! Motion JPEG (RFC 2435): the image's header is taken apart, its quantisation tables go with its first packet (Q 255), its
//! scan in fragments.
//!
//! The format can only say: baseline, 8 bits, three components of 4:2:2 or 4:2:0, one scan, the Huffman tables of the
//! standard's annex K.3, sides of at most 2,040. Sides that are no multiple of 8 come out larger. Other images are counted
//! and give nothing.

use super::limits::{JPEG_SCAN_BYTES_MAX, JPEG_SIDE_MAX};
use super::{Packet, Put};
use crate::media::Frame;

#[derive(Debug)]
pub(super) struct Jpeg {
    payload_bytes_max: usize,
    skipped: u64,
}

/// Types with restart markers are 64 above those without (3.1.3).
const RESTARTS: u8 = 64;
const TABLES_IN_BAND: u8 = 255;
/// F and L of the restart marker header, all ones of the count: packets are not cut at intervals (3.1.7).
const RESTART_COUNT: [u8; 2] = [0xff, 0xff];
const HEAD_BYTES_MAX: usize = 8 + 4 + 4 + 2 * TABLE_BYTES_MAX;
const TABLE_BYTES_MAX: usize = 128;

impl Jpeg {
    pub(super) fn new(payload_bytes_max: usize) -> Self {
        Jpeg {
            payload_bytes_max,
            skipped: 0,
        }
    }
}

impl super::Pack for Jpeg {
    fn frame(&mut self, frame: &Frame<'_>, put: Put<'_>) {
        let Some(image) = Image::parse(frame.data) else {
            self.skipped += 1;
            return;
        };
        let mut head = [0; HEAD_BYTES_MAX];
        let mut head_bytes = image.emit_head(&mut head);
        let later_bytes = head_bytes - image.tables_bytes();
        let (mut rest, mut offset) = (image.scan, 0_u32);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(self.payload_bytes_max - head_bytes));
            rest = behind;
            head[1..4].copy_from_slice(&offset.to_be_bytes()[1..]);
            put(Packet {
                ticks: 0,
                marker: rest.is_empty(),
                parts: &[&head[..head_bytes], piece],
            });
            offset += piece.len() as u32;
            head_bytes = later_bytes;
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// What of an image the format carries.
struct Image<'a> {
    /// 0: 4:2:2, 1: 4:2:0.
    kind: u8,
    eighths: [u8; 2],
    restart_interval: u16,
    /// Of the luma component and of both others: precision (1: 16 bits) and the table in zigzag order.
    tables: [(u8, &'a [u8]); 2],
    scan: &'a [u8],
}

impl<'a> Image<'a> {
    fn parse(image: &'a [u8]) -> Option<Self> {
        let mut parts = Parts::default();
        let mut rest = image.strip_prefix(&[0xff, SOI])?;
        loop {
            let (kind, body, behind) = segment(rest)?;
            rest = behind;
            match kind {
                DQT => parts.quantisation(body)?,
                DHT if !is_standard(body) => return None,
                DHT => {}
                SOF0 => parts.frame(body)?,
                DRI => parts.restart_interval = u16::from_be_bytes(*body.first_chunk()?),
                SOS => {
                    parts.scan(body)?;
                    break;
                }
                APP0..=APP15 | COM => {}
                _ => return None,
            }
        }
        let end = rest.windows(2).rposition(|pair| pair == [0xff, EOI]);
        let scan = &rest[..end.unwrap_or(rest.len())];
        if scan.is_empty() || scan.len() > JPEG_SCAN_BYTES_MAX {
            return None;
        }
        Some(Image {
            kind: parts.kind?,
            eighths: parts.eighths,
            restart_interval: parts.restart_interval,
            tables: [parts.tables[parts.selectors[0]]?, parts.tables[parts.selectors[1]]?],
            scan,
        })
    }

    /// The main header with the fragment offset 0, that of restart markers, the tables; returns their length.
    fn emit_head(&self, head: &mut [u8; HEAD_BYTES_MAX]) -> usize {
        let has_restarts = self.restart_interval > 0;
        let kind = self.kind | if has_restarts { RESTARTS } else { 0 };
        let [width, height] = self.eighths;
        head[..8].copy_from_slice(&[0, 0, 0, 0, kind, TABLES_IN_BAND, width, height]);
        let mut at = 8;
        if has_restarts {
            head[8..10].copy_from_slice(&self.restart_interval.to_be_bytes());
            head[10..12].copy_from_slice(&RESTART_COUNT);
            at = 12;
        }
        at + self.emit_tables(&mut head[at..])
    }

    fn tables_bytes(&self) -> usize {
        4 + self.tables.iter().map(|(_, table)| table.len()).sum::<usize>()
    }

    /// The quantisation table header (3.1.8).
    fn emit_tables(&self, out: &mut [u8]) -> usize {
        let [(luma_precision, luma), (chroma_precision, chroma)] = self.tables;
        let bytes = luma.len() + chroma.len();
        out[..4].copy_from_slice(&[
            0,
            luma_precision | chroma_precision << 1,
            (bytes >> 8) as u8,
            bytes as u8,
        ]);
        out[4..4 + luma.len()].copy_from_slice(luma);
        out[4 + luma.len()..4 + bytes].copy_from_slice(chroma);
        4 + bytes
    }
}

/// What was read of an image's header.
#[derive(Default)]
struct Parts<'a> {
    tables: [Option<(u8, &'a [u8])>; 4],
    kind: Option<u8>,
    eighths: [u8; 2],
    /// Quantisation tables of the luma component and of both others.
    selectors: [usize; 2],
    restart_interval: u16,
}

impl<'a> Parts<'a> {
    /// ISO 10918-1, B.2.4.1.
    fn quantisation(&mut self, mut body: &'a [u8]) -> Option<()> {
        while let Some((&head, behind)) = body.split_first() {
            let precision = head >> 4;
            let bytes = match precision {
                0 => 64,
                1 => 128,
                _ => return None,
            };
            let (table, rest) = behind.split_at_checked(bytes)?;
            *self.tables.get_mut(usize::from(head & 15))? = Some((precision, table));
            body = rest;
        }
        Some(())
    }

    /// B.2.2.
    fn frame(&mut self, body: &[u8]) -> Option<()> {
        let &[8, h0, h1, w0, w1, 3, _, luma, q0, _, cb, q1, _, cr, q2] = body else {
            return None;
        };
        let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        let sides = 1..=JPEG_SIDE_MAX;
        if !sides.contains(&width.into()) || !sides.contains(&height.into()) || q1 != q2 || q0 > 3 || q1 > 3 {
            return None;
        }
        self.kind = match (luma, cb, cr) {
            (0x21, 0x11, 0x11) => Some(0),
            (0x22, 0x11, 0x11) => Some(1),
            _ => return None,
        };
        self.eighths = [width.div_ceil(8) as u8, height.div_ceil(8) as u8];
        self.selectors = [q0.into(), q1.into()];
        Some(())
    }

    /// B.2.3: all components, each with the tables of its kind, all of their coefficients.
    fn scan(&self, body: &[u8]) -> Option<()> {
        matches!(body, &[3, _, 0x00, _, 0x11, _, 0x11, 0, 63, 0]).then_some(())
    }
}

/// The next marker's number, its segment without length, and what is behind it.
fn segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    // Fill bytes may stand before any marker (B.1.1.2).
    let fill = bytes.iter().take_while(|&&byte| byte == 0xff).count();
    let kind = *bytes.get(fill).filter(|_| fill > 0)?;
    let behind = &bytes[fill + 1..];
    let length = usize::from(u16::from_be_bytes(*behind.first_chunk()?));
    let (with_length, rest) = behind.split_at_checked(length)?;
    Some((kind, with_length.get(2..)?, rest))
}

/// Whether all tables of a DHT segment are those of annex K.3, in their usual places.
fn is_standard(mut body: &[u8]) -> bool {
    while let Some(&head) = body.first() {
        let known = HUFFMAN.iter().find(|(place, _, _)| *place == head);
        let Some((_, counts, values)) = known else { return false };
        let rest = body[1..]
            .strip_prefix(*counts)
            .and_then(|body| body.strip_prefix(*values));
        let Some(rest) = rest else { return false };
        body = rest;
    }
    true
}

const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const APP0: u8 = 0xe0;
const APP15: u8 = 0xef;
const COM: u8 = 0xfe;

/// Tables K.3 to K.6: class and place, codes of each length, values.
const HUFFMAN: [(u8, &[u8], &[u8]); 4] = [
    (0x00, &[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &DIFFERENCES),
    (0x01, &[0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &DIFFERENCES),
    (0x10, &[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d], LUMA_VALUES),
    (
        0x11,
        &[0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
        CHROMA_VALUES,
    ),
];
const DIFFERENCES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const LUMA_VALUES: &[u8] = b"\
    \x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xa1\x08\x23\
    \x42\xb1\xc1\x15\x52\xd1\xf0\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28\x29\x2a\
    \x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\
    \x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89\x8a\x92\x93\x94\
    \x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\
    \xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\
    \xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\
";
const CHROMA_VALUES: &[u8] = b"\
    \x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91\xa1\
    \xb1\xc1\x09\x23\x33\x52\xf0\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26\x27\x28\
    \x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\
    \x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x92\
    \x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\
    \xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe2\xe3\xe4\xe5\xe6\xe7\
    \xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\
";
