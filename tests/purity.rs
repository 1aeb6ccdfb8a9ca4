//! The shape of the house (DESIGN, "The house"): `wire` is pure, imports point to what stands earlier in the list, and
//! `server` and `client` know nothing of each other. Read from the source, so that it holds for every build.

#[path = "purity/scanner.rs"]
mod scanner;

use scanner::{NamedPath, has_logic, named_paths};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The map of the crate: its modules in the order of the house. Each may name those before it, and itself.
const MAP: &str = include_str!("../src/lib.rs");

/// The modules in the order of the map.
fn house() -> Vec<&'static str> {
    let row = |line: &'static str| line.strip_prefix("//! | [`")?.split_once("`]").map(|(module, _)| module);
    MAP.lines().filter_map(row).collect()
}

/// Those that may not name each other although one stands before the other.
const STRANGERS: [(&str, &str); 1] = [("client", "server")];

/// Those that may name less than what stands before them.
const NARROWER: [(&str, &[&str]); 8] = [
    ("escape", &[]),
    ("wire", &["escape"]),
    ("logging", &["escape", "error"]),
    ("discovery", &["escape"]),
    ("display", &["escape"]),
    ("report", &["escape", "wire", "error", "logging", "display"]),
    ("manual", &[]),
    ("configuration", &["escape"]),
];

/// What `wire` may use of the standard library: values, and nothing that reaches the machine.
const PURE_STD: [&str; 17] = [
    "array",
    "borrow",
    "cmp",
    "collections",
    "convert",
    "error",
    "fmt",
    "hash",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "result",
    "slice",
    "str",
];

/// The dependencies of `wire`: codecs, which know bytes and nothing else.
const PURE_CRATES: [&str; 5] = ["base64", "httparse", "httpdate", "minicbor", "sha1"];

/// Macros of the standard library that reach the machine.
const IMPURE_MACROS: [&str; 6] = ["print", "println", "eprint", "eprintln", "dbg", "thread_local"];

const STANDARD: [&str; 3] = ["std", "core", "alloc"];

