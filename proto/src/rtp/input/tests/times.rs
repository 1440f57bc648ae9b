//! Times of two media, and what breaks them.

use super::*;

/// When the scene began, µs since 1970.
const BEGAN: i64 = 1_700_000_000_000_000;

/// When pictures of mini-GOPs with `between` B-frames are shown, in decode order.
fn decode_order(between: u32, gops: u32) -> Vec<u32> {
    let mut order = vec![0];
    for gop in 0..gops {
        let begin = gop * (between + 1);
        order.push(begin + between + 1);
        if between == 3 {
            // A pyramid.
            order.extend([begin + 2, begin + 1, begin + 3]);
        } else {
            order.extend(begin + 1..=begin + between);
        }
    }
    order
}

fn watch_order(sps: &str, order: &[u32], parts: u8) -> Vec<Seen> {
    let mut watch = Watch::new(sps);
    let mut scene = Scene::new();
    for (at, shown) in order.iter().enumerate() {
        let packets = scene
            .pictures
            .picture(i64::from(*shown) * PICTURE_TICKS, *shown, at == 0, parts);
        for packet in packets {
            watch.rtp(at as i64 * PICTURE_MICROS, Arrival::Interleaved, 0, &packet);
        }
    }
    assert_eq!(watch.frames.len(), order.len());
    watch.frames
}

#[test]
fn decode_times_are_the_encoders_by_one_constant() {
    for (between, depth, sps) in [
        (0, 0, SETS[0]),
        (1, 1, SETS[1]),
        (2, 1, SETS[1]),
        (3, 2, SETS[2]),
        // Not stated by the parameter sets, and none there.
        (0, 0, SETS[3]),
    ] {
        let frames = watch_order(sps, &decode_order(between, 200), 3);
        let first = frames[0].dts;
        for (at, seen) in frames.iter().enumerate() {
            assert_eq!(
                seen.dts - first,
                at as i64 * PICTURE_TICKS,
                "{between} B-frames, frame {at}"
            );
            let shown = i64::from(seen.number) * PICTURE_TICKS;
            assert_eq!(seen.dts + i64::from(seen.offset) - first, shown + depth * PICTURE_TICKS);
        }
    }
}

#[test]
fn decode_times_pass_presentation_for_a_moment_only_when_the_depth_is_not_stated() {
    let frames = watch_order(SETS[3], &decode_order(3, 200), 1);
    let wrong = frames.iter().rposition(|seen| seen.offset < 0).unwrap();
    assert!(wrong < 8, "{wrong}");
    assert!(
        frames[12..]
            .windows(2)
            .all(|two| two[1].dts - two[0].dts == PICTURE_TICKS)
    );
}

#[test]
fn without_reports_media_stay_as_they_arrived() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    let sent = scene.seconds(60);
    play(&mut watch, &sent, 7_000_000);
    assert!(watch.apart_at_the_end().abs() <= 2_000, "{}", watch.apart_at_the_end());
    assert_eq!((watch.jumps(), watch.input.wall_clock()), (0, None));
}

/// Sound arrives `late` behind its picture, µs; both are reported on at the seconds at which `report` says when the scene
/// began for each.
fn watch_late_sound(late: i64, seconds: u32, report: impl Fn(u32) -> Option<[i64; 2]>) -> Watch {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    let mut sent = scene.seconds(seconds);
    for flight in &mut sent {
        flight.micros += if flight.medium == 1 { late } else { 0 };
    }
    sent.sort_by_key(|flight| flight.micros);
    let mut reported = 0;
    for flight in &sent {
        while i64::from(reported) * 1_000_000 <= flight.micros {
            if let Some(began) = report(reported) {
                scene.report(&mut watch, flight.micros, i64::from(reported) * 1_000, began);
            }
            reported += 1;
        }
        watch.rtp(flight.micros, Arrival::Interleaved, flight.medium, &flight.bytes);
    }
    watch
}

