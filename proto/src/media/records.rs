//! The sink a muxer writes to: bytes of whole records, one behind the other, with a mark at each end.

use super::rescale;

/// Ends one record of a [`Records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index behind the record's last byte in [`Records::bytes`].
    pub end: usize,
    /// A viewer can start at this record, behind the muxer's join header.
    pub join: bool,
    /// Decode time of the record's first frame, µs of stream time: what a viewer's lag is measured by.
    pub dts_micros: i64,
}

/// A reusable buffer of whole records. Cleared by its owner, never by a muxer.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

impl Records {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// One record: whatever `write` appends. Writing nothing makes no record.
    pub fn push(&mut self, join: bool, dts: i64, timescale: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.bytes.len();
        write(&mut self.bytes);
        assert!(self.bytes.len() >= begin, "a muxer only appends");
        if self.bytes.len() > begin {
            self.marks.push(Mark {
                end: self.bytes.len(),
                join,
                dts_micros: rescale(dts, timescale, 1_000_000),
            });
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Each record with its mark.
    pub fn iter(&self) -> impl Iterator<Item = (&Mark, &[u8])> {
        let mut begin = 0;
        self.marks.iter().map(move |mark| {
            let record = &self.bytes[begin..mark.end];
            begin = mark.end;
            (mark, record)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_at_their_marks_and_empty_ones_do_not_exist() {
        let mut records = Records::new();
        records.push(true, 90, 90_000, |out| out.extend_from_slice(b"abc"));
        records.push(false, 90, 90_000, |_| {});
        records.push(false, 180, 90_000, |out| out.extend_from_slice(b"d"));
        let cut: Vec<_> = records
            .iter()
            .map(|(mark, bytes)| (mark.join, mark.dts_micros, bytes))
            .collect();
        assert_eq!(cut, [(true, 1000, &b"abc"[..]), (false, 2000, &b"d"[..])]);
    }
}
