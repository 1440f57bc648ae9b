//! Numbers and dates as playlists spell them. Nothing here allocates but the text that grows.

use std::fmt::{Arguments, Write};

use crate::media::rescale;

pub const MICROS: u32 = 1_000_000;

/// Appends.
pub fn put(out: &mut String, arguments: Arguments<'_>) {
    out.write_fmt(arguments).expect("a String takes everything");
}

/// `micros` in seconds with six decimals.
pub fn seconds(out: &mut String, micros: u64) {
    put(out, format_args!("{}.{:06}", micros / 1_000_000, micros % 1_000_000));
}

/// Microseconds from `start` to `start + duration`, so that what follows on one another adds up exactly.
pub fn span_micros(start: i64, duration: i64, timescale: u32) -> u64 {
    let end = rescale(start.saturating_add(duration), timescale.max(1), MICROS);
    let span = end.saturating_sub(rescale(start, timescale.max(1), MICROS));
    u64::try_from(span).unwrap_or(0)
}

/// Microseconds of `duration`, rounded down.
pub fn floor_micros(duration: i64, timescale: u32) -> u64 {
    u64::try_from(rescale(duration, timescale.max(1), MICROS)).unwrap_or(0)
}

/// `2026-01-29T12:00:00.000Z`; nothing outside the years 1970 to 9999, which ISO 8601 writes otherwise. Whether it was written.
pub fn date(out: &mut String, wall_micros: i64) -> Option<()> {
    let millis = wall_micros.div_euclid(1_000);
    let (days, of_day) = (millis.div_euclid(DAY_MILLIS), millis.rem_euclid(DAY_MILLIS));
    if !(0..DAYS_MAX).contains(&days) {
        return None;
    }
    let (year, month, day) = civil(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
    put(
        out,
        format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"),
    );
    Some(())
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar: years begin in March, so that the day that is not
/// always there is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let since = days + DAYS_TO_1970;
    let era = since.div_euclid(ERA_DAYS);
    let of_era = since.rem_euclid(ERA_DAYS);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`]: days since 1970-01-01.
pub fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_TO_1970
}

const DAY_MILLIS: i64 = 86_400_000;
/// Of 400 years.
const ERA_DAYS: i64 = 146_097;
/// From 0000-03-01.
const DAYS_TO_1970: i64 = 719_468;
/// 10000-01-01.
const DAYS_MAX: i64 = 2_932_897;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_769_688_000_123_999, "2026-01-29T12:00:00.123Z"),
            (1_798_761_599_999_000, "2026-12-31T23:59:59.999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000_000, ""),
            (-1, ""),
        ] {
            let mut out = String::new();
            assert_eq!(date(&mut out, micros).is_some(), !expected.is_empty());
            assert_eq!(out, expected);
        }
        for days in (0..DAYS_MAX).step_by(97) {
            let (year, month, day) = civil(days);
            assert_eq!(days_of(year, month, day), days);
        }
    }

    #[test]
    fn spans_add_up_and_parts_stay_below_their_target() {
        // 1024 samples at 44,100 Hz: 23,219.95 us.
        let spans: u64 = (0..44_100).map(|at| span_micros(at * 1024, 1024, 44_100)).sum();
        assert_eq!(spans, 1_024_000_000);
        assert_eq!(span_micros(0, 1024, 44_100), 23_219);
        assert_eq!(span_micros(1024, 1024, 44_100), 23_220);
        assert_eq!(floor_micros(1024, 44_100), 23_219);
        // One tick of a 33-bit wrap changes nothing: times are unwrapped.
        assert_eq!(span_micros((1 << 33) - 1, 180_000, 90_000), 2_000_000);
        let mut out = String::new();
        seconds(&mut out, 2_000_001);
        assert_eq!(out, "2.000001");
    }
}
