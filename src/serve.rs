//! A running server: memory, listeners, one shard a core, signals, and the end.
//!
//! The control plane is the calling thread: it starts everything, waits for signals, and speaks to shards through the
//! mesh only.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use penstock_shard::executor::{Ended, Reserved, Thread};
use penstock_shard::fanout::ZeroCopy;
use penstock_shard::limits::SHARDS_MAX;
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::{Pages, Pool};
use penstock_shard::shard::{self, Sends, Setup};
use penstock_shard::sys::datagrams;
use penstock_shard::sys::socket::{self, First};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};
use tracing::{error, info, warn};

use crate::app::{Addresses, App, Port};
use crate::config::{self, Config, Interface, Listener, Multicast, Protocol, Source};
use crate::counters::{AppCounters, ShardSet, report};
use crate::directory::{Homes, arbiter_of};
use crate::huge_pages;
use crate::limits;
use crate::log;
use crate::lookups;
use crate::memory;
use crate::messages::Message;
use crate::names::StreamName;
use crate::requirements::{self, Facts};
use crate::resolver::Resolver;
use crate::tls::{self, Clients, Servers};

/// A server whose shards run.
#[derive(Debug)]
pub struct Server {
    mesh: Arc<Mesh<Message>>,
    pool: Arc<Pool>,
    counters: Vec<ShardSet>,
    threads: Vec<Thread>,
    /// Protocol and address of each listener, as bound.
    pub addresses: Vec<(Listener, SocketAddr)>,
    /// Streams whose source is pulled from the start.
    always_on: Vec<StreamName>,
    signals: Signals,
    /// Has files of certificates read again.
    reading: tls::Asking,
    housekeeping: JoinHandle<()>,
    /// Shards are told to end.
    stopping: Arc<AtomicBool>,
    /// They have ended.
    stopped: Arc<AtomicBool>,
}

/// One listening address with a socket per shard.
struct Listening {
    tag: u32,
    sockets: Vec<OwnedFd>,
}

