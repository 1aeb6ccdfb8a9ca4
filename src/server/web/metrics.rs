//! Figures for Prometheus (WEB.md, section 8), in its text format, version 0.0.4.

use super::super::Shared;
use super::super::admission::Direction;
use super::super::record::{Status, Via};
use super::exchange::{Answered, Exchange};
use super::response::Response;
use crate::error::Result;
use std::fmt::{Display, Write};

const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers `GET /metrics`.
pub(super) fn answer(exchange: &mut Exchange<'_>, _: &str) -> Answered {
    exchange.caller.may_measure()?;
    let text = text(exchange.shared)?;
    let response = Response::new(200).field("Content-Type", KIND).field("Cache-Control", "no-store");
    Ok(exchange.respond(response, text.as_bytes())?)
}

fn text(shared: &Shared) -> Result<String> {
    let mut metrics = Metrics(String::new());
    let one = |value: u64| [("", value)];
    metrics.gauge("build_info", "The version that runs", [(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1)]);
    metrics.gauge("connections", "Connections now", one(shared.registry.count() as u64));
    metrics.gauge("connections_limit", "Most connections", one(shared.config.max_connections as u64));
    add_transfers(&mut metrics, shared);
    let figures = shared.store.figures()?;
    metrics.gauge("followers", "Connections that follow folders now", one(figures.followers as u64));
    metrics.gauge("uploads_live", "Uploads on their way in that can be followed", one(figures.live as u64));
    metrics.counter("arrivals", "Arrivals so far, also before this start", one(figures.arrivals));
    metrics.gauge("disk_free_bytes", "Free space of the host directory's disk", one(figures.free));
    metrics.gauge("disk_size_bytes", "Size of the host directory's disk", one(figures.size));
    metrics.gauge("start_time_seconds", "When the server started, in Unix time", one(shared.started.as_secs()));
    Ok(metrics.0)
}

fn add_transfers(metrics: &mut Metrics, shared: &Shared) {
    let ways =
        || Direction::ALL.into_iter().flat_map(|direction| Via::ALL.into_iter().map(move |via| (direction, via)));
    let label = |direction: Direction, via: Via| format!("direction=\"{}\",via=\"{}\"", direction.name(), via.name());
    let ended = ways().flat_map(|(direction, via)| {
        let label = label(direction, via);
        Status::ALL.into_iter().map(move |status| {
            let count = shared.stats.ended(direction, via, status);
            (format!("{label},status=\"{}\"", status.name()), count)
        })
    });
    metrics.counter("transfers_total", "Transfers that ended", ended);
    let bytes = ways().map(|(direction, via)| (label(direction, via), shared.stats.bytes_of(direction, via)));
    metrics.counter("transfer_bytes_total", "Bytes of transfers that ended", bytes);
    let running: Vec<_> = shared.registry.sessions().iter().filter_map(|live| live.transfer()).collect();
    let running = Direction::ALL.map(|direction| {
        let count = running.iter().filter(|running| running.direction == direction).count();
        (format!("direction=\"{}\"", direction.name()), count as u64)
    });
    metrics.gauge("transfers_running", "Transfers now", running);
}

/// A page of metrics that grows.
struct Metrics(String);

impl Metrics {
    fn gauge<L: Display>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (L, u64)>) {
        self.add("gauge", name, help, samples);
    }

    fn counter<L: Display>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (L, u64)>) {
        self.add("counter", name, help, samples);
    }

    fn add<L: Display>(&mut self, kind: &str, name: &str, help: &str, samples: impl IntoIterator<Item = (L, u64)>) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP hostdir_{name} {help}\n# TYPE hostdir_{name} {kind}\n");
        for (labels, value) in samples {
            let labels = labels.to_string();
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "hostdir_{name}{labels} {value}");
        }
    }
}
