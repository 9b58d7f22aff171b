//! What a `Host` name says: service, region and resource labels before a known domain.

use base::Region;

/// A parsed host name, e.g. of `bucket.s3.eu-west-1.localhost.localstack.cloud:4566`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRoute {
    /// Signing name of the service that the name contains, e.g. `s3`, `lambda`.
    pub service: Option<Box<str>>,
    /// Region that the name contains.
    pub region: Option<Region>,
    /// Labels before those: a bucket, an API id, a function URL id. May contain dots (buckets do).
    pub resource: Option<Box<str>>,
}

impl HostRoute {
    /// Reads a host name, with or without port. Total: what says nothing gives an empty route.
    pub fn parse(_authority: &str) -> HostRoute {
        HostRoute::default()
    }
}
