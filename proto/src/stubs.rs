//! Stand-ins.
use crate::media::*;
#[derive(Debug, Default)]
pub struct Toy {
    part: i64,
    ids: Vec<u32>,
    number: u64,
    held: Option<(i64, bool, Vec<u8>)>,
    run: Vec<u8>,
    start: i64,
    key: bool,
    last: i64,
    n: u32,
}
impl Toy {
    pub fn new(part: i64) -> Self {
        Toy { part, ..Toy::default() }
    }
}
impl Toy {
    fn cut(&mut self, until: i64, out: &mut Pieces) {
        if self.run.is_empty() {
            return;
        }
        let run = std::mem::take(&mut self.run);
        let (number, n) = (self.number, self.n);
        self.n += 1;
        out.push(
            Piece {
                end: 0,
                dts: self.start,
                duration: until - self.start,
                independent: self.key,
            },
            |o| {
                o.extend_from_slice(format!("[{number}.{n}]").as_bytes());
                o.extend_from_slice(&run)
            },
        );
    }
    fn take(&mut self, until: i64, out: &mut Pieces) {
        if let Some((dts, key, data)) = self.held.take() {
            if self.run.is_empty() {
                self.start = dts;
                self.key = key;
            } else if until - self.start > self.part {
                self.cut(dts, out);
                self.start = dts;
                self.key = key;
            }
            self.run.extend_from_slice(&data);
            self.last = until - dts;
        }
    }
}
impl SegmentMux for Toy {
    fn carries(&self, t: &Track) -> bool {
        t.kind() != Kind::Meta
    }
    fn begin(&mut self, number: u64, tracks: &[Track], _: &mut Pieces) {
        *self = Toy {
            part: self.part,
            number,
            ids: tracks.iter().map(|t| t.id).collect(),
            ..Toy::default()
        };
    }
    fn frame(&mut self, f: &Frame<'_>, out: &mut Pieces) {
        if f.track != self.ids[0] {
            self.run.extend_from_slice(f.data);
            return;
        }
        self.take(f.dts, out);
        self.held = Some((f.dts, f.key, f.data.to_vec()));
    }
    fn end(&mut self, until: Option<i64>, out: &mut Pieces) {
        if let Some((dts, ..)) = self.held {
            let u = until.unwrap_or(dts + self.last);
            self.take(u, out);
            self.cut(u, out);
        }
    }
    fn init(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"init");
    }
}
