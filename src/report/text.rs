//! A report for people: a head, tables and bars, on a terminal of any width.

use super::arguments::By;
use super::arrivals::{Arrival, Receiver};
use super::entry::{Direction, Status};
use super::histogram::{self, step_name, step_of};
use super::kept::Kept;
use super::rows::{Rows, Top};
use super::table::{Column, Side, Table, shown};
use super::tally::{Counts, HOUR};
use super::time;
use crate::display::Charset;
use crate::display::quantity::{count, counted, duration, rate, size};
use crate::display::width::{elide_middle, flow, truncate};
use std::io::{self, Write};
use std::time::Duration;

/// Where a report is printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) columns: usize,
    pub(super) charset: Charset,
}

const fn left(title: &'static str, matters: u8) -> Column {
    Column { title, side: Side::Left, matters }
}

const fn right(title: &'static str, matters: u8) -> Column {
    Column { title, side: Side::Right, matters }
}

const CLIENTS: &[Column] = &[
    right("bytes", 9),
    right("down", 2),
    right("up", 3),
    right("downloads", 8),
    right("uploads", 7),
    right("failed", 6),
    left("last", 4),
];
const PATHS: &[Column] = &[
    right("wanted", 9),
    right("downloads", 3),
    right("uploads", 5),
    right("failed", 6),
    right("bytes", 8),
    left("last", 4),
];
const STATUSES: &[Column] = &[right("transfers", 9), right("bytes", 8), left("last", 4)];
const LONGEST: &[Column] = &[
    right("took", 9),
    right("rate", 7),
    right("bytes", 8),
    left("", 2),
    left("status", 3),
    left("client", 5),
    left("ended", 4),
];
const LATEST: &[Column] = &[left("ended", 6), left("", 5), left("status", 7), right("bytes", 4), left("client", 8)];

/// What the last column of a table gets at least, before other columns go: an IPv4 address whole, enough of a path to
/// know it again, and most of a sentence.
const ADDRESS: usize = 15;
const PATH: usize = 12;
const SENTENCE: usize = 28;

impl Page {
    /// Writes the report. `log_dir` was [`shown`].
    pub(super) fn write(self, rows: &Rows, log_dir: &str, out: &mut dyn Write) -> io::Result<()> {
        let mut lines = self.head(rows, log_dir);
        let wants = |by: By| rows.wanted.is_none_or(|wanted| wanted == by);
        if rows.all.transfers() > 0 {
            let step = if rows.wanted == Some(By::Hour) { HOUR } else { step_of(&rows.hours) };
            if wants(By::Hour) {
                let title = format!("Bytes and transfers by {}", step_name(step));
                self.section(&mut lines, &title, histogram::lines(&rows.hours, step, self.columns, self.charset));
            }
            if wants(By::Client) {
                self.section(&mut lines, &titled("Clients", &rows.clients), self.clients(rows));
            }
            if wants(By::Path) {
                self.section(&mut lines, &titled("Files, most wanted first", &rows.paths), self.paths(rows));
            }
            if wants(By::Status) {
                self.section(&mut lines, "How transfers ended", self.statuses(rows));
            }
            if wants(By::Status) && rows.causes.of > 0 {
                self.section(&mut lines, &titled("Failures by cause", &rows.causes), self.causes(rows));
            }
        }
        if !rows.longest.is_empty() {
            self.section(&mut lines, "Slowest transfers", self.transfers(LONGEST, &rows.longest, longest_cells));
        }
        if !rows.arrivals.rows.is_empty() {
            self.section(&mut lines, &titled("Published", &rows.arrivals), self.arrivals(&rows.arrivals.rows));
        }
        if !rows.latest.is_empty() {
            self.section(&mut lines, "Latest transfers", self.transfers(LATEST, &rows.latest, latest_cells));
        }
        lines.extend(self.remarks(rows));
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }

    fn section(self, lines: &mut Vec<String>, title: &str, content: Vec<String>) {
        lines.push(String::new());
        lines.extend(self.wrapped(title));
        lines.extend(content);
    }

    /// Where and when, and what it comes to.
    fn head(self, rows: &Rows, log_dir: &str) -> Vec<String> {
        let Some((first, last)) = rows.period else {
            return self.flowed(&[elide_middle(log_dir, self.columns, self.charset), "no transfers".into()]);
        };
        let all = &rows.all;
        let mut lines = self.flowed(&[
            elide_middle(log_dir, self.columns, self.charset),
            format!("from {}", time::to_minute(first)),
            format!("to {} UTC", time::to_minute(last)),
        ]);
        lines.extend(self.flowed(&[
            counted(all.transfers(), "transfer"),
            counted(all.downloads, "download"),
            format!("{} down", size(all.bytes_down)),
            counted(all.uploads, "upload"),
            format!("{} up", size(all.bytes_up)),
            format!("{} failed", count(all.failed)),
        ]));
        lines
    }

    fn clients(self, rows: &Rows) -> Vec<String> {
        let mut table = Table::new(CLIENTS, "client", ADDRESS);
        for (client, counts) in &rows.clients.rows {
            let cells = vec![
                size(counts.bytes()),
                size(counts.bytes_down),
                size(counts.bytes_up),
                count(counts.downloads),
                count(counts.uploads),
                count(counts.failed),
                time::to_second(counts.last),
            ];
            table.row(cells, shown(client, self.charset));
        }
        table.lines(self.columns, self.charset)
    }

    fn paths(self, rows: &Rows) -> Vec<String> {
        let mut table = Table::new(PATHS, "path", PATH);
        for (path, counts) in &rows.paths.rows {
            let cells = vec![
                count(counts.wanted),
                count(counts.downloads),
                count(counts.uploads),
                count(counts.failed),
                size(counts.bytes()),
                time::to_second(counts.last),
            ];
            table.row(cells, shown(path, self.charset));
        }
        table.lines(self.columns, self.charset)
    }

