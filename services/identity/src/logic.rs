//! The rules: new credentials, sealing and opening sessions, and who may do what. Pure.

use crate::model::{Kept, Opened, RootCredentials};
use base::{AccountId, Arn, BadArn, Entropy, Principal, SessionCredentials, Timestamp};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// Characters of a secret access key.
pub(crate) const SECRET_CHARS: usize = 40;
/// Randomness in an access key: 16 characters of base 32.
pub(crate) const NONCE_BYTES: usize = 10;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const MAC_BYTES: usize = 32;
/// Version, kind, expiry, account.
const HEADER_BYTES: usize = 1 + 1 + 8 + 12;
const TOKEN_VERSION: u8 = 1;
const KIND_ROOT: u8 = 0;
const KIND_ROLE: u8 = 1;
/// A role's path is at most 512, its name 64 and a session's name 64 characters; a token beyond this is not ours.
const TOKEN_CHARS_MAX: usize = 4 * 1024;

/// Root credentials and a sealing key from fresh randomness.
pub(crate) fn new_credentials(entropy: &dyn Entropy) -> Kept {
    let mut nonce = [0; NONCE_BYTES];
    entropy.fill(&mut nonce);
    let mut secret = [0; SECRET_CHARS / 4 * 3];
    entropy.fill(&mut secret);
    let mut sealing_key = [0; 32];
    entropy.fill(&mut sealing_key);
    let root = RootCredentials {
        account: AccountId::DEFAULT,
        access_key: access_key("AKIA", &nonce),
        secret: STANDARD.encode(secret),
    };
    Kept { root, sealing_key }
}

/// `prefix` and 16 characters of base 32.
fn access_key(prefix: &str, nonce: &[u8; NONCE_BYTES]) -> String {
    let mut key = String::with_capacity(prefix.len() + NONCE_BYTES * 8 / 5);
    key.push_str(prefix);
    for group in nonce.chunks(5) {
        let bits = group.iter().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        for shift in (0..8).rev() {
            key.push(char::from(BASE32[(bits >> (shift * 5) & 31) as usize]));
        }
    }
    key
}

