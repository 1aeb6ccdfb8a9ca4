//! One large file over several connections: whole, resumed, changed, cut, and from servers that lie.

use crate::common::{Launch, Log, Server, eventually};
use crate::fake::{Fake, Peer, file, header};
use crate::proxy::{Line, Proxy};
use crate::scene::{Run, Running, Scene, client, date, fill, moment, node, random, run, tree, write, write_random};
use hostdir::wire::{Digest, End, ErrorCode, Fault, FileHeader, Get, Reply, Request, Version};
use rustix::process::Signal;
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

const SEGMENT: usize = 8 << 20;
/// Seven segments and a bit.
const SIZE: usize = 7 * SEGMENT + 1_234_567;
const ALWAYS: [&str; 2] = ["--segments", "always"];

fn big(host: &Path) {
    write_random(&host.join("big"), 1, SIZE);
}

/// The partial file that is written in segments, if there is one.
fn partial(downloads: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(downloads.join(".hostdir/partial")).into_iter().flatten();
    let mut found = entries.map(|entry| entry.unwrap().path()).filter(|path| path.to_string_lossy().contains('+'));
    found.next()
}

/// The segments of which a partial file says that they are there.
fn noted(downloads: &Path) -> Vec<usize> {
    let Some(file) = partial(downloads).and_then(|path| File::open(path).ok()) else { return Vec::new() };
    let is_noted = |index: &usize| {
        let mut record = [0; 32];
        file.read_exact_at(&mut record, (SIZE + 32 * index) as u64).is_ok() && record != [0; 32]
    };
    (0..=SIZE / SEGMENT).filter(is_noted).collect()
}

/// Bytes of segments.
fn bytes_of(segments: &[usize]) -> u64 {
    segments.iter().map(|index| (SIZE - index * SEGMENT).min(SEGMENT) as u64).sum()
}

/// A download that was killed when a few segments were there; the line held the rest back.
fn killed(scene: &Scene, words: &[&str]) -> Vec<usize> {
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    proxy.allow(35_000_000);
    let words = [&["get", "big", "--jobs", "2", "--segments", "always"], words].concat();
    let running = Running::start(client(proxy.address(), &scene.downloads()).args(words));
    eventually("some segments are there", || noted(&scene.downloads()).len() >= 2);
    running.kill();
    assert!(!scene.downloaded("big").exists());
    noted(&scene.downloads())
}

fn assert_resumed(run: &Run, held: u64) {
    let told = run.file("big");
    assert_eq!((&told["status"], &told["resumed_from"]), (&"ok".into(), &held.into()), "{run:?}");
    assert_eq!(told["bytes"], SIZE as u64 - held);
}

fn assert_whole(scene: &Scene) {
    assert_eq!(node(&scene.downloaded("big")), node(&scene.hosted("big")));
    assert!(!scene.downloads().join(".hostdir").exists(), "nothing is left behind");
}

#[test]
fn sizes_around_the_borders_of_segments_arrive_whole() {
    let sizes = [SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT - 1, 2 * SEGMENT, 2 * SEGMENT + 1, 3 * SEGMENT + 1024];
    let scene = Scene::with(&[], |host| {
        sizes.iter().for_each(|size| write_random(&host.join(size.to_string()), *size as u64, *size));
    });
    for jobs in ["2", "4", "16"] {
        scene.run(&[&["get", "/", "--jobs", jobs][..], &ALWAYS].concat()).ok().says("7 of 7 files");
        crate::scene::assert_same(&tree(scene.host.path()), &tree(&scene.downloads()));
        fs::remove_dir_all(scene.downloads()).unwrap();
    }
}

