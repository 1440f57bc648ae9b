//! A child process whose lines and exit are events: wait for either with a deadline, end it when dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Which of its two streams a child wrote a line to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Stdout,
    Stderr,
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<(From, String)>,
    open: u8,
    status: Option<ExitStatus>,
}

#[derive(Debug, Default)]
struct Board {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no thread panics while it holds the board")
    }
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    pub pid: u32,
    board: Arc<Board>,
}

impl Process {
    /// Starts `command` with its input closed and both outputs read.
    pub fn start(name: &str, command: &mut Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot start ({command:?}): {error}"));
        let board = Arc::new(Board::default());
        board.lock().open = 2;
        read_lines(child.stdout.take().expect("piped above"), From::Stdout, &board);
        read_lines(child.stderr.take().expect("piped above"), From::Stderr, &board);
        let pid = child.id();
        reap(child, &board);
        Process {
            name: name.to_string(),
            pid,
            board,
        }
    }

    /// Waits until `found` picks something out of the lines so far; panics with everything the child said otherwise.
    pub fn wait<T>(&self, what: &str, within: Duration, found: impl Fn(From, &str) -> Option<T>) -> T {
        self.try_wait(within, found)
            .unwrap_or_else(|why| panic!("{}: {what}: {why}\n{}", self.name, self.said()))
    }

    /// As `wait`, but tells why not: the child ended, or the time was over.
    pub fn try_wait<T>(&self, within: Duration, found: impl Fn(From, &str) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + within;
        let mut seen = self.board.lock();
        let mut looked_at = 0;
        loop {
            for (from, line) in &seen.lines[looked_at..] {
                if let Some(value) = found(*from, line) {
                    return Ok(value);
                }
            }
            looked_at = seen.lines.len();
            if let (Some(status), 0) = (seen.status, seen.open) {
                return Err(format!("not seen before it ended ({status})"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("not seen within {within:?}"));
            }
            seen = self
                .board
                .changed
                .wait_timeout(seen, left)
                .expect("no thread panics while it holds the board")
                .0;
        }
    }

    /// Waits for a line of either stream that has every one of `words`.
    pub fn wait_words(&self, words: &[&str], within: Duration) -> String {
        self.wait(&format!("line with {words:?}"), within, |_, line| {
            has_words(line, words).then(|| line.to_string())
        })
    }

    /// Waits for the exit and for the end of both streams.
    pub fn wait_exit(&self, within: Duration) -> ExitStatus {
        self.try_exit(within)
            .unwrap_or_else(|| panic!("{} still runs after {within:?}; it said:\n{}", self.name, self.said()))
    }

    /// The exit status, if it comes within the time.
    pub fn try_exit(&self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        let mut seen = self.board.lock();
        loop {
            if let (Some(status), 0) = (seen.status, seen.open) {
                return Some(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            seen = self
                .board
                .changed
                .wait_timeout(seen, left)
                .expect("no thread panics while it holds the board")
                .0;
        }
    }

    /// Waits for the exit and requires success.
    pub fn succeed(&self, within: Duration) {
        let status = self.wait_exit(within);
        assert!(
            status.success(),
            "{} ended with {status}; it said:\n{}",
            self.name,
            self.said()
        );
    }

    pub fn signal(&self, name: &str) {
        if self.board.lock().status.is_none() {
            let sent = Command::new("kill")
                .arg(format!("-{name}"))
                .arg(self.pid.to_string())
                .status();
            assert!(sent.is_ok(), "kill (procps or util-linux) is missing");
        }
    }

    /// Everything it wrote, a line each.
    pub fn said(&self) -> String {
        self.lines().into_iter().map(|(_, line)| line + "\n").collect()
    }

    pub fn lines(&self) -> Vec<(From, String)> {
        self.board.lock().lines.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("KILL");
        self.try_exit(Duration::from_secs(5));
    }
}

/// Whether a line has all the words, whatever colours the writer put around them.
pub fn has_words(line: &str, words: &[&str]) -> bool {
    let plain = without_colours(line);
    words.iter().all(|word| plain.contains(word))
}

/// Runs a command to its end and gives what it printed; panics with all it said when it fails or takes longer.
pub fn run(name: &str, command: &mut Command, within: Duration) -> String {
    let process = Process::start(name, command);
    process.succeed(within);
    let printed = process.lines().into_iter().filter(|(from, _)| *from == From::Stdout);
    printed.map(|(_, line)| line + "\n").collect()
}

/// Drops terminal colour sequences (`ESC [ … m`).
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(char) = rest.next() {
        if char == '\u{1b}' {
            rest.by_ref().find(|end| *end == 'm');
        } else {
            plain.push(char);
        }
    }
    plain
}

fn read_lines(source: impl Read + Send + 'static, from: From, board: &Arc<Board>) {
    let board = Arc::clone(board);
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut bytes = Vec::new();
        // Progress lines of ffmpeg and rtmpdump end with a carriage return only; they arrive as one long line.
        while source.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_string();
            bytes.clear();
            board.lock().lines.push((from, line));
            board.changed.notify_all();
        }
        board.lock().open -= 1;
        board.changed.notify_all();
    });
}

fn reap(mut child: Child, board: &Arc<Board>) {
    let board = Arc::clone(board);
    std::thread::spawn(move || {
        let status = child.wait().expect("a child that was started can be waited for");
        board.lock().status = Some(status);
        board.changed.notify_all();
    });
}