#[test]
fn reports_put_media_together() {
    // From the beginning, and late.
    for (first, late) in [(0, 400_000), (3, 400_000), (5, -300_000), (4, 60_000), (4, 15_000)] {
        let every = |second: u32| (second >= first && second % 5 == first % 5).then_some([BEGAN; 2]);
        let watch = watch_late_sound(late, 60, every);
        let apart = watch.apart_at_the_end();
        assert!(
            apart.abs() <= 1_000,
            "reports from {first} s on, sound {late} late: {apart}"
        );
        assert_eq!(watch.jumps(), 0);
        let (stream, unix) = watch.input.wall_clock().unwrap();
        let sound = *watch.of(2).last().unwrap();
        let made = BEGAN + i64::from(sound.number) * SOUND_MICROS;
        let heard = rescale(sound.dts, 8_000, 1_000_000);
        assert!(((heard - stream) - (made - unix)).abs() < 1_000);
        if first == 0 {
            // Reports that are there first cost no gap.
            let pictures = watch.of(1);
            assert!(pictures.windows(2).all(|two| two[1].dts - two[0].dts == PICTURE_TICKS));
        }
    }
    let never = watch_late_sound(400_000, 20, |_| None);
    let apart = never.apart_at_the_end();
    assert!((apart + 400_000).abs() <= 2_000, "what reports mend: {apart}");
}

#[test]
fn far_apart_media_make_a_jump_when_they_are_put_together() {
    let watch = watch_late_sound(3_000_000, 30, |second| (second == 10).then_some([BEGAN; 2]));
    assert!(watch.apart_at_the_end().abs() <= 20_000, "{}", watch.apart_at_the_end());
    assert_eq!(watch.jumps(), 1);
}

#[test]
fn wrong_reports_move_nothing() {
    const HOUR: i64 = 3_600_000_000;
    type Report = fn(u32) -> [i64; 2];
    let cases: [(&str, Report); 7] = [
        ("hours apart", |_| [BEGAN, BEGAN - 3 * HOUR]),
        ("days apart, and right at first", |second| {
            [BEGAN, BEGAN + if second > 20 { 48 * HOUR } else { 0 }]
        }),
        ("of 1900", |_| [-2_208_988_800_000_000 + HOUR; 2]),
        ("of 1970, then the clock is set", |second| {
            [if second < 22 { 0 } else { BEGAN }; 2]
        }),
        ("set back by 700 ms while it runs", |second| {
            [if second < 22 { BEGAN } else { BEGAN - 700_000 }; 2]
        }),
        ("one glitch of 900 ms", |second| {
            [BEGAN, BEGAN + if second == 30 { 900_000 } else { 0 }]
        }),
        ("all over the place", |second| {
            let noise = i64::from(second.wrapping_mul(2_654_435_761) >> 8) * 40;
            [BEGAN, BEGAN + 20_000_000 + noise]
        }),
    ];
    for (what, report) in cases {
        let watch = watch_late_sound(0, 60, |second| (second % 5 == 0).then(|| report(second)));
        let apart = watch.apart_at_the_end();
        assert!(apart.abs() <= 2_000, "{what}: {apart}");
        assert_eq!(watch.jumps(), 0, "{what}");
        // Not for a moment either.
        let pictures = watch.of(1);
        assert!(
            pictures.windows(2).all(|two| two[1].dts - two[0].dts == PICTURE_TICKS),
            "{what}"
        );
    }
}

#[test]
fn reports_of_another_time_or_source_are_refused() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    let sent = scene.seconds(2);
    play(&mut watch, &sent, 0);
    let ntp = Ntp::from_unix_micros(BEGAN);
    let base = scene.pictures.base;
    watch.report(2_000_000, 0, 0x1111, Ntp(0), base);
    watch.report(2_000_000, 0, 0x9999, ntp, base);
    watch.report(2_000_000, 0, 0x1111, ntp, base.wrapping_add(90_000 * 3_600));
    assert_eq!(watch.input.counters().reports_refused, 3);
    assert_eq!(watch.input.wall_clock(), None);
    watch.report(2_000_000, 0, 0x1111, ntp, base);
    let began = watch.input.wall_clock().unwrap();
    assert_eq!(began, (START_MICROS, ntp.unix_micros()));
}

