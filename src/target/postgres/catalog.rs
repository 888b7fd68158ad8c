//! Reads a table from the catalog: its columns and their types, what is UNIQUE, its CHECKs.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio_postgres::{
    Client, Error,
    types::{FromSql, Type},
};

use super::ddl::Installed;
use crate::rows::{ColumnFacts, ColumnKind, Maker, SqlType, TypeFacts, TypeShape};

/// A table as the catalog has it.
#[derive(Debug)]
pub(super) struct TableFacts {
    pub(super) columns: Vec<CatalogColumn>,
    /// The columns of each UNIQUE constraint and unique index, as places in `columns`.
    pub(super) uniques: Vec<Vec<usize>>,
    pub(super) checks: Vec<Check>,
    /// The first column of the primary key.
    pub(super) key: Option<String>,
    /// Triggers that fire for rows inserted, by name.
    pub(super) triggers: Vec<String>,
}

#[derive(Debug)]
pub(super) struct CatalogColumn {
    pub(super) facts: ColumnFacts,
    /// Its type with length and precision, as a cast wants it; of a domain, the type below it.
    pub(super) cast: String,
    /// Whether rows may not carry it: a generated column, or GENERATED ALWAYS AS IDENTITY.
    pub(super) is_never_sent: bool,
    /// The CHECKs of its domain, if it has one.
    pub(super) domain_checks: Vec<Check>,
}

#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) expression: String,
}

#[derive(Clone, Debug)]
pub(super) struct ForeignKey {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) parent: String,
    pub(super) parent_oid: u32,
    /// Its name without that of its schema, and not quoted.
    pub(super) parent_name: String,
    pub(super) parent_columns: Vec<String>,
}

/// A type on the way to its facts.
struct Resolved {
    facts: TypeFacts,
    cast: String,
    is_required: bool,
    has_default: bool,
    checks: Vec<Check>,
}

/// Microseconds of a second to the power of ten: `time(p)` keeps p decimals.
const MICRO_DIGITS: u32 = 6;
/// What an interval's fields may be, in its modifier. Source: PostgreSQL's `timestamp.h` and
/// `datetime.h`, `INTERVAL_MASK`.
const INTERVAL_FULL: i32 = 0x7fff;
const INTERVAL_MONTH: i32 = 1 << 1;
const INTERVAL_YEAR: i32 = 1 << 2;
const INTERVAL_DAY: i32 = 1 << 3;
const INTERVAL_HOUR: i32 = 1 << 10;
const INTERVAL_MINUTE: i32 = 1 << 11;
const INTERVAL_SECOND: i32 = 1 << 12;

/// Reads the table with this object identifier.
pub(super) async fn read(client: &Client, table: u32) -> Result<TableFacts, Error> {
    let columns = read_columns(client, table).await?;
    let place = |name: &str| columns.iter().position(|column| column.facts.name == name);
    let query = "SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a \
                              WHERE a.attrelid = i.indrelid AND (a.attnum = ANY (i.indkey) OR \
                                    (i.indexprs IS NOT NULL AND EXISTS (SELECT FROM pg_depend d \
                                     WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid \
                                       AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)))), \
                        CASE WHEN i.indisprimary THEN (SELECT a.attname::text FROM pg_attribute a \
                              WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0]) END \
                 FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique ORDER BY i.indexrelid";
    let (mut uniques, mut key) = (Vec::new(), None);
    for row in client.query(query, &[&table]).await? {
        let names: Vec<String> = row.get(0);
        uniques.push(names.iter().filter_map(|name| place(name)).collect());
        key = row.get::<_, Option<String>>(1).or(key);
    }
    let query = "SELECT conname::text, pg_get_expr(conbin, conrelid) FROM pg_constraint \
                 WHERE conrelid = $1 AND contype = 'c' ORDER BY oid";
    let checks = client.query(query, &[&table]).await?.iter().map(check).collect();
    let query = "SELECT tgname::text FROM pg_trigger \
                 WHERE tgrelid = $1 AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & 4 <> 0 \
                 ORDER BY tgname";
    let triggers = client.query(query, &[&table]).await?.iter().map(|row| row.get(0)).collect();
    Ok(TableFacts { columns, uniques, checks, key, triggers })
}

