//! Whether a call is traced, and where it stands in its trace.
//!
//! A header that says so decides. Else X-Ray's default rule does, where the function traces actively; and else whoever exports
//! traces, who takes a share of them. What is decided stays so for everything that the function calls.

use crate::{Error, Functions, cache::Served, logic::sampling::DefaultRule};
use base::{
    Attempt, Entropy, InvocationSpan, RequestEnd, RequestId, ServiceError as _, SpanId, Timestamp,
    TraceHeader, TraceId, TracedRequest,
};
use http::HeaderName;
use std::sync::Arc;
use wire::RawRequest;

static TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What is decided about a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Decision {
    Untraced,
    /// Recorded for export; X-Ray is told nothing of it.
    Exported,
    /// X-Ray shows it, and it is exported where there is an export.
    Shown,
}

/// Who decides about a call whose header does not.
struct Undecided<'a> {
    rule: Option<&'a DefaultRule>,
    /// The share of traces that is exported.
    share: f64,
}

/// A call that is traced, for what is told of it if no environment has part in it.
pub(super) struct Told<'a> {
    pub(super) span: InvocationSpan,
    pub(super) served: &'a Served,
    pub(super) invoked_arn: Arc<str>,
    pub(super) request_id: RequestId,
    pub(super) began: Timestamp,
}

/// The trace that a request continues: `X-Amzn-Trace-Id`, or else `traceparent`.
pub(crate) fn brought_trace(request: &RawRequest) -> Option<TraceHeader> {
    let own = request.header(&TRACE_ID).map(TraceHeader::parse);
    own.or_else(|| TraceHeader::parse_w3c(request.header(&TRACEPARENT)?))
}

impl Functions {
    /// The trace header of a call that brings none: begun now, and not decided about.
    pub(crate) fn fresh_trace(&self, request_id: RequestId) -> TraceHeader {
        TraceHeader { trace: begun(request_id, self.now()), ..TraceHeader::default() }
    }

    /// Makes a header the function's; the span of the call if it is traced. Attempts at an event are asked about by the
    /// header that [`Functions::accepted_in`] made, where X-Ray's rule has been asked already.
    pub(super) fn placed(
        &self,
        served: &Served,
        header: &mut TraceHeader,
        request_id: RequestId,
        attempt: Option<Attempt>,
    ) -> Option<InvocationSpan> {
        let rule = served.sampling.as_ref().filter(|_| attempt.is_none());
        let ask = Undecided { rule, share: self.settings.span_share };
        let span = place(header, request_id, || self.now(), &ask, &*self.entropy)?;
        header.parent = Some(span.run());
        header.sampled = Some(true);
        Some(InvocationSpan { attempt, ..span })
    }

    /// The header that an event is kept with, and the span of its acceptance: attempts are below it.
    pub(super) fn accepted_in(
        &self,
        served: &Served,
        mut header: TraceHeader,
        request_id: RequestId,
    ) -> (TraceHeader, Option<InvocationSpan>) {
        let ask = Undecided { rule: served.sampling.as_ref(), share: self.settings.span_share };
        let span = place(&mut header, request_id, || self.now(), &ask, &*self.entropy);
        if let Some(span) = &span {
            header.parent = Some(span.id);
        }
        (header, span)
    }

    /// Tells of an event that is on disk.
    pub(super) fn tell_accepted(&self, told: &Told<'_>) {
        self.tell(told, RequestEnd::Accepted);
    }

    /// Tells of a call that was refused.
    pub(super) fn tell_refused(&self, told: &Told<'_>, error: &Error) {
        let status = wire::status(error.fault(), &wire::protocol::rest_json());
        self.tell(told, RequestEnd::Refused(status.as_u16()));
    }

    fn tell(&self, told: &Told<'_>, how: RequestEnd) {
        let Some(meter) = self.meter.get() else { return };
        meter.answered(TracedRequest {
            key: &told.served.spec.key,
            invoked_arn: &told.invoked_arn,
            request_id: told.request_id,
            span: told.span,
            began: told.began,
            ended: self.now(),
            how,
        });
    }
}

/// A trace that begins with a request: the second, and 12 bytes of what identifies the request.
fn begun(request_id: RequestId, now: Timestamp) -> Option<TraceId> {
    let seconds = u128::from(u32::try_from(now.0 / 1_000).unwrap_or_default());
    TraceId::new(seconds << 96 | u128::from_be_bytes(request_id.bytes()) >> 32)
}

/// A parent that is recorded nowhere.
fn nobody(request_id: RequestId) -> Option<SpanId> {
    request_id.bytes().last_chunk().copied().map(SpanId::from_random)
}

