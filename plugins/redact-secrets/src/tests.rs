use std::time::Instant;

use ennio_plugin::Event;
use ennio_plugin::event_type::CI_FAILING;
use ennio_plugin::testing::{self, event};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const AWS: &str = "AKIAIOSFODNN7EXAMPLE";
const GITHUB: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

fn plugin() -> RedactSecrets {
    testing::configure(()).unwrap()
}

fn enriched(event: &Event) -> Event {
    let answer = testing::enrich(&mut plugin(), std::slice::from_ref(event)).remove(0).unwrap();
    answer.map_or_else(|| event.clone(), |patch| testing::apply(event, &patch))
}

fn message(text: &str) -> String {
    enriched(&event(CI_FAILING).message(text).build()).message
}

fn data(value: Value) -> Value {
    enriched(&event(CI_FAILING).data(value).build()).data_value()
}

fn patch_of(value: Value) -> Option<Value> {
    let event = event(CI_FAILING).data(value).build();
    let patch = testing::enrich(&mut plugin(), &[event]).remove(0).unwrap()?;
    assert_eq!(patch.message, None);
    Some(serde_json::from_str(&patch.data_json.unwrap()).unwrap())
}

#[test]
fn the_shipped_sidecar_is_the_default_configuration() {
    let sidecar: toml::Table = toml::from_str(include_str!("../redact-secrets.toml")).unwrap();
    let shipped: Config = sidecar["config"].clone().try_into().unwrap();
    assert_eq!(shipped, Config::default());
    assert!(testing::configure::<RedactSecrets>(&sidecar["config"]).is_ok());
}

#[test]
fn each_kind_is_masked_in_a_message_and_named() {
    for (secret, mask) in [
        (AWS, "[redacted:aws-access-key]"),
        ("ASIAIOSFODNN7EXAMPLE", "[redacted:aws-access-key]"),
        (GITHUB, "[redacted:github-token]"),
        ("gho_0123456789abcdefghijABCDEFGHIJ012345", "[redacted:github-token]"),
        ("github_pat_11ABCDEFG0123456789_abcdefghijklmnop", "[redacted:github-token]"),
        ("xoxb-123456789012-abcdefGHIJ", "[redacted:slack-token]"),
        ("xapp-1-A0123456789-abc", "[redacted:slack-token]"),
        ("AIzaSyA-0123456789abcdefghijklmnopqrstu", "[redacted:google-api-key]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[redacted:jwt]"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "[redacted:jwt]"),
        ("Bearer abcdef0123456789", "Bearer [redacted:bearer-token]"),
        ("bearer  abc/def+ghi=.0123456789", "bearer  [redacted:bearer-token]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
            "[redacted:private-key]",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow", "[redacted:private-key]"),
    ] {
        assert_eq!(
            message(&format!("über {secret}!")),
            if secret.ends_with("MIIEow") {
                format!("über {mask}")
            } else {
                format!("über {mask}!")
            }
        );
    }
}

#[test]
fn what_only_resembles_a_secret_stays() {
    for text in [
        "AKIA is a prefix",
        "ghp_short",
        "the bearer of good news",
        "Bearer",
        "xoxb-",
        "eyJhbGciOiJIUzI1NiJ9 has no payload",
        "-----BEGIN CERTIFICATE-----\nMIIEow\n-----END CERTIFICATE-----",
        "",
    ] {
        assert_eq!(message(text), text);
    }
}

#[test]
fn a_token_before_a_private_key_does_not_eat_into_its_frame() {
    let text = "xoxb-0123456789-----BEGIN PRIVATE KEY-----\nMIIEow\n-----END PRIVATE KEY-----";
    assert_eq!(message(text), "[redacted:slack-token][redacted:private-key]");
}

#[test]
fn an_event_without_secrets_gets_no_patch() {
    let clean = event(CI_FAILING).message("red").data(json!({"log": "x", "n": [1, null]})).build();
    assert_eq!(testing::enrich(&mut plugin(), &[clean]), [Ok(None)]);
}

#[test]
fn the_patch_names_only_what_changed() {
    let patch = patch_of(json!({
        "keep": {"deep": [1, 2, 3]},
        "ci": {"job": "deploy", "log": format!("key {AWS} leaked")},
    }));
    assert_eq!(patch, Some(json!({"ci": {"log": "key [redacted:aws-access-key] leaked"}})));
}

#[test]
fn an_array_with_a_secret_is_given_whole() {
    let patch = patch_of(json!({"args": ["a", GITHUB, {"x": null}], "other": ["b"]}));
    assert_eq!(patch, Some(json!({"args": ["a", "[redacted:github-token]", {"x": null}]})));
}

#[test]
fn data_that_is_no_object_is_masked_too() {
    assert_eq!(data(json!(AWS)), json!("[redacted:aws-access-key]"));
    assert_eq!(data(json!([AWS])), json!(["[redacted:aws-access-key]"]));
    assert_eq!(data(json!(null)), json!(null));
}

#[test]
fn a_telling_name_masks_everything_below_it() {
    assert_eq!(
        data(json!({
            "password": "hunter2",
            "pwd": 1234,
            "credentials": {"user": "ann", "codes": [1, "two", true, null]},
            "token": "abc",
            "note": "hunter2",
        })),
        json!({
            "password": "[redacted:named-secret]",
            "pwd": "[redacted:named-secret]",
            "credentials": {
                "user": "[redacted:named-secret]",
                "codes": ["[redacted:named-secret]", "[redacted:named-secret]", true, null],
            },
            "token": "[redacted:named-secret]",
            "note": "hunter2",
        })
    );
}

#[test]
fn counts_of_tokens_stay() {
    let counts = json!({"tokens": 512, "token_count": "512", "usage": {"output_tokens": 7}});
    assert_eq!(data(counts.clone()), counts);
}

#[test]
fn configured_names_are_heeded() {
    let config = json!({"secret_keys": ["pin"], "harmless_keys": ["secret_santa"]});
    let mut plugin: RedactSecrets = testing::configure(config).unwrap();
    let event = event(CI_FAILING).data(json!({"door_pin": 7, "secretSanta": "bob"})).build();
    let patch = testing::enrich(&mut plugin, std::slice::from_ref(&event)).remove(0).unwrap();
    assert_eq!(
        testing::apply(&event, &patch.unwrap()).data_value(),
        json!({"door_pin": "[redacted:named-secret]", "secretSanta": "bob"})
    );
}

#[test]
fn a_name_that_is_a_secret_is_masked_and_its_value_kept() {
    assert_eq!(
        data(json!({"uses": {GITHUB: {"count": 3}, "other": 1}})),
        json!({"uses": {"[redacted:github-token]": {"count": 3}, "other": 1}})
    );
}

#[test]
fn two_names_that_are_secrets_do_not_collide() {
    let second = GITHUB.replace("ghp_", "gho_");
    let masked = data(json!({GITHUB: 1, second: 2, "[redacted:github-token]": 3}));
    let members = masked.as_object().unwrap();
    assert_eq!(members.len(), 3);
    assert_eq!(members["[redacted:github-token]"], 3);
    assert!(members.keys().all(|name| name.starts_with("[redacted:github-token]")));
}

#[test]
fn a_message_that_masks_make_longer_is_cut_at_the_limit() {
    let short_secrets = "Bearer 0123456789abcdef ".repeat(8_192 / 24);
    let masked = message(&short_secrets);
    assert!(masked.len() <= 8_192 && masked.len() > 8_000);
    assert!(!masked.contains("0123456789abcdef"));
}

#[test]
fn hostile_text_is_scanned_in_linear_time() {
    let begun = Instant::now();
    for bait in ["eyJ", "eyJ.", "-----BEGIN ", "ghp_", "Bearer ", "AKIA", "xoxb-", "e", "é"] {
        let text = bait.repeat(262_000 / bait.len());
        message(&text);
        data(json!({ "log": text }));
    }
    assert!(begun.elapsed().as_secs() < 5, "took {:?}", begun.elapsed());
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "(AKIA|ASIA)[A-Z0-9]{16}",
        "gh[pousr]_[A-Za-z0-9]{36}",
        "github_pat_[A-Za-z0-9_]{22,60}",
        "xox[abeprs]-[A-Za-z0-9-]{10,60}",
        "AIza[A-Za-z0-9_-]{35}",
        "eyJ[A-Za-z0-9_-]{10,40}\\.eyJ[A-Za-z0-9_-]{5,40}\\.[A-Za-z0-9_-]{20,43}",
        "[A-Za-z0-9._~+/-]{16,60}".prop_map(|token| format!("Bearer {token}")),
        "[A-Za-z0-9+/]{40,120}".prop_map(|body| {
            format!("-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----")
        }),
    ]
}

