//! Reconciles packages: idempotent, driven by a signal and a slow timer, safe to run on many nodes.

use crate::{Error, Functions, code::Missing, data, ops::settle_code};
use base::{CodeSha256, Timestamp};
use std::{
    collections::{BTreeSet, HashSet},
    pin::pin,
    sync::Arc,
};
use tokio::task::JoinSet;

/// Rows read at once.
const PAGE: i64 = 500;
/// Packages for which versions wait, at work at once; the others wait for one of them.
const SETTLING_MAX: usize = 16;

/// A package, and the runtime of the versions that wait for it.
type Awaited = (CodeSha256, String);

pub(super) async fn run(functions: Arc<Functions>, stop: impl Future<Output = ()> + Send) {
    let mut stop = pin!(stop);
    let catch_up = async {
        logged("packages on this node", unpack_referenced(&functions).await);
        logged("stray packages", sweep_strays(&functions).await);
        std::future::pending::<()>().await;
    };
    let work = async {
        let mut settling = Settling::default();
        loop {
            logged("pending versions", settling.begin(&functions).await);
            logged("reservations", functions.tell_reservations().await);
            logged("versions with SnapStart", functions.tell_prepared().await);
            logged("unreferenced packages", sweep(&functions).await);
            logged("old changes", functions.db.write(data::forget_changes).await);
            logged("unused sets of layers", sweep_layers(&functions).await);
            let timer = tokio::time::sleep(functions.settings.upkeep_every.duration());
            tokio::select! {
                () = functions.upkeep.notified() => {}
                // Versions that have just become active may have environments to be ready.
                Some(()) = settling.next() => {}
                () = timer => settling.failed.clear(),
            }
        }
    };
    tokio::select! {
        () = &mut stop => {}
        () = work => {}
        () = catch_up => {}
    }
}

/// An error here is not the end: the next round tries again.
fn logged(what: &'static str, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::error!(what, %error, "upkeep");
    }
}

/// After a start: whatever versions reference is unpacked on this node, so that no invocation has to wait for it.
async fn unpack_referenced(functions: &Functions) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let from = after.clone();
        let codes = functions.db.read(move |tx| data::referenced_codes(tx, &from, PAGE)).await?;
        let Some(last) = codes.last() else { return Ok(()) };
        after = last.to_string();
        for code in codes {
            if let Err(error) = ready_here(functions, code).await {
                tracing::error!(%code, %error, "a package cannot be unpacked on this node");
            }
        }
    }
}

/// Unpacks one of them and makes what its functions are started from.
async fn ready_here(functions: &Functions, code: CodeSha256) -> Result<(), Error> {
    let refused = |missing| match missing {
        Missing::Blob(error) => Error::from(error),
        Missing::Package(error) => Error::from(error),
    };
    functions.code.ensure(code).await.map_err(refused)?;
    let records = functions.db.read(move |tx| data::versions_of_code(tx, code)).await?;
    let deployments = records.iter().flat_map(|record| [Some(&record.deployment), record.serving()]);
    let deployments = deployments.flatten().filter(|deployment| deployment.code == code);
    let runtimes: BTreeSet<&str> = deployments.map(|one| one.configuration.runtime.as_str()).collect();
    for runtime in runtimes {
        functions.code.prepare(code, runtime).await?;
    }
    Ok(())
}

/// Finishes versions that wait for their package: those of this node's requests and those of an interrupted life. Side by side:
/// one that takes long holds nobody else up.
#[derive(Default)]
struct Settling {
    work: JoinSet<(Awaited, Result<(), Error>)>,
    under_way: HashSet<Awaited>,
    /// Could not be finished; are tried again when the timer says so.
    failed: HashSet<Awaited>,
}

impl Settling {
    /// Begins whatever is not under way, as far as there is room.
    async fn begin(&mut self, functions: &Arc<Functions>) -> Result<(), Error> {
        for awaited in functions.db.read(data::unsettled_codes).await? {
            if self.under_way.len() >= SETTLING_MAX {
                break;
            }
            if self.failed.contains(&awaited) || !self.under_way.insert(awaited.clone()) {
                continue;
            }
            let functions = Arc::clone(functions);
            self.work.spawn(async move {
                let (code, runtime) = &awaited;
                let settled = settle_code(&functions, *code, runtime).await;
                (awaited, settled)
            });
        }
        Ok(())
    }

    /// One is over. `None`: there is none. Cancel-safe.
    async fn next(&mut self) -> Option<()> {
        match self.work.join_next().await? {
            Ok((awaited, settled)) => {
                self.under_way.remove(&awaited);
                if let Err(error) = settled {
                    tracing::error!(code = %awaited.0, %error, "a version stays pending");
                    self.failed.insert(awaited);
                }
            }
            Err(error) => {
                tracing::error!(%error, "finishing a version failed");
                // Which one it was is not known: the others are begun again beside themselves, which is idempotent.
                self.under_way.clear();
            }
        }
        Some(())
    }
}

/// Removes packages that nobody has referenced for a while.
async fn sweep(functions: &Functions) -> Result<(), Error> {
    let grace = i64::try_from(functions.settings.package_grace.0).unwrap_or(i64::MAX);
    let before = Timestamp(functions.now().0.saturating_sub(grace));
    loop {
        let codes = functions.db.read(move |tx| data::unreferenced(tx, before, PAGE)).await?;
        for code in &codes {
            remove(functions, *code, before).await?;
        }
        if codes.is_empty() {
            return Ok(());
        }
    }
}

/// Removes what was made of layers that no function has together any more.
async fn sweep_layers(functions: &Functions) -> Result<(), Error> {
    let used = functions.db.read(data::layer_sets).await?;
    functions.code.retain_layers(used, functions.settings.package_grace).await;
    Ok(())
}

/// After a start: removes blobs that no row knows, leftovers of a removal that was interrupted.
async fn sweep_strays(functions: &Functions) -> Result<(), Error> {
    for code in functions.code.stored().await? {
        let hold = functions.code.hold(code).await;
        if !functions.db.read(move |tx| data::package_known(tx, code)).await? {
            functions.code.remove(code, &hold).await?;
        }
    }
    Ok(())
}

async fn remove(functions: &Functions, code: CodeSha256, before: Timestamp) -> Result<(), Error> {
    let hold = functions.code.hold(code).await;
    // The row goes first: should this end here, the blob without a row is found by the next sweep.
    if functions.db.write(move |tx| data::forget_package(tx, code, before)).await? {
        functions.code.remove(code, &hold).await?;
    }
    Ok(())
}
