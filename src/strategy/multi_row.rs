//! Many rows in the VALUES list of one INSERT: four parameters a row, 65,535 at most.

use std::fmt::Write as _;

use super::{PARAMETERS_MAX, Shape};

/// Returns the statement for a batch of `rows` rows; letter for letter what GORM v2 sends for a
/// slice when it returns.
pub fn statement(shape: Shape<'_>, rows: u64) -> String {
    let columns = shape.columns.len() as u64;
    assert!(rows * columns <= PARAMETERS_MAX, "the plan clamps batches to the parameter limit");
    let mut text = shape.insert_into();
    text.push_str(" VALUES ");
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { "," };
            write!(text, "{comma}${}", row * columns + column + 1).expect("writes to memory");
        }
        text.push(')');
    }
    text.push_str(&shape.returning_clause());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{Parameters, fixture};

    #[test]
    fn numbers_parameters_row_by_row() {
        let text = statement(fixture::shape(false), 2);
        assert!(text.ends_with(" VALUES ($1,$2,$3,$4),($5,$6,$7,$8)"), "{text}");
    }

    #[test]
    fn parameters_follow_the_same_order() {
        let mut parameters = Parameters::default();
        parameters.push_rows(&fixture::slice(7, 9));
        assert_eq!(parameters.count(), 8);
        assert_eq!(parameters.get(0), Some(&b"user_7"[..]));
        assert_eq!(parameters.get(5), Some(&b"user_8@example.com"[..]));
        assert_eq!(parameters.get(6).map(<[u8]>::len), Some(8));
    }
}
