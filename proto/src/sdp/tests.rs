//! Descriptions as cameras, encoders and servers write them, and as we do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::limits::{MEDIA_MAX, PARAMETERS_MAX, TEXT_BYTES_MAX};
use super::*;
use crate::media::Kind;

/// Who it is like, the text, and what is read of it: `s=`, `a=control` and `a=range`, then a line a medium.
pub(super) const TEXTS: &[(&str, &[u8], &[&str])] = &[
    (
        "ffmpeg, recorded",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=tool:libavformat LIBAVFORMAT_VERSION\r\nm=video 0 RTP/AVP 96\r\nb=AS:250\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtoCgL/lwEQAAAMABAAAAwDIPFi6gA==,aM48gA==; profile-level-id=42C01E\r\na=control:streamid=0\r\nm=audio 0 RTP/AVP 97\r\nb=AS:64\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\na=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=121056E500\r\na=control:streamid=1\r\n",
        &[
            "No Name||",
            "Video 96 H264/90000/0 packetization-mode=1 sprop-parameter-sets=Z0LAHtoCgL/lwEQAAAMABAAAAwDIPFi6gA==,aM48gA== profile-level-id=42C01E @streamid=0 SendReceive",
            "Audio 97 MPEG4-GENERIC/44100/2 profile-level-id=1 mode=AAC-hbr sizelength=13 indexlength=3 indexdeltalength=3 config=121056E500 @streamid=1 SendReceive",
        ],
    ),
    (
        "MistServer, recorded",
        b"v=0\r\no=- 1795350020298 1 IN IP4 127.0.0.1\r\ns=live\r\nc=IN IP4 0.0.0.0\r\ni=live\r\nu=rtsp://127.0.0.1:5554/live\r\nt=0 0\r\na=tool:MistServer/3.x-861faab\r\na=type:broadcast\r\na=control:*\r\na=range:npt=0.000-\r\nm=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=cliprect:0,0,360,640\r\na=framesize:97 640-360\r\na=fmtp:97 packetization-mode=1;profile-level-id=42E01e;sprop-parameter-sets=Z0LAHtoCgL/lwEQAAAMABAAAAwDIPFi6gA==,aM48gA==\r\na=framerate:25\r\na=control:track1\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 mpeg4-generic/44100/2\r\na=fmtp:96 streamtype=5; profile-level-id=15; config=121056e500; mode=AAC-hbr; SizeLength=13; IndexLength=3; IndexDeltaLength=3;\r\na=control:track2\r\n",
        &[
            "live|*|npt=0.000-",
            "Video 97 H264/90000/0 packetization-mode=1 profile-level-id=42E01e sprop-parameter-sets=Z0LAHtoCgL/lwEQAAAMABAAAAwDIPFi6gA==,aM48gA== @track1 SendReceive",
            "Audio 96 MPEG4-GENERIC/44100/2 streamtype=5 profile-level-id=15 config=121056e500 mode=AAC-hbr sizelength=13 indexlength=3 indexdeltalength=3 @track2 SendReceive",
        ],
    ),
    (
        "Hikvision: absolute controls, sound called PCM under its static number",
        b"v=0\r\no=- 1109162014219182 1109162014219192 IN IP4 x.y.z.w\r\ns=Media Presentation\r\ne=NONE\r\nb=AS:5100\r\nt=0 0\r\na=control:rtsp://10.1.1.2/Streaming/Channels/101/\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\nb=AS:5000\r\na=recvonly\r\na=x-dimensions:1920,1080\r\na=control:rtsp://10.1.1.2/Streaming/Channels/101/trackID=1\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=Z00AKZ2oHgCJ+WbgICAgQA==,aO48gA==\r\nm=audio 0 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\na=control:rtsp://10.1.1.2/Streaming/Channels/101/trackID=2\r\na=rtpmap:8 PCM/8000\r\na=Media_header:MEDIAINFO=494D4B48010300000400010011710110401F000000FA000000000000000000000000000000000000;\r\na=appversion:1.0\r\n",
        &[
            "Media Presentation|rtsp://10.1.1.2/Streaming/Channels/101/|",
            "Video 96 H264/90000/0 profile-level-id=420029 packetization-mode=1 sprop-parameter-sets=Z00AKZ2oHgCJ+WbgICAgQA==,aO48gA== @rtsp://10.1.1.2/Streaming/Channels/101/trackID=1 ReceiveOnly",
            "Audio 8 PCMA/8000/1 @rtsp://10.1.1.2/Streaming/Channels/101/trackID=2 ReceiveOnly",
        ],
    ),
    (
        "Dahua: talk-back beside the sound, an empty name",
        b"v=0\r\no=- 2252310609 2252310609 IN IP4 0.0.0.0\r\ns= \r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:npt=now-\r\nm=video 0 RTP/AVP 98\r\na=control:trackID=0\r\na=framerate:25.000000\r\na=rtpmap:98 H265/90000\r\na=fmtp:98 profile-id=1;sprop-sps=QgEBAWAAAAMAsAAAAwAAAwBaoAWCAJBY2uSTL5A=;sprop-pps=RAHA8vA8kAA=;sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwBarAk=\r\na=recvonly\r\nm=audio 0 RTP/AVP 97\r\na=control:trackID=1\r\na=rtpmap:97 MPEG4-GENERIC/16000\r\na=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408\r\na=recvonly\r\nm=audio 0 RTP/AVP 8\r\na=control:trackID=5\r\na=rtpmap:8 PCMA/8000\r\na=sendonly\r\nm=application 0 RTP/AVP 107\r\na=control:trackID=4\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=recvonly\r\n",
        &[
            "|*|npt=now-",
            "Video 98 H265/90000/0 profile-id=1 sprop-sps=QgEBAWAAAAMAsAAAAwAAAwBaoAWCAJBY2uSTL5A= sprop-pps=RAHA8vA8kAA= sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwBarAk= @trackID=0 ReceiveOnly",
            "Audio 97 MPEG4-GENERIC/16000/1 streamtype=5 profile-level-id=1 mode=AAC-hbr sizelength=13 indexlength=3 indexdeltalength=3 config=1408 @trackID=1 ReceiveOnly",
            "Audio 8 PCMA/8000/1 @trackID=5 SendOnly",
            "Meta 107 VND.ONVIF.METADATA/90000/0 @trackID=4 ReceiveOnly",
        ],
    ),
    (
        "TP-Link Tapo: a medium and payload type of its own",
        b"v=0\r\no=- 14665860 31787219 1 IN IP4 192.168.1.123\r\ns=Session streamed by \"TP-LINK RTSP Server\"\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\nb=AS:4096\r\na=range:npt=0-\r\na=control:track1\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; profile-level-id=640016; sprop-parameter-sets=Z2QAFqzGoFgJaJqAgICC,aOqPLA==\r\nm=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:track2\r\nm=application/TP-LINK 0 RTP/AVP smart/1/90000\r\na=rtpmap:95 TP-LINK/90000\r\na=control:track3\r\n",
        &[
            "Session streamed by \"TP-LINK RTSP Server\"||",
            "Video 96 H264/90000/0 packetization-mode=1 profile-level-id=640016 sprop-parameter-sets=Z2QAFqzGoFgJaJqAgICC,aOqPLA== @track1 SendReceive",
            "Audio 8 PCMA/8000/1 @track2 SendReceive",
            "Meta 95 TP-LINK/90000/0 @track3 SendReceive",
        ],
    ),
    (
        "FLIR: broken times",
        b"v=0\r\no=- 0 0 IN IP4 192.168.250.253\r\ns=RTSP Session/2.0\r\nt=0 8589934592 x\r\nt=\r\nr=never\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\na=fmtp:96 profile-level-id=245;config=000001B0F5000001B509000001000000012000C8F8A058BA9860FA616087828307\r\na=control:track1\r\n",
        &[
            "RTSP Session/2.0||",
            "Video 96 MP4V-ES/90000/0 profile-level-id=245 config=000001B0F5000001B509000001000000012000C8F8A058BA9860FA616087828307 @track1 SendReceive",
        ],
    ),
    (
        "Uniview: an address that is none, no times",
        b"v=0\r\no=- 1001 1 IN IP4 \r\ns=VCP IPC Realtime stream\r\nc=IN IP4\r\nm=video 0 RTP/AVP 105\r\nc=IN IP4 media\r\na=control:rtsp://10.0.0.3/media/video1/video\r\na=rtpmap:105 H264/90000\r\na=fmtp:105 profile-level-id=640029; packetization-mode=1; sprop-parameter-sets=Z2QAKa0AxSAPAET8uAoCAgKE,aO48sA==\r\na=recvonly\r\nm=application 0 RTP/AVP 107\r\nc=IN IP4 media\r\na=control:rtsp://10.0.0.3/media/video1/metadata\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=fmtp:107 DecoderTag=h3c-v3 RTCP=0\r\na=recvonly\r\n",
        &[
            "VCP IPC Realtime stream||",
            "Video 105 H264/90000/0 profile-level-id=640029 packetization-mode=1 sprop-parameter-sets=Z2QAKa0AxSAPAET8uAoCAgKE,aO48sA== @rtsp://10.0.0.3/media/video1/video ReceiveOnly",
            "Meta 107 VND.ONVIF.METADATA/90000/0 decodertag=h3c-v3 rtcp=0 @rtsp://10.0.0.3/media/video1/metadata ReceiveOnly",
        ],
    ),
    (
        "Hanwha: a second session name, tabs",
        b"v=0\r\no=-\t0 0 IN IP4 192.168.1.1\r\ns=Media Presentation\r\ns=Media\tPresentation 2\r\nc=IN\tIP4 0.0.0.0\r\nt=0 0\r\na=control:rtsp://192.168.1.1/profile2/media.smp\t\r\nm=video\t42504 RTP/AVP\t97\r\na=rtpmap:97\tH264/90000\r\na=control:rtsp://192.168.1.1/profile2/media.smp/trackID=v\r\na=fmtp:97\tpacketization-mode=1;profile-level-id=640028;sprop-parameter-sets=Z2QAKKwa0A8ARPy4CIAAAAMAgAAADLWgAtwAHJ173CPFCKg=,KO4ESSJAAAAAAAAAAA==\r\n",
        &[
            "Media Presentation|rtsp://192.168.1.1/profile2/media.smp|",
            "Video 97 H264/90000/0 packetization-mode=1 profile-level-id=640028 sprop-parameter-sets=Z2QAKKwa0A8ARPy4CIAAAAMAgAAADLWgAtwAHJ173CPFCKg=,KO4ESSJAAAAAAAAAAA== @rtsp://192.168.1.1/profile2/media.smp/trackID=v SendReceive",
        ],
    ),
    (
        "Verint and Avigilon: line feeds alone, attributes before their map, doubled blanks",
        b"v=0\no=- 123 456\ns=\nm=video 0  RTP/AVP  96\na=fmtp:96  profile-level-id=4D001F ; packetization-mode = 1 ;\na=control:track1\na=rtpmap: 96   h264 / 90000\n",
        &[
            "||",
            "Video 96 H264/90000/0 profile-level-id=4D001F packetization-mode=1 @track1 SendReceive",
        ],
    ),
    (
        "Bosch: direction for the whole session, several payload types on a line",
        b"v=0\r\no=- 0 0 IN IP4 192.168.100.7\r\ns=LIVE VIEW\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=recvonly\r\na=control:rtsp://192.168.100.7/?inst=1/\r\nm=video 0 RTP/AVP 35 98\r\na=rtpmap:35 H264/90000\r\na=rtpmap:98 H265/90000\r\na=control:rtsp://192.168.100.7/?inst=1/stream=0\r\nm=audio 0 RTP/AVP 101 13 0\r\na=rtpmap:101 telephone-event/8000\r\na=control:stream=1\r\n",
        &[
            "LIVE VIEW|rtsp://192.168.100.7/?inst=1/|",
            "Video 35 H264/90000/0 @rtsp://192.168.100.7/?inst=1/stream=0 ReceiveOnly",
            "Audio 0 PCMU/8000/1 @stream=1 ReceiveOnly",
        ],
    ),
    (
        "Mercury: the parameters of the picture behind the sound",
        b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=Mercury\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\nm=audio 0 RTP/AVP 8\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z2QAHqw=,aO4=\r\na=control:track2\r\n",
        &[
            "Mercury||",
            "Video 96 H264/90000/0 packetization-mode=1 sprop-parameter-sets=Z2QAHqw=,aO4= @track1 SendReceive",
            "Audio 8 PCMA/8000/1 @track2 SendReceive",
        ],
    ),
    (
        "Revotech: the map has another number than the line",
        b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=Revotech\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1\r\na=control:track1\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 MPEG4-GENERIC/8000/1\r\na=fmtp:96 mode=AAC-hbr;config=1588\r\na=control:track2\r\n",
        &[
            "Revotech||",
            "Video 96 H264/90000/0 packetization-mode=1 @track1 SendReceive",
            "Audio 96 MPEG4-GENERIC/8000/1 mode=AAC-hbr config=1588 @track2 SendReceive",
        ],
    ),
    (
        "FritzBox: transport streams for one group, one control for all",
        b"v=0\r\no=- 1 1 IN IP4 192.168.178.1\r\ns=SatIPServer:1 0,0,4\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\nc=IN IP4 0.0.0.0\r\na=control:stream=0\r\na=fmtp:33 ver=1.2;src=1;tuner=1,240,1,7,112,,dvbc,,,,6900,34;pids=0,16,17\r\na=inactive\r\n",
        &[
            "SatIPServer:1 0,0,4||",
            "Video 33 MP2T/90000/0 ver=1.2 src=1 tuner=1,240,1,7,112,,dvbc,,,,6900,34 pids=0,16,17 @stream=0 Inactive",
        ],
    ),
    (
        "AXIS 221: Latin-1, keys that nobody knows, CR alone",
        b"v=0\ro=- 1 1 IN IP4 192.168.0.90\rs=Zuf\xe4hrt\rZ=unknown\rnonsense\rt=0 0\ra=control:*\ra=range:npt=0.000000-\rm=video 0 RTP/AVP 96\ra=framerate:30.0\ra=control:trackID=1\ra=rtpmap:96 MP4V-ES/90000\ra=fmtp:96 profile-level-id=245; config=000001B0F5\ra=mpeg4-esid:201\r",
        &[
            "Zuf\u{e4}hrt|*|npt=0.000000-",
            "Video 96 MP4V-ES/90000/0 profile-level-id=245 config=000001B0F5 @trackID=1 SendReceive",
        ],
    ),
    (
        "Altasec: spaces for semicolons, quotes, a blank in the parameter sets, no version",
        b"s=\"x\"\r\nm=video 0 rtp/avp 96\r\na=rtpmap:96 H264\r\na=fmtp:96 packetization-mode=1 profile-level-id=4D0028 sprop-parameter-sets=Z00AKI2NQDwBE/LgLcBAQFAAAD6AAA==, aO44gA==\r\na=control:\"trackID=0\"\r\n",
        &[
            "\"x\"||",
            "Video 96 H264/90000/0 packetization-mode=1 profile-level-id=4D0028 sprop-parameter-sets=Z00AKI2NQDwBE/LgLcBAQFAAAD6AAA==, aO44gA== @trackID=0 SendReceive",
        ],
    ),
    (
        "no maps: parameters tell, or nothing does",
        b"v=0\r\nm=video 0 RTP/AVP 96\r\na=fmtp:96 sprop-parameter-sets=Z00=,aO4=\r\nm=video 0 RTP/AVP 97\r\na=fmtp:97 sprop-vps=QAE=\r\nm=audio 0 RTP/AVP 98\r\na=fmtp:98 mode=AAC-hbr;config=1210\r\nm=video 0 RTP/AVP 99\r\nm=audio 0 RTP/AVP 14\r\nm=audio 0 RTP/AVP 11\r\nm=audio 0 RTP/AVP 9\r\nm=video 0 RTP/AVP 26\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 OPUS/0/2\r\n",
        &[
            "||",
            "Video 96 H264/90000/0 sprop-parameter-sets=Z00=,aO4= @ SendReceive",
            "Video 97 H265/90000/0 sprop-vps=QAE= @ SendReceive",
            "Audio 98 MPEG4-GENERIC/8000/1 mode=AAC-hbr config=1210 @ SendReceive",
            "Video 99 /90000/0 @ SendReceive",
            "Audio 14 MPA/90000/1 @ SendReceive",
            "Audio 11 L16/44100/1 @ SendReceive",
            "Audio 9 G722/8000/1 @ SendReceive",
            "Video 26 JPEG/90000/0 @ SendReceive",
            "Audio 97 OPUS/48000/2 @ SendReceive",
        ],
    ),
    (
        "no RTP, no payload type",
        b"v=0\r\nm=application 9 TCP/FOO 1\r\nm=video 0 RTP/AVP\r\nm=audio\r\nm=\r\n",
        &[
            "||",
            "no format @ SendReceive",
            "no format @ SendReceive",
            "no format @ SendReceive",
            "no format @ SendReceive",
        ],
    ),
    (
        "every medium is talk-back, which cannot be",
        b"v=0\r\na=sendonly\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\nm=audio 0 RTP/AVP 0\r\na=control:track2\r\n",
        &[
            "||",
            "Video 96 H264/90000/0 @track1 SendOnly",
            "Audio 0 PCMU/8000/1 @track2 SendOnly",
        ],
    ),
];

