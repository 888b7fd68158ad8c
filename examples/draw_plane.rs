//! Draws the plane of batch rows and workers from lines of text, as `scripts/grid` writes them.
//!
//! ```text
//! draw_plane TITLE OUT.svg <lines
//! note,TEXT                 what stands under the title; each begins a line
//! rate,BATCH_ROWS,WORKERS,ROWS_PER_S
//! way,NAME,BATCH_ROWS,WORKERS     the next place of the way of this name
//! mark,NAME,BATCH_ROWS,WORKERS
//! ```

use std::{fs, io};

use anyhow::{Context as _, bail};
use batchpilot::report::svg::{self, Mark, Plane, Spot, Way};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [title, out] = arguments.as_slice() else { bail!("usage: draw_plane TITLE OUT.svg") };
    let mut plane = Plane { title: title.clone(), ..Plane::default() };
    for (index, line) in io::stdin().lines().enumerate() {
        take(&mut plane, &line?).with_context(|| format!("line {}", index + 1))?;
    }
    fs::write(out, svg::plane(&plane)).with_context(|| format!("cannot write {out}"))
}

fn take(plane: &mut Plane, line: &str) -> anyhow::Result<()> {
    let (kind, rest) = line.split_once(',').context("a line has a kind and a comma")?;
    let fields: Vec<&str> = rest.split(',').collect();
    match (kind, fields.as_slice()) {
        ("note", _) => plane.description.push(rest.to_owned()),
        ("rate", [batch_rows, workers, rate]) => {
            plane.rates.push((spot(batch_rows, workers)?, rate.parse()?));
        }
        ("way", [name, batch_rows, workers]) => {
            let spot = spot(batch_rows, workers)?;
            match plane.ways.iter_mut().find(|way| way.name == **name) {
                Some(way) => way.spots.push(spot),
                None => plane.ways.push(Way { name: (*name).to_owned(), spots: vec![spot] }),
            }
        }
        ("mark", [name, batch_rows, workers]) => {
            let spot = spot(batch_rows, workers)?;
            plane.marks.push(Mark { name: (*name).to_owned(), spot });
        }
        _ => bail!("`{line}` is no note, rate, way or mark"),
    }
    Ok(())
}

fn spot(batch_rows: &str, workers: &str) -> anyhow::Result<Spot> {
    Ok(Spot { batch_rows: batch_rows.parse()?, workers: workers.parse()? })
}
