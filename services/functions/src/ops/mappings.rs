//! CreateEventSourceMapping and its like. What they accept is on disk; [`crate::tasks`] has it done.

use super::list::page_size;
use crate::{
    Error, Functions,
    api::{
        CreateMappingRequest, ListMappingsRequest, ListMappingsResponse, MappingConfiguration,
        MappingRequest, UpdateMappingRequest,
    },
    asking, data,
    logic::{
        mappings::settings::{suitable, unreachable, wanted},
        names::{self, Form},
        tags,
    },
    model::{Mapping, MappingSettings, MappingState, Target},
};
use base::{Arn, Principal, QueueSource, RequestId, Seconds};
use std::{collections::BTreeMap, sync::Arc};
use store::Tx;
use wire::{Context, Violations};

/// Entries of a page. Source: Lambda API reference.
const PAGE_MAX: i64 = 100;
/// The model's pattern of ARNs.
const ARN_PATTERN: &str = r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)";

impl Functions {
    pub(crate) async fn create_event_source_mapping(
        &self,
        context: &Context,
        input: CreateMappingRequest,
    ) -> Result<MappingConfiguration, Error> {
        let target = named(context, "lambda:CreateEventSourceMapping", &input.function_name)?;
        let source = queue(context, input.event_source_arn.as_deref())?;
        let settings = wanted(&input.members, MappingSettings::default(), &source)?;
        let tags = match &input.tags {
            Some(tags) => tags::merge(&BTreeMap::new(), tags)?,
            None => BTreeMap::new(),
        };
        self.can_poll(&target, &source).await?;
        let mapping = Mapping {
            id: self.fresh_id(),
            target,
            source,
            settings,
            enabled: input.enabled.unwrap_or(true),
            state: MappingState::Creating,
            revision: 1,
            modified: self.now(),
            tags,
            problem: None,
        };
        let shown = MappingConfiguration::of(&mapping);
        self.db
            .write(move |tx| {
                free(tx, &mapping, None)?;
                // The function may have been deleted meanwhile.
                data::function(tx, &mapping.target.id)?
                    .ok_or_else(|| Error::NotFound(mapping.target.arn()))?;
                data::insert_mapping(tx, &mapping)
            })
            .await?;
        self.mappings.changed();
        Ok(shown)
    }

    pub(crate) async fn get_event_source_mapping(
        &self,
        context: &Context,
        input: MappingRequest,
    ) -> Result<MappingConfiguration, Error> {
        let (id, owner) = (identified(&input.uuid)?, owner(context));
        let mapping = self.db.read(move |tx| owned(tx, id, &owner)).await?;
        Ok(MappingConfiguration::of(&mapping))
    }

    pub(crate) async fn list_event_source_mappings(
        &self,
        context: &Context,
        input: ListMappingsRequest,
    ) -> Result<ListMappingsResponse, Error> {
        let target = match input.function_name.as_deref() {
            Some(name) => Some(named(context, "lambda:ListEventSourceMappings", name)?),
            None => None,
        };
        page_size(input.max_items, Violations::default())?;
        let size = input.max_items.unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let after = match input.marker.as_deref().filter(|marker| !marker.is_empty()) {
            Some(marker) => marker
                .parse::<RequestId>()
                .map_err(|_| Error::invalid("The Marker is not one that an earlier answer gave."))?
                .to_string(),
            None => String::new(),
        };
        let (account, region) = owner(context);
        let mut found = self
            .db
            .read(move |tx| {
                let source = input.event_source_arn.as_deref();
                data::list_mappings(tx, (account, &region), source, target.as_ref(), &after, size + 1)
            })
            .await?;
        let size = usize::try_from(size).unwrap_or_default();
        let more = found.len() > size;
        found.truncate(size);
        Ok(ListMappingsResponse {
            next_marker: found.last().filter(|_| more).map(|last| last.id.to_string()),
            event_source_mappings: found.iter().map(MappingConfiguration::of).collect(),
        })
    }

    pub(crate) async fn update_event_source_mapping(
        &self,
        context: &Context,
        input: UpdateMappingRequest,
    ) -> Result<MappingConfiguration, Error> {
        let (id, owner) = (identified(&input.uuid)?, owner(context));
        let mut mapping = {
            let owner = owner.clone();
            self.db.read(move |tx| owned(tx, id, &owner)).await?
        };
        if let Some(name) = &input.function_name {
            mapping.target = named(context, "lambda:UpdateEventSourceMapping", name)?;
        }
        mapping.settings = wanted(&input.members, mapping.settings.clone(), &mapping.source)?;
        self.can_poll(&mapping.target, &mapping.source).await?;
        let enabled = input.enabled.unwrap_or(mapping.enabled);
        mapping.state = match (mapping.enabled, enabled) {
            (false, true) => MappingState::Enabling,
            (true, false) => MappingState::Disabling,
            (true, true) | (false, false) => MappingState::Updating,
        };
        (mapping.enabled, mapping.modified) = (enabled, self.now());
        let mapping = self
            .db
            .write(move |tx| {
                let now = owned(tx, id, &owner)?;
                if !now.state.settled() || now.revision != mapping.revision {
                    return Err(Error::MappingInUse("update"));
                }
                free(tx, &mapping, Some(id))?;
                let mapping = Mapping { revision: now.revision + 1, tags: now.tags, ..mapping.clone() };
                data::update_mapping(tx, &mapping)?;
                Ok(mapping)
            })
            .await?;
        self.mappings.changed();
        Ok(MappingConfiguration::of(&mapping))
    }

