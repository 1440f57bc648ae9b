//! A simulated world: shards, network, clock and actors, stepped one at a time in an order that the seed chooses.
//!
//! What runs in it is the appliance itself: `shard::Shard` with `app::App`. After each step the invariants are checked;
//! what viewers got is judged when they go; an emptied world must have given everything back.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use penstock::app::{Addresses, App, Port as Served};
use penstock::config::Config;
use penstock::counters::{AppCounters, ShardSet};
use penstock::directory::Homes;
use penstock::messages::Message;
use penstock_shard::counters::{Declaration, Kind, ShardCounters};
use penstock_shard::fanout::{Pauses, Segmentation, ZeroCopy};
use penstock_shard::limits::{INBOX_MESSAGES, STALL_MAX_MILLIS};
use penstock_shard::mesh::{Mesh, ShardId};
use penstock_shard::pool::{BLOCK_BYTES, Pool};
use penstock_shard::shard::{Sends, Setup, Shard, Step};
use penstock_shard::sys::socket::eventfd;

use super::judge::Watched;
use super::kernel::{SimKernel, SimSocket, locked};
use super::net::{Listener, Net, Shared};
use super::noise::Noise;
use super::publisher::{Big, Publisher};
use super::stage::Stage;
use super::vandal::Vandal;
use super::viewer::{Dismissal, Viewer};

mod town;

/// More steps than any world takes: one that never comes to rest is a defect.
const STEPS_MAX: u64 = 400_000;
/// An emptied world is at rest after so long: grace, unused feeds, time-outs of sessions.
const REST_MICROS: u64 = 300_000_000;
/// Streams without publisher are over, for a viewer that reads, after so long: grace, questions' time, the drain, and
/// shards that are given no time.
const ENDING_MICROS: u64 = 30_000_000;
/// A viewer that reads has got something within so long, or its end.
const PATIENCE_MICROS: u64 = 15_000_000;
/// Who made a feed hears that nobody watches it, and drops it, within so long.
const UNWATCHED_MICROS: u64 = 20_000_000;
/// The clock goes on by no more at once.
const LEAP_MICROS: u64 = 5_000_000;
const HOUSEKEEPING_MICROS: u64 = 50_000;

type SimShard = Shard<App<SimKernel>, SimKernel>;

/// What became of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub trace: u64,
    pub steps: u64,
    pub frames_seen: u64,
    pub viewers: u64,
    /// Every counter, in the order of its declaration.
    pub counted: Vec<u64>,
}

pub struct World {
    net: Shared,
    mesh: Arc<Mesh<Message<SimKernel>>>,
    pool: Arc<Pool>,
    counters: Vec<ShardSet>,
    shards: Vec<Core>,
    publishers: Vec<Publisher>,
    viewers: Vec<Viewer>,
    vandals: Vec<Vandal>,
    stage: Stage,
    watched: Vec<Watched>,
    /// When the world begins to end.
    ends_at: u64,
    end: TheEnd,
    housekeeping_at: u64,
    weather: Weather,
    steps: u64,
    steps_max: u64,
}

/// Whether shards are slow at times, and stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Bad,
    Fair,
}

/// What all shards of a world stand on.
struct Ground {
    net: Shared,
    mesh: Arc<Mesh<Message<SimKernel>>>,
    pool: Arc<Pool>,
    config: Arc<Config>,
    homes: Arc<Homes>,
    addresses: Arc<Addresses>,
    connections_max: u32,
}

