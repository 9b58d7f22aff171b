//! An invocation for tests: it fails after a cold start.

use base::{
    InvocationRecord, InvocationSpan, InvocationTimes, MemoryMib, Micros, Millis, Outcome, Phases, RequestId,
    SpanId, Timestamp, TraceHeader, Version, VersionKey,
};

pub(crate) fn cold() -> InvocationRecord {
    let header = TraceHeader::parse("Root=1-5e1b4151-5ac6c58f3dd4d01f9a1ab2ea;Parent=53995c3f42cd8ad8");
    let span = InvocationSpan {
        trace: header.trace.unwrap(),
        parent: header.parent,
        id: SpanId::from_random([9; 8]),
        shown: false,
        attempt: None,
    };
    InvocationRecord {
        key: VersionKey {
            account: base::AccountId::DEFAULT,
            region: "us-east-1".parse().unwrap(),
            name: "f".parse().unwrap(),
            version: Version::Latest,
            revision: RequestId::from_random([1; 16]),
            tenant: None,
        },
        invoked_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        request_id: RequestId::from_random([2; 16]),
        architecture: "x86_64".into(),
        at: Timestamp(1_050),
        memory: MemoryMib(128),
        scratch: MemoryMib(512),
        memory_used_bytes: 1,
        init: Micros(3_000),
        run: Micros(7_000),
        billed: Millis(10),
        provisioned: false,
        cold: Some(Phases {
            queue: Micros(1_000),
            sandbox: Micros(2_000),
            boot: Micros(10_000),
            init: Micros(3_000),
        }),
        outcome: Outcome::Error,
        waited: Micros(17_000),
        traced: Some(InvocationTimes {
            span,
            began: Timestamp(1_040),
            started: Timestamp(1_024),
            answered: Micros(7_000),
        }),
    }
}
