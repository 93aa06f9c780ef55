//! Repo AI keys, which applications present to use AI through a repo.

use keyward_crypto::KeyHash;

use crate::model::audit_changes::{Audited, Values};
use crate::model::clock::Timestamp;
use crate::model::id::{RepoAiKeyId, RepoId, WorkspaceId};
use crate::model::principal::Creator;
use crate::model::tenancy::Workspace;

/// The AI provider of a repo AI key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AiType {
    /// OpenAI.
    OpenAi,
    /// Google.
    Google,
    /// Anthropic.
    Anthropic,
    /// Amazon Web Services.
    Aws,
    /// Any other.
    Other,
}

impl AiType {
    /// All types.
    pub const ALL: [Self; 5] = [
        Self::OpenAi,
        Self::Google,
        Self::Anthropic,
        Self::Aws,
        Self::Other,
    ];

    /// Returns the name that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "OPENAI",
            Self::Google => "GOOGLE",
            Self::Anthropic => "ANTHROPIC",
            Self::Aws => "AWS",
            Self::Other => "OTHER",
        }
    }

    /// Returns the type with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A live repo AI key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoAiKey {
    /// Identifies the key.
    pub id: RepoAiKeyId,
    /// The workspace of its repo.
    pub workspace: WorkspaceId,
    /// The repo of the key. Never changes.
    pub repo: RepoId,
    /// Human-readable name, unique among the repo's live keys.
    pub name: String,
    /// The public half, which the application presents with the secret.
    pub key: String,
    /// The AI provider of the key.
    pub ai_type: AiType,
    /// Creation time.
    pub created_at: Timestamp,
    /// Principal that created it; `None` for keys from before the store recorded it.
    pub created_by: Option<Creator>,
}

impl Audited for RepoAiKey {
    fn audited(&self) -> Values {
        vec![
            ("name".into(), Some(self.name.clone())),
            ("aiType".into(), Some(self.ai_type.name().to_owned())),
        ]
    }
}

/// A repo AI key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredRepoAiKey {
    /// The part without the secret.
    pub key: RepoAiKey,
    /// The sealed secret.
    pub sealed_secret: Vec<u8>,
    /// The hash with which a secret is verified.
    pub secret_hash: KeyHash,
}

/// A repo AI key to create.
#[derive(Debug, Clone)]
pub struct NewRepoAiKey {
    /// The repo of the key.
    pub repo: RepoId,
    /// Human-readable name.
    pub name: String,
    /// The AI provider of the key.
    pub ai_type: AiType,
}

/// A live repo AI key that was found by its public half.
#[derive(Clone)]
pub struct FoundRepoAiKey {
    /// The key.
    pub key: RepoAiKey,
    /// The hash with which its secret is verified.
    pub secret_hash: KeyHash,
    /// The workspace of the key.
    pub workspace: Workspace,
}
