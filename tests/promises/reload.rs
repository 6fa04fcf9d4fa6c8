//! Hot reload: what is in the folder runs, nothing on its way is lost, and a bad file changes nothing.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::harness::{Plugins, Setup, ennio, event, guest, numbered};

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
