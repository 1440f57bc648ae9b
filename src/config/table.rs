//! Every value that a configuration file can set, in one place: key, meaning, unit, default, bounds. The reader, the
//! defaults, the default file and the printed reference are all made from these tables.
//!
//! Beside them stands what MistServer knows and we do not act on, with what happens: a file of its is read, not refused.

/// One value.
#[derive(Debug)]
pub struct Setting {
    pub key: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Integer {
        default: u64,
        min: u64,
        max: u64,
        unit: &'static str,
    },
    /// As an integer within the bounds, or 0 for what is found out at the start.
    IntegerOrFound { min: u64, max: u64, unit: &'static str },
    /// `true`, `false`, 1 or 0.
    Switch { default: bool },
    /// Whom to trust: see [`crate::tls::Trust`], whose default is this one's.
    Trust,
    /// Files: a path, or a list of them. There is no default.
    Paths,
    /// An IP address to listen on; empty: every address of both families.
    Address { default: &'static str },
    Choice {
        default: &'static str,
        choices: &'static [&'static str],
    },
}

/// A key of MistServer's that has no effect here, and what that means to who set it.
#[derive(Debug)]
pub struct Unsupported {
    pub key: &'static str,
    pub effect: &'static str,
}

/// The keys of one kind of object.
#[derive(Debug)]
pub struct Section {
    /// Where it stands, as in the reference.
    pub place: &'static str,
    pub settings: &'static [Setting],
    /// Keys that hold objects or have a reader of their own.
    pub inner: &'static [&'static str],
    pub unsupported: &'static [Unsupported],
    /// Written by MistServer, no instruction: taken without a word.
    pub written_by_mistserver: &'static [&'static str],
}

impl Section {
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let settings = self.settings.iter().map(|setting| setting.key);
        settings
            .chain(self.inner.iter().copied())
            .chain(self.unsupported.iter().map(|unsupported| unsupported.key))
    }
}

const NO_API: &str = "the control API is not served";
const NO_EFFECT: &str = "it has no effect";

const PORT_DOC: &str = "TCP port to listen on";
const INTERFACE_DOC: &str = "address to listen on; empty: every address, IPv4 and IPv6";

const fn port(default: u64) -> Setting {
    Setting {
        key: "port",
        kind: Kind::Integer {
            default,
            min: 0,
            max: 65_535,
            unit: "",
        },
        doc: PORT_DOC,
    }
}

const fn interface(default: &'static str) -> Setting {
    Setting {
        key: "interface",
        kind: Kind::Address { default },
        doc: INTERFACE_DOC,
    }
}

const fn milliseconds(key: &'static str, default: u64, min: u64, max: u64, doc: &'static str) -> Setting {
    Setting {
        key,
        kind: Kind::Integer {
            default,
            min,
            max,
            unit: "ms",
        },
        doc,
    }
}

const fn unsupported(key: &'static str, effect: &'static str) -> Unsupported {
    Unsupported { key, effect }
}

pub const TOP: Section = Section {
    place: "",
    settings: &[],
    inner: &["config", "streams"],
    unsupported: &[
        unsupported("account", NO_API),
        unsupported("auto_push", "no push is started"),
        unsupported("autopushes", "no push is started"),
        unsupported("push_settings", "no push is started"),
        unsupported("bandwidth", "traffic is neither limited nor left out of counting"),
        unsupported("variables", "variables are not replaced"),
        unsupported("extwriters", "no external writer is run"),
        unsupported(
            "streamkeys",
            "stream keys let nobody in; use a passphrase: push://@PASSPHRASE",
        ),
        unsupported("jwks", "tokens are not checked and let nobody in"),
        unsupported("tags", NO_EFFECT),
        unsupported("ui_settings", NO_EFFECT),
        unsupported("config_split", "the other files are not read"),
    ],
    written_by_mistserver: &["LTS", "log", "incomplete list"],
};

