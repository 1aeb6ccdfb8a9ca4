//! The two logs from the outside: real files, real threads, through the public face.
#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use flate2::read::GzDecoder;
use hostdir::escape::harmless;
use hostdir::logging::logfmt::{parse_line, settled};
use hostdir::logging::{self, Config, Files, Handle, Logger, TRANSFER};
use log::{Level, LevelFilter, Log, Record};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn small(directory: &Path) -> Config {
    Config { max_file_size: 4096, ..Config::new(directory) }
}

fn open(config: Config) -> (Logger, Handle) {
    logging::open(config).unwrap()
}

fn log(logger: &Logger, target: &str, pairs: &[(&str, &str)]) {
    let pairs = pairs.to_vec();
    logger.log(&Record::builder().level(Level::Info).target(target).key_values(&pairs).build());
}

fn read(directory: &TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join(name)).unwrap()
}

/// The content of each file of the log `stem`, compressed or not, by name.
fn files_of(directory: &Path, stem: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut content = String::new();
        if name.ends_with(".log.gz") {
            GzDecoder::new(File::open(&path).unwrap()).read_to_string(&mut content).unwrap();
        } else {
            File::open(&path).unwrap().read_to_string(&mut content).unwrap();
        }
        if name.starts_with(stem) {
            files.insert(name, content);
        }
    }
    files
}

/// The value of `key` in every line of every file, sorted.
fn values_of(directory: &Path, stem: &str, key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for line in files_of(directory, stem).values().flat_map(|content| content.lines()) {
        let pairs = parse_line(line).unwrap();
        values.extend(pairs.into_iter().filter(|(name, _)| *name == key).map(|(_, value)| value.into_owned()));
    }
    values.sort();
    values
}

#[test]
fn transfers_and_events_go_to_their_own_logs() {
    let directory = tempfile::tempdir().unwrap();
    let (logger, handle) = open(Config::new(directory.path()));
    log(&logger, TRANSFER, &[("event", "download"), ("path", "año nuevo.jpg")]);
    log(&logger, "hostdir::server", &[("event", "start")]);
    handle.flush();
    let transfers = read(&directory, "transfers.log");
    let time = parse_line(transfers.trim_end()).unwrap()[0].1.clone().into_owned();
    assert_eq!(transfers, format!("time={time} level=info event=download path=\"año nuevo.jpg\"\n"));
    assert_eq!(time.len(), "2026-11-20T14:03:21.482Z".len());
    assert!(read(&directory, "server.log").ends_with(" level=info event=start\n"));
    assert_eq!(read(&directory, "server.log").lines().count(), 1);
}

#[test]
fn a_client_has_one_log() {
    let directory = tempfile::tempdir().unwrap();
    let (logger, handle) = open(Config { files: Files::client(), ..Config::new(directory.path()) });
    log(&logger, TRANSFER, &[("event", "download")]);
    log(&logger, "client", &[("event", "start")]);
    handle.flush();
    assert_eq!(read(&directory, "client.log").lines().count(), 2);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn libraries_do_not_chatter_in_the_logs() {
    let directory = tempfile::tempdir().unwrap();
    let (logger, handle) = open(Config { level: LevelFilter::Trace, ..Config::new(directory.path()) });
    log(&logger, "mdns_sd::service_daemon", &[("event", "chatter")]);
    handle.flush();
    assert_eq!(read(&directory, "server.log"), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_event_is_one_line_whatever_it_is_called(names in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..20), raw in ".*") {
        let directory = tempfile::tempdir().unwrap();
        let (logger, handle) = open(Config::new(directory.path()));
        for name in &names {
            log(&logger, TRANSFER, &[("path", &harmless(name)), ("cause", &raw)]);
        }
        handle.flush();
        let content = read(&directory, "transfers.log");
        prop_assert_eq!(content.lines().count(), names.len());
        for (line, name) in content.lines().zip(&names) {
            let pairs = parse_line(line).unwrap();
            prop_assert_eq!(pairs[2].1.as_ref(), harmless(name));
            prop_assert_eq!(pairs[3].1.as_ref(), settled(&raw));
        }
    }
}

#[test]
fn rotation_loses_nothing_while_many_threads_log() {
    let directory = tempfile::tempdir().unwrap();
    let (logger, handle) = open(small(directory.path()));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let logger = &logger;
            scope.spawn(move || {
                for number in 0..500 {
                    log(logger, TRANSFER, &[("id", &format!("{thread}-{number:03}"))]);
                }
            });
        }
    });
    handle.flush();
    assert_eq!(handle.dropped(), 0);
    drop(handle);
    let files = files_of(directory.path(), "transfers");
    assert!(files.len() > 20, "{} files", files.len());
    assert!(files.values().all(|content| content.len() <= 4096));
    let mut expected: Vec<String> = Vec::new();
    for thread in 0..8 {
        expected.extend((0..500).map(|number| format!("{thread}-{number:03}")));
    }
    assert_eq!(values_of(directory.path(), "transfers", "id"), expected);
}

