//! URLs of what is fetched piece by piece: MistServer's layout, and what ours adds (`reference` is in the README).
//!
//! `/hls/NAME/…` is MPEG-TS, `/cmaf/NAME/…` fragmented MP4 with DASH and Smooth beside it, `/dynamic/NAME/…` HDS. A name has no
//! slash; what follows it is matched as a whole, so that nothing leads anywhere else.

use penstock_proto::hls::{self, Reload};

use crate::config::Containers;
use crate::shelf::{Item, LaneKey, Naming, Newest, Skip, TextKey};

/// What a URL asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Thing(Asked),
    /// The server's clock, for DASH players.
    Time,
    Nothing {
        why: String,
    },
    /// It names something, and asks for it wrongly.
    Malformed {
        why: String,
    },
}

/// A thing on a stream's shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub name: String,
    pub item: Item,
    /// The stream's epoch, as the URL has it.
    pub epoch: Option<String>,
    pub reload: Reload,
}

/// What of it is served, and how playlists and manifests are where a URL does not say.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    pub containers: Containers,
    pub newest: Newest,
    pub naming: Naming,
}

const CLOCK_PATH: &str = "/cmaf/time.txt";

/// Nothing when the URL is of another kind.
pub fn parse<'q>(
    path: &str,
    pairs: impl Iterator<Item = (std::borrow::Cow<'q, str>, std::borrow::Cow<'q, str>)>,
    served: Served,
) -> Option<Target> {
    let (kind, rest) = path.strip_prefix('/')?.split_once('/')?;
    let kind = Kind::of(kind)?;
    if path == CLOCK_PATH {
        return Some(Target::Time);
    }
    let (connector, is_on) = kind.connector(served.containers);
    if !is_on {
        return Some(Target::Nothing {
            why: format!("the {connector} output is not among config.protocols"),
        });
    }
    let Some((name, file)) = rest.split_once('/') else {
        return Some(Target::Nothing {
            why: format!("nothing is served at {path}: try {}", kind.example()),
        });
    };
    let pairs: Vec<_> = pairs.collect();
    let reload = match Reload::parse(pairs.iter().map(|(name, value)| (name, value))) {
        Ok(reload) => reload,
        Err(error) => return Some(Target::Malformed { why: error.to_string() }),
    };
    let query = Query::read(&pairs, served);
    Some(match kind.item(file, &query, &reload) {
        Some(item) => Target::Thing(Asked {
            name: name.to_owned(),
            item,
            epoch: query.epoch,
            reload,
        }),
        None => Target::Nothing {
            why: format!("nothing is served at {path}: try {}", kind.example()),
        },
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ts,
    Cmaf,
    Hds,
}

/// What a query says beside delivery directives.
struct Query {
    epoch: Option<String>,
    generation: Option<u32>,
    newest: Newest,
    naming: Naming,
}

impl Query {
    fn read(pairs: &[(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)], served: Served) -> Query {
        let of = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| &**value);
        Query {
            epoch: of("e").map(str::to_owned),
            generation: of("g").and_then(|value| value.parse().ok()),
            newest: match of("llhls") {
                Some("0") => Newest::Segments,
                Some("1") => Newest::Parts,
                Some("range") => Newest::Ranges,
                _ => served.newest,
            },
            naming: match of("naming") {
                Some("number") => Naming::Number,
                Some("timeline") => Naming::Timeline,
                _ => served.naming,
            },
        }
    }
}

impl Kind {
    fn of(folder: &str) -> Option<Kind> {
        match folder {
            "hls" => Some(Kind::Ts),
            "cmaf" => Some(Kind::Cmaf),
            "dynamic" => Some(Kind::Hds),
            _ => None,
        }
    }

    fn connector(self, containers: Containers) -> (&'static str, bool) {
        match self {
            Kind::Ts => ("HLS", containers.hls),
            Kind::Cmaf => ("CMAF", containers.cmaf),
            Kind::Hds => ("HDS", containers.hds),
        }
    }

    fn example(self) -> &'static str {
        match self {
            Kind::Ts => "/hls/STREAM/index.m3u8",
            Kind::Cmaf => "/cmaf/STREAM/index.m3u8, index.mpd or Manifest",
            Kind::Hds => "/dynamic/STREAM/manifest.f4m",
        }
    }

    fn item(self, file: &str, query: &Query, reload: &Reload) -> Option<Item> {
        match self {
            Kind::Ts => ts_item(file),
            Kind::Cmaf => cmaf_item(file, query, reload),
            Kind::Hds => hds_item(file),
        }
    }
}

