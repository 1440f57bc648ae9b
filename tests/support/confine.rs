//! A program in narrow circumstances: system calls that are refused, files of the system with other contents, limits
//! lowered, another user. What is made here is a command, or a thread in which one is started.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

use super::process::run;

/// A system call that is answered with an error number. Its first argument may be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    pub call: i64,
    pub first_argument: Option<u64>,
    pub errno: i32,
}

impl Refused {
    pub fn any(call: i64, errno: i32) -> Refused {
        Refused {
            call,
            first_argument: None,
            errno,
        }
    }
}

/// Does something in a thread whose system calls, and those of what it starts, are refused so (seccomp, as a container's
/// profile or a unit's `SystemCallFilter` does it).
pub fn refusing<T: Send + 'static>(calls: &[Refused], what: impl FnOnce() -> T + Send + 'static) -> T {
    let filters: Vec<_> = calls.iter().map(filter).collect();
    let thread = std::thread::spawn(move || {
        for filter in filters {
            apply_filter(&filter).expect("a thread may confine itself");
        }
        what()
    });
    thread.join().expect("the thread has said why")
}

fn filter(refused: &Refused) -> seccompiler::BpfProgram {
    let first = refused.first_argument.map(|value| {
        let is_it = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
        SeccompRule::new(vec![is_it.expect("a legal condition")]).expect("a legal rule")
    });
    let rules = BTreeMap::from([(refused.call, first.into_iter().collect())]);
    let errno = SeccompAction::Errno(refused.errno.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().expect("an architecture of seccomp");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).expect("a legal filter");
    filter.try_into().expect("a small program")
}

/// `inner`, run by another program that takes it as its last arguments.
pub fn wrapped(program: &str, arguments: &[&str], inner: &Command) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    if let Some(directory) = inner.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

/// `inner` where some files of the system say something else: a mount namespace of its own.
pub fn with_files(files: &[(&str, &str)], inner: &Command) -> Command {
    let dir = super::scratch("files");
    let mut script = String::new();
    for (number, (path, contents)) in files.iter().enumerate() {
        let copy = dir.join(number.to_string());
        std::fs::write(&copy, contents).expect("scratch is ours");
        script += &format!("mount --bind '{}' '{path}' && ", copy.display());
    }
    script += "exec \"$@\"";
    in_namespace("--mount", &script, inner)
}

/// `inner` in a namespace of its own, once a script of the shell, which ends with `exec "$@"`, has set it up.
pub fn in_namespace(kind: &str, script: &str, inner: &Command) -> Command {
    // Root needs no user namespace; others are root in one of their own.
    let arguments = [kind, "--", "sh", "-c", script, "sh"];
    match is_root() {
        true => wrapped("unshare", &arguments, inner),
        false => wrapped(
            "unshare",
            &[&["--user", "--map-root-user"], &arguments[..]].concat(),
            inner,
        ),
    }
}

pub fn is_root() -> bool {
    run("id", Command::new("id").arg("-u"), Duration::from_secs(5)).trim() == "0"
}

/// `program` as a user whom nobody else is, without groups and capabilities, where the tests run as root; as the user
/// of the tests otherwise. `limits` are options of prlimit.
pub fn as_user(user: u32, limits: &[&str], program: &Path, arguments: &[&str]) -> Command {
    let mut inner = Command::new(program);
    inner.args(arguments).env("HOME", super::scratch("home"));
    let user = user.to_string();
    let setpriv = [
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
        "--inh-caps=-all",
        "--no-new-privs",
        "--",
    ];
    let inner = match is_root() {
        true => wrapped("setpriv", &setpriv, &inner),
        false => inner,
    };
    wrapped("prlimit", limits, &inner)
}
