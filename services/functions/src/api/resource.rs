//! The function that an input names: what the caller needs the permission for.

use super::{
    AddPermissionRequest, AliasRequest, CreateAliasRequest, CreateFunctionRequest,
    CreateFunctionUrlConfigRequest, EventConfigRequest, FunctionRequest, ListAliasesRequest,
    ListEventConfigsRequest, ListFunctionUrlConfigsRequest, ListProvisionedConcurrencyRequest,
    ListTagsRequest, ListVersionsRequest, PublishVersionRequest, PutFunctionConcurrencyRequest,
    PutProvisionedConcurrencyRequest, PutRecursionRequest, PutRuntimeManagementRequest, QualifiedRequest,
    RemovePermissionRequest, TagResourceRequest, UntagResourceRequest, UpdateAliasRequest,
    UpdateFunctionCodeRequest, UpdateFunctionConfigurationRequest, UpdateFunctionUrlConfigRequest,
};
use crate::{Functions, logic::names};
use wire::{Context, RawRequest};

/// An input that names a function, for the permission asked.
pub(super) trait Names {
    /// The function as given, and the separate qualifier.
    fn named(&self) -> (&str, Option<&str>);
}

macro_rules! names {
    ($($input:ty: $member:ident $(, $qualifier:ident)?;)*) => {$(
        impl Names for $input {
            fn named(&self) -> (&str, Option<&str>) {
                (&self.$member, None$(.or(self.$qualifier.as_deref()))?)
            }
        }
    )*};
}

names! {
    CreateFunctionRequest: function_name;
    UpdateFunctionConfigurationRequest: function_name;
    UpdateFunctionCodeRequest: function_name;
    QualifiedRequest: function_name, qualifier;
    FunctionRequest: function_name;
    ListVersionsRequest: function_name;
    PublishVersionRequest: function_name;
    CreateAliasRequest: function_name;
    UpdateAliasRequest: function_name;
    AliasRequest: function_name;
    ListAliasesRequest: function_name;
    EventConfigRequest: function_name, qualifier;
    ListEventConfigsRequest: function_name;
    AddPermissionRequest: function_name, qualifier;
    PutRuntimeManagementRequest: function_name, qualifier;
    PutRecursionRequest: function_name;
    PutProvisionedConcurrencyRequest: function_name, qualifier;
    ListProvisionedConcurrencyRequest: function_name;
    CreateFunctionUrlConfigRequest: function_name, qualifier;
    UpdateFunctionUrlConfigRequest: function_name, qualifier;
    ListFunctionUrlConfigsRequest: function_name;
    RemovePermissionRequest: function_name, qualifier;
    TagResourceRequest: resource;
    UntagResourceRequest: resource;
    ListTagsRequest: resource;
    PutFunctionConcurrencyRequest: function_name;
}

impl Functions {
    /// ARN that permission is asked for.
    pub(super) fn resource(&self, context: &Context, input: &impl Names) -> String {
        let (text, qualifier) = input.named();
        names::permission_arn(context.account, &context.region, text, qualifier)
    }

    /// The same for Invoke. Whether a function of another account may be invoked is that function's policy's to say.
    pub(super) fn invoked(&self, context: &Context, request: &RawRequest) -> String {
        let text = request.label("FunctionName").unwrap_or_default();
        if names::owner(text).is_some_and(|owner| owner != context.account) {
            return "*".to_owned();
        }
        names::permission_arn(context.account, &context.region, text, request.query("Qualifier").as_deref())
    }
}
