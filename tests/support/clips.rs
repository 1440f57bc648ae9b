//! The clips that are pushed: made by ffmpeg from its own test sources with fixed seeds, kept by the hash of the command.
//!
//! All of [`ALL`] are FLV, so that `-c copy` pushes exactly these frames; [`Modern`] ones are MP4 where FLV had no number
//! for the codec. Pictures carry a running counter, sound is noise: no two frames are alike, and a frame found elsewhere
//! is that frame.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::flv::{self, Tag};
use super::process::run;

/// One clip: its name, and ffmpeg's arguments between `-y` and the output file.
#[derive(Debug, Clone, Copy)]
pub struct Clip {
    pub name: &'static str,
    pub seconds: u32,
    video: Option<Video>,
    audio: bool,
    channels: u32,
}

#[derive(Debug, Clone, Copy)]
struct Video {
    size: &'static str,
    rate: u32,
    gop: u32,
    b_frames: u32,
    kilobits: u32,
    preset: &'static str,
    filter: &'static str,
}

const PLAIN: Video = Video {
    size: "640x360",
    rate: 25,
    gop: 50,
    b_frames: 0,
    kilobits: 1_500,
    preset: "ultrafast",
    filter: "null",
};

pub const B_FRAMES: Clip = Clip {
    name: "b-frames",
    seconds: 6,
    video: Some(Video {
        b_frames: 2,
        preset: "veryfast",
        ..PLAIN
    }),
    audio: true,
    channels: 2,
};
pub const NO_B_FRAMES: Clip = Clip {
    name: "no-b-frames",
    seconds: 6,
    video: Some(PLAIN),
    audio: true,
    channels: 2,
};
pub const AUDIO_ONLY: Clip = Clip {
    name: "audio-only",
    seconds: 6,
    video: None,
    audio: true,
    channels: 2,
};
pub const VIDEO_ONLY: Clip = Clip {
    name: "video-only",
    seconds: 6,
    video: Some(PLAIN),
    audio: false,
    channels: 2,
};
/// The second keyframe comes after 10 s: whoever joins before gets every frame.
pub const LONG_GOP: Clip = Clip {
    name: "long-gop",
    seconds: 12,
    video: Some(Video {
        gop: 250,
        b_frames: 2,
        preset: "veryfast",
        ..PLAIN
    }),
    audio: true,
    channels: 2,
};
pub const FAST: Clip = Clip {
    name: "60-fps",
    seconds: 6,
    video: Some(Video {
        rate: 60,
        gop: 120,
        ..PLAIN
    }),
    audio: true,
    channels: 2,
};
pub const HEAVY: Clip = Clip {
    name: "40-megabit",
    seconds: 6,
    video: Some(Video {
        size: "1280x720",
        kilobits: 40_000,
        filter: "noise=alls=60:allf=t:all_seed=11",
        ..PLAIN
    }),
    audio: true,
    channels: 2,
};
/// Frames leave at uneven distances, from one to several periods of 60 fps.
pub const VARIABLE: Clip = Clip {
    name: "variable-rate",
    seconds: 6,
    video: Some(Video {
        rate: 60,
        gop: 60,
        b_frames: 2,
        preset: "veryfast",
        filter: "select='not(mod(n*n+3*n,7))+not(mod(n,5))+between(mod(n,90),20,40)'",
        ..PLAIN
    }),
    audio: true,
    channels: 2,
};

/// Bytes and keyframes enough for viewers to fall behind: half-second GOPs of 6 Mb/s.
pub const SHORT_GOPS: Clip = Clip {
    name: "short-gops",
    seconds: 12,
    video: Some(Video {
        gop: 12,
        kilobits: 6_000,
        filter: "noise=alls=60:allf=t:all_seed=11",
        ..PLAIN
    }),
    audio: true,
    channels: 2,
};

/// Every picture has its number in a bar: in the upper 16 rows 24 cells, black or white, the highest bit first, and the
/// complement in the 16 below, so that a bar that cannot be read is told from one that can. 128 s are a whole number of
/// pictures, GOPs and AAC frames: it can be played over and over without a gap.
pub const NUMBERED: Clip = Clip {
    name: "numbered",
    seconds: 128,
    video: Some(Video {
        filter: "color=black:size=24x2:rate=25,format=yuv420p,\
                 geq=lum='if(eq(Y,mod(floor(N/pow(2,23-X)),2)),16,235)':cb=128:cr=128,\
                 scale=640:32:flags=neighbor[bar];[in][bar]overlay=0:0:shortest=1",
        ..PLAIN
    }),
    audio: true,
    channels: 2,
};

