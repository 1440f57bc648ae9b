//! Every parser of this folder on any bytes. What a parser accepts must be emitted and read again as the same value, where
//! there is an emitter.

use super::{aac, ac3, av1, flac, h264, hevc, mp3, nal, opus, vp8, vp9};

/// Any bytes as everything that a codec has.
pub fn headers(bytes: &[u8]) {
    let mut out = Vec::new();
    run_nal(bytes, &mut out);
    run_records(bytes, &mut out);
    run_video(bytes, &mut out);
    run_audio(bytes, &mut out);
}

fn run_nal(bytes: &[u8], out: &mut Vec<u8>) {
    for length_bytes in 1..=4 {
        out.clear();
        if nal::widen_lengths(bytes, length_bytes, out).is_ok() {
            assert!(nal::is_well_formed(out) || out.is_empty());
        }
    }
    out.clear();
    let count = nal::annexb_to_lengths(bytes, out);
    assert_eq!(nal::units(out).count(), count);
    h264::is_idr(bytes);
    hevc::is_irap(bytes);
    nal::lengths_to_annexb(bytes, out);
}

fn run_records(bytes: &[u8], out: &mut Vec<u8>) {
    let _ = h264::Sps::parse(bytes);
    if let Ok(config) = h264::Config::parse(bytes) {
        let (sps, pps): (Vec<_>, Vec<_>) = (config.sps().collect(), config.pps().collect());
        out.clear();
        if h264::build_config(&sps, &pps, out).is_ok() {
            let built = h264::Config::parse(out).expect("what is built can be read");
            assert!(built.sps().eq(config.sps()) && built.pps().eq(config.pps()));
        }
        config.codec_string();
    }
    let _ = hevc::Sps::parse(bytes);
    if let Ok(config) = hevc::Config::parse(bytes) {
        let sets = |kind| config.sets(kind).collect::<Vec<_>>();
        out.clear();
        if hevc::build_config(&sets(32), &sets(33), &sets(34), out).is_ok() {
            let built = hevc::Config::parse(out).expect("what is built can be read");
            assert!(built.vps().eq(config.vps()) && built.sps().eq(config.sps()) && built.pps().eq(config.pps()));
        }
        config.codec_string();
    }
    hevc::looks_like_hvcc(bytes);
}

fn run_video(bytes: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if let Ok(config) = av1::Config::parse(bytes) {
        config.emit(out);
        let again = av1::Config::parse(out).expect("what is emitted can be read");
        assert_eq!(again, config);
        config.codec_string();
        config.sequence();
    }
    out.clear();
    if av1::strip_temporal_delimiters(bytes, out).is_ok() {
        assert!(av1::obus(out).all(|obu| obu.is_ok_and(|obu| obu.kind != av1::OBU_TEMPORAL_DELIMITER)));
    }
    av1::is_key(bytes);
    av1::find_sequence(bytes);
    let _ = av1::Sequence::parse(bytes);
    vp8::is_key(bytes);
    let _ = vp8::KeyFrame::parse(bytes);
    if let Ok(key) = vp9::KeyFrame::parse(bytes) {
        out.clear();
        let config = key.config(25.0);
        config.emit(out);
        assert_eq!(vp9::Config::parse(out), Ok(config));
    }
    let _ = vp9::Config::parse(bytes).map(|config| config.codec_string());
}

fn run_audio(bytes: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if let Ok(config) = aac::Config::parse(bytes)
        && config.emit(out).is_ok()
    {
        let again = aac::Config::parse(out).expect("what is emitted can be read");
        assert_eq!(
            (again.sample_rate, again.channels),
            (config.sample_rate, config.channels)
        );
        if let Ok(head) = config.adts_head(100) {
            assert_eq!(aac::Adts::parse(&head).map(|adts| adts.frame_bytes), Ok(107));
        }
    }
    if let Ok(adts) = aac::Adts::parse(bytes) {
        assert!(adts.frame_bytes >= adts.head_bytes);
    }
    if let Ok(header) = mp3::Header::parse(bytes) {
        assert!(header.frame_bytes > 4);
    }
    if let Ok(head) = opus::Head::parse(bytes) {
        out.clear();
        head.emit(out);
        assert_eq!(opus::Head::parse(out), Ok(head));
    }
    let _ = opus::packet_samples(bytes);
    if let Ok(block) = flac::StreamInfo::parse(bytes) {
        out.clear();
        block.emit(out);
        assert_eq!(flac::StreamInfo::parse(out), Ok(block));
    }
    let _ = flac::block_samples(bytes);
    if let Ok(frame) = ac3::SyncFrame::parse(bytes) {
        frame.dac3();
        frame.dec3();
    }
}

#[cfg(test)]
mod runs {
    use super::super::cases::{ALL, hex};
    use crate::damage::{Cost, damaged};

    #[test]
    fn codec_headers() {
        let seeds: Vec<_> = ALL.iter().map(|case| hex(case)).collect();
        let tokens: &[&[u8]] = &[
            b"\0\0\x01",
            b"\0\0\0\x01",
            b"\0\0\x03",
            b"\x67",
            b"\x0b\x77",
            b"OpusHead",
        ];
        damaged("codec_headers", Cost::Light, &seeds, tokens, super::headers);
    }
}