impl Ground {
    fn start(&self, number: usize, counters: &ShardSet) -> Core {
        let setup = Setup {
            id: ShardId(number as u16),
            cpu: 0,
            connections_max: self.connections_max,
            mesh: self.mesh.clone(),
            pool: self.pool.clone(),
            counters: counters.shard.clone(),
            listeners: listeners(&self.net, number),
            sends: Sends {
                pauses: Pauses::default(),
                zero_copy: self.config.machine.zero_copy,
                segmentation: Segmentation::Auto,
                max_pacing: self.config.machine.max_pacing_percent.into(),
            },
        };
        let eventfd = eventfd().expect("one more descriptor");
        let arrived = self.mesh.arrive(setup.id, number as i32, eventfd.as_fd());
        arrived.expect("a descriptor can be doubled");
        let (kernel, buffers) = SimKernel::new(self.net.clone(), number);
        let (config, app, homes) = (self.config.clone(), counters.app.clone(), self.homes.clone());
        let addresses = self.addresses.clone();
        let shard = Shard::new(setup, kernel, buffers, move |_| App::new(config, app, homes, addresses));
        Core {
            shard: shard.expect("a simulated kernel refuses nothing"),
            state: Step::Awake,
            busy_until: 0,
            is_poked: false,
        }
    }
}

/// A shard, and what the scheduler knows of it.
struct Core {
    shard: SimShard,
    state: Step,
    /// Its own work takes until then.
    busy_until: u64,
    /// The control plane has written its eventfd.
    is_poked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TheEnd {
    /// Everybody leaves, and the shards are left to themselves.
    Emptied,
    /// The process is told to stop while it serves.
    Stopped,
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Shard(usize),
    Publisher(usize),
    Viewer(usize),
    Vandal(usize),
    Housekeeping,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut noise = Noise::new(seed);
        let shards = noise.between(1, 3) as usize;
        let big = if noise.once_in(4) { Big::Yes } else { Big::No };
        // A stream takes five to begin with, a feed three.
        let blocks = match (noise.once_in(3), big) {
            (true, _) => noise.between(5, 40),
            (false, Big::Yes) => noise.between(60, 160),
            (false, Big::No) => noise.between(40, 80),
        };
        let pool = Pool::create((blocks + 1) * BLOCK_BYTES as u64).expect("a small budget");
        let streams: Vec<String> = ["live", "cam", "door"][..noise.between(1, 2) as usize]
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let messages = noise.one_of(&[1, 4, INBOX_MESSAGES as u64, INBOX_MESSAGES as u64]);
        let ground = Ground {
            config: config(&mut noise, &streams, sends(seed)),
            mesh: Arc::new(Mesh::with_inboxes(shards, messages as usize)),
            homes: Homes::new(shards),
            addresses: Addresses::new(None),
            net: Arc::new(Mutex::new(Net::new(noise.next(), pool.clone(), shards))),
            connections_max: noise.one_of(&[4, 12, 64]) as u32,
            pool,
        };
        let counters: Vec<ShardSet> = (0..shards).map(|_| ShardSet::default()).collect();
        let cores = counters
            .iter()
            .enumerate()
            .map(|(number, counters)| ground.start(number, counters))
            .collect();
        let Ground { net, mesh, pool, .. } = ground;
        let now = locked(&net).now;
        let publishers = streams
            .iter()
            .flat_map(|name| std::iter::repeat_n(name, 1 + usize::from(noise.once_in(3))))
            .collect::<Vec<_>>();
        World {
            publishers: publishers
                .into_iter()
                .map(|name| Publisher::new(&mut noise, now, name, big))
                .collect(),
            viewers: (0..noise.between(2, 16))
                .map(|_| Viewer::new(&mut noise, now, &streams))
                .collect(),
            vandals: (0..noise.below(3)).map(|_| Vandal::new(&mut noise, now)).collect(),
            stage: Stage {
                http: Served::Http as u32,
                rtmp: Served::Rtmp as u32,
                published: Vec::new(),
                is_stopping: false,
            },
            watched: Vec::new(),
            ends_at: now + noise.between(1_000_000, 20_000_000),
            end: noise.one_of(&[TheEnd::Emptied, TheEnd::Emptied, TheEnd::Stopped]),
            housekeeping_at: now,
            weather: Weather::Bad,
            steps: 0,
            steps_max: STEPS_MAX,
            net,
            mesh,
            pool,
            counters,
            shards: cores,
        }
    }

