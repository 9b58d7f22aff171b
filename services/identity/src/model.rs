//! What identity keeps and passes around.

use base::{AccountId, Principal, Timestamp};
use std::fmt;

/// How credentials are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `neap serve`: only the root credentials and sessions issued by this node, with verified signatures.
    Serve,
    /// `neap dev`: any credentials, no signature verified.
    Dev,
}

/// The credentials of the account's owner, made at first start.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCredentials {
    /// [`AccountId::DEFAULT`]: a node has one account.
    pub account: AccountId,
    /// `AKIA` and 16 characters of base 32.
    pub access_key: String,
    /// 40 characters of base 64.
    pub secret: String,
}

impl fmt::Debug for RootCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootCredentials({} {})", self.account, self.access_key)
    }
}

/// What the credentials file holds.
pub(crate) struct Kept {
    pub(crate) root: RootCredentials,
    pub(crate) sealing_key: [u8; 32],
}

/// What a session token proves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) principal: Principal,
    pub(crate) expires: Timestamp,
    pub(crate) secret: String,
}
