//! Types whose values are numbers on a scale: what number a value is, and how it is written.

/// How an integer becomes a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Int2,
    Int4,
    Int8,
    /// `real`: so many steps above the least.
    Float4 {
        least: f64,
        step: f64,
    },
    /// `double precision`, likewise.
    Float8 {
        least: f64,
        step: f64,
    },
    /// Units of 10 to the power of -`digits`.
    Numeric {
        digits: i32,
    },
    /// Days.
    Date,
    /// `time`, `timestamp`, `timestamptz`: so many microseconds a step.
    Micros {
        step: i64,
    },
    /// `time with time zone`, in a zone that follows from the number.
    TimeTz {
        step: i64,
    },
    /// Days and microseconds of a step of so many microseconds.
    Interval {
        step: i64,
    },
    /// Steps of so many months.
    Months {
        step: i32,
    },
}

const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;
/// Base of `numeric`. Source: PostgreSQL's `numeric.c`, `NBASE`.
const GROUP: u128 = 10_000;
const NUMERIC_NEGATIVE: i16 = 0x4000;

impl Scale {
    /// Appends the value of `number`, which lies within the type.
    pub(super) fn write(self, number: i128, out: &mut Vec<u8>) {
        let whole = || i64::try_from(number).expect("within the type");
        let days = |number: i64| i32::try_from(number).expect("within the type").to_be_bytes();
        match self {
            Scale::Int2 => {
                let number = i16::try_from(number).expect("within the type");
                out.extend_from_slice(&number.to_be_bytes());
            }
            Scale::Int4 | Scale::Date => out.extend_from_slice(&days(whole())),
            Scale::Int8 => out.extend_from_slice(&whole().to_be_bytes()),
            Scale::Float4 { least, step } => {
                #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest")]
                let number = (least + number as f64 * step) as f32;
                out.extend_from_slice(&number.to_be_bytes());
            }
            Scale::Float8 { least, step } => {
                out.extend_from_slice(&(least + number as f64 * step).to_be_bytes());
            }
            Scale::Numeric { digits } => write_numeric(number, digits, out),
            Scale::Micros { step } => out.extend_from_slice(&(whole() * step).to_be_bytes()),
            Scale::TimeTz { step } => {
                out.extend_from_slice(&(whole() * step).to_be_bytes());
                // From 12 hours east to 12 west, as the number has it.
                let hours = i32::try_from(number.rem_euclid(25)).expect("below 25") - 12;
                out.extend_from_slice(&(hours * 3_600).to_be_bytes());
            }
            Scale::Interval { step } => {
                let micros = whole() * step;
                out.extend_from_slice(&(micros % MICROS_PER_DAY).to_be_bytes());
                out.extend_from_slice(&days(micros / MICROS_PER_DAY));
                out.extend_from_slice(&[0; 4]);
            }
            Scale::Months { step } => {
                out.extend_from_slice(&[0; 12]);
                out.extend_from_slice(&days(whole() * i64::from(step)));
            }
        }
    }

    /// Returns the number that a value is; the one below, if it lies between two.
    pub(super) fn number(self, value: &[u8]) -> Option<i128> {
        let first_eight = || value.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes));
        let last_four = || value.last_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        Some(match self {
            Scale::Int2 => i128::from(i16::from_be_bytes(value.try_into().ok()?)),
            Scale::Int4 | Scale::Date => i128::from(i32::from_be_bytes(value.try_into().ok()?)),
            Scale::Int8 => i128::from(i64::from_be_bytes(value.try_into().ok()?)),
            Scale::Float4 { least, step } => {
                let bits = f32::from_be_bytes(value.try_into().ok()?);
                return self.on_grid(f64::from(bits), (least, step), value);
            }
            Scale::Float8 { least, step } => {
                let bits = f64::from_be_bytes(value.try_into().ok()?);
                return self.on_grid(bits, (least, step), value);
            }
            Scale::Numeric { digits } => read_numeric(value, digits)?,
            Scale::Micros { step } | Scale::TimeTz { step } => {
                i128::from(first_eight()?.div_euclid(step))
            }
            Scale::Interval { step } => {
                let days = i32::from_be_bytes(*value.get(8..)?.first_chunk::<4>()?);
                // As PostgreSQL compares them: a month has 30 days.
                let days = i128::from(days) + i128::from(last_four()?) * 30;
                let micros = days * i128::from(MICROS_PER_DAY) + i128::from(first_eight()?);
                micros.div_euclid(i128::from(step))
            }
            Scale::Months { step } => i128::from(last_four()?.div_euclid(step)),
        })
    }
}

