//! The README against the programs: every flag that their `--help` names stands in its tables, with the same short form,
//! value, environment variable and default; and nothing stands there that the programs do not have. The command lines of both
//! languages are ones that the programs take.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::Command;

const README: &str = include_str!("../README.md");
const LEEME: &str = include_str!("../README.es.md");

/// A flag as `--help` describes it, or as a row of a table does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Flag {
    /// `-i`, `--ip` and `IP`, those that it has.
    forms: Vec<String>,
    environment: String,
    default: String,
}

/// The programs, each with its commands that have flags of their own.
fn programs() -> [(&'static str, &'static str, &'static [&'static str]); 2] {
    [
        (
            "server",
            env!("CARGO_BIN_EXE_server"),
            &["report", "token add", "token list", "token revoke", "completions", "man"],
        ),
        ("client", env!("CARGO_BIN_EXE_client"), &["list", "get", "put", "ping", "completions", "man"]),
    ]
}

fn help(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

/// The flags of a help text: each begins with its forms on a line of their own, and what is said of it is indented deeper.
fn flags_of_help(help: &str) -> Vec<Flag> {
    let (_, options) = help.split_once("\nOptions:\n").expect("the help has options");
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in options.lines() {
        let text = line.trim();
        let indent = line.len() - line.trim_start().len();
        if indent < 8 && text.starts_with('-') {
            // A short help says it on the same line.
            let (forms, said) = text.split_once("  ").unwrap_or((text, ""));
            flags.push((forms.to_owned(), format!("{} ", said.trim())));
        } else if let Some((_, said)) = flags.last_mut() {
            said.push_str(text);
            said.push(' ');
        }
    }
    let bracketed = |said: &str, name: &str| {
        let (_, rest) = said.rsplit_once(&format!("[{name}: "))?;
        rest.split(']').next().map(|text| text.trim_end_matches('=').to_owned())
    };
    flags
        .iter()
        .map(|(head, said)| Flag {
            forms: head.split([' ', ',']).filter(|form| !form.is_empty()).map(bare).collect(),
            environment: bracketed(said, "env").unwrap_or_default(),
            default: bracketed(said, "default").unwrap_or_default(),
        })
        .collect()
}

/// `IP` of `<IP>`.
fn bare(form: &str) -> String {
    form.trim_matches(['<', '>']).to_owned()
}

/// The flags in the table below the heading of a program or command; none if there is no such heading.
fn flags_of_readme(heading: &str) -> Vec<Flag> {
    let Some((_, section)) = README.split_once(&format!("\n### `{heading}`\n")) else { return Vec::new() };
    let section = section.split("\n#").next().unwrap_or(section);
    let rows = section.lines().filter(|line| line.starts_with("| `-"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let ["", forms, _, environment, default, ""] = cells[..] else { panic!("{row} has not four cells") };
        Flag {
            forms: forms.split(['`', ' ', ',']).filter(|form| !form.is_empty()).map(str::to_owned).collect(),
            environment: environment.trim_matches('`').to_owned(),
            default: default.to_owned(),
        }
    })
    .collect()
}

/// By their names, which no two of a program share.
fn by_forms(flags: Vec<Flag>) -> BTreeMap<Vec<String>, Flag> {
    let mut found = BTreeMap::new();
    for flag in flags {
        let twice = found.insert(flag.forms.clone(), flag);
        assert_eq!(twice, None, "a flag stands there twice");
    }
    found
}

fn compare(heading: &str, flags: Vec<Flag>) -> usize {
    let (real, told) = (by_forms(flags), by_forms(flags_of_readme(heading)));
    for (forms, flag) in &real {
        let told = told.get(forms).unwrap_or_else(|| panic!("the README does not have {forms:?} of {heading}"));
        assert_eq!(told.environment, flag.environment, "the environment variable of {forms:?} of {heading}");
        if !flag.default.is_empty() {
            assert_eq!(told.default, flag.default, "the default of {forms:?} of {heading}");
        }
    }
    for forms in told.keys() {
        assert!(real.contains_key(forms), "the README has {forms:?} of {heading}, which does not exist");
    }
    real.len()
}

#[test]
fn the_readme_has_every_flag_and_no_other() {
    let mut compared = 0;
    for (name, program, commands) in programs() {
        let shared = flags_of_help(&help(program, &[]));
        compared += compare(name, shared.clone());
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            let own = flags_of_help(&help(program, &words)).into_iter().filter(|flag| !shared.contains(flag));
            // Every command has a -h of its own, with other words.
            let own = own.filter(|flag| !flag.forms.contains(&"--help".to_owned()));
            compared += compare(&format!("{name} {command}"), own.collect());
        }
    }
    assert!(compared > 30, "only {compared} flags were found");
}

