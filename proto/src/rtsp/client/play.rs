//! While it plays: where packets begin, and the keep-alives that nobody answers or somebody refuses.

use super::limits::{KEEP_ALIVE_MILLIS_MAX, KEEP_ALIVE_MILLIS_MIN};
use super::{Session, Stage};
use crate::rtsp::wire::message::Head;

/// What keeps the session. Receiver reports do it as well, and go anyway.
#[derive(Debug, Default)]
pub(super) struct KeepAlive {
    by: By,
    pub(super) next_ms: u64,
    /// The last one's number, until it is answered.
    sequence: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum By {
    GetParameter,
    #[default]
    Options,
    /// The server refused both.
    ReportsAlone,
}

impl KeepAlive {
    /// By what the server says it knows.
    pub(super) fn of<'a>(mut public: impl Iterator<Item = &'a str>) -> KeepAlive {
        let knows = |text: &str| {
            text.split(',')
                .any(|method| method.trim().eq_ignore_ascii_case("GET_PARAMETER"))
        };
        let by = match public.any(knows) {
            true => By::GetParameter,
            false => By::Options,
        };
        KeepAlive {
            by,
            ..KeepAlive::default()
        }
    }
}

impl Session {
    pub(super) fn keep_alive_at(&self) -> Option<u64> {
        let is_due = matches!(self.stage, Stage::Playing(_)) && self.keep_alive.by != By::ReportsAlone;
        is_due.then_some(self.keep_alive.next_ms)
    }

    pub(super) fn keep_alive_millis(&self) -> u64 {
        (self.timeout_ms / 2).clamp(KEEP_ALIVE_MILLIS_MIN, KEEP_ALIVE_MILLIS_MAX)
    }

    pub(super) fn send_keep_alive(&mut self) {
        let Stage::Playing(plan) = &self.stage else { return };
        let url = plan.url.clone();
        let method = match self.keep_alive.by {
            By::GetParameter => "GET_PARAMETER",
            By::Options => "OPTIONS",
            By::ReportsAlone => return,
        };
        self.keep_alive.sequence = Some(self.write_request(method, &url, ""));
        self.keep_alive.next_ms = self.now_ms + self.keep_alive_millis();
        self.counters.keep_alives = self.counters.keep_alives.saturating_add(1);
    }

    /// Whether an answer is to the last one.
    pub(super) fn keep_alive_answered(&mut self, status: u16, head: &Head) -> bool {
        let is_for = |sequence: &mut u32| head.sequence().is_none_or(|known| known == *sequence);
        if self.keep_alive.sequence.take_if(is_for).is_none() {
            return false;
        }
        if status == 401 {
            // The next one, in some seconds, goes with it.
            if let Some(challenge) = self.challenge(head) {
                self.trust(challenge);
            }
        } else if status >= 300 {
            self.counters.keep_alives_refused = self.counters.keep_alives_refused.saturating_add(1);
            self.keep_alive.by = match self.keep_alive.by {
                By::GetParameter => By::Options,
                By::Options | By::ReportsAlone => By::ReportsAlone,
            };
        }
        true
    }
}

/// `RTP-Info` (RFC 2326 12.33): RTP times by medium. Its addresses are compared with those of SETUP, then by their ends,
/// then by their order if there are as many; blanks stand anywhere.
pub(super) fn begins(head: &Head, media: &[(usize, String)]) -> Vec<(usize, u32)> {
    let text = head.all("RTP-Info").collect::<Vec<_>>().join(",");
    let entries = entries(&text);
    let is_complete = entries.len() == media.len();
    let mut begins = Vec::new();
    for (at, (url, time)) in entries.into_iter().enumerate() {
        let ends = |(_, known): &&(usize, String)| !url.is_empty() && known.ends_with(url.trim_start_matches('/'));
        let found = media
            .iter()
            .find(|(_, known)| known == url)
            .or_else(|| media.iter().find(ends))
            .or_else(|| media.get(at).filter(|_| is_complete));
        if let (Some((medium, _)), Some(time)) = (found, time)
            && begins.iter().all(|(known, _)| known != medium)
        {
            begins.push((*medium, time));
        }
    }
    begins
}

/// Addresses, which may hold commas and semicolons, with their `rtptime`.
fn entries(text: &str) -> Vec<(&str, Option<u32>)> {
    let mut entries: Vec<(&str, Option<u32>)> = Vec::new();
    for part in text.split([';', ',']).map(str::trim) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim().trim_matches('"');
        match (name.trim().to_ascii_lowercase().as_str(), entries.last_mut()) {
            ("url", _) => entries.push((value, None)),
            // From 32 bits; some write them with a sign.
            ("rtptime", Some((_, time))) => *time = value.parse::<i64>().ok().map(|time| time as u32),
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::wire::message::{Read, Reader};

    #[test]
    fn rtp_info_is_found_as_it_is_written() {
        let media = vec![
            (0, "rtsp://h/live/track1".to_owned()),
            (2, "rtsp://h/live/track2".to_owned()),
        ];
        for (text, expected) in [
            (
                "url=rtsp://h/live/track1;seq=1;rtptime=7,url=rtsp://h/live/track2;seq=2;rtptime=8",
                vec![(0, 7), (2, 8)],
            ),
            (
                "url=rtsp://h/live/track2; seq=1; rtptime=7 , url=rtsp://h/live/track1;rtptime = 9",
                vec![(2, 7), (0, 9)],
            ),
            ("url=track2;rtptime=4294967295", vec![(2, u32::MAX)]),
            ("url=/track1;rtptime=-1", vec![(0, u32::MAX)]),
            (
                "url=rtsp://10.0.0.1/a,b;c/;seq=1;rtptime=5, url=x;rtptime=6",
                vec![(0, 5), (2, 6)],
            ),
            ("url=x;rtptime=6", vec![]),
            ("url=track1;rtptime=7.20783e+06,url=track2;seq=1", vec![]),
            ("url=track1;rtptime=1,url=track1;rtptime=2,url=;rtptime=1", vec![(0, 1)]),
            ("rtptime=5", vec![]),
            ("", vec![]),
        ] {
            let message = format!("RTSP/1.0 200 OK\r\nRTP-Info: {text}\r\n\r\n");
            let mut reader = Reader::default();
            let Ok((_, Some(Read::Message { head, .. }))) = reader.read(message.as_bytes()) else {
                panic!("it is a whole message");
            };
            assert_eq!(begins(&head, &media), expected, "{text}");
        }
    }
}
