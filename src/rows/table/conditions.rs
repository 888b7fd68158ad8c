//! Reads a CHECK as far as rows can be made to meet it: comparisons with constants, lists, lengths.

use sqlparser::{
    ast::{
        BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

/// What a CHECK asks of one column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition {
    /// The column; `VALUE` in the CHECK of a domain.
    pub column: String,
    /// What is asked.
    pub limit: Limit,
}

/// A limit on the values of a column. Values are literals as the server reads them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Limit {
    /// At least, or above.
    Least {
        /// The bound.
        value: String,
        /// Whether the bound itself is allowed.
        is_inclusive: bool,
    },
    /// At most, or below.
    Most {
        /// The bound.
        value: String,
        /// Whether the bound itself is allowed.
        is_inclusive: bool,
    },
    /// One of these.
    OneOf(Vec<String>),
    /// At least so long.
    LengthMin(u32),
    /// At most so long.
    LengthMax(u32),
    /// Not NULL.
    Required,
}

/// Returns what a CHECK asks, or `None` if it asks anything else than what a [`Limit`] can say.
///
/// `expression` is as `pg_get_expr` writes it.
pub fn conditions(expression: &str) -> Option<Vec<Condition>> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(expression);
    let parsed = parser.and_then(|mut parser| parser.parse_expr()).ok()?;
    let mut conditions = Vec::new();
    read(&parsed, &mut conditions)?;
    Some(conditions)
}

fn read(expression: &Expr, out: &mut Vec<Condition>) -> Option<()> {
    match expression {
        Expr::Nested(inner) => read(inner, out)?,
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            read(left, out)?;
            read(right, out)?;
        }
        Expr::BinaryOp { left, op, right } => out.extend(comparison(left, op, right)?),
        Expr::Between { expr, negated: false, low, high } => {
            out.extend(comparison(expr, &BinaryOperator::GtEq, low)?);
            out.extend(comparison(expr, &BinaryOperator::LtEq, high)?);
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            out.push(one_of(left, elements(right)?)?);
        }
        Expr::InList { expr, list, negated: false } => out.push(one_of(expr, list)?),
        Expr::IsNotNull(inner) => {
            out.push(Condition { column: column(inner)?, limit: Limit::Required });
        }
        _ => return None,
    }
    Some(())
}

fn comparison(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Vec<Condition>> {
    let Some(value) = literal(right) else {
        let mirrored = match op {
            BinaryOperator::Gt => BinaryOperator::Lt,
            BinaryOperator::GtEq => BinaryOperator::LtEq,
            BinaryOperator::Lt => BinaryOperator::Gt,
            BinaryOperator::LtEq => BinaryOperator::GtEq,
            BinaryOperator::Eq => BinaryOperator::Eq,
            _ => return None,
        };
        literal(left)?;
        return comparison(right, &mirrored, left);
    };
    if let Some(column) = length_of(left) {
        let count: u32 = value.parse().ok()?;
        let limits = match op {
            BinaryOperator::Gt => vec![Limit::LengthMin(count.checked_add(1)?)],
            BinaryOperator::GtEq => vec![Limit::LengthMin(count)],
            BinaryOperator::Lt => vec![Limit::LengthMax(count.checked_sub(1)?)],
            BinaryOperator::LtEq => vec![Limit::LengthMax(count)],
            BinaryOperator::Eq => vec![Limit::LengthMin(count), Limit::LengthMax(count)],
            _ => return None,
        };
        let condition = |limit| Condition { column: column.clone(), limit };
        return Some(limits.into_iter().map(condition).collect());
    }
    let limit = match op {
        BinaryOperator::Gt => Limit::Least { value, is_inclusive: false },
        BinaryOperator::GtEq => Limit::Least { value, is_inclusive: true },
        BinaryOperator::Lt => Limit::Most { value, is_inclusive: false },
        BinaryOperator::LtEq => Limit::Most { value, is_inclusive: true },
        BinaryOperator::Eq => Limit::OneOf(vec![value]),
        _ => return None,
    };
    Some(vec![Condition { column: column(left)?, limit }])
}

fn one_of(subject: &Expr, values: &[Expr]) -> Option<Condition> {
    let values = values.iter().map(literal).collect::<Option<Vec<_>>>()?;
    Some(Condition { column: column(subject)?, limit: Limit::OneOf(values) })
}

fn elements(array: &Expr) -> Option<&[Expr]> {
    match array {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => elements(inner),
        Expr::Array(array) => Some(&array.elem),
        _ => None,
    }
}

fn column(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => column(inner),
        Expr::Identifier(name) => Some(name.value.clone()),
        _ => None,
    }
}

