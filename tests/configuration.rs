//! Where the settings of `server` come from: every flag can be set by variable and by file, and `--check-config` tells which
//! it was. How a file is read is tested beside `configuration`; this is the program with its real flags.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Launch, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Flags that ask for something to be done. They set nothing, so no file has them.
const ACTIONS: [&str; 4] = ["config", "check-config", "help", "version"];

/// One of these is a value that a flag takes, or else its default is. A flag for which neither holds needs one more here, and
/// nothing in the sources.
const VALUES: [&str; 9] =
    ["1", "1GiB", "12h", "chat=1h", "chat=1GiB", "127.0.0.1", "https://nas.example:9000", "nas.example", "read,add"];

/// A folder with a configuration file in it.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("server.toml")
    }

    fn file(&self, text: &str) -> &Self {
        fs::write(self.path(), text).unwrap();
        self
    }

    /// `server --check-config` with the file, further arguments, and no variable but these.
    fn check(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        server(arguments).arg("--config").arg(self.path()).envs(variables.iter().copied()).output().unwrap()
    }
}

fn server(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.arg("--check-config").args(arguments).env_clear();
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What `--check-config` says of a setting, and the origin that stands behind it.
fn told(output: &Output, name: &str) -> (String, String) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let listing = text(&output.stdout);
    let about = |line: &&str| line.trim_start_matches("# ").split(' ').next() == Some(name);
    let line = listing.lines().find(about).unwrap_or_else(|| panic!("{name} is not in\n{listing}"));
    let (said, origin) = line.rsplit_once(" # ").unwrap();
    (said.trim_end().to_owned(), origin.to_owned())
}

/// The long names and the variables of all flags, as the help has them; and whether they take a value.
fn flags() -> Vec<(String, Option<String>, bool)> {
    let help = Command::new(env!("CARGO_BIN_EXE_server")).arg("--help").env_clear().output().unwrap();
    let help = text(&help.stdout);
    let (_, options) = help.split_once("\nOptions:\n").unwrap();
    let mut flags: Vec<(String, Option<String>, bool)> = Vec::new();
    for line in options.lines().map(str::trim) {
        if let Some((_, name)) = line.split_once("--").filter(|(before, _)| before.is_empty() || before.ends_with(", "))
        {
            let name = name.split(' ').next().unwrap();
            flags.push((name.to_owned(), None, line.contains('<')));
        } else if let (Some((_, variable)), Some(flag)) = (line.split_once("[env: "), flags.last_mut()) {
            flag.1 = Some(variable.split(['=', ']']).next().unwrap().to_owned());
        }
    }
    flags
}

/// Settings: the flags that are no actions.
fn settings() -> Vec<(String, Option<String>, bool)> {
    let settings: Vec<_> = flags().into_iter().filter(|(name, ..)| !ACTIONS.contains(&name.as_str())).collect();
    assert!(settings.len() >= 17, "only {} were found", settings.len());
    settings
}

/// What may be a value of a setting.
fn candidates(name: &str, takes_value: bool) -> Vec<String> {
    if !takes_value {
        return vec!["true".to_owned()];
    }
    let (said, _) = told(&server(&[]).output().unwrap(), name);
    let default = said.split_once(" = ").map(|(_, default)| default.trim_matches('"').to_owned());
    default.into_iter().chain(VALUES.map(str::to_owned)).collect()
}

/// Whether a setting was taken; not, if its value is wrong. That another flag must stand beside it is no concern of the file.
fn is_taken(output: &Output, name: &str, origin: &str) -> bool {
    if text(&output.stderr).contains("required arguments were not provided") {
        return true;
    }
    output.status.code() == Some(0) && told(output, name).1 == origin
}

#[test]
fn every_flag_can_be_set_by_file() {
    let scene = Scene::new();
    for (name, _, takes_value) in settings() {
        let quote = if takes_value { "'" } else { "" };
        let mut outputs = candidates(&name, takes_value)
            .into_iter()
            .map(|value| scene.file(&format!("\n{name} = {quote}{value}{quote}\n")).check(&[], &[]));
        assert!(outputs.any(|output| is_taken(&output, &name, "file, line 2")), "{name} cannot be set by file");
    }
}

#[test]
fn every_flag_can_be_set_by_variable() {
    let scene = Scene::new();
    scene.file("");
    for (name, variable, takes_value) in settings() {
        let variable = variable.unwrap_or_else(|| panic!("--{name} has no variable"));
        let origin = format!("environment, {variable}");
        let mut outputs =
            candidates(&name, takes_value).into_iter().map(|value| scene.check(&[], &[(&variable, &value)]));
        assert!(outputs.any(|output| is_taken(&output, &name, &origin)), "{name} cannot be set by {variable}");
    }
}

