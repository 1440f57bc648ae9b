//! Recordings judged by penstock's own strict readers, which see what players forgive: continuity, clocks and tables of
//! TS, boxes and runs of MP4, tags of FLV.

use std::path::Path;

use penstock_proto::{mp4, ts};

use super::flv;

/// Requires a recording that was read to its clean end to be without a fault.
pub fn assert_strict(path: &Path) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!bytes.is_empty(), "{} is empty", path.display());
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ts") => ts_faults(path, &bytes),
        Some("mp4") => {
            if let Err(fault) = mp4::read(&bytes) {
                panic!("{}: {fault}", path.display());
            }
        }
        Some("flv") => flv_faults(path, &bytes),
        other => panic!("{}: no strict reader for {other:?}", path.display()),
    }
}

/// A file is its header and whole tags, each followed by its size.
fn flv_faults(path: &Path, bytes: &[u8]) {
    let tags = flv::tags(bytes);
    let mut written = flv::file(&tags);
    // Which kinds there are is said by whoever began the file.
    written[4] = bytes[4];
    let same = written.iter().zip(bytes).take_while(|(wanted, found)| wanted == found);
    let at = same.count();
    assert!(
        at == bytes.len() && at == written.len(),
        "{}: {} tags, then byte {at} of {} is not what follows",
        path.display(),
        tags.len(),
        bytes.len()
    );
}

fn ts_faults(path: &Path, bytes: &[u8]) {
    let mut checker = ts::check::Checker::new();
    checker.push(bytes);
    let report = checker.finish();
    let problems: Vec<String> = report.problems.iter().map(|problem| format!("{problem}\n")).collect();
    assert!(
        report.problem_count == 0,
        "{}: {} problems, first:\n{}",
        path.display(),
        report.problem_count,
        problems.concat()
    );
}
