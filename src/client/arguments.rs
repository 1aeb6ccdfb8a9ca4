//! The command line: flags, commands, and where each setting came from.

use super::dial::Target;
use super::options::{Segmenting, Strategy};
use super::terminal::ColorChoice;
use crate::connection::Fingerprint;
use crate::wire::OnConflict;
use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;

/// List, download and upload files on a hostdir server. Without a command: a menu.
///
/// Downloads go below --dir under the same path as on the server, verified; a file that is there already is not moved
/// again, a broken one is resumed. stdout carries data only; progress and the summary go to stderr.
///
/// Exit codes: 0 ok; 1 other; 2 usage; 3 local file or disk; 4 network; 7 protocol or verification; 8 refused or not
/// found; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "client", version, max_term_width = 100)]
pub struct Arguments {
    /// How the server is reached and files are moved
    #[command(flatten)]
    pub(super) settings: Settings,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Settings that every command and the menu share.
#[derive(Debug, Clone, Args)]
pub(super) struct Settings {
    /// The server's address or name
    #[arg(short, long, value_name = "IP", default_value = "127.0.0.1", env = "HOSTDIR_IP", global = true)]
    pub(super) ip: String,

    /// The server's port
    #[arg(short, long, default_value_t = 9000, env = "HOSTDIR_PORT", global = true)]
    pub(super) port: u16,

    /// A file with the token that shows who asks, readable by nobody else; the variable HOSTDIR_TOKEN may hold one, too
    #[arg(long, value_name = "FILE", env = "HOSTDIR_TOKEN_FILE", global = true)]
    pub(super) token_file: Option<PathBuf>,

    /// Ask for the token on the terminal, without showing it
    #[arg(long, env = "HOSTDIR_ASK_TOKEN", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) ask_token: bool,
    /// Encrypt, and know the server by its key; done by itself for a server that is known so
    #[arg(long, env = "HOSTDIR_TLS", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) tls: bool,

    /// Encrypt, and speak to no server with another key than this, as the server shows it when it starts
    #[arg(long, value_name = "KEY", env = "HOSTDIR_FINGERPRINT", global = true)]
    pub(super) fingerprint: Option<Fingerprint>,

    /// Trust the key of a server that is not known yet without asking
    #[arg(long, env = "HOSTDIR_ACCEPT_NEW", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) accept_new: bool,

    /// Where the keys of known servers are kept [default: ~/.local/share/hostdir/known-servers]
    #[arg(long, value_name = "FILE", env = "HOSTDIR_CLIENT_KNOWN_SERVERS", global = true)]
    pub(super) known_servers: Option<PathBuf>,

    /// Where downloads go; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = "./downloads", env = "HOSTDIR_DIR", global = true)]
    pub(super) dir: PathBuf,

    /// Connections at a time
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256), env = "HOSTDIR_JOBS", global = true)]
    pub(super) jobs: u16,

    /// One connection for all files, requests pipelined
    #[arg(long, env = "HOSTDIR_SERIAL", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) serial: bool,

    /// One connection a file, --jobs of them at a time
    #[arg(long, env = "HOSTDIR_PARALLEL", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) parallel: bool,

    /// Fetch a large file over several connections at a time, where --jobs leaves some free
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Segments::Auto, env = "HOSTDIR_SEGMENTS", global = true)]
    pub(super) segments: Segments,

    /// If a name is taken by other content
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Conflict::Rename, env = "HOSTDIR_ON_CONFLICT", global = true)]
    pub(super) on_conflict: Conflict,

    /// Say what would be done, and do nothing
    #[arg(long, env = "HOSTDIR_DRY_RUN", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) dry_run: bool,

    /// One JSON object a line on stdout, with a type: entry, file, event, summary, error, pong
    #[arg(long, env = "HOSTDIR_JSON", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) json: bool,

    /// No progress, and no summary unless something failed
    #[arg(short, long, env = "HOSTDIR_QUIET", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) quiet: bool,

    /// A line for every file, with the transfer's id in the server's log
    #[arg(short, long, env = "HOSTDIR_VERBOSE", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) verbose: bool,

    /// Ask nothing
    #[arg(long, env = "HOSTDIR_NO_INPUT", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) no_input: bool,

    /// Start over instead of using what an earlier attempt left
    #[arg(long, env = "HOSTDIR_NO_RESUME", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) no_resume: bool,

    /// Seconds that the server may be silent
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400), env = "HOSTDIR_TIMEOUT", global = true)]
    pub(super) timeout: u64,

    /// Attempts in a row to reach a server that went away, with growing rests between them
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=1000), env = "HOSTDIR_RETRIES", global = true)]
    pub(super) retries: u32,

    /// Do not look for servers on the local network (mDNS); only the menu does, and only without --ip or when asked
    #[arg(long, env = "HOSTDIR_NO_DISCOVERY", value_parser = BoolishValueParser::new(), global = true)]
    pub(super) no_discovery: bool,

    /// Colour on the terminal
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto, env = "HOSTDIR_COLOR", global = true)]
    pub(super) color: Color,

    /// Where each setting came from: filled in after parsing.
    #[arg(skip)]
    pub(super) sources: Sources,
}

