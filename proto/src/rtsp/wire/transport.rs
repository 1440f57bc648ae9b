//! `Transport` (RFC 2326 12.39): how the packets of one medium go.

use std::net::IpAddr;

use super::super::limits::ALTERNATIVES_MAX;

/// A pair of UDP ports. `rtcp` is 0 where a peer named none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub rtp: u16,
    pub rtcp: u16,
}

/// Where a medium is sent to for all that joined there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub address: IpAddr,
    pub ports: Ports,
    pub ttl: u8,
}

/// One alternative of a `Transport`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    pub delivery: Option<Delivery>,
    /// `RTP/AVP`, `RTP/AVP/TCP` and the like, in capitals.
    pub protocol: String,
    pub interleaved: Option<(u8, u8)>,
    pub client_port: Option<Ports>,
    pub server_port: Option<Ports>,
    pub port: Option<Ports>,
    pub ttl: Option<u8>,
    pub ssrc: Option<u32>,
    pub mode: Option<Mode>,
    pub source: Option<IpAddr>,
    /// A peer names where packets are to be sent to. For us never: it would be a way to flood others.
    pub destination: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Unicast,
    Multicast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Play,
    /// Also `receive`, as ffmpeg once wrote it.
    Record,
}

impl Transport {
    /// All alternatives of a header, best first, up to [`ALTERNATIVES_MAX`]. Parameters that are unknown or cannot be read
    /// are passed over.
    pub fn parse_all(text: &str) -> Vec<Transport> {
        let alternatives = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        alternatives.take(ALTERNATIVES_MAX).map(Transport::parse).collect()
    }

    pub fn parse(text: &str) -> Transport {
        let mut parts = text.split(';').map(str::trim);
        let mut transport = Transport {
            protocol: parts.next().unwrap_or_default().to_ascii_uppercase(),
            ..Transport::default()
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "unicast" => transport.delivery = Some(Delivery::Unicast),
                "multicast" => transport.delivery = Some(Delivery::Multicast),
                "interleaved" => {
                    let pair = pair(value).filter(|(first, second)| *first < 256 && *second < 256);
                    transport.interleaved = pair.map(|(first, second)| (first as u8, second as u8));
                }
                "client_port" => transport.client_port = ports(value),
                "server_port" => transport.server_port = ports(value),
                "port" => transport.port = ports(value),
                "ttl" => transport.ttl = value.parse().ok(),
                "ssrc" => transport.ssrc = ssrc(value),
                "mode" => transport.mode = mode(value),
                "source" => transport.source = value.parse().ok(),
                "destination" => transport.destination = Some(value.to_owned()),
                _ => {}
            }
        }
        transport
    }

    /// Packets are interleaved with the dialogue.
    pub fn is_interleaved(&self) -> bool {
        self.protocol.ends_with("/TCP") || (self.interleaved.is_some() && self.client_port.is_none())
    }

    /// RTP without encryption, by whatever it goes.
    pub fn is_rtp(&self) -> bool {
        matches!(
            self.protocol.as_str(),
            "RTP/AVP" | "RTP/AVP/TCP" | "RTP/AVP/UDP" | "RTP/AVPF" | "RTP/AVPF/TCP" | "RTP/AVPF/UDP"
        )
    }
}

/// `4-5`; of `4` alone the second is the next one.
fn pair(text: &str) -> Option<(u32, u32)> {
    let (first, second) = match text.split_once('-') {
        Some((first, second)) => (first.trim(), second.trim()),
        None => (text.trim(), ""),
    };
    let first: u32 = first.parse().ok().filter(|first| *first < u32::MAX)?;
    Some((first, second.parse().unwrap_or(first + 1)))
}

/// None for port 0, which servers write when they have none to tell.
fn ports(text: &str) -> Option<Ports> {
    let (rtp, rtcp) = pair(text)?;
    let rtp = u16::try_from(rtp).ok().filter(|port| *port > 0)?;
    let rtcp = u16::try_from(rtcp).unwrap_or(0);
    Some(Ports { rtp, rtcp })
}

