//! Links under which the package of a version can be downloaded for ten minutes: `Code.Location` of GetFunction.

use crate::{Error, Functions, data};
use base::{CodeSha256, Entropy, Timestamp};
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use sha2::Sha256;
use std::sync::Arc;
use wire::{Body, RawRequest, RawResponse};

/// Where [`Functions::download`] is to be mounted.
pub const DOWNLOAD_PATH: &str = "/_neap/code/";

/// How long a link is good. Source: GetFunction, `Code.Location`.
const GOOD_MS: i64 = 10 * 60 * 1000;

/// What the secret of links is called.
const SECRET: &str = "links";

/// Makes and checks links. The secret is that of all nodes on the same database: each serves the others' links.
pub(crate) struct Links {
    secret: String,
}

impl Links {
    /// A secret for links, unless there is one.
    fn fresh(entropy: &dyn Entropy) -> String {
        let mut secret = [0; 32];
        entropy.fill(&mut secret);
        hex::encode(secret)
    }

    /// URL of a package on the host that the request was sent to.
    pub(crate) fn url(&self, authority: &str, code: CodeSha256, now: Timestamp) -> String {
        let expires = now.plus_ms(GOOD_MS).0;
        let signature = hex::encode(self.sign(code, expires).finalize().into_bytes());
        format!("http://{authority}{DOWNLOAD_PATH}{code}?expires={expires}&signature={signature}")
    }

    /// Whether a link is ours and still good.
    fn admits(&self, code: CodeSha256, expires: &str, signature: &str, now: Timestamp) -> bool {
        let (Ok(expires), Ok(signature)) = (expires.parse::<i64>(), hex::decode(signature)) else {
            return false;
        };
        expires > now.0 && self.sign(code, expires).verify_slice(&signature).is_ok()
    }

    fn sign(&self, code: CodeSha256, expires: i64) -> Hmac<Sha256> {
        // HMAC takes keys of any length; the fallback is never reached.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())
            .unwrap_or_else(|_| Hmac::new(&Default::default()));
        mac.update(format!("{code}:{expires}").as_bytes());
        mac
    }
}

impl Functions {
    /// Reads the store once.
    pub(crate) async fn links(&self) -> Result<&Links, Error> {
        let read = async {
            let fresh = Links::fresh(&*self.entropy);
            let secret = self.db.write(move |tx| data::shared_secret(tx, SECRET, &fresh)).await?;
            Ok(Links { secret })
        };
        self.links.get_or_try_init(|| read).await
    }

    /// Serves links of GetFunction, streamed.
    pub async fn download(self: Arc<Self>, request: RawRequest) -> RawResponse {
        let code = request.uri.path().strip_prefix(DOWNLOAD_PATH).and_then(|text| text.parse().ok());
        let (Some(code), Some(expires), Some(signature)) =
            (code, request.query("expires"), request.query("signature"))
        else {
            return RawResponse::text(StatusCode::NOT_FOUND, "no such link");
        };
        let links = match self.links().await {
            Ok(links) => links,
            Err(error) => {
                tracing::error!(%error, "the secret of links cannot be read");
                return RawResponse::text(StatusCode::SERVICE_UNAVAILABLE, "links cannot be checked now");
            }
        };
        if !links.admits(code, &expires, &signature, self.now()) {
            return RawResponse::text(
                StatusCode::FORBIDDEN,
                "this link has expired; ask GetFunction for a new one",
            );
        }
        match self.code.read(code).await {
            Ok((size, pieces)) => {
                let body = Body::stream(pieces.map(|piece| piece.map_err(wire::BoxError::from)));
                RawResponse::new(StatusCode::OK, body)
                    .header("content-type", "application/zip")
                    .header("content-length", size.to_string())
            }
            Err(error) => {
                tracing::warn!(%code, %error, "a package cannot be read");
                RawResponse::text(StatusCode::NOT_FOUND, "the package is gone")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    #[test]
    fn links_are_good_for_ten_minutes_and_one_package() {
        let links = |byte| Links { secret: Links::fresh(&Fixed(byte)) };
        let (other, links) = (links(8), links(7));
        let (code, now) = (CodeSha256([1; 32]), Timestamp(1_000));
        let url = links.url("localhost:4566", code, now);
        let (path, query) = url.split_once('?').unwrap();
        assert_eq!(path, format!("http://localhost:4566/_neap/code/{code}"));
        let (expires, signature) = query.split_once("&signature=").unwrap();
        let expires = expires.strip_prefix("expires=").unwrap();
        assert!(links.admits(code, expires, signature, now.plus_ms(GOOD_MS - 1)));
        assert!(!links.admits(code, expires, signature, now.plus_ms(GOOD_MS)));
        assert!(!links.admits(CodeSha256([2; 32]), expires, signature, now));
        assert!(!links.admits(code, "99999999999999", signature, now));
        assert!(!links.admits(code, expires, &signature[2..], now));
        assert!(!other.admits(code, expires, signature, now));
    }
}
