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

use std::sync::Arc;

use keyward_core::page::PageRequest;
use keyward_core::principal::Caller;
use tonic::{Code, Request, Response, Status};

use crate::error;
use crate::fair_queue::{Running, Turn, Work};

/// How large the pages of lists may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    /// Maximum number of items.
    pub(crate) max_items: u32,
}

impl Pages {
    /// The page that a caller asks for.
    fn request(self, page_size: u32, page_token: &str) -> Result<PageRequest, Status> {
        PageRequest::parse(page_size, page_token, self.max_items).map_err(error::status)
    }
}

/// Splits a request into its caller, as the authentication layer found it, and its message, when it is the call's
/// turn. The call has its seat as long as the last value lives.
async fn enter<T>(request: Request<T>) -> Result<(Caller, T, Running), Status> {
    begin(request, Work::Item, |_| None::<&str>).await
}

/// The same for a page of a list.
async fn enter_list<T>(request: Request<T>) -> Result<(Caller, T, Running), Status> {
    begin(request, Work::List, |_| None::<&str>).await
}

/// The same for a call that internal services make for the users of many keys: those about one key take turns
/// with those about others.
async fn enter_for<T>(
    request: Request<T>,
    subject: impl Fn(&T) -> &str,
) -> Result<(Caller, T, Running), Status> {
    begin(request, Work::Item, |message| Some(subject(message))).await
}

/// The same for a change of a key's account.
async fn enter_for_change<T>(
    request: Request<T>,
    subject: impl Fn(&T) -> &str,
) -> Result<(Caller, T, Running), Status> {
    begin(request, Work::Change, |message| Some(subject(message))).await
}

async fn begin<T>(
    request: Request<T>,
    work: Work,
    subject: impl Fn(&T) -> Option<&str>,
) -> Result<(Caller, T, Running), Status> {
    let (_, mut extensions, message) = request.into_parts();
    let caller = extensions.remove::<Caller>();
    let turn = extensions.remove::<Arc<Turn>>();
    let Some((caller, turn)) = caller.zip(turn) else {
        // No layer let this call through; refuse rather than guess.
        return Err(error::plain(
            Code::Unauthenticated,
            "TOKEN_MISSING",
            "Not authenticated",
        ));
    };
    let running = turn.begin(work, subject(&message)).await;
    let running = running.map_err(|_| error::too_many_for_key())?;
    Ok((caller, message, running))
}

/// A response that holds a secret or a plaintext key. It is never compressed: beside it there is what
/// others may have written, and from the length of both together one could tell how much of the one
/// is in the other (as CRIME and BREACH do).
fn with_secret<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.disable_compression();
    response
}
