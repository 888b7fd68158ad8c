//! Rows for a table that the catalog describes: each value follows from (seed, column, index).

mod conditions;
mod draw;
mod facts;
mod order;
mod recipe;
mod scale;

use std::sync::Arc;

pub use self::{
    conditions::{Condition, Limit, conditions},
    facts::{
        Bound, ColumnFacts, Distribution, Limits, Maker, Reach, TableError, TypeFacts, TypeShape,
    },
};
use self::{
    draw::{Bits, Draw, Numbers},
    recipe::{Role, capacity, draw},
    scale::Scale,
};
use super::{BinaryColumn, Chunk, Column, ColumnKind, ColumnSpec, RowRange};

/// Distinct values beyond which one column of a UNIQUE constraint is enough.
const CAPACITY_ENOUGH: u64 = 1 << 31;

/// How the rows of a table are made.
#[derive(Clone, Debug)]
pub struct TableRows {
    columns: Vec<ColumnRows>,
    specs: Arc<[ColumnSpec]>,
    /// The columns that are compared when the table is read back.
    compared: Vec<usize>,
    /// Where, among those compared, stands a column whose values name their rows.
    key: Option<usize>,
    rows_max: Option<u64>,
}

#[derive(Clone, Debug)]
struct ColumnRows {
    draw: Draw,
    kind: Arc<ColumnKind>,
    /// A row whose first random bits are below it has no value here.
    null_below: u64,
}

impl TableRows {
    /// Decides how the columns that rows carry are made.
    ///
    /// `uniques` holds the columns of each UNIQUE constraint and unique index, as places in
    /// `columns`.
    ///
    /// # Errors
    ///
    /// The first column whose values cannot be made as its type and limits ask.
    pub fn new(
        columns: &[(ColumnFacts, Limits)],
        uniques: &[Vec<usize>],
    ) -> Result<TableRows, TableError> {
        let mut roles = vec![Role::Free; columns.len()];
        let mut rows_max: Option<u64> = None;
        for unique in uniques {
            let capacity = assign_roles(columns, unique, &mut roles)?;
            rows_max = rows_max.into_iter().chain(capacity).min();
        }
        let (mut made, mut specs) = (Vec::new(), Vec::new());
        for ((column, limits), role) in columns.iter().zip(roles) {
            if column.maker != Maker::Client {
                continue;
            }
            if column.is_required && 0.0 < limits.null_share {
                let problem = "is NOT NULL; remove `null_share`".to_owned();
                return Err(TableError { column: column.name.clone(), problem });
            }
            made.push(ColumnRows {
                draw: draw(column, limits, role)?,
                kind: Arc::new(column.facts.sql_type.kind.clone()),
                null_below: share_of_bits(limits.null_share),
            });
            let sql_type = column.facts.sql_type.clone();
            specs.push(ColumnSpec { name: column.name.clone(), sql_type });
        }
        let compared = (0..made.len()).collect();
        let rows = TableRows { columns: made, specs: specs.into(), compared, key: None, rows_max };
        Ok(rows.with_key())
    }

    /// Leaves columns out of what is compared: those that a trigger changes.
    #[must_use]
    pub fn without_comparing(mut self, columns: &[usize]) -> TableRows {
        self.compared.retain(|column| !columns.contains(column));
        self.with_key()
    }

    fn with_key(mut self) -> TableRows {
        let is_key = |&column: &usize| {
            let rows = &self.columns[column];
            rows.null_below == 0 && rows.draw.names_its_row()
        };
        self.key = self.compared.iter().position(is_key);
        self
    }

    /// Returns the columns that are sent with every row.
    pub fn specs(&self) -> &Arc<[ColumnSpec]> {
        &self.specs
    }

    /// Returns how many rows there can be, if UNIQUE columns have fewer values than 2^62.
    pub fn rows_max(&self) -> Option<u64> {
        self.rows_max
    }

