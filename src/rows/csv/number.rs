//! Numbers as text, into PostgreSQL's binary format.

use std::borrow::Cow;

use super::value::{Expected, Result, text_of};

/// Digits of a group of `numeric`, and its signs. Source: PostgreSQL's `numeric.c`.
const GROUP_DIGITS: i32 = 4;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const PLUS_INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;
/// Most digits before and behind the point. Source: PostgreSQL manual, "Numeric Types".
const DIGITS_BEFORE_MAX: i32 = 131_072;
const DIGITS_BEHIND_MAX: i32 = 16_383;
/// Digits that are looked at without asking for memory.
const STACK_DIGITS: usize = 64;

/// Reads a whole number.
pub(super) fn whole(field: &[u8], least: i64, most: i64) -> Result<i64> {
    let expected = || -> Expected { format!("a whole number from {least} to {most}").into() };
    let field = field.trim_ascii();
    let (is_negative, digits) = match field {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(expected());
    }
    let mut number: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(expected());
        }
        let digit = i64::from(digit - b'0');
        // Towards the sign: the least number has no positive twin.
        let next = number.checked_mul(10);
        let next = next
            .and_then(|it| if is_negative { it.checked_sub(digit) } else { it.checked_add(digit) });
        number = next.ok_or_else(expected)?;
    }
    if (least..=most).contains(&number) { Ok(number) } else { Err(expected()) }
}

/// Reads a floating-point number; as in PostgreSQL, one too large or too small is none.
pub(super) fn float<F>(
    field: &[u8],
    is_zero: impl Fn(&F) -> bool,
    out_of_range: impl Fn(&F) -> bool,
) -> Result<F>
where
    F: std::str::FromStr,
{
    const EXPECTED: &str = "a number such as -1.5, 2e10, NaN or Infinity";
    let text = text_of(field.trim_ascii())?;
    let number: F = text.parse().map_err(|_| Cow::Borrowed(EXPECTED))?;
    let is_named = text.contains(['n', 'N']);
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let is_truly_zero = !mantissa.contains(|it: char| ('1'..='9').contains(&it));
    if !is_named && (out_of_range(&number) || (is_zero(&number) && !is_truly_zero)) {
        return Err(Cow::Borrowed("a number that the type can hold"));
    }
    Ok(number)
}

/// Appends a `numeric`, rounded to the column's scale as the server would.
pub(super) fn put_numeric(
    field: &[u8],
    (precision, scale): (Option<u32>, i32),
    out: &mut Vec<u8>,
) -> Result<()> {
    const EXPECTED: &str = "a number such as -1234.50, 1e-3 or NaN";
    let field = field.trim_ascii();
    if let Some(sign) = special(field) {
        if precision.is_some() && sign != NAN {
            return Err(Cow::Borrowed("a finite number: the column has a precision"));
        }
        [0, 0, sign, 0].iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
        return Ok(());
    }
    let parts = Parts::of(field).ok_or(Cow::Borrowed(EXPECTED))?;
    let count = parts.whole.len() + parts.fraction.len();
    let (mut stack, mut heap);
    let digits: &mut [u8] = if count < STACK_DIGITS {
        stack = [0; STACK_DIGITS];
        &mut stack[..=count]
    } else {
        heap = vec![0; count + 1];
        &mut heap
    };
    // The first digit is there for a carry.
    for (place, &digit) in digits[1..].iter_mut().zip(parts.whole.iter().chain(parts.fraction)) {
        *place = digit - b'0';
    }
    let whole = i32::try_from(parts.whole.len()).map_err(|_| Cow::Borrowed(EXPECTED))?;
    let fraction = i32::try_from(parts.fraction.len()).map_err(|_| Cow::Borrowed(EXPECTED))?;
    let decimal = Decimal {
        is_negative: parts.is_negative,
        digits,
        point: 1 + whole + parts.exponent,
        decimals: (fraction - parts.exponent).max(0),
    };
    decimal.put(precision.map(|precision| (precision, scale)), out)
}

/// Reads what is no number, and yet a `numeric`.
fn special(field: &[u8]) -> Option<u16> {
    if field.first().is_none_or(|first| first.is_ascii_digit()) {
        return None;
    }
    let (is_negative, name) = match field {
        [b'-', name @ ..] => (true, name),
        [b'+', name @ ..] => (false, name),
        name => (false, name),
    };
    if name.eq_ignore_ascii_case(b"nan") && name.len() == field.len() {
        return Some(NAN);
    }
    let is_infinite = name.eq_ignore_ascii_case(b"infinity") || name.eq_ignore_ascii_case(b"inf");
    is_infinite.then_some(if is_negative { MINUS_INFINITY } else { PLUS_INFINITY })
}

