//! The documents say what is there.

use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string};
use std::path::Path;

#[test]
fn the_contract_names_every_case_and_no_other() {
    let root = env!("CARGO_MANIFEST_DIR");
    let contract = read_to_string(format!("{root}/docs/contract.md")).unwrap();
    let list = read_to_string(format!("{root}/tests/conformance/src/cases.rs")).unwrap();
    let list = list.split("macro_rules! __tests").next().unwrap();
    let cases: Vec<&str> = list
        .lines()
        .filter(|line| line.starts_with("                "))
        .map(|line| line.trim().trim_end_matches(';'))
        .filter(|word| word.contains('_') && !word.contains([' ', '#', '!', '(']))
        .collect();
    assert!(cases.len() > 100);
    for case in &cases {
        assert!(
            contract.contains(&format!("`{case}`")),
            "{case} is not in the contract"
        );
    }
    for word in contract.split('`').skip(1).step_by(2) {
        // A case has a name of three words at least; what has fewer is a method.
        if word.matches('_').count() >= 2 && !word.contains(['/', '-', '.']) {
            assert!(cases.contains(&word), "{word} is no case");
        }
    }
}

/// In the page that says what runs inside what.
#[test]
fn the_tests_that_a_page_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = read_to_string(root.join("docs/loops.md")).unwrap();
    let paths: Vec<_> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.ends_with(".rs"))
        .collect();
    assert!(paths.len() > 10);
    for path in paths {
        assert!(root.join(path).exists(), "{path} is not there");
    }
    // A row for each of the README's.
    let rows = |text: &str, head: &str| {
        let rows = text.lines().skip_while(|line| !line.starts_with(head));
        rows.take_while(|line| line.starts_with('|')).count()
    };
    let readme = read_to_string(root.join("README.md")).unwrap();
    let wanted = rows(&readme, "| | built-in loop | tokio |");
    assert!(wanted > 5);
    assert_eq!(rows(&page, "| row of that table |"), wanted);
}

#[test]
fn every_package_keeps_the_lints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut packages = vec![root.to_owned(), root.join("benches")];
    for folder in ["adapters", "tests"] {
        let entries = read_dir(root.join(folder)).unwrap();
        packages.extend(entries.map(|entry| entry.unwrap().path()));
    }
    packages.retain(|package| package.join("Cargo.toml").exists());
    assert!(packages.len() > 8);
    for package in packages {
        let manifest = read_to_string(package.join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("\n[lints]\nworkspace = true"),
            "{package:?}"
        );
    }
}

/// Tests run the code that ships: the way in for test doubles is where a loop is built, and in the clock, whose
/// reading branches anyway.
#[test]
fn the_shipped_code_has_no_branch_for_test_doubles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if read_to_string(&path).unwrap().contains("\"__testing\"") {
                let name = path.strip_prefix(root).unwrap();
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    let allowed = [
        "src/clock.rs",
        "src/lib.rs",
        "src/poller/mod.rs",
        "src/reactor/building.rs",
    ];
    assert_eq!(found, allowed);
    let poller = read_to_string(root.join("src/poller/mod.rs")).unwrap();
    assert_eq!(poller.matches("\"__testing\"").count(), 1, "the module");
    let manifest = read_to_string(root.join("Cargo.toml")).unwrap();
    let default = manifest.lines().find(|line| line.starts_with("default = "));
    assert!(!default.unwrap().contains("__testing"));
}

#[test]
fn unsafe_blocks_are_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    count_unsafe(root, &root.join("src"), &mut found);
    for adapter in read_dir(root.join("adapters")).unwrap() {
        count_unsafe(root, &adapter.unwrap().path().join("src"), &mut found);
    }
    let page = read_to_string(root.join("docs/unsafe.md")).unwrap();
    let mut listed = BTreeMap::new();
    for line in page.lines() {
        if let [_, file, places, argument, _] = line.split('|').collect::<Vec<_>>()[..] {
            let file = file.trim().trim_matches('`').to_owned();
            if file.ends_with(".rs") {
                assert!(argument.len() > 20, "{line}");
                *listed.entry(file).or_insert(0) += places.trim().parse::<usize>().unwrap();
            }
        }
    }
    assert!(found.len() > 10);
    assert_eq!(
        found, listed,
        "found in the code, and listed in docs/unsafe.md"
    );
}

/// Adds the files of a folder that have `unsafe` blocks or `impl`s, and how many.
fn count_unsafe(root: &Path, folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count_unsafe(root, &path, found);
            continue;
        }
        let text = read_to_string(&path).unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let count =
            |line: &str| line.matches("unsafe {").count() + line.matches("unsafe impl").count();
        let places: usize = code.map(count).sum();
        if places > 0 {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.insert(name.to_owned(), places);
        }
    }
}
