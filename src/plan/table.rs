//! The table of a plan: the article's, or the user's own; and what its columns mean for the cells.

use super::{CellPlan, Plan, PlanError};
use crate::{
    rows::{CsvHeader, CsvProgress, CsvSettings, Distribution, Generator, OnBadLine},
    scenario::{self, Scenario},
    strategy::{PARAMETERS_MAX, Strategy},
    target::{ColumnRule, ForeignKeys, TableInfo, TableSettings, TableSource, Triggers},
};

/// Returns how many columns a row has, where that is known before the table is made.
pub(super) fn columns(table: &scenario::Table) -> Option<usize> {
    let is_article = table.ddl.is_none() && table.like.is_none();
    is_article.then(|| Generator::article_user(0).columns().len())
}

pub(super) fn resolve(scenario: &Scenario) -> Result<TableSettings, PlanError> {
    let table = &scenario.table;
    let source = resolve_source(table)?;
    let is_article = source == TableSource::Article;
    let name = match (&table.name, &source) {
        (Some(_), TableSource::Like { .. }) => {
            let problem = "`like` names the table; remove the key";
            return Err(PlanError::new("table.name", problem));
        }
        (Some(name), _) => name.clone(),
        (None, TableSource::Article) => "users".to_owned(),
        // The catalog will tell.
        (None, _) => String::new(),
    };
    if (table.name.is_some() && name.is_empty()) || 63 < name.len() || name.contains('\0') {
        return Err(PlanError::new("table.name", "a table's name has 1 to 63 bytes"));
    }
    let generator = Generator::article_user(0);
    let columns = generator.columns();
    for (index, column) in table.indexes.iter().enumerate().filter(|_| is_article) {
        if !columns.iter().any(|known| known.name == *column) {
            let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let problem = format!("no column `{column}`; columns are {}", known.join(", "));
            return Err(PlanError::new(format!("table.indexes[{index}]"), problem));
        }
    }
    let unlogged = table.unlogged.unwrap_or(false);
    if unlogged && matches!(source, TableSource::Ddl { .. }) {
        let problem = "the DDL says what the table is: write CREATE UNLOGGED TABLE there";
        return Err(PlanError::new("table.unlogged", problem));
    }
    if is_article && !scenario.columns.is_empty() {
        let problem = "the article's columns are as they are; name a table of your own with \
                       `table.ddl` or `table.like`";
        return Err(PlanError::new("columns", problem));
    }
    if !is_article && scenario.rows.kind.is_some() {
        let problem = "the columns of your own table say what a row is; remove the key";
        return Err(PlanError::new("rows.kind", problem));
    }
    let foreign_keys = match table.without_foreign_keys {
        Some(true) => ForeignKeys::LeaveOut,
        _ => ForeignKeys::Refuse,
    };
    let columns = resolve_columns(&scenario.columns)?;
    let csv = resolve_csv(&scenario.rows, is_article)?;
    if csv.is_some()
        && let Some(number) = columns.iter().position(|rule| !rule.is_left_out)
    {
        let problem = "the file says what the values are; only `left_out` goes with `rows.csv`";
        return Err(PlanError::new(format!("columns[{number}]"), problem));
    }
    Ok(TableSettings {
        name,
        unlogged,
        indexes: table.indexes.clone(),
        source,
        foreign_keys,
        columns,
        csv,
    })
}

