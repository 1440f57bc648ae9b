//! Amounts as operators write them, and kernels that say different things of what a process may use.

use super::*;

const GIB: u64 = 1 << 30;

#[test]
fn amounts_are_read_as_operators_write_them() {
    use Amount::{Bytes, Percent};
    for (text, expected) in [
        ("8G", Ok(Bytes(8 * GIB))),
        ("8g", Ok(Bytes(8 * GIB))),
        (" 8 GiB ", Ok(Bytes(8 * GIB))),
        ("512M", Ok(Bytes(GIB / 2))),
        ("1048576K", Ok(Bytes(GIB))),
        ("1T", Ok(Bytes(1 << 40))),
        ("1073741824", Ok(Bytes(GIB))),
        ("16777216B", Ok(Bytes(16 << 20))),
        ("50%", Ok(Percent(50))),
        ("1 %", Ok(Percent(1))),
        ("100%", Ok(Percent(100))),
        ("0%", Err(AmountError::Percent)),
        ("101%", Err(AmountError::Percent)),
        ("99999999999999999999%", Err(AmountError::Percent)),
        ("0", Err(AmountError::OutOfRange)),
        ("15M", Err(AmountError::OutOfRange)),
        ("17T", Err(AmountError::OutOfRange)),
        ("18446744073709551616", Err(AmountError::OutOfRange)),
        ("18446744073709551615T", Err(AmountError::OutOfRange)),
        ("", Err(AmountError::Unreadable)),
        ("%", Err(AmountError::Unreadable)),
        ("-8G", Err(AmountError::Unreadable)),
        ("8.5G", Err(AmountError::Unreadable)),
        ("8X", Err(AmountError::Unreadable)),
        ("8GB", Err(AmountError::Unreadable)),
        ("lots", Err(AmountError::Unreadable)),
        ("8½", Err(AmountError::Unreadable)),
    ] {
        assert_eq!(text.parse::<Amount>(), expected, "{text:?}");
    }
}

/// A machine of 8 GiB whose kernel also says `files`.
fn machine(files: &[(&str, &str)]) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "penstock-memory-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let root = std::env::temp_dir().join(name);
    let meminfo = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
    for (path, text) in [&[meminfo], files].concat() {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn check(files: &[(&str, &str)], wanted: Wanted, bytes: u64, source: &str) {
    let root = machine(files);
    let budget = budget_below(&root, wanted).unwrap();
    assert_eq!((budget.bytes, budget.source.as_str()), (bytes, source), "{files:?}");
    fs::remove_dir_all(root).unwrap();
}

const V2: (&str, &str) = (
    "proc/self/mountinfo",
    "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
);

#[test]
fn half_of_the_ram_or_of_the_lowest_limit() {
    check(&[], Wanted::Default, 4 * GIB, "50% of 8 GiB of RAM");
    let own = ("proc/self/cgroup", "0::/a/b\n");
    check(&[V2, own], Wanted::Default, 4 * GIB, "50% of 8 GiB of RAM");
    let (inner, outer) = ("sys/fs/cgroup/a/b/memory.max", "sys/fs/cgroup/a/memory.max");
    check(
        &[V2, own, (inner, "2147483648\n"), (outer, "max\n")],
        Wanted::Default,
        GIB,
        "50% of the 2 GiB that /sys/fs/cgroup/a/b/memory.max allows",
    );
    check(
        &[V2, own, (inner, "2147483648\n"), (outer, "1073741824\n")],
        Wanted::Default,
        GIB / 2,
        "50% of the 1 GiB that /sys/fs/cgroup/a/memory.max allows",
    );
    // More than there is limits nothing.
    check(
        &[V2, own, (inner, "17179869184\n")],
        Wanted::Default,
        4 * GIB,
        "50% of 8 GiB of RAM",
    );
    // Half of it would be less than anything can run in.
    check(
        &[V2, own, (inner, "20971520\n")],
        Wanted::Default,
        16 << 20,
        "50% of the 20 MiB that /sys/fs/cgroup/a/b/memory.max allows",
    );
}

#[test]
fn a_container_sees_its_own_group_at_the_top() {
    // With a namespace of its own, and without one: the mount shows the container's group.
    let top = ("sys/fs/cgroup/memory.max", "1073741824\n");
    let source = "50% of the 1 GiB that /sys/fs/cgroup/memory.max allows";
    check(
        &[V2, ("proc/self/cgroup", "0::/\n"), top],
        Wanted::Default,
        GIB / 2,
        source,
    );
    check(
        &[V2, ("proc/self/cgroup", "0::/../other\n"), top],
        Wanted::Default,
        GIB / 2,
        source,
    );
    let rooted = (
        "proc/self/mountinfo",
        "9 8 0:3 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
    );
    check(
        &[rooted, ("proc/self/cgroup", "0::/docker/c1\n"), top],
        Wanted::Default,
        GIB / 2,
        source,
    );
}

#[test]
fn groups_of_version_1_limit_too() {
    let mounts = (
        "proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
         33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         35 31 0:32 / /sys/fs/cgroup/my\\040memory rw - cgroup cgroup rw,memory\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    );
    let groups = ("proc/self/cgroup", "4:memory:/s/one\n1:cpu,cpuacct:/s/two\n0::/\n");
    check(
        &[
            mounts,
            groups,
            (
                "sys/fs/cgroup/my memory/s/one/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/my memory/s/memory.limit_in_bytes", "3221225472\n"),
            ("sys/fs/cgroup/cpu,cpuacct/s/two/memory.limit_in_bytes", "1\n"),
        ],
        Wanted::Default,
        3 * GIB / 2,
        "50% of the 3 GiB that /sys/fs/cgroup/my memory/s/memory.limit_in_bytes allows",
    );
}

#[test]
fn what_is_asked_for_stands_and_what_is_too_much_is_said() {
    check(&[], Wanted::Configured(GIB), GIB, "config.penstock.memory_bytes");
    check(&[], Wanted::Asked(Amount::Bytes(3 * GIB)), 3 * GIB, "--memory");
    check(
        &[],
        Wanted::Asked(Amount::Percent(25)),
        2 * GIB,
        "--memory 25% of 8 GiB of RAM",
    );
    let root = machine(&[]);
    let exceeds = |bytes| {
        budget_below(&root, Wanted::Asked(Amount::Bytes(bytes)))
            .unwrap()
            .exceeds
    };
    assert_eq!(exceeds(8 * GIB), None);
    assert_eq!(exceeds(9 * GIB).as_deref(), Some("8 GiB of RAM"));
    fs::write(root.join("proc/meminfo"), "MemTotal: 65536 kB\n").unwrap();
    let error = budget_below(&root, Wanted::Asked(Amount::Percent(10))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--memory 10% of 64 MiB of RAM is 6.4 MiB; at least 16 MiB are needed"
    );
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn without_proc_an_amount_is_enough_and_a_share_is_not() {
    let nowhere = Path::new("/nonexistent");
    let budget = budget_below(nowhere, Wanted::Configured(GIB)).unwrap();
    assert_eq!((budget.bytes, budget.exceeds), (GIB, None));
    let error = budget_below(nowhere, Wanted::Default).unwrap_err();
    assert!(
        format!("{error:#}").contains("/proc/meminfo cannot be read"),
        "{error:#}"
    );
}
