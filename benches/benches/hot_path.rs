//! What does each step of a byte's way cost? The steps are `penstock_benches::steps`; criterion times their bodies.
//!
//! `cargo bench -p penstock-benches --bench hot_path -- NAME` times some; the same bodies are run once by the tests, and
//! counted in instructions by `penstock-benches instructions`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use penstock_benches::steps;

fn hot_path(criterion: &mut Criterion) {
    for step in steps::all() {
        let mut group = criterion.benchmark_group(step.name);
        group.throughput(match step.bytes {
            0 => Throughput::Elements(step.units),
            bytes => Throughput::Bytes(bytes),
        });
        group.bench_function(BenchmarkId::from_parameter(step.size), |bencher| {
            let mut body = (step.start)();
            bencher.iter(&mut body);
        });
        group.finish();
    }
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
