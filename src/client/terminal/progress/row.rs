//! The rows of the progress display as text.
//!
//! Owns their layout: numbers first, in columns that do not move, and the name last, elided in its middle. Pure.

use std::time::Duration;

use super::transfer::Outcome;
use crate::client::terminal::charset::Charset;
use crate::client::terminal::quantity;
use crate::client::terminal::width::{elide_middle, fit_right, flow, truncate, width};

/// How far something has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) done: u64,
    pub(super) size: Option<u64>,
    /// Bytes a second.
    pub(super) rate: f64,
    pub(super) left: Option<Duration>,
}

/// What the TOTAL row says besides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Total {
    pub(super) files_done: u64,
    pub(super) files: u64,
    pub(super) failed: u64,
    /// Transfers under way that have no row of their own.
    pub(super) without_row: usize,
}

/// A transfer under way, in at most `columns`.
pub(super) fn transfer(name: &str, standing: Standing, columns: usize, charset: Charset) -> String {
    let numbers = numbers(standing, columns, charset);
    let room = columns.saturating_sub(width(&numbers));
    truncate(&format!("{numbers}{}", elide_middle(name, room, charset)), columns, charset)
}

/// All transfers together, in at most `columns`: as many facts as fit.
pub(super) fn total(total: Total, standing: Standing, columns: usize, charset: Charset) -> String {
    let numbers = numbers(standing, columns, charset);
    let room = columns.saturating_sub(width(&numbers));
    let files = format!("{}/{}", quantity::count(total.files_done), quantity::count(total.files));
    let failed = if total.failed > 0 { format!(", {} failed", quantity::count(total.failed)) } else { String::new() };
    let more = if total.without_row > 0 { format!(", +{} more", total.without_row) } else { String::new() };
    let wordings = [
        format!("TOTAL {files} files{failed}{more}"),
        format!("TOTAL {files}{failed}{more}"),
        format!("{files}{failed}{more}"),
        format!("TOTAL {files}{failed}"),
        format!("TOTAL {files}"),
    ];
    let fitting = wordings.iter().find(|wording| width(wording) <= room).unwrap_or(&files);
    truncate(&format!("{numbers}{fitting}"), columns, charset)
}

/// A server that is away: when it is tried again, which keys there are for the impatient, and what happened.
pub(super) fn outage(left: Duration, why: &str, attended: bool, columns: usize, charset: Charset) -> String {
    let seconds = left.as_secs_f64().ceil();
    let mut facts = vec![lost(columns), format!("again in {seconds:.0} s")];
    if attended {
        facts.extend(["Enter now".to_owned(), "Esc stop".to_owned()]);
    }
    let line = first_facts(&facts, columns, charset);
    let room = columns.saturating_sub(width(&line) + width(charset.separator()));
    let why = if room < 12 {
        String::new()
    } else {
        format!("{}{}", charset.separator(), truncate(&shown(why), room, charset))
    };
    format!("{line}{why}")
}

/// A server that is away and is being dialled.
pub(super) fn trying(attended: bool, columns: usize, charset: Charset) -> String {
    let mut facts = vec![lost(columns), "trying now".to_owned()];
    facts.extend(attended.then(|| "Esc stop".to_owned()));
    first_facts(&facts, columns, charset)
}

/// Short enough for what follows it to fit.
fn lost(columns: usize) -> String {
    if columns < 30 { "away" } else { "no connection" }.to_owned()
}

/// What can be pressed while transfers run.
pub(super) fn hint(columns: usize, charset: Charset) -> String {
    let facts = [format!("{} choose", charset.up_down()), "x stop it".to_owned(), "Ctrl-C stop all".to_owned()];
    first_facts(&facts, columns, charset)
}

fn first_facts(facts: &[String], columns: usize, charset: Charset) -> String {
    let lines = flow(facts, charset.separator(), columns.saturating_sub(1), charset);
    truncate(&format!(" {}", lines.first().map_or("", String::as_str)), columns, charset)
}

