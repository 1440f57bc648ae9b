//! The top of the file, connectors and streams: from the tables' values to what is used.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::{Range, Ranged};
use penstock_proto::rtsp::client;
use penstock_shard::fanout::{Pause, Pauses, Segmentation, ZeroCopy};

use super::near::nearest;
use super::reader::{Opened, Reader, join, kind_of};
use super::table::{self, Section};
use super::{
    Config, Containers, Controller, Fault, Fetched, Interface, Listener, Machine, Multicast, Notice, Protocol, Pull,
    Resume, SecondPublisher, Source, Stream, limits, quoted,
};
use crate::limits::{CERTIFICATES_MAX, RTSP_LANES_MAX};
use crate::memory::Wanted;
use crate::names::{Hosts, LookUp, Openness, PushRule, RuleError, StreamName};
use crate::shelf::{Naming, Newest};
use crate::tls::{self, Certificates, Pair, Which};

pub(super) fn read_top<'t>(reader: &mut Reader<'t>, value: Option<&Value<'t>>, look_up: Option<LookUp>) -> Config {
    let mut config = Config {
        listeners: Vec::new(),
        containers: Containers::default(),
        ..Config::default()
    };
    let whole = Range { start: 0, end: 0 };
    let Some(value) = value else {
        reader.problem(
            whole,
            "",
            Fault::Syntax {
                words: "the file is empty".to_owned(),
            },
        );
        return config;
    };
    let Value::Object(object) = value else {
        reader.problem(
            value.range(),
            "",
            Fault::WrongType {
                expected: "an object",
                found: kind_of(value),
            },
        );
        return config;
    };
    let top = reader.open(&table::TOP, object, "");
    if let Some(object) = top.inner("config").and_then(|value| reader.object(value, "config")) {
        let section = reader.open(&table::CONFIG, object, "config");
        if let Some(value) = section.inner("controller")
            && let Some(object) = reader.object(value, "config.controller")
        {
            config.controller = read_controller(&reader.open(&table::CONTROLLER, object, "config.controller"));
            reader.warn(value.range(), "config.controller", Notice::ApiNotServed);
        }
        if let Some(value) = section.inner("protocols") {
            read_protocols(reader, value, &mut config, look_up);
        }
        if let Some(object) = section
            .inner("penstock")
            .and_then(|value| reader.object(value, "config.penstock"))
        {
            config.machine = read_machine(&reader.open(&table::PENSTOCK, object, "config.penstock"));
            check_pacing(reader, object, config.machine.max_pacing_percent.into());
        }
    }
    if let Some(value) = top.inner("streams") {
        read_streams(reader, value, &mut config, look_up);
    }
    if config.listeners.is_empty() {
        reader.warn(whole, "config.protocols", Notice::NothingListens);
    }
    config
}

