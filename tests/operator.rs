//! What an operator is told when the machine, its limits or the configuration do not allow a start: one line with what is
//! wrong and what mends it. And what works where less is allowed.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::confine::{self, Refused};
use support::process::{From, Process};
use support::server::{self, Server};
use support::{clips, compare, flv, strict, wire};

const WITHIN: Duration = Duration::from_secs(15);
const EPERM: i32 = libc::EPERM;
const EINVAL: i32 = libc::EINVAL;
const ENOSYS: i32 = libc::ENOSYS;

/// A program that must end with exit code 1 and one line about it, beside what it logs and warns of; that line.
fn refusal(process: &Process) -> String {
    let status = process.wait_exit(WITHIN);
    let said = process.said();
    assert_eq!(status.code(), Some(1), "{said}");
    let lines = process.lines();
    let wrong: Vec<_> = lines
        .iter()
        .filter(|(from, line)| *from == From::Stderr && !line.contains("INFO") && !line.starts_with("warning: "))
        .collect();
    assert_eq!(wrong.len(), 1, "{said}");
    assert!(!said.contains("listening"), "it says that it listens:\n{said}");
    wrong[0].1.clone()
}

/// Files of the system with other contents than they have.
type Files = &'static [(&'static str, &'static str)];

#[test]
fn a_kernel_that_refuses_io_uring_is_named_with_what_mends_it() {
    const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
    const RELEASE: &str = "/proc/sys/kernel/osrelease";
    let (setup, register, enter) = (
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_register,
        libc::SYS_io_uring_enter,
    );
    let cases: &[(i64, i32, Files, &[&str])] = &[
        (
            setup,
            EPERM,
            &[(SYSCTL, "2\n")],
            &["switched off", "sysctl -w kernel.io_uring_disabled=0"],
        ),
        (
            setup,
            EPERM,
            &[],
            &["seccomp", "--security-opt seccomp=unconfined", "SystemCallFilter="],
        ),
        (setup, ENOSYS, &[], &["seccomp", "--security-opt seccomp=unconfined"]),
        (register, EPERM, &[], &["seccomp", "io_uring_register"]),
        (enter, EPERM, &[], &["seccomp", "io_uring_enter"]),
        (
            setup,
            EINVAL,
            &[(RELEASE, "5.15.0-91-generic\n")],
            &["Linux 5.15.0-91-generic is too old", "6.1"],
        ),
        (
            setup,
            ENOSYS,
            &[(RELEASE, "4.19.0\n")],
            &["Linux 4.19.0 is too old", "6.1"],
        ),
        (setup, EINVAL, &[], &["gVisor"]),
    ];
    for (call, errno, files, words) in cases {
        let (mut command, _) = server::command("serve", &server::config(2));
        if !files.is_empty() {
            command = confine::with_files(files, &command);
        }
        let refused = [Refused::any(*call, *errno)];
        let process = confine::refusing(&refused, move || Process::start("penstock", &mut command));
        let line = refusal(&process);
        for word in *words {
            assert!(
                line.contains(word),
                "{call} {errno} {files:?}: {word:?} is not in: {line}"
            );
        }
    }
}

#[test]
fn too_few_open_files_are_named_with_what_mends_it() {
    let (command, path) = server::command("serve", &server::config(2));
    let mut few = confine::wrapped("prlimit", &["--nofile=32"], &command);
    let line = refusal(&Process::start("penstock", &mut few));
    assert!(
        line.contains("32 open files are too few") && line.contains("ulimit -n 65536"),
        "{line}"
    );
    assert!(line.contains("LimitNOFILE="), "{line}");
    // Enough to begin with: it runs, and says how many connections that makes.
    let mut some = confine::wrapped("prlimit", &["--nofile=400"], &command);
    let server = Server::ready(&mut some, path);
    server.wait_log(&["open files allow fewer connections", "connections_max=112"], WITHIN);
    assert_eq!(wire::ask(server.http, "GET", "/live.flv", &[]).status, 404);
}

/// A server as an ordinary user of its own, who may lock so much; its configuration has two shards.
fn locking(user: u32, bytes: u64) -> (Command, std::path::PathBuf) {
    let (_, path) = server::command("serve", &server::config(2));
    let copy = path.with_file_name("penstock");
    std::fs::copy(server::binary(), &copy).expect("scratch is ours");
    let limit = format!("--memlock={bytes}:{bytes}");
    let config = path.display().to_string();
    (
        confine::as_user(user, &[&limit], &copy, &["serve", "-c", &config]),
        path,
    )
}

