//! Who the host is to the server, and how it knows the server: credentials and TLS.
//!
//! Checked once, at the start, so that a wrong file is no riddle later; read again for every connection,
//! so that what is renewed on disk holds from the next one on. Nothing here ever shows a secret.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_nats::{ConnectOptions, ServerAddr};
use nkeys::{KeyPair, KeyPairType};
use thiserror::Error;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, crypto,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{
    NatsUrl,
    options::{self, InUrl},
};

/// A secret, or the file that holds it. Shown without it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret itself.
    Given(String),
    /// A file that holds it, and white space around it.
    File(PathBuf),
}

/// What a configuration says of access, before it is known whether it makes sense.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessOptions {
    /// A credentials file (`.creds`): a user's JWT and the seed of its nkey.
    pub credentials_file: Option<PathBuf>,
    /// The seed of a user's nkey (`SU…`).
    pub nkey: Option<Secret>,
    /// A user's name.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// A token.
    pub token: Option<Secret>,
    /// The authorities that may have signed the server's certificate, PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The host's own certificate, PEM, with those that lead to its authority behind it.
    pub cert_file: Option<PathBuf>,
    /// The certificate's private key, PEM.
    pub key_file: Option<PathBuf>,
}

/// Who the host is to the server, and how it knows the server.
#[derive(Debug, Clone, Default)]
pub struct Access {
    identity: Identity,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, Default)]
enum Identity {
    /// What the URL says, if it says anything.
    #[default]
    Url,
    Credentials(PathBuf),
    Nkey(Secret),
    User(String, Secret),
    Token(Secret),
}

/// Why nobody can be connected to in this way. Names keys of `[nats]`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessError {
    /// Who the host is is said twice.
    #[error("{0} and {1} each say who the host is to the NATS server (keep one)")]
    TwoWays(&'static str, &'static str),
    /// One says nothing without the other.
    #[error("{present} needs {missing} as well")]
    Half {
        /// The one that is there.
        present: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// What a key names cannot be used.
    #[error("{key}: {reason}")]
    Unusable {
        /// The key.
        key: &'static str,
        /// Why, without the secret.
        reason: String,
    },
}

const URL: &str = "the user or token in nats.url";
const CREDENTIALS: &str = "nats.credentials_file";
const NKEY: &str = "nats.nkey_file (or ENNIO_NATS_NKEY)";
const USER: &str = "nats.user";
const PASSWORD: &str = "nats.password_file (or ENNIO_NATS_PASSWORD)";
const TOKEN: &str = "nats.token_file (or ENNIO_NATS_TOKEN)";
const CA: &str = "nats.ca_file";
const CERTIFICATE: &str = "nats.cert_file";
const KEY: &str = "nats.key_file";

