//! Where penstock listens, whom its peers are to it, and who may push: IPv4 and IPv6 through one socket, machines without
//! IPv6, networks and host names in push rules.

mod support;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use support::confine::{self, Refused};
use support::process::{Process, run};
use support::publish::{Times, push};
use support::rtmp::{Player, Publisher};
use support::server::{self, Server};
use support::{clips, flv, players, wire};

const WITHIN: Duration = Duration::from_secs(15);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Listeners on another interface than the usual one; an empty one is every address.
fn config_on(interface: &str, streams: Value) -> Value {
    let mut config = server::config_with(2, streams);
    for protocol in 0..2 {
        config["config"]["protocols"][protocol]["interface"] = json!(interface);
    }
    config
}

/// A second of media.
fn some_tags() -> Vec<flv::Tag> {
    clips::SMALL.part(1_000)
}

/// One socket for both families: each pushes and plays, and an IPv4 peer is one to the log and to push rules.
#[test]
fn one_socket_serves_both_families() {
    let streams = json!({"four": {"source": "push://127.0.0.1"}, "six": {"source": "push://[::1]"}});
    let server = Server::start(&config_on("", streams));
    for listener in [server.http, server.rtmp] {
        assert_eq!(
            listener.ip(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "{}",
            server.process.said()
        );
    }
    let at = |address, port| SocketAddr::new(address, port);
    let (http, rtmp) = (server.http.port(), server.rtmp.port());
    for (own, other, name, shown) in [(V4, V6, "four", "peer=127.0.0.1:"), (V6, V4, "six", "peer=[::1]:")] {
        let refused = Publisher::try_start(at(other, rtmp), name, 1)
            .err()
            .expect("another family's address");
        assert!(
            refused.contains(&format!("address {other} is not among the hosts")),
            "{refused}"
        );
        server.wait_log(&["publisher refused", &format!("address {other} is not among")], WITHIN);
        let mut publisher = Publisher::start(at(own, rtmp), name, 20);
        publisher.send(&some_tags());
        server.wait_log(&["publisher accepted", name, shown], WITHIN);
        // Whoever pushes by one family is watched by both.
        for viewer in [V4, V6] {
            assert!(wire::first_media_byte(
                at(viewer, http),
                &format!("/{name}.flv"),
                WITHIN
            ));
            let player = Player::start(at(viewer, rtmp), name);
            server.wait_log(
                &[
                    "viewer came",
                    name,
                    "RTMP",
                    &format!("peer={}", SocketAddr::new(viewer, 0)).replace(":0", ":"),
                ],
                WITHIN,
            );
            drop(player);
        }
    }
    assert!(!server.process.said().contains("::ffff"), "{}", server.process.said());
}

/// Addresses in brackets: printed so, read so, by penstock and by what pushes to it and plays from it.
#[test]
fn urls_with_an_ipv6_address() {
    let server = Server::start(&config_on(
        "[::1]",
        json!({"live": {"source": "push://[::1]", "grace": 300}}),
    ));
    let port = server.http.port();
    assert!(
        server.process.said().contains(&format!("listening http [::1]:{port}")),
        "{}",
        server.process.said()
    );
    assert!(server.rtmp_url("live/live").starts_with("rtmp://[::1]:"));
    let publisher = push(&clips::NO_B_FRAMES.file(), &server.rtmp_url("live/live"), Times::Once);
    server.wait_live("live", WITHIN);
    let played = support::scratch("v6").join("rtmp.flv");
    let player = players::ffmpeg_record(&server.rtmp_url("play/live"), &played);
    let mut by_url = wire::Wire::connect(server.http);
    by_url.send(format!("GET http://[::1]:{port}/live.ts HTTP/1.1\r\nHost: [::1]:{port}\r\n\r\n").as_bytes());
    assert_eq!(by_url.answer("GET").status, 200);
    publisher.succeed(WITHIN);
    player.succeed(WITHIN);
    support::compare::assert_decodes(&played);
}

/// A system call that makes an IPv6 socket is refused as by a kernel that was booted with `ipv6.disable=1`.
#[test]
fn a_machine_without_ipv6() {
    let (mut command, path) = server::command("serve", &config_on("", json!({"live": {"source": "push://127.0.0.1"}})));
    let no_ipv6 = Refused {
        call: libc::SYS_socket,
        first_argument: Some(libc::AF_INET6 as u64),
        errno: libc::EAFNOSUPPORT,
    };
    let server = confine::refusing(&[no_ipv6], move || Server::ready(&mut command, path));
    assert_eq!(
        server.http.ip(),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "{}",
        server.process.said()
    );
    server.wait_log(&["no IPv6", "0.0.0.0"], WITHIN);
    assert_eq!(
        wire::ask(SocketAddr::new(V4, server.http.port()), "GET", "/live.flv", &[]).status,
        404
    );
    let mut publisher = Publisher::start(SocketAddr::new(V4, server.rtmp.port()), "live", 20);
    publisher.send(&some_tags());
}

/// In a network of its own whose IPv6 is switched off by `net.ipv6.conf.all.disable_ipv6`.
#[test]
fn a_network_without_ipv6() {
    let (command, path) = server::command("serve", &config_on("", json!({})));
    let script = "ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && exec \"$@\"";
    let server = Server::ready(&mut confine::in_namespace("--net", script, &command), path);
    let target = server.process.pid.to_string();
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &format!("http://127.0.0.1:{}/live.flv", server.http.port()),
    ]);
    let inside: &[&str] = match confine::is_root() {
        true => &["--net", "--target", &target],
        false => &["--user", "--preserve-credentials", "--net", "--target", &target],
    };
    assert_eq!(
        run("curl", &mut confine::wrapped("nsenter", inside, &curl), WITHIN).trim(),
        "404"
    );
    let first = server
        .process
        .lines()
        .into_iter()
        .find(|(_, line)| line.contains("listening http"));
    assert!(first.is_some_and(|(_, line)| line.contains("[::]:") || line.contains("0.0.0.0:")));
}

