//! Receipt handles: which message, as received which time.

use crate::Error;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};

/// What a receipt handle says. It proves nothing: whoever may delete from the queue may delete any message of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// [`crate::model::Queue::id`].
    pub queue: i64,
    /// [`crate::model::Stored::seq`].
    pub seq: i64,
    /// Drawn anew by each receive.
    pub nonce: i64,
}

impl Receipt {
    /// Its text.
    pub fn text(&self) -> String {
        let mut bytes = [0; 24];
        let parts = [self.queue, self.seq, self.nonce];
        bytes.chunks_mut(8).zip(parts).for_each(|(to, part)| to.copy_from_slice(&part.to_be_bytes()));
        BASE64.encode(bytes)
    }

    /// From its text, for a queue.
    pub fn parse(text: &str, queue: i64) -> Result<Receipt, Error> {
        let bad = || Error::Receipt(text.chars().take(128).collect());
        let bytes: [u8; 24] =
            BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)?;
        let mut parts =
            bytes.chunks(8).map(|part| part.try_into().map(i64::from_be_bytes).unwrap_or_default());
        let mut next = || parts.next().unwrap_or_default();
        let receipt = Receipt { queue: next(), seq: next(), nonce: next() };
        if receipt.queue == queue { Ok(receipt) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn handles_are_read_as_they_were_written(queue: i64, seq: i64, nonce: i64) {
            let receipt = Receipt { queue, seq, nonce };
            prop_assert_eq!(Receipt::parse(&receipt.text(), queue).unwrap(), receipt);
            prop_assert!(Receipt::parse(&receipt.text(), queue.wrapping_add(1)).is_err());
        }

        #[test]
        fn any_other_text_is_refused(text in ".{0,40}") {
            prop_assert!(Receipt::parse(&text, 1).is_err());
        }
    }
}