fn read_protocols<'t>(reader: &mut Reader<'t>, value: &Value<'t>, config: &mut Config, look_up: Option<LookUp>) {
    let path = "config.protocols";
    let list = match value {
        Value::Array(list) => list,
        Value::NullKeyword(_) => return,
        other => {
            let fault = Fault::WrongType {
                expected: "a list",
                found: kind_of(other),
            };
            return reader.problem(other.range(), path, fault);
        }
    };
    let mut listening_lines = Vec::new();
    let mut containers = Vec::new();
    for (index, element) in list.elements.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let (connector, opened) = match read_connector(reader, element, &path) {
            Some(Connector::Ours(connector, opened)) => (connector, opened),
            Some(Connector::PartOf(connector, range)) => {
                containers.push((connector, range, path));
                continue;
            }
            None => continue,
        };
        let protocol = match connector {
            "HTTP" => Protocol::Http,
            "RTMP" => Protocol::Rtmp,
            "RTSP" | "RTSPS" => Protocol::Rtsp,
            container => {
                match container {
                    "HLS" => config.fetched.ts_list_max = bounded(opened.integer("listlimit")),
                    "CMAF" => config.fetched.read_cmaf(&opened),
                    _ => {}
                }
                containers.push((container, opened.range, path));
                continue;
            }
        };
        if connector == "RTSP" {
            config.udp_port = read_udp_port(&opened);
            config.multicast = Multicast::of(&opened);
            if let Some(found) = opened.address("multicastinterface").filter(|found| !found.is_ipv4()) {
                reader.problem(
                    opened.range,
                    &join(&path, "multicastinterface"),
                    Fault::NotIpv4 { found },
                );
            }
        }
        let mut listener = read_listener(protocol, &opened);
        if connector == "RTSPS" {
            listener.certificates = Some(config.certificates.len());
            config.certificates.push(read_certificates(reader, &opened, look_up));
        }
        let line = reader.line(opened.range.start);
        let clash = config
            .listeners
            .iter()
            .zip(&listening_lines)
            .find(|(other, _)| listener.clashes_with(other));
        if let Some((_, &first_line)) = clash {
            let fault = Fault::PortTaken {
                port: listener.port,
                first_line,
            };
            reader.problem(opened.range, &join(&path, "port"), fault);
        } else if config.listeners.len() == limits::LISTENERS_MAX {
            let listeners_max = limits::LISTENERS_MAX;
            return reader.problem(opened.range, &path, Fault::TooManyListeners { listeners_max });
        }
        listening_lines.push(line);
        config.listeners.push(listener);
    }
    let has_http = config
        .listeners
        .iter()
        .any(|listener| listener.protocol == Protocol::Http);
    for (connector, range, path) in containers {
        match connector {
            "FLV" => config.containers.flv = true,
            "HTTPTS" => config.containers.ts = true,
            "HLS" => config.containers.hls = true,
            "CMAF" => config.containers.cmaf = true,
            "HDS" => config.containers.hds = true,
            _ => config.containers.mp4 = true,
        }
        if !has_http {
            reader.warn(range, &path, Notice::NoHttp { connector });
        }
    }
}

enum Connector<'v, 't> {
    Ours(&'static str, Opened<'v, 't>),
    /// Of this one, under an old name.
    PartOf(&'static str, Range),
}

/// One entry of the list of connectors, when it is one that we have.
fn read_connector<'v, 't>(reader: &mut Reader<'t>, element: &'v Value<'t>, path: &str) -> Option<Connector<'v, 't>> {
    let Value::Object(object) = element else {
        let fault = Fault::WrongType {
            expected: "an object",
            found: kind_of(element),
        };
        reader.problem(element.range(), path, fault);
        return None;
    };
    let key = join(path, "connector");
    let Some(property) = object.get("connector") else {
        // A mistyped "connector" is more help than a missing one.
        let wrong = object
            .properties
            .iter()
            .find(|property| nearest(property.name.as_str(), ["connector"].into_iter()).is_some());
        match wrong {
            Some(wrong) => {
                let path = join(path, wrong.name.as_str());
                reader.problem(
                    wrong.range,
                    &path,
                    Fault::UnknownKey {
                        near: Some("connector"),
                    },
                );
            }
            None => reader.problem(object.range, &key, Fault::Missing),
        }
        return None;
    };
    let Value::StringLit(name) = &property.value else {
        let fault = Fault::WrongType {
            expected: "text",
            found: kind_of(&property.value),
        };
        reader.problem(property.value.range(), &key, fault);
        return None;
    };
    let known = |names: &'static [&'static str]| names.iter().copied().find(|known| *known == name.value);
    if let Some(connector) = known(table::SUPPORTED_CONNECTORS) {
        let opened = reader.open(connector_section(connector), object, path);
        return Some(Connector::Ours(connector, opened));
    }
    if let Some((connector, is_part_of)) = table::OLD_CONNECTORS.iter().find(|(old, _)| *old == name.value) {
        reader.warn(object.range, path, Notice::OldConnector { connector, is_part_of });
        return Some(Connector::PartOf(is_part_of, object.range));
    }
    if let Some(connector) = known(table::OTHER_CONNECTORS) {
        reader.warn(object.range, path, Notice::UnsupportedConnector { connector });
        return None;
    }
    let names = table::SUPPORTED_CONNECTORS
        .iter()
        .chain(table::OTHER_CONNECTORS)
        .copied();
    let fault = Fault::UnknownConnector {
        name: quoted(&name.value),
        near: nearest(&name.value, names),
    };
    reader.problem(name.range, &key, fault);
    None
}

pub(super) fn connector_section(connector: &str) -> &'static Section {
    match connector {
        "HTTP" => &table::HTTP,
        "RTMP" => &table::RTMP,
        "RTSP" => &table::RTSP,
        "RTSPS" => &table::RTSPS,
        "HLS" => &table::HLS,
        "CMAF" => &table::CMAF,
        _ => &table::CONTAINER,
    }
}

