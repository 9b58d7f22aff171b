//! TagResource, UntagResource, ListTags.

use crate::{
    Error, Functions,
    api::{ListTagsRequest, ListTagsResponse, TagResourceRequest, UntagResourceRequest},
    asking, data,
    logic::{names, settings},
};
use wire::Context;

impl Functions {
    pub(crate) async fn tag_resource(
        &self,
        context: &Context,
        input: TagResourceRequest,
    ) -> Result<(), Error> {
        let id = asking(context, "lambda:TagResource", |asker| names::taggable(asker, &input.resource))?;
        if input.tags.is_empty() {
            return Err(Error::invalid("An error occurred and the request cannot be processed."));
        }
        let changed = id.clone();
        self.db
            .write(move |tx| {
                let mut function = data::function(tx, &id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
                function.tags = settings::tags(&function.tags, &input.tags)?;
                data::update_function(tx, &function)
            })
            .await?;
        // How long environments may be idle is a tag.
        self.specs.invalidate(&changed);
        Ok(())
    }

    pub(crate) async fn untag_resource(
        &self,
        context: &Context,
        input: UntagResourceRequest,
    ) -> Result<(), Error> {
        let id = asking(context, "lambda:UntagResource", |asker| names::taggable(asker, &input.resource))?;
        let changed = id.clone();
        self.db
            .write(move |tx| {
                let mut function = data::function(tx, &id)?.ok_or_else(|| Error::NotFound(id.arn()))?;
                function.tags.retain(|key, _| !input.tag_keys.contains(key));
                data::update_function(tx, &function)
            })
            .await?;
        // How long environments may be idle is a tag.
        self.specs.invalidate(&changed);
        Ok(())
    }

    pub(crate) async fn list_tags(
        &self,
        context: &Context,
        input: ListTagsRequest,
    ) -> Result<ListTagsResponse, Error> {
        let id = asking(context, "lambda:ListTags", |asker| names::taggable(asker, &input.resource))?;
        self.db
            .read(move |tx| match data::function(tx, &id)? {
                Some(function) => Ok(ListTagsResponse { tags: function.tags }),
                None => Err(Error::NotFound(id.arn())),
            })
            .await
    }
}
