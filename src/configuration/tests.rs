use super::*;
use clap::Parser;
use clap::builder::BoolishValueParser;
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

/// A program with every kind of flag that a server may have.
#[derive(Debug, Parser, PartialEq, Eq)]
#[command(name = "program", version = "1.0")]
struct Program {
    #[arg(long, default_value_t = 9000, env = "HOSTDIR_TEST_PORT")]
    port: u16,
    #[arg(long, env = "HOSTDIR_TEST_NAME")]
    name: Option<OsString>,
    #[arg(long, env = "HOSTDIR_TEST_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,
    #[arg(long, value_delimiter = ',', env = "HOSTDIR_TEST_TOPIC")]
    topic: Vec<String>,
    #[arg(long, default_value = "auto", value_parser = ["auto", "never"])]
    color: String,
    #[arg(long)]
    token: Option<u16>,
    #[arg(long, hide_env_values = true, env = "HOSTDIR_TEST_WORD")]
    word: Option<String>,
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    #[arg(long)]
    certificate: Option<PathBuf>,
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Debug, clap::Subcommand, PartialEq, Eq)]
enum Sub {
    Report,
}

/// Resolves `words` with a file of this text.
fn resolve_with(file: &str, words: &[&str]) -> Result<Resolved<Program>, Error> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("test.toml");
    fs::write(&path, file).unwrap();
    let config = [OsString::from("program"), "--config".into(), path.into()];
    resolve(config.into_iter().chain(words.iter().map(OsString::from)))
}

/// What is wrong, without the name of the file.
fn wrong(file: &str) -> String {
    let error = resolve_with(file, &[]).unwrap_err().to_string();
    error.split_once("test.toml, ").map_or(error.clone(), |(_, why)| why.to_owned())
}

fn shown(resolved: &Resolved<Program>, name: &str) -> String {
    let setting = resolved.settings.iter().find(|setting| setting.name == name).unwrap();
    setting.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let resolved = resolve_with("port = 1\nname = \"attic\"\n", &["--port", "2"]).unwrap();
    assert_eq!((resolved.arguments.port, resolved.arguments.name.clone()), (2, Some("attic".into())));
    assert_eq!(shown(&resolved, "port"), "port = 2 # flag");
    assert_eq!(shown(&resolved, "name"), "name = \"attic\" # file, line 2");
    assert_eq!(shown(&resolved, "color"), "color = \"auto\" # default");
    assert_eq!(shown(&resolved, "certificate"), "# certificate is not set # default");
}

#[test]
fn a_flag_with_the_value_of_the_default_is_a_flag_all_the_same() {
    let resolved = resolve_with("port = 1", &["--port", "9000"]).unwrap();
    assert_eq!((resolved.arguments.port, shown(&resolved, "port").as_str()), (9000, "port = 9000 # flag"));
}