#[test]
fn the_readme_has_every_command() {
    for (program, path, least) in
        [("client", env!("CARGO_BIN_EXE_client"), 5), ("server", env!("CARGO_BIN_EXE_server"), 3)]
    {
        let help = help(path, &[]);
        let (_, commands) = help.split_once("\nCommands:\n").unwrap();
        let names = commands.lines().map_while(|line| line.trim().split(' ').next().filter(|name| !name.is_empty()));
        let names: Vec<&str> = names.filter(|name| *name != "help").collect();
        assert!(names.len() >= least, "{names:?}");
        for name in names {
            let told = format!("`{program} {name}");
            let mut rows = README.lines().filter(|line| line.starts_with("| `"));
            assert!(rows.any(|row| row.contains(&told)), "the README does not have the command {program} {name}");
        }
    }
}

#[test]
fn the_readme_has_every_exit_code_with_its_meaning() {
    for (name, program, _) in programs() {
        let help = help(program, &[]).replace('\n', " ");
        let (_, codes) = help.split_once("Exit codes: ").unwrap();
        let codes = codes.split('.').next().unwrap();
        let column = if name == "client" { 1 } else { 2 };
        for code in codes.split("; ") {
            let (number, meaning) = code.trim().split_once(' ').unwrap();
            let row = README.lines().find(|line| line.starts_with(&format!("| {number} |")));
            let cells: Vec<&str> =
                row.unwrap_or_else(|| panic!("no row for {number}")).trim_matches('|').split('|').collect();
            let plain = |text: &str| text.replace(['(', ')', ':', ',', ' '], "");
            assert!(
                plain(cells[column]).contains(&plain(meaning)),
                "{name}: {number} {meaning}, not {}",
                cells[column]
            );
        }
    }
}

/// The command lines of a text: those after a prompt or in a block for a shell, and those between backticks.
fn command_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    for (number, part) in text.split("\n```").enumerate() {
        if number % 2 == 0 {
            lines.extend(part.split('`').skip(1).step_by(2));
        } else {
            let is_script = part.starts_with("sh\n");
            lines.extend(part.lines().filter_map(|line| line.strip_prefix("$ ").or(is_script.then_some(line))));
        }
    }
    // What is piped is a command of its own.
    lines.iter().flat_map(|line| line.split(" #").next().unwrap().split('|')).collect()
}

/// The words of a command line of one of the programs, without the variables before it.
fn words(line: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = line.split_whitespace().skip_while(|word| word.contains('=')).collect();
    ["client", "server"].contains(words.first()?).then_some(words)
}

/// Checks that a command line names a command, where there is one, and flags of it or of the program.
fn check(words: &[&str]) {
    let (_, program, _) = programs().into_iter().find(|(name, _, _)| *name == words[0]).unwrap();
    let mut path = Vec::new();
    let mut text = help(program, &[]);
    let mut flags = flags_of_help(&text);
    for word in &words[1..] {
        let commands = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
        if commands.lines().any(|line| line.split_whitespace().next() == Some(word)) {
            path.push(*word);
            text = help(program, &path);
            flags.extend(flags_of_help(&text));
        }
    }
    let is_known = |form: &str| flags.iter().any(|flag| flag.forms.iter().any(|known| known == form));
    for word in words.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
        if word.starts_with("--") {
            let form = word.split('=').next().unwrap();
            assert!(is_known(form), "{words:?} has {form}, which {path:?} has not");
        } else {
            let known = word.chars().skip(1).all(|letter| is_known(&format!("-{letter}")));
            assert!(known, "{words:?} has {word}, which {path:?} has not");
        }
    }
}

#[test]
fn the_command_lines_of_both_languages_are_ones_that_the_programs_take() {
    for (text, least) in [(README, 40), (LEEME, 20)] {
        let lines: Vec<_> = command_lines(text).into_iter().filter_map(words).collect();
        assert!(lines.len() >= least, "{} command lines", lines.len());
        lines.iter().for_each(|words| check(words));
    }
    // In Spanish there is no table to compare: what is named alone is a flag of one of the programs.
    let flags: Vec<Flag> = programs().iter().flat_map(|(_, program, _)| flags_of_help(&help(program, &[]))).collect();
    let alone = command_lines(LEEME).into_iter().filter(|line| line.starts_with("--"));
    for flag in alone.map(|line| line.split(' ').next().unwrap()) {
        assert!(flags.iter().any(|known| known.forms.iter().any(|form| form == flag)), "{flag} does not exist");
    }
}