/// Where settings came from, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Vec<(String, &'static str)>);

/// What to do, for scripts.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// List files and folders
    List {
        /// Folders, files or quoted globs; / is everything [default: /]
        #[arg(value_name = "PATH|GLOB")]
        paths: Vec<OsString>,
        /// Sizes and times
        #[arg(short)]
        long: bool,
        /// Everything below, not only the direct entries
        #[arg(short = 'R', long)]
        recursive: bool,
        /// End each name with a NUL byte instead of a newline, and print it exactly
        #[arg(short = '0', long = "null")]
        null: bool,
        /// As the server sends them, at once: for very large folders
        #[arg(short = 'U', long)]
        unsorted: bool,
    },
    /// Download files, folders or what matches
    Get {
        /// Folders, files or quoted globs; / is everything
        #[arg(value_name = "PATH|GLOB", required = true)]
        paths: Vec<OsString>,
        /// Write the one file to FILE instead, or to standard output with -
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Upload files or folders
    Put {
        /// Files or folders; - is standard input, with --name
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// The folder on the server to put them into [default: /]
        #[arg(long, value_name = "FOLDER", default_value = "/", hide_default_value = true)]
        to: OsString,
        /// The name on the server of the one file or folder
        #[arg(long, value_name = "NAME")]
        name: Option<OsString>,
    },
    /// Upload files or folders into a topic, and say who received them
    Publish {
        /// The topic: a folder on the server; made if it is missing
        topic: OsString,
        /// Files or folders; - is standard input, with --name, sent as it comes
        #[arg(value_name = "FILE", required = true)]
        paths: Vec<PathBuf>,
        /// The name in the topic of the one file or folder
        #[arg(long, value_name = "NAME")]
        name: Option<OsString>,
        /// Seconds to wait at most until nobody is fetching it any more; 0 does not ask who received it
        #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=86_400))]
        wait: u64,
    },
    /// Follow topics: save each file below --dir as it arrives, verified
    ///
    /// The position is kept below --dir, so that the next run misses nothing and fetches nothing twice. Runs until Ctrl-C.
    Subscribe {
        /// Topics: folders on the server, each with everything below it; / is everything
        #[arg(value_name = "TOPIC", required = true)]
        topics: Vec<OsString>,
        /// Where to begin [default: after what was received before, else now]
        #[arg(long, value_name = "WHERE", value_enum)]
        from: Option<Beginning>,
        /// End after so many files
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
        /// A program to run for each file that is in place, one at a time, never twice, never through a shell; HOSTDIR_PATH,
        /// HOSTDIR_REMOTE_PATH, HOSTDIR_DIGEST, HOSTDIR_SIZE and HOSTDIR_NUMBER tell it which
        #[arg(long, value_name = "CMD")]
        exec: Option<PathBuf>,
        /// Fetch files when they are complete on the server, not while they are being sent
        #[arg(long)]
        once_complete: bool,
    },
    /// Ask whether the server is there, and how long it takes to answer
    Ping {
        /// How often
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: u32,
    },
    /// Forget the key of the server: the next --tls asks again
    Forget,
    /// Print the completions of a shell, to be stored where it looks for them
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, for: man -l -
    Man,
}

