//! RTSP clients: ffmpeg, GStreamer and VLC with their options, and a small peer that says what a test tells it to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::normal;
use super::process::Process;
use super::server::Server;
use super::wire::PATIENCE;

/// How packets are to go, as ffmpeg calls it.
pub const TCP: &str = "tcp";
pub const UDP: &str = "udp";

/// ffmpeg pushing a clip's own frames at the pace of its clock.
pub fn ffmpeg_push(clip: &Path, url: &str, transport: &str) -> Process {
    ffmpeg_push_with(Path::new("ffmpeg"), clip, url, &["-rtsp_transport", transport])
}

/// The same by any ffmpeg, with these options of its output.
pub fn ffmpeg_push_with(program: &Path, clip: &Path, url: &str, options: &[&str]) -> Process {
    let mut command = Command::new(program);
    command
        .args(["-hide_banner", "-nostats", "-v", "warning", "-re", "-i"])
        .arg(clip);
    command.args(["-map", "0:v?", "-map", "0:a?", "-c", "copy", "-f", "rtsp"]);
    command.args(options).arg(url);
    Process::start("ffmpeg (RTSP publisher)", &mut command)
}

/// ffmpeg writing what it reads to a Matroska file, times as they came but for the first picture's, which it does not know.
pub fn ffmpeg_record(url: &str, transport: &str, path: &Path) -> Process {
    ffmpeg_record_with(Path::new("ffmpeg"), url, transport, path)
}

/// The same by any ffmpeg, to the file that the path's name says.
pub fn ffmpeg_record_with(program: &Path, url: &str, transport: &str, path: &Path) -> Process {
    let mut command = Command::new(program);
    command.args([
        "-hide_banner",
        "-nostats",
        "-v",
        "error",
        "-y",
        "-rtsp_transport",
        transport,
    ]);
    command.args(["-timeout", "15000000", "-i", url, "-map", "0:v?", "-map", "0:a?"]);
    command.args(["-c", "copy", "-copyinkf", "-copyts"]);
    command.args(["-bsf:v", r"setts=pts=if(eq(PTS\,NOPTS)\,DTS\,PTS)"]);
    command.arg(path);
    Process::start(&format!("ffmpeg (RTSP player of {url})"), &mut command)
}

/// GStreamer's `rtspclientsink` pushing a clip's own frames.
pub fn gstreamer_push(clip: &Path, url: &str, protocols: &str) -> Process {
    let pipeline = format!(
        "rtspclientsink name=s location={url} protocols={protocols} filesrc location={} ! flvdemux name=d \
         d.video ! queue ! h264parse ! s.sink_0 d.audio ! queue ! aacparse ! s.sink_1",
        clip.display()
    );
    let mut command = Command::new("gst-launch-1.0");
    command.args(pipeline.split_whitespace());
    Process::start("gst-launch-1.0 (RTSP publisher)", &mut command)
}

/// Waits until a [`gstreamer_push`] has sent its clip, and ends it if it does not end by itself: `rtspclientsink` of 1.22 waits
/// for ever, one time in ten, for an end that one of its RTP sessions does not pass on.
pub fn gstreamer_pushed(server: &Server, publisher: &Process, clip: &Path, within: Duration) {
    let frames: usize = normal::read(clip).tracks.iter().map(|track| track.frames.len()).sum();
    server.wait_counters("the clip is sent", within, |counters| {
        counters["frames_in"] + FORGOTTEN >= frames as u64
    });
    if publisher.try_exit(ENDING).is_none() {
        publisher.signal("KILL");
        publisher.wait_exit(within);
    }
}

/// Frames at the end that it may not send.
const FORGOTTEN: u64 = 12;
const ENDING: Duration = Duration::from_secs(2);

/// GStreamer's `rtspsrc`, for [`super::players::gstreamer_counts`]: decodes for as long as it is let.
pub fn gstreamer_play(url: &str, protocols: &str) -> Process {
    let queue = "queue max-size-time=0 max-size-buffers=0 max-size-bytes=0";
    let sink = "fakesink async=false sync=false silent=false";
    let pipeline = format!(
        "rtspsrc name=d location={url} protocols={protocols} latency=200 \
         d. ! rtph264depay ! h264parse ! {queue} ! avdec_h264 ! {sink} name=picture \
         d. ! rtpmp4gdepay ! aacparse ! {queue} ! avdec_aac ! {sink} name=sound"
    );
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-v").args(pipeline.split_whitespace());
    Process::start(&format!("gst-launch-1.0 ({url})"), &mut command)
}

