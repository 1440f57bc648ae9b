//! `Range` (RFC 2326 3.6, 3.7 and 12.29): from where to where a play goes, by the presentation's time or the wall's.

/// Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// `npt=`
    Npt { from: Point, to: Option<u64> },
    /// `clock=`, since 1970 in UTC.
    Clock { from: u64, to: Option<u64> },
}

/// Where a play of [`Range::Npt`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// `now`: the newest.
    Now,
    At(u64),
}