#[test]
fn a_restart_appends_and_compresses_what_was_left() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join("transfers-20261120T140321.482Z.log");
    fs::write(&left, "id=0\n").unwrap();
    for id in ["1", "2", "3"] {
        let (logger, _handle) = open(small(directory.path()));
        log(&logger, TRANSFER, &[("id", id)]);
    }
    assert_eq!(read(&directory, "transfers.log").lines().count(), 3);
    assert_eq!(values_of(directory.path(), "transfers", "id"), ["0", "1", "2", "3"]);
}

#[test]
fn rotated_files_are_compressed_and_all_stay_within_the_total() {
    let directory = tempfile::tempdir().unwrap();
    let total = 40_000;
    let config = Config { max_total: total, ..small(directory.path()) };
    let (logger, handle) = open(config);
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut compressed = false;
    for round in 0..5000 {
        for _ in 0..20 {
            let mut bytes = [0; 200];
            noise.fill(&mut bytes);
            log(&logger, TRANSFER, &[("path", &harmless(&bytes))]);
        }
        handle.flush();
        let files =
            fs::read_dir(directory.path()).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        compressed |= files.into_iter().any(|name| name.ends_with("Z.log.gz"));
        if compressed && round > 20 {
            break;
        }
    }
    assert!(compressed, "nothing was compressed in all that time");
    drop(handle);
    // What was put away while the archive was told to end is left to the next start.
    let (_, handle) = open(Config { max_total: total, ..small(directory.path()) });
    let within = || {
        let sizes =
            fs::read_dir(directory.path()).unwrap().filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
        sizes.sum::<u64>() <= total
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !within() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    drop(handle);
    assert!(within());
    assert!(fs::metadata(directory.path().join("transfers.log")).unwrap().len() <= 4096);
}

#[test]
fn a_file_takes_at_most_half_of_what_its_log_may_take() {
    let directory = tempfile::tempdir().unwrap();
    let (logger, handle) = open(Config { max_total: 8000, ..Config::new(directory.path()) });
    let mut largest = 0;
    for _ in 0..100 {
        log(&logger, TRANSFER, &[("event", "download")]);
        handle.flush();
        largest = largest.max(fs::metadata(directory.path().join("transfers.log")).unwrap().len());
    }
    assert!((1900..=2000).contains(&largest), "{largest}");
}

#[test]
fn after_a_rename_lines_go_to_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (logger, handle) = open(Config::new(directory.path()));
    log(&logger, TRANSFER, &[("id", "1")]);
    handle.flush();
    fs::rename(path("transfers.log"), path("transfers.log.1")).unwrap();
    handle.reopen();
    handle.flush();
    assert_eq!(read(&directory, "transfers.log"), "", "made by the reopening itself");
    log(&logger, TRANSFER, &[("id", "2")]);
    handle.flush();
    fs::rename(path("transfers.log"), path("transfers.log.2")).unwrap();
    log(&logger, TRANSFER, &[("id", "3")]);
    drop(handle);
    for (name, id) in [("transfers.log.1", "1"), ("transfers.log.2", "2"), ("transfers.log", "3")] {
        assert!(read(&directory, name).ends_with(&format!(" id={id}\n")), "{name}");
        assert_eq!(read(&directory, name).lines().count(), 1, "{name}");
    }
}

