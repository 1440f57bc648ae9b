//! One connection that asks and waits: what a bench needs to know of a stream before its viewers ask.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::answer::{Answer, Piece};
use crate::player::playlist::{self, At, Media, Place, Playlist};
use crate::target::Target;

/// Longer than the longest wait that HLS allows a server: three target durations.
const ANSWER: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Fetcher {
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Fetcher {
    pub fn new() -> Fetcher {
        Fetcher {
            stream: None,
            buffer: vec![0; READ_BYTES],
        }
    }

    /// The body of a good answer.
    pub fn get(&mut self, target: &Target) -> anyhow::Result<Vec<u8>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(target.authority.address)?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(&target.request(None))?;
        let (mut answer, mut body) = (Answer::default(), Vec::new());
        loop {
            let came = stream.read(&mut self.buffer).with_context(|| target.url())?;
            if came == 0 {
                bail!("{}: closed in the answer", target.url());
            }
            let mut input = &self.buffer[..came];
            loop {
                match answer.next(&mut input)? {
                    Piece::More => break,
                    Piece::Head(head) => head.check().with_context(|| target.url())?,
                    Piece::Body(bytes) => body.extend_from_slice(bytes),
                    Piece::End => {
                        self.stream = Some(stream);
                        return Ok(body);
                    }
                }
            }
        }
    }

    pub fn text(&mut self, target: &Target) -> anyhow::Result<String> {
        String::from_utf8(self.get(target)?).with_context(|| format!("{} is no text", target.url()))
    }

    /// A media playlist.
    pub fn media(&mut self, target: &Target) -> anyhow::Result<Media> {
        match playlist::parse(&self.text(target)?).with_context(|| target.url())? {
            Playlist::Media(list) => Ok(list),
            Playlist::Master(_) => bail!("{} is a master playlist", target.url()),
        }
    }

    /// The media playlists that the master at `target` names first: picture, and the sound that goes with it.
    pub fn variants(&mut self, target: &Target) -> anyhow::Result<(Target, Option<Target>)> {
        match playlist::parse(&self.text(target)?).with_context(|| target.url())? {
            Playlist::Media(_) => Ok((target.clone(), None)),
            Playlist::Master(master) => {
                let sound = master.sound.map(|sound| target.resolve(&sound)).transpose()?;
                Ok((target.resolve(&master.picture)?, sound))
            }
        }
    }
}

/// `target` with what asks to wait until `place` is there.
pub fn blocking(target: &Target, (number, part): Place) -> Target {
    let sign = if target.path.contains('?') { '&' } else { '?' };
    Target {
        path: format!("{}{sign}_HLS_msn={number}&_HLS_part={part}", target.path),
        ..target.clone()
    }
}

/// What stands behind `place`: the next part of its segment, or the first of the next.
pub fn behind(list: &Media, (number, part): Place) -> Option<(String, Place)> {
    [(number, part + 1), (number + 1, 0)]
        .into_iter()
        .find_map(|place| match list.at(place) {
            At::Piece { piece, .. } | At::Hint { piece, .. } => Some((piece.uri, place)),
            At::NotYet | At::Gone => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::playlist::Piece;

    #[test]
    fn what_comes_behind_a_part_is_the_next_one_or_the_next_segments_first() {
        let part = |uri: &str| Piece {
            uri: uri.into(),
            ..Piece::default()
        };
        let mut list = Media {
            first: 7,
            open: vec![part("a"), part("b")],
            hint: Some(part("c")),
            part_seconds: Some(0.3),
            can_block: true,
            ..Media::default()
        };
        assert_eq!(behind(&list, (7, 0)), Some(("b".into(), (7, 1))));
        assert_eq!(behind(&list, (7, 1)), Some(("c".into(), (7, 2))));
        assert_eq!(behind(&list, (6, 5)), Some(("a".into(), (7, 0))));
        list.hint = None;
        assert_eq!(behind(&list, (7, 1)), None);
        let target = Target::parse("http://127.0.0.1:80/a.m3u8?x=1").unwrap();
        assert_eq!(blocking(&target, (7, 2)).path, "/a.m3u8?x=1&_HLS_msn=7&_HLS_part=2");
    }
}