/// The memory that a user may lock is counted over all of the user's processes: with rings on newer kernels, with
/// registered buffers on all. What is registered is done without.
#[test]
fn locked_memory_that_is_short() {
    let (mut command, _) = locking(61_001, 64 * 1024);
    let line = refusal(&Process::start("penstock", &mut command));
    for words in [
        "64 KiB",
        "2 shards want 512 KiB",
        "ulimit -l unlimited",
        "LimitMEMLOCK=infinity",
    ] {
        assert!(line.contains(words), "{words:?} is not in: {line}");
    }
    // Twice: the second one comes while the first one's rings are still counted.
    for _ in 0..2 {
        let (mut command, path) = locking(61_002, 512 * 1024);
        let process = Process::start("penstock", &mut command);
        if !confine::is_root() && process.try_exit(Duration::from_secs(5)).is_some() {
            // Servers of other tests are the same user's.
            assert!(
                process.said().contains("other processes of this user hold"),
                "{}",
                process.said()
            );
            continue;
        }
        let server = Server::of(process, path);
        play(&server);
        server.terminate(WITHIN);
        let lines = server.process.lines();
        let notices = lines.iter().filter(|(_, line)| line.contains("no registered buffers"));
        assert_eq!(notices.count(), 1, "{}", server.process.said());
    }
    let (mut command, path) = locking(61_003, 8 * 1024 * 1024);
    let server = Server::ready(&mut command, path);
    play(&server);
    assert!(
        !server.process.said().contains("registered buffers"),
        "{}",
        server.process.said()
    );
}

/// Publishes a short clip, faster than its clock, to viewers of every output; all of it arrives.
fn play(server: &Server) {
    let dir = support::scratch("play");
    let clip = clips::SMALL;
    let sent = flv::tags(&std::fs::read(clip.file()).expect("made by the call"));
    let head = sent.partition_point(|tag| tag.time < 1_000);
    let mut publisher = support::rtmp::Publisher::start(server.rtmp, "live", 4);
    publisher.send(&sent[..head]);
    let record = |kind: &str| {
        let file = dir.join(format!("live.{kind}"));
        wire::Recorder::start(server.http, &format!("/live.{kind}"), &file)
    };
    let viewers: Vec<_> = ["flv", "ts", "mp4"].into_iter().map(record).collect();
    for viewer in &viewers {
        assert_eq!(viewer.answer().status, 200);
    }
    let player = support::rtmp::Player::start(server.rtmp, "live");
    publisher.restart_clock();
    publisher.send(&sent[head..]);
    publisher.end();
    let mut files = Vec::new();
    for viewer in viewers {
        files.push(viewer.path.clone());
        viewer.finish();
    }
    files.push(dir.join("rtmp.flv"));
    std::fs::write(&files[3], flv::file(&player.finish())).expect("scratch is ours");
    for file in &files {
        strict::assert_strict(file);
        compare::assert_equal(&clip.file(), file, compare::WHOLE);
    }
}

/// No root, no capability, no group: every output plays to the end.
#[test]
fn an_ordinary_user_is_enough() {
    let server = Server::start_as_nobody(&server::config(2));
    play(&server);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid)).expect("it runs");
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_ne!(field("Uid:"), ["0"; 4], "{status}");
    assert_eq!(field("CapEff:"), ["0000000000000000"], "{status}");
    let (status, _) = server.terminate(WITHIN);
    assert_eq!(status.code(), Some(0), "{}", server.process.said());
}

