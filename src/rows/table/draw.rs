//! Draws one value: which one follows from chance or from the row's index, never from a clock.
//!
//! **Invariant:** a value is written exactly as the server gives it back: numerics without groups
//! of zeros at the ends, `char(n)` padded, `jsonb` in the order and spacing of its output.

use super::{
    order::{Order, permute, unpermute},
    scale::Scale,
};
use crate::rows::mix;

/// Random bits of one column of one row.
#[derive(Debug)]
pub(super) struct Bits {
    seed: u64,
    next: u64,
}

impl Bits {
    pub(super) fn new(seed: u64, column: usize, index: u64) -> Bits {
        Bits { seed: mix(mix(seed, column as u64), index), next: 0 }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.next += 1;
        mix(self.seed, self.next)
    }

    /// A number below `bound`, all alike. Source: Lemire, "Fast random integer generation in an
    /// interval", ACM TOMACS 2019, without its rejection: the bias is below `bound` / 2^64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("below 2^64")
    }

    fn within(&mut self, (least, most): (u32, u32)) -> usize {
        let count = self.below(u64::from(most - least) + 1);
        least as usize + usize::try_from(count).expect("a length")
    }
}

/// Numbers of an order on a scale.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub(super) scale: Scale,
    /// The first number.
    pub(super) least: i128,
    /// How many numbers there are.
    pub(super) count: u64,
    pub(super) order: Order,
}

impl Numbers {
    fn draw(&self, bits: &mut Bits, index: u64) -> i128 {
        self.least + i128::from(self.order.draw(self.count, bits, index))
    }

    pub(super) fn index_of(&self, value: &[u8]) -> Option<u64> {
        let offset = self.scale.number(value)?.checked_sub(self.least)?;
        let offset = u64::try_from(offset).ok().filter(|&offset| offset < self.count)?;
        self.order.index_of(self.count, offset)
    }
}

/// Whether a value says which row it belongs to, and so is in no other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Names {
    Row,
    Nothing,
}

/// Where the values of a column come from.
#[derive(Clone, Debug)]
pub(super) enum Draw {
    Numbers(Numbers),
    /// A list, in binary format.
    Values {
        values: Vec<Vec<u8>>,
        order: Order,
    },
    Text {
        length: (u32, u32),
        names: Names,
        /// `char(n)`: spaces up to here.
        padded: u32,
    },
    Bytea {
        length: (u32, u32),
        names: Names,
    },
    Uuid(Names),
    /// It holds the row's index, and so names its row. `jsonb` has a version byte before it.
    Json {
        is_binary: bool,
    },
    Inet {
        is_cidr: bool,
        names: Names,
    },
    Macaddr {
        bytes: usize,
        names: Names,
    },
    BitString {
        length: (u32, u32),
    },
    /// A lower bound that belongs to the range, and an upper one that does not.
    Range {
        bounds: Numbers,
        width_max: u64,
    },
    Array {
        element: Box<Draw>,
        element_oid: u32,
        length: (u32, u32),
    },
}

/// Letters of texts: 32, so that five bits choose one. No `-`: it stands before the index.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
/// Random bits of a UUID's lower half; the two above them are its variant.
const UUID_BITS: u32 = 62;
/// Bits of an address that name its row.
const MACADDR_BITS: u32 = 40;
const INET_BITS: u32 = 56;

