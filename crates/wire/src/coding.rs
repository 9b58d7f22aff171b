//! Compressed request bodies: `Content-Encoding: gzip`, which SDKs send for operations with large inputs.

use crate::{Error, body::Bound};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};
use std::io::{self, Read};

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
}

/// Compressions that exist and are not understood here. Other names (`amz-1.0`, `utf-8`) pack nothing; clients send them.
const REFUSED: [&str; 4] = ["br", "compress", "deflate", "zstd"];

impl Coding {
    /// What the headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Coding, Error> {
        let mut coding = Coding::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let refused =
                || Error::Coding(String::from_utf8_lossy(value.as_bytes()).chars().take(64).collect());
            let names = value.to_str().map_err(|_| refused())?;
            for name in names.split(',').map(str::trim) {
                let is = |known: &str| name.eq_ignore_ascii_case(known);
                if is("gzip") || is("x-gzip") {
                    // Nobody packs twice in good faith.
                    if coding == Coding::Gzip {
                        return Err(refused());
                    }
                    coding = Coding::Gzip;
                } else if REFUSED.into_iter().any(is) {
                    return Err(refused());
                }
            }
        }
        Ok(coding)
    }

    /// The body that the operation is given, within the bound as well. Unpacks beside the asynchronous threads.
    pub(crate) async fn decode(self, body: Bytes, bound: Bound<'_>) -> Result<Bytes, Error> {
        if self == Coding::Identity || body.is_empty() {
            return Ok(body);
        }
        let max = bound.max;
        let unpacked = tokio::task::spawn_blocking(move || gunzip(&body, max)).await;
        match unpacked.map_err(|error| Error::Internal(error.into()))? {
            Ok(body) => Ok(body.into()),
            Err(Gunzip::Exceeded) => Err(bound.exceeded()),
            Err(Gunzip::Corrupt(error)) => {
                Err(Error::Serialization(format!("the request body is not valid gzip: {error}")))
            }
        }
    }
}

/// Why a body cannot be unpacked.
#[derive(Debug)]
pub(crate) enum Gunzip {
    /// It would be larger than the bound.
    Exceeded,
    Corrupt(io::Error),
}

/// Unpacks at most `max` bytes; whatever the input says, no more memory than about twice that is taken.
pub(crate) fn gunzip(packed: &[u8], max: usize) -> Result<Vec<u8>, Gunzip> {
    let mut body = Vec::with_capacity(packed.len().saturating_mul(4).min(max));
    let mut reader = MultiGzDecoder::new(packed).take((max as u64).saturating_add(1));
    reader.read_to_end(&mut body).map_err(Gunzip::Corrupt)?;
    if body.len() > max { Err(Gunzip::Exceeded) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_compressions_count() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("content-encoding", value.parse().unwrap());
            }
            Coding::of(&headers)
        };
        for values in [&[][..], &[""], &["identity"], &["amz-1.0"], &["utf-8", "aws-chunked"]] {
            assert_eq!(of(values).unwrap(), Coding::Identity, "{values:?}");
        }
        for values in [&["gzip"][..], &["GZip"], &["x-gzip"], &["amz-1.0, gzip"], &["identity", "gzip"]] {
            assert_eq!(of(values).unwrap(), Coding::Gzip, "{values:?}");
        }
        for values in [&["br"][..], &["gzip, zstd"], &["gzip, gzip"], &["gzip", "gzip"], &["deflate"]] {
            assert!(matches!(of(values), Err(Error::Coding(_))), "{values:?}");
        }
    }
}
