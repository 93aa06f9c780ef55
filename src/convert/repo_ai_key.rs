//! Repo AI keys.

use keyward_core::Error;
use keyward_core::id::RepoId;
use keyward_core::repo_ai_key::{AiType as Kind, NewRepoAiKey, RepoAiKey as Key};
use keyward_core::services::{CreatedRepoAiKey, VerifiedRepoAiKey};

use super::{creator, timestamp};
use crate::proto::v1::{
    AiType, CreateRepoAiKeyRequest, CreateRepoAiKeyResponse, RepoAiKey, RepoAiKeyVerdict,
    VerifyRepoAiKeyResponse,
};

/// Parses the repo in a path. `None` if the text is not an ID.
pub(crate) fn repo(text: String) -> Option<RepoId> {
    RepoId::parse(text).ok()
}

pub(crate) fn new_key(message: CreateRepoAiKeyRequest) -> Result<NewRepoAiKey, Error> {
    let ai_type = ai_type(message.ai_type())?;
    Ok(NewRepoAiKey {
        repo: RepoId::parse(message.repo_id).map_err(|_| Error::Denied)?,
        name: message.name,
        ai_type,
    })
}

fn ai_type(ai_type: AiType) -> Result<Kind, Error> {
    match ai_type {
        AiType::Openai => Ok(Kind::OpenAi),
        AiType::Google => Ok(Kind::Google),
        AiType::Anthropic => Ok(Kind::Anthropic),
        AiType::Aws => Ok(Kind::Aws),
        AiType::Other => Ok(Kind::Other),
        // Missing types are rejected before; this is a number without a type.
        AiType::Unspecified => {
            let message = "AI type must be one of OPENAI, GOOGLE, ANTHROPIC, AWS, OTHER";
            Err(Error::invalid("aiType", message))
        }
    }
}

fn ai_type_message(kind: Kind) -> AiType {
    match kind {
        Kind::OpenAi => AiType::Openai,
        Kind::Google => AiType::Google,
        Kind::Anthropic => AiType::Anthropic,
        Kind::Aws => AiType::Aws,
        Kind::Other => AiType::Other,
    }
}

pub(crate) fn repo_ai_key(key: Key) -> RepoAiKey {
    let (created_by_kind, created_by_id) = creator(key.created_by);
    RepoAiKey {
        id: key.id.to_string(),
        name: key.name,
        repo_id: key.repo.to_string(),
        key: key.key,
        ai_type: ai_type_message(key.ai_type).into(),
        created_at: Some(timestamp(key.created_at)),
        deleted_at: None,
        created_by_kind,
        created_by_id,
    }
}

/// Converts a created key. Only this function puts a repo AI key's secret into a message.
pub(crate) fn created(created: CreatedRepoAiKey) -> CreateRepoAiKeyResponse {
    CreateRepoAiKeyResponse {
        success: true,
        id: created.key.id.to_string(),
        key: created.key.key,
        secret: created.secret.expose().to_owned(),
    }
}

pub(crate) fn verified(verified: Option<VerifiedRepoAiKey>) -> VerifyRepoAiKeyResponse {
    let Some(VerifiedRepoAiKey { key, organization }) = verified else {
        return VerifyRepoAiKeyResponse {
            verdict: RepoAiKeyVerdict::NotFound.into(),
            ..Default::default()
        };
    };
    VerifyRepoAiKeyResponse {
        verdict: RepoAiKeyVerdict::Valid.into(),
        id: key.id.to_string(),
        repo_id: key.repo.to_string(),
        workspace_id: key.workspace.to_string(),
        organization_id: organization.to_string(),
        ai_type: ai_type_message(key.ai_type).into(),
    }
}