fn shown(description: &Description) -> Vec<String> {
    let mut lines = vec![format!(
        "{}|{}|{}",
        description.name, description.control, description.range
    )];
    for medium in &description.media {
        let mut line = String::from("no format");
        if let Some(format) = &medium.format {
            line = format!(
                "{:?} {} {}/{}/{}",
                format.kind, format.payload_type, format.encoding, format.clock_rate, format.channels
            );
            for (name, value) in &format.parameters {
                line.push_str(&format!(" {name}={value}"));
            }
        }
        line.push_str(&format!(" @{} {:?}", medium.control, medium.direction));
        lines.push(line);
    }
    lines
}

#[test]
fn descriptions_are_read_as_they_come() {
    for (who, text, expected) in TEXTS {
        let description = Description::parse(text).unwrap_or_else(|error| panic!("{who}: {error}"));
        assert_eq!(shown(&description), *expected, "{who}");
        // However the lines end.
        let lines = |end: &[u8]| -> Vec<u8> {
            let lines = text.split(|byte| matches!(byte, b'\r' | b'\n'));
            lines.flat_map(|line| [line, end].concat()).collect()
        };
        for end in [&b"\n"[..], b"\r\n", b"\r", b" \t\r\n\r\n"] {
            assert_eq!(Description::parse(&lines(end)).as_ref(), Ok(&description), "{who}");
        }
    }
}

