"""Makes the captures of this folder: `python3 capture.py [NAME ...]`.

For each: NAME.rtp, the RTP packets that ffmpeg (or GStreamer) sent for a file, each behind its length of 16 bits;
NAME.sdp, what it said of them; NAME.csv, the packets that ffprobe finds in the file (pts, size, flags, SHA-256), and
NAME.codec, its codec data as ffprobe finds them (SHA-256), where it has any.

Made with ffmpeg 5.1 and GStreamer 1.22; AV1 is sent by ffmpeg 9 (tests/run fetches it), as 5.1 cannot. Nothing in them is
anybody's but the test pictures' and tones of ffmpeg.
"""

import os
import shlex
import socket
import subprocess
import sys
import tempfile

FF = "ffmpeg -v error -y -bitexact"
PICTURE = "-f lavfi -i testsrc2=s=192x144:r=25"
SOUND = "-f lavfi -i sine=r=48000"

# name: how the file is made, the file's name, how it is sent (ffmpeg's options, or a GStreamer pipeline)
CAPTURES = {
    # Out-of-band parameter sets, B-frames, FU-A and STAP-A.
    "h264": (f"{FF} {PICTURE} -frames:v 14 -c:v libx264 -g 7 -bf 2 -crf 30 -video_track_timescale 90000", "a.mp4", ""),
    # In-band parameter sets, access unit delimiters, three slices a picture, no B-frames; small packets.
    "h264-inband": (f"{FF} {PICTURE} -frames:v 8 -c:v libx264 -g 4 -crf 32 -tune zerolatency "
                    "-x264-params aud=1:repeat-headers=1:slices=3", "a.ts", "-pkt_size 500"),
    "h264-gst": (f"{FF} {PICTURE} -frames:v 8 -c:v libx264 -g 4 -bf 0 -crf 32 -video_track_timescale 90000", "a.mp4",
                 "gst:qtdemux ! h264parse ! rtph264pay aggregate-mode=max-stap config-interval=-1 mtu=600"),
    "hevc": (f"{FF} {PICTURE} -frames:v 14 -c:v libx265 -x265-params log-level=0:keyint=7:bframes=2:crf=32:info=0 "
             "-tag:v hvc1 -video_track_timescale 90000", "a.mp4", ""),
    "hevc-gst": (f"{FF} {PICTURE} -frames:v 8 -c:v libx265 -x265-params log-level=0:keyint=4:bframes=0:crf=36:info=0 "
                 "-tag:v hvc1 -video_track_timescale 90000", "a.mp4",
                 "gst:qtdemux ! h265parse ! rtph265pay aggregate-mode=max config-interval=-1 mtu=600"),
    "vp8": (f"{FF} {PICTURE} -frames:v 10 -c:v libvpx -g 5 -b:v 200k", "a.webm", ""),
    "vp9": (f"{FF} {PICTURE} -frames:v 10 -c:v libvpx-vp9 -g 5 -b:v 200k -lag-in-frames 0", "a.webm",
            "-strict experimental"),
    "vp9-gst": (f"{FF} {PICTURE} -frames:v 10 -c:v libvpx-vp9 -g 5 -b:v 200k -lag-in-frames 0", "a.webm",
                "gst:matroskademux ! rtpvp9pay mtu=600"),
    "av1": (f"{FF} {PICTURE} -frames:v 10 -c:v libaom-av1 -cpu-used 8 -g 5 -b:v 200k -lag-in-frames 0 "
            "-video_track_timescale 90000", "a.mp4", "-strict experimental -pkt_size 700"),
    "mjpeg": (f"{FF} {PICTURE} -frames:v 3 -c:v mjpeg -huffman default -q:v 8 -pix_fmt yuvj420p", "a.mkv", ""),
    "aac": (f"{FF} {SOUND} -t 0.6 -ac 2 -c:a aac -b:a 96k", "a.mp4", ""),
    "aac-gst": (f"{FF} {SOUND} -t 0.4 -ac 1 -c:a aac -b:a 128k", "a.mp4",
                "gst:qtdemux ! aacparse ! rtpmp4gpay mtu=200"),
    "latm": (f"{FF} {SOUND} -t 0.5 -ac 2 -c:a aac -b:a 96k", "a.mp4", "-rtpflags latm"),
    "opus": (f"{FF} {SOUND} -t 0.5 -ac 2 -c:a libopus -b:a 64k", "a.mkv", ""),
    "mp3": (f"{FF} -f lavfi -i sine=r=44100 -t 0.5 -ac 2 -c:a libmp3lame -b:a 128k", "a.mp3", ""),
    # Frames of 1,152 bytes in packets of 500.
    "mp2": (f"{FF} {SOUND} -t 0.15 -ac 2 -c:a mp2 -b:a 384k", "a.mp2", "-pkt_size 500"),
    "ulaw": (f"{FF} -f lavfi -i sine=r=8000 -t 0.3 -c:a pcm_mulaw", "a.wav", ""),
    "g722": (f"{FF} -f lavfi -i sine=r=16000 -t 0.3 -c:a g722", "a.wav", ""),
    "l16": (f"{FF} -f lavfi -i sine=r=44100 -t 0.1 -ac 2 -c:a pcm_s16be", "a.aiff", ""),
    "ac3": (f"{FF} {SOUND} -t 0.3 -ac 2 -c:a ac3 -b:a 192k", "a.ac3", "gst:ac3parse ! rtpac3pay mtu=500"),
}