/// Sound is sampled 200 millionths too fast for half an hour, and reports say so.
#[test]
fn a_sound_card_that_runs_wrong_is_followed_by_the_pictures() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    let fast = |ticks: i64| ticks * 10_002 / 10_000;
    for at in 0..1_800 * 25 {
        let now = i64::from(at) * PICTURE_MICROS;
        for packet in scene.picture(at) {
            watch.rtp(now, Arrival::Interleaved, 0, &packet);
        }
        let sent = watch.input.received(1).received as u32;
        for number in sent..=fast(i64::from(at) * 2) as u32 {
            let sound = scene.sounds.sound(number);
            watch.rtp(now, Arrival::Interleaved, 1, &sound);
        }
        if at % 125 == 0 {
            let millis = i64::from(at) * 40;
            let ntp = Ntp::from_unix_micros(BEGAN + millis * 1_000);
            let picture = scene.pictures.base.wrapping_add((millis * 90) as u32);
            let sound = scene.sounds.base.wrapping_add(fast(millis * 8) as u32);
            watch.report(now, 0, 0x1111, ntp, picture);
            watch.report(now, 1, 0x2222, ntp, sound);
        }
    }
    let (pictures, sounds) = (watch.of(1), watch.of(2));
    let even = |two: &[Seen]| two[1].dts - two[0].dts == SOUND_BYTES as i64;
    assert!(sounds.windows(2).all(even), "sound is never touched");
    let (picture, sound) = (pictures.last().unwrap(), sounds.last().unwrap());
    let made = i64::from(sound.number) * SOUND_MICROS * 10_000 / 10_002 - i64::from(picture.number) * PICTURE_MICROS;
    let apart = rescale(sound.dts, 8_000, 1_000_000) - rescale(picture.dts, 90_000, 1_000_000) - made;
    assert!(apart.abs() <= 45_000, "{apart}");
    let smooth = |two: &[Seen]| (two[1].dts - two[0].dts - PICTURE_TICKS).abs() <= PICTURE_TICKS / 8;
    assert!(pictures.windows(2).all(smooth));
    assert_eq!(watch.jumps(), 0);
}

#[test]
fn rtp_time_that_jumps_is_one_jump_and_goes_on_with_the_wall() {
    for jump in [-3_600_i64, 7_200, -11_000] {
        let mut watch = Watch::new(SETS[0]);
        let mut scene = Scene::new();
        for mut flight in scene.seconds(60) {
            if flight.micros >= 30_000_000 {
                let rate = if flight.medium == 0 { 90_000 } else { 8_000 };
                let stamp = u32::from_be_bytes(*flight.bytes[4..].first_chunk().unwrap());
                let stamp = stamp.wrapping_add((jump * rate) as u32);
                flight.bytes[4..8].copy_from_slice(&stamp.to_be_bytes());
            }
            watch.rtp(flight.micros, Arrival::Interleaved, flight.medium, &flight.bytes);
        }
        assert_eq!(watch.jumps(), 1, "{jump} s");
        let (pictures, sounds) = (watch.of(1), watch.of(2));
        assert_eq!((pictures.len(), sounds.len()), (60 * 25, 60 * 50), "nothing is dropped");
        let apart = watch.apart_at_the_end();
        assert!(apart.abs() <= 20_000, "{jump} s: {apart}");
        let spans = pictures[1_499].dts - pictures[0].dts;
        assert!((spans - 1_499 * PICTURE_TICKS).abs() <= PICTURE_TICKS, "{jump} s");
    }
}