fn resolve_csv(rows: &scenario::Rows, is_article: bool) -> Result<Option<CsvSettings>, PlanError> {
    let Some(file) = &rows.csv else {
        for (key, is_there) in [
            ("header", rows.header.is_some()),
            ("delimiter", rows.delimiter.is_some()),
            ("null_text", rows.null_text.is_some()),
            ("on_bad_line", rows.on_bad_line.is_some()),
        ] {
            if is_there {
                let problem = "says how a file is read; name it with `rows.csv`";
                return Err(PlanError::new(format!("rows.{key}"), problem));
            }
        }
        return Ok(None);
    };
    if is_article {
        let problem = "rows of your own need a table of your own: name one with `table.ddl` or \
                       `table.like`";
        return Err(PlanError::new("rows.csv", problem));
    }
    let delimiter = rows.delimiter.as_deref().unwrap_or(",");
    let mut characters = delimiter.chars();
    let delimiter = match (characters.next(), characters.next()) {
        (Some(only), None) if only.is_ascii() && !"\"\r\n\0".contains(only) => only,
        _ => {
            let problem = "expected one ASCII character, and no quote or line end";
            return Err(PlanError::new("rows.delimiter", problem));
        }
    };
    let null = rows.null_text.clone().unwrap_or_default();
    if null.contains(['"', '\r', '\n', delimiter]) {
        let problem = "expected a text without delimiter, quote and line end";
        return Err(PlanError::new("rows.null_text", problem));
    }
    Ok(Some(CsvSettings {
        file: file.clone(),
        path: file.into(),
        header: match rows.header {
            Some(false) => CsvHeader::TableOrder,
            _ => CsvHeader::Names,
        },
        delimiter,
        null,
        on_bad_line: match rows.on_bad_line.unwrap_or_default() {
            scenario::OnBadLine::Error => OnBadLine::Error,
            scenario::OnBadLine::Skip => OnBadLine::Skip,
        },
        progress: CsvProgress::default(),
    }))
}

fn resolve_source(table: &scenario::Table) -> Result<TableSource, PlanError> {
    let without_triggers = table.without_triggers == Some(true);
    if without_triggers && table.like.is_none() {
        let problem = "only `like` copies triggers; remove the key";
        return Err(PlanError::new("table.without_triggers", problem));
    }
    Ok(match (&table.ddl, &table.like) {
        (Some(_), Some(_)) => {
            let problem = "a table is made from `ddl` or like another, not both; remove one key";
            return Err(PlanError::new("table.like", problem));
        }
        (Some(file), None) => TableSource::Ddl { file: file.clone(), text: String::new() },
        (None, Some(like)) => TableSource::Like {
            table: like.clone(),
            triggers: if without_triggers { Triggers::LeaveOut } else { Triggers::Copy },
        },
        (None, None) => TableSource::Article,
    })
}

fn resolve_columns(columns: &[scenario::Column]) -> Result<Vec<ColumnRule>, PlanError> {
    let mut rules: Vec<ColumnRule> = Vec::new();
    for (number, column) in columns.iter().enumerate() {
        let key = |name: &str| format!("columns[{number}].{name}");
        if rules.iter().any(|rule| rule.name == column.name) {
            let problem = format!("there is a rule for `{}` already", column.name);
            return Err(PlanError::new(key("name"), problem));
        }
        let is_left_out = column.left_out == Some(true);
        let null_share = column.null_share.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_share) {
            let problem = format!("{null_share} is out of range; expected 0 to 1");
            return Err(PlanError::new(key("null_share"), problem));
        }
        let values = column.values.as_ref().map(|values| values.iter().map(literal).collect());
        if values.as_ref().is_some_and(Vec::is_empty) {
            return Err(PlanError::new(key("values"), "expected at least one value"));
        }
        let range = column.range.as_ref().map(|range| match range.as_slice() {
            [least, most] => Ok([literal(least), literal(most)]),
            _ => Err(PlanError::new(key("range"), "expected two values: the least, the greatest")),
        });
        let length = column.length.as_ref().map(|length| match *length.as_slice() {
            [only] => Ok((only, only)),
            [least, most] if least <= most => Ok((least, most)),
            _ => Err(PlanError::new(key("length"), "expected the least and the greatest length")),
        });
        let (range, length) = (range.transpose()?, length.transpose()?);
        if values.is_some() && (range.is_some() || length.is_some()) {
            let problem = "`values` are all there are; remove `range` and `length`";
            return Err(PlanError::new(key("values"), problem));
        }
        let says_more = values.is_some() || range.is_some() || length.is_some();
        if is_left_out && (says_more || column.distribution.is_some() || 0.0 < null_share) {
            let problem = "rows do not carry a column that is left out; remove the other keys";
            return Err(PlanError::new(key("left_out"), problem));
        }
        rules.push(ColumnRule {
            name: column.name.clone(),
            values,
            range,
            length,
            distribution: column.distribution.map(distribution),
            null_share,
            is_left_out,
        });
    }
    Ok(rules)
}