#[test]
fn one_file_comes_over_several_connections_and_each_part_is_logged_as_ok() {
    let scene = Scene::with(&[], big);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Far)]);
    let run = run(client(proxy.address(), &scene.downloads()).args(["get", "big", "--json"]).args(ALWAYS)).ok();
    assert_eq!(run.file("big")["bytes"], SIZE as u64);
    assert_whole(&scene);
    let mut parts = scene.transfers();
    assert!((2..=4).contains(&proxy.connections()), "{}", proxy.connections());
    parts.sort_by_key(|part| part.offset);
    assert!(parts.iter().all(|part| part.status == "ok" && part.size == SIZE as u64), "{parts:?}");
    let offsets: Vec<u64> = parts.iter().map(|part| part.offset).collect();
    assert_eq!(offsets, (0..8).map(|index| index * SEGMENT as u64).collect::<Vec<_>>());
    assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), SIZE as u64);
}

#[test]
fn a_far_server_is_asked_over_several_connections_and_a_near_one_is_not() {
    let scene = Scene::with(&[], |host| write_random(&host.join("large"), 2, 64 << 20));
    let near = || {
        let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Good)]);
        run(client(proxy.address(), &scene.downloads()).args(["get", "large"])).ok();
        fs::remove_dir_all(scene.downloads()).unwrap();
        proxy.connections()
    };
    assert!((0..20).any(|_| near() == 1), "a machine this busy tells nothing");
    for (words, connections) in [(&[][..], 2..=4), (&["--segments", "never"], 1..=1), (&["--jobs", "1"], 1..=1)] {
        let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Far)]);
        run(client(proxy.address(), &scene.downloads()).args(["get", "large"]).args(words)).ok();
        assert!(connections.contains(&proxy.connections()), "{words:?}: {}", proxy.connections());
        assert_eq!(node(&scene.downloaded("large")), node(&scene.hosted("large")));
        fs::remove_dir_all(scene.downloads()).unwrap();
    }
}

#[test]
fn who_has_fetched_the_small_files_helps_with_the_large_one() {
    let scene = Scene::with(&[], |host| {
        fill(host);
        big(host);
    });
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Far)]);
    run(client(proxy.address(), &scene.downloads()).args(["get", "/", "--jobs", "3"]).args(ALWAYS)).ok();
    crate::scene::assert_same(&tree(scene.host.path()), &tree(&scene.downloads()));
    let parts = scene.transfers().into_iter().filter(|transfer| transfer.path == "big").count();
    assert_eq!(parts, SIZE.div_ceil(SEGMENT));
    let lines = scene.server.log(Log::Transfers);
    let client = |line: &String| line.split_once(" client=").unwrap().1.split(' ').next().unwrap().to_owned();
    let clients: HashSet<String> = lines.iter().filter(|line| line.contains(" path=big ")).map(client).collect();
    assert!(clients.len() >= 2, "{clients:?}");
}

#[test]
fn connections_that_a_busy_server_refuses_are_done_without() {
    let scene = Scene::with(&["--max-connections", "1"], big);
    let run = scene.run(&[&["get", "big", "--json"][..], &ALWAYS].concat()).ok();
    assert_eq!(run.summary()["ok"], 1);
    assert_whole(&scene);
}

#[test]
fn a_file_goes_to_the_place_that_was_asked_for() {
    let scene = Scene::with(&[], big);
    let place = scene.local("elsewhere");
    scene.run(&[&["get", "big", "-o", place.to_str().unwrap()][..], &ALWAYS].concat()).ok();
    assert_eq!(node(&place), node(&scene.hosted("big")));
    scene.run(&[&["get", "big"][..], &ALWAYS].concat()).ok();
    write(&scene.downloaded("big"), b"mine");
    scene.run(&[&["get", "big"][..], &ALWAYS].concat()).ok().says("big (1)");
    assert_eq!(node(&scene.downloaded("big (1)")), node(&scene.hosted("big")));
    scene.run(&[&["get", "big"][..], &ALWAYS].concat()).ok().says("1 already there");
}

#[test]
fn what_a_kill_left_is_used_by_every_strategy() {
    for words in [&["--segments", "always"][..], &["--segments", "never"], &["--serial"], &["--parallel"], &[]] {
        let scene = Scene::with(&[], big);
        let held = bytes_of(&killed(&scene, &[]));
        assert!(held > 0);
        assert_resumed(&scene.run(&[&["get", "big", "--json"][..], words].concat()).ok(), held);
        assert_whole(&scene);
    }
}

