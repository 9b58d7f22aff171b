//! What invocations need to know of functions, in memory: the invoke path reads no store.

use crate::{
    Error,
    logic::{
        aliases::Route,
        recursion::{Mark, RecursiveLoop},
        sampling::DefaultRule,
    },
    model::{EventConfig, FunctionId, Target},
    url::ServedUrl,
};
use base::{FunctionSpec, TenantId, Version};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// A version that can be invoked.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) spec: Arc<FunctionSpec>,
    /// Of its function, without a qualifier.
    pub(crate) arn: Arc<str>,
    /// Whether an environment serves one tenant only.
    pub(crate) per_tenant: bool,
    /// How asynchronous invocations are retried and whom their ends are told, by the qualifier that they name; others by the default.
    pub(crate) policies: BTreeMap<String, EventConfig>,
    /// ARN of the queue that gets events that are given up.
    pub(crate) dead_letters: Option<String>,
    /// What becomes of a chain of invocations that comes back to it.
    pub(crate) recursion: RecursiveLoop,
    /// Decides about traces that nobody has decided about, if the function traces actively.
    pub(crate) sampling: Option<DefaultRule>,
    /// Its function in such a chain.
    pub(crate) mark: Mark,
}

impl Served {
    /// The ARN by which a caller who invokes it has named it.
    pub(crate) fn invoked_arn(&self, target: &Target) -> Arc<str> {
        match target.qualifier {
            None => Arc::clone(&self.arn),
            Some(_) => target.arn().into(),
        }
    }

    /// What environments are started from for a tenant, who must be named exactly where they are isolated.
    pub(crate) fn spec_for(&self, tenant: Option<&TenantId>) -> Result<Arc<FunctionSpec>, Error> {
        match (self.per_tenant, tenant) {
            (false, None) => Ok(Arc::clone(&self.spec)),
            (true, Some(tenant)) => {
                let mut spec = FunctionSpec::clone(&self.spec);
                spec.key.tenant = Some(tenant.clone());
                Ok(Arc::new(spec))
            }
            (true, None) => Err(Error::invalid(
                "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try again.",
            )),
            (false, Some(_)) => Err(Error::invalid(
                "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and try again.",
            )),
        }
    }
}

/// What is known of a function.
#[derive(Debug, Default)]
struct Known {
    versions: BTreeMap<Version, Arc<Served>>,
    aliases: HashMap<String, Route>,
}

/// Versions and aliases by function. A change takes everything of its function out; the next invocation reads it again.
#[derive(Debug)]
pub(crate) struct Specs {
    functions: RwLock<HashMap<FunctionId, Known>>,
    /// Function URLs by id.
    urls: RwLock<HashMap<String, Arc<ServedUrl>>>,
    /// Counts changes, so that what was read before a change is not kept after it.
    epoch: AtomicU64,
    functions_max: usize,
}

impl Specs {
    pub(crate) fn new(functions_max: usize) -> Specs {
        Specs {
            functions: RwLock::default(),
            urls: RwLock::default(),
            epoch: AtomicU64::new(0),
            functions_max,
        }
    }

    pub(crate) fn get(&self, id: &FunctionId, version: Version) -> Option<Arc<Served>> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        functions.get(id)?.versions.get(&version).cloned()
    }

    /// Where an alias leads.
    pub(crate) fn route(&self, id: &FunctionId, alias: &str) -> Option<Route> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        functions.get(id)?.aliases.get(alias).copied()
    }

    pub(crate) fn url(&self, id: &str) -> Option<Arc<ServedUrl>> {
        self.urls.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// To be taken before reading the store, for [`Specs::keep`].
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Keeps what was read of a version, unless anything has changed since `epoch`.
    pub(crate) fn keep(&self, id: FunctionId, version: Version, served: Arc<Served>, epoch: u64) {
        self.keep_of(id, epoch, |known| {
            known.versions.insert(version, served);
        });
    }

    /// The same for an alias.
    pub(crate) fn keep_route(&self, id: FunctionId, alias: String, route: Route, epoch: u64) {
        self.keep_of(id, epoch, |known| {
            known.aliases.insert(alias, route);
        });
    }

    /// The same for a function URL.
    pub(crate) fn keep_url(&self, id: String, url: Arc<ServedUrl>, epoch: u64) {
        let mut urls = self.urls.write().unwrap_or_else(PoisonError::into_inner);
        if self.epoch.load(Ordering::SeqCst) == epoch && urls.len() < self.functions_max {
            urls.insert(id, url);
        }
    }

    fn keep_of(&self, id: FunctionId, epoch: u64, keep: impl FnOnce(&mut Known)) {
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        if self.epoch.load(Ordering::SeqCst) != epoch {
            return;
        }
        if functions.len() >= self.functions_max && !functions.contains_key(&id) {
            // Any other will do: what is in use is soon read again.
            let evicted = functions.keys().next().cloned();
            evicted.and_then(|id| functions.remove(&id));
        }
        keep(functions.entry(id).or_default());
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        functions.clear();
        drop(functions);
        self.urls.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Forgets a function; called after its change is committed and before the change is acknowledged. Whether it was known.
    pub(crate) fn invalidate(&self, id: &FunctionId) -> bool {
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let known = functions.remove(id).is_some();
        drop(functions);
        let mut urls = self.urls.write().unwrap_or_else(PoisonError::into_inner);
        urls.retain(|_, url| url.target.id != *id);
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{logic::states::tests::record, model::Condition};

    #[test]
    fn a_read_that_a_change_overtook_is_not_kept() {
        let specs = Specs::new(1);
        let record = record(Condition::Active);
        let function = crate::model::FunctionRecord {
            id: record.id.clone(),
            last_version: 0,
            tags: BTreeMap::new(),
            reserved_concurrency: None,
        };
        let served = || {
            let spec = Arc::new(record.spec(&record.deployment, &function));
            Arc::new(Served {
                spec,
                arn: record.id.arn().into(),
                per_tenant: false,
                policies: BTreeMap::new(),
                dead_letters: None,
                recursion: RecursiveLoop::default(),
                sampling: None,
                mark: Mark::of(&record.id),
            })
        };
        let epoch = specs.epoch();
        specs.invalidate(&record.id);
        specs.keep(record.id.clone(), Version::Latest, served(), epoch);
        assert!(specs.get(&record.id, Version::Latest).is_none());
        specs.keep(record.id.clone(), Version::Latest, served(), specs.epoch());
        assert!(specs.get(&record.id, Version::Latest).is_some());
        assert!(specs.get(&record.id, Version::Published(1)).is_none());

        let other = FunctionId { name: "other".parse().unwrap(), ..record.id.clone() };
        specs.keep(other.clone(), Version::Latest, served(), specs.epoch());
        assert!(specs.get(&record.id, Version::Latest).is_none(), "the bound holds");
        assert!(specs.get(&other, Version::Latest).is_some());
    }
}
