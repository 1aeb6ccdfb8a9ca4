//! Nothing of what lies beside a folder is told to whoever has only that folder.

use crate::common::{Frame, RawClient, put_file, upload_id};
use crate::scene::{FOLDER, Scene, with_token};
use hostdir::wire::{
    Arrived, Get, JournalId, List, LiveId, Put, PutKind, RawBytes, Receipt, ReceiptOutcome, ReceiverState, Receivers,
    Reply, Request, Subscribe, SubscriberId, TransferId,
};

fn raw(path: &str) -> RawBytes {
    RawBytes(path.as_bytes().to_vec())
}

/// The bytes that a request is answered with, up to the answer to the PING after it.
fn answer(client: &mut RawClient, request: Request) -> Vec<u8> {
    client.send_all(&[request, Request::Ping]).unwrap();
    let mut bytes = Vec::new();
    loop {
        match client.receive().unwrap() {
            Frame::Reply(Reply::Pong) => return bytes,
            Frame::Reply(reply) => reply.encode(&mut bytes),
            other => panic!("{other:?}"),
        }
    }
}

fn subscribe(folder: &str, after: Option<u64>, journal: Option<JournalId>) -> Request {
    Request::Subscribe(Subscribe { folders: vec![raw(folder)], after, journal, subscriber: None })
}

/// Everything that can be asked about a path.
fn requests(path: &str) -> Vec<Request> {
    let put = |ask, kind| Put { ask, kind, size: (kind == PutKind::File).then_some(0), ..put_file(path, 0) };
    let whole = Get::whole(path.as_bytes());
    vec![
        Request::List(List { path: raw(path), ..List::default() }),
        Request::List(List { path: raw(path), recursive: true, limit: Some(1) }),
        Request::Get(whole.clone()),
        Request::Get(Get { offset: 1 << 40, length: Some(0), ..whole.clone() }),
        Request::Get(Get { live: Some(LiveId([1; 16])), ..whole }),
        Request::Put(put(true, PutKind::File)),
        Request::Put(put(false, PutKind::Folder)),
        subscribe(path, Some(0), None),
    ]
}

#[test]
fn the_answers_about_what_is_there_and_what_is_not_are_the_same_bytes() {
    let scene = Scene::new();
    let (token, master) = (scene.token("narrow", "all"), scene.master("master"));
    let server = scene.serve(&["--allow-overwrite"]);
    let mut client = with_token(&server, &token);
    let pairs =
        [("a/bc/secret.txt", "a/bc/missing"), ("a/bc", "a/missing"), ("other", "nothing"), ("a/above.txt", "a/x")];
    for (there, missing) in pairs {
        for (one, other) in requests(there).into_iter().zip(requests(missing)) {
            let what = format!("{one:?}");
            assert_eq!(answer(&mut client, one), answer(&mut client, other), "{what}");
        }
    }
    let receivers = |number| Request::Receivers(Receivers { number, wait: 0 });
    let mut master = with_token(&server, &master);
    let number = master.put("a/bc/new", b"x").unwrap().unwrap().number.unwrap();
    assert_eq!(answer(&mut client, receivers(number)), answer(&mut client, receivers(number + 1000)));
}

#[test]
fn listings_from_above_show_the_way_and_nothing_beside_it() {
    let scene = Scene::new();
    let token = scene.token("narrow", "read");
    let server = scene.serve(&[]);
    let mut client = with_token(&server, &token);
    let tree = |client: &mut RawClient, path: &str, recursive| {
        let listing = client.list_as(List { path: raw(path), recursive, limit: None }).unwrap().unwrap();
        (listing.paths().into_iter().map(|it| String::from_utf8(it.to_vec()).unwrap()).collect::<Vec<_>>(), listing)
    };
    assert_eq!(tree(&mut client, "", false).0, ["a"]);
    assert_eq!(tree(&mut client, "a", false).0, ["a/b"]);
    assert_eq!(tree(&mut client, FOLDER, false).0, ["a/b/deep", "a/b/inside.txt"]);
    let (paths, before) = tree(&mut client, "", true);
    assert_eq!(paths, ["a", "a/b", "a/b/deep", "a/b/deep/file.txt", "a/b/inside.txt"]);
    // A link and a new file beside it change nothing of the answer, not even a count or a time.
    std::os::unix::fs::symlink("/", scene.path().join("a/link")).unwrap();
    std::fs::write(scene.path().join("a/new"), "x").unwrap();
    let (_, after) = tree(&mut client, "", true);
    let sorted = |mut entries: Vec<_>| {
        entries.sort_by(|one: &(Vec<u8>, _), other| one.0.cmp(&other.0));
        entries
    };
    assert_eq!((sorted(before.entries), before.listed), (sorted(after.entries), after.listed));
}

