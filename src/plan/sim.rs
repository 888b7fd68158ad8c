//! The simulated server of a scenario: drawn from its family, overlaid with its keys, checked.

use super::{PlanError, WORKERS_MAX, in_range};
use crate::{
    controller::{Bounds, Grid},
    scenario::{self, Scenario, SimFamily},
    target::sim::{
        Chance, Change, Cliff, Climate, Course, Dips, Errors, Family, Misfit, SimSettings, Span,
        Surface,
    },
};

const HORIZON_S: f64 = 300.0;
/// Numbers drawn for a misfit do not depend on those for the server.
const STREAM_MISFIT: u64 = 5;
/// Least and most of what may be any positive number: beyond it, something else was meant.
const POSITIVE: (f64, f64) = (1e-6, 1e9);
const SECONDS: (f64, f64) = (0.0, 86_400.0);

/// Resolves the simulated server, if the scenario asks for one.
pub(super) fn resolve(scenario: &Scenario, seed: u64) -> Result<Option<SimSettings>, PlanError> {
    let Some(sim) = &scenario.sim else { return Ok(None) };
    if scenario.target.url.is_some() {
        let problem = "a simulated server has no URL; remove this key or `sim`";
        return Err(PlanError::new("target.url", problem));
    }
    let table = &scenario.table;
    for (key, of_ones_own) in [("table.ddl", &table.ddl), ("table.like", &table.like)] {
        if of_ones_own.is_some() {
            let problem = "a simulated server makes no tables; remove this key or `sim`";
            return Err(PlanError::new(key, problem));
        }
    }
    if scenario.client_threads.is_some_and(|threads| threads != 1) {
        let problem = "virtual time runs on 1 thread; remove the key";
        return Err(PlanError::new("client_threads", problem));
    }
    let seed = sim.seed.unwrap_or(seed);
    let horizon_s = within("sim.horizon_s", sim.horizon_s, HORIZON_S, (1.0, 86_400.0))?;
    let mut settings = draw(sim.family, seed, horizon_s);
    let before = server(&sim.server, &settings.before, seed)?;
    // What the family changes stays what it is, on the server as it now is.
    settings.after = match sim.family {
        Some(family) => before.changed(self::family(family).change()),
        None => before.clone(),
    };
    settings.before = before;
    settings.climate = climate(&sim.weather, settings.climate)?;
    settings.errors = errors(&sim.errors)?;
    if let Some(change) = &sim.change {
        settings.after = settings.before.changed(changed(change)?);
        settings.course = match change.at_s {
            Some(s) => Course::At { s: within("sim.change.at_s", Some(s), s, SECONDS)? },
            None => Course::Drift,
        };
        settings.changed_blocks = changed_blocks(change)?;
        if settings.changed_blocks.is_some() {
            settings.course = Course::At { s: 0.0 };
        }
    }
    if let Some(limit_ms) = sim.p99_limit_ms {
        let limit_ms = within("sim.p99_limit_ms", Some(limit_ms), limit_ms, POSITIVE)?;
        settings.p99_limit_s = Some(limit_ms / 1e3);
    }
    Ok(Some(settings))
}

fn draw(family: Option<SimFamily>, seed: u64, horizon_s: f64) -> SimSettings {
    if let Some(family) = family {
        let grid = Grid::new(&Bounds::WIDE);
        let (batches, workers) = (grid.batches(), grid.workers());
        return SimSettings::draw(self::family(family), seed, horizon_s, batches, workers);
    }
    let plain = Surface {
        cores: 4.0,
        round_trip_s: 1e-3,
        fsync_s: 1e-3,
        operation_cpu_s: 100e-6,
        row_cpu_s: 10e-6,
        row_knee: 10_000.0,
        contention: 0.01,
        coherence: 1e-4,
        row_log_s: 1e-6,
        batch_cliff: None,
        worker_cliff: None,
        tail: 0.3,
        misfit: Misfit::none(),
    };
    SimSettings {
        seed,
        before: plain.clone(),
        after: plain,
        course: Course::Steady,
        changed_blocks: None,
        horizon_s,
        p99_limit_s: None,
        climate: Climate::CALM,
        errors: Errors::NONE,
    }
}

