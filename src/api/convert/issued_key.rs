//! Issued keys and management keys.

use keyward_core::Error;
use keyward_core::account::{self, Account, MeteredKey, Verdict};
use keyward_core::id::WorkspaceId;
use keyward_core::issued_key::{IssuedKeyFilter, IssuedKeyPatch, NewIssuedKey};
use keyward_core::management_key::ManagementKey;
use keyward_core::money::Nanos;
use keyward_core::services::{Created, CurrentKey, VerifiedIssuedKey};
use keyward_core::window::LimitReset;

use super::{creator_to_proto, id_from_proto, timestamp_from_proto, timestamp_to_proto};
use crate::api::proto::v1;

fn workspace_id_from_proto(text: String) -> Result<WorkspaceId, Error> {
    id_from_proto(WorkspaceId::parse, "workspace_id", "Workspace ID", text)
}

pub(crate) fn filter_from_proto(message: v1::ListKeysRequest) -> Result<IssuedKeyFilter, Error> {
    let workspace = Some(message.workspace_id).filter(|text| !text.is_empty());
    Ok(IssuedKeyFilter {
        workspace: workspace.map(workspace_id_from_proto).transpose()?,
        include_disabled: message.include_disabled,
        offset: u64::try_from(message.offset)
            .map_err(|_| Error::invalid("offset", "Offset must not be negative"))?,
    })
}