/// Reads what the extensions of the database have.
pub(super) async fn installed(client: &Client) -> Result<Installed, Error> {
    let extensions = client.query("SELECT extname::text FROM pg_extension", &[]).await?;
    let query = "SELECT n.nspname::text, o.name::text FROM pg_depend d \
                 JOIN (SELECT 'pg_type'::regclass, oid, typnamespace, typname FROM pg_type \
                       UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace, proname FROM pg_proc \
                       UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace, opcname \
                       FROM pg_opclass) o (class, oid, namespace, name) \
                   ON o.class = d.classid AND o.oid = d.objid \
                 JOIN pg_namespace n ON n.oid = o.namespace \
                 WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass";
    let members = client.query(query, &[]).await?;
    Ok(Installed {
        extensions: extensions.iter().map(|row| row.get(0)).collect(),
        members: members.iter().map(|row| (row.get(0), row.get(1))).collect(),
    })
}

/// Reads the foreign keys of a table.
pub(super) async fn foreign_keys(client: &Client, table: u32) -> Result<Vec<ForeignKey>, Error> {
    let query = "SELECT conname::text, confrelid::regclass::text, \
                        ARRAY(SELECT attname::text FROM pg_attribute \
                              WHERE attrelid = conrelid AND attnum = ANY (conkey)), confrelid, \
                        ARRAY(SELECT attname::text FROM pg_attribute \
                              WHERE attrelid = confrelid AND attnum = ANY (confkey)), \
                        (SELECT relname::text FROM pg_class WHERE oid = confrelid) \
                 FROM pg_constraint WHERE conrelid = $1 AND contype = 'f' ORDER BY conname";
    let rows = client.query(query, &[&table]).await?;
    let foreign_key = |row: &tokio_postgres::Row| ForeignKey {
        name: row.get(0),
        parent: row.get(1),
        columns: row.get(2),
        parent_oid: row.get(3),
        parent_columns: row.get(4),
        parent_name: row.get(5),
    };
    Ok(rows.iter().map(foreign_key).collect())
}