impl Draw {
    /// Appends a value.
    pub(super) fn write(&self, bits: &mut Bits, index: u64, out: &mut Vec<u8>) {
        match self {
            Draw::Numbers(numbers) => numbers.scale.write(numbers.draw(bits, index), out),
            Draw::Values { values, order } => {
                let place = order.draw(values.len() as u64, bits, index);
                out.extend_from_slice(&values[usize::try_from(place).expect("a place in a list")]);
            }
            Draw::Text { length, names, padded } => {
                let start = out.len();
                write_text(*length, *names, bits, index, out);
                out.resize(out.len().max(start + *padded as usize), b' ');
            }
            Draw::Bytea { length, names } => {
                let end = out.len() + bits.within(*length);
                let named = if *names == Names::Row { 8 } else { 0 };
                while out.len() + named < end {
                    let more = (end - named - out.len()).min(8);
                    out.extend_from_slice(&bits.next().to_be_bytes()[..more]);
                }
                if *names == Names::Row {
                    out.extend_from_slice(&index.to_be_bytes());
                }
            }
            Draw::Uuid(names) => write_uuid(*names, bits, index, out),
            Draw::Json { is_binary } => write_json(*is_binary, bits, index, out),
            Draw::Inet { is_cidr, names } => write_inet(*is_cidr, *names, bits, index, out),
            Draw::Macaddr { bytes, names } => {
                let low = match names {
                    Names::Row => permute(index, MACADDR_BITS),
                    Names::Nothing => bits.next() >> (64 - MACADDR_BITS),
                };
                // 02: administered here (IEEE 802).
                out.extend_from_slice(&[2, 0, 0][..*bytes - 5]);
                out.extend_from_slice(&low.to_be_bytes()[3..]);
            }
            Draw::BitString { length } => write_bits(*length, bits, out),
            Draw::Range { bounds, width_max } => {
                let lower = bounds.draw(bits, index);
                let upper = lower + 1 + i128::from(bits.below(*width_max));
                out.push(RANGE_LOWER_INCLUSIVE);
                for bound in [lower, upper] {
                    write_sized(out, |out| bounds.scale.write(bound, out));
                }
            }
            Draw::Array { element, element_oid, length } => {
                let count = bits.within(*length);
                let words = [i32::from(0 < count), 0].map(i32::to_be_bytes).concat();
                out.extend_from_slice(&words);
                out.extend_from_slice(&element_oid.to_be_bytes());
                if 0 < count {
                    let count = i32::try_from(count).expect("a length");
                    out.extend_from_slice(&[count, 1].map(i32::to_be_bytes).concat());
                }
                for _ in 0..count {
                    write_sized(out, |out| element.write(bits, index, out));
                }
            }
        }
    }

    /// Returns the row that a value names, if values of this draw do.
    pub(super) fn index_of(&self, value: &[u8]) -> Option<u64> {
        match self {
            Draw::Numbers(numbers) => numbers.index_of(value),
            Draw::Text { names: Names::Row, .. } => {
                let text = std::str::from_utf8(value).ok()?.trim_end_matches(' ');
                let digits = text.rsplit('-').next()?;
                u64::from_str_radix(digits, INDEX_RADIX).ok()
            }
            Draw::Bytea { names: Names::Row, .. } => {
                value.last_chunk::<8>().map(|last| u64::from_be_bytes(*last))
            }
            Draw::Uuid(Names::Row) => {
                let low = u64::from_be_bytes(*value.last_chunk::<8>()?);
                Some(unpermute(low & ((1 << UUID_BITS) - 1), UUID_BITS))
            }
            _ => None,
        }
    }

    /// Returns whether [`Draw::index_of`] answers.
    pub(super) fn names_its_row(&self) -> bool {
        match self {
            Draw::Numbers(numbers) => numbers.order.is_unique(),
            Draw::Text { names, .. } | Draw::Bytea { names, .. } | Draw::Uuid(names) => {
                *names == Names::Row
            }
            _ => false,
        }
    }
}

/// Source: PostgreSQL's `rangetypes.h`.
const RANGE_LOWER_INCLUSIVE: u8 = 0x02;
/// Indexes in texts are written to this base: short, and in lower case.
pub(super) const INDEX_RADIX: u32 = 36;

fn write_sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = i32::try_from(out.len() - start - 4).expect("a value is far below 1 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn write_letters(count: usize, bits: &mut Bits, out: &mut Vec<u8>) {
    let mut left = 0_u64;
    for place in 0..count {
        if place % 12 == 0 {
            left = bits.next();
        }
        out.push(LETTERS[usize::try_from(left & 31).expect("below 32")]);
        left >>= 5;
    }
}

