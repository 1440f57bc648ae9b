//! Memory of one process's TCP sockets, asked of the kernel socket by socket: `sock_diag(7)` over netlink, as `ss -m` does.
//!
//! Bytes that are queued or set aside in send and receive queues of the process's own sockets; not the other end of
//! loopback, and not the kernel's objects for a socket (about 3 KiB each).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use anyhow::{Context, bail};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// What the sockets of a process hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub sockets: u64,
    /// Queued for sending or reading, and what their queues have set aside.
    pub bytes: u64,
}

const REQUEST_BYTES: usize = 72;
const ANSWER_BYTES: usize = 256 * 1024;
const HEAD_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 72;
const INODE_AT: usize = 68;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_AND_DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const SKMEMINFO: u16 = 7;
/// Of `SK_MEMINFO_*`: read queue, set aside, write queue, options, backlog. Limits and drops are no memory, and
/// `wmem_alloc` is the part of the write queue that is on its way.
const SUMMED: [usize; 5] = [0, 4, 5, 6, 7];

/// Of all TCP sockets that `pid` has open.
pub fn held(pid: u32) -> anyhow::Result<Held> {
    let inodes = inodes(pid)?;
    let mut held = Held::default();
    for family in [AF_INET, AF_INET6] {
        ask(family, |inode, bytes| {
            if inodes.contains(&inode) {
                held.sockets += 1;
                held.bytes += bytes;
            }
        })?;
    }
    Ok(held)
}

fn inodes(pid: u32) -> anyhow::Result<BTreeSet<u32>> {
    let path = format!("/proc/{pid}/fd");
    let entries = std::fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?;
    let inode = |entry: std::io::Result<std::fs::DirEntry>| {
        let target = std::fs::read_link(entry.ok()?.path()).ok()?;
        let number = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        number.parse().ok()
    };
    Ok(entries.filter_map(inode).collect())
}

/// Calls `found` with inode and bytes of every socket of a family.
fn ask(family: u8, mut found: impl FnMut(u32, u64)) -> anyhow::Result<()> {
    let socket = open().context("the kernel has no sock_diag")?;
    let mut request = [0u8; REQUEST_BYTES];
    request[..4].copy_from_slice(&(REQUEST_BYTES as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_AND_DUMP.to_ne_bytes());
    request[16] = family;
    request[17] = IPPROTO_TCP;
    request[18] = 1 << (SKMEMINFO - 1);
    request[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
    rustix::net::send(&socket, &request, SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_BYTES];
    loop {
        let (bytes, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
        if read_answer(&answer[..bytes], &mut found)? {
            return Ok(());
        }
    }
}

fn open() -> rustix::io::Result<OwnedFd> {
    let protocol = Some(netlink::SOCK_DIAG);
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        protocol,
    )
}

/// Whether it was the last one.
fn read_answer(mut answer: &[u8], found: &mut impl FnMut(u32, u64)) -> anyhow::Result<bool> {
    while answer.len() >= HEAD_BYTES {
        let length = word(answer, 0).context("a head has a length")? as usize;
        let kind = half(answer, 4).context("a head has a type")?;
        if length < HEAD_BYTES || length > answer.len() {
            bail!("sock_diag answered with a message of {length} bytes");
        }
        match kind {
            DONE => return Ok(true),
            ERROR => bail!(
                "sock_diag refused: {:?}",
                word(answer, HEAD_BYTES).map(u32::cast_signed)
            ),
            _ => read_message(&answer[HEAD_BYTES..length], found),
        }
        answer = &answer[length.next_multiple_of(4).min(answer.len())..];
    }
    Ok(false)
}

fn read_message(message: &[u8], found: &mut impl FnMut(u32, u64)) {
    let Some(inode) = word(message, INODE_AT) else { return };
    let mut attributes = message.get(MESSAGE_BYTES..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        if length < 4 || length > attributes.len() {
            return;
        }
        if kind == SKMEMINFO {
            let words = SUMMED.map(|at| word(&attributes[4..length], 4 * at).unwrap_or(0));
            found(inode, words.into_iter().map(u64::from).sum());
        }
        attributes = &attributes[length.next_multiple_of(4).min(attributes.len())..];
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_waits_in_an_own_socket_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let before = held(std::process::id()).unwrap();
        assert!(before.sockets >= 3, "listener and both ends: {before:?}");
        near.write_all(&[1; 100_000]).unwrap();
        // Other tests of this process have sockets too; this one's are found by their own numbers.
        let link = std::fs::read_link(format!("/proc/self/fd/{}", far.as_raw_fd())).unwrap();
        let mut bytes = 0;
        ask(AF_INET, |inode, held| {
            if link.to_str() == Some(&format!("socket:[{inode}]")) {
                bytes += held;
            }
        })
        .unwrap();
        assert!(
            (100_000..1_000_000).contains(&bytes),
            "{bytes} of 100,000 that nobody read"
        );
        assert!(held(0).is_err());
    }

    #[test]
    fn damaged_answers_end() {
        let mut nothing = |_, _| panic!("there is no socket in it");
        let mut message = [0u8; 20];
        assert!(!read_answer(&[], &mut nothing).unwrap());
        assert!(read_answer(&message, &mut nothing).is_err(), "of no length");
        message[0] = 255;
        assert!(read_answer(&message, &mut nothing).is_err(), "longer than it is");
        message[0] = 16;
        message[4] = DONE as u8;
        assert!(read_answer(&message, &mut nothing).unwrap());
        message[0] = 20;
        message[4] = ERROR as u8;
        assert!(read_answer(&message, &mut nothing).is_err());
        for length in 0..200u8 {
            let mut attribute = vec![0; usize::from(length)];
            if attribute.len() > MESSAGE_BYTES + 2 {
                (attribute[MESSAGE_BYTES], attribute[MESSAGE_BYTES + 2]) = (length, SKMEMINFO as u8);
            }
            read_message(&attribute, &mut |_, bytes| assert_eq!(bytes, 0));
        }
    }
}