    /// Returns between which bounds the values of a column are made up.
    pub(super) fn reach(&self, column: usize) -> Option<Reach> {
        match &self.columns[column].draw {
            Draw::Numbers(Numbers {
                scale: Scale::Int2 | Scale::Int4 | Scale::Int8,
                least,
                count,
                ..
            }) => Some(Reach::Integers { least: *least, most: least + i128::from(*count) - 1 }),
            Draw::Text { length: (least, most), padded: 0, .. } => {
                Some(Reach::Lengths { least: *least, most: *most })
            }
            _ => None,
        }
    }

    pub(super) fn compared(&self) -> &[usize] {
        &self.compared
    }

    /// Returns where, among the columns compared, the key stands.
    pub(super) fn key(&self) -> Option<usize> {
        self.key
    }

    /// Returns the row that a value of the key names.
    pub(super) fn index_of(&self, value: &[u8]) -> Option<u64> {
        self.columns[self.compared[self.key?]].draw.index_of(value)
    }

    /// Appends the value of a column in row `index`; `false` if it is NULL.
    pub(super) fn write_value(
        &self,
        seed: u64,
        index: u64,
        column: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let rows = &self.columns[column];
        let mut bits = Bits::new(seed, column, index);
        if 0 < rows.null_below && bits.next() < rows.null_below {
            return false;
        }
        rows.draw.write(&mut bits, index, out);
        true
    }

    pub(super) fn build(&self, seed: u64, range: RowRange) -> Chunk {
        let column = |(place, rows): (usize, &ColumnRows)| {
            let mut column = BinaryColumn::new(Arc::clone(&rows.kind));
            for index in range.start..range.end {
                column.push(|out| self.write_value(seed, index, place, out));
            }
            Column::Binary(column)
        };
        Chunk { range, columns: self.columns.iter().enumerate().map(column).collect() }
    }
}

/// Has the columns of one UNIQUE constraint keep rows apart; returns how many rows they can.
///
/// One column alone does, if it has enough values. Else all of them count together, as digits.
fn assign_roles(
    columns: &[(ColumnFacts, Limits)],
    unique: &[usize],
    roles: &mut [Role],
) -> Result<Option<u64>, TableError> {
    if unique.iter().any(|&place| columns[place].0.maker == Maker::ServerUnique) {
        return Ok(None);
    }
    let mut capacities = Vec::new();
    for &place in unique {
        let (column, limits) = &columns[place];
        if column.maker != Maker::Client {
            continue;
        }
        // What a value cannot be made unique for may still be one column of several.
        let count = draw(column, limits, Role::Unique).map(|draw| capacity(&draw));
        match count {
            Err(error) if unique.len() == 1 => return Err(error),
            count => capacities.push((count.unwrap_or(1), place)),
        }
    }
    if let Some(&(count, _)) = capacities.iter().find(|(_, place)| roles[*place] == Role::Unique) {
        return Ok((count < CAPACITY_ENOUGH).then_some(count));
    }
    capacities.sort_unstable_by_key(|&(count, place)| (std::cmp::Reverse(count), place));
    match capacities.as_slice() {
        [] => Ok(None),
        [(count, place), rest @ ..] if CAPACITY_ENOUGH <= *count || rest.is_empty() => {
            roles[*place] = Role::Unique;
            Ok((*count < CAPACITY_ENOUGH).then_some(*count))
        }
        _ => {
            // The column with the most values turns slowest, so that small ones are well mixed.
            let mut rows: u64 = 1;
            for &(count, place) in capacities.iter().rev().filter(|(count, _)| 1 < *count) {
                if roles[place] == Role::Free {
                    roles[place] = Role::Digit { rows };
                    rows = rows.saturating_mul(count);
                }
            }
            Ok(Some(rows))
        }
    }
}

