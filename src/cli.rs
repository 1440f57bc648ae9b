//! The command line: `serve`, `check`, `demo`, `counters`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tracing::warn;

use crate::config::{Config, Listener, Protocol, Warning};
use crate::memory::{Amount, Wanted};
use crate::names::StreamName;
use crate::serve::{self, PortTaken, Server};
use crate::{build, counters, log};

/// Live video delivery from one box to as many viewers as its NIC carries.
#[derive(Debug, Parser)]
#[command(name = "penstock", version = build::VERSION, long_version = build::LONG_VERSION, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the streams of a configuration file until SIGTERM or Ctrl-C.
    Serve {
        /// Configuration in MistServer's JSON.
        #[arg(short, long, value_name = "FILE", default_value = "penstock.json")]
        config: PathBuf,
        /// Memory for the streams: bytes (8G, 512M), or a share of what the process may use (50%). Goes before
        /// config.penstock.memory_bytes.
        #[arg(long, value_name = "AMOUNT")]
        memory: Option<Amount>,
    },
    /// Check a configuration file and start nothing.
    Check {
        /// Configuration in MistServer's JSON.
        #[arg(short, long, value_name = "FILE", default_value = "penstock.json", conflicts_with_all = ["defaults", "reference"])]
        config: PathBuf,
        /// Print the file that says what an absent key means.
        #[arg(long)]
        defaults: bool,
        /// Print every key with its meaning, default and bounds.
        #[arg(long, conflicts_with = "defaults")]
        reference: bool,
    },
    /// Say what each counter means (SIGUSR1 prints their values; so does the end of the process).
    Counters {
        /// As a JSON array of objects with `name`, `kind` (`total` or `gauge`), `unit` and `help`.
        #[arg(long)]
        json: bool,
    },
    /// Play a built-in clip as the stream `demo` and take pushes from this host as `live`.
    Demo {
        /// Port for HTTP viewers; 0 takes any that is free.
        #[arg(long, default_value_t = 8080)]
        http_port: u16,
        /// Port for RTMP publishers and viewers; 0 takes any that is free.
        #[arg(long, default_value_t = 1935)]
        rtmp_port: u16,
        /// Port for RTSP publishers and viewers; 0 takes any that is free.
        #[arg(long, default_value_t = 5554)]
        rtsp_port: u16,
    },
}

/// Runs the command line; the process's exit code.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve { config, memory } => serve(&config, memory),
        Command::Check { defaults: true, .. } => print_out(&Config::default_json()),
        Command::Check { reference: true, .. } => print_out(&Config::reference()),
        Command::Check { config, .. } => check(&config),
        Command::Counters { json } => print_out(&if json {
            counters::reference_json()
        } else {
            counters::reference()
        }),
        Command::Demo {
            http_port,
            rtmp_port,
            rtsp_port,
        } => demo(http_port, rtmp_port, rtsp_port),
    };
    log::flush();
    result.unwrap_or_else(|error| {
        log::say(&format!("penstock: {error:#}\n"));
        ExitCode::FAILURE
    })
}

/// A reader that has seen enough (`| head`) is no failure.
fn print_out(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A server serves whether or not its words find room: the disk behind its output may be full.
fn announce(text: &str) {
    if let Err(error) = print_out(text) {
        warn!("{error:#}");
    }
}

/// The configuration, with everything that is to be said about it printed; nothing when it is wrong.
fn load(path: &Path) -> Option<(Config, Vec<Warning>)> {
    match Config::load(path) {
        Ok((config, warnings)) => {
            for warning in &warnings {
                log::say(&format!("warning: {warning}\n"));
            }
            Some((config, warnings))
        }
        Err(problems) => {
            for problem in &problems {
                log::say(&format!("error: {problem}\n"));
            }
            None
        }
    }
}

fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let Some((config, warnings)) = load(path) else {
        return Ok(ExitCode::FAILURE);
    };
    let listeners = counted(config.listeners.len(), "listener");
    let streams = counted(config.streams.len(), "stream");
    let warnings = counted(warnings.len(), "warning");
    print_out(&format!(
        "{}: good, with {warnings} ({listeners}, {streams})\n",
        path.display()
    ))
}

fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

fn serve(path: &Path, memory: Option<Amount>) -> anyhow::Result<ExitCode> {
    let Some((mut config, _)) = load(path) else {
        return Ok(ExitCode::FAILURE);
    };
    if let Some(amount) = memory {
        config.machine.memory = Wanted::Asked(amount);
    }
    log::start().context("cannot start the log")?;
    let mut server = Server::start(config)?;
    server.wait_until_up()?;
    let mut lines = String::new();
    for (listener, address) in &server.addresses {
        lines += &format!("listening {} {address}\n", serve::title(listener));
    }
    announce(&(lines + "ready\n"));
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    server.run()?;
    Ok(ExitCode::SUCCESS)
}

fn demo(http_port: u16, rtmp_port: u16, rtsp_port: u16) -> anyhow::Result<ExitCode> {
    let text = format!(
        r#"{{"config":{{"protocols":[{{"connector":"HTTP","port":{http_port}}},{{"connector":"RTMP","port":{rtmp_port}}},
        {{"connector":"RTSP","port":{rtsp_port}}},{{"connector":"FLV"}},{{"connector":"HTTPTS"}},{{"connector":"MP4"}},
        {{"connector":"HLS"}},{{"connector":"CMAF"}}]}},
        "streams":{{"demo":{{"source":"push://127.0.0.1"}},"live":{{"source":"push://127.0.0.1,[::1]"}}}}}}"#
    );
    let (config, _) = Config::parse(&text, "demo").map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    log::start().context("cannot start the log")?;
    let started = Server::start(config);
    let mut server = started.map_err(|error| match error.is::<PortTaken>() {
        true => anyhow::anyhow!("{error} (--http-port 0 --rtmp-port 0 --rtsp-port 0 takes any that are free)"),
        false => error,
    })?;
    let name = StreamName::sanitise("demo").context("the demo's name is legal")?.name;
    server.play_clip(&name)?;
    let port = |wanted| {
        let found = server
            .addresses
            .iter()
            .find(|(listener, _)| listener.protocol == wanted);
        found.map_or(0, |(_, address): &(Listener, SocketAddr)| address.port())
    };
    let [http, rtmp, rtsp] = [Protocol::Http, Protocol::Rtmp, Protocol::Rtsp].map(port);
    announce(&welcome(http, rtmp, rtsp));
    server.run()?;
    Ok(ExitCode::SUCCESS)
}

fn welcome(http: u16, rtmp: u16, rtsp: u16) -> String {
    format!(
        "\npenstock demo: a test picture plays as the stream `demo`.\n\n\
         Watch it:\n  \
         http://127.0.0.1:{http}/demo.mp4      in a browser, or any player\n  \
         http://127.0.0.1:{http}/demo.flv      ffplay, VLC, mpegts.js\n  \
         http://127.0.0.1:{http}/demo.ts       ffplay, VLC, mpegts.js\n  \
         rtmp://127.0.0.1:{rtmp}/play/demo     ffplay, VLC, OBS\n  \
         rtsp://127.0.0.1:{rtsp}/demo          ffplay, VLC, GStreamer, video walls\n  \
         http://127.0.0.1:{http}/hls/demo/index.m3u8     HLS: VLC, hls.js\n  \
         http://127.0.0.1:{http}/cmaf/demo/index.m3u8    low-latency HLS: hls.js\n  \
         http://127.0.0.1:{http}/cmaf/demo/index.mpd     DASH: dash.js, Shaka\n\n\
         Push your own, from this host, and watch it as `live` in place of `demo`:\n  \
         ffmpeg -re -i FILE -c:v libx264 -c:a aac -f flv rtmp://127.0.0.1:{rtmp}/app/live\n  \
         ffmpeg -re -i FILE -c:v libx264 -c:a aac -f rtsp rtsp://127.0.0.1:{rtsp}/live\n  \
         OBS: server rtmp://127.0.0.1:{rtmp}/app, stream key live\n\n\
         Stop it with Ctrl-C.\n\n"
    )
}
