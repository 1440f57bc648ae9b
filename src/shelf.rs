//! What of a stream can be fetched piece by piece right now, as every shard sees it: the *shelf*.
//!
//! The stream's home puts things on it (`stream/shelf`): texts, initialization segments, ranges of feeds. Each change is a new
//! [`Edition`], told to every shard that asked; viewers' shards (`app/segmented`) answer from the newest one they have, and
//! ask the home for what is not on it. Nothing in an edition changes, but the marks of use.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use penstock_proto::hls::Edge;
use penstock_shard::feed::Feed;
use penstock_shard::mesh::ShardId;

/// A rendition in one packaging: what one muxer makes. Tracks by their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LaneKey {
    /// MPEG-TS of a picture and a sound, or of one track alone.
    Ts {
        first: u32,
        second: Option<u32>,
    },
    /// Fragmented MP4 of one track.
    Cmaf {
        track: u32,
    },
    Smooth {
        track: u32,
    },
    /// FLV tags in `mdat`, of a picture and a sound, or of one track alone.
    Hds {
        first: u32,
        second: Option<u32>,
    },
}

/// How a media playlist lists what is newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Newest {
    /// Whole segments only (`llhls=0`).
    Segments,
    /// Parts with URLs of their own.
    Parts,
    /// Parts as byte ranges of their segment (`llhls=range`).
    Ranges,
}

/// Delta updates of playlists (RFC 8216bis 6.2.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    No,
    Yes,
    V2,
}

/// How a DASH manifest names segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Naming {
    Timeline,
    Number,
}

/// A playlist or manifest, in one of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TextKey {
    /// `/hls/NAME/index.m3u8`
    TsMaster,
    /// `/hls/NAME/1_2/index.m3u8`
    TsMedia { first: u32, second: Option<u32> },
    /// `/cmaf/NAME/index.m3u8`; whether its media playlists have parts.
    CmafMaster { newest: Newest },
    /// `/cmaf/NAME/1/index.m3u8`
    CmafMedia { track: u32, newest: Newest, skip: Skip },
    /// `/cmaf/NAME/index.mpd`
    Mpd { naming: Naming },
    /// `/cmaf/NAME/Manifest`
    Smooth,
    /// `/dynamic/NAME/manifest.f4m`
    Hds,
    /// `/dynamic/NAME/1_2.abst`
    HdsBootstrap { first: u32, second: Option<u32> },
}

impl TextKey {
    /// Who asks for it fetches the segments it lists; the others list several renditions, of which a player chooses.
    pub fn is_of_one_lane(self) -> bool {
        matches!(
            self,
            TextKey::TsMedia { .. } | TextKey::CmafMedia { .. } | TextKey::HdsBootstrap { .. }
        )
    }

    /// Whether it has something of this rendition.
    pub fn lists(self, lane: LaneKey) -> bool {
        match (self, lane) {
            (TextKey::TsMaster, LaneKey::Ts { .. })
            | (TextKey::CmafMaster { .. } | TextKey::Mpd { .. }, LaneKey::Cmaf { .. })
            | (TextKey::Smooth, LaneKey::Smooth { .. })
            | (TextKey::Hds, LaneKey::Hds { .. }) => true,
            (TextKey::TsMedia { first, second }, lane) => lane == LaneKey::Ts { first, second },
            (TextKey::CmafMedia { track, .. }, lane) => lane == LaneKey::Cmaf { track },
            (TextKey::HdsBootstrap { first, second }, lane) => lane == LaneKey::Hds { first, second },
            _ => false,
        }
    }
}

/// What a request can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    Text(TextKey),
    /// Initialization segment of the codec data that are in force (`None`) or of a generation.
    Init {
        lane: LaneKey,
        generation: Option<u32>,
    },
    /// By the number in its URL (`chunk_240000.m4s`, `240000_242000.ts`).
    Segment {
        lane: LaneKey,
        name_millis: i64,
    },
    /// By its number (DASH `$Number$`, HDS `FragN`).
    Numbered {
        lane: LaneKey,
        number: u64,
    },
    /// `chunk_240000.3.m4s`
    Part {
        lane: LaneKey,
        name_millis: i64,
        part: u32,
    },
}

/// A text with what is said about it in the answer's head.
#[derive(Clone, Debug)]
pub struct Text {
    pub key: TextKey,
    pub identity: Arc<[u8]>,
    pub gzip: Arc<[u8]>,
    /// With its quotes; the gzip form has another.
    pub etag: String,
    pub etag_gzip: String,
    /// The newest that a media playlist lists: what `_HLS_msn` and `_HLS_part` are compared with.
    pub edge: Option<Edge>,
    /// How long it is new, ms; `None`: as long as it is asked for (a static manifest).
    pub life_millis: Option<u32>,
}

/// A segment whose bytes are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    pub number: u64,
    pub name_millis: i64,
    pub from: Source,
    /// Its bytes in that feed.
    pub range: Range<u64>,
    /// Those of its parts.
    pub parts: Vec<Range<u64>>,
}

