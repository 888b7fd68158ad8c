//! One row, one INSERT: the statement of `single_row` and of each row of `pipelined`.

use super::{Shape, multi_row};

/// Returns the statement; letter for letter what GORM v2 sends for `Create` when it returns.
pub fn statement(shape: Shape<'_>) -> String {
    multi_row::statement(shape, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::fixture::shape;

    #[test]
    fn reads_as_gorm_writes_it() {
        assert_eq!(
            statement(shape(true)),
            "INSERT INTO \"users\" (\"name\",\"email\",\"age\",\"created_at\") \
             VALUES ($1,$2,$3,$4) RETURNING \"id\""
        );
    }
}
