//! The manual page and the completions of a program, made from its arguments.
//!
//! Owns their text, and the name under which they speak of the program: the one that it was started by, because that is the
//! one that a shell completes. A package may install `server` as `hostdir-server`. Knows no flag.

use clap::{Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// The commands that print them, for a program that has no other commands.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Manual {
    /// Print the completions of a shell, to be stored where it looks for them
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, for: man -l -
    Man,
}

impl Manual {
    /// What the command prints.
    ///
    /// # Errors
    /// None that a program can do something about.
    pub fn print(self, program: Command) -> io::Result<Vec<u8>> {
        match self {
            Self::Completions { shell } => Ok(completions(program, shell)),
            Self::Man => page(program),
        }
    }
}

/// The completions of a shell.
#[must_use]
pub fn completions(mut program: Command, shell: Shell) -> Vec<u8> {
    let name = name(&program);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    script
}

/// The manual page, with all commands on it: whoever has one page has all there is.
///
/// # Errors
/// None that a program can do something about.
pub fn page(program: Command) -> io::Result<Vec<u8>> {
    let name = name(&program);
    let source = format!("hostdir {}", program.get_version().unwrap_or_default());
    let program = program.display_name(&name).bin_name(&name);
    let commands: Vec<Command> = program.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let man = Man::new(program).source(source).manual("hostdir");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH COMMANDS\n");
    commands.into_iter().try_for_each(|command| describe(command, &name, &mut page))?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// A command with its own flags, as a part of the page of its program.
fn describe(command: Command, program: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let name = format!("{program} {}", command.get_name());
    let man = Man::new(command.bin_name(&name).disable_help_flag(true));
    page.extend_from_slice(format!(".SS \"{}\"\n", name.replace('-', "\\-")).as_bytes());
    for render in [Man::render_synopsis_section, Man::render_description_section, Man::render_options_section] {
        let mut part = Vec::new();
        render(&man, &mut part)?;
        let part = String::from_utf8_lossy(&part);
        // A section of a page of its own is a paragraph here.
        let lines = part.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
        let lines = lines.map(|line| if line.starts_with(".SH ") { ".PP" } else { line });
        lines.for_each(|line| page.extend_from_slice(format!("{line}\n").as_bytes()));
    }
    Ok(())
}

/// What the program was called by, if that can be a name in a script; else what it calls itself.
fn name(program: &Command) -> String {
    let called = std::env::args_os().next();
    let called = called.as_deref().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    let is_plain = |name: &&str| {
        !name.starts_with('-') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    called.filter(is_plain).unwrap_or(program.get_name()).to_owned()
}
