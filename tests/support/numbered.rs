//! A publisher of [`clips::NUMBERED`], over and over, that remembers when it has sent which picture: what a viewer sees is
//! told by the number in it, so how far it is behind is known to the millisecond. In a thread of its own, until dropped.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::clips::NUMBERED;
use super::flv::{self, AUDIO, Tag, VIDEO, shifted};
use super::rtmp::Publisher;

/// Pictures a second.
pub const RATE: u32 = 25;
/// Of the clip: its numbers begin anew behind them.
pub const PICTURES: u32 = NUMBERED.seconds * RATE;
const SAMPLES_PER_SECOND: u32 = 48_000;
const AAC_FRAME_SAMPLES: u32 = 1_024;

pub struct Numbered {
    sent: Arc<Sent>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Wall time, ms since 1970, at which each picture was handed to the kernel; the clip's rounds one behind the other.
#[derive(Default)]
struct Sent {
    pictures: Mutex<Vec<u64>>,
    more: Condvar,
}

impl Numbered {
    /// Gives back when the server has taken the publisher.
    pub fn start(to: SocketAddr, name: &str) -> Numbered {
        let (headers, frames) = clip();
        let mut publisher = Publisher::start(to, name, 1);
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(Sent::default());
        let (stopped, log) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            publisher.send(&headers);
            for round in 0.. {
                for tag in shifted(&frames, round * NUMBERED.seconds * 1_000) {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    publisher.send(std::slice::from_ref(&tag));
                    if tag.kind == VIDEO {
                        log.pictures.lock().expect("no holder panics").push(wall_millis());
                        log.more.notify_all();
                    }
                }
            }
        });
        Numbered {
            sent,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits until so many pictures were sent.
    pub fn wait_pictures(&self, count: usize, within: Duration) {
        let pictures = self.sent.pictures.lock().expect("no holder panics");
        let fewer = |pictures: &mut Vec<u64>| pictures.len() < count;
        let (pictures, waited) = self
            .sent
            .more
            .wait_timeout_while(pictures, within, fewer)
            .expect("no holder panics");
        assert!(
            !waited.timed_out(),
            "{} pictures sent of {count} within {within:?}",
            pictures.len()
        );
    }

    /// How long before `wall` (ms since 1970) the newest picture with this number was sent.
    pub fn behind_millis(&self, number: u32, wall: u64) -> u64 {
        assert!(number < PICTURES, "no picture has the number {number}");
        let pictures = self.sent.pictures.lock().expect("no holder panics");
        let rounds = pictures.iter().skip(number as usize).step_by(PICTURES as usize);
        let sent = rounds.take_while(|sent| **sent <= wall).last();
        wall - sent.unwrap_or_else(|| panic!("picture {number} was seen at {wall}, before it was sent"))
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A test that fails drops this while it unwinds.
            let _ = thread.join();
        }
    }
}

/// What is sent once, and the frames of a round: the clip has a sound frame more than its time, for AAC's priming.
fn clip() -> (Vec<Tag>, Vec<Tag>) {
    let tags = flv::tags(&std::fs::read(NUMBERED.file()).expect("made by the call"));
    let is_frame = |tag: &Tag| tag.is_frame(VIDEO) || tag.is_frame(AUDIO);
    let (mut frames, headers): (Vec<Tag>, Vec<Tag>) = tags.into_iter().partition(is_frame);
    let mut sounds_left = NUMBERED.seconds * SAMPLES_PER_SECOND / AAC_FRAME_SAMPLES;
    frames.retain(|tag| {
        let keep = tag.kind == VIDEO || sounds_left > 0;
        sounds_left -= u32::from(tag.kind == AUDIO && keep);
        keep
    });
    let pictures = frames.iter().filter(|tag| tag.kind == VIDEO).count();
    assert_eq!((pictures, sounds_left), (PICTURES as usize, 0), "the clip is whole");
    // The stream's own metadata would say that it lasts as long as the clip.
    (headers.into_iter().filter(Tag::is_header).collect(), frames)
}

pub fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is right").as_millis() as u64
}
