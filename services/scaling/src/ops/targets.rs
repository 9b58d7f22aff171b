//! RegisterScalableTarget, DescribeScalableTargets, DeregisterScalableTarget.

use super::{
    DIMENSION, NAMESPACE, PAGE_MAX, count, listed, named, not_registered, page, page_size, place, resource,
    resource_id,
};
use crate::{
    Error, Scaling,
    api::{
        DescribeScalableTargetsRequest, DescribeScalableTargetsResponse, Nothing,
        RegisterScalableTargetRequest, RegisterScalableTargetResponse, ScalableTarget, TargetRequest,
    },
    data,
    model::{Bounds, Target},
    ops::tags,
};
use base::{AccountId, Scaled};
use std::collections::BTreeSet;
use wire::{Context, Time};

/// Targets of an account and region. Source: Application Auto Scaling quotas, for services without one of their own.
const TARGETS_MAX: usize = 500;
/// Resources that a list is narrowed to.
const IDS_MAX: usize = 50;

impl Scaling {
    pub(crate) async fn register_scalable_target(
        &self,
        context: &Context,
        input: RegisterScalableTargetRequest,
    ) -> Result<RegisterScalableTargetResponse, Error> {
        let of = named(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        if let Some(role) = input.role_arn.as_deref()
            && role != role_arn(context.account)
        {
            let what = format!("RoleARN {role}");
            return Err(Error::unsupported(
                what,
                "the node scales functions itself, with no role but the service-linked one",
            ));
        }
        let min = input.min_capacity.map(|min| count("minCapacity", min)).transpose()?;
        let max = input.max_capacity.map(|max| count("maxCapacity", max)).transpose()?;
        let tags = input.tags.unwrap_or_default();
        tags::check(&tags)?;
        // It must be there, and may have provisioned concurrency.
        self.scale.capacity(of.clone()).await?;
        let (id, now, suspended) = (self.fresh_id(), self.now(), input.suspended_state);
        let written = of.clone();
        let id = self
            .db
            .write(move |tx| {
                let known = data::target(tx, &written)?;
                if known.is_none()
                    && data::count_targets(tx, written.account, &written.region)? >= TARGETS_MAX as i64
                {
                    return Err(Error::TooMany { what: "scalable targets", max: TARGETS_MAX });
                }
                if known.is_some() && !tags.is_empty() {
                    return Err(Error::invalid("tags of a registered target are changed by TagResource"));
                }
                let before = known.as_ref().map(|known| known.bounds);
                let missing = || {
                    Error::invalid("MinCapacity and MaxCapacity are required to register a scalable target")
                };
                let min = min.or(before.map(|bounds| bounds.min)).ok_or_else(missing)?;
                let max = max.or(before.map(|bounds| bounds.max)).ok_or_else(missing)?;
                ordered(min, max)?;
                let bounds = Bounds {
                    min,
                    max,
                    created: before.map_or(now, |bounds| bounds.created),
                    suspended: suspended
                        .unwrap_or_else(|| before.map(|bounds| bounds.suspended).unwrap_or_default()),
                };
                let target = match known {
                    Some(known) => Target { bounds, unsettled: true, ..known },
                    None => {
                        let (of, id, tags) = (written.clone(), id.clone(), tags.clone());
                        Target { of, id, bounds, tags, unsettled: true, changed: now }
                    }
                };
                data::put_target(tx, &target)?;
                Ok(target.id)
            })
            .await?;
        self.work.notify_one();
        Ok(RegisterScalableTargetResponse { scalable_target_arn: arn(&of, &id) })
    }

    pub(crate) async fn describe_scalable_targets(
        &self,
        context: &Context,
        input: DescribeScalableTargetsRequest,
    ) -> Result<DescribeScalableTargetsResponse, Error> {
        listed(context, input.service_namespace.as_ref(), None, input.scalable_dimension.as_ref())?;
        let ids = input.resource_ids.unwrap_or_default();
        if ids.len() > IDS_MAX {
            return Err(Error::invalid(format!("{} resource ids exceed {IDS_MAX}", ids.len())));
        }
        let only: BTreeSet<Scaled> = ids.iter().map(|id| resource(context, id)).collect::<Result<_, _>>()?;
        let size = page_size(input.max_results, PAGE_MAX)?;
        let (account, region) = (context.account, context.region.clone());
        let read = |after| {
            let region = region.clone();
            self.db.read(move |tx| data::targets(tx, account, &region, &after, PAGE_MAX + 1))
        };
        let place_of =
            |target: &Target| (target.of.name.to_string(), target.of.qualifier.clone(), String::new());
        let wanted = |target: &Target| only.is_empty() || only.contains(&target.of);
        let first = place(input.next_token.as_deref())?;
        let (targets, next_token) = page(first, size, read, place_of, wanted).await?;
        Ok(DescribeScalableTargetsResponse {
            scalable_targets: targets.into_iter().map(shown).collect(),
            next_token,
        })
    }

    pub(crate) async fn deregister_scalable_target(
        &self,
        context: &Context,
        input: TargetRequest,
    ) -> Result<Nothing, Error> {
        let of = named(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        let gone = of.clone();
        match self.db.write(move |tx| data::delete_target(tx, &gone)).await? {
            true => Ok(Nothing {}),
            false => Err(not_registered(&of)),
        }
    }
}

/// Refuses bounds that leave nothing between them.
pub(super) fn ordered(min: u32, max: u32) -> Result<(), Error> {
    if min <= max {
        return Ok(());
    }
    Err(Error::invalid(format!("MinCapacity of {min} exceeds MaxCapacity of {max}")))
}

/// ARN of a target.
pub(super) fn arn(of: &Scaled, id: &str) -> String {
    format!("arn:aws:application-autoscaling:{}:{}:scalable-target/{id}", of.region, of.account)
}

/// The service-linked role by which AWS does the work.
fn role_arn(account: AccountId) -> String {
    format!(
        "arn:aws:iam::{account}:role/aws-service-role/lambda.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency"
    )
}

fn shown(target: Target) -> ScalableTarget {
    ScalableTarget {
        service_namespace: NAMESPACE,
        resource_id: resource_id(&target.of),
        scalable_dimension: DIMENSION,
        min_capacity: target.bounds.min,
        max_capacity: target.bounds.max,
        role_arn: role_arn(target.of.account),
        creation_time: Time(target.bounds.created),
        suspended_state: target.bounds.suspended,
        scalable_target_arn: arn(&target.of, &target.id),
    }
}
