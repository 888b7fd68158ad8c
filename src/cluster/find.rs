//! Finds the programs of a PostgreSQL server: initdb and postgres in one directory.
//!
//! **Order:** `--pg-bin` alone, if given. Else `BATCHPILOT_PG_BIN`, the directories of PATH in their
//! order, what `pg_config --bindir` says, the usual places of packages, and where
//! `scripts/install-postgres` puts its own, each of the last two with the highest major first. The
//! first that has the major asked for, or has any when none is asked for, is taken.
//!
//! **Invariant:** the environment comes in as a value, [`Lookup`].

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where packages put the programs; `*` stands for any part of one name.
const USUAL_PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
    "/usr/bin",                                           // Fedora, Arch
    "/usr/pgsql-*/bin",                                   // PostgreSQL's own RPMs
    "/usr/libexec/postgresql*",                           // Alpine
    "/usr/lib/postgresql*/bin",                           // SUSE
    "/usr/local/bin",                                     // FreeBSD, container images
    "/usr/local/pgsql/bin",                               // built from source
    "/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew, Apple silicon
    "/usr/local/opt/postgresql@*/bin",                    // Homebrew, Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",    // Homebrew, Linux
    "/opt/local/lib/postgresql*/bin",                     // MacPorts
    "/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
];
/// Where `scripts/install-postgres` puts what no package manager had, when root runs it.
const OWN_PLACE: &str = "/usr/local/lib/batchpilot/postgresql/*/bin";
/// The same below the user's data directory, when not.
const OWN_PLACE_OF_USER: &str = "batchpilot/postgresql/*/bin";

const INSTALL_SCRIPT: &str = "scripts/install-postgres";

/// The programs of one PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// Holds initdb and postgres.
    pub directory: PathBuf,
    pub major: u32,
    /// As `postgres --version` says it: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    pub source: Source,
}

/// How a directory came to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Option,
    Environment,
    Path,
    PgConfig,
    UsualPlaces,
    InstallScript,
}

/// What the search depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The value of `--pg-bin`. Default: none.
    pub pg_bin: Option<PathBuf>,
    /// The value of `BATCHPILOT_PG_BIN`.
    pub pg_bin_environment: Option<PathBuf>,
    /// The directories of PATH.
    pub path: Vec<PathBuf>,
    /// The user's data directory: `XDG_DATA_HOME`, else `.local/share` at home.
    pub data_home: Option<PathBuf>,
    /// What the usual places are below: `/`, but for tests.
    pub root: PathBuf,
}

/// Why no server programs can be used.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The user named a directory, and it is not one.
    #[error("{source_name} names {}, but {problem}", directory.display())]
    NotThere { source_name: Source, directory: PathBuf, problem: String },
    /// There are none.
    #[error(
        "no PostgreSQL server programs (initdb and postgres in one directory) found\n\
         looked in: {looked}\n\
         install them: {install}"
    )]
    Nothing { looked: String, install: String },
    /// There are some, but not of the major asked for.
    #[error(
        "no PostgreSQL {major} found\n\
         found: {found}\n\
         looked in: {looked}\n\
         install it: {install}"
    )]
    MajorMissing { major: u32, found: String, looked: String, install: String },
}

/// Finds the server programs: those of `major`, or any.
///
/// # Errors
///
/// Fails when there are none, with everything looked for and how to install them here.
pub fn find(lookup: &Lookup, major: Option<u32>) -> Result<Binaries, FindError> {
    Search { lookup, ask: &ask }.run(major)
}

impl Lookup {
    /// Reads what this process's environment says; `pg_bin` is left to the caller.
    pub fn from_env() -> Self {
        let value = |name| env::var_os(name).filter(|it| !it.is_empty());
        let home = || Some(PathBuf::from(value("HOME")?).join(".local/share"));
        Self {
            pg_bin: None,
            pg_bin_environment: value("BATCHPILOT_PG_BIN").map(PathBuf::from),
            path: value("PATH").map_or_else(Vec::new, |it| env::split_paths(&it).collect()),
            data_home: value("XDG_DATA_HOME").map(PathBuf::from).or_else(home),
            root: PathBuf::from("/"),
        }
    }