pub const CONFIG: Section = Section {
    place: "config",
    settings: &[],
    inner: &["controller", "protocols", "penstock"],
    unsupported: &[
        unsupported("debug", "the log level is not set by the file"),
        unsupported("serverid", NO_EFFECT),
        unsupported("accesslog", "no access log is written"),
        unsupported("prometheus", "metrics are not served"),
        unsupported("trustedproxy", "a proxy's own address is taken for the viewer's"),
        unsupported(
            "triggers",
            "no trigger is run: whom the push rules allow is admitted, and so is every viewer",
        ),
        unsupported("defaultStream", "there is no fallback stream"),
        unsupported("sessionViewerMode", NO_EFFECT),
        unsupported("sessionInputMode", NO_EFFECT),
        unsupported("sessionOutputMode", NO_EFFECT),
        unsupported("sessionUnspecifiedMode", NO_EFFECT),
        unsupported("sessionStreamInfoMode", NO_EFFECT),
        unsupported("tknMode", NO_EFFECT),
        unsupported("location", NO_EFFECT),
    ],
    written_by_mistserver: &["iid", "version", "time"],
};

pub const CONTROLLER: Section = Section {
    place: "config.controller",
    settings: &[port(4242), interface("0.0.0.0")],
    inner: &[],
    unsupported: &[
        unsupported("username", "the process keeps the user it was started as"),
        unsupported("prometheus", "metrics are not served"),
    ],
    written_by_mistserver: &[],
};

pub const HTTP: Section = Section {
    place: "config.protocols[HTTP]",
    settings: &[port(8080), interface("")],
    inner: &["connector"],
    unsupported: &[
        unsupported("wrappers", "no player page is served"),
        unsupported("nostreamtext", "no player page is served"),
        unsupported("pubaddr", NO_EFFECT),
        unsupported("certbot", "no certificate is asked for"),
        unsupported("username", "the process keeps the user it was started as"),
        unsupported("debug", NO_EFFECT),
        unsupported("default_track_sorting", NO_EFFECT),
    ],
    written_by_mistserver: &["online"],
};

pub const RTMP: Section = Section {
    place: "config.protocols[RTMP]",
    settings: &[port(1935), interface("")],
    inner: &["connector"],
    unsupported: &[
        unsupported("acceptable", "the port takes both publishers and players"),
        unsupported("maxkbps", "a publisher's bit rate is not limited"),
        unsupported("cert", "RTMPS is not supported: the port speaks plain RTMP"),
        unsupported("key", "RTMPS is not supported: the port speaks plain RTMP"),
        unsupported("username", "the process keeps the user it was started as"),
        unsupported("debug", NO_EFFECT),
        unsupported("default_track_sorting", NO_EFFECT),
    ],
    written_by_mistserver: &["online"],
};

pub const RTSP: Section = Section {
    place: "config.protocols[RTSP]",
    settings: &[
        port(5554),
        interface(""),
        Setting {
            key: "udpport",
            kind: Kind::Integer {
                default: 10_000,
                min: 1024,
                max: 65_000,
                unit: "",
            },
            doc: "first of the UDP ports for RTP and RTCP: each shard takes two, from here up those that are free",
        },
        Setting {
            key: "multicastttl",
            kind: Kind::Integer {
                default: 1,
                min: 0,
                max: 255,
                unit: "",
            },
            doc: "how many networks far multicast groups of streams go: 0 stays on this machine, 1 in its networks",
        },
        Setting {
            key: "multicastinterface",
            kind: Kind::Address { default: "" },
            doc: "IPv4 address of the interface that multicast groups leave by; empty: as the routes say",
        },
    ],
    inner: &["connector"],
    unsupported: &[
        unsupported("maxsend", "packets are as long as their way carries"),
        unsupported(
            "cert",
            "the port speaks plain RTSP: certificates are those of a connector RTSPS",
        ),
        unsupported(
            "key",
            "the port speaks plain RTSP: certificates are those of a connector RTSPS",
        ),
        unsupported("username", "the process keeps the user it was started as"),
        unsupported("debug", NO_EFFECT),
        unsupported("default_track_sorting", NO_EFFECT),
    ],
    written_by_mistserver: &["online"],
};

const CERT: Setting = Setting {
    key: "cert",
    kind: Kind::Paths,
    doc: "PEM files, each with a certificate and the chain behind it; the name that a client asks for chooses one",
};
const KEY: Setting = Setting {
    key: "key",
    kind: Kind::Paths,
    doc: "PEM files with their private keys, in the same order; read again when they change, and on SIGHUP",
};