impl Server {
    /// Starts listeners and shards.
    ///
    /// # Errors
    /// What the operator has to mend: an address in use, a limit too low, a kernel without io_uring.
    pub fn start(config: Config) -> anyhow::Result<Server> {
        let cpus = socket::allowed_cpus().context("cannot ask which CPUs may be used")?;
        let shards = config
            .machine
            .shards
            .map_or(cpus.len(), usize::from)
            .clamp(1, SHARDS_MAX);
        let connections_max = connections_per_shard(&config, shards)?;
        let locked_bytes = requirements::locked_memory(shards)?;
        // Before any thread, so that every one of them leaves these signals to this one.
        let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGHUP]).context("cannot handle signals")?;
        let clients = clients(&config)?;
        let servers = tls::read(&config.certificates, PLAIN_ANSWER).map_err(|why| anyhow::anyhow!(why))?;
        let (mut listening, addresses) = listen_all(&config, shards)?;
        let budget = memory::budget(config.machine.memory)?;
        let pool = Pool::create(budget.bytes).context("cannot map the memory budget")?;
        let pages = huge_pages::pages(config.machine.huge_pages);
        // A kernel built without larger pages has none to be refused either.
        let pages = pool.advise(pages).map_or(Pages::Small, |()| pages);
        let mesh = Arc::new(Mesh::new(shards));
        let homes = Homes::new(shards);
        let by_address = Addresses::new(config.machine.connections_per_address_max);
        let is_always_on = |stream: &config::Stream| matches!(&stream.source, Source::Pull(pull) if pull.always_on);
        let always_on = config.streams.iter().filter(|(_, stream)| is_always_on(stream));
        let always_on = always_on.map(|(name, _)| name.clone()).collect();
        let config = Arc::new(config);
        let counters: Vec<ShardSet> = (0..shards).map(|_| ShardSet::default()).collect();
        let setups = (0..shards).map(|number| Setup {
            id: ShardId(number as u16),
            cpu: cpus[number % cpus.len()],
            connections_max,
            mesh: mesh.clone(),
            pool: pool.clone(),
            counters: counters[number].shard.clone(),
            listeners: take_listeners(&mut listening),
            sends: Sends {
                pauses: config.machine.pauses,
                zero_copy: config.machine.zero_copy,
                segmentation: config.machine.segmentation,
                max_pacing: config.machine.max_pacing_percent.into(),
            },
        });
        let apps = counters.iter().map(|counters| counters.app.clone());
        let threads = start_shards(
            setups.zip(apps),
            &config,
            &homes,
            &by_address,
            (&mesh, &servers, &clients),
        )
        .map_err(|error| anyhow::anyhow!(requirements::refused(&error, &Facts::gather(locked_bytes, shards))))?;
        if let Some(notice) = requirements::goes_without(shards) {
            info!("{notice}");
        }
        let (stopping, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let watch = Watch {
            shards: threads.iter().map(Thread::ended).collect(),
            stopping: stopping.clone(),
            signals: signals.handle(),
        };
        let housekeeping = keep_house(pool.clone(), watch, stopped.clone()).context("cannot start a thread")?;
        let interval = Duration::from_secs(config.machine.lookup_interval_seconds.into());
        lookups::start(config.hosts.clone(), interval, mesh.clone(), stopped.clone())
            .context("cannot start a thread")?;
        let shards_told = mesh.clone();
        let tell = move |servers: &Servers| tell_all(&shards_told, servers);
        let reading = tls::watch(config.certificates.clone(), PLAIN_ANSWER, stopped.clone(), tell)
            .context("cannot start a thread")?;
        if let Some(usable) = budget.exceeds {
            warn!(
                memory_bytes = budget.bytes,
                usable,
                "the memory budget is more than the process may use: the kernel may end it before the budget is used up"
            );
        }
        let (memory_bytes, memory) = (budget.bytes, budget.source);
        info!(shards, connections_max, memory_bytes, memory, ?pages, "started");
        Ok(Server {
            mesh,
            pool,
            counters,
            threads,
            addresses,
            always_on,
            signals,
            reading,
            housekeeping,
            stopping,
            stopped,
        })
    }

    /// Plays the built-in clip as `name` in a loop.
    ///
    /// # Errors
    /// The shards did not come up.
    pub fn play_clip(&mut self, name: &StreamName) -> anyhow::Result<()> {
        self.wait_until_up()?;
        let arbiter = arbiter_of(name, self.mesh.shards());
        if self
            .mesh
            .send_from_outside(arbiter, Message::PlayClip { name: name.clone() })
            .is_err()
        {
            bail!("the clip could not be started: a shard is not up");
        }
        Ok(())
    }

    /// Sources that are pulled whether or not anybody watches.
    fn start_pulls(&self) {
        for name in &self.always_on {
            let arbiter = arbiter_of(name, self.mesh.shards());
            // Shards take them as fast as they come; there are more than an inbox has room for at most once.
            while self
                .mesh
                .send_from_outside(arbiter, Message::StartPull { name: name.clone() })
                .is_err()
            {
                if self.threads.iter().any(Thread::is_finished) {
                    return;
                }
                std::thread::yield_now();
            }
        }
    }

    /// Waits until every shard can be spoken to.
    ///
    /// # Errors
    /// A shard has ended instead.
    pub fn wait_until_up(&mut self) -> anyhow::Result<()> {
        while !self.mesh.is_complete() {
            if let Some(place) = self.threads.iter().position(Thread::is_finished) {
                self.threads
                    .swap_remove(place)
                    .join()
                    .context("a shard ended at its start")?;
                bail!("a shard ended at its start");
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Runs until a signal ends it, and ends cleanly.
    ///
    /// # Errors
    /// A shard failed; the others have been ended cleanly.
    pub fn run(mut self) -> anyhow::Result<()> {
        self.wait_until_up()?;
        self.start_pulls();
        let mut is_asked = false;
        for signal in self.signals.forever() {
            match signal {
                SIGUSR1 => log::say(&report(&self.counters, &self.pool)),
                SIGHUP => self.reading.ask(),
                _ => {
                    is_asked = true;
                    break;
                }
            }
        }
        self.stopping.store(true, Ordering::Release);
        match is_asked {
            true => info!("stopping: viewers are ended cleanly"),
            // Streams at home on it, and viewers that it accepted, hang; the service manager starts us again.
            false => error!("a shard has died: the process ends"),
        }
        for number in 0..self.mesh.shards() {
            if self
                .mesh
                .send_from_outside(ShardId(number as u16), Message::Shutdown)
                .is_err()
            {
                warn!(shard = number, "a shard could not be told to stop");
            }
        }
        let mut failed = None;
        for thread in self.threads {
            if let Err(cause) = thread.join() {
                error!(%cause, "a shard failed");
                failed = Some(cause);
            }
        }
        self.stopped.store(true, Ordering::Release);
        self.housekeeping.thread().unpark();
        if self.housekeeping.join().is_err() {
            error!("the housekeeping thread failed");
        }
        log::say(&report(&self.counters, &self.pool));
        match failed {
            Some(cause) => Err(cause).context("a shard failed"),
            None if !is_asked => bail!("a shard ended though nobody asked it to"),
            None => Ok(()),
        }
    }
}

/// What ends the process when a shard dies: half a server answers half of its viewers, and nobody is told.
struct Watch {
    shards: Vec<Ended>,
    /// Shards are expected to end.
    stopping: Arc<AtomicBool>,
    /// Closing it ends [`Server::run`]'s wait for a signal.
    signals: Handle,
}

impl Watch {
    fn look(&self) {
        // In this order: a shard that ends because it was told to has been told before.
        let died = self.shards.iter().any(Ended::is_set);
        if died && !self.stopping.load(Ordering::Acquire) {
            self.signals.close();
        }
    }
}

/// Blocks that were sent by sendfile are punched out before they are used again: a file-system call of a third of a
/// millisecond each, which no shard may make. And shards are watched.
fn keep_house(pool: Arc<Pool>, watch: Watch, stopped: Arc<AtomicBool>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("housekeeping".into()).spawn(move || {
        while !stopped.load(Ordering::Acquire) {
            watch.look();
            if let Err(error) = pool.punch_pending(limits::PUNCHES_PER_ROUND) {
                warn!(%error, "memory could not be given back");
            }
            std::thread::park_timeout(Duration::from_millis(limits::PUNCH_PAUSE_MILLIS));
        }
    })
}

/// What sources by TLS must show; the system's list of authorities is read only where one is to be of it.
fn clients(config: &Config) -> anyhow::Result<Clients> {
    let is_by_tls = |stream: &&config::Stream| matches!(&stream.source, Source::Pull(pull) if pull.is_by_tls());
    let trusts = config.streams.values().filter(is_by_tls).map(|stream| stream.tls_trust);
    Clients::new(trusts).context("sources by TLS cannot be trusted")
}

/// Every shard has its ring before the first one's executor takes what is left of locked memory.
fn start_shards(
    setups: impl Iterator<Item = (Setup<Message>, Arc<AppCounters>)>,
    config: &Arc<Config>,
    homes: &Arc<Homes>,
    by_address: &Arc<Addresses>,
    (mesh, servers, clients): (&Arc<Mesh<Message>>, &Servers, &Clients),
) -> io::Result<Vec<Thread>> {
    let mut reserved = Vec::new();
    let resolver = Resolver::start(mesh.clone())?;
    for (setup, counters) in setups {
        let (config, homes, by_address) = (config.clone(), homes.clone(), by_address.clone());
        let (servers, clients) = (servers.clone(), clients.clone());
        let (pair, resolver) = (datagram_sockets(&config), resolver.clone());
        let group = group_socket(&config);
        reserved.push(shard::reserve(setup, move |core| {
            say_zero_copy(&config, core.id(), core.zero_copy());
            let mut app = App::new(config, counters, homes, by_address);
            app.ask_names_of(resolver);
            app.show_certificates(servers);
            app.trust(clients);
            if let Some(pair) = pair {
                app.open_datagrams(core, pair);
            }
            if let Some(group) = group {
                app.open_groups(core, group);
            }
            app
        })?);
    }
    reserved.into_iter().map(Reserved::begin).collect()
}

/// RTP's and RTCP's socket of a shard, if there is RTSP. Without them it goes on by TCP.
fn datagram_sockets(config: &Config) -> Option<[OwnedFd; 2]> {
    // Media by UDP would go past the seal of a connection that has one.
    let of_rtsp = |listener: &&Listener| listener.protocol == Protocol::Rtsp && listener.certificates.is_none();
    let interface = config.listeners.iter().find(of_rtsp)?.interface;
    let until = config.udp_port.saturating_add(limits::UDP_PORTS_TRIED);
    let open = |ip| datagrams::open_pair(ip, config.udp_port, until);
    let opened = match interface {
        Interface::Address(address) => open(address),
        Interface::Every => match open(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if is_without_ipv6(&error) => open(Ipv4Addr::UNSPECIFIED.into()),
            result => result,
        },
    };
    opened
        .inspect_err(|error| warn!(%error, udpport = config.udp_port, "no UDP ports for RTSP: it goes by TCP alone"))
        .ok()
}

/// A shard's socket for multicast groups, if a stream has some.
fn group_socket(config: &Config) -> Option<OwnedFd> {
    let is_served = config
        .listeners
        .iter()
        .any(|listener| listener.protocol == Protocol::Rtsp);
    let has_groups = config.streams.values().any(|stream| stream.multicast.is_some());
    if !is_served || !has_groups {
        return None;
    }
    let Multicast { interface, ttl } = config.multicast;
    datagrams::open_group(interface, ttl)
        .inspect_err(
            |error| warn!(%error, multicastinterface = %interface, "no socket for multicast: RTSP goes without it"),
        )
        .ok()
}

/// A kernel without it is no reason not to serve, where nobody insists.
fn say_zero_copy(config: &Config, shard: ShardId, found: ZeroCopy) {
    if shard == ShardId(0) && found != config.machine.zero_copy {
        info!("this kernel has no zero-copy sends as penstock needs them (Linux 6.2): sends copy");
    }
}

/// The connection table of each shard, from the configuration and what the process may open.
fn connections_per_shard(config: &Config, shards: usize) -> anyhow::Result<u32> {
    let (descriptors, possible) = requirements::descriptors(shards)?;
    let wanted = u64::from(config.machine.connections_max);
    if possible < wanted {
        info!(
            descriptors,
            connections_max = possible,
            "open files allow fewer connections than connections_max: raise LimitNOFILE for more"
        );
    }
    // The kernel spreads connections by hash, not evenly: every table has room for twice its share.
    let total = wanted.min(possible);
    Ok((2 * total / shards as u64).clamp(1, total) as u32)
}

type Bound = (Vec<Listening>, Vec<(Listener, SocketAddr)>);

fn listen_all(config: &Config, shards: usize) -> anyhow::Result<Bound> {
    let mut listening = Vec::new();
    let mut addresses = Vec::new();
    let stall_max = Duration::from_millis(config.machine.stall_max_millis.into());
    for listener in &config.listeners {
        let first = listen_first(listener.interface, listener.port, stall_max);
        let first = first.map_err(|error| refused(listener, &error))?;
        let address = socket::local_address(first.as_fd()).context("cannot ask for a listener's address")?;
        let mut sockets = vec![first];
        for _ in 1..shards {
            sockets.push(
                socket::listen(address, First::No, stall_max)
                    .with_context(|| format!("cannot listen again at {address}"))?,
            );
        }
        let port = match listener.protocol {
            Protocol::Http => Port::Http,
            Protocol::Rtmp => Port::Rtmp,
            Protocol::Rtsp => Port::Rtsp,
        };
        let tag = port.tag(listener.certificates);
        listening.push(Listening { tag, sockets });
        addresses.push((*listener, address));
    }
    if listening.is_empty() {
        bail!("nothing to listen on: add HTTP, RTMP or RTSP to config.protocols");
    }
    Ok((listening, addresses))
}

/// Every interface is `[::]` for both families, and `0.0.0.0` where the machine has no IPv6.
fn listen_first(interface: Interface, port: u16, stall_max: Duration) -> io::Result<OwnedFd> {
    let listen = |address: IpAddr| socket::listen(SocketAddr::new(address, port), First::Yes, stall_max);
    match interface {
        Interface::Address(address) => listen(address),
        Interface::Every => match listen(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if is_without_ipv6(&error) => {
                info!(port, "this machine has no IPv6: listening on 0.0.0.0, for IPv4 alone");
                listen(Ipv4Addr::UNSPECIFIED.into())
            }
            result => result,
        },
    }
}

/// `ipv6.disable=1` and a unit's `RestrictAddressFamilies=` give the first, an interface without IPv6 the second.
fn is_without_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// A listener's port is somebody else's.
#[derive(Debug)]
pub struct PortTaken {
    name: &'static str,
    place: String,
}

impl fmt::Display for PortTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortTaken { name, place } = self;
        write!(
            f,
            "{name} cannot listen on {place}: it is in use, perhaps by another penstock; stop that or change the port"
        )
    }
}

