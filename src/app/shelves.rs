//! Shelves of streams at home here: questions of viewers' shards, and new editions for them.

use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;

use super::App;
use crate::messages::{Message, Shelve};
use crate::shelf::Shelving;

impl<K: Kernel> App<K> {
    /// The arbiter hands a question on to the stream's home.
    pub(super) fn find_shelf(&mut self, core: &mut Core<Message<K>, K>, shelve: Shelve) {
        match self.directory.home(&shelve.name) {
            Some(home) => self.deliver(core, home, Message::Shelve(shelve)),
            None => self.answer_shelve(core, shelve, Shelving::NotThere),
        }
    }

    /// As home: something is to be put on a stream's shelf.
    pub(super) fn shelve(&mut self, core: &mut Core<Message<K>, K>, shelve: Shelve) {
        self.answer_shelve(core, shelve, Shelving::NotThere);
    }

    fn answer_shelve(&mut self, core: &mut Core<Message<K>, K>, shelve: Shelve, shelving: Shelving) {
        let Shelve { name, item, from } = shelve;
        self.deliver(core, from, Message::Shelved { name, item, shelving });
    }
}
