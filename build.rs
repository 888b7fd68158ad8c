//! Tells the program its version, and the commit it was built from if there is a repository to ask.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/refs/heads");
    let mut version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    let commit =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    if let Some(output) = commit.ok().filter(|output| output.status.success()) {
        version += &format!(" ({})", String::from_utf8_lossy(&output.stdout).trim());
    }
    println!("cargo:rustc-env=BATCHPILOT_VERSION={version}");
}
