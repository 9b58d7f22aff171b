//! Identifiers, each built by one parser that states its grammar.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// An account: exactly 12 decimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId([u8; 12]);

/// The text is not 12 decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account id is 12 decimal digits")]
pub struct BadAccountId;

impl AccountId {
    /// The account that owns everything unless another is named: 000000000000.
    pub const DEFAULT: AccountId = AccountId([b'0'; 12]);

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for AccountId {
    type Err = BadAccountId;
    fn from_str(text: &str) -> Result<Self, BadAccountId> {
        let digits: [u8; 12] = text.as_bytes().try_into().map_err(|_| BadAccountId)?;
        if digits.iter().all(u8::is_ascii_digit) { Ok(AccountId(digits)) } else { Err(BadAccountId) }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

text_serde!(AccountId);

/// A region name: lower-case letters, digits and hyphens, 1 to 32 characters, e.g. `us-east-1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Region(Arc<str>);

/// The text is not a region name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a region is 1 to 32 lower-case letters, digits and hyphens")]
pub struct BadRegion;

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = BadRegion;
    fn from_str(text: &str) -> Result<Self, BadRegion> {
        let ok = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Region(text.into())) } else { Err(BadRegion) }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_serde!(Region);

/// Whom a function with tenant isolation works for: 1 to 256 ASCII letters, digits, spaces and `._:/=+-@`. Source:
/// Lambda API reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TenantId(Arc<str>);

/// The text is not a tenant id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant id is 1 to 256 letters, digits, spaces and ._:/=+-@")]
pub struct BadTenantId;

impl TenantId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = BadTenantId;
    fn from_str(text: &str) -> Result<Self, BadTenantId> {
        let ok = (1..=256).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/=+-@ ".contains(&b));
        if ok { Ok(TenantId(text.into())) } else { Err(BadTenantId) }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_serde!(TenantId);

/// A function's name: 1 to 64 ASCII letters, digits, hyphens and underscores. Source: Lambda API reference.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FunctionName(Arc<str>);

/// The text is not a function name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a function name is 1 to 64 letters, digits, hyphens and underscores")]
pub struct BadFunctionName;

impl FunctionName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FunctionName {
    type Err = BadFunctionName;
    fn from_str(text: &str) -> Result<Self, BadFunctionName> {
        let ok = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if ok { Ok(FunctionName(text.into())) } else { Err(BadFunctionName) }
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_serde!(FunctionName);

/// Which state of a function: `$LATEST`, the one that updates change, or an immutable published number from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// `$LATEST`.
    Latest,
    /// A published version.
    Published(u64),
}

/// The text is neither `$LATEST` nor a number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is $LATEST or a number from 1")]
pub struct BadVersion;

impl FromStr for Version {
    type Err = BadVersion;
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        if text == "$LATEST" {
            return Ok(Version::Latest);
        }
        let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Version::Published(number)),
            _ => Err(BadVersion),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Latest => f.write_str("$LATEST"),
            Version::Published(number) => write!(f, "{number}"),
        }
    }
}

text_serde!(Version);

/// The identity of one request or invocation, written as a version 4 UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 16]);

/// The text is not a hyphenated UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is a hyphenated UUID")]
pub struct BadRequestId;

impl RequestId {
    /// From 16 random bytes; sets the version and variant bits.
    pub const fn from_random(mut bytes: [u8; 16]) -> RequestId {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        RequestId(bytes)
    }

    /// A new one from `entropy`.
    pub fn new(entropy: &dyn crate::Entropy) -> RequestId {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        RequestId::from_random(bytes)
    }

    /// As it is in binary.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Its text, written into a buffer of the caller's.
    pub fn encode(self, text: &mut [u8; 36]) -> &str {
        *text = [b'-'; 36];
        for (bytes, digits) in
            [(0..4, 0..8), (4..6, 9..13), (6..8, 14..18), (8..10, 19..23), (10..16, 24..36)]
        {
            write_hex(&self.0[bytes], &mut text[digits]);
        }
        std::str::from_utf8(text).unwrap_or_default()
    }
}

/// Writes two lower-case digits for each byte, as far as there is room.
pub(crate) fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; 36]))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = BadRequestId;
    fn from_str(text: &str) -> Result<Self, BadRequestId> {
        let raw = text.as_bytes();
        if raw.len() != 36 || [8, 13, 18, 23].iter().any(|&i| raw[i] != b'-') {
            return Err(BadRequestId);
        }
        let nibble = |b: u8| match b {
            b'0'..=b'9' => Ok(b - b'0'),
            b'a'..=b'f' => Ok(b - b'a' + 10),
            _ => Err(BadRequestId),
        };
        let mut digits = raw.iter().filter(|&&b| b != b'-');
        let mut bytes = [0u8; 16];
        for byte in &mut bytes {
            let (Some(&high), Some(&low)) = (digits.next(), digits.next()) else { return Err(BadRequestId) };
            *byte = nibble(high)? << 4 | nibble(low)?;
        }
        Ok(RequestId(bytes))
    }
}

text_serde!(RequestId);

/// The SHA-256 of a deployment package: names its unpacked folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeSha256(pub [u8; 32]);

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code hash is 64 lower-case hexadecimal digits")]
pub struct BadCodeSha256;

impl fmt::Display for CodeSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CodeSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CodeSha256 {
    type Err = BadCodeSha256;
    fn from_str(text: &str) -> Result<Self, BadCodeSha256> {
        let raw = text.as_bytes();
        if raw.len() != 64 || !raw.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(BadCodeSha256);
        }
        let mut bytes = [0u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(raw.chunks(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| BadCodeSha256)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| BadCodeSha256)?;
        }
        Ok(CodeSha256(bytes))
    }
}

text_serde!(CodeSha256);

/// One execution environment on this node; never reused while the node runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EnvironmentId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_print_and_parse_as_version_4_uuids() {
        let id = RequestId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("ffffffff-ffff-4fff-bfff-fffffffffff".parse::<RequestId>().is_err());
    }

    #[test]
    fn versions_are_latest_or_numbers_from_one() {
        assert_eq!("$LATEST".parse(), Ok(Version::Latest));
        assert_eq!("7".parse(), Ok(Version::Published(7)));
        for bad in ["0", "07", "-1", "", "latest", "+1"] {
            assert_eq!(bad.parse::<Version>(), Err(BadVersion), "{bad}");
        }
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        assert!("a-b_C9".parse::<FunctionName>().is_ok());
        for bad in ["", "a.b", "ä", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<FunctionName>().is_err(), "{bad}");
        }
        assert!("12345678901".parse::<AccountId>().is_err());
        assert!("12345678901a".parse::<AccountId>().is_err());
        assert_eq!("123456789012".parse::<AccountId>().unwrap().to_string(), "123456789012");
    }

    #[test]
    fn code_hashes_round_trip() {
        let hash = CodeSha256([0xab; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }
}