fn read_streams<'t>(reader: &mut Reader<'t>, value: &Value<'t>, config: &mut Config, look_up: Option<LookUp>) {
    let Some(object) = reader.object(value, "streams") else {
        return;
    };
    let streams_max = limits::STREAMS_MAX;
    if object.properties.len() > streams_max {
        return reader.problem(object.range, "streams", Fault::TooManyStreams { streams_max });
    }
    // Host names with their places: all are asked for together, at the end.
    let mut names = Vec::new();
    let mut lines = HashMap::new();
    let mut groups = Groups::default();
    for property in reader.properties(object, "streams") {
        let path = join("streams", property.name.as_str());
        let line = reader.line(property.range.start);
        let name = match stream_name(property.name.as_str(), line, &mut lines) {
            Ok(name) => name,
            Err(fault) => {
                reader.problem(property.range, &path, fault);
                continue;
            }
        };
        let Value::Object(object) = &property.value else {
            let fault = Fault::WrongType {
                expected: "an object",
                found: kind_of(&property.value),
            };
            reader.problem(property.value.range(), &path, fault);
            continue;
        };
        let opened = reader.open(&table::STREAM, object, &path);
        if let Some(stream) = read_stream(reader, &opened) {
            if let (Source::Push(rule), Some(source)) = (&stream.source, opened.inner("source")) {
                names.extend(
                    rule.names()
                        .map(|name| (name.to_owned(), source.range(), join(&path, "source"))),
                );
            }
            if let Some(found) = opened.address("multicast") {
                let fault = match stream.multicast {
                    Some(group) => groups.take(group, line),
                    None => Some(Fault::NotAGroup { found }),
                };
                if let Some(fault) = fault {
                    reader.problem(opened.range, &join(&path, "multicast"), fault);
                }
            }
            config.streams.insert(name, stream);
        }
    }
    config.hosts = Hosts::of(names.iter().map(|(name, ..)| name.as_str()));
    let Some(look_up) = look_up else { return };
    config.hosts.look_up(look_up);
    for (name, range, path) in names {
        if config.hosts.is_unknown(&name) {
            reader.warn(range, &path, Notice::Unresolved { name });
        }
    }
}

/// The key of a stream, which must be the base name that it is looked up by. `lines` are those of the keys before it, by
/// what they stand for.
fn stream_name(key: &str, line: usize, lines: &mut HashMap<StreamName, usize>) -> Result<StreamName, Fault> {
    let name = StreamName::sanitise(key).map_err(Fault::Name)?.name;
    if name.wildcard().is_some() {
        return Err(Fault::WildcardConfigured {
            base: name.base().to_owned(),
        });
    }
    let sanitised = name.as_str().to_owned();
    match lines.entry(name.clone()) {
        Entry::Occupied(first) => Err(Fault::SameStream {
            sanitised,
            first_line: *first.get(),
        }),
        Entry::Vacant(place) => {
            place.insert(line);
            match sanitised == key {
                true => Ok(name),
                false => Err(Fault::NotTheNameItself { sanitised }),
            }
        }
    }
}

