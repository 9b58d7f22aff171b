//! Asynchronous invocations that other services of the node ask for.

use super::invoke::Call;
use crate::{
    Error, Functions,
    cache::Served,
    logic::names::{self, Asker, Form},
    model::Target,
};
use base::{
    Arn, Fault, Future, InvokeLater, NotInvoked, RequestId, ServiceCaller, ServiceError, TraceHeader, Version,
};
use bytes::Bytes;
use std::sync::Arc;

impl InvokeLater for Functions {
    fn invoke_later(
        &self,
        caller: Option<ServiceCaller>,
        function: Arn,
        request_id: RequestId,
        payload: Bytes,
        trace: Option<String>,
    ) -> Future<'_, Result<(), NotInvoked>> {
        Box::pin(async move {
            match self.take(caller, function, request_id, payload, trace).await {
                Ok(()) => Ok(()),
                // The same event is on disk already.
                Err(Error::Store(error)) if error.is_unique_violation() => Ok(()),
                Err(error) => Err(match error.fault() {
                    Fault::Conflict
                    | Fault::Throttled
                    | Fault::Us
                    | Fault::Dependency
                    | Fault::Unavailable => NotInvoked::NotNow(error.to_string()),
                    Fault::Invalid
                    | Fault::Unauthenticated
                    | Fault::Denied
                    | Fault::NotFound
                    | Fault::Precondition
                    | Fault::TooLarge
                    | Fault::Unsupported => NotInvoked::Never(error.to_string()),
                }),
            }
        })
    }
}

impl Functions {
    async fn take(
        &self,
        caller: Option<ServiceCaller>,
        function: Arn,
        request_id: RequestId,
        payload: Bytes,
        trace: Option<String>,
    ) -> Result<(), Error> {
        let (target, version, served) = self.reached(&function).await?;
        if let Some(caller) = &caller {
            self.allowed_to_service(caller, &target).await?;
        }
        let call = Call {
            request_id,
            payload,
            invoked_arn: target.arn().into(),
            body: base::ArrivingBody::default(),
            client_context: None,
            trace: trace.map_or_else(|| self.fresh_trace(request_id), |trace| TraceHeader::parse(&trace)),
            tenant: None,
            tail: false,
            attempt: None,
            streamed: false,
        };
        let call = call.chained(self, &served)?;
        self.accept(target, version, &served, call).await
    }

    /// Whether a function is there and takes events, for those who are to send it some.
    pub async fn takes_events(&self, function: &Arn) -> Result<(), Error> {
        self.reached(function).await.map(drop)
    }

    async fn reached(&self, function: &Arn) -> Result<(Target, Version, Arc<Served>), Error> {
        let text = function.to_string();
        let (Some(account), Some(region)) = (function.account, &function.region) else {
            return Err(Error::NotFound(text));
        };
        let who = || text.clone();
        let asker = Asker { account, region, who: &who, action: "lambda:InvokeFunction" };
        let target = names::target(asker, &text, None, Form::Plain)?;
        let version = self.chosen(&target).await?;
        let served = self.served(&target, version).await?;
        served.spec_for(None)?;
        Ok((target, version, served))
    }
}