/// A transfer that ended, in at most `columns`; the sign comes apart, so that it can be coloured.
pub(super) fn finished(
    name: &str,
    outcome: &Outcome,
    moved: u64,
    took: Duration,
    columns: usize,
    charset: Charset,
) -> (&'static str, String) {
    let (sign, facts) = match outcome {
        Outcome::Complete => {
            let rate = moved as f64 / took.as_secs_f64().max(0.001);
            (charset.tick(), format!("{:>10}  {:>12}", quantity::size(moved), quantity::rate(rate)))
        }
        Outcome::Kept => (charset.same(), "already there".to_owned()),
        Outcome::Told => (charset.tick(), String::new()),
        Outcome::Skipped(why) => ("-", format!("skipped: {}", shown(why))),
        Outcome::Again(why) => ("-", format!("again: {}", shown(why.as_deref().unwrap_or("no connection")))),
        Outcome::Failed(why) => (charset.cross(), shown(why)),
    };
    let room = columns.saturating_sub(3);
    let text = match outcome {
        // A reason is worth more than a column: name first, and as much of the reason as fits.
        Outcome::Failed(_) | Outcome::Skipped(_) | Outcome::Again(_) => {
            let name = elide_middle(name, (room / 2).max(room.saturating_sub(width(&facts) + 2)), charset);
            truncate(&format!("{name}  {facts}"), room, charset)
        }
        _ if room < 36 => elide_middle(name, room, charset),
        // The name is worth more than the rate.
        Outcome::Complete if room < 56 => {
            let bytes = format!("{:>10}", quantity::size(moved));
            format!("{bytes}  {}", elide_middle(name, room - width(&bytes) - 2, charset))
        }
        _ => format!("{facts}  {}", elide_middle(name, room - width(&facts) - 2, charset)),
    };
    (sign, text)
}

pub(super) fn shown(why: &str) -> String {
    crate::escape::harmless(why.as_bytes())
}

/// Percentage, bar, rate and time left: what of it fits beside a name.
fn numbers(standing: Standing, columns: usize, charset: Charset) -> String {
    let percent = percent(standing);
    let rate = format!("{:>12}", quantity::rate(standing.rate));
    let long = fit_right(&standing.left.map_or("--".to_owned(), quantity::duration), 7, charset);
    let short = fit_right(&standing.left.map_or("--".to_owned(), quantity::short_duration), 4, charset);
    match columns {
        0..30 => format!("{percent}  "),
        30..50 => format!("{percent} {rate} {short}  "),
        50..75 => format!("{percent} {} {rate} {long}  ", bar(standing, 8)),
        _ => format!("{percent} {} {rate} {long}  ", bar(standing, 20)),
    }
}

/// Rounded down: 100 % is all of it.
fn percent(standing: Standing) -> String {
    match standing.size {
        None => " ..%".to_owned(),
        Some(size) => format!("{:>3}%", share(standing.done, size, 100)),
    }
}

fn bar(standing: Standing, cells: usize) -> String {
    let filled = standing.size.map_or(0, |size| share(standing.done, size, cells));
    let head = usize::from(filled < cells && standing.size.is_some());
    let rest = cells - filled - head;
    format!("[{}{}{}]", "#".repeat(filled), ">".repeat(head), "-".repeat(rest))
}

