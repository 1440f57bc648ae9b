//! What the appliance counts, per shard. Declared once each: name, unit, a line for the operator.

use std::fmt::Write;
use std::sync::Arc;

use penstock_shard::counters;
use penstock_shard::counters::{Declaration, ShardCounters};
use penstock_shard::pool::Pool;

counters! {
    /// What one shard's sessions and streams count.
    pub struct AppCounters {
        publishers: "publishers", "Publishers connected.";
        publishers_accepted: "publishers", "Publishers accepted.";
        publishers_refused_unknown: "publishers", "Publishers refused because no stream of that name is configured.";
        publishers_refused_rule: "publishers", "Publishers refused by the stream's push rule (host or password).";
        publishers_refused_busy: "publishers", "Publishers refused because the stream has one.";
        publishers_refused_name: "publishers", "Publishers refused because the name is not a legal stream name.";
        publishers_replaced: "publishers", "Publishers ended because another took over.";
        publishers_moved: "publishers", "Publishers moved to their stream's home shard.";
        names_sanitised: "names", "Stream names asked for that had characters deleted or letters lowered.";
        streams: "streams", "Streams in memory, those waiting for their publisher's return among them.";
        feeds: "feeds", "Packagings being made.";
        viewers: "viewers", "Viewers that are being sent a stream.";
        viewers_total: "viewers", "Viewers that were sent a stream.";
        viewers_not_found: "viewers", "Viewers that asked for a stream that is not there.";
        frames_in: "frames", "Frames taken into rings.";
        frame_bytes_in: "bytes", "Payload of frames taken into rings.";
        frames_muxed: "frames", "Frames given to muxers: zero while nobody watches.";
        records_out: "records", "Records appended to feeds.";
        frames_dropped_memory: "frames", "Frames dropped because the memory budget was used up: raise memory_bytes.";
        frames_dropped_size: "frames", "Frames dropped because they, or the GOP they belong to, are larger than a ring keeps.";
        frames_dropped_undecodable: "frames", "Frames dropped because one before them in their GOP was dropped.";
        feeds_ended_memory: "feeds", "Feeds ended because the memory budget was used up: raise memory_bytes.";
        feeds_ended_break: "feeds", "Feeds ended because what followed could not be expressed in their container.";
        breaks: "breaks", "Breaks: changes of codec data, track set, publisher or time.";
        bad_messages: "messages", "Media messages of publishers that could not be read and were skipped.";
        http_requests: "requests", "HTTP requests.";
        http_errors: "requests", "HTTP requests answered with an error.";
        protocol_errors: "connections", "Connections ended because the peer broke the protocol.";
    }
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
    let _ = writeln!(out, "counter memory_blocks {}", usage.blocks);
    let _ = writeln!(out, "counter memory_blocks_used {}", usage.used);
    out
}
