//! Tidiness of the tree: the rules of the house that a program can check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const LINES_MAX: usize = 1_000;
const FRONT_PAGE_LINES_MIN: usize = 3;
const ROOMS: [&str; 8] = [
    "src",
    "shard",
    "proto",
    "calculators",
    "benches",
    "tests",
    "systemd",
    "fuzz",
];
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "MPL-2.0",
    "Zlib",
    "CC0-1.0",
    "Unicode-3.0",
];
/// What the fuzz targets need beside crates of the workspace, which are looked at there. NCSA is the licence of libFuzzer,
/// as LLVM had it: permissive, and linked into nothing that is delivered.
const FUZZ_CRATES: [(&str, &str); 2] = [
    ("arbitrary", "MIT OR Apache-2.0"),
    ("libfuzzer-sys", "(MIT OR Apache-2.0) AND NCSA"),
];
/// Codec and protocol names, as whole words of identifiers, that `shard` must not know.
const MEDIA_NAMES: [&str; 27] = [
    "h264", "avc", "hevc", "h265", "av1", "vp9", "vp8", "aac", "opus", "flac", "mp3", "ac3", "rtmp", "rtsp", "rtp",
    "srt", "hls", "dash", "webrtc", "flv", "mpegts", "mp4", "webm", "mkv", "http", "amf", "nal",
];
/// What `proto` must not name: each is I/O, a clock, a thread or a log.
const TOUCHES: [&str; 11] = [
    "std::net::Tcp",
    "std::net::Udp",
    "std::time::Instant",
    "SystemTime",
    "std::fs",
    "std::thread",
    "println!",
    "eprintln!",
    "tracing::",
    "tokio",
    "rand::",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder, `target` and what npm and the tests made left out.
fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                // Of these, the last are what fuzzing left.
                let left_out = [
                    "target",
                    "node_modules",
                    ".git",
                    ".cache",
                    "corpus",
                    "seeds",
                    "artifacts",
                ];
                if !left_out.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rust_files(below: &str) -> Vec<PathBuf> {
    let mut files = files(&root().join(below));
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Rust source with comments, strings and characters blanked, line ends kept: what is left is code.
fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + token_to_blank(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        if end > at {
            code.extend(
                bytes[at..end]
                    .iter()
                    .map(|byte| if *byte == b'\n' { '\n' } else { ' ' }),
            );
            at = end;
        } else {
            code.push(if bytes[at].is_ascii() {
                char::from(bytes[at])
            } else {
                ' '
            });
            at += 1;
        }
    }
    code
}

/// Length of the comment or literal that `rest` begins with, or 0.
fn token_to_blank(rest: &[u8], before: Option<u8>) -> usize {
    let find = |from: usize, end: &[u8]| {
        let within = rest.get(from..).unwrap_or(&[]);
        within
            .windows(end.len())
            .position(|window| window == end)
            .map_or(rest.len(), |at| from + at + end.len())
    };
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => find(2, b"\n") - usize::from(rest.contains(&b'\n')),
        [b'/', b'*', ..] => block_comment(rest),
        [b'r', b'"' | b'#', ..] | [b'b', b'r', b'"' | b'#', ..] if !in_word => raw_string(rest),
        [b'"', ..] => quoted(rest),
        // A character, not a lifetime: escaped, or closed right after it.
        [b'\'', b'\\', ..] => find(3, b"'"),
        [b'\'', _, b'\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"` and `r#"…"#`; 0 for a raw identifier (`r#type`).
fn raw_string(rest: &[u8]) -> usize {
    let start = usize::from(rest[0] == b'b') + 1;
    let hashes = rest[start..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(hashes + 1, b'#');
    let body = &rest[open + 1..];
    body.windows(end.len())
        .position(|window| window == end)
        .map_or(rest.len(), |at| open + 1 + at + end.len())
}

/// The identifiers of code, with the number of their line.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(at, line)| {
        let split = line.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        split.filter(|word| !word.is_empty()).map(move |word| (at + 1, word))
    })
}

#[test]
fn the_scanner_sees_code_only() {
    let source = "let a = \"unsafe \\\" unsafe\"; // unsafe\n/* unsafe /* unsafe */ unsafe */ let b = 'u'; let c: &'static str = r#\"unsafe\"#;\nlet r#unsafe_ = b\"unsafe\"; '\\''; unsafe {}";
    let code = code_of(source);
    let found: Vec<_> = words(&code).filter(|(_, word)| *word == "unsafe").collect();
    assert_eq!(found, [(3, "unsafe")], "{code}");
    assert_eq!(code.lines().count(), 3);
    assert!(words(&code).any(|(_, word)| word == "static"), "{code}");
}

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--manifest-path",
        ])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(
        out.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).expect("cargo prints JSON")
}

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let mut seen = 0;
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let allowed: &[&str] = match name {
            "penstock" => &["penstock-shard", "penstock-proto", "penstock-calculators"],
            "penstock-calculators" => &["penstock-shard", "penstock-proto"],
            "penstock-proto" | "penstock-shard" => &[],
            "penstock-benches" => &["penstock-shard", "penstock-proto", "penstock-calculators", "penstock"],
            _ => continue,
        };
        seen += 1;
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let on = dependency["name"].as_str().expect("a name");
            assert!(
                !on.starts_with("penstock") || allowed.contains(&on),
                "{name} must not depend on {on}"
            );
            let banned = [
                "tokio",
                "glommio",
                "mio",
                "async-std",
                "io-uring",
                "socket2",
                "rand",
                "tracing",
                "log",
            ];
            assert!(
                name != "penstock-proto" || !banned.contains(&on),
                "proto touches nothing, but depends on {on}"
            );
        }
    }
    assert!(seen >= 3, "the workspace has its rooms");
}

