//! Tells the program which commit it was built from, if there is a repository to ask.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    let commit =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    if let Some(output) = commit.ok().filter(|output| output.status.success()) {
        let commit = String::from_utf8_lossy(&output.stdout);
        println!("cargo:rustc-env=BATCHPILOT_COMMIT={}", commit.trim());
    }
}
