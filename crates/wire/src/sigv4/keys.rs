//! Signing keys, and a bounded cache of them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

/// A keyed hash ready to take the string to sign; cloning it is cheaper than keying it.
pub(crate) type SigningKey = Hmac<Sha256>;

/// For what a signing key is valid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Scope<'a> {
    /// `YYYYMMDD`.
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// Derives the signing key of a secret.
pub(crate) fn derive(secret: &str, scope: Scope<'_>) -> SigningKey {
    let mut first = Vec::with_capacity(4 + secret.len());
    first.extend_from_slice(b"AWS4");
    first.extend_from_slice(secret.as_bytes());
    let mut key = mac(&first, scope.date.as_bytes());
    for part in [scope.region, scope.service, super::TERMINATOR] {
        key = mac(&key, part.as_bytes());
    }
    keyed(&key)
}

fn keyed(key: &[u8]) -> SigningKey {
    match SigningKey::new_from_slice(key) {
        Ok(keyed) => keyed,
        // HMAC takes keys of any length.
        Err(_) => unreachable!("HMAC refused a key"),
    }
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Slots of the cache: access keys times regions and services in use at once, more than enough for one node.
const SLOTS: usize = 1024;

/// The last key derived for each slot; a slot is chosen by a hash, so the cache is bounded without bookkeeping.
pub(crate) struct Cache {
    slots: Box<[Mutex<Option<Entry>>]>,
}

struct Entry {
    secret: String,
    date: String,
    region: String,
    service: String,
    key: SigningKey,
}

impl Cache {
    pub(crate) fn new() -> Cache {
        Cache { slots: (0..SLOTS).map(|_| Mutex::new(None)).collect() }
    }

    /// The signing key, derived unless it was the slot's last.
    pub(crate) fn get(&self, access_key: &str, secret: &str, scope: Scope<'_>) -> SigningKey {
        let mut hash = DefaultHasher::new();
        (access_key, scope).hash(&mut hash);
        let slot = hash.finish() as usize % SLOTS;
        let Some(slot) = self.slots.get(slot) else { return derive(secret, scope) };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = slot.as_ref().filter(|entry| entry.is_for(secret, scope)) {
            return entry.key.clone();
        }
        let key = derive(secret, scope);
        *slot = Some(Entry {
            secret: secret.to_owned(),
            date: scope.date.to_owned(),
            region: scope.region.to_owned(),
            service: scope.service.to_owned(),
            key: key.clone(),
        });
        key
    }
}

impl Entry {
    /// The secret decides whether the cached key is right; it is ours, not the caller's, so that the time of this
    /// comparison tells nothing.
    fn is_for(&self, secret: &str, scope: Scope<'_>) -> bool {
        self.date == scope.date
            && self.service == scope.service
            && self.region == scope.region
            && self.secret == secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope<'static> = Scope { date: "20150830", region: "us-east-1", service: "iam" };
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn proof(key: SigningKey) -> [u8; 32] {
        key.finalize().into_bytes().into()
    }

    #[test]
    fn a_changed_secret_or_scope_gets_another_key() {
        let cache = Cache::new();
        let first = proof(cache.get("AKID", SECRET, SCOPE));
        assert_eq!(first, proof(derive(SECRET, SCOPE)));
        assert_eq!(first, proof(cache.get("AKID", SECRET, SCOPE)));
        assert_ne!(first, proof(cache.get("AKID", "other", SCOPE)));
        assert_ne!(first, proof(cache.get("AKID", SECRET, Scope { date: "20150831", ..SCOPE })));
    }
}
