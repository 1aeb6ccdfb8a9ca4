//! The commands for scripts, one file each, and what they share.

mod forget;
pub(super) mod get;
mod list;
mod ping;
pub(super) mod publish;
pub(super) mod put;
pub(super) mod subscribe;

use super::arguments::{Arguments, Command, Settings};
use super::cancel::{Cancel, INTERRUPTED};
use super::dial::Target;
use super::options::{Link, Options};
use super::report::{Report, Style, error_json, print_json, say};
use super::retry::Backoff;
use super::session::Session;
use super::terminal::Terminal;
use super::terminal::progress::{Controls, Display, Progress};
use super::trust::Trust;
use super::{exit, menu, token};
use crate::error::{Error, Result};
use crate::manual;
use crate::wire::Token;
use clap::CommandFactory;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What every command works with.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) settings: Settings,
    pub(super) terminal: Terminal,
    pub(super) cancel: Cancel,
    pub(super) trust: Arc<Trust>,
    /// What shows the server who asks.
    pub(super) token: Option<Token>,
    /// Whether somebody is at the keys while files move: in the menu. A command leaves standard input alone.
    pub(super) attended: bool,
}

/// Does what the command line asks for; without a command, runs the menu.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { settings, command } = arguments;
    let terminal = Terminal::detect(settings.color.into());
    let cancel = match Cancel::watch() {
        Ok(cancel) => cancel,
        Err(error) => {
            say(&format!("client: cannot watch signals: {error}"));
            return ExitCode::from(exit::OTHER);
        }
    };
    let trust = Arc::new(Trust::new(&settings, &terminal, &cancel));
    let mut context = Context { settings, terminal, cancel, trust, token: None, attended: false };
    match token::find(context.settings.token_file.as_deref(), context.settings.ask_token, &context.cancel) {
        Ok(token) => context.token = token,
        Err(error) => return ExitCode::from(context.fail("token", &error)),
    }
    let (name, result) = match command {
        None => ("menu", menu::run(&context)),
        Some(Command::List { paths, long, recursive, null, unsorted }) => {
            let format = list::Format { long, null, json: context.settings.json };
            let scope = list::Scope { recursive, unsorted };
            ("list", list::run(&context, &paths, format, scope))
        }
        Some(Command::Get { paths, output }) => ("get", get::run(&context, &paths, output.as_deref())),
        Some(Command::Put { paths, to, name }) => {
            let words = put::Words { command: "put", paths: &paths, to: &to, name: name.as_deref() };
            ("put", put::run(&context, words))
        }
        Some(Command::Publish { topic, paths, name, wait }) => {
            let words = put::Words { command: "publish", paths: &paths, to: &topic, name: name.as_deref() };
            ("publish", publish::run(&context, words, wait))
        }
        Some(Command::Subscribe { topics, from, count, exec, once_complete }) => {
            let wanted = subscribe::Wanted { topics: &topics, from, count, exec, once_complete };
            ("subscribe", subscribe::run(&context, wanted))
        }
        Some(Command::Forget) => ("forget", forget::run(&context)),
        Some(Command::Ping { count }) => ("ping", ping::run(&context, count)),
        Some(Command::Completions { shell }) => {
            ("completions", Ok(print_whole(&manual::completions(Arguments::command(), shell))))
        }
        Some(Command::Man) => ("man", man()),
    };
    ExitCode::from(result.unwrap_or_else(|error| context.fail(name, &error)))
}

impl Context {
    /// Dials the server.
    pub(super) fn open(&self) -> Result<Session> {
        self.link().open()
    }

    /// Does what can be done twice; if the connection breaks, again on a new one, after a rest.
    pub(super) fn persist<T>(
        &self,
        session: &mut Session,
        mut work: impl FnMut(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let (link, mut backoff) = (self.link(), Backoff::default());
        let mut result = work(session);
        loop {
            let error = match result {
                Err(error) if error.is_worth_a_retry() => error,
                result => return result,
            };
            let Some(rest) = backoff.next(link.retries) else { return Err(error) };
            if !self.settings.quiet && !self.cancel.is_cancelled() {
                say(&format!("{error}; trying {} again in {:.1} s", link.target, rest.as_secs_f64()));
            }
            if !self.cancel.rest(rest) {
                return Err(error);
            }
            result = self.open().and_then(|fresh| {
                *session = fresh;
                work(session)
            });
        }
    }

    pub(super) fn target(&self) -> Target {
        self.settings.target()
    }

    pub(super) fn link(&self) -> Link {
        Link {
            target: self.target(),
            tls: self.settings.tls,
            trust: Arc::clone(&self.trust),
            token: self.token.clone(),
            silence: Duration::from_secs(self.settings.timeout),
            retries: self.settings.retries,
            cancel: self.cancel.clone(),
        }
    }

    pub(super) fn options(&self) -> Options {
        Options {
            link: self.link(),
            strategy: self.settings.strategy(),
            jobs: usize::from(self.settings.jobs),
            segments: self.settings.segments.into(),
            on_conflict: self.settings.on_conflict.into(),
            resume: !self.settings.no_resume,
        }
    }

    pub(super) fn report(&self) -> Report {
        Report::new(self.style())
    }

    /// How much is said, and in which form.
    pub(super) fn style(&self) -> Style {
        let Settings { json, quiet, verbose, .. } = self.settings;
        Style { json, quiet, verbose }
    }

    pub(super) fn progress(&self) -> Progress {
        let display = if self.settings.quiet { Display::Quiet } else { Display::suited_to(&self.terminal) };
        if self.attended && display == Display::Bars && !self.terminal.refreshed().is_plain() {
            let (hurried, stopped) = (self.cancel.clone(), self.cancel.clone());
            let controls =
                Controls { retry: Box::new(move || hurried.hurry()), stop: Box::new(move || stopped.cancel()) };
            return Progress::attended(&self.terminal, controls);
        }
        Progress::new(&self.terminal, display)
    }

    /// Says in one line what failed, on what server, and ends with the code for it.
    pub(super) fn fail(&self, command: &str, error: &Error) -> u8 {
        if self.cancel.is_cancelled() {
            return INTERRUPTED;
        }
        if self.settings.json {
            print_json(&error_json(None, error));
        }
        say(&format!("{command}: {error} (server {})", self.target()));
        exit::code(error)
    }
}

fn man() -> Result<u8> {
    let page = manual::page(Arguments::command());
    page.map(|page| print_whole(&page)).map_err(|error| Error::local("render", "the manual page", error))
}

fn print_whole(bytes: &[u8]) -> u8 {
    match stdout().lock().write_all(bytes) {
        Ok(()) => exit::OK,
        Err(error) => {
            let _ = writeln!(stderr(), "client: write to standard output: {error}");
            exit::OTHER
        }
    }
}