#[test]
fn a_download_survives_kill_after_kill() {
    let scene = Scene::with(&[], big);
    let first = killed(&scene, &[]);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    proxy.allow(22_000_000);
    let words = ["get", "big", "--jobs", "2"];
    let running = Running::start(client(proxy.address(), &scene.downloads()).args(words));
    eventually("more segments are there", || noted(&scene.downloads()).len() > first.len());
    running.kill();
    let second = noted(&scene.downloads());
    assert!(first.iter().all(|index| second.contains(index)), "{first:?}, {second:?}");
    assert_resumed(&scene.run(&[&["get", "big", "--json"][..], &ALWAYS].concat()).ok(), bytes_of(&second));
    assert_whole(&scene);
}

#[test]
fn a_segment_whose_bytes_are_not_what_was_noted_is_fetched_again() {
    let scene = Scene::with(&[], big);
    // What a power cut, a failing disk or somebody's hand can do to bytes, records and length.
    type Damage = fn(&File, usize);
    let damages: [(Damage, u64); 5] = [
        (|file, index| file.write_all_at(&[0; 4096], (index * SEGMENT) as u64).unwrap(), 1),
        (|file, index| file.write_all_at(&[7; 9], (SIZE + 32 * index) as u64).unwrap(), 1),
        (|file, index| file.write_all_at(&[0; 32], (SIZE + 32 * index) as u64).unwrap(), 1),
        (|file, _| file.set_len(SIZE as u64).unwrap(), u64::MAX),
        (|file, _| file.set_len(0).unwrap(), u64::MAX),
    ];
    for (damage, lost) in damages {
        let held = killed(&scene, &[]);
        let path = partial(&scene.downloads()).unwrap();
        damage(&File::options().write(true).open(path).unwrap(), held[0]);
        let run = scene.run(&[&["get", "big", "--json"][..], &ALWAYS].concat()).ok();
        assert_whole(&scene);
        let left = if lost == 1 { bytes_of(&held[1..]) } else { 0 };
        assert_eq!(run.file("big")["bytes"], SIZE as u64 - left, "{run:?}");
        fs::remove_dir_all(scene.downloads()).unwrap();
    }
}

#[test]
fn a_record_that_was_forged_with_its_bytes_is_found_out_at_the_end() {
    let scene = Scene::with(&[], big);
    let held = killed(&scene, &[]);
    let file = File::options().write(true).open(partial(&scene.downloads()).unwrap()).unwrap();
    let forged = random(99, SEGMENT);
    let mut hasher = blake3::Hasher::new();
    use blake3::hazmat::HasherExt;
    let node = hasher.set_input_offset((held[1] * SEGMENT) as u64).update(&forged).finalize_non_root();
    file.write_all_at(&forged, (held[1] * SEGMENT) as u64).unwrap();
    file.write_all_at(&node, (SIZE + 32 * held[1]) as u64).unwrap();
    let run = scene.run(&[&["get", "big", "--json"][..], &ALWAYS].concat()).ok();
    assert_eq!(run.summary()["ok"], 1);
    assert_whole(&scene);
    assert!(scene.transfers().iter().any(|part| part.status == "failed"), "the server was told of the mismatch");
}

#[test]
fn starting_over_leaves_nothing_of_what_was_there() {
    let scene = Scene::with(&[], big);
    for words in [&["--segments", "always"][..], &["--serial"]] {
        killed(&scene, &[]);
        let run = scene.run(&[&["get", "big", "--json", "--no-resume"][..], words].concat()).ok();
        assert_eq!(run.file("big")["bytes"], SIZE as u64);
        assert_whole(&scene);
        fs::remove_dir_all(scene.downloads()).unwrap();
    }
}