    /// Runs the world to its end; what goes wrong comes with what was counted.
    pub fn run(mut self) -> Result<Outcome, String> {
        self.run_to_end().map_err(|why| {
            let counted = penstock::counters::report(&self.counters, &self.pool);
            let counted = counted.lines().filter(|line| !line.ends_with(" 0"));
            let counted: Vec<_> = counted.filter_map(|line| line.strip_prefix("counter ")).collect();
            format!(
                "{why}\nat {} µs, {:?}, step {}, published {:#?}\ncounted: {}",
                self.now(),
                self.end,
                self.steps,
                self.stage.published,
                counted.join(", ")
            )
        })
    }

    fn run_to_end(&mut self) -> Result<Outcome, String> {
        while self.now() < self.ends_at && !self.is_deserted() {
            self.turn()?;
        }
        match self.end {
            TheEnd::Emptied => self.empty()?,
            TheEnd::Stopped => self.stop()?,
        }
        self.check_empty()?;
        self.outcome()
    }

    fn now(&self) -> u64 {
        locked(&self.net).now
    }

    fn is_deserted(&self) -> bool {
        self.publishers.iter().all(Publisher::is_gone) && self.viewers.iter().all(Viewer::is_gone)
    }

    /// One step of somebody who has something to do, or the clock's.
    fn turn(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > self.steps_max {
            return Err(format!("no rest after {} steps", self.steps_max));
        }
        locked(&self.net).settle_notices();
        let choices = self.choices();
        if choices.is_empty() {
            return self.advance();
        }
        let mut net = locked(&self.net);
        let choice = choices[net.noise.below(choices.len() as u64) as usize];
        let now = net.now;
        net.trace.add(now);
        match choice {
            Choice::Shard(number) => {
                drop(net);
                self.step(number)?;
            }
            Choice::Publisher(number) => self.publishers[number].act(&mut net, &mut self.stage)?,
            Choice::Viewer(number) => self.viewers[number].act(&mut net, &self.stage, &mut self.watched)?,
            Choice::Vandal(number) => self.vandals[number].act(&mut net, &self.stage),
            Choice::Housekeeping => {
                self.housekeeping_at = net.now + HOUSEKEEPING_MICROS;
                net.punch();
            }
        }
        Ok(())
    }

