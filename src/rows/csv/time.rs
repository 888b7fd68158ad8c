//! Dates and times as text, into PostgreSQL's binary format: the ISO forms that a server prints.

use std::borrow::Cow;

use super::value::Result;
use crate::rows::calendar::days_of_date;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days and microseconds that PostgreSQL has, the last excluded. Source: PostgreSQL's
/// `datatype/timestamp.h`.
const DAYS: std::ops::Range<i64> = -2_451_545..2_145_031_949;
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Reads a date, in days since 2000-01-01.
pub(super) fn date(field: &[u8]) -> Result<i32> {
    const EXPECTED: &str = "a date such as 2024-01-31, infinity or -infinity";
    let mut text = Text(field.trim_ascii());
    match text.infinity() {
        Some(true) => return Ok(i32::MAX),
        Some(false) => return Ok(i32::MIN),
        None => (),
    }
    let days = text.date().zip(text.end()).map(|(days, ())| days);
    let days = days.filter(|days| DAYS.contains(days)).ok_or(Cow::Borrowed(EXPECTED))?;
    Ok(i32::try_from(days).expect("all days that there are"))
}

/// Reads a time of the day, in microseconds, rounded to steps.
pub(super) fn time(field: &[u8], step: i64) -> Result<i64> {
    const EXPECTED: &str = "a time such as 23:59:59.5";
    let mut text = Text(field.trim_ascii());
    let time = text.time().zip(text.end()).map(|(time, ())| rounded(time, step));
    time.filter(|time| *time <= MICROS_PER_DAY).ok_or(Cow::Borrowed(EXPECTED))
}

/// Reads a time of the day and its zone, in seconds west.
pub(super) fn zoned_time(field: &[u8], step: i64) -> Result<(i64, i32)> {
    const EXPECTED: &str = "a time with its zone, such as 23:59:59.5+02";
    let mut text = Text(field.trim_ascii());
    let time = text.time().zip(text.zone()).zip(text.end());
    let time = time.map(|((time, west), ())| (rounded(time, step), west));
    time.filter(|(time, _)| *time <= MICROS_PER_DAY).ok_or(Cow::Borrowed(EXPECTED))
}

/// Reads a timestamp, in microseconds since 2000-01-01; one with a zone in UTC.
pub(super) fn timestamp(field: &[u8], step: i64, is_zoned: bool) -> Result<i64> {
    let expected = Cow::Borrowed(if is_zoned {
        "a time with its zone, such as 2024-01-31 23:59:59.5+00; one without means another time on \
         each server"
    } else {
        "a time without zone, such as 2024-01-31 23:59:59.5"
    });
    let mut text = Text(field.trim_ascii());
    match text.infinity() {
        Some(true) => return Ok(i64::MAX),
        Some(false) => return Ok(i64::MIN),
        None => (),
    }
    let micros = text.timestamp(is_zoned).map(|micros| rounded(micros, step));
    micros.filter(|micros| TIMESTAMPS.contains(micros)).ok_or(expected)
}

/// Source: PostgreSQL's `AdjustTimestampForTypmod`: half away from zero.
fn rounded(micros: i64, step: i64) -> i64 {
    if step == 1 {
        return micros;
    }
    let steps = (micros.abs() + step / 2) / step * step;
    if micros < 0 { -steps } else { steps }
}

/// An interval: microseconds, days, months.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interval {
    pub(super) micros: i64,
    pub(super) days: i32,
    pub(super) months: i32,
}

/// Reads an interval as the server prints it by default, such as `1 year -2 mons 3 days 04:05:06.7`.
pub(super) fn interval(field: &[u8]) -> Result<Interval> {
    const EXPECTED: &str = "an interval such as 1 year 2 mons 3 days -04:05:06.7";
    let mut text = Text(field.trim_ascii());
    let mut interval = Interval::default();
    let mut is_first = true;
    while is_first || !text.0.is_empty() {
        is_first = false;
        text.spaces();
        text.interval_part(&mut interval).ok_or(Cow::Borrowed(EXPECTED))?;
    }
    Ok(interval)
}

/// Keeps of an interval the fields that its column keeps. Source: PostgreSQL's
/// `AdjustIntervalForTypmod`: fields are cut off, decimals of a second rounded.
pub(super) fn cut_interval(interval: Interval, step: i64) -> Interval {
    let micros = match step {
        MICROS_PER_DAY => 0,
        MICROS_PER_SECOND.. if step != MICROS_PER_SECOND => interval.micros / step * step,
        _ => rounded(interval.micros, step),
    };
    Interval { micros, ..interval }
}

