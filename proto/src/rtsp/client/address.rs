//! Where a pull goes: `rtsp://USER:PASSWORD@HOST:PORT/PATH?QUERY` (RFC 2326 3.2), and what requests cite of it.
//!
//! User and password are percent-decoded; a percent sign that begins no two digits stands for itself, as many passwords are
//! pasted unencoded. They are never shown, and neither is the query, which may hold a token.

use std::fmt;

use super::limits::LOGIN_BYTES_MAX;
use crate::rtsp::limits::URL_BYTES_MAX;

/// Whether the connection is by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Plain,
    Tls,
}

/// Who asks. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub user: String,
    pub password: String,
}

/// An address that can be pulled from.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub security: Security,
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// 554, or 322 by TLS, if the address names none.
    pub port: u16,
    /// As requests cite it: without user and password.
    url: String,
    pub(super) login: Option<Login>,
}

/// Why a text is no [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Neither `rtsp://` nor `rtsps://`.
    Scheme,
    /// No host, or none that can be.
    Host,
    /// No number from 1 to 65,535.
    Port,
    /// Longer than [`URL_BYTES_MAX`], or user or password than [`LOGIN_BYTES_MAX`].
    TooLong,
    /// Spaces, control characters, or others than ASCII: they are to be percent-encoded.
    Character,
}

impl Address {
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let security = match scheme.to_ascii_lowercase().as_str() {
            "rtsp" => Security::Plain,
            "rtsps" => Security::Tls,
            _ => return Err(AddressError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // A password may have an unencoded at sign, a host never.
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(Login::parse(login)?), place),
            None => (None, authority),
        };
        if !place.bytes().chain(path.bytes()).all(|byte| byte.is_ascii_graphic()) {
            return Err(AddressError::Character);
        }
        let (host, port) = host_and_port(place)?;
        let port = port.unwrap_or(match security {
            Security::Plain => 554,
            Security::Tls => 322,
        });
        let scheme = match security {
            Security::Plain => "rtsp",
            Security::Tls => "rtsps",
        };
        let slash = if path.is_empty() { "/" } else { "" };
        Ok(Address {
            security,
            host: host.to_owned(),
            port,
            url: format!("{scheme}://{place}{slash}{path}"),
            login: login.filter(|login| !login.user.is_empty() || !login.password.is_empty()),
        })
    }

    /// As requests cite it. It may hold a token in its query.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Where `location` of a redirect leads to. User and password go along to the same host; to another one goes what
    /// does not show them ([`Handover`]), unless the location names its own.
    pub(super) fn redirected(&self, location: &str) -> Option<(Address, Handover)> {
        let mut address = match location.strip_prefix('/') {
            Some(_) => Address::parse(&join(&self.url, location)),
            None => Address::parse(location),
        }
        .ok()?;
        if self.security == Security::Tls && address.security == Security::Plain {
            return None;
        }
        let is_same = self.host.eq_ignore_ascii_case(&address.host);
        let handover = match is_same || address.login.is_some() {
            true => Handover::Any,
            false => Handover::DigestOnly,
        };
        address.login = address.login.or_else(|| self.login.clone());
        Some((address, handover))
    }
}

/// How user and password may be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    Any,
    /// The place is not the operator's word but a server's: it does not get a password in the clear.
    DigestOnly,
}

impl Login {
    fn parse(text: &str) -> Result<Login, AddressError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let login = Login {
            user: percent_decoded(user),
            password: percent_decoded(password),
        };
        if login.user.len().max(login.password.len()) > LOGIN_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        Ok(login)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Scheme, host, port and path.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.split('?').next().unwrap_or_default())
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::Scheme => "begins with neither rtsp:// nor rtsps://",
            AddressError::Host => "has no host",
            AddressError::Port => "has a port that is no number from 1 to 65535",
            AddressError::TooLong => "is too long",
            AddressError::Character => "has characters that are to be percent-encoded",
        })
    }
}

impl std::error::Error for AddressError {}

/// What `control` names, told from `base` (RFC 2326 C.1.1): as cameras mean it, which put a name behind the base whether
/// or not that ends with a slash.
pub(super) fn join(base: &str, control: &str) -> String {
    if control.is_empty() || control == "*" {
        return base.to_owned();
    }
    if is_absolute(control) {
        return control.to_owned();
    }
    if control.starts_with('/') {
        let host = base.find("://").map_or(0, |at| at + 3);
        let end = base[host..].find(['/', '?']).map_or(base.len(), |at| host + at);
        return format!("{}{control}", &base[..end]);
    }
    match control.starts_with('?') {
        true => format!("{}{control}", base.trim_end_matches('/')),
        false if base.ends_with('/') => format!("{base}{control}"),
        false => format!("{base}/{control}"),
    }
}

pub(super) fn is_absolute(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("rtsp") || scheme.eq_ignore_ascii_case("rtsps"))
}

/// An address that a server names, as it may stand in a request; none if it cannot.
pub(super) fn sendable(url: &str) -> Option<String> {
    let url = url.trim().replace(' ', "%20");
    let fits = url.len() <= URL_BYTES_MAX && url.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some(url)
}