#[test]
fn what_was_begun_at_its_end_goes_on_at_its_end() {
    let scene = Scene::with(&[], big);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    proxy.allow(20_000_000);
    let words = ["get", "big", "--segments", "never"];
    let running = Running::start(client(proxy.address(), &scene.downloads()).args(words));
    eventually("some of it is there", || crate::large::partial_size(&scene.downloads()) > 15_000_000);
    running.kill();
    let held = crate::large::partial_size(&scene.downloads());
    assert_resumed(&scene.run(&[&["get", "big", "--json"][..], &ALWAYS].concat()).ok(), held);
    assert_whole(&scene);
}

#[test]
fn ctrl_c_keeps_whole_segments_and_says_how_much_that_is() {
    let scene = Scene::with(&[], big);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    proxy.allow(35_000_000);
    let words = ["get", "big", "--jobs", "2", "--segments", "always", "--json"];
    let running = Running::start(client(proxy.address(), &scene.downloads()).args(words));
    eventually("some segments are there", || noted(&scene.downloads()).len() >= 2);
    running.signal(Signal::INT);
    let run = running.wait().ends(130);
    let held = bytes_of(&noted(&scene.downloads()));
    assert_eq!((&run.file("big")["status"], &run.file("big")["partial"]), (&"interrupted".into(), &held.into()));
    assert_resumed(&scene.run(&["get", "big", "--json"]).ok(), held);
    assert_whole(&scene);
}

#[test]
fn a_server_that_is_killed_in_the_middle_is_waited_for() {
    let mut scene = Scene::with(&[], big);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
    proxy.allow(30_000_000);
    let words = ["get", "big", "--segments", "always", "--json"];
    let running = Running::start(client(proxy.address(), &scene.downloads()).args(words));
    eventually("a good part is there", || {
        partial(&scene.downloads()).is_some_and(|path| path.metadata().unwrap().len() > 0)
    });
    let port = scene.server.address().port();
    let other = Server::start(scene.local.path(), &["--read-only"]);
    std::mem::replace(&mut scene.server, other).kill();
    scene.server = Server::launch(scene.host.path(), &Launch { port, ..Launch::default() });
    proxy.allow(u64::MAX);
    let run = running.wait().ok();
    assert_eq!(run.summary()["ok"], 1, "{run:?}");
    assert_whole(&scene);
}

#[test]
fn a_connection_that_is_cut_costs_nothing_but_the_way_back() {
    let scene = Scene::with(&[], big);
    // The second one breaks in the middle of a segment; the others do not.
    let lines = [(Line::Good, Line::Good), (Line::Good, Line::CutAfter(3_000_000)), (Line::Good, Line::Good)];
    let proxy = Proxy::start(scene.server.address(), &lines);
    // Of more connections the second might bring nothing but the digest.
    let words = ["get", "big", "--segments", "always", "--json", "--retries", "1", "--jobs", "2"];
    let run = run(client(proxy.address(), &scene.downloads()).args(words)).ok();
    assert_eq!((proxy.cuts(), &run.file("big")["bytes"]), (1, &(SIZE as u64).into()), "no byte came twice: {run:?}");
    assert_whole(&scene);
}

#[test]
fn lines_that_break_within_every_segment_still_bring_the_file() {
    let scene = Scene::with(&[], big);
    let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::CutAfter(3_000_000))]);
    let words = ["get", "big", "--segments", "always", "--json", "--retries", "2", "--jobs", "3"];
    let run = run(client(proxy.address(), &scene.downloads()).args(words)).ok();
    // Up to three connections are at work when the file is whole, and none of them need be cut.
    assert!(proxy.cuts() >= SIZE / 3_000_000 - 2, "{} cuts", proxy.cuts());
    assert_eq!(run.file("big")["bytes"], SIZE as u64, "no byte came twice: {run:?}");
    assert_whole(&scene);
}