    pub(crate) async fn delete_event_source_mapping(
        &self,
        context: &Context,
        input: MappingRequest,
    ) -> Result<MappingConfiguration, Error> {
        let (id, owner, now) = (identified(&input.uuid)?, owner(context), self.now());
        let mapping = self
            .db
            .write(move |tx| {
                let mut mapping = owned(tx, id, &owner)?;
                if mapping.state == MappingState::Deleting {
                    return Err(Error::MappingInUse("delete"));
                }
                (mapping.state, mapping.enabled, mapping.modified) = (MappingState::Deleting, false, now);
                mapping.revision += 1;
                data::update_mapping(tx, &mapping)?;
                Ok(mapping)
            })
            .await?;
        self.mappings.changed();
        Ok(MappingConfiguration::of(&mapping))
    }

    /// Refuses a queue that the function could not work on as it is now.
    async fn can_poll(&self, target: &Target, source: &Arn) -> Result<(), Error> {
        let queues = self.queues()?;
        let (_, record) = self.find(target.clone()).await?;
        let configuration = record.deployment.configuration;
        if configuration.per_tenant {
            return Err(Error::invalid(
                "A function that isolates tenants cannot have an event source mapping: messages name no tenant.",
            ));
        }
        let who = principal(&configuration.role, target)?;
        let facts = queues.describe(who, source.clone()).await.map_err(|error| unreachable(&error))?;
        suitable(facts, Seconds(configuration.timeout.0))
    }

    /// Where queues are.
    pub(crate) fn queues(&self) -> Result<Arc<dyn QueueSource>, Error> {
        self.queues
            .get()
            .cloned()
            .ok_or(Error::Unsupported { member: "EventSourceArn", reason: "this node has no queues" })
    }
}

/// Who polls: a session of the function's role.
pub(crate) fn principal(role: &str, target: &Target) -> Result<Principal, Error> {
    let arn: Arn = role.parse().map_err(|_| Error::Corrupt { what: "role" })?;
    match (arn.account, arn.resource.strip_prefix("role/")) {
        (Some(account), Some(role)) => Ok(Principal::Session {
            account,
            role: role.to_owned(),
            session: target.id.name.as_str().to_owned(),
        }),
        _ => Err(Error::Corrupt { what: "role" }),
    }
}

fn owner(context: &Context) -> (base::AccountId, base::Region) {
    (context.account, context.region.clone())
}

fn named(context: &Context, action: &'static str, name: &str) -> Result<Target, Error> {
    asking(context, action, |asker| names::target(asker, name, None, Form::Namespaced))
}

/// The queue that a request names.
fn queue(context: &Context, text: Option<&str>) -> Result<Arn, Error> {
    let Some(text) = text else {
        return Err(Error::invalid(
            "Required parameter EventSourceArn is missing: queues are event sources.",
        ));
    };
    let arn = text.parse::<Arn>().ok();
    let mut violations = Violations::default();
    violations.pattern("eventSourceArn", text, ARN_PATTERN, arn.is_some());
    let Some(arn) = arn else { return Err(Error::Constraints(violations.to_string())) };
    if &*arn.service != "sqs" {
        return Err(Error::Unsupported {
            member: "EventSourceArn",
            reason: "only queues (arn:aws:sqs:…) are event sources",
        });
    }
    if arn.region.as_ref() != Some(&context.region) || arn.account.is_none() {
        return Err(Error::invalid(format!(
            "Unrecognized event source: the queue must be in the region {}",
            context.region
        )));
    }
    Ok(arn)
}

fn identified(uuid: &str) -> Result<RequestId, Error> {
    let mut violations = Violations::default();
    violations.length("uUID", uuid, 36..=36);
    if !violations.is_empty() {
        return Err(Error::Constraints(violations.to_string()));
    }
    uuid.parse().map_err(|_| Error::NoResource)
}

/// The mapping, if it is the asker's.
pub(super) fn owned(
    tx: &mut Tx<'_>,
    id: RequestId,
    (account, region): &(base::AccountId, base::Region),
) -> Result<Mapping, Error> {
    data::mapping_of(tx, id)?
        .filter(|mapping| mapping.target.id.account == *account && mapping.target.id.region == *region)
        .ok_or(Error::NoResource)
}

/// Refuses a second mapping between the same two.
fn free(tx: &mut Tx<'_>, mapping: &Mapping, own: Option<RequestId>) -> Result<(), Error> {
    match data::mapping_between(tx, &mapping.source, &mapping.target)? {
        Some(id) if Some(id) != own => Err(Error::MappingExists {
            source_arn: mapping.source.to_string(),
            function: mapping.target.id.name.as_str().to_owned(),
            id,
        }),
        Some(_) | None => Ok(()),
    }
}