#[test]
fn one_wild_stamp_moves_nothing_behind_it() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    scene.parts = 1;
    for at in 0..200 {
        for mut packet in scene.picture(at) {
            if at == 100 {
                packet[4] ^= 0x40;
            }
            watch.rtp(i64::from(at) * PICTURE_MICROS, Arrival::Interleaved, 0, &packet);
        }
    }
    let frames = watch.of(1);
    assert_eq!(frames.len(), 200);
    assert_eq!(frames[199].dts - frames[0].dts, 199 * PICTURE_TICKS);
    assert_eq!(watch.jumps(), 1);
}

#[test]
fn what_is_silent_for_long_comes_back_where_time_is() {
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    for flight in scene.seconds(200) {
        // Sound that is sent only when there is any.
        if flight.medium == 0 || !(20_000_000..150_000_000).contains(&flight.micros) {
            watch.rtp(flight.micros, Arrival::Interleaved, flight.medium, &flight.bytes);
        }
    }
    assert_eq!(watch.jumps(), 0);
    assert!(watch.apart_at_the_end().abs() <= 2_000);
}

/// The first sound is `late` ms behind the moment that `RTP-Info` states for it.
#[test]
fn rtp_info_says_where_media_begin() {
    for (late, is_believed) in [(300, true), (-40_000, false), (400_000, false)] {
        let mut watch = Watch::new(SETS[0]);
        let mut scene = Scene::new();
        watch.input.announce(0, scene.pictures.base);
        watch
            .input
            .announce(1, scene.sounds.base.wrapping_sub((late * 8) as u32));
        let sound = scene.sounds.sound(0);
        watch.rtp(0, Arrival::Interleaved, 1, &sound);
        for packet in scene.picture(0) {
            watch.rtp(0, Arrival::Interleaved, 0, &packet);
        }
        let expected = if is_believed { i64::from(-late) * 1_000 } else { 0 };
        assert_eq!(watch.apart_at_the_end(), expected, "{late}");
        assert_eq!(watch.input.counters().announced_refused, u64::from(!is_believed));
    }
}

#[test]
fn a_day_of_stream_is_as_exact_as_its_first_second() {
    const SECONDS: u32 = 24 * 3_600;
    let mut watch = Watch::new(SETS[1]);
    let mut scene = Scene::new();
    let (mut count, mut capacity) = (0, 0);
    let (mut first, mut last) = ([None; 2], [None; 2]);
    for second in 0..SECONDS {
        let began = i64::from(second) * 1_000_000;
        if second % 5 == 1 {
            scene.report(&mut watch, began, i64::from(second) * 1_000, [BEGAN; 2]);
        }
        for at in second * 25..(second + 1) * 25 {
            let now = i64::from(at) * PICTURE_MICROS;
            // I, then P and B by turns.
            let shown = match at {
                0 => 0,
                _ if at % 2 == 1 => at + 1,
                _ => at - 1,
            };
            let key = at.is_multiple_of(GOP);
            for packet in scene.pictures.picture(i64::from(shown) * PICTURE_TICKS, shown, key, 1) {
                watch.rtp(now, Arrival::Datagram, 0, &packet);
            }
            for number in [at * 2, at * 2 + 1] {
                let sound = scene.sounds.sound(number);
                watch.rtp(now, Arrival::Datagram, 1, &sound);
            }
        }
        count += watch.frames.len();
        for seen in watch.frames.drain(..) {
            let line = seen.track as usize - 1;
            let ticks = [PICTURE_TICKS, SOUND_BYTES as i64][line];
            let shown = seen.dts + i64::from(seen.offset) - i64::from(seen.number) * ticks;
            assert_eq!(shown, *first[line].get_or_insert(shown), "second {second}");
            let before = last[line].replace(seen.dts);
            assert!(
                before.is_none_or(|before| seen.dts - before == ticks),
                "second {second}"
            );
        }
        watch.reports.clear();
        if second == 60 {
            capacity = watch.input.works.buffer.capacity();
        }
    }
    assert_eq!(watch.input.works.buffer.capacity(), capacity, "no memory grows");
    assert_eq!((count, watch.jumps()), (SECONDS as usize * 75, 0));
    let wrong = |medium| watch.input.received(medium).lost + watch.input.received(medium).restarts;
    assert_eq!((wrong(0), wrong(1)), (0, 0));
    assert!(i64::from(SECONDS) * 90_000 > 1 << 32, "the timestamp wrapped");
}