/// Returns the number below which a share of all 64-bit numbers lies.
fn share_of_bits(share: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let bits = (share * 2.0_f64.powi(64)) as u64;
    bits
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rows::SqlType;

    fn facts(shape: TypeShape, kind: ColumnKind) -> TypeFacts {
        let sql_type = SqlType { kind, name: "type".to_owned(), oid: 1, array_oid: 2 };
        TypeFacts { sql_type, shape }
    }

    fn column(name: &str, facts: TypeFacts) -> (ColumnFacts, Limits) {
        let (name, is_required) = (name.to_owned(), false);
        (ColumnFacts { name, facts, is_required, maker: Maker::Client }, Limits::default())
    }

    fn value(rows: &TableRows, column: usize, index: u64) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        rows.write_value(7, index, column, &mut value).then_some(value)
    }

    fn small_int() -> TypeFacts {
        facts(TypeShape::SmallInt, ColumnKind::Int2)
    }

    #[test]
    fn unique_values_name_their_rows() {
        let text = |most| facts(TypeShape::Text { length_max: Some(most) }, ColumnKind::Text);
        for (facts, distribution) in [
            (small_int(), None),
            (small_int(), Some(Distribution::Scattered)),
            (facts(TypeShape::BigInt, ColumnKind::Int8), Some(Distribution::Scattered)),
            (facts(TypeShape::Numeric { precision: Some(9), scale: 2 }, ColumnKind::Numeric), None),
            (facts(TypeShape::Timestamp { step: 1_000 }, ColumnKind::Timestamp), None),
            (facts(TypeShape::Date, ColumnKind::Date), None),
            (facts(TypeShape::Real, ColumnKind::Float4), None),
            (facts(TypeShape::Real, ColumnKind::Float4), Some(Distribution::Scattered)),
            (facts(TypeShape::DoublePrecision, ColumnKind::Float8), None),
            (facts(TypeShape::DoublePrecision, ColumnKind::Float8), Some(Distribution::Scattered)),
            (facts(TypeShape::Uuid, ColumnKind::Uuid), None),
            (facts(TypeShape::Bytea, ColumnKind::Bytea), None),
            (facts(TypeShape::Char { length: 9 }, ColumnKind::Text), None),
            (text(4), None),
            (text(40), None),
        ] {
            let mut column = column("it", facts);
            column.1.distribution = distribution;
            let rows = TableRows::new(std::slice::from_ref(&column), &[vec![0]]).unwrap();
            assert_eq!(rows.key(), Some(0), "{column:?}");
            let mut values = BTreeSet::new();
            for index in 0..2_000 {
                let value = value(&rows, 0, index).unwrap();
                assert_eq!(rows.index_of(&value), Some(index), "{column:?}");
                values.insert(value);
            }
            assert_eq!(values.len(), 2_000, "{column:?}");
        }
    }

    /// At a million, single precision has sixteen values to one.
    #[test]
    fn unique_numbers_far_from_zero_are_as_many_as_the_type_has() {
        let mut column = column("it", facts(TypeShape::Real, ColumnKind::Float4));
        let bound =
            |number: f32| vec![Bound { value: number.to_be_bytes().to_vec(), is_inclusive: true }];
        (column.1.least, column.1.most) = (bound(1e6), bound(1_000_100.0));
        let rows = TableRows::new(std::slice::from_ref(&column), &[vec![0]]).unwrap();
        let most = rows.rows_max().unwrap();
        assert!((300..1_600).contains(&most), "{most}");
        let values: BTreeSet<_> = (0..most).map(|index| value(&rows, 0, index)).collect();
        assert_eq!(values.len() as u64, most);
    }

    #[test]
    fn several_columns_are_unique_together() {
        let mut columns =
            [column("a", facts(TypeShape::Boolean, ColumnKind::Bool)), column("b", small_int())];
        let bound =
            |number: i16| vec![Bound { value: number.to_be_bytes().to_vec(), is_inclusive: true }];
        (columns[1].1.least, columns[1].1.most) = (bound(5), bound(9));
        let rows = TableRows::new(&columns, &[vec![0, 1]]).unwrap();
        assert_eq!((rows.rows_max(), rows.key()), (Some(10), None));
        let pair = |index| (value(&rows, 0, index), value(&rows, 1, index));
        assert_eq!((0..10).map(pair).collect::<BTreeSet<_>>().len(), 10);
    }

    #[test]
    fn nulls_come_in_their_share() {
        let mut column = column("it", small_int());
        column.1.null_share = 0.25;
        let rows = TableRows::new(std::slice::from_ref(&column), &[]).unwrap();
        let nulls = (0..10_000).filter(|&index| value(&rows, 0, index).is_none()).count();
        assert!((2_300..2_700).contains(&nulls), "{nulls}");
        let chunk = rows.build(7, RowRange { start: 100, end: 400 });
        for row in 0..300_u64 {
            let built = chunk.columns[0].value(usize::try_from(row).unwrap());
            let alone = value(&rows, 0, 100 + row);
            match built {
                crate::rows::Value::Binary(_, bytes) => assert_eq!(Some(bytes), alone.as_deref()),
                other => assert_eq!((other, alone), (crate::rows::Value::Null, None)),
            }
        }
        column.0.is_required = true;
        assert!(TableRows::new(std::slice::from_ref(&column), &[]).is_err());
    }

    /// A column that is made wider gets the same values, where both are held to the same bounds.
    #[test]
    fn columns_of_different_width_get_the_same_values_within_their_shared_reach() {
        let integer = |limits: &Limits, bytes: usize| {
            let (shape, kind) = match bytes {
                2 => (TypeShape::SmallInt, ColumnKind::Int2),
                _ => (TypeShape::BigInt, ColumnKind::Int8),
            };
            let mut column = column("it", facts(shape, kind));
            column.1 = limits.clone();
            TableRows::new(std::slice::from_ref(&column), &[]).unwrap()
        };
        let text = |limits: &Limits, length_max: Option<u32>| {
            let mut column = column("it", facts(TypeShape::Text { length_max }, ColumnKind::Text));
            column.1 = limits.clone();
            TableRows::new(std::slice::from_ref(&column), &[]).unwrap()
        };
        let free = Limits::default();
        let reach = |rows: &TableRows| rows.reach(0).unwrap();
        let shared = reach(&integer(&free, 2)).shared(reach(&integer(&free, 8)));
        assert_eq!(shared, Some(Reach::Integers { least: 1, most: 32_767 }));
        let bound = |bytes: usize, number: i64| {
            let value = number.to_be_bytes()[8 - bytes..].to_vec();
            vec![Bound { value, is_inclusive: true }]
        };
        let held = |bytes: usize| {
            let (least, most) = (bound(bytes, 1), bound(bytes, 32_767));
            integer(&Limits { least, most, ..Limits::default() }, bytes)
        };
        let (narrow, wide) = (held(2), held(8));
        assert_eq!(reach(&narrow).shared(reach(&wide)), None);
        let shared = reach(&text(&free, Some(5))).shared(reach(&text(&free, None)));
        assert_eq!(shared, Some(Reach::Lengths { least: 5, most: 5 }));
        let limits = Limits { length_min: Some(5), length_max: Some(5), ..Limits::default() };
        let (short, long) = (text(&limits, Some(5)), text(&limits, None));
        for index in 0..100 {
            let wide = value(&wide, 0, index).unwrap();
            assert_eq!(wide[..6], [0; 6]);
            assert_eq!(value(&narrow, 0, index).unwrap(), wide[6..]);
            assert_eq!(value(&short, 0, index), value(&long, 0, index));
        }
        let apart = Reach::Integers { least: 5, most: 9 };
        assert_eq!(apart.shared(Reach::Integers { least: 10, most: 12 }), None);
        assert_eq!(apart.shared(Reach::Lengths { least: 5, most: 9 }), None);
    }

    #[test]
    fn limits_hold() {
        let bound = |number: i16, is_inclusive| {
            vec![Bound { value: number.to_be_bytes().to_vec(), is_inclusive }]
        };
        let mut column = column("it", small_int());
        (column.1.least, column.1.most) = (bound(10, false), bound(13, false));
        let rows = TableRows::new(std::slice::from_ref(&column), &[]).unwrap();
        let values: BTreeSet<_> = (0..100).map(|index| value(&rows, 0, index).unwrap()).collect();
        let expected = [11_i16, 12].map(|number| number.to_be_bytes().to_vec());
        assert_eq!(values, expected.into());
        column.1.most = bound(11, false);
        let error = TableRows::new(std::slice::from_ref(&column), &[]).unwrap_err();
        assert!(error.to_string().contains("no value is within all its bounds"), "{error}");
    }
}
