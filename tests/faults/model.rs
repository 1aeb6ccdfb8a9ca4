//! Sequences of requests and kills against a model in memory: after each step server and model say the same.

use crate::common::{
    Random, RawClient, Server, content, digest_of, eventually, memory, put_file, scaled, upload_id, whole,
};
use hostdir::conflict::numbered;
use hostdir::wire::{Begin, EntryKind, ErrorCode, Get, OnConflict, Put, PutKind, RemotePath, Request, StoredOutcome};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use tempfile::TempDir;

const PATHS: [&str; 7] = ["a", "b.txt", "d", "d/a", "d/e/f.tar.gz", "a/x", "d/e"];
const SIZES: [usize; 5] = [0, 10, 70_000, 70_000, 1_200_000];

#[derive(Debug, Clone)]
enum Step {
    List,
    Get {
        path: usize,
        offset: u64,
        length: Option<u64>,
    },
    Put {
        path: usize,
        content: usize,
        on_conflict: OnConflict,
        ask: bool,
        tell: bool,
    },
    Folder {
        path: usize,
    },
    /// An upload that breaks off after some bytes, and is sent again as the same.
    Resume {
        path: usize,
        content: usize,
        after: usize,
        kill: bool,
    },
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let path = || 0..PATHS.len();
    let content = || 0..SIZES.len();
    let policy =
        prop::sample::select(vec![OnConflict::Rename, OnConflict::Skip, OnConflict::Fail, OnConflict::Overwrite]);
    prop_oneof![
        1 => Just(Step::List),
        4 => (path(), 0_u64..100_000, prop::option::of(0_u64..100_000)).prop_map(|(path, offset, length)| Step::Get { path, offset, length }),
        8 => (path(), content(), policy, any::<bool>(), any::<bool>())
            .prop_map(|(path, content, on_conflict, ask, tell)| Step::Put { path, content, on_conflict, ask, tell }),
        2 => path().prop_map(|path| Step::Folder { path }),
        2 => (path(), content(), 0_usize..1_200_000, any::<bool>())
            .prop_map(|(path, content, after, kill)| Step::Resume { path, content, after, kill }),
        1 => Just(Step::Kill),
    ]
}

/// What is at a path: a folder, or a file with this content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Debug, Default)]
struct Model {
    tree: BTreeMap<String, Node>,
}

/// What the server knows of a content when it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Content,
    /// It was asked without a digest: `skip` and `fail` go by the name.
    Name,
}

type Outcome = Result<(StoredOutcome, String), ErrorCode>;

impl Model {
    /// Makes the folders above a path; `false` if a file stands in the way, which leaves those above it made.
    fn make_above(&mut self, path: &str) -> bool {
        let mut above = String::new();
        let components: Vec<&str> = path.split('/').collect();
        for component in &components[..components.len() - 1] {
            above = if above.is_empty() { (*component).into() } else { format!("{above}/{component}") };
            match self.tree.get(&above) {
                Some(Node::File(_)) => return false,
                Some(Node::Folder) => {}
                None => drop(self.tree.insert(above.clone(), Node::Folder)),
            }
        }
        true
    }

    fn folder(&mut self, path: &str) -> Outcome {
        if !self.make_above(path) || matches!(self.tree.get(path), Some(Node::File(_))) {
            return Err(ErrorCode::Exists);
        }
        match self.tree.insert(path.into(), Node::Folder) {
            None => Ok((StoredOutcome::New, path.into())),
            Some(_) => Ok((StoredOutcome::Identical, path.into())),
        }
    }

    fn put(&mut self, path: &str, content: usize, on_conflict: OnConflict, known: Known) -> Outcome {
        if !self.make_above(path) {
            return Err(ErrorCode::Exists);
        }
        if known == Known::Name && self.tree.contains_key(path) {
            match on_conflict {
                OnConflict::Skip => return Ok((StoredOutcome::Skipped, path.into())),
                OnConflict::Fail => return Err(ErrorCode::Exists),
                OnConflict::Rename | OnConflict::Overwrite => {}
            }
        }
        let name = RemotePath::parse(path.as_bytes()).unwrap();
        for number in 0.. {
            let candidate = name.with_name(&numbered(name.name(), number)).unwrap();
            let candidate = String::from_utf8(candidate.as_bytes().to_vec()).unwrap();
            let outcome = match (self.tree.get(&candidate), on_conflict) {
                (None, _) if number == 0 => StoredOutcome::New,
                (None, _) => StoredOutcome::Renamed,
                (Some(Node::File(there)), _) if bytes_of(*there) == bytes_of(content) => {
                    return Ok((StoredOutcome::Identical, candidate));
                }
                (Some(_), OnConflict::Rename) => continue,
                (Some(_), OnConflict::Skip) => return Ok((StoredOutcome::Skipped, path.into())),
                (Some(Node::File(_)), OnConflict::Overwrite) => StoredOutcome::Overwritten,
                (Some(_), _) => return Err(ErrorCode::Exists),
            };
            self.tree.insert(candidate.clone(), Node::File(content));
            return Ok((outcome, candidate));
        }
        unreachable!()
    }
}

fn bytes_of(number: usize) -> Vec<u8> {
    content(number as u64, SIZES[number])
}

struct Run {
    dir: TempDir,
    server: Server,
    client: RawClient,
    model: Model,
    next_upload: u64,
}

impl Run {
    fn new() -> Self {
        let dir = memory();
        let server = Server::start(dir.path(), &["--allow-overwrite"]);
        let client = server.client();
        Self { dir, server, client, model: Model::default(), next_upload: 0 }
    }

