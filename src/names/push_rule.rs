//! `push://[host][@passphrase]` (reference/mistserver-control.md section 5.5 b), with several hosts and CIDRs between
//! commas as an extension: `push://10.0.0.0/8,[2001:db8::1],studio.example@passphrase`.
//!
//! As in MistServer a matching host **or** the passphrase is enough; `push://@passphrase` asks for the passphrase alone.
//! Deviations: `/0` matches every address of its family, and the list. Host names are looked up elsewhere ([`Hosts`]): a
//! publish never waits for DNS.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use super::{Hosts, PUSH_HOSTS_MAX};

const SCHEME: &str = "push://";

/// Who may publish. The passphrase is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PushRule {
    hosts: Vec<Host>,
    passphrase: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Network(IpNet),
    Name(String),
}

/// How much a rule leaves to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Openness {
    /// Anyone who can reach the port may publish.
    Anyone,
    Restricted,
}

/// Text that is no push rule. Never holds the passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// The source is not `push://`.
    Scheme,
    /// It was meant to be.
    Mistyped,
    EmptyHost {
        position: usize,
    },
    TooManyHosts {
        hosts_max: usize,
    },
    Prefix {
        host: String,
    },
    Host {
        host: String,
    },
    /// Where a publisher comes from has no port.
    Port {
        host: String,
    },
    /// An `@` without anything behind it.
    EmptyPassphrase,
}

/// Why a publisher was turned away, in words for the encoder and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    AddressNotAllowed { peer: IpAddr },
    PassphraseMissing { peer: IpAddr, hosts: HostList },
    PassphraseWrong { peer: IpAddr, hosts: HostList },
}

impl Refusal {
    /// Of a peer that showed a passphrase in another way than as a password.
    pub fn of_one_who_tried(self) -> Refusal {
        match self {
            Refusal::PassphraseMissing { peer, hosts } => Refusal::PassphraseWrong { peer, hosts },
            other => other,
        }
    }
}

/// Whether the rule names hosts beside the passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostList {
    Empty,
    Named,
}

impl PushRule {
    /// Reads a stream's `source`.
    ///
    /// # Errors
    /// [`RuleError::Scheme`] for any other kind of source, else what is wrong with the rule.
    pub fn parse(source: &str) -> Result<PushRule, RuleError> {
        let rest = match source.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => &source[SCHEME.len()..],
            _ if is_mistyped(source) => return Err(RuleError::Mistyped),
            _ => return Err(RuleError::Scheme),
        };
        // No host has an '@', so all behind the first one is the passphrase, which may have some.
        let (hosts, passphrase) = match rest.split_once('@') {
            Some((_, "")) => return Err(RuleError::EmptyPassphrase),
            Some((hosts, passphrase)) => (hosts, Some(passphrase.to_owned())),
            None => (rest, None),
        };
        let hosts = if hosts.is_empty() {
            Vec::new()
        } else {
            parse_hosts(hosts)?
        };
        Ok(PushRule { hosts, passphrase })
    }

    pub fn openness(&self) -> Openness {
        let everyone = self.hosts.iter().any(|host| match host {
            Host::Network(network) => network.prefix_len() == 0,
            Host::Name(_) => false,
        });
        match (self.hosts.is_empty(), &self.passphrase) {
            (true, None) => Openness::Anyone,
            _ if everyone => Openness::Anyone,
            _ => Openness::Restricted,
        }
    }

    /// The host names that the rule has.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter_map(|host| match host {
            Host::Name(name) => Some(name.as_str()),
            Host::Network(_) => None,
        })
    }

    /// Whether `text` is the rule's passphrase.
    pub fn is_passphrase(&self, text: &str) -> bool {
        let passphrase = self.passphrase.as_ref();
        passphrase.is_some_and(|passphrase| equal_in_constant_time(passphrase.as_bytes(), text.as_bytes()))
    }

    /// Whether somebody who `proves` that it knows a passphrase knows this rule's.
    pub fn is_proven_by(&self, proves: impl Fn(&str) -> bool) -> bool {
        self.passphrase.as_ref().is_some_and(|passphrase| proves(passphrase))
    }

    /// Whether `peer`, which gave `password` (empty: none), may publish; `known` are the addresses of host names.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, peer: IpAddr, password: &str, known: &Hosts) -> Result<(), Refusal> {
        let peer = peer.to_canonical();
        let hosts = if self.hosts.is_empty() {
            HostList::Empty
        } else {
            HostList::Named
        };
        match (&self.passphrase, hosts) {
            (None, HostList::Empty) => return Ok(()),
            (Some(passphrase), _) if equal_in_constant_time(passphrase.as_bytes(), password.as_bytes()) => {
                return Ok(());
            }
            _ => {}
        }
        if self.hosts.iter().any(|host| host.matches(peer, known)) {
            return Ok(());
        }
        Err(match &self.passphrase {
            None => Refusal::AddressNotAllowed { peer },
            Some(_) if password.is_empty() => Refusal::PassphraseMissing { peer, hosts },
            Some(_) => Refusal::PassphraseWrong { peer, hosts },
        })
    }
}

