//! Turns what is known of a column into a draw: defaults, limits, and what makes values unique.

use super::{
    draw::{Draw, INDEX_RADIX, Names, Numbers},
    facts::{Bound, ColumnFacts, Distribution, Limits, TableError, TypeFacts, TypeShape},
    order::Order,
    scale::Scale,
};

/// What a column has to do for the table's UNIQUE constraints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// Nothing.
    Free,
    /// No two rows have the same value.
    Unique,
    /// Together with other columns: the value changes every so many rows.
    Digit { rows: u64 },
}

/// Lengths where nothing says otherwise.
const TEXT_LENGTH: (u32, u32) = (8, 24);
const BYTEA_LENGTH: (u32, u32) = (8, 32);
const VARBIT_LENGTH: (u32, u32) = (1, 32);
const ARRAY_LENGTH: (u32, u32) = (0, 4);
/// Widths of ranges, in steps of their bounds, where nothing says otherwise.
const RANGE_WIDTH_MAX: u64 = 100;
/// Steps between the bounds of floating-point numbers: below the digits that they have.
const FLOAT4_STEPS: u64 = 1 << 22;
const FLOAT8_STEPS: u64 = 1 << 50;
/// Digits of a `numeric` that says nothing, or more than 128 bits can hold with room to align.
const NUMERIC_DIGITS: u32 = 12;
const NUMERIC_DIGITS_MAX: u32 = 30;
const NUMERIC_SCALE: i32 = 2;

/// Days since 2000-01-01: 2020-01-01, 2025-12-31, 0001-01-01, 9999-12-31.
const DAYS_LEAST: i64 = 7_305;
const DAYS_MOST: i64 = 9_496;
const DAYS_FIRST: i64 = -730_119;
const DAYS_LAST: i64 = 2_921_939;
const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;

/// Numbers of a type: usual ones, and all that it has.
struct Span {
    scale: Scale,
    usual: (i128, i128),
    all: (i128, i128),
}

/// Decides how the values of a column are drawn.
pub(super) fn draw(column: &ColumnFacts, limits: &Limits, role: Role) -> Result<Draw, TableError> {
    let recipe = Recipe { column: &column.name, limits, role };
    recipe.check_role()?;
    match &limits.values {
        Some(values) => recipe.list(values),
        None => recipe.draw(&column.facts),
    }
}

/// Returns how many different values a draw has, and so how many rows it can keep apart.
pub(super) fn capacity(draw: &Draw) -> u64 {
    match draw {
        Draw::Numbers(numbers) | Draw::Range { bounds: numbers, .. } => numbers.count,
        Draw::Values { values, .. } => values.len() as u64,
        Draw::Text { length, .. } => {
            u64::from(INDEX_RADIX).checked_pow(length.1).unwrap_or(u64::MAX)
        }
        Draw::Bytea { length, .. } => {
            if 8 <= length.1 {
                u64::MAX
            } else {
                1
            }
        }
        Draw::Uuid(_) => 1 << 62,
        Draw::Json { .. } => u64::MAX,
        Draw::Inet { .. } => 1 << 56,
        Draw::Macaddr { .. } => 1 << 40,
        Draw::BitString { .. } | Draw::Array { .. } => 1,
    }
}

struct Recipe<'a> {
    column: &'a str,
    limits: &'a Limits,
    role: Role,
}