#[test]
fn what_is_no_description_is_an_error() {
    for text in [&b""[..], b"<html>m=video</html>", b"v=0\r\ns=x\r\n", b"\xff\xfe\0"] {
        assert_eq!(Description::parse(text), Err(Error::NoMedia));
    }
    let long = vec![b'm'; TEXT_BYTES_MAX + 1];
    assert_eq!(
        Description::parse(&long),
        Err(Error::TooLong {
            bytes: TEXT_BYTES_MAX + 1,
            bytes_max: TEXT_BYTES_MAX
        })
    );
    let media = "m=audio 0 RTP/AVP 0\n";
    let most = Description::parse(media.repeat(MEDIA_MAX).as_bytes()).unwrap();
    assert_eq!(most.media.len(), MEDIA_MAX);
    assert_eq!(
        Description::parse(media.repeat(MEDIA_MAX + 1).as_bytes()),
        Err(Error::TooManyMedia { max: MEDIA_MAX })
    );
    let parameters = format!("m=audio 0 RTP/AVP 96\na=fmtp:96 {}", "a=b;".repeat(1000));
    let read = Description::parse(parameters.as_bytes()).unwrap();
    assert_eq!(read.media[0].format.as_ref().unwrap().parameters.len(), PARAMETERS_MAX);
}

