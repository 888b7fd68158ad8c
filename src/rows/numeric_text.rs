//! The text of a `numeric` that is in binary format, as PostgreSQL prints it.

/// Digits of a group, and signs. Source: PostgreSQL's `numeric.c`.
const GROUP_DIGITS: usize = 4;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const PLUS_INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;

/// Appends groups of four digits from the weight down, then as many decimals as the scale says.
///
/// # Panics
///
/// If `bytes` is no `numeric`: rows are made by this program.
pub fn put(bytes: &[u8], out: &mut String) {
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let mut word = || words.next().expect("a numeric has a header of four words");
    let (_count, weight, sign, scale) = (word(), word().cast_signed(), word(), usize::from(word()));
    match sign {
        NAN => return out.push_str("NaN"),
        PLUS_INFINITY => return out.push_str("Infinity"),
        MINUS_INFINITY => return out.push_str("-Infinity"),
        NEGATIVE => out.push('-'),
        _ => (),
    }
    let group = |place: i32| {
        let index = usize::try_from(i32::from(weight) - place).ok();
        let at = index.map(|index| 8 + 2 * index);
        at.and_then(|at| bytes.get(at..at + 2)).map_or(0, |it| u16::from_be_bytes([it[0], it[1]]))
    };
    let start = out.len();
    (0..=i32::from(weight.max(0))).rev().for_each(|place| put_group(group(place), out));
    let zeros = out[start..].len() - out[start..].trim_start_matches('0').len();
    let zeros = zeros.min(out.len() - start - 1);
    out.replace_range(start..start + zeros, "");
    if 0 < scale {
        out.push('.');
        let end = out.len() + scale;
        let places = i32::try_from(scale.div_ceil(GROUP_DIGITS)).expect("below 16,384");
        (1..=places).for_each(|place| put_group(group(-place), out));
        out.truncate(end);
    }
}

fn put_group(group: u16, out: &mut String) {
    for unit in [1_000, 100, 10, 1] {
        let digit = u8::try_from(group / unit % 10).expect("one digit");
        out.push(char::from(b'0' + digit));
    }
}
