//! Addresses of the host names that push rules have. Looked up by the control plane, when the configuration is read and
//! again from time to time; a publish only looks here.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{ADDRESSES_PER_HOST_MAX, HOST_NAMES_MAX};

/// Questions asked at once: a name server that does not answer holds each for some ten seconds.
const AT_ONCE_MAX: usize = 8;

/// How long all of them together are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a name is looked up. May block.
pub type LookUp = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Asks the system, as every program does: `/etc/hosts`, then DNS.
pub fn ask_system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// Every name with its addresses; none where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    addresses: BTreeMap<String, Vec<IpAddr>>,
}

/// A host name that has no address, or got no answer.
#[derive(Debug)]
pub struct ResolveError {
    pub name: String,
    pub source: Option<io::Error>,
}

impl Hosts {
    /// The names to be looked up. Beyond [`HOST_NAMES_MAX`] they match nobody.
    pub fn of<'n>(names: impl Iterator<Item = &'n str>) -> Hosts {
        let mut hosts = Hosts::default();
        for name in names {
            if hosts.addresses.len() < HOST_NAMES_MAX {
                hosts.addresses.entry(name.to_owned()).or_default();
            }
        }
        hosts
    }

    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub fn has(&self, name: &str, address: IpAddr) -> bool {
        self.addresses
            .get(name)
            .is_some_and(|addresses| addresses.contains(&address))
    }

    /// Whether nobody is let in by this name.
    pub fn is_unknown(&self, name: &str) -> bool {
        self.addresses.get(name).is_none_or(Vec::is_empty)
    }

    /// The names by which nobody is let in.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let names = self.addresses.keys().map(String::as_str);
        names.filter(|name| self.is_unknown(name))
    }

    /// Looks all names up again. Blocks, for some seconds at most. Those that fail keep the addresses they had (a name
    /// server that is down locks no encoder out) and are returned.
    pub fn look_up(&mut self, look_up: LookUp) -> Vec<ResolveError> {
        let names: Vec<String> = self.addresses.keys().cloned().collect();
        let mut failed: BTreeMap<String, Option<io::Error>> = names.iter().map(|name| (name.clone(), None)).collect();
        let (answers, deadline) = (ask_all(names, look_up), Instant::now() + PATIENCE);
        while let Ok((name, answer)) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            match answer {
                Ok(found) if !found.is_empty() => {
                    let mut addresses: Vec<_> = found.iter().map(IpAddr::to_canonical).collect();
                    addresses.sort_unstable();
                    addresses.dedup();
                    addresses.truncate(ADDRESSES_PER_HOST_MAX);
                    failed.remove(&name);
                    self.addresses.insert(name, addresses);
                }
                result => drop(failed.insert(name, result.err())),
            }
        }
        let error = |(name, source)| ResolveError { name, source };
        failed.into_iter().map(error).collect()
    }
}

type Answer = (String, io::Result<Vec<IpAddr>>);

/// Asks in threads of their own, which end with the last name. Whoever stops to listen leaves them behind.
fn ask_all(names: Vec<String>, look_up: LookUp) -> Receiver<Answer> {
    let (answer, answers) = channel();
    let at_once = names.len().min(AT_ONCE_MAX);
    let names = Arc::new(Mutex::new(names));
    for _ in 0..at_once {
        let (answer, names) = (answer.clone(), names.clone());
        let next = move || names.lock().ok()?.pop();
        let ask = move || {
            while let Some(name) = next() {
                let found = look_up(&name);
                if answer.send((name, found)).is_err() {
                    return;
                }
            }
        };
        // A name that finds no thread gets no answer, and is said to have none.
        let _ = std::thread::Builder::new().name("look-up".into()).spawn(ask);
    }
    answers
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host name {:?} of a push rule has no address", self.name)
    }
}

impl std::error::Error for ResolveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fail_are_returned_and_keep_what_they_had() {
        let mut hosts = Hosts::of(["gone.example", "studio.example", "studio.example"].into_iter());
        assert!(!hosts.is_empty() && Hosts::default().is_empty());
        let studio: IpAddr = "192.0.2.7".parse().unwrap();
        let failed = hosts.look_up(|name| match name {
            "studio.example" => Ok(vec!["::ffff:192.0.2.7".parse().unwrap()]),
            _ => Err(io::Error::other("no such name")),
        });
        let names = |failed: &[ResolveError]| failed.iter().map(|error| error.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&failed), ["gone.example"]);
        assert!(hosts.has("studio.example", studio) && !hosts.has("gone.example", studio));
        assert!(hosts.is_unknown("gone.example") && hosts.is_unknown("other.example"));
        assert_eq!(hosts.unknown().collect::<Vec<_>>(), ["gone.example"]);
        let failed = hosts.look_up(|_| Ok(vec![]));
        assert_eq!(names(&failed), ["gone.example", "studio.example"]);
        assert!(hosts.has("studio.example", studio));
        assert!(hosts.look_up(|_| Ok(vec!["2001:db8::7".parse().unwrap()])).is_empty());
        assert!(!hosts.has("studio.example", studio));
    }

    #[test]
    fn many_names_are_asked_for_and_bounded() {
        let names: Vec<String> = (0..HOST_NAMES_MAX + 5)
            .map(|number| format!("n{number:05}.example"))
            .collect();
        let mut hosts = Hosts::of(names.iter().map(String::as_str));
        assert!(hosts.look_up(|_| Ok(vec!["192.0.2.1".parse().unwrap()])).is_empty());
        assert!(!hosts.is_unknown(&names[0]) && !hosts.is_unknown(&names[HOST_NAMES_MAX - 1]));
        assert!(hosts.is_unknown(&names[HOST_NAMES_MAX]));
    }

    #[test]
    fn the_system_knows_this_host() {
        assert!(!ask_system("localhost").unwrap().is_empty());
    }
}