    fn restart(&mut self) {
        self.server.end();
        self.server = Server::start(self.dir.path(), &["--allow-overwrite"]);
        self.client = self.server.client();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::List => self.list(),
            Step::Get { path, offset, length } => self.get(PATHS[path], offset, length),
            Step::Put { path, content, on_conflict, ask, tell } => {
                let bytes = bytes_of(content);
                let digest = tell.then(|| digest_of(&bytes));
                let put = Put { on_conflict, digest, ..put_file(PATHS[path], bytes.len()) };
                let answer = if ask { self.client.put_asking(put, &bytes) } else { self.client.put_as(put, &bytes) };
                let known = if ask && !tell { Known::Name } else { Known::Content };
                self.compare(answer.unwrap(), PATHS[path], content, (on_conflict, known));
            }
            Step::Folder { path } => {
                let put = Put { kind: PutKind::Folder, size: None, ..put_file(PATHS[path], 0) };
                self.client.send(Request::Put(put)).unwrap();
                let answer = self.client.stored().unwrap();
                let expected = self.model.folder(PATHS[path]);
                assert_eq!(
                    answer.map(|it| (it.outcome, String::from_utf8(it.path.to_vec()).unwrap())).map_err(|it| it.code),
                    expected
                );
            }
            Step::Resume { path, content, after, kill } => self.resume(PATHS[path], content, after, kill),
            Step::Kill => self.restart(),
        }
    }

    fn compare(
        &mut self,
        answer: Result<hostdir::wire::Stored, hostdir::wire::Fault>,
        path: &str,
        content: usize,
        (on_conflict, known): (OnConflict, Known),
    ) {
        let answer = answer.map(|it| (it.outcome, String::from_utf8(it.path.to_vec()).unwrap())).map_err(|it| it.code);
        let before = self.model.tree.clone();
        let expected = self.model.put(path, content, on_conflict, known);
        if expected.is_err() {
            // Whether folders were made on the way to a refusal is nobody's business; they are empty.
            self.model.tree = before;
        }
        assert_eq!(answer, expected, "PUT {path} {on_conflict:?}");
    }

    fn resume(&mut self, path: &str, content: usize, after: usize, kill: bool) {
        let bytes = bytes_of(content);
        let after = after.min(bytes.len());
        self.next_upload += 1;
        let put = Put {
            upload: Some(upload_id(self.next_upload)),
            digest: Some(digest_of(&bytes)),
            ..put_file(path, bytes.len())
        };
        if let Ok(offer) = self.client.ask(put.clone()).unwrap() {
            assert_eq!(offer.offset, 0);
            self.client.send(Request::Begin(Begin { offset: 0 })).unwrap();
            if after > 0 {
                bytes[..after].chunks(1 << 20).for_each(|chunk| self.client.data(chunk).unwrap());
            }
            self.client = self.server.client();
            let partial = self.dir.path().join(".hostdir/partial").join(upload_id(self.next_upload).to_string());
            eventually("what came is kept", || partial.metadata().is_ok_and(|it| it.len() == after as u64));
            if kill {
                self.restart();
            }
            match self.client.ask(put.clone()).unwrap() {
                Ok(offer) => {
                    assert_eq!(offer.offset, after as u64);
                    self.client.upload_from(after, &bytes).unwrap();
                    let answer = self.client.stored().unwrap();
                    return self.compare(answer, path, content, (OnConflict::Rename, Known::Content));
                }
                Err(answer) => panic!("{answer:?}"),
            }
        }
        let answer = self.client.put_asking(put, &bytes).unwrap();
        self.compare(answer, path, content, (OnConflict::Rename, Known::Content));
    }

    fn get(&mut self, path: &str, offset: u64, length: Option<u64>) {
        let answer = self.client.get_as(Get { offset, length, ..whole(path) }).unwrap().map_err(|it| it.code);
        match self.model.tree.get(path) {
            None => assert_eq!(answer.unwrap_err(), ErrorCode::NotFound),
            Some(Node::Folder) => assert_eq!(answer.unwrap_err(), ErrorCode::NotAFile),
            Some(Node::File(content)) => {
                let bytes = bytes_of(*content);
                let size = bytes.len() as u64;
                if offset > size {
                    return assert_eq!(answer.unwrap_err(), ErrorCode::OutOfRange);
                }
                let end = size.min(offset + length.unwrap_or(size));
                let got = answer.unwrap();
                assert!(got.bytes == bytes[offset as usize..end as usize]);
                assert_eq!(got.digest, Some(digest_of(&bytes)));
            }
        }
    }

    /// The whole tree is as the model has it, apart from empty folders that a refusal may have left.
    fn list(&mut self) {
        let listing = self.client.list_tree().unwrap().unwrap();
        let mut found = BTreeMap::new();
        for (path, entry) in &listing.entries {
            found.insert(String::from_utf8(path.clone()).unwrap(), (entry.kind, entry.size));
        }
        for (path, node) in &self.model.tree {
            let expected = match node {
                Node::Folder => (EntryKind::Folder, 0),
                Node::File(content) => (EntryKind::File, SIZES[*content] as u64),
            };
            assert_eq!(found.remove(path), Some(expected), "{path}");
        }
        assert!(found.values().all(|(kind, _)| *kind == EntryKind::Folder), "{found:?}");
    }
}

#[test]
fn the_server_does_what_a_model_of_it_does() {
    let mut random = Random::announced("model");
    let seed: Vec<u8> = random.bytes(32);
    let config =
        Config { cases: scaled(20, 1_000), failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    runner
        .run(&prop::collection::vec(step(), 1..40), |steps| {
            let mut run = Run::new();
            steps.iter().for_each(|step| run.step(step));
            run.list();
            let paths: Vec<String> = run.model.tree.keys().cloned().collect();
            paths.iter().for_each(|path| run.get(path, 0, None));
            Ok(())
        })
        .unwrap();
}
