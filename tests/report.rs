//! `server report`: the real program over logs that the real logging code wrote, and over damaged and hostile ones.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "report/scene.rs"]
mod scene;
#[path = "common/terminal.rs"]
#[allow(dead_code, reason = "not every test uses all of it")]
mod terminal;

use common::{Random, scaled};
use flate2::read::MultiGzDecoder;
use hostdir::logging::{self, Config, TRANSFER};
use log::{Level, Log, Record};
use portable_pty::CommandBuilder;
use scene::{Ended, SAMPLE, download, report, report_at, upload};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use unicode_width::UnicodeWidthStr;

/// What a group of lines comes to: downloads, uploads, failed, bytes down, bytes up.
type Sums = BTreeMap<String, [u64; 5]>;

fn logs(content: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("transfers.log"), content).unwrap();
    directory
}

/// The objects of a type, by one of their fields.
fn sums(ended: &Ended, kind: &str, key: &str) -> Sums {
    let figures = ["downloads", "uploads", "failed", "bytes_down", "bytes_up"];
    let row = |object: &Value| {
        (object[key].as_str().unwrap().to_owned(), figures.map(|figure| object[figure].as_u64().unwrap()))
    };
    ended.objects(kind).iter().map(row).collect()
}

fn add(sums: &mut Sums, key: &str, is_upload: bool, is_failed: bool, bytes: u64) {
    let of = sums.entry(key.to_owned()).or_default();
    of[usize::from(is_upload)] += 1;
    of[2] += u64::from(is_failed);
    of[3 + usize::from(is_upload)] += bytes;
}

/// Logs many transfers with the real logging code, and gives the sums by client and by path, taken as they are made.
fn log_transfers(directory: &Path, count: usize) -> (Sums, Sums) {
    let size = (count * 250 / 8) as u64;
    let (logger, handle) = logging::open(Config { max_file_size: size, ..Config::new(directory) }).unwrap();
    let mut random = Random::new(7);
    let (mut by_client, mut by_path) = (Sums::new(), Sums::new());
    for number in 0..count {
        let client = format!("192.168.{}.{}", random.below(2), random.below(20));
        let peer = format!("{client}:{}", 1024 + random.below(60_000));
        let path = format!("photos/a \"b\" {}.jpg", random.below(300));
        let (is_upload, status) =
            (random.below(4) == 0, ["ok", "ok", "ok", "incomplete", "failed"][random.below(5) as usize]);
        let bytes = random.below(1 << 40);
        let event = if is_upload { "upload" } else { "download" };
        let figures = [bytes, 0, bytes, random.below(9_000)].map(|figure| figure.to_string());
        let pairs = [
            ("event", event),
            ("id", "7f"),
            ("client", &peer),
            ("via", "native"),
            ("path", &path),
            ("size", &figures[0]),
            ("offset", &figures[1]),
            ("bytes", &figures[2]),
            ("ms", &figures[3]),
            ("status", status),
        ];
        logger.log(&Record::builder().level(Level::Info).target(TRANSFER).key_values(&pairs).build());
        add(&mut by_client, &client, is_upload, status != "ok", bytes);
        add(&mut by_path, &path, is_upload, status != "ok", bytes);
        if number % 1_000 == 0 {
            handle.flush();
        }
    }
    handle.flush();
    assert_eq!(handle.dropped(), 0);
    common::eventually("half of it is compressed", || names(directory, ".log.gz").len() >= 4);
    (by_client, by_path)
}

fn names(directory: &Path, ending: &str) -> BTreeSet<String> {
    let all = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    all.filter(|name| name.starts_with("transfers") && name.ends_with(ending)).collect()
}

