//! Days and dates of the proleptic Gregorian calendar, over all the years that PostgreSQL has.
//!
//! Years count as astronomers do: 0 is 1 BC. jiff ends at the year 9999, PostgreSQL at 5,874,897.

/// Days from 0000-03-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i64 = 730_425;
/// Days of 400 years: then the calendar repeats itself.
const ERA_DAYS: i64 = 146_097;

/// Returns the days from 2000-01-01 to a date, if there is such a date. Source: Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `days_from_civil`.
pub fn days_of_date(year: i64, month: u32, day: u32) -> Option<i64> {
    if !(1..=12).contains(&month) || day < 1 || days_of_month(year, month) < day {
        return None;
    }
    let (month, day) = (i64::from(month), i64::from(day));
    // Years begin in March, so that the day that leaps is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * ERA_DAYS + day_of_era - EPOCH_DAYS)
}

/// Returns year, month and day of so many days after 2000-01-01. Source: as above, `civil_from_days`.
pub fn date_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_of_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use jiff::{ToSpan as _, civil};

    use super::*;

    #[test]
    fn agrees_with_jiff_where_that_has_the_year() {
        let epoch = civil::date(2000, 1, 1);
        for days in (-4_000_000..2_900_000).step_by(997).chain(-800..800) {
            let Ok(date) = epoch.checked_add(days.days()) else { continue };
            let (year, month, day) = date_of_days(days);
            let expected = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            assert_eq!((year, month, day), expected, "{days}");
            let [month, day] = [month, day].map(|it| u32::try_from(it).unwrap());
            assert_eq!(days_of_date(year, month, day), Some(days));
        }
    }

    /// The first and the last date that PostgreSQL has, as its `j2date` counts them.
    #[test]
    fn reaches_as_far_as_postgresql() {
        assert_eq!(days_of_date(-4_713, 11, 24), Some(-2_451_545));
        assert_eq!(days_of_date(5_874_897, 12, 31), Some(2_145_031_948));
        assert_eq!(date_of_days(2_145_031_948), (5_874_897, 12, 31));
        for (year, month, day) in [(2023, 2, 29), (1900, 2, 29), (2024, 4, 31), (2024, 13, 1)] {
            assert_eq!(days_of_date(year, month, day), None);
        }
    }
}