fn decide(
    header: &TraceHeader,
    ask: &Undecided<'_>,
    now: impl Fn() -> Timestamp,
    random: impl FnOnce() -> u64,
) -> Decision {
    match header.sampled {
        Some(false) => Decision::Untraced,
        Some(true) => Decision::Shown,
        None if ask.rule.is_some_and(|rule| rule.takes(now(), random())) => Decision::Shown,
        None if header.trace.is_some_and(|trace| trace.is_within(ask.share)) => Decision::Exported,
        None => Decision::Untraced,
    }
}

/// Puts a trace into a header, if it has none, and what is decided now; the span of the call if it is traced.
fn place(
    header: &mut TraceHeader,
    request_id: RequestId,
    now: impl Fn() -> Timestamp,
    ask: &Undecided<'_>,
    entropy: &dyn Entropy,
) -> Option<InvocationSpan> {
    if header.trace.is_none() {
        // Without a root a header continues nothing.
        header.trace = begun(request_id, now());
        header.parent = None;
    }
    let random = || {
        let mut random = [0; 8];
        entropy.fill(&mut random);
        random
    };
    let decision = decide(header, ask, now, || u64::from_be_bytes(random()));
    let Some(root) = header.trace.filter(|_| decision != Decision::Untraced) else {
        header.sampled = Some(false);
        // SDKs look for a parent even where nothing is recorded.
        header.parent = header.parent.or_else(|| nobody(request_id));
        return None;
    };
    let shown = decision == Decision::Shown;
    if shown {
        header.sampled = Some(true);
    }
    Some(InvocationSpan {
        trace: root,
        parent: header.parent,
        id: SpanId::from_random(random()),
        shown,
        attempt: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str =
        "Root=1-5e1b4151-5ac6c58f3dd4d01f9a1ab2ea;Parent=53995c3f42cd8ad8;Lineage=1:01234567:0";
    const NOW: Timestamp = Timestamp(1_763_721_060_123);

    struct Sevens;
    impl Entropy for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn placed(trace: &str, rule: Option<&DefaultRule>, share: f64) -> (String, Option<InvocationSpan>) {
        let id = RequestId::from_random([0xab; 16]);
        let mut header = TraceHeader::parse(trace);
        let span = place(&mut header, id, || NOW, &Undecided { rule, share }, &Sevens);
        (header.to_string(), span)
    }

    #[test]
    fn a_header_that_decides_is_followed() {
        for rule in [None, Some(&DefaultRule::default())] {
            let unsampled = "Root=1-5e1b4151-5ac6c58f3dd4d01f9a1ab2ea;Parent=53995c3f42cd8ad8;Sampled=0";
            assert_eq!(placed(unsampled, rule, 1.0), (unsampled.to_owned(), None));
            let sampled = unsampled.replace("Sampled=0", "Sampled=1");
            let (header, span) = placed(&sampled, rule, 0.0);
            let span = span.unwrap();
            assert_eq!((header, span.shown), (sampled, true));
            assert_eq!(span.trace.to_string(), "5e1b41515ac6c58f3dd4d01f9a1ab2ea");
            assert_eq!(span.parent.unwrap().to_string(), "53995c3f42cd8ad8");
        }
    }

    #[test]
    fn what_no_header_decides_is_decided_by_the_rule_then_by_the_export() {
        let rule = DefaultRule::default();
        let (header, span) = placed(GIVEN, Some(&rule), 1.0);
        assert!(header.contains(";Sampled=1;Lineage=") && span.unwrap().shown, "{header}");
        // The second's first request has been. Sevens are below 5 % of what is random, so the rule is left out now.
        let (header, span) = placed(GIVEN, None, 1.0);
        assert_eq!((header.as_str(), span.unwrap().shown), (GIVEN, false));
        let (header, span) = placed(GIVEN, None, 0.0);
        assert!(header.contains(";Sampled=0;Lineage=") && span.is_none(), "{header}");
    }

    #[test]
    fn a_call_without_a_trace_begins_one_that_daemons_can_read() {
        let root = format!("Root=1-69203f64-{}4b{}", "ab".repeat(6), "ab".repeat(5));
        let trace = begun(RequestId::from_random([0xab; 16]), NOW);
        let fresh = TraceHeader { trace, ..TraceHeader::default() }.to_string();
        assert_eq!(fresh, root);
        let (header, span) = placed(&fresh, None, 0.0);
        assert_eq!((header, span), (format!("{root};Parent={};Sampled=0", "ab".repeat(8)), None));
        assert_eq!(placed(&fresh, None, 1.0).1.unwrap().parent, None);
        // A parent without a trace is nobody's.
        let (header, span) = placed("Parent=53995c3f42cd8ad8", None, 1.0);
        assert!(header.starts_with(&root) && span.unwrap().parent.is_none(), "{header}");
    }
}