fn family(family: SimFamily) -> Family {
    match family {
        SimFamily::Quiet => Family::Quiet,
        SimFamily::Mid => Family::Mid,
        SimFamily::Noisy => Family::Noisy,
        SimFamily::Weird => Family::Weird,
        SimFamily::SlowNoise => Family::SlowNoise,
        SimFamily::Drift => Family::Drift,
        SimFamily::RoundTrip => Family::RoundTrip,
        SimFamily::RoundTripFar => Family::RoundTripFar,
        SimFamily::Cores => Family::Cores,
        SimFamily::Slow => Family::Slow,
        SimFamily::Limit => Family::Limit,
        SimFamily::LimitSlow => Family::LimitSlow,
        SimFamily::LimitRoundTrip => Family::LimitRoundTrip,
    }
}

fn server(keys: &scenario::SimServer, drawn: &Surface, seed: u64) -> Result<Surface, PlanError> {
    let key = |name: &str| format!("sim.server.{name}");
    // A number in a unit of the file, of which `unit` are one of ours.
    let of = |name: &str, value: Option<f64>, drawn: f64, unit: f64, range| {
        within(&key(name), value, drawn * unit, range).map(|value| value / unit)
    };
    let from_zero = (0.0, POSITIVE.1);
    let cliff = |name: &str, cliff: Option<scenario::SimCliff>, drawn: Option<Cliff>| {
        let Some(cliff) = cliff else { return Ok(drawn) };
        let at = within(&key(&format!("{name}.at")), Some(cliff.at), 0.0, POSITIVE)?;
        let factor =
            within(&key(&format!("{name}.factor")), Some(cliff.factor), 1.0, (0.01, 100.0))?;
        Ok(Some(Cliff { at, factor }))
    };
    let misfit = match keys.misfit {
        None => drawn.misfit.clone(),
        Some(misfit) => {
            let deviation = within(&key("misfit"), Some(misfit), misfit, (0.0, 1.0))?;
            Misfit::draw(&mut Chance::new(seed, STREAM_MISFIT), deviation)
        }
    };
    Ok(Surface {
        cores: of("cores", keys.cores, drawn.cores, 1.0, (0.01, 100_000.0))?,
        round_trip_s: of("round_trip_ms", keys.round_trip_ms, drawn.round_trip_s, 1e3, from_zero)?,
        fsync_s: of("fsync_ms", keys.fsync_ms, drawn.fsync_s, 1e3, from_zero)?,
        operation_cpu_s: of(
            "operation_cpu_us",
            keys.operation_cpu_us,
            drawn.operation_cpu_s,
            1e6,
            POSITIVE,
        )?,
        row_cpu_s: of("row_cpu_us", keys.row_cpu_us, drawn.row_cpu_s, 1e6, POSITIVE)?,
        row_log_s: of("row_log_us", keys.row_log_us, drawn.row_log_s, 1e6, from_zero)?,
        row_knee: of("row_knee", keys.row_knee, drawn.row_knee, 1.0, POSITIVE)?,
        contention: of("contention", keys.contention, drawn.contention, 1.0, (0.0, 100.0))?,
        coherence: of("coherence", keys.coherence, drawn.coherence, 1.0, (0.0, 100.0))?,
        batch_cliff: cliff("batch_cliff", keys.batch_cliff, drawn.batch_cliff)?,
        worker_cliff: cliff("worker_cliff", keys.worker_cliff, drawn.worker_cliff)?,
        tail: of("tail", keys.tail, drawn.tail, 1.0, (0.0, 3.0))?,
        misfit,
    })
}

fn climate(keys: &scenario::SimWeather, drawn: Climate) -> Result<Climate, PlanError> {
    let deviation = (0.0, 1.0);
    let dips = |name: &str, dips: Option<scenario::SimDips>, drawn: Option<Dips>| {
        let Some(dips) = dips else { return Ok(drawn) };
        let pair = |part: &str, pair: [f64; 2], range| {
            pair_within(&format!("sim.weather.{name}.{part}"), pair, range)
        };
        Ok(Some(Dips {
            gap_s: pair("every_s", dips.every_s, (0.1, 86_400.0))?,
            length_s: pair("lasting_s", dips.lasting_s, (0.05, 86_400.0))?,
            rate: pair("rate", dips.rate, (0.01, 100.0))?,
        }))
    };
    Ok(Climate {
        noise: within("sim.weather.noise", keys.noise, drawn.noise, deviation)?,
        memory_s: within(
            "sim.weather.noise_memory_s",
            keys.noise_memory_s,
            drawn.memory_s,
            (0.05, 3_600.0),
        )?,
        stalls: dips("stalls", keys.stalls, drawn.stalls)?,
        bursts: dips("bursts", keys.bursts, drawn.bursts)?,
        wander: within("sim.weather.wander", keys.wander, drawn.wander, deviation)?,
    })
}

