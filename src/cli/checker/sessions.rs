//! How many sessions each arm of a check may have: those of both are open at the same time.

use anyhow::bail;

use crate::{
    gate::{Arm, Arms},
    plan::{Plan, sessions_free_words},
};

/// Takes the workers of both arms down to the sessions that are `free`, counted while each arm has the
/// one that makes and checks its table. On one server the arms share them; arms that ask for as many
/// get as many, wherever they are. What was taken away is a note of the plan.
///
/// # Errors
///
/// An arm that would have no worker.
pub(super) fn clip(
    plans: Arms<&mut Plan>,
    free: Arms<Option<u32>>,
    is_one_server: bool,
) -> anyhow::Result<()> {
    let Arms { base, head } = plans;
    let ours = if is_one_server { ", and both arms share them" } else { "" };
    let words = |free: Option<u32>| sessions_free_words(free.unwrap_or(u32::MAX)) + ours;
    for (base_cell, head_cell) in base.cells.iter_mut().zip(&mut head.cells) {
        let asked = Arms { base: base_cell.sessions(), head: head_cell.sessions() };
        let most = most(asked, free, is_one_server);
        for (arm, cell, notes) in
            [(Arm::Base, base_cell, &mut base.notes), (Arm::Head, head_cell, &mut head.notes)]
        {
            let most = *most.of(arm);
            if *asked.of(arm) <= most {
                continue;
            }
            // The scarcer one may be the other arm's.
            let (own, other) = (*free.of(arm), *free.of(arm.other()));
            let words = words(own.into_iter().chain(other).min());
            if most == 0 {
                bail!(
                    "{}: {words}; each needs one for a worker, beside the one that makes and checks \
                     its table: end other sessions, or raise max_connections, or the CONNECTION LIMIT \
                     of role or database",
                    arm.name()
                );
            }
            cell.hold_sessions(most);
            notes.push(format!("{}: {most} workers at most: {words}", cell.name));
        }
    }
    Ok(())
}

/// How many sessions each arm may have of those that it asks for.
fn most(asked: Arms<u32>, free: Arms<Option<u32>>, is_one_server: bool) -> Arms<u32> {
    let free = Arms { base: free.base.unwrap_or(u32::MAX), head: free.head.unwrap_or(u32::MAX) };
    let most = if is_one_server {
        let free = free.base.min(free.head);
        // What the other one does not need, and half of them in any case.
        let of = |other: u32| (free / 2).max(free.saturating_sub(other));
        Arms { base: of(asked.head), head: of(asked.base) }
    } else {
        free
    };
    match asked.base == asked.head {
        true => Arms { base: most.base.min(most.head), head: most.base.min(most.head) },
        false => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn arms<T>((base, head): (T, T)) -> Arms<T> {
        Arms { base, head }
    }

    #[test]
    fn sessions_are_shared_by_what_is_asked_for() {
        for (asked, free, is_one_server, expected) in [
            // Enough for both.
            ((5, 5), (Some(10), Some(10)), true, (5, 5)),
            ((5, 5), (None, None), true, (5, 5)),
            // Half each, also where one is left over.
            ((5, 5), (Some(9), Some(9)), true, (4, 4)),
            ((5, 5), (Some(1), Some(1)), true, (0, 0)),
            // The one that asks for less has all of it, up to its half.
            ((2, 8), (Some(8), Some(8)), true, (2, 6)),
            ((8, 3), (Some(8), Some(8)), true, (5, 3)),
            ((8, 7), (Some(8), Some(8)), true, (4, 4)),
            // Each its own server: as many still get as many.
            ((5, 5), (Some(3), Some(90)), false, (3, 3)),
            ((5, 5), (Some(3), None), false, (3, 3)),
            ((5, 8), (Some(3), Some(9)), false, (3, 8)),
        ] {
            let most = most(arms(asked), arms(free), is_one_server);
            let got = (asked.0.min(most.base), asked.1.min(most.head));
            assert_eq!(got, expected, "{asked:?} of {free:?}, one server: {is_one_server}");
        }
    }

    #[test]
    fn what_is_taken_away_is_noted_and_nothing_left_is_an_error() {
        let plan = |workers: u32| {
            let text = format!(
                "name = 'test'\n[[cells]]\nname = 'one'\nstrategy = 'copy_text'\nworkers = 2\n\
                 [[cells]]\nname = 'many'\nstrategy = 'copy_text'\nworkers = {workers}\n"
            );
            Plan::resolve(&Scenario::parse(&text, "test.toml").unwrap().scenario).unwrap()
        };
        let (mut base, mut head) = (plan(5), plan(5));
        let free = Arms { base: Some(7), head: Some(7) };
        clip(Arms { base: &mut base, head: &mut head }, free, true).unwrap();
        for plan in [&base, &head] {
            let cells: Vec<u32> = plan.cells.iter().map(|cell| cell.workers).collect();
            assert_eq!(cells, [2, 3]);
            assert_eq!((plan.cells[1].pool.size_max, plan.cells[1].pool.idle_min), (3, 3));
            let note = "many: 3 workers at most: the server has 7 sessions free for this role, and \
                        both arms share them";
            assert_eq!(plan.notes.last().map(String::as_str), Some(note));
        }
        let before = (base.clone(), head.clone());
        clip(Arms { base: &mut base, head: &mut head }, free, true).unwrap();
        assert_eq!((base, head), before, "what fits is left alone");
        let (mut base, mut head) = (plan(1), plan(1));
        let free = Arms { base: Some(1), head: Some(1) };
        let error = clip(Arms { base: &mut base, head: &mut head }, free, true).unwrap_err();
        let problem =
            "base: the server has 1 session free for this role, and both arms share them; each";
        assert!(error.to_string().starts_with(problem), "{error}");
    }
}
