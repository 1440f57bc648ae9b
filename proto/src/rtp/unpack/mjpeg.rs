//! JPEG (RFC 2435): the scan of a picture with its head made anew. Quantisation tables come from Q or from the stream, Huffman
//! tables are those of the JPEG specification (K.3).
//!
//! Pictures wider or higher than 2,040 samples, whose size the head cannot say, are counted and skipped.

use super::pieces::Pieces;
use super::{Payload, Setup, Units, Unpack, VIDEO_TIMESCALE, Wholeness};
use crate::media::{Codec, Format};

/// State of one track.
#[derive(Debug, Default)]
pub(super) struct Mjpeg {
    pieces: Pieces,
    /// Bytes of the head in [`Mjpeg::pieces`].
    head_bytes: usize,
    size: Option<(u32, u32)>,
    /// Tables of the stream that are in force for a Q from 128 to 254.
    kept: Option<(u8, Tables)>,
    unreadable: u64,
}

/// Quantisation tables of 8 bits, in zigzag order: for luma, then for chroma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tables([[u8; 64]; 2]);

/// The JPEG header (3.1), with what follows it (3.1.7 and 3.1.8).
#[derive(Debug)]
struct Piece<'a> {
    offset: usize,
    kind: u8,
    q: u8,
    width: u32,
    height: u32,
    restart_interval: u16,
    /// Of the first piece: what the stream says of tables, empty if nothing.
    tables: &'a [u8],
    scan: &'a [u8],
}

impl<'a> Piece<'a> {
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let (&[_, a, b, c, kind, q, width, height], mut rest) = payload.split_first_chunk()?;
        let offset = u32::from_be_bytes([0, a, b, c]) as usize;
        let mut restart_interval = 0;
        if (64..128).contains(&kind) {
            let (&[high, low, _, _], behind) = rest.split_first_chunk()?;
            restart_interval = u16::from_be_bytes([high, low]);
            rest = behind;
        }
        let mut tables: &[u8] = &[];
        if q >= 128 && offset == 0 {
            let (&[_, precision, high, low], behind) = rest.split_first_chunk()?;
            (tables, rest) = behind.split_at_checked(u16::from_be_bytes([high, low]).into())?;
            // Tables of 16 bits have no place in a baseline picture.
            if precision != 0 && !tables.is_empty() {
                return None;
            }
        }
        Some(Piece {
            offset,
            kind,
            q,
            width: u32::from(width) * 8,
            height: u32::from(height) * 8,
            restart_interval,
            tables,
            scan: rest,
        })
    }

    /// `Y` of two by one samples, or of two by two; other types are another specification's.
    fn sampling(&self) -> Option<u8> {
        match self.kind & 63 {
            0 => Some(0x21),
            1 => Some(0x22),
            _ => None,
        }
        .filter(|_| self.kind < 128)
    }
}

impl Tables {
    /// 4.2.
    fn of_q(q: u8) -> Option<Self> {
        let factor = i32::from(q.clamp(1, 99));
        let scale = if factor < 50 { 5000 / factor } else { 200 - factor * 2 };
        let scaled = |value: u8| ((i32::from(value) * scale + 50) / 100).clamp(1, 255) as u8;
        (q < 100).then(|| Tables([LUMA.map(scaled), CHROMA.map(scaled)]))
    }

    /// One table serves luma and chroma.
    fn of_stream(bytes: &[u8]) -> Option<Self> {
        let (luma, rest) = bytes.split_first_chunk()?;
        Some(Tables([*luma, *rest.first_chunk().unwrap_or(luma)]))
    }
}

impl Mjpeg {
    fn piece(&mut self, payload: &Payload<'_>) -> Option<()> {
        let piece = Piece::parse(payload.data)?;
        if piece.offset == 0 {
            self.pieces.start(payload.timestamp);
            let tables = self.tables(&piece)?;
            let sampling = piece.sampling()?;
            if piece.width == 0 || piece.height == 0 {
                return None;
            }
            push_head(&piece, sampling, &tables, &mut self.pieces.bytes);
            self.head_bytes = self.pieces.bytes.len();
        } else if self.pieces.is_open() && piece.offset + self.head_bytes != self.pieces.bytes.len() {
            return None;
        }
        self.pieces.extend(piece.scan);
        Some(())
    }

    fn tables(&mut self, piece: &Piece<'_>) -> Option<Tables> {
        if piece.q < 128 {
            return Tables::of_q(piece.q);
        }
        if piece.tables.is_empty() {
            return self.kept.filter(|(q, _)| *q == piece.q).map(|(_, tables)| tables);
        }
        let tables = Tables::of_stream(piece.tables)?;
        self.kept = (piece.q < 255).then_some((piece.q, tables));
        Some(tables)
    }

    /// The picture with this timestamp is over, if it is whole.
    fn push(&mut self, timestamp: Option<i64>, out: &mut Units) {
        let Some(timestamp) = timestamp else { return };
        let bytes = &self.pieces.bytes;
        let size = size_of(bytes);
        if self.size != size
            && let Some((width, height)) = size
        {
            self.size = size;
            out.push_setup(Setup {
                codec: Codec::Mjpeg,
                timescale: VIDEO_TIMESCALE,
                codec_data: Vec::new(),
                format: Format::Video {
                    width,
                    height,
                    frame_rate: 0.0,
                },
            });
        }
        out.push(timestamp, true, Wholeness::Whole, |out| {
            out.extend_from_slice(bytes);
            if !bytes.ends_with(&END) {
                out.extend_from_slice(&END);
            }
        });
    }
}

