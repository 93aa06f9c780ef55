//! Issued keys and management keys.

use keyward_core::Error;
use keyward_core::account::{self, Account, MeteredKey, Verdict};
use keyward_core::id::{OrganizationId, WorkspaceId};
use keyward_core::issued_key::{IssuedKeyFilter, IssuedKeyPatch, NewIssuedKey};
use keyward_core::management_key::ManagementKey as Administrator;
use keyward_core::money::Nanos;
use keyward_core::services::{Created, CurrentKey as Current, VerifiedIssuedKey};
use keyward_core::window::LimitReset as Reset;

use super::{creator, id, moment, timestamp};
use crate::proto::v1::{
    CreateKeyRequest, CreateKeyResponse, CreateManagementKeyResponse, CurrentKey,
    DeprecatedRateLimit, FreeModelDailyRequests, IssuedKey, KeyVerdict, LimitReset,
    ListKeysRequest, ManagementKey, UpdateKeyRequest, VerifyKeyResponse,
};

fn workspace_id(text: String) -> Result<WorkspaceId, Error> {
    id(WorkspaceId::parse, "workspace_id", "Workspace ID", text)
}

/// Parses the organization that an administrator names.
pub(crate) fn organization_id(text: String) -> Result<OrganizationId, Error> {
    let (field, label) = ("organizationId", "Organization ID");
    id(OrganizationId::parse, field, label, text)
}

pub(crate) fn filter(message: ListKeysRequest) -> Result<IssuedKeyFilter, Error> {
    let workspace = Some(message.workspace_id).filter(|text| !text.is_empty());
    Ok(IssuedKeyFilter {
        workspace: workspace.map(workspace_id).transpose()?,
        include_disabled: message.include_disabled,
        offset: u64::try_from(message.offset)
            .map_err(|_| Error::invalid("offset", "Offset must not be negative"))?,
    })
}

pub(crate) fn new_key(message: CreateKeyRequest) -> Result<NewIssuedKey, Error> {
    let external = message.external.map(|external| external.user);
    Ok(NewIssuedKey {
        name: message.name,
        limit: message.limit_nanos.map(limit_amount).transpose()?,
        limit_reset: message.limit_reset.map(limit_reset).transpose()?.flatten(),
        include_byok_in_limit: message.include_byok_in_limit.unwrap_or(false),
        expires_at: message
            .expires_at
            .map(|at| moment("expires_at", "Expiry", at))
            .transpose()?,
        workspace: message.workspace_id.map(workspace_id).transpose()?,
        creator_user_id: message.creator_user_id,
        external_user: external.or(message.external_user),
    })
}

/// Fields that can change, by their names in the proto file.
const CHANGEABLE: [&str; 5] = [
    "name",
    "disabled",
    "limit_nanos",
    "limit_reset",
    "include_byok_in_limit",
];

/// Converts an update. A mask names the fields; a named field that is unset is removed if it can be. Without a
/// mask, or with an empty one, the fields that are set change (AIP-134).
pub(crate) fn patch(message: UpdateKeyRequest) -> Result<IssuedKeyPatch, Error> {
    let mask = message.update_mask.unwrap_or_default().paths;
    if let Some(place) = mask
        .iter()
        .position(|path| !CHANGEABLE.contains(&path.as_str()))
    {
        let message = format!(
            "Path {} of the mask names no field that can change",
            place + 1
        );
        return Err(Error::invalid("update_mask", message));
    }
    let named = |field: &str| mask.iter().any(|path| path == field);
    let chosen = |field: &str| mask.is_empty() || named(field);
    let reset = message.limit_reset.filter(|_| chosen("limit_reset"));
    let limit = message.limit_nanos.filter(|_| chosen("limit_nanos"));
    let patch = IssuedKeyPatch {
        name: message.name.filter(|_| chosen("name")),
        disabled: message.disabled.filter(|_| chosen("disabled")),
        limit: match limit {
            Some(nanos) => Some(Some(limit_amount(nanos)?)),
            None => named("limit_nanos").then_some(None),
        },
        limit_reset: match reset {
            Some(reset) => Some(limit_reset(reset)?),
            None => named("limit_reset").then_some(None),
        },
        include_byok_in_limit: message
            .include_byok_in_limit
            .filter(|_| chosen("include_byok_in_limit")),
    };
    let required = [
        ("name", patch.name.is_none()),
        ("disabled", patch.disabled.is_none()),
        (
            "include_byok_in_limit",
            patch.include_byok_in_limit.is_none(),
        ),
    ];
    for (field, unset) in required {
        if unset && named(field) {
            return Err(Error::invalid(field, format!("`{field}` must not be null")));
        }
    }
    Ok(patch)
}

fn limit_amount(nanos: i64) -> Result<Nanos, Error> {
    Nanos::parse_limit("limit", nanos)
}

fn limit_reset(number: i32) -> Result<Option<Reset>, Error> {
    match LimitReset::try_from(number) {
        Ok(LimitReset::Unspecified) => Ok(None),
        Ok(LimitReset::Daily) => Ok(Some(Reset::Daily)),
        Ok(LimitReset::Weekly) => Ok(Some(Reset::Weekly)),
        Ok(LimitReset::Monthly) => Ok(Some(Reset::Monthly)),
        Err(_) => {
            let message = "Limit reset must be one of daily, weekly, monthly";
            Err(Error::invalid("limit_reset", message))
        }
    }
}

fn limit_reset_message(reset: Reset) -> i32 {
    match reset {
        Reset::Daily => LimitReset::Daily.into(),
        Reset::Weekly => LimitReset::Weekly.into(),
        Reset::Monthly => LimitReset::Monthly.into(),
    }
}