    /// Returns `place`, an absolute path, below the root.
    fn rooted(&self, place: &str) -> PathBuf {
        self.root.join(place.trim_start_matches('/'))
    }

    fn own_places(&self) -> Vec<PathBuf> {
        let of_user = self.data_home.iter().map(|it| it.join(OWN_PLACE_OF_USER));
        of_user.chain([self.rooted(OWN_PLACE)]).collect()
    }

    /// Returns the first directory of PATH that has `program`.
    fn on_path(&self, program: &str) -> Option<PathBuf> {
        self.path.iter().map(|it| it.join(program)).find(|it| it.is_file())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Option => "--pg-bin",
            Self::Environment => "BATCHPILOT_PG_BIN",
            Self::Path => "PATH",
            Self::PgConfig => "pg_config --bindir",
            Self::UsualPlaces => "the usual places",
            Self::InstallScript => INSTALL_SCRIPT,
        })
    }
}

/// Runs a program with one argument and returns what it prints, or why it cannot.
type Ask<'a> = &'a dyn Fn(&Path, &str) -> Result<String, String>;

struct Search<'a> {
    lookup: &'a Lookup,
    ask: Ask<'a>,
}

impl Search<'_> {
    fn run(&self, major: Option<u32>) -> Result<Binaries, FindError> {
        let wanted = |it: &Binaries| major.is_none_or(|major| major == it.major);
        let mut found = Vec::new();
        if let Some(directory) = &self.lookup.pg_bin {
            found.push(self.named(directory, Source::Option)?);
        } else {
            if let Some(directory) = &self.lookup.pg_bin_environment {
                found.push(self.named(directory, Source::Environment)?);
            }
            for source in
                [Source::Path, Source::PgConfig, Source::UsualPlaces, Source::InstallScript]
            {
                if found.iter().any(wanted) {
                    break;
                }
                found.extend(self.all_of(source));
            }
        }
        match found.iter().position(wanted) {
            Some(index) => Ok(found.swap_remove(index)),
            None => Err(self.failure(major, &found)),
        }
    }

    /// Examines the directory that the user named: a mistake there is said, not searched around.
    fn named(&self, directory: &Path, source: Source) -> Result<Binaries, FindError> {
        let problem = match self.examine(directory, source) {
            Some(Ok(binaries)) => return Ok(binaries),
            Some(Err(problem)) => problem,
            None => "it has no initdb and postgres".to_owned(),
        };
        Err(FindError::NotThere { source_name: source, directory: directory.to_owned(), problem })
    }

    /// Returns what a source has, the best first.
    fn all_of(&self, source: Source) -> Vec<Binaries> {
        let directories = match source {
            Source::Option | Source::Environment => Vec::new(),
            Source::Path => self.lookup.path.clone(),
            Source::PgConfig => self.pg_config_bindir().into_iter().collect(),
            Source::UsualPlaces => {
                USUAL_PLACES.iter().flat_map(|it| expand(&self.lookup.rooted(it))).collect()
            }
            Source::InstallScript => {
                self.lookup.own_places().iter().flat_map(|it| expand(it)).collect()
            }
        };
        let examined = directories.iter().filter_map(|it| self.examine(it, source)?.ok());
        let mut found: Vec<Binaries> = examined.collect();
        if source != Source::Path {
            found.sort_by_key(|it| std::cmp::Reverse(it.major));
        }
        found
    }

    fn pg_config_bindir(&self) -> Option<PathBuf> {
        let pg_config = self.lookup.on_path("pg_config")?;
        (self.ask)(&pg_config, "--bindir").ok().map(PathBuf::from)
    }

    /// Returns nothing if the directory has no server programs, and the reason if they do not run.
    fn examine(&self, directory: &Path, source: Source) -> Option<Result<Binaries, String>> {
        let postgres = directory.join("postgres");
        if !postgres.is_file() || !directory.join("initdb").is_file() {
            return None;
        }
        let read = (self.ask)(&postgres, "--version").and_then(|text| {
            let (major, version) =
                parse_version(&text).ok_or_else(|| format!("it calls itself `{text}`"))?;
            let directory = std::path::absolute(directory).map_err(|it| it.to_string())?;
            Ok(Binaries { directory, major, version, source })
        });
        Some(read.map_err(|problem| format!("its postgres cannot be used: {problem}")))
    }

    fn failure(&self, major: Option<u32>, found: &[Binaries]) -> FindError {
        let looked = self.looked();
        let install = self.install_commands(major);
        let describe =
            |it: &Binaries| format!("{} in {} ({})", it.major, it.directory.display(), it.source);
        match major {
            Some(major) if !found.is_empty() => {
                let found: Vec<String> = found.iter().map(describe).collect();
                FindError::MajorMissing { major, found: found.join(", "), looked, install }
            }
            _ => FindError::Nothing { looked, install },
        }
    }

    /// Names every place that was looked at, and programs there that do not run.
    fn looked(&self) -> String {
        if self.lookup.pg_bin.is_some() {
            return format!("{} only", Source::Option);
        }
        let pg_config = match self.pg_config_bindir() {
            Some(directory) => format!("{} ({})", Source::PgConfig, directory.display()),
            None => format!("{} (no pg_config)", Source::PgConfig),
        };
        let usual = USUAL_PLACES.iter().map(|it| self.lookup.rooted(it));
        let places = usual.chain(self.lookup.own_places()).map(|it| it.display().to_string());
        let first = [Source::Environment.to_string(), Source::Path.to_string(), pg_config];
        let mut looked: Vec<String> = first.into_iter().chain(places).collect();
        looked.extend(self.unusable());
        looked.join(", ")
    }

    fn unusable(&self) -> Vec<String> {
        let usual = USUAL_PLACES.iter().flat_map(|it| expand(&self.lookup.rooted(it)));
        let own = self.lookup.own_places();
        let own = own.iter().flat_map(|it| expand(it));
        let directories = self.lookup.path.iter().cloned().chain(usual).chain(own);
        let problem = |it: PathBuf| {
            let problem = self.examine(&it, Source::UsualPlaces)?.err()?;
            Some(format!("{} ({problem})", it.display()))
        };
        directories.filter_map(problem).collect()
    }

    fn install_commands(&self, major: Option<u32>) -> String {
        let script = match major {
            Some(major) => format!("{INSTALL_SCRIPT} {major}"),
            None => INSTALL_SCRIPT.to_owned(),
        };
        let package = |prefix: &str, any: &str| match major {
            Some(major) => format!("{prefix}{major}"),
            None => any.to_owned(),
        };
        let commands = [
            ("apt-get", format!("apt-get install {}", package("postgresql-", "postgresql"))),
            ("dnf", "dnf install postgresql-server".to_owned()),
            ("pacman", "pacman -S postgresql".to_owned()),
            ("apk", format!("apk add {}", package("postgresql", "postgresql"))),
            ("brew", format!("brew install {}", package("postgresql@", "postgresql"))),
        ];
        let here = commands.into_iter().find(|(manager, _)| self.lookup.on_path(manager).is_some());
        here.map_or_else(|| script.clone(), |(_, command)| format!("{script}, or {command}"))
    }
}