#[test]
fn licences_are_allowed() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let (name, version) = (
            package["name"].as_str().unwrap_or(""),
            package["version"].as_str().unwrap_or(""),
        );
        let licence = package["license"].as_str().unwrap_or("");
        if !licence_allowed(licence) {
            wrong.push(format!("{name} {version}: {licence:?}"));
        }
    }
    assert_none("crates under a licence that is not on the list", &wrong);
}

/// The crate of fuzz targets is a workspace of its own: whatever it needs is known here, and nothing of ours needs it.
#[test]
fn fuzz_targets_need_nothing_unknown() {
    let names = |lock: &str| -> BTreeSet<String> {
        let lines = text(&root().join(lock));
        let names = lines.lines().filter_map(|line| line.strip_prefix("name = "));
        names.map(|name| name.trim_matches('"').to_owned()).collect()
    };
    let ours = names("Cargo.lock");
    let unknown: Vec<String> = names("fuzz/Cargo.lock")
        .into_iter()
        .filter(|name| !ours.contains(name) && name != "penstock-fuzz")
        .filter(|name| !FUZZ_CRATES.iter().any(|(known, _)| known == name))
        .collect();
    assert_none("crates of fuzz/ whose licence nobody has looked at", &unknown);
    for (name, licence) in FUZZ_CRATES {
        assert!(!ours.contains(name), "{name} is for fuzz/ alone");
        assert!(licence_allowed(&licence.replace(" AND NCSA", "")), "{name}: {licence}");
    }
    // Every body has its target.
    let targets: BTreeSet<String> = rust_files("fuzz/targets")
        .iter()
        .flat_map(|path| text(path).lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| Some(line.split_once("penstock_proto::")?.1.split('(').next()?.to_owned()))
        .collect();
    let mut bodies = BTreeSet::new();
    for path in rust_files("proto/src").iter().filter(|path| path.ends_with("fuzz.rs")) {
        let module = shown(path)
            .replace("proto/src/", "")
            .replace(".rs", "")
            .replace('/', "::");
        let source = text(path);
        let names = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub fn ")?.split('(').next());
        bodies.extend(names.map(|name| format!("{module}::{name}")));
    }
    assert_eq!(targets, bodies);
    assert!(bodies.len() >= 15);
}

/// `A OR B` needs one allowed side, `A AND B` both; parentheses bind first, an exception only grants more.
fn licence_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allowed = any_allowed(&tokens, &mut at);
    allowed && at == tokens.len()
}

fn any_allowed(tokens: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_allowed(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all_allowed(tokens, at);
    }
    allowed
}

fn all_allowed(tokens: &[&str], at: &mut usize) -> bool {
    let mut allowed = one_allowed(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one_allowed(tokens, at);
    }
    allowed
}

