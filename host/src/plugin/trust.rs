//! Whose plugins may run: the keys that an operator trusts, and minisign's signatures beside the
//! files.
//!
//! With at least one key, every component needs a signature, and so does its sidecar, which grants
//! what the component may do: a signed component with anybody's grants would be no safer than an
//! unsigned one. A signature whose trusted comment names a file, which minisign writes by itself,
//! is good for a file of that name alone, so that nobody can put one plugin's signed grants beside
//! another plugin. What a signature does not say: that it is of the newest version. Somebody who can
//! write to the folder can put an older signed file back, or take a file away.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use minisign_verify::{Error, PublicKey, Signature};
use thiserror::Error;

use super::{
    component::{LoadError, Step},
    folder::{Candidate, signature_file},
};

/// A public key of minisign, or the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// 56 characters of base64 that begin with `RW`.
    Key(PublicKey),
    /// A `.pub` file as minisign writes it.
    File(PathBuf),
}

impl FromStr for KeySource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(PublicKey::from_base64(text).map_or_else(|_| Self::File(text.into()), Self::Key))
    }
}

/// Why a trusted key cannot be used.
#[derive(Debug, Error)]
#[error(
    "trusted key {key}: {reason} (give the key, 56 characters that begin with RW, or a .pub file of \
     minisign)"
)]
pub struct KeyError {
    key: String,
    reason: String,
}

/// The keys that are trusted; none asks for no signature.
#[derive(Clone, Default)]
pub struct TrustedKeys(Vec<PublicKey>);

impl fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedKeys({})", self.0.len())
    }
}

impl TrustedKeys {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeyError`] when a file cannot be read or holds no key.
    pub fn read(sources: &[KeySource]) -> Result<Self, KeyError> {
        let keys = sources.iter().map(|source| match source {
            KeySource::Key(key) => Ok(key.clone()),
            KeySource::File(path) => {
                let error = |reason| KeyError { key: path.display().to_string(), reason };
                let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
                PublicKey::decode(&text).map_err(|e| error(e.to_string()))
            }
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// Whether signatures are asked for.
    pub fn ask(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether a trusted key has signed the component, and the sidecar where there is one.
    pub(super) fn check(&self, candidate: &Candidate) -> Result<(), LoadError> {
        if !self.ask() {
            return Ok(());
        }
        let Candidate { file, bytes, sidecar, signatures, .. } = candidate;
        let check = |file: &Path, bytes: &[u8], signature: &Option<String>| {
            self.check_file(file, bytes, signature.as_deref()).map_err(|reason| LoadError {
                file: file.into(),
                step: Step::Trust,
                reason,
            })
        };
        let [of_component, of_sidecar] = signatures;
        check(file, bytes, of_component)?;
        match sidecar {
            Some(text) => check(&file.with_extension("toml"), text.as_bytes(), of_sidecar),
            None => Ok(()),
        }
    }

    fn check_file(&self, file: &Path, bytes: &[u8], signature: Option<&str>) -> Result<(), String> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let beside = signature_file(file);
        let beside = beside.file_name().unwrap_or_default().to_string_lossy();
        let way_out = format!("sign it with `minisign -Sm {name}`");
        let Some(text) = signature else {
            return Err(format!("not signed: there is no {beside} ({way_out})"));
        };
        let signature = Signature::decode(text)
            .map_err(|_| format!("{beside} is no signature of minisign ({way_out})"))?;
        // Each of the keys says why not; that it is another's signature says least.
        let mut refusal = "signed by a key that is not trusted".to_owned();
        for key in &self.0 {
            match key.verify(bytes, &signature, false) {
                Ok(()) => return names_it(&signature, &name),
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => {
                    refusal = "signed in minisign's legacy format".into();
                }
                Err(_) => {
                    refusal = format!("{beside} is not the signature of this content");
                }
            }
        }
        Err(format!("{refusal} ({way_out} and a key of `trusted_keys`)"))
    }
}

/// Whether a good signature is one of a file of this name.
fn names_it(signature: &Signature, name: &str) -> Result<(), String> {
    let mut parts = signature.trusted_comment().split('\t');
    match parts.find_map(|part| part.strip_prefix("file:")).filter(|signed| *signed != name) {
        None => Ok(()),
        Some(signed) => Err(format!("its signature was made for a file named {signed:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_a_file() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert!(matches!(key.parse(), Ok(KeySource::Key(_))));
        let short = &key[..55];
        for file in ["team.pub", short, ""] {
            assert_eq!(file.parse(), Ok(KeySource::File(file.into())));
        }
        let error = TrustedKeys::read(&[KeySource::File(short.into())]).unwrap_err().to_string();
        assert!(error.contains(short) && error.contains("56 characters"), "{error}");
    }
}