/// Any text around a secret that a token could not run on into.
fn around(secret: String) -> impl Strategy<Value = String> {
    ("\\PC{0,20}[ \"'(=:,é]", "[ \"'),;\n€]\\PC{0,20}")
        .prop_map(move |(before, after)| format!("{before}{secret}{after}"))
}

/// A value with a text in it somewhere: as a string or as a name, at any depth.
fn holding(text: String) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(text.clone())),
        any::<i32>().prop_map(move |n| json!({text.clone(): n})),
    ];
    leaf.prop_recursive(6, 24, 4, |inner| {
        let filler = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            "[a-z ]{0,9}".prop_map(Value::from)
        ];
        (inner, filler, "[a-z]{1,8}", any::<bool>()).prop_map(|(inner, filler, name, array)| {
            if array { json!([filler, inner]) } else { json!({name: inner, "filler": filler}) }
        })
    })
}

fn core_of(secret: &str) -> &str {
    secret.strip_prefix("Bearer ").unwrap_or(secret)
}

proptest! {
    #[test]
    fn no_listed_secret_survives_in_a_message(
        (secret, text) in secret().prop_flat_map(|secret| (Just(secret.clone()), around(secret)))
    ) {
        let masked = message(&text);
        prop_assert!(!masked.contains(core_of(&secret)), "{masked}");
        prop_assert_eq!(message(&masked), masked.clone(), "masking again changes nothing");
    }

    #[test]
    fn no_listed_secret_survives_in_data(
        (secret, value) in secret().prop_flat_map(|secret| {
            let value = around(secret.clone()).prop_flat_map(holding);
            (Just(secret), value)
        })
    ) {
        let masked = data(value);
        let needle = serde_json::to_string(core_of(&secret)).unwrap();
        prop_assert!(!masked.to_string().contains(needle.trim_matches('"')), "{masked}");
        prop_assert_eq!(data(masked.clone()), masked, "masking again changes nothing");
    }

    #[test]
    fn text_without_secrets_is_never_touched(text in "[a-z0-9 .,:é€]{0,200}") {
        prop_assert_eq!(message(&text), text);
    }
}
