//! Wall time as HTTP writes it: IMF-fixdate (RFC 9110 section 5.6.7), always in GMT, always 29 characters.
//!
//! No leap seconds and no time zones: seconds since 1970 as the operating system counts them, in the Gregorian calendar.

/// What a date is as text.
pub const DATE_BYTES: usize = 29;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const DAY_SECONDS: u64 = 86_400;
/// The last second that has four digits of a year: 9999-12-31T23:59:59.
const SECONDS_MAX: u64 = 253_402_300_799;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub fn imf_fixdate(wall_seconds: u64) -> [u8; DATE_BYTES] {
    let seconds = wall_seconds.min(SECONDS_MAX);
    let (days, of_day) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let (year, month, day) = civil(days);
    let mut text = *b"ddd, DD mmm YYYY HH:MM:SS GMT";
    text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two_digits(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month]);
    two_digits(&mut text[12..14], year / 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], of_day / 3600);
    two_digits(&mut text[20..22], of_day / 60 % 60);
    two_digits(&mut text[23..25], of_day % 60);
    text
}

fn two_digits(out: &mut [u8], number: u64) {
    debug_assert!(number < 100);
    out[0] = b'0' + (number / 10) as u8;
    out[1] = b'0' + (number % 10) as u8;
}

/// Year, month (0 is January) and day of the month, by days since 1970. Counted in years that begin in March, so that the
/// day that some have more is the year's last.
fn civil(days: u64) -> (u64, usize, u64) {
    const FOUR_CENTURIES: u64 = 146_097;
    const CENTURY: u64 = 36_524;
    const FOUR_YEARS: u64 = 1_461;
    // From 1 March of the year 0.
    let days = days + 719_468;
    let (eras, of_era) = (days / FOUR_CENTURIES, days % FOUR_CENTURIES);
    // The last day of the fourth century is no fifth one, nor that of a fourth year a fifth year.
    let year_of_era = (of_era - of_era / (FOUR_YEARS - 1) + of_era / CENTURY - of_era / (FOUR_CENTURIES - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months have 153 days, from March and from August.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = 400 * eras + year_of_era + u64::from(month < 2);
    (year, month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, expected: &str) {
        let text = imf_fixdate(seconds);
        assert_eq!(str::from_utf8(&text), Ok(expected), "{seconds}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
        check(951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT");
        check(951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT");
        check(1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT");
        check(2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
        check(253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT");
        check(u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    /// Every day of more than four centuries, counted one by one.
    #[test]
    fn no_day_is_left_out() {
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..160_000 {
            assert_eq!(civil(days), (year, month, day), "day {days}");
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let month_days = [31, 28 + u64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > month_days[month] {
                (day, month) = (1, month + 1);
            }
            if month == 12 {
                (month, year) = (0, year + 1);
            }
        }
        assert!(year > 2_400);
    }
}