/// RTSP over TLS.
pub const RTSPS: Section = Section {
    place: "config.protocols[RTSPS]",
    settings: &[port(322), interface(""), CERT, KEY],
    inner: &["connector"],
    unsupported: &[
        unsupported("maxsend", "packets are as long as their way carries"),
        unsupported("username", "the process keeps the user it was started as"),
        unsupported("debug", NO_EFFECT),
        unsupported("default_track_sorting", NO_EFFECT),
    ],
    written_by_mistserver: &["online"],
};

/// Containers that ride on HTTP.
pub const CONTAINER: Section = Section {
    place: "config.protocols[FLV, HTTPTS, MP4, HDS]",
    settings: &[],
    inner: &["connector"],
    unsupported: &[
        unsupported("username", NO_EFFECT),
        unsupported("debug", NO_EFFECT),
        unsupported("default_track_sorting", NO_EFFECT),
    ],
    written_by_mistserver: &["online"],
};

const LIST_LIMIT: Setting = Setting {
    key: "listlimit",
    kind: Kind::Integer {
        default: 0,
        min: 0,
        max: 65_536,
        unit: "segments",
    },
    doc: "segments that a playlist lists at most, but never less than three target durations; 0: all in the window",
};

const CHUNK_PATH: Unsupported = unsupported("chunkpath", "segments have no other host than their playlists");
const NON_CHUNKED: Unsupported = unsupported("nonchunked", "segments are sent with their length anyway");

/// HLS in MPEG-TS.
pub const HLS: Section = Section {
    place: "config.protocols[HLS]",
    settings: &[LIST_LIMIT],
    inner: &["connector"],
    unsupported: &[
        NON_CHUNKED,
        CHUNK_PATH,
        unsupported("username", NO_EFFECT),
        unsupported("debug", NO_EFFECT),
        unsupported("default_track_sorting", NO_EFFECT),
    ],
    written_by_mistserver: &["online"],
};

/// HLS in fragmented MP4, DASH and Smooth.
pub const CMAF: Section = Section {
    place: "config.protocols[CMAF]",
    settings: &[
        LIST_LIMIT,
        milliseconds(
            "part_millis",
            333,
            100,
            2_000,
            "about how long a part of low-latency HLS and DASH lasts; whole frames",
        ),
        Setting {
            key: "hls_parts",
            kind: Kind::Choice {
                default: "urls",
                choices: &["urls", "ranges", "none"],
            },
            doc: "how playlists list parts where a URL does not say (llhls=1, range or 0): with URLs of their own, as byte ranges of their segment, or not",
        },
        Setting {
            key: "dash_naming",
            kind: Kind::Choice {
                default: "timeline",
                choices: &["timeline", "number"],
            },
            doc: "how DASH manifests name segments where a URL does not say (naming=timeline or number)",
        },
    ],
    inner: &["connector"],
    unsupported: &[
        NON_CHUNKED,
        CHUNK_PATH,
        unsupported("mergesessions", NO_EFFECT),
        unsupported("username", NO_EFFECT),
        unsupported("debug", NO_EFFECT),
        unsupported("default_track_sorting", NO_EFFECT),
    ],
    written_by_mistserver: &["online"],
};

pub const SUPPORTED_CONNECTORS: &[&str] = &[
    "HTTP", "RTMP", "RTSP", "RTSPS", "FLV", "HTTPTS", "MP4", "HLS", "CMAF", "HDS",
];

/// Names that MistServer gave before it served them together, as what they are read.
pub const OLD_CONNECTORS: &[(&str, &str)] = &[("HSS", "CMAF"), ("DASH", "CMAF")];

/// MistServer's others. Their options are not looked at.
pub const OTHER_CONNECTORS: &[&str] = &[
    "HTTPS",
    "TSSRT",
    "TS",
    "DTSC",
    "WebRTC",
    "JSONLine",
    "RAW",
    "TSRIST",
    "HTTPMinimalServer",
    "AAC",
    "EBML",
    "FLAC",
    "H264",
    "JPG",
    "JSON",
    "MP3",
    "OGG",
    "SDP",
    "SubRip",
    "WAV",
    "SRT",
];

