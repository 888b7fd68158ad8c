//! Tests of what becomes of the lines of a file.

use std::io::{Seek as _, SeekFrom, Write as _};

use super::*;
use crate::rows::{Checker, Generator, RowSet, SqlType, TypeShape, Value, Verification};

fn column(name: &str, shape: TypeShape, kind: ColumnKind) -> CsvColumn {
    let sql_type = SqlType { kind, name: "it".to_owned(), oid: 1, array_oid: 2 };
    let facts = TypeFacts { sql_type, shape };
    let is_sent = CsvSent::IfThere;
    CsvColumn { name: name.to_owned(), facts, is_required: false, has_default: false, is_sent }
}

/// `id bigint, name text, price numeric(8, 2)`
fn columns() -> Vec<CsvColumn> {
    let text = TypeShape::Text { length_max: None };
    vec![
        column("id", TypeShape::BigInt, ColumnKind::Int8),
        column("name", text, ColumnKind::Text),
        column("price", TypeShape::Numeric { precision: Some(8), scale: 2 }, ColumnKind::Numeric),
    ]
}

fn settings(file: &tempfile::NamedTempFile) -> CsvSettings {
    CsvSettings {
        file: "it.csv".to_owned(),
        path: file.path().to_owned(),
        header: CsvHeader::Names,
        delimiter: ',',
        null: String::new(),
        on_bad_line: OnBadLine::Error,
        progress: CsvProgress::default(),
    }
}

fn file(text: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_ref()).unwrap();
    file
}

fn open(text: impl AsRef<[u8]>, change: impl Fn(&mut CsvSettings)) -> Result<CsvRows, CsvError> {
    let file = file(text);
    let mut settings = settings(&file);
    change(&mut settings);
    CsvRows::open(&settings, &columns())
}

