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
        (
            "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
            "https://hooks.slack.com/[redacted:slack-webhook]",
        ),
        ("ya29.a0AfH6SMBx-0123456789_abcdef", "[redacted:google-oauth]"),
        ("GOCSPX-0123456789abcdefghijklmn", "[redacted:google-oauth]"),
        ("1//0gAbCdEfGhIjKlMnOpQrStUvWxYz-0123456789", "[redacted:google-oauth]"),
        ("postgres://ann:hunter2@db/x", "postgres://[redacted:url-credentials]@db/x"),
        ("https://0123456789abcdef0123@git.test", "https://[redacted:url-credentials]@git.test"),
        ("Bearer abcdef0123456789", "Bearer [redacted:bearer-token]"),
        ("bearer  abc/def+ghi=.0123456789", "bearer  [redacted:bearer-token]"),
        (r"bearer  abc\/def+ghi=.0123456789", "bearer  [redacted:bearer-token]"),
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

const NAMED: &str = "[redacted:named-secret]";

#[test]
fn a_value_after_a_telling_name_is_masked() {
    for (before, value, after) in [
        ("password=", "hunter2", ""),
        ("PGPASSWORD=", "letmein", " psql"),
        ("export AWS_SECRET_ACCESS_KEY=", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""),
        ("api_key: ", "k3yk3yk3y", ", more"),
        ("the api key: ", "k3yk3yk3y", ""),
        ("client_secret => ", "abcdefghijklmnop", ""),
        ("{\"password\":\"", "correct horse", "\"}"),
        (r#"{\"password\":\""#, r#"a\\\"b"#, r#"\"}"#),
        ("'token': '", "t0", "'"),
        ("cut off: {\"password\": \"", "hunt", ""),
        ("curl --password ", "hunter", " https://x.test"),
        ("curl --token=", "hunter2", " https://x.test"),
        ("logged in with token ", "0123456789abcdef", "."),
        ("https://x.test/?access_token=", "abc123", "&page=2"),
        ("AccountName=a;AccountKey=", "bG9uZw==", ";"),
        ("-H \"Authorization: Basic ", "dXNlcjpwYXNz", "\" https://x.test"),
        ("authorization: Digest ", "username=\"ann\", response=\"0f\"", "\nnext: line"),
        ("Set-Cookie: ", "sid=1; Path=/", "\nnext: line"),
        ("password: ", "hunter2€", "token: none"),
    ] {
        let masked = message(&format!("{before}{value}{after}"));
        let after = after.strip_prefix('.').unwrap_or(after);
        assert_eq!(masked, format!("{before}{NAMED}{after}"));
        assert_eq!(message(&masked), masked);
    }
}

#[test]
fn prose_and_placeholders_after_a_telling_name_stay() {
    for text in [
        "password: required",
        "the token: expired after 15000 calls",
        "tokens: 123456, max_tokens=4096",
        "tokens used: 200000 of 1000000",
        "password=$DB_PASSWORD token=${{TOKEN}} secret=<secret> api_key=null password=****",
        "let secret = Secret::new()",
        "Token::new123()",
        "see the secret of success",
        "authorization: the user must log in",
        "the primary key: 1234567",
        "sort key abcdef0123456789abcdef",
    ] {
        let text = text.replace("${{TOKEN}}", "${TOKEN}");
        assert_eq!(message(&text), text);
    }
}

#[test]
fn an_aws_secret_key_is_found_by_its_id_anywhere_in_the_event() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let escaped = secret.replace('/', r"\/");
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let masked = enriched(
        &event(CI_FAILING)
            .message(format!("{AWS} {secret}"))
            .data(json!({"deep": [[secret, escaped]], "commit": commit}))
            .build(),
    );
    let mask = "[redacted:aws-secret-key]";
    assert_eq!(masked.message, format!("[redacted:aws-access-key] {mask}"));
    assert_eq!(masked.data_value(), json!({"deep": [[mask, mask]], "commit": commit}));
    assert_eq!(message(secret), secret, "without an id nothing tells what it is");
}

