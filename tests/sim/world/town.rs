//! A large world in fair weather: 64 shards, streams whose viewers come and go, and a share so small that every stream
//! outgrows its home. What viewers got is judged as everywhere; here loads are judged too.

use super::*;

const SHARDS: usize = 64;
const STREAMS: usize = 8;
const VIEWERS: usize = 640;
/// A stream takes five blocks to begin with, a feed three, of each of four outputs.
const BLOCKS: u64 = 1_024;
const CONNECTIONS_MAX: u32 = 200;
/// A few viewers.
const SHARE_MICROS: u64 = 50;
/// As long as viewers come and go.
const CHURN_MICROS: u64 = 4_000_000;
/// When they come: streams are on air by then.
const COME_MICROS: (u64, u64) = (700_000, 2_500_000);
/// What one of them costs: two sends and 10 kB a second.
const VIEWER_MICROS: u64 = 17;
/// Nobody has moved for so long: some rounds of evening out.
const QUIET_MICROS: u64 = 3_000_000;
/// And it comes to that within this.
const EVEN_MICROS: u64 = 30_000_000;
/// 25 a second, for longer than all of it.
const FRAMES: u64 = 25 * 60;
const TOWN_STEPS_MAX: u64 = 5_000_000;

/// What became of it.
#[derive(Debug)]
pub struct Town {
    pub viewers: u64,
    pub placed: u64,
    pub moved: u64,
    /// The largest load and the smallest one.
    pub loads: [u64; 2],
    /// Shards that one viewer has been on, at the most.
    pub stays_max: u32,
}

impl World {
    pub fn town(seed: u64) -> World {
        let mut noise = Noise::new(seed);
        let streams: Vec<String> = (0..STREAMS).map(|number| format!("s{number}")).collect();
        let pool = Pool::create((BLOCKS + 1) * BLOCK_BYTES as u64).expect("memory that is hardly touched");
        let ground = Ground {
            config: town_config(&streams),
            mesh: Arc::new(Mesh::new(SHARDS)),
            homes: Homes::new(SHARDS),
            addresses: Addresses::new(None),
            net: Arc::new(Mutex::new(Net::new(noise.next(), pool.clone(), SHARDS))),
            connections_max: CONNECTIONS_MAX,
            pool,
        };
        let counters: Vec<ShardSet> = (0..SHARDS).map(|_| ShardSet::default()).collect();
        let shards = counters.iter().enumerate();
        let shards = shards
            .map(|(number, counters)| ground.start(number, counters))
            .collect();
        let Ground { net, mesh, pool, .. } = ground;
        let now = locked(&net).now;
        World {
            publishers: streams
                .iter()
                .map(|name| Publisher::steady(now, name, FRAMES))
                .collect(),
            viewers: (0..VIEWERS)
                .map(|number| {
                    let at = now + noise.between(COME_MICROS.0, COME_MICROS.1);
                    // Of half of the streams everybody leaves: shards that carry those have nothing left to do.
                    let (over, going_on) = streams.split_at(STREAMS / 2);
                    match number % 3 {
                        0 => Viewer::steady(at, over, now + noise.between(COME_MICROS.1, CHURN_MICROS)),
                        _ => Viewer::steady(at, going_on, u64::MAX),
                    }
                })
                .collect(),
            vandals: Vec::new(),
            stage: Stage {
                http: Served::Http as u32,
                rtmp: Served::Rtmp as u32,
                published: Vec::new(),
                is_stopping: false,
            },
            watched: Vec::new(),
            ends_at: now + CHURN_MICROS,
            end: TheEnd::Emptied,
            housekeeping_at: now,
            weather: Weather::Fair,
            steps: 0,
            steps_max: TOWN_STEPS_MAX,
            net,
            mesh,
            pool,
            counters,
            shards,
        }
    }

    pub fn run_town(mut self) -> Result<Town, String> {
        while self.now() < self.ends_at {
            self.turn()?;
        }
        self.wait_for_quiet()?;
        let loads = self.loads();
        // Within a quarter, unless one viewer more or less is more than that.
        let apart = loads[0] - loads[1];
        if apart * 4 > loads[0] && apart >= 2 * VIEWER_MICROS {
            return Err(format!(
                "loads between {} and {}, {} steps",
                loads[1], loads[0], self.steps
            ));
        }
        let moved = self.sum(&["viewers_moved"]);
        let stays_max = locked(&self.net).links.iter().map(|link| link.stays).max();
        self.watch_no_more()?;
        let placed = self.sum(&["viewers_placed"]);
        let outcome = self.outcome()?;
        Ok(Town {
            viewers: outcome.viewers,
            placed,
            moved,
            loads,
            stays_max: stays_max.unwrap_or(0),
        })
    }

    /// The largest and the smallest.
    fn loads(&self) -> [u64; 2] {
        let loads = (0..SHARDS as u16).map(|shard| self.mesh.load(ShardId(shard)));
        let loads: Vec<u64> = loads.collect();
        [loads.iter().max(), loads.iter().min()].map(|load| *load.expect("a town has shards"))
    }

    /// Until nobody has moved for some time.
    fn wait_for_quiet(&mut self) -> Result<(), String> {
        let (begun, mut moved, mut since) = (self.now(), self.sum(&["viewers_moved"]), self.now());
        while self.now() < since + QUIET_MICROS {
            if self.now() > begun + EVEN_MICROS {
                return Err(format!("viewers still move: {moved}, loads {:?}", self.loads()));
            }
            for _ in 0..200 {
                self.turn()?;
            }
            let counted = self.sum(&["viewers_moved"]);
            if counted > moved {
                (moved, since) = (counted, self.now());
            }
        }
        Ok(())
    }
}

fn town_config(streams: &[String]) -> Arc<Config> {
    let streams: Vec<String> = streams
        .iter()
        .map(|name| format!(r#""{name}":{{"source":"push://"}}"#))
        .collect();
    let text = format!(
        r#"{{"config":{{"protocols":[{{"connector":"HTTP"}},{{"connector":"RTMP"}},{{"connector":"FLV"}},
        {{"connector":"HTTPTS"}},{{"connector":"MP4"}}]}},"streams":{{{}}}}}"#,
        streams.join(",")
    );
    let (mut config, _) = Config::parse(&text, "town").unwrap_or_else(|problems| panic!("{problems:?}"));
    config.machine.shard_share_micros = SHARE_MICROS;
    Arc::new(config)
}
