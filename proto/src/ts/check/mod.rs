//! A strict checker of transport streams of one program, for tests and for whoever looks into a stream.
//!
//! It judges what 13818-1 demands (sync, continuity, sections and their CRC, adaptation fields, stuffing, PCR, PTS and
//! DTS, PES lengths) and what we promise beyond it: PAT, PMT and SDT at the start and every 500 ms, PCR every 40 ms and
//! rising strictly, a random access point first, an access unit delimiter exactly once per picture, whole ADTS frames.
//! It is not an analyser of buffers or bit rates, and trusts nothing: state and report are bounded.
//!
//! After a lost packet only the loss is reported, not what follows from it in the same PES packet.

mod content;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::content::{Content, Pes};
pub use self::problem::{Problem, Table, What};
use super::limits::{CHECK_PIDS_MAX, CHECK_PROBLEMS_MAX, CLOCK_PER_MS, PCR_INTERVAL_MS_MAX, TABLE_INTERVAL_MS_MAX};
use super::wire::{
    PACKET_BYTES, PID_NULL, PID_PAT, PID_SDT, Packet, Pat, Pcr, Pmt, Sdt, Sections, clock_difference, packet,
};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub packets: u64,
    /// Packets of each PID.
    pub pids: BTreeMap<u16, u64>,
    /// The first ones; `problem_count` has all.
    pub problems: Vec<Problem>,
    pub problem_count: u64,
    /// PES packets of video.
    pub video_frames: u64,
    /// ADTS frames, and PES packets of other audio.
    pub audio_frames: u64,
    /// Random access points in video.
    pub video_access_points: u64,
    pub pcr_count: u64,
    /// Longest time between two PCRs of one time base.
    pub pcr_interval_micros_max: u64,
    /// Longest time between two of the same table, in PCR time.
    pub table_interval_micros_max: u64,
    /// Times a new time base was announced.
    pub discontinuities: u64,
}

/// Fed with a stream in pieces of any size.
#[derive(Debug, Default)]
pub struct Checker {
    partial: Vec<u8>,
    pids: BTreeMap<u16, Pid>,
    pat: Repeated<Pat>,
    pmt: Repeated<Pmt>,
    sdt: Repeated<Sdt>,
    /// That they come late is no problem.
    tables_once: bool,
    pcr: Option<Pcr>,
    /// Ticks of 27 MHz that PCRs have passed, over all time bases.
    time: i64,
    begun: bool,
    report: Report,
}

#[derive(Debug, Default)]
struct Pid {
    counter: Option<u8>,
    sections: Sections,
    pes: Option<Pes>,
    dts: Option<u64>,
}

/// A table that must come again and again.
#[derive(Debug)]
struct Repeated<T> {
    content: Option<T>,
    seen: Option<i64>,
    late: bool,
}

impl<T> Default for Repeated<T> {
    fn default() -> Self {
        Repeated {
            content: None,
            seen: None,
            late: false,
        }
    }
}

impl Checker {
    pub fn new() -> Self {
        Self::default()
    }

    /// Of segments of HLS, one behind the other: each has its tables at its begin, and need not repeat them.
    pub fn of_segments() -> Self {
        Checker {
            tables_once: true,
            ..Self::default()
        }
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        if !self.partial.is_empty() {
            let missing = (PACKET_BYTES - self.partial.len()).min(bytes.len());
            let (head, behind) = bytes.split_at(missing);
            self.partial.extend_from_slice(head);
            bytes = behind;
            let mut whole = [0; PACKET_BYTES];
            if self.partial.len() < PACKET_BYTES {
                return;
            }
            whole.copy_from_slice(&self.partial);
            self.partial.clear();
            self.packet(&whole);
        }
        let (packets, rest) = bytes.as_chunks::<PACKET_BYTES>();
        packets.iter().for_each(|packet| self.packet(packet));
        self.partial.extend_from_slice(rest);
    }