fn literal(literal: &scenario::Literal) -> String {
    match literal {
        scenario::Literal::Text(text) => text.clone(),
        scenario::Literal::Integer(number) => number.to_string(),
        scenario::Literal::Number(number) => number.to_string(),
        scenario::Literal::Boolean(value) => value.to_string(),
    }
}

fn distribution(distribution: scenario::Distribution) -> Distribution {
    match distribution {
        scenario::Distribution::Uniform => Distribution::Uniform,
        scenario::Distribution::Normal => Distribution::Normal,
        scenario::Distribution::Zipf => Distribution::Zipf,
        scenario::Distribution::Sequential => Distribution::Sequential,
        scenario::Distribution::Scattered => Distribution::Scattered,
    }
}

/// Holds a batch to what an operation can carry; says so, if that changes it.
pub(super) fn clamp(
    name: &str,
    (strategy, columns): (Strategy, usize),
    batch_rows: u64,
    notes: &mut Vec<String>,
) -> u64 {
    let most = strategy.batch_rows_max(columns);
    if most < batch_rows {
        notes.push(format!(
            "{name}: batch_rows {batch_rows} clamped to {most}: PostgreSQL takes at most 65,535 \
             parameters a statement, and a row has {columns}"
        ));
    }
    batch_rows.min(most)
}

impl Plan {
    /// Fits the cells to the user's own table, whose columns are known once it is made.
    ///
    /// # Errors
    ///
    /// A cell that cannot run on it: more columns than a statement takes, more rows than there can
    /// be, or ids asked back where there are none.
    pub fn fit(&mut self, table: &TableInfo) -> Result<(), PlanError> {
        self.table.name.clone_from(&table.name);
        self.rows_max = table.rows_max;
        self.csv.clone_from(&table.csv);
        let mut notes = Vec::new();
        for (number, cell) in self.cells.iter_mut().enumerate() {
            fit_cell(&format!("cells[{number}]"), cell, table, &mut notes)?;
        }
        self.notes.extend(notes);
        Ok(())
    }
}

