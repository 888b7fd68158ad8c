//! Numbers as people read them: digits that mean something, thousands apart, units, intervals.

use super::Estimate;

/// `3,125`, `7.96` or `0.0034`: two significant digits at least, thousands separated.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || value.fract().abs() < 1e-9 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        size if size >= 0.01 => 3,
        size if size >= 0.001 => 4,
        _ => 5,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((&text[..], None), |(w, f)| (w, Some(f)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or_else(|| format!("{sign}{grouped}"), |it| format!("{sign}{grouped}.{it}"))
}

/// `1 table` or `1,024 tables`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count as f64), if count == 1 { one } else { many })
}

/// `7.96 [7.41, 8.55]`, or `7.96 (n = 1)` where so few blocks give no interval.
pub(crate) fn interval(estimate: Estimate) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => {
            format!("{} [{}, {}]", number(estimate.value), number(low), number(high))
        }
        _ => format!("{} (n = {})", number(estimate.value), estimate.n),
    }
}

/// A ratio: `7.96 [7.41, 8.55]x`, or `7.96x (n = 1)` where so few blocks give no interval.
pub(crate) fn times(ratio: Estimate) -> String {
    match (ratio.low, ratio.high) {
        (Some(_), Some(_)) => format!("{}x", interval(ratio)),
        _ => format!("{}x (n = {})", number(ratio.value), ratio.n),
    }
}

/// As [`time_us`], of nanoseconds.
pub(crate) fn time_ns(nanos: u64) -> String {
    time_us(nanos as f64 / 1e3)
}

/// `139 µs`, `1.28 ms`, `2.50 s`.
pub(crate) fn time_us(micros: f64) -> String {
    match micros {
        _ if 999_500.0 <= micros => format!("{} s", number(micros / 1e6)),
        _ if 999.5 <= micros => format!("{} ms", number(micros / 1e3)),
        _ => format!("{} µs", number(micros)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases: &[(f64, &str)] = &[
            (781.0, "781"),
            (3125.4, "3,125"),
            (7.956, "7.96"),
            (12.34, "12.3"),
            (8.0, "8"),
            (1_234_567.0, "1,234,567"),
            (0.056, "0.056"),
            (0.0034, "0.0034"),
            (0.25, "0.25"),
            (-1234.5, "-1,234"),
        ];
        for (value, want) in cases {
            assert_eq!(number(*value), *want);
        }
        let ratio = Estimate { value: 2.0, low: Some(1.5), high: Some(2.5), n: 3 };
        assert_eq!(times(ratio), "2 [1.50, 2.50]x");
        assert_eq!(times(Estimate { low: None, ..ratio }), "2x (n = 3)");
        assert_eq!(time_us(1280.0), "1.28 ms");
        assert_eq!(time_us(139.3), "139 µs");
        assert_eq!(time_us(2_500_000.0), "2.50 s");
    }
}
