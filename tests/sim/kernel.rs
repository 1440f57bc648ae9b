//! The simulated kernel as a shard sees it: [`Kernel`] over [`Net`], for one shard.
//!
//! Nothing is decided here: each call takes the lock, which nobody else holds in a world of one thread, and goes on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::MutexGuard;

use penstock_shard::kernel::{Buffers, Completion, Datagrams, Kernel, Outgoing, Received, Signalling};
use penstock_shard::pool::Pool;
use penstock_shard::pool::log::Span;

use super::mail::{Letter, Posting, Words};
use super::net::{LinkId, Net, Shared};

#[derive(Debug)]
pub struct SimKernel {
    net: Shared,
    shard: usize,
}

/// An owner of a connection, or of a listener.
#[derive(Debug)]
pub struct SimSocket {
    net: Shared,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Link(LinkId),
    Listener(usize),
    /// For datagrams.
    Post(usize),
    /// Not connected, and nobody is there to connect to.
    Alone,
}

impl SimSocket {
    pub fn listener(net: &Shared, number: usize) -> SimSocket {
        SimSocket {
            net: net.clone(),
            what: What::Listener(number),
        }
    }

    /// A socket for datagrams.
    pub fn post(net: &Shared, number: usize) -> SimSocket {
        SimSocket {
            net: net.clone(),
            what: What::Post(number),
        }
    }

    fn link(&self) -> LinkId {
        match self.what {
            What::Link(link) => link,
            other => panic!("{other:?} is no connection"),
        }
    }

    fn number(&self) -> usize {
        match self.what {
            What::Listener(number) => number,
            other => panic!("{other:?} is no listener"),
        }
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        // A lock that a panic poisoned: the panic is the report.
        let Ok(mut net) = self.net.lock() else { return };
        match self.what {
            What::Link(link) => net.disown(link),
            What::Listener(number) => net.shut_listener(number),
            What::Post(number) => net.close_post(number),
            What::Alone => {}
        }
    }
}

pub fn locked(net: &Shared) -> MutexGuard<'_, Net> {
    net.lock().expect("one thread, which has not panicked")
}

impl SimKernel {
    pub fn new(net: Shared, shard: usize) -> (SimKernel, SimBuffers) {
        let buffers = SimBuffers {
            net: net.clone(),
            shard,
            lent: Vec::new(),
        };
        (SimKernel { net, shard }, buffers)
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        locked(&self.net)
    }
}

fn checked(result: Result<(), i32>) -> io::Result<()> {
    result.map_err(io::Error::from_raw_os_error)
}

impl Kernel for SimKernel {
    type Socket = SimSocket;
    type Buffers = SimBuffers;

    fn monotonic_micros(&self) -> u64 {
        let net = self.net();
        net.now + net.ports[self.shard].spent
    }

    fn thread_cpu_micros(&self) -> u64 {
        self.net().ports[self.shard].cpu
    }

    fn register(&mut self, slot: u32, socket: &SimSocket) -> io::Result<()> {
        let mut net = self.net();
        match socket.what {
            What::Post(number) => {
                let before = net.ports[self.shard].posts.insert(slot, number);
                assert_eq!(before, None, "a slot is emptied before it is filled");
            }
            What::Alone => {}
            _ => net.fill_slot(self.shard, slot, socket.link()),
        }
        Ok(())
    }

    fn unregister(&mut self, slot: u32) -> io::Result<()> {
        self.net().empty_slot(self.shard, slot);
        Ok(())
    }

    fn accept(&mut self, listener: &SimSocket, user_data: u64) -> io::Result<()> {
        self.net().queue_accept(self.shard, listener.number(), user_data);
        Ok(())
    }

    fn receive(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        self.net().queue_receive(self.shard, slot, user_data);
        Ok(())
    }

    fn poll_writable(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        self.net().queue_poll(self.shard, slot, user_data);
        Ok(())
    }

    fn send(&mut self, slot: u32, from: Outgoing<'_>, user_data: u64) -> io::Result<()> {
        assert!(!from.is_empty(), "nothing is sent");
        self.net().queue_send(self.shard, slot, from, user_data);
        Ok(())
    }

    fn send_both(&mut self, slot: u32, own: &[u8], behind: Outgoing<'_>, user_data: u64) -> io::Result<()> {
        assert!(!own.is_empty() && !behind.is_empty(), "two pieces are sent");
        self.net().queue_send_both(self.shard, slot, own, behind, user_data);
        Ok(())
    }

    fn can_send_zero_copy(&self) -> bool {
        self.net().has_zero_copy
    }

    fn send_zero_copy(&mut self, slot: u32, span: Span, user_data: u64) -> io::Result<()> {
        self.net().queue_zero_copy(self.shard, slot, span, user_data);
        Ok(())
    }

    fn receive_datagrams(&mut self, slot: u32, user_data: u64) -> io::Result<()> {
        self.net().queue_receive_mail(self.shard, slot, user_data);
        Ok(())
    }