pub const STREAM: Section = Section {
    place: "streams.NAME",
    settings: &[
        milliseconds(
            "DVR",
            50_000,
            1_000,
            86_400_000,
            "how much of the live stream is kept in memory",
        ),
        milliseconds(
            "segmentsize",
            1_900,
            100,
            60_000,
            "least length of a fragment; it ends at the next keyframe",
        ),
        milliseconds(
            "maxkeepaway",
            45_000,
            0,
            86_400_000,
            "how far behind live a player may be held for smoothness",
        ),
        Setting {
            key: "resume",
            kind: Kind::Switch { default: false },
            doc: "keep what is in memory when a publisher returns; otherwise the stream begins anew",
        },
        Setting {
            key: "transport",
            kind: Kind::Choice {
                default: "auto",
                choices: &["auto", "udp", "tcp", "UDP", "TCP"],
            },
            doc: "how packets of an rtsp:// source come; auto begins with UDP and falls back to TCP",
        },
        Setting {
            key: "always_on",
            kind: Kind::Switch { default: false },
            doc: "pull the source whether or not anybody watches; otherwise the first viewer starts it",
        },
        Setting {
            key: "inputtimeout",
            kind: Kind::Integer {
                default: 30,
                min: 0,
                max: 86_400,
                unit: "s",
            },
            doc: "how long a pulled source runs without viewers",
        },
        milliseconds(
            "grace",
            5_000,
            0,
            600_000,
            "how long viewers are held when the publisher is gone",
        ),
        Setting {
            key: "second_publisher",
            kind: Kind::Choice {
                default: "refuse",
                choices: &["refuse", "replace"],
            },
            doc: "what happens to one who pushes to a stream that is being pushed",
        },
        Setting {
            key: "tls_trust",
            kind: Kind::Trust,
            doc: "whose certificate a source by TLS must have: of an authority that the system trusts; this one, whoever issued it; any, for all to read who sit between",
        },
        Setting {
            key: "multicast",
            kind: Kind::Address { default: "" },
            doc: "IPv4 group that RTSP players may listen to, for the first track; each other track has the next one. Empty: none. Wildcards of the stream have none",
        },
        Setting {
            key: "multicastport",
            kind: Kind::Integer {
                default: 5004,
                min: 1024,
                max: 65_000,
                unit: "",
            },
            doc: "UDP port of the first track's group, RTCP's is the next; each other track has the next two",
        },
    ],
    inner: &["source"],
    unsupported: &[
        unsupported("tags", NO_EFFECT),
        unsupported("processes", "no process is run"),
        unsupported("stop_sessions", NO_EFFECT),
        unsupported("fallback_stream", "there is no fallback stream"),
        unsupported("realtime", NO_EFFECT),
        unsupported("cut", NO_EFFECT),
        unsupported("idleTime", NO_EFFECT),
        unsupported("pagetimeout", NO_EFFECT),
        unsupported("debug", NO_EFFECT),
        unsupported("udpport", NO_EFFECT),
        unsupported("multicastinterface", NO_EFFECT),
        unsupported("acceptable", NO_EFFECT),
        unsupported("raw", NO_EFFECT),
        unsupported("datatrack", NO_EFFECT),
        unsupported("profile", NO_EFFECT),
        unsupported("bufferTime", NO_EFFECT),
        unsupported("format", NO_EFFECT),
        unsupported("sources", NO_EFFECT),
        unsupported("resolution", NO_EFFECT),
        unsupported("target_fps", NO_EFFECT),
        unsupported("copyaudio", NO_EFFECT),
        unsupported("scaling", NO_EFFECT),
        unsupported("aspect", NO_EFFECT),
        unsupported("sourcesync", NO_EFFECT),
        unsupported("audiochannels", NO_EFFECT),
        unsupported("printtiming", NO_EFFECT),
        unsupported("offlineaction", NO_EFFECT),
        unsupported("removetimeout", NO_EFFECT),
        unsupported("encryption", "nothing is encrypted"),
        unsupported("buydrm", "nothing is encrypted"),
        unsupported("contentid", "nothing is encrypted"),
        unsupported("keyid", "nothing is encrypted"),
        unsupported("widevine", "nothing is encrypted"),
        unsupported("playready", "nothing is encrypted"),
    ],
    written_by_mistserver: &["name", "online", "error"],
};

