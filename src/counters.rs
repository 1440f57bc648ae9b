//! What the appliance counts, per shard. Declared once each: name, unit, a line for the operator.

use std::fmt::Write;
use std::sync::Arc;

use penstock_shard::counters;
use penstock_shard::counters::{Declaration, Kind, ShardCounters};
use penstock_shard::pool::Pool;

counters! {
    /// What one shard's sessions and streams count.
    pub struct AppCounters {
        publishers: Gauge "publishers", "Publishers connected.";
        publishers_accepted: Total "publishers", "Publishers accepted.";
        publishers_refused_unknown: Total "publishers", "Publishers refused because no stream of that name is configured.";
        publishers_refused_rule: Total "publishers", "Publishers refused by the stream's push rule (host or password).";
        publishers_refused_busy: Total "publishers", "Publishers refused because the stream has one.";
        publishers_refused_name: Total "publishers", "Publishers refused because the name is not a legal stream name.";
        publishers_refused_memory: Total "publishers", "Publishers of new streams refused because the memory budget is used up: raise memory_bytes.";
        publishers_replaced: Total "publishers", "Publishers ended because another took over.";
        publishers_moved: Total "publishers", "Publishers moved to their stream's home shard.";
        pulls: Gauge "streams", "Streams whose source is pulled, or tried.";
        pulls_tried: Total "attempts", "Attempts to pull a source.";
        pulls_failed: Total "attempts", "Attempts to pull a source that failed, at once or after it had played: the log says why.";
        names_sanitised: Total "names", "Stream names asked for with characters that names do not have: they were left out.";
        streams: Gauge "streams", "Streams in memory, those waiting for their publisher's return among them.";
        feeds: Gauge "feeds", "Packagings being made.";
        viewers: Gauge "viewers", "Viewers that are being sent a stream.";
        viewers_total: Total "viewers", "Viewers that were sent a stream.";
        viewers_refused_overload: Total "viewers", "Viewers refused because the core that accepted them had no more to give: more cores, or fewer viewers.";
        viewers_placed: Total "viewers", "Viewers that were sent to another shard before they were served: to the one that makes their stream, or, when that has its share, to one that has less.";
        viewers_moved: Total "viewers", "Viewers that were moved to another shard while they watched, because that had less load.";
        viewers_move_refused: Total "viewers", "Viewers that were to be moved and stayed, because the other shard had no room for them, or its inbox was full.";
        viewers_not_found: Total "viewers", "Viewers that asked for a stream that is not there.";
        frames_in: Total "frames", "Frames taken into rings.";
        frame_bytes_in: Total "bytes", "Payload of frames taken into rings.";
        frames_muxed: Total "frames", "Frames given to muxers: zero while nobody watches.";
        records_out: Total "records", "Records appended to feeds.";
        streams_shortened: Gauge "streams", "Streams that keep less than DVR asks because memory is short: the first that is given up.";
        rings_shrunk: Total "GOPs", "GOPs that streams' windows gave up early because memory was short: raise memory_bytes.";
        frames_dropped_memory: Total "frames", "Frames dropped because the memory budget was used up: raise memory_bytes.";
        frames_dropped_size: Total "frames", "Frames dropped because they, or the GOP they belong to, are larger than a ring keeps.";
        frames_dropped_undecodable: Total "frames", "Frames dropped because one before them in their GOP was dropped.";
        feeds_ended_memory: Total "feeds", "Feeds ended because the memory budget was used up: raise memory_bytes.";
        feeds_ended_claims: Total "feeds", "Feeds ended because a core that stands still held too much of them: find out what keeps it busy.";
        feeds_ended_break: Total "feeds", "Feeds ended because what followed could not be expressed in their container.";
        breaks: Total "breaks", "Breaks: changes of codec data, track set, publisher or time.";
        tracks_rested: Total "tracks", "Tracks that had no frame for 12 s while others went on, and were taken off their stream until the next one.";
        gops_too_long: Total "GOPs", "GOPs that were longer than the target duration of playlists, after it had been promised that segments begin with keyframes.";
        playlist_requests: Total "requests", "Requests for playlists and manifests.";
        segment_requests: Total "requests", "Requests for segments, parts and initialization segments.";
        segments_followed: Total "requests", "Requests for segments that were sent while they were made.";
        fetches_waited: Total "requests", "Requests that waited for a playlist, part or segment that was next, or for the stream's home.";
        fetches_timed_out: Total "requests", "Requests that waited for three target durations in vain: 503.";
        fetches_gone: Total "requests", "Requests for segments or parts that are not there, or no longer: 404.";
        fetches_too_far: Total "requests", "Requests for playlists or parts too far ahead: 400.";
        segments_made: Total "segments", "Segments of renditions that were made, once for all viewers.";
        segments_again: Total "segments", "Older segments that were made again from the ring because somebody asked.";
        texts_made: Total "texts", "Playlists and manifests that were made, once for all viewers.";
        shelves: Gauge "streams", "Streams of which segments are fetched.";
        lanes: Gauge "renditions", "Renditions whose segments are being made.";
        packets_lost: Total "packets", "RTP packets of publishers that did not come, or came when they were no longer waited for.";
        datagrams_stray: Total "datagrams", "Datagrams from addresses that no RTSP peer has set up.";
        viewer_reports: Total "reports", "Reports of RTSP players on what they receive, by RTCP.";
        viewer_packets_lost: Total "packets", "RTP packets that RTSP players reported as lost on the way to them: datagrams that the network or the player dropped.";
        packets_late: Total "packets", "RTP packets of publishers that came after they had been given up.";
        packets_reordered: Total "packets", "RTP packets of publishers that came out of order and were put back.";
        packets_unreadable: Total "packets", "RTP and RTCP packets of publishers that could not be read and were skipped.";
        frames_lost: Total "frames", "Frames of publishers left out because a packet of them, or of a frame they depend on, was lost.";
        bad_messages: Total "messages", "Media messages of publishers that could not be read and were skipped.";
        http_requests: Total "requests", "HTTP requests.";
        http_errors: Total "requests", "HTTP requests answered with an error.";
        streams_discarded: Total "streams", "Streams ended because a defect of penstock showed in them: please report the log's line.";
        protocol_errors: Total "connections", "Connections ended because the peer broke the protocol.";
        connections_slow: Total "connections", "Connections ended because a handshake, a request or a publisher's message was not whole in its time.";
        connections_idle: Total "connections", "Connections ended because the peer asked for nothing, or sent nothing, in its time.";
        connections_closed_pending: Total "connections", "Connections closed because the peer sent too much while it waited for an answer.";
        connections_closed_input: Total "connections", "Connections closed because unfinished input of all peers took more memory than a shard gives it.";
        tls_ended_plain: Total "connections", "Connections to a TLS port ended because the peer spoke without TLS.";
        tls_ended_garbled: Total "connections", "TLS connections ended because what the peer sent was no TLS, or damaged.";
        tls_ended_nothing_in_common: Total "connections", "TLS connections ended because the peer has no version or algorithm in common with us.";
        tls_ended_untrusted: Total "connections", "TLS connections ended because we do not trust the certificate of a server that we called.";
        tls_ended_refused: Total "connections", "TLS connections ended because the peer said so in its handshake: most likely it does not trust our certificate.";
        tls_ended_other: Total "connections", "TLS connections ended for any other reason.";
        connections_refused_address: Total "connections", "Connections refused because their address has connections_per_address_max of them.";
    }
}