fn share(done: u64, size: u64, parts: usize) -> usize {
    if done >= size {
        return parts;
    }
    // Less than `parts`, as done < size.
    usize::try_from(u128::from(done) * parts as u128 / u128::from(size)).unwrap_or(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "photos/2026/a_rather_long_and_winding_name_for_an_image_año nuevo.iso";

    fn standing() -> Standing {
        Standing { done: 5 << 20, size: Some(97 << 20), rate: 2.24 * 1_048_576.0, left: Some(Duration::from_secs(41)) }
    }

    fn rows(columns: usize) -> Vec<String> {
        let counts = Total { files_done: 0, files: 7, failed: 0, without_row: 2 };
        let fast =
            Standing { done: 18, size: Some(100), rate: 53.91 * 1_048_576.0, left: Some(Duration::from_secs(190)) };
        let unknown = Standing { size: None, left: None, ..standing() };
        vec![
            transfer(NAME, standing(), columns, Charset::Unicode),
            transfer("日本語の写真.jpg", unknown, columns, Charset::Unicode),
            total(counts, fast, columns, Charset::Unicode),
        ]
    }

    #[test]
    fn at_100_columns() {
        assert_eq!(
            rows(100),
            [
                "  5% [#>------------------]   2.24 MiB/s     41s  photos/2026/a_rather_long…r_an_image_año nuevo.iso",
                " ..% [--------------------]   2.24 MiB/s      --  日本語の写真.jpg",
                " 18% [###>----------------]  53.91 MiB/s  3m 10s  TOTAL 0/7 files, +2 more"
            ]
        );
    }

    #[test]
    fn at_60_columns() {
        assert_eq!(
            rows(60),
            [
                "  5% [>-------]   2.24 MiB/s     41s  photos/2026… nuevo.iso",
                " ..% [--------]   2.24 MiB/s      --  日本語の写真.jpg",
                " 18% [#>------]  53.91 MiB/s  3m 10s  TOTAL 0/7, +2 more"
            ]
        );
    }

    #[test]
    fn at_40_columns() {
        assert_eq!(
            rows(40),
            [
                "  5%   2.24 MiB/s  41s  photos/2…evo.iso",
                " ..%   2.24 MiB/s   --  日本語の写真.jpg",
                " 18%  53.91 MiB/s   3m  0/7, +2 more"
            ]
        );
    }

    #[test]
    fn at_24_columns() {
        assert_eq!(rows(24), ["  5%  photos/20…uevo.iso", " ..%  日本語の写真.jpg", " 18%  TOTAL 0/7, +2 more"]);
    }

    #[test]
    fn an_outage_tells_first_when_it_is_tried_again() {
        let line = |columns, charset| {
            outage(Duration::from_millis(2_100), "connect: nothing listens there", true, columns, charset)
        };
        assert_eq!(
            line(100, Charset::Unicode),
            " no connection · again in 3 s · Enter now · Esc stop · connect: nothing listens there"
        );
        assert_eq!(line(60, Charset::Ascii), " no connection - again in 3 s - Enter now - Esc stop");
        assert_eq!(line(40, Charset::Unicode), " no connection · again in 3 s");
        assert_eq!(line(24, Charset::Unicode), " away · again in 3 s");
        assert_eq!(trying(true, 40, Charset::Unicode), " no connection · trying now · Esc stop");
        assert_eq!(trying(false, 100, Charset::Ascii), " no connection - trying now");
        assert_eq!(
            [hint(100, Charset::Unicode), hint(24, Charset::Unicode)],
            [" ↑↓ choose · x stop it · Ctrl-C stop all", " ↑↓ choose · x stop it"]
        );
    }

    #[test]
    fn finished_files_say_how_they_ended() {
        let line = |outcome: &Outcome, columns: usize| {
            let (sign, text) = finished(NAME, outcome, 8 << 20, Duration::from_secs(2), columns, Charset::Unicode);
            format!(" {sign} {text}")
        };
        let failed = Outcome::Failed("server went away at 734 MB, partial kept".to_owned());
        assert_eq!(
            vec![line(&Outcome::Complete, 60), line(&Outcome::Complete, 24)],
            [" ✓    8.0 MiB    4.00 MiB/s  photos/2026/a_r…e_año nuevo.iso", " ✓ photos/202… nuevo.iso"]
        );
        assert_eq!(
            vec![line(&Outcome::Kept, 60), line(&Outcome::Skipped("name taken".to_owned()), 60)],
            [
                " = already there  photos/2026/a_rather_…_image_año nuevo.iso",
                " - photos/2026/a_rath…age_año nuevo.iso  skipped: name taken"
            ]
        );
        assert_eq!(
            vec![line(&failed, 100), line(&failed, 40)],
            [
                " ✗ photos/2026/a_rather_long_a…_for_an_image_año nuevo.iso  server went away at 734 MB, partial kept",
                " ✗ photos/20…uevo.iso  server went away…"
            ]
        );
    }

    #[test]
    fn a_file_is_at_100_percent_only_when_all_of_it_is_there() {
        let at = |done: u64, size: u64| percent(Standing { done, size: Some(size), ..standing() });
        assert_eq!(
            [at(999, 1_000), at(1_000, 1_000), at(0, 0), at(u64::MAX - 1, u64::MAX)],
            [" 99%", "100%", "100%", " 99%"]
        );
        let bar_at = |done: u64| bar(Standing { done, size: Some(100), ..standing() }, 10);
        assert_eq!(
            [bar_at(0), bar_at(55), bar_at(99), bar_at(100)],
            ["[>---------]", "[#####>----]", "[#########>]", "[##########]"]
        );
    }

    proptest! {
        #[test]
        fn no_row_is_wider_than_the_screen(
            name in "\\PC{0,60}", why in "\\PC{0,60}", columns in 0_usize..130,
            done: u64, size: Option<u64>, rate in 0.0..1e20_f64, seconds in proptest::option::of(0_u64..1 << 40),
            files_done: u64, without_row: usize,
        ) {
            let standing = Standing { done, size, rate, left: seconds.map(Duration::from_secs) };
            let counts = Total { files_done, files: u64::MAX, failed: done, without_row };
            let name = crate::escape::harmless(name.as_bytes());
            for charset in [Charset::Unicode, Charset::Ascii] {
                prop_assert!(width(&transfer(&name, standing, columns, charset)) <= columns);
                prop_assert!(width(&total(counts, standing, columns, charset)) <= columns);
                let outcomes = [Outcome::Failed(why.clone()), Outcome::Skipped(why.clone()), Outcome::Again(Some(why.clone()))];
                for outcome in outcomes.into_iter().chain([Outcome::Complete, Outcome::Kept]) {
                    let (sign, text) = finished(&name, &outcome, done, Duration::ZERO, columns, charset);
                    prop_assert!(columns < 3 || width(sign) + 2 + width(&text) <= columns);
                }
            }
        }
    }
}
