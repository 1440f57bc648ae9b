use penstock_shard::fanout::Pause;

use super::*;

/// As it stands in the issue that asked for it.
const EXAMPLE: &str = r#"{"config":{"controller":{"port":4242,"interface":"127.0.0.1"},"protocols":[{"connector":"HTTP","port":8080,"interface":"0.0.0.0"},{"connector":"RTMP","port":1935},{"connector":"FLV"},{"connector":"HTTPTS"},{"connector":"MP4"}]},"streams":{"live":{"source":"push://127.0.0.1"}}}"#;

/// Checks the messages of a text, problems or else warnings, one a line without the file's name.
fn check(text: &str, expected: &[&str]) {
    let messages: Vec<String> = match Config::parse(text, "f") {
        Ok((_, warnings)) => warnings.iter().map(Warning::to_string).collect(),
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    };
    assert_eq!(messages, expected, "{text}");
}

/// The text of a file with these connectors and this stream.
fn with(protocols: &str, stream: &str) -> String {
    format!("{{\"config\":{{\"protocols\":[{{\"connector\":\"HTTP\"}}{protocols}]}},\n\"streams\":{{{stream}}}}}")
}

#[test]
fn the_example_starts_as_it_stands() {
    let (config, warnings) = Config::parse(EXAMPLE, "penstock.json").unwrap();
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    assert_eq!(
        config.controller,
        Controller {
            port: 4242,
            interface: Interface::Address(loopback)
        }
    );
    let every: IpAddr = "0.0.0.0".parse().unwrap();
    assert_eq!(
        config.listeners,
        [
            Listener {
                protocol: Protocol::Http,
                port: 8080,
                interface: Interface::Address(every),
                certificates: None,
            },
            Listener {
                protocol: Protocol::Rtmp,
                port: 1935,
                interface: Interface::Every,
                certificates: None,
            },
        ]
    );
    assert_eq!(
        config.containers,
        Containers {
            flv: true,
            ts: true,
            mp4: true,
            ..Containers::default()
        }
    );
    let (name, stream) = config.streams.first_key_value().unwrap();
    assert_eq!(name.as_str(), "live");
    assert_eq!(*stream, Stream::push(PushRule::parse("push://127.0.0.1").unwrap()));
    assert_eq!(
        (stream.window_millis, stream.segment_millis, stream.grace_millis),
        (50_000, 1_900, 5_000)
    );
    let messages: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        messages,
        ["penstock.json:1:25: config.controller: is not supported yet: the control API is not served"]
    );
}

#[test]
fn the_default_file_says_the_defaults() {
    let text = Config::default_json();
    let (config, warnings) = Config::parse(&text, "f").unwrap();
    assert_eq!(config, Config::default());
    assert!(
        warnings.iter().all(|warning| warning.notice == Notice::ApiNotServed),
        "{warnings:?}"
    );
    // It is JSON for others as well.
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    // An absent section means what the default file says.
    let (empty, _) = Config::parse("{}", "f").unwrap();
    assert_eq!((empty.controller, empty.machine), (config.controller, config.machine));
}

#[test]
fn every_setting_has_its_line_and_keeps_its_own_default() {
    let reference = Config::reference();
    for section in table::SECTIONS {
        for setting in section.settings {
            assert!(reference.contains(&format!("  {} ", setting.key)), "{}", setting.key);
            if let Kind::Integer { default, min, max, .. } = setting.kind {
                assert!((min..=max).contains(&default), "{}", setting.key);
            }
        }
        let mut keys: Vec<_> = section.keys().collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count, "a key twice in {}", section.place);
    }
    assert!(
        reference.contains("DVR               50000 ms (1000 to 86400000); how much"),
        "{reference}"
    );
    assert!(
        reference.contains("second_publisher  refuse (of refuse, replace); "),
        "{reference}"
    );
}