#[test]
fn a_limit_and_a_folder_that_is_not_there_are_kept_from_above_too() {
    let scene = Scene::new();
    let folders = ["--folder", "a/b", "--folder", "not/there", "--folder", "other"];
    let token = scene.said(&[&["add", "some", "--rights", "read"], &folders[..]].concat());
    let server = scene.serve(&[]);
    let mut client = with_token(&server, token.trim_end());
    let all = client.list_tree().unwrap().unwrap();
    assert_eq!(all.entries.len(), 7, "{:?}", all.paths());
    assert!(!all.paths().iter().any(|path| path.starts_with(b"not")));
    for limit in 1..=8 {
        let some = client.list_as(List { path: raw(""), recursive: true, limit: Some(limit) }).unwrap().unwrap();
        assert_eq!(some.entries.len() as u64, limit.min(7));
        assert_eq!((some.listed.entries, some.listed.truncated), (limit.min(7), limit < 7), "{limit}");
    }
}

fn next_arrived(client: &mut RawClient) -> Arrived {
    loop {
        match client.receive().unwrap() {
            Frame::Reply(Reply::Arrived(arrived)) => return arrived,
            Frame::Reply(Reply::Arriving(arriving)) => assert!(arriving.path.starts_with(b"a/b/"), "{arriving:?}"),
            Frame::Reply(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_subscriber_of_everything_hears_of_its_folder_only() {
    let scene = Scene::new();
    let (token, master) = (scene.token("narrow", "subscribe"), scene.master("master"));
    let server = scene.serve(&[]);
    let mut client = with_token(&server, &token);
    client.send(subscribe("", None, None)).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    let mut publisher = with_token(&server, &master);
    for (number, path) in ["a/bc/x", "top", "a/b/x", "other/x", "a/b/y"].into_iter().enumerate() {
        let put = Put { upload: Some(upload_id(number as u64)), ..put_file(path, 1) };
        publisher.put_asking(put, b"x").unwrap().unwrap();
    }
    assert_eq!(next_arrived(&mut client).path, raw("a/b/x"));
    assert_eq!(next_arrived(&mut client).path, raw("a/b/y"));
}

#[test]
fn a_subscriber_is_no_receiver_of_what_it_may_not_see() {
    let scene = Scene::new();
    let (token, master) = (scene.token("narrow", "subscribe"), scene.master("master"));
    let server = scene.serve(&[]);
    let subscriber = SubscriberId([5; 16]);
    let mut client = with_token(&server, &token);
    let request = Subscribe { folders: vec![raw("")], after: None, journal: None, subscriber: Some(subscriber) };
    client.send(Request::Subscribe(request)).unwrap();
    assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
    let mut publisher = with_token(&server, &master);
    let mut receivers = |path: &str| {
        let number = publisher.put(path, b"x").unwrap().unwrap().number.unwrap();
        let receipt = Receipt {
            number: Some(number),
            subscriber: Some(subscriber),
            ..Receipt::new(TransferId(0), ReceiptOutcome::Verified)
        };
        client.send_all(&[Request::Receipt(receipt), Request::Ping]).unwrap();
        while client.receive().unwrap() != Frame::Reply(Reply::Pong) {}
        publisher.send(Request::Receivers(Receivers { number, wait: 0 })).unwrap();
        let Frame::Reply(Reply::Received(received)) = publisher.receive().unwrap() else { panic!("no answer") };
        received.receivers.iter().map(|it| it.state).collect::<Vec<_>>()
    };
    assert_eq!(receivers("a/b/x"), [ReceiverState::Verified]);
    assert_eq!(receivers("a/bc/x"), [], "its word about what it cannot see is not heard");
}

#[test]
fn how_much_of_other_folders_was_lost_is_not_told() {
    let scene = Scene::new();
    let (token, master) = (scene.token("narrow", "subscribe"), scene.master("master"));
    let server = scene.serve(&["--keep-arrivals", "8"]);
    for number in 0..40 {
        with_token(&server, &master).put(format!("a/bc/{number}"), b"x").unwrap().unwrap();
    }
    server.kill();
    // What is too old is dropped at the start.
    let server = scene.serve(&["--keep-arrivals", "8"]);
    let gap = |token: &str| {
        let mut client = with_token(&server, token);
        client.send(subscribe("", None, None)).unwrap();
        let Frame::Reply(Reply::Subscribed(now)) = client.receive().unwrap() else { panic!("not subscribed") };
        let mut client = with_token(&server, token);
        client.send(subscribe("", Some(1), Some(now.journal))).unwrap();
        assert!(matches!(client.receive().unwrap(), Frame::Reply(Reply::Subscribed(_))));
        let Frame::Reply(Reply::Gap(gap)) = client.receive().unwrap() else { panic!("no gap") };
        gap.missed
    };
    assert!(gap(&master).is_some_and(|missed| missed > 8));
    assert_eq!(gap(&token), None);
}
