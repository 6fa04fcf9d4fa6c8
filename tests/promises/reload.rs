//! Hot reload: what is in the folder runs, nothing on its way is lost, and a bad file changes nothing.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::harness::{Plugins, Setup, ennio, event, guest, numbered, reloading::Ground};

#[tokio::test]
async fn a_plugin_is_loaded_replaced_reconfigured_and_unloaded_as_its_files_change() {
    let plugins = Plugins::new();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let tag = async || {
        let (_, receipt) = host.publish(&event("pr_created")).await;
        let id = receipt["id"].as_str().unwrap();
        host.get(&format!("/v1/events/{id}")).await.1["data"]["tag"].clone()
    };
    assert_eq!(tag().await, Value::Null);
    plugins.install("tag", "tag-v1");
    host.plugin_where("tag", "loaded", |plugin| plugin["state"] == "running").await;
    assert_eq!(tag().await, "v1");
    // In place and in pieces, as a slow copy does.
    let bytes = std::fs::read(guest("tag-v2")).unwrap();
    let mut file = std::fs::File::create(plugins.file("tag.wasm")).unwrap();
    for piece in bytes.chunks(bytes.len() / 16) {
        std::io::Write::write_all(&mut file, piece).unwrap();
    }
    drop(file);
    host.plugin_where("tag", "replaced", |plugin| plugin["loads"] == 2).await;
    assert_eq!(tag().await, "v2");
    plugins.write("tag.toml", "subscribe = [\"ennio.ci.>\"]\n");
    host.plugin_where("tag", "reconfigured", |plugin| plugin["subscribe"] == json!(["ennio.ci.>"]))
        .await;
    assert_eq!(tag().await, Value::Null);
    std::fs::remove_file(plugins.file("tag.wasm")).unwrap();
    crate::harness::eventually("unloaded", async || {
        host.plugin("tag").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_bad_reload_keeps_the_old_version_and_says_why() {
    let plugins = Plugins::new().with("tag", "tag-v1");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let good = std::fs::read(guest("tag-v2")).unwrap();
    let bad: [(&str, Vec<u8>, &str); 5] = [
        ("tag.wasm", vec![7; 100], "not WebAssembly"),
        ("tag.wasm", good[..good.len() / 2].to_vec(), "compile"),
        ("tag.wasm", std::fs::read(guest("trap-in-configure")).unwrap(), "configure"),
        ("tag.wasm", std::fs::read(guest("config-echo")).unwrap(), "configure"),
        ("tag.toml", b"on_eror = \"drop\"".to_vec(), "did you mean `on_error`?"),
    ];
    for (file, bytes, reason) in bad {
        plugins.write(file, bytes);
        let plugin = host
            .plugin_where("tag", reason, |plugin| {
                plugin["load_error"].as_str().is_some_and(|error| error.contains(reason))
            })
            .await;
        assert_eq!(json!([plugin["state"], plugin["loads"]]), json!(["running", 1]), "{reason}");
        host.publish(&event("pr_created")).await;
    }
    assert!(host.log().await.iter().all(|entry| entry["data"]["tag"] == "v1"));
    // And the way out works.
    std::fs::remove_file(plugins.file("tag.toml")).unwrap();
    plugins.write("tag.wasm", good);
    let plugin = host.plugin_where("tag", "repaired", |plugin| plugin["loads"] == 2).await;
    assert_eq!(plugin["load_error"], Value::Null);
}

/// The working day of a plugin's author: edit, rebuild, and the host takes it over, while a hundred
/// thousand events stream in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn editing_and_rebuilding_a_plugin_while_100_000_events_stream_in_loses_none() {
    const EVENTS: usize = 100_000;
    const EDITS: usize = 4;
    let source = Source::new();
    let plugins = Plugins::new();
    source.edit_and_build("v1", &plugins);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut emit = ennio()
        .args(["emit", "--url", &host.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = emit.stdin.take().unwrap();
    let (permit, permits) = std::sync::mpsc::channel::<()>();
    let writing = std::thread::spawn(move || {
        for n in 0..EVENTS {
            // Each part waits until the edit before it is under way, so that events come before,
            // during and after each reload, however fast the machine compiles.
            if n > 0 && n % (EVENTS / (EDITS + 1)) == 0 {
                permits.recv().unwrap();
            }
            writeln!(stdin, "{}", numbered(n)).unwrap();
        }
    });
    for edit in 2..=EDITS + 1 {
        permit.send(()).unwrap();
        source.edit_and_build(&format!("v{edit}"), &plugins);
        host.plugin_where("edited", "the reload", |plugin| plugin["loads"] == edit).await;
    }
    writing.join().unwrap();
    let emitted = emit.wait_with_output().unwrap();
    assert!(emitted.status.success(), "{}", String::from_utf8_lossy(&emitted.stderr));

    let log = host.log().await;
    assert_eq!(log.len(), EVENTS);
    let mut version = "v1".to_owned();
    for (expected, entry) in log.iter().enumerate() {
        assert_eq!(entry["data"]["n"], expected, "in the order in which they were sent");
        let tag = entry["data"]["tag"].as_str().unwrap();
        assert!(tag >= version.as_str(), "{tag} after {version}: a version never comes back");
        version = tag.to_owned();
    }
}

/// A plugin's source outside of the workspace, as an author has it.
struct Source(tempfile::TempDir);

impl Source {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = workspace();
        let manifest = format!(
            "[package]\nname = \"edited\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\
             rust-version = \"1.95\"\n[lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\n\
             ennio-plugin = {{ path = \"{}\" }}\nserde_json = \"1\"\n[workspace]\n",
            root.join("plugins/sdk").display()
        );
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        Self(folder)
    }

    fn edit_and_build(&self, version: &str, plugins: &Plugins) {
        let source = std::fs::read_to_string(workspace().join("tests/guests/examples/tag-v1.rs"));
        let edited =
            source.unwrap().replace(r#"{"tag": "v1"}"#, &format!(r#"{{"tag": "{version}"}}"#));
        std::fs::write(self.0.path().join("src/lib.rs"), edited).unwrap();
        let script = r#"
            set -euo pipefail
            source "$1/scripts/guest-toolchain.bash"
            find_guest_toolchain
            CARGO_TARGET_DIR=$1/target/guests cargo_build_guests --offline --lib
            cp "$1/target/guests/wasm32-wasip2/release/edited.wasm" "$2/edited.wasm.new"
            mv "$2/edited.wasm.new" "$2/edited.wasm"
        "#;
        let built = Command::new("bash")
            .args(["-c", script, "build"])
            .arg(workspace())
            .arg(plugins.path())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

/// Swaps while a hundred thousand events stream in through the CLI, as on a working day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_while_100_000_events_stream_in_lose_repeat_and_reorder_none() {
    const EVENTS: usize = 100_000;
    let plugins = Plugins::new().with("tag", "tag-v1").with("quiet", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let input = setup.folder.path().join("events.ndjson");
    let lines: String = (0..EVENTS).map(|n| format!("{}\n", numbered(n))).collect();
    std::fs::write(&input, lines).unwrap();

    let mut emit = ennio()
        .args(["emit", "--file", input.to_str().unwrap(), "--url", &host.url])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let waiting = tokio::task::spawn_blocking({
        let done = Arc::clone(&done);
        move || {
            let status = emit.wait().unwrap();
            done.store(true, Ordering::Relaxed);
            let mut said = String::new();
            std::io::Read::read_to_string(&mut emit.stderr.take().unwrap(), &mut said).unwrap();
            (status, said)
        }
    });
    let mut reloads = 1;
    while !done.load(Ordering::Relaxed) {
        reloads += 1;
        plugins.install("tag", if reloads % 2 == 0 { "tag-v2" } else { "tag-v1" });
        host.plugin_where("tag", "the reload", |plugin| plugin["loads"] == reloads).await;
    }
    let (status, said) = waiting.await.unwrap();
    assert!(status.success(), "{said}");
    assert!(reloads > 3, "{reloads} versions while the events came");

    let log = host.log().await;
    assert_eq!(log.len(), EVENTS);
    let mut swaps = 0;
    for (expected, entry) in log.iter().enumerate() {
        assert_eq!(entry["data"]["n"], expected, "in the order in which they were sent");
        assert_eq!(entry["seq"], expected + 1);
        let tag = &entry["data"]["tag"];
        assert!(tag == "v1" || tag == "v2", "every event met one version: {entry}");
        swaps += usize::from(expected > 0 && log[expected - 1]["data"]["tag"] != *tag);
    }
    assert!(swaps > 0 && swaps < reloads, "{swaps} swaps in the log for {reloads} versions");
}

/// The measurement `cargo bench --bench reload`, shortened and unmeasured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_full_load_lose_repeat_and_reorder_none() {
    const RELOADS: usize = 100;
    let mut ground = Ground::new([&guest("tag-v1"), &guest("tag-v2")]).await;
    let run = ground.run(RELOADS, std::time::Duration::ZERO).await;
    ground.end().await;
    assert_eq!(run.faults, [""; 0]);
    assert!(run.events > RELOADS as u64, "{} events", run.events);
    assert_eq!(run.pauses.len(), RELOADS, "events met every version");
}
