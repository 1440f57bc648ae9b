//! What a shard wants of its executor: a pinned thread that runs a future, and a sleep until an eventfd is signalled.
//! Everything of glommio that shards touch is behind this page, so that it can be replaced in a week.
//!
//! A thread is started in two steps, because locked memory is one limit for all of them and the executor takes as much
//! as it can get: first every thread reserves what it cannot do without, then one after the other begins.

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use glommio::io::BufferedFile;
use glommio::{LocalExecutorBuilder, Placement};

use crate::sys::socket;

/// Locked memory below which the executor refuses to start, whatever it would take.
pub const LOCKED_BYTES_MIN: u64 = 512 * 1024;

/// Locked memory of its three small rings, on kernels that count rings (6.18 does).
pub const RINGS_LOCKED_BYTES: usize = 3 * 16 * 1024;

/// Registered memory for file I/O of one executor, the least that glommio takes. Nothing reads files on a shard except
/// the wake-up, which takes one block.
const IO_MEMORY_BYTES: usize = 64 * 1024;
const RING_DEPTH: usize = 128;

/// What the executor registers of it, once with each ring; it goes without when locked memory does not allow it.
pub const REGISTERED_BYTES: u64 = 3 * IO_MEMORY_BYTES as u64;

/// A running shard thread.
pub struct Thread {
    handle: JoinHandle<io::Result<()>>,
    ended: Arc<AtomicBool>,
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thread").finish_non_exhaustive()
    }
}

impl Thread {
    /// Whether it has ended, be it by a panic.
    pub fn is_finished(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// For whoever watches the thread from another.
    pub fn ended(&self) -> Ended {
        Ended(self.ended.clone())
    }

    /// Waits for the shard's end.
    pub fn join(self) -> io::Result<()> {
        // A panic has said its words on its own thread.
        self.handle
            .join()
            .map_err(|_| io::Error::other("the thread died of a defect"))?
    }
}

/// Says whether a thread has ended.
#[derive(Clone, Debug)]
pub struct Ended(Arc<AtomicBool>);

impl Ended {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Set at the end of its scope, on unwinding too.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A thread that holds what it cannot do without, and waits for the word to begin.
#[derive(Debug)]
pub struct Reserved {
    thread: Thread,
    go: SyncSender<()>,
    reports: Receiver<io::Result<()>>,
}

impl Reserved {
    /// Makes the executor, which takes what the limits leave, and runs the thread's future.
    ///
    /// # Errors
    /// The executor could not be made.
    pub fn begin(self) -> io::Result<Thread> {
        // A thread that is gone has no report either.
        let _ = self.go.send(());
        reported(&self.reports)?;
        Ok(self.thread)
    }
}

fn reported(reports: &Receiver<io::Result<()>>) -> io::Result<()> {
    reports
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the thread died of a defect")))
}

/// Starts a thread pinned to `cpu` that takes `first` and then waits for [`Reserved::begin`]. Then it makes room with
/// `before`, makes its executor, and runs the future that `main` makes.
///
/// # Errors
/// Of `first`, or there can be no such thread.
pub fn reserve<P, F>(
    name: &str,
    cpu: usize,
    first: impl FnOnce() -> io::Result<P> + Send + 'static,
    before: impl FnOnce(&mut P) + Send + 'static,
    main: impl FnOnce(P) -> F + Send + 'static,
) -> io::Result<Reserved>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let ended = Arc::new(AtomicBool::new(false));
    let end = SetOnDrop(ended.clone());
    let (report, reports) = sync_channel(1);
    let (go, word) = sync_channel(1);
    let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _end = end;
        // The ring's memory comes from the node that the thread runs on.
        let pinned = socket::pin(cpu);
        // In words: a number of its own would be taken for the ring's.
        let pinned = pinned.map_err(|error| io::Error::other(format!("cannot run on CPU {cpu} alone: {error}")));
        let mut held = match pinned.and_then(|()| first()) {
            Ok(held) => held,
            Err(error) => return tell(&report, Err(error)),
        };
        tell(&report, Ok(()))?;
        if word.recv().is_err() {
            return Ok(());
        }
        before(&mut held);
        let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(RING_DEPTH)
            .make();
        let executor = match executor {
            Ok(executor) => executor,
            Err(error) => return tell(&report, Err(error.into())),
        };
        tell(&report, Ok(()))?;
        executor.run(async move { main(held).await })
    })?;
    reported(&reports)?;
    Ok(Reserved {
        thread: Thread { handle, ended },
        go,
        reports,
    })
}

/// Whoever starts the thread hears of it; there is nobody else to tell.
fn tell(report: &SyncSender<io::Result<()>>, what: io::Result<()>) -> io::Result<()> {
    report.send(what).map_err(io::Error::other)
}

/// Starts a thread pinned to `cpu` that runs the future `main` makes, with nothing to reserve.
pub fn start<F>(name: &str, cpu: usize, main: impl FnOnce() -> F + Send + 'static) -> io::Result<Thread>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    reserve(name, cpu, || Ok(()), |()| (), move |()| main())?.begin()
}

/// Lets other tasks of the executor run when their share is due.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

/// Sleeps until an eventfd is signalled.
#[derive(Debug)]
pub struct Sleep {
    file: BufferedFile,
}

impl Sleep {
    /// Must be called on the executor's thread.
    pub fn new(eventfd: BorrowedFd<'_>) -> io::Result<Sleep> {
        Ok(Sleep {
            file: socket::eventfd_as_file(eventfd)?,
        })
    }

    /// Until the eventfd has been signalled since the last return.
    pub async fn wait(&self) -> io::Result<()> {
        let read = self.file.read_at(0, size_of::<u64>()).await;
        read.map(|_| ()).map_err(|error| io::Error::other(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_has_ended_and_says_so() {
        let cpu = socket::allowed_cpus().unwrap()[0];
        type Main = fn() -> io::Result<()>;
        let cases: [(Main, bool); 3] = [
            (|| Ok(()), true),
            (|| Err(io::Error::other("no")), false),
            (|| panic!("this panic is the test's"), false),
        ];
        for (main, is_ok) in cases {
            let thread = start("test", cpu, move || async move { main() }).unwrap();
            let ended = thread.ended();
            assert_eq!(thread.join().is_ok(), is_ok);
            assert!(ended.is_set());
        }
    }
}