#[test]
fn the_listing_has_every_setting_and_no_action() {
    let output = Scene::new().file("").check(&[], &[]);
    let mut listed: Vec<String> = Vec::new();
    for line in text(&output.stdout).lines().skip(1) {
        listed.push(line.trim_start_matches("# ").split(' ').next().unwrap().to_owned());
    }
    let expected: Vec<String> = settings().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(listed, expected);
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let scene = Scene::new();
    scene.file("port = 1\nmax-connections = 11\nread-only = true\nname = 'file'\n");
    let variables =
        [("HOSTDIR_SERVER_PORT", "2"), ("HOSTDIR_SERVER_MAX_CONNECTIONS", "12"), ("HOSTDIR_SERVER_READ_ONLY", "off")];
    let output = scene.check(&["--port", "3"], &variables);
    assert_eq!(told(&output, "port"), ("port = 3".into(), "flag".into()));
    let variable = "environment, HOSTDIR_SERVER_MAX_CONNECTIONS".into();
    assert_eq!(told(&output, "max-connections"), ("max-connections = 12".into(), variable));
    assert_eq!(told(&output, "read-only").0, "read-only = false", "a variable turns off what the file turns on");
    assert_eq!(told(&output, "name"), ("name = \"file\"".into(), "file, line 4".into()));
    assert_eq!(told(&output, "idle-timeout"), ("idle-timeout = 300".into(), "default".into()));
}

#[test]
fn the_listing_is_itself_a_file_that_says_the_same() {
    let scene = Scene::new();
    let words = ["--expire", "a,b=1d", "--expire", "chat=2h", "--name", "a \"nas\"", "--max-file-size", "4GiB"];
    let first = scene.file("expire = ['a,b=1d']").check(&words[2..], &[]);
    let listing = text(&first.stdout);
    let second = scene.file(&listing).check(&[], &[]);
    let values = |listing: &str| -> Vec<String> {
        listing.lines().skip(1).map(|line| line.rsplit_once(" # ").unwrap().0.trim_end().to_owned()).collect()
    };
    assert_eq!(values(&text(&second.stdout)), values(&listing));
    assert!(listing.contains("expire = [\"chat=2h\"]"), "a flag replaces the whole list of the file: {listing}");
}

#[test]
fn what_is_wrong_is_one_line_with_exit_code_two() {
    let scene = Scene::new();
    for (file, part) in [
        ("port = 9000\nprot = 9001\n", "server.toml, line 2: prot: there is no such key"),
        ("max_connections = 7", "max-connections is one"),
        ("[server]\nport = 1", "server.toml, line 1: server: "),
        ("port = ", "server.toml, line 1: "),
        ("expire = ['chat']", "server.toml, line 1: expire: \"chat\": not FOLDER=AGE"),
        ("read-only = true\nallow-overwrite = true", "--read-only and --allow-overwrite exclude each other"),
        ("check-config = true", "for the command line only"),
    ] {
        let output = scene.file(file).check(&[], &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{file}: {output:?}");
        assert!(said.starts_with("server: ") && said.contains(part) && said.lines().count() == 1, "{file}: {said}");
        assert_eq!(text(&output.stdout), "", "{file}");
    }
    let missing = server(&["--config", "/nowhere/server.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).starts_with("server: read the configuration /nowhere/server.toml: "), "{missing:?}");
}

#[test]
fn the_file_itself_can_be_named_by_a_variable_and_help_needs_none() {
    let scene = Scene::new();
    scene.file("port = 4711");
    let path = scene.path();
    let output = server(&[]).env("HOSTDIR_SERVER_CONFIG", &path).output().unwrap();
    assert_eq!(told(&output, "port"), ("port = 4711".into(), "file, line 1".into()));
    assert!(text(&output.stdout).contains(path.to_str().unwrap()), "it says which file was read");
    let help = server(&["--config", "/nowhere/server.toml", "--help"]).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
}

#[test]
fn a_check_touches_nothing() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let (hosted, logs) = (folder.join("hosted"), folder.join("logs"));
    let file = format!("dir = '{}'\nlog-dir = '{}'", hosted.display(), logs.display());
    assert_eq!(scene.file(&file).check(&[], &[]).status.code(), Some(0));
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["server.toml"]);
}

#[test]
fn a_server_serves_what_its_file_says() {
    let scene = Scene::new();
    let hosted = scene.folder.path().join("hosted");
    fs::create_dir(&hosted).unwrap();
    scene.file("read-only = true\nname = 'from the file'\n");
    let path = scene.path();
    let server = start(&hosted, &path);
    assert!(client(&server, &["ping"]).stdout.starts_with(b"from the file ("));
    let refused = client(&server, &["put", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(8), "it is read-only: {refused:?}");
}

fn client(server: &Server, arguments: &[&str]) -> Output {
    let port = server.address().port().to_string();
    Command::new(env!("CARGO_BIN_EXE_client")).args(["--port", &port]).args(arguments).env_clear().output().unwrap()
}

fn start(hosted: &Path, file: &Path) -> Server {
    let arguments = ["--config", file.to_str().unwrap()];
    Server::launch(hosted, &Launch { arguments: &arguments, ..Launch::default() })
}