impl Recipe<'_> {
    fn error<T>(&self, problem: impl Into<String>) -> Result<T, TableError> {
        Err(TableError { column: self.column.to_owned(), problem: problem.into() })
    }

    fn check_role(&self) -> Result<(), TableError> {
        let is_unique = matches!(
            self.limits.distribution,
            None | Some(Distribution::Sequential | Distribution::Scattered)
        );
        if self.role != Role::Free && !is_unique {
            return self.error("is UNIQUE; use `distribution = \"sequential\"` or \"scattered\"");
        }
        Ok(())
    }

    fn order(&self) -> Order {
        match (self.role, self.limits.distribution) {
            (Role::Digit { rows }, _) => Order::Sequential { rows },
            (_, Some(Distribution::Scattered)) => Order::Scattered,
            (Role::Unique, _) | (_, Some(Distribution::Sequential)) => {
                Order::Sequential { rows: 1 }
            }
            (_, Some(Distribution::Normal)) => Order::Normal,
            (_, Some(Distribution::Zipf)) => Order::Zipf,
            (_, None | Some(Distribution::Uniform)) => Order::Uniform,
        }
    }

    fn names(&self) -> Names {
        if self.role == Role::Free { Names::Nothing } else { Names::Row }
    }

    fn list(&self, values: &[Vec<u8>]) -> Result<Draw, TableError> {
        if values.is_empty() {
            return self.error("no value is in all the lists that its CHECKs and `values` give");
        }
        Ok(Draw::Values { values: values.to_vec(), order: self.order() })
    }

    fn draw(&self, facts: &TypeFacts) -> Result<Draw, TableError> {
        let length = |usual| self.length(usual, u32::MAX);
        let draw = match &facts.shape {
            TypeShape::Boolean => return self.list(&[vec![0], vec![1]]),
            TypeShape::Enum(labels) => {
                let values: Vec<Vec<u8>> =
                    labels.iter().map(|label| label.clone().into_bytes()).collect();
                return self.list(&values);
            }
            TypeShape::Text { length_max } => {
                let most = length_max.unwrap_or(u32::MAX);
                Draw::Text {
                    length: self.length(TEXT_LENGTH, most)?,
                    names: self.names(),
                    padded: 0,
                }
            }
            TypeShape::Char { length } => Draw::Text {
                length: self.length((*length.min(&TEXT_LENGTH.0), *length), *length)?,
                names: self.names(),
                padded: *length,
            },
            TypeShape::Json => Draw::Json { is_binary: false },
            TypeShape::Jsonb => Draw::Json { is_binary: true },
            TypeShape::Bytea => Draw::Bytea { length: length(BYTEA_LENGTH)?, names: self.names() },
            TypeShape::Uuid => Draw::Uuid(self.names()),
            TypeShape::Inet => Draw::Inet { is_cidr: false, names: self.names() },
            TypeShape::Cidr => Draw::Inet { is_cidr: true, names: self.names() },
            TypeShape::Macaddr { bytes } => Draw::Macaddr { bytes: *bytes, names: self.names() },
            TypeShape::Bits { length: (least, most) } => {
                let usual = (VARBIT_LENGTH.0.max(*least), VARBIT_LENGTH.1.min(*most).max(*least));
                Draw::BitString { length: self.length(usual, *most)? }
            }
            TypeShape::Range(bound) => {
                let mut bounds = self.numbers(bound)?;
                let width_max = RANGE_WIDTH_MAX.min(bounds.count / 2).max(1);
                bounds.count = bounds.count.saturating_sub(width_max).max(1);
                Draw::Range { bounds, width_max }
            }
            TypeShape::Array(element) => {
                let length = length(ARRAY_LENGTH)?;
                let free = Recipe { limits: &Limits::default(), role: Role::Free, ..*self };
                let element_oid = element.sql_type.oid;
                let element = Box::new(free.draw(element)?);
                Draw::Array { element, element_oid, length }
            }
            TypeShape::Other => {
                let name = &facts.sql_type.name;
                return self.error(format!(
                    "values of type {name} cannot be made up; list some with `values = […]` in \
                     [[columns]]"
                ));
            }
            _ => Draw::Numbers(self.numbers(facts)?),
        };
        if self.role != Role::Free && capacity(&draw) == 1 {
            let name = &facts.sql_type.name;
            return self.error(format!("is UNIQUE, and unique values of {name} cannot be made up"));
        }
        Ok(draw)
    }

    fn length(&self, usual: (u32, u32), most: u32) -> Result<(u32, u32), TableError> {
        let greatest = self.limits.length_max.unwrap_or(most).min(most);
        let least = self.limits.length_min.unwrap_or(usual.0.min(greatest));
        // A minimum above the usual range moves the range up.
        let most_usual =
            if usual.1 < least { least.saturating_add(usual.1 - usual.0) } else { usual.1 };
        let upper =
            if self.limits.length_max.is_some() { greatest } else { most_usual.min(greatest) };
        if upper < least {
            return self.error(format!("no length is at least {least} and at most {upper}"));
        }
        Ok((least, upper))
    }

    fn numbers(&self, facts: &TypeFacts) -> Result<Numbers, TableError> {
        let span = match facts.shape {
            TypeShape::Real | TypeShape::DoublePrecision => self.float_span(facts)?,
            _ => self.span(facts)?,
        };
        let is_unique = self.role == Role::Unique;
        let bounded = |bound: &Option<i128>, usual: i128, all: i128| {
            bound.unwrap_or(if is_unique { all } else { usual })
        };
        let (lower, upper) = self.bounds(span.scale)?;
        // Unique numbers begin where usual ones do, and go on for as long as the type has some.
        let mut least = bounded(&lower, span.usual.0, span.usual.0).max(span.all.0);
        let mut most = bounded(&upper, span.usual.1, span.all.1).min(span.all.1);
        match (lower, upper) {
            (Some(lower), None) if span.usual.1 <= lower => {
                most = lower.saturating_add(span.usual.1 - span.usual.0).min(span.all.1);
            }
            (None, Some(upper)) if upper < span.usual.0 => {
                least = upper.saturating_sub(span.usual.1 - span.usual.0).max(span.all.0);
            }
            _ => (),
        }
        if most < least {
            return self.error("no value is within all its bounds; see its CHECKs and `range`");
        }
        let count = u64::try_from(most - least + 1).unwrap_or(1 << 62).min(1 << 62);
        Ok(Numbers { scale: span.scale, least, count, order: self.order() })
    }

    /// The narrowest bounds, as numbers of the scale.
    fn bounds(&self, scale: Scale) -> Result<(Option<i128>, Option<i128>), TableError> {
        if matches!(scale, Scale::Float4 { .. } | Scale::Float8 { .. }) {
            return Ok((None, None)); // They are in the scale.
        }
        let number = |bound: &Bound, step: i128| match scale.number(&bound.value) {
            Some(number) => Ok(number + if bound.is_inclusive { 0 } else { step }),
            None => self.error("a bound is no finite value; see its CHECKs and `range`"),
        };
        let mut lower = None;
        for bound in &self.limits.least {
            lower = lower.max(Some(number(bound, 1)?));
        }
        let mut upper: Option<i128> = None;
        for bound in &self.limits.most {
            let number = number(bound, -1)?;
            upper = Some(upper.map_or(number, |upper| upper.min(number)));
        }
        Ok((lower, upper))
    }

    /// Floating-point numbers lie on a grid between their bounds; a bound that does not belong to
    /// them is left out.
    fn float_span(&self, facts: &TypeFacts) -> Result<Span, TableError> {
        let number = |bound: &Bound| match *bound.value {
            [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
            _ => bound.value.as_slice().try_into().map_or(f64::NAN, f64::from_be_bytes),
        };
        let numbers = |bounds: &[Bound]| bounds.iter().map(number).collect::<Vec<_>>();
        let lower = numbers(&self.limits.least).into_iter().reduce(f64::max);
        let upper = numbers(&self.limits.most).into_iter().reduce(f64::min);
        let (least, most) = match (lower, upper) {
            (Some(lower), Some(upper)) => (lower, upper),
            (Some(lower), None) => (lower, lower + 1_000.0),
            (None, Some(upper)) => {
                (upper.min(0.0) - 1_000.0 * f64::from(u8::from(upper <= 0.0)), upper)
            }
            (None, None) => (0.0, 1_000.0),
        };
        if !(least.is_finite() && most.is_finite() && least <= most) {
            return self.error("no number is within all its bounds; see its CHECKs and `range`");
        }
        let is_single = facts.shape == TypeShape::Real;
        let (steps, epsilon) = match is_single {
            true => (FLOAT4_STEPS, f64::from(f32::EPSILON)),
            false => (FLOAT8_STEPS, f64::EPSILON),
        };
        // Far from zero the type has fewer values: two steps must not be one of them.
        let apart = 2.0 * epsilon * least.abs().max(most.abs());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^50")]
        let steps = if apart == 0.0 { steps } else { steps.min(((most - least) / apart) as u64) };
        let step = (most - least) / steps.max(1) as f64;
        let open = |bounds: &[Bound]| i128::from(bounds.iter().any(|bound| !bound.is_inclusive));
        let range = (open(&self.limits.least), i128::from(steps.max(1)) - open(&self.limits.most));
        let scale =
            if is_single { Scale::Float4 { least, step } } else { Scale::Float8 { least, step } };
        let range = if step == 0.0 { (0, 0) } else { range };
        Ok(Span { scale, usual: range, all: range })
    }

    fn span(&self, facts: &TypeFacts) -> Result<Span, TableError> {
        let days = |scale: Scale, a_day: i64| Span {
            scale,
            usual: (
                i128::from(DAYS_LEAST) * i128::from(a_day),
                i128::from(DAYS_MOST + 1) * i128::from(a_day) - 1,
            ),
            all: (
                i128::from(DAYS_FIRST) * i128::from(a_day),
                i128::from(DAYS_LAST + 1) * i128::from(a_day) - 1,
            ),
        };
        let from_zero = |scale: Scale, usual: i64, all: i64| Span {
            scale,
            usual: (0, i128::from(usual)),
            all: (0, i128::from(all)),
        };
        Ok(match facts.shape {
            TypeShape::SmallInt => Span {
                scale: Scale::Int2,
                usual: (1, i128::from(i16::MAX)),
                all: (i128::from(i16::MIN), i128::from(i16::MAX)),
            },
            TypeShape::Integer => Span {
                scale: Scale::Int4,
                usual: (1, 1_000_000),
                all: (i128::from(i32::MIN), i128::from(i32::MAX)),
            },
            TypeShape::BigInt => Span {
                scale: Scale::Int8,
                usual: (1, 1_000_000_000),
                all: (i128::from(i64::MIN), i128::from(i64::MAX)),
            },
            TypeShape::Numeric { precision, scale } => {
                let scale = if precision.is_some() { scale } else { NUMERIC_SCALE };
                let digits = precision.unwrap_or(NUMERIC_DIGITS_MAX).min(NUMERIC_DIGITS_MAX);
                let usual = 10_i128.pow(digits.min(NUMERIC_DIGITS)) - 1;
                let all = 10_i128.pow(digits) - 1;
                Span {
                    scale: Scale::Numeric { digits: scale },
                    usual: (0, usual),
                    all: (-all, all),
                }
            }
            TypeShape::Date => days(Scale::Date, 1),
            TypeShape::Timestamp { step } => days(Scale::Micros { step }, MICROS_PER_DAY / step),
            TypeShape::Time { step } => {
                let last = MICROS_PER_DAY / step - 1;
                from_zero(Scale::Micros { step }, last, last)
            }
            TypeShape::TimeTz { step } => {
                let last = MICROS_PER_DAY / step - 1;
                from_zero(Scale::TimeTz { step }, last, last)
            }
            TypeShape::Interval { step } => {
                let day = MICROS_PER_DAY / step;
                from_zero(Scale::Interval { step }, day * 30, day.max(1) * 36_500)
            }
            TypeShape::Months { step } => {
                from_zero(Scale::Months { step }, 120, 12_000 / i64::from(step))
            }
            _ => {
                let name = &facts.sql_type.name;
                return self.error(format!("values of type {name} have no `range`"));
            }
        })
    }
}
