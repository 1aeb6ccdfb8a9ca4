//! Every command, with every set of rights, at every place, with every kind of token: what happens is what the tables of
//! `docs/TRUST.md` say.

use crate::common::{Frame, Log, RawClient, Server, put_file, upload_id};
use crate::scene::{FOLDER, Scene, greet, with_token};
use crate::table::{Outcome, Place, Row, rows};
use hostdir::wire::{
    ErrorCode, Fault, Get, List, LiveId, OnConflict, Put, PutKind, RawBytes, Receivers, Reply, Request, Right, Rights,
    Subscribe,
};

/// Every set of rights that a token can have.
pub fn sets() -> impl Iterator<Item = Rights> {
    (1_u32..1 << Right::ALL.len()).map(|bits| {
        let chosen = Right::ALL.into_iter().zip(0..).filter(move |(_, at)| bits >> at & 1 == 1);
        chosen.fold(Rights::NONE, |rights, (right, _)| rights | right)
    })
}

/// What a command is asked about at a place: a folder, a file that is there, a name for a new one, an arrival.
struct Subjects {
    folder: String,
    file: String,
    arrival: u64,
}

pub struct Arrivals {
    inside: u64,
    beside: u64,
}

fn subjects(place: Place, arrivals: &Arrivals) -> Subjects {
    let (folder, file, arrival) = match place {
        Place::Inside => ("a/b/deep", "a/b/inside.txt", arrivals.inside),
        Place::Folder => (FOLDER, FOLDER, 0),
        Place::Above => ("a", "a", 0),
        Place::Beside => ("a/bc", "a/bc/secret.txt", arrivals.beside),
    };
    Subjects { folder: folder.into(), file: file.into(), arrival }
}

/// What the server makes of a command: nothing if it did it, or found other reasons than rights not to.
fn ask(client: &mut RawClient, command: &str, at: &Subjects) -> Result<Vec<Vec<u8>>, Fault> {
    let raw = |path: &str| RawBytes(path.as_bytes().to_vec());
    let put = |on_conflict, kind| Put { on_conflict, kind, ..put_file(&at.file, 1) };
    let done = Vec::new();
    match command {
        "LIST" => {
            let found = client.list(&at.folder).unwrap()?;
            Ok(found.entries.into_iter().map(|(path, _)| path).collect())
        }
        "LIST, recursive" => {
            let list = List { path: raw(&at.folder), recursive: true, limit: None };
            Ok(client.list_as(list).unwrap()?.entries.into_iter().map(|(path, _)| path).collect())
        }
        "GET" => client.get(&at.file).unwrap().map(|_| done),
        "GET, live" => {
            let get = Get { live: Some(LiveId([7; 16])), ..Get::whole(at.file.as_bytes()) };
            client.get_as(get).unwrap().map(|_| done)
        }
        "PUT" => client.put_as(put(OnConflict::Rename, PutKind::File), b"x").unwrap().map(|_| done),
        "PUT, asking" => {
            let put = Put { upload: Some(upload_id(1)), ..put(OnConflict::Fail, PutKind::File) };
            match client.ask(put).unwrap() {
                Ok(_) => Ok(done),
                Err(answer) => answer.map(|_| done),
            }
        }
        "PUT, overwrite" => client.put_as(put(OnConflict::Overwrite, PutKind::File), b"y").unwrap().map(|_| done),
        "PUT, folder" => {
            client
                .send(Request::Put(Put {
                    size: None,
                    path: raw(&at.folder),
                    ..put(OnConflict::Rename, PutKind::Folder)
                }))
                .unwrap();
            client.stored().unwrap().map(|_| done)
        }
        "SUBSCRIBE" => follow(client, &at.folder),
        "RECEIVERS" => {
            client.send(Request::Receivers(Receivers { number: at.arrival, wait: 0 })).unwrap();
            answer(client).map(|_| done)
        }
        "PING" => {
            client.alive();
            Ok(done)
        }
        other => panic!("{other} is not tested"),
    }
}

/// Follows a folder from the start; the paths that were told until nothing more is.
fn follow(client: &mut RawClient, folder: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let folders = vec![RawBytes(folder.as_bytes().to_vec())];
    client.send(Request::Subscribe(Subscribe { folders, after: Some(0), journal: None, subscriber: None })).unwrap();
    answer(client)?;
    client.send(Request::Ping).unwrap();
    let mut told = Vec::new();
    loop {
        match answer(client)? {
            Reply::Arrived(arrived) => told.push(arrived.path.0),
            Reply::Paused(_) => break,
            _ => {}
        }
    }
    assert_eq!(answer(client)?, Reply::Pong);
    Ok(told)
}