/// Pictures are stamped 80 millionths too fast, sound is sampled 60 too slowly, for a day; reports say so.
#[test]
fn a_day_of_clocks_that_run_apart_stays_together() {
    const SECONDS: i64 = 24 * 3_600;
    let by = |ticks: i64, millionths: i64| ticks + ticks * millionths / 1_000_000;
    let mut watch = Watch::new(SETS[0]);
    let mut scene = Scene::new();
    let (mut sounds, mut capacity, mut worst) = (0_u32, 0, 0);
    let mut newest: [Option<Seen>; 2] = [None; 2];
    for second in 0..SECONDS {
        let now = second * 1_000_000;
        let (picture, sound) = (by(second * 90_000, 80), by(second * 8_000, -60));
        if second % 5 == 1 {
            let ntp = Ntp::from_unix_micros(BEGAN + now);
            let [pictures, sounds] = [(0x1111, picture, &scene.pictures), (0x2222, sound, &scene.sounds)]
                .map(|(ssrc, ticks, camera)| (ssrc, camera.base.wrapping_add(ticks as u32)));
            watch.report(now, 0, pictures.0, ntp, pictures.1);
            watch.report(now, 1, sounds.0, ntp, sounds.1);
            let (_, unix) = watch.input.wall_clock().unwrap();
            assert_eq!(unix, ntp.unix_micros());
        }
        for packet in scene.pictures.picture(picture, second as u32, second % 10 == 0, 1) {
            watch.rtp(now, Arrival::Datagram, 0, &packet);
        }
        while i64::from(sounds) * SOUND_BYTES as i64 <= sound {
            let packet = scene.sounds.sound(sounds);
            watch.rtp(now, Arrival::Datagram, 1, &packet);
            sounds += 1;
        }
        for seen in watch.frames.drain(..) {
            let before = newest[seen.track as usize - 1].replace(seen);
            let is_even = |before: Seen| seen.dts - before.dts == SOUND_BYTES as i64;
            assert!(seen.track == 1 || before.is_none_or(is_even), "sound is never touched");
        }
        watch.reports.clear();
        let [Some(picture), Some(sound)] = newest else {
            panic!("both came")
        };
        let shown = rescale(picture.dts + i64::from(picture.offset), 90_000, 1_000_000);
        let heard = rescale(sound.dts, 8_000, 1_000_000);
        let made = i64::from(sound.number) * SOUND_MICROS * 1_000_000 / 999_940;
        let apart = (shown - i64::from(picture.number) * 1_000_000) - (heard - made);
        worst = worst.max(apart.abs());
        if second == 60 {
            capacity = watch.input.held_bytes();
        }
    }
    assert!(worst <= 30_000, "{worst}");
    assert_eq!((watch.input.held_bytes(), watch.jumps()), (capacity, 0));
    let counters = watch.input.counters();
    assert_eq!(counters.frames, SECONDS as u64 + u64::from(sounds));
    assert_eq!((counters.reanchors, counters.reports_refused), (0, 0));
    assert!(
        counters.reports_applied > 100,
        "12 s in steps of 20 ms: {}",
        counters.reports_applied
    );
    let wrong = |medium| watch.input.received(medium).lost + watch.input.received(medium).restarts;
    assert_eq!((wrong(0), wrong(1)), (0, 0));
}
