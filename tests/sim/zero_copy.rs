//! Zero-copy sends of the simulated kernel: memory that is read until a notification, which comes as late as it likes.
//!
//! As the kernel does it: the pages are those of the issue, whatever becomes of the file; the notification comes behind
//! the last of what the socket took, and the connection's end does not hurry it. What must hold is looked at here: memory
//! is unchanged when its notification comes, unless its pages were punched out of the file before.

use std::sync::Arc;

use penstock_shard::kernel::{Armed, Completion, Outgoing, Went};
use penstock_shard::pool::log::Span;

use super::net::{ByReference, ENOBUFS, LinkId, Net};

/// Held by what a socket has not sent yet.
#[derive(Debug)]
pub struct InUse(#[expect(dead_code, reason = "counted, not read")] Arc<()>);

/// A notification that is to come.
#[derive(Debug)]
pub struct Notice {
    shard: usize,
    user_data: u64,
    went: Went,
    in_use: Arc<()>,
    file_offset: u64,
    /// What is there while the send is under way; none when its pages are out of the file.
    held: Option<Vec<u8>>,
    /// When it comes; none while the socket has some of it.
    at: Option<u64>,
}

impl Net {
    /// What the socket took, and whether a notification follows.
    pub fn server_send_zero_copy(&mut self, shard: usize, link: LinkId, span: Span, user_data: u64) -> (i32, Armed) {
        assert!(self.has_zero_copy, "what the kernel has not is not asked of it");
        // The limit of locked memory.
        if self.noise.once_in(300) {
            return (-ENOBUFS, Armed::NoMore);
        }
        let copies = self.copies(link);
        let by_reference = if copies { ByReference::No } else { ByReference::Yes };
        let result = self.server_send(link, Outgoing::Span(span), by_reference);
        let count = result.max(0) as usize;
        let in_use = Arc::new(());
        // A send that fails may be followed by a notification all the same.
        if count == 0 && self.noise.once_in(2) {
            return (result, Armed::NoMore);
        }
        if count > 0 && !copies {
            self.links[link].hold_last(InUse(in_use.clone()));
        }
        let mut held = vec![0; count];
        self.pool.read(span.file_offset, &mut held);
        self.notices.push(Notice {
            shard,
            user_data,
            went: if copies || count == 0 {
                Went::Copied
            } else {
                Went::ByReference
            },
            in_use,
            file_offset: span.file_offset,
            held: Some(held),
            at: None,
        });
        (result, Armed::Still)
    }

    /// Some ways copy, and stay so.
    fn copies(&self, link: LinkId) -> bool {
        link.is_multiple_of(4)
    }

    /// Sends that no socket has anything of any more are told of, some time.
    pub fn settle_notices(&mut self) {
        for notice in &mut self.notices {
            if notice.at.is_none() && Arc::strong_count(&notice.in_use) == 1 {
                notice.at = Some(self.now + self.noise.one_of(&[1, 1, 30, 5_000, 400_000, 8_000_000]));
            }
        }
    }

    pub fn notices_at(&self, shard: usize) -> impl Iterator<Item = u64> {
        self.notices
            .iter()
            .filter(move |notice| notice.shard == shard)
            .filter_map(|notice| notice.at)
    }

    /// Those that are due come.
    pub fn notify(&mut self, shard: usize) {
        let now = self.now;
        let due = |notice: &mut Notice| notice.shard == shard && notice.at.is_some_and(|at| at <= now);
        let due: Vec<Notice> = self.notices.extract_if(.., due).collect();
        for notice in due {
            if let Some(held) = &notice.held {
                let is = self.read(notice.file_offset, held.len());
                assert!(is == *held, "memory was reused before its notification: {notice:?}");
            }
            let completion = Completion::notification(notice.user_data, notice.went);
            self.ports[shard].completions.push_back(completion);
        }
    }

    fn read(&self, file_offset: u64, bytes: usize) -> Vec<u8> {
        let mut is = vec![0; bytes];
        self.pool.read(file_offset, &mut is);
        is
    }

    /// Whether what is held is there, before blocks are punched.
    pub fn look_at_notices(&self) {
        for notice in &self.notices {
            if let Some(held) = &notice.held {
                let is = self.read(notice.file_offset, held.len());
                assert!(is == *held, "memory was reused before it was punched: {notice:?}");
            }
        }
    }

    /// Blocks were punched: the pages that were in them are only the sockets' from here on.
    pub fn notice_punches(&mut self) {
        let pool = self.pool.clone();
        for notice in &mut self.notices {
            let Some(held) = &notice.held else { continue };
            let mut is = vec![0; held.len()];
            pool.read(notice.file_offset, &mut is);
            if is != *held {
                notice.held = None;
            }
        }
    }
}
