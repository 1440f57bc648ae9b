//! Any bytes as a movie or as segments: no panic, and no more memory than their size allows.

use super::read::{check_fragments, check_segments, read, read_whole_chunks};
use crate::noise::chosen_by;

/// Any bytes as a movie, by both readers.
pub fn movie(bytes: &[u8]) {
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

/// Any bytes as an initialization segment with two segments behind it, and as a Smooth fragment.
pub fn segments(bytes: &[u8]) {
    let find = |from: usize| {
        let begins = bytes.get(from..)?.windows(4).position(|kind| kind == b"styp")?;
        Some((from + begins).saturating_sub(4))
    };
    let first = find(0).unwrap_or_else(|| chosen_by(bytes, bytes.len() + 1));
    let second = find(first + 8).map_or(bytes.len(), |second| second.max(first));
    let (init, one, two) = (&bytes[..first], &bytes[first..second], &bytes[second..]);
    if let Ok(read) = check_segments(init, &[one, two]) {
        let samples = &read.track.samples;
        assert!(samples.len() <= bytes.len());
        assert_eq!(
            read.chunks.iter().sum::<usize>(),
            samples.chunk_by(|a, b| a.chunk == b.chunk).count()
        );
        let goes_on = |two: &[super::ReadSample<'_>]| two[0].dts + u64::from(two[0].duration) == two[1].dts;
        assert!(samples.windows(2).all(goes_on));
        // Each is right by itself.
        assert!(check_segments(init, &[one]).is_ok() && check_segments(init, &[two]).is_ok());
    }
    if let Ok(fragments) = check_fragments(&[bytes]) {
        let sample_bytes = fragments[0].samples.iter().map(|sample| sample.bytes.len());
        assert!(sample_bytes.sum::<usize>() < bytes.len());
    }
}

#[cfg(test)]
mod runs {
    use super::super::tests::{aac, codecs, h264, mux, segments, usual};
    use super::*;
    use crate::damage::{Cost, damaged};
    use crate::media::Mux;
    use crate::mp4::Muxer;
    use crate::noise::Noise;

    #[test]
    fn mp4_movie() {
        let mut seeds = vec![mux(&[h264(), aac()], &usual(10)).viewer(2)];
        for (track, _) in codecs() {
            let frames: Vec<_> = usual(0)
                .into_iter()
                .filter(|made| made.track == track.id)
                .take(8)
                .collect();
            seeds.push(mux(&[track], &frames).viewer(0));
        }
        let tokens: &[&[u8]] = &[
            b"moof",
            b"traf",
            b"trun",
            b"moov",
            b"mdat",
            b"\0\0\0\x08",
            b"\0\0\0\x01",
            b"\xff\xff\xff\xff",
        ];
        damaged("mp4_movie", Cost::Light, &seeds, tokens, super::movie);
    }

    #[test]
    fn mp4_segments() {
        let mut seeds = Vec::new();
        for (track, _) in codecs() {
            let frames: Vec<_> = usual(0)
                .into_iter()
                .filter(|made| made.track == track.id)
                .take(9)
                .collect();
            let plans = segments::plans(&frames, 1, |at, _| at == 5);
            let made = segments::made(&track, 9000, &plans);
            let made = made.iter().flat_map(|cut| cut.bytes.iter().copied());
            seeds.push(segments::init(&track).into_iter().chain(made).collect());
            seeds.push(segments::fragment(&track, &plans[0]));
        }
        let tokens: &[&[u8]] = &[
            b"styp",
            b"moof",
            b"trun",
            b"uuid",
            b"mdat",
            b"\0\0\0\x08",
            b"\0\0\0\x01",
            b"\xff\xff\xff\xff",
        ];
        damaged("mp4_segments", Cost::Light, &seeds, tokens, super::segments);
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
}
