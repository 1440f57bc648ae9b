//! Segmented delivery: against nginx with the same files, a part's way to its viewers, and a crowd that waits for one thing.

mod burst;
mod fetch;
mod ll;
mod nginx;
mod waiting;

pub use burst::{ll_burst, ll_burst_of};
pub use ll::ll_hls;
pub use nginx::hls_nginx;
