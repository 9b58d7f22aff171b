//! Blobs: code packages, objects, image layers; on the local disk or in an S3-compatible store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::sqlite::create_folder;
use crate::{Cause, Error};

/// The name of a blob: 1 to 512 bytes; segments of 1 to 200 of `A`–`Z`, `a`–`z`, `0`–`9`, `.`, `_`, `-`, separated by single `/`,
/// none of them beginning with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey(String);

/// A text that is no [`BlobKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blob key {key:?} is not 1 to 512 bytes in segments of A-Z, a-z, 0-9, ., _, - without leading dot")]
pub struct BadBlobKey {
    /// The text.
    pub key: String,
}

impl BlobKey {
    /// Checks `key`.
    ///
    /// # Errors
    /// [`BadBlobKey`] with the grammar.
    pub fn new(key: impl Into<String>) -> Result<BlobKey, BadBlobKey> {
        let key = key.into();
        let segment = |segment: &str| {
            (1..=200).contains(&segment.len())
                && !segment.starts_with('.')
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if key.len() <= 512 && key.split('/').all(segment) {
            Ok(BlobKey(key))
        } else {
            Err(BadBlobKey { key })
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn path(&self) -> Path {
        Path::from(self.0.as_str())
    }
}

impl std::fmt::Display for BlobKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for BlobKey {
    type Err = BadBlobKey;
    fn from_str(key: &str) -> Result<BlobKey, BadBlobKey> {
        BlobKey::new(key)
    }
}

/// Where blobs are.
#[derive(Clone, Debug)]
pub enum BlobLocation {
    /// A folder of its own, made when missing.
    Disk {
        /// The folder.
        folder: PathBuf,
    },
    /// A bucket of an S3-compatible store.
    S3(S3Settings),
}

/// How to reach a bucket.
#[derive(Clone)]
pub struct S3Settings {
    /// `https://host:port`; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// The bucket, which must exist.
    pub bucket: String,
    /// The region, e.g. `us-east-1`.
    pub region: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
    /// Whether an `http://` endpoint is taken. Default no: keys and content would travel readable.
    pub allow_http: bool,
}

impl std::fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("access_key", &self.access_key)
            .field("allow_http", &self.allow_http)
            .finish_non_exhaustive()
    }
}

/// The content of a blob, piece by piece.
pub type BlobStream = BoxStream<'static, Result<Bytes, Error>>;

/// A handle to blob storage; clones share it.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    folder: Option<PathBuf>,
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blobs({})", self.store)
    }
}

impl Blobs {
    /// Opens the storage. A bucket is not contacted yet.
    ///
    /// # Errors
    /// [`Error::Blobs`] when the folder cannot be made, [`Error::Setting`] when the settings are malformed.
    pub fn open(location: BlobLocation) -> Result<Blobs, Error> {
        match location {
            BlobLocation::Disk { folder } => {
                create_folder(&folder).map_err(io_failed)?;
                let store = LocalFileSystem::new_with_prefix(&folder).map_err(failed)?.with_fsync(true);
                Ok(Blobs { store: Arc::new(store), folder: Some(folder) })
            }
            BlobLocation::S3(settings) => Ok(Blobs { store: Arc::new(s3(settings)?), folder: None }),
        }
    }

    /// Keeps `content` under `key`, replacing what was there. Durable when it returns: on disk, content and name are fsynced.
    /// Readers see the old or the new content, never a mixture.
    ///
    /// Cancel-safe: either the whole content is kept or none of it.
    ///
    /// # Errors
    /// [`Error::Blobs`].
    pub async fn put(&self, key: &BlobKey, content: Bytes) -> Result<(), Error> {
        self.store.put(&key.path(), content.into()).await.map_err(failed)?;
        Ok(())
    }

    /// The content.
    ///
    /// # Errors
    /// [`Error::NoBlob`], [`Error::Blobs`].
    pub async fn get(&self, key: &BlobKey) -> Result<Bytes, Error> {
        let found = self.store.get(&key.path()).await.map_err(|error| missing(key, error))?;
        found.bytes().await.map_err(failed)
    }

