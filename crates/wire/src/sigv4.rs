//! AWS Signature Version 4: one canonical form, used by the verifier and by [`crate::sign`].
//!
//! Source: "Create a signed AWS API request" in the IAM user guide; texts of refusals as AWS words them.

pub(crate) mod canonical;
pub(crate) mod claim;
pub(crate) mod keys;
pub(crate) mod time;
pub(crate) mod verify;

use sha2::{Digest, Sha256};

/// The only algorithm.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// End of every credential scope.
pub(crate) const TERMINATOR: &str = "aws4_request";
/// Payload hash of requests whose body is not signed.
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Longest validity of a presigned URL: 7 days, in seconds.
pub(crate) const EXPIRES_MAX_S: u32 = 604_800;

/// Lower-case hexadecimal SHA-256.
pub(crate) fn hex_sha256(data: &[u8]) -> [u8; 64] {
    hex32(&Sha256::digest(data).into())
}

/// Lower-case hexadecimal of 32 bytes, without allocation.
pub(crate) fn hex32(bytes: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    // Cannot fail: the lengths fit.
    let _ = hex::encode_to_slice(bytes, &mut text);
    text
}
