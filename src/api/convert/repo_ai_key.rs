//! Repo AI keys.

use keyward_core::Error;
use keyward_core::id::RepoId;
use keyward_core::repo_ai_key::{AiType, NewRepoAiKey, RepoAiKey};
use keyward_core::services::{CreatedRepoAiKey, VerifiedRepoAiKey};

use super::{creator_to_proto, timestamp_to_proto};
use crate::api::proto::v1;

/// Parses the repo in a path. `None` if the text is not an ID.
pub(crate) fn repo_from_proto(text: String) -> Option<RepoId> {
    RepoId::parse(text).ok()
}

pub(crate) fn new_key_from_proto(
    message: v1::CreateRepoAiKeyRequest,
) -> Result<NewRepoAiKey, Error> {
    let ai_type = ai_type_from_proto(message.ai_type())?;
    Ok(NewRepoAiKey {
        repo: RepoId::parse(message.repo_id).map_err(|_| Error::Denied)?,
        name: message.name,
        ai_type,
    })
}

fn ai_type_from_proto(ai_type: v1::AiType) -> Result<AiType, Error> {
    match ai_type {
        v1::AiType::Openai => Ok(AiType::OpenAi),
        v1::AiType::Google => Ok(AiType::Google),
        v1::AiType::Anthropic => Ok(AiType::Anthropic),
        v1::AiType::Aws => Ok(AiType::Aws),
        v1::AiType::Other => Ok(AiType::Other),
        // Missing types are rejected before; this is a number without a type.
        v1::AiType::Unspecified => {
            let message = "AI type must be one of OPENAI, GOOGLE, ANTHROPIC, AWS, OTHER";
            Err(Error::invalid("aiType", message))
        }
    }
}

fn ai_type_to_proto(kind: AiType) -> v1::AiType {
    match kind {
        AiType::OpenAi => v1::AiType::Openai,
        AiType::Google => v1::AiType::Google,
        AiType::Anthropic => v1::AiType::Anthropic,
        AiType::Aws => v1::AiType::Aws,
        AiType::Other => v1::AiType::Other,
    }
}

pub(crate) fn repo_ai_key_to_proto(key: RepoAiKey) -> v1::RepoAiKey {
    let (created_by_kind, created_by_id) = creator_to_proto(key.created_by);
    v1::RepoAiKey {
        id: key.id.to_string(),
        name: key.name,
        repo_id: key.repo.to_string(),
        key: key.key,
        ai_type: ai_type_to_proto(key.ai_type).into(),
        created_at: Some(timestamp_to_proto(key.created_at)),
        deleted_at: None,
        created_by_kind,
        created_by_id,
    }
}

/// Converts a created key. Only this function puts a repo AI key's secret into a message.
pub(crate) fn created_key_to_proto(created: CreatedRepoAiKey) -> v1::CreateRepoAiKeyResponse {
    v1::CreateRepoAiKeyResponse {
        success: true,
        id: created.key.id.to_string(),
        key: created.key.key,
        secret: created.secret.expose().to_owned(),
    }
}

pub(crate) fn verified_key_to_proto(
    verified: Option<VerifiedRepoAiKey>,
) -> v1::VerifyRepoAiKeyResponse {
    let Some(VerifiedRepoAiKey { key, organization }) = verified else {
        return v1::VerifyRepoAiKeyResponse {
            verdict: v1::RepoAiKeyVerdict::NotFound.into(),
            ..Default::default()
        };
    };
    v1::VerifyRepoAiKeyResponse {
        verdict: v1::RepoAiKeyVerdict::Valid.into(),
        id: key.id.to_string(),
        repo_id: key.repo.to_string(),
        workspace_id: key.workspace.to_string(),
        organization_id: organization.to_string(),
        ai_type: ai_type_to_proto(key.ai_type).into(),
    }
}
