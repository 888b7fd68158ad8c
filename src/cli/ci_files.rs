//! Holds the jobs of `scripts/ci/` to the command line as it is.

use std::{fs, path::Path};

use clap::Parser;

use super::args::Cli;

/// Returns the commands of a job: lines that begin with `batchpilot`, with those that go on below.
fn commands(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut indent = None;
    for line in text.lines() {
        let start = line.trim_start();
        let depth = line.len() - start.len();
        let words = start.trim_start_matches("- ").trim_start_matches("run: ");
        match indent {
            Some(above) if above <= depth && !start.starts_with("- ") => {
                let command = commands.last_mut().expect("one goes on");
                command.push(' ');
                command.push_str(words);
            }
            _ if words.starts_with("batchpilot ") => {
                commands.push(words.to_owned());
                // A folded text goes on at its own depth, a list's item below its text.
                let is_item = start.len() != words.len();
                indent = Some(if is_item { depth + 1 } else { depth });
            }
            _ => indent = None,
        }
    }
    commands
}

/// As a shell would: no quotes, and two files for a pattern. Names of variables stand for values.
fn words(command: &str) -> Vec<String> {
    let plain = command.replace("${{ ", "$").replace(" }}", "").replace('"', "");
    let words = plain.split_whitespace().flat_map(|word| match word {
        "$@" => vec!["1".to_owned(), "2".to_owned()],
        word if word.contains('*') => vec![word.replace('*', "1"), word.replace('*', "2")],
        word => vec![word.to_owned()],
    });
    words.collect()
}

#[test]
fn commands_and_flags_of_the_ci_jobs_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/ci");
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for command in commands(&fs::read_to_string(&path).unwrap()) {
            let words = words(&command);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{name}: {command}\n{error}");
            }
            seen.push(format!("{name}: {}", words[1]));
        }
    }
    seen.sort();
    let want = ["check", "compare", "run"];
    let both = ["github-actions.yml", "gitlab-ci.yml"];
    let want: Vec<String> =
        both.iter().flat_map(|file| want.map(|command| format!("{file}: {command}"))).collect();
    assert_eq!(seen, want);
}

/// batchpilot is on no registry: a job builds it from a directory that it has cloned, and names no
/// command of it in the middle of a line, where the test above does not look.
#[test]
fn ci_jobs_build_what_they_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/ci");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let lines = || text.lines().map(|line| line.trim_start().trim_start_matches("- "));
        let lines = || lines().map(|line| line.trim_start_matches("run: "));
        let of = |start: &'static str| lines().filter(move |line| line.starts_with(start));
        assert_ne!(of("cargo install ").count(), 0, "{}", path.display());
        assert_eq!(of("cargo install ").count(), of("git clone ").count(), "{}", path.display());
        for (clone, install) in of("git clone ").zip(of("cargo install ")) {
            let target = |line: &str| line.split(' ').next_back().map(str::to_owned);
            assert!(install.contains(" --locked --path "), "{install}");
            assert_eq!(target(clone), target(install), "{install}");
        }
        for line in lines().filter(|line| !line.starts_with(['#', 'b'])) {
            let is_run = ["; batchpilot ", "& batchpilot ", "| batchpilot ", "$(batchpilot "];
            assert!(!is_run.iter().any(|it| line.contains(it)), "{line}");
        }
    }
}

#[test]
fn a_command_may_go_on_in_the_next_lines() {
    let text = "- run: >-\n    batchpilot check a b\n    --junit x\n- uses: y\n\
                script:\n  - batchpilot run a\n    --quiet\n  - batchpilot compare c/*\n";
    let want =
        ["batchpilot check a b --junit x", "batchpilot run a --quiet", "batchpilot compare c/*"];
    assert_eq!(commands(text), want);
    assert_eq!(words("x \"$A/${{ b.c }}\" c/*-n"), ["x", "$A/$b.c", "c/1-n", "c/2-n"]);
}
