//! Operations on layers, and the layers of functions.

use super::{
    create::charge_bytes,
    list::{page, read_marker},
};
use crate::{
    Error, Functions,
    api::layers::{
        AddLayerVersionPermissionRequest, AddLayerVersionPermissionResponse, GetLayerVersionPolicyResponse,
        LayerItem, LayerVersionByArnRequest, LayerVersionItem, LayerVersionRequest, LayerVersionResponse,
        ListLayerVersionsRequest, ListLayerVersionsResponse, ListLayersRequest, ListLayersResponse,
        PublishLayerVersionRequest, RemoveLayerVersionPermissionRequest,
    },
    asking,
    code::Missing,
    data,
    logic::{
        layers::{self, Filter},
        policy, settings,
    },
    model::{LayerId, LayerUse, LayerVersion},
};
use base::{CodeSha256, PackageError};
use store::Tx;
use wire::{Context, Violations};

/// Entries of a page. Source: Lambda API reference, `MaxItems` of ListLayers.
const PAGE_MAX: i64 = 50;
/// What shows the `RevisionId` of a policy.
const POLICY_READ_BY: &str = "GetLayerVersionPolicy";
/// Rows read at once while a filter leaves some out.
const ROWS: i64 = 200;

impl Functions {
    pub(crate) async fn publish_layer_version(
        &self,
        context: &Context,
        input: PublishLayerVersionRequest,
    ) -> Result<LayerVersionResponse, Error> {
        let id = named(context, "lambda:PublishLayerVersion", &input.layer_name)?;
        let label = layers::label(
            input.description,
            input.license_info,
            input.compatible_runtimes,
            input.compatible_architectures,
        )?;
        let zip = settings::source(input.content.code())?;
        // There is no state in which a layer version waits: it is unpacked when it is answered.
        let uploaded = self.upload_layer(zip).await?;
        let unpacked = match uploaded.unpacked {
            Some(size) => size,
            None => self.unpacked_size(uploaded.code).await?,
        };
        let (created, max) = (self.now(), self.settings.code_storage_max);
        let version = self
            .db
            .write(move |tx| {
                charge_bytes(tx, id.account, &id.region, uploaded.size, max)?;
                let version = LayerVersion {
                    id: id.clone(),
                    version: data::take_layer_number(tx, &id)?,
                    created,
                    label: label.clone(),
                    code: uploaded.code,
                    code_size: uploaded.size,
                    unpacked,
                    policy: None,
                };
                data::put_layer_version(tx, &version)?;
                Ok::<_, Error>(version)
            })
            .await?;
        self.shown(context, &version).await
    }

    pub(crate) async fn get_layer_version(
        &self,
        context: &Context,
        input: LayerVersionRequest,
    ) -> Result<LayerVersionResponse, Error> {
        let id = named(context, "lambda:GetLayerVersion", &input.layer_name)?;
        let number = layers::version(input.version_number)?;
        let found = self.db.read(move |tx| data::layer_version(tx, &id, number)).await?;
        self.shown(context, &found.ok_or(Error::NoResource)?).await
    }

    pub(crate) async fn get_layer_version_by_arn(
        &self,
        context: &Context,
        input: LayerVersionByArnRequest,
    ) -> Result<LayerVersionResponse, Error> {
        let (id, number) =
            asking(context, "lambda:GetLayerVersion", |asker| layers::version_by_arn(asker, &input.arn))?;
        let found = self.db.read(move |tx| data::layer_version(tx, &id, number)).await?;
        self.shown(context, &found.ok_or(Error::NoResource)?).await
    }

    async fn shown(&self, context: &Context, version: &LayerVersion) -> Result<LayerVersionResponse, Error> {
        let location = self.links().await?.url(&context.authority, version.code, self.now());
        Ok(LayerVersionResponse::of(version, location))
    }