/// Returns the remaining part of a key's limit, in the form of messages.
pub(crate) fn remaining(metered: &MeteredKey) -> Option<i64> {
    account::remaining(metered).map(Nanos::get)
}

pub(crate) fn issued_key(metered: MeteredKey) -> IssuedKey {
    let limit_remaining_nanos = remaining(&metered);
    let MeteredKey { key, account } = metered;
    let Account {
        usage, byok_usage, ..
    } = account;
    let (created_by_kind, created_by_id) = creator(key.created_by);
    IssuedKey {
        hash: key.hash.to_string(),
        name: key.name,
        label: key.label,
        disabled: key.disabled,
        limit_nanos: key.limit.map(Nanos::get),
        limit_remaining_nanos,
        limit_reset: key.limit_reset.map(limit_reset_message),
        include_byok_in_limit: key.include_byok_in_limit,
        usage_nanos: usage.total.get(),
        usage_daily_nanos: usage.daily.get(),
        usage_weekly_nanos: usage.weekly.get(),
        usage_monthly_nanos: usage.monthly.get(),
        byok_usage_nanos: byok_usage.total.get(),
        byok_usage_daily_nanos: byok_usage.daily.get(),
        byok_usage_weekly_nanos: byok_usage.weekly.get(),
        byok_usage_monthly_nanos: byok_usage.monthly.get(),
        created_at: Some(timestamp(key.created_at)),
        updated_at: key.updated_at.map(timestamp),
        expires_at: key.expires_at.map(timestamp),
        creator_user_id: key.creator_user_id,
        workspace_id: key.workspace.to_string(),
        external_user: key.external_user,
        last_used_at: key.last_used_at.map(timestamp),
        created_by_kind,
        created_by_id,
    }
}

/// Converts a created key. Only this function puts an issued key's plaintext into a message.
pub(crate) fn created(created: Created<MeteredKey>) -> CreateKeyResponse {
    CreateKeyResponse {
        data: Some(issued_key(created.key)),
        key: created.token.expose().to_owned(),
    }
}

pub(crate) fn current(current: Current) -> CurrentKey {
    match current {
        Current::Issued(metered) => current_issued(*metered),
        Current::Management(key, default_workspace) => CurrentKey {
            label: key.label,
            organization_id: key.organization.to_string(),
            workspace_id: default_workspace.map_or_else(String::new, |id| id.to_string()),
            is_management_key: true,
            is_provisioning_key: true,
            ..constant()
        },
    }
}

fn current_issued(metered: MeteredKey) -> CurrentKey {
    let organization_id = metered.key.organization.to_string();
    let key = issued_key(metered);
    CurrentKey {
        label: key.label,
        limit_nanos: key.limit_nanos,
        limit_remaining_nanos: key.limit_remaining_nanos,
        limit_reset: key.limit_reset,
        include_byok_in_limit: key.include_byok_in_limit,
        usage_nanos: key.usage_nanos,
        usage_daily_nanos: key.usage_daily_nanos,
        usage_weekly_nanos: key.usage_weekly_nanos,
        usage_monthly_nanos: key.usage_monthly_nanos,
        byok_usage_nanos: key.byok_usage_nanos,
        byok_usage_daily_nanos: key.byok_usage_daily_nanos,
        byok_usage_weekly_nanos: key.byok_usage_weekly_nanos,
        byok_usage_monthly_nanos: key.byok_usage_monthly_nanos,
        expires_at: key.expires_at,
        creator_user_id: key.creator_user_id,
        organization_id,
        workspace_id: key.workspace_id,
        ..constant()
    }
}

/// Returns constant fields of every key, which some clients require.
fn constant() -> CurrentKey {
    CurrentKey {
        rate_limit: Some(DeprecatedRateLimit {
            requests: -1,
            interval: "10s".to_owned(),
            note: "This field is deprecated and safe to ignore.".to_owned(),
        }),
        free_model_daily_requests: Some(FreeModelDailyRequests::default()),
        ..Default::default()
    }
}

pub(crate) fn verified(verified: Option<VerifiedIssuedKey>) -> VerifyKeyResponse {
    let Some(VerifiedIssuedKey { verdict, metered }) = verified else {
        return VerifyKeyResponse {
            verdict: KeyVerdict::NotFound.into(),
            ..Default::default()
        };
    };
    let verdict = match verdict {
        Verdict::Valid => KeyVerdict::Valid,
        Verdict::Disabled => KeyVerdict::Disabled,
        Verdict::Expired => KeyVerdict::Expired,
        Verdict::LimitExceeded => KeyVerdict::LimitExceeded,
    };
    VerifyKeyResponse {
        verdict: verdict.into(),
        hash: metered.key.hash.to_string(),
        organization_id: metered.key.organization.to_string(),
        workspace_id: metered.key.workspace.to_string(),
        limit_remaining_nanos: remaining(&metered),
    }
}

pub(crate) fn management_key(key: Administrator) -> ManagementKey {
    let (created_by_kind, created_by_id) = creator(key.created_by);
    ManagementKey {
        hash: key.hash.to_string(),
        organization_id: key.organization.to_string(),
        name: key.name,
        label: key.label,
        created_at: Some(timestamp(key.created_at)),
        last_used_at: key.last_used_at.map(timestamp),
        created_by_kind,
        created_by_id,
    }
}

/// Converts a created management key. Only this function puts a management key's plaintext into a message.
pub(crate) fn created_management_key(
    created: Created<Administrator>,
) -> CreateManagementKeyResponse {
    CreateManagementKeyResponse {
        management_key: Some(management_key(created.key)),
        key: created.token.expose().to_owned(),
    }
}