/// Eight hexadecimal digits; fewer from some servers, and decimal ones where there are more than eight.
fn ssrc(text: &str) -> Option<u32> {
    let text = text.trim_start_matches("0x");
    match text.len() {
        0..=8 => u32::from_str_radix(text, 16).ok(),
        _ => text.parse().ok(),
    }
}

fn mode(text: &str) -> Option<Mode> {
    let text = text.to_ascii_lowercase();
    match text.as_str() {
        "play" => Some(Mode::Play),
        "record" | "receive" => Some(Mode::Record),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(rtp: u16, rtcp: u16) -> Option<Ports> {
        Some(Ports { rtp, rtcp })
    }

    #[test]
    fn every_form_is_read() {
        let of = |text: &str| Transport::parse(text);
        let tcp = of("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record");
        assert!(tcp.is_interleaved() && tcp.is_rtp());
        assert_eq!((tcp.interleaved, tcp.mode), (Some((0, 1)), Some(Mode::Record)));
        assert_eq!(tcp.delivery, Some(Delivery::Unicast));
        assert_eq!(of("RTP/AVP/TCP;interleaved=6").interleaved, Some((6, 7)));
        assert_eq!(of("RTP/AVP/TCP;interleaved=254").interleaved, Some((254, 255)));
        for none in ["255", "256-257", "x", "", "-1", "4294967295"] {
            assert_eq!(
                of(&format!("RTP/AVP/TCP;interleaved={none}")).interleaved,
                None,
                "{none}"
            );
        }
        // Escam answers so, although TCP was asked for.
        assert!(of("RTP/AVP;unicast;interleaved=2-3").is_interleaved());
        let udp = of("rtp/avp/udp; unicast ; client_port = 15160-15161;server_port=36481-47680;ssrc=6b8b4567");
        assert!(!udp.is_interleaved() && udp.is_rtp());
        assert_eq!(
            (udp.client_port, udp.server_port),
            (ports(15160, 15161), ports(36481, 47680))
        );
        assert_eq!(udp.ssrc, Some(0x6b8b_4567));
        assert_eq!(of("RTP/AVP;client_port=7").client_port, ports(7, 8));
        for none in ["0-1", "0", "", "70000"] {
            assert_eq!(of(&format!("RTP/AVP;server_port={none}")).server_port, None, "{none}");
        }
        for (text, expected) in [
            ("4D2", Some(0x4d2)),
            ("0000A2B3", Some(0xa2b3)),
            ("1804289383", Some(1_804_289_383)),
            ("0xAB", Some(0xab)),
            ("99999999999", None),
            ("xyz", None),
        ] {
            assert_eq!(of(&format!("RTP/AVP;ssrc={text}")).ssrc, expected, "{text}");
        }
        for (text, expected) in [
            ("\"PLAY\"", Some(Mode::Play)),
            ("receive", Some(Mode::Record)),
            ("\"RECORD\"", Some(Mode::Record)),
            ("x", None),
        ] {
            assert_eq!(of(&format!("RTP/AVP;mode={text}")).mode, expected);
        }
        let group = of("RTP/AVP;multicast;destination=224.2.0.1;port=5000-5001;ttl=127;nonsense;a=b;source=10.0.0.1");
        assert_eq!(
            (group.delivery, group.port, group.ttl),
            (Some(Delivery::Multicast), ports(5000, 5001), Some(127))
        );
        assert_eq!(group.destination.as_deref(), Some("224.2.0.1"));
        assert_eq!(group.source, "10.0.0.1".parse().ok());
        assert!(!of("RTP/SAVP;unicast").is_rtp() && !of("RAW/RAW/UDP").is_rtp() && !of("").is_rtp());
    }

    #[test]
    fn alternatives_stand_in_their_order() {
        let all =
            Transport::parse_all("RTP/AVP;unicast;client_port=2-3,RTP/AVP;multicast, RTP/AVP/TCP;interleaved=0-1,");
        let protocols: Vec<&str> = all.iter().map(|one| one.protocol.as_str()).collect();
        assert_eq!(protocols, ["RTP/AVP", "RTP/AVP", "RTP/AVP/TCP"]);
        assert_eq!(Transport::parse_all(&"a,".repeat(100)).len(), ALTERNATIVES_MAX);
        assert!(Transport::parse_all(" , ").is_empty());
    }
}