/// What the memory pool says of itself, in the order of [`report`].
const POOL: &[Declaration] = &[
    Declaration {
        name: "memory_blocks",
        kind: Kind::Gauge,
        unit: "blocks",
        help: "Blocks of 256 KiB in the memory budget.",
    },
    Declaration {
        name: "memory_blocks_used",
        kind: Kind::Gauge,
        unit: "blocks",
        help: "Blocks of the memory budget in use by rings and feeds, or waiting to be cleaned.",
    },
];

/// Every counter, in the order in which they are reported.
pub fn declared() -> impl Iterator<Item = &'static Declaration> {
    [ShardCounters::DECLARED, AppCounters::DECLARED, POOL]
        .into_iter()
        .flatten()
}

/// Every counter as the operator reads it: a line of name, kind and unit, and one of what it means.
pub fn reference() -> String {
    let mut out = String::new();
    for Declaration { name, kind, unit, help } in declared() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name} ({}, {unit})\n    {help}", kind.name());
    }
    out
}

/// As [`reference`], as a JSON array of objects with `name`, `kind`, `unit` and `help`.
pub fn reference_json() -> String {
    let line = |Declaration { name, kind, unit, help }: &Declaration| serde_json::json!({ "name": name, "kind": kind.name(), "unit": unit, "help": help });
    let lines: Vec<_> = declared().map(line).collect();
    format!("{:#}\n", serde_json::Value::Array(lines))
}

