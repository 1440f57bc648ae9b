//! How many datagrams does a core send in a second, cut by the kernel or one by one? See `penstock_benches::datagrams`.
//!
//! `cargo bench -p penstock-benches --bench datagrams`: times are CPU time, of 1,800 datagrams to 200 viewers.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use penstock_benches::datagrams::{Ground, PACKETS};
use penstock_shard::fanout::Segmentation;

const VIEWERS: usize = 200;

fn datagrams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("datagrams");
    group.throughput(Throughput::Elements(VIEWERS as u64 * PACKETS));
    for (name, segmentation) in [
        ("cut by the kernel", Segmentation::Auto),
        ("one by one", Segmentation::Off),
    ] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let mut ground = Ground::new(VIEWERS, segmentation);
            bencher.iter_custom(|rounds| (0..rounds).map(|_| ground.round()).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, datagrams);
criterion_main!(benches);
