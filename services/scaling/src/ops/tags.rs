//! TagResource, ListTagsForResource, UntagResource.

use super::required;
use crate::{
    Error, Scaling,
    api::{
        ListTagsForResourceRequest, ListTagsForResourceResponse, Nothing, TagResourceRequest,
        UntagResourceRequest,
    },
    data,
    model::Target,
};
use base::Arn;
use std::collections::BTreeMap;
use store::Tx;
use wire::Context;

/// Tags of a target. Source: Application Auto Scaling user guide.
const TAGS_MAX: usize = 50;
/// Characters of a key and of a value. Source: API model.
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

impl Scaling {
    pub(crate) async fn tag_resource(
        &self,
        context: &Context,
        input: TagResourceRequest,
    ) -> Result<Nothing, Error> {
        let [arn] = required([("resourceARN", input.resource_arn.as_ref())])?;
        let tags = input.tags.ok_or_else(|| Error::invalid("Tags are required"))?;
        check(&tags)?;
        self.change_tags(context, arn, move |own| {
            own.extend(tags.clone());
            if own.len() > TAGS_MAX { Err(Error::TooManyTags(TAGS_MAX)) } else { Ok(()) }
        })
        .await
    }

    pub(crate) async fn untag_resource(
        &self,
        context: &Context,
        input: UntagResourceRequest,
    ) -> Result<Nothing, Error> {
        let [arn] = required([("resourceARN", input.resource_arn.as_ref())])?;
        let keys = input.tag_keys.ok_or_else(|| Error::invalid("TagKeys are required"))?;
        self.change_tags(context, arn, move |own| {
            own.retain(|key, _| !keys.contains(key));
            Ok(())
        })
        .await
    }

    pub(crate) async fn list_tags_for_resource(
        &self,
        context: &Context,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        let [arn] = required([("resourceARN", input.resource_arn.as_ref())])?;
        let arn = own(context, arn)?;
        let target = self.db.read(move |tx| find(tx, &arn)).await?;
        Ok(ListTagsForResourceResponse { tags: target.tags })
    }

    async fn change_tags(
        &self,
        context: &Context,
        arn: &str,
        change: impl Fn(&mut BTreeMap<String, String>) -> Result<(), Error> + Send + 'static,
    ) -> Result<Nothing, Error> {
        let arn = own(context, arn)?;
        self.db
            .write(move |tx| {
                let mut target = find(tx, &arn)?;
                change(&mut target.tags)?;
                data::put_target(tx, &target)
            })
            .await?;
        Ok(Nothing {})
    }
}

/// The ARN of a target of the caller.
fn own(context: &Context, text: &str) -> Result<Arn, Error> {
    let arn: Arn = text.parse().map_err(|error| Error::invalid(format!("{text}: {error}")))?;
    let here = arn.region.as_ref() == Some(&context.region) && arn.account == Some(context.account);
    match &*arn.service {
        "application-autoscaling" if here => Ok(arn),
        "application-autoscaling" => Err(Error::NoResource(text.to_owned())),
        _ => Err(Error::invalid(format!("{text} is not the ARN of a scalable target"))),
    }
}

fn find(tx: &mut Tx<'_>, arn: &Arn) -> Result<Target, Error> {
    let gone = || Error::NoResource(arn.to_string());
    let id = arn.resource.strip_prefix("scalable-target/").ok_or_else(gone)?;
    let (Some(account), Some(region)) = (arn.account, arn.region.as_ref()) else { return Err(gone()) };
    data::target_by_id(tx, account, region, id)?.ok_or_else(gone)
}

/// Refuses what cannot be tags.
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.len() > TAGS_MAX {
        return Err(Error::TooManyTags(TAGS_MAX));
    }
    for (key, value) in tags {
        let length = key.chars().count();
        if length == 0 || length > KEY_MAX || key.starts_with("aws:") || value.chars().count() > VALUE_MAX {
            return Err(Error::invalid(format!(
                "the tag {key:?} is not one of 1 to {KEY_MAX} characters that does not begin with aws:, with a value of at most {VALUE_MAX}"
            )));
        }
    }
    Ok(())
}
