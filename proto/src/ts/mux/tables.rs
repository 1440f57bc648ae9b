//! PAT, PMT and SDT of the one program, and the counters of their PIDs.

use super::line::Line;
use super::{PID_PMT, PROVIDER};
use crate::media::Kind;
use crate::ts::limits::{CLOCK_PER_MS, TABLE_INTERVAL_MS};
use crate::ts::wire::section::put_packets;
use crate::ts::wire::{PID_NULL, PID_PAT, PID_SDT, Pat, Pmt, Sdt};

/// The sections in force and the counters of their PIDs.
#[derive(Debug, Default)]
pub struct Tables {
    pub pat: Vec<u8>,
    pub pmt: Vec<u8>,
    pub sdt: Vec<u8>,
    pub pat_counter: u8,
    pub pmt_counter: u8,
    pub sdt_counter: u8,
    /// PCR time of the last ones; absent when they are due.
    pub sent: Option<i64>,
}

impl Tables {
    pub fn are_due(&self, now: i64) -> bool {
        self.sent
            .is_none_or(|at| now.saturating_sub(at) >= TABLE_INTERVAL_MS * CLOCK_PER_MS)
    }

    pub fn put(&mut self, now: i64, out: &mut Vec<u8>) {
        put_packets(out, PID_PAT, &mut self.pat_counter, &self.pat);
        put_packets(out, PID_PMT, &mut self.pmt_counter, &self.pmt);
        put_packets(out, PID_SDT, &mut self.sdt_counter, &self.sdt);
        self.sent = Some(now);
    }

    /// Makes PAT and SDT of the program `lines` anew; `name` is the service's.
    pub fn describe(&mut self, name: &str, lines: &[Line]) {
        self.pat.clear();
        Pat {
            transport_stream_id: 1,
            version: 0,
            programs: vec![(PROGRAM, PID_PMT)],
        }
        .put(&mut self.pat);
        let video = lines.iter().any(|line| line.codec.kind() == Kind::Video);
        let sdt = Sdt {
            transport_stream_id: 1,
            network: NETWORK,
            version: if video { 0 } else { 1 },
            service: PROGRAM,
            service_type: if video { 1 } else { 2 },
            provider: PROVIDER.to_owned(),
            name: name.to_owned(),
        };
        self.sdt.clear();
        sdt.put(&mut self.sdt);
    }
}

/// The PMT of `lines`, of which the one at `pcr_line` has the PCR.
pub fn pmt(lines: &[Line], pcr_line: usize, version: u8) -> Pmt {
    Pmt {
        program: PROGRAM,
        version,
        pcr_pid: lines.get(pcr_line).map_or(PID_NULL, |line| line.pid),
        streams: lines.iter().map(|line| line.stream.clone()).collect(),
    }
}

const PROGRAM: u16 = 1;

/// `original_network_id` of who has none (ETSI TS 101 162: FF00 to FFFE are private).
const NETWORK: u16 = 0xff01;