/// As [`NO_B_FRAMES`], of another size: other codec data.
pub const SMALL: Clip = Clip {
    name: "small",
    seconds: 6,
    video: Some(Video {
        size: "320x180",
        kilobits: 400,
        ..PLAIN
    }),
    audio: true,
    channels: 2,
};

/// As [`NO_B_FRAMES`], with one channel: other codec data of the sound.
pub const MONO: Clip = Clip {
    name: "mono",
    channels: 1,
    ..NO_B_FRAMES
};

pub const ALL: [Clip; 8] = [
    B_FRAMES,
    NO_B_FRAMES,
    AUDIO_ONLY,
    VIDEO_ONLY,
    LONG_GOP,
    FAST,
    HEAVY,
    VARIABLE,
];

impl Clip {
    pub fn has_video(&self) -> bool {
        self.video.is_some()
    }

    pub fn has_audio(&self) -> bool {
        self.audio
    }

    /// What a publisher sends of the clip's first so many milliseconds.
    pub fn part(&self, millis: u32) -> Vec<Tag> {
        let mut tags = flv::tags(&std::fs::read(self.file()).expect("made by the call"));
        tags.retain(|tag| tag.time < millis);
        tags
    }

    /// The clip's file, made when no earlier run has made it.
    pub fn file(&self) -> PathBuf {
        made(self.name, "flv", &self.arguments())
    }

    fn arguments(&self) -> Vec<String> {
        let seconds = self.seconds;
        let mut arguments = Vec::new();
        let mut push = |text: String| arguments.extend(text.split_whitespace().map(str::to_string));
        if let Some(Video { size, rate, .. }) = self.video {
            push(format!(
                "-f lavfi -i testsrc2=size={size}:rate={rate}:duration={seconds}"
            ));
        }
        if self.audio {
            // Sound begins after the first picture, whose keyframe is where the earliest viewer joins: else its first
            // frames, which AAC's priming puts before time zero, would be sent before anybody could be there.
            push("-itsoffset 0.1".to_string());
            push(format!(
                "-f lavfi -i anoisesrc=r=48000:seed=7:amplitude=0.3:duration={seconds}"
            ));
        }
        if let Some(Video {
            gop,
            b_frames,
            kilobits,
            preset,
            filter,
            ..
        }) = self.video
        {
            push(format!(
                "-vf {filter} -vsync vfr -c:v libx264 -preset {preset} -bf {b_frames} -g {gop}"
            ));
            push(format!(
                "-keyint_min {gop} -sc_threshold 0 -b:v {kilobits}k -maxrate {kilobits}k"
            ));
            push(format!("-bufsize {kilobits}k -pix_fmt yuv420p -threads 2"));
        }
        if self.audio {
            push(format!("-c:a aac -b:a 128k -ac {}", self.channels));
        }
        push("-fflags +bitexact -flags:v +bitexact -flags:a +bitexact -f flv".to_string());
        arguments
    }
}

/// A clip of other codecs: 4 s of 25 pictures a second, a keyframe every 2 s.
#[derive(Debug, Clone, Copy)]
pub struct Modern {
    pub name: &'static str,
    video: &'static str,
    audio: &'static str,
    container: &'static str,
}

const X264: &str = "-c:v libx264 -preset veryfast -bf 2 -sc_threshold 0";
const OPUS: &str = "-c:a libopus -b:a 96k";

pub const HEVC_AAC: Modern = Modern {
    name: "hevc-aac",
    video: "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params bframes=2:open-gop=0:scenecut=0:log-level=error",
    audio: "-c:a aac -b:a 128k",
    container: "mp4",
};
pub const AV1_OPUS: Modern = Modern {
    name: "av1-opus",
    video: "-c:v libaom-av1 -usage realtime -cpu-used 8 -row-mt 1 -b:v 300k",
    audio: OPUS,
    container: "mp4",
};
pub const VP9_OPUS: Modern = Modern {
    name: "vp9-opus",
    video: "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k",
    audio: OPUS,
    container: "mp4",
};
pub const H264_FLAC: Modern = Modern {
    name: "h264-flac",
    video: X264,
    // 24 bits would make the clip as long as what the server acknowledges, and ffmpeg that closes with an acknowledgement
    // unread resets the connection: its last frames would sometimes not arrive.
    audio: "-c:a flac -sample_fmt s16",
    container: "mp4",
};
pub const H264_AC3: Modern = Modern {
    name: "h264-ac3",
    video: X264,
    audio: "-c:a ac3 -b:a 128k",
    container: "mp4",
};
pub const H264_MP3: Modern = Modern {
    name: "h264-mp3",
    video: X264,
    audio: "-c:a libmp3lame -b:a 128k",
    container: "mp4",
};
pub const H264_EAC3: Modern = Modern {
    name: "h264-eac3",
    audio: "-c:a eac3 -b:a 128k",
    ..H264_AC3
};
/// What FLV has had from its beginning and MP4 has not, kept in FLV.
pub const H264_ALAW: Modern = Modern {
    name: "h264-alaw",
    video: X264,
    audio: "-c:a pcm_alaw -ar 8000 -ac 1",
    container: "flv",
};
pub const H264_ULAW: Modern = Modern {
    name: "h264-ulaw",
    audio: "-c:a pcm_mulaw -ar 8000 -ac 1",
    ..H264_ALAW
};
pub const H264_PCM: Modern = Modern {
    name: "h264-pcm",
    audio: "-c:a pcm_s16le -ar 44100 -ac 2",
    ..H264_ALAW
};

