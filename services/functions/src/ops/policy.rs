//! AddPermission, RemovePermission and GetPolicy, and what they are for: invocations from other accounts and by services.

use crate::{
    Error, Functions,
    api::{
        AddPermissionRequest, AddPermissionResponse, GetPolicyResponse, QualifiedRequest,
        RemovePermissionRequest,
    },
    asking, data,
    logic::{
        names::{self, Form},
        policy::{self, Asked, INVOKE, Policy, Who},
    },
    model::Target,
};
use base::ServiceCaller;
use store::Tx;
use wire::Context;

impl Functions {
    pub(crate) async fn add_permission(
        &self,
        context: &Context,
        input: AddPermissionRequest,
    ) -> Result<AddPermissionResponse, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:AddPermission", name, qualifier)?;
        policy::check_place(&target)?;
        let statement = policy::statement(&input, &target)?;
        let answer = statement.document();
        let (revision, changed) = (self.fresh_id(), target.id.clone());
        self.db
            .write(move |tx| {
                let known = current(tx, &target, input.revision_id.as_deref())?;
                let policy = policy::add(known, statement.clone(), revision)?;
                data::put_config(tx, &target.id, &target.word(), &policy)
            })
            .await?;
        self.specs.invalidate(&changed);
        Ok(AddPermissionResponse { statement: answer })
    }

    pub(crate) async fn remove_permission(
        &self,
        context: &Context,
        input: RemovePermissionRequest,
    ) -> Result<(), Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:RemovePermission", name, qualifier)?;
        let (revision, changed) = (self.fresh_id(), target.id.clone());
        self.db
            .write(move |tx| {
                let known = current(tx, &target, input.revision_id.as_deref())?.ok_or(Error::NoResource)?;
                match policy::remove(known, &input.statement_id, revision)? {
                    Some(policy) => data::put_config(tx, &target.id, &target.word(), &policy),
                    None => data::delete_config::<Policy>(tx, &target.id, &target.word()).map(drop),
                }
            })
            .await?;
        self.specs.invalidate(&changed);
        Ok(())
    }

    pub(crate) async fn get_policy(
        &self,
        context: &Context,
        input: QualifiedRequest,
    ) -> Result<GetPolicyResponse, Error> {
        let (name, qualifier) = (input.function_name.as_str(), input.qualifier.as_deref());
        let target = named(context, "lambda:GetPolicy", name, qualifier)?;
        let policy = self.db.read(move |tx| current(tx, &target, None)).await?.ok_or(Error::NoResource)?;
        Ok(GetPolicyResponse { policy: policy.document(), revision_id: policy.revision.to_string() })
    }

    /// Refuses an invocation from another account that no policy of the function allows.
    pub(crate) async fn allowed_from_outside(&self, context: &Context, target: &Target) -> Result<(), Error> {
        match self.policy_allows(Who::Principal(&context.principal), target).await? {
            true => Ok(()),
            false => Err(Error::OtherAccount {
                who: context.principal.arn(),
                action: INVOKE,
                resource: target.arn(),
            }),
        }
    }

    /// Refuses an invocation by a service that no policy of the function allows.
    pub(crate) async fn allowed_to_service(
        &self,
        caller: &ServiceCaller,
        target: &Target,
    ) -> Result<(), Error> {
        match self.policy_allows(Who::Service(caller), target).await? {
            true => Ok(()),
            false => Err(Error::ServiceNotAllowed {
                service: caller.service,
                action: INVOKE,
                resource: target.arn(),
            }),
        }
    }

    async fn policy_allows(&self, who: Who<'_>, target: &Target) -> Result<bool, Error> {
        let Some((id, word)) = policy::place(target) else { return Ok(false) };
        let id = id.clone();
        let policy = self.db.read(move |tx| data::config::<Policy>(tx, &id, &word)).await?;
        let asked = Asked { who, action: INVOKE, url_auth: None };
        Ok(policy.is_some_and(|policy| policy.allows(asked)))
    }
}

fn named(
    context: &Context,
    action: &'static str,
    name: &str,
    qualifier: Option<&str>,
) -> Result<Target, Error> {
    asking(context, action, |asker| names::target(asker, name, qualifier, Form::Namespaced))
}

/// The policy as it is, if it is the one that the request means.
fn current(tx: &mut Tx<'_>, target: &Target, revision: Option<&str>) -> Result<Option<Policy>, Error> {
    data::function(tx, &target.id)?.ok_or_else(|| Error::NotFound(target.arn()))?;
    data::version_named(tx, target)?.ok_or_else(|| Error::NotFound(target.arn()))?;
    let policy: Option<Policy> = data::config(tx, &target.id, &target.word())?;
    policy::check_revision(policy.as_ref(), revision, "GetPolicy")?;
    Ok(policy)
}