    fn choices(&self) -> Vec<Choice> {
        let net = locked(&self.net);
        let mut choices = Vec::new();
        for (number, core) in self.shards.iter().enumerate() {
            let is_wanted = match core.state {
                Step::Awake => true,
                Step::Asleep => core.is_poked || net.is_woken(number),
                Step::Stopped => false,
            };
            if is_wanted && core.busy_until <= net.now {
                choices.push(Choice::Shard(number));
            }
        }
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= net.now);
        let due = |number: usize, at, choice: fn(usize) -> Choice| is_due(at).then(|| choice(number));
        let publishers = self.publishers.iter().enumerate();
        choices.extend(publishers.filter_map(|(number, one)| due(number, one.next_at(&net), Choice::Publisher)));
        let viewers = self.viewers.iter().enumerate();
        choices.extend(viewers.filter_map(|(number, one)| due(number, one.next_at(&net), Choice::Viewer)));
        let vandals = self.vandals.iter().enumerate();
        choices.extend(vandals.filter_map(|(number, one)| due(number, one.next_at(&net), Choice::Vandal)));
        if self.housekeeping_at <= net.now && self.pool.usage().awaiting_punch > 0 {
            choices.push(Choice::Housekeeping);
        }
        choices
    }

    /// Nobody has anything to do now: to when somebody has.
    fn advance(&mut self) -> Result<(), String> {
        let mut net = locked(&self.net);
        let shards = self.shards.iter().enumerate().filter_map(|(number, core)| {
            let at = match core.state {
                Step::Awake => Some(core.busy_until),
                Step::Asleep if core.is_poked || net.is_woken(number) => Some(core.busy_until),
                Step::Asleep => net.comes_next(number),
                Step::Stopped => None,
            };
            at.map(|at| at.max(core.busy_until))
        });
        let actors = (self.publishers.iter().filter_map(|one| one.next_at(&net)))
            .chain(self.viewers.iter().filter_map(|one| one.next_at(&net)))
            .chain(self.vandals.iter().filter_map(|one| one.next_at(&net)));
        let punch = (self.pool.usage().awaiting_punch > 0).then_some(self.housekeeping_at);
        let next = shards.chain(actors).chain(punch).min();
        match next {
            Some(at) => net.now = at.clamp(net.now + 1, net.now + LEAP_MICROS),
            // Nothing will happen by itself.
            None => net.now += LEAP_MICROS,
        }
        Ok(())
    }

    fn step(&mut self, number: usize) -> Result<(), String> {
        {
            let mut net = locked(&self.net);
            let slowness = match net.noise.below(300) {
                _ if self.weather == Weather::Fair => 1,
                0 => 3_000,
                1..4 => 200,
                _ => 1,
            };
            net.ports[number].spent = 0;
            net.ports[number].slowness = slowness;
            net.trace.add(number as u64);
        }
        let core = &mut self.shards[number];
        core.is_poked = false;
        core.state = core.shard.step().map_err(|error| format!("shard {number}: {error}"))?;
        let mut net = locked(&self.net);
        let spent = net.ports[number].spent;
        core.busy_until = net.now + spent + 1;
        // Now and then it is given no time at all.
        if net.noise.once_in(2_000) && self.weather == Weather::Bad {
            core.busy_until += net.noise.between(10_000, 2_500_000);
        }
        self.check(number, &net)
    }

    /// What holds between any two steps.
    fn check(&self, number: usize, net: &Net) -> Result<(), String> {
        let shard = &self.shards[number].shard;
        shard.core().check_invariants();
        shard.app().check_invariants(shard.core());
        let port = &net.ports[number];
        for waits in shard.core().waits().filter(|_| port.is_settled()) {
            let armed = (
                port.receives.contains_key(&waits.slot),
                port.polls.contains_key(&waits.slot),
            );
            if armed != (waits.receives, waits.polls) {
                return Err(format!("shard {number} waits for {waits:?}, the kernel has {armed:?}"));
            }
        }
        let panicked = self.counters[number].shard.connections_panicked.value();
        if panicked > 0 {
            return Err("a connection's code panicked, see above".to_owned());
        }
        // A large pool is not looked through at every step.
        if self.weather == Weather::Bad || self.steps.is_multiple_of(500) {
            self.pool.check_invariants();
        }
        Ok(())
    }

    /// Everybody leaves; then the shards come to rest by themselves.
    fn empty(&mut self) -> Result<(), String> {
        if locked(&self.net).noise.once_in(2) {
            self.watch_no_more()?;
        }
        self.dismiss_publishers();
        let until = self.now() + ENDING_MICROS;
        while self.now() < until && !self.is_deserted() {
            self.turn()?;
        }
        let since = self.now().saturating_sub(PATIENCE_MICROS);
        let is_over = self.sum(&["streams"]) == 0;
        if is_over && self.viewers.iter().any(|viewer| viewer.waits_since(since)) {
            return Err("a viewer of a stream that is over waits for its end".to_owned());
        }
        self.dismiss_viewers(Dismissal::Abandons)?;
        let until = self.now() + REST_MICROS;
        while self.now() < until {
            self.turn()?;
            locked(&self.net).time_out(STALL_MAX_MILLIS * 1000);
        }
        Ok(())
    }

    /// Viewers go first: nothing is made for nobody.
    fn watch_no_more(&mut self) -> Result<(), String> {
        self.dismiss_viewers(Dismissal::Closes)?;
        let until = self.now() + UNWATCHED_MICROS;
        while self.now() < until {
            self.turn()?;
        }
        match self.sum(&["feeds"]) {
            0 => Ok(()),
            feeds => Err(format!("{feeds} feeds are made for nobody")),
        }
    }

    fn dismiss_publishers(&mut self) {
        let mut net = locked(&self.net);
        for publisher in &mut self.publishers {
            publisher.dismiss(&mut net);
        }
    }

    fn dismiss_viewers(&mut self, dismissal: Dismissal) -> Result<(), String> {
        let mut net = locked(&self.net);
        for viewer in &mut self.viewers {
            viewer.dismiss(&mut net, dismissal, &self.stage, &mut self.watched)?;
        }
        for vandal in &mut self.vandals {
            vandal.dismiss(&mut net, dismissal);
        }
        Ok(())
    }

    /// The process is told to stop: every shard does, in time, and who reads gets a clean end.
    fn stop(&mut self) -> Result<(), String> {
        self.stage.is_stopping = true;
        for number in 0..self.shards.len() {
            let target = ShardId(number as u16);
            // A full inbox has room again behind the shard's next pass.
            while self.mesh.send_from_outside(target, Message::Shutdown).is_err() {
                self.turn()?;
            }
            self.shards[number].is_poked = true;
        }
        let until = self.now() + penstock::limits::SHUTDOWN_MICROS + 10_000_000;
        while self.shards.iter().any(|core| core.state != Step::Stopped) {
            if self.now() > until {
                return Err("a shard that was told to stop runs on".to_owned());
            }
            self.turn()?;
        }
        self.dismiss_publishers();
        self.dismiss_viewers(Dismissal::Closes)
    }

    /// Nothing is left of a world whose actors are gone.
    fn check_empty(&mut self) -> Result<(), String> {
        let stopped = self.end == TheEnd::Stopped;
        for (number, core) in self.shards.iter().enumerate() {
            if !stopped && core.state != Step::Asleep {
                return Err(format!("shard {number} does not come to rest"));
            }
            if !stopped {
                core.shard.app().check_rest();
            }
        }
        for (declared, value) in counters().zip(self.counted()) {
            // A shard that stops aborts who is left; nobody hears of it any more.
            if declared.kind == Kind::Gauge && value != 0 && !stopped {
                return Err(format!("{} is {value} in an empty world", declared.name));
            }
        }
        self.shards.clear();
        // Messages that nobody takes any more hold feeds.
        self.mesh = Arc::new(Mesh::new(1));
        let mut net = locked(&self.net);
        net.punch();
        if net.open_at_server() > 0 {
            return Err(format!("{} connections are left open", net.open_at_server()));
        }
        drop(net);
        self.pool.check_invariants();
        match self.pool.usage().used {
            0 => Ok(()),
            used => Err(format!("{used} blocks are not given back")),
        }
    }

    fn outcome(&self) -> Result<Outcome, String> {
        let gaps = self
            .watched
            .iter()
            .map(|watched| watched.gaps.len() as u64)
            .sum::<u64>();
        let skips = self.sum(&["cursors_skipped"]);
        let dropped = self.sum(&[
            "frames_dropped_memory",
            "frames_dropped_size",
            "frames_dropped_undecodable",
            "feeds_ended_memory",
        ]);
        // A skip leaves a gap in each track.
        if dropped == 0 && gaps > 2 * skips {
            let with_gaps = self.watched.iter().filter(|watched| !watched.gaps.is_empty());
            let each = with_gaps.map(|watched| format!("{}: {}", watched.whose, watched.gaps.join("; ")));
            let each: Vec<_> = each.collect();
            return Err(format!("{gaps} gaps, {skips} skips counted\n{}", each.join("\n")));
        }
        let frames = self
            .watched
            .iter()
            .map(|watched| watched.video.len() + watched.audio.len());
        Ok(Outcome {
            trace: locked(&self.net).trace.value(),
            steps: self.steps,
            frames_seen: frames.sum::<usize>() as u64,
            viewers: self.watched.len() as u64,
            counted: self.counted(),
        })
    }

    /// What the counters with these names say together.
    fn sum(&self, names: &[&str]) -> u64 {
        let counted = self.counted();
        let named = counters()
            .zip(counted)
            .filter(|(declared, _)| names.contains(&declared.name));
        named.map(|(_, value)| value).sum()
    }

    /// Sums over shards, in the order of [`counters`].
    fn counted(&self) -> Vec<u64> {
        let each = self
            .counters
            .iter()
            .map(|set| [set.shard.values(), set.app.values()].concat());
        let add = |sum: Vec<u64>, more: Vec<u64>| sum.iter().zip(more).map(|(a, b)| a.wrapping_add(b)).collect();
        each.reduce(add).expect("a world has a shard")
    }
}