impl std::error::Error for PortTaken {}

fn refused(listener: &Listener, error: &io::Error) -> anyhow::Error {
    let name = title(listener);
    let port = listener.port;
    let place = match listener.interface {
        Interface::Every => format!("port {port}"),
        Interface::Address(address) => SocketAddr::new(address, port).to_string(),
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => PortTaken { name, place }.into(),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "{name} cannot listen on {place}: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("{name} cannot listen on {place}: this machine has no such address")
        }
        _ => anyhow::anyhow!("{name} cannot listen on {place}: {error}"),
    }
}

/// One socket of every address.
fn take_listeners(listening: &mut [Listening]) -> Vec<(OwnedFd, u32)> {
    listening
        .iter_mut()
        .filter_map(|one| Some((one.sockets.pop()?, one.tag)))
        .collect()
}

/// What the operator calls a listener.
pub fn title(listener: &Listener) -> &'static str {
    match (listener.protocol, listener.certificates) {
        (Protocol::Http, _) => "http",
        (Protocol::Rtmp, _) => "rtmp",
        (Protocol::Rtsp, None) => "rtsp",
        (Protocol::Rtsp, Some(_)) => "rtsps",
    }
}

/// What a player or publisher hears that takes the port of RTSPS for RTSP's.
const PLAIN_ANSWER: &[u8] = b"RTSP/1.0 400 This Port Speaks RTSPS\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Whether all shards have what their listeners show from now on.
fn tell_all(mesh: &Mesh<Message>, servers: &Servers) -> bool {
    let tell = |number| mesh.send_from_outside(ShardId(number as u16), Message::Certificates(servers.clone()));
    (0..mesh.shards()).all(|number| tell(number).is_ok())
}