fn origin(address: IpAddr) -> Origin {
    Origin {
        session: 17,
        version: 2,
        address,
    }
}

fn ours() -> Description {
    let media = |kind, payload_type, encoding: &str, clock_rate, channels, parameters: &[(&str, &str)]| Media {
        port: 0,
        protocol: "RTP/AVP".to_owned(),
        control: String::new(),
        direction: Direction::SendReceive,
        group: None,
        format: Some(PayloadFormat {
            kind,
            payload_type,
            encoding: encoding.to_owned(),
            clock_rate,
            channels,
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }),
    };
    Description {
        name: "live\r\nm=evil".to_owned(),
        control: "*".to_owned(),
        range: "npt=now-".to_owned(),
        media: vec![
            media(
                Kind::Video,
                97,
                "H264",
                90_000,
                0,
                &[
                    ("packetization-mode", "1"),
                    ("sprop-parameter-sets", "Z0LAHg==,aM48gA=="),
                ],
            ),
            Media {
                format: None,
                ..media(Kind::Meta, 0, "", 1, 0, &[])
            },
            media(
                Kind::Audio,
                96,
                "MPEG4-GENERIC",
                44_100,
                2,
                &[("mode", "AAC-hbr"), ("flag", "")],
            ),
            Media {
                port: 5006,
                group: Some(Group {
                    address: Ipv4Addr::new(239, 1, 2, 4),
                    ttl: 16,
                }),
                direction: Direction::ReceiveOnly,
                ..media(Kind::Audio, 8, "PCMA", 8_000, 1, &[])
            },
        ],
    }
}

