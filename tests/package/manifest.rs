//! The Debian package, the unit, the container and the two configurations, against each other and against the programs.

use super::unit::settings;
use super::{out, read, top};
use std::path::Path;
use std::process::Command;
use toml::de::{DeTable, DeValue};

/// Sources and destinations of what the package installs.
fn assets() -> Vec<(String, String)> {
    let manifest = read("Cargo.toml");
    let table = DeTable::parse(&manifest).unwrap();
    let deb = &table.get_ref()["package"].get_ref()["metadata"].get_ref()["deb"];
    let DeValue::Array(assets) = deb.get_ref()["assets"].get_ref() else { panic!("no assets") };
    let word = |asset: &DeValue<'_>, at: usize| asset[at].get_ref().as_str().unwrap().to_owned();
    assets.iter().map(|asset| (word(asset.get_ref(), 0), word(asset.get_ref(), 1))).collect()
}

fn installs(path: &str) -> bool {
    assets().iter().any(|(_, to)| format!("/{to}") == path)
}

/// The words of a line of the Containerfile that begins with `instruction`.
fn instructions(instruction: &str) -> Vec<String> {
    let file = read("packaging/Containerfile");
    file.lines().filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' ')).map(str::to_owned).collect()
}

/// What `--check-config` says of a file, if it finds no fault in it.
fn checked(file: &Path) -> String {
    out(Command::new(env!("CARGO_BIN_EXE_server")).arg("--check-config").arg("--config").arg(file).env_clear())
}

/// Whether a file is there, or one that a pattern such as `docs/*.md` means.
fn is_there(pattern: &str) -> bool {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
    let Some((start, end)) = name.split_once('*') else { return top(pattern).exists() };
    let names = std::fs::read_dir(top(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names = names.map(|name| name.into_string().unwrap());
    names.any(|name| name.starts_with(start) && name.ends_with(end))
}

#[test]
fn what_the_package_installs_is_there_or_is_built() {
    let script = read("scripts/package");
    for (from, to) in assets() {
        if let Some(made) = from.strip_prefix("target/package/") {
            let folder = made.split('/').next().unwrap();
            assert!(script.contains("mkdir -p \"$out/man\"") && script.contains(&format!("$out/{folder}/")));
        } else if !from.starts_with("target/release/") {
            assert!(is_there(&from), "{from}, which is to be {to}");
        }
    }
}

#[test]
fn the_unit_runs_what_the_package_installs_where_it_may_write() {
    let start = settings("ExecStart").concat();
    let words: Vec<&str> = start.split(' ').collect();
    assert!(installs(words[0]) && words[1] == "--config" && installs(words[2]), "{start}");
    let listing = checked(&top("packaging/server.toml"));
    let writable = [("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log")]
        .map(|(setting, folder)| Path::new(folder).join(settings(setting).concat()));
    let folder = |key: &str| {
        let said = listing.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        Path::new(said.unwrap().split('"').next().unwrap()).to_owned()
    };
    for key in ["dir", "log-dir", "tls-dir"] {
        assert!(writable.iter().any(|writable| folder(key).starts_with(writable)), "{key} is not in {writable:?}");
    }
    // What is hosted can be fetched by everybody.
    for key in ["log-dir", "tls-dir"] {
        assert!(!folder(key).starts_with(folder("dir")), "{key}");
    }
    let user = settings("User").concat();
    assert!(read("packaging/hostdir.conf").contains(&format!("\nu {user} ")));
}

#[test]
fn every_example_in_the_configuration_of_the_package_is_right() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("server.toml");
    let mut tried = 0;
    for line in read("packaging/server.toml").lines() {
        let Some(example) = line.strip_prefix('#').filter(|line| !line.starts_with(' ')) else { continue };
        std::fs::write(&file, example).unwrap();
        let listing = checked(&file);
        assert!(listing.contains("# file, line 1"), "{example}");
        tried += 1;
    }
    assert!(tried >= 5, "only {tried} examples were found");
}

#[test]
fn the_container_holds_one_program_its_volumes_and_an_unprivileged_user() {
    assert_eq!(instructions("FROM"), ["scratch"]);
    let user = instructions("USER").concat();
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id >= 1000)), "{user}");
    let listing = checked(&top("packaging/container.toml"));
    let volumes = instructions("VOLUME").concat();
    let (script, variables) = (read("scripts/package"), instructions("ENV").concat());
    for folder in ["/host_dir", "/logs", "/config"] {
        assert!(volumes.contains(&format!("\"{folder}\"")), "{volumes}");
        assert!(script.contains(&format!("root{folder}\"")), "scripts/package does not make {folder}");
        assert!(
            listing.contains(&format!("dir = \"{folder}\"")) || variables.contains(&format!("={folder}/")),
            "{folder}"
        );
    }
    assert!(script.contains("root/config/server.toml"));
}
