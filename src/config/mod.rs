//! The configuration file: MistServer's JSON (reference/mistserver-control.md section 2), read into what we act on.
//!
//! It is: as-written to as-used in one step, with every problem named by key, line and column, and every key of
//! MistServer's that has no effect yet as a warning. It is not: written back, watched or split; no I/O but
//! [`Config::load`] and the look-up of host names there.
//!
//! # Invariants
//! - Keys, meanings, defaults, units and bounds stand in `table.rs` only; the default file and the reference are printed
//!   from it.
//! - Unknown keys and values out of bounds are problems, never guessed; all are collected, up to
//!   [`limits::PROBLEMS_MAX`].
//! - A passphrase is in no message and in no `Debug`.

pub mod limits;

mod near;
mod problem;
mod read;
mod reader;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::Path;

use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use penstock_proto::rtsp::client;
use penstock_shard::fanout::{Pauses, Segmentation, ZeroCopy};

pub use problem::{Fault, Notice, Place, Problem, Warning, quoted};

use crate::memory::Wanted;
use crate::names::{Hosts, LookUp, PushRule, StreamName, ask_system};
use crate::shelf::{Naming, Newest};
use crate::tls;
use read::{connector_section, read_controller, read_listener, read_machine, read_top, read_udp_port};
use reader::{Opened, Reader};
use table::{Kind, Section, Setting};

/// A configuration as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub controller: Controller,
    pub listeners: Vec<Listener>,
    /// Certificates and keys of listeners that have some.
    pub certificates: Vec<Vec<tls::Pair>>,
    /// First UDP port of RTSP: each shard takes two from here up.
    pub udp_port: u16,
    pub multicast: Multicast,
    pub containers: Containers,
    pub fetched: Fetched,
    /// By base name.
    pub streams: BTreeMap<StreamName, Stream>,
    /// Host names of all push rules.
    pub hosts: Hosts,
    pub machine: Machine,
}

/// Where the control API will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    pub port: u16,
    pub interface: Interface,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// `[::]` for both families, or `0.0.0.0` where the machine has no IPv6.
    Every,
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    pub protocol: Protocol,
    pub port: u16,
    pub interface: Interface,
    /// It speaks TLS: the place of its pairs in [`Config::certificates`].
    pub certificates: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Rtmp,
    Rtsp,
}

/// How groups are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multicast {
    /// Unspecified: as the routes say.
    pub interface: Ipv4Addr,
    pub ttl: u8,
}

/// What HTTP listeners serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    /// `/NAME.flv`
    pub flv: bool,
    /// `/NAME.ts`
    pub ts: bool,
    /// `/NAME.mp4`
    pub mp4: bool,
    /// `/hls/NAME/…`
    pub hls: bool,
    /// `/cmaf/NAME/…`
    pub cmaf: bool,
    /// `/dynamic/NAME/…`
    pub hds: bool,
}

/// How what is fetched piece by piece is listed and cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// `listlimit` of HLS, segments; 0: all.
    pub ts_list_max: u32,
    /// `listlimit` of CMAF.
    pub cmaf_list_max: u32,
    /// About how long a part lasts.
    pub part_millis: u32,
    pub newest: Newest,
    pub naming: Naming,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub source: Source,
    /// `DVR`
    pub window_millis: u32,
    /// `segmentsize`
    pub segment_millis: u32,
    /// `maxkeepaway`
    pub keepaway_millis: u32,
    pub grace_millis: u32,
    pub resume: Resume,
    pub input_timeout_seconds: u32,
    pub second_publisher: SecondPublisher,
    /// Of a source by TLS.
    pub tls_trust: tls::Trust,
    /// Group and RTP's port of the first track; the next ones are the others'.
    pub multicast: Option<SocketAddrV4>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Push(PushRule),
    Pull(Pull),
    /// A kind that is not supported: the stream stays offline.
    Unsupported,
}