/// Which feed of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The newest segments, as they were made.
    Live,
    /// Older ones, made again because somebody asked.
    Again,
}

/// One rendition in one packaging.
#[derive(Clone, Debug)]
pub struct Lane {
    pub key: LaneKey,
    pub content_type: &'static str,
    pub live: Arc<Feed>,
    /// The same bytes as `live` in HTTP chunks, one a piece, the end of each segment with its last chunk: for segments that
    /// are fetched while they are made. A record there ends a segment when it has [`ENDS_SEGMENT`].
    pub chunked: Option<Arc<Feed>>,
    pub again: Option<Arc<Feed>>,
    /// Initialization segments by generation, newest last.
    pub inits: Vec<(u32, Arc<[u8]>)>,
    /// Complete ones whose bytes are there, oldest first.
    pub segments: Vec<Shelved>,
    pub growing: Option<Growing>,
    /// Parts are listed and waited for.
    pub has_parts: bool,
}

/// Bit of a feed's record: the segment is complete behind it.
pub use penstock_shard::feed::ENDS_OBJECT as ENDS_SEGMENT;

/// The segment that is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growing {
    pub number: u64,
    pub name_millis: i64,
    /// Of its parts so far, in the live feed, without holes.
    pub parts: Vec<Range<u64>>,
    /// Where it begins in the live feed.
    pub start: u64,
    /// Where each part begins in the chunked feed, and where the next one will.
    pub chunks: Vec<u64>,
}

/// All that can be fetched of a stream at one moment.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Six characters; in every segment's URL as `e`.
    pub epoch: String,
    /// Counts editions of the stream's shelf.
    pub serial: u64,
    pub target_seconds: u32,
    pub window_millis: u64,
    pub is_ended: bool,
    pub texts: Vec<Arc<Text>>,
    pub lanes: Vec<Arc<Lane>>,
    pub usage: Arc<Usage>,
}

impl Edition {
    pub fn text(&self, key: TextKey) -> Option<&Arc<Text>> {
        self.texts.iter().find(|text| text.key == key)
    }

    pub fn lane(&self, key: LaneKey) -> Option<&Arc<Lane>> {
        self.lanes.iter().find(|lane| lane.key == key)
    }
}

/// When which shard last answered from the shelf (µs of the monotonic clock, which all shards share): the home tells those
/// that have not for long no more, and takes off what nobody asks for.
pub struct Usage {
    shards: [AtomicU64; penstock_shard::feed::limits::SHARDS_MAX],
    items: [AtomicU64; Usage::ITEMS],
}

impl Usage {
    /// Texts and lanes are told apart by so many marks; two that share one are kept together.
    const ITEMS: usize = 64;

    pub fn new() -> Self {
        Usage {
            shards: std::array::from_fn(|_| AtomicU64::new(0)),
            items: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub fn used_text(&self, shard: ShardId, key: TextKey, now: u64) {
        self.mark(shard, place_of(&key), now);
    }

    pub fn used_lane(&self, shard: ShardId, key: LaneKey, now: u64) {
        self.mark(shard, place_of(&key), now);
    }

    pub fn used_shard(&self, shard: ShardId, now: u64) {
        self.shards[shard.index()].store(now, Ordering::Relaxed);
    }

    pub fn text_used_at(&self, key: TextKey) -> u64 {
        self.items[place_of(&key)].load(Ordering::Relaxed)
    }

    pub fn lane_used_at(&self, key: LaneKey) -> u64 {
        self.items[place_of(&key)].load(Ordering::Relaxed)
    }

    pub fn shard_used_at(&self, shard: ShardId) -> u64 {
        self.shards[shard.index()].load(Ordering::Relaxed)
    }

    fn mark(&self, shard: ShardId, place: usize, now: u64) {
        self.shards[shard.index()].store(now, Ordering::Relaxed);
        self.items[place].store(now, Ordering::Relaxed);
    }
}

impl Default for Usage {
    fn default() -> Self {
        Usage::new()
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage").finish_non_exhaustive()
    }
}

/// The mark of a key, the same on all shards.
fn place_of(key: &impl std::hash::Hash) -> usize {
    let mut hasher = std::hash::DefaultHasher::new();
    key.hash(&mut hasher);
    (std::hash::Hasher::finish(&hasher) % Usage::ITEMS as u64) as usize
}

/// The home's answer to a question for an item.
#[derive(Clone, Debug)]
pub enum Shelving {
    /// What was asked for is on this edition, or will be on one that follows (it is being waited for).
    Edition { home: ShardId, edition: Arc<Edition> },
    /// The stream is there, and this is not, nor will it be: it has left the window, or never was.
    NoSuch {
        home: ShardId,
        edition: Option<Arc<Edition>>,
    },
    /// No such stream, or not here.
    NotThere,
    /// There is no memory for it, or too many wait.
    Busy,
    /// The stream has no track that this packaging can carry.
    NothingToCarry,
}