fn read_stream<'t>(reader: &mut Reader<'t>, opened: &Opened<'_, 't>) -> Option<Stream> {
    let path = join(&opened.path, "source");
    let source = match opened.inner("source") {
        Some(Value::StringLit(text)) if is_pulled(&text.value) => match client::Address::parse(&text.value) {
            Ok(address) => Source::Pull(Pull {
                address,
                transport: match opened.choice("transport") {
                    "tcp" | "TCP" => client::Preference::Tcp,
                    "udp" | "UDP" => client::Preference::Udp,
                    _ => client::Preference::Auto,
                },
                always_on: opened.switch("always_on"),
            }),
            Err(error) => {
                reader.problem(text.range, &path, Fault::Address(error));
                return None;
            }
        },
        Some(Value::StringLit(text)) => match PushRule::parse(&text.value) {
            Ok(rule) => {
                if rule.openness() == Openness::Anyone {
                    reader.warn(text.range, &path, Notice::AnyoneMayPush);
                }
                Source::Push(rule)
            }
            Err(RuleError::Scheme) => {
                reader.warn(text.range, &path, Notice::UnsupportedSource);
                Source::Unsupported
            }
            Err(error) => {
                reader.problem(text.range, &path, Fault::PushRule(error));
                return None;
            }
        },
        None if opened.is_mistyped("source") => return None,
        None | Some(Value::NullKeyword(_)) => {
            reader.problem(opened.range, &path, Fault::Missing);
            return None;
        }
        Some(other) => {
            let fault = Fault::WrongType {
                expected: "text",
                found: kind_of(other),
            };
            reader.problem(other.range(), &path, fault);
            return None;
        }
    };
    let stream = Stream::of(source, opened);
    if stream.tls_trust == tls::Trust::Anyone {
        reader.warn(opened.range, &join(&opened.path, "tls_trust"), Notice::TrustsAnyone);
    }
    Some(stream)
}

fn is_pulled(source: &str) -> bool {
    let scheme = source
        .trim()
        .split("://")
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    scheme == "rtsp" || scheme == "rtsps"
}

impl Stream {
    /// A stream of a push rule with every default.
    pub fn push(rule: PushRule) -> Stream {
        Stream::of(Source::Push(rule), &Opened::of_defaults(&table::STREAM))
    }

    fn of(source: Source, opened: &Opened<'_, '_>) -> Stream {
        Stream {
            source,
            window_millis: bounded(opened.integer("DVR")),
            segment_millis: bounded(opened.integer("segmentsize")),
            keepaway_millis: bounded(opened.integer("maxkeepaway")),
            grace_millis: bounded(opened.integer("grace")),
            resume: if opened.switch("resume") {
                Resume::Keep
            } else {
                Resume::Empty
            },
            input_timeout_seconds: bounded(opened.integer("inputtimeout")),
            second_publisher: match opened.choice("second_publisher") {
                "replace" => SecondPublisher::Replace,
                _ => SecondPublisher::Refuse,
            },
            tls_trust: opened.trust("tls_trust"),
            multicast: opened.address("multicast").and_then(|group| {
                let port = bounded(opened.integer("multicastport"));
                Some(SocketAddrV4::new(group_of(group)?, port))
            }),
        }
    }
}

impl Multicast {
    pub(super) fn of(opened: &Opened<'_, '_>) -> Multicast {
        let interface = match opened.address("multicastinterface") {
            Some(IpAddr::V4(interface)) => interface,
            Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
        };
        Multicast {
            interface,
            ttl: bounded(opened.integer("multicastttl")),
        }
    }
}

/// Groups of a stream's tracks, with the lines that they stand in.
#[derive(Default)]
struct Groups {
    taken: BTreeMap<u32, usize>,
}

