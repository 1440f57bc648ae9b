//! The unit file and the kernel settings: accepted by systemd, and every line with its reason.

use std::path::{Path, PathBuf};
use std::process::Command;

fn systemd(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(file)
}

#[test]
fn systemd_accepts_the_unit() {
    // verify wants an executable that exists; the unit names where a package puts it, so any other takes its place.
    let text = std::fs::read_to_string(systemd("penstock.service")).unwrap();
    assert!(
        text.contains("ExecStart=/usr/bin/penstock serve"),
        "the binary is started from where packages put it"
    );
    let dir = std::env::temp_dir().join(format!("penstock-unit-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let verify = |text: &str| {
        let unit = dir.join("penstock.service");
        std::fs::write(&unit, text.replace("/usr/bin/penstock", "/bin/true")).unwrap();
        let out = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(&unit)
            .output();
        let out = out.expect("systemd-analyze is installed (tests/run does it)");
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (accepted, said) = verify(&text);
    let wrong = verify(&text.replace("Type=notify", "Typo=notify")).1;
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(
        accepted && !said.contains("penstock.service"),
        "systemd-analyze verify says:\n{said}"
    );
    assert!(
        wrong.contains("Typo"),
        "a wrong key is told, so silence means something:\n{wrong}"
    );
}

#[test]
fn every_setting_stands_below_a_reason() {
    for file in ["penstock.service", "90-penstock.conf"] {
        let text = std::fs::read_to_string(systemd(file)).unwrap();
        let mut reasoned = false;
        let mut settings = 0;
        for line in text.lines() {
            match line {
                line if line.starts_with('#') => reasoned = true,
                "" => reasoned = false,
                line if line.starts_with('[') => reasoned = line == "[Install]",
                line => {
                    settings += 1;
                    // The name and the documentation of the unit speak for themselves.
                    let plain = line.starts_with("Description=") || line.starts_with("Documentation=");
                    assert!(reasoned || plain, "{file}: no reason above `{line}`");
                }
            }
        }
        assert!(settings > 5, "{file} has settings");
    }
}

#[test]
fn the_unit_lets_the_shards_work() {
    let text = std::fs::read_to_string(systemd("penstock.service")).unwrap();
    for needed in [
        "io_uring_setup io_uring_enter io_uring_register",
        "LimitNOFILE=",
        "LimitMEMLOCK=",
        "Type=notify",
    ] {
        assert!(text.contains(needed), "{needed}");
    }
    for refused in ["PrivateNetwork=yes", "User=root", "PrivateUsers=yes", "CAP_SYS_ADMIN"] {
        assert!(!text.contains(refused), "{refused}");
    }
}

/// What cargo runs before its first step (`.cargo/config.toml`): without a C compiler and git it says so and ends, with
/// them it becomes the compiler it was called for.
#[test]
fn a_missing_compiler_or_git_is_named_before_the_build() {
    let bare = std::env::temp_dir().join(format!("penstock-bare-{}", std::process::id()));
    std::fs::create_dir_all(&bare).unwrap();
    for tool in ["env", "grep", "cat"] {
        let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool));
        let found = found
            .iter()
            .find(|path| path.exists())
            .expect("coreutils and grep are installed");
        std::os::unix::fs::symlink(found, bare.join(tool)).unwrap();
    }
    let preflight = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo/preflight");
    let run = |path: &str| {
        let mut command = Command::new("/bin/sh");
        command
            .arg(&preflight)
            .args(["/bin/echo", "-vV"])
            .env_clear()
            .env("PATH", path);
        command.output().unwrap()
    };
    let lacking = run(&bare.display().to_string());
    let said = String::from_utf8_lossy(&lacking.stderr).into_owned();
    assert!(!lacking.status.success(), "{said}");
    assert!(
        said.contains("C compiler") && said.contains("git") && said.contains("apt-get install"),
        "{said}"
    );
    let complete = run("/usr/local/bin:/usr/bin:/bin");
    assert!(
        complete.status.success(),
        "{}",
        String::from_utf8_lossy(&complete.stderr)
    );
    assert_eq!(complete.stdout, b"-vV\n");
    std::fs::remove_dir_all(&bare).unwrap();
}
