//! Connections that this side makes: a socket of the table from the start, so that what is on its way counts too.
//!
//! Invariants: a connection that is being made has no session bytes, no feed and no receive; it becomes an ordinary one,
//! told by `connected`, or is gone, told by `connect_failed` with the number that it was asked for with.

use std::io;
use std::net::SocketAddr;

use crate::connection::{ConnId, Life};
use crate::core::{Core, Event, Operation};
use crate::kernel::Kernel;
use crate::limits;

/// One that is being made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connecting {
    id: ConnId,
    tag: u64,
}

impl<M, K: Kernel> Core<M, K> {
    /// Connects to `to`, within the time until `deadline` (µs of [`Core::now`], met within a tick of 50 ms). `connected` or
    /// `connect_failed` follows, with `tag`. The connection can be aborted meanwhile.
    ///
    /// # Errors
    /// Nothing follows then: `EMFILE` when the table is full, `EAGAIN` when [`limits::CONNECTS_MAX`] are under way, or
    /// what the kernel says.
    pub fn connect(&mut self, to: SocketAddr, tag: u64, deadline: u64) -> io::Result<ConnId> {
        let error = |errno| Err(io::Error::from_raw_os_error(errno));
        if self.connecting.len() >= limits::CONNECTS_MAX {
            return error(libc::EAGAIN);
        }
        if self.room() == 0 {
            self.counters.connections_refused_full.add(1);
            return error(libc::EMFILE);
        }
        let socket = self.kernel.outgoing(to)?;
        let Some(id) = self.connections.insert(socket) else {
            return error(libc::EMFILE);
        };
        self.counters.connections_open.add(1);
        let user_data = Operation::Connect.of_connection(id);
        let begun = match self.connections.get_mut(id) {
            Some(connection) => {
                connection.life = Life::Connecting;
                let registered = self.kernel.register(id.index, &connection.socket);
                registered.and_then(|()| self.kernel.connect(id.index, to, user_data))
            }
            None => Ok(()),
        };
        if let Err(error) = begun {
            drop(self.remove(id));
            return Err(error);
        }
        self.counters.connects.add(1);
        self.connecting.push(Connecting { id, tag });
        self.put_deadline(id, Some(deadline));
        Ok(id)
    }

    /// The address of this side.
    pub fn local_address(&self, id: ConnId) -> Option<SocketAddr> {
        self.kernel.local_address(&self.connections.get(id)?.socket).ok()
    }

    /// What a connect came to; the number of one that the appliance is to be told of now.
    pub(crate) fn connect_completed(&mut self, id: ConnId, result: i32) -> Option<u64> {
        let connection = self.connections.get_mut(id).filter(|c| c.life == Life::Connecting)?;
        if result < 0 {
            self.fail_connect(id, -result);
            return None;
        }
        connection.life = Life::Open;
        self.put_deadline(id, None);
        let tag = self.take_connecting(id)?;
        self.begin_zero_copy(id);
        if self.peer(id).is_some_and(|peer| peer.ip().is_loopback()) {
            self.keep_copying(id);
        }
        match self.arm_receive(id) {
            Ok(()) => Some(tag),
            Err(error) => {
                self.connecting.push(Connecting { id, tag });
                self.fail_connect(id, error.raw_os_error().unwrap_or(libc::EIO));
                None
            }
        }
    }

    /// The connection is gone before it was one.
    pub(crate) fn fail_connect(&mut self, id: ConnId, errno: i32) {
        let Some(tag) = self.take_connecting(id) else { return };
        self.counters.connects_failed.add(1);
        drop(self.remove(id));
        self.events.push_back(Event::ConnectFailed(tag, errno));
    }

    fn take_connecting(&mut self, id: ConnId) -> Option<u64> {
        let at = self.connecting.iter().position(|connecting| connecting.id == id)?;
        Some(self.connecting.swap_remove(at).tag)
    }

    /// # Panics
    /// When who is being connected and what is kept for it contradict each other.
    pub(crate) fn check_connecting(&self) {
        assert!(self.connecting.len() <= limits::CONNECTS_MAX);
        let lives = self.connections.ids().filter_map(|id| self.connections.get(id));
        let count = lives.filter(|connection| connection.life == Life::Connecting).count();
        assert_eq!(
            count,
            self.connecting.len(),
            "who is being connected is waited for, once"
        );
        for connecting in &self.connecting {
            let connection = self.connections.get(connecting.id).expect("it is there");
            assert!(connection.life == Life::Connecting && connection.deadline != u64::MAX);
            assert!(connection.own.bytes.is_empty() && connection.cursor.is_none() && !connection.receive_armed);
        }
    }
}