    pub(crate) async fn list_layer_versions(
        &self,
        context: &Context,
        input: ListLayerVersionsRequest,
    ) -> Result<ListLayerVersionsResponse, Error> {
        let id = named(context, "lambda:ListLayerVersions", &input.layer_name)?;
        let filter = Filter::new(input.compatible_runtime, input.compatible_architecture)?;
        let size = page_size(input.max_items)?;
        let before = match read_marker(input.marker.as_deref())?.1 {
            -1 => i64::MAX,
            number => number,
        };
        let found = self
            .db
            .read(move |tx| {
                let (mut found, mut before) = (Vec::new(), before);
                loop {
                    let rows = data::list_layer_versions(tx, &id, before, ROWS)?;
                    let Some(last) = rows.last() else { return Ok::<_, Error>(found) };
                    before = i64::try_from(last.version).unwrap_or(i64::MAX);
                    found.extend(rows.into_iter().filter(|version| filter.shows(version)));
                    if found.len() as i64 > size {
                        return Ok(found);
                    }
                }
            })
            .await?;
        let (found, next_marker) = page(found, size, |last: &LayerVersion| (&last.id.name, last.version));
        Ok(ListLayerVersionsResponse {
            next_marker,
            layer_versions: found.iter().map(LayerVersionItem::of).collect(),
        })
    }

    pub(crate) async fn list_layers(
        &self,
        context: &Context,
        input: ListLayersRequest,
    ) -> Result<ListLayersResponse, Error> {
        let filter = Filter::new(input.compatible_runtime, input.compatible_architecture)?;
        let size = page_size(input.max_items)?;
        let (mut after, _) = read_marker(input.marker.as_deref())?;
        let (account, region) = (context.account, context.region.clone());
        let found = self
            .db
            .read(move |tx| {
                let mut found = Vec::new();
                loop {
                    let names = data::list_layers(tx, account.as_str(), region.as_str(), &after, ROWS)?;
                    let Some(last) = names.last() else { return Ok::<_, Error>(found) };
                    after.clone_from(last);
                    for name in names {
                        found.extend(latest(tx, LayerId { account, region: region.clone(), name }, &filter)?);
                        if found.len() as i64 > size {
                            return Ok(found);
                        }
                    }
                }
            })
            .await?;
        let (found, next_marker) = page(found, size, |last: &LayerVersion| (&last.id.name, 0));
        let item = |version: &LayerVersion| LayerItem {
            layer_name: version.id.name.clone(),
            layer_arn: version.id.arn(),
            latest_matching_version: LayerVersionItem::of(version),
        };
        Ok(ListLayersResponse { next_marker, layers: found.iter().map(item).collect() })
    }

    pub(crate) async fn delete_layer_version(
        &self,
        context: &Context,
        input: LayerVersionRequest,
    ) -> Result<(), Error> {
        let id = named(context, "lambda:DeleteLayerVersion", &input.layer_name)?;
        let (number, now) = (layers::version(input.version_number)?, self.now());
        self.db
            .write(move |tx| {
                // One that is not there is deleted already. Functions that have it keep its package.
                match data::delete_layer_version(tx, &id, number)? {
                    Some(deleted) => data::touch_package(tx, deleted.code, now),
                    None => Ok(()),
                }
            })
            .await
    }

    pub(crate) async fn add_layer_version_permission(
        &self,
        context: &Context,
        input: AddLayerVersionPermissionRequest,
    ) -> Result<AddLayerVersionPermissionResponse, Error> {
        let id = named(context, "lambda:AddLayerVersionPermission", &input.layer_name)?;
        let number = layers::version(input.version_number)?;
        let arn = id.version_arn(number);
        let added = layers::statement(&arn, &input.statement_id, &input.action, &input.principal)?;
        if input.organization_id.is_some() {
            let reason = "there are no organizations; name accounts as Principal";
            return Err(Error::Unsupported { member: "OrganizationId", reason });
        }
        let (fresh, statement) = (self.fresh_id(), added.document());
        self.db
            .write(move |tx| {
                let mut version = existing(tx, &id, number)?;
                policy::check_revision(
                    version.policy.as_ref(),
                    input.revision_id.as_deref(),
                    POLICY_READ_BY,
                )?;
                version.policy = Some(policy::add(version.policy.take(), added.clone(), fresh)?);
                data::put_layer_version(tx, &version)
            })
            .await?;
        Ok(AddLayerVersionPermissionResponse { statement, revision_id: fresh.to_string() })
    }

