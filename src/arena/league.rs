//! Many controllers on many servers, and the table.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{ArenaError, Score, Way, goal, play, run, score, server};
use crate::{
    controller::{Bounds, Policy},
    stats::median,
    target::sim::{Family, SimSettings},
};

/// What matches are played on: servers, one for each seed.
#[derive(Clone, Debug)]
pub enum Ground {
    /// A server drawn for each seed.
    Family(Family),
    /// One server, and the weather of each seed.
    Server {
        /// What it is called.
        name: String,
        /// As it is described.
        settings: Box<SimSettings>,
    },
}

impl Ground {
    /// What it is called in tables.
    pub fn name(&self) -> &str {
        match self {
            Ground::Family(family) => family.name(),
            Ground::Server { name, .. } => name,
        }
    }

    /// The server of a seed.
    pub fn server(&self, seed: u64) -> SimSettings {
        match self {
            Ground::Family(family) => server(*family, seed),
            Ground::Server { settings, .. } => SimSettings { seed, ..(**settings).clone() },
        }
    }
}

/// One controller on one server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Who.
    pub policy: Policy,
    /// Number of the ground.
    pub ground: usize,
    /// Which server there.
    pub seed: u64,
    /// How well.
    pub score: Score,
}

/// A line of the table: one controller on all servers of a ground.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Who.
    pub policy: Policy,
    /// Servers.
    pub n: usize,
    /// Means over servers; times are medians.
    pub score: Score,
    /// 10th percentile of the share at the end.
    pub last_p10: f64,
    /// Share of servers without a change that were never taken for another one.
    pub calm: Option<f64>,
    /// What the worst server gave over the article's 1,000 x 5, less 1.
    pub over_article_min: f64,
    /// Median and 10th percentile of the share that the setting called the best reaches.
    pub deployed_p50: f64,
    /// The 10th percentile of it.
    pub deployed_p10: f64,
}

