//! What this program was built from: the facts behind `penstock --version`. The root's build script finds them; each is
//! `unknown` when the tree or the machine cannot say.

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Twelve digits of the commit.
pub const COMMIT: &str = env!("PENSTOCK_BUILD_COMMIT");
/// `yes` when the tree had changes that were not committed, `no`, or `unknown`.
pub const DIRTY: &str = env!("PENSTOCK_BUILD_DIRTY");
/// Day of the build in UTC, or of `SOURCE_DATE_EPOCH`.
pub const DATE: &str = env!("PENSTOCK_BUILD_DATE");
pub const PROFILE: &str = env!("PENSTOCK_BUILD_PROFILE");
pub const TARGET: &str = env!("PENSTOCK_BUILD_TARGET");
pub const RUSTC: &str = env!("PENSTOCK_BUILD_RUSTC");

/// Version and build facts, for `--version`: the first line is enough for a bug report's title.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:  ",
    env!("PENSTOCK_BUILD_COMMIT"),
    "\nchanged: ",
    env!("PENSTOCK_BUILD_DIRTY"),
    "\nbuilt:   ",
    env!("PENSTOCK_BUILD_DATE"),
    ", ",
    env!("PENSTOCK_BUILD_PROFILE"),
    ", ",
    env!("PENSTOCK_BUILD_TARGET"),
    "\nwith:    ",
    env!("PENSTOCK_BUILD_RUSTC"),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_their_shape_or_are_unknown() {
        let hex = COMMIT.len() >= 7 && COMMIT.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(hex || COMMIT == "unknown", "{COMMIT}");
        assert!(["yes", "no", "unknown"].contains(&DIRTY), "{DIRTY}");
        let shape: String = DATE.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00", "{DATE}");
        assert!(RUSTC.starts_with("rustc 1."), "{RUSTC}");
        assert_eq!(LONG_VERSION.lines().count(), 5);
    }
}
