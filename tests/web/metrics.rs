//! Health and metrics (WEB.md, section 8).

use crate::common::{Frame, Server, eventually};
use crate::http::{get, put, served};
use hostdir::wire::{RawBytes, Reply, Request, Subscribe};
use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../docs/WEB.md");

/// The samples of a page of metrics, by name and labels; and the types, by name.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
    assert!(text.ends_with('\n'));
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) =
            line.strip_prefix("# HELP ").expect("each metric begins with its help").split_once(' ').unwrap();
        assert!(!help.is_empty());
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
        types.insert(name.to_owned(), kind.to_owned());
        while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = sample.rsplit_once(' ').unwrap();
            assert_eq!(series.split('{').next(), Some(name));
            assert_eq!(samples.insert(series.to_owned(), value.parse().unwrap()), None, "{series} is there twice");
        }
    }
    (samples, types)
}

fn metrics(server: &Server) -> BTreeMap<String, f64> {
    parse(&get(server, "/metrics").text()).0
}

#[test]
fn every_metric_of_the_document_is_there_and_no_other() {
    let (_dir, server) = served(&[], &[]);
    let answer = get(&server, "/metrics");
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (samples, types) = parse(&answer.text());
    let (_, table) = DOCUMENT.split_once("| Metric | Type | Labels |\n|---|---|---|\n").unwrap();
    let mut documented = BTreeMap::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for name in cells[1].split('`').filter(|name| name.starts_with("hostdir_")) {
            documented.insert(name.to_owned(), cells[2].to_owned());
            let labels: Vec<&str> =
                cells[3].split('`').filter(|word| word.chars().all(|it| it.is_ascii_lowercase())).collect();
            let labels: Vec<&str> =
                labels.into_iter().filter(|word| ["version", "direction", "via", "status"].contains(word)).collect();
            let mut series = samples.keys().filter(|series| series.split('{').next() == Some(name)).peekable();
            assert!(series.peek().is_some(), "{name} has a sample");
            series.for_each(|series| {
                assert!(labels.iter().all(|label| series.contains(&format!("{label}=\""))), "{series}")
            });
        }
    }
    assert_eq!(types, documented);
}

#[test]
fn transfers_are_counted_by_direction_protocol_and_end() {
    let (_dir, server) = served(&[("f", b"hello")], &["--max-connections", "77"]);
    get(&server, "/files/f");
    get(&server, "/files/f");
    get(&server, "/files/nothing");
    put(&server, "/files/new", "", b"123");
    server.client().put("native", b"1234").unwrap().unwrap();
    let mut follower = server.client();
    let folders = vec![RawBytes(Vec::new())];
    follower.send(Request::Subscribe(Subscribe { folders, after: None, journal: None, subscriber: None })).unwrap();
    assert!(matches!(follower.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    // The end of a transfer may be a moment behind its answer.
    eventually("they are counted", || {
        let metrics = metrics(&server);
        let sent = metrics["hostdir_transfers_total{direction=\"download\",via=\"web\",status=\"sent\"}"];
        sent == 2.0 && metrics["hostdir_transfers_running{direction=\"upload\"}"] == 0.0
    });
    let metrics = metrics(&server);
    let expected = [
        ("transfers_total{direction=\"download\",via=\"web\",status=\"sent\"}", 2.0),
        ("transfers_total{direction=\"download\",via=\"web\",status=\"refused\"}", 1.0),
        ("transfers_total{direction=\"upload\",via=\"web\",status=\"ok\"}", 1.0),
        ("transfers_total{direction=\"upload\",via=\"native\",status=\"ok\"}", 1.0),
        ("transfers_total{direction=\"download\",via=\"native\",status=\"ok\"}", 0.0),
        ("transfer_bytes_total{direction=\"download\",via=\"web\"}", 10.0),
        ("transfer_bytes_total{direction=\"upload\",via=\"web\"}", 3.0),
        ("transfer_bytes_total{direction=\"upload\",via=\"native\"}", 4.0),
        ("transfers_running{direction=\"upload\"}", 0.0),
        ("connections_limit", 77.0),
        ("followers", 1.0),
        ("uploads_live", 0.0),
        ("arrivals", 2.0),
    ];
    for (series, value) in expected {
        assert_eq!(metrics.get(&format!("hostdir_{series}")), Some(&value), "{series}");
    }
    assert!(metrics["hostdir_connections"] >= 2.0);
    assert!(metrics["hostdir_disk_size_bytes"] >= metrics["hostdir_disk_free_bytes"]);
    assert_eq!(metrics[&format!("hostdir_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))], 1.0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 600.0..=now).contains(&metrics["hostdir_start_time_seconds"]));
}

#[test]
fn a_server_that_is_well_says_so() {
    let (_dir, server) = served(&[], &[]);
    let answer = get(&server, "/healthz");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok\n"[..]));
}