impl Groups {
    /// A stream has the groups from this one on; a fault when one of them is another's.
    fn take(&mut self, first: SocketAddrV4, line: usize) -> Option<Fault> {
        let first = first.ip().to_bits();
        let near = first.saturating_sub(GROUPS - 1)..first + GROUPS;
        let clash = self.taken.range(near).next();
        let fault = clash.map(|(other, first_line)| Fault::GroupTaken {
            group: Ipv4Addr::from_bits(first.max(*other)),
            first_line: *first_line,
        });
        self.taken.insert(first, line);
        fault
    }
}

/// A stream's, one for each track.
const GROUPS: u32 = RTSP_LANES_MAX as u32;

/// A group that routers know, and so many behind it.
fn group_of(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V4(group) = address else { return None };
    let last = Ipv4Addr::from_bits(group.to_bits().saturating_add(GROUPS));
    let is_network = group.octets()[..3] == [224, 0, 0];
    (group.is_multicast() && last.is_multicast() && !is_network).then_some(group)
}

impl Fetched {
    fn read_cmaf(&mut self, opened: &Opened<'_, '_>) {
        self.cmaf_list_max = bounded(opened.integer("listlimit"));
        self.part_millis = bounded(opened.integer("part_millis"));
        self.newest = match opened.choice("hls_parts") {
            "none" => Newest::Segments,
            "ranges" => Newest::Ranges,
            _ => Newest::Parts,
        };
        self.naming = match opened.choice("dash_naming") {
            "number" => Naming::Number,
            _ => Naming::Timeline,
        };
    }
}

impl Default for Fetched {
    fn default() -> Self {
        let mut fetched = Fetched {
            ts_list_max: 0,
            cmaf_list_max: 0,
            part_millis: 0,
            newest: Newest::Parts,
            naming: Naming::Timeline,
        };
        fetched.read_cmaf(&Opened::of_defaults(&table::CMAF));
        fetched
    }
}

impl Listener {
    /// Whether both cannot be bound at once.
    fn clashes_with(&self, other: &Listener) -> bool {
        // 0 is any free port, another one for each.
        if self.port == 0 {
            return false;
        }
        let same_address = match (self.interface, other.interface) {
            (Interface::Address(one), Interface::Address(two)) => {
                let wide = one.is_unspecified() || two.is_unspecified();
                one == two || wide && one.is_ipv4() == two.is_ipv4()
            }
            (Interface::Every, _) | (_, Interface::Every) => true,
        };
        self.port == other.port && same_address
    }
}

pub(super) fn read_controller(opened: &Opened<'_, '_>) -> Controller {
    Controller {
        port: bounded(opened.integer("port")),
        interface: read_interface(opened),
    }
}

pub(super) fn read_listener(protocol: Protocol, opened: &Opened<'_, '_>) -> Listener {
    Listener {
        protocol,
        port: bounded(opened.integer("port")),
        interface: read_interface(opened),
        certificates: None,
    }
}

/// The pairs of a listener. Their files are looked at where anything outside the configuration is.
fn read_certificates(reader: &mut Reader<'_>, opened: &Opened<'_, '_>, look_up: Option<LookUp>) -> Vec<Pair> {
    let (certificates, keys) = (opened.paths("cert"), opened.paths("key"));
    let mut is_missing = false;
    for (key, paths) in [("cert", certificates), ("key", keys)] {
        if paths.is_empty() && !opened.is_mistyped(key) {
            reader.problem(opened.range, &join(&opened.path, key), Fault::Missing);
            is_missing = true;
        }
    }
    let pair = |((_, certificate), (_, key)): (&(Range, String), &(Range, String))| Pair {
        certificate: certificate.into(),
        key: key.into(),
    };
    let pairs: Vec<Pair> = certificates.iter().zip(keys).map(pair).collect();
    if is_missing || pairs.is_empty() {
        return pairs;
    }
    let path = join(&opened.path, "cert");
    if certificates.len() != keys.len() {
        let (certificates, keys) = (certificates.len(), keys.len());
        reader.problem(opened.range, &path, Fault::Unpaired { certificates, keys });
    } else if pairs.len() > CERTIFICATES_MAX {
        reader.problem(opened.range, &path, Fault::TooManyCertificates);
    } else if look_up.is_some() {
        look_at_files(reader, opened, &pairs);
    }
    pairs
}