/// Values that MistServer has no place for.
pub const PENSTOCK: Section = Section {
    place: "config.penstock",
    settings: &[
        Setting {
            key: "shards",
            kind: Kind::Integer {
                default: 0,
                min: 0,
                max: penstock_shard::limits::SHARDS_MAX as u64,
                unit: "",
            },
            doc: "cores that serve; 0: all that the process may use",
        },
        Setting {
            key: "memory_bytes",
            kind: Kind::IntegerOrFound {
                min: crate::limits::MEMORY_BYTES_MIN,
                max: penstock_shard::pool::limits::BUDGET_BYTES_MAX,
                unit: "bytes",
            },
            doc: "budget of the streams' rings and feeds; 0: half of the RAM or of the control group's limit",
        },
        Setting {
            key: "connections_max",
            kind: Kind::Integer {
                default: 65_536,
                min: 16,
                max: 16_777_216,
                unit: "",
            },
            doc: "connections on all shards; the limit of open files may allow fewer",
        },
        Setting {
            key: "connections_per_address_max",
            kind: Kind::Integer {
                default: 0,
                min: 0,
                max: 16_777_216,
                unit: "",
            },
            doc: "connections of one address (IPv6: of one /64) on all shards; 0: no bound, as behind a proxy",
        },
        milliseconds(
            "lag_max",
            5_000,
            500,
            60_000,
            "how far behind live a viewer may fall before it is moved or closed",
        ),
        milliseconds(
            "interactive_pause_min",
            0,
            0,
            1_000,
            "shortest pause between two rounds of sends to RTMP and RTSP viewers; longer means fewer, larger sends",
        ),
        milliseconds(
            "interactive_pause_max",
            150,
            0,
            1_000,
            "longest pause between two rounds of sends to RTMP and RTSP viewers, under load; never below interactive_pause_min",
        ),
        milliseconds(
            "buffered_pause_min",
            100,
            0,
            2_000,
            "shortest pause between two rounds of sends to HTTP viewers",
        ),
        milliseconds(
            "buffered_pause_max",
            500,
            0,
            2_000,
            "longest pause between two rounds of sends to HTTP viewers, under load; never below buffered_pause_min",
        ),
        Setting {
            key: "lookup_interval",
            kind: Kind::Integer {
                default: 60,
                min: 1,
                max: 86_400,
                unit: "s",
            },
            doc: "how often the host names of push rules are looked up",
        },
        milliseconds(
            "stall_max",
            penstock_shard::limits::STALL_MAX_MILLIS,
            1_000,
            3_600_000,
            "how long a viewer may take nothing of what there is for it before it is closed",
        ),
        Setting {
            key: "shard_share",
            kind: Kind::Integer {
                default: 50,
                min: 0,
                max: 100,
                unit: "%",
            },
            doc: "load of a core up to which a stream's viewers stay on the core that makes it; 0: spread over all at once",
        },
        Setting {
            key: "zero_copy",
            kind: Kind::Choice {
                default: "auto",
                choices: &["auto", "on", "off"],
            },
            doc: "long sends without copying (SEND_ZC, Linux 6.2); auto: to other machines, as long as the kernel does not report copies; on: to everybody",
        },
        Setting {
            key: "datagram_segmentation",
            kind: Kind::Choice {
                default: "auto",
                choices: &["auto", "off"],
            },
            doc: "packets of a viewer by UDP are given to the kernel together (UDP GSO); auto: as long as it and the network card cut them; off: one by one",
        },
        Setting {
            key: "huge_pages",
            kind: Kind::Choice {
                default: "auto",
                choices: &["auto", "off"],
            },
            doc: "pages of 256 KiB for rings and feeds, where the kernel may give them and none larger (systemd/penstock-tmpfiles.conf)",
        },
        Setting {
            key: "max_pacing",
            kind: Kind::Integer {
                default: 0,
                min: 0,
                max: 1_000,
                unit: "%",
            },
            doc: "a viewer that has caught up is sent at most so much of its stream's measured rate, at least 110; 0: no bound",
        },
    ],
    inner: &[],
    unsupported: &[],
    written_by_mistserver: &[],
};

/// All sections, in the order of the reference.
pub const SECTIONS: &[&Section] = &[
    &CONTROLLER,
    &HTTP,
    &RTMP,
    &RTSP,
    &RTSPS,
    &HLS,
    &CMAF,
    &PENSTOCK,
    &STREAM,
];
