//! What a shard wants of its executor: a pinned thread that runs a future, and a sleep until an eventfd is signalled.
//! Everything of glommio that shards touch is behind this page, so that it can be replaced in a week.

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use glommio::io::BufferedFile;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use crate::sys::socket;

/// Locked memory one executor takes: three small rings and its registered file buffers.
pub const LOCKED_BYTES: u64 = 512 * 1024;

/// Registered memory for file I/O of one executor. Nothing reads files on a shard except the wake-up, which takes one
/// block.
const IO_MEMORY_BYTES: usize = 256 * 1024;
const RING_DEPTH: usize = 128;

/// A running shard thread.
pub struct Thread {
    handle: ExecutorJoinHandle<io::Result<()>>,
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
            .map_err(|error| io::Error::other(format!("the thread died: {error}")))?
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

/// Starts a thread pinned to `cpu` that runs the future `main` makes.
pub fn start<F>(name: &str, cpu: usize, main: impl FnOnce() -> F + Send + 'static) -> io::Result<Thread>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .spawn(move || async move {
            let _end = SetOnDrop(end);
            main().await
        })
        .map(|handle| Thread { handle, ended })
        .map_err(|error| io::Error::other(error.to_string()))
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