# What is compared has no parameter sets and delimiters in its pictures, as tracks have them.
CLEANED = {"h264-inband": "-bsf:v filter_units=remove_types=7-9 -video_track_timescale 90000"}

# What sends, where Debian's ffmpeg cannot.
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[".."] * 5)
SENDERS = {"av1": f"{ROOT}/tests/.cache/ffmpeg-newer/ffmpeg"}

# RTP has other packets than the file, or pictures with another head: the file's data are kept as well, as NAME.raw.
RAW = ["mjpeg", "ulaw", "g722", "l16"]

# Frames of the file that are in packets: ffmpeg's RTP muxer keeps those of the last packet for itself, GStreamer leaves out
# what the file's edit list does.
SENT = {"aac": slice(25), "mp3": slice(18), "aac-gst": slice(1, 19)}


def capture(name):
    make, file, send = CAPTURES[name]
    here = os.path.dirname(os.path.abspath(__file__))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, file)
        subprocess.run(shlex.split(make) + [path], check=True)
        port = 20000 + 2 * (os.getpid() % 5000)
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        peer.bind(("127.0.0.1", port))
        peer.settimeout(0.5)
        if send.startswith("gst:"):
            line = f"gst-launch-1.0 -v filesrc location={path} ! {send[4:]} ! udpsink sync=false host=127.0.0.1 port={port}"
            said = subprocess.run(shlex.split(line), check=True, capture_output=True, text=True).stdout
            caps = [at for at in said.splitlines() if "udpsink0.GstPad:sink: caps" in at][-1]
            sdp = caps.split("caps = ")[1] + "\n"
        else:
            sender = SENDERS.get(name, "ffmpeg")
            line = f"{sender} -v error -i {path} -c copy {send} -sdp_file {folder}/a.sdp -f rtp rtp://127.0.0.1:{port}"
            subprocess.run(shlex.split(line), check=True)
            sdp = open(f"{folder}/a.sdp").read().replace("\r", "")
        packets = []
        try:
            while True:
                packets.append(peer.recv(65536))
        except TimeoutError:
            pass
        peer.close()
        with open(f"{here}/{name}.rtp", "wb") as out:
            for packet in packets:
                out.write(len(packet).to_bytes(2, "big") + packet)
        with open(f"{here}/{name}.sdp", "w") as out:
            out.write(sdp)
        probe = "ffprobe -v error -select_streams 0 -show_data_hash sha256 -of csv=p=0 -show_entries"
        found = lambda what: subprocess.run(
            shlex.split(f"{probe} {what} {path}"), check=True, capture_output=True, text=True).stdout
        if name in CLEANED:
            subprocess.run(shlex.split(f"{FF} -i {path} -c copy {CLEANED[name]} {folder}/clean.mp4"), check=True)
            path = f"{folder}/clean.mp4"
        with open(f"{here}/{name}.csv", "w") as out:
            rows = found("packet=pts,size,flags,data_hash").replace("SHA256:", "").replace(",\n,", ",").split()
            out.write("\n".join(rows[SENT.get(name, slice(None))]) + "\n")
        codec = found("stream=extradata_size,extradata_hash").replace("SHA256:", "").strip()
        if name in RAW:
            subprocess.run(shlex.split(f"{FF} -i {path} -map 0 -c copy -f data {here}/{name}.raw"), check=True)
        if codec:
            with open(f"{here}/{name}.codec", "w") as out:
                out.write(codec + "\n")


for chosen in sys.argv[1:] or CAPTURES:
    capture(chosen)
