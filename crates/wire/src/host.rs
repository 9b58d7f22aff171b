//! What a `Host` name says: service, region and resource labels before a known domain.

use base::Region;

/// Domains whose labels mean something. Local-development tools point clients at the first two; the others are what
/// clients ask for behind a resolver that sends AWS's names here.
const DOMAINS: [&str; 4] = ["localhost.localstack.cloud", "localhost", "amazonaws.com", "on.aws"];

/// Labels that name a service, and its signing name. Source: endpoint prefixes of the published service models, and
/// the resource domains `lambda-url`, `execute-api`, `s3-website`, `appsync-api`, `cloudfront`.
const SERVICES: [(&str, &str); 36] = [
    ("apigateway", "apigateway"),
    ("appsync", "appsync"),
    ("appsync-api", "appsync-api"),
    ("cloudcontrolapi", "cloudcontrolapi"),
    ("cloudformation", "cloudformation"),
    ("cloudfront", "cloudfront"),
    ("cognito-identity", "cognito-identity"),
    ("cognito-idp", "cognito-idp"),
    ("dynamodb", "dynamodb"),
    ("ec2", "ec2"),
    ("ecr", "ecr"),
    ("email", "ses"),
    ("events", "events"),
    ("execute-api", "execute-api"),
    ("firehose", "firehose"),
    ("iam", "iam"),
    ("kinesis", "kinesis"),
    ("kms", "kms"),
    ("lambda", "lambda"),
    ("lambda-url", "lambda-url"),
    ("logs", "logs"),
    ("monitoring", "monitoring"),
    ("neap", "neap"),
    ("pipes", "pipes"),
    ("queue", "sqs"),
    ("route53", "route53"),
    ("s3", "s3"),
    ("s3-website", "s3-website"),
    ("scheduler", "scheduler"),
    ("secretsmanager", "secretsmanager"),
    ("sns", "sns"),
    ("sqs", "sqs"),
    ("ssm", "ssm"),
    ("states", "states"),
    ("streams", "dynamodb"),
    ("sts", "sts"),
];

/// A parsed host name, e.g. of `bucket.s3.eu-west-1.localhost.localstack.cloud:4566`.
///
/// Grammar, before one of the domains `localhost.localstack.cloud`, `localhost`, `amazonaws.com`, `on.aws`:
/// `[resource.][service.[region.]]` or `[resource.][region.]service.`. A name outside these domains (an IP address,
/// another host) says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRoute {
    /// Signing name of the service that the name contains, e.g. `s3`, `lambda`; also the resource domains
    /// `lambda-url`, `execute-api`, `s3-website`, `appsync-api`, `cloudfront`.
    pub service: Option<&'static str>,
    /// Region that the name contains.
    pub region: Option<Region>,
    /// Labels before those: a bucket, an API id, a function URL id. May contain dots (buckets do). Lower case.
    pub resource: Option<Box<str>>,
}

impl HostRoute {
    /// Reads a host name, with or without port. Total: what says nothing gives an empty route.
    pub fn parse(authority: &str) -> HostRoute {
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => authority,
        };
        // Nothing before the domain, or an address: the usual case, without allocation.
        if !name.bytes().any(|b| b.is_ascii_alphabetic()) || name == "localhost" {
            return HostRoute::default();
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let labels = DOMAINS.iter().find_map(|domain| name.strip_suffix(domain)?.strip_suffix('.'));
        labels.map_or_else(HostRoute::default, HostRoute::of_labels)
    }

    fn of_labels(labels: &str) -> HostRoute {
        let mut route = HostRoute::default();
        let mut rest = labels;
        // At most one service and one region, from the right, in either order.
        while !rest.is_empty() {
            let (before, last) = rest.rsplit_once('.').unwrap_or(("", rest));
            if let (None, Some(service)) = (route.service, service_of(last)) {
                route.service = Some(service);
            } else if let (None, Some(region)) = (&route.region, region_of(last)) {
                // A region counts only beside a service: `eu-west-1.localhost` may be a bucket.
                let beside = route.service.is_some()
                    || before.rsplit('.').next().is_some_and(|label| service_of(label).is_some());
                if !beside {
                    break;
                }
                route.region = Some(region);
            } else {
                break;
            }
            rest = before;
        }
        route.resource = (!rest.is_empty()).then(|| rest.into());
        route
    }
}

fn service_of(label: &str) -> Option<&'static str> {
    SERVICES.iter().find(|(name, _)| *name == label).map(|(_, signing)| *signing)
}

/// `us-east-1`, `ap-southeast-2`, `us-gov-west-1`: at least two hyphens and a number last.
fn region_of(label: &str) -> Option<Region> {
    let (before, number) = label.rsplit_once('-')?;
    let shaped = before.contains('-')
        && !number.is_empty()
        && number.len() <= 2
        && number.bytes().all(|b| b.is_ascii_digit())
        && before.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase()));
    if shaped { label.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(service: Option<&'static str>, region: Option<&str>, resource: Option<&str>) -> HostRoute {
        HostRoute { service, region: region.map(|r| r.parse().unwrap()), resource: resource.map(Into::into) }
    }

    #[test]
    fn labels_before_a_known_domain_are_read() {
        let cases = [
            (
                "lambda.us-east-1.localhost.localstack.cloud:4566",
                route(Some("lambda"), Some("us-east-1"), None),
            ),
            ("sts.localhost", route(Some("sts"), None, None)),
            ("STS.LocalHost:4566", route(Some("sts"), None, None)),
            (
                "bucket.s3.eu-west-1.localhost.localstack.cloud",
                route(Some("s3"), Some("eu-west-1"), Some("bucket")),
            ),
            ("a.b.c.s3.localhost:80", route(Some("s3"), None, Some("a.b.c"))),
            ("mybucket.localhost", route(None, None, Some("mybucket"))),
            ("eu-west-1.localhost", route(None, None, Some("eu-west-1"))),
            ("us-east-1.queue.localhost.localstack.cloud", route(Some("sqs"), Some("us-east-1"), None)),
            (
                "abcdef.lambda-url.us-gov-west-1.localhost.localstack.cloud",
                route(Some("lambda-url"), Some("us-gov-west-1"), Some("abcdef")),
            ),
            ("s3.s3.localhost", route(Some("s3"), None, Some("s3"))),
            ("id.execute-api.localhost.localstack.cloud:4566", route(Some("execute-api"), None, Some("id"))),
            ("logs.eu-central-1.amazonaws.com", route(Some("logs"), Some("eu-central-1"), None)),
        ];
        for (name, expected) in cases {
            assert_eq!(HostRoute::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn other_names_say_nothing() {
        for name in [
            "",
            ":",
            "localhost",
            "localhost:4566",
            "127.0.0.1:4566",
            "[::1]:4566",
            "example.org",
            "s3.example.org",
            "localhost.localstack.cloud:4566",
            "xlocalhost",
            ".localhost",
            "localhost.",
        ] {
            assert_eq!(HostRoute::parse(name), HostRoute::default(), "{name}");
        }
    }
}
