//! What a viewer watches: a URL, taken apart and its host looked up once.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::ClientConfig;

use crate::tls::{self, Trust};

/// A connect with its dialogue, up to the first media, that takes longer has failed.
pub const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// The dialogue that asks for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One endless answer: FLV, TS or MP4.
    Http,
    /// Playlists and segments, found by `.m3u8`.
    Hls,
    Rtmp,
    /// Interleaved in its connection.
    Rtsp,
}

/// Where to connect, and whether in TLS.
#[derive(Clone, Debug)]
pub struct Authority {
    pub address: SocketAddr,
    /// As the URL has it, for `Host` and its like.
    pub host: String,
    pub tls: Option<Arc<ClientConfig>>,
}

impl Authority {
    pub fn is_same(&self, other: &Authority) -> bool {
        self.host == other.host && self.tls.is_some() == other.tls.is_some()
    }

    /// The host without its port and brackets: what a certificate is for.
    pub fn name(&self) -> &str {
        let host = match port_of(&self.host) {
            Some(colon) => &self.host[..colon],
            None => &self.host,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Target {
    pub protocol: Protocol,
    pub authority: Arc<Authority>,
    /// With its slash and query.
    pub path: String,
}

impl Target {
    /// `http`, `https`, `rtmp`, `rtmps`, `rtsp` or `rtsps`; certificates must be good.
    pub fn parse(url: &str) -> anyhow::Result<Target> {
        Target::parse_trusting(url, Trust::Roots)
    }

    pub fn parse_trusting(url: &str, trust: Trust) -> anyhow::Result<Target> {
        let (scheme, host, path) = split(url)?;
        let (protocol, port, secure) = match scheme {
            "http" => (Protocol::Http, 80, None),
            "https" => (Protocol::Http, 443, Some(trust)),
            "rtmp" => (Protocol::Rtmp, 1935, None),
            "rtmps" => (Protocol::Rtmp, 443, Some(trust)),
            "rtsp" => (Protocol::Rtsp, 554, None),
            "rtsps" => (Protocol::Rtsp, 322, Some(trust)),
            _ => bail!("{url}: http, rtmp and rtsp can be opened, and the same with an s"),
        };
        if protocol == Protocol::Rtmp && !path[1..].contains('/') {
            bail!("{url}: /APP/NAME is needed");
        }
        let authority = Authority {
            address: look_up(host, port)?,
            host: host.to_owned(),
            tls: secure.map(tls::config).transpose()?,
        };
        Ok(Target {
            protocol: dialogue_of(protocol, path),
            authority: Arc::new(authority),
            path: path.to_owned(),
        })
    }

    /// What a reference in an answer of this target stands for (RFC 3986, 5.2, of HTTP).
    pub fn resolve(&self, reference: &str) -> anyhow::Result<Target> {
        if !reference.contains("://") {
            let path = resolve_path(&self.path, reference);
            return Ok(Target {
                protocol: dialogue_of(self.protocol, &path),
                path,
                ..self.clone()
            });
        }
        let (scheme, host, path) = split(reference)?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => bail!("{reference}: only http and https are followed"),
        };
        let protocol = dialogue_of(Protocol::Http, path);
        let path = path.to_owned();
        if host == self.authority.host && secure == self.authority.tls.is_some() {
            let authority = Arc::clone(&self.authority);
            return Ok(Target {
                protocol,
                authority,
                path,
            });
        }
        let tls = match (secure, &self.authority.tls) {
            (false, _) => None,
            (true, Some(config)) => Some(Arc::clone(config)),
            (true, None) => Some(tls::config(Trust::Roots)?),
        };
        let authority = Arc::new(Authority {
            address: look_up(host, if secure { 443 } else { 80 })?,
            host: host.to_owned(),
            tls,
        });
        Ok(Target {
            protocol,
            authority,
            path,
        })
    }

    /// A GET for this target's path, on a connection that is kept.
    pub fn request(&self, range: Option<(u64, u64)>) -> Vec<u8> {
        let (path, host) = (&self.path, &self.authority.host);
        let range = range.map_or_else(String::new, |(from, bytes)| {
            format!("Range: bytes={from}-{}\r\n", from + bytes.max(1) - 1)
        });
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: penstock-benches\r\nAccept: */*\r\n{range}\r\n")
            .into_bytes()
    }

    /// The whole URL, without what stands behind it.
    pub fn url(&self) -> String {
        let scheme = match self.protocol {
            Protocol::Http | Protocol::Hls => "http",
            Protocol::Rtmp => "rtmp",
            Protocol::Rtsp => "rtsp",
        };
        let secure = if self.authority.tls.is_some() { "s" } else { "" };
        format!("{scheme}{secure}://{}{}", self.authority.host, self.path)
    }

    /// RTMP's application, stream name and `tcUrl`.
    pub fn application(&self) -> (&str, &str, String) {
        let (app, name) = self.path[1..].rsplit_once('/').unwrap_or(("", &self.path[1..]));
        let url = self.url();
        let tc_url = url.strip_suffix(name).unwrap_or(&url).trim_end_matches('/');
        (app, name, tc_url.to_owned())
    }
}

fn dialogue_of(protocol: Protocol, path: &str) -> Protocol {
    let is_playlist = path.split('?').next().is_some_and(|path| path.ends_with(".m3u8"));
    match protocol {
        Protocol::Http | Protocol::Hls if is_playlist => Protocol::Hls,
        Protocol::Http | Protocol::Hls => Protocol::Http,
        other => other,
    }
}

/// Scheme, authority, and path with its slash.
fn split(url: &str) -> anyhow::Result<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://").with_context(|| format!("{url} is no URL"))?;
    let slash = rest.find('/').with_context(|| format!("{url} has no path"))?;
    let (host, path) = rest.split_at(slash);
    if url.bytes().any(|byte| byte <= b' ') {
        bail!("{url:?} has a blank in it");
    }
    Ok((scheme, host, path))
}

/// Where a host's port begins; a colon in brackets belongs to an IPv6 address.
fn port_of(host: &str) -> Option<usize> {
    host.rfind(':').filter(|colon| !host[*colon..].contains(']'))
}

fn look_up(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let place = match port_of(host) {
        Some(_) => host.to_owned(),
        None => format!("{host}:{port}"),
    };
    let mut found = place
        .to_socket_addrs()
        .with_context(|| format!("{host} has no address"))?;
    found.next().with_context(|| format!("{host} has no address"))
}

fn resolve_path(base: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let base = base.split('?').next().unwrap_or(base);
    if reference.starts_with('?') {
        return format!("{base}{reference}");
    }
    let (reference, query) = match reference.find('?') {
        Some(at) => reference.split_at(at),
        None => (reference, ""),
    };
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in reference.split('/') {
        match part {
            ".." if parts.len() > 1 => drop(parts.pop()),
            "." | ".." => {}
            part => parts.push(part),
        }
    }
    format!("{}{query}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_what_is_asked_for() {
        let http = Target::parse("http://127.0.0.1:8080/live.flv?x=1").unwrap();
        assert_eq!(http.authority.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((http.protocol, http.path.as_str()), (Protocol::Http, "/live.flv?x=1"));
        assert!(
            http.request(None)
                .starts_with(b"GET /live.flv?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n")
        );
        let rtmp = Target::parse("rtmp://[::1]/some/app/live").unwrap();
        assert_eq!(rtmp.authority.address, "[::1]:1935".parse().unwrap());
        assert_eq!(rtmp.application(), ("some/app", "live", "rtmp://[::1]/some/app".into()));
        assert_eq!(rtmp.authority.name(), "::1");
        let hls = Target::parse_trusting("https://127.0.0.1:4433/a/index.m3u8?t=1", Trust::Any).unwrap();
        assert_eq!(hls.protocol, Protocol::Hls);
        assert!(hls.authority.tls.is_some());
        assert_eq!(hls.authority.name(), "127.0.0.1");
        let rtsp = Target::parse("rtsp://127.0.0.1/live").unwrap();
        assert_eq!(
            (rtsp.protocol, rtsp.url()),
            (Protocol::Rtsp, "rtsp://127.0.0.1/live".into())
        );
        for bad in [
            "live.flv",
            "http://127.0.0.1",
            "udp://127.0.0.1/x",
            "rtmp://127.0.0.1/live",
            "http://127.0.0.1/a b",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn references_are_resolved() {
        let base = Target::parse("http://127.0.0.1:80/a/b/index.m3u8?x=/y").unwrap();
        for (reference, path) in [
            ("seg.ts", "/a/b/seg.ts"),
            ("../seg.ts?q=../z", "/a/seg.ts?q=../z"),
            ("/seg.ts", "/seg.ts"),
            ("./c/d.m3u8", "/a/b/c/d.m3u8"),
            ("?y=1", "/a/b/index.m3u8?y=1"),
            ("http://127.0.0.1:80/z", "/z"),
            ("../../../x", "/x"),
        ] {
            let found = base.resolve(reference).unwrap();
            assert_eq!(found.path, path, "{reference}");
            assert!(Arc::ptr_eq(&found.authority, &base.authority), "{reference}");
        }
        let other = base.resolve("http://127.0.0.2/z.ts").unwrap();
        assert_eq!(other.authority.address, "127.0.0.2:80".parse().unwrap());
        assert!(!other.authority.is_same(&base.authority));
        assert!(base.resolve("ftp://127.0.0.2/z").is_err());
    }
}