impl Modern {
    pub fn file(&self) -> PathBuf {
        let Modern {
            video,
            audio,
            container,
            ..
        } = self;
        // Sound begins after the first picture, as in [`Clip::arguments`].
        let text = format!(
            "-f lavfi -i testsrc2=size=320x180:rate=25:duration=4 \
             -itsoffset 0.1 -f lavfi -i anoisesrc=r=48000:seed=7:amplitude=0.3:duration=4 \
             -pix_fmt yuv420p -g 50 -keyint_min 50 {video} -threads 2 -ac 2 {audio} -strict experimental \
             -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -f {container}"
        );
        let arguments: Vec<String> = text.split_whitespace().map(str::to_string).collect();
        made(self.name, container, &arguments)
    }
}

/// Five seconds of pictures and of any sound in Matroska, which holds almost every codec; one keyframe, so that whoever
/// comes meanwhile gets every picture. Sides are of eights, as JPEG over RTP has them (RFC 2435, 3.1.5).
pub fn short(name: &str, video: &str, audio: &str) -> PathBuf {
    let text = format!(
        "-f lavfi -i testsrc2=size=320x176:rate=25:duration=5 \
         -itsoffset 0.1 -f lavfi -i anoisesrc=r=48000:seed=7:amplitude=0.3:duration=5 \
         -pix_fmt yuv420p -g 250 {video} -threads 2 {audio} \
         -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -f matroska"
    );
    let arguments: Vec<String> = text.split_whitespace().map(str::to_string).collect();
    made(name, "mkv", &arguments)
}

/// Two seconds of small pictures and two of larger ones, in a transport stream, which has their parameter sets in band.
pub fn two_sizes() -> PathBuf {
    let text = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -f lavfi -i testsrc2=size=640x360:rate=25:duration=2 \
                -map 0 -map 1 -pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 0 -g 250 -threads 1 \
                -bitexact -f tee [select=0:f=mpegts]{small}|[select=1:f=mpegts:output_ts_offset=2]{large}";
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/two-sizes-3.ts");
    if !file.exists() {
        let dir = super::scratch("two-sizes");
        let (small, large) = (dir.join("small.ts"), dir.join("large.ts"));
        let text = text
            .replace("{small}", &small.to_string_lossy())
            .replace("{large}", &large.to_string_lossy());
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-v", "error", "-y"])
            .args(text.split_whitespace());
        run("ffmpeg (making a clip)", &mut command, Duration::from_secs(120));
        let mut both = std::fs::read(&small).expect("written above");
        both.extend(std::fs::read(&large).expect("written above"));
        let unfinished = file.with_extension(format!("{}.part", std::process::id()));
        std::fs::write(&unfinished, both).expect("the work tree can be written");
        std::fs::rename(&unfinished, &file).expect("same directory");
        std::fs::remove_dir_all(&dir).expect("scratch is ours");
    }
    file
}

/// The file that ffmpeg makes with these arguments, made when no earlier run has made it.
fn made(name: &str, extension: &str, arguments: &[String]) -> PathBuf {
    let mut hash = DefaultHasher::new();
    arguments.hash(&mut hash);
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/.cache");
    std::fs::create_dir_all(&dir).expect("the work tree can be written");
    let file = dir.join(format!("{name}-{:016x}.{extension}", hash.finish()));
    if !file.exists() {
        // Several tests may make the same clip at once; the last rename wins with equal bytes.
        let unfinished = file.with_extension(format!("{}.part", std::process::id()));
        let mut command = Command::new("ffmpeg");
        command
            .args(["-hide_banner", "-v", "error", "-y"])
            .args(arguments)
            .arg(&unfinished);
        run("ffmpeg (making a clip)", &mut command, Duration::from_secs(120));
        std::fs::rename(&unfinished, &file).expect("same directory");
    }
    file
}