fn answer(client: &mut RawClient) -> Result<Reply, Fault> {
    match client.receive().unwrap() {
        Frame::Reply(Reply::Error(fault)) => Err(fault),
        Frame::Reply(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}

fn check(client: &mut RawClient, row: &Row, rights: Rights, place: Place, arrivals: &Arrivals) {
    let Some(expected) = row.outcome(rights, place) else { return };
    let what = format!("{} {place:?} with {rights}", row.command);
    let got = ask(client, row.command, &subjects(place, arrivals));
    match (expected, got) {
        (Outcome::Allowed, Ok(_)) => {}
        (Outcome::Allowed, Err(fault)) => assert_ne!(fault.code, ErrorCode::Forbidden, "{what}: {fault:?}"),
        (Outcome::Narrowed, Ok(told)) => {
            let folder = FOLDER.as_bytes();
            assert!(told.iter().all(|path| path.starts_with(folder) || folder.starts_with(path)), "{what}: {told:?}");
            assert!(!told.is_empty(), "{what}");
        }
        (Outcome::Forbidden, Err(fault)) => assert_eq!(fault.code, ErrorCode::Forbidden, "{what}: {fault:?}"),
        (Outcome::NotFound, Err(fault)) => assert_eq!(fault.code, ErrorCode::NotFound, "{what}: {fault:?}"),
        (expected, got) => panic!("{what}: {expected:?}, and not {got:?}"),
    }
}

pub fn publish_both(server: &Server, master: &str) -> Arrivals {
    let mut client = with_token(server, master);
    let mut put = |path: &str| client.put(path, b"news").unwrap().unwrap().number.unwrap();
    Arrivals { inside: put("a/b/news"), beside: put("a/bc/news") }
}

#[test]
fn every_native_command_does_what_the_table_says_with_every_set_of_rights_at_every_place() {
    let scene = Scene::new();
    let master = scene.master("master");
    let tokens: Vec<(Rights, String)> =
        sets().map(|set| (set, scene.token(&set.joined("-"), &set.to_string()))).collect();
    let server = scene.serve(&["--allow-overwrite"]);
    let arrivals = publish_both(&server, &master);
    let rows = rows("Native");
    assert_eq!((rows.len(), tokens.len()), (11, 31));
    for (rights, token) in &tokens {
        let mut client = with_token(&server, token);
        for row in &rows {
            Place::ALL.into_iter().for_each(|place| check(&mut client, row, *rights, place, &arrivals));
        }
        client.alive();
    }
    let line = server.logged(Log::Events, &["event=denied", "token=add", "command=GET", "path=a/bc/secret.txt"]);
    assert!(line.contains("why=\"not allowed: this needs the right to read or subscribe here\""), "{line}");
}

#[test]
fn anonymous_rights_are_those_of_the_table_in_the_whole_directory() {
    for set in ["read", "add", "subscribe", "read,publish", "all"] {
        let scene = Scene::new();
        scene.master("master");
        let server = scene.serve(&["--allow-overwrite", "--anonymous", set]);
        let rights: Rights = set.parse().unwrap();
        let mut client = greet(&server, None).unwrap();
        let arrivals = Arrivals { inside: 0, beside: 0 };
        for row in rows("Native").iter().filter(|row| row.command != "RECEIVERS" && row.command != "PING") {
            let expected = row.outcome(rights, Place::Inside) == Some(Outcome::Allowed);
            let got = ask(&mut client, row.command, &subjects(Place::Beside, &arrivals));
            let is_allowed = got.as_ref().err().is_none_or(|fault| fault.code != ErrorCode::Forbidden);
            assert_eq!(is_allowed, expected, "{} with {set}: {got:?}", row.command);
        }
    }
}

#[test]
fn who_has_no_token_that_holds_is_let_in_nowhere() {
    let scene = Scene::new();
    let valid = scene.master("valid");
    let (revoked, expired) = (scene.master("revoked"), scene.expired());
    scene.revoke("revoked");
    let wrong = format!("{}x", &valid[..valid.len() - 1]);
    let server = scene.serve(&[]);
    assert!(greet(&server, Some(&valid)).is_ok());
    for (name, token) in
        [("none", None), ("wrong", Some(&wrong)), ("revoked", Some(&revoked)), ("expired", Some(&expired))]
    {
        let mut client = server.connection();
        let fault = client.greet_as(token.map(String::as_str)).unwrap().unwrap_err();
        assert_eq!(fault.code, ErrorCode::Unauthorized, "{name}");
        client.closed();
    }
    let log = server.log(Log::Events).join("\n");
    for secret in [&valid, &revoked, &expired, &wrong] {
        assert!(!log.contains(secret.as_str()), "a token is in the log");
    }
    server.logged(Log::Events, &["event=denied", "token=anonymous", "command=HELLO"]);
}

#[test]
fn a_token_is_not_passed_over_where_everybody_may_do_everything() {
    let scene = Scene::new();
    let server = scene.serve(&[]);
    assert!(greet(&server, None).is_ok());
    let fault = greet(&server, Some("hd_wrong")).err().unwrap();
    assert_eq!(fault.code, ErrorCode::Unauthorized);
}

#[test]
fn welcome_tells_the_rights_unless_they_are_all() {
    let scene = Scene::new();
    let (some, all) = (scene.token("some", "read,overwrite"), scene.master("all"));
    let server = scene.serve(&["--allow-overwrite"]);
    let told = |token: &str| server.connection().greet_as(Some(token)).unwrap().unwrap();
    assert_eq!(told(&all).rights, None);
    assert_eq!(told(&some).rights, Some(Right::Read | Right::Overwrite));
}
