//! Plugins from NATS: what is pushed to a bucket runs on every host that mirrors it, with the checks
//! of a local reload, whatever is away meanwhile and whoever else writes to the folder or the bucket.

use std::{
    collections::BTreeSet,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::jetstream::{self, object_store};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use minisign::KeyPair;
use serde_json::{Value, json};

use crate::{
    harness::{Host, Plugins, Setup, ennio, event, eventually, guest, numbered},
    nats_server::NatsServer,
};

const BUCKET: &str = "team";
/// Nothing of the host's own among the events that are counted.
const QUIET: &str = "[node]\nevents = false\n";

/// A machine: a plugin folder, and a host that mirrors the bucket into it.
struct Machine {
    plugins: Plugins,
    setup: Setup,
}

impl Machine {
    fn new(server: &NatsServer) -> Self {
        let plugins = Plugins::new();
        let arguments = ["--nats", &server.url(), "--mirror", BUCKET];
        let setup = Setup::new().plugins(plugins.path()).config(QUIET);
        Self { plugins, setup: arguments.into_iter().fold(setup, Setup::argument) }
    }

    /// What lies in the folder, but for the records of the mirror.
    fn files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.plugins.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".mirror").collect()
    }
}

/// `ennio plugin …` against this server: its exit code, and all that it says.
fn plugin(server: &NatsServer, arguments: &[&str]) -> (i32, String) {
    let output = ennio()
        .arg("plugin")
        .args(arguments)
        .args(["--nats", &server.url()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

/// Pushes what lies in `source` under this name.
fn push(server: &NatsServer, source: &Plugins, name: &str) -> String {
    let file = source.file(&format!("{name}.wasm"));
    let (code, said) = plugin(server, &["push", file.to_str().unwrap(), "--bucket", BUCKET]);
    assert_eq!(code, 0, "{said}");
    said
}

async fn runs(host: &Host, version: &str) -> Value {
    host.plugin_where("tag", version, |plugin| plugin["version"] == version).await
}

async fn mirror_is(host: &Host, state: &str) -> Value {
    eventually(state, async || {
        let (_, status) = host.get("/v1/status").await;
        (status["mirror"]["state"] == state).then(|| status["mirror"].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_runs_on_every_host_and_a_new_version_takes_over_under_load() {
    let server = NatsServer::jetstream();
    let machines = [Machine::new(&server), Machine::new(&server)];
    let hosts = [&machines[0], &machines[1]].map(|machine| Arc::new(machine.setup.start()));
    for host in &hosts {
        assert_eq!(mirror_is(host, "waiting").await["bucket"], BUCKET);
    }
    let source = Plugins::new().with_sidecar("tag", "tag-v1", "order = 7\n");
    let said = push(&server, &source, "tag");
    assert!(said.starts_with("tag 1.0.0: pushed to bucket team, with its sidecar"), "{said}");
    for host in &hosts {
        let tag = runs(host, "1.0.0").await;
        assert_eq!(json!([tag["order"], tag["loads"]]), json!([7, 1]), "{tag}");
        assert!(said.contains(&format!("sha256  {}", tag["hash"].as_str().unwrap())), "{said}");
        mirror_is(host, "following").await;
    }

    let done = Arc::new(AtomicBool::new(false));
    let streams = hosts.clone().map(|host| {
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                let lines: Vec<Value> = (sent..sent + 100).map(numbered).collect();
                let results = host.publish_lines(&lines).await;
                assert!(results.iter().all(|receipt| receipt["status"] == "accepted"));
                sent += lines.len();
            }
            sent
        })
    });
    for host in &hosts {
        eventually("an event meets the first version", async || {
            let head = host.get("/v1/status").await.1["head"].as_u64()?;
            (head > 0).then_some(())
        })
        .await;
    }
    source.write("tag.toml", "order = 8\n");
    source.install("tag", "tag-v2");
    push(&server, &source, "tag");
    for host in &hosts {
        let tag = runs(host, "2.0.0").await;
        assert_eq!(tag["order"], 8, "{tag}");
        host.plugin_where("tag", "events of its own", |plugin| plugin["events"] != 0).await;
    }
    done.store(true, Ordering::Relaxed);
    for (host, stream) in hosts.iter().zip(streams) {
        let sent = stream.await.unwrap();
        // A component with the other's sidecar would have been a version of its own.
        assert_eq!(host.plugin("tag").await.unwrap()["loads"], 2);
        let log = host.log().await;
        assert_eq!(log.len(), sent);
        let mut versions: Vec<&str> = Vec::new();
        for (n, entry) in log.iter().enumerate() {
            assert_eq!(entry["data"]["n"], n, "none is lost, repeated or out of order");
            versions.push(entry["data"]["tag"].as_str().unwrap());
        }
        versions.dedup();
        assert_eq!(versions, ["v1", "v2"]);
    }

    let (code, said) = plugin(&server, &["status"]);
    assert_eq!(code, 0, "{said}");
    let rows: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NODE", "PLUGIN", "VERSION", "HASH", "STATE"]);
    let hash = hosts[0].plugin("tag").await.unwrap()["hash"].as_str().unwrap()[..12].to_owned();
    assert_eq!(rows.len(), 3, "{said}");
    for row in &rows[1..] {
        assert_eq!(row[1..], ["tag", "2.0.0", &hash, "running"], "{said}");
    }
    let (_, said) = plugin(&server, &["status", "--json"]);
    let answers: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2, "{said}");
    assert_eq!(answers[0]["plugins"][0]["version"], "2.0.0", "{said}");
    assert_eq!(answers[1]["mirror"]["state"], "following", "{said}");
}

#[tokio::test]
async fn a_bad_version_is_left_or_not_taken_by_every_host_and_the_status_says_so() {
    let server = NatsServer::jetstream();
    let machines = [Machine::new(&server), Machine::new(&server)];
    let hosts = [&machines[0], &machines[1]].map(|machine| machine.setup.start());
    let source = Plugins::new().with("tag", "tag-v1");
    push(&server, &source, "tag");
    for host in &hosts {
        runs(host, "1.0.0").await;
    }
    // One that breaks down on an event.
    source.install("tag", "tag-v2-fails");
    push(&server, &source, "tag");
    let mut poison = event("activity_changed");
    poison["message"] = "poison".into();
    for host in &hosts {
        runs(host, "2.0.0").await;
        host.publish(&poison).await;
        runs(host, "1.0.0").await;
        assert_eq!(host.log().await[0]["data"]["tag"], "v1", "the event suffers nothing");
    }
    let (_, said) = plugin(&server, &["status"]);
    assert_eq!(said.matches("probation: version 2.0.0 was rolled back").count(), 2, "{said}");

    // One that does not start: not pushed unless asked for, and then not taken over.
    source.install("tag", "trap-in-configure");
    let file = source.file("tag.wasm");
    let arguments = ["push", file.to_str().unwrap(), "--bucket", BUCKET];
    let (code, said) = plugin(&server, &arguments);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("configure: "), "{said}");
    let (code, said) = plugin(&server, &[&arguments[..], &["--unchecked"]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("tag of an unchecked version: pushed to bucket team"), "{said}");
    for host in &hosts {
        let tag = host
            .plugin_where("tag", "why not", |plugin| {
                plugin["load_error"].as_str().is_some_and(|error| error.contains("configure: "))
            })
            .await;
        assert_eq!(json!([tag["version"], tag["state"]]), json!(["1.0.0", "running"]), "{tag}");
    }
    let (_, said) = plugin(&server, &["status"]);
    assert_eq!(said.matches("not loaded: ").count(), 2, "{said}");
}

#[tokio::test]
async fn only_what_a_trusted_key_has_signed_is_loaded_from_a_bucket() {
    let team = KeyPair::generate_unencrypted_keypair().unwrap();
    let sign = |source: &Plugins, file: &str| {
        let content = std::fs::read(source.file(file)).unwrap();
        let comment = format!("timestamp:1793000000\tfile:{file}\thashed");
        let signed = minisign::sign(Some(&team.pk), &team.sk, &content[..], Some(&comment), None);
        source.write(&format!("{file}.minisig"), signed.unwrap().into_string());
    };
    let server = NatsServer::jetstream();
    let machine = Machine::new(&server);
    let config = machine.setup.folder.path().join("ennio.toml");
    let key = team.pk.to_base64();
    std::fs::write(&config, format!("{QUIET}[plugins]\ntrusted_keys = [{key:?}]\n")).unwrap();
    let host = machine.setup.start();

    let source = Plugins::new().with_sidecar("tag", "tag-v1", "order = 7\n");
    let file = source.file("tag.wasm");
    let checked = ["push", file.to_str().unwrap(), "--bucket", BUCKET, "--trusted-key", &key];
    let (code, said) = plugin(&server, &checked);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("trust: not signed"), "{said}");
    let refused = async |reason: &str| {
        host.plugin_where("tag", reason, |plugin| {
            plugin["load_error"].as_str().is_some_and(|error| error.contains(reason))
        })
        .await
    };
    // Who can write to the bucket need not ask.
    push(&server, &source, "tag");
    assert_eq!(refused("not signed: there is no tag.wasm.minisig").await["state"], "failed");
    sign(&source, "tag.wasm");
    push(&server, &source, "tag");
    assert_eq!(refused("there is no tag.toml.minisig").await["state"], "failed");
    sign(&source, "tag.toml");
    let (code, said) = plugin(&server, &checked);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("with its sidecar and signatures"), "{said}");
    assert_eq!(runs(&host, "1.0.0").await["order"], 7);

    // An unsigned version leaves what runs, and the signed sidecar with it.
    source.install("tag", "tag-v2");
    source.write("tag.toml", "order = 8\n");
    push(&server, &source, "tag");
    let tag = refused("not the signature of this content").await;
    assert_eq!(json!([tag["version"], tag["order"]]), json!(["1.0.0", 7]), "{tag}");
}

#[tokio::test]
async fn a_host_runs_on_with_what_it_has_and_catches_up() {
    let mut server = NatsServer::jetstream();
    let machine = Machine::new(&server);
    let source = Plugins::new().with("tag", "tag-v1");
    push(&server, &source, "tag");
    let host = machine.setup.start();
    runs(&host, "1.0.0").await;
    server.kill();
    mirror_is(&host, "away").await;
    host.kill();
    // From the folder, with nobody to ask.
    let host = machine.setup.start();
    assert_eq!(host.plugin("tag").await.unwrap()["version"], "1.0.0");

    server.start();
    mirror_is(&host, "following").await;
    source.install("tag", "tag-v2");
    push(&server, &source, "tag");
    runs(&host, "2.0.0").await;
    host.kill();

    // What happens while the host is away.
    source.install("tag", "tag-v1");
    push(&server, &source, "tag");
    let host = machine.setup.start();
    runs(&host, "1.0.0").await;
    host.kill();
    let (code, said) = plugin(&server, &["push", "--remove", "tag", "--bucket", BUCKET]);
    assert_eq!((code, &*said), (0, "tag: removed from bucket team\n"));
    let host = machine.setup.start();
    eventually("gone", async || host.plugin("tag").await.is_none().then_some(())).await;
    assert_eq!(machine.files(), BTreeSet::new());

    // That the bucket is lost removes nothing.
    push(&server, &source, "tag");
    runs(&host, "1.0.0").await;
    let client = async_nats::connect(server.url()).await.unwrap();
    jetstream::new(client).delete_object_store(BUCKET).await.unwrap();
    host.interrupt();
    let host = machine.setup.start();
    mirror_is(&host, "waiting").await;
    assert_eq!(host.plugin("tag").await.unwrap()["state"], "running");
}

#[tokio::test]
async fn what_is_removed_goes_and_what_others_put_into_the_folder_stays() {
    let server = NatsServer::jetstream();
    let machine = Machine::new(&server);
    machine.plugins.install("other", "keep-all");
    machine.plugins.install("tag", "tag-v2");
    let host = machine.setup.start();
    assert_eq!(host.plugin("tag").await.unwrap()["version"], "2.0.0");
    let source = Plugins::new().with("tag", "tag-v1");
    push(&server, &source, "tag");
    runs(&host, "1.0.0").await;
    let aside = machine.plugins.file("tag.wasm.local");
    assert_eq!(std::fs::read(&aside).unwrap(), std::fs::read(guest("tag-v2")).unwrap());
    std::fs::remove_file(&aside).unwrap();

    // The bucket has the say: what somebody changes is put back, and kept beside.
    machine.plugins.install("tag", "tag-v2");
    machine.plugins.write("tag.toml", "order = 9\n");
    let files = ["other.wasm", "tag.toml.local", "tag.wasm", "tag.wasm.local"];
    let files = files.map(str::to_owned).into();
    eventually("put back", async || (machine.files() == files).then_some(())).await;
    let tag = host.plugin("tag").await.unwrap();
    assert_eq!(json!([tag["version"], tag["order"], tag["loads"]]), json!(["1.0.0", 50, 2]));
    let line = "the plugin tag is mirrored: what somebody put there as ";
    eventually(line, async || host.output().contains(line).then_some(())).await;
    let list = ennio().args(["plugin", "list", "--url", &host.url]).output().unwrap();
    let said = String::from_utf8(list.stdout).unwrap();
    assert_eq!(said.matches("mirrored from a bucket").count(), 1, "{said}");

    let remove = ["push", "--remove", "tag", "--bucket", BUCKET];
    assert_eq!(plugin(&server, &remove).0, 0);
    eventually("gone", async || host.plugin("tag").await.is_none().then_some(())).await;
    assert_eq!(host.plugin("other").await.unwrap()["state"], "running");
    assert!(!machine.plugins.file("tag.wasm").exists());
    let (code, said) = plugin(&server, &remove);
    assert_eq!((code, &*said), (1, "error: bucket team has no plugin tag\n"));
}

#[tokio::test]
async fn objects_that_are_no_plugins_are_refused_and_nothing_is_written() {
    let server = NatsServer::jetstream();
    let machine = Machine::new(&server);
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = jetstream::new(client);
    let config = object_store::Config {
        bucket: BUCKET.into(),
        max_bytes: -1,
        num_replicas: 1,
        ..Default::default()
    };
    let bucket = jetstream.create_object_store(config).await.unwrap();
    let component = std::fs::read(guest("tag-v1")).unwrap();
    for name in ["../evil", "a/b", "/etc/evil", "tag.wasm", "a\\b", ".."] {
        bucket.put(name, &mut &component[..]).await.unwrap();
    }
    let evil = object_store::ObjectMetadata {
        name: "evil".into(),
        metadata: [("component.minisig".to_owned(), "x".repeat(5000))].into(),
        ..Default::default()
    };
    bucket.put(evil, &mut &component[..]).await.unwrap();
    let good = bucket.put("good", &mut &component[..]).await.unwrap();
    bucket.add_link("link", &good).await.unwrap();
    // What an object says of itself is anybody's to write.
    let tell = async |name: &str, mut info: object_store::ObjectInfo| {
        info.name = name.into();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        let subject = format!("$O.{BUCKET}.M.{}", URL_SAFE.encode(name));
        let told = serde_json::to_vec(&info).unwrap();
        let sent = jetstream.publish_with_headers(subject, headers, told.into()).await;
        sent.unwrap().await.unwrap();
    };
    let tag = bucket.put("tag", &mut &b"other"[..]).await.unwrap();
    let lying = object_store::ObjectInfo { digest: tag.digest.clone(), ..good.clone() };
    tell("lying", lying).await;
    tell("huge", object_store::ObjectInfo { size: 70 << 20, ..good.clone() }).await;
    tell("bare", object_store::ObjectInfo { digest: None, ..good.clone() }).await;
    // Begins with an empty part, which looks like its end.
    for part in ["", "other"] {
        let sent = jetstream.publish(format!("$O.{BUCKET}.C.short"), part.into()).await;
        sent.unwrap().await.unwrap();
    }
    let short = object_store::ObjectInfo { nuid: "short".into(), chunks: 2, ..tag };
    tell("short", short).await;

    let host = machine.setup.start();
    host.plugin_where("good", "running", |plugin| plugin["state"] == "running").await;
    let refused = eventually("every refusal", async || {
        let refused = mirror_is(&host, "following").await["refused"].clone();
        (refused.as_object().unwrap().len() == 12).then_some(refused)
    })
    .await;
    for (name, reason) in [
        ("../evil", "is no plugin's name"),
        ("a/b", "is no plugin's name"),
        ("evil", "component.minisig: 5000 bytes, at most 4096 are allowed"),
        ("link", "is a link"),
        ("lying", "another digest than the bucket says"),
        ("short", "another digest than the bucket says"),
        ("bare", "has no SHA-256 digest"),
        ("huge", "73400320 bytes, at most 67108864 are allowed"),
    ] {
        assert!(refused[name].as_str().unwrap().contains(reason), "{name}: {refused}");
    }
    assert_eq!(machine.files(), ["good.wasm", "tag.wasm"].map(str::to_owned).into());
    assert_eq!(std::fs::read(machine.plugins.file("tag.wasm")).unwrap(), b"other");
    let (_, metrics) = host.get("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("ennio_mirror_refused 12"), "{metrics}");
    let (_, said) = plugin(&server, &["status"]);
    assert!(
        said.contains("bucket team: object ../evil is not taken: is no plugin's name"),
        "{said}"
    );
}

/// Those that `host/src/nats` says that a host needs, and no others.
#[tokio::test]
async fn a_host_that_may_only_read_the_bucket_mirrors_it() {
    let server = NatsServer::configured(
        r#"
        jetstream { store_dir: "STORE" }
        authorization {
          users = [
            { user: team, password: secret }
            { user: host, password: secret, permissions: {
              publish: [
                "ennio.>", "_INBOX.>", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.OBJ_team",
                "$JS.API.DIRECT.GET.OBJ_team.>", "$JS.API.CONSUMER.CREATE.OBJ_team",
                "$JS.API.CONSUMER.*.OBJ_team.>", "$JS.FC.OBJ_team.>"
              ]
              subscribe: ["ennio.commands.*", "_INBOX.>"]
            } }
          ]
        }
        "#,
    );
    let as_user = |user: &str| server.url().replace("nats://", &format!("nats://{user}:secret@"));
    let plugins = Plugins::new();
    let arguments = ["--nats", &as_user("host"), "--mirror", BUCKET];
    let setup = Setup::new().plugins(plugins.path());
    let host = arguments.into_iter().fold(setup, Setup::argument).start();
    mirror_is(&host, "waiting").await;
    // As large as one in JavaScript, in many parts.
    let large: Vec<u8> =
        (0..12_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let source = Plugins::new().with("tag", "tag-v1");
    source.write("large.wasm", &large);
    for (user, name, code) in [("host", "tag", 1), ("team", "large", 0), ("team", "tag", 0)] {
        let push = ennio()
            .args(["plugin", "push", "--unchecked", "--bucket", BUCKET, "--nats", &as_user(user)])
            .arg(source.file(&format!("{name}.wasm")))
            .output()
            .unwrap();
        let said = String::from_utf8([push.stdout, push.stderr].concat()).unwrap();
        assert_eq!(push.status.code(), Some(code), "{said}");
        assert!(code == 0 || said.contains("bucket team: "), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
    runs(&host, "1.0.0").await;
    host.plugin_where("large", "there", |plugin| plugin["state"] == "failed").await;
    assert!(std::fs::read(plugins.file("large.wasm")).unwrap() == large);
    assert_eq!(mirror_is(&host, "following").await["refused"], json!({}));
    assert!(!host.output().contains("permissions"), "{}", host.output());
}

#[test]
fn a_mirror_needs_a_server_a_folder_and_a_name() {
    let plugins = Plugins::new();
    let with = |arguments: &[&str]| {
        let setup = arguments.iter().fold(Setup::new(), |setup, argument| setup.argument(argument));
        setup.argument("--plugins").argument(plugins.path().to_str().unwrap()).refused()
    };
    let (code, said) = with(&["--mirror", BUCKET]);
    assert_eq!(code, Some(1));
    let reason =
        "cannot be mirrored from bucket team: there is no NATS server (name one with --nats";
    assert!(said.contains(reason), "{said}");
    let setup = ["--nats", "nats://127.0.0.1:1", "--mirror", BUCKET];
    let (code, said) = setup.into_iter().fold(Setup::new(), Setup::argument).refused();
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no plugin folder (name one with --plugins"), "{said}");
    let (code, said) = with(&["--mirror", "../team"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--mirror"), "{said}");
    assert_eq!(std::fs::read_dir(plugins.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn who_pushes_or_asks_without_a_server_or_hosts_is_told_so() {
    let server = NatsServer::core();
    let source = Plugins::new().with("tag", "tag-v1");
    let file = source.file("tag.wasm");
    let (code, said) = plugin(&server, &["status"]);
    assert_eq!(code, 1);
    assert!(said.contains("no host answers on ennio.commands.status"), "{said}");
    let (code, said) = plugin(&server, &["push", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(said.contains("bucket ennio-plugins: "), "{said}");
    // More than one message holds.
    source.write("tag.toml", format!("# {}\n", "x".repeat((1 << 20) - 100)));
    let (code, said) = plugin(&server, &["push", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(said.contains("bytes, and the server takes 1044480 in a message"), "{said}");
    let output = ennio().args(["plugin", "status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no NATS server is named (name one with --nats"), "{said}");
}