/// The values of a column of text.
fn texts(rows: &CsvRows, column: usize) -> Vec<Option<String>> {
    let chunk = rows.build(RowRange { start: 0, end: rows.rows() }, usize::MAX);
    let value = |row: u64| match chunk.columns[column].value(usize::try_from(row).unwrap()) {
        Value::Null => None,
        Value::Binary(_, bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    };
    (0..rows.rows()).map(value).collect()
}

/// Header, blank lines, lines left out, lines of rows.
fn lines(rows: &CsvRows) -> [u64; 4] {
    let facts = rows.facts();
    [facts.lines_header, facts.lines_blank, facts.lines_bad, facts.lines_rows]
}

#[test]
fn lines_are_read_as_copy_reads_them() {
    let some = |it: &str| Some(it.to_owned());
    for (text, expected, kinds) in [
        ("id,name,price\n1,a,2\n2,b,3\n", vec![some("a"), some("b")], [1, 0, 0, 2]),
        // No end of the last line; a byte order mark; other line ends; another order of columns.
        ("name,id\na,1\nb,2", vec![some("a"), some("b")], [1, 0, 0, 2]),
        ("\u{feff}name\r\na\r\n\r\nb\r\n", vec![some("a"), some("b")], [1, 1, 0, 2]),
        ("\n\nname\n\n\na\n\n", vec![some("a")], [1, 5, 0, 1]),
        // NULL, the empty text, quotes, delimiters and line ends within quotes.
        ("id,name\n1,\n2,\"\"\n", vec![None, some("")], [1, 0, 0, 2]),
        (
            "id,name\n1,\"a,\"\"b\"\"\nc\r\nd\"\n2,x\n",
            vec![some("a,\"b\"\nc\r\nd"), some("x")],
            [1, 0, 0, 4],
        ),
        ("\"id\",\"name\"\n\"1\", a \n", vec![some(" a ")], [1, 0, 0, 1]),
    ] {
        let rows = open(text, |_| ()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let place = rows.specs().iter().position(|spec| spec.name == "name").unwrap();
        assert_eq!(texts(&rows, place), expected, "{text:?}");
        assert_eq!(lines(&rows), kinds, "{text:?}");
        assert_eq!(rows.facts().lines, kinds.iter().sum::<u64>(), "{text:?}");
    }
}

#[test]
fn a_file_may_have_no_header_other_delimiters_and_another_null() {
    let change = |settings: &mut CsvSettings| {
        settings.header = CsvHeader::TableOrder;
        (settings.delimiter, settings.null) = (';', "\\N".to_owned());
    };
    let rows = open("1;a,b;1\n2;\\N;2\n3;\"\\N\";3\n4;;4\n", change).unwrap();
    let expected = [Some("a,b"), None, Some("\\N"), Some("")].map(|it| it.map(str::to_owned));
    assert_eq!(texts(&rows, 1), expected);
    assert_eq!(lines(&rows), [0, 0, 0, 4]);
}

#[test]
fn what_cannot_be_read_is_named_by_line_column_and_value() {
    for (text, words) in [
        ("", "it.csv is empty"),
        ("id,name,price\n", "it.csv has no row"),
        ("id,nmae\n1,a\n", "the table has no column \"nmae\"; did you mean `name`?"),
        ("id;name\n1;a\n", "is `rows.delimiter` another than `,`?"),
        ("id,id\n1,2\n", "names column `id` twice"),
        ("id,price\n1,2\n2,x\n", "it.csv:3: column `price` (it): \"x\"; expected a number such as"),
        (
            "id,name\n\n1,\"a\nb\"\nx,c\n",
            "it.csv:5: column `id` (it): \"x\"; expected a whole number",
        ),
        ("id,name\n1\n", "it.csv:2: 1 field; expected 2 fields"),
        ("id,name\n1,\"a\"b\n2,a\"b,c\"d\n", "1 of 2 records of it.csv cannot be read"),
        ("id,name\n1,\"a\"b\n2,a\"b,c\"d\n", "it.csv:3: a quote within a field that does not"),
        ("id,name\n1,a,b\n2,b\n", "1 of 2 records of it.csv cannot be read"),
        ("id,name\n1,\"a\n2,b\n", "line 2: a quote is opened and not closed"),
        ("id,name\n1,5\" wide\n2,\"b", "line 3: a quote is opened and not closed"),
        ("id,price\n1,1234567\n", "\"1234567\"; expected at most 8 digits, 2 of them decimals"),
    ] {
        let error = open(text, |_| ()).expect_err(text).to_string();
        assert!(error.contains(words), "{text:?}: {error}");
    }
    let error = open(b"name\na\nb\xff\n", |_| ()).unwrap_err().to_string();
    assert!(
        error.contains("it.csv:3: column `name` (it): \"b\u{fffd}\"; expected UTF-8"),
        "{error}"
    );
    let many = format!("id\n{}", "x\n".repeat(9));
    let error = open(many, |_| ()).unwrap_err().to_string();
    assert!(error.starts_with("9 of 9 records") && error.contains("it.csv:6:"), "{error}");
    assert!(!error.contains("it.csv:7:") && error.ends_with('…'), "{error}");
}

#[test]
fn columns_that_the_server_makes_or_needs_are_looked_at_up_front() {
    let open = |text: &str, change: fn(&mut CsvColumn)| {
        let file = file(text);
        let mut columns = columns();
        change(&mut columns[0]);
        CsvRows::open(&settings(&file), &columns)
    };
    let error = open("id,name\n1,a\n", |id| id.is_sent = CsvSent::Never).unwrap_err();
    assert!(error.to_string().contains("only the server makes values of `id`"), "{error}");
    let error = open("name\na\n", |id| id.is_required = true).unwrap_err();
    assert!(error.to_string().contains("has no column `id`, which is NOT NULL"), "{error}");
    let error = open("id,name\n,a\n", |id| id.is_required = true).unwrap_err();
    assert!(
        error.to_string().contains("it.csv:2: column `id` (it): \"\"; expected a value"),
        "{error}"
    );
    let error = open("id,name\n1,a\n", |id| id.facts.shape = TypeShape::Other).unwrap_err();
    assert!(error.to_string().contains("leave it out with `left_out = true`"), "{error}");
    let left_out = open("id,name\nx,a\n", |id| id.is_sent = CsvSent::LeftOut).unwrap();
    assert_eq!(left_out.specs().len(), 1);
    let made = open("name\na\n", |id| (id.is_required, id.has_default) = (true, true)).unwrap();
    assert_eq!(made.specs().len(), 1);
}

/// 10,000 records, of which every 7th cannot be read, some over several lines.
fn long_file() -> String {
    let mut text = "id,name,price\n".to_owned();
    for id in 0..10_000 {
        let price = if id % 7 == 3 { "dear" } else { "1.5" };
        let name = if id % 11 == 0 { "\"a\nb\"" } else { "" };
        text.push_str(&format!("{id},{name},{price}\n"));
    }
    text
}

#[test]
fn a_row_is_a_function_of_its_index() {
    let skip = |settings: &mut CsvSettings| settings.on_bad_line = OnBadLine::Skip;
    let rows = open(long_file(), skip).unwrap();
    assert_eq!((rows.facts().rows, rows.facts().records_bad), (8_571, 1_429));
    assert_eq!(rows.facts().bad_examples.len(), 5);
    let ids: Vec<i64> = (0..10_000).filter(|id| id % 7 != 3).collect();
    let starts = [0, 8_000, 1, 8_570, 1_024, 1_023, 5_000, 4_999, 0, 3_000, 2_999];
    for (start, length) in starts.into_iter().zip([1, 571, 2_000, 1, 10].into_iter().cycle()) {
        let range = RowRange { start, end: rows.rows().min(start + length) };
        let chunk = rows.build(range, usize::MAX);
        assert_eq!(chunk.range, range);
        for (row, index) in (range.start..range.end).enumerate() {
            let id = ids[usize::try_from(index).unwrap()].to_be_bytes();
            match chunk.columns[0].value(row) {
                Value::Binary(_, bytes) => assert_eq!(bytes, id, "{index}"),
                other => panic!("{other:?}"),
            }
        }
    }
    // Record 0 has lines 2 and 3; row 9 is record 11, with two lines, too: 3 and 10 are left out.
    let names = [0, 1, 9, 10].map(|index| rows.name_of(index));
    assert_eq!(names, ["line 2", "line 4", "line 14", "line 16"]);
    let some = rows.build(RowRange { start: 0, end: 1_000 }, 100);
    assert!((1..50).contains(&some.range.row_count()), "{:?}", some.range);
    assert_eq!(rows.fault(), None);
}

#[test]
fn places_are_kept_in_constant_memory() {
    let text = format!("id\n{}", "1\n".repeat(200_000));
    let rows = open(text, |_| ()).unwrap();
    let mut index = rows.source.index.clone();
    assert!(index.before(199_999).0 <= 199_999);
    // As if the file went on: 2^16 places and more.
    for row in rows.rows()..100_000_000 {
        index.add(row, reader::Mark { offset: row, line: row });
    }
    for row in [0, 1, 1_000, 199_999, 50_000_000, 99_999_999] {
        let (mark, place) = index.before(row);
        assert!(mark <= row && row - mark < 2_048, "{row}: {mark}");
        assert!(row < 200_000 || place.offset == mark, "{row}: {place:?}");
    }
}

#[test]
fn a_file_that_is_changed_is_found_out() {
    let file = file(format!("id\n{}", "1\n".repeat(100_000)));
    let rows = CsvRows::open(&settings(&file), &columns()).unwrap();
    assert_eq!(rows.fault(), None);
    file.as_file().set_len(50_000).unwrap();
    let chunk = rows.build(RowRange { start: 90_000, end: 90_010 }, usize::MAX);
    assert_eq!((chunk.range.row_count(), chunk.columns[0].value(9)), (10, Value::Null));
    // Not every line has its place kept: the last one before was that of row 87 x 1,024.
    let fault = rows.fault().unwrap();
    assert_eq!(fault, "it.csv was changed while it was being inserted: it ends before line 89090");
}

#[test]
fn a_line_that_is_no_row_any_more_is_named() {
    let mut file = file(format!("id\n{}", "1\n".repeat(100_000)));
    let rows = CsvRows::open(&settings(&file), &columns()).unwrap();
    file.as_file_mut().seek(SeekFrom::Start(3 + 2 * 70_000)).unwrap();
    file.write_all(b"x").unwrap();
    let chunk = rows.build(RowRange { start: 69_999, end: 70_002 }, usize::MAX);
    let values = [0, 1, 2].map(|row| chunk.columns[0].value(row) == Value::Null);
    assert_eq!(values, [false, true, true]);
    let fault = rows.fault().unwrap();
    assert!(
        fault.ends_with("while it was being inserted: line 70002 is no row any more"),
        "{fault}"
    );
}

#[test]
fn a_first_pass_that_is_told_to_stop_does() {
    let file = file(format!("id\n{}", "1\n".repeat(100_000)));
    let settings = settings(&file);
    settings.progress.stop();
    let error = CsvRows::open(&settings, &columns()).unwrap_err();
    assert_eq!(error, CsvError::Stopped("it.csv".to_owned()));
    // How far one came that was not.
    let settings = CsvSettings { progress: CsvProgress::default(), ..settings };
    CsvRows::open(&settings, &columns()).unwrap();
    assert_eq!(settings.progress.share(), None, "there is nothing left to read");
}

/// What a check says of a table that holds `kept` rows of the file, and more.
fn verify(rows: &CsvRows, expected: &[RowRange], table: &[Vec<Option<Vec<u8>>>]) -> Verification {
    let mut set = RowSet::default();
    expected.iter().for_each(|range| set.insert(*range));
    let mut checker = Checker::new(Generator::csv(rows.clone()), set, RowSet::default());
    loop {
        for row in table {
            checker.row(&row.iter().map(Option::as_deref).collect::<Vec<_>>());
        }
        if !checker.needs_another_pass() {
            return checker.finish();
        }
        checker = checker.again();
    }
}

#[test]
fn rows_that_are_not_what_was_sent_are_named_by_their_lines() {
    let text: String = (0..5_000).map(|id| format!("{id},n{id},{}\n", id % 100)).collect();
    let rows = open(format!("id,name,price\n{text}"), |_| ()).unwrap();
    let all = RowRange { start: 0, end: 5_000 };
    let row = |index: u64| -> Vec<Option<Vec<u8>>> {
        let value = |column: usize| {
            let mut value = Vec::new();
            rows.write_value(index, column, &mut value).then_some(value)
        };
        (0..3).map(value).collect()
    };
    let table: Vec<_> = (0..5_000).rev().map(row).collect();
    let found = verify(&rows, &[all], &table);
    assert!(found.is_exact(), "{found:?}");
    let mut damaged = table.clone();
    damaged[4_999 - 7][1] = Some(b"other".to_vec()); // row 7, line 9
    damaged.push(row(20)); // line 22
    damaged.push(vec![None, Some(b"x".to_vec()), None]);
    damaged.remove(4_999 - 100); // line 102
    let found = verify(&rows, &[all], &damaged);
    let findings = [&found.changed, &found.duplicate, &found.missing, &found.foreign];
    assert_eq!(findings.map(|finding| finding.count), [1; 4], "{found:?}");
    let examples = findings.map(|finding| finding.examples.join(""));
    assert_eq!(examples, ["line 9: name", "line 22", "line 102", "a row that was never sent"]);
    // What was not sent is not missed.
    let part = [RowRange { start: 10, end: 20 }, RowRange { start: 4_000, end: 4_001 }];
    let table: Vec<_> = (10..20).chain([4_000]).map(row).collect();
    assert!(verify(&rows, &part, &table).is_exact());
}