#[test]
fn a_full_disk_stops_nobody_and_the_lost_lines_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("transfers.log");
    symlink("/dev/full", &path).unwrap();
    let (logger, handle) = open(Config::new(directory.path()));
    for id in ["1", "2", "3"] {
        log(&logger, TRANSFER, &[("id", id)]);
        handle.flush();
    }
    assert_eq!(handle.dropped(), 3);
    fs::remove_file(&path).unwrap();
    log(&logger, TRANSFER, &[("id", "4")]);
    handle.flush();
    let content = read(&directory, "transfers.log");
    let (report, line) = content.split_once('\n').unwrap();
    assert!(report.ends_with(" level=warn event=dropped lines=3"), "{report}");
    assert!(line.ends_with(" id=4\n") && line.lines().count() == 1, "{line}");
    assert_eq!(handle.dropped(), 3);
}

#[test]
fn what_was_logged_before_the_handle_is_dropped_is_written_and_later_lines_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let (logger, handle) = open(Config::new(directory.path()));
    for number in 0..2000 {
        log(&logger, "server", &[("n", &number.to_string())]);
    }
    drop(handle);
    log(&logger, "server", &[("n", "late")]);
    logger.flush();
    assert_eq!(read(&directory, "server.log").lines().count(), 2000);
}

#[test]
fn an_old_file_is_put_away_at_the_next_line() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("server.log"), "time=2020-01-01T00:00:00.000Z level=info event=start\n").unwrap();
    let (logger, handle) = open(Config { max_age: Duration::from_secs(3600), ..Config::new(directory.path()) });
    log(&logger, "server", &[("event", "stop")]);
    drop(handle);
    assert_eq!(read(&directory, "server.log").lines().count(), 1);
    assert_eq!(values_of(directory.path(), "server", "event"), ["start", "stop"]);
}

#[test]
fn the_logs_are_not_open_to_the_world() {
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("a/logs");
    let (logger, handle) = open(small(&logs));
    for _ in 0..500 {
        log(&logger, "server", &[("event", "start")]);
    }
    drop(handle);
    for entry in fs::read_dir(&logs).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o137, 0, "{entry:?}");
    }
    assert_eq!(fs::metadata(&logs).unwrap().permissions().mode() & 0o027, 0);
}

#[test]
fn a_log_that_cannot_be_opened_is_one_line_with_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("server.log")).unwrap();
    let error = logging::open(Config::new(directory.path())).unwrap_err().to_string();
    assert!(error.starts_with("open log ") && error.contains("server.log: "), "{error}");
    assert!(error.ends_with("(move away what has its name)") && !error.contains('\n'), "{error}");
    let files = Files { events: "../server.log".to_owned(), transfers: None };
    let error = logging::open(Config { files, ..Config::new(directory.path()) }).unwrap_err().to_string();
    assert_eq!(error, "name log ../server.log: not a plain file name ending in .log (use a name like server.log)");
}

/// The only test that makes the logger of this process: there is one.
#[test]
fn the_macros_reach_the_logs_once_they_are_started() {
    let directory = tempfile::tempdir().unwrap();
    let handle = logging::start(Config::new(directory.path()), None).unwrap();
    let lost: Option<u32> = None;
    log::info!(target: TRANSFER, event = "download", path:% = "a b", size = 12, cause = lost; "");
    log::info!("two words");
    log::debug!(target: "server", event = "detail"; "");
    handle.flush();
    assert!(read(&directory, "transfers.log").ends_with(" level=info event=download path=\"a b\" size=12\n"));
    let error = logging::start(Config::new(directory.path()), None).unwrap_err();
    assert!(error.to_string().contains("this process has a logger already"), "{error}");
    drop(handle);
    // Other tests of this process may have had something to tell meanwhile.
    let events = read(&directory, "server.log");
    assert!(!events.contains("event=detail"), "{events}");
}