impl Host {
    fn parse(text: &str) -> Result<Host, RuleError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let bare = match address.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .filter(|inner| inner.parse::<Ipv6Addr>().is_ok()),
            None => Some(address),
        };
        if has_port(text) {
            return Err(RuleError::Port { host: text.to_owned() });
        }
        let bare = bare.ok_or_else(|| RuleError::Host { host: text.to_owned() })?;
        if let Ok(address) = bare.parse::<IpAddr>() {
            return network(address, prefix)
                .map(Host::Network)
                .ok_or(RuleError::Prefix { host: text.to_owned() });
        }
        let labels = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(is_host_byte);
        let digits_only = bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let is_name = bare.len() <= 253 && !digits_only && bare.trim_end_matches('.').split('.').all(labels);
        if prefix.is_some() || !is_name {
            return Err(RuleError::Host { host: text.to_owned() });
        }
        Ok(Host::Name(bare.to_owned()))
    }

    fn matches(&self, peer: IpAddr, known: &Hosts) -> bool {
        match self {
            Host::Network(network) => network.contains(&peer),
            Host::Name(name) => known.has(name, peer),
        }
    }
}

fn parse_hosts(list: &str) -> Result<Vec<Host>, RuleError> {
    let mut hosts = Vec::new();
    for (index, text) in list.split(',').map(str::trim).enumerate() {
        if text.is_empty() {
            return Err(RuleError::EmptyHost { position: index + 1 });
        }
        if index >= PUSH_HOSTS_MAX {
            return Err(RuleError::TooManyHosts {
                hosts_max: PUSH_HOSTS_MAX,
            });
        }
        hosts.push(Host::parse(text)?);
    }
    Ok(hosts)
}

/// `push:/x`, `push//x`, `push`: no file is called so by chance.
fn is_mistyped(source: &str) -> bool {
    let rest = source
        .get(..4)
        .filter(|word| word.eq_ignore_ascii_case("push"))
        .map(|_| &source[4..]);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '@']))
}

/// A host, which may be right, with a port behind it.
fn has_port(text: &str) -> bool {
    let port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    text.rsplit_once(':')
        .is_some_and(|(host, end)| port(end) && (!host.contains(':') || host.ends_with(']')))
}

/// The network of an address and a prefix as written. A v4-mapped one is the IPv4 network, as its peers are IPv4 here.
fn network(address: IpAddr, prefix: Option<&str>) -> Option<IpNet> {
    let prefix = match prefix {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse::<u8>().ok()?)
        }
        Some(_) => return None,
    };
    let canonical = address.to_canonical();
    let network = match (address, canonical, prefix) {
        (_, canonical, None) => Some(IpNet::from(canonical)),
        (IpAddr::V6(mapped), IpAddr::V4(v4), Some(prefix)) => match prefix.checked_sub(96) {
            Some(prefix) => IpNet::new(IpAddr::V4(v4), prefix).ok(),
            None => Ipv6Net::new(mapped, prefix).ok().map(IpNet::V6),
        },
        (_, canonical, Some(prefix)) => IpNet::new(canonical, prefix).ok(),
    };
    network.map(|network| network.trunc())
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The time tells the length at most, so that a passphrase cannot be found byte by byte.
fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

impl fmt::Debug for PushRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passphrase = self.passphrase.as_ref().map(|_| "…");
        f.debug_struct("PushRule")
            .field("hosts", &self.hosts)
            .field("passphrase", &passphrase)
            .finish()
    }
}

