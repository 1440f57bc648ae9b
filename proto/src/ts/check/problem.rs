//! What the checker can find.

use std::fmt;

use crate::ts::Error;

/// Something wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 0; of a PES packet's own faults the packet it begins in.
    pub packet_index: u64,
    pub pid: u16,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Pat,
    Pmt,
    Sdt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A packet's head or adaptation field is illegal: sync byte, lengths, stuffing.
    Packet(Error),
    /// `transport_error_indicator`
    TransportError,
    Scrambled,
    Continuity {
        expected: u8,
        found: u8,
    },
    /// A section is illegal or its CRC is wrong.
    Section(Error),
    TableMissing(Table),
    /// Not repeated within the time allowed.
    TableLate {
        table: Table,
        micros: u64,
    },
    /// The content of a table changed and its version did not.
    SameVersion(Table),
    /// The stream does not begin with a PAT.
    BeginsWithoutPat,
    /// A PES packet before the PAT and the PMT that tell of it.
    PesBeforeTables,
    /// A payload on a PID that no table names.
    UnknownPid,
    PcrMissing,
    /// On a PID that the PMT does not name as PCR_PID.
    PcrElsewhere,
    PcrLate {
        micros: u64,
    },
    /// Not greater than the one before, in ticks of 27 MHz.
    PcrBack {
        ticks: u64,
    },
    /// The first picture (in an audio-only program: the first frame) is not marked as a random access point.
    BeginsWithoutRandomAccess,
    PesHead(Error),
    /// PES_packet_length 0 outside video.
    PesUnbounded,
    PesLength {
        stated: usize,
        found: usize,
    },
    /// A payload continues a PES packet that never began.
    PesWithoutStart,
    StampMissing,
    PtsBeforeDts {
        ticks: u64,
    },
    DtsBack {
        ticks: u64,
    },
    /// All of a frame must have come when its DTS is reached.
    DtsBehindPcr {
        micros: u64,
    },
    DtsFarAhead {
        micros: u64,
    },
    /// A picture that does not begin with an access unit delimiter.
    DelimiterMissing,
    DelimiterRepeated {
        count: usize,
    },
    /// The bytes at `offset` of the elementary stream in a PES packet are no whole ADTS frame.
    Adts {
        offset: usize,
    },
    /// The stream ends inside a packet.
    EndsInPacket {
        bytes: usize,
    },
    /// The stream ends inside a PES packet.
    EndsInPes {
        missing: usize,
    },
    /// More PIDs than the checker keeps a state for.
    TooManyPids,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet {}, PID {:#x}: {}", self.packet_index, self.pid, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            What::Packet(error) => write!(f, "{error}"),
            What::TransportError => write!(f, "transport_error_indicator is set"),
            What::Scrambled => write!(f, "scrambled"),
            What::Continuity { expected, found } => {
                write!(f, "continuity_counter is {found} where {expected} is due")
            }
            What::Section(error) => write!(f, "section: {error}"),
            What::TableMissing(table) => write!(f, "no {table:?}"),
            What::TableLate { table, micros } => write!(f, "{table:?} not repeated for {micros} us"),
            What::SameVersion(table) => write!(f, "{table:?} changed without a new version"),
            What::BeginsWithoutPat => write!(f, "stream does not begin with a PAT"),
            What::PesBeforeTables => write!(f, "PES packet before PAT and PMT"),
            What::UnknownPid => write!(f, "payload on a PID that no table names"),
            What::PcrMissing => write!(f, "no PCR"),
            What::PcrElsewhere => write!(f, "PCR on another PID than PCR_PID"),
            What::PcrLate { micros } => write!(f, "no PCR for {micros} us"),
            What::PcrBack { ticks } => write!(f, "PCR falls by {ticks} ticks of 27 MHz or stands"),
            What::BeginsWithoutRandomAccess => write!(f, "stream does not begin with a random access point"),
            What::PesHead(error) => write!(f, "PES head: {error}"),
            What::PesUnbounded => write!(f, "PES_packet_length is 0 outside video"),
            What::PesLength { stated, found } => {
                write!(f, "PES packet has {found} bytes of payload and states {stated}")
            }
            What::PesWithoutStart => write!(f, "payload before the start of a PES packet"),
            What::StampMissing => write!(f, "PES packet without PTS"),
            What::PtsBeforeDts { ticks } => write!(f, "PTS is {ticks} ticks before DTS"),
            What::DtsBack { ticks } => write!(f, "DTS falls by {ticks} ticks of 90 kHz"),
            What::DtsBehindPcr { micros } => write!(f, "DTS is {micros} us behind the PCR"),
            What::DtsFarAhead { micros } => write!(f, "DTS is {micros} us ahead of the PCR"),
            What::DelimiterMissing => write!(f, "no access unit delimiter first"),
            What::DelimiterRepeated { count } => write!(f, "{count} access unit delimiters"),
            What::Adts { offset } => write!(f, "no whole ADTS frame at byte {offset}"),
            What::EndsInPacket { bytes } => write!(f, "stream ends {bytes} bytes into a packet"),
            What::EndsInPes { missing } => write!(f, "stream ends {missing} bytes before the end of a PES packet"),
            What::TooManyPids => write!(f, "too many PIDs"),
        }
    }
}
