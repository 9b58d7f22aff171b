//! Tags of alarms.

use super::{data, ops::arn};
use crate::{
    api::{alarms::*, monitoring::Monitoring},
    cloudwatch::{
        error::Error,
        logic::{self, Place},
        ops::place,
    },
};
use base::Arn;
use wire::Context;

/// Tags of one alarm. Source: API reference, `TagResource`.
const TAGS_MAX: usize = 50;

/// Names and values, each name once; the last value counts.
pub(super) fn check(tags: &[Tag]) -> Result<Vec<(String, String)>, Error> {
    if tags.len() > TAGS_MAX {
        return Err(Error::Value(format!(
            "The collection Tags must not have a size greater than {TAGS_MAX}."
        )));
    }
    let mut checked = Vec::new();
    for tag in tags {
        let key = tag.key.as_deref().ok_or_else(|| logic::missing("Tags.Key"))?;
        let value = tag.value.as_deref().ok_or_else(|| logic::missing("Tags.Value"))?;
        if key.is_empty() || key.chars().count() > 128 || key.starts_with("aws:") || key.contains('\0') {
            return Err(Error::Value(format!(
                "The parameter Tags.Key must have 1 to 128 characters and not begin with aws:, {key}"
            )));
        }
        if value.chars().count() > 256 || value.contains('\0') {
            return Err(Error::Value(
                "The parameter Tags.Value must have at most 256 characters.".to_owned(),
            ));
        }
        checked.push((key.to_owned(), value.to_owned()));
    }
    Ok(checked)
}

/// The alarm that an ARN names.
fn alarm(place: &Place, given: Option<&str>) -> Result<String, Error> {
    let text = given.ok_or_else(|| logic::missing("ResourceARN"))?;
    let parsed: Result<Arn, _> = text.parse();
    let plain = !text.contains(char::is_control);
    let name = parsed.ok().filter(|_| plain).and_then(|parsed| {
        let here = parsed.account == Some(place.account) && parsed.region.as_ref() == Some(&place.region);
        let own = here && &*parsed.service == "cloudwatch";
        parsed.resource.strip_prefix("alarm:").filter(|_| own).map(str::to_owned)
    });
    name.ok_or_else(|| {
        Error::Value(format!(
            "The parameter ResourceARN must be the ARN of an alarm of this account and region: {text}."
        ))
    })
}

/// The ARN that a permission is asked for.
fn resource(given: &Option<String>) -> String {
    given.clone().unwrap_or_else(|| "*".to_owned())
}

impl Monitoring {
    pub(crate) fn tagged(&self, _: &Context, input: &TagResourceRequest) -> String {
        resource(&input.resource_arn)
    }

    pub(crate) fn untagged(&self, _: &Context, input: &UntagResourceRequest) -> String {
        resource(&input.resource_arn)
    }

    pub(crate) fn listed(&self, _: &Context, input: &ListTagsForResourceRequest) -> String {
        resource(&input.resource_arn)
    }

    pub(crate) async fn tag_resource(
        &self,
        context: &Context,
        input: TagResourceRequest,
    ) -> Result<Done, Error> {
        let place = place(context);
        let (name, tags) = (alarm(&place, input.resource_arn.as_deref())?, check(&input.tags)?);
        self.0
            .db
            .write(move |tx| {
                exists(tx, &place, &name)?;
                for (key, value) in &tags {
                    data::tag_set(tx, &place, &name, key, value)?;
                }
                match data::tags(tx, &place, &name)?.len() > TAGS_MAX {
                    true => Err(Error::Value(format!("An alarm has at most {TAGS_MAX} tags."))),
                    false => Ok(Done {}),
                }
            })
            .await
    }

    pub(crate) async fn untag_resource(
        &self,
        context: &Context,
        input: UntagResourceRequest,
    ) -> Result<Done, Error> {
        let place = place(context);
        let (name, keys) = (alarm(&place, input.resource_arn.as_deref())?, input.tag_keys);
        if keys.iter().any(|key| key.contains('\0')) {
            return Err(Error::Value("The parameter TagKeys must not have control characters.".to_owned()));
        }
        self.0
            .db
            .write(move |tx| {
                exists(tx, &place, &name)?;
                keys.iter().try_for_each(|key| data::tag_delete(tx, &place, &name, key))?;
                Ok(Done {})
            })
            .await
    }

    pub(crate) async fn list_tags_for_resource(
        &self,
        context: &Context,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, Error> {
        let place = place(context);
        let name = alarm(&place, input.resource_arn.as_deref())?;
        let tags = self
            .0
            .db
            .read(move |tx| {
                exists(tx, &place, &name)?;
                Ok::<_, Error>(data::tags(tx, &place, &name)?)
            })
            .await?;
        let tags = tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
        Ok(ListTagsForResourceResponse { tags })
    }
}

fn exists(tx: &mut store::Tx<'_>, place: &Place, name: &str) -> Result<(), Error> {
    match data::find(tx, place, name)? {
        Some(_) => Ok(()),
        None => Err(Error::NoResource(arn(place, name))),
    }
}
