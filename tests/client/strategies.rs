//! Serial, parallel, automatic: the same files, over one connection, one a file, or a few.

use crate::scene::{Scene, assert_same, fill, tree, write_random};

fn many(root: &std::path::Path) {
    fill(root);
    for number in 0..40 {
        write_random(&root.join(format!("many/{}/{number}", number % 3)), number, 1_000 + 40_000 * number as usize);
    }
}

#[test]
fn every_strategy_brings_the_same_tree() {
    for flags in [&["--serial"][..], &["--parallel"], &["--parallel", "--jobs", "16"], &[], &["--jobs", "1"]] {
        let scene = Scene::with(&[], many);
        scene.run(&[&["get", "/"], flags].concat()).ok().says("50 of 50 files");
        assert_same(&tree(scene.host.path()), &tree(&scene.downloads()));
        let connections = scene.connections();
        match flags {
            ["--serial"] | ["--jobs", "1"] => assert_eq!(connections, 1, "{flags:?}"),
            ["--parallel", ..] => assert_eq!(connections, 50, "one connection a file: {flags:?}"),
            _ => assert!((1..=4).contains(&connections), "{flags:?}: {connections}"),
        }
    }
}

#[test]
fn every_strategy_sends_the_same_tree() {
    for flags in [&["--serial"][..], &["--parallel"], &["--parallel", "--jobs", "16"], &[]] {
        let scene = Scene::new();
        let source = scene.local("source");
        many(&source);
        scene.run(&[&["put", source.to_str().unwrap()], flags].concat()).ok().says("50 of 50 files");
        assert_same(&tree(&source), &tree(&scene.hosted("source")));
        let connections = scene.connections();
        match flags {
            ["--serial"] => assert_eq!(connections, 1),
            ["--parallel", ..] => assert!((50..=51).contains(&connections), "{flags:?}: {connections}"),
            _ => assert!((1..=4).contains(&connections), "{flags:?}: {connections}"),
        }
    }
}
