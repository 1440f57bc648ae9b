//! Values to a description's text, for DESCRIBE.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Description, Direction, Group};

/// `o=`: which description this is (RFC 8866, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub session: u64,
    /// Higher for a later text of the same session.
    pub version: u64,
    pub address: IpAddr,
}

impl Description {
    /// The text. Media without a format are left out, and all are called `track0` and so on by their place in `media`;
    /// their own `control` is not used.
    pub fn text(&self, origin: Origin) -> String {
        let mut text = String::with_capacity(TEXT_BYTES_FIRST);
        let family = match origin.address {
            IpAddr::V4(_) => "IP4 0.0.0.0",
            IpAddr::V6(_) => "IP6 ::",
        };
        let name = match line(&self.name) {
            name if name.is_empty() => "-".to_owned(),
            name => name,
        };
        let Origin {
            session,
            version,
            address,
        } = origin;
        let begin = [
            "v=0".to_owned(),
            format!("o=- {session} {version} IN {} {address}", &family[..3]),
            format!("s={name}"),
            format!("c=IN {family}"),
            "t=0 0".to_owned(),
            "a=tool:penstock".to_owned(),
            "a=control:*".to_owned(),
        ];
        begin.iter().for_each(|line| push(&mut text, line));
        if !self.range.is_empty() {
            push(&mut text, &format!("a=range:{}", line(&self.range)));
        }
        for (number, medium) in self.media.iter().enumerate() {
            let Some(format) = &medium.format else { continue };
            let kind = match format.kind {
                crate::media::Kind::Video => "video",
                crate::media::Kind::Audio => "audio",
                crate::media::Kind::Meta => "application",
            };
            let protocol = if medium.protocol.is_empty() {
                "RTP/AVP"
            } else {
                &medium.protocol
            };
            let (port, payload_type) = (medium.port, format.payload_type);
            push(&mut text, &format!("m={kind} {port} {} {payload_type}", line(protocol)));
            if let Some(Group { address, ttl }) = medium.group {
                push(&mut text, &format!("c=IN IP4 {address}/{ttl}"));
            }
            let mut map = format!(
                "a=rtpmap:{payload_type} {}/{}",
                line(&format.encoding),
                format.clock_rate
            );
            if format.channels > 1 {
                write!(map, "/{}", format.channels).expect("a string takes all");
            }
            push(&mut text, &map);
            if !format.parameters.is_empty() {
                let parameters = format.parameters.iter().map(|(name, value)| match value.is_empty() {
                    true => line(name),
                    false => format!("{}={}", line(name), line(value)),
                });
                let joined = parameters.collect::<Vec<_>>().join(";");
                push(&mut text, &format!("a=fmtp:{payload_type} {joined}"));
            }
            match medium.direction {
                Direction::SendReceive => {}
                Direction::SendOnly => push(&mut text, "a=sendonly"),
                Direction::ReceiveOnly => push(&mut text, "a=recvonly"),
                Direction::Inactive => push(&mut text, "a=inactive"),
            }
            push(&mut text, &format!("a=control:track{number}"));
        }
        text
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push_str("\r\n");
}

/// Without what would end the line.
fn line(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

/// Picture and sound.
const TEXT_BYTES_FIRST: usize = 1024;