impl Unpack for Mjpeg {
    fn packet(&mut self, payload: &Payload<'_>, out: &mut Units) {
        if payload.data.is_empty() {
            return;
        }
        if self.pieces.enter(payload) {
            let timestamp = self.pieces.finish();
            self.push(timestamp, out);
        }
        if self.piece(payload).is_none() {
            self.unreadable += 1;
            self.pieces.break_off();
        }
        if payload.marker {
            let timestamp = self.pieces.mark();
            self.push(timestamp, out);
        }
    }

    fn flush(&mut self, out: &mut Units) {
        let timestamp = self.pieces.flush();
        self.push(timestamp, out);
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// Everything before the scan, as [`size_of`] reads it.
fn push_head(piece: &Piece<'_>, sampling: u8, tables: &Tables, out: &mut Vec<u8>) {
    let (width, height) = ((piece.width as u16).to_be_bytes(), (piece.height as u16).to_be_bytes());
    // Start of image; the frame: 8 bits, the size, three components
    out.extend_from_slice(&[0xff, 0xd8]);
    out.extend_from_slice(b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    out.extend_from_slice(&[0xff, 0xc0, 0, 17, 8, height[0], height[1], width[0], width[1], 3]);
    out.extend_from_slice(&[1, sampling, 0, 2, 0x11, 1, 3, 0x11, 1]);
    for (number, table) in tables.0.iter().enumerate() {
        out.extend_from_slice(&[0xff, 0xdb, 0, 67, number as u8]);
        out.extend_from_slice(table);
    }
    if piece.restart_interval > 0 {
        let [high, low] = piece.restart_interval.to_be_bytes();
        out.extend_from_slice(&[0xff, 0xdd, 0, 4, high, low]);
    }
    for (class, counts, values) in HUFFMAN {
        let bytes = (2 + 1 + counts.len() + values.len()) as u16;
        out.extend_from_slice(&[0xff, 0xc4]);
        out.extend_from_slice(&bytes.to_be_bytes());
        out.push(class);
        out.extend_from_slice(&counts);
        out.extend_from_slice(values);
    }
    // Start of scan: which tables the components have, all coefficients
    out.extend_from_slice(&[0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]);
}

/// Width and height of a picture whose head is ours.
fn size_of(picture: &[u8]) -> Option<(u32, u32)> {
    let &[high, low, wide, narrow] = picture.get(SIZE_AT..)?.first_chunk()?;
    let height = u16::from_be_bytes([high, low]).into();
    Some((u16::from_be_bytes([wide, narrow]).into(), height))
}

/// Where [`push_head`] has height and width: behind the start of image (2), JFIF (18) and marker, length and bits of the frame.
const SIZE_AT: usize = 2 + 18 + 5;

/// End of image.
const END: [u8; 2] = [0xff, 0xd9];

/// K.1 of the JPEG specification, in zigzag order (RFC 2435, appendix A).
const LUMA: [u8; 64] = [
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
];

/// K.2, in zigzag order.
const CHROMA: [u8; 64] = [
    17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99,
];

/// Class and number, codes of each length, values: K.3 to K.6 of the JPEG specification.
const HUFFMAN: [(u8, [u8; 16], &[u8]); 4] = [
    (0x0, [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &DC_VALUES),
    (0x10, [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125], &LUMA_VALUES),
    (0x1, [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &DC_VALUES),
    (0x11, [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119], &CHROMA_VALUES),
];

const DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

const LUMA_VALUES: [u8; 162] = [
    1, 2, 3, 0, 4, 17, 5, 18, 33, 49, 65, 6, 19, 81, 97, 7, 34, 113, 20, 50, 129, 145, 161, 8, 35, 66, 177, 193, 21,
    82, 209, 240, 36, 51, 98, 114, 130, 9, 10, 22, 23, 24, 25, 26, 37, 38, 39, 40, 41, 42, 52, 53, 54, 55, 56, 57, 58,
    67, 68, 69, 70, 71, 72, 73, 74, 83, 84, 85, 86, 87, 88, 89, 90, 99, 100, 101, 102, 103, 104, 105, 106, 115, 116,
    117, 118, 119, 120, 121, 122, 131, 132, 133, 134, 135, 136, 137, 138, 146, 147, 148, 149, 150, 151, 152, 153, 154,
    162, 163, 164, 165, 166, 167, 168, 169, 170, 178, 179, 180, 181, 182, 183, 184, 185, 186, 194, 195, 196, 197, 198,
    199, 200, 201, 202, 210, 211, 212, 213, 214, 215, 216, 217, 218, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234,
    241, 242, 243, 244, 245, 246, 247, 248, 249, 250,
];

const CHROMA_VALUES: [u8; 162] = [
    0, 1, 2, 3, 17, 4, 5, 33, 49, 6, 18, 65, 81, 7, 97, 113, 19, 34, 50, 129, 8, 20, 66, 145, 161, 177, 193, 9, 35, 51,
    82, 240, 21, 98, 114, 209, 10, 22, 36, 52, 225, 37, 241, 23, 24, 25, 26, 38, 39, 40, 41, 42, 53, 54, 55, 56, 57,
    58, 67, 68, 69, 70, 71, 72, 73, 74, 83, 84, 85, 86, 87, 88, 89, 90, 99, 100, 101, 102, 103, 104, 105, 106, 115,
    116, 117, 118, 119, 120, 121, 122, 130, 131, 132, 133, 134, 135, 136, 137, 138, 146, 147, 148, 149, 150, 151, 152,
    153, 154, 162, 163, 164, 165, 166, 167, 168, 169, 170, 178, 179, 180, 181, 182, 183, 184, 185, 186, 194, 195, 196,
    197, 198, 199, 200, 201, 202, 210, 211, 212, 213, 214, 215, 216, 217, 218, 226, 227, 228, 229, 230, 231, 232, 233,
    234, 242, 243, 244, 245, 246, 247, 248, 249, 250,
];