#[test]
fn our_text_is_as_players_expect_it() {
    let text = ours().text(origin(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))));
    let expected = [
        "v=0",
        "o=- 17 2 IN IP4 10.0.0.1",
        "s=livem=evil",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=tool:penstock",
        "a=control:*",
        "a=range:npt=now-",
        "m=video 0 RTP/AVP 97",
        "a=rtpmap:97 H264/90000",
        "a=fmtp:97 packetization-mode=1;sprop-parameter-sets=Z0LAHg==,aM48gA==",
        "a=control:track0",
        "m=audio 0 RTP/AVP 96",
        "a=rtpmap:96 MPEG4-GENERIC/44100/2",
        "a=fmtp:96 mode=AAC-hbr;flag",
        "a=control:track2",
        "m=audio 5006 RTP/AVP 8",
        "c=IN IP4 239.1.2.4/16",
        "a=rtpmap:8 PCMA/8000",
        "a=recvonly",
        "a=control:track3",
        "",
    ];
    assert_eq!(text, expected.join("\r\n"));
    let text = Description::default().text(origin(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    assert!(text.contains("o=- 17 2 IN IP6 ::1\r\ns=-\r\nc=IN IP6 ::\r\n"), "{text}");
}

#[test]
fn our_text_is_read_back_as_it_was() {
    let mut description = ours();
    description.name = "live".to_owned();
    let read = Description::parse(description.text(origin(IpAddr::V4(Ipv4Addr::LOCALHOST))).as_bytes()).unwrap();
    description.media.remove(1);
    for (medium, control) in description.media.iter_mut().zip(["track0", "track2", "track3"]) {
        medium.control = control.to_owned();
        medium.group = None;
    }
    assert_eq!(read, description);
}
