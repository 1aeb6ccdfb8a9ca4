//! What can be asked on the command line of `server report`.

use super::filter::{Filter, PathFilter};
use clap::{Args, ValueEnum};
use jiff::{SpanRelativeTo, Timestamp};
use std::net::IpAddr;
use std::path::PathBuf;

/// The arguments of `server report`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Where the logs are
    #[arg(long, value_name = "DIR", default_value = "./logs", env = "HOSTDIR_SERVER_LOG_DIR")]
    pub log_dir: PathBuf,

    /// Only what ended since then: so long ago, such as 24h or 7d, or a time, such as 2026-11-20 or 2026-11-20T14:03Z
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    pub since: Option<Since>,

    /// One table only
    #[arg(long, value_name = "WHAT")]
    pub by: Option<By>,

    /// Only what went to or from this folder, and who received what was published in it
    #[arg(long, value_name = "FOLDER", value_parser = PathFilter::parse_folder)]
    pub topic: Option<PathFilter>,

    /// Only this file, what is below this folder, or what matches: who took it, who sent it, and when
    #[arg(long, value_name = "GLOB", value_parser = PathFilter::parse)]
    pub path: Option<PathFilter>,

    /// Only what this address took and sent
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,

    /// Rows of a table; 0 is all of them
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,

    /// One JSON object a line
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// What to print: combined is the format of web servers' logs, for goaccess and the like, a line for each transfer
    #[arg(long, value_name = "FORMAT", default_value = "table", conflicts_with_all = ["json"])]
    pub format: Format,
}

/// What a report is printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people.
    Table,
    /// One JSON object a line.
    Json,
    /// The Apache combined log format.
    Combined,
}

/// What the rows of the one table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Who took and sent how much
    Client,
    /// Which files were wanted and sent
    Path,
    /// When, as a histogram
    Hour,
    /// How it ended, and why
    Status,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long before now.
    Ago(jiff::SignedDuration),
    /// From this moment on, itself included.
    Time(Timestamp),
}

impl Since {
    /// The first moment that counts.
    pub(super) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => now.saturating_sub(duration).unwrap_or(Timestamp::MIN),
            Self::Time(time) => time,
        }
    }
}

impl Arguments {
    pub(super) fn filter(&self, now: Timestamp) -> Filter {
        Filter {
            since: self.since.map(|since| since.from(now)),
            client: self.client.map(|address| address.to_canonical().to_string()),
            topic: self.topic.clone(),
            path: self.path.clone(),
        }
    }

    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    /// Rows of a table at most.
    pub(super) fn rows(&self) -> usize {
        if self.top == 0 { usize::MAX } else { self.top }
    }
}

/// Days without a time begin at midnight in UTC, as in the logs.
fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(span) = text.parse::<jiff::Span>() {
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok().filter(|it| it.is_positive());
        return duration.map(Since::Ago).ok_or_else(|| "not a duration such as 24h, 90m or 7d".into());
    }
    let time = text.parse::<Timestamp>().ok();
    let civil = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let time = time.or_else(|| civil().map(|zoned| zoned.timestamp()));
    time.map(Since::Time).ok_or_else(|| "not a duration such as 24h, nor a time such as 2026-11-20T14:03Z".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(text: &str) -> String {
        let now = "2026-11-20T14:03:21.482Z".parse().unwrap();
        parse_since(text).unwrap().from(now).to_string()
    }

    #[test]
    fn since_is_a_duration_or_a_time() {
        assert_eq!(since("24h"), "2026-11-19T14:03:21.482Z");
        assert_eq!(since("1w 2d"), "2026-11-11T14:03:21.482Z");
        assert_eq!(since("2026-11-20"), "2026-11-20T00:00:00Z");
        assert_eq!(since("2026-11-20T14:03Z"), "2026-11-20T14:03:00Z");
        assert_eq!(since("2026-11-20T14:03:21.482Z"), "2026-11-20T14:03:21.482Z");
        assert_eq!(since("2026-11-20T14:03+01:00"), "2026-11-20T13:03:00Z");
        assert_eq!(since("2026-11-20 14:03"), "2026-11-20T14:03:00Z");
        for wrong in ["", "24", "yesterday", "-24h", "0s", "1mo", "2026-13-01", "99999999999h"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Since::Ago(jiff::SignedDuration::MAX).from(Timestamp::UNIX_EPOCH), Timestamp::MIN);
    }
}
