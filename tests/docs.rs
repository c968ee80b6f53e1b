//! The documents say what is there.

use std::fs::read_to_string;

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
        .filter(|word| word.contains('_') && !word.contains([' ', '#', '!']))
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