    fn send_datagrams(&mut self, slot: u32, to: SocketAddr, what: Datagrams<'_>, user_data: u64) -> io::Result<()> {
        let what = Words::of(what);
        let posting = Posting {
            slot,
            to,
            what,
            user_data,
        };
        self.net().queue_mail(self.shard, posting);
        Ok(())
    }

    fn connect(&mut self, slot: u32, _to: SocketAddr, user_data: u64) -> io::Result<()> {
        self.net().queue_connect(self.shard, slot, user_data);
        Ok(())
    }

    fn cancel(&mut self, slot: u32) -> io::Result<()> {
        self.net().queue_cancel(self.shard, slot);
        Ok(())
    }

    fn cancel_operations(&mut self, user_data: u64) -> io::Result<()> {
        self.net().queue_cancel_operations(self.shard, user_data);
        Ok(())
    }

    fn timeout(&mut self, micros: u64, user_data: u64) -> io::Result<()> {
        let mut net = self.net();
        net.queue_timeout(self.shard, micros, user_data);
        net.enter(self.shard);
        Ok(())
    }

    fn ring_doorbell(&mut self, target: RawFd, user_data: u64, failure: u64) -> io::Result<()> {
        self.net()
            .queue_doorbell(self.shard, target as usize, user_data, failure);
        Ok(())
    }

    fn submit(&mut self) -> io::Result<()> {
        self.net().enter(self.shard);
        Ok(())
    }

    fn run_deferred(&mut self) -> io::Result<()> {
        self.net().enter(self.shard);
        Ok(())
    }

    fn completions(&mut self, out: &mut Vec<Completion>) {
        let mut net = self.net();
        out.extend(net.ports[self.shard].completions.drain(..));
    }

    fn has_completions(&mut self) -> bool {
        !self.net().ports[self.shard].completions.is_empty()
    }

    fn set_signalling(&mut self, signalling: Signalling) {
        self.net().ports[self.shard].signalling = signalling;
    }

    fn take_accepted(&mut self, result: i32) -> SimSocket {
        let link = self.net().ports[self.shard].accepted.remove(&result);
        SimSocket {
            net: self.net.clone(),
            what: What::Link(link.expect("an accepted descriptor is taken once")),
        }
    }

    fn outgoing(&mut self, _to: SocketAddr) -> io::Result<SimSocket> {
        Ok(SimSocket {
            net: self.net.clone(),
            what: What::Alone,
        })
    }

    fn local_address(&self, socket: &SimSocket) -> io::Result<SocketAddr> {
        Ok(match socket.what {
            What::Post(number) => self.net().mail.sockets[number].address,
            _ => ([192, 0, 2, 1], 1).into(),
        })
    }

    fn peer_address(&self, socket: &SimSocket) -> io::Result<SocketAddr> {
        self.net()
            .peer_address(socket.link())
            .map_err(io::Error::from_raw_os_error)
    }

    fn sendfile(&mut self, socket: &SimSocket, _pool: &Pool, span: Span) -> io::Result<usize> {
        self.net()
            .send_pages(self.shard, socket.link(), span)
            .map_err(io::Error::from_raw_os_error)
    }

    fn shutdown_write(&mut self, socket: &SimSocket) -> io::Result<()> {
        checked(self.net().shutdown_write(socket.link()))
    }

    fn shutdown_listener(&mut self, listener: &SimSocket) {
        self.net().shut_listener(listener.number());
    }

    fn reset_on_close(&mut self, socket: &SimSocket) -> io::Result<()> {
        self.net().resets_on_close(socket.link());
        Ok(())
    }

    fn set_not_sent_low_water(&mut self, _socket: &SimSocket, _bytes: u32) -> io::Result<()> {
        Ok(())
    }

    fn set_pacing(&mut self, socket: &SimSocket, bytes_per_second: u32) -> io::Result<()> {
        self.net().pace(socket.link(), bytes_per_second);
        Ok(())
    }
}

/// What receives were filled with.
#[derive(Debug)]
pub struct SimBuffers {
    net: Shared,
    shard: usize,
    lent: Vec<u8>,
}

impl Buffers for SimBuffers {
    fn bytes(&mut self, buffer: u16, len: usize) -> &[u8] {
        let filled = locked(&self.net).ports[self.shard].buffers_filled.remove(&buffer);
        self.lent = filled.expect("a buffer is read once, between its completion and its return");
        assert_eq!(self.lent.len(), len);
        &self.lent
    }

    fn datagram(&mut self, buffer: u16, len: usize) -> Option<Received<'_>> {
        let filled = locked(&self.net).ports[self.shard].letters_filled.remove(&buffer);
        let Letter { from, bytes, .. } = filled.expect("a buffer is read once, between its completion and its return");
        let is_cut = bytes.len() > len;
        self.lent = bytes;
        Some(Received {
            from,
            bytes: &self.lent[..len],
            is_cut,
        })
    }

    fn give_back(&mut self, buffer: u16) {
        let mut net = locked(&self.net);
        let port = &mut net.ports[self.shard];
        port.buffers_filled.remove(&buffer);
        port.letters_filled.remove(&buffer);
        assert!(!port.buffers_free.contains(&buffer), "a buffer is given back once");
        port.buffers_free.push(buffer);
    }
}