/// Reads the triggers of a schema's tables whose function lies outside of it, those that PostgreSQL
/// comes with aside: trigger and function, by name.
pub(super) async fn triggers_outside(
    client: &Client,
    schema: &str,
) -> Result<Vec<(String, String)>, Error> {
    let query = "SELECT DISTINCT t.tgname::text, format('%I.%I', n.nspname, p.proname) \
                 FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
                 JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace \
                 WHERE c.relnamespace = quote_ident($1::text)::regnamespace \
                   AND NOT t.tgisinternal AND t.tgenabled <> 'D' \
                   AND n.nspname NOT IN ($1::text, 'pg_catalog') ORDER BY 1, 2";
    let rows = client.query(query, &[&schema]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn check(row: &tokio_postgres::Row) -> Check {
    Check { name: row.get(0), expression: row.get(1) }
}

async fn read_columns(client: &Client, table: u32) -> Result<Vec<CatalogColumn>, Error> {
    let query = "SELECT a.attname::text, a.atttypid, a.atttypmod, a.attnotnull, \
                        a.attidentity::text, a.attgenerated::text, \
                        pg_get_expr(d.adbin, d.adrelid) \
                 FROM pg_attribute a \
                 LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let mut columns = Vec::new();
    for row in client.query(query, &[&table]).await? {
        let (identity, generated): (String, String) = (row.get(4), row.get(5));
        let default: Option<String> = row.get(6);
        let resolved = resolve(client, row.get(1), row.get(2)).await?;
        let makes_unique = |text: &str| text.contains("nextval(") || text.contains("uuid");
        let maker = match default.as_deref() {
            _ if !identity.is_empty() => Maker::ServerUnique,
            Some(text) if makes_unique(text) => Maker::ServerUnique,
            Some(_) => Maker::Server,
            None if resolved.has_default => Maker::Server,
            None => Maker::Client,
        };
        let is_required = row.get::<_, bool>(3) || resolved.is_required;
        columns.push(CatalogColumn {
            facts: ColumnFacts { name: row.get(0), facts: resolved.facts, is_required, maker },
            cast: resolved.cast,
            is_never_sent: identity == "a" || !generated.is_empty(),
            domain_checks: resolved.checks,
        });
    }
    Ok(columns)
}

/// Finds out what a type is: domains down to their base, arrays and ranges down to their elements.
fn resolve(
    client: &Client,
    oid: u32,
    modifier: i32,
) -> Pin<Box<dyn Future<Output = Result<Resolved, Error>> + Send + '_>> {
    Box::pin(async move {
        let query = "SELECT t.typtype::text, t.typelem, t.typarray, t.typbasetype, t.typtypmod, \
                            t.typnotnull, t.typdefault IS NOT NULL, format_type(t.oid, $2), \
                            format_type(t.oid, NULL), t.typcategory = 'A' AND t.typlen = -1, \
                            coalesce(r.rngsubtype, 0) \
                     FROM pg_type t LEFT JOIN pg_range r ON r.rngtypid = t.oid WHERE t.oid = $1";
        let row = client.query_one(query, &[&oid, &modifier]).await?;
        let (class, is_array): (String, bool) = (row.get(0), row.get(9));
        let (cast, name): (String, String) = (row.get(7), row.get(8));
        let array_oid: u32 = row.get(2);
        let plain = |kind, shape, name: &str| Resolved {
            facts: TypeFacts {
                sql_type: SqlType { kind, name: name.to_owned(), oid, array_oid },
                shape,
            },
            cast: cast.clone(),
            is_required: false,
            has_default: false,
            checks: Vec::new(),
        };
        match class.as_str() {
            "d" => {
                let inner_modifier = if modifier == -1 { row.get(4) } else { modifier };
                let mut below = resolve(client, row.get(3), inner_modifier).await?;
                below.is_required |= row.get::<_, bool>(5);
                below.has_default |= row.get::<_, bool>(6);
                below.checks.extend(domain_checks(client, oid).await?);
                Ok(below)
            }
            "e" => {
                let labels = labels(client, oid).await?;
                Ok(plain(ColumnKind::Text, TypeShape::Enum(labels), &name))
            }
            "r" => {
                let bound = resolve(client, row.get(10), -1).await?.facts;
                let kind = ColumnKind::Range(Box::new(bound.kind().clone()));
                Ok(plain(kind, TypeShape::Range(Box::new(bound)), &name))
            }
            "b" if is_array => {
                let element_oid: u32 = row.get(1);
                let mut element = resolve(client, element_oid, modifier).await?.facts;
                // An array says what its elements are: a domain, not the type below it.
                element.sql_type.oid = element_oid;
                let kind = ColumnKind::Array(Box::new(element.kind().clone()));
                Ok(plain(kind, TypeShape::Array(Box::new(element)), &cast))
            }
            _ => {
                let Some((kind, shape)) = built_in(oid, modifier) else {
                    let kind = ColumnKind::Listed(Arc::from([]));
                    return Ok(plain(kind, TypeShape::Other, &name));
                };
                // In SQL, `character` and `bit` without a length have one of 1.
                let name = match oid {
                    1042 => "bpchar",
                    1560 => &cast,
                    _ => &name,
                };
                Ok(plain(kind, shape, name))
            }
        }
    })
}

async fn domain_checks(client: &Client, domain: u32) -> Result<Vec<Check>, Error> {
    let query = "SELECT conname::text, pg_get_expr(conbin, 0) FROM pg_constraint \
                 WHERE contypid = $1 AND contype = 'c' ORDER BY oid";
    Ok(client.query(query, &[&domain]).await?.iter().map(check).collect())
}

async fn labels(client: &Client, oid: u32) -> Result<Vec<String>, Error> {
    let query = "SELECT enumlabel::text FROM pg_enum WHERE enumtypid = $1 ORDER BY enumsortorder";
    Ok(client.query(query, &[&oid]).await?.iter().map(|row| row.get(0)).collect())
}

/// Types that PostgreSQL comes with. Object identifiers: `pg_type.dat`; modifiers: each type's
/// `typmodin`.
fn built_in(oid: u32, modifier: i32) -> Option<(ColumnKind, TypeShape)> {
    let length = u32::try_from(modifier - 4).ok();
    let step = |decimals: i32| {
        let decimals = u32::try_from(decimals).unwrap_or(MICRO_DIGITS).min(MICRO_DIGITS);
        10_i64.pow(MICRO_DIGITS - decimals)
    };
    Some(match oid {
        16 => (ColumnKind::Bool, TypeShape::Boolean),
        17 => (ColumnKind::Bytea, TypeShape::Bytea),
        19 => (ColumnKind::Text, TypeShape::Text { length_max: Some(63) }),
        20 => (ColumnKind::Int8, TypeShape::BigInt),
        21 => (ColumnKind::Int2, TypeShape::SmallInt),
        23 => (ColumnKind::Int4, TypeShape::Integer),
        25 => (ColumnKind::Text, TypeShape::Text { length_max: None }),
        114 => (ColumnKind::Text, TypeShape::Json),
        650 => (ColumnKind::Inet, TypeShape::Cidr),
        700 => (ColumnKind::Float4, TypeShape::Real),
        701 => (ColumnKind::Float8, TypeShape::DoublePrecision),
        774 => (ColumnKind::Macaddr, TypeShape::Macaddr { bytes: 8 }),
        829 => (ColumnKind::Macaddr, TypeShape::Macaddr { bytes: 6 }),
        869 => (ColumnKind::Inet, TypeShape::Inet),
        1042 => match length {
            Some(length) => (ColumnKind::Text, TypeShape::Char { length }),
            None => (ColumnKind::Text, TypeShape::Text { length_max: None }),
        },
        1043 => (ColumnKind::Text, TypeShape::Text { length_max: length }),
        1082 => (ColumnKind::Date, TypeShape::Date),
        1083 => (ColumnKind::Time, TypeShape::Time { step: step(modifier) }),
        1114 => (ColumnKind::Timestamp, TypeShape::Timestamp { step: step(modifier) }),
        1184 => (ColumnKind::TimestampTz, TypeShape::Timestamp { step: step(modifier) }),
        1186 => (ColumnKind::Interval, interval(modifier)),
        1266 => (ColumnKind::TimeTz, TypeShape::TimeTz { step: step(modifier) }),
        1560 => {
            let length = u32::try_from(modifier).unwrap_or(1);
            (ColumnKind::Bits, TypeShape::Bits { length: (length, length) })
        }
        1562 => {
            let most = u32::try_from(modifier).unwrap_or(u32::MAX);
            (ColumnKind::Bits, TypeShape::Bits { length: (0, most) })
        }
        1700 => (ColumnKind::Numeric, numeric(modifier)),
        2950 => (ColumnKind::Uuid, TypeShape::Uuid),
        3802 => (ColumnKind::Jsonb, TypeShape::Jsonb),
        _ => return None,
    })
}

/// Precision in the upper half of the modifier, scale in 11 signed bits of the lower (15 and later;
/// before, a scale was never negative). Source: PostgreSQL's `numeric.c`, `make_numeric_typmod`.
fn numeric(modifier: i32) -> TypeShape {
    let Some(bits) = modifier.checked_sub(4).filter(|&bits| 0 <= bits) else {
        return TypeShape::Numeric { precision: None, scale: 0 };
    };
    let precision = u32::try_from(bits >> 16 & 0xffff).ok();
    TypeShape::Numeric { precision, scale: ((bits & 0x7ff) ^ 1_024) - 1_024 }
}

/// The finest field that an interval keeps, and its decimals of a second.
fn interval(modifier: i32) -> TypeShape {
    let (fields, decimals) = if modifier < 0 {
        (INTERVAL_FULL, 6)
    } else {
        (modifier >> 16 & 0x7fff, modifier & 0xffff)
    };
    const SECOND: i64 = 1_000_000;
    let has = |field: i32| fields == INTERVAL_FULL || fields & field != 0;
    if has(INTERVAL_SECOND) {
        let decimals = u32::try_from(decimals).unwrap_or(MICRO_DIGITS).min(MICRO_DIGITS);
        TypeShape::Interval { step: 10_i64.pow(MICRO_DIGITS - decimals) }
    } else if has(INTERVAL_MINUTE) {
        TypeShape::Interval { step: 60 * SECOND }
    } else if has(INTERVAL_HOUR) {
        TypeShape::Interval { step: 3_600 * SECOND }
    } else if has(INTERVAL_DAY) {
        TypeShape::Interval { step: 86_400 * SECOND }
    } else if has(INTERVAL_MONTH) {
        TypeShape::Months { step: 1 }
    } else {
        debug_assert!(has(INTERVAL_YEAR));
        TypeShape::Months { step: 12 }
    }
}

/// Has the server read literals as values of a type; returns each in binary format and as text.
pub(super) async fn read_values(
    client: &Client,
    cast: &str,
    literals: &[String],
) -> Result<Vec<(Vec<u8>, String)>, Error> {
    let query = format!(
        "SELECT it.literal::{cast}, it.literal::{cast}::text \
         FROM unnest($1::text[]) WITH ORDINALITY AS it (literal, place) ORDER BY it.place"
    );
    let rows = client.query(&query, &[&literals]).await?;
    let value = |row: &tokio_postgres::Row| {
        let Raw(bytes) = row.get::<_, Raw>(0);
        (bytes, row.get(1))
    };
    Ok(rows.iter().map(value).collect())
}

/// A value of any type, in binary format.
pub(super) struct Raw(pub(super) Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Modifiers as PostgreSQL 15 stores them (`pg_attribute.atttypmod`).
    #[test]
    fn modifiers_are_read() {
        let shape = |oid, modifier| built_in(oid, modifier).unwrap().1;
        let numeric = |precision, scale| TypeShape::Numeric { precision: Some(precision), scale };
        assert_eq!(shape(1700, 655_366), numeric(10, 2));
        assert_eq!(shape(1700, 198_657), numeric(3, -3));
        assert_eq!(shape(1700, -1), TypeShape::Numeric { precision: None, scale: 0 });
        assert_eq!(shape(1043, 24), TypeShape::Text { length_max: Some(20) });
        assert_eq!(shape(1042, 7), TypeShape::Char { length: 3 });
        assert_eq!(shape(1083, 0), TypeShape::Time { step: 1_000_000 });
        assert_eq!(shape(1184, 3), TypeShape::Timestamp { step: 1_000 });
        assert_eq!(shape(1560, 8), TypeShape::Bits { length: (8, 8) });
        // interval; interval(2); year to month; day; hour to minute.
        for (modifier, expected) in [
            (-1, TypeShape::Interval { step: 1 }),
            (0x7fff_0002, TypeShape::Interval { step: 10_000 }),
            (0x0006_ffff, TypeShape::Months { step: 1 }),
            (0x0008_ffff, TypeShape::Interval { step: 86_400_000_000 }),
            (0x0c00_ffff, TypeShape::Interval { step: 60_000_000 }),
            (0x0004_ffff, TypeShape::Months { step: 12 }),
        ] {
            assert_eq!(shape(1186, modifier), expected, "{modifier:x}");
        }
    }
}