fn fit_cell(
    key: &str,
    cell: &mut CellPlan,
    table: &TableInfo,
    notes: &mut Vec<String>,
) -> Result<(), PlanError> {
    if cell.returning && !table.has_key {
        let problem = format!("`{}` has no primary key to ask back; use false", table.name);
        return Err(PlanError::new(format!("{key}.returning"), problem));
    }
    if PARAMETERS_MAX < table.columns as u64 {
        let problem = "a row has more columns than a statement parameters";
        return Err(PlanError::new(format!("{key}.strategy"), problem));
    }
    if cell.strategy == Strategy::Unnest && !table.arrays.is_empty() {
        let columns = table.arrays.join(", ");
        notes.push(format!(
            "{}: unnest would take arrays of arrays apart; {columns} go as texts, and the server \
             reads each",
            cell.name
        ));
    }
    let carrier = (cell.strategy, table.columns);
    match cell.controller {
        None => cell.batch_rows = clamp(&cell.name, carrier, cell.batch_rows, notes),
        Some(controller) => {
            let controller = controller.fit(&format!("{key}.controller"), carrier, notes)?;
            let start = controller.controller(0).start().setting;
            (cell.batch_rows, cell.workers) = (start.batch_rows, start.workers);
            cell.controller = Some(controller);
        }
    }
    let Some(most) = table.rows_max else { return Ok(()) };
    match (cell.stop.rows, &table.csv) {
        (Some(rows), Some(csv)) if most < rows => {
            let problem = format!(
                "{} has {most} rows; use fewer, or remove the key: the default is all of them",
                csv.file
            );
            return Err(PlanError::new(format!("{key}.stop.rows"), problem));
        }
        (None, Some(csv)) => {
            cell.stop.rows = Some(most);
            if cell.stop.seconds.is_some() {
                notes.push(format!(
                    "{}: ends with the last of the {most} rows of {}, if its time is not over before",
                    cell.name, csv.file
                ));
            }
        }
        (Some(rows), None) if most < rows => {
            let problem = format!(
                "UNIQUE columns of `{}` have values for {most} rows; use fewer rows, or a wider \
                 `range` in [[columns]]",
                table.name
            );
            return Err(PlanError::new(format!("{key}.stop.rows"), problem));
        }
        (Some(_), _) => (),
        (None, None) => {
            cell.stop.rows = Some(most);
            notes.push(format!(
                "{}: ends after {most} rows: UNIQUE columns have no more",
                cell.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::CsvFacts;

    fn resolve(text: &str) -> Result<Plan, PlanError> {
        let text = format!(
            "name = \"test\"\n{text}\n[[cells]]\nname = \"cell\"\nstrategy = \"multi_row\"\n\
             batch_rows = 20_000\n"
        );
        let file = Scenario::parse(&text, "test.toml").unwrap_or_else(|error| panic!("{error}"));
        Plan::resolve(&file.scenario)
    }

    #[test]
    fn a_table_of_ones_own_is_described_without_contradictions() {
        let rule = |keys: &str| format!("table.ddl = \"a.sql\"\n[[columns]]\nname = \"a\"\n{keys}");
        let csv = |keys: &str| format!("table.ddl = \"a.sql\"\n[rows]\ncsv = \"a.csv\"\n{keys}");
        for (text, key, problem) in [
            ("table = { ddl = \"a.sql\", like = \"b\" }".to_owned(), "table.like", "not both"),
            ("table = { name = \"a\", like = \"b\" }".to_owned(), "table.name", "names the table"),
            (
                "table = { ddl = \"a.sql\", unlogged = true }".to_owned(),
                "table.unlogged",
                "CREATE UNLOGGED TABLE",
            ),
            ("table.without_triggers = true".to_owned(), "table.without_triggers", "only `like`"),
            ("[[columns]]\nname = \"age\"".to_owned(), "columns", "name a table of your own"),
            ("table.like = \"b\"\nrows.kind = \"article_user\"".to_owned(), "rows.kind", "remove"),
            (rule("null_share = 1.5"), "columns[0].null_share", "0 to 1"),
            (rule("values = []"), "columns[0].values", "at least one"),
            (rule("range = [1]"), "columns[0].range", "two values"),
            (rule("length = [3, 2]"), "columns[0].length", "greatest length"),
            (rule("values = [1]\nrange = [1, 2]"), "columns[0].values", "remove `range`"),
            (rule("left_out = true\nlength = [1, 2]"), "columns[0].left_out", "remove the other"),
            (rule("[[columns]]\nname = \"a\""), "columns[1].name", "already"),
            ("rows.csv = \"a.csv\"".to_owned(), "rows.csv", "name one with `table.ddl`"),
            ("rows.null_text = \"x\"".to_owned(), "rows.null_text", "name it with `rows.csv`"),
            (csv("delimiter = \";;\""), "rows.delimiter", "one ASCII character"),
            (csv("delimiter = \"\\n\""), "rows.delimiter", "one ASCII character"),
            (csv("null_text = \"a,b\""), "rows.null_text", "without delimiter"),
            (csv("\n[[columns]]\nname = \"a\"\nvalues = [1]"), "columns[0]", "only `left_out`"),
        ] {
            let error = resolve(&text).expect_err(&text);
            assert_eq!(error.key, key, "{text}: {error}");
            assert!(error.problem.contains(problem), "{text}: {error}");
        }
        let plan =
            resolve(&rule("values = [\"x\", 1, 2.5, true]\ndistribution = \"zipf\"")).unwrap();
        let rule = &plan.table.columns[0];
        assert_eq!(rule.values.as_deref().unwrap(), ["x", "1", "2.5", "true"]);
        assert_eq!(rule.distribution, Some(Distribution::Zipf));
    }

    #[test]
    fn cells_are_fitted_to_the_columns() {
        let table = TableInfo {
            name: "t".to_owned(),
            columns: 10,
            arrays: vec!["a".to_owned()],
            rows_max: Some(50_000),
            ..TableInfo::default()
        };
        let mut plan = resolve("table.ddl = \"a.sql\"\nstop.seconds = 1.0").unwrap();
        assert_eq!((plan.cells[0].batch_rows, plan.table.name.as_str()), (20_000, ""));
        plan.fit(&table).unwrap();
        assert_eq!((plan.cells[0].batch_rows, plan.table.name.as_str()), (6_553, "t"));
        assert_eq!((plan.cells[0].stop.rows, plan.notes.len()), (Some(50_000), 2));
        let mut plan = resolve("table.ddl = \"a.sql\"\nstop.rows = 50_001").unwrap();
        assert_eq!(plan.fit(&table).unwrap_err().key, "cells[0].stop.rows");
        plan.cells[0].stop.rows = None;
        plan.cells[0].strategy = Strategy::Unnest;
        plan.fit(&table).unwrap();
        assert!(plan.notes[0].contains("a go as texts"), "{:?}", plan.notes);
        plan.cells[0].returning = true;
        assert_eq!(plan.fit(&table).unwrap_err().key, "cells[0].returning");
    }

    #[test]
    fn blocks_end_with_the_file() {
        let csv = CsvFacts { file: "a.csv".to_owned(), rows: 70, ..CsvFacts::default() };
        let table = TableInfo { rows_max: Some(70), csv: Some(csv), ..TableInfo::default() };
        for (keys, expected, notes) in [
            ("", Some(70), 0),
            ("stop.rows = 70\n", Some(70), 0),
            ("stop.rows = 9\n", Some(9), 0),
            ("stop.seconds = 1.0\n", Some(70), 1),
        ] {
            let text = format!("{keys}table.ddl = \"a.sql\"\nrows.csv = \"a.csv\"");
            let mut plan = resolve(&text).unwrap();
            plan.fit(&TableInfo { columns: 2, ..table.clone() }).unwrap();
            assert_eq!((plan.cells[0].stop.rows, plan.notes.len()), (expected, notes), "{keys}");
            assert_eq!(plan.csv, table.csv);
        }
        let text = "stop.rows = 71\ntable.ddl = \"a.sql\"\nrows.csv = \"a.csv\"";
        let error = resolve(text).unwrap().fit(&TableInfo { columns: 2, ..table }).unwrap_err();
        assert!(error.problem.contains("a.csv has 70 rows"), "{error}");
    }

    #[test]
    fn bounds_of_a_controller_are_fitted_to_the_columns() {
        let resolve = |keys: &str| {
            let text = format!(
                "name = 'test'\ntable.ddl = 'a.sql'\n[[cells]]\nname = 'cell'\n\
                 strategy = 'multi_row'\n[cells.controller]\n{keys}\n"
            );
            Plan::resolve(&Scenario::parse(&text, "test.toml").unwrap().scenario).unwrap()
        };
        let bounds = |plan: &Plan| plan.cells[0].controller.unwrap().bounds.batch_rows();
        let table = |columns| TableInfo { columns, ..TableInfo::default() };
        let mut plan = resolve("batch_rows = [100, 100_000]");
        assert_eq!((bounds(&plan), plan.notes.len()), ((100, 100_000), 0));
        plan.fit(&table(10)).unwrap();
        assert_eq!(bounds(&plan), (100, 6_553));
        assert!(plan.notes[0].contains("clipped to [100, 6553]"), "{:?}", plan.notes);
        let error = plan.fit(&table(1_000)).unwrap_err();
        assert_eq!(error.key, "cells[0].controller.batch_rows");
        let mut plan = resolve("workers = [2, 2]");
        plan.fit(&table(10_000)).unwrap();
        assert_eq!(bounds(&plan), (1, 6));
        assert!(plan.cells[0].batch_rows <= 6, "{}", plan.cells[0].batch_rows);
    }
}
