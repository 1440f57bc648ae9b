//! Host names of pulled sources, looked up in threads of their own, since a look-up blocks. A shard asks and goes on; the
//! answer comes as a message.
//!
//! It is not `lookups`, which asks again and again for the names of push rules: a source is asked for when it is connected to.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use penstock_shard::mesh::{Mesh, ShardId};

use crate::limits;
use crate::messages::Message;
use crate::names::ask_system;

/// Where shards ask. Its threads end with the last of its clones.
#[derive(Clone, Debug)]
pub struct Resolver {
    questions: SyncSender<Question>,
}

/// What a shard wants to know.
#[derive(Debug)]
pub struct Question {
    pub host: String,
    pub from: ShardId,
    /// Comes back with the answer.
    pub tag: u64,
}

impl Resolver {
    /// # Errors
    /// There can be no such threads.
    pub fn start(mesh: Arc<Mesh<Message>>) -> io::Result<Resolver> {
        let (questions, asked) = sync_channel(limits::NAMES_ASKED_MAX);
        let asked = Arc::new(Mutex::new(asked));
        for number in 0..limits::RESOLVERS {
            let (asked, mesh) = (asked.clone(), mesh.clone());
            let thread = std::thread::Builder::new().name(format!("resolver-{number}"));
            thread.spawn(move || answer_all(&asked, &mesh))?;
        }
        Ok(Resolver { questions })
    }

    /// False when too many are being asked for.
    pub fn ask(&self, question: Question) -> bool {
        self.questions.try_send(question).is_ok()
    }
}

fn answer_all(asked: &Mutex<Receiver<Question>>, mesh: &Mesh<Message>) {
    loop {
        // Held while it waits, so that the next thread waits for the lock instead.
        let next = asked.lock().map(|asked| asked.recv());
        let Ok(Ok(Question { host, from, tag })) = next else {
            return;
        };
        let addresses = ask_system(&host);
        // A shard whose inbox is full hears nothing: its attempt has a deadline, and another follows.
        let _ = mesh.send_from_outside(from, Message::Resolved { tag, addresses });
    }
}