    pub fn finish(mut self) -> Report {
        if !self.partial.is_empty() {
            let bytes = self.partial.len();
            self.problem(0, What::EndsInPacket { bytes });
        }
        let pids: Vec<u16> = self.pids.keys().copied().collect();
        for pid in pids {
            self.end_pes(pid, End::Stream);
        }
        for (missing, table, pid) in [
            (self.pat.content.is_none(), Table::Pat, PID_PAT),
            (
                self.pmt.content.is_none(),
                Table::Pmt,
                self.pmt_pid().unwrap_or(PID_NULL),
            ),
            (self.sdt.content.is_none(), Table::Sdt, PID_SDT),
        ] {
            if missing {
                self.problem(pid, What::TableMissing(table));
            }
        }
        if self.report.pcr_count == 0 {
            self.problem(PID_NULL, What::PcrMissing);
        }
        self.report
    }

    fn packet(&mut self, bytes: &[u8; PACKET_BYTES]) {
        let pid = packet::pid(bytes);
        if !self.report.pids.contains_key(&pid) && self.report.pids.len() >= CHECK_PIDS_MAX {
            self.problem(pid, What::TooManyPids);
            self.report.packets += 1;
            return;
        }
        *self.report.pids.entry(pid).or_default() += 1;
        match packet::parse(bytes) {
            Err(error) => {
                self.problem(pid, What::Packet(error));
                // its counter and payload are lost
                let state = self.pids.entry(pid).or_default();
                state.counter = None;
                state.lose();
            }
            Ok(packet) if packet.pid != PID_NULL => self.legal_packet(&packet),
            Ok(_) => {}
        }
        self.report.packets += 1;
    }

    fn legal_packet(&mut self, packet: &Packet<'_>) {
        let pid = packet.pid;
        if self.report.packets == 0 && pid != PID_PAT && !is_skip(packet) {
            self.problem(pid, What::BeginsWithoutPat);
        }
        if packet.transport_error {
            self.problem(pid, What::TransportError);
        }
        if packet.scrambling != 0 {
            self.problem(pid, What::Scrambled);
        }
        self.continuity(packet);
        if let Some(adaptation) = packet.adaptation
            && let Some(pcr) = adaptation.pcr
        {
            self.clock(pid, pcr, adaptation.discontinuity);
        }
        let Some(payload) = packet.payload else {
            return;
        };
        if pid == PID_PAT || pid == PID_SDT || Some(pid) == self.pmt_pid() {
            self.sections(pid, packet.start, payload);
            return;
        }
        match self.content(pid) {
            Some(content) => self.stream(packet, payload, content),
            None if self.pmt.content.is_none() => self.problem(pid, What::PesBeforeTables),
            None => self.problem(pid, What::UnknownPid),
        }
    }

    fn continuity(&mut self, packet: &Packet<'_>) {
        let announced = packet.adaptation.is_some_and(|adaptation| adaptation.discontinuity);
        let state = self.pids.entry(packet.pid).or_default();
        let before = state.counter.replace(packet.counter);
        let Some(before) = before.filter(|_| !announced) else {
            return;
        };
        let expected = (before + u8::from(packet.payload.is_some())) % 16;
        if packet.counter != expected {
            state.lose();
            let found = packet.counter;
            self.problem(packet.pid, What::Continuity { expected, found });
        }
    }

    fn clock(&mut self, pid: u16, pcr: Pcr, announced: bool) {
        if self.pmt.content.as_ref().is_some_and(|pmt| pmt.pcr_pid != pid) {
            self.problem(pid, What::PcrElsewhere);
            return;
        }
        self.report.pcr_count += 1;
        let before = self.pcr.replace(pcr);
        if announced {
            self.report.discontinuities += 1;
            self.pids.values_mut().for_each(Pid::forget_time);
            return;
        }
        let Some(before) = before else {
            return;
        };
        let step = clock_difference(pcr, before);
        if step <= 0 {
            self.problem(
                pid,
                What::PcrBack {
                    ticks: step.unsigned_abs(),
                },
            );
            return;
        }
        self.time += step;
        let interval = micros(step);
        self.report.pcr_interval_micros_max = self.report.pcr_interval_micros_max.max(interval);
        if step > PCR_INTERVAL_MS_MAX * CLOCK_PER_MS {
            self.problem(pid, What::PcrLate { micros: interval });
        }
        self.tables_late();
    }

