//! The documents against the sources: what they name exists, and where they link to is there.
// Clippy's exception for tests does not reach the functions that they share.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Documents whose code references are checked.
const WITH_REFERENCES: [&str; 4] = ["docs/ARCHITECTURE.md", "docs/DECISIONS.md", "docs/PROTOCOL.md", "docs/TRUST.md"];

/// Folders at the top that a document may name files of.
const FOLDERS: [&str; 7] = ["src/", "tests/", "docs/", "fuzz/", "scripts/", "examples/", ".ci/"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All documents of the project, with their text.
fn documents() -> Vec<(PathBuf, String)> {
    let kept = |name: &str| {
        !["target", "downloads", "logs", "host_dir", "node_modules"].contains(&name) && !name.starts_with('.')
    };
    let files = WalkDir::new(top())
        .into_iter()
        .filter_entry(move |entry| entry.depth() == 0 || kept(&entry.file_name().to_string_lossy()));
    let documents =
        files.map(Result::unwrap).filter(|file| file.path().extension().is_some_and(|extension| extension == "md"));
    documents.map(|file| (file.path().to_owned(), fs::read_to_string(file.path()).unwrap())).collect()
}

/// The text without fenced blocks, which hold examples.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// What stands between backticks.
fn code(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

fn is_identifier(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && word.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// `["store", "Store", "commit"]` of `store::Store::commit`, if it is written like a path into this crate.
fn reference(code: &str) -> Option<Vec<&str>> {
    let segments: Vec<&str> = code.trim_end_matches("()").split("::").collect();
    let is_path = segments.len() > 1 && segments.iter().all(|segment| is_identifier(segment));
    (is_path && !["std", "core", "log", "rustix"].contains(&segments[0])).then_some(segments)
}

/// Why a path into this crate, or into its tests, leads nowhere. The longest start of it that is a module is looked up as a file or folder; in
/// what that holds, the rest must be defined, a second name in an `impl` or `trait` of the first.
fn broken(segments: &[&str]) -> Option<String> {
    let mut folder = top().join("src");
    if !folder.join(segments[0]).is_dir() && !folder.join(format!("{}.rs", segments[0])).is_file() {
        folder = top().join("tests");
    }
    let mut module = None;
    let mut rest = segments;
    while let Some((first, after)) = rest.split_first() {
        let (file, below) = (folder.join(format!("{first}.rs")), folder.join(first));
        if !file.is_file() && !below.is_dir() {
            break;
        }
        module = Some((file, below.clone()));
        (folder, rest) = (below, after);
    }
    let Some((file, folder)) = module else { return Some(format!("there is no module {}", segments[0])) };
    let below = WalkDir::new(folder).into_iter().filter_map(Result::ok).map(walkdir::DirEntry::into_path);
    let files = below.chain([file]).filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let sources: Vec<String> = files.filter_map(|path| fs::read_to_string(path).ok()).collect();
    match rest {
        [] => None,
        [name] => (!sources.iter().any(|source| defines(source, name))).then(|| format!("nothing defines {name}")),
        [owner, name] if !sources.iter().any(|source| defines(source, owner)) => {
            Some(format!("nothing defines {owner}, of {name}"))
        }
        [owner, name] => {
            let is_there = sources.iter().any(|source| blocks_of(source, owner).any(|block| defines(block, name)));
            (!is_there).then(|| format!("{owner} has no {name}"))
        }
        _ => Some("it has too many names".into()),
    }
}

/// Whether a source defines a name: as an item, or as a variant of an enumeration.
fn defines(source: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    source.lines().map(str::trim_start).filter(|line| !line.starts_with("//")).any(|line| {
        let is_item = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"].iter().any(|keyword| {
            let found = line.split_once(&format!("{keyword} {name}"));
            found.is_some_and(|(before, after)| (before.is_empty() || before.ends_with(' ')) && ends(after))
        });
        is_item || line.strip_prefix(name).is_some_and(|after| after.starts_with(['(', ',']) || after.starts_with(" {"))
    })
}

/// The blocks at the top of a source that belong to a type or trait: its definition and its implementations.
fn blocks_of<'a>(source: &'a str, owner: &'a str) -> impl Iterator<Item = &'a str> {
    source.split("\n}").filter(move |block| {
        let head = block.lines().filter(|line| !line.is_empty() && !line.starts_with(['/', '#', ' ', '}']));
        head.filter(|line| line.ends_with('{'))
            .any(|line| line.split(|next: char| !next.is_ascii_alphanumeric()).any(|word| word == owner))
    })
}

#[test]
fn what_the_documents_name_exists() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for document in WITH_REFERENCES {
        let text = fs::read_to_string(top().join(document)).unwrap();
        for segments in code(&prose(&text)).filter_map(reference) {
            wrong.extend(broken(&segments).map(|why| format!("{} in {document}: {why}", segments.join("::"))));
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 60, "only {checked} references were found");
}

#[test]
fn files_that_the_documents_name_exist() {
    let mut checked = 0;
    for (path, text) in documents() {
        let prose = prose(&text);
        for file in
            code(&prose).filter(|code| FOLDERS.iter().any(|folder| code.starts_with(folder)) && !code.contains(' '))
        {
            assert!(top().join(file).exists(), "{file} in {}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 5, "only {checked} files were found");
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut checked = 0;
    for (path, text) in documents() {
        let prose = prose(&text);
        for target in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{target} in {}", path.display());
            let is_there = anchor.is_empty() || anchors(&fs::read_to_string(&file).unwrap()).contains(anchor);
            assert!(is_there, "{target} in {} has no heading", path.display());
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} links were found");
}

/// The anchors of a document's headings.
fn anchors(text: &str) -> HashSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn the_house_is_drawn_as_it_is() {
    let row = |line: &'static str| {
        let (module, _) = line.strip_prefix("//! | [`")?.split_once("`]")?;
        Some(module)
    };
    let house: Vec<&str> = include_str!("../src/lib.rs").lines().filter_map(row).collect();
    let document = fs::read_to_string(top().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, table) = document.split_once("|---|---|---|\n").unwrap();
    let drawn: Vec<&str> =
        table.lines().map_while(|line| line.strip_prefix("| `")?.split_once('`')).map(|(module, _)| module).collect();
    assert_eq!(drawn, house);
}

#[test]
fn every_dependency_that_is_used_has_its_reason() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let (_, dependencies) = manifest.split_once("\n[dependencies]\n").unwrap();
    let dependencies: Vec<&str> =
        dependencies.lines().map_while(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    let document = fs::read_to_string(top().join("docs/DECISIONS.md")).unwrap();
    let (_, table) = document.split_once("| Crate | For | Instead of |\n|---|---|---|\n").unwrap();
    let cells = table.lines().map_while(|line| line.strip_prefix("| ")?.split_once(" |"));
    let reasoned: Vec<&str> = cells.flat_map(|(crates, _)| crates.split(", ")).collect();
    for (index, name) in reasoned.iter().enumerate() {
        assert!(dependencies.contains(name), "{name} is no dependency");
        assert!(!reasoned[..index].contains(name), "{name} stands there twice");
    }
    let sources = WalkDir::new(top().join("src")).into_iter().map(|file| file.unwrap().into_path());
    let sources: Vec<String> = sources.filter_map(|path| fs::read_to_string(path).ok()).collect();
    for name in dependencies {
        let path = format!("{}::", name.replace('-', "_"));
        let is_used = sources.iter().any(|source| source.contains(&path));
        assert_eq!(is_used, reasoned.contains(&name), "{name}: used, and in DECISIONS.md");
    }
}

#[test]
fn a_reference_that_leads_nowhere_is_noticed() {
    for good in [
        "wire::RemotePath::parse",
        "error::Error",
        "store::commit",
        "connection::Deadlines::SERVER",
        "wire::Kind::Data",
    ] {
        assert_eq!(broken(&reference(good).unwrap()), None, "{good}");
    }
    for bad in [
        "wires::RemotePath",
        "wire::RemotePaths",
        "wire::RemotePath::parsed",
        "wire::RemotePath::ends_session",
        "error::Err",
    ] {
        assert!(broken(&reference(bad).unwrap()).is_some(), "{bad}");
    }
    assert_eq!(reference("std::fs::File"), None);
    assert_eq!(reference("Self::x y"), None);
}

#[test]
fn every_event_of_the_logs_is_in_the_manual() {
    let manual = fs::read_to_string(top().join("docs/OPERATING.md")).unwrap();
    let (_, logs) = manual.split_once("\n## A line of transfers.log\n").unwrap();
    let (logs, _) = logs.split_once("\n## server report\n").unwrap();
    let sources = WalkDir::new(top().join("src")).into_iter().map(|file| file.unwrap().into_path());
    let sources = sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut checked = 0;
    for path in sources {
        let source = fs::read_to_string(&path).unwrap();
        for rest in source.split("event = \"").skip(1) {
            let event = rest.split('"').next().unwrap();
            let told = logs.contains(&format!("`{event}`")) || logs.contains(&format!("`event={event}`"));
            assert!(told, "event={event} of {} is not in docs/OPERATING.md", path.display());
            checked += 1;
        }
    }
    assert!(checked > 30, "only {checked} events were found");
}
