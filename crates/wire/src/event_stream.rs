//! `application/vnd.amazon.eventstream`: messages in a response that goes on.
//!
//! ```text
//! message = total length: u32; length of the headers: u32; CRC-32 of these eight bytes: u32;
//!           headers; payload; CRC-32 of everything before: u32
//! header  = length of the name: u8; name; 7 (string): u8; length of the value: u16; value
//! ```
//! All numbers big-endian. Source: the event stream encoding of the AWS SDKs.

use bytes::{BufMut, Bytes, BytesMut};

/// Content type of a response made of messages.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// A message that tells an event: its type, the content type of its payload, and the payload. The names are short
/// literals of the API's model: at most 255 bytes.
pub fn event(kind: &str, content_type: &str, payload: &[u8]) -> Bytes {
    let headers = [(":event-type", kind), (":content-type", content_type), (":message-type", "event")];
    let headers_length: usize = headers.iter().map(|(name, value)| 4 + name.len() + value.len()).sum();
    let total = 16 + headers_length + payload.len();
    let mut out = BytesMut::with_capacity(total);
    out.put_u32(total as u32);
    out.put_u32(headers_length as u32);
    out.put_u32(crc32fast::hash(&out));
    for (name, value) in headers {
        out.put_u8(name.len() as u8);
        out.put_slice(name.as_bytes());
        out.put_u8(7);
        out.put_u16(value.len() as u16);
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use proptest::prelude::*;

    /// Reads a message as a client does.
    fn read(mut bytes: Bytes) -> (Vec<(String, String)>, Bytes) {
        let whole = bytes.clone();
        assert_eq!(bytes.get_u32() as usize, whole.len());
        let mut headers_length = bytes.get_u32() as usize;
        assert_eq!(bytes.get_u32(), crc32fast::hash(&whole[..8]));
        let mut headers = Vec::new();
        while headers_length > 0 {
            let length = usize::from(bytes.get_u8());
            let name = bytes.split_to(length);
            assert_eq!(bytes.get_u8(), 7);
            let length = usize::from(bytes.get_u16());
            let value = bytes.split_to(length);
            headers_length -= 4 + name.len() + value.len();
            let text = |bytes: Bytes| String::from_utf8(bytes.into()).unwrap();
            headers.push((text(name), text(value)));
        }
        let payload = bytes.split_to(bytes.len() - 4);
        assert_eq!(bytes.get_u32(), crc32fast::hash(&whole[..whole.len() - 4]));
        (headers, payload)
    }

    #[test]
    fn a_known_message_is_laid_out_as_documented() {
        let message = event("End", "", b"");
        let headers =
            b"\x0b:event-type\x07\0\x03End\x0d:content-type\x07\0\0\x0d:message-type\x07\0\x05event";
        assert_eq!(message[..4], (16 + headers.len() as u32).to_be_bytes());
        assert_eq!(&message[12..12 + headers.len()], headers);
    }

    proptest! {
        #[test]
        fn clients_read_what_was_written(kind in "[A-Za-z]{1,40}", content in "[a-z/]{0,40}", payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (headers, read) = read(event(&kind, &content, &payload));
            prop_assert_eq!(&read[..], &payload[..]);
            let expected = [(":event-type", kind.as_str()), (":content-type", content.as_str()), (":message-type", "event")];
            prop_assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
}