#[cfg(test)]
mod tests {
    use penstock_shard::executor;

    use super::*;

    #[test]
    fn a_shard_that_dies_ends_the_wait_for_signals() {
        let cpu = socket::allowed_cpus().unwrap()[0];
        for stopping in [false, true] {
            let signals = Signals::new([SIGUSR1]).unwrap();
            let thread = executor::start("dies", cpu, || async { panic!("this panic is the test's") }).unwrap();
            let watch = Watch {
                shards: vec![thread.ended()],
                stopping: Arc::new(AtomicBool::new(stopping)),
                signals: signals.handle(),
            };
            assert!(thread.join().is_err());
            watch.look();
            assert_eq!(signals.is_closed(), !stopping);
        }
    }

    #[test]
    fn the_process_ends_with_an_error_when_nobody_asked_it_to() {
        let text = r#"{"config":{"penstock":{"shards":1},"protocols":[{"connector":"HTTP","port":0,"interface":"127.0.0.1"}]}}"#;
        let (config, _) = Config::parse(text, "test").unwrap();
        let mut server = Server::start(config).unwrap();
        server.wait_until_up().unwrap();
        // What the watch does when a shard has died.
        server.signals.handle().close();
        let error = server.run().unwrap_err();
        assert!(error.to_string().contains("nobody asked"), "{error:#}");
    }
}