    fn tables_late(&mut self) {
        if self.tables_once {
            return;
        }
        let pmt_pid = self.pmt_pid().unwrap_or(PID_NULL);
        let late = [
            (self.pat.late(self.time), Table::Pat, PID_PAT),
            (self.pmt.late(self.time), Table::Pmt, pmt_pid),
            (self.sdt.late(self.time), Table::Sdt, PID_SDT),
        ];
        for (late, table, pid) in late {
            if let Some(micros) = late {
                self.problem(pid, What::TableLate { table, micros });
            }
        }
    }

    fn sections(&mut self, pid: u16, start: bool, payload: &[u8]) {
        let mut reader = std::mem::take(&mut self.pids.entry(pid).or_default().sections);
        let pushed = reader.push(start, payload, |section| self.section(pid, section));
        self.pids.entry(pid).or_default().sections = reader;
        if let Err(error) = pushed {
            self.problem(pid, What::Section(error));
        }
    }

    fn section(&mut self, pid: u16, section: &[u8]) {
        let time = self.time;
        let seen = match pid {
            PID_PAT => Pat::parse(section).map(|pat| (Table::Pat, self.pat.see(pat, time, |pat| pat.version))),
            PID_SDT => match section.first() {
                // other tables of the PID: SDT of another multiplex, BAT, stuffing
                Some(&super::wire::section::TABLE_SDT) => {
                    Sdt::parse(section).map(|sdt| (Table::Sdt, self.sdt.see(sdt, time, |sdt| sdt.version)))
                }
                _ => return,
            },
            _ => Pmt::parse(section).map(|pmt| {
                self.end_gone(&pmt);
                let seen = self.pmt.see(pmt, time, |pmt| pmt.version);
                (Table::Pmt, seen)
            }),
        };
        match seen {
            Err(error) => self.problem(pid, What::Section(error)),
            Ok((table, seen)) => {
                let longest = &mut self.report.table_interval_micros_max;
                *longest = (*longest).max(seen.interval_micros);
                if seen.same_version {
                    self.problem(pid, What::SameVersion(table));
                }
            }
        }
    }

    fn stream(&mut self, packet: &Packet<'_>, payload: &[u8], content: Content) {
        let pid = packet.pid;
        let index = self.report.packets;
        if packet.start {
            self.end_pes(pid, End::Next);
            let random_access = packet.adaptation.is_some_and(|adaptation| adaptation.random_access);
            self.begin(pid, content, random_access);
            let mut pes = Pes::new(index, random_access);
            pes.push(payload, self.pcr);
            self.pids.entry(pid).or_default().pes = Some(pes);
            return;
        }
        let pcr = self.pcr;
        let state = self.pids.entry(pid).or_default();
        match &mut state.pes {
            Some(pes) => pes.push(payload, pcr),
            None => self.problem(pid, What::PesWithoutStart),
        }
    }

    /// The first frame of the kind that viewers begin with.
    fn begin(&mut self, pid: u16, content: Content, random_access: bool) {
        if self.begun {
            return;
        }
        let streams = self.pmt.content.iter().flat_map(|pmt| &pmt.streams);
        let has_video = streams.map(Content::of).any(Content::is_video);
        if content.is_video() || !has_video {
            self.begun = true;
            if !random_access {
                self.problem(pid, What::BeginsWithoutRandomAccess);
            }
        }
    }