fn ts_item(file: &str) -> Option<Item> {
    if is_playlist(file) {
        return Some(Item::Text(TextKey::TsMaster));
    }
    let (tracks, file) = file.split_once('/')?;
    let (first, second) = pair(tracks)?;
    if is_playlist(file) {
        return Some(Item::Text(TextKey::TsMedia { first, second }));
    }
    let (from, until) = stem(file, "ts")?.split_once('_')?;
    number::<i64>(until)?;
    Some(Item::Segment {
        lane: LaneKey::Ts { first, second },
        name_millis: number(from)?,
    })
}

fn cmaf_item(file: &str, query: &Query, reload: &Reload) -> Option<Item> {
    if is_playlist(file) {
        let newest = query.newest;
        return Some(Item::Text(TextKey::CmafMaster { newest }));
    }
    if file.eq_ignore_ascii_case("Manifest") {
        return Some(Item::Text(TextKey::Smooth));
    }
    if !file.contains('/') && stem(file, "mpd").is_some() {
        let naming = query.naming;
        return Some(Item::Text(TextKey::Mpd { naming }));
    }
    let (folder, file) = file.split_once('/')?;
    if let Some(bitrate) = folder.strip_prefix("Q(").and_then(|rest| rest.strip_suffix(')')) {
        let track = number::<u64>(bitrate)? % 100;
        return Some(Item::Segment {
            lane: LaneKey::Smooth { track: track as u32 },
            name_millis: number(stem(file, "m4s")?.strip_prefix("chunk_")?)?,
        });
    }
    let track = number(folder)?;
    let lane = LaneKey::Cmaf { track };
    if is_playlist(file) {
        return Some(Item::Text(TextKey::CmafMedia {
            track,
            newest: query.newest,
            skip: match reload.skip {
                hls::Skip::No => Skip::No,
                hls::Skip::Yes => Skip::Yes,
                hls::Skip::V2 => Skip::V2,
            },
        }));
    }
    let stem = stem(file, "m4s")?;
    if stem.eq_ignore_ascii_case("init") {
        return Some(Item::Init {
            lane,
            generation: query.generation,
        });
    }
    let chunk = stem.strip_prefix("chunk_")?;
    if let Some(numbered) = chunk.strip_prefix('n') {
        return Some(Item::Numbered {
            lane,
            number: number(numbered)?,
        });
    }
    match chunk.split_once('.') {
        None => Some(Item::Segment {
            lane,
            name_millis: number(chunk)?,
        }),
        Some((name, part)) => Some(Item::Part {
            lane,
            name_millis: number(name)?,
            part: number(part)?,
        }),
    }
}

fn hds_item(file: &str) -> Option<Item> {
    if stem(file, "f4m").is_some_and(|stem| !stem.contains('/')) {
        return Some(Item::Text(TextKey::Hds));
    }
    if let Some((first, second)) = stem(file, "abst").and_then(pair) {
        return Some(Item::Text(TextKey::HdsBootstrap { first, second }));
    }
    let (tracks, fragment) = file.split_once("-Seg1-Frag")?;
    let (first, second) = pair(tracks)?;
    Some(Item::Numbered {
        lane: LaneKey::Hds { first, second },
        number: number(fragment)?,
    })
}

fn is_playlist(file: &str) -> bool {
    file.eq_ignore_ascii_case("index.m3u8")
}

/// The file's name without `.extension`, in whatever case that is written.
fn stem<'a>(file: &'a str, extension: &str) -> Option<&'a str> {
    let (stem, found) = file.rsplit_once('.')?;
    found.eq_ignore_ascii_case(extension).then_some(stem)
}

/// `1`, or `1_2`.
fn pair(tracks: &str) -> Option<(u32, Option<u32>)> {
    match tracks.split_once('_') {
        None => Some((number(tracks)?, None)),
        Some((first, second)) => Some((number(first)?, Some(number(second)?))),
    }
}

