//! Values as people write them: `2.6M` of bit rate, `10%` of the viewers, `0-3,7` of the cores.

/// Bits a second. A number alone is kb/s, as the names of the clips have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub bits: u64,
}

impl Rate {
    pub fn kilobits(self) -> u32 {
        u32::try_from(self.bits / 1000).unwrap_or(u32::MAX)
    }

    pub fn bytes(self) -> u64 {
        self.bits / 8
    }
}

/// `100k`, `2.6M`, `1G` bits a second; `600` is `600k`.
pub fn rate(text: &str) -> Result<Rate, String> {
    let (number, factor) = match text.trim_end_matches("bit/s").trim_end_matches("b/s") {
        text if text.ends_with(['k', 'K']) => (&text[..text.len() - 1], 1e3),
        text if text.ends_with(['m', 'M']) => (&text[..text.len() - 1], 1e6),
        text if text.ends_with(['g', 'G']) => (&text[..text.len() - 1], 1e9),
        text => (text, 1e3),
    };
    let bits = number.parse::<f64>().map(|number| (number * factor).round());
    match bits {
        Ok(bits) if (0.0..=1e12).contains(&bits) => Ok(Rate { bits: bits as u64 }),
        _ => Err(format!("{text:?} is no bit rate: 100k and 2.6M are")),
    }
}

/// `10%` or `0.1`, as a share of one.
pub fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    match number {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is no share: 10% and 0.1 are")),
    }
}

/// Numbers of cores: `0`, `2,3`, `0-3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus(pub Vec<usize>);

/// More than the kernel's own set of cores has.
const CPU_MAX: usize = 1023;

pub fn cpus(text: &str) -> Result<Cpus, String> {
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last && last <= CPU_MAX => found.extend(first..=last),
            _ => return Err(format!("{text:?} is no list of cores: 1 and 0,2-3 are")),
        }
    }
    Ok(Cpus(found))
}

/// How many viewers look at what they get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    All,
    Some(u32),
}

pub fn verify(text: &str) -> Result<Verify, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Verify::All),
        (_, Ok(viewers)) => Ok(Verify::Some(viewers)),
        _ => Err(format!("{text:?} is no number of viewers, nor `all`")),
    }
}

/// The rate at which paced viewers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A quarter above the clip's.
    Auto,
    At(Rate),
}

pub fn pace(text: &str) -> Result<Pace, String> {
    match text {
        "auto" => Ok(Pace::Auto),
        _ => match rate(text)? {
            Rate { bits: 0..8000 } => Err(format!("{text:?} is too slow a path: 8k at least")),
            rate => Ok(Pace::At(rate)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, bits) in [
            ("100k", 100_000),
            ("2.6M", 2_600_000),
            ("1G", 1_000_000_000),
            ("600", 600_000),
            ("0", 0),
            ("8Mb/s", 8_000_000),
            ("0.5k", 500),
        ] {
            assert_eq!(rate(text), Ok(Rate { bits }), "{text}");
        }
        for bad in ["", "k", "-1k", "x", "1T", "NaN", "inf", "1 000"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("2.6M").map(Rate::kilobits), Ok(2600));
        assert_eq!(rate("100k").map(Rate::bytes), Ok(12_500));
        assert_eq!(pace("auto"), Ok(Pace::Auto));
        assert_eq!(pace("3M"), Ok(Pace::At(Rate { bits: 3_000_000 })));
        assert!(pace("0").is_err() && pace("fast").is_err());
    }

    #[test]
    fn shares_and_lists_are_read() {
        assert_eq!(share("10%"), Ok(0.1));
        assert_eq!(share("0.25"), Ok(0.25));
        for bad in ["", "%", "101%", "-1%", "2", "NaN"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert_eq!(cpus("0,2-4"), Ok(Cpus(vec![0, 2, 3, 4])));
        for bad in ["", "a", "3-1", "0,", "5000"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
        assert_eq!((verify("all"), verify("7")), (Ok(Verify::All), Ok(Verify::Some(7))));
        assert!(verify("some").is_err());
    }
}