fn look_at_files(reader: &mut Reader<'_>, opened: &Opened<'_, '_>, pairs: &[Pair]) {
    let place_of = |key: &str, place: usize| {
        let (range, file) = &opened.paths(key)[place];
        (*range, format!("{}[{place}]", join(&opened.path, key)), quoted(file))
    };
    match Certificates::load(pairs) {
        Err((place, which, error)) => {
            let key = if which == Which::Key { "key" } else { "cert" };
            let (range, path, file) = place_of(key, place);
            reader.problem(range, &path, Fault::Certificate { file, error });
        }
        Ok(loaded) => {
            for (place, validity) in loaded.validities().enumerate() {
                if let Some(why) = tls::outside(validity, tls::now()) {
                    let (range, path, file) = place_of("cert", place);
                    reader.warn(range, &path, Notice::CertificateTimes { file, why });
                }
            }
        }
    }
}

pub(super) fn read_udp_port(opened: &Opened<'_, '_>) -> u16 {
    bounded(opened.integer("udpport"))
}

fn read_interface(opened: &Opened<'_, '_>) -> Interface {
    opened.address("interface").map_or(Interface::Every, Interface::Address)
}

/// 0 is no bound; what is left of the range below the least would starve viewers.
fn check_pacing<'t>(reader: &mut Reader<'t>, object: &Object<'t>, percent: u64) {
    let min = limits::MAX_PACING_MIN;
    if (1..min).contains(&percent)
        && let Some(property) = object.get("max_pacing")
    {
        let fault = Fault::OutOfRange {
            found: percent.to_string(),
            min,
            max: 1_000,
            unit: "%",
        };
        reader.problem(property.value.range(), "config.penstock.max_pacing", fault);
    }
}

pub(super) fn read_machine(opened: &Opened<'_, '_>) -> Machine {
    Machine {
        shards: Some(bounded(opened.integer("shards"))).filter(|shards| *shards > 0),
        memory: match opened.integer("memory_bytes") {
            0 => Wanted::Default,
            bytes => Wanted::Configured(bytes),
        },
        connections_max: bounded(opened.integer("connections_max")),
        connections_per_address_max: Some(bounded(opened.integer("connections_per_address_max")))
            .filter(|max| *max > 0),
        lag_max_millis: bounded(opened.integer("lag_max")),
        pauses: Pauses {
            interactive: read_pause(opened, "interactive_pause_min", "interactive_pause_max"),
            buffered: read_pause(opened, "buffered_pause_min", "buffered_pause_max"),
        },
        lookup_interval_seconds: bounded(opened.integer("lookup_interval")),
        stall_max_millis: bounded(opened.integer("stall_max")),
        shard_share_micros: opened.integer("shard_share") * 10_000,
        huge_pages: opened.choice("huge_pages") == "auto",
        zero_copy: match opened.choice("zero_copy") {
            "on" => ZeroCopy::On,
            "off" => ZeroCopy::Off,
            _ => ZeroCopy::Auto,
        },
        segmentation: match opened.choice("datagram_segmentation") {
            "off" => Segmentation::Off,
            _ => Segmentation::Auto,
        },
        max_pacing_percent: bounded(opened.integer("max_pacing")),
    }
}

/// A minimum above the maximum pins the pause to itself.
fn read_pause(opened: &Opened<'_, '_>, min: &str, max: &str) -> Pause {
    let (min, max) = (opened.integer(min) * 1000, opened.integer(max) * 1000);
    Pause { min, max: max.max(min) }
}

/// A number in the type that its bound in the table fits.
fn bounded<Narrow: TryFrom<u64>>(number: u64) -> Narrow {
    Narrow::try_from(number)
        .ok()
        .expect("the table's maximum fits the type")
}
