//! Accounts, credentials, sessions and authorisation.