fn host_and_port(place: &str) -> Result<(&str, Option<u16>), AddressError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(AddressError::Host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| AddressError::Host)?;
            (host, rest.strip_prefix(':').unwrap_or(rest))
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    if host.is_empty() {
        return Err(AddressError::Host);
    }
    if port.is_empty() {
        return Ok((host, None));
    }
    let port = port.parse().ok().filter(|port| *port > 0);
    port.map(|port| (host, Some(port))).ok_or(AddressError::Port)
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, host, port, url, login) in [
            ("rtsp://h", "h", 554, "rtsp://h/", None),
            ("RTSP://h:8554/a/b?c=d", "h", 8554, "rtsp://h:8554/a/b?c=d", None),
            ("rtsps://h/x", "h", 322, "rtsps://h/x", None),
            ("rtsp://[::1]:99/x", "::1", 99, "rtsp://[::1]:99/x", None),
            ("rtsp://[::1]/x", "::1", 554, "rtsp://[::1]/x", None),
            ("rtsp://h?x=a@b:c", "h", 554, "rtsp://h?x=a@b:c", None),
            ("rtsp://u:p%40s%25%2f@h/x", "h", 554, "rtsp://h/x", Some(("u", "p@s%/"))),
            (
                "rtsp://u:100%&%zz%4@h/x",
                "h",
                554,
                "rtsp://h/x",
                Some(("u", "100%&%zz%4")),
            ),
            ("rtsp://u:a@b:c@h:1/x", "h", 1, "rtsp://h:1/x", Some(("u", "a@b:c"))),
            ("rtsp://u%3a@h", "h", 554, "rtsp://h/", Some(("u:", ""))),
            ("rtsp://:@h", "h", 554, "rtsp://h/", None),
        ] {
            let address = Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (address.host.as_str(), address.port, address.url()),
                (host, port, url),
                "{text}"
            );
            let found = address.login.as_ref();
            assert_eq!(
                found.map(|login| (login.user.as_str(), login.password.as_str())),
                login,
                "{text}"
            );
            let shown = format!("{address:?} {address} {:?}", address.login);
            assert!(
                !shown.contains('?')
                    && login.is_none_or(|(_, password)| password.is_empty() || !shown.contains(password))
            );
        }
        let long = format!("rtsp://h/{}", "x".repeat(URL_BYTES_MAX));
        let long_password = format!("rtsp://u:{}@h/", "x".repeat(LOGIN_BYTES_MAX + 1));
        for (text, expected) in [
            ("http://h/", AddressError::Scheme),
            ("h/x", AddressError::Scheme),
            ("rtsp:///x", AddressError::Host),
            ("rtsp://u:p@/x", AddressError::Host),
            ("rtsp://[::x]/", AddressError::Host),
            ("rtsp://[::1/", AddressError::Host),
            ("rtsp://h:0/", AddressError::Port),
            ("rtsp://h:65536/", AddressError::Port),
            ("rtsp://h:x/", AddressError::Port),
            ("rtsp://h/a b", AddressError::Character),
            ("rtsp://h/\r\nX: y", AddressError::Character),
            ("rtsp://h/\u{e9}", AddressError::Character),
            (long.as_str(), AddressError::TooLong),
            (long_password.as_str(), AddressError::TooLong),
        ] {
            assert_eq!(Address::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn controls_are_joined_as_cameras_mean_them() {
        for (base, control, expected) in [
            ("rtsp://h/live", "track1", "rtsp://h/live/track1"),
            ("rtsp://h/live/", "track1", "rtsp://h/live/track1"),
            ("rtsp://h/live/", "*", "rtsp://h/live/"),
            ("rtsp://h/live", "", "rtsp://h/live"),
            ("rtsp://h/live?a=b", "trackID=0", "rtsp://h/live?a=b/trackID=0"),
            ("rtsp://h/?inst=1/", "stream=0", "rtsp://h/?inst=1/stream=0"),
            ("rtsp://h/live/", "?ctype=video", "rtsp://h/live?ctype=video"),
            ("rtsp://h:1/live/x", "/y/track0", "rtsp://h:1/y/track0"),
            ("rtsp://h", "/y", "rtsp://h/y"),
            (
                "rtsp://h/live",
                "rtsp://10.0.0.1/trackID=1",
                "rtsp://10.0.0.1/trackID=1",
            ),
        ] {
            assert_eq!(join(base, control), expected, "{base} {control}");
        }
    }

    #[test]
    fn a_redirect_takes_the_password_along_only_where_it_is_safe() {
        let from = Address::parse("rtsp://u:p@h/live").unwrap();
        for (location, url, handover) in [
            ("rtsp://h:8554/other", "rtsp://h:8554/other", Handover::Any),
            ("/other", "rtsp://h/other", Handover::Any),
            ("rtsp://elsewhere/live", "rtsp://elsewhere/live", Handover::DigestOnly),
            ("rtsp://a:b@elsewhere/live", "rtsp://elsewhere/live", Handover::Any),
        ] {
            let (address, found) = from.redirected(location).unwrap();
            assert_eq!((address.url(), found), (url, handover));
            assert!(address.login.is_some());
        }
        assert_eq!(from.redirected("http://h/"), None);
        let secure = Address::parse("rtsps://u:p@h/live").unwrap();
        assert_eq!(secure.redirected("rtsp://h/live"), None);
        assert!(secure.redirected("rtsps://h/live2").is_some());
    }
}