    fn statuses(self, rows: &Rows) -> Vec<String> {
        let mut table = Table::new(STATUSES, "status", PATH);
        for (status, counts) in &rows.statuses {
            table.row(status_cells(counts), status.name().into());
        }
        table.lines(self.columns, self.charset)
    }

    fn causes(self, rows: &Rows) -> Vec<String> {
        let mut table = Table::new(STATUSES, "cause", SENTENCE);
        for (cause, counts) in &rows.causes.rows {
            let why = if cause.cause.is_empty() { "no cause given" } else { &cause.cause };
            table.row(status_cells(counts), shown(&format!("{}: {why}", cause.status.name()), self.charset));
        }
        table.lines(self.columns, self.charset)
    }

    fn transfers(self, columns: &'static [Column], kept: &[Kept], cells: fn(&Kept) -> Vec<String>) -> Vec<String> {
        let mut table = Table::new(columns, "path", PATH);
        for kept in kept {
            let cells = cells(kept).iter().map(|cell| shown(cell, self.charset)).collect();
            table.row(cells, shown(&kept.path, self.charset));
        }
        table.lines(self.columns, self.charset)
    }

    fn arrivals(self, arrivals: &[Arrival]) -> Vec<String> {
        arrivals.iter().flat_map(|arrival| self.arrival(arrival)).collect()
    }

    /// The path, what is known of it, and who has it and who has not.
    fn arrival(self, arrival: &Arrival) -> Vec<String> {
        let mut lines = vec![elide_middle(&shown(&arrival.path, self.charset), self.columns, self.charset)];
        let mut facts = vec![format!("arrival {}", arrival.number)];
        if let Some(published) = &arrival.published {
            facts.extend([
                time::to_second(published.time),
                size(published.size),
                format!("from {}", shown(&published.client, self.charset)),
                format!("{} followed", count(published.followers)),
            ]);
        }
        facts.push(format!("{} received", count(arrival.verified() as u64)));
        lines.extend(self.below("  ", self.charset.separator(), &facts));
        let (have, have_not): (Vec<&Receiver>, Vec<&Receiver>) =
            arrival.receivers.iter().partition(|receiver| receiver.status == Status::Ok);
        let signed = |sign: &'static str| move |receiver: &&Receiver| self.receiver(sign, receiver);
        lines.extend(have.iter().flat_map(signed(self.charset.tick())));
        lines.extend(have_not.iter().flat_map(signed(self.charset.cross())));
        lines
    }

    fn receiver(self, sign: &str, receiver: &Receiver) -> Vec<String> {
        let (client, cause) = (shown(&receiver.client, self.charset), shown(&receiver.cause, self.charset));
        let parts = [format!("{sign} {client}"), time::to_second(receiver.time), cause];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        self.below("    ", "  ", &parts)
    }

    /// Parts on as many lines as they need, behind a margin.
    fn below(self, margin: &str, separator: &str, parts: &[String]) -> Vec<String> {
        let room = self.columns.saturating_sub(margin.len());
        let lines = flow(parts, separator, room, self.charset);
        lines.iter().map(|line| truncate(&format!("{margin}{line}"), self.columns, self.charset)).collect()
    }

    /// What keeps the report from being whole.
    fn remarks(self, rows: &Rows) -> Vec<String> {
        let reading = &rows.reading;
        let mut remarks = Vec::new();
        if reading.damaged > 0 {
            remarks.push(format!("{} left out", counted(reading.damaged, "damaged line")));
        }
        if reading.dropped > 0 {
            remarks.push(format!("{} never written: the disk was full or too slow", counted(reading.dropped, "line")));
        }
        let unreadable = reading.unreadable.iter().map(|(file, cause)| {
            format!("{} not read to its end: {}", shown(file, self.charset), shown(cause, self.charset))
        });
        remarks.extend(unreadable);
        if remarks.is_empty() {
            return remarks;
        }
        std::iter::once(String::new()).chain(remarks.iter().flat_map(|remark| self.wrapped(remark))).collect()
    }

    fn wrapped(self, text: &str) -> Vec<String> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        flow(&words, " ", self.columns, self.charset)
    }

    fn flowed(self, parts: &[String]) -> Vec<String> {
        flow(parts, self.charset.separator(), self.columns, self.charset)
    }
}

fn titled<T>(title: &str, top: &Top<T>) -> String {
    let shown = top.rows.len();
    if shown < top.of { format!("{title}, {} of {}", count(shown as u64), count(top.of as u64)) } else { title.into() }
}

fn status_cells(counts: &Counts) -> Vec<String> {
    vec![count(counts.transfers()), size(counts.bytes()), time::to_second(counts.last)]
}

fn longest_cells(kept: &Kept) -> Vec<String> {
    let took = Duration::from_millis(kept.ms);
    let shown = if took < Duration::from_secs(60) { format!("{:.1}s", took.as_secs_f64()) } else { duration(took) };
    // What took less than the clock can tell was fast, not slow.
    let per_second = kept.bytes as f64 / took.as_secs_f64().max(0.001);
    vec![
        shown,
        rate(per_second),
        size(kept.bytes),
        way(kept).into(),
        kept.status().name().into(),
        kept.client.clone(),
        time::to_second(kept.time),
    ]
}

fn way(kept: &Kept) -> &'static str {
    match kept.direction() {
        Direction::Download => "down",
        Direction::Upload => "up",
    }
}

fn latest_cells(kept: &Kept) -> Vec<String> {
    vec![
        time::to_second(kept.time),
        way(kept).into(),
        kept.status().name().into(),
        size(kept.bytes),
        kept.client.clone(),
    ]
}
