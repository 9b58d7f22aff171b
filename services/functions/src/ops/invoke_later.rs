//! Asynchronous invocations that other services of the node ask for.

use super::invoke::Call;
use crate::{
    Error, Functions,
    logic::names::{self, Asker, Form},
};
use base::{Arn, Fault, Future, InvokeLater, NotInvoked, RequestId, ServiceCaller, ServiceError};
use bytes::Bytes;

impl InvokeLater for Functions {
    fn invoke_later(
        &self,
        caller: Option<ServiceCaller>,
        function: Arn,
        request_id: RequestId,
        payload: Bytes,
    ) -> Future<'_, Result<(), NotInvoked>> {
        Box::pin(async move {
            match self.take(caller, function, request_id, payload).await {
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
    ) -> Result<(), Error> {
        let text = function.to_string();
        let (Some(account), Some(region)) = (function.account, &function.region) else {
            return Err(Error::NotFound(text));
        };
        let who = || text.clone();
        let asker = Asker { account, region, who: &who, action: "lambda:InvokeFunction" };
        let target = names::target(asker, &text, None, Form::Plain)?;
        let version = self.chosen(&target).await?;
        // Whether it is there at all.
        let served = self.served(&target, version).await?;
        served.spec_for(None)?;
        if let Some(caller) = &caller {
            self.allowed_to_service(caller, &target).await?;
        }
        let call = Call {
            request_id,
            payload,
            invoked_arn: target.arn(),
            body: base::ArrivingBody::default(),
            client_context: None,
            trace: Some(self.fresh_trace(request_id)),
            tenant: None,
            tail: false,
            attempt: None,
            streamed: false,
        };
        self.accept(target, version, &served, call).await
    }
}
