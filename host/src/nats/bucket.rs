//! A JetStream object store that holds plugins: one object a plugin, under its name. Its content is the
//! component, and what lies beside that are texts in its metadata, which the server stores with the
//! digest as one message, the last of the object. So nobody ever sees half of a version.
//!
//! Any other client can look at it (`nats object ls`, `get`, `info`), and delete what is in it.
//!
//! Knows names, bytes and texts. May not know what they mean.

use std::{collections::BTreeMap, fmt, io, str::FromStr, time::Duration};

use async_nats::{
    Client,
    jetstream::{
        self,
        context::GetStreamErrorKind,
        object_store::{self, InfoErrorKind, ObjectInfo, ObjectStore},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::{NatsOptions, Prefix, connection::Connection};
use crate::event::{PluginName, Reason};

/// Between two parts of an object. The server sends them unasked, so silence means that they are gone.
const NEXT_PART_WITHIN: Duration = Duration::from_secs(10);

/// What is left of the server's `max_payload` for the texts of an object, which are in one message
/// with its name, its digest and the like, in bytes.
const FOR_THE_REST: usize = 4096;

/// The name of a bucket: 1 to 64 characters of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(Box<str>);

impl BucketName {
    /// `<prefix>-plugins`: where plugins are pushed to unless said otherwise.
    pub fn of(prefix: &Prefix) -> Self {
        Self(format!("{prefix}-plugins").into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BucketName {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        // The same letters, and as many of them.
        text.parse::<Prefix>().map(|token| Self(token.as_str().into()))
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why something was not done with a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BucketError {
    /// There is no connection.
    #[error("{0}")]
    Lost(String),
    /// There is no such bucket.
    #[error("there is no bucket {0} (`ennio plugin push` makes it)")]
    Missing(BucketName),
    /// It holds nothing of that name.
    #[error("bucket {bucket} has no plugin {name}")]
    Unknown {
        /// The bucket.
        bucket: BucketName,
        /// What was to be removed.
        name: PluginName,
    },
    /// The texts are more than one message may hold.
    #[error(
        "what lies beside the component is {size} bytes, and the server takes {limit} in a message \
         (raise its max_payload, or shorten the sidecar)"
    )]
    TooLong {
        /// Of the texts, in bytes.
        size: usize,
        /// In bytes.
        limit: usize,
    },
    /// The server refuses.
    #[error("bucket {bucket}: {reason}")]
    Refused {
        /// The bucket.
        bucket: BucketName,
        /// What it says.
        reason: String,
    },
}

/// A bucket to put plugins into, for a command. One connection, which is never mended.
pub struct Bucket {
    connection: Connection,
    name: BucketName,
}

impl Bucket {
    /// Connects to the first of the servers that answers.
    ///
    /// # Errors
    /// [`BucketError::Lost`] when none does.
    pub async fn connect(options: &NatsOptions, name: BucketName) -> Result<Self, BucketError> {
        let connection = Connection::first(options, "ennio plugin push").await;
        Ok(Self { connection: connection.map_err(BucketError::Lost)?, name })
    }

    /// Puts a plugin there, in the place of what has its name; the bucket is made when there is none,
    /// with one replica, in files.
    ///
    /// # Errors
    /// [`BucketError`]; what was there before still is then.
    pub async fn put(
        &mut self,
        name: &PluginName,
        content: &[u8],
        texts: BTreeMap<String, String>,
    ) -> Result<(), BucketError> {
        let size = serde_json::to_string(&texts).map_or(usize::MAX, |json| json.len());
        let limit = self.connection.max_payload().saturating_sub(FOR_THE_REST);
        if size > limit {
            return Err(BucketError::TooLong { size, limit });
        }
        let (client, bucket) = (self.connection.client().clone(), self.name.clone());
        let meta = object_store::ObjectMetadata {
            name: name.to_string(),
            metadata: texts.into_iter().collect(),
            ..Default::default()
        };
        let put = async {
            let store = match open(&client, &bucket).await? {
                Some(store) => store,
                None => create(&client, &bucket).await?,
            };
            let mut content = content;
            store.put(meta, &mut content).await.map_err(|e| e.to_string())
        };
        let done = self.connection.ask(put).await.flatten();
        done.map(|_| ()).map_err(|reason| self.refused(reason))
    }

    /// Takes a plugin out of it.
    ///
    /// # Errors
    /// [`BucketError`], also when there is no such bucket or plugin.
    pub async fn remove(&mut self, name: &PluginName) -> Result<(), BucketError> {
        let (client, bucket) = (self.connection.client().clone(), self.name.clone());
        let remove = async {
            let Some(store) = open(&client, &bucket).await? else {
                return Ok(Err(BucketError::Missing(bucket.clone())));
            };
            let unknown = BucketError::Unknown { bucket: bucket.clone(), name: name.clone() };
            match store.info(name.as_str()).await {
                Ok(info) if info.deleted => return Ok(Err(unknown)),
                Ok(_) => {}
                Err(e) if e.kind() == InfoErrorKind::NotFound => return Ok(Err(unknown)),
                Err(e) => return Err(e.to_string()),
            }
            store.delete(name.as_str()).await.map(Ok).map_err(|e| e.to_string())
        };
        let done = self.connection.ask(remove).await.flatten();
        done.map_err(|reason| self.refused(reason))?
    }

    fn refused(&self, reason: String) -> BucketError {
        BucketError::Refused { bucket: self.name.clone(), reason }
    }
}

/// The bucket; `None` when there is none.
pub(super) async fn open(
    client: &Client,
    bucket: &BucketName,
) -> Result<Option<ObjectStore>, String> {
    let jetstream = jetstream::new(client.clone());
    // The library's answer to a bucket that is missing is the same as to one that cannot be had.
    match jetstream.get_stream(format!("OBJ_{bucket}")).await {
        Ok(_) => {}
        Err(e) => match e.kind() {
            GetStreamErrorKind::JetStream(e)
                if e.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                return Ok(None);
            }
            _ => return Err(e.to_string()),
        },
    }
    jetstream.get_object_store(bucket.as_str()).await.map(Some).map_err(|e| e.to_string())
}

async fn create(client: &Client, bucket: &BucketName) -> Result<ObjectStore, String> {
    let config = object_store::Config {
        bucket: bucket.as_str().to_owned(),
        description: Some("plugins for hosts of Ennio, by name".into()),
        max_bytes: -1,
        num_replicas: 1,
        ..Default::default()
    };
    jetstream::new(client.clone()).create_object_store(config).await.map_err(|e| e.to_string())
}

/// What an object says of its content: the SHA-256, hexadecimal.
pub(super) fn sha256(info: &ObjectInfo) -> Option<String> {
    let digest = info.digest.as_deref()?.strip_prefix("SHA-256=")?;
    let digest = URL_SAFE.decode(digest).ok().filter(|digest| digest.len() == 32)?;
    Some(hex(&digest))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The content of the object that `info` describes, of `info.size` bytes, which the caller has
/// bounded; `None` when another has taken its place.
pub(super) async fn fetch(
    store: &ObjectStore,
    info: &ObjectInfo,
) -> Result<Option<Vec<u8>>, String> {
    let mut object = match store.get(&info.name).await {
        Ok(object) if object.info().nuid == info.nuid => object,
        Ok(_) => return Ok(None),
        Err(e) if e.kind() == object_store::GetErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let mut content = Vec::with_capacity(info.size);
    loop {
        let read = match timeout(NEXT_PART_WITHIN, object.read_buf(&mut content)).await {
            Ok(read) => read,
            Err(_) => {
                let (seconds, got) = (NEXT_PART_WITHIN.as_secs(), content.len());
                return Err(format!("nothing came for {seconds} s after {got} bytes"));
            }
        };
        match read {
            Ok(0) => break,
            Ok(_) if content.len() > info.size => break,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Err("the content has another digest than the bucket says".into());
            }
            Err(e) => return Err(e.to_string()),
        }
    }
    // The library looks at the digest only when the last part has come.
    match sha256(info) {
        Some(digest) if digest == hex(&Sha256::digest(&content)) => Ok(Some(content)),
        _ => Err("the content has another digest than the bucket says".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_one_token() {
        assert_eq!("acme-plugins_1".parse::<BucketName>().unwrap().as_str(), "acme-plugins_1");
        assert_eq!(BucketName::of(&Prefix::default()).as_str(), "ennio-plugins");
        for wrong in ["", "a.b", "a/b", "..", "*", "a b", &"x".repeat(65)] {
            wrong.parse::<BucketName>().expect_err(wrong);
        }
    }
}