/// Asks a real program.
fn ask(program: &Path, argument: &str) -> Result<String, String> {
    let output = Command::new(program).arg(argument).output().map_err(|it| it.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{} {}", output.status, text(&output.stderr)).trim().to_owned())
    }
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or `… 19beta1`.
fn parse_version(text: &str) -> Option<(u32, String)> {
    let version = text.lines().next()?.split_once("(PostgreSQL) ")?.1.trim();
    let digits = version.find(|it: char| !it.is_ascii_digit()).unwrap_or(version.len());
    Some((version[..digits].parse().ok()?, version.to_owned()))
}

/// Returns the directories that a pattern stands for, in the order of their names.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str();
        found = match name.to_str().and_then(|it| it.split_once('*')) {
            Some((before, after)) => {
                found.iter().flat_map(|it| matching(it, before, after)).collect()
            }
            None => found.into_iter().map(|it| it.join(name)).collect(),
        };
    }
    found.retain(|it| it.is_dir());
    found
}

fn matching(directory: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let fits = |name: &str| {
        name.strip_prefix(before).is_some_and(|rest| !rest.is_empty() && rest.ends_with(after))
    };
    let mut paths: Vec<PathBuf> = entries
        .filter(|it| it.file_name().to_str().is_some_and(fits))
        .map(|it| it.path())
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories with a postgres of that version, below a root of their own.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(installed: &[(&str, &str)]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            for (directory, version) in installed {
                tree.write(&format!("{directory}/initdb"), "");
                tree.write(&format!("{directory}/postgres"), version);
            }
            tree
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            fs::write(self.at(path), text).unwrap();
        }

        fn lookup(&self) -> Lookup {
            Lookup {
                path: vec![self.at("home/bin"), self.at("bin")],
                data_home: Some(self.at("home/share")),
                root: self.0.path().to_owned(),
                ..Lookup::default()
            }
        }
    }

    /// A fake program prints the text that its file holds; an empty one does not run.
    fn read(program: &Path, _argument: &str) -> Result<String, String> {
        match fs::read_to_string(program).unwrap() {
            text if text.is_empty() => Err("no loader".to_owned()),
            text if program.ends_with("postgres") => Ok(format!("postgres (PostgreSQL) {text}")),
            text => Ok(text),
        }
    }

    fn search(lookup: &Lookup, major: Option<u32>) -> Result<Binaries, FindError> {
        Search { lookup, ask: &read }.run(major)
    }

    #[test]
    fn sources_are_asked_in_their_order() {
        let debian = ("usr/lib/postgresql/15/bin", "15.18 (Debian 15.18-0+deb12u1)");
        let newer = ("usr/lib/postgresql/17/bin", "17.1");
        let rpm = ("usr/pgsql-16/bin", "16.2");
        let own = ("home/share/batchpilot/postgresql/18/bin", "18.4");
        let system_own = ("usr/local/lib/batchpilot/postgresql/14/bin", "14.23");
        let on_path = ("bin", "13.1");
        let all = [debian, newer, rpm, own, system_own, on_path];
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<u32>, &'a str, Source);
        let cases: &[Case<'_>] = &[
            (&[debian], None, debian.0, Source::UsualPlaces),
            (&[debian, newer, rpm], None, newer.0, Source::UsualPlaces),
            (&[debian, newer, rpm], Some(16), rpm.0, Source::UsualPlaces),
            (&[own, debian], None, debian.0, Source::UsualPlaces),
            (&[own, system_own], None, own.0, Source::InstallScript),
            (&all, None, on_path.0, Source::Path),
            (&all, Some(18), own.0, Source::InstallScript),
            (&all, Some(14), system_own.0, Source::InstallScript),
        ];
        for (installed, major, directory, source) in cases {
            let tree = Tree::new(installed);
            let found = search(&tree.lookup(), *major).unwrap();
            assert_eq!((found.directory, found.source), (tree.at(directory), *source));
        }
    }

    #[test]
    fn the_first_of_path_is_taken_whatever_its_major() {
        let tree = Tree::new(&[("home/bin", "14.1"), ("bin", "18.1")]);
        assert_eq!(search(&tree.lookup(), None).unwrap().major, 14);
        assert_eq!(search(&tree.lookup(), Some(18)).unwrap().directory, tree.at("bin"));
    }

    #[test]
    fn pg_config_is_believed_before_the_usual_places() {
        let tree = Tree::new(&[("opt/mine", "15.1"), ("usr/lib/postgresql/17/bin", "17.1")]);
        tree.write("bin/pg_config", tree.at("opt/mine").to_str().unwrap());
        let found = search(&tree.lookup(), None).unwrap();
        assert_eq!((found.major, found.source), (15, Source::PgConfig));
    }

    #[test]
    fn a_directory_that_the_user_names_is_not_searched_around() {
        let tree = Tree::new(&[("bin", "15.1"), ("mine", "16.1"), ("broken", "")]);
        let lookup = |path: &str| Lookup { pg_bin: Some(tree.at(path)), ..tree.lookup() };
        assert_eq!(search(&lookup("mine"), None).unwrap().major, 16);
        let cases = [("home", None, "no initdb"), ("broken", None, "no loader")];
        for (path, major, expected) in cases {
            let error = search(&lookup(path), major).unwrap_err().to_string();
            assert!(error.contains("--pg-bin") && error.contains(expected), "{error}");
        }
        let error = search(&lookup("mine"), Some(15)).unwrap_err();
        assert!(matches!(error, FindError::MajorMissing { major: 15, .. }), "{error}");
    }

    #[test]
    fn the_environment_comes_first_but_yields_to_a_major() {
        let tree = Tree::new(&[("bin", "15.1"), ("mine", "16.1")]);
        let lookup =
            |path: &str| Lookup { pg_bin_environment: Some(tree.at(path)), ..tree.lookup() };
        assert_eq!(search(&lookup("mine"), None).unwrap().source, Source::Environment);
        assert_eq!(search(&lookup("mine"), Some(15)).unwrap().source, Source::Path);
        let error = search(&lookup("missing"), Some(15)).unwrap_err().to_string();
        assert!(error.contains("BATCHPILOT_PG_BIN"), "{error}");
    }

    #[test]
    fn a_missing_major_is_said_with_what_there_is() {
        let tree = Tree::new(&[("bin", "15.1"), ("usr/pgsql-16/bin", "16.2")]);
        tree.write("bin/apt-get", "");
        let error = search(&tree.lookup(), Some(9)).unwrap_err();
        assert!(matches!(error, FindError::MajorMissing { major: 9, .. }), "{error}");
        let expected = [
            format!("15 in {} (PATH)", tree.at("bin").display()),
            format!("16 in {} (the usual places)", tree.at("usr/pgsql-16/bin").display()),
            "scripts/install-postgres 9, or apt-get install postgresql-9".to_owned(),
        ];
        for text in expected {
            assert!(error.to_string().contains(&text), "{text} in {error}");
        }
    }

    #[test]
    fn nothing_found_says_everything_looked_for() {
        let tree = Tree::new(&[("usr/bin", "")]);
        tree.write("bin/initdb", "");
        let error = search(&tree.lookup(), None).unwrap_err().to_string();
        for place in USUAL_PLACES {
            assert!(error.contains(place), "{place} in {error}");
        }
        let expected = ["PATH", "(no pg_config)", "home/share/batchpilot", INSTALL_SCRIPT];
        for text in expected.into_iter().chain(["no loader"]) {
            assert!(error.contains(text), "{text} in {error}");
        }
    }

    #[test]
    fn versions_are_read_as_postgresql_prints_them() {
        let cases = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some(15)),
            ("postgres (PostgreSQL) 18.4", Some(18)),
            ("postgres (PostgreSQL) 19beta1", Some(19)),
            ("echo (GNU coreutils) 9.1", None),
            ("", None),
        ];
        for (text, major) in cases {
            assert_eq!(parse_version(text).map(|it| it.0), major, "{text}");
        }
    }
}