#[test]
fn every_value_arrives() {
    let text = with(
        r#",{"connector":"HTTP","port":"8081","interface":"[::1]"},{"connector":"FLV"}"#,
        r#""a":{"source":"push://@x","DVR":60000,"segmentsize":"2000","maxkeepaway":1,"resume":1,"inputtimeout":7,"grace":8,"second_publisher":"replace"}"#,
    );
    let text = text.replace(
        r#"{"protocols""#,
        r#"{"penstock":{"shards":2,"memory_bytes":33554432,"connections_max":100,"connections_per_address_max":7,"lag_max":700,"interactive_pause_min":1,"interactive_pause_max":2,"buffered_pause_min":4,"buffered_pause_max":3,"lookup_interval":7,"stall_max":9000,"shard_share":10,"zero_copy":"on","datagram_segmentation":"off","huge_pages":"off","max_pacing":200},"protocols""#,
    );
    let (config, warnings) = Config::parse(&text, "f").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        config.machine,
        Machine {
            shards: Some(2),
            memory: Wanted::Configured(32 << 20),
            connections_max: 100,
            connections_per_address_max: Some(7),
            lag_max_millis: 700,
            pauses: Pauses {
                interactive: Pause { min: 1000, max: 2000 },
                buffered: Pause { min: 4000, max: 4000 },
            },
            lookup_interval_seconds: 7,
            stall_max_millis: 9000,
            shard_share_micros: 100_000,
            zero_copy: ZeroCopy::On,
            segmentation: Segmentation::Off,
            huge_pages: false,
            max_pacing_percent: 200,
        }
    );
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(
        config.listeners[1].interface,
        Interface::Address("::1".parse().unwrap())
    );
    assert_eq!(config.listeners[1].port, 8081);
    assert_eq!(
        config.containers,
        Containers {
            flv: true,
            ..Containers::default()
        }
    );
    let stream = config.streams.values().next().unwrap();
    let expected = Stream {
        source: Source::Push(PushRule::parse("push://@x").unwrap()),
        window_millis: 60_000,
        segment_millis: 2_000,
        keepaway_millis: 1,
        grace_millis: 8,
        resume: Resume::Keep,
        input_timeout_seconds: 7,
        second_publisher: SecondPublisher::Replace,
        tls_trust: tls::Trust::System,
        multicast: None,
    };
    assert_eq!(*stream, expected);
}