/// A source that the server fetches: a camera, an encoder, another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    pub address: client::Address,
    pub transport: client::Preference,
    /// Whether or not anybody watches.
    pub always_on: bool,
}

impl Pull {
    pub fn is_by_tls(&self) -> bool {
        self.address.security == client::Security::Tls
    }
}

/// What a returning publisher finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    Keep,
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondPublisher {
    Refuse,
    Replace,
}

/// `config.penstock`: what this machine gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `None`: every core that the process may use.
    pub shards: Option<u16>,
    pub memory: Wanted,
    pub connections_max: u32,
    /// `None`: as many as there is room for.
    pub connections_per_address_max: Option<u32>,
    pub lag_max_millis: u32,
    pub lookup_interval_seconds: u32,
    pub pauses: Pauses,
    pub stall_max_millis: u32,
    /// `shard_share`: load of a shard from which on streams take another one, µs of CPU time a second.
    pub shard_share_micros: u64,
    pub zero_copy: ZeroCopy,
    pub segmentation: Segmentation,
    /// Pages as large as blocks, where the kernel may.
    pub huge_pages: bool,
    /// 0 for no bound.
    pub max_pacing_percent: u16,
}

/// A configuration that can be started, with what in its file has no effect.
pub type Checked = (Config, Vec<Warning>);

impl Config {
    /// Reads a file and looks up the host names of its push rules. Blocks, some seconds at most: for the control thread.
    ///
    /// # Errors
    /// Everything that is wrong with the file, in its order.
    pub fn load(path: &Path) -> Result<Checked, Vec<Problem>> {
        let file = path.display().to_string();
        let text = read_text(path).map_err(|fault| {
            let place = Place {
                file: file.clone(),
                line: 1,
                column: 1,
                path: String::new(),
            };
            vec![Problem { place, fault }]
        })?;
        Config::read(&text, &file, Some(ask_system))
    }

    /// Reads the text of a file called `file`. Host names stay unresolved and match nobody.
    ///
    /// # Errors
    /// As [`load`](Config::load).
    pub fn parse(text: &str, file: &str) -> Result<Checked, Vec<Problem>> {
        Config::read(text, file, None)
    }

    fn read(text: &str, file: &str, look_up: Option<LookUp>) -> Result<Checked, Vec<Problem>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::new(file, text);
        let config = match parse_to_ast(text, &CollectOptions::default(), &STRICT_JSON) {
            Ok(parsed) => read_top(&mut reader, parsed.value.as_ref(), look_up),
            Err(error) => {
                reader.problem(
                    error.range(),
                    "",
                    Fault::Syntax {
                        words: error.kind().to_string(),
                    },
                );
                Config::default()
            }
        };
        let Reader {
            mut problems,
            mut warnings,
            ..
        } = reader;
        problems.sort_by_key(|problem| problem.place.order());
        warnings.sort_by_key(|warning| warning.place.order());
        if problems.is_empty() {
            Ok((config, warnings))
        } else {
            Err(problems)
        }
    }

    /// The file that says what an absent key means, with one listener of each kind that needs no files, and no stream.
    pub fn default_json() -> String {
        let needs_files = |name: &&&str| {
            let settings = connector_section(name).settings;
            settings.iter().any(|setting| matches!(setting.kind, Kind::Paths))
        };
        let names = table::SUPPORTED_CONNECTORS.iter().filter(|name| !needs_files(name));
        let connectors = names.map(|name| {
            let settings: String = connector_section(name)
                .settings
                .iter()
                .map(|setting| format!(", {}", line(setting)))
                .collect();
            format!("      {{\"connector\": \"{name}\"{settings}}}")
        });
        let block = |section: &Section| {
            let lines: Vec<_> = section
                .settings
                .iter()
                .map(|setting| format!("      {}", line(setting)))
                .collect();
            lines.join(",\n")
        };
        format!(
            "{{\n  \"config\": {{\n    \"controller\": {{\n{}\n    }},\n    \"protocols\": [\n{}\n    ],\n    \
             \"penstock\": {{\n{}\n    }}\n  }},\n  \"streams\": {{}}\n}}\n",
            block(&table::CONTROLLER),
            connectors.collect::<Vec<_>>().join(",\n"),
            block(&table::PENSTOCK),
        )
    }

    /// Every value with its meaning, default and bounds, for the operator.
    pub fn reference() -> String {
        let mut out = String::new();
        for section in table::SECTIONS {
            let _infallible = writeln!(out, "{}", section.place);
            for setting in section.settings {
                let _infallible = writeln!(out, "  {:<17} {}; {}", setting.key, bounds(setting), setting.doc);
            }
        }
        out
    }
}