#[test]
fn wire_is_pure() {
    let dependencies = dependencies();
    let mut checked = 0;
    for file in sources().into_iter().filter(|file| file.module() == "wire") {
        for path in file.paths() {
            let broken = impurity(&path, &dependencies);
            assert_eq!(broken, None, "{} in {}", path.segments.join("::"), file.name.display());
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} paths were found");
}

#[test]
fn imports_point_down_the_house_only() {
    let mut checked = 0;
    for file in sources().into_iter().filter(SourceFile::is_in_the_house) {
        let module = file.module();
        assert!(house().contains(&module.as_str()), "{module} has no place in the map of the crate");
        for path in file.paths() {
            let Some(other) = crate_module(&path) else { continue };
            assert!(
                may_name(&module, other),
                "{module} may not name {other}: {} in {}",
                path.segments.join("::"),
                file.name.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 0, "no path was found");
}

#[test]
fn the_map_of_the_crate_has_no_logic() {
    assert!(!has_logic(MAP));
}

/// Why a path may not stand in `wire`.
fn impurity(path: &NamedPath, dependencies: &HashSet<String>) -> Option<&'static str> {
    let first = path.segments[0].as_str();
    let second = path.segments.get(1).map(String::as_str);
    if path.called_as_macro && path.segments.last().is_some_and(|name| IMPURE_MACROS.contains(&name.as_str())) {
        return Some("a macro that reaches the machine");
    }
    if STANDARD.contains(&first) {
        return match second {
            Some(module) if PURE_STD.contains(&module) => None,
            Some(_) => Some("a part of the standard library that is not on the list of pure ones"),
            None if path.imported => Some("the whole standard library"),
            None => None,
        };
    }
    let is_named = path.imported || second.is_some();
    if is_named && dependencies.contains(first) && !PURE_CRATES.contains(&first) {
        return Some("a crate that is not on the list of pure ones");
    }
    crate_module(path).filter(|module| !may_name("wire", module)).map(|_| "another module of the crate")
}

/// The module of this crate that a path leads to, if it is written from the crate's root.
fn crate_module(path: &NamedPath) -> Option<&str> {
    let is_from_root = matches!(path.segments[0].as_str(), "crate" | "hostdir");
    // A lone `crate` is that of `pub(crate)`, unless it is imported under another name.
    if !is_from_root || (path.segments.len() == 1 && !path.imported) {
        return None;
    }
    Some(path.segments.get(1).map_or("", String::as_str))
}

fn may_name(module: &str, other: &str) -> bool {
    if module == other {
        return true;
    }
    if let Some((_, allowed)) = NARROWER.iter().find(|(narrow, _)| *narrow == module) {
        return allowed.contains(&other);
    }
    let place = |name: &str| house().iter().position(|member| *member == name);
    let are_strangers = STRANGERS.contains(&(module, other)) || STRANGERS.contains(&(other, module));
    !are_strangers && place(other).is_some_and(|place_of_other| place(module) > Some(place_of_other))
}

/// A file below `src/`.
struct SourceFile {
    /// Relative to `src/`.
    name: PathBuf,
    text: String,
}

impl SourceFile {
    /// The module of the crate that it belongs to.
    fn module(&self) -> String {
        let first = self.name.components().next().expect("a file has a name");
        Path::new(first.as_os_str()).file_stem().expect("a file has a name").to_string_lossy().into_owned()
    }

    fn is_in_the_house(&self) -> bool {
        self.name != Path::new("lib.rs") && !self.name.starts_with("bin")
    }

    /// How many modules deep its code stands: 1 for `wire/mod.rs`, 2 for `wire/frame.rs`.
    fn depth(&self) -> usize {
        let is_folder_root = self.name.file_name().is_some_and(|name| name == "mod.rs");
        self.name.components().count() - usize::from(is_folder_root)
    }

    /// The paths that it names; those that climb out of their module by `super` are written from the root.
    fn paths(&self) -> Vec<NamedPath> {
        named_paths(&self.text).into_iter().map(|path| from_root(path, self.depth())).collect()
    }
}

/// Writes a path that climbs to the root by as many `super`s as its file is deep from `crate`.
fn from_root(mut path: NamedPath, depth: usize) -> NamedPath {
    let start = usize::from(path.segments[0] == "self");
    let climbs = path.segments[start..].iter().take_while(|segment| *segment == "super").count();
    if climbs >= depth {
        path.segments.splice(..start + climbs, ["crate".to_owned()]);
    }
    path
}

fn sources() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |entry: walkdir::DirEntry| SourceFile {
        name: entry.path().strip_prefix(&root).expect("below src").to_owned(),
        text: fs::read_to_string(entry.path()).expect("source is UTF-8"),
    };
    let entries = WalkDir::new(&root).into_iter().map(|entry| entry.expect("src can be read"));
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rs")).map(read).collect()
}

/// The names of all dependencies, as source writes them.
fn dependencies() -> HashSet<String> {
    let manifest = include_str!("../Cargo.toml");
    let mut section = "";
    let mut names = HashSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once(['=', '.'])
        {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    assert!(names.contains("rustix") && names.contains("log"), "{names:?}");
    names
}

/// The paths of a sample that may not stand in `wire`.
fn impure_paths(source: &str) -> Vec<String> {
    let dependencies = dependencies();
    let paths = named_paths(source).into_iter().map(|path| from_root(path, 2));
    paths.filter(|path| impurity(path, &dependencies).is_some()).map(|path| path.segments.join("::")).collect()
}

#[test]
fn impure_paths_are_found_however_they_are_written() {
    let cases = [
        ("use std::io;", "std::io"),
        ("use std::io::Read;", "std::io::Read"),
        ("use std::{fmt, fs};", "std::fs"),
        ("use std::{fmt::{self, Write}, net::{TcpStream}};", "std::net::TcpStream"),
        ("use std::{fmt, thread as worker};", "std::thread"),
        ("use ::std::time::Instant;", "std::time::Instant"),
        ("use {std::fs, std::fmt};", "std::fs"),
        ("pub(crate) use std::env;", "std::env"),
        ("use std as s;", "std"),
        ("use std::{self as s};", "std::self"),
        ("use std::*;", "std::*"),
        ("use core::time::Duration;", "core::time::Duration"),
        ("extern crate std as s;", "std"),
        ("use r#std::fs;", "std::fs"),
        ("fn f() { let _ = std::fs::read(\"x\"); }", "std::fs::read"),
        ("fn f() -> Result<(), ::std::io::Error> { Ok(()) }", "std::io::Error"),
        ("fn f() { std :: process :: exit(1) }", "std::process::exit"),
        ("fn f() { std::/* so */fs::read(\"x\"); }", "std::fs::read"),
        ("fn f(x: &'static std::path::Path) {}", "std::path::Path"),
        ("use log::info;", "log::info"),
        ("fn f() { log::info!(\"x\") }", "log::info"),
        ("use rustix::fs::openat;", "rustix::fs::openat"),
        ("use crossbeam_channel as c;", "crossbeam_channel"),
        ("use log;", "log"),
        ("fn f() { println!() }", "println"),
        ("use crate::store::Upload;", "crate::store::Upload"),
        ("use crate::{escape, server};", "crate::server"),
        ("use crate as c;", "crate"),
        ("use super::super::store;", "crate::store"),
        ("use super::{Kind, super::store};", "crate::store"),
        ("fn f() { self::super::super::client::run() }", "crate::client::run"),
        ("const C: char = '\"'; use std::fs; const D: char = '\"';", "std::fs"),
        ("const S: &str = r#\"\"#; use std::fs; const T: &str = \"\";", "std::fs"),
        ("#[cfg(test)] use std::fmt; use std::fs;", "std::fs"),
        ("#[cfg(test)] mod tests { fn f() {} } use std::fs;", "std::fs"),
        ("#[cfg(all(test, unix))] mod tests { use std::fs; }", "std::fs"),
        ("#[cfg(not(test))] use std::fs;", "std::fs"),
        ("enum E { #[cfg(test)] A } use std::fs;", "std::fs"),
        ("struct S { #[cfg(test)] a: u8, b: std::fs::File }", "std::fs::File"),
    ];
    for (source, found) in cases {
        assert_eq!(impure_paths(source), [found], "{source}");
    }
}

#[test]
fn pure_source_tests_comments_and_strings_are_left_alone() {
    let cases = [
        "use std::fmt; use std::{error::Error, ops::Deref, str};",
        "use minicbor::{Decode, Decoder, decode::{self, Error}};",
        "use super::{Kind, Violation}; use crate::escape::harmless; use crate::wire::Kind;",
        "pub(crate) fn f() {} pub(super) fn g() {}",
        "// use std::fs;\n/* std::io /* std::net */ std::io */ /// std::fs\n//! std::fs",
        "const S: &str = \"use std::fs;\"; const R: &str = r##\"\"# std::io \"##; const B: &[u8] = b\"std::fs\";",
        "const Q: &str = \"\\\" std::fs\"; const C: char = '\\''; const D: char = '\\u{27}'; const B: u8 = b'\"';",
        "#[cfg(test)]\nmod tests { use std::fs; fn f() { let x = [1; 2]; std::io::stdin(); } }",
        "#[cfg(test)] #[derive(Debug)] struct S { file: std::fs::File } fn f<'a>(x: &'a str) {}",
        "#[cfg(test)] use std::{fs, io};",
        "fn f(log: u8) -> u8 { log + time.fs.io }",
        "struct S { log: u64 } fn f() { let rustix = 1; write!(f, \"{rustix}\") }",
    ];
    for source in cases {
        assert!(impure_paths(source).is_empty(), "{source}: {:?}", impure_paths(source));
    }
}

#[test]
fn the_order_of_the_house_is_that_of_the_list() {
    let allowed = [
        ("server", "store"),
        ("server", "wire"),
        ("client", "transfer"),
        ("store", "staged"),
        ("wire", "escape"),
        ("logging", "escape"),
        ("transfer", "connection"),
        ("store", "store"),
    ];
    for (module, other) in allowed {
        assert!(may_name(module, other), "{module} and {other}");
    }
    let forbidden = [
        ("client", "server"),
        ("server", "client"),
        ("wire", "error"),
        ("wire", "connection"),
        ("store", "server"),
        ("connection", "transfer"),
        ("escape", "wire"),
        ("transfer", "store"),
        ("logging", "server"),
        ("server", ""),
        ("server", "somewhere"),
        ("somewhere", "wire"),
    ];
    for (module, other) in forbidden {
        assert!(!may_name(module, other), "{module} and {other}");
    }
}

#[test]
fn logic_in_the_map_is_found() {
    assert!(!has_logic("//! fn\n#![deny(clippy::all)]\npub mod wire;\nmod error;"));
    assert!(has_logic("pub mod wire; fn f() {}"));
    assert!(has_logic("macro_rules! m { () => {} }"));
}