/// Lets all policies play on all seeds of all grounds. The order of the matches is that of the
/// arguments, whatever the threads do.
///
/// # Errors
///
/// Those of [`play`], on the way through the engine.
pub fn league(
    policies: &[Policy],
    grounds: &[Ground],
    seeds: std::ops::Range<u64>,
    way: Way,
    threads: usize,
) -> Result<Vec<Match>, ArenaError> {
    let mut pairings = Vec::new();
    for ground in 0..grounds.len() {
        for policy in policies {
            for seed in seeds.clone() {
                pairings.push((pairings.len(), *policy, ground, seed));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let matches = Mutex::new((0..pairings.len()).map(|_| None).collect::<Vec<_>>());
    let work = || {
        let take = || pairings.get(next.fetch_add(1, Ordering::Relaxed));
        while let Some((number, policy, ground, seed)) = take() {
            let score = play_match(*policy, &grounds[*ground].server(*seed), *seed, way);
            let played =
                score.map(|score| Match { policy: *policy, ground: *ground, seed: *seed, score });
            matches.lock().unwrap_or_else(PoisonError::into_inner)[*number] = Some(played);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let matches = matches.into_inner().unwrap_or_else(PoisonError::into_inner);
    matches.into_iter().map(|it| it.expect("all threads ended, so all were played")).collect()
}

fn play_match(
    policy: Policy,
    server: &SimSettings,
    seed: u64,
    way: Way,
) -> Result<Score, ArenaError> {
    let case = server.case(0);
    let mut controller = policy.build(&goal(&case, seed));
    let path = match way {
        Way::Windows => run(&case, seed, controller.as_mut()),
        Way::Engine => play(server, case.horizon_s, controller.as_mut())?.path,
    };
    Ok(score(&case, &path, &Bounds::WIDE))
}

/// Sums up the matches of one policy on one ground; `None` if there are none.
pub fn standing(matches: &[Match], policy: Policy, ground: usize) -> Option<Standing> {
    let own: Vec<&Match> =
        matches.iter().filter(|it| it.policy == policy && it.ground == ground).collect();
    own.first()?;
    let all = |of: fn(&Score) -> f64| -> Vec<f64> { own.iter().map(|it| of(&it.score)).collect() };
    let mean = |of: fn(&Score) -> f64| all(of).iter().sum::<f64>() / own.len() as f64;
    let middle = |of: fn(&Score) -> Option<f64>| {
        let some: Vec<f64> = own.iter().filter_map(|it| of(&it.score)).collect();
        (!some.is_empty()).then(|| median(&some))
    };
    let average = |of: fn(&Score) -> Option<f64>| {
        let some: Vec<f64> = own.iter().filter_map(|it| of(&it.score)).collect();
        (!some.is_empty()).then(|| some.iter().sum::<f64>() / some.len() as f64)
    };
    let score = Score {
        last: mean(|it| it.last),
        regret: mean(|it| it.regret),
        time_to_90_s: median(&all(|it| it.time_to_90_s)),
        time_to_95_s: median(&all(|it| it.time_to_95_s)),
        unstable: mean(|it| it.unstable),
        recovery_90_s: middle(|it| it.recovery_90_s),
        recovery_95_s: middle(|it| it.recovery_95_s),
        violating: average(|it| it.violating),
        violating_settled: average(|it| it.violating_settled),
        keeps_limit_s: middle(|it| it.keeps_limit_s),
        false_retunes: average(|it| it.false_retunes),
        over_article: mean(|it| it.over_article),
        deployed: mean(|it| it.deployed),
    };
    Some(Standing {
        policy,
        n: own.len(),
        score,
        last_p10: tenth(all(|it| it.last)),
        calm: average(|it| it.false_retunes.map(|it| f64::from(u8::from(it < 0.5)))),
        over_article_min: all(|it| it.over_article).into_iter().fold(f64::INFINITY, f64::min),
        deployed_p50: median(&all(|it| it.deployed)),
        deployed_p10: tenth(all(|it| it.deployed)),
    })
}

/// The 10th percentile, the nearest rank.
fn tenth(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 10]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(family: Family, seeds: std::ops::Range<u64>, way: Way, threads: usize) -> Vec<Match> {
        league(&[Policy::Fixed], &[Ground::Family(family)], seeds, way, threads).unwrap()
    }

    #[test]
    fn scores_do_not_depend_on_threads() {
        let play = |threads| fixed(Family::Cores, 0..8, Way::Windows, threads);
        assert_eq!(play(1), play(3));
    }

    /// The research simulated 0.20, 0.20, 0.20 and 0.30 on servers 100 to 129.
    #[test]
    fn a_static_setting_loses_what_the_research_found() {
        let families = [(Family::Quiet, 0.20), (Family::Mid, 0.20), (Family::Weird, 0.30)];
        for (family, expected) in families {
            let matches = fixed(family, 100..160, Way::Windows, 2);
            let regret = standing(&matches, Policy::Fixed, 0).unwrap().score.regret;
            assert!((regret - expected).abs() < 0.06, "{family:?}: {regret}");
        }
    }

    /// What is held loses the same, whichever way it was measured.
    #[test]
    fn a_static_setting_scores_the_same_through_the_engine() {
        let [made, live] =
            [Way::Windows, Way::Engine].map(|way| fixed(Family::Mid, 3..4, way, 1)[0].score);
        assert!((made.regret - live.regret).abs() < 1e-3, "{made:?} {live:?}");
        assert!((made.deployed - live.deployed).abs() < 1e-9, "{made:?} {live:?}");
    }

    #[test]
    fn one_server_has_other_weather_for_each_seed() {
        let settings = Box::new(server(Family::Noisy, 5));
        let ground = Ground::Server { name: "mine".to_owned(), settings };
        let [a, b] = [1, 2].map(|seed| ground.server(seed));
        assert_eq!((&a.before, a.climate), (&b.before, b.climate));
        assert!((a.case(0).weather.factor(0) - b.case(0).weather.factor(0)).abs() > 1e-9);
    }
}
