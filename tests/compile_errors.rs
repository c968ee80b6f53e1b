//! The compiler's errors for what must not compile name what does.

use std::env::current_exe;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiled library that tests like this one are linked with: those there are, the newest first. Older
/// ones may be of another compiler.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?;
            let is_ours = name.starts_with("liboneloop-") && name.ends_with(".rlib");
            let changed = fs::metadata(&path).ok()?.modified().ok()?;
            is_ours.then_some((changed, path))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Compiles the body of a `main`, and gives the errors.
fn compile(name: &str, edition: &str, body: &str) -> String {
    let exe = current_exe().unwrap();
    let folder = exe.parent().unwrap();
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.rs"));
    let program = format!(
        "use oneloop::*;\nuse std::{{rc::Rc, time::Duration}};\nfn main() {{\n{body}\n}}\n\
         #[allow(dead_code)]\nfn spawn(_: impl Future<Output = ()> + Send + 'static) {{}}\n"
    );
    fs::write(
        &source,
        program.replace("impl Future", "impl std::future::Future"),
    )
    .unwrap();
    for library in libraries(folder) {
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", edition, "--emit=metadata", "--color=never"]);
        rustc.args(["-A", "unused", "--crate-type=bin", "-o"]);
        rustc.arg(source.with_extension("rmeta")).arg(&source);
        rustc
            .arg("-L")
            .arg(format!("dependency={}", folder.display()));
        rustc
            .arg("--extern")
            .arg(format!("oneloop={}", library.display()));
        let output = rustc.output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), errors.is_empty(), "{errors}");
        // Of another compiler, or without one of what it needs.
        let is_stale = ["E0514", "E0463", "E0460"]
            .iter()
            .any(|code| errors.contains(code));
        if !is_stale {
            return errors;
        }
    }
    panic!("no library to compile with in {}", folder.display());
}

fn expect(errors: &str, texts: &[&str]) {
    for text in texts {
        assert!(errors.contains(text), "no `{text}` in:\n{errors}");
    }
}

#[test]
fn code_that_compiles_has_no_errors() {
    let body = "
        let reactor = Reactor::new_local().unwrap();
        let shared = Rc::new(5);
        let _ = reactor.call_soon(move || println!(\"{shared}\"));
        let _ = reactor.call_later(Duration::ZERO, || todo!());
        let _ = reactor.call_every(Duration::ZERO, || panic!());";
    assert_eq!(compile("compiles", "2024", body), "");
    // There the closures that diverge return `()`.
    assert_eq!(compile("compiles_in_2021", "2021", body), "");
}

#[test]
fn an_rc_in_a_callback_of_a_reactor_is_told_of_local_reactors() {
    let body = "
        let reactor = Reactor::new().unwrap();
        let shared = Rc::new(5);
        let _ = reactor.call_soon(move || println!(\"{shared}\"));";
    let errors = compile("an_rc", "2024", body);
    // And what it is that is not `Send`.
    expect(
        &errors,
        &["`Rc<i32>` cannot be sent", "SendUnlessLocalReactor"],
    );
}

#[test]
fn a_local_reactor_in_a_task_is_told_of_spawn_local() {
    let body = "
        let reactor = Reactor::new_local().unwrap();
        spawn(async move { reactor.run().unwrap() });";
    let errors = compile("a_task", "2024", body);
    expect(
        &errors,
        &[
            "future created by async block is not `Send`",
            "LocalReactorNeedsSpawnLocal",
        ],
    );
}

#[test]
#[cfg(feature = "futures")]
fn a_future_of_a_local_reactor_in_a_task_is_told_of_spawn_local() {
    let body = "
        let reactor = Reactor::new_local().unwrap();
        let stream = oneloop::futures::Async::new(&reactor, std::io::stdin()).unwrap();
        let wait = Box::leak(Box::new(stream)).readable();
        spawn(async move { let _ = wait.await; });";
    let errors = compile("a_wait", "2024", body);
    expect(&errors, &["LocalReactorNeedsSpawnLocal", "Wait<"]);
    assert!(!errors.contains("2 previous errors"), "{errors}");
}

#[test]
fn a_callback_that_returns_something_else_is_told_of_what_it_may() {
    let body = "
        let reactor = Reactor::new().unwrap();
        let _ = reactor.call_every(Duration::ZERO, || 5);
        let _ = reactor.call_soon(|| Action::Again);";
    let errors = compile("a_result", "2024", body);
    expect(
        &errors,
        &[
            "a callback cannot return `{integer}`",
            "an `Action`, or a `Result`",
        ],
    );
    expect(
        &errors,
        &["a callback that is called once cannot return `oneloop::Action`"],
    );
}