impl Access {
    /// What `options` say, of servers at `url`. Reads every file that they name.
    ///
    /// # Errors
    /// [`AccessError`] with the keys at fault, without any secret.
    pub fn new(options: AccessOptions, url: &NatsUrl) -> Result<Self, AccessError> {
        let AccessOptions { credentials_file, nkey, user, password, token, .. } = options;
        let user = match (user, password) {
            (Some(name), Some(password)) => Some(Identity::User(name, password)),
            (Some(_), None) => return Err(AccessError::Half { present: USER, missing: PASSWORD }),
            (None, Some(_)) => return Err(AccessError::Half { present: PASSWORD, missing: USER }),
            (None, None) => None,
        };
        let mut ways = [
            (URL, url.names_somebody().then_some(Identity::Url)),
            (CREDENTIALS, credentials_file.map(Identity::Credentials)),
            (NKEY, nkey.map(Identity::Nkey)),
            (USER, user),
            (TOKEN, token.map(Identity::Token)),
        ]
        .into_iter()
        .filter_map(|(key, way)| way.map(|way| (key, way)));
        let first = ways.next();
        if let (Some((one, _)), Some((other, _))) = (&first, ways.next()) {
            return Err(AccessError::TwoWays(one, other));
        }
        let certificate = match (options.cert_file, options.key_file) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => {
                return Err(AccessError::Half { present: CERTIFICATE, missing: KEY });
            }
            (None, Some(_)) => {
                return Err(AccessError::Half { present: KEY, missing: CERTIFICATE });
            }
            (None, None) => None,
        };
        let identity = first.map(|(_, way)| way).unwrap_or_default();
        let access = Self { identity, ca: options.ca_file, certificate };
        access.identity()?;
        access.tls()?;
        Ok(access)
    }

    /// How to connect to `server`, as the files say now.
    ///
    /// # Errors
    /// [`AccessError`] when one of them cannot be used any more.
    pub(super) fn connect_options(
        &self,
        server: &ServerAddr,
    ) -> Result<ConnectOptions, AccessError> {
        let options = match self.identity()? {
            Some(options) => options,
            None => match options::in_url(server) {
                InUrl::Nobody => ConnectOptions::new(),
                InUrl::Token(token) => ConnectOptions::with_token(token),
                InUrl::User { name, password } => {
                    ConnectOptions::with_user_and_password(name, password)
                }
            },
        };
        Ok(match self.tls()? {
            // A server that offers no TLS is not the one that was meant, and must not see a secret.
            Some(config) => options.tls_client_config(config).require_tls(true),
            None => options,
        })
    }

    /// `None`: what the URL says.
    fn identity(&self) -> Result<Option<ConnectOptions>, AccessError> {
        Ok(Some(match &self.identity {
            Identity::Url => return Ok(None),
            Identity::Credentials(path) => {
                ConnectOptions::with_credentials(&read(CREDENTIALS, path)?)
                    .map_err(|e| unusable(CREDENTIALS, format!("{}: {e}", path.display())))?
            }
            Identity::Nkey(seed) => ConnectOptions::with_nkey(user_seed(seed)?),
            Identity::User(name, password) => {
                ConnectOptions::with_user_and_password(name.clone(), password.read(PASSWORD)?)
            }
            Identity::Token(token) => ConnectOptions::with_token(token.read(TOKEN)?),
        }))
    }

    /// `None`: as the library does it by itself, with the roots of the system.
    fn tls(&self) -> Result<Option<ClientConfig>, AccessError> {
        if self.ca.is_none() && self.certificate.is_none() {
            return Ok(None);
        }
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates(CA, path)? {
                    roots.add(certificate).map_err(|e| in_file(CA, path, &e))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(CA, e.to_string()))?
            .with_root_certificates(roots);
        Ok(Some(match &self.certificate {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(CERTIFICATE, certificate)?;
                let pem = read(KEY, key)?;
                let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
                    unusable(KEY, format!("{}: no private key in PEM", key.display()))
                })?;
                config
                    .with_client_auth_cert(chain, private)
                    .map_err(|e| in_file(CERTIFICATE, certificate, &e))?
            }
        }))
    }
}