#[test]
fn a_server_that_goes_away_for_good_ends_it_and_what_came_is_kept() {
    let scene = Scene::with(&[], big);
    let lines: Vec<_> = (0..2).map(|_| (Line::Good, Line::CutAfter(20_000_000))).collect();
    let proxy = Proxy::start(scene.server.address(), &[&lines[..], &[(Line::Good, Line::CutAfter(0))]].concat());
    let words = ["get", "big", "--segments", "always", "--json", "--retries", "1", "--jobs", "2"];
    let run = run(client(proxy.address(), &scene.downloads()).args(words)).ends(4);
    let held = bytes_of(&noted(&scene.downloads()));
    assert!(held >= 2 * SEGMENT as u64);
    assert_eq!((&run.file("big")["status"], &run.file("big")["partial"]), (&"failed".into(), &held.into()), "{run:?}");
    assert_resumed(&scene.run(&["get", "big", "--json"]).ok(), held);
    assert_whole(&scene);
}

#[test]
fn a_file_that_changes_in_the_middle_is_started_over() {
    for size in [SIZE, SIZE + 5 * SEGMENT, SEGMENT, 3] {
        let scene = Scene::with(&[], big);
        let proxy = Proxy::start(scene.server.address(), &[(Line::Good, Line::Held)]);
        proxy.allow(30_000_000);
        let words = ["get", "big", "--segments", "always", "--jobs", "2", "--json"];
        let running = Running::start(client(proxy.address(), &scene.downloads()).args(words));
        eventually("some segments are there", || !noted(&scene.downloads()).is_empty());
        // Nothing of the file is heard of while it is written.
        proxy.hold();
        write_random(&scene.hosted("big"), 77, size);
        date(&scene.hosted("big"), moment(9));
        proxy.allow(u64::MAX);
        running.wait().ok();
        assert_whole(&scene);
    }
}

#[test]
fn what_was_left_of_another_version_is_not_used() {
    let scene = Scene::with(&[], big);
    killed(&scene, &[]);
    write_random(&scene.hosted("big"), 78, SIZE);
    let run = scene.run(&[&["get", "big", "--json"][..], &ALWAYS].concat()).ok();
    assert_eq!(run.file("big")["bytes"], SIZE as u64);
    assert_whole(&scene);
}

/// What a hostile server says in place of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    Offset,
    Shorter,
    Longer,
    Size,
    Version,
    Bytes,
    MoreBytes,
    FewerBytes,
    Digest,
    NoDigest,
    DigestWithBytes,
    Unexpected,
    Gone,
}

/// An answer to one GET of a file of three segments and a bit, in which the lie is told of whatever has an offset.
fn answer(peer: &mut Peer, get: &Get, content: &[u8], lie: Lie) {
    let offset = get.offset as usize;
    let length = get.length.map_or(content.len() - offset, |length| length as usize).min(content.len() - offset);
    let told = if offset > 0 { lie } else { Lie::None };
    let honest = FileHeader { offset: get.offset, length: length as u64, ..header(content.len() as u64) };
    let said = match told {
        Lie::Offset => FileHeader { offset: honest.offset - 1, ..honest },
        Lie::Shorter => FileHeader { length: honest.length - 1, ..honest },
        Lie::Longer => FileHeader { offset: 0, length: honest.length + 1, ..honest },
        Lie::Size => FileHeader { size: honest.size + 1, ..honest },
        Lie::Version => FileHeader { version: Version::new(b"v2").unwrap(), ..honest },
        Lie::Unexpected => return peer.reply(&Reply::Pong),
        Lie::Gone => {
            return peer.reply(&Reply::Error(Fault { code: ErrorCode::NotFound, message: None }));
        }
        _ => honest,
    };
    peer.reply(&Reply::File(said.clone()));
    let mut bytes = content[offset..offset + length].to_vec();
    match told {
        Lie::Bytes => bytes[length / 2] ^= 1,
        Lie::MoreBytes => bytes.push(0),
        Lie::FewerBytes => bytes.truncate(length - 1),
        _ => bytes.resize(said.length as usize, 0),
    }
    if lie == Lie::DigestWithBytes && get.digest != Some(false) {
        bytes = b"uncalled for".to_vec();
    }
    peer.data(&bytes);
    let digest = (get.digest != Some(false)).then(|| match lie {
        Lie::Digest => Digest([7; 32]),
        _ => Digest(*blake3::hash(content).as_bytes()),
    });
    peer.reply(&Reply::End(End { digest: digest.filter(|_| lie != Lie::NoDigest), ..End::default() }));
}