/// The sums by hour, with nothing but a search for text.
fn sums_by_hour(directory: &Path) -> Sums {
    let mut text = String::new();
    for name in names(directory, "") {
        let file = File::open(directory.join(&name)).unwrap();
        let mut source: Box<dyn Read> =
            if name.ends_with(".gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        source.read_to_string(&mut text).unwrap();
    }
    let mut sums = Sums::new();
    for line in text.lines() {
        let bytes = line.split(" bytes=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let hour = format!("{}:00:00.000Z", &line[5..18]);
        add(&mut sums, &hour, line.contains(" event=upload "), !line.ends_with(" status=ok"), bytes);
    }
    sums
}

#[test]
fn the_sums_equal_an_independent_count_of_rotated_and_compressed_logs() {
    let directory = tempfile::tempdir().unwrap();
    let count = scaled(8_000, 200_000);
    let (by_client, by_path) = log_transfers(directory.path(), count);
    assert!(names(directory.path(), ".log").len() + names(directory.path(), ".log.gz").len() >= 6);
    let began = std::time::Instant::now();
    let ended = report(directory.path(), &["--json", "--top", "0"]);
    println!("{count} lines: {:?}", began.elapsed());
    assert_eq!(sums(&ended, "client", "client"), by_client);
    assert_eq!(sums(&ended, "path", "path"), by_path);
    assert_eq!(sums(&ended, "hour", "hour"), sums_by_hour(directory.path()));
    let summary = &ended.objects("summary")[0];
    assert_eq!(summary["downloads"].as_u64().unwrap() + summary["uploads"].as_u64().unwrap(), count as u64);
    assert_eq!((&summary["damaged"], &summary["dropped"]), (&0.into(), &0.into()));
    for by in ["client", "path", "hour", "status"] {
        let began = std::time::Instant::now();
        let one = report(directory.path(), &["--json", "--top", "0", "--by", by]);
        println!("{count} lines, --by {by}: {:?}", began.elapsed());
        assert_eq!(one.objects(by), ended.objects(by), "{by}");
        let combined = one.objects(by).iter().map(|object| object["bytes_down"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(combined, summary["bytes_down"].as_u64().unwrap(), "{by}");
    }
}

#[test]
fn the_tables_are_as_they_were_looked_at() {
    let directory = logs(SAMPLE);
    for (name, columns, locale) in [
        ("100", 100, "C.UTF-8"),
        ("60", 60, "C.UTF-8"),
        ("40", 40, "C.UTF-8"),
        ("24", 24, "C.UTF-8"),
        ("60-ascii", 60, "C"),
    ] {
        let ended = report_at(directory.path(), &["--top", "4"], columns, locale);
        let shown = ended.out.replace(directory.path().to_str().unwrap(), "./logs");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/report/{name}.txt"));
        if std::env::var_os("HOSTDIR_BLESS").is_some() {
            fs::write(&path, &shown).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        // The first line has the folder, which is another one each time.
        let body = |text: &str| text.split_once("\n\n").unwrap().1.to_owned();
        assert_eq!(body(&shown), body(&expected), "{name}; HOSTDIR_BLESS=1 writes it anew");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal_and_none_has_a_control_character() {
    let directory = logs(SAMPLE);
    for by in [&[][..], &["--by", "client"], &["--by", "path"], &["--by", "hour"], &["--by", "status"]] {
        for columns in [100, 60, 40, 24, 10, 1] {
            let ended = report_at(directory.path(), by, columns, "C.UTF-8");
            for line in ended.out.lines() {
                assert!(line.width() <= columns, "{columns}: {line}");
                assert!(line.chars().all(hostdir::escape::is_harmless) || line.contains('\\'), "{line:?}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
        assert!(report_at(directory.path(), by, 80, "C").out.is_ascii(), "{by:?}");
    }
}

#[test]
fn on_a_terminal_its_width_is_what_counts() {
    let directory = logs(SAMPLE);
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_server"));
    command.args(["report", "--by", "client", "--log-dir", directory.path().to_str().unwrap()]);
    command.env("COLUMNS", "100");
    let mut session = terminal::Session::start(command, 40, 30, "xterm");
    let screen = session.see("2001:db8::5");
    assert!(screen.contains("  client") && !screen.contains("  last"), "{screen}");
    assert!(session.child.wait().unwrap().success());
}

#[test]
fn names_are_told_exactly_to_programs_and_harmlessly_to_people() {
    let directory = logs(&download("14:00:00.000", "10.0.0.1", r#""a\u{1b}[2J \xff.txt""#, 5, "ok"));
    let objects = report(directory.path(), &["--json"]).objects("path");
    assert_eq!(objects[0]["path"], r"a\u{1b}[2J \xff.txt");
    assert_eq!(objects[0]["path_hex"], "611b5b324a20ff2e747874");
    let combined = report(directory.path(), &["--format", "combined"]).out;
    let expected = "10.0.0.1 - - [20/Nov/2026:14:00:00 +0000] \"GET /a%1B%5B2J%20%FF.txt HTTP/1.1\" 200 5 \"-\" \
                    \"hostdir/native\"\n";
    assert_eq!(combined, expected);
}

#[test]
fn what_took_no_time_that_the_clock_could_tell_was_fast() {
    let line = download("14:00:00.000", "10.0.0.1", "a", 12_957, "ok");
    let (before, after) = line.split_once(" ms=").unwrap();
    let after = after.split_once(' ').unwrap().1;
    let ended = report(logs(&format!("{before} ms=0 {after}")).path(), &[]);
    assert!(ended.out.contains("0.0s  12.36 MiB/s"), "{}", ended.out);
}

#[test]
fn what_somebody_wrote_into_a_log_reaches_no_terminal() {
    let line = download("14:00:00.000", "10.0.0.1", "\"a\u{9b}31m\u{202e}b\u{85}\"", 5, "failed cause=\u{9b}2J");
    let directory = logs(&line);
    for arguments in [&[][..], &["--format", "combined"]] {
        let ended = report(directory.path(), arguments);
        assert!(!ended.out.contains(['\u{9b}', '\u{202e}', '\u{85}']), "{}", ended.out);
        assert!(ended.out.contains("31m"), "{}", ended.out);
    }
}

#[test]
fn since_includes_its_moment_and_nothing_before_it() {
    let times = ["13:59:59.999", "14:00:00.000", "14:00:00.001"];
    let directory = logs(&times.map(|time| download(time, "10.0.0.1", time, 1, "ok")).concat());
    for (since, expected) in [
        ("2026-11-20T14:00:00Z", &times[1..]),
        ("2026-11-20T13:59:59.999Z", &times[..]),
        ("2026-11-20T14:00:00.001Z", &times[2..]),
        ("2026-11-20T15:00:00.001+01:00", &times[2..]),
        ("2026-11-20", &times[..]),
        ("2026-11-21", &[]),
    ] {
        let ended = report(directory.path(), &["--json", "--since", since]);
        let found: BTreeSet<String> = sums(&ended, "path", "path").into_keys().collect();
        assert_eq!(found, expected.iter().map(|time| (*time).to_owned()).collect(), "{since}");
    }
    assert!(report(directory.path(), &["--since", "2026-11-21"]).out.contains("no transfers"));
}

#[test]
fn a_file_that_was_put_away_long_before_is_not_even_read() {
    let directory = logs(&download("14:00:00.000", "10.0.0.1", "a", 1, "ok"));
    let old = directory.path().join("transfers-20261101T000000.000Z.log");
    fs::write(&old, "damaged\n").unwrap();
    let damaged =
        |since| report(directory.path(), &["--json", "--since", since]).objects("summary")[0]["damaged"].clone();
    assert_eq!(damaged("2026-11-02T00:00:00.001Z"), 0);
    assert_eq!(damaged("2026-11-02T00:00:00Z"), 1, "clocks are set back at times");
}

#[test]
fn who_took_a_file_and_when_is_told() {
    let directory = logs(SAMPLE);
    let who = |arguments: &[&str]| -> Vec<(String, String)> {
        let ended = report(directory.path(), &[arguments, &["--json", "--top", "0"]].concat());
        let of = |object: &Value, key: &str| object[key].as_str().unwrap().to_owned();
        ended.objects("transfer").iter().map(|object| (of(object, "client"), of(object, "event"))).collect()
    };
    let pair = |client: &str, event: &str| (client.to_owned(), event.to_owned());
    let film = [pair("192.168.1.40", "download"), pair("192.168.1.40", "download"), pair("192.168.1.34", "upload")];
    assert_eq!(who(&["--path", "news/film.mkv"])[..], film);
    assert_eq!(who(&["--path", "news/*.mkv"])[..], film);
    assert_eq!(who(&["--path", "**/film.mkv", "--client", "192.168.1.34"]), [pair("192.168.1.34", "upload")]);
    assert_eq!(who(&["--path", "*.mkv"]), []);
    assert_eq!(who(&["--client", "2001:db8::5"]), who(&["--client", "2001:0db8:0::5"]));
    assert_eq!(who(&["--client", "2001:db8::5"]).len(), 1);
    assert!(who(&["--topic", "news"]).len() > film.len());
    assert_eq!(who(&["--topic", "new"]), []);
}

#[test]
fn who_received_what_was_published_is_told() {
    let directory = logs(SAMPLE);
    let arrivals = report(directory.path(), &["--json", "--topic", "/news/"]).objects("arrival");
    assert_eq!(arrivals.len(), 2);
    let film = &arrivals[1];
    assert_eq!((&film["number"], &film["followers"], &film["received"]), (&13.into(), &3.into(), &2.into()));
    let states: Vec<&str> =
        film["receivers"].as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["ok", "ok", "failed"], "the first failed once and then had it");
    assert_eq!(film["receivers"][2]["cause"], "the receiver could not store it");
    assert!(report(directory.path(), &["--topic", "photos", "--json"]).objects("arrival").is_empty());
}

#[test]
fn every_object_has_the_fields_of_the_manual() {
    let directory = logs(SAMPLE);
    let manual = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATING.md")).unwrap();
    let (_, table) = manual.split_once("\n| `type` | What | Fields |\n|---|---|---|\n").unwrap();
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table.lines().map_while(|line| line.strip_prefix("| `")) {
        let (kind, rest) = row.split_once('`').unwrap();
        let fields = rest.rsplit_once(" | ").unwrap().1;
        told.insert(kind.to_owned(), fields.split('`').skip(1).step_by(2).map(str::to_owned).collect());
    }
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in report(directory.path(), &["--json", "--top", "0"]).out.lines() {
        let Value::Object(mut object) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
        let Some(Value::String(kind)) = object.remove("type") else { panic!("{line}") };
        seen.entry(kind).or_default().extend(object.into_iter().map(|(key, _)| key));
    }
    assert_eq!(seen, told);
}

#[test]
fn damaged_lines_are_counted_and_all_others_too() {
    let good = download("14:00:00.000", "10.0.0.1", "a", 5, "ok");
    let torn = &good[..good.len() - 6];
    let long = format!("{}\n", "x".repeat(300_000));
    let mut bytes = [good.as_str(), torn, "\n\n", "\0\0\0\n", &long, "event=download\n", &good].concat().into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\n");
    bytes.extend_from_slice(torn.as_bytes());
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("transfers.log"), &bytes).unwrap();
    let ended = report(directory.path(), &["--json"]);
    let summary = &ended.objects("summary")[0];
    assert_eq!((&summary["downloads"], &summary["damaged"]), (&2.into(), &7.into()));
    assert!(report(directory.path(), &[]).out.contains("\n7 damaged lines left out\n"));
    let combined = report(directory.path(), &["--format", "combined"]);
    assert_eq!(combined.out.lines().count(), 2);
    assert!(combined.err.contains("7 damaged lines"), "{}", combined.err);
}

#[test]
fn a_compressed_file_that_is_cut_short_gives_what_it_has() {
    let lines: String =
        (0..5_000).map(|number| download("14:00:00.000", "10.0.0.1", &format!("f{number}"), 5, "ok")).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(lines.as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    let directory = logs(&download("15:00:00.000", "10.0.0.2", "later", 7, "ok"));
    let name = "transfers-20261120T145959.000Z.log.gz";
    fs::write(directory.path().join(name), &compressed[..compressed.len() / 2]).unwrap();
    let ended = report(directory.path(), &["--json", "--top", "0"]);
    let summary = &ended.objects("summary")[0];
    assert_eq!(summary["unreadable"][0]["file"], name);
    assert!((100..5_000).contains(&summary["downloads"].as_u64().unwrap()), "{summary}");
    assert_eq!(sums(&ended, "client", "client")["10.0.0.2"], [1, 0, 0, 7, 0], "what comes after it is read");
    assert!(report(directory.path(), &[]).out.contains(&format!("{name} not read to its end: ")));
}

#[test]
fn lines_that_were_never_written_are_told() {
    let dropped = "time=2026-11-20T14:00:00.000Z level=warn event=dropped lines=12\n";
    let directory = logs(&(dropped.to_owned() + &download("14:00:00.000", "10.0.0.1", "a", 5, "ok")));
    assert!(report(directory.path(), &[]).out.contains("\n12 lines never written"));
    let later = report(directory.path(), &["--json", "--since", "2026-11-20T14:00:00.001Z"]);
    assert_eq!(later.objects("summary")[0]["dropped"], 0);
}

#[test]
fn without_logs_one_line_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for (place, cause) in [
        (directory.path().join("missing"), "there is no such folder: give the --log-dir of the server"),
        (directory.path().to_owned(), "there is no transfers.log: give the --log-dir of the server"),
        (file, "not a directory: give the --log-dir of the server"),
    ] {
        let ended = scene::run(&["--log-dir", place.to_str().unwrap()], 80, "C.UTF-8");
        assert_eq!((ended.code, ended.out.as_str()), (3, ""));
        assert_eq!(ended.err, format!("server: report on {}: {cause}\n", place.display()));
    }
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let directory = logs(SAMPLE);
    let folder = directory.path().to_str().unwrap();
    for arguments in [
        &["--since", "yesterday"][..],
        &["--by", "colour"],
        &["--client", "nobody"],
        &["--top", "-1"],
        &["--json", "--format", "combined"],
        &["--by", "client", "--format", "combined"],
    ] {
        let ended = scene::run(&[&["--log-dir", folder], arguments].concat(), 80, "C.UTF-8");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!ended.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_flags_of_the_server_do_not_go_with_a_report_and_its_variables_do_not_hinder_one() {
    let directory = logs(SAMPLE);
    let folder = directory.path().to_str().unwrap();
    let mut mixed = Command::new(env!("CARGO_BIN_EXE_server"));
    let output = mixed.args(["--port", "0", "report", "--log-dir", folder]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command
        .env("HOSTDIR_SERVER_PORT", "0")
        .env("HOSTDIR_SERVER_LOG_DIR", folder)
        .env("HOSTDIR_SERVER_READ_ONLY", "true");
    let output = command.arg("report").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains("Files, most wanted first"));
}

#[test]
fn whoever_reads_only_the_beginning_is_no_error() {
    let lines: String =
        (0..20_000).map(|number| download("14:00:00.000", "10.0.0.1", &format!("f{number}"), 5, "ok")).collect();
    let directory = logs(&lines);
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(["report", "--format", "combined", "--log-dir"]).arg(directory.path());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 10]).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn memory_does_not_grow_with_lines() {
    let peak = |count: usize| {
        let line = |number: usize| download("14:00:00.000", "10.0.0.1", &format!("f{}", number % 10), 5, "ok");
        let directory =
            logs(&(0..count).map(line).chain([upload("14:00:00.000", "10.0.0.1", "u", 5, "ok")]).collect::<String>());
        // Address space beyond what it needs for a short log makes allocating fail.
        let mut command = Command::new("prlimit");
        command
            .args(["--as=64000000", "--", env!("CARGO_BIN_EXE_server"), "report", "--log-dir"])
            .arg(directory.path());
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(peak(100), (Some(0), String::new()));
    assert_eq!(peak(scaled(400_000, 2_000_000)), (Some(0), String::new()));
}

#[test]
fn after_real_transfers_the_report_says_who_took_what_and_who_received_what_was_published() {
    let scene = scene::Live::new();
    fs::write(scene.host.path().join("año.bin"), vec![7; 100_000]).unwrap();
    let followers = [scene.follow("one"), scene.follow("two")];
    scene.client("get", &["año.bin"]);
    fs::write(scene.local.path().join("film.mkv"), vec![9; 3_000_000]).unwrap();
    scene.client("put", &["film.mkv", "--to", "films"]);
    scene.client("publish", &["news", "film.mkv"]);
    for mut follower in followers {
        assert!(follower.wait().unwrap().success());
    }
    let arrivals = scene.report_until("arrival", |arrivals| arrivals.iter().any(|it| it["received"] == 2));
    assert_eq!(arrivals.len(), 1, "what nobody followed is not told: {arrivals:?}");
    assert_eq!((&arrivals[0]["path"], &arrivals[0]["followers"]), (&"news/film.mkv".into(), &2.into()));
    assert_eq!(arrivals[0]["client"], "127.0.0.1");
    let subscribers: BTreeSet<&str> =
        arrivals[0]["receivers"].as_array().unwrap().iter().map(|it| it["subscriber"].as_str().unwrap()).collect();
    assert_eq!(subscribers.len(), 2, "{arrivals:?}");
    let paths = scene.report_until("path", |paths| paths.len() == 3);
    let figures = |path: &str| {
        let object = paths.iter().find(|object| object["path"] == path).unwrap();
        ["downloads", "uploads", "failed", "bytes_up"].map(|figure| object[figure].as_u64().unwrap())
    };
    assert_eq!(figures("año.bin"), [1, 0, 0, 0]);
    assert_eq!(figures("films/film.mkv"), [0, 1, 0, 3_000_000]);
    assert_eq!(figures("news/film.mkv"), [2, 1, 0, 3_000_000]);
}
