//! What the tests from outside share: a server under test, publishers, players, clips and the frame comparer.
//!
//! Nothing here knows penstock's insides: it starts the binary, speaks to it over loopback and reads what it prints.
//! Every wait is for an event (a line, a byte, an exit) with a deadline; nothing sleeps and hopes.

// Each test file compiles this module for itself and uses a part of it.
#![allow(dead_code)]

pub mod air;
pub mod audience;
pub mod browser;
pub mod clips;
pub mod compare;
pub mod confine;
pub mod crowd;
pub mod demuxed;
pub mod fetch;
pub mod flv;
pub mod follow;
pub mod librtmp;
pub mod multitrack;
pub mod normal;
pub mod numbered;
pub mod players;
pub mod process;
pub mod publish;
pub mod raw;
pub mod resting;
pub mod rtmp;
pub mod rtsp;
pub mod rtsp_players;
pub mod segmented;
pub mod server;
pub mod strict;
pub mod tags;
pub mod tls;
pub mod viewers;
pub mod wire;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A fresh directory for one use, readable by every user of the machine (players and servers run as others).
pub fn scratch(name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir()
        .join("penstock-tests")
        .join(format!("{}-{serial}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
    for each in [dir.parent().expect("joined above"), dir.as_path()] {
        // The parent may belong to an earlier run by another user; then its mode is already right.
        let _ = std::fs::set_permissions(each, std::fs::Permissions::from_mode(0o777));
    }
    dir
}

/// Where what a person may want to look at after a run is left: `target/penstock-tests`.
pub fn artifacts() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("penstock-tests");
    std::fs::create_dir_all(&dir).expect("the target directory can be written");
    dir
}
