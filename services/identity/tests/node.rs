//! What a node does with its credentials: from the file to sessions and decisions.
#![allow(clippy::unwrap_used)] // clippy takes only test functions themselves for tests

use base::*;
use identity::{Identity, Mode, OpenError};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

struct Manual(AtomicI64);
impl Clock for Manual {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

struct Counter(AtomicU64);
impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let number = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]);
        }
    }
}

fn open(folder: &tempfile::TempDir, mode: Mode) -> Result<Arc<Identity>, OpenError> {
    let clock = Arc::new(Manual(AtomicI64::new(1_000_000)));
    Identity::open(folder.path(), mode, clock, Arc::new(Counter(AtomicU64::new(99))))
}

async fn session(identity: &Identity) -> SessionCredentials {
    let role = format!("arn:aws:iam::{}:role/worker", identity.root().account);
    identity.issue(&role, "f", 60).await.unwrap()
}

#[tokio::test]
async fn sessions_survive_a_restart_and_end_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder, Mode::Serve).unwrap();
    let issued = session(&first).await;
    let again = open(&folder, Mode::Serve).unwrap();
    assert_eq!(first.root(), again.root());

    let found = again.lookup(&issued.access_key, Some(&issued.token), Timestamp(1_059_999)).unwrap();
    assert_eq!(found.secret.as_deref(), Some(issued.secret.as_str()));
    assert_eq!(found.principal.arn(), format!("arn:aws:sts::{}:assumed-role/worker/f", first.root().account));
    let late = again.lookup(&issued.access_key, Some(&issued.token), Timestamp(1_060_000));
    assert_eq!(late.unwrap_err(), CredentialError::Expired);
    assert_eq!(again.lookup(&issued.access_key, None, Timestamp(0)).unwrap_err(), CredentialError::Unknown);
}

#[tokio::test]
async fn only_roots_key_and_own_sessions_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let identity = open(&folder, Mode::Serve).unwrap();
    let root = identity.lookup(&identity.root().access_key, None, Timestamp(0)).unwrap();
    assert_eq!(root.principal, Principal::Root { account: identity.root().account });
    assert_eq!(root.secret.as_deref(), Some(identity.root().secret.as_str()));

    for (key, token) in
        [("AKIAIOSFODNN7EXAMPLE", None), ("", None), (&*identity.root().access_key, Some("token"))]
    {
        assert_eq!(identity.lookup(key, token, Timestamp(0)).unwrap_err(), CredentialError::Unknown);
    }
    // A well-made session of an account that this node does not have.
    let foreign = identity.issue("arn:aws:iam::999999999999:role/x", "f", 60).await.unwrap();
    let refused = identity.lookup(&foreign.access_key, Some(&foreign.token), Timestamp(0));
    assert_eq!(refused.unwrap_err(), CredentialError::Unknown);
    assert!(identity.issue("arn:aws:iam::1:role/x", "f", 60).await.is_err());
}

#[tokio::test]
async fn dev_takes_any_key_and_reads_the_account_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let identity = open(&folder, Mode::Dev).unwrap();
    for (key, account) in [("123456789012", "123456789012"), ("test", "000000000000")] {
        let found = identity.lookup(key, Some("whatever"), Timestamp(0)).unwrap();
        assert_eq!(found.secret, None);
        assert_eq!(found.principal, Principal::Root { account: account.parse().unwrap() });
    }
    let issued = session(&identity).await;
    let found = identity.lookup(&issued.access_key, Some(&issued.token), Timestamp(0)).unwrap();
    assert!(matches!(found.principal, Principal::Session { .. }));
}

#[test]
fn an_account_acts_on_its_own_resources_only() {
    let folder = tempfile::tempdir().unwrap();
    let identity = open(&folder, Mode::Serve).unwrap();
    let own = identity.root().account;
    let root = Principal::Root { account: own };
    let worker = Principal::Session { account: own, role: "r".into(), session: "s".into() };
    let stranger = Principal::Root { account: "999999999999".parse().unwrap() };
    let function = |account: AccountId| format!("arn:aws:lambda:us-east-1:{account}:function:f");
    for who in [&root, &worker] {
        identity.authorize(who, "lambda:InvokeFunction", &function(own)).unwrap();
        identity.authorize(who, "lambda:ListFunctions", "*").unwrap();
        let denied = identity.authorize(who, "lambda:InvokeFunction", &function(stranger.account()));
        assert!(denied.unwrap_err().to_string().contains("another account"));
    }
    let denied = identity.authorize(&stranger, "lambda:InvokeFunction", &function(stranger.account()));
    assert!(denied.unwrap_err().to_string().contains("unknown to this node"));
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder, Mode::Serve).unwrap();
    let file = folder.path().join("credentials.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(open(&folder, Mode::Serve), Err(OpenError::Exposed { mode: 0o640, .. })));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "{}").unwrap();
    assert!(matches!(open(&folder, Mode::Serve), Err(OpenError::Invalid { .. })));
}

#[test]
fn a_crash_while_writing_leaves_no_broken_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("credentials.json.new"), "{\"half\":").unwrap();
    open(&folder, Mode::Serve).unwrap();
    assert!(!folder.path().join("credentials.json.new").exists());
}
