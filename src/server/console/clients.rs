//! The clients that are connected, as lines: who, since when, doing what, how fast.
//!
//! Owns their order and their layout.

use super::super::admission::{Direction, Live, Running};
use crate::display::quantity::{count, counted, rate, size};
use crate::display::width::{elide_middle, fit_left, flow, truncate, width};
use crate::display::{Charset, Size};
use std::sync::Arc;
use std::time::Duration;

/// Columns of an address with its port; a longer one, of IPv6, is shortened in its middle.
const ADDRESS: usize = 21;
/// From this width on each client has one line, in columns; below it, as many as its facts need.
const ROOMY: usize = 90;
/// What comes before the further lines of a client.
const DEEP: &str = "    ";
/// More clients than this are counted.
const TOLD: usize = 100;

/// One client, as it is shown.
struct Row {
    address: String,
    since: String,
    /// Which way and how far, and how fast; nothing if no file is moving.
    moving: Option<[String; 2]>,
    /// What moves, or moved last.
    name: String,
}

/// A table of `sessions`: those that move something first, then those that came first.
pub(super) fn table(sessions: &[Arc<Live>], screen: Size, charset: Charset) -> Vec<String> {
    let mut sessions: Vec<(Option<Running>, &Arc<Live>)> =
        sessions.iter().map(|live| (live.transfer(), live)).collect();
    sessions.sort_by_key(|(running, live)| (running.is_none(), live.since()));
    let rows: Vec<Row> =
        sessions.iter().take(TOLD).map(|(running, live)| row(live, running.as_ref(), charset)).collect();
    lines(&rows, sessions.len(), usize::from(screen.columns), charset)
}

fn row(live: &Live, running: Option<&Running>, charset: Charset) -> Row {
    let since = jiff::Zoned::now().saturating_sub(Duration::from_millis(live.age_ms()));
    Row {
        address: live.peer.to_string(),
        since: since.strftime("%H:%M:%S").to_string(),
        moving: running.map(|running| moving(running, charset)),
        name: live.transfer_name(),
    }
}

/// `↓ 40% of 8.0 MiB` and `2.24 MiB/s`
fn moving(running: &Running, charset: Charset) -> [String; 2] {
    let arrow = match running.direction {
        Direction::Download => charset.down(),
        Direction::Upload => charset.up(),
    };
    let moved = running.progress.moved();
    let speed = rate(moved as f64 / running.since.elapsed().as_secs_f64().max(0.001));
    let far = match running.left.filter(|left| *left > 0) {
        Some(left) => {
            let percent = u128::from(moved.min(left)) * 100 / u128::from(left);
            format!("{arrow} {percent}% of {}", size(left))
        }
        None => format!("{arrow} {}", size(moved)),
    };
    [far, speed]
}

fn lines(rows: &[Row], clients: usize, columns: usize, charset: Charset) -> Vec<String> {
    let mut lines = vec![format!(" {} now", counted(clients as u64, "client"))];
    for row in rows {
        if columns >= ROOMY {
            lines.push(line(row, columns, charset))
        } else {
            lines.extend(facts(row, columns, charset))
        }
    }
    if clients > rows.len() {
        lines.push(format!("  ... and {} more", count((clients - rows.len()) as u64)));
    }
    lines
}

fn line(row: &Row, columns: usize, charset: Charset) -> String {
    let address = fit_left(&row.address, ADDRESS, charset);
    let doing = match &row.moving {
        Some(moving) => format!("{}  ", moving.join(", ")),
        None if row.name.is_empty() => "idle".to_owned(),
        None => "idle, last ".to_owned(),
    };
    let start = format!("  {address}  since {}  {doing}", row.since);
    let room = columns.saturating_sub(width(&start) + 1);
    truncate(&format!("{start}{}", elide_middle(&row.name, room, charset)), columns, charset)
}

fn facts(row: &Row, columns: usize, charset: Charset) -> Vec<String> {
    let room = columns.saturating_sub(DEEP.len() + 1);
    let mut facts = vec![elide_middle(&row.address, ADDRESS, charset), format!("since {}", row.since)];
    match &row.moving {
        Some(moving) => facts.extend(moving.iter().cloned()),
        None => facts.push("idle".to_owned()),
    }
    if !row.name.is_empty() {
        let last = if row.moving.is_none() { "last " } else { "" };
        facts.push(format!("{last}{}", elide_middle(&row.name, room.saturating_sub(last.len()), charset)));
    }
    let lines = flow(&facts, charset.separator(), room, charset);
    let set_in = |(number, line)| if number == 0 { format!("  {line}") } else { format!("{DEEP}{line}") };
    lines.iter().enumerate().map(set_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::golden::{WIDTHS, compare, section};

    fn rows() -> Vec<Row> {
        let row = |address: &str, moving: Option<[&str; 2]>, name: &str| Row {
            address: address.to_owned(),
            since: "14:03:21".to_owned(),
            moving: moving.map(|facts| facts.map(str::to_owned)),
            name: name.to_owned(),
        };
        vec![
            row(
                "192.168.1.34:51824",
                Some(["↓ 40% of 8.0 MiB", "2.24 MiB/s"]),
                "photos/2026/año nuevo en la playa.jpg",
            ),
            row("[fd00::1234:5678:9abc]:50012", None, "big.iso"),
            row("192.168.1.41:40000", None, ""),
        ]
    }

    #[test]
    fn clients_are_told_at_every_width() {
        assert_eq!(
            lines(&rows(), 5, 100, Charset::Unicode),
            [
                " 5 clients now",
                "  192.168.1.34:51824     since 14:03:21  ↓ 40% of 8.0 MiB, 2.24 MiB/s  photos/2026/añ… la playa.jpg",
                "  [fd00::123…abc]:50012  since 14:03:21  idle, last big.iso",
                "  192.168.1.41:40000     since 14:03:21  idle",
                "  ... and 2 more",
            ]
        );
        for columns in [60, 40, 24] {
            assert!(lines(&rows(), 3, columns, Charset::Unicode).iter().all(|line| width(line) <= columns));
        }
        let mut shown = String::new();
        for columns in WIDTHS {
            shown.push_str(&section(columns, &lines(&rows(), 5, usize::from(columns), Charset::Unicode).join("\n")));
        }
        compare("clients", &shown);
    }
}