impl Scale {
    /// The number of a floating-point value, if it is written as just this value.
    fn on_grid(self, float: f64, (least, step): (f64, f64), value: &[u8]) -> Option<i128> {
        let number = if step == 0.0 { 0.0 } else { ((float - least) / step).round() };
        #[expect(clippy::cast_possible_truncation, reason = "what is too large is not written so")]
        let number = number as i128;
        let mut written = Vec::new();
        self.write(number, &mut written);
        (written == value).then_some(number)
    }
}

/// Groups of four decimal digits left and right of the point; those of zeros at the ends are left
/// out, as the server leaves them out.
fn write_numeric(number: i128, digits: i32, out: &mut Vec<u8>) {
    let places = usize::try_from(digits.max(0)).expect("not negative");
    let magnitude = number.unsigned_abs() * 10_u128.pow(digits.min(0).unsigned_abs());
    let groups_right = places.div_ceil(4);
    let filled = u32::try_from(groups_right * 4 - places).expect("below 4");
    // 34 digits and three zeros more stay below 2^128.
    let mut left = magnitude * 10_u128.pow(filled);
    let mut groups: Vec<i16> = Vec::new();
    while 0 < left {
        groups.push(i16::try_from(left % GROUP).expect("below 10,000"));
        left /= GROUP;
    }
    groups.reverse();
    let word = |count: usize| i16::try_from(count).expect("a numeric has few groups");
    let mut weight = word(groups.len()) - 1 - word(groups_right);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign = if number < 0 { NUMERIC_NEGATIVE } else { 0 };
    for word in [word(groups.len()), weight, sign, word(places)].into_iter().chain(groups) {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

fn read_numeric(value: &[u8], digits: i32) -> Option<i128> {
    let (words, []) = value.as_chunks::<2>() else { return None };
    let [_, weight, sign, _, groups @ ..] = words else { return None };
    let (weight, sign) = (i16::from_be_bytes(*weight), i16::from_be_bytes(*sign));
    if sign != 0 && sign != NUMERIC_NEGATIVE {
        return None; // NaN or infinite.
    }
    let mut sum: i128 = 0;
    for (place, group) in groups.iter().enumerate() {
        let exponent = (i32::from(weight) - i32::try_from(place).ok()?) * 4 + digits;
        let group = i128::from(i16::from_be_bytes(*group));
        let power = 10_i128.checked_pow(exponent.unsigned_abs());
        let part = match (0 <= exponent, power) {
            (true, power) => group.checked_mul(power?)?,
            (false, Some(power)) => group / power,
            (false, None) => 0,
        };
        sum = sum.checked_add(part)?;
    }
    Some(if sign == NUMERIC_NEGATIVE { -sum } else { sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_back_as_its_number() {
        for scale in [
            Scale::Int2,
            Scale::Int4,
            Scale::Int8,
            Scale::Date,
            Scale::Numeric { digits: 0 },
            Scale::Numeric { digits: 2 },
            Scale::Numeric { digits: 7 },
            Scale::Numeric { digits: -3 },
            Scale::Micros { step: 1_000 },
            Scale::TimeTz { step: 1 },
            Scale::Interval { step: 3_600_000_000 },
            Scale::Months { step: 12 },
        ] {
            for number in [0, 1, 9, 99, 100, 9_999, 10_000, 12_345, -1, -20_000] {
                let mut value = Vec::new();
                scale.write(number, &mut value);
                assert_eq!(scale.number(&value), Some(number), "{scale:?}");
            }
        }
    }

    /// Bytes as `numeric_send` of PostgreSQL 15 has them: SELECT encode(numeric_send(…), 'hex').
    #[test]
    fn numerics_are_written_as_the_server_writes_them() {
        for (number, digits, expected) in [
            (0, 2, "0000000000000002"),
            (1, 2, "0001ffff000000020064"),
            (1_234_567, 2, "0003000100000002000109291a2c"),
            (120_000, 0, "0001000100000000000c"),
            (-5, 3, "0001ffff400000030032"),
            (7, -4, "00010001000000000007"),
        ] {
            let mut value = Vec::new();
            write_numeric(number, digits, &mut value);
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{number} {digits}");
        }
    }
}