/// A number taken apart: sign, digits before and behind the point, exponent.
struct Parts<'a> {
    is_negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl Parts<'_> {
    fn of(field: &[u8]) -> Option<Parts<'_>> {
        let (is_negative, field) = match field {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let end = field.iter().position(|it| matches!(it, b'e' | b'E')).unwrap_or(field.len());
        let exponent = match &field[end..] {
            [] => 0,
            [_, exponent @ ..] => {
                i32::try_from(whole(exponent, -100_000, 200_000).ok()?).expect("within the bounds")
            }
        };
        let mantissa = &field[..end];
        let point = mantissa.iter().position(|&it| it == b'.').unwrap_or(mantissa.len());
        let (whole, fraction) = (&mantissa[..point], mantissa.get(point + 1..).unwrap_or_default());
        let are_digits = |it: &[u8]| it.iter().all(u8::is_ascii_digit);
        let is_number = are_digits(whole) && are_digits(fraction);
        (is_number && !(whole.is_empty() && fraction.is_empty())).then_some(Parts {
            is_negative,
            whole,
            fraction,
            exponent,
        })
    }
}

/// A decimal number: digits, how many of them stand before the point, and how many decimals it shows.
struct Decimal<'a> {
    is_negative: bool,
    digits: &'a mut [u8],
    point: i32,
    decimals: i32,
}

impl Decimal<'_> {
    fn put(mut self, limits: Option<(u32, i32)>, out: &mut Vec<u8>) -> Result<()> {
        if let Some((_, scale)) = limits {
            self.round(scale);
            self.decimals = scale.max(0);
        }
        let first = self.digits.iter().position(|&digit| digit != 0);
        if let (Some((precision, scale)), Some(first)) = (limits, first) {
            let before = self.power(first) + 1;
            let most = i32::try_from(precision).unwrap_or(i32::MAX) - scale;
            if most < before {
                let expected = format!("at most {precision} digits, {scale} of them decimals");
                return Err(expected.into());
            }
        }
        let before = first.map_or(0, |first| self.power(first) + 1);
        if DIGITS_BEFORE_MAX < before || DIGITS_BEHIND_MAX < self.decimals {
            let expected = "at most 131,072 digits before the point and 16,383 behind it";
            return Err(Cow::Borrowed(expected));
        }
        self.put_groups(first, out);
        Ok(())
    }

    /// The power of ten of a digit.
    fn power(&self, place: usize) -> i32 {
        self.point - 1 - i32::try_from(place).expect("was counted in 32 bits")
    }

    /// Rounds to so many decimals, half away from zero.
    fn round(&mut self, scale: i32) {
        let Ok(keep) = usize::try_from(self.point + scale) else {
            self.digits.fill(0);
            return;
        };
        if self.digits.len() <= keep {
            return;
        }
        let is_up = 5 <= self.digits[keep];
        self.digits[keep..].fill(0);
        if is_up {
            // The first digit is 0, so that a carry ends there at the latest; it has a place to go to
            // unless that digit itself was rounded, and then it was below 5.
            for digit in self.digits[..keep].iter_mut().rev() {
                *digit += 1;
                if *digit < 10 {
                    break;
                }
                *digit = 0;
            }
        }
    }

    /// Appends count, weight, sign, scale, and the groups of four digits.
    fn put_groups(&self, first: Option<usize>, out: &mut Vec<u8>) {
        let (mut count, mut weight, mut sign) = (0, 0, 0);
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        if let Some(first) = first {
            let last = self.digits.iter().rposition(|&digit| digit != 0).expect("as the first");
            weight = self.power(first).div_euclid(GROUP_DIGITS);
            let lowest = self.power(last).div_euclid(GROUP_DIGITS);
            sign = if self.is_negative { NEGATIVE } else { 0 };
            for group in (lowest..=weight).rev() {
                let digit = |power: i32| {
                    let place = usize::try_from(self.point - 1 - power).ok();
                    let digit = place.and_then(|place| self.digits.get(place));
                    u16::from(digit.copied().unwrap_or(0))
                };
                let power = group * GROUP_DIGITS;
                let value = (0..GROUP_DIGITS).rev().fold(0, |it, at| it * 10 + digit(power + at));
                out.extend_from_slice(&value.to_be_bytes());
            }
            count = weight - lowest + 1;
        }
        let word = |it: i32| i16::try_from(it).expect("was checked").to_be_bytes();
        let header = [word(count), word(weight), sign.to_be_bytes(), word(self.decimals)];
        out[start..start + 8].copy_from_slice(header.as_flattened());
    }
}
