//! The log: lines are made on the thread that says them and written by one thread of its own, so that no core waits for
//! a terminal or a pipe. A log that cannot keep up loses lines, and says how many.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines on their way to the log thread: a burst of joins, not a memory.
const LINES_MAX: usize = 8192;

/// How long the end of the process waits for the last lines: a log that is read at all is read by then.
const FLUSH_WAIT: Duration = Duration::from_millis(200);

static STARTED: OnceLock<SyncSender<Entry>> = OnceLock::new();

/// What the log thread is sent.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Everything before it is written: say so.
    Flush(SyncSender<()>),
}

/// Turns logging on for the process, to standard error. `RUST_LOG` says what is logged, `info` if it is not set.
///
/// # Errors
/// The log thread could not be started, or `RUST_LOG` is not a filter.
pub fn start() -> io::Result<()> {
    let (sender, lines) = mpsc::sync_channel(LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let writer = Writer {
        sender: sender.clone(),
        lost: lost.clone(),
    };
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write_lines(&lines, &lost, &mut io::stderr()))?;
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) => EnvFilter::try_new(text).map_err(|error| io::Error::other(format!("RUST_LOG: {error}")))?,
        Err(_) => EnvFilter::new("info,glommio=error"),
    };
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(colours);
    subscriber
        .try_init()
        .map_err(|error| io::Error::other(error.to_string()))?;
    // The subscriber, of which a process has one, was just taken: so was this.
    let _ = STARTED.set(sender);
    std::panic::set_hook(Box::new(|panic| {
        let (place, text) = (panic.location().map(ToString::to_string), words(panic.payload()));
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(thread, place, text, "a defect of penstock: please report this line");
    }));
    Ok(())
}

/// A panic's words where they are the program's own. Those that were put together may hold what a peer sent: a name, a
/// passphrase.
fn words(payload: &dyn std::any::Any) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(values left out)")
}

/// Text for the operator beside the log, on standard error. Where that takes nothing (a full disk, a closed pipe) there is
/// nobody left to tell, and what goes on goes on.
pub fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Waits until what was logged is written, for the end of the process: the log thread ends with it.
pub fn flush() {
    let (written, wait) = mpsc::sync_channel(1);
    if let Some(sender) = STARTED.get()
        && sender.try_send(Entry::Flush(written)).is_ok()
    {
        let _ = wait.recv_timeout(FLUSH_WAIT);
    }
}

fn write_lines(entries: &Receiver<Entry>, lost: &AtomicU64, out: &mut impl Write) {
    while let Ok(entry) = entries.recv() {
        match entry {
            // Nobody is left to be told when standard error is gone.
            Entry::Line(line) => drop(out.write_all(&line)),
            Entry::Flush(written) => drop(written.try_send(())),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "{lost} log lines were lost: the log is written too slowly");
        }
    }
}

#[derive(Clone, Debug)]
struct Writer {
    sender: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

/// One line; sent when it is dropped.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    writer: Writer,
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            bytes: Vec::new(),
            writer: self.clone(),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let line = Entry::Line(std::mem::take(&mut self.bytes));
        if self.writer.sender.try_send(line).is_err() {
            self.writer.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_tell_what_a_peer_sent() {
        for (told, payload) in [
            (
                "out of order",
                std::panic::catch_unwind(|| panic!("out of order")).unwrap_err(),
            ),
            (
                "(values left out)",
                std::panic::catch_unwind(|| panic!("{} is no stream", String::from("pass"))).unwrap_err(),
            ),
        ] {
            assert_eq!(words(&*payload), told);
        }
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_a_flush_is_answered_behind_what_came_before() {
        let (sender, entries) = mpsc::sync_channel(3);
        let writer = Writer {
            sender: sender.clone(),
            lost: Arc::new(AtomicU64::new(0)),
        };
        for text in ["one\n", "two\n"] {
            writer.make_writer().write_all(text.as_bytes()).unwrap();
        }
        let (written, wait) = mpsc::sync_channel(1);
        sender.try_send(Entry::Flush(written)).unwrap();
        writer.make_writer().write_all(b"three\n").unwrap();
        let lost = writer.lost.clone();
        drop((sender, writer));
        let mut out = Vec::new();
        write_lines(&entries, &lost, &mut out);
        assert!(wait.try_recv().is_ok());
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.contains("one\n") && out.contains("two\n") && !out.contains("three"),
            "{out}"
        );
        assert!(out.contains("1 log lines were lost"), "{out}");
    }
}
