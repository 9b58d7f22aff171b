//! Packages: durable as blobs, unpacked on this node.
//!
//! Everything that adds or removes one package on this node holds that package's lock, so that removal never overtakes
//! an upload of the same bytes.

use base::{ByteCount, CodeSha256, FunctionSpec, Millis, PackageError, Packages, Unpacked};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use store::{BlobKey, Blobs};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The blobs and the unpacked folders.
pub(crate) struct Code {
    blobs: Blobs,
    packages: Arc<dyn Packages>,
    locks: Mutex<HashMap<CodeSha256, Weak<AsyncMutex<()>>>>,
}

/// Held while a package is added or removed; shared by the parts of an upload.
pub(crate) type Hold = Arc<OwnedMutexGuard<()>>;

impl Code {
    pub(crate) fn new(blobs: Blobs, packages: Arc<dyn Packages>) -> Code {
        Code { blobs, packages, locks: Mutex::default() }
    }

    /// Hash of a package; computed off the asynchronous threads, since packages have megabytes.
    pub(crate) async fn hash(zip: Bytes) -> CodeSha256 {
        let digest = |zip: Bytes| CodeSha256(Sha256::digest(&zip).into());
        let hashed = tokio::task::spawn_blocking({
            let zip = zip.clone();
            move || digest(zip)
        });
        match hashed.await {
            Ok(hash) => hash,
            Err(_) => digest(zip),
        }
    }

    /// Waits for the package's lock.
    pub(crate) async fn hold(&self, code: CodeSha256) -> Hold {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(&code).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(AsyncMutex::new(()));
                    locks.insert(code, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        Arc::new(lock.lock_owned().await)
    }

    /// Stores the package durably. The hold is kept until then: what a later upload finds is durable.
    pub(crate) async fn put(&self, code: CodeSha256, zip: Bytes, _: Hold) -> Result<(), store::Error> {
        let key = key(code)?;
        match self.blobs.exists(&key).await? {
            true => Ok(()),
            false => self.blobs.put(&key, zip).await,
        }
    }

    /// Begins to unpack; goes on, holding the lock, when the caller no longer waits.
    pub(crate) fn unpack(
        &self,
        zip: Bytes,
        hold: Hold,
    ) -> tokio::task::JoinHandle<Result<Unpacked, PackageError>> {
        let packages = Arc::clone(&self.packages);
        tokio::spawn(async move {
            let unpacked = packages.unpack(zip).await;
            drop(hold);
            unpacked
        })
    }

    /// Whether functions of an unpacked package can have layers.
    pub(crate) fn takes_layers(&self, code: &CodeSha256, runtime: &str) -> bool {
        self.packages.takes_layers(code, runtime)
    }

    /// Whether functions of a prepared package read bodies while they arrive.
    pub(crate) fn takes_arriving(&self, code: &CodeSha256, runtime: &str) -> bool {
        self.packages.takes_arriving(code, runtime)
    }

    /// Makes what functions of an unpacked package with this runtime are started from.
    pub(crate) async fn prepare(&self, code: CodeSha256, runtime: &str) -> Result<(), PackageError> {
        self.packages.prepare(&code, runtime).await
    }

    /// Makes sure that the package is unpacked on this node, from its blob if need be.
    pub(crate) async fn ensure(&self, code: CodeSha256) -> Result<(), Missing> {
        if self.packages.has(&code) {
            return Ok(());
        }
        let hold = self.hold(code).await;
        if self.packages.has(&code) {
            return Ok(());
        }
        let zip = self.blobs.get(&key(code)?).await?;
        let unpacked = self.unpack(zip, hold).await;
        unpacked.map_err(|error| PackageError::Storage(std::io::Error::other(error)))??;
        Ok(())
    }

    /// [`Code::ensure`] for everything that a function is started from.
    pub(crate) async fn ensure_all(&self, spec: &FunctionSpec) -> Result<(), Missing> {
        for code in std::iter::once(&spec.code).chain(&spec.layers) {
            self.ensure(*code).await?;
        }
        Ok(())
    }

    /// Size of the files of a package on this node.
    pub(crate) async fn size(&self, code: CodeSha256) -> Result<ByteCount, PackageError> {
        self.packages.size(&code).await
    }

    /// Lets go of what was made of layers that functions no longer have.
    pub(crate) async fn retain_layers(&self, used: Vec<Vec<CodeSha256>>, grace: Millis) {
        self.packages.retain_layers(used, grace).await;
    }

    /// Removes the package from this node and its blob; the caller has checked that nobody references it.
    pub(crate) async fn remove(&self, code: CodeSha256, _: &Hold) -> Result<(), store::Error> {
        self.packages.remove(&code).await;
        self.blobs.delete(&key(code)?).await
    }

    /// Hashes of all packages stored.
    pub(crate) async fn stored(&self) -> Result<Vec<CodeSha256>, store::Error> {
        let keys = self.blobs.list(Some(&folder()?)).await?;
        Ok(keys.iter().filter_map(|key| key.as_str().rsplit('/').next()?.parse().ok()).collect())
    }

    /// The package, for download.
    pub(crate) async fn read(&self, code: CodeSha256) -> Result<(u64, store::BlobStream), store::Error> {
        self.blobs.read(&key(code)?).await
    }
}

/// Why a package is not on this node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missing {
    /// The blob cannot be read.
    #[error(transparent)]
    Blob(#[from] store::Error),
    /// It cannot be unpacked.
    #[error(transparent)]
    Package(#[from] PackageError),
}

fn folder() -> Result<BlobKey, store::Error> {
    BlobKey::new("code").map_err(|error| store::Error::decode("blob key", error))
}

fn key(code: CodeSha256) -> Result<BlobKey, store::Error> {
    BlobKey::new(format!("code/{code}")).map_err(|error| store::Error::decode("blob key", error))
}
