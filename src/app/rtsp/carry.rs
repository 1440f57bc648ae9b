//! An RTSP peer as bytes: its session, and what the appliance remembers of it, which only the process reads that wrote it.
//! Datagrams do not move: their sockets are a shard's own.

use penstock_proto::rtp::format::PayloadFormat;
use penstock_proto::rtsp;

use super::publishing::Announced;
use super::ranges::Unit;
use super::viewing::{Described, Offer};
use super::{Presentation, RtspPeer};
use crate::names::StreamName;

impl RtspPeer {
    /// Whether it could go to another shard now.
    pub fn is_portable(&self) -> bool {
        self.session.is_portable() && self.addresses.is_empty() && !self.is_tunnelled()
    }

    pub fn export(&self, out: &mut Vec<u8>) {
        let mut session = Vec::new();
        self.session.export(&mut session);
        put(out, &session);
        out.push(u8::from(self.was_challenged));
        out.push(u8::from(self.unit == Unit::Clock));
        match &self.presentation {
            Presentation::None => out.push(0),
            Presentation::Described(described) => {
                out.push(1);
                put(out, described.name.as_str().as_bytes());
                for offer in &described.offers {
                    put(out, &offer.track.to_be_bytes());
                    put(out, &[offer.payload_type]);
                }
            }
            Presentation::Announced(announced) => {
                out.push(2);
                put(out, &announced.ssrc.to_be_bytes());
                for format in &announced.formats {
                    put(
                        out,
                        &format.as_ref().map(PayloadFormat::to_codec_data).unwrap_or_default(),
                    );
                }
            }
        }
    }

    /// What [`RtspPeer::export`] has written.
    pub fn import(bytes: &[u8]) -> Option<RtspPeer> {
        let mut rest = bytes;
        let mut peer = RtspPeer::resumed(rtsp::Session::import(take(&mut rest)?).ok()?);
        let (&[was_challenged, unit, kind], mut rest) = rest.split_first_chunk()?;
        peer.was_challenged = was_challenged != 0;
        peer.unit = if unit == 0 { Unit::Npt } else { Unit::Clock };
        peer.presentation = match kind {
            0 => Presentation::None,
            1 => {
                let name = StreamName::sanitise(str::from_utf8(take(&mut rest)?).ok()?).ok()?.name;
                let mut offers = Vec::new();
                while !rest.is_empty() {
                    let track = u32::from_be_bytes(take(&mut rest)?.try_into().ok()?);
                    let &[payload_type] = take(&mut rest)? else {
                        return None;
                    };
                    offers.push(Offer { track, payload_type });
                }
                Presentation::Described(Described { name, offers })
            }
            2 => {
                let ssrc = u32::from_be_bytes(take(&mut rest)?.try_into().ok()?);
                let mut formats = Vec::new();
                while !rest.is_empty() {
                    formats.push(PayloadFormat::from_codec_data(take(&mut rest)?));
                }
                Presentation::Announced(Announced::new(formats, ssrc))
            }
            _ => return None,
        };
        Some(peer)
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (taken, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = behind;
    Some(taken)
}