/// Who may push to which stream, and what the others hear before they could believe themselves on air.
#[test]
fn push_rules() {
    // Rule, password, whether 127.0.0.1 and ::1 may push.
    let cases = [
        ("push://127.0.0.1", "x", true, false),
        ("push://127.0.0.0/8", "x", true, false),
        ("push://126.0.0.0/8", "x", false, false),
        ("push://0.0.0.0/0", "x", true, false),
        ("push://[::1]", "x", false, true),
        ("push://[::]/0", "x", false, true),
        ("push://192.0.2.0/24,[::1]", "x", false, true),
        ("push://localhost", "x", true, true),
        ("push://LOCALHOST,192.0.2.1", "x", true, true),
        ("push://four.test", "x", true, false),
        ("push://nobody.test", "x", false, false),
        ("push://@open sesame", "open sesame", true, true),
        ("push://@open sesame", "open", false, false),
        ("push://four.test@key", "x", true, false),
        ("push://four.test@key", "key", true, true),
        ("push://", "x", true, true),
    ];
    let streams: serde_json::Map<_, _> = cases
        .iter()
        .enumerate()
        .map(|(number, (source, ..))| (format!("s{number}"), json!({"source": source})))
        .collect();
    let hosts = "127.0.0.1 localhost four.test\n::1 localhost\n";
    let (command, path) = server::command("serve", &config_on("", streams.into()));
    let files = [("/etc/hosts", hosts), ("/etc/nsswitch.conf", "hosts: files\n")];
    let server = Server::ready(&mut confine::with_files(&files, &command), path);
    let said = server.process.said();
    assert!(
        said.contains("streams.s10.source: host name \"nobody.test\" has no address"),
        "{said}"
    );
    for (number, (source, password, four, six)) in cases.into_iter().enumerate() {
        for (peer, expected) in [(V4, four), (V6, six)] {
            let to = SocketAddr::new(peer, server.rtmp.port());
            let answer = Publisher::try_start_as(to, password, &format!("s{number}"), 1);
            match answer {
                Ok(publisher) => {
                    assert!(expected, "{source} lets {peer} in with {password:?}");
                    publisher.end();
                }
                Err(why) => {
                    assert!(!expected, "{source} does not let {peer} in with {password:?}: {why}");
                    let reason = ["not among the hosts that may push", "the passphrase is wrong"];
                    assert!(reason.iter().any(|words| why.contains(words)), "{why}");
                }
            }
        }
    }
    assert!(!server.process.said().contains("sesame"), "{}", server.process.said());
}