/// A camera: GStreamer's RTSP server with a clip at `/live`, from its first frame.
pub struct Camera {
    pub process: Process,
    pub port: u16,
}

impl Camera {
    /// `options` as tests/support/camera.py has them.
    pub fn start(clip: &Path, options: &[&str]) -> Camera {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/camera.py");
        // Debian's own, which has the bindings.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(clip).args(options);
        let process = Process::start("camera.py", &mut command);
        let port = process.wait("line `ready PORT`", PATIENCE, |_, line| {
            line.strip_prefix("ready ")?.trim().parse().ok()
        });
        Camera { process, port }
    }

    /// `login`: user and password as an address has them, with an at sign behind; or nothing.
    pub fn url(&self, login: &str) -> String {
        format!("rtsp://{login}127.0.0.1:{}/live", self.port)
    }
}

/// What a peer speaks over: a socket, or TLS on one.
pub trait Way: Read + Write + Send {
    /// How long a read waits.
    fn set_patience(&self, within: Duration);
}

impl Way for TcpStream {
    fn set_patience(&self, within: Duration) {
        self.set_read_timeout(Some(within)).expect("not zero");
    }
}

impl Way for StreamOwned<ClientConnection, TcpStream> {
    fn set_patience(&self, within: Duration) {
        self.sock.set_patience(within);
    }
}

/// One connection, with what it has heard.
pub struct Peer {
    stream: Box<dyn Way>,
    /// What it says goes here, in base64, if it speaks by a tunnel.
    up: Option<TcpStream>,
    bytes: Vec<u8>,
    sequence: u32,
    base: String,
    /// `Session` of the last answer that had one.
    pub session: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Interleaved frames that came before it.
    pub frames_before: usize,
}

/// What came next.
#[derive(Debug)]
pub enum Heard {
    Frame {
        channel: u8,
        packet: Vec<u8>,
    },
    Answer(Answer),
    /// The server has closed the connection.
    End,
}

impl Answer {
    /// The first header of that name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

impl Peer {
    /// `path`: of the stream, with a query perhaps.
    pub fn connect(to: SocketAddr, path: &str) -> Peer {
        Peer::over(Box::new(connect(to)), &format!("rtsp://{to}/{path}"))
    }

    /// By a tunnel, of which the GET's answer is still to be heard.
    pub fn tunnelled(down: TcpStream, up: TcpStream, to: SocketAddr, path: &str) -> Peer {
        Peer {
            up: Some(up),
            ..Peer::over(Box::new(down), &format!("rtsp://{to}/{path}"))
        }
    }

    /// Over a connection that is there, for the stream at `base`.
    pub fn over(stream: Box<dyn Way>, base: &str) -> Peer {
        Peer {
            stream,
            up: None,
            bytes: Vec::new(),
            sequence: 0,
            base: base.to_owned(),
            session: String::new(),
        }
    }

    /// Its next requests are for another stream.
    pub fn turn_to(&mut self, path: &str) {
        let end = self.base.rfind('/').expect("it has a path");
        self.base.truncate(end + 1);
        self.base += path;
        self.session.clear();
    }