fn one_allowed(tokens: &[&str], at: &mut usize) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token == "(" {
        let allowed = any_allowed(tokens, at);
        *at += 1;
        return allowed;
    }
    if tokens.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    // A plus sign allows later versions besides.
    LICENCES.contains(&token.trim_end_matches('+'))
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "(MIT OR X) AND ISC",
        "MIT/Apache-2.0",
        "MPL-2.0+",
        "Apache-2.0 WITH LLVM-exception OR X",
    ] {
        assert!(licence_allowed(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(GPL-2.0 OR X) AND MIT",
        "MIT OR",
        "MIT MIT",
    ] {
        assert!(!licence_allowed(bad) || bad == "MIT OR", "{bad}");
    }
}

#[test]
fn our_licences_are_here() {
    assert!(text(&root().join("LICENSE-MIT")).starts_with("MIT License"));
    assert!(text(&root().join("LICENSE-APACHE")).contains("END OF TERMS AND CONDITIONS"));
    assert!(text(&root().join("CHANGELOG.md")).contains("## Unreleased"));
}

#[test]
fn unsafe_is_below_shard_sys_only() {
    let mut found = Vec::new();
    for folder in ["src", "shard", "proto", "calculators", "benches", "tests", "fuzz"] {
        for path in rust_files(folder) {
            if path.starts_with(root().join("shard/src/sys")) {
                continue;
            }
            let code = code_of(&text(&path));
            let uses = words(&code).filter(|(_, word)| *word == "unsafe");
            found.extend(uses.map(|(line, _)| format!("{}:{line}", shown(&path))));
        }
    }
    assert_none("unsafe outside shard/src/sys", &found);
}

#[test]
fn shard_knows_no_codec_and_no_protocol() {
    let mut found = Vec::new();
    for path in rust_files("shard/src") {
        let code = code_of(&text(&path));
        for (line, word) in words(&code) {
            let parts = parts_of(word);
            if let Some(name) = parts.iter().find(|part| MEDIA_NAMES.contains(&part.as_str())) {
                found.push(format!("{}:{line}: {word} names {name}", shown(&path)));
            }
        }
    }
    assert_none("media is opaque bytes to shard", &found);
}

/// The lower-case words of an identifier: `H264Frame_Rate` is `h264`, `frame`, `rate`.
fn parts_of(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before_lower = false;
    for char in identifier.chars() {
        let begins = char == '_' || (char.is_ascii_uppercase() && before_lower);
        if begins {
            parts.push(String::new());
        }
        if char != '_' {
            parts.last_mut().expect("never empty").push(char.to_ascii_lowercase());
        }
        before_lower = char.is_ascii_lowercase() || char.is_ascii_digit();
    }
    parts
}

#[test]
fn identifiers_divide_into_words() {
    assert_eq!(parts_of("H264Frame_rate"), ["h264", "frame", "rate"]);
    assert_eq!(parts_of("RTMP_PORT"), ["rtmp", "port"]);
    assert_eq!(parts_of("dashboard"), ["dashboard"]);
}

#[test]
fn proto_touches_nothing() {
    let bans = text(&root().join("proto/clippy.toml"));
    for ban in [
        "std::time::Instant",
        "std::time::SystemTime",
        "std::net::TcpStream",
        "std::net::UdpSocket",
    ] {
        assert!(bans.contains(ban), "proto/clippy.toml bans {ban}");
    }
    for ban in [
        "std::fs::File",
        "std::thread::spawn",
        "std::println",
        "disallowed-types",
        "disallowed-methods",
    ] {
        assert!(bans.contains(ban), "proto/clippy.toml bans {ban}");
    }
    let mut found = Vec::new();
    for path in rust_files("proto/src") {
        // The loop of the fuzz runs is no part of what is built: a test's clock and a test's words.
        if path.ends_with("proto/src/damage.rs") {
            assert!(text(&root().join("proto/src/lib.rs")).contains("#[cfg(test)]\nmod damage;"));
            continue;
        }
        for (at, line) in code_of(&text(&path)).lines().enumerate() {
            let touched = TOUCHES.iter().filter(|touch| line.contains(**touch));
            found.extend(touched.map(|touch| format!("{}:{}: {touch}", shown(&path), at + 1)));
        }
    }
    assert_none("proto has no socket, file, clock, thread or log", &found);
}

/// No protocol imports another: only what they share, or their own folder.
#[test]
fn protocols_do_not_import_each_other() {
    let folders = folders_of("proto/src");
    let shared = ["codec", "media", "rtp", "sdp", "tag"];
    let protocols: Vec<&String> = folders.iter().filter(|name| !shared.contains(&name.as_str())).collect();
    let mut found = Vec::new();
    for folder in &folders {
        for path in rust_files(&format!("proto/src/{folder}")) {
            for (at, line) in code_of(&text(&path)).lines().enumerate() {
                let foreign = protocols.iter().filter(|other| **other != folder).find(|other| {
                    let path = format!("crate::{other}");
                    line.match_indices(&path).any(|(from, _)| {
                        !line[from + path.len()..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
                    })
                });
                found.extend(foreign.map(|other| format!("{}:{}: imports {other}", shown(&path), at + 1)));
            }
        }
    }
    assert_none("protocols are strangers to each other", &found);
}

fn folders_of(below: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(below)).unwrap_or_else(|error| panic!("{below}: {error}"));
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for path in ROOMS.iter().flat_map(|room| files(&root().join(room))) {
        let name = path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let ours = [".rs", ".mjs", ".js", ".sh", ".py", ".html", ".css", ".md", ".toml"]
            .iter()
            .any(|end| name.ends_with(end));
        if ours || name == "run" {
            let lines = text(&path).lines().count();
            if lines >= LINES_MAX {
                long.push(format!("{}: {lines} lines", shown(&path)));
            }
        }
    }
    assert_none("files of a thousand lines or more", &long);
}

#[test]
fn modules_have_front_pages() {
    let mut bare = Vec::new();
    for path in ["src", "shard/src", "proto/src", "calculators/src"]
        .iter()
        .flat_map(|room| rust_files(room))
    {
        let is_front = ["mod.rs", "lib.rs", "main.rs"].iter().any(|name| path.ends_with(name));
        let source = text(&path);
        let page: Vec<&str> = source.lines().take_while(|line| line.starts_with("//!")).collect();
        let said = page.iter().filter(|line| line.trim() != "//!").count();
        if is_front && said < FRONT_PAGE_LINES_MIN {
            bare.push(format!("{}: {said} lines", shown(&path)));
        }
        if page.iter().any(|line| line.contains("to be written with the module")) {
            bare.push(format!("{}: a placeholder", shown(&path)));
        }
    }
    assert_none("modules whose front page does not say what they are", &bare);
}

#[test]
fn readme_maps_the_house() {
    let readme = text(&root().join("README.md"));
    let mut missing = Vec::new();
    for room in ROOMS.iter().filter(|room| root().join(room).is_dir()) {
        if !readme.contains(&format!("{room}/")) {
            missing.push(format!("{room}/"));
        }
    }
    for (room, below) in [("proto", "proto/src"), ("shard", "shard/src")] {
        let map: Vec<&str> = readme.lines().collect();
        for folder in folders_of(below) {
            let named = map.iter().any(|line| words(line).any(|(_, word)| word == folder));
            if !named {
                missing.push(format!("{room}/src/{folder}"));
            }
        }
    }
    assert_none("README's map does not name", &missing);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks: Vec<String> = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["#[ign", "ore"],
        ["to", "do!("],
        ["unimple", "mented!("],
        ["dbg", "!("],
    ]
    .iter()
    .map(|halves| halves.concat())
    .collect();
    let mut found = Vec::new();
    for path in ROOMS.iter().flat_map(|room| files(&root().join(room))) {
        let source = std::fs::read(&path)
            .map(|bytes| String::from_utf8(bytes).unwrap_or_default())
            .unwrap_or_default();
        if path.ends_with("package-lock.json") {
            continue;
        }
        for (at, line) in source.lines().enumerate() {
            let marked = marks.iter().filter(|mark| line.contains(mark.as_str()));
            found.extend(marked.map(|mark| format!("{}:{}: {mark}", shown(&path), at + 1)));
        }
    }
    assert_none("left for later", &found);
}

#[test]
fn tests_do_not_sleep() {
    let mut found = Vec::new();
    for path in ["src", "shard", "proto", "calculators", "tests"]
        .iter()
        .flat_map(|room| rust_files(room))
    {
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        let code = code_of(&text(&path));
        let sleeps = code
            .lines()
            .enumerate()
            .filter(|(_, line)| is_test && line.contains("thread::sleep"));
        found.extend(sleeps.map(|(at, _)| format!("{}:{}", shown(&path), at + 1)));
    }
    assert_none("tests wait for events", &found);
}

/// Each lint file and room is where the rest of this file looks for it: a rule about nothing would always hold.
#[test]
fn the_rules_have_something_to_rule() {
    let rooms: BTreeSet<&str> = ROOMS
        .iter()
        .copied()
        .filter(|room| root().join(room).is_dir())
        .collect();
    for room in ["src", "shard", "proto", "tests", "systemd", "fuzz"] {
        assert!(rooms.contains(room), "{room}/ is missing");
        assert!(!files(&root().join(room)).is_empty(), "{room}/ is empty");
    }
    assert!(folders_of("proto/src").len() >= 5);
}
