//! How loom is asked: a model is a few threads and few steps, run through every order of them that the memory model allows.
//!
//! Not a stress test: an order that no processor of today shows is one like any other.
//!
//! Each model stands in `models.rs` beside what it is about, runs the code itself and says in its name what holds. Run:
//! `tests/run --only loom`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Runs `model` in every order with at most three switches that no thread asked for: bugs that need more are rare, and each
/// more costs several times the orders (CHESS, Musuvathi and Qadeer 2007). `LOOM_MAX_PREEMPTIONS` says another number.
pub(crate) fn in_every_order(model: impl Fn() + Send + Sync + 'static) {
    with_switches(3, model);
}

/// As [`in_every_order`], for a reader of many words, each of which may be old or new wherever it is interrupted.
pub(crate) fn with_one_switch(model: impl Fn() + Send + Sync + 'static) {
    with_switches(1, model);
}

fn with_switches(switches: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(switches));
    // Steps of one run; making a feed alone takes some hundred.
    builder.max_branches = 20_000;
    let runs = std::sync::Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let runs = runs.load(Ordering::Relaxed);
    println!("{runs} orders");
    assert!(runs > 1, "a model has threads that meet");
}