/// The rule as it may be shown: `push://127.0.0.1@…`.
impl fmt::Display for PushRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        for (index, host) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{host}")?;
        }
        f.write_str(if self.passphrase.is_some() { "@…" } else { "" })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self {
            Host::Name(name) => return f.write_str(name),
            Host::Network(network) => network,
        };
        match network.addr() {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "[{address}]")?,
        }
        if network.prefix_len() < network.max_prefix_len() {
            write!(f, "/{}", network.prefix_len())?;
        }
        Ok(())
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleError::Scheme => write!(f, "source does not begin with push://"),
            RuleError::EmptyHost { position } => {
                write!(
                    f,
                    "host {position} of the push rule is empty; remove the comma or name a host"
                )
            }
            RuleError::TooManyHosts { hosts_max } => write!(f, "push rule has more than {hosts_max} hosts"),
            RuleError::Prefix { host } => {
                write!(
                    f,
                    "{host:?} has no such prefix length: /0 to /32 for IPv4, /0 to /128 for IPv6"
                )
            }
            RuleError::Port { host } => {
                write!(
                    f,
                    "{host:?} has a port; a push rule says where publishers come from, leave the port out"
                )
            }
            RuleError::Mistyped => write!(
                f,
                "a push rule begins with push:// (push://ADDRESS, push://@PASSPHRASE)"
            ),
            RuleError::Host { host } => {
                write!(
                    f,
                    "{host:?} is neither an address, a network (10.0.0.0/8, [2001:db8::]/32) nor a host name"
                )
            }
            RuleError::EmptyPassphrase => {
                write!(
                    f,
                    "no passphrase behind the @ of the push rule; write one or remove the @"
                )
            }
        }
    }
}