/// `--on-conflict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Conflict {
    /// Leave what is there
    Skip,
    /// Store as `name (1).ext`
    Rename,
    /// Replace what is there, where that is allowed
    Overwrite,
    /// Count it as a failure
    Fail,
}

/// `--segments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Segments {
    /// Where the server is far and the file has 64 MiB or more
    Auto,
    /// Wherever a file is long enough to be cut
    Always,
    /// Never
    Never,
}

/// `--from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Beginning {
    /// With what arrives from now on
    Now,
    /// With the oldest arrival that the server knows
    Start,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` or `TERM=dumb` say otherwise
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Arguments {
    /// Parses the command line; a mistake ends the program with a usage message and exit code 2.
    #[must_use]
    pub fn from_command_line() -> Self {
        let matches = Self::command().get_matches();
        let mut arguments = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        arguments.settings.sources = Sources::of(&matches);
        if let Err(why) = arguments.settings.choose() {
            Self::command().error(ErrorKind::ArgumentConflict, why).exit();
        }
        arguments
    }
}

impl Sources {
    fn of(matches: &ArgMatches) -> Self {
        // A flag may stand after the command; then the command's matches know it.
        let below = matches.subcommand().map(|(_, below)| below);
        let command = Arguments::command();
        // Only arguments may be asked for: `ids` has groups too, and their source is a panic.
        let names = command.get_arguments().map(|argument| argument.get_id().as_str());
        let named = names.filter_map(|name| {
            let found = below.filter(|below| below.ids().any(|id| id == name)).and_then(|it| it.value_source(name));
            let known = matches.ids().any(|id| id == name);
            let word = match found.or_else(|| known.then(|| matches.value_source(name)).flatten())? {
                ValueSource::CommandLine => "flag",
                ValueSource::EnvVariable => "environment",
                _ => "default",
            };
            Some((name.to_owned(), word))
        });
        Self(named.collect())
    }

    /// A setting was changed in the menu.
    pub(super) fn changed(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), "menu"));
    }

    /// `flag`, `environment`, `default` or `menu`.
    pub(super) fn of_setting(&self, name: &str) -> &'static str {
        self.0.iter().find(|(known, _)| known == name).map_or("default", |(_, word)| word)
    }
}

impl Settings {
    /// Of two switches that exclude each other, the one on the command line wins over the one in the environment.
    fn choose(&mut self) -> Result<(), &'static str> {
        let Self { serial, parallel, quiet, verbose, sources, .. } = self;
        let decide = |one: (&mut bool, &str), other: (&mut bool, &str)| {
            let is_flag = |name: &str| sources.of_setting(name) == "flag";
            if !(*one.0 && *other.0) {
                return Ok(());
            }
            match (is_flag(one.1), is_flag(other.1)) {
                (true, false) => *other.0 = false,
                (false, true) => *one.0 = false,
                _ => return Err(()),
            }
            Ok(())
        };
        decide((serial, "serial"), (parallel, "parallel"))
            .map_err(|()| "--serial and --parallel exclude each other")?;
        decide((quiet, "quiet"), (verbose, "verbose")).map_err(|()| "--quiet and --verbose exclude each other")
    }

    pub(super) fn target(&self) -> Target {
        Target { host: self.ip.clone(), port: self.port }
    }

    pub(super) fn strategy(&self) -> Strategy {
        match (self.serial, self.parallel) {
            (true, _) => Strategy::Serial,
            (_, true) => Strategy::Parallel,
            _ => Strategy::Auto,
        }
    }
}

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Skip => Self::Skip,
            Conflict::Rename => Self::Rename,
            Conflict::Overwrite => Self::Overwrite,
            Conflict::Fail => Self::Fail,
        }
    }
}

impl From<Segments> for Segmenting {
    fn from(segments: Segments) -> Self {
        match segments {
            Segments::Auto => Self::Auto,
            Segments::Always => Self::Always,
            Segments::Never => Self::Never,
        }
    }
}

impl From<Color> for ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}
