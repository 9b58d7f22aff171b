//! Who asks, and whether they may: the node's root credentials, short-lived sessions, authorisation, and STS.
//!
//! Owns: the file of root credentials and of the node's sealing key ([`Identity::open`]), session tokens, the ports
//! [`base::Credentials`], [`base::Authorize`] and [`base::Sessions`], and the STS operations of [`api`].
//! Must never know: what the other services offer, how requests are signed (that is `wire`), SQL.
//!
//! # What decides today, plainly
//! There are no IAM users, roles or policies yet. A role is a name: [`AssumeRole`](api) answers for any role ARN of the
//! caller's own account, and a session of a role may do within its account **everything that the account's root
//! may**. Nothing may be done to resources of another account, and a principal of an account that the node does not
//! have is denied. What would need a policy to mean anything (session policies, session tags, external ids, MFA,
//! source identity) is refused by name, not stored.
//!
//! # Sessions
//! A session is not stored: its token carries principal, access key and expiry, sealed with a MAC under the node's
//! sealing key, and its secret is derived from the same key. It therefore survives restarts, costs microseconds
//! to make and to check, and cannot be revoked before it expires, except all at once by replacing the sealing key.
//!
//! # Modes
//! [`Mode::Serve`] knows one account and verifies. [`Mode::Dev`] accepts whatever comes: a 12-digit access key is the
//! account, a session that this node issued is that session, and everything else is account 000000000000;
//! [`base::Credential::secret`] is then `None`, and `wire` verifies no signature.

pub mod api;
mod data;
mod error;
mod logic;
mod model;

pub use error::{Error, OpenError};
pub use model::{Mode, RootCredentials};

use base::{
    AccountId, Arn, Authorize, BadArn, Clock, Credential, CredentialError, Credentials, Denied, Entropy,
    Future, Principal, SessionCredentials, Sessions, Timestamp,
};
use logic::{RoleName, Seal};
use std::{path::Path, sync::Arc};
use subtle::ConstantTimeEq;

/// The identity service of one node.
pub struct Identity {
    mode: Mode,
    root: RootCredentials,
    seal: Seal,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Identity {
    /// Reads `credentials.json` in `folder`, or makes it: mode 0600, complete on disk (file and folder entry fsynced)
    /// before this returns. Blocks; called once at start.
    ///
    /// A file that group or others can read or write is refused ([`OpenError::Exposed`]): its secret may be known, so
    /// the owner must decide whether to keep it.
    pub fn open(
        folder: &Path,
        mode: Mode,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Identity>, OpenError> {
        let kept = data::load_or_create(folder, &*entropy)?;
        let seal = Seal::new(&kept.sealing_key);
        Ok(Arc::new(Identity { mode, root: kept.root, seal, clock, entropy }))
    }

    /// The root credentials, for `neap credentials` and for showing them at start.
    pub fn root(&self) -> &RootCredentials {
        &self.root
    }

    /// How credentials are checked.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    fn serves(&self, account: AccountId) -> bool {
        match self.mode {
            Mode::Serve => account == self.root.account,
            Mode::Dev => true,
        }
    }

    /// Credentials of `principal` for `seconds` from now.
    fn issue_for(&self, principal: &Principal, seconds: u32) -> SessionCredentials {
        let mut nonce = [0; logic::NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let expires = self.clock.now().plus_ms(i64::from(seconds) * 1000);
        self.seal.issue(principal, expires, nonce)
    }

    fn lookup_verified(
        &self,
        access_key: &str,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Credential, CredentialError> {
        let Some(token) = token else {
            // Access keys are not secret, but a lookup that tells nothing by its time needs no argument.
            let known: bool = access_key.as_bytes().ct_eq(self.root.access_key.as_bytes()).into();
            return if known {
                Ok(Credential {
                    secret: Some(self.root.secret.clone()),
                    principal: Principal::Root { account: self.root.account },
                })
            } else {
                Err(CredentialError::Unknown)
            };
        };
        let opened = self.seal.open(access_key, token).ok_or(CredentialError::Unknown)?;
        if now >= opened.expires {
            return Err(CredentialError::Expired);
        }
        if !self.serves(opened.principal.account()) {
            return Err(CredentialError::Unknown);
        }
        Ok(Credential { secret: Some(opened.secret), principal: opened.principal })
    }

    fn lookup_unverified(&self, access_key: &str, token: Option<&str>) -> Credential {
        let session = token.and_then(|token| self.seal.open(access_key, token));
        let principal = match session {
            Some(opened) => opened.principal,
            None => Principal::Root { account: access_key.parse().unwrap_or(AccountId::DEFAULT) },
        };
        Credential { secret: None, principal }
    }
}

impl Credentials for Identity {
    fn lookup(
        &self,
        access_key: &str,
        session_token: Option<&str>,
        now: Timestamp,
    ) -> Result<Credential, CredentialError> {
        match self.mode {
            Mode::Serve => self.lookup_verified(access_key, session_token, now),
            Mode::Dev => Ok(self.lookup_unverified(access_key, session_token)),
        }
    }
}

impl Authorize for Identity {
    fn authorize(&self, who: &Principal, action: &str, resource: &str) -> Result<(), Denied> {
        let verdict = if self.serves(who.account()) {
            logic::decide(who.account(), resource)
        } else {
            Err("the principal's account is unknown to this node")
        };
        verdict.map_err(|reason| Denied {
            who: who.arn(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            reason,
        })
    }
}

impl Sessions for Identity {
    /// Any role ARN (`arn:aws:iam::ACCOUNT:role/[PATH/]NAME`) gives a session; that its account may do anything here
    /// is decided when the session is used.
    fn issue(
        &self,
        role_arn: &str,
        session: &str,
        seconds: u32,
    ) -> Future<'_, Result<SessionCredentials, BadArn>> {
        let issued = role_arn
            .parse::<Arn>()
            .and_then(|arn| RoleName::of(&arn))
            .map(|role| self.issue_for(&role.session(session), seconds));
        Box::pin(std::future::ready(issued))
    }
}
