//! The pure and the local parts of a transfer, each by itself: `cargo bench`.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use hostdir::client::terminal::picker::Filter;
use hostdir::root::Root;
use hostdir::store::list;
use hostdir::transfer::digest_file;
use hostdir::wire::{Entries, Entry, EntryKind, FRAME_HEADER, Get, Kind, List, Reply, Request};
use std::fs::File;

const ENTRIES: usize = 500;
const FILES: usize = 10_000;

fn main() {
    divan::main();
}

fn page() -> Reply {
    let entry = |number| Entry {
        name: format!("photo-{number:06}.jpg").as_bytes().into(),
        kind: EntryKind::File,
        size: 4_000_000,
        modified: 1_767_225_600_000_000_000,
    };
    Reply::Entries(Entries { folder: b"pictures/2026"[..].into(), entries: (0..ENTRIES).map(entry).collect() })
}

#[divan::bench]
fn encode_a_page_of_entries(bencher: Bencher) {
    let (page, mut buffer) = (page(), Vec::new());
    bencher.counter(ItemsCount::new(ENTRIES)).bench_local(|| {
        buffer.clear();
        divan::black_box(&page).encode(&mut buffer);
    });
}

#[divan::bench]
fn decode_a_page_of_entries(bencher: Bencher) {
    let mut frame = Vec::new();
    page().encode(&mut frame);
    bencher
        .counter(ItemsCount::new(ENTRIES))
        .bench_local(|| Reply::decode(Kind::Entries, divan::black_box(&frame[FRAME_HEADER..])).is_ok());
}

#[divan::bench]
fn encode_and_decode_a_get(bencher: Bencher) {
    let get = Get::whole(b"pictures/2026/a.jpg");
    let mut frame = Vec::new();
    bencher.bench_local(|| {
        frame.clear();
        Request::Get(divan::black_box(&get).clone()).encode(&mut frame);
        Request::decode(Kind::Get, &frame[FRAME_HEADER..]).is_ok()
    });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn list_a_folder_of_10_000(bencher: Bencher) {
    let Ok(dir) = tempfile::tempdir() else { return };
    (0..FILES).filter_map(|number| File::create(dir.path().join(format!("entry-{number}"))).ok()).for_each(drop);
    let Ok(root) = Root::open(dir.path()) else { return };
    let everything = List { recursive: true, ..List::default() };
    bencher.counter(ItemsCount::new(FILES)).bench_local(|| list(&root, &everything, &mut |_| Ok(())).is_ok());
}

#[divan::bench(args = [4 * 1024, 1 << 20, 64 << 20], sample_count = 20)]
fn hash_a_cached_file(bencher: Bencher, size: usize) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("file");
    let Ok(file) = std::fs::write(&path, vec![7; size]).and_then(|()| File::open(&path)) else { return };
    bencher.counter(BytesCount::new(size)).bench_local(|| digest_file(&file, size as u64).is_ok());
}

#[divan::bench]
fn filter_the_picker_s_entries(bencher: Bencher) {
    let paths: Vec<String> = (0..FILES).map(|number| format!("pictures/{}/photo-{number}.jpg", number % 40)).collect();
    let filter = Filter::new("photo 99 .jpg$ !thumb");
    bencher
        .counter(ItemsCount::new(FILES))
        .bench_local(|| paths.iter().filter(|path| filter.passes(divan::black_box(path))).count());
}
