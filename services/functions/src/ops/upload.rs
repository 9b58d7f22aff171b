//! From the bytes in a request to a package on this node.

use crate::{
    Error, Functions,
    code::{Code, Missing},
    data,
    logic::states,
    model::Condition,
};
use base::{CodeSha256, PackageError};
use bytes::Bytes;

/// A package that is stored durably.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uploaded {
    pub(crate) code: CodeSha256,
    pub(crate) size: u64,
    /// Whether it is unpacked already; else the upkeep finishes it.
    pub(crate) ready: bool,
}

impl Functions {
    /// Stores and unpacks a package. What cannot be unpacked is refused here, as long as that is known within
    /// [`crate::Settings::unpack_wait`].
    /// Cancel-safe: a package that ends up unreferenced is removed by the upkeep.
    pub(crate) async fn upload(&self, zip: Bytes) -> Result<Uploaded, Error> {
        let size = zip.len() as u64;
        let code = Code::hash(zip.clone()).await;
        let hold = self.code.hold(code).await;
        let now = self.now();
        self.db.write(move |tx| data::touch_package(tx, code, now)).await?;
        let unpacking = self.code.unpack(zip.clone(), hold.clone());
        let limited = tokio::time::timeout(self.settings.unpack_wait.duration(), unpacking);
        let (stored, unpacked) = tokio::join!(self.code.put(code, zip, hold), limited);
        let ready = match unpacked {
            Err(_still_at_it) => false,
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(refused))) => return Err(refused.into()),
            Ok(Err(panicked)) => return Err(PackageError::Storage(std::io::Error::other(panicked)).into()),
        };
        stored?;
        Ok(Uploaded { code, size, ready })
    }
}

/// Unpacks a package that versions wait for, if need be, and ends their waiting. An error means that it is still open.
pub(crate) async fn settle_code(functions: &Functions, code: CodeSha256) -> Result<(), Error> {
    let outcome = match functions.code.ensure(code).await {
        Ok(()) => Ok(()),
        Err(Missing::Blob(error)) => return Err(error.into()),
        Err(Missing::Package(error @ PackageError::Storage(_))) => return Err(error.into()),
        Err(Missing::Package(error)) => {
            tracing::warn!(%code, %error, "a package cannot be unpacked");
            Err(std::sync::Arc::new(error))
        }
    };
    let settled = functions
        .db
        .write(move |tx| {
            let mut settled = Vec::new();
            for mut record in data::unsettled(tx, code)? {
                let replaced = match &record.condition {
                    Condition::Updating { serving } if outcome.is_ok() => Some(record.key(serving)),
                    _ => None,
                };
                record.condition =
                    states::settle(record.condition, outcome.as_ref().copied().map_err(|e| &**e));
                data::put_version(tx, &record)?;
                settled.push((record.id, replaced));
            }
            Ok::<_, Error>(settled)
        })
        .await?;
    for (id, replaced) in settled {
        functions.specs.invalidate(&id);
        if let Some(key) = replaced {
            functions.execute.retire(&key);
        }
    }
    Ok(())
}