/// Whether `key` has the form of a long-lived access key.
pub(crate) fn is_access_key(key: &str) -> bool {
    key.len() == 20
        && key.starts_with("AKIA")
        && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Makes and checks sessions. The two keys are derived from the node's sealing key, so that no value is ever used
/// both as a MAC and as a secret.
pub(crate) struct Seal {
    mac: HmacSha256,
    secret: HmacSha256,
}

impl Seal {
    pub(crate) fn new(sealing_key: &[u8; 32]) -> Seal {
        let derive = |label: &str| {
            let key = keyed(sealing_key).chain_update(label).finalize().into_bytes();
            keyed(&key)
        };
        Seal { mac: derive("neap session token 1"), secret: derive("neap session secret 1") }
    }

    /// Credentials of `principal` until `expires`; `nonce` must be fresh randomness.
    pub(crate) fn issue(
        &self,
        principal: &Principal,
        expires: Timestamp,
        nonce: [u8; NONCE_BYTES],
    ) -> SessionCredentials {
        let access_key = access_key("ASIA", &nonce);
        let mut token = encode(principal, expires);
        let mac = self.mac(&access_key, &token);
        let secret = self.secret(&access_key, &token);
        token.extend_from_slice(&mac.finalize().into_bytes());
        SessionCredentials { access_key, secret, token: URL_SAFE_NO_PAD.encode(token), expires }
    }

    /// What `token` proves about `access_key`; `None` if it was not made here, or was altered. Does not look at time.
    pub(crate) fn open(&self, access_key: &str, token: &str) -> Option<Opened> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        // Constant-time comparison.
        self.mac(access_key, payload).verify_slice(mac).ok()?;
        let (principal, expires) = decode(payload)?;
        Some(Opened { principal, expires, secret: self.secret(access_key, payload) })
    }

    /// The access key has a fixed length, so no boundary between it and the payload is needed; all the same there is one.
    fn mac(&self, access_key: &str, payload: &[u8]) -> HmacSha256 {
        self.mac.clone().chain_update(access_key).chain_update([0]).chain_update(payload)
    }

    fn secret(&self, access_key: &str, payload: &[u8]) -> String {
        let mac = self.secret.clone().chain_update(access_key).chain_update([0]).chain_update(payload);
        STANDARD.encode(&mac.finalize().into_bytes()[..SECRET_CHARS / 4 * 3])
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    // HMAC takes keys of any length; the error type exists for other MACs.
    match <HmacSha256 as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

/// Version, kind, expiry in ms (big-endian), account; for roles also the role's length (2 bytes), role and session.
fn encode(principal: &Principal, expires: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(TOKEN_VERSION);
    bytes.push(match principal {
        Principal::Root { .. } => KIND_ROOT,
        Principal::Session { .. } => KIND_ROLE,
    });
    bytes.extend_from_slice(&expires.0.to_be_bytes());
    bytes.extend_from_slice(principal.account().as_str().as_bytes());
    if let Principal::Session { role, session, .. } = principal {
        bytes.extend_from_slice(&(role.len() as u16).to_be_bytes());
        bytes.extend_from_slice(role.as_bytes());
        bytes.extend_from_slice(session.as_bytes());
    }
    bytes
}

fn decode(payload: &[u8]) -> Option<(Principal, Timestamp)> {
    let (header, rest) = payload.split_at_checked(HEADER_BYTES)?;
    let [version, kind, header @ ..] = header else { return None };
    let (expires, account) = header.split_first_chunk::<8>()?;
    let account: AccountId = std::str::from_utf8(account).ok()?.parse().ok()?;
    let principal = match (*version, *kind) {
        (TOKEN_VERSION, KIND_ROOT) if rest.is_empty() => Principal::Root { account },
        (TOKEN_VERSION, KIND_ROLE) => {
            let (length, names) = rest.split_first_chunk::<2>()?;
            let (role, session) = names.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            Principal::Session {
                account,
                role: String::from_utf8(role.to_vec()).ok()?,
                session: String::from_utf8(session.to_vec()).ok()?,
            }
        }
        _ => return None,
    };
    Some((principal, Timestamp(i64::from_be_bytes(*expires))))
}

/// A role named by its ARN.
pub(crate) struct RoleName {
    pub(crate) account: AccountId,
    /// Path (without leading slash) and name.
    pub(crate) role: String,
}

impl RoleName {
    /// `arn:aws:iam::ACCOUNT:role/[PATH/]NAME`, path at most 512, name 1 to 64 characters of `[\w+=,.@-]`.
    /// Source: IAM API reference, `CreateRole`.
    pub(crate) fn of(arn: &Arn) -> Result<RoleName, BadArn> {
        let role = arn.resource.strip_prefix("role/").ok_or(BadArn)?;
        let (path, name) = role.rsplit_once('/').unwrap_or(("", role));
        let path_fine = path.len() <= 510 && path.bytes().all(|b| b.is_ascii_graphic());
        if &*arn.service != "iam" || arn.region.is_some() || !path_fine || !is_name(name, 1) {
            return Err(BadArn);
        }
        Ok(RoleName { account: arn.account.ok_or(BadArn)?, role: role.to_owned() })
    }

    pub(crate) fn session(self, session: &str) -> Principal {
        Principal::Session { account: self.account, role: self.role, session: session.to_owned() }
    }
}

/// `min` to 64 characters of `[\w+=,.@-]`.
pub(crate) fn is_name(text: &str, min: usize) -> bool {
    (min..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

/// A stable identifier of a role or account, as IAM shows it: `AROA…`.
pub(crate) fn role_id(account: AccountId, role: &str) -> String {
    use sha2::Digest;
    let digest = Sha256::new().chain_update(account.as_str()).chain_update(role).finalize();
    let mut nonce = [0; NONCE_BYTES];
    nonce.copy_from_slice(&digest[..NONCE_BYTES]);
    access_key("AROA", &nonce)
}

/// Whether a principal of `account` may act on `resource`: `*`, or an ARN of its own account or of none (such as a
/// bucket's). The `Err` is the reason.
pub(crate) fn decide(account: AccountId, resource: &str) -> Result<(), &'static str> {
    if resource == "*" {
        return Ok(());
    }
    let mut parts = resource.splitn(6, ':');
    let mut next = || parts.next();
    let (Some("arn"), Some("aws"), Some(_service), Some(_region), Some(owner), Some(_resource)) =
        (next(), next(), next(), next(), next(), next())
    else {
        return Err("the resource is not an ARN");
    };
    if owner.is_empty() || owner == account.as_str() {
        Ok(())
    } else {
        Err("the resource belongs to another account and no resource-based policy allows it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(text: &str) -> AccountId {
        text.parse().unwrap()
    }

    fn session() -> Principal {
        Principal::Session {
            account: account("123456789012"),
            role: "team/worker".into(),
            session: "me".into(),
        }
    }

    #[test]
    fn a_session_opens_to_what_was_sealed() {
        let seal = Seal::new(&[7; 32]);
        for principal in [session(), Principal::Root { account: account("000000000001") }] {
            let issued = seal.issue(&principal, Timestamp(5_000), [9; NONCE_BYTES]);
            assert!(issued.access_key.starts_with("ASIA") && issued.access_key.len() == 20);
            assert_eq!(issued.secret.len(), SECRET_CHARS);
            let opened = seal.open(&issued.access_key, &issued.token).unwrap();
            assert_eq!(opened, Opened { principal, expires: Timestamp(5_000), secret: issued.secret });
        }
    }

    #[test]
    fn a_token_belongs_to_one_key_and_one_node() {
        let issued = Seal::new(&[7; 32]).issue(&session(), Timestamp(5_000), [9; NONCE_BYTES]);
        let other = Seal::new(&[7; 32]).issue(&session(), Timestamp(5_000), [8; NONCE_BYTES]);
        assert!(Seal::new(&[7; 32]).open(&other.access_key, &issued.token).is_none());
        assert!(Seal::new(&[8; 32]).open(&issued.access_key, &issued.token).is_none());
        assert_ne!(issued.secret, other.secret);
    }

    #[test]
    fn resources_of_other_accounts_are_denied() {
        let own = account("123456789012");
        assert_eq!(decide(own, "*"), Ok(()));
        assert_eq!(decide(own, "arn:aws:lambda:us-east-1:123456789012:function:f"), Ok(()));
        assert_eq!(decide(own, "arn:aws:s3:::bucket/key:with:colons"), Ok(()));
        for other in
            ["arn:aws:lambda:us-east-1:999999999999:function:f", "", "function:f", "arn:gcp:a:b::c", "**"]
        {
            assert!(decide(own, other).is_err(), "{other}");
        }
    }

    #[test]
    fn role_arns_are_parsed_strictly() {
        let parse = |text: &str| text.parse::<Arn>().and_then(|arn| RoleName::of(&arn)).map(|role| role.role);
        assert_eq!(
            parse("arn:aws:iam::123456789012:role/service-role/a.b").as_deref(),
            Ok("service-role/a.b")
        );
        for bad in [
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam:us-east-1:123456789012:role/a",
            "arn:aws:iam:::role/a",
            "arn:aws:sts::123456789012:role/a",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    struct Counting;
    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            for (i, byte) in buffer.iter_mut().enumerate() {
                *byte = i as u8 ^ 0xa5;
            }
        }
    }

    #[test]
    fn new_credentials_have_the_forms_that_tools_expect() {
        let kept = new_credentials(&Counting);
        assert!(is_access_key(&kept.root.access_key));
        assert_eq!(kept.root.secret.len(), SECRET_CHARS);
        assert_eq!(kept.root.account, AccountId::DEFAULT);
    }

    proptest! {
        #[test]
        fn no_altered_token_opens(position in 0usize..200, flip in 1u8..=255) {
            let seal = Seal::new(&[7; 32]);
            let issued = seal.issue(&session(), Timestamp(5_000), [9; NONCE_BYTES]);
            let mut bytes = URL_SAFE_NO_PAD.decode(&issued.token).unwrap();
            let position = position % bytes.len();
            bytes[position] ^= flip;
            prop_assert!(seal.open(&issued.access_key, &URL_SAFE_NO_PAD.encode(bytes)).is_none());
        }

        #[test]
        fn no_text_makes_open_panic(key in ".{0,40}", token in ".{0,200}") {
            prop_assert!(Seal::new(&[7; 32]).open(&key, &token).is_none());
        }
    }
}
