//! What a session description says of one RTP payload type, as plain data: the seam between `sdp`, which reads and writes
//! it, and the payload formats, which know what it means.

use crate::media::Kind;

/// One payload type of one media line (RFC 8866, 6.6 and 6.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFormat {
    /// [`Kind::Meta`] for `application` and all else.
    pub kind: Kind,
    /// 0 to 127.
    pub payload_type: u8,
    /// As in `a=rtpmap`, in capitals; of a static payload type without one, its name in RFC 3551.
    pub encoding: String,
    /// Ticks of the RTP timestamp per second; not 0.
    pub clock_rate: u32,
    /// As in `a=rtpmap`; 1 if it says nothing, 0 for what is not sound.
    pub channels: u32,
    /// `a=fmtp`: names in lower case, values as they stand there.
    pub parameters: Vec<(String, String)>,
}

impl PayloadFormat {
    /// A format parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The lines of a track whose payloads are passed on unread ([`crate::media::Codec::Rtp`]): `m=`, `a=rtpmap`, `a=fmtp` as in
/// a description, a line feed between them.
impl PayloadFormat {
    pub fn to_codec_data(&self) -> Vec<u8> {
        let payload_type = self.payload_type;
        let kind = KINDS.iter().find(|(_, kind)| *kind == self.kind);
        let kind = kind.map_or("application", |(name, _)| name);
        let mut text = format!("m={kind} 0 RTP/AVP {payload_type}\n");
        let PayloadFormat {
            encoding,
            clock_rate,
            channels,
            ..
        } = self;
        text += &format!("a=rtpmap:{payload_type} {encoding}/{clock_rate}/{channels}");
        let mut separator = format!("\na=fmtp:{payload_type} ");
        for (name, value) in &self.parameters {
            text += &separator;
            text += name;
            if !value.is_empty() {
                text += &format!("={value}");
            }
            separator = ";".into();
        }
        text.into_bytes()
    }

    /// None for anything that [`PayloadFormat::to_codec_data`] does not write.
    pub fn from_codec_data(lines: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(lines).ok()?.split('\n');
        let (kind, payload_type) = lines.next()?.strip_prefix("m=")?.split_once(" 0 RTP/AVP ")?;
        let kind = KINDS.iter().find(|(name, _)| *name == kind)?.1;
        let map = lines.next()?.strip_prefix("a=rtpmap:")?;
        let mut map = map.strip_prefix(payload_type)?.strip_prefix(' ')?.rsplitn(3, '/');
        let channels = map.next()?.parse().ok()?;
        let clock_rate = map.next()?.parse().ok().filter(|rate| *rate > 0)?;
        let encoding = map.next()?.to_owned();
        let mut parameters = Vec::new();
        if let Some(line) = lines.next() {
            let line = line
                .strip_prefix("a=fmtp:")?
                .strip_prefix(payload_type)?
                .strip_prefix(' ')?;
            for parameter in line.split(';') {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                parameters.push((name.to_owned(), value.to_owned()));
            }
        }
        let payload_type = payload_type.parse().ok().filter(|number| *number < 128)?;
        lines.next().is_none().then_some(PayloadFormat {
            kind,
            payload_type,
            encoding,
            clock_rate,
            channels,
            parameters,
        })
    }
}

const KINDS: [(&str, Kind); 3] = [
    ("video", Kind::Video),
    ("audio", Kind::Audio),
    ("application", Kind::Meta),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_format_give_it_back() {
        let format = PayloadFormat {
            kind: Kind::Video,
            payload_type: 107,
            encoding: "VND.ONVIF/X".into(),
            clock_rate: 90_000,
            channels: 1,
            parameters: vec![("profile".into(), "a=b".into()), ("cbr".into(), String::new())],
        };
        let lines = format.to_codec_data();
        let expected = "m=video 0 RTP/AVP 107\na=rtpmap:107 VND.ONVIF/X/90000/1\na=fmtp:107 profile=a=b;cbr";
        assert_eq!(String::from_utf8(lines.clone()).unwrap(), expected);
        assert_eq!(PayloadFormat::from_codec_data(&lines), Some(format.clone()));
        let plain = PayloadFormat {
            kind: Kind::Meta,
            parameters: Vec::new(),
            ..format
        };
        assert_eq!(PayloadFormat::from_codec_data(&plain.to_codec_data()), Some(plain));
        for wrong in [
            "",
            "m=text 0 RTP/AVP 107\na=rtpmap:107 X/90000/1",
            "m=video 0 RTP/AVP 107",
            "m=video 0 RTP/AVP 107\na=rtpmap:108 X/90000/1",
            "m=video 0 RTP/AVP 107\na=rtpmap:107 X/0/1",
            "m=video 0 RTP/AVP 200\na=rtpmap:200 X/90000/1",
            "m=video 0 RTP/AVP 107\na=rtpmap:107 X/90000/1\na=fmtp:107 a=b\na=x",
        ] {
            assert_eq!(PayloadFormat::from_codec_data(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