/// What shards and appliance count.
pub fn counters() -> impl Iterator<Item = &'static Declaration> {
    ShardCounters::DECLARED.iter().chain(AppCounters::DECLARED)
}

fn listeners(net: &Shared, shard: usize) -> Vec<(SimSocket, u32)> {
    let mut sockets = Vec::new();
    for tag in [Served::Http as u32, Served::Rtmp as u32] {
        let number = {
            let mut net = locked(net);
            net.listeners.push(Listener {
                shard,
                tag,
                is_open: true,
                backlog: std::collections::VecDeque::new(),
            });
            net.listeners.len() - 1
        };
        sockets.push((SimSocket::listener(net, number), tag));
    }
    sockets
}

/// Half of the worlds send without copying, as far as their networks allow. The weather of a seed is the same either way.
fn sends(seed: u64) -> Sends {
    let mut noise = Noise::new(seed ^ 0x5e2d_c000);
    Sends {
        pauses: Pauses::default(),
        zero_copy: match noise.below(4) {
            0 => ZeroCopy::On,
            1 => ZeroCopy::Auto,
            _ => ZeroCopy::Off,
        },
        segmentation: Segmentation::Auto,
        max_pacing: noise.one_of(&[0, 0, 200]),
    }
}

fn config(noise: &mut Noise, streams: &[String], sends: Sends) -> Arc<Config> {
    let streams: Vec<String> = streams
        .iter()
        .map(|name| {
            let (second, resume) = (noise.one_of(&["refuse", "replace"]), noise.below(2));
            format!(r#""{name}":{{"source":"push://","second_publisher":"{second}","resume":{resume}}}"#)
        })
        .collect();
    let text = format!(
        r#"{{"config":{{"protocols":[{{"connector":"HTTP"}},{{"connector":"RTMP"}},{{"connector":"FLV"}},
        {{"connector":"HTTPTS"}},{{"connector":"MP4"}}]}},"streams":{{{}}}}}"#,
        streams.join(",")
    );
    let (mut config, _) = Config::parse(&text, "simulation").unwrap_or_else(|problems| panic!("{problems:?}"));
    for stream in config.streams.values_mut() {
        stream.grace_millis = noise.one_of(&[0, 300, 2_000]) as u32;
        // Windows shorter than an operator may ask for, as worlds are.
        stream.window_millis = noise.one_of(&[100, 500, 3_000]) as u32;
    }
    // Viewers cost some 20 to 100 each.
    config.machine.shard_share_micros = noise.one_of(&[0, 0, 150, 500_000]);
    config.machine.lag_max_millis = noise.one_of(&[200, 1_000, 5_000]) as u32;
    config.machine.zero_copy = sends.zero_copy;
    config.machine.max_pacing_percent = sends.max_pacing as u16;
    Arc::new(config)
}