impl Secret {
    fn read(&self, key: &'static str) -> Result<String, AccessError> {
        let text = match self {
            Self::Given(text) => text.trim().to_owned(),
            Self::File(path) => read(key, path)?.trim().to_owned(),
        };
        match text.is_empty() {
            true => Err(unusable(key, format!("{self:?}: empty"))),
            false => Ok(text),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("a secret"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A user's seed: the line that begins like one, since the file may say more.
fn user_seed(secret: &Secret) -> Result<String, AccessError> {
    let text = secret.read(NKEY)?;
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    let pair = seed.map(KeyPair::from_seed);
    match (seed, pair) {
        (Some(seed), Some(Ok(pair))) if pair.key_pair_type() == KeyPairType::User => {
            Ok(seed.into())
        }
        _ => Err(unusable(NKEY, format!("{secret:?}: no seed of a user's nkey (SU…)"))),
    }
}

fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let pem = read(key, path)?;
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(unusable(key, format!("{}: no certificate in PEM", path.display()))),
    }
}

fn read(key: &'static str, path: &Path) -> Result<String, AccessError> {
    fs::read_to_string(path).map_err(|e| in_file(key, path, &e))
}

fn in_file(key: &'static str, path: &Path, error: &dyn std::error::Error) -> AccessError {
    unusable(key, format!("{}: {error}", path.display()))
}

fn unusable(key: &'static str, reason: String) -> AccessError {
    AccessError::Unusable { key, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> NatsUrl {
        text.parse().unwrap()
    }

    fn refused(options: AccessOptions, at: &str) -> String {
        Access::new(options, &url(at)).unwrap_err().to_string()
    }

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::Given(text.into()))
    }

    #[test]
    fn one_way_to_say_who_the_host_is_is_enough() {
        let token = || AccessOptions { token: secret("t0psecret"), ..Default::default() };
        let server = url("nats://a");
        let access = Access::new(token(), &server).unwrap();
        assert!(!format!("{access:?} {:?}", token()).contains("t0psecret"));
        for (options, at, said) in [
            (token(), "nats://bob:pw@a", "the user or token in nats.url and nats.token_file"),
            (
                AccessOptions { nkey: secret("SUx"), ..token() },
                "a",
                "nats.nkey_file (or ENNIO_NATS_NKEY) and nats.token_file",
            ),
            (
                AccessOptions { user: Some("bob".into()), ..Default::default() },
                "a",
                "nats.user needs",
            ),
            (
                AccessOptions { password: secret("t0psecret"), ..Default::default() },
                "a",
                "needs nats.user",
            ),
            (
                AccessOptions { cert_file: Some("x".into()), ..Default::default() },
                "a",
                "needs nats.key_file",
            ),
            (
                AccessOptions { key_file: Some("x".into()), ..Default::default() },
                "a",
                "needs nats.cert_file",
            ),
        ] {
            let told = refused(options, at);
            assert!(told.contains(said) && !told.contains("t0psecret"), "{told}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_key_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            Some(path)
        };
        let none = AccessOptions::default;
        let account = KeyPair::new_account().seed().unwrap();
        let pem = "-----BEGIN NATS USER JWT-----\nhush.hush\n------END NATS USER JWT------\n";
        for (options, said) in [
            (
                AccessOptions { credentials_file: Some("/not/there.creds".into()), ..none() },
                "nats.credentials_file: /not/there.creds: No such file",
            ),
            (
                AccessOptions { credentials_file: file("half.creds", pem), ..none() },
                "half.creds: cannot parse nkey from the credentials file",
            ),
            (AccessOptions { nkey: secret(&account), ..none() }, "no seed of a user's nkey"),
            (AccessOptions { token: secret(" \n"), ..none() }, "a secret: empty"),
            (
                AccessOptions { ca_file: file("ca.pem", "hush"), ..none() },
                "ca.pem: no certificate in PEM",
            ),
        ] {
            let told = refused(options, "a");
            assert!(told.contains(said), "{told}");
            assert!(!told.contains("hush") && !told.contains(&account), "{told}");
        }
        let seed = KeyPair::new_user().seed().unwrap();
        let nkey = file("user.nk", &format!("# ours\n{seed}\n")).map(Secret::File);
        let access = Access::new(AccessOptions { nkey, ..none() }, &url("a")).unwrap();
        // Renewed, or broken: the next connection finds out.
        fs::write(folder.path().join("user.nk"), "").unwrap();
        let server = url("a");
        access.connect_options(server.server(0).unwrap()).unwrap_err();
    }

    #[test]
    fn a_certificate_needs_the_key_that_belongs_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| {
            let made = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
            let [cert, key] =
                ["cert", "key"].map(|kind| folder.path().join(format!("{name}-{kind}.pem")));
            fs::write(&cert, made.cert.pem()).unwrap();
            fs::write(&key, made.key_pair.serialize_pem()).unwrap();
            (cert, key)
        });
        let with = |certificate: &(PathBuf, PathBuf), key: &(PathBuf, PathBuf)| AccessOptions {
            ca_file: Some(certificate.0.clone()),
            cert_file: Some(certificate.0.clone()),
            key_file: Some(key.1.clone()),
            ..Default::default()
        };
        Access::new(with(&one, &one), &url("a")).unwrap();
        let told = refused(with(&one, &other), "a");
        assert!(told.contains("one-cert.pem: ") && told.contains("nats.cert_file"), "{told}");
        let mut swapped = with(&one, &one);
        swapped.key_file = Some(one.0);
        assert!(refused(swapped, "a").contains("no private key in PEM"));
    }
}
