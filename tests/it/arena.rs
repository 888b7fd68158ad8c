//! Controllers on simulated servers whose best setting is known.

use std::collections::HashSet;

use batchpilot::{
    arena::{self, Ground, Match, Way, Windows},
    controller::{Controller, Policy},
    target::sim::Family,
};

const STEADY: [Family; 4] = [Family::Quiet, Family::Mid, Family::Noisy, Family::Weird];

fn league(families: &[Family], seeds: std::ops::Range<u64>) -> Vec<Match> {
    let grounds: Vec<Ground> = families.iter().copied().map(Ground::Family).collect();
    arena::league(&Policy::ALL, &grounds, seeds, Way::Windows, 2).unwrap()
}

fn regret(matches: &[Match], policy: Policy, ground: usize) -> f64 {
    arena::standing(matches, policy, ground).unwrap().score.regret
}

#[test]
fn pilot_loses_least_on_every_kind_of_server() {
    let matches = league(&STEADY, 0..10);
    for (ground, family) in STEADY.into_iter().enumerate() {
        let pilot = regret(&matches, Policy::Pilot, ground);
        for policy in Policy::ALL.into_iter().filter(|it| *it != Policy::Pilot) {
            let other = regret(&matches, policy, ground);
            assert!(pilot < other, "{family:?}: pilot {pilot}, {policy:?} {other}");
        }
    }
}

/// Nobody hangs, divides by zero or leaves the scale, whatever happens to the server.
#[test]
fn every_controller_lives_through_everything() {
    for matched in league(&Family::ALL, 0..2) {
        let score = matched.score;
        assert!((0.0..=1.0).contains(&score.regret), "{matched:?}");
        assert!((0.0..=1.01).contains(&score.deployed), "{matched:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_path() {
    for policy in Policy::ALL {
        let case = arena::draw(Family::Cores, 3);
        let run = || {
            let mut controller = policy.build(&arena::goal(&case, 3));
            arena::run(&case, 3, controller.as_mut()).segments
        };
        assert_eq!(run(), run(), "{policy:?}");
    }
}

/// An argmax of the model that nobody had measured once ran 32,768 x 64 for 20 s.
#[test]
fn pilot_calls_best_only_what_it_measured() {
    let families = [Family::Weird, Family::Limit, Family::LimitSlow];
    for (family, seed) in families.into_iter().flat_map(|it| (0..8).map(move |seed| (it, seed))) {
        let case = arena::draw(family, seed);
        let mut pilot = Policy::Pilot.build(&arena::goal(&case, seed));
        let mut windows = Windows::new(&case, seed);
        let mut decision = pilot.start();
        let mut measured = HashSet::new();
        while windows.at_s() < 200.0 {
            measured.insert(decision.setting);
            let window = windows.next(decision.setting, decision.wish);
            assert!(window.length.as_secs_f64() < 15.0, "{family:?} {seed}: {decision:?}");
            decision = pilot.decide(&window);
            assert!(measured.contains(&decision.incumbent), "{family:?} {seed}: {decision:?}");
        }
    }
}

/// Recorded windows can be fed to a controller again, and it decides the same.
#[test]
fn decisions_follow_from_the_windows_alone() {
    let case = arena::draw(Family::LimitSlow, 4);
    let goal = arena::goal(&case, 4);
    let mut pilot = Policy::Pilot.build(&goal);
    let mut windows = Windows::new(&case, 4);
    let mut decision = pilot.start();
    let mut recorded = Vec::new();
    while windows.at_s() < 200.0 {
        let window = windows.next(decision.setting, decision.wish);
        decision = pilot.decide(&window);
        recorded.push((window, decision.clone()));
    }
    let mut again: Box<dyn Controller> = Policy::Pilot.build(&goal);
    for (window, decision) in &recorded {
        assert_eq!(again.decide(window), *decision);
    }
}
