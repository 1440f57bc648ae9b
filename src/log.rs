//! The log: lines are made on the thread that says them and written by one thread of its own, so that no core waits for
//! a terminal or a pipe. A log that cannot keep up loses lines, and says how many.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines on their way to the log thread: a burst of joins, not a memory.
const LINES_MAX: usize = 8192;

/// Turns logging on for the process, to standard error. `RUST_LOG` says what is logged, `info` if it is not set.
///
/// # Errors
/// The log thread could not be started, or `RUST_LOG` is not a filter.
pub fn start() -> io::Result<()> {
    let (sender, lines) = mpsc::sync_channel(LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let writer = Writer {
        sender,
        lost: lost.clone(),
    };
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write_lines(&lines, &lost))?;
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
        .map_err(|error| io::Error::other(error.to_string()))
}

fn write_lines(lines: &Receiver<Vec<u8>>, lost: &AtomicU64) {
    let mut out = io::stderr();
    while let Ok(line) = lines.recv() {
        // Nobody is left to be told when standard error is gone.
        let _ = out.write_all(&line);
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "{lost} log lines were lost: the log is written too slowly");
        }
    }
}

#[derive(Clone, Debug)]
struct Writer {
    sender: SyncSender<Vec<u8>>,
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
        if self.writer.sender.try_send(std::mem::take(&mut self.bytes)).is_err() {
            self.writer.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
