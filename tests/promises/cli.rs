//! The command line, against a real host.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Plugins, Setup, ennio, numbered};

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn what_is_emitted_is_found_again_and_a_refusal_is_the_exit_code() {
    let setup = Setup::new();
    let host = setup.start();
    let file = setup.folder.path().join("events.ndjson");
    let mut lines: Vec<String> = (0..2500).map(|n| numbered(n).to_string()).collect();
    lines[1200] = r#"{"event_type":"pr_created","session_id":"s","project_id":"a.b"}"#.into();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let (code, _, said) = run(ennio().args(["emit", "--url", &host.url, "--file"]).arg(&file));
    assert_eq!(code, 1);
    assert!(said.contains("line 1201: project_id: holds '.'"), "{said}");
    assert!(said.contains("2499 accepted") && said.contains("1 refused"), "{said}");

    let (code, found, _) = run(ennio().args([
        "events",
        "--url",
        &host.url,
        "--limit",
        "0",
        "--json",
        "--session",
        "s-3",
    ]));
    assert_eq!(code, 0);
    let numbers: Vec<u64> = found
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["data"]["n"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (0..2500).filter(|n| n % 7 == 3 && *n != 1200).collect();
    assert_eq!(numbers, expected);

    let (code, summary, _) = run(ennio().args(["summary", "--url", &host.url, "--wait-settled"]));
    assert_eq!(code, 0);
    assert!(summary.contains("2,499  accepted"), "{summary}");
}

#[test]
fn a_host_that_is_not_there_and_a_typo_are_told_apart_by_the_exit_code() {
    let nobody = "http://127.0.0.1:1";
    let (code, _, said) = run(ennio().args(["events", "--url", nobody]));
    assert_eq!(code, 1);
    assert!(
        said.contains("no host answers at http://127.0.0.1:1 (start one with `ennio serve`"),
        "{said}"
    );
    let (code, _, said) =
        run(ennio().args(["emit", "ci_failng", "--project", "a", "--session", "s"]));
    assert_eq!(code, 2);
    assert!(said.contains("did you mean `ci_failing`?"), "{said}");
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    for (variable, flag, expected) in [
        (None, None, "file.db"),
        (Some("variable.db"), None, "variable.db"),
        (Some("variable.db"), Some("flag.db"), "flag.db"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("ennio.toml"),
            "[store]\ndatabase = \"file.db\"\n[api]\nlisten = \"127.0.0.1:0\"\n",
        )
        .unwrap();
        let mut serve = ennio();
        serve.args(["serve", "--config", "ennio.toml"]).current_dir(folder.path());
        variable.map(|file| serve.env("ENNIO_DB", file));
        flag.map(|file| serve.args(["--db", file]));
        let mut host = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        let stdout = host.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready).unwrap();
        host.kill().unwrap();
        host.wait().unwrap();
        assert!(ready.contains(&format!("log {expected}")), "{ready}");
        assert!(folder.path().join(expected).exists());
    }
}

#[test]
fn a_component_is_checked_without_a_host() {
    let sidecar = "subscribe = [\"ennio.pr.>\"]\n[capabilities]\nemit = [\"ennio.custom.>\"]\n\
                   [limits]\nmemory_mib = 9\nlog_lines_per_second = 7\n";
    let plugins = Plugins::new().with_sidecar("both", "two-roles", sidecar);
    let (code, said, _) = run(ennio().args(["plugin", "check"]).arg(plugins.file("both.wasm")));
    assert_eq!(code, 0);
    for part in [
        "both.wasm: would be loaded",
        "is        filter, reaction",
        "sees      ennio.pr.> from info",
        "may emit  ennio.custom.>",
        "wasi:config/store@0.2.0-rc.1",
        "memory    9 MiB",
        "log       7 lines of 512 bytes a second",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    plugins.write("both.toml", "ordr = 7\n");
    let (code, _, said) = run(ennio().args(["plugin", "check"]).arg(plugins.file("both.wasm")));
    assert_eq!(code, 1);
    assert!(
        said.contains("both.toml: sidecar: line 1: unknown key `ordr` (did you mean `order`?)"),
        "{said}"
    );
    let (code, _, said) = run(ennio().args(["plugin", "check", "/no/such.wasm"]));
    assert_eq!(code, 1);
    assert!(said.contains("/no/such.wasm: read: No such file"), "{said}");
}

#[test]
fn a_configuration_is_checked_without_starting_anything() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/deploy/ennio.toml");
    let (code, said, _) = run(ennio().args(["config", "check", shipped]));
    assert_eq!(code, 0);
    assert!(said.contains("ennio.toml: good"), "{said}");
    let (code, _, said) = run(ennio().args(["config", "check", "/no/such.toml"]));
    assert_eq!(code, 1);
    assert!(said.contains("configuration /no/such.toml:"), "{said}");
}
