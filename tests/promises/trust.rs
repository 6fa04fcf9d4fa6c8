//! Whose plugins run: pins and signatures, and what a stranger with the folder in his hands can do.

use minisign::KeyPair;
use serde_json::{Value, json};

use crate::harness::{Host, Plugins, Setup, ennio, event, guest};

/// What `minisign -Sm FILE` writes beside a file.
fn signature(keys: &KeyPair, file: &str, content: &[u8]) -> String {
    let comment = format!("timestamp:1793000000\tfile:{file}\thashed");
    let signed = minisign::sign(Some(&keys.pk), &keys.sk, content, Some(&comment), None);
    signed.unwrap().into_string()
}

fn keys() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

fn trusting(plugins: &Plugins, keys: &str) -> Setup {
    let setup = Setup::new().plugins(plugins.path());
    let config = setup.folder.path().join("ennio.toml");
    std::fs::write(&config, format!("[plugins]\ntrusted_keys = [{keys:?}]\n")).unwrap();
    setup.argument("--config").argument(config.to_str().unwrap())
}

async fn refused(host: &Host, name: &str, reason: &str) -> Value {
    host.plugin_where(name, reason, |plugin| {
        plugin["load_error"].as_str().is_some_and(|error| error.contains(reason))
    })
    .await
}

#[tokio::test]
async fn only_what_a_trusted_key_has_signed_is_loaded_and_the_rest_says_why_not() {
    let team = keys();
    let plugins = Plugins::new().with("tag", "tag-v1");
    let setup = trusting(&plugins, &team.pk.to_base64());
    let host = setup.start();
    let tag = refused(&host, "tag", "trust: not signed: there is no tag.wasm.minisig").await;
    assert_eq!(tag["state"], "failed", "{tag}");
    assert!(tag["load_error"].as_str().unwrap().contains("minisign -Sm tag.wasm"), "{tag}");

    let v1 = std::fs::read(guest("tag-v1")).unwrap();
    let v2 = std::fs::read(guest("tag-v2")).unwrap();
    let wrong = [
        ("not a signature".to_owned(), "no signature of minisign"),
        (signature(&keys(), "tag.wasm", &v1), "signed by a key that is not trusted"),
        (signature(&team, "tag.wasm", &v2), "not the signature of this content"),
        (signature(&team, "other.wasm", &v1), "made for a file named \"other.wasm\""),
    ];
    for (text, reason) in wrong {
        plugins.write("tag.wasm.minisig", text);
        assert_eq!(refused(&host, "tag", reason).await["state"], "failed", "{reason}");
    }
    plugins.write("tag.wasm.minisig", signature(&team, "tag.wasm", &v1));
    host.plugin_where("tag", "signed", |plugin| plugin["state"] == "running").await;

    // Altered, it does not replace what runs.
    plugins.write("tag.wasm", &v2);
    let tag = refused(&host, "tag", "not the signature of this content").await;
    assert_eq!(json!([tag["state"], tag["version"]]), json!(["running", "1.0.0"]), "{tag}");
    plugins.write("tag.wasm.minisig", signature(&team, "tag.wasm", &v2));
    host.plugin_where("tag", "the next version", |plugin| plugin["version"] == "2.0.0").await;

    // A sidecar is what grants, so nobody else may write one.
    let sidecar = "order = 7\n[capabilities]\nemit = [\"ennio.>\"]\n";
    plugins.write("tag.toml", sidecar);
    let tag = refused(&host, "tag", "there is no tag.toml.minisig").await;
    assert_eq!(tag["order"], 50, "{tag}");
    plugins.write("tag.toml.minisig", signature(&team, "other.toml", sidecar.as_bytes()));
    refused(&host, "tag", "made for a file named \"other.toml\"").await;
    plugins.write("tag.toml.minisig", signature(&team, "tag.toml", sidecar.as_bytes()));
    host.plugin_where("tag", "the signed sidecar", |plugin| plugin["order"] == 7).await;
    host.publish(&event("pr_created")).await;
    assert_eq!(host.log().await[0]["data"]["tag"], "v2");
}

#[tokio::test]
async fn a_key_may_be_in_a_file_and_a_wrong_one_keeps_the_host_from_starting() {
    let team = keys();
    let plugins = Plugins::new().with("tag", "tag-v1");
    let v1 = std::fs::read(guest("tag-v1")).unwrap();
    plugins.write("tag.wasm.minisig", signature(&team, "tag.wasm", &v1));
    let file = plugins.file("team.pub");
    std::fs::write(&file, team.pk.to_box().unwrap().into_string()).unwrap();
    let host = trusting(&plugins, file.to_str().unwrap()).start();
    assert_eq!(host.plugin("tag").await.unwrap()["state"], "running");
    let (code, said) = trusting(&plugins, "team.pub").refused();
    assert_eq!(code, Some(1));
    assert!(said.contains("trusted key team.pub: No such file"), "{said}");

    // Before it is installed.
    let check = |key: &str| {
        let mut command = ennio();
        command.args(["plugin", "check", "--trusted-key", key]).arg(plugins.file("tag.wasm"));
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(file.to_str().unwrap()).0, 0);
    let (code, said) = check(&keys().pk.to_base64());
    assert_eq!(code, 1);
    assert!(said.contains("trust: signed by a key that is not trusted"), "{said}");
}

#[tokio::test]
async fn a_component_that_is_not_the_one_that_its_sidecar_pins_is_not_loaded() {
    let plugins = Plugins::new().with("tag", "tag-v1");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let v1 = host.plugin("tag").await.unwrap()["hash"].as_str().unwrap().to_owned();
    plugins.write("tag.toml", format!("sha256 = \"{}\"\n", v1.to_uppercase()));
    host.plugin_where("tag", "pinned", |plugin| plugin["loads"] == 2).await;
    plugins.install("tag", "tag-v2");
    let tag = refused(&host, "tag", "trust: its SHA-256 is ").await;
    assert_eq!(json!([tag["version"], tag["hash"]]), json!(["1.0.0", v1]), "{tag}");
    let error = tag["load_error"].as_str().unwrap();
    assert!(error.contains(&format!("pins {v1}")), "both hashes: {error}");
    plugins.write("tag.toml", "sha256 = \"abc\"\n");
    refused(&host, "tag", "is no SHA-256").await;
    std::fs::remove_file(plugins.file("tag.toml")).unwrap();
    host.plugin_where("tag", "unpinned", |plugin| plugin["version"] == "2.0.0").await;
}
