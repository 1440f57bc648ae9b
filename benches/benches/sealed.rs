//! What does TLS cost a core that sends? See `penstock_benches::sealed`.
//!
//! `cargo bench -p penstock-benches --bench sealed`: times are CPU time, of one record to 100 viewers, as long as a turn of
//! 33, 100 and 350 ms has it at 2.6 Mb/s.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use penstock::tls::{Certificates, Server};
use penstock_benches::sealed::Ground;

const VIEWERS: usize = 100;

fn server() -> Server {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("there is a provider");
    let certificates = Certificates::of_der(made.cert.der().to_vec(), made.signing_key.serialize_der());
    Server::new(certificates.expect("it was just made"), b"")
}

fn sealed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sealed");
    for record_bytes in [11_000, 33_000, 116_000] {
        group.throughput(Throughput::Bytes((VIEWERS * record_bytes) as u64));
        for (name, server) in [("plain", None), ("TLS", Some(server()))] {
            group.bench_function(BenchmarkId::new(name, record_bytes), |bencher| {
                let mut ground = Ground::new(VIEWERS, record_bytes, server.clone());
                bencher.iter_custom(|rounds| (0..rounds).map(|_| ground.round()).sum());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, sealed);
criterion_main!(benches);