#[test]
fn what_is_named_beside_is_masked() {
    assert_eq!(
        data(json!({
            "env": [{"name": "DB_PASSWORD", "value": "x"}, {"name": "HOME", "value": "/root"}],
            "argv": ["login", "--password", "x", "--user", "ann", "--token=abcd12"],
            "output": ["-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "$"],
        })),
        json!({
            "env": [{"name": "DB_PASSWORD", "value": NAMED}, {"name": "HOME", "value": "/root"}],
            "argv": ["login", "--password", NAMED, "--user", "ann", format!("--token={NAMED}")],
            "output": ["[redacted:private-key]", "$"],
        })
    );
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
    for bait in [
        "eyJ",
        "eyJ.",
        "-----BEGIN ",
        "ghp_",
        "Bearer ",
        "AKIA",
        "xoxb-",
        "e",
        "é",
        "ya29.",
        "1//0",
        "hooks.slack.com/",
        "://",
        "://a:",
        "://a:b@",
        ":",
        "=",
        " ",
        "key ",
        "password=",
        "password:",
        "password=\"",
        "password='",
        "password=\\\"",
        "password=\\",
        "\\",
        "\"",
        "--password ",
        "token: ",
        "Authorization: Digest ",
        "Cookie: ",
        "Cookie: a=",
    ] {
        let text = bait.repeat(262_000 / bait.len());
        message(&text);
        data(json!({ "log": text, "id": AWS }));
    }
    assert!(begun.elapsed().as_secs() < 60, "took {:?}", begun.elapsed());
}

/// What a sender may not be able to keep to itself.
#[derive(Clone, Debug)]
struct Secret {
    /// As it stands in a text, with what tells that it is one.
    text: String,
    /// What may not be left of it.
    core: String,
}

fn whole(pattern: &'static str) -> impl Strategy<Value = Secret> {
    pattern.prop_map(|text| Secret { core: text.clone(), text })
}

fn framed(
    before: impl Strategy<Value = String>,
    core: &'static str,
    after: impl Strategy<Value = String>,
) -> impl Strategy<Value = Secret> {
    (before, core, after)
        .prop_map(|(before, core, after)| Secret { text: format!("{before}{core}{after}"), core })
}

/// A telling name in some spelling, and a separator with or without quotes.
fn name() -> impl Strategy<Value = (String, String)> {
    let name = prop::sample::select(vec![
        "password",
        "passwd",
        "PASSPHRASE",
        "db_password",
        "dbPassword",
        "client_secret",
        "SECRET_KEY",
        "api_key",
        "apiKey",
        "X-Api-Key",
        "access-key",
        "AWS_SECRET_ACCESS_KEY",
        "private_key_id",
        "token",
        "access_token",
        "refreshToken",
        "AUTH_TOKEN",
        "credentials",
        "authorization",
        "signing key",
        "api key",
    ]);
    let separator = prop::sample::select(vec![
        ("=", ""),
        (": ", ""),
        (" = ", ""),
        (":", ""),
        (" => ", ""),
        (" := ", ""),
        (" ", ""),
        ("='", "'"),
        (": \"", "\""),
        ("\": \"", "\""),
        ("\":\"", "\""),
        ("': '", "'"),
    ]);
    (name, separator)
        .prop_map(|(name, (between, after))| (format!("{name}{between}"), after.to_owned()))
}

fn secret() -> impl Strategy<Value = Secret> {
    let nothing = || Just(String::new());
    let text = |text: &str| Just(text.to_owned());
    prop_oneof![
        whole("(AKIA|ASIA|ABIA)[A-Z0-9]{16}"),
        whole("ACCA[A-Z0-9]{15}[G-Z]"),
        // The keys' own letters, so that no run around it is longer.
        framed("AKIA[A-Z0-9]{16}[ ,:\n]", "[A-Z][a-z][A-Za-z0-9+/]{38}", nothing(),),
        whole("gh[pousr]_[A-Za-z0-9]{36}"),
        whole("github_pat_[A-Za-z0-9_]{22,60}"),
        whole("xox[abeprs]-[A-Za-z0-9-]{10,60}"),
        whole("xapp-[0-9]-[A-Za-z0-9-]{10,60}"),
        framed(
            text("https://hooks.slack.com/services/"),
            "T[A-Z0-9]{8,10}/B[A-Z0-9]{8,10}/[A-Za-z0-9]{24}",
            nothing(),
        ),
        whole("AIza[A-Za-z0-9_-]{35}"),
        whole("ya29\\.[A-Za-z0-9_-]{20,100}"),
        whole("GOCSPX-[A-Za-z0-9_-]{20,28}"),
        whole("1//0[A-Za-z0-9_-]{30,100}"),
        whole("eyJ[A-Za-z0-9_-]{10,40}\\.eyJ[A-Za-z0-9_-]{5,40}\\.[A-Za-z0-9_-]{20,43}"),
        framed(text("Bearer "), "[A-Za-z0-9._~+/-]{16,60}", nothing()),
        framed(text("authorization: bearer "), "[A-Za-z0-9._~+/-]{16,60}", nothing()),
        framed(text("Authorization: Basic "), "[A-Za-z0-9+/]{12,60}", nothing()),
        framed(
            text("-----BEGIN EC PRIVATE KEY-----\n"),
            "[A-Za-z0-9+/]{40,120}",
            text("\n-----END EC PRIVATE KEY-----"),
        ),
        framed(
            "(https|postgres|amqp)://[a-z]{1,12}:",
            "[A-Za-z0-9!$&*+,;=._~%-]{10,40}",
            text("@db.example.test:5432/x"),
        ),
        (name(), "[A-Za-z][A-Za-z0-9+/_-]{18,64}[0-9]").prop_map(|((before, after), core)| {
            Secret { text: format!("{before}{core}{after}"), core }
        }),
    ]
}

/// Some secrets, with any text around them that they could not run on into.
fn several() -> impl Strategy<Value = (Vec<Secret>, String)> {
    let before = "\\PC{0,20}[ (é\n]";
    prop::collection::vec((before, secret(), "[ ),;\n€]"), 1..4).prop_flat_map(|all| {
        let text: String = all
            .iter()
            .map(|(before, secret, after)| format!("{before}{}{after}", secret.text))
            .collect();
        let secrets: Vec<_> = all.into_iter().map(|(_, secret, _)| secret).collect();
        (Just(secrets), "\\PC{0,20}".prop_map(move |end| format!("{text}{end}")))
    })
}

/// How a text may come to stand in another.
#[derive(Clone, Copy, Debug)]
enum Written {
    Plainly,
    /// As JSON, so many times over.
    AsJson(usize),
    /// As JSON by a writer that escapes slashes.
    WithSlashesEscaped,
}

impl Written {
    fn any() -> impl Strategy<Value = Self> {
        prop::sample::select(vec![
            Written::Plainly,
            Written::AsJson(1),
            Written::AsJson(2),
            Written::WithSlashesEscaped,
        ])
    }

    fn write(self, text: String) -> String {
        match self {
            Written::Plainly => text,
            Written::AsJson(times) => {
                (0..times).fold(text, |text, _| json!({"log": text}).to_string())
            }
            Written::WithSlashesEscaped => json!({"log": text}).to_string().replace('/', "\\/"),
        }
    }

    /// What would be left of a secret if it survived.
    fn core(self, secret: &Secret) -> String {
        match self {
            Written::WithSlashesEscaped => secret.core.replace('/', "\\/"),
            Written::Plainly | Written::AsJson(_) => secret.core.clone(),
        }
    }
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

/// Every text of a value, names too.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(elements) => elements.iter().flat_map(texts).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| texts(value).into_iter().chain([name.as_str()]))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => vec![],
    }
}

