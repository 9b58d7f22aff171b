//! TagResource, UntagResource, ListTags.

use super::mappings::owned;
use crate::{
    Error, Functions,
    api::{ListTagsRequest, ListTagsResponse, TagResourceRequest, UntagResourceRequest},
    asking, data,
    logic::{
        names::{self, Taggable},
        tags,
    },
};
use std::collections::BTreeMap;
use wire::Context;

impl Functions {
    pub(crate) async fn tag_resource(
        &self,
        context: &Context,
        input: TagResourceRequest,
    ) -> Result<(), Error> {
        let what = asking(context, "lambda:TagResource", |asker| names::taggable(asker, &input.resource))?;
        if input.tags.is_empty() {
            return Err(Error::invalid("An error occurred and the request cannot be processed."));
        }
        self.change_tags(context, what, move |tags| tags::merge(tags, &input.tags)).await
    }

    pub(crate) async fn untag_resource(
        &self,
        context: &Context,
        input: UntagResourceRequest,
    ) -> Result<(), Error> {
        let what = asking(context, "lambda:UntagResource", |asker| names::taggable(asker, &input.resource))?;
        self.change_tags(context, what, move |tags| {
            let mut tags = tags.clone();
            tags.retain(|key, _| !input.tag_keys.contains(key));
            Ok(tags)
        })
        .await
    }

    async fn change_tags(
        &self,
        context: &Context,
        what: Taggable,
        change: impl Fn(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> + Send + 'static,
    ) -> Result<(), Error> {
        let owner = (context.account, context.region.clone());
        let named = what.clone();
        self.db
            .write(move |tx| match &named {
                Taggable::Function(id) => {
                    let mut function = data::function(tx, id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
                    function.tags = change(&function.tags)?;
                    data::update_function(tx, &function)
                }
                Taggable::Mapping(id) => {
                    let mut mapping = owned(tx, *id, &owner)?;
                    mapping.tags = change(&mapping.tags)?;
                    data::update_mapping(tx, &mapping)
                }
            })
            .await?;
        if let Taggable::Function(id) = &what {
            // How long environments may be idle is a tag.
            self.specs.invalidate(id);
        }
        Ok(())
    }

    pub(crate) async fn list_tags(
        &self,
        context: &Context,
        input: ListTagsRequest,
    ) -> Result<ListTagsResponse, Error> {
        let what = asking(context, "lambda:ListTags", |asker| names::taggable(asker, &input.resource))?;
        let owner = (context.account, context.region.clone());
        self.db
            .read(move |tx| match &what {
                Taggable::Function(id) => match data::function(tx, id)? {
                    Some(function) => Ok(ListTagsResponse { tags: function.tags }),
                    None => Err(Error::NotFound(id.arn())),
                },
                Taggable::Mapping(id) => Ok(ListTagsResponse { tags: owned(tx, *id, &owner)?.tags }),
            })
            .await
    }
}