/// What is left to read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    /// Returns `true` for infinity, `false` for its opposite.
    fn infinity(&self) -> Option<bool> {
        match self.0 {
            [b'0'..=b'9', ..] => None,
            it if it.eq_ignore_ascii_case(b"infinity") => Some(true),
            it if it.eq_ignore_ascii_case(b"-infinity") => Some(false),
            _ => None,
        }
    }

    fn is_at(&self, byte: u8) -> bool {
        self.0.first() == Some(&byte)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        if !self.is_at(byte) {
            return None;
        }
        self.0 = &self.0[1..];
        Some(())
    }

    fn spaces(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// A number of so many digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.iter().take(most + 1).take_while(|it| it.is_ascii_digit()).count();
        if !(least..=most).contains(&count) {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// A date, with ` BC` at the end of the whole text if it is before the year 1.
    fn date(&mut self) -> Option<i64> {
        let is_bc = 3 < self.0.len() && self.0[self.0.len() - 3..].eq_ignore_ascii_case(b" bc");
        if is_bc {
            self.0 = self.0[..self.0.len() - 3].trim_ascii_end();
        }
        let year = self.digits(4, 7).filter(|year| *year != 0)?;
        self.take(b'-')?;
        let month = u32::try_from(self.digits(1, 2)?).ok()?;
        self.take(b'-')?;
        let day = u32::try_from(self.digits(1, 2)?).ok()?;
        days_of_date(if is_bc { 1 - year } else { year }, month, day)
    }

    fn time(&mut self) -> Option<i64> {
        let hours = self.digits(1, 2)?;
        let micros = self.minutes_and_seconds()? + hours * 3_600 * MICROS_PER_SECOND;
        (micros <= MICROS_PER_DAY).then_some(micros)
    }

    fn minutes_and_seconds(&mut self) -> Option<i64> {
        self.take(b':')?;
        let minutes = self.digits(2, 2).filter(|minutes| *minutes < 60)?;
        let mut micros = minutes * 60 * MICROS_PER_SECOND;
        if self.take(b':').is_some() {
            micros += self.digits(2, 2).filter(|it| *it < 60)? * MICROS_PER_SECOND;
            micros += self.fraction()?;
        }
        Some(micros)
    }

    /// Decimals of a second, in microseconds; 0 if there are none.
    fn fraction(&mut self) -> Option<i64> {
        if self.take(b'.').is_none() {
            return Some(0);
        }
        let count = self.0.iter().take_while(|it| it.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let six = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
        let micros = six.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        if count <= 6 {
            return Some(micros);
        }
        // As the server does: `rint` of a double. Source: PostgreSQL's `ParseFractionalSecond`.
        let text = std::str::from_utf8(digits).expect("digits");
        let fraction: f64 = format!("0.{text}").parse().expect("digits");
        #[expect(clippy::cast_possible_truncation, reason = "at most a million")]
        let micros = (fraction * 1e6).round_ties_even() as i64;
        Some(micros)
    }

    /// A zone, in seconds west of UTC.
    fn zone(&mut self) -> Option<i32> {
        self.spaces();
        if self.0.eq_ignore_ascii_case(b"z") || self.0.eq_ignore_ascii_case(b"utc") {
            self.0 = &[];
            return Some(0);
        }
        let is_west = match self.0.first()? {
            b'-' => true,
            b'+' => false,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let mut seconds = self.digits_of_zone()? * 3_600;
        let mut unit = 60;
        while 0 < unit
            && (self.take(b':').is_some() || self.0.first().is_some_and(u8::is_ascii_digit))
        {
            seconds += self.digits_of_zone().filter(|it| *it < 60)? * unit;
            unit = if unit == 60 { 1 } else { 0 };
        }
        // Source: PostgreSQL's `MAX_TZDISP_HOUR`.
        let seconds = i32::try_from(seconds).ok().filter(|it| *it < 16 * 3_600)?;
        Some(if is_west { seconds } else { -seconds })
    }

    fn digits_of_zone(&mut self) -> Option<i64> {
        let [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = self.0 else { return None };
        self.0 = rest;
        Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    }

    fn timestamp(&mut self, is_zoned: bool) -> Option<i64> {
        let days = self.date()?;
        let micros = if self.take(b'T').is_some() || self.take(b' ').is_some() {
            self.time()?
        } else if is_zoned {
            return None;
        } else {
            0
        };
        let west = if is_zoned { i64::from(self.zone()?) * MICROS_PER_SECOND } else { 0 };
        self.end()?;
        days.checked_mul(MICROS_PER_DAY)?.checked_add(micros)?.checked_add(west)
    }

    /// `3 days`, `-1.5 seconds` or `-04:05:06.7`.
    fn interval_part(&mut self, interval: &mut Interval) -> Option<()> {
        let is_negative = self.take(b'-').is_some();
        if !is_negative {
            let _no_sign = self.take(b'+');
        }
        let signed = |number: i64| if is_negative { -number } else { number };
        let number = self.digits(1, 15)?;
        if self.is_at(b':') {
            let hours = number.checked_mul(3_600 * MICROS_PER_SECOND)?;
            let micros = hours.checked_add(self.minutes_and_seconds()?)?;
            interval.micros = interval.micros.checked_add(signed(micros))?;
            return Some(());
        }
        let fraction = self.fraction()?;
        self.spaces();
        let length = self.0.iter().take_while(|it| it.is_ascii_alphabetic()).count();
        let (unit, rest) = self.0.split_at(length);
        self.0 = rest;
        let unit = unit.strip_suffix(b"s").unwrap_or(unit);
        let narrow = |scale: i64| i32::try_from(signed(number.checked_mul(scale)?)).ok();
        let is_whole = fraction == 0;
        match unit {
            b"year" if is_whole => interval.months = interval.months.checked_add(narrow(12)?)?,
            b"mon" | b"month" if is_whole => {
                interval.months = interval.months.checked_add(narrow(1)?)?;
            }
            b"week" if is_whole => interval.days = interval.days.checked_add(narrow(7)?)?,
            b"day" if is_whole => interval.days = interval.days.checked_add(narrow(1)?)?,
            b"hour" | b"min" | b"minute" | b"sec" | b"second" => {
                let seconds = match unit {
                    b"hour" if is_whole => 3_600,
                    b"min" | b"minute" if is_whole => 60,
                    b"sec" | b"second" => 1,
                    _ => return None,
                };
                let micros = number.checked_mul(seconds * MICROS_PER_SECOND)?;
                let micros = signed(micros.checked_add(fraction)?);
                interval.micros = interval.micros.checked_add(micros)?;
            }
            _ => return None,
        }
        Some(())
    }
}