fn changed(keys: &scenario::SimChange) -> Result<Change, PlanError> {
    let factor = |name: &str, value: Option<f64>| {
        within(&format!("sim.change.{name}"), value, 1.0, (0.001, 1_000.0))
    };
    let trip_ms = keys.round_trip_ms.map(|trip_ms| {
        within("sim.change.round_trip_ms", Some(trip_ms), trip_ms, (0.0, POSITIVE.1))
    });
    Ok(Change {
        round_trip_s: trip_ms.transpose()?.map(|trip_ms| trip_ms / 1e3),
        row_cost: factor("row_cost", keys.row_cost)?,
        cores_divisor: factor("cores_divisor", keys.cores_divisor)?,
        coherence: factor("coherence", keys.coherence)?,
    })
}

fn changed_blocks(keys: &scenario::SimChange) -> Result<Option<(u64, u64)>, PlanError> {
    let Some([first, last]) = keys.blocks else { return Ok(None) };
    if keys.at_s.is_some() {
        let problem =
            "not together with at_s: a change is in some blocks, or in all from a moment on";
        return Err(PlanError::new("sim.change.blocks", problem));
    }
    if last < first {
        let problem = format!("[{first}, {last}] holds no block; the first comes first");
        return Err(PlanError::new("sim.change.blocks", problem));
    }
    Ok(Some((first, last)))
}

fn errors(keys: &scenario::SimErrors) -> Result<Errors, PlanError> {
    let chance = |name: &str, value| within(&format!("sim.errors.{name}"), value, 0.0, (0.0, 1.0));
    let span = |name: &str, span: Option<scenario::SimSpan>| {
        let Some(span) = span else { return Ok(None) };
        let of = |part: &str, value| {
            within(&format!("sim.errors.{name}.{part}"), Some(value), value, SECONDS)
        };
        Ok(Some(Span { at_s: of("at_s", span.at_s)?, length_s: of("lasting_s", span.lasting_s)? }))
    };
    if let Some(most) = keys.sessions_max {
        in_range("sim.errors.sessions_max", u64::from(most), 1, u64::from(WORKERS_MAX))?;
    }
    let from_s = keys.sessions_max_from_s;
    Ok(Errors {
        sessions_max: keys.sessions_max,
        sessions_max_from_s: within("sim.errors.sessions_max_from_s", from_s, 0.0, SECONDS)?,
        deadlocks: chance("deadlocks", keys.deadlocks)?,
        disconnects: chance("disconnects", keys.disconnects)?,
        restart: span("restart", keys.restart)?,
        silence: span("silence", keys.silence)?,
        mishap: None,
    })
}

/// Takes a value of the file, if it lies within both ends; else what was drawn, which does.
fn within(
    key: &str,
    value: Option<f64>,
    drawn: f64,
    (least, most): (f64, f64),
) -> Result<f64, PlanError> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            let problem = format!("{value} is out of range; expected {least} to {most}");
            Err(PlanError::new(key, problem))
        }
        value => Ok(value.unwrap_or(drawn)),
    }
}