    /// The stream's address in its requests.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.up {
            Some(up) => up.write_all(base64(bytes).as_bytes()),
            None => self.stream.write_all(bytes),
        };
        sent.unwrap_or_else(|error| panic!("send: {error}"));
    }

    /// It goes on by another connection; the one before is closed, if there is one.
    pub fn go_on_by(&mut self, up: TcpStream) {
        self.up = Some(up);
    }

    /// The head of the answer to a tunnel's GET.
    pub fn opened(&mut self) -> String {
        loop {
            if let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                return String::from_utf8(self.bytes.drain(..end + 4).collect()).expect("heads are text");
            }
            let mut part = [0; 1024];
            let count = self
                .stream
                .read(&mut part)
                .unwrap_or_else(|error| panic!("no answer to GET: {error}"));
            assert!(count > 0, "closed where the answer to GET was due");
            self.bytes.extend_from_slice(&part[..count]);
        }
    }

    /// The bytes of the next request; `track` is put behind the stream's address.
    pub fn text(&mut self, method: &str, track: &str, headers: &[(&str, &str)], body: &str) -> String {
        self.sequence += 1;
        let mut text = format!("{method} {}{track} RTSP/1.0\r\nCSeq: {}\r\n", self.base, self.sequence);
        if !self.session.is_empty() {
            text += &format!("Session: {}\r\n", self.session);
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text + "\r\n" + body
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, method: &str, track: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let text = self.text(method, track, headers, body);
        self.send(text.as_bytes());
        self.answer()
    }

    /// The next answer; frames before it are counted and let go.
    pub fn answer(&mut self) -> Answer {
        let mut frames_before = 0;
        loop {
            match self.hear() {
                Heard::Frame { .. } => frames_before += 1,
                Heard::Answer(answer) => {
                    let id = answer.header("Session").split(';').next().unwrap_or_default();
                    if !id.is_empty() {
                        self.session = id.to_string();
                    }
                    return Answer {
                        frames_before,
                        ..answer
                    };
                }
                Heard::End => panic!("closed where an answer was due"),
            }
        }
    }

    /// The next frame; no answer is due.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        match self.hear() {
            Heard::Frame { channel, packet } => (channel, packet),
            other => panic!("{other:?} where a frame was due"),
        }
    }

    /// Whatever comes next.
    pub fn hear(&mut self) -> Heard {
        let heard = self.hear_cut();
        if matches!(heard, Heard::End) {
            assert!(self.bytes.is_empty(), "closed inside a message");
        }
        heard
    }

    /// As [`Peer::hear`], of a connection that may end inside a frame.
    pub fn hear_cut(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.whole() {
                return heard;
            }
            let mut part = [0; 16 * 1024];
            match self.stream.read(&mut part) {
                Ok(0) => return Heard::End,
                Ok(count) => self.bytes.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    self.bytes.clear();
                    return Heard::End;
                }
                Err(error) => panic!("nothing more was heard: {error}"),
            }
        }
    }

    /// Whether the server closes the connection within the time; it says nothing before.
    pub fn has_ended_within(&mut self, within: Duration) -> bool {
        self.stream.set_patience(within);
        let read = self.stream.read(&mut [0; 1024]);
        self.stream.set_patience(PATIENCE);
        match read {
            Ok(count) => {
                assert_eq!(count, 0, "something is said");
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => true,
            Err(_) => false,
        }
    }

    /// The server closes the connection within the time.
    pub fn ends_within(&mut self, within: Duration) {
        assert!(self.has_ended_within(within), "still there after {within:?}");
    }

    /// A frame or an answer, if it is there whole. Anything else breaks the protocol.
    fn whole(&mut self) -> Option<Heard> {
        if self.bytes.first()? == &b'$' {
            let head = self.bytes.first_chunk::<4>()?;
            let (channel, length) = (head[1], usize::from(u16::from_be_bytes([head[2], head[3]])));
            let packet = self.bytes.get(4..4 + length)?.to_vec();
            self.bytes.drain(..4 + length);
            return Some(Heard::Frame { channel, packet });
        }
        assert!(
            b"RTSP/1.0".starts_with(&self.bytes[..self.bytes.len().min(8)]),
            "neither frame nor answer: {:?}",
            String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(40)])
        );
        let head_bytes = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.bytes[..head_bytes].to_vec()).expect("heads are text");
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ').skip(1);
        let status = first.next().and_then(|status| status.parse().ok()).expect("a status");
        let reason = first.next().unwrap_or_default().to_string();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "Content-Length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a number"));
        let body = self.bytes.get(head_bytes..head_bytes + length)?.to_vec();
        self.bytes.drain(..head_bytes + length);
        Some(Heard::Answer(Answer {
            status,
            reason,
            headers,
            body: String::from_utf8(body).expect("bodies are text"),
            frames_before: 0,
        }))
    }
}

/// A connection on which answers are waited for.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|error| panic!("{to}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// RFC 4648, 4.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        let letter = move |at: usize| match at > three.len() {
            true => '=',
            false => char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]),
        };
        [letter(0), letter(1), letter(2), letter(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// Sequence number and timestamp of an RTP packet.
pub fn place(packet: &[u8]) -> (u16, u32) {
    let sequence = u16::from_be_bytes([packet[2], packet[3]]);
    let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
    (sequence, timestamp)
}
