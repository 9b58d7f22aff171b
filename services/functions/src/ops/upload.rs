//! From the bytes in a request to a package on this node.

use crate::{
    Error, Functions,
    code::{Code, Missing},
    data,
    logic::{layers, states},
    model::{Condition, Configuration, VersionRecord},
    snapstart,
};
use base::{ByteCount, CodeSha256, Millis, PackageError};
use bytes::Bytes;
use std::sync::Arc;

/// A package that is stored durably.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uploaded {
    pub(crate) code: CodeSha256,
    pub(crate) size: u64,
    /// Whether it is unpacked and prepared already; else the upkeep finishes it.
    pub(crate) ready: bool,
    /// Size of its files, if it is unpacked.
    pub(crate) unpacked: Option<u64>,
}

impl Functions {
    /// Refuses layers where a package's functions cannot have any.
    pub(crate) fn refuse_layers(&self, code: CodeSha256, configuration: &Configuration) -> Result<(), Error> {
        if configuration.layers.is_empty() || self.code.takes_layers(&code, &configuration.runtime) {
            return Ok(());
        }
        Err(Error::InvalidParameter("a WebAssembly function has no layers".into()))
    }

    /// Stores and unpacks a package. What cannot be unpacked is refused here, as long as that is known within
    /// [`crate::Settings::unpack_wait`].
    /// `runtime`: of the function that the package is for.
    /// Cancel-safe: a package that ends up unreferenced is removed by the upkeep.
    pub(crate) async fn upload(&self, zip: Bytes, runtime: &str) -> Result<Uploaded, Error> {
        let mut uploaded = self.upload_within(zip, Some(self.settings.unpack_wait)).await?;
        if uploaded.ready {
            let preparing = self.code.prepare(uploaded.code, runtime);
            match tokio::time::timeout(self.settings.prepare_wait.duration(), preparing).await {
                Ok(prepared) => prepared?,
                Err(_still_at_it) => uploaded.ready = false,
            }
        }
        Ok(uploaded)
    }

    /// [`Functions::upload`] of what no function is started from by itself; waits until it is unpacked.
    pub(crate) async fn upload_layer(&self, zip: Bytes) -> Result<Uploaded, Error> {
        self.upload_within(zip, None).await
    }

    /// Waits as long as `wait` for the unpacking, or to its end.
    async fn upload_within(&self, zip: Bytes, wait: Option<Millis>) -> Result<Uploaded, Error> {
        let size = zip.len() as u64;
        let code = Code::hash(zip.clone()).await;
        let hold = self.code.hold(code).await;
        let now = self.now();
        self.db.write(move |tx| data::touch_package(tx, code, now)).await?;
        let unpacking = self.code.unpack(zip.clone(), hold.clone());
        let limited = async {
            match wait {
                Some(wait) => tokio::time::timeout(wait.duration(), unpacking).await.ok(),
                None => Some(unpacking.await),
            }
        };
        let (stored, unpacked) = tokio::join!(self.code.put(code, zip, hold), limited);
        let unpacked = match unpacked {
            // Still at it.
            None => None,
            Some(Ok(Ok(unpacked))) => Some(unpacked.unpacked.0),
            Some(Ok(Err(refused))) => return Err(refused.into()),
            Some(Err(panicked)) => return Err(PackageError::Storage(std::io::Error::other(panicked)).into()),
        };
        stored?;
        Ok(Uploaded { code, size, ready: unpacked.is_some(), unpacked })
    }
}

/// Unpacks a package that versions of a runtime wait for, if need be, and ends their waiting. An error means that it is still
/// open.
pub(crate) async fn settle_code(functions: &Functions, code: CodeSha256, runtime: &str) -> Result<(), Error> {
    let ensured = match functions.code.ensure(code).await {
        Ok(()) => functions.code.prepare(code, runtime).await.map_err(Missing::from),
        missing => missing,
    };
    let outcome = match ensured {
        Ok(()) => Ok(functions.code.size(code).await?),
        Err(Missing::Blob(error)) => return Err(error.into()),
        Err(Missing::Package(error @ PackageError::Storage(_))) => return Err(error.into()),
        Err(Missing::Package(error)) => {
            tracing::warn!(%code, %error, "a package cannot be unpacked");
            Err(Arc::new(error))
        }
    };
    let outcome = Arc::new(outcome);
    let of_runtime = runtime.to_owned();
    let initialising = settle(functions, code, Arc::clone(&outcome), move |record| {
        record.deployment.configuration.runtime == of_runtime
    })
    .await?;
    snapstart::initialise_all(functions, initialising).await
}

/// What is known of a package: the size of its files, or why it is none.
type Known = Arc<Result<ByteCount, Arc<PackageError>>>;

/// Ends the waiting of versions that wait for a package; but for those that are initialised first, which it returns.
async fn settle(
    functions: &Functions,
    code: CodeSha256,
    outcome: Known,
    concerns: impl Fn(&VersionRecord) -> bool + Send + 'static,
) -> Result<Vec<VersionRecord>, Error> {
    let (settled, initialising) = functions
        .db
        .write(move |tx| {
            let (mut settled, mut initialising) = (Vec::new(), Vec::new());
            for mut record in data::unsettled(tx, code)?.into_iter().filter(&concerns) {
                let replaced = match &record.condition {
                    Condition::Updating { serving } => Some((record.key(serving), serving.id)),
                    _ => None,
                };
                let refused = match &*outcome {
                    Ok(size) => fits(*size, &record.deployment.configuration).err(),
                    Err(error) => Some(Arc::clone(error)),
                };
                if refused.is_none() && record.snap_starts() {
                    initialising.push(record);
                    continue;
                }
                record.condition = states::settle(record.condition, refused.as_deref().map_or(Ok(()), Err));
                data::put_version(tx, &record)?;
                let replaced =
                    replaced.filter(|(_, id)| record.serving().is_none_or(|serving| serving.id != *id));
                settled.push((record.id, replaced.map(|(key, _)| key)));
            }
            Ok::<_, Error>((settled, initialising))
        })
        .await?;
    for (id, replaced) in settled {
        let in_use = functions.specs.invalidate(&id);
        if let Some(key) = replaced {
            functions.execute.retire(&key);
        }
        if in_use {
            functions.read_ahead(&id).await;
        }
    }
    Ok(initialising)
}

/// Whether a package of `size` may be of a function with these layers.
fn fits(size: ByteCount, configuration: &Configuration) -> Result<(), Arc<PackageError>> {
    layers::check_size(size.0, &configuration.layers)
        .map_err(|_| Arc::new(PackageError::TooLarge { max: base::limits::PACKAGE_UNPACKED_MAX }))
}