/// What is wrong in a configuration is one line, with its place and what to do, and the same of `check` and of `serve`.
#[test]
fn a_wrong_configuration_is_one_line_that_says_what_to_do() {
    let with = |streams: &str| {
        format!("{{\"config\":{{\"protocols\":[{{\"connector\":\"HTTP\"}}]}},\n\"streams\":{streams}}}")
    };
    let push = |rule: &str| with(&format!("{{\"a\":{{\"source\":\"{rule}\"}}}}"));
    let cases: &[(&str, String, &[&str])] = &[
        (
            "syntax",
            "{\n  \"config\": {},\n}".into(),
            &[":2:15: is not JSON: Trailing commas"],
        ),
        ("cut", "{\"streams\":{".into(), &["is not JSON: Unterminated object"]),
        ("empty", String::new(), &["is not JSON: the file is empty"]),
        (
            "key",
            with("{\"a\":{\"source\":\"push://@x\",\"gracce\":1}}"),
            &[":2:38: streams.a.gracce: unknown key", "\"grace\""],
        ),
        (
            "source",
            with("{\"a\":{\"sourse\":\"push://@x\"}}"),
            &["streams.a.sourse: unknown key", "\"source\""],
        ),
        (
            "twice",
            with("{\"a\":{\"source\":\"push://@x\"},\n\"a\":{\"source\":\"push://@x\"}}"),
            &[":3:1: streams.a: key is repeated", "line 2"],
        ),
        (
            "same",
            with("{\"a\":{\"source\":\"push://@x\"},\n\"A!\":{\"source\":\"push://@x\"}}"),
            &[":3:1: ", "is the stream \"a\", which stands in line 2"],
        ),
        (
            "host",
            push("push://not a host"),
            &[":2:26: streams.a.source: ", "neither an address, a network"],
        ),
        (
            "prefix",
            push("push://10.0.0.0/33@geheim"),
            &["no such prefix length", "/32 for IPv4"],
        ),
        (
            "port",
            push("push://127.0.0.1:1935"),
            &["has a port", "leave the port out"],
        ),
        ("bare", push("push://127.0.0.1@"), &["no passphrase behind the @"]),
        ("slash", push("push:/127.0.0.1"), &["a push rule begins with push://"]),
        (
            "ports",
            with("{}").replace("}]", "},\n{\"connector\":\"RTMP\",\"port\":8080}]"),
            &[":2:1: config.protocols[1].port: port 8080 is taken", "line 1"],
        ),
    ];
    let dir = support::scratch("wrong");
    for (name, text, words) in cases {
        let file = dir.join(format!("{name}.json"));
        std::fs::write(&file, text).expect("scratch is ours");
        assert_one_line(&file, words);
    }
    assert_one_line(
        &dir.join("nowhere.json"),
        &["nowhere.json: there is no such file", "penstock check --defaults"],
    );
    assert_one_line(&dir, &["cannot be read: is a directory"]);
    std::fs::write(dir.join("latin1.json"), b"{\"\xe4\":1}").expect("scratch is ours");
    assert_one_line(&dir.join("latin1.json"), &["latin1.json: is not UTF-8 at byte 2"]);
    // Root may read everything.
    let secret = dir.join("secret.json");
    std::fs::write(&secret, "{}").expect("scratch is ours");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).expect("it is ours");
    let copy = dir.join("penstock");
    std::fs::copy(server::binary(), &copy).expect("scratch is ours");
    let mut command = confine::as_user(61_004, &[], &copy, &["check", "-c", &secret.display().to_string()]);
    let line = refusal(&Process::start("penstock check", &mut command));
    assert!(
        line.contains("may not be read by the user that penstock runs as"),
        "{line}"
    );
}

fn assert_one_line(file: &Path, words: &[&str]) {
    for verb in ["check", "serve"] {
        let mut command = Command::new(server::binary());
        command.args([verb, "-c"]).arg(file);
        let line = refusal(&Process::start(&format!("penstock {verb}"), &mut command));
        assert!(line.starts_with(&format!("error: {}", file.display())), "{line}");
        for words in words {
            assert!(line.contains(words), "{words:?} is not in: {line}");
        }
        assert!(!line.contains("geheim"), "{line}");
    }
}

/// The first thing that a newcomer runs says the same, and how to get round a port that is taken.
#[test]
fn the_demo_is_refused_in_the_same_words() {
    let taken = std::net::TcpListener::bind("[::]:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let demo = |http_port: &str| {
        let mut command = Command::new(server::binary());
        command.args(["demo", "--rtmp-port", "0", "--rtsp-port", "0", "--http-port", http_port]);
        command
    };
    let line = refusal(&Process::start("penstock demo", &mut demo(&port)));
    for words in [
        &format!("http cannot listen on port {port}: it is in use"),
        "--http-port 0",
    ] {
        assert!(line.contains(words), "{words:?} is not in: {line}");
    }
    let mut command = demo("0");
    let refused = [Refused::any(libc::SYS_io_uring_setup, EPERM)];
    let line = refusal(&confine::refusing(&refused, move || {
        Process::start("penstock demo", &mut command)
    }));
    assert!(
        line.starts_with("penstock: a seccomp filter forbids io_uring"),
        "{line}"
    );
}

/// A full disk behind the log or the output ends nothing: not the start, not SIGUSR1's report, not the last one.
#[test]
fn a_full_disk_behind_what_it_prints() {
    let (_, path) = server::command("serve", &server::config(2));
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line]).arg(server::binary()).arg(&path);
        command
    };
    let server = Server::ready(&mut shell("exec \"$0\" serve -c \"$1\" 2>/dev/full"), path.clone());
    server.process.signal("USR1");
    assert_eq!(wire::ask(server.http, "GET", "/live.flv", &[]).status, 404);
    server.process.signal("TERM");
    server.process.succeed(WITHIN);
    let mute = Process::start("penstock", &mut shell("exec \"$0\" serve -c \"$1\" >/dev/full"));
    mute.wait_words(&["WARN", "cannot write to standard output", "No space left"], WITHIN);
    mute.signal("TERM");
    mute.succeed(WITHIN);
    for asked in ["check --defaults", "check --reference", "check -c \"$1\"", "counters"] {
        let ended = Process::start("penstock", &mut shell(&format!("exec \"$0\" {asked} >/dev/full")));
        assert_eq!(ended.wait_exit(WITHIN).code(), Some(1), "{asked}");
        ended.wait_words(&["penstock: cannot write to standard output"], WITHIN);
    }
}