/// All counters of one shard.
#[derive(Debug, Clone, Default)]
pub struct ShardSet {
    pub shard: Arc<ShardCounters>,
    pub app: Arc<AppCounters>,
}

/// `counter NAME VALUE` lines, summed over shards, with what the memory pool holds.
pub fn report(sets: &[ShardSet], pool: &Pool) -> String {
    let mut out = String::new();
    let mut table = |declared: &[Declaration], values: &dyn Fn(&ShardSet) -> Vec<u64>| {
        let mut sums = vec![0u64; declared.len()];
        for set in sets {
            for (sum, value) in sums.iter_mut().zip(values(set)) {
                *sum = sum.wrapping_add(value);
            }
        }
        for (declaration, sum) in declared.iter().zip(sums) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "counter {} {sum}", declaration.name);
        }
    };
    table(ShardCounters::DECLARED, &|set| set.shard.values());
    table(AppCounters::DECLARED, &|set| set.app.values());
    let usage = pool.usage();
    for (declaration, value) in POOL.iter().zip([usage.blocks, usage.used]) {
        let _ = writeln!(out, "counter {} {value}", declaration.name);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reported_is_what_is_declared() {
        let pool = Pool::create(penstock_shard::pool::limits::BUDGET_BYTES_MIN).unwrap();
        let sets = [ShardSet::default(), ShardSet::default()];
        for (set, viewers) in sets.iter().zip([3, 4]) {
            set.app.viewers.add(viewers);
        }
        let report = report(&sets, &pool);
        let names: Vec<_> = report.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
        let declared: Vec<_> = declared().map(|declaration| declaration.name).collect();
        assert_eq!(names, declared);
        let blocks = format!("counter memory_blocks {}\n", pool.usage().blocks);
        assert!(
            report.contains("counter viewers 7\n") && report.contains(&blocks),
            "{report}"
        );
    }

    #[test]
    fn every_counter_says_what_it_is_and_once() {
        let mut names = std::collections::HashSet::new();
        for Declaration { name, kind, unit, help } in declared() {
            assert!(names.insert(name), "{name}");
            assert!(!unit.is_empty() && help.ends_with('.'), "{name}");
            assert!(!name.ends_with("_total") || *kind == Kind::Total, "{name}");
        }
        let gauges = declared().filter(|declaration| declaration.kind == Kind::Gauge);
        let gauges: Vec<_> = gauges.map(|declaration| declaration.name).collect();
        let expected = [
            "connections_open",
            "zero_copy_bytes_outstanding",
            "overloaded",
            "sealed_bytes_kept",
            "datagram_sockets_open",
            "datagram_viewers",
            "publishers",
            "pulls",
            "streams",
            "feeds",
            "viewers",
            "streams_shortened",
            "shelves",
            "lanes",
            "memory_blocks",
            "memory_blocks_used",
        ];
        assert_eq!(gauges, expected);
    }

    #[test]
    fn the_reference_has_every_counter_in_both_forms() {
        let json: serde_json::Value = serde_json::from_str(&reference_json()).unwrap();
        let lines = json.as_array().unwrap();
        assert_eq!(lines.len(), declared().count());
        let text = reference();
        for (declaration, line) in declared().zip(lines) {
            assert_eq!(line["name"], declaration.name);
            assert_eq!(line["help"], declaration.help);
            let head = format!(
                "{} ({}, {})\n",
                declaration.name,
                line["kind"].as_str().unwrap(),
                declaration.unit
            );
            assert!(text.contains(&head), "{head}");
        }
    }
}
