//! Time as the shard knows it: one monotonic clock in microseconds since the process first asked, wall time for clock
//! maps, and the CPU time of the calling thread (what a fan-out turn cost).

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the first call in this process.
pub fn monotonic_micros() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    // 2^64 µs are 584,000 years.
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// Wall time, µs since 1970. Zero on a machine whose clock stands before that.
pub fn wall_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_micros() as i64)
}

/// CPU time the calling thread has used, µs, user and system.
pub fn thread_cpu_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec; the call writes nothing else.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "the thread CPU clock exists since Linux 2.6.12");
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

#[cfg(test)]
mod tests {
    #[test]
    fn clocks_do_not_run_backwards() {
        let (before, cpu) = (super::monotonic_micros(), super::thread_cpu_micros());
        let sum: u64 = (0..100_000u64).fold(0, |sum, x| std::hint::black_box(sum ^ x));
        assert!(std::hint::black_box(sum) < u64::MAX);
        assert!(super::monotonic_micros() >= before);
        assert!(super::thread_cpu_micros() >= cpu);
        assert!(super::wall_micros() > 1_600_000_000_000_000);
    }
}