impl std::error::Error for RuleError {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::AddressNotAllowed { peer } => {
                write!(f, "address {peer} is not among the hosts that may push to this stream")
            }
            Refusal::PassphraseMissing { peer, hosts } => {
                write!(
                    f,
                    "this stream needs a passphrase and none was given (rtmp://host/PASSPHRASE/stream)"
                )?;
                hosts.explain(f, peer)
            }
            Refusal::PassphraseWrong { peer, hosts } => {
                write!(f, "the passphrase is wrong")?;
                hosts.explain(f, peer)
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl HostList {
    fn explain(self, f: &mut fmt::Formatter<'_>, peer: &IpAddr) -> fmt::Result {
        match self {
            HostList::Empty => Ok(()),
            HostList::Named => write!(f, ", and address {peer} is not among the hosts that need none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(source: &str) -> PushRule {
        PushRule::parse(source).unwrap()
    }

    fn known(rule: &PushRule) -> Hosts {
        let mut hosts = Hosts::of(rule.names());
        hosts.look_up(|name| match name {
            "studio.example" => Ok(vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]),
            _ => Ok(vec![]),
        });
        hosts
    }

    #[test]
    fn hosts_and_passphrases_decide() {
        // Rule, peer, password, whether it may push.
        let cases = [
            ("push://", "203.0.113.9", "", true),
            ("push://127.0.0.1", "127.0.0.1", "", true),
            ("push://127.0.0.1", "::ffff:127.0.0.1", "", true),
            ("push://[::ffff:127.0.0.1]", "127.0.0.1", "", true),
            ("push://127.0.0.1", "127.0.0.2", "", false),
            ("push://127.0.0.1", "::1", "", false),
            ("push://127.0.0.1", "127.0.0.2", "anything", false),
            ("push://::1", "::1", "", true),
            ("push://[::1]", "::1", "", true),
            ("push://[2001:db8::]/32", "2001:db8:5::1", "", true),
            ("push://2001:db8::/32", "2001:db9::1", "", false),
            ("push://0.0.0.0/0", "203.0.113.9", "", true),
            ("push://0.0.0.0/0", "::ffff:203.0.113.9", "", true),
            ("push://0.0.0.0/0", "2001:db8::1", "", false),
            ("push://[::]/0", "2001:db8::1", "", true),
            ("push://[::ffff:10.0.0.0]/104", "10.9.9.9", "", true),
            ("push://10.1.2.3/8", "10.200.0.1", "", true),
            ("push://192.0.2.1,10.0.0.0/8,[2001:db8::1]", "10.3.0.1", "", true),
            ("push://192.0.2.1, 10.0.0.0/8", "192.0.2.1", "", true),
            ("push://192.0.2.1,10.0.0.0/8", "192.0.2.2", "", false),
            // MistServer's: the host or the passphrase.
            ("push://10.0.0.0/8@x", "203.0.113.9", "x", true),
            ("push://10.0.0.0/8@x", "10.1.2.3", "wrong", true),
            ("push://10.0.0.0/8@x", "203.0.113.9", "wrong", false),
            ("push://10.0.0.0/8@x", "203.0.113.9", "", false),
            ("push://@x", "127.0.0.1", "x", true),
            ("push://@x", "127.0.0.1", "X", false),
            ("push://@x@y", "127.0.0.1", "x@y", true),
            ("PUSH://@x", "127.0.0.1", "", false),
            ("push://studio.example", "192.0.2.7", "", true),
            ("push://studio.example", "2001:db8::7", "", true),
            ("push://studio.example", "192.0.2.8", "", false),
            ("push://gone.example", "192.0.2.7", "", false),
            ("push://invalid,host", "127.0.0.1", "", false),
        ];
        for (source, peer, password, expected) in cases {
            let rule = rule(source);
            let found = rule.allows(peer.parse().unwrap(), password, &known(&rule));
            assert_eq!(found.is_ok(), expected, "{source} {peer} {password:?}: {found:?}");
        }
    }

    #[test]
    fn rules_that_are_wrong() {
        let host = |host: &str| RuleError::Host { host: host.into() };
        let port = |host: &str| RuleError::Port { host: host.into() };
        let prefix = |host: &str| RuleError::Prefix { host: host.into() };
        let cases = [
            ("", RuleError::Scheme),
            ("/media/x.mp4", RuleError::Scheme),
            ("push:/x", RuleError::Mistyped),
            ("Push//x", RuleError::Mistyped),
            ("push", RuleError::Mistyped),
            ("pushes/x.mp4", RuleError::Scheme),
            ("push://a,,b", RuleError::EmptyHost { position: 2 }),
            ("push://a,", RuleError::EmptyHost { position: 2 }),
            ("push://127.0.0.1@", RuleError::EmptyPassphrase),
            ("push://10.0.0.0/33", prefix("10.0.0.0/33")),
            ("push://10.0.0.0/", prefix("10.0.0.0/")),
            ("push://10.0.0.0/+8", prefix("10.0.0.0/+8")),
            ("push://::/129", prefix("::/129")),
            ("push://[::1", host("[::1")),
            ("push://[10.0.0.1]", host("[10.0.0.1]")),
            ("push://10.0.0.256", host("10.0.0.256")),
            ("push://a b", host("a b")),
            ("push://x/8", host("x/8")),
            ("push://127.0.0.1:1935", port("127.0.0.1:1935")),
            ("push://[::1]:1935", port("[::1]:1935")),
            ("push://studio.example:1935", port("studio.example:1935")),
            ("push://a:b", host("a:b")),
        ];
        for (source, expected) in cases {
            assert_eq!(PushRule::parse(source), Err(expected), "{source}");
        }
        let many = format!("push://{}", vec!["10.0.0.1"; PUSH_HOSTS_MAX + 1].join(","));
        assert_eq!(
            PushRule::parse(&many),
            Err(RuleError::TooManyHosts {
                hosts_max: PUSH_HOSTS_MAX
            })
        );
    }

    #[test]
    fn what_is_shown_reads_back_and_hides_the_passphrase() {
        for source in [
            "push://",
            "push://127.0.0.1",
            "push://10.0.0.0/8,[2001:db8::]/32,[::1],a.example",
        ] {
            assert_eq!(rule(source).to_string(), source);
        }
        let rule = rule("push://127.0.0.1@hunter2");
        let refusal = rule
            .allows("192.0.2.1".parse().unwrap(), "hunter3", &Hosts::default())
            .unwrap_err();
        let shown = format!("{rule} {rule:?} {refusal} {refusal:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        assert_eq!(
            refusal.to_string(),
            "the passphrase is wrong, and address 192.0.2.1 is not among the hosts that need none"
        );
        let error = PushRule::parse("push://bad host@hunter2").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
    }

    #[test]
    fn open_rules_are_known() {
        for (source, expected) in [
            ("push://", Openness::Anyone),
            ("push://0.0.0.0/0", Openness::Anyone),
            ("push://[::]/0@x", Openness::Anyone),
            ("push://@x", Openness::Restricted),
            ("push://10.0.0.0/8", Openness::Restricted),
        ] {
            assert_eq!(rule(source).openness(), expected, "{source}");
        }
    }

    #[test]
    fn a_passphrase_is_known_for_one() {
        for (source, text, expected) in [
            ("push://@hunter2", "hunter2", true),
            ("push://@hunter2", "hunter", false),
            ("push://127.0.0.1", "", false),
        ] {
            assert_eq!(rule(source).is_passphrase(text), expected, "{source} {text:?}");
        }
    }
}