fn write_text(length: (u32, u32), names: Names, bits: &mut Bits, index: u64, out: &mut Vec<u8>) {
    let count = bits.within(length);
    if names == Names::Nothing {
        return write_letters(count, bits, out);
    }
    let mut digits = Vec::new();
    let mut left = index;
    while digits.is_empty() || 0 < left {
        let digit = u32::try_from(left % u64::from(INDEX_RADIX)).expect("a digit");
        let digit = char::from_digit(digit, INDEX_RADIX).expect("a digit");
        digits.push(u8::try_from(digit).expect("ASCII"));
        left /= u64::from(INDEX_RADIX);
    }
    digits.reverse();
    let letters = count.saturating_sub(digits.len() + 1);
    if 0 < letters {
        write_letters(letters, bits, out);
        out.push(b'-');
    } else {
        let zeros = (length.0 as usize).saturating_sub(digits.len());
        out.extend(std::iter::repeat_n(b'0', zeros));
    }
    out.extend_from_slice(&digits);
}

/// Version 4 (random). Source: RFC 9562, section 5.4.
fn write_uuid(names: Names, bits: &mut Bits, index: u64, out: &mut Vec<u8>) {
    let high = bits.next() & !0xf000 | 0x4000;
    let low = match names {
        Names::Row => permute(index, UUID_BITS),
        Names::Nothing => bits.next() >> (64 - UUID_BITS),
    };
    out.extend_from_slice(&high.to_be_bytes());
    out.extend_from_slice(&(low | 1 << 63).to_be_bytes());
}

/// `jsonb` prints keys by length, then by bytes, with a space behind `:` and `,`. Source:
/// PostgreSQL's `jsonb_util.c`, `lengthCompareJsonbString`.
fn write_json(is_binary: bool, bits: &mut Bits, index: u64, out: &mut Vec<u8>) {
    if is_binary {
        out.push(1);
    }
    out.extend_from_slice(b"{\"id\": ");
    out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
    out.extend_from_slice(b", \"tag\": \"");
    write_letters(8, bits, out);
    out.extend_from_slice(b"\", \"value\": ");
    out.extend_from_slice(itoa::Buffer::new().format(bits.below(100_000)).as_bytes());
    out.extend_from_slice(b"}");
}

/// Addresses of private networks: 10.0.0.0/8, or fd00::/8 where they name their row.
fn write_inet(is_cidr: bool, names: Names, bits: &mut Bits, index: u64, out: &mut Vec<u8>) {
    if names == Names::Row {
        let mut address = [0; 16];
        let place = if is_cidr { 1..8 } else { 9..16 };
        address[0] = 0xfd;
        address[place].copy_from_slice(&permute(index, INET_BITS).to_be_bytes()[1..]);
        out.extend_from_slice(&[3, if is_cidr { 64 } else { 128 }, u8::from(is_cidr), 16]);
        out.extend_from_slice(&address);
        return;
    }
    let [a, b, c, ..] = bits.next().to_be_bytes();
    let last = if is_cidr { 0 } else { c };
    out.extend_from_slice(&[2, if is_cidr { 24 } else { 32 }, u8::from(is_cidr), 4]);
    out.extend_from_slice(&[10, a, b, last]);
}

/// How many bits, then the bits; what is left of the last byte is zero.
fn write_bits(length: (u32, u32), bits: &mut Bits, out: &mut Vec<u8>) {
    let count = bits.within(length);
    out.extend_from_slice(&i32::try_from(count).expect("a length").to_be_bytes());
    let end = out.len() + count.div_ceil(8);
    while out.len() < end {
        let more = (end - out.len()).min(8);
        out.extend_from_slice(&bits.next().to_be_bytes()[..more]);
    }
    if !count.is_multiple_of(8) {
        out[end - 1] &= 0xff << (8 - count % 8);
    }
}