#[test]
fn values_of_every_kind_are_taken() {
    let file = "port = 0x1_F\nquiet = true\ntopic = ['a,b', 'c']\ncolor = 'never'\nname = 2026-11-21";
    let arguments = resolve_with(file, &[]).unwrap().arguments;
    assert_eq!((arguments.port, arguments.quiet, arguments.color.as_str()), (31, true, "never"));
    assert_eq!(arguments.topic, ["a,b", "c"], "a comma in the file is a comma");
    assert_eq!(arguments.name, Some("2026-11-21".into()));
    let arguments = resolve_with("quiet = false\ntopic = 'one'\nname = '--port=3'", &[]).unwrap().arguments;
    assert_eq!((arguments.quiet, arguments.topic, arguments.port), (false, vec!["one".to_owned()], 9000));
    assert_eq!(resolve_with("topic = ['a']", &["--topic", "b,c"]).unwrap().arguments.topic, ["b", "c"]);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    assert_eq!(wrong("\nprot = 1"), "line 2: prot: there is no such key; the keys are the names of the flags (--help)");
    assert!(wrong("check_config = true").contains("check-config is one"));
    assert_eq!(wrong("port = 1\nquiet = 'yes'"), "line 2: quiet: not true or false");
    assert_eq!(wrong("port = 70000"), "line 1: port: \"70000\": 70000 is not in 0..=65535");
    assert_eq!(wrong("color = 'red'"), "line 1: color: \"red\": not one of auto, never");
    assert_eq!(wrong("name = ['a']"), "line 1: name: it takes one value, not a list");
    assert_eq!(wrong("[port]\nx = 1"), "line 1: port: it takes a value, not a table");
    assert_eq!(wrong("name = \"a\\u0000\""), "line 1: name: it has a NUL character");
    assert_eq!(wrong("config = 'x'"), "line 1: config: this is for the command line only");
    assert!(wrong("port = 1\nport = 2").starts_with("line 2: "), "{}", wrong("port = 1\nport = 2"));
    assert!(wrong("port = \n").starts_with("line 1: "), "{}", wrong("port = \n"));
    assert!(wrong("help = true").contains("no such key"));
    assert_eq!(wrong("b = 1\na = 1").split(':').next(), Some("line 1"), "the first mistake is told first");
}

#[test]
fn no_error_and_no_listing_shows_a_secret() {
    assert_eq!(wrong("token = 'hunter2'"), "line 1: token: not a value that it takes");
    let resolved = resolve_with("token = 4711\nword = 'hunter2'", &[]).unwrap();
    assert_eq!((resolved.arguments.token, resolved.arguments.word.as_deref()), (Some(4711), Some("hunter2")));
    let listing = resolved.settings.to_string();
    assert!(!listing.contains("4711") && !listing.contains("hunter2"), "{listing}");
    assert_eq!(shown(&resolved, "token"), "# token is set, and not shown # file, line 1");
}

#[test]
fn what_a_flag_requires_may_stand_in_the_file() {
    assert!(matches!(resolve_with("", &["--key", "k"]), Err(Error::Usage(_))));
    let arguments = resolve_with("certificate = 'c'", &["--key", "k"]).unwrap().arguments;
    assert_eq!((arguments.key, arguments.certificate), (Some("k".into()), Some("c".into())));
    assert!(matches!(resolve_with("key = 'k'", &[]), Err(Error::Usage(_))));
}

#[test]
fn commands_keep_their_place() {
    let arguments = resolve_with("port = 1", &["report"]).unwrap().arguments;
    assert_eq!((arguments.port, arguments.command), (1, Some(Sub::Report)));
}

#[test]
fn a_mistake_on_the_command_line_stays_one() {
    for words in [&["--nonsense"][..], &["--port"], &["--port", "x"]] {
        assert!(matches!(resolve_with("port = 1", words), Err(Error::Usage(_))), "{words:?}");
    }
    let missing = resolve::<Program>(["program", "--config", "/nowhere/test.toml"].map(OsString::from));
    assert!(matches!(missing, Err(Error::Read { .. })));
}

#[test]
fn the_listing_is_a_file_with_the_same_settings() {
    let words = ["--name", "a \"b\" \\ \u{202e}\n", "--topic", "x", "--topic", "007,8", "--quiet", "--port", "1"];
    let first = resolve_with("", &words).unwrap();
    let second = resolve_with(&first.settings.to_string(), &[]).unwrap();
    assert_eq!(Program { config: None, ..first.arguments }, Program { config: None, ..second.arguments });
    assert!(first.settings.to_string().is_ascii());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = File::parse(&text, &Program::command());
    }

    #[test]
    fn any_name_survives_the_listing(name in "[^\0]+") {
        let first = resolve_with("", &[&format!("--name={name}")]).unwrap();
        let second = resolve_with(&first.settings.to_string(), &[]).unwrap();
        prop_assert_eq!(first.arguments.name, second.arguments.name);
    }
}
