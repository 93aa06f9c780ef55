//! The tonic services: each method turns its message into a use case's words, calls it, and turns
//! the answer back.

mod api_key;
mod audit;
mod directory;
mod health;
mod management_key;
mod repo_ai_key;
mod streams;

pub(crate) use api_key::ApiKeys;
pub(crate) use audit::AuditEvents;
pub(crate) use directory::DirectoryEntries;
pub(crate) use health::HealthChecks;
pub(crate) use management_key::ManagementKeys;
pub(crate) use repo_ai_key::RepoAiKeys;
pub(crate) use streams::{OpenStreams, Unfinished};

use keyward_core::page::PageRequest;
use keyward_core::principal::Caller;
use tonic::{Code, Request, Response, Status};

use crate::error;

/// How large the pages of lists may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    /// How many items at most.
    pub(crate) max_items: u32,
}

impl Pages {
    /// The page that a caller asks for.
    fn request(self, page_size: u32, page_token: &str) -> Result<PageRequest, Status> {
        PageRequest::parse(page_size, page_token, self.max_items).map_err(error::status)
    }
}

/// Splits a request into its caller, whom the authentication layer put there, and its message.
fn enter<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    let (_, mut extensions, message) = request.into_parts();
    match extensions.remove::<Caller>() {
        Some(caller) => Ok((caller, message)),
        // No layer let this call through; refuse rather than guess.
        None => Err(error::plain(
            Code::Unauthenticated,
            "TOKEN_MISSING",
            "Not authenticated",
        )),
    }
}

/// A response that holds a secret or a plaintext key. It is never compressed: beside it there is what
/// others may have written, and from the length of both together one could tell how much of the one
/// is in the other (as CRIME and BREACH do).
fn with_secret<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.disable_compression();
    response
}