#[test]
fn a_source_that_is_pulled_arrives() {
    let text = with(
        "",
        r#""a":{"source":"rtsp://u:p%40s@h/x"},"b":{"source":"RTSPS://h:99/","transport":"TCP","always_on":1},"c":{"source":"rtsp://h/","transport":"udp"}"#,
    );
    let streams = Config::parse(&text, "f").unwrap().0.streams;
    let pulls: Vec<Pull> = streams
        .into_values()
        .map(|stream| match stream.source {
            Source::Pull(pull) => pull,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        ("h", 554, client::Preference::Auto, false),
        ("h", 99, client::Preference::Tcp, true),
        ("h", 554, client::Preference::Udp, false),
    ];
    let found = pulls.iter().map(|pull| {
        let Pull {
            address,
            transport,
            always_on,
        } = pull;
        (address.host.as_str(), address.port, *transport, *always_on)
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(!format!("{pulls:?}").contains("p@s") && !format!("{pulls:?}").contains("p%40s"));
}

#[test]
fn a_source_that_cannot_be_pulled_is_named_and_not_quoted() {
    check(
        &with(
            "",
            "\n\"a\":{\"source\":\"rtsp://u:geheim@\"},\n\"b\":{\"source\":\"rtsp://u:geheim@h:x/\",\"transport\":\"quic\"}",
        ),
        &[
            "f:3:15: streams.a.source: has no host; it is to be like rtsp://USER:PASSWORD@HOST:554/PATH",
            "f:4:15: streams.b.source: has a port that is no number from 1 to 65535; it is to be like rtsp://USER:PASSWORD@HOST:554/PATH",
            r#"f:4:50: streams.b.transport: must be one of auto, udp, tcp, UDP, TCP, not "quic""#,
        ],
    );
}

#[test]
fn how_segments_are_listed_and_cut_arrives() {
    let fetched = |protocols: &str| Config::parse(&with(protocols, ""), "f").unwrap().0.fetched;
    let default = Fetched {
        ts_list_max: 0,
        cmaf_list_max: 0,
        part_millis: 333,
        newest: Newest::Parts,
        naming: Naming::Timeline,
    };
    assert_eq!(fetched(r#",{"connector":"HLS"},{"connector":"CMAF"}"#), default);
    let all = r#",{"connector":"HLS","listlimit":"7"},{"connector":"CMAF","listlimit":5,"part_millis":500,"hls_parts":"ranges","dash_naming":"number"},{"connector":"HSS"}"#;
    let written = Fetched {
        ts_list_max: 7,
        cmaf_list_max: 5,
        part_millis: 500,
        newest: Newest::Ranges,
        naming: Naming::Number,
    };
    assert_eq!(fetched(all), written);
    let none = fetched(r#",{"connector":"CMAF","hls_parts":"none"}"#);
    assert_eq!(none.newest, Newest::Segments);
    check(
        &with(
            r#",{"connector":"CMAF","part_millis":99,"hls_parts":"url","dash_naming":"time","listlimt":1},{"connector":"HDS","listlimit":1}"#,
            "",
        ),
        &[
            "f:1:80: config.protocols[1].part_millis: must be from 100 to 2000 ms, not 99",
            r#"f:1:95: config.protocols[1].hls_parts: must be one of urls, ranges, none, not "url", did you mean "urls"?"#,
            r#"f:1:115: config.protocols[1].dash_naming: must be one of timeline, number, not "time""#,
            r#"f:1:122: config.protocols[1].listlimt: unknown key, did you mean "listlimit"?"#,
            "f:1:155: config.protocols[2].listlimit: unknown key",
        ],
    );
}

#[test]
fn segmented_outputs_are_on_when_they_are_listed() {
    let containers = |protocols: &str| Config::parse(&with(protocols, ""), "f").unwrap().0.containers;
    let (none, cmaf) = (
        Containers::default(),
        Containers {
            cmaf: true,
            ..Containers::default()
        },
    );
    assert_eq!(containers(""), none);
    assert_eq!(containers(r#",{"connector":"HLS"}"#), Containers { hls: true, ..none });
    assert_eq!(containers(r#",{"connector":"HDS"}"#), Containers { hds: true, ..none });
    assert_eq!(containers(r#",{"connector":"CMAF"}"#), cmaf);
    // MistServer's older names of parts of it, whose options it has dropped.
    assert_eq!(containers(r#",{"connector":"DASH","nonsense":1}"#), cmaf);
    check(
        &with(r#",{"connector":"HSS"},{"connector":"HLS","chunkpath":"x"}"#, ""),
        &[
            "f:1:46: config.protocols[1]: connector HSS is a part of CMAF, which is served; its options are those of CMAF",
            "f:1:85: config.protocols[2].chunkpath: is not supported yet: segments have no other host than their playlists",
        ],
    );
    check(
        r#"{"config":{"protocols":[{"connector":"RTMP"},{"connector":"DASH"}]}}"#,
        &[
            "f:1:46: config.protocols[1]: connector DASH is a part of CMAF, which is served; its options are those of CMAF",
            "f:1:46: config.protocols[1]: connector CMAF has no effect without an HTTP connector",
        ],
    );
}

#[test]
fn sending_bounds_are_checked() {
    let with = |keys: &str| format!("{{\"config\":{{\"penstock\":{{{keys}}}}}}}");
    let out = |found| format!("f:1:37: config.penstock.max_pacing: must be from 110 to 1000 %, not {found}");
    for percent in [1, 100, 109] {
        let text = with(&format!("\"max_pacing\":{percent}"));
        check(&text, &[&out(percent)]);
    }
    for (percent, is_known) in [(0, true), (110, true), (1_000, true), (1_001, false)] {
        let text = with(&format!("\"max_pacing\":{percent}"));
        assert_eq!(Config::parse(&text, "f").is_ok(), is_known, "{percent}");
    }
    for (word, mode) in [("auto", ZeroCopy::Auto), ("on", ZeroCopy::On), ("off", ZeroCopy::Off)] {
        let (config, _) = Config::parse(&with(&format!("\"zero_copy\":\"{word}\"")), "f").unwrap();
        assert_eq!(config.machine.zero_copy, mode);
    }
    assert_eq!(Config::default().machine.zero_copy, ZeroCopy::Auto);
    assert_eq!(Config::default().machine.segmentation, Segmentation::Auto);
    assert_eq!(Config::default().machine.max_pacing_percent, 0);
}

#[test]
fn wrong_keys_are_named_with_their_place() {
    check(
        &with(r#",{"connector":"RTMP","prot":1}"#, ""),
        &[r#"f:1:66: config.protocols[1].prot: unknown key, did you mean "port"?"#],
    );
    check(
        "{\n  \"confg\": {},\n  \"zzz\": 1\n}",
        &[
            r#"f:2:3: confg: unknown key, did you mean "config"?"#,
            "f:3:3: zzz: unknown key",
        ],
    );
    check(
        &with("", r#""live":{"source":"push://@x","Dvr":1,"grasce":2}"#),
        &[
            r#"f:2:41: streams.live.Dvr: unknown key, did you mean "DVR"?"#,
            r#"f:2:49: streams.live.grasce: unknown key, did you mean "grace"?"#,
        ],
    );
    check(
        &with(r#",{"conector":"FLV"},{},{"connector":"Flv"},{"connector":"zzzz"}"#, ""),
        &[
            r#"f:1:47: config.protocols[1].conector: unknown key, did you mean "connector"?"#,
            "f:1:65: config.protocols[2].connector: is missing",
            r#"f:1:81: config.protocols[3].connector: unknown connector "Flv", did you mean "FLV"?"#,
            r#"f:1:101: config.protocols[4].connector: unknown connector "zzzz""#,
        ],
    );
    // Columns count characters.
    check(
        "{\"streams\":{\"ä\":{}, \"live\": 1}}",
        &[
            "f:1:13: streams.ä: stream name has none of the characters a-z, 0-9, _, . and -",
            "f:1:29: streams.live: must be an object, not a number",
        ],
    );
}

#[test]
fn wrong_values_are_named_with_their_bounds() {
    let port = |value: &str| with(&format!(r#",{{"connector":"RTMP","port":{value}}}"#), "");
    for (value, message) in [
        ("65536", "must be from 0 to 65535, not 65536"),
        ("-1", "must be from 0 to 65535, not -1"),
        (
            "99999999999999999999999",
            "must be from 0 to 65535, not 99999999999999999999999",
        ),
        ("1.5", "must be a whole number, not a number with decimals"),
        ("true", "must be a whole number, not true or false"),
        (r#""rtmp""#, "must be a whole number, not text"),
        ("[]", "must be a whole number, not a list"),
    ] {
        check(&port(value), &[&format!("f:1:73: config.protocols[1].port: {message}")]);
    }
    for value in ["null", r#""""#] {
        assert_eq!(Config::parse(&port(value), "f").unwrap().0.listeners[1].port, 1935);
    }
    check(
        &with(r#",{"connector":"RTMP","interface":"localhost"}"#, ""),
        &[
            r#"f:1:78: config.protocols[1].interface: "localhost" is no IP address (127.0.0.1, ::1, or empty for every address)"#,
        ],
    );
    check(
        &with(
            "",
            r#""a":{"source":"push://@x","DVR":999,"resume":2,"second_publisher":"replaced"}"#,
        ),
        &[
            "f:2:44: streams.a.DVR: must be from 1000 to 86400000 ms, not 999",
            "f:2:57: streams.a.resume: must be from 0 to 1, not 2",
            r#"f:2:78: streams.a.second_publisher: must be one of refuse, replace, not "replaced", did you mean "replace"?"#,
        ],
    );
    check("[]", &["f:1:1: must be an object, not a list"]);
    check(
        r#"{"config":[],"streams":"x"}"#,
        &[
            "f:1:11: config: must be an object, not a list",
            "f:1:24: streams: must be an object, not text",
        ],
    );
    check(
        r#"{"config":{"protocols":{"connector":"HTTP"}}}"#,
        &["f:1:24: config.protocols: must be a list, not an object"],
    );
}

#[test]
fn streams_need_a_name_and_a_source() {
    check(
        &with(
            "",
            r#""Live":{"source":"push://@x"},"a+b":{"source":"push://@x"},"x y":{},"ok":{},"n":{"source":null},"m":{"source":5}"#,
        ),
        &[
            r#"f:2:12: streams.Live: stream names have only a-z, 0-9, _, . and -; use "live""#,
            r#"f:2:42: streams.a+b: streams are configured without wildcard; "a" stands for all of its wildcards too"#,
            r#"f:2:71: streams["x y"]: streams are configured without wildcard; "x" stands for all of its wildcards too"#,
            "f:2:85: streams.ok.source: is missing",
            "f:2:92: streams.n.source: is missing",
            "f:2:122: streams.m.source: must be text, not a number",
        ],
    );
    check(
        &with(
            "",
            r#""a":{"source":"push://10.0.0.0/33@geheim"},"b":{"source":"push://x@"}"#,
        ),
        &[
            r#"f:2:26: streams.a.source: "10.0.0.0/33" has no such prefix length: /0 to /32 for IPv4, /0 to /128 for IPv6"#,
            "f:2:69: streams.b.source: no passphrase behind the @ of the push rule; write one or remove the @",
        ],
    );
}

#[test]
fn one_stream_under_two_keys_is_one_too_many() {
    check(
        &with(
            "",
            "\"live\":{\"source\":\"push://@x\"},\n\"Live\":{\"source\":\"push://@y\"},\n\"li!ve\":{\"source\":\"push://@z\"}",
        ),
        &[
            r#"f:3:1: streams.Live: is the stream "live", which stands in line 2 already; remove one of them"#,
            r#"f:4:1: streams["li!ve"]: is the stream "live", which stands in line 2 already; remove one of them"#,
        ],
    );
}

#[test]
fn one_mistake_is_one_line() {
    check(
        &with("", r#""live":{"sorce":"push://@x"},"cam":{"source":"push:/geheim"}"#),
        &[
            r#"f:2:20: streams.live.sorce: unknown key, did you mean "source"?"#,
            "f:2:57: streams.cam.source: a push rule begins with push:// (push://ADDRESS, push://@PASSPHRASE)",
        ],
    );
}

#[test]
fn repeated_keys_and_taken_ports_name_the_first_one() {
    check(
        "{\"config\":{},\n\"config\":{}}",
        &["f:2:1: config: key is repeated, it stands in line 1 already; remove one of them"],
    );
    check(
        &with(
            "",
            "\"a\":{\"source\":\"push://@x\"},\n\"a\":{\"source\":\"push://@y\",\"DVR\":2000,\"DVR\":3000}",
        ),
        &["f:3:1: streams.a: key is repeated, it stands in line 2 already; remove one of them"],
    );
    check(
        &with(",\n{\"connector\":\"RTMP\",\"port\":8080,\"interface\":\"::1\"}", ""),
        &[
            "f:2:1: config.protocols[1].port: port 8080 is taken by the listener in line 1 already; give one of them another",
        ],
    );
    // The same port on different addresses is no clash.
    let text = r#"{"config":{"protocols":[{"connector":"RTMP","interface":"::1"},{"connector":"RTMP","interface":"127.0.0.1"}]}}"#;
    assert_eq!(Config::parse(text, "f").unwrap().0.listeners.len(), 2);
}

#[test]
fn what_is_not_supported_is_a_warning_that_says_what_happens() {
    check(
        r#"{"config":{"protocols":[{"connector":"HTTP","pubaddr":["x"],"wrappers":[]},{"connector":"HTTPS","whatever":1}],"triggers":{"USER_NEW":[1]},"debug":null,"serverid":""},"account":{"a":{"password":"geheim"}},"streams":{"a":{"source":"/media/a.mp4"},"b":{"source":"push://","processes":[{}],"tags":[]}}}"#,
        &[
            "f:1:45: config.protocols[0].pubaddr: is not supported yet: it has no effect",
            "f:1:76: config.protocols[1]: connector HTTPS is not supported yet: it is left out",
            "f:1:112: config.triggers: is not supported yet: no trigger is run: whom the push rules allow is admitted, and so is every viewer",
            "f:1:168: account: is not supported yet: the control API is not served",
            "f:1:231: streams.a.source: only push:// and rtsp:// sources are supported yet: the stream stays offline",
            "f:1:261: streams.b.source: anyone who can reach the server may push to this stream; push://ADDRESS or push://@PASSPHRASE limits it",
            "f:1:271: streams.b.processes: is not supported yet: no process is run",
        ],
    );
    check(
        "{}",
        &["f:1:1: config.protocols: no HTTP, RTMP or RTSP connector: nothing can be watched or pushed"],
    );
    check(
        r#"{"config":{"protocols":[{"connector":"RTMP"},{"connector":"FLV"}]}}"#,
        &["f:1:46: config.protocols[1]: connector FLV has no effect without an HTTP connector"],
    );
}

#[test]
fn what_mistserver_writes_for_itself_is_taken_without_a_word() {
    let text = with(
        r#",{"connector":"FLV","online":"Enabled"}"#,
        r#""a":{"name":"a","source":"push://@x","online":2,"error":"x","x-LSP-notes":{"a":1},"x-LSP-notes":2}"#,
    );
    check(
        &text.replace(
            r#"{"config":{"#,
            r#"{"x-LSP-a":1,"LTS":1,"log":[],"config":{"iid":"x","version":"3","time":5,"#,
        ),
        &[],
    );
    check(&format!("\u{feff}{}", with("", "")), &[]);
}

#[test]
fn only_json_is_read() {
    for (text, message) in [
        ("", "f:1:1: is not JSON: the file is empty"),
        ("{", "f:1:1: is not JSON: Unterminated object"),
        ("{\n// x\n}", "f:2:1: is not JSON: Comments are not allowed"),
        (
            "{\"config\":{},}",
            "f:1:13: is not JSON: Trailing commas are not allowed",
        ),
        ("{config:{}}", "f:1:2: is not JSON: Expected string for object property"),
        (
            "{} {}",
            "f:1:4: is not JSON: Text cannot contain more than one JSON value",
        ),
    ] {
        check(text, &[message]);
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let problems = Config::parse(&deep, "f").unwrap_err();
    assert!(matches!(problems[0].fault, Fault::Syntax { .. }), "{problems:?}");
}

#[test]
fn problems_and_warnings_are_bounded() {
    let wrong: Vec<_> = (0..500).map(|index| format!("\"k{index}\":1")).collect();
    let problems = Config::parse(&format!("{{{}}}", wrong.join(",")), "f").unwrap_err();
    assert_eq!(problems.len(), limits::PROBLEMS_MAX + 1);
    assert_eq!(
        problems.last().unwrap().fault,
        Fault::More {
            kept: limits::PROBLEMS_MAX
        }
    );
    let open: Vec<_> = (0..500)
        .map(|index| format!("\"s{index}\":{{\"source\":\"push://\"}}"))
        .collect();
    let (config, warnings) = Config::parse(&with("", &open.join(",")), "f").unwrap();
    assert_eq!(config.streams.len(), 500);
    assert_eq!(warnings.len(), limits::WARNINGS_MAX + 1);
    let listeners: String = (1..=100)
        .map(|port| format!(",{{\"connector\":\"RTMP\",\"port\":{port}}}"))
        .collect();
    let problems = Config::parse(&with(&listeners, ""), "f").unwrap_err();
    assert_eq!(
        problems[0].fault,
        Fault::TooManyListeners {
            listeners_max: limits::LISTENERS_MAX
        }
    );
    let many: Vec<_> = (0..=limits::STREAMS_MAX)
        .map(|index| format!("\"s{index}\":{{}}"))
        .collect();
    let problems = Config::parse(&with("", &many.join(",")), "f").unwrap_err();
    assert_eq!(
        problems[0].fault,
        Fault::TooManyStreams {
            streams_max: limits::STREAMS_MAX
        }
    );
}

#[test]
fn passphrases_are_never_shown() {
    let text = with(
        "",
        r#""a":{"source":"push://127.0.0.1@geheim"},"b":{"source":"push://h h@geheim"},"c":{"source":"push://@geheim"}"#,
    );
    let problems = Config::parse(&text, "f").unwrap_err();
    assert!(!format!("{problems:?}").contains("geheim"), "{problems:?}");
    let fine = text.replace("h h@", "@");
    let shown = format!("{:?}", Config::parse(&fine, "f").unwrap());
    assert!(!shown.contains("geheim"), "{shown}");
}

#[test]
fn files_are_loaded_or_refused_in_a_line() {
    let folder = std::env::temp_dir().join(format!("penstock-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let message = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n");

    let absent = folder.join("absent.json");
    let found = message(Config::load(&absent).unwrap_err());
    assert!(
        found.starts_with(&format!("{}: there is no such file; ", absent.display())),
        "{found}"
    );

    let binary = folder.join("binary.json");
    std::fs::write(&binary, b"{\"a\":\"\xff\"}").unwrap();
    assert!(message(Config::load(&binary).unwrap_err()).ends_with("is not UTF-8 at byte 6; save it as UTF-8"));

    let named = folder.join("named.json");
    // A name that no resolver knows (RFC 6761 section 6.4), and one that needs none.
    let text = with(
        "",
        r#""a":{"source":"push://penstock.invalid"},"b":{"source":"push://127.0.0.1"}"#,
    );
    std::fs::write(&named, text).unwrap();
    let (config, warnings) = Config::load(&named).unwrap();
    assert_eq!(config.streams.len(), 2);
    let notices: Vec<_> = warnings
        .iter()
        .map(|warning| (&warning.notice, warning.place.path.as_str()))
        .collect();
    assert_eq!(
        notices,
        [(
            &Notice::Unresolved {
                name: "penstock.invalid".into()
            },
            "streams.a.source"
        )]
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn mutated_files_never_panic() {
    const TOKENS: &[&str] = &[
        "{", "}", "[", "]", "\"", ",", ":", "ä", "\\u12", "\n", "0", "-", "1e9", "null", "push://", "@", "/", "\0",
        "//",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    let seeds = [
        EXAMPLE.to_owned(),
        Config::default_json(),
        with("", r#""ä":{"source":"push://[::1]/64,h@x","DVR":"9"}"#),
    ];
    for _ in 0..10_000 {
        let mut text: Vec<char> = seeds[below(seeds.len())].chars().collect();
        for _ in 0..=below(4) {
            let at = below(text.len() + 1);
            match below(4) {
                0 => text.truncate(at),
                1 if at < text.len() => {
                    text.remove(at);
                }
                _ => {
                    text.splice(at..at, TOKENS[below(TOKENS.len())].chars());
                }
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = Config::parse(&text, "f") {
            assert!(!problems.is_empty());
            for problem in problems {
                let message = problem.to_string();
                assert!(!message.contains(char::is_control), "one line: {message:?}");
                assert!(problem.place.line <= text.lines().count().max(1) + 1);
            }
        }
    }
}

#[test]
fn certificates_are_paired_in_their_order_and_what_is_missing_is_said() {
    let rtsps = |rest: &str| with(&format!(",{{\"connector\":\"RTSPS\"{rest}}}"), "");
    let (config, warnings) = Config::parse(
        &rtsps(r#","port":"0","cert":["a.crt","b.crt"],"key":["a.key","b.key"]},{"connector":"RTSPS","port":323,"cert":"c.crt","key":"c.key""#),
        "f",
    )
    .unwrap();
    assert_eq!(warnings, []);
    let pair = |name: &str| tls::Pair {
        certificate: format!("{name}.crt").into(),
        key: format!("{name}.key").into(),
    };
    assert_eq!(config.certificates, [vec![pair("a"), pair("b")], vec![pair("c")]]);
    let of: Vec<_> = config
        .listeners
        .iter()
        .map(|l| (l.protocol, l.port, l.certificates))
        .collect();
    assert_eq!(
        of,
        [
            (Protocol::Http, 8080, None),
            (Protocol::Rtsp, 0, Some(0)),
            (Protocol::Rtsp, 323, Some(1))
        ]
    );
    for (rest, expected) in [
        (
            "",
            &[
                "f:1:46: config.protocols[1].cert: is missing",
                "f:1:46: config.protocols[1].key: is missing",
            ][..],
        ),
        (
            r#","cert":"","key":"k""#,
            &["f:1:46: config.protocols[1].cert: is missing"],
        ),
        (
            r#","cert":["a","b"],"key":"k""#,
            &[
                "f:1:46: config.protocols[1].cert: 2 certificates and 1 keys: each certificate needs its key, in the same order",
            ],
        ),
        (
            r#","cert":["a",7],"key":"k""#,
            &["f:1:74: config.protocols[1].cert: must be a path, or a list of paths, not a number"],
        ),
        (
            r#","certs":"a","key":"k""#,
            &["f:1:67: config.protocols[1].certs: unknown key, did you mean \"cert\"?"],
        ),
    ] {
        check(&rtsps(rest), expected);
    }
    // RTSP's own port stays plain, and says so.
    check(
        &with(r#",{"connector":"RTSP","cert":"a","key":""}"#, ""),
        &[
            "f:1:66: config.protocols[1].cert: is not supported yet: the port speaks plain RTSP: certificates are those of a connector RTSPS",
        ],
    );
}

#[test]
fn whom_a_source_trusts_is_said_and_trusting_anyone_is_warned_of() {
    let of = |trust: &str| with("", &format!(r#""a":{{"source":"push://@x","tls_trust":{trust}}}"#));
    let trust = |text: &str| {
        let (config, warnings) = Config::parse(&of(text), "f").unwrap();
        let stream = config.streams.values().next().unwrap().tls_trust;
        (
            stream,
            warnings.into_iter().map(|warning| warning.notice).collect::<Vec<_>>(),
        )
    };
    assert_eq!(trust("null"), (tls::Trust::System, vec![]));
    assert_eq!(trust("\"anyone\""), (tls::Trust::Anyone, vec![Notice::TrustsAnyone]));
    let named = format!("\"sha256:{}\"", "0f".repeat(32));
    assert!(matches!(trust(&named), (tls::Trust::Only(_), warnings) if warnings.is_empty()));
    for text in ["\"none\"", "7"] {
        assert_eq!(Config::parse(&of(text), "f").unwrap_err().len(), 1, "{text}");
    }
}

#[test]
fn groups_are_of_routers_and_of_one_stream() {
    let stream = |name: &str, rest: &str| format!("\"{name}\":{{\"source\":\"push://10.0.0.1\",{rest}}}");
    let of = |streams: &[String]| with("", &streams.join(",\n"));
    for good in ["239.1.2.3", "232.0.0.1", "224.0.1.1", "239.255.255.251", ""] {
        check(&of(&[stream("a", &format!("\"multicast\":\"{good}\""))]), &[]);
    }
    for bad in ["10.0.0.1", "224.0.0.251", "ff02::1", "239.255.255.252"] {
        let said = format!(
            "f:2:16: streams.a.multicast: {bad} is no IPv4 multicast group for streams; give one of 239.0.0.0/8, and room \
             behind it for every track"
        );
        check(&of(&[stream("a", &format!("\"multicast\":\"{bad}\""))]), &[&said]);
    }
    let group = |name: &str, last: u8| stream(name, &format!("\"multicast\":\"239.1.2.{last}\""));
    check(&of(&[group("a", 4), group("b", 8), group("c", 0)]), &[]);
    for near in [1, 4, 7] {
        let taken = near.max(4);
        let said = format!(
            "f:3:5: streams.b.multicast: group 239.1.2.{taken} is taken by the stream in line 2 already; leave 4 for each"
        );
        check(&of(&[group("a", 4), group("b", near)]), &[&said]);
    }
    let text = of(&[stream("a", "\"multicast\":\"239.1.2.3\",\"multicastport\":6000")]);
    let config = Config::parse(&text, "f").unwrap().0;
    let first = config.streams.values().next().unwrap().multicast;
    assert_eq!(first, Some("239.1.2.3:6000".parse().unwrap()));
    let rtsp = |rest: &str| with(&format!(",{{\"connector\":\"RTSP\",{rest}}}"), "");
    let config = Config::parse(&rtsp("\"multicastttl\":16,\"multicastinterface\":\"10.0.0.1\""), "f")
        .unwrap()
        .0;
    assert_eq!(
        config.multicast,
        Multicast {
            interface: Ipv4Addr::new(10, 0, 0, 1),
            ttl: 16
        }
    );
    assert_eq!(config.listeners.last().map(|listener| listener.port), Some(5554));
    check(
        &rtsp("\"multicastinterface\":\"::1\""),
        &["f:1:46: config.protocols[1].multicastinterface: ::1 is no IPv4 address of this machine"],
    );
}
