//! The manual pages and completions that the programs print: of all commands, and under the name that they were started by.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const PROGRAMS: [(&str, &str); 2] =
    [("hostdir-server", env!("CARGO_BIN_EXE_server")), ("hostdir-client", env!("CARGO_BIN_EXE_client"))];

fn out(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env_clear().output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Both programs under the names that a package gives them.
fn installed() -> (TempDir, Vec<std::path::PathBuf>) {
    let folder = TempDir::new().unwrap();
    let install = |(name, program): (&str, &str)| {
        let path = folder.path().join(name);
        symlink(program, &path).unwrap();
        path
    };
    let programs = PROGRAMS.map(install).to_vec();
    (folder, programs)
}

#[test]
fn pages_and_completions_speak_of_the_program_by_the_name_it_was_started_by() {
    let (_folder, programs) = installed();
    for (program, (name, _)) in programs.iter().zip(PROGRAMS) {
        let page = out(program, &["man"]);
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        assert!(page.contains(&format!("\n.SS \"{} completions\"", name.replace('-', "\\-"))), "{page}");
        for (shell, line) in [
            ("bash", format!("-o default {name}\n")),
            ("zsh", format!("#compdef {name}")),
            ("fish", format!("-c {name} ")),
        ] {
            let script = out(program, &["completions", shell]);
            assert!(script.contains(&line), "{shell}: {line}");
        }
    }
}

#[test]
fn a_page_has_every_flag_of_every_command() {
    let client = Path::new(PROGRAMS[1].1);
    let page = out(client, &["man"]);
    for command in ["list", "get", "put", "publish", "subscribe", "ping", "completions", "man"] {
        let (_, section) = page.split_once(&format!(".SS \"client {command}\"\n")).unwrap();
        let section = section.split("\n.SS ").next().unwrap();
        let help = out(client, &[command, "--help"]);
        let shared = out(client, &["--help"]);
        let flags = |help: &str| -> Vec<String> {
            let words = help.split_whitespace().map(|word| word.trim_end_matches(',').to_owned());
            words.filter(|word| word.starts_with("--") && word.len() > 3).collect()
        };
        for flag in flags(&help).into_iter().filter(|flag| !flags(&shared).contains(flag)) {
            let shown = flag.replace('-', "\\-");
            assert!(section.contains(&shown), "{flag} of {command} is not in\n{section}");
        }
    }
}

#[test]
fn a_page_is_without_fault_for_the_program_that_shows_it() {
    for (name, program) in PROGRAMS {
        let folder = TempDir::new().unwrap();
        let page = folder.path().join("page.1");
        std::fs::write(&page, out(Path::new(program), &["man"])).unwrap();
        let shown = Command::new("man").args(["--warnings", "-l"]).arg(&page).env("MANWIDTH", "80").output();
        let Ok(shown) = shown else { return eprintln!("no man on this machine: {name} is not looked at") };
        assert!(shown.status.success() && shown.stderr.is_empty(), "{name}: {shown:?}");
    }
}

#[test]
fn completions_are_scripts_that_their_shell_takes() {
    for (name, program) in PROGRAMS {
        let folder = TempDir::new().unwrap();
        let script = folder.path().join("completions");
        std::fs::write(&script, out(Path::new(program), &["completions", "bash"])).unwrap();
        let read = Command::new("bash").arg("-n").arg(&script).output();
        let Ok(read) = read else { return eprintln!("no bash on this machine: {name} is not looked at") };
        assert!(read.status.success() && read.stderr.is_empty(), "{name}: {read:?}");
    }
}
