//! Panics where a test wants them: a step of a stream's or connection's code that has been armed panics when it is reached.
//! Only compiled for tests; what a panic may leave half done cannot be seen without one in the middle of it.

use std::cell::Cell;

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A medium is taken in, while the stream's publisher is out of its place.
    Push,
    /// A feed is made for a viewer.
    Open,
    /// The stream ends, between two of its feeds.
    Finish,
    /// The publisher leaves.
    Leave,
    /// A publisher is let in, and the stream is made.
    Accept,
    /// The publisher's session is packed for its home.
    Export,
    /// It is unpacked there.
    Import,
}

thread_local! {
    static ARMED: Cell<Option<Step>> = const { Cell::new(None) };
}

/// The next time this thread comes to `step` it panics.
pub fn arm(step: Step) {
    ARMED.set(Some(step));
}

/// The text has a value in it, as those have that tell what a peer sent.
pub fn spring(step: Step) {
    if ARMED.get() == Some(step) {
        ARMED.set(None);
        panic!("armed by a test: {step:?}");
    }
}
