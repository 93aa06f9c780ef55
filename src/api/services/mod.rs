//! tonic services: each method converts its message to the input of a use case, calls it, and converts the
//! result.

mod audit;
mod directory;
mod issued_key;
mod provider_key;
mod repo_ai_key;

pub(crate) use audit::AuditGrpc;
pub(crate) use directory::DirectoryGrpc;
pub(crate) use issued_key::IssuedKeyGrpc;
pub(crate) use provider_key::ProviderKeyGrpc;
pub(crate) use repo_ai_key::RepoAiKeyGrpc;

use std::sync::Arc;

use keyward_core::page::PageRequest;
use keyward_core::principal::Caller;
use tonic::{Code, Request, Response, Status};

use crate::admission::fair_queue::{Running, Turn, Work};
use crate::api::status;

/// Page sizes of lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    /// Maximum number of items.
    pub(crate) max_items: u32,
}

impl Pages {
    /// Returns the page that a client requests.
    fn request(self, page_size: u32, page_token: &str) -> Result<PageRequest, Status> {
        PageRequest::parse(page_size, page_token, self.max_items).map_err(status::to_status)
    }
}

/// Begins a call about a single item: waits for its turn in the fair queue, and returns the caller and the
/// message. The call runs until the last value is dropped.
async fn begin_call<T>(request: Request<T>) -> Result<(Caller, T, Running), Status> {
    begin(request, Work::Item, |_| None::<&str>).await
}

/// Like [`begin_call`], for a page of a list.
async fn begin_list<T>(request: Request<T>) -> Result<(Caller, T, Running), Status> {
    begin(request, Work::List, |_| None::<&str>).await
}

/// Like [`begin_call`], for a call that internal services make for the users of many keys: calls about different
/// keys take turns.
async fn begin_call_of<T>(
    request: Request<T>,
    subject: impl Fn(&T) -> &str,
) -> Result<(Caller, T, Running), Status> {
    begin(request, Work::Item, |message| Some(subject(message))).await
}

/// Like [`begin_call_of`], for a change of a key's account.
async fn begin_change_of<T>(
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
    let (caller, turn, message) = split_caller(request)?;
    let running = turn.begin(work, subject(&message)).await;
    let running = running.map_err(|_| status::too_many_for_key())?;
    Ok((caller, message, running))
}

/// Splits a request into the caller and the turn, as the layers set them, and the message.
fn split_caller<T>(request: Request<T>) -> Result<(Caller, Arc<Turn>, T), Status> {
    let (_, mut extensions, message) = request.into_parts();
    let caller = extensions.remove::<Caller>();
    let turn = extensions.remove::<Arc<Turn>>();
    let Some((caller, turn)) = caller.zip(turn) else {
        // No layer admitted this call; reject it rather than guess.
        return Err(status::plain(
            Code::Unauthenticated,
            "TOKEN_MISSING",
            "Not authenticated",
        ));
    };
    Ok((caller, turn, message))
}

/// Returns a response that holds a secret or a plaintext key. It is never compressed: it also contains text
/// that other parties may have written, and the compressed length would reveal the secret (as in CRIME and
/// BREACH).
fn uncompressed<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.disable_compression();
    response
}