    pub(crate) async fn remove_layer_version_permission(
        &self,
        context: &Context,
        input: RemoveLayerVersionPermissionRequest,
    ) -> Result<(), Error> {
        let id = named(context, "lambda:RemoveLayerVersionPermission", &input.layer_name)?;
        let (number, fresh) = (layers::version(input.version_number)?, self.fresh_id());
        self.db
            .write(move |tx| {
                let mut version = existing(tx, &id, number)?;
                let known = version.policy.take().ok_or(Error::NoPolicy)?;
                policy::check_revision(Some(&known), input.revision_id.as_deref(), POLICY_READ_BY)?;
                version.policy = policy::remove(known, &input.statement_id, fresh)?;
                data::put_layer_version(tx, &version)
            })
            .await
    }

    pub(crate) async fn get_layer_version_policy(
        &self,
        context: &Context,
        input: LayerVersionRequest,
    ) -> Result<GetLayerVersionPolicyResponse, Error> {
        let id = named(context, "lambda:GetLayerVersionPolicy", &input.layer_name)?;
        let number = layers::version(input.version_number)?;
        let version = self.db.read(move |tx| existing(tx, &id, number)).await?;
        let policy = version.policy.as_ref().ok_or(Error::NoPolicy)?;
        Ok(GetLayerVersionPolicyResponse {
            policy: policy.document(),
            revision_id: policy.revision.to_string(),
        })
    }

    /// The layers that a request wants a function to have; `None` where it does not say.
    pub(crate) async fn wanted_layers(
        &self,
        context: &Context,
        action: &'static str,
        arns: Option<&[String]>,
    ) -> Result<Option<Vec<LayerUse>>, Error> {
        let Some(arns) = arns else { return Ok(None) };
        let wanted = asking(context, action, |asker| layers::wanted(asker, arns))?;
        if wanted.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let asked = wanted.clone();
        let found = self
            .db
            .read(move |tx| {
                asked
                    .iter()
                    .map(|(id, number)| data::layer_version(tx, id, *number))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let taken = wanted
            .iter()
            .zip(&found)
            .map(|(one, found)| asking(context, action, |asker| layers::take(asker, one, found.as_ref())))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(taken))
    }

    /// Refuses a function whose package, which is stored, is too large with its layers. One that cannot be unpacked runs
    /// nowhere and has no size.
    pub(crate) async fn check_size(&self, code: CodeSha256, layers: &[LayerUse]) -> Result<(), Error> {
        if layers.is_empty() {
            return Ok(());
        }
        match self.unpacked_size(code).await {
            Ok(size) => layers::check_size(size, layers),
            Err(Error::Package(PackageError::Storage(error))) => Err(Error::Package(error.into())),
            Err(Error::Package(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn unpacked_size(&self, code: CodeSha256) -> Result<u64, Error> {
        match self.code.ensure(code).await {
            Ok(()) => Ok(self.code.size(code).await?.0),
            Err(Missing::Blob(error)) => Err(error.into()),
            Err(Missing::Package(error)) => Err(error.into()),
        }
    }
}

fn named(context: &Context, action: &'static str, name: &str) -> Result<LayerId, Error> {
    asking(context, action, |asker| layers::layer(asker, name))
}

fn existing(tx: &mut Tx<'_>, id: &LayerId, number: u64) -> Result<LayerVersion, Error> {
    data::layer_version(tx, id, number)?.ok_or_else(|| Error::LayerVersionNotFound(id.version_arn(number)))
}

/// The newest version of a layer that the filter shows.
fn latest(tx: &mut Tx<'_>, id: LayerId, filter: &Filter) -> Result<Option<LayerVersion>, Error> {
    let mut before = i64::MAX;
    loop {
        let rows = data::list_layer_versions(tx, &id, before, ROWS)?;
        let Some(last) = rows.last() else { return Ok(None) };
        before = i64::try_from(last.version).unwrap_or(i64::MAX);
        if let Some(found) = rows.into_iter().find(|version| filter.shows(version)) {
            return Ok(Some(found));
        }
    }
}

fn page_size(max_items: Option<i64>) -> Result<i64, Error> {
    let mut violations = Violations::default();
    if let Some(items) = max_items {
        violations.range("maxItems", items, 1..=PAGE_MAX);
    }
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    Ok(max_items.unwrap_or(PAGE_MAX))
}
