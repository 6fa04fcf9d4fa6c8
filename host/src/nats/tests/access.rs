//! Who the host is to a server, and how it knows the server: against real ones.

use std::{fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair as CertificateKey};
use serde_json::{Value, json};

use super::*;

/// Files that a host or a server reads.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn secret(&self, text: &str) -> Option<Secret> {
        Some(Secret::File(self.write("secret", text)))
    }
}

fn with(server: &NatsServer, access: AccessOptions) -> NatsOptions {
    let url = server.url().parse().unwrap();
    NatsOptions { access: Access::new(access, &url).unwrap(), ..NatsOptions::new(url) }
}

/// Lets a publisher in with the one, and not with the other; says why not.
async fn tells_apart(server: &NatsServer, right: AccessOptions, wrong: AccessOptions) -> String {
    let log = Log::new();
    log.commit_some(10, EventType::CiFailing).await;
    let publisher = log.publish_with(with(server, wrong));
    let away = is(&publisher, |now| now.last_error.is_some()).await;
    assert_eq!((away.state, away.cursor), (NatsState::Away, 0));
    stop(publisher).await;
    let publisher = log.publish_with(with(server, right));
    let status = reaches(&publisher, 10).await;
    assert_eq!(status.last_error, None);
    stop(publisher).await;
    away.last_error.unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_a_password() {
    let server = NatsServer::configured("authorization { user: host, password: \"r1ght\" }");
    let files = [Files::new(), Files::new()];
    let [right, wrong] =
        [(&files[0], "r1ght\n"), (&files[1], "wr0ng")].map(|(files, password)| AccessOptions {
            user: Some("host".into()),
            password: files.secret(password),
            ..Default::default()
        });
    let reason = tells_apart(&server, right, wrong).await;
    assert!(reason.contains("authorization violation") && !reason.contains("wr0ng"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_renewed_in_its_file() {
    let server = NatsServer::configured("authorization { token: \"n3w\" }");
    let files = Files::new();
    let access = AccessOptions { token: files.secret("0ld"), ..Default::default() };
    let log = Log::new();
    log.commit_some(10, EventType::CiFailing).await;
    let publisher = log.publish_with(with(&server, access));
    is(&publisher, |now| now.last_error.is_some()).await;
    files.secret("n3w");
    reaches(&publisher, 10).await;
    stop(publisher).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_nkey() {
    let [host, stranger] = [KeyPair::new_user(), KeyPair::new_user()];
    let config = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", host.public_key());
    let server = NatsServer::configured(&config);
    let seeds = [host, stranger].map(|pair| pair.seed().unwrap());
    let [right, wrong] = seeds
        .clone()
        .map(|seed| AccessOptions { nkey: Some(Secret::Given(seed)), ..Default::default() });
    let reason = tells_apart(&server, right, wrong).await;
    assert!(reason.contains("authorization violation") && !reason.contains(&seeds[1]), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file() {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let server = NatsServer::configured(&format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload {{ {}: {} }}",
        jwt(&operator, &operator, json!({"type": "operator", "version": 2})),
        account.public_key(),
        jwt(&operator, &account, json!({"type": "account", "version": 2, "limits": unlimited()})),
    ));
    let files = Files::new();
    let credentials = |name: &str, issuer: &KeyPair| {
        let user = KeyPair::new_user();
        let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            jwt(issuer, &user, claims),
            user.seed().unwrap(),
        );
        let credentials_file = Some(files.write(name, &text));
        AccessOptions { credentials_file, ..Default::default() }
    };
    let right = credentials("right.creds", &account);
    let wrong = credentials("wrong.creds", &KeyPair::new_account());
    let reason = tells_apart(&server, right, wrong).await;
    assert!(reason.contains("authorization violation"), "{reason}");
}

fn unlimited() -> Value {
    json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1})
}

/// What `issuer` says of `subject`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, claims: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let body = part(&json!({
        "jti": "test", "iat": 1_700_000_000, "name": "test",
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": claims,
    }));
    let signed = format!("{header}.{body}");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A certificate authority.
struct Authority {
    certificate: rcgen::Certificate,
    key: CertificateKey,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = CertificateKey::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// Writes a certificate and its key.
    fn issue(&self, files: &Files, name: &str) -> (PathBuf, PathBuf) {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let key = CertificateKey::generate().unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        (
            files.write(&format!("{name}.pem"), &certificate.pem()),
            files.write(&format!("{name}-key.pem"), &key.serialize_pem()),
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_an_authority_of_ones_own_and_a_certificate_of_the_host() {
    let files = Files::new();
    let [ours, strange] = ["ours", "strange"].map(Authority::new);
    let ca = files.write("ca.pem", &ours.certificate.pem());
    let strange_ca = files.write("strange-ca.pem", &strange.certificate.pem());
    let (server_cert, server_key) = ours.issue(&files, "server");
    let (host_cert, host_key) = ours.issue(&files, "host");
    let mut server = NatsServer::configured(&format!(
        "tls {{ cert_file: {server_cert:?}, key_file: {server_key:?}, ca_file: {ca:?}, verify: true }}"
    ));
    let access = |ca: &PathBuf, certificate: bool| AccessOptions {
        ca_file: Some(ca.clone()),
        cert_file: certificate.then(|| host_cert.clone()),
        key_file: certificate.then(|| host_key.clone()),
        ..Default::default()
    };
    let reason = tells_apart(&server, access(&ca, true), access(&strange_ca, true)).await;
    assert!(reason.contains("UnknownIssuer"), "{reason}");
    // Without the certificate that the server wants.
    let log = Log::new();
    let publisher = log.publish_with(with(&server, access(&ca, false)));
    let away = is(&publisher, |now| now.last_error.is_some()).await;
    assert_eq!((away.state, away.connections), (NatsState::Away, 0));
    stop(publisher).await;
    // Who wants TLS tells nothing to a server without it.
    server.kill();
    server.reconfigure("");
    server.start();
    let publisher = log.publish_with(with(&server, access(&ca, true)));
    let away = is(&publisher, |now| now.last_error.is_some()).await;
    assert_eq!((away.state, away.connections), (NatsState::Away, 0));
    stop(publisher).await;
}
