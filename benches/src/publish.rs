//! The publisher: the clip in a loop at the pace of its clock, each picture stamped with the time of its sending.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use penstock_proto::rtmp::client::{Client, Options};
use penstock_proto::tag::MessageKind;

use crate::clip::{Clip, Timed};
use crate::stamp::Stamp;
use crate::sys;
use crate::target::{Target, connect, converse};

/// Codec byte, packet type and composition time before the NAL units of a picture.
const VIDEO_HEAD_BYTES: usize = 5;
/// Looks at whether it shall end at least so often.
const NAP: Duration = Duration::from_millis(100);

/// A thread with one connection. Dropping it ends the publish.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    frames: AtomicU64,
    late_nanos_max: AtomicU64,
}

impl Publisher {
    /// Connects, is accepted, and goes on by itself.
    pub fn start(target: &Target, clip: Arc<Clip>) -> anyhow::Result<Publisher> {
        let Target::Rtmp {
            address,
            app,
            name,
            tc_url,
        } = target
        else {
            bail!("a publisher needs an rtmp:// URL");
        };
        let mut stream = connect(*address)?;
        let client = Client::publish(Options::default(), app, tc_url, name);
        let (client, _) = converse(client, &mut stream).context("cannot publish")?;
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("publisher".into())
            .spawn(move || run(&client, stream, &clip, &seen))?;
        Ok(Publisher {
            shared,
            thread: Some(thread),
        })
    }

    /// Frames sent so far, of picture and sound.
    pub fn frames(&self) -> u64 {
        self.shared.frames.load(Ordering::Relaxed)
    }

    /// How late the latest frame was against the clip's clock.
    pub fn late_max(&self) -> Duration {
        Duration::from_nanos(self.shared.late_nanos_max.load(Ordering::Relaxed))
    }

    /// Fails when the publish has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return self.end();
        }
        Ok(())
    }

    /// Ends the publish in good manners.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread
            .join()
            .map_err(|_| anyhow!("the publisher's thread panicked"))?
            .context("the publisher failed")
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Whoever wants to know has called `end`.
        let _ = self.end();
    }
}

fn run(client: &Client, mut stream: TcpStream, clip: &Clip, shared: &Shared) -> anyhow::Result<()> {
    let (mut out, mut body, mut scratch) = (Vec::new(), Vec::new(), vec![0; 4096]);
    for timed in &clip.setup {
        client.send_media(timed.kind, 0, &timed.body, &mut out);
    }
    stream.write_all(&out)?;
    let start = Instant::now();
    let (mut number, mut newest) = (0, start);
    for round in 0u64.. {
        for timed in &clip.frames {
            let millis = round * u64::from(clip.millis) + u64::from(timed.millis);
            let due = start + Duration::from_millis(millis);
            if !sleep_until(due, shared) {
                out.clear();
                client.send_end(&mut out);
                stream.write_all(&out)?;
                return Ok(());
            }
            out.clear();
            // Sound and picture stand in the file a little out of order; a frame is not late for the one before it.
            newest = newest.max(due);
            let late = Instant::now().saturating_duration_since(newest).as_nanos() as u64;
            shared.late_nanos_max.fetch_max(late, Ordering::Relaxed);
            // 32-bit message time wraps.
            stamped(timed, &mut number, &mut body);
            client.send_media(timed.kind, millis as u32, &body, &mut out);
            stream.write_all(&out).context("the server takes no more")?;
            shared.frames.fetch_add(1, Ordering::Relaxed);
            // Acknowledgements and pings are of no interest, but must not fill the socket.
            if let Ok(0) = sys::discard(&stream, &mut scratch) {
                bail!("the server closed the publisher's connection");
            }
        }
    }
    Ok(())
}

/// The message's body, a picture's with a stamp in front of its NAL units.
fn stamped(timed: &Timed, number: &mut u32, body: &mut Vec<u8>) {
    body.clear();
    match timed.body.split_at_checked(VIDEO_HEAD_BYTES) {
        Some((head, units)) if timed.kind == MessageKind::Video => {
            body.extend_from_slice(head);
            Stamp {
                nanos: sys::monotonic_nanos(),
                number: *number,
            }
            .emit(body);
            body.extend_from_slice(units);
            *number = number.wrapping_add(1);
        }
        _ => body.extend_from_slice(&timed.body),
    }
}

/// Whether the time came before the wish to stop.
fn sleep_until(due: Instant, shared: &Shared) -> bool {
    loop {
        if shared.stop.load(Ordering::Relaxed) {
            return false;
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(NAP));
    }
}

#[cfg(test)]
mod tests {
    use penstock_proto::codec::nal;

    use super::*;
    use crate::stamp::Search;

    #[test]
    fn a_stamped_picture_is_its_units_behind_one_more() {
        let picture = Timed {
            kind: MessageKind::Video,
            millis: 0,
            body: vec![0x17, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 0x88],
        };
        let (mut number, mut body) = (7, Vec::new());
        stamped(&picture, &mut number, &mut body);
        assert_eq!(body[..VIDEO_HEAD_BYTES], picture.body[..VIDEO_HEAD_BYTES]);
        let units: Vec<&[u8]> = nal::units(&body[VIDEO_HEAD_BYTES..]).collect();
        assert!(nal::is_well_formed(&body[VIDEO_HEAD_BYTES..]));
        assert_eq!((units.len(), units[0][0], units[1]), (2, 6, &[0x65, 0x88][..]));
        let mut found = Vec::new();
        Search::new().feed(&body, |stamp| found.push(stamp.number));
        assert_eq!((found, number), (vec![7], 8));
    }
}