fn pair_within(key: &str, pair: [f64; 2], range: (f64, f64)) -> Result<(f64, f64), PlanError> {
    let [low, high] = pair;
    within(&format!("{key}[0]"), Some(low), low, range)?;
    within(&format!("{key}[1]"), Some(high), high, range)?;
    if high < low {
        let problem = format!("[{low}, {high}] ends before it begins; expected [least, most]");
        return Err(PlanError::new(key, problem));
    }
    Ok((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn plan(keys: &str) -> Result<Plan, PlanError> {
        let text =
            format!("name = \"test\"\n{keys}\n[[cells]]\nname = \"cell\"\nstrategy = \"unnest\"\n");
        let file = Scenario::parse(&text, "test.toml").unwrap_or_else(|error| panic!("{error}"));
        Plan::resolve(&file.scenario)
    }

    fn sim(keys: &str) -> SimSettings {
        plan(keys).unwrap().sim.expect("is simulated")
    }

    #[test]
    fn a_family_and_a_seed_give_the_server_of_the_arena() {
        let grid = Grid::new(&Bounds::WIDE);
        for (word, family) in [("limit_slow", Family::LimitSlow), ("cores", Family::Cores)] {
            let drawn = SimSettings::draw(family, 7, 300.0, grid.batches(), grid.workers());
            assert_eq!(sim(&format!("[sim]\nfamily = \"{word}\"\nseed = 7")), drawn);
            assert_eq!(sim(&format!("seed = 7\n[sim]\nfamily = \"{word}\"")), drawn);
        }
        assert!(plan("").unwrap().sim.is_none());
    }

    #[test]
    fn keys_win_over_what_was_drawn_and_a_change_is_of_the_server_as_it_is() {
        let keys = "[sim]\nfamily = \"cores\"\n[sim.server]\ncores = 8.0\nfsync_ms = 2.0";
        let settings = sim(keys);
        assert!((settings.before.cores - 8.0).abs() < 1e-12);
        assert!((settings.after.cores - 2.0).abs() < 1e-12);
        assert!((settings.before.fsync_s - 2e-3).abs() < 1e-12);
        let keys = "[sim.change]\nat_s = 5.0\nround_trip_ms = 10.0";
        let settings = sim(keys);
        assert_eq!(settings.course, Course::At { s: 5.0 });
        assert!((settings.after.round_trip_s - 10e-3).abs() < 1e-12);
        assert_eq!(sim("[sim.change]\nrow_cost = 3.0").course, Course::Drift);
    }

    #[test]
    fn what_cannot_be_is_said_with_its_key() {
        let rows = [
            ("target.url = \"postgresql://a\"\n[sim]", "target.url", "no URL"),
            ("client_threads = 2\n[sim]", "client_threads", "1 thread"),
            ("table.ddl = \"a.sql\"\n[sim]", "table.ddl", "makes no tables"),
            ("table.like = \"a.b\"\n[sim]", "table.like", "makes no tables"),
            ("[sim]\nhorizon_s = 0.5", "sim.horizon_s", "0.5 is out of range; expected 1 to"),
            ("[sim.server]\ncores = 0.0", "sim.server.cores", "expected 0.01 to"),
            ("[sim.server]\ntail = nan", "sim.server.tail", "NaN is out of range"),
            (
                "[sim.server]\nbatch_cliff = { at = 0.0, factor = 2.0 }",
                "sim.server.batch_cliff.at",
                "0 is out of range",
            ),
            ("[sim.weather]\nnoise = -0.1", "sim.weather.noise", "expected 0 to 1"),
            (
                "[sim.weather]\nstalls = { every_s = [9.0, 5.0], lasting_s = [1.0, 1.0], \
                 rate = [0.5, 0.5] }",
                "sim.weather.stalls.every_s",
                "ends before it begins",
            ),
            (
                "[sim.weather]\nbursts = { every_s = [5.0, 5.0], lasting_s = [1.0, 1.0], \
                 rate = [0.0, 0.5] }",
                "sim.weather.bursts.rate[0]",
                "expected 0.01 to",
            ),
            ("[sim.change]\nrow_cost = 0.0", "sim.change.row_cost", "0 is out"),
            ("[sim.change]\nblocks = [5, 2]", "sim.change.blocks", "[5, 2] holds no block"),
            ("[sim.change]\nat_s = 1.0\nblocks = [1, 2]", "sim.change.blocks", "not together"),
            ("[sim.errors]\nsessions_max = 0", "sim.errors.sessions_max", "expected 1 to"),
            ("[sim.errors]\ndeadlocks = 2.0", "sim.errors.deadlocks", "expected 0 to 1"),
            (
                "[sim.errors]\nrestart = { at_s = -1.0, lasting_s = 1.0 }",
                "sim.errors.restart.at_s",
                "-1 is out",
            ),
        ];
        for (keys, key, problem) in rows {
            let error = plan(keys).expect_err(keys);
            assert_eq!(error.key, key, "{error}");
            assert!(error.problem.contains(problem), "{error}");
        }
    }
}