impl Default for Config {
    /// What [`Config::default_json`] says.
    fn default() -> Self {
        let listener = |protocol, section| read_listener(protocol, &Opened::of_defaults(section));
        Config {
            controller: read_controller(&Opened::of_defaults(&table::CONTROLLER)),
            listeners: vec![
                listener(Protocol::Http, &table::HTTP),
                listener(Protocol::Rtmp, &table::RTMP),
                listener(Protocol::Rtsp, &table::RTSP),
            ],
            certificates: Vec::new(),
            udp_port: read_udp_port(&Opened::of_defaults(&table::RTSP)),
            multicast: Multicast::of(&Opened::of_defaults(&table::RTSP)),
            containers: Containers {
                flv: true,
                ts: true,
                mp4: true,
                hls: true,
                cmaf: true,
                hds: true,
            },
            fetched: Fetched::default(),
            streams: BTreeMap::new(),
            hosts: Hosts::default(),
            machine: read_machine(&Opened::of_defaults(&table::PENSTOCK)),
        }
    }
}

/// JSON as RFC 8259 has it: what MistServer and every other tool read the same way.
const STRICT_JSON: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn read_text(path: &Path) -> Result<String, Fault> {
    let unreadable = |error: std::io::Error| Fault::Unreadable { kind: error.kind() };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limits::FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limits::FILE_BYTES_MAX {
        return Err(Fault::FileTooLarge {
            bytes_max: limits::FILE_BYTES_MAX,
        });
    }
    String::from_utf8(bytes).map_err(|error| Fault::NotUtf8 {
        offset: error.utf8_error().valid_up_to(),
    })
}

/// `"key": default`.
fn line(setting: &Setting) -> String {
    let key = setting.key;
    match setting.kind {
        Kind::Integer { default, .. } => format!("\"{key}\": {default}"),
        Kind::IntegerOrFound { .. } => format!("\"{key}\": 0"),
        Kind::Switch { default } => format!("\"{key}\": {default}"),
        Kind::Trust => format!("\"{key}\": \"system\""),
        Kind::Paths => format!("\"{key}\": []"),
        Kind::Address { default } | Kind::Choice { default, .. } => format!("\"{key}\": \"{default}\""),
    }
}

fn bounds(setting: &Setting) -> String {
    match setting.kind {
        Kind::Integer {
            default,
            min,
            max,
            unit: "",
        } => format!("{default} ({min} to {max})"),
        Kind::Integer {
            default,
            min,
            max,
            unit,
        } => format!("{default} {unit} ({min} to {max})"),
        Kind::IntegerOrFound { min, max, unit } => format!("0 {unit} (or {min} to {max})"),
        Kind::Switch { default } => default.to_string(),
        Kind::Trust => "system (or sha256: and a certificate's fingerprint, or anyone)".to_owned(),
        Kind::Paths => "required (a path, or a list of paths)".to_owned(),
        Kind::Address { default } => format!("{default:?}"),
        Kind::Choice { default, choices } => format!("{default} (of {})", choices.join(", ")),
    }
}

#[cfg(test)]
mod tests;
