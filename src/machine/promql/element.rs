//! Functions of one number: rounding, bounds, the calendar.

use super::number;

/// Nothing if the bounds are crossed.
pub(super) fn clamp(value: f64, bounds: &[f64]) -> Option<f64> {
    let (low, high) = (bounds[0], bounds[1]);
    let crossed = high < low;
    (!crossed).then(|| number::max(low, number::min(high, value)))
}

/// To the nearest multiple of the scalar, 1 if there is none; half goes up.
pub(super) fn round(value: f64, nearest: &[f64]) -> Option<f64> {
    let inverse = 1.0 / nearest.first().copied().unwrap_or(1.0);
    Some((value * inverse + 0.5).floor() / inverse)
}

pub(super) fn sgn(value: f64, _: &[f64]) -> Option<f64> {
    Some(if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    })
}

/// A day of the Gregorian calendar, in UTC.
struct Day {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// Days since 1970-01-01.
    days: i64,
}

/// Whole seconds since the epoch.
fn seconds(value: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "saturates far beyond any calendar")]
    let whole = value as i64;
    whole
}

/// Howard Hinnant's `civil_from_days`: years begin in March, so that a leap day is the last of its year.
fn day(value: f64) -> Day {
    let days = seconds(value).div_euclid(86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    Day { year: year_of_era + era * 400 + i64::from(month <= 2), month, day, days }
}

/// Days from 1970-01-01 to the first of January of a year.
fn new_year(year: i64) -> i64 {
    let before = year - 1;
    365 * before + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}

pub(super) fn minute(value: f64) -> f64 {
    (seconds(value).rem_euclid(3_600) / 60) as f64
}

pub(super) fn hour(value: f64) -> f64 {
    (seconds(value).rem_euclid(86_400) / 3_600) as f64
}

/// 0 is Sunday.
pub(super) fn day_of_week(value: f64) -> f64 {
    (day(value).days + 4).rem_euclid(7) as f64
}

pub(super) fn day_of_month(value: f64) -> f64 {
    day(value).day as f64
}

/// The first of January is 1.
pub(super) fn day_of_year(value: f64) -> f64 {
    let day = day(value);
    (day.days - new_year(day.year) + 1) as f64
}

pub(super) fn days_in_month(value: f64) -> f64 {
    let Day { year, month, .. } = day(value);
    match month {
        2 => (new_year(year + 1) - new_year(year) - 337) as f64,
        4 | 6 | 9 | 11 => 30.0,
        _ => 31.0,
    }
}

pub(super) fn month(value: f64) -> f64 {
    day(value).month as f64
}

pub(super) fn year(value: f64) -> f64 {
    day(value).year as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_agrees_with_jiff() {
        for at in (-3_000_000_000_i64..6_000_000_000).step_by(1_234_567) {
            let time =
                jiff::Timestamp::from_second(at).expect("it is in range").to_zoned(jiff::tz::TimeZone::UTC);
            let value = at as f64;
            assert_eq!(year(value), f64::from(time.year()), "{time}");
            assert_eq!(month(value), f64::from(time.month()), "{time}");
            assert_eq!(day_of_month(value), f64::from(time.day()), "{time}");
            assert_eq!(day_of_year(value), f64::from(time.day_of_year()), "{time}");
            assert_eq!(days_in_month(value), f64::from(time.days_in_month()), "{time}");
            assert_eq!(day_of_week(value), f64::from(time.weekday().to_sunday_zero_offset()), "{time}");
            assert_eq!(
                (hour(value), minute(value)),
                (f64::from(time.hour()), f64::from(time.minute())),
                "{time}"
            );
        }
    }

    #[test]
    fn rounding_goes_up_from_the_middle() {
        assert_eq!(
            [round(0.5, &[]), round(-0.5, &[]), round(2.25, &[0.5])],
            [Some(1.0), Some(0.0), Some(2.5)]
        );
        assert_eq!([sgn(-3.0, &[]), sgn(0.0, &[])], [Some(-1.0), Some(0.0)]);
    }
}
