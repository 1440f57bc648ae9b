//! Who may publish: what a publisher asks for against the configuration, and what the peer and the log are told of a
//! refusal. Secrets are never logged, wherever in an address they stand.

use std::net::SocketAddr;

use penstock_shard::kernel::Kernel;
use tracing::warn;

use super::App;
use super::dialogue::Denial;
use super::rtmp::play_name;
use crate::config::{SecondPublisher, Source};
use crate::names::{self, PushRule, StreamName, percent_decoded};

/// What a publisher asks for, and what it shows to be let in.
pub(super) struct Asked<'a> {
    /// As the peer wrote it.
    pub name: &'a str,
    /// Empty if there is none. None at all: the address has one part, which may be a passphrase as well as a name.
    pub password: Option<&'a str>,
    /// Whether the peer has proven that it knows a passphrase, if it tried to.
    pub proof: Option<&'a dyn Fn(&str) -> bool>,
    /// An address with name and passphrase, for the log.
    pub form: &'static str,
}

/// A publish that is refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub denial: Denial,
    /// What the peer and the log are told.
    why: String,
    /// The line that the configuration lacks.
    add: Option<String>,
}

impl Refusal {
    /// For the peer.
    pub fn in_full(&self) -> String {
        match &self.add {
            Some(add) => format!("{}; add to streams: {add}", self.why),
            None => self.why.clone(),
        }
    }
}

impl<K: Kernel> App<K> {
    /// The stream that a publisher may have, if nobody has it, and what is to happen if somebody does.
    pub(super) fn admit(
        &self,
        now: u64,
        asked: &Asked<'_>,
        address: SocketAddr,
    ) -> Result<(StreamName, SecondPublisher), Refusal> {
        let refusal = |denial, why| Refusal { denial, why, add: None };
        let name = self
            .stream_name(now, &play_name(asked.name), address)
            .map_err(|error| refusal(Denial::BadName, error.to_string()))?;
        let Some(stream) = self.configured(&name) else {
            let why = format!("no stream {} is configured", name.base());
            let add = Some(streams_line(&name, address));
            return Err(Refusal {
                add,
                ..refusal(Denial::Unknown, why)
            });
        };
        let Source::Push(rule) = &stream.source else {
            let why = format!("stream {} has a source of its own and takes no publisher", name.base());
            return Err(refusal(Denial::Rejected, why));
        };
        self.let_in(rule, asked, address).map_err(|no| match no {
            names::Refusal::PassphraseMissing { .. } => refusal(Denial::PassphraseMissing, no.to_string()),
            no => refusal(Denial::Unauthorized, no.to_string()),
        })?;
        Ok((name, stream.second_publisher))
    }

    fn let_in(&self, rule: &PushRule, asked: &Asked<'_>, address: SocketAddr) -> Result<(), names::Refusal> {
        let password = asked.password.unwrap_or_default();
        if asked.proof.is_some_and(|proves| rule.is_proven_by(proves)) {
            return Ok(());
        }
        // An encoder may have left the URL's escapes in it.
        let allowed = rule.allows(address.ip(), password, &self.hosts).or_else(|no| {
            rule.allows(address.ip(), &percent_decoded(password), &self.hosts)
                .map_err(|_| no)
        });
        allowed.map_err(|no| {
            if asked.proof.is_some() {
                no.of_one_who_tried()
            } else {
                no
            }
        })
    }

    pub(super) fn count_refusal(&self, refusal: &Refusal) {
        match refusal.denial {
            Denial::BadName => self.counters.publishers_refused_name.add(1),
            Denial::Unknown => self.counters.publishers_refused_unknown.add(1),
            Denial::Rejected | Denial::PassphraseMissing | Denial::Unauthorized => {
                self.counters.publishers_refused_rule.add(1)
            }
            Denial::Taken | Denial::Failed => {}
        }
    }

    /// A passphrase in the place of the name is not logged, nor what was made of it.
    pub(super) fn log_refusal(&self, asked: &Asked<'_>, address: SocketAddr, refusal: &Refusal) {
        let Refusal { denial, why, add } = refusal;
        let (name, form) = (asked.name, asked.form);
        let is_name = matches!(denial, Denial::BadName | Denial::Unknown);
        // A name that stands alone may be a passphrase of somebody else's.
        let (asked, reason) = match asked.password {
            None if is_name => ("", format!("the URL has no stream name: {form}")),
            _ if self.has_passphrase(name) || self.has_passphrase(&percent_decoded(name)) => (
                "",
                format!("a passphrase stands in the place of the stream name: {form}"),
            ),
            _ => (name, why.clone()),
        };
        match add {
            Some(add) if !asked.is_empty() => {
                warn!(peer = %address, asked, reason, add_to_streams = %add, "publisher refused");
            }
            _ => warn!(peer = %address, asked, reason, "publisher refused"),
        }
    }
}

/// What the configuration lacks for a publisher, as it is written there.
fn streams_line(name: &StreamName, address: SocketAddr) -> String {
    let host = match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    format!(r#""{}":{{"source":"push://{host}"}}"#, name.base())
}