/// What is no secret, however long and random it looks. Words are of the letters up to m, since every
/// telling name has one behind it.
fn ordinary() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[0-9a-f]{40}",
        "[0-9A-F]{40}",
        "[0-9a-f]{64}",
        "sha256:[0-9a-f]{64}",
        "(/[a-m_.-]{1,12}){1,8}\\.[a-z]{1,3}:[0-9]{1,4}",
        "[a-m]{1,9}(::[A-Ma-m]{1,9}){1,4}",
        "-?[0-9]{1,19}(\\.[0-9]{1,9})?",
        "2026-0[1-9]-[012][0-9]T[012][0-9]:[0-5][0-9]:[0-5][0-9]Z",
        "https://[a-m]{1,9}\\.test(/[a-z0-9-]{1,9}){0,4}(\\?page=[0-9]{1,3})?",
        "[a-m.]{1,9}@[a-m]{1,9}\\.test",
        // A picture. Without I and 1, no run of it can look like a key by chance.
        "data:image/png;base64,[A-HJ-Ma-m02-9+/]{40,400}={0,2}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn no_listed_secret_survives_in_a_message(
        (secrets, text) in several(), written in Written::any()
    ) {
        let text = written.write(text);
        let masked = message(&text);
        for secret in &secrets {
            let core = written.core(secret);
            prop_assert!(text.contains(&core), "{text}");
            prop_assert!(!masked.contains(&core), "{secret:?}: {masked}");
        }
        prop_assert_eq!(message(&masked), masked.clone(), "masking again changes nothing");
    }

    #[test]
    fn no_listed_secret_survives_in_data(
        (secrets, value, written) in (several(), Written::any())
            .prop_flat_map(|((secrets, text), written)| {
                (Just(secrets), holding(written.write(text)), Just(written))
            })
    ) {
        let masked = data(value);
        for text in texts(&masked) {
            for secret in &secrets {
                prop_assert!(!text.contains(&written.core(secret)), "{secret:?}: {masked}");
            }
        }
        prop_assert_eq!(data(masked.clone()), masked, "masking again changes nothing");
    }

    #[test]
    fn what_is_no_secret_is_left_alone(
        words in prop::collection::vec(
            prop_oneof![ordinary(), "[a-m]{1,6}", "[.,:é€]"], 1..12)
    ) {
        let text = words.join(" ");
        prop_assert_eq!(message(&text), text.clone());
        let value = json!({"commit": words, "log": [text.clone(), {text: 1}]});
        prop_assert_eq!(data(value.clone()), value);
    }
}
