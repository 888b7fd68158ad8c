//! The league table, as words: a line a controller, a column a score.

use std::io::{self, Write};

use super::Standing;

/// What a column is called, how it is read, and what it says; `None` where it says nothing.
type Column = (&'static str, fn(&Standing) -> Option<String>);

const COLUMNS: [Column; 14] = [
    ("last", |it| share(it.score.last)),
    ("regret", |it| share(it.score.regret)),
    ("t90", |it| is_steady(it).and_then(|()| seconds(it.score.time_to_90_s))),
    ("t95", |it| seconds(it.score.time_to_95_s)),
    ("rec90", |it| it.score.recovery_90_s.and_then(seconds)),
    ("rec95", |it| it.score.recovery_95_s.and_then(seconds)),
    ("unst", |it| share(it.score.unstable)),
    ("depl", |it| share(it.deployed_p50)),
    ("p10", |it| share(it.deployed_p10)),
    ("calm", |it| is_steady(it).and(it.calm).map(|it| format!("{it:.2}"))),
    ("worst", |it| is_free(it).map(|()| format!("{:+.3}", it.over_article_min))),
    ("viol", |it| it.score.violating.and_then(share)),
    ("v60", |it| it.score.violating_settled.and_then(share)),
    ("keeps", |it| it.score.keeps_limit_s.and_then(seconds)),
];

/// What the columns say, a line each.
pub const NOTES: [&str; 6] = [
    "Shares are of the rows/s of the best setting at that time that keeps the limit, if there is \
     one.",
    "last: mean over the last 30 s. regret: lost over the whole time, probes and violations of a \
     limit included. unst: share of the time below 90 % once settled.",
    "t90, t95, rec90, rec95: median seconds until that share is held, from the start and from the \
     change; 300 (150 before and after a change) is never.",
    "depl, p10: share of the setting called the best at the end, median and 10th percentile.",
    "calm: share of servers that were never taken for another one without a change. worst: rows/s \
     over those of the article's 1,000 x 5, less 1, on the worst server.",
    "viol, v60: share of the time in which p99 was above the limit, stalls apart; the same after \
     60 s. keeps: median seconds until a setting kept the limit.",
];

#[expect(clippy::unnecessary_wraps, reason = "a column may say nothing")]
fn share(value: f64) -> Option<String> {
    Some(format!("{value:.3}"))
}

#[expect(clippy::unnecessary_wraps, reason = "a column may say nothing")]
fn seconds(value: f64) -> Option<String> {
    Some(format!("{value:.1}"))
}

/// A family without a change.
fn is_steady(standing: &Standing) -> Option<()> {
    standing.score.recovery_95_s.is_none().then_some(())
}

/// A family without a change or a limit.
fn is_free(standing: &Standing) -> Option<()> {
    is_steady(standing).filter(|()| standing.score.violating.is_none())
}

/// How a table is laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// In columns, for a terminal of 80.
    Text,
    /// Markdown.
    Markdown,
}

/// Writes the table of one family; a column that says nothing of anyone is left out.
pub fn write_table(standings: &[Standing], layout: Layout, out: &mut dyn Write) -> io::Result<()> {
    let columns: Vec<&Column> =
        COLUMNS.iter().filter(|it| standings.iter().any(|one| it.1(one).is_some())).collect();
    let mut lines = vec![columns.iter().map(|it| it.0.to_owned()).collect::<Vec<String>>()];
    for standing in standings {
        let cell = |it: &&Column| it.1(standing).unwrap_or_else(|| "-".to_owned());
        lines.push(columns.iter().map(cell).collect());
    }
    let names = standings.iter().map(|it| it.policy.name());
    match layout {
        Layout::Text => {
            let width = |at: usize| lines.iter().map(|line| line[at].len()).max().unwrap_or(0);
            let widths: Vec<usize> = (0..columns.len()).map(width).collect();
            for (name, line) in std::iter::once("controller").chain(names).zip(&lines) {
                write!(out, "{name:10}")?;
                line.iter()
                    .zip(&widths)
                    .try_for_each(|(it, width)| write!(out, " {it:>width$}"))?;
                writeln!(out)?;
            }
        }
        Layout::Markdown => {
            for (index, (name, line)) in
                std::iter::once("controller").chain(names).zip(&lines).enumerate()
            {
                writeln!(out, "| {name} | {} |", line.join(" | "))?;
                if index == 0 {
                    writeln!(out, "|---|{}", "---:|".repeat(columns.len()))?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        arena::{Ground, Way, league, standing},
        controller::Policy,
        target::sim::Family,
    };

    fn table(family: Family, layout: Layout) -> String {
        let ground = [Ground::Family(family)];
        let matches = league(&[Policy::Fixed], &ground, 0..2, Way::Windows, 1).unwrap();
        let standing = standing(&matches, Policy::Fixed, 0).unwrap();
        let mut out = Vec::new();
        write_table(&[standing], layout, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_family_has_the_columns_that_say_something_of_it() {
        let header = |family| table(family, Layout::Text).lines().next().unwrap().to_owned();
        let steady = header(Family::Mid);
        assert!(steady.contains("worst") && !steady.contains("rec90") && !steady.contains("viol"));
        assert!(header(Family::Cores).contains("rec95"));
        assert!(header(Family::Limit).contains("v60"));
    }

    #[test]
    fn lines_fit_into_80_columns() {
        for family in Family::ALL {
            assert!(table(family, Layout::Text).lines().all(|it| it.len() <= 80), "{family:?}");
        }
    }

    #[test]
    fn markdown_has_as_many_cells_in_every_line() {
        let table = table(Family::Quiet, Layout::Markdown);
        let bars: Vec<usize> = table.lines().map(|it| it.matches('|').count()).collect();
        assert!(bars.len() == 3 && bars.iter().all(|it| *it == bars[0]), "{table}");
    }
}