    /// The content's length in bytes, and the content piece by piece.
    ///
    /// # Errors
    /// [`Error::NoBlob`], [`Error::Blobs`].
    pub async fn read(&self, key: &BlobKey) -> Result<(u64, BlobStream), Error> {
        let found = self.store.get(&key.path()).await.map_err(|error| missing(key, error))?;
        Ok((found.meta.size, found.into_stream().map_err(failed).boxed()))
    }

    /// Whether there is a blob under `key`.
    ///
    /// # Errors
    /// [`Error::Blobs`].
    pub async fn exists(&self, key: &BlobKey) -> Result<bool, Error> {
        match self.store.head(&key.path()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes the blob; succeeds when there is none. After a power loss the blob may be back: what refers to a blob is
    /// deleted first, and what nothing refers to is swept.
    ///
    /// # Errors
    /// [`Error::Blobs`].
    pub async fn delete(&self, key: &BlobKey) -> Result<(), Error> {
        match self.store.delete(&key.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// The keys under the folder `prefix` (whole segments: `a` has `a/b`, not `ab`), all keys when it is `None`; in no
    /// particular order.
    ///
    /// # Errors
    /// [`Error::Blobs`].
    pub async fn list(&self, prefix: Option<&BlobKey>) -> Result<Vec<BlobKey>, Error> {
        let prefix = prefix.map(BlobKey::path);
        let found = self.store.list(prefix.as_ref()).map_err(failed);
        // What is not a key was not put here by us.
        let keys = found.try_filter_map(|meta| async move { Ok(BlobKey::new(meta.location.as_ref()).ok()) });
        keys.try_collect().await
    }

    /// Removes what puts that were interrupted at least an hour ago left on the disk, and gives the number of files. Nothing
    /// to do in a bucket.
    ///
    /// # Errors
    /// [`Error::Blobs`].
    pub async fn sweep(&self) -> Result<u64, Error> {
        let Some(folder) = self.folder.clone() else { return Ok(0) };
        let swept = tokio::task::spawn_blocking(move || sweep(&folder, UNFINISHED_AGE_MIN)).await;
        swept.map_err(|source| Error::Blobs { source: Cause::new(source) })?.map_err(io_failed)
    }
}

/// A put that takes longer is given up.
const UNFINISHED_AGE_MIN: Duration = Duration::from_secs(3600);

/// Removes files whose names no key has: those with `#`, under which a put prepares its content.
fn sweep(folder: &std::path::Path, age_min: Duration) -> std::io::Result<u64> {
    let mut removed = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name().as_encoded_bytes().contains(&b'#') {
                let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
                if age >= age_min {
                    std::fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
        }
    }
    Ok(removed)
}

fn io_failed(source: std::io::Error) -> Error {
    Error::Blobs { source: Cause::new(source) }
}

fn s3(settings: S3Settings) -> Result<impl ObjectStore, Error> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(settings.bucket)
        .with_region(settings.region)
        .with_access_key_id(settings.access_key)
        .with_secret_access_key(settings.secret_key)
        .with_allow_http(settings.allow_http);
    if let Some(endpoint) = settings.endpoint {
        if endpoint.starts_with("http://") && !settings.allow_http {
            let reason = String::from("http:// needs allow_http");
            return Err(Error::Setting { setting: "blob endpoint", reason });
        }
        builder = builder.with_endpoint(endpoint);
    }
    builder.build().map_err(|error| Error::Setting { setting: "blob storage", reason: error.to_string() })
}

fn failed(source: object_store::Error) -> Error {
    Error::Blobs { source: Cause::new(source) }
}

fn missing(key: &BlobKey, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NoBlob { key: key.to_string() },
        error => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_what_is_unfinished_and_old() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        for name in ["a/whole", "a/half#1"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        assert_eq!(sweep(folder.path(), UNFINISHED_AGE_MIN).unwrap(), 0);
        assert_eq!(sweep(folder.path(), Duration::ZERO).unwrap(), 1);
        assert!(folder.path().join("a/whole").exists() && !folder.path().join("a/half#1").exists());
    }

    #[test]
    fn keys_cannot_leave_their_folder() {
        for good in ["a", "code/0f3a", "a-b_c.d/e.zip"] {
            assert!(BlobKey::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a b", "a#1", "ä", "a\0", &"a".repeat(513)]
        {
            assert!(BlobKey::new(bad).is_err(), "{bad}");
        }
    }
}