fn fake(content: Vec<u8>, lie: Lie) -> Fake {
    Fake::start(move |peer, request| match request {
        Request::List(_) => {
            peer.entries(b"", &[file(b"f", content.len() as u64)]);
            peer.listed(1);
        }
        Request::Get(get) => answer(peer, &get, &content, lie),
        _ => {}
    })
}

#[test]
fn a_server_that_lies_about_a_segment_gets_nothing_in_place() {
    let content = random(5, 3 * SEGMENT + 77);
    let words = ["get", "f", "--segments", "always", "--json", "--retries", "0", "--timeout", "5"];
    let honest = fake(content.clone(), Lie::None);
    honest.run(&words).ok();
    assert_eq!(fs::read(honest.downloads().join("f")).unwrap(), content);
    for (lie, code, part) in [
        (Lie::Offset, 7, "another part"),
        (Lie::Shorter, 7, "another part"),
        (Lie::Longer, 7, "another part"),
        (Lie::Size, 7, "another version"),
        (Lie::Version, 7, "another version"),
        (Lie::Bytes, 7, "digest"),
        (Lie::MoreBytes, 7, "more bytes than announced"),
        (Lie::FewerBytes, 7, "before all bytes"),
        (Lie::Digest, 7, "digest"),
        (Lie::NoDigest, 7, "without the digest"),
        (Lie::DigestWithBytes, 7, "more bytes than announced"),
        (Lie::Unexpected, 7, "unexpected Pong"),
        (Lie::Gone, 8, "not-found"),
    ] {
        let fake = fake(content.clone(), lie);
        let run = fake.run(&words).ends(code);
        assert_eq!(run.file("f")["status"], "failed", "{lie:?}: {run:?}");
        let message = run.file("f")["message"].as_str().unwrap().to_owned();
        assert!(message.contains(part) || message.contains(&part.replace('-', " ")), "{lie:?}: {run:?}");
        fake.left(&[]);
        assert!(partial(&fake.downloads()).is_none(), "{lie:?}: what came of it is thrown away");
    }
}

#[test]
fn a_file_that_has_another_size_every_time_is_given_up() {
    let asked = AtomicUsize::new(0);
    let fake = Fake::start(move |peer, request| match request {
        Request::List(_) => {
            peer.entries(b"", &[file(b"f", 3 * SEGMENT as u64)]);
            peer.listed(1);
        }
        Request::Get(_) => {
            let size = (4 + asked.fetch_add(1, Ordering::AcqRel)) * SEGMENT;
            peer.reply(&Reply::File(FileHeader { length: 0, ..header(size as u64) }));
            peer.reply(&Reply::End(End::default()));
        }
        _ => {}
    });
    fake.run(&["get", "f", "--segments", "always", "--timeout", "5"]).ends(8).says("changed");
    fake.left(&[]);
}

#[test]
fn a_size_that_no_disk_has_is_an_error_of_this_machine_in_segments_too() {
    let fake = Fake::start(|peer, request| match request {
        Request::List(_) => {
            peer.entries(b"", &[file(b"f", 3 * SEGMENT as u64)]);
            peer.listed(1);
        }
        Request::Get(_) => {
            peer.reply(&Reply::File(FileHeader { length: 0, ..header(1 << 60) }));
            peer.reply(&Reply::End(End::default()));
        }
        _ => {}
    });
    fake.run(&["get", "f", "--segments", "always", "--timeout", "5", "--retries", "0"]).ends(3).says("f");
    fake.left(&[]);
}