fn length_of(expression: &Expr) -> Option<String> {
    let Expr::Function(function) = expression else {
        return match expression {
            Expr::Nested(inner) => length_of(inner),
            _ => None,
        };
    };
    let name = function.name.to_string().to_lowercase();
    // Rows hold ASCII, so that a character is a byte.
    if !["length", "char_length", "character_length", "octet_length"].contains(&name.as_str()) {
        return None;
    }
    let FunctionArguments::List(arguments) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = arguments.args.as_slice() else {
        return None;
    };
    column(argument)
}

fn literal(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => literal(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(format!("-{}", literal(expr)?)),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) | Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expressions as PostgreSQL 15 writes them, and what they ask.
    #[test]
    fn simple_checks_are_understood() {
        let least = |value: &str, is_inclusive| Limit::Least { value: value.into(), is_inclusive };
        let most = |value: &str, is_inclusive| Limit::Most { value: value.into(), is_inclusive };
        let list = |values: &[&str]| {
            Limit::OneOf(values.iter().map(|value| (*value).to_owned()).collect())
        };
        for (expression, column, limits) in [
            ("(age >= 18)", "age", vec![least("18", true)]),
            ("(VALUE > 0)", "VALUE", vec![least("0", false)]),
            ("((age >= 18) AND (age <= 99))", "age", vec![least("18", true), most("99", true)]),
            ("(price > (0)::numeric)", "price", vec![least("0", false)]),
            ("(delta > '-5'::integer)", "delta", vec![least("-5", false)]),
            ("(5 < age)", "age", vec![least("5", false)]),
            ("(day < '2030-01-01'::date)", "day", vec![most("2030-01-01", false)]),
            (
                "((status)::text = ANY ((ARRAY['new'::character varying, 'it''s'::character \
                 varying])::text[]))",
                "status",
                vec![list(&["new", "it's"])],
            ),
            ("(kind = ANY (ARRAY[1, 2, 3]))", "kind", vec![list(&["1", "2", "3"])]),
            ("(char_length((name)::text) <= 20)", "name", vec![Limit::LengthMax(20)]),
            ("(length(\"Name\") > 3)", "Name", vec![Limit::LengthMin(4)]),
            ("(octet_length(data) = 8)", "data", vec![Limit::LengthMin(8), Limit::LengthMax(8)]),
            ("(name IS NOT NULL)", "name", vec![Limit::Required]),
            ("(is_on = true)", "is_on", vec![list(&["true"])]),
        ] {
            let expected = limits
                .into_iter()
                .map(|limit| Condition { column: column.to_owned(), limit })
                .collect::<Vec<_>>();
            assert_eq!(conditions(expression), Some(expected), "{expression}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said_to_be() {
        for expression in [
            "(email ~ '^[a-z]+@'::text)",
            "(starts < ends)",
            "((a > 0) OR (b > 0))",
            "(price <> (0)::numeric)",
            "(day > CURRENT_DATE)",
            "(lower(name) = 'x'::text)",
            "NOT (a > 0)",
            "(a +",
        ] {
            assert_eq!(conditions(expression), None, "{expression}");
        }
    }
}
