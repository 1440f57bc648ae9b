//! Requests for what is fetched piece by piece: from a URL to a thing on the stream's shelf, those who wait for one that is
//! next, and the answers.

use std::sync::Arc;

use penstock_shard::core::Core;
use penstock_shard::kernel::Kernel;

use super::App;
use crate::messages::Message;
use crate::names::StreamName;
use crate::shelf::{Edition, Item, Shelving};

impl<K: Kernel> App<K> {
    pub(super) fn shelved(
        &mut self,
        _core: &mut Core<Message<K>, K>,
        _name: &StreamName,
        _item: Item,
        _shelving: Shelving,
    ) {
    }

    pub(super) fn edition_came(&mut self, _core: &mut Core<Message<K>, K>, _name: StreamName, _edition: Arc<Edition>) {}

    pub(super) fn unshelved(&mut self, _core: &mut Core<Message<K>, K>, _name: &StreamName) {}
}