/// A host name is looked up again: an address that changes is followed, and one that is lost stays allowed.
#[test]
fn host_names_are_looked_up_again() {
    let mut config = config_on("127.0.0.1", json!({"live": {"source": "push://studio.test"}}));
    config["config"]["penstock"]["lookup_interval"] = json!(1);
    let dir = support::scratch("hosts");
    let (hosts, order) = (dir.join("hosts"), dir.join("nsswitch.conf"));
    // In one piece, so that no look-up sees half of it; the mount keeps the file that it was made with.
    let write = |text: &str| {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&hosts)
            .expect("ours");
        file.write_all(format!("{text:\n<40}").as_bytes())
            .expect("scratch is ours");
    };
    write("192.0.2.9 studio.test\n");
    std::fs::write(&order, "hosts: files\n").expect("scratch is ours");
    let script = format!(
        "mount --bind {} /etc/hosts && mount --bind {} /etc/nsswitch.conf && exec \"$@\"",
        hosts.display(),
        order.display()
    );
    let (command, path) = server::command("serve", &config);
    let server = Server::ready(&mut confine::in_namespace("--mount", &script, &command), path);
    let attempt = || Publisher::try_start(server.rtmp, "live", 1).map(Publisher::end);
    assert!(attempt().is_err_and(|why| why.contains("not among the hosts")));
    write("127.0.0.1 studio.test\n");
    server.wait_log(&["host names of push rules have other addresses"], WITHIN);
    assert_eq!(attempt(), Ok(()));
    write("");
    server.wait_log(&["studio.test", "its last addresses stay allowed"], WITHIN);
    assert_eq!(attempt(), Ok(()));
    write("192.0.2.9 studio.test\n");
    server.wait_log(&["studio.test", "has an address again"], WITHIN);
    assert!(attempt().is_err());
    let (status, took) = server.terminate(WITHIN);
    assert!(
        status.success() && took < Duration::from_secs(2),
        "{took:?}\n{}",
        server.process.said()
    );
}

/// What a listener cannot have is said with its address, and what to do.
#[test]
fn an_address_that_cannot_be_had() {
    let taken = std::net::TcpListener::bind((V4, 0)).expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let mut config = server::config(1);
    config["config"]["protocols"][1]["port"] = json!(port);
    let refused = |config: &Value| {
        let process = Process::start("penstock", &mut server::command("serve", config).0);
        assert_eq!(process.wait_exit(WITHIN).code(), Some(1));
        process.wait_words(&["penstock: "], WITHIN)
    };
    let line = refused(&config);
    assert!(
        line.contains(&format!("rtmp cannot listen on 127.0.0.1:{port}: it is in use")),
        "{line}"
    );
    // Every address: the other one's is among them.
    config["config"]["protocols"][1]["interface"] = json!("");
    let line = refused(&config);
    assert!(
        line.contains(&format!("rtmp cannot listen on port {port}: it is in use")),
        "{line}"
    );
    let line = refused(&config_on("2001:db8::1", json!({})));
    assert!(
        line.contains("http cannot listen on [2001:db8::1]:0: this machine has no such address"),
        "{line}"
    );
}
