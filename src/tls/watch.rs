//! Certificates that are replaced while the server runs: their files are looked at every few seconds, and when SIGHUP asks
//! for it. What is read then serves the connections that come from then on; those that are there keep what they have.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, path::Path};

use tracing::{info, warn};

use super::certificates::{Certificates, Pair};
use super::expiry::{Date, Validity};
use super::server::{Server, Servers};
use crate::limits::CERTIFICATES_LOOKED_AT_MILLIS;

/// Asks for a look at all files now.
#[derive(Clone, Debug)]
pub struct Asking {
    asked: Arc<AtomicBool>,
    thread: Option<Thread>,
}

impl Asking {
    /// Whatever has changed: also where nothing seems to.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

/// What a file looks like from outside.
type Look = Option<(u64, u64, i64, i64)>;

/// The files of all listeners, as they were read last.
struct Watched {
    sets: Vec<Vec<Pair>>,
    plain_answer: &'static [u8],
    looks: Vec<Look>,
    /// What is wrong with them, said once.
    said: Option<String>,
}

/// Watches the files of `sets`, and hands what is read to `tell`, which says whether all have it. Nothing begins where there is
/// nothing to watch.
///
/// # Errors
/// There can be no such thread.
pub fn start(
    sets: Vec<Vec<Pair>>,
    plain_answer: &'static [u8],
    stopped: Arc<AtomicBool>,
    mut tell: impl FnMut(&Servers) -> bool + Send + 'static,
) -> io::Result<Asking> {
    let asked = Arc::new(AtomicBool::new(false));
    if sets.is_empty() {
        return Ok(Asking { asked, thread: None });
    }
    let is_asked = asked.clone();
    let mut watched = Watched {
        looks: looks(&sets),
        sets,
        plain_answer,
        said: None,
    };
    let run = move || {
        let mut untold: Option<Servers> = None;
        while !stopped.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(CERTIFICATES_LOOKED_AT_MILLIS));
            let is_asked = is_asked.swap(false, Ordering::AcqRel);
            untold = watched.look(is_asked).or(untold);
            // A shard whose inbox is full is told with the next look.
            if untold.as_ref().is_some_and(&mut tell) {
                untold = None;
                info!("certificates were read again: they serve the connections that come from now on");
            }
        }
    };
    let thread = std::thread::Builder::new().name("certificates".into()).spawn(run)?;
    Ok(Asking {
        asked,
        thread: Some(thread.thread().clone()),
    })
}

/// What every shard is to have, from files that were good a moment ago.
///
/// # Errors
/// What is wrong with which of them.
pub fn read(sets: &[Vec<Pair>], plain_answer: &'static [u8]) -> Result<Servers, String> {
    let servers = sets.iter().map(|pairs| {
        let certificates = Certificates::load(pairs).map_err(|(place, which, error)| {
            let pair = &pairs[place];
            let path = match which {
                super::Which::Certificate => &pair.certificate,
                super::Which::Key => &pair.key,
            };
            format!("{} {error}", path.display())
        })?;
        warn_of_times(pairs, &certificates);
        Ok(Server::new(certificates, plain_answer))
    });
    servers.collect()
}

impl Watched {
    /// New ones, when files have changed, or somebody asked, and all of them are good.
    fn look(&mut self, is_asked: bool) -> Option<Servers> {
        let looks = looks(&self.sets);
        let has_changed = looks != self.looks;
        if !has_changed && !is_asked && self.said.is_none() {
            return None;
        }
        match read(&self.sets, self.plain_answer) {
            Ok(servers) => {
                let had_failed = self.said.take().is_some();
                self.looks = looks;
                (has_changed || is_asked || had_failed).then_some(servers)
            }
            // Perhaps half of a pair is replaced: it is tried again with every look.
            Err(why) => {
                if self.said.as_ref() != Some(&why) || is_asked {
                    warn!("certificates cannot be read again, those of before go on: {why}");
                }
                self.said = Some(why);
                None
            }
        }
    }
}

fn looks(sets: &[Vec<Pair>]) -> Vec<Look> {
    let look = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    };
    let pairs = sets.iter().flatten();
    pairs
        .flat_map(|pair| [look(&pair.certificate), look(&pair.key)])
        .collect()
}

fn warn_of_times(pairs: &[Pair], certificates: &Certificates) {
    for (pair, validity) in pairs.iter().zip(certificates.validities()) {
        if let Some(why) = outside(validity, now()) {
            warn!(file = %pair.certificate.display(), "{why}");
        }
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Why clients will refuse a certificate at `now`, if they will.
pub fn outside(validity: Validity, now: i64) -> Option<String> {
    if now > validity.until {
        let on = Date::of(validity.until);
        return Some(format!(
            "the certificate has expired on {on}: clients that look refuse it"
        ));
    }
    (now < validity.from).then(|| {
        let on = Date::of(validity.from);
        format!("the certificate is not good before {on}: clients that look refuse it")
    })
}