pub(crate) fn new_key_from_proto(message: v1::CreateKeyRequest) -> Result<NewIssuedKey, Error> {
    let external = message.external.map(|external| external.user);
    Ok(NewIssuedKey {
        name: message.name,
        limit: message.limit_nanos.map(limit_from_proto).transpose()?,
        limit_reset: message
            .limit_reset
            .map(limit_reset_from_proto)
            .transpose()?
            .flatten(),
        include_byok_in_limit: message.include_byok_in_limit.unwrap_or(false),
        expires_at: message
            .expires_at
            .map(|at| timestamp_from_proto("expires_at", "Expiry", at))
            .transpose()?,
        workspace: message
            .workspace_id
            .map(workspace_id_from_proto)
            .transpose()?,
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
pub(crate) fn patch_from_proto(message: v1::UpdateKeyRequest) -> Result<IssuedKeyPatch, Error> {
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
            Some(nanos) => Some(Some(limit_from_proto(nanos)?)),
            None => named("limit_nanos").then_some(None),
        },
        limit_reset: match reset {
            Some(reset) => Some(limit_reset_from_proto(reset)?),
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

fn limit_from_proto(nanos: i64) -> Result<Nanos, Error> {
    Nanos::parse_limit("limit", nanos)
}

fn limit_reset_from_proto(number: i32) -> Result<Option<LimitReset>, Error> {
    match v1::LimitReset::try_from(number) {
        Ok(v1::LimitReset::Unspecified) => Ok(None),
        Ok(v1::LimitReset::Daily) => Ok(Some(LimitReset::Daily)),
        Ok(v1::LimitReset::Weekly) => Ok(Some(LimitReset::Weekly)),
        Ok(v1::LimitReset::Monthly) => Ok(Some(LimitReset::Monthly)),
        Err(_) => {
            let message = "Limit reset must be one of daily, weekly, monthly";
            Err(Error::invalid("limit_reset", message))
        }
    }
}

fn limit_reset_to_proto(reset: LimitReset) -> i32 {
    match reset {
        LimitReset::Daily => v1::LimitReset::Daily.into(),
        LimitReset::Weekly => v1::LimitReset::Weekly.into(),
        LimitReset::Monthly => v1::LimitReset::Monthly.into(),
    }
}

/// Returns the remaining part of a key's limit, in the form of messages.
pub(crate) fn remaining_to_proto(metered: &MeteredKey) -> Option<i64> {
    account::remaining(metered).map(Nanos::get)
}

pub(crate) fn issued_key_to_proto(metered: MeteredKey) -> v1::IssuedKey {
    let limit_remaining_nanos = remaining_to_proto(&metered);
    let MeteredKey { key, account } = metered;
    let Account {
        usage, byok_usage, ..
    } = account;
    let (created_by_kind, created_by_id) = creator_to_proto(key.created_by);
    v1::IssuedKey {
        hash: key.hash.to_string(),
        name: key.name,
        label: key.label,
        disabled: key.disabled,
        limit_nanos: key.limit.map(Nanos::get),
        limit_remaining_nanos,
        limit_reset: key.limit_reset.map(limit_reset_to_proto),
        include_byok_in_limit: key.include_byok_in_limit,
        usage_nanos: usage.total.get(),
        usage_daily_nanos: usage.daily.get(),
        usage_weekly_nanos: usage.weekly.get(),
        usage_monthly_nanos: usage.monthly.get(),
        byok_usage_nanos: byok_usage.total.get(),
        byok_usage_daily_nanos: byok_usage.daily.get(),
        byok_usage_weekly_nanos: byok_usage.weekly.get(),
        byok_usage_monthly_nanos: byok_usage.monthly.get(),
        created_at: Some(timestamp_to_proto(key.created_at)),
        updated_at: key.updated_at.map(timestamp_to_proto),
        expires_at: key.expires_at.map(timestamp_to_proto),
        creator_user_id: key.creator_user_id,
        workspace_id: key.workspace.to_string(),
        external_user: key.external_user,
        last_used_at: key.last_used_at.map(timestamp_to_proto),
        created_by_kind,
        created_by_id,
    }
}

/// Converts a created key. Only this function puts an issued key's plaintext into a message.
pub(crate) fn created_key_to_proto(created: Created<MeteredKey>) -> v1::CreateKeyResponse {
    v1::CreateKeyResponse {
        data: Some(issued_key_to_proto(created.key)),
        key: created.token.expose().to_owned(),
    }
}

pub(crate) fn current_key_to_proto(current: CurrentKey) -> v1::CurrentKey {
    match current {
        CurrentKey::Issued(metered) => current_issued_key_to_proto(*metered),
        CurrentKey::Management(key, default_workspace) => v1::CurrentKey {
            label: key.label,
            organization_id: key.organization.to_string(),
            workspace_id: default_workspace.map_or_else(String::new, |id| id.to_string()),
            is_management_key: true,
            is_provisioning_key: true,
            ..constant()
        },
    }
}

fn current_issued_key_to_proto(metered: MeteredKey) -> v1::CurrentKey {
    let organization_id = metered.key.organization.to_string();
    let key = issued_key_to_proto(metered);
    v1::CurrentKey {
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
fn constant() -> v1::CurrentKey {
    v1::CurrentKey {
        rate_limit: Some(v1::DeprecatedRateLimit {
            requests: -1,
            interval: "10s".to_owned(),
            note: "This field is deprecated and safe to ignore.".to_owned(),
        }),
        free_model_daily_requests: Some(v1::FreeModelDailyRequests::default()),
        ..Default::default()
    }
}

pub(crate) fn verified_key_to_proto(verified: Option<VerifiedIssuedKey>) -> v1::VerifyKeyResponse {
    let Some(VerifiedIssuedKey { verdict, metered }) = verified else {
        return v1::VerifyKeyResponse {
            verdict: v1::KeyVerdict::NotFound.into(),
            ..Default::default()
        };
    };
    let verdict = match verdict {
        Verdict::Valid => v1::KeyVerdict::Valid,
        Verdict::Disabled => v1::KeyVerdict::Disabled,
        Verdict::Expired => v1::KeyVerdict::Expired,
        Verdict::LimitExceeded => v1::KeyVerdict::LimitExceeded,
    };
    v1::VerifyKeyResponse {
        verdict: verdict.into(),
        hash: metered.key.hash.to_string(),
        organization_id: metered.key.organization.to_string(),
        workspace_id: metered.key.workspace.to_string(),
        limit_remaining_nanos: remaining_to_proto(&metered),
    }
}

pub(crate) fn management_key_to_proto(key: ManagementKey) -> v1::ManagementKey {
    let (created_by_kind, created_by_id) = creator_to_proto(key.created_by);
    v1::ManagementKey {
        hash: key.hash.to_string(),
        organization_id: key.organization.to_string(),
        name: key.name,
        label: key.label,
        created_at: Some(timestamp_to_proto(key.created_at)),
        last_used_at: key.last_used_at.map(timestamp_to_proto),
        created_by_kind,
        created_by_id,
    }
}

/// Converts a created management key. Only this function puts a management key's plaintext into a message.
pub(crate) fn created_management_key_to_proto(
    created: Created<ManagementKey>,
) -> v1::CreateManagementKeyResponse {
    v1::CreateManagementKeyResponse {
        management_key: Some(management_key_to_proto(created.key)),
        key: created.token.expose().to_owned(),
    }
}
