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

/// As [`assert_strict`], of a viewer who was moved: what follows in one run is strict, and how many runs there are is said
/// where the container tells it (the others pass over it in silence).
pub fn assert_strict_runs(path: &Path) -> Option<usize> {
    if path.extension().is_none_or(|extension| extension != "mp4") {
        assert_strict(path);
        return None;
    }
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut head, mut runs, mut last) = (Vec::new(), Vec::<Vec<u8>>::new(), None);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let size = rest.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
        assert!(
            (8..=rest.len()).contains(&size),
            "{}: a box of {size} bytes",
            path.display()
        );
        let (whole, after) = rest.split_at(size);
        match &whole[4..8] {
            b"moof" => {
                // Behind the heads of `moof` and `mfhd`, version and flags.
                let number = u32::from_be_bytes(*whole[20..].first_chunk().expect("a moof has its number"));
                if last.is_none_or(|last: u32| last + 1 != number) {
                    runs.push(head.clone());
                }
                last = Some(number);
                runs.last_mut().expect("pushed above").extend_from_slice(whole);
            }
            b"mdat" => runs.last_mut().expect("behind its moof").extend_from_slice(whole),
            _ => head.extend_from_slice(whole),
        }
        rest = after;
    }
    for run in &runs {
        if let Err(fault) = mp4::read(run) {
            panic!("{}: {fault}", path.display());
        }
    }
    Some(runs.len())
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
