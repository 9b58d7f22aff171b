//! DescribeScalingActivities.

use super::{DIMENSION, NAMESPACE, PAGE_MAX, listed, page_size, resource_id};
use crate::{
    Error, Scaling,
    api::{DescribeScalingActivitiesRequest, DescribeScalingActivitiesResponse, ScalingActivity},
    data,
};
use wire::{Context, Time};

impl Scaling {
    pub(crate) async fn describe_scaling_activities(
        &self,
        context: &Context,
        input: DescribeScalingActivitiesRequest,
    ) -> Result<DescribeScalingActivitiesResponse, Error> {
        let only = listed(
            context,
            input.service_namespace.as_ref(),
            input.resource_id.as_ref(),
            input.scalable_dimension.as_ref(),
        )?;
        if input.include_not_scaled_activities == Some(true) {
            return Err(Error::unsupported("IncludeNotScaledActivities", "only what was done is kept"));
        }
        let size = page_size(input.max_results, PAGE_MAX)?;
        let before = match input.next_token.as_deref() {
            None => i64::MAX,
            Some(token) => token.parse().map_err(|_| Error::Token)?,
        };
        let (account, region) = (context.account, context.region.clone());
        let mut found = self
            .db
            .read(move |tx| data::activities(tx, (account, &region), only.as_ref(), before, size + 1))
            .await?;
        let more = found.len() > usize::try_from(size).unwrap_or_default();
        if more {
            found.pop();
        }
        let next_token = found.last().filter(|_| more).map(|(seq, ..)| seq.to_string());
        let scaling_activities = (found.into_iter())
            .map(|(_, of, activity)| ScalingActivity {
                activity_id: activity.id,
                service_namespace: NAMESPACE,
                resource_id: resource_id(&of),
                scalable_dimension: DIMENSION,
                description: activity.description,
                cause: activity.cause,
                start_time: Time(activity.started),
                end_time: Time(activity.ended),
                status_code: if activity.failure.is_none() { "Successful" } else { "Failed" },
                status_message: activity.failure.unwrap_or(activity.message),
            })
            .collect();
        Ok(DescribeScalingActivitiesResponse { scaling_activities, next_token })
    }
}