    fn end_pes(&mut self, pid: u16, end: End) {
        let Some(content) = self.content(pid) else {
            return;
        };
        let state = self.pids.entry(pid).or_default();
        let Some(pes) = state.pes.take() else {
            return;
        };
        let index = pes.packet_index;
        let missing = pes.missing();
        if end == End::Stream && missing > 0 && !pes.damaged {
            self.problem_at(index, pid, What::EndsInPes { missing });
            return;
        }
        let mut found = Vec::new();
        let (frames, dts) = pes.check(content, state.dts, |what| found.push(what));
        if !pes.old_base {
            state.dts = dts.or(state.dts);
        }
        found.into_iter().for_each(|what| self.problem_at(index, pid, what));
        if content.is_video() {
            self.report.video_frames += frames;
            self.report.video_access_points += u64::from(pes.random_access);
        } else if content.is_audio() {
            self.report.audio_frames += frames;
        }
    }

    /// PES packets of PIDs that the program no more has are whole.
    fn end_gone(&mut self, next: &Pmt) {
        let before = self
            .pmt
            .content
            .iter()
            .flat_map(|pmt| &pmt.streams)
            .map(|stream| stream.pid);
        let gone: Vec<u16> = before
            .filter(|&pid| next.streams.iter().all(|stream| stream.pid != pid))
            .collect();
        gone.into_iter().for_each(|pid| self.end_pes(pid, End::Next));
    }

    fn pmt_pid(&self) -> Option<u16> {
        let programs = &self.pat.content.as_ref()?.programs;
        programs.iter().find(|&&(program, _)| program != 0).map(|&(_, pid)| pid)
    }

    fn content(&self, pid: u16) -> Option<Content> {
        let streams = &self.pmt.content.as_ref()?.streams;
        streams.iter().find(|stream| stream.pid == pid).map(Content::of)
    }

    fn problem(&mut self, pid: u16, what: What) {
        self.problem_at(self.report.packets, pid, what);
    }

    fn problem_at(&mut self, packet_index: u64, pid: u16, what: What) {
        self.report.problem_count += 1;
        if self.report.problems.len() < CHECK_PROBLEMS_MAX {
            self.report.problems.push(Problem {
                packet_index,
                pid,
                what,
            });
        }
    }
}

impl Pid {
    fn lose(&mut self) {
        self.sections.lose();
        if let Some(pes) = &mut self.pes {
            pes.damaged = true;
        }
    }

    /// A new time base: what came before is not compared with what follows.
    fn forget_time(&mut self) {
        self.dts = None;
        if let Some(pes) = &mut self.pes {
            pes.old_base = true;
        }
    }
}

/// What a table says when it comes again.
struct Seen {
    interval_micros: u64,
    same_version: bool,
}

impl<T: PartialEq> Repeated<T> {
    fn see(&mut self, content: T, time: i64, version: impl Fn(&T) -> u8) -> Seen {
        let interval = self.seen.map_or(0, |seen| time - seen);
        let same_version = self
            .content
            .as_ref()
            .is_some_and(|before| *before != content && version(before) == version(&content));
        *self = Repeated {
            content: Some(content),
            seen: Some(time),
            late: false,
        };
        Seen {
            interval_micros: micros(interval),
            same_version,
        }
    }

    /// Once for every time it is late.
    fn late(&mut self, time: i64) -> Option<u64> {
        let interval = time - self.seen?;
        if self.late || interval <= TABLE_INTERVAL_MS_MAX * CLOCK_PER_MS {
            return None;
        }
        self.late = true;
        Some(micros(interval))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Next,
    Stream,
}

/// What a viewer that was moved gets before its join record.
fn is_skip(packet: &Packet<'_>) -> bool {
    packet.payload.is_none() && packet.adaptation.is_some_and(|adaptation| adaptation.discontinuity)
}

fn micros(ticks: i64) -> u64 {
    ticks.unsigned_abs() * 1000 / CLOCK_PER_MS as u64
}
