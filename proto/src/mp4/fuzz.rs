//! Mutations of the muxer's output must be read without a panic and without more memory than the input's size allows.

use super::{
    read::{read, read_whole_chunks},
    tests::{aac, codecs, h264, mux, usual},
};
use crate::noise::Noise;
use crate::{media::Mux, mp4::Muxer};

/// One body for any bytes.
fn check(bytes: &[u8]) {
    let strict = read(bytes);
    if let Ok((movie, end)) = read_whole_chunks(bytes) {
        assert!(end <= bytes.len());
        let (mut sample_bytes, mut samples) = (0, 0);
        for track in &movie.tracks {
            samples += track.samples.len();
            sample_bytes += track.samples.iter().map(|sample| sample.bytes.len()).sum::<usize>();
        }
        assert!(samples <= sample_bytes && sample_bytes <= end.max(bytes.len()));
        // The tolerant reader is tolerant of the end only.
        if end == bytes.len() {
            assert_eq!(strict.as_ref(), Ok(&movie));
        }
    }
}

#[test]
fn mutations_of_whole_movies_are_read_without_a_panic() {
    let mut seeds = vec![mux(&[h264(), aac()], &usual(10)).viewer(2)];
    for (track, _) in codecs() {
        let frames: Vec<_> = usual(0)
            .into_iter()
            .filter(|made| made.track == track.id)
            .take(8)
            .collect();
        seeds.push(mux(&[track], &frames).viewer(0));
    }
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    for _ in 0..100_000 {
        let mut bytes = seeds[noise.next() as usize % seeds.len()].clone();
        for _ in 0..=noise.next() % 4 {
            let at = noise.next() as usize % bytes.len();
            match noise.next() % 5 {
                0 => bytes[at] ^= 1 << (noise.next() % 8),
                1 => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][noise.next() as usize % 5],
                2 => bytes.truncate(at.max(1)),
                3 => {
                    let to = (at + noise.next() as usize % 32).min(bytes.len());
                    if to - at < bytes.len() {
                        bytes.drain(at..to);
                    }
                }
                _ => {
                    let copied = bytes[at..(at + 16).min(bytes.len())].to_vec();
                    bytes.splice(at..at, copied);
                }
            }
        }
        check(&bytes);
    }
}

#[test]
fn any_codec_data_and_first_frame_make_a_readable_header_or_none() {
    let mut noise = Noise(0x2545_F491_4F6C_DD1D);
    for _ in 0..20_000 {
        let seeds = codecs();
        let (mut track, _) = seeds[noise.next() as usize % seeds.len()].clone();
        for _ in 0..noise.next() % 3 {
            if track.codec_data.is_empty() {
                break;
            }
            let at = noise.next() as usize % track.codec_data.len();
            match noise.next() % 2 {
                0 => track.codec_data[at] = noise.next() as u8,
                _ => track.codec_data.truncate(at),
            }
        }
        let mut frames: Vec<_> = usual(0)
            .into_iter()
            .filter(|made| made.track == track.id)
            .take(2)
            .collect();
        let mut first = vec![0x0B, 0x77, 0x01, 0x7F, 0x34, 0x80, 0, 0];
        if noise.next().is_multiple_of(2) {
            first = vec![0x82, 0x49, 0x83, 0x42, 0x40, 0x13, 0xF0, 0x0B, 0x30];
        }
        let at = noise.next() as usize % first.len();
        first[at] = noise.next() as u8;
        frames[0].data = first;
        let carried = Muxer::new().carries(&track);
        let fed = mux(&[track], &frames);
        assert_eq!(fed.joins.len(), usize::from(carried));
        if carried {
            assert!(read(&fed.viewer(0)).is_ok());
        }
    }
}
