use std::process::{Command, Stdio};

/// Runs a program of `docs/c-libraries.md`, and returns its output.
pub fn run(program: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_on_tokio"));
    command.env("PROGRAM", program).stderr(Stdio::inherit());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
