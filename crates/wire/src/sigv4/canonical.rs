//! The canonical request, written piece by piece into a hash.

use http::HeaderMap;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// How the path is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathStyle {
    /// Dot segments and doubled slashes removed, then escaped once more than on the wire: every service but S3.
    Normalised,
    /// Decoded and escaped once, otherwise as it is: S3, whose keys may hold anything.
    AsIs,
}

impl PathStyle {
    /// The style of a service.
    pub(crate) fn of(service: &str) -> PathStyle {
        match service {
            "s3" | "s3-object-lambda" => PathStyle::AsIs,
            _ => PathStyle::Normalised,
        }
    }
}

/// Takes the canonical form's bytes.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Sha256 {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// What is signed of a request.
#[derive(Clone, Copy)]
pub(crate) struct Canonical<'a> {
    pub(crate) method: &'a str,
    /// As on the wire.
    pub(crate) path: &'a str,
    /// As on the wire, without `?`; a parameter `X-Amz-Signature` is left out.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// Stands in for a missing `host` header (HTTP/2).
    pub(crate) authority: &'a str,
    /// `;`-separated, lower case, as claimed.
    pub(crate) signed_headers: &'a str,
    pub(crate) payload_hash: &'a str,
    pub(crate) style: PathStyle,
}

impl Canonical<'_> {
    /// Writes the canonical request.
    pub(crate) fn write(&self, sink: &mut impl Sink) {
        sink.put(self.method.as_bytes());
        sink.put(b"\n");
        write_path(self.path, self.style, sink);
        sink.put(b"\n");
        write_query(self.query, sink);
        sink.put(b"\n");
        for name in self.signed_headers.split(';') {
            sink.put(name.as_bytes());
            sink.put(b":");
            self.write_values(name, sink);
            sink.put(b"\n");
        }
        sink.put(b"\n");
        sink.put(self.signed_headers.as_bytes());
        sink.put(b"\n");
        sink.put(self.payload_hash.as_bytes());
    }

    /// Its SHA-256.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.write(&mut hash);
        hash.finalize().into()
    }

    fn write_values(&self, name: &str, sink: &mut impl Sink) {
        let mut first = true;
        for value in self.headers.get_all(name) {
            if !first {
                sink.put(b",");
            }
            first = false;
            write_trimmed(value.as_bytes(), sink);
        }
        if first && matches!(name, "host" | ":authority") {
            sink.put(self.authority.as_bytes());
        }
    }
}

/// Without space around, and with runs of spaces as one.
fn write_trimmed(value: &[u8], sink: &mut impl Sink) {
    let value = value.trim_ascii();
    if !value.windows(2).any(|pair| pair == b"  ") {
        sink.put(value);
        return;
    }
    let words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    for (at, word) in words.enumerate() {
        if at > 0 {
            sink.put(b" ");
        }
        sink.put(word);
    }
}

fn write_path(path: &str, style: PathStyle, sink: &mut impl Sink) {
    match style {
        PathStyle::AsIs => write_escaped(&decode(path.as_bytes()), b"/", sink),
        PathStyle::Normalised if is_normal(path) => write_escaped(path.as_bytes(), b"/", sink),
        PathStyle::Normalised => {
            let mut kept: Vec<&str> = Vec::new();
            for segment in path.split('/') {
                match segment {
                    "" | "." => {}
                    ".." => {
                        kept.pop();
                    }
                    segment => kept.push(segment),
                }
            }
            sink.put(b"/");
            for (at, segment) in kept.iter().enumerate() {
                if at > 0 {
                    sink.put(b"/");
                }
                write_escaped(segment.as_bytes(), b"", sink);
            }
            if !kept.is_empty() && path.ends_with('/') {
                sink.put(b"/");
            }
        }
    }
}

/// Whether nothing has to be removed: the usual case.
fn is_normal(path: &str) -> bool {
    path.starts_with('/') && !path.contains("//") && !path.contains("/.")
}

/// An escaped name and value.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Sorted by escaped name, then escaped value.
fn write_query(query: &str, sink: &mut impl Sink) {
    if query.is_empty() {
        return;
    }
    let mut pairs: Vec<Pair<'_>> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (escape_again(name), escape_again(value)))
        .filter(|(name, _)| name.as_ref() != b"X-Amz-Signature")
        .collect();
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            sink.put(b"&");
        }
        sink.put(name);
        sink.put(b"=");
        sink.put(value);
    }
}

/// Decoded and escaped in the canonical way; borrowed if it is canonical already. `+` is a space.
fn escape_again(text: &str) -> Cow<'_, [u8]> {
    if text.bytes().all(is_unreserved) {
        return Cow::Borrowed(text.as_bytes());
    }
    let decoded = match text.contains('+') {
        true => decode(text.replace('+', "%20").as_bytes()).into_owned(),
        false => decode(text.as_bytes()).into_owned(),
    };
    let mut escaped = Vec::with_capacity(text.len() + 16);
    write_escaped(&decoded, b"", &mut escaped);
    Cow::Owned(escaped)
}

fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    percent_encoding::percent_decode(text).into()
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

/// Every byte but the unreserved ones and `keep` as `%XX`.
pub(crate) fn write_escaped(bytes: &[u8], keep: &[u8], sink: &mut impl Sink) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = bytes;
    while !rest.is_empty() {
        let plain = rest.iter().position(|b| !is_unreserved(*b) && !keep.contains(b)).unwrap_or(rest.len());
        let (clean, after) = rest.split_at(plain);
        sink.put(clean);
        let Some((byte, after)) = after.split_first() else { return };
        sink.put(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths_are_normalised_and_escaped_again() {
        let cases = [
            ("/", "/"),
            ("", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/..", "/"),
            ("/./", "/"),
            ("/arn%3Aaws", "/arn%253Aaws"),
            ("/arn:aws", "/arn%3Aaws"),
            ("/$LATEST~", "/%24LATEST~"),
        ];
        for (path, expected) in cases {
            assert_eq!(text(|out| write_path(path, PathStyle::Normalised, out)), expected, "{path}");
        }
        assert_eq!(text(|out| write_path("/a//b/../%e1:x", PathStyle::AsIs, out)), "/a//b/../%E1%3Ax");
    }

    #[test]
    fn queries_are_sorted_and_escaped_once() {
        let cases = [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1&a", "a=&a=1&a=2"),
            ("x=a%2fb&y=%c3%a4&z=a+b", "x=a%2Fb&y=%C3%A4&z=a%20b"),
            ("a=1&&X-Amz-Signature=ff", "a=1"),
            ("q=a=b", "q=a%3Db"),
            ("p=%", "p=%25"),
        ];
        for (query, expected) in cases {
            assert_eq!(text(|out| write_query(query, out)), expected, "{query}");
        }
    }

    #[test]
    fn header_values_are_trimmed_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", "  one   two ".parse().unwrap());
        headers.append("x-a", "three".parse().unwrap());
        let canonical = Canonical {
            method: "GET",
            path: "/",
            query: "",
            headers: &headers,
            authority: "example.org",
            signed_headers: "host;x-a;x-none",
            payload_hash: "H",
            style: PathStyle::Normalised,
        };
        assert_eq!(
            text(|out| canonical.write(out)),
            "GET\n/\n\nhost:example.org\nx-a:one two,three\nx-none:\n\nhost;x-a;x-none\nH"
        );
    }
}