/// Digits, and a minus where that has a meaning: no plus, no blank.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn read(target: &str) -> Option<Target> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (Cow::Borrowed(name), Cow::Borrowed(value))
        });
        let containers = Containers {
            hls: true,
            cmaf: true,
            hds: true,
            ..Containers::default()
        };
        let served = Served {
            containers,
            newest: Newest::Parts,
            naming: Naming::Timeline,
        };
        parse(path, pairs, served)
    }

    #[test]
    fn urls_name_things() {
        let ts = LaneKey::Ts {
            first: 1,
            second: Some(2),
        };
        let cmaf = LaneKey::Cmaf { track: 1 };
        let media = |newest, skip| Item::Text(TextKey::CmafMedia { track: 1, newest, skip });
        for (target, expected) in [
            ("/hls/a+b/index.m3u8", Item::Text(TextKey::TsMaster)),
            (
                "/hls/a/1_2/index.M3U8",
                Item::Text(TextKey::TsMedia {
                    first: 1,
                    second: Some(2),
                }),
            ),
            (
                "/hls/a/1/index.m3u8",
                Item::Text(TextKey::TsMedia { first: 1, second: None }),
            ),
            (
                "/hls/a/1_2/2000_4000.ts",
                Item::Segment {
                    lane: ts,
                    name_millis: 2000,
                },
            ),
            (
                "/hls/a/1_2/2000_4000.ts?e=abcdef",
                Item::Segment {
                    lane: ts,
                    name_millis: 2000,
                },
            ),
            (
                "/cmaf/a/index.m3u8",
                Item::Text(TextKey::CmafMaster { newest: Newest::Parts }),
            ),
            (
                "/cmaf/a/index.m3u8?llhls=0",
                Item::Text(TextKey::CmafMaster {
                    newest: Newest::Segments,
                }),
            ),
            ("/cmaf/a/1/index.m3u8", media(Newest::Parts, Skip::No)),
            (
                "/cmaf/a/1/index.m3u8?llhls=range&_HLS_skip=v2",
                media(Newest::Ranges, Skip::V2),
            ),
            (
                "/cmaf/a/1/init.m4s?e=abcdef&g=3",
                Item::Init {
                    lane: cmaf,
                    generation: Some(3),
                },
            ),
            (
                "/cmaf/a/1/chunk_2000.m4s",
                Item::Segment {
                    lane: cmaf,
                    name_millis: 2000,
                },
            ),
            ("/cmaf/a/1/chunk_n7.m4s", Item::Numbered { lane: cmaf, number: 7 }),
            (
                "/cmaf/a/1/chunk_2000.4.m4s?e=abcde",
                Item::Part {
                    lane: cmaf,
                    name_millis: 2000,
                    part: 4,
                },
            ),
            (
                "/cmaf/a/other.mpd",
                Item::Text(TextKey::Mpd {
                    naming: Naming::Timeline,
                }),
            ),
            (
                "/cmaf/a/index.mpd?naming=number",
                Item::Text(TextKey::Mpd { naming: Naming::Number }),
            ),
            ("/cmaf/a/Manifest", Item::Text(TextKey::Smooth)),
            (
                "/cmaf/a/Q(800003)/chunk_2000.m4s",
                Item::Segment {
                    lane: LaneKey::Smooth { track: 3 },
                    name_millis: 2000,
                },
            ),
            ("/dynamic/a/manifest.f4m", Item::Text(TextKey::Hds)),
            (
                "/dynamic/a/1_2.abst",
                Item::Text(TextKey::HdsBootstrap {
                    first: 1,
                    second: Some(2),
                }),
            ),
            (
                "/dynamic/a/1_2-Seg1-Frag9",
                Item::Numbered {
                    lane: LaneKey::Hds {
                        first: 1,
                        second: Some(2),
                    },
                    number: 9,
                },
            ),
        ] {
            match read(target) {
                Some(Target::Thing(asked)) => assert_eq!(asked.item, expected, "{target}"),
                other => panic!("{target}: {other:?}"),
            }
        }
        assert_eq!(read("/cmaf/time.txt"), Some(Target::Time));
    }

    #[test]
    fn other_urls_name_nothing() {
        for target in [
            "/hls/a",
            "/hls//",
            "/hls/a/",
            "/hls/a/1_2/",
            "/hls/a/1_2/2000.ts",
            "/hls/a/1_2/x_y.ts",
            "/hls/a/+1/index.m3u8",
            "/hls/a/1_2/3/index.m3u8",
            "/cmaf/a/1/chunk_.m4s",
            "/cmaf/a/1/chunk_1.2.3.m4s",
            "/cmaf/a/b/x.mpd",
            "/cmaf/a/1/chunk_99999999999999999999.m4s",
            "/cmaf/a/Q()/chunk_1.m4s",
            "/cmaf/a/1/chunk_1.-1.m4s",
            "/dynamic/a/1_2-Seg1-Frag",
            "/dynamic/a/1-Seg2-Frag1",
            "/dynamic/a/../manifest.f4m/x",
        ] {
            assert!(
                matches!(read(target), Some(Target::Nothing { .. })),
                "{target}: {:?}",
                read(target)
            );
        }
        for target in ["/live.flv", "/", "/hls", "/HLS/a/index.m3u8", "/other/a/index.m3u8"] {
            assert_eq!(read(target), None, "{target}");
        }
        for target in ["/cmaf/a/1/index.m3u8?_HLS_part=1", "/cmaf/a/1/index.m3u8?_HLS_msn=x"] {
            assert!(matches!(read(target), Some(Target::Malformed { .. })), "{target}");
        }
    }
}
