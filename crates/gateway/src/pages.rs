//! Lists in REST that are read in pages inside the process (AIP-158).
//!
//! The REST form of such a method is the whole list. The route asks the method for one page after the
//! other and sends each on as JSON before it asks for the next, so that a response holds one page,
//! whatever the length of the list and however slowly the client reads. An error on the first page is
//! an ordinary error. After the status is sent an error can only end the body early: over HTTP/1.1 the
//! client misses the last chunk, over HTTP/2 its stream is reset.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::Extensions;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::body::Body;
use crate::json::JsonMessage;
use crate::refine::refine;
use crate::route::{Answer, encode, reply};
use crate::settings::Settings;
use crate::spec::RouteSpec;

/// The request of a method whose list comes in pages.
pub trait PagedRequest: JsonMessage + Clone + Send {
    /// Asks for the page after the one that had this token.
    fn set_page_token(&mut self, token: String);
}

/// A page of a list. The list is the last member of its JSON.
pub trait PagedResponse: JsonMessage + Send {
    /// Message of an item.
    type Item;

    /// The items.
    fn items(&mut self) -> &mut Vec<Self::Item>;

    /// The token of the page after this one; empty on the last.
    fn next_page_token(&mut self) -> &mut String;
}

type Called<Res> = Pin<Box<dyn Future<Output = Result<Response<Res>, Status>> + Send>>;

/// Calls a method for its pages with one request.
pub(crate) struct Caller<Req, Res> {
    pub(crate) call: Box<dyn Fn(Request<Req>) -> Called<Res> + Send>,
    metadata: MetadataMap,
    extensions: Extensions,
    message: Req,
}

impl<Req: PagedRequest, Res: PagedResponse> Caller<Req, Res> {
    pub(crate) fn new(
        request: Request<Req>,
        call: impl Fn(Request<Req>) -> Called<Res> + Send + 'static,
    ) -> Self {
        let (metadata, extensions, message) = request.into_parts();
        Self {
            call: Box::new(call),
            metadata,
            extensions,
            message,
        }
    }

    fn page(&mut self, token: String) -> Called<Res> {
        self.message.set_page_token(token);
        let (metadata, extensions) = (self.metadata.clone(), self.extensions.clone());
        (self.call)(Request::from_parts(
            metadata,
            extensions,
            self.message.clone(),
        ))
    }
}

/// Answers with the whole list. A list of one page has a length; a longer one is sent as it is read.
pub(crate) async fn whole_list<Req, Res>(
    spec: &'static RouteSpec,
    settings: Arc<Settings>,
    mut caller: Caller<Req, Res>,
) -> Answer
where
    Req: PagedRequest + 'static,
    Res: PagedResponse + 'static,
{
    let mut first = caller.page(String::new()).await?;
    let token = std::mem::take(first.get_mut().next_page_token());
    let page = if token.is_empty() {
        None
    } else {
        Some(Split::of(spec, first.get_mut(), &settings)?)
    };
    let mut response = reply(spec, first, &settings)?;
    if let Some(page) = page {
        let next = caller.page(token.clone());
        *response.body_mut() = Body::stream(Pages {
            spec,
            settings,
            caller,
            token,
            next: Some(next),
            first: Some(Bytes::from(page.head())),
        });
    }
    Ok(response)
}

/// The JSON of a page: what is before its items, the items, and what closes it.
struct Split {
    json: Vec<u8>,
    items: usize,
}

/// Closes the list and the object that it is the last member of.
const CLOSING: &[u8] = b"]}";

impl Split {
    fn of<Res: PagedResponse>(
        spec: &RouteSpec,
        page: &mut Res,
        settings: &Settings,
    ) -> Result<Self, Status> {
        let items = std::mem::take(page.items());
        let empty = encode(spec, page, settings)?;
        *page.items() = items;
        let json = encode(spec, page, settings)?;
        let items = empty.len().saturating_sub(CLOSING.len());
        if !json.ends_with(CLOSING) || json.get(..items) != empty.get(..items) {
            return Err(Status::internal("The list is not the last of the response"));
        }
        Ok(Self { json, items })
    }

    /// Everything but the closing.
    fn head(mut self) -> Vec<u8> {
        self.json.truncate(self.json.len() - CLOSING.len());
        self.json
    }

    /// The items, each behind a comma.
    fn further(self) -> Vec<u8> {
        let items = self.items;
        let mut json = self.head();
        json.drain(..items);
        if !json.is_empty() {
            json.insert(0, b',');
        }
        json
    }
}

/// The pieces of a body, of which one page is asked for at a time.
struct Pages<Req, Res> {
    spec: &'static RouteSpec,
    settings: Arc<Settings>,
    caller: Caller<Req, Res>,
    /// The token of the page that is asked for.
    token: String,
    /// None when no page is left.
    next: Option<Called<Res>>,
    first: Option<Bytes>,
}

// Its fields move freely: what is pinned is in boxes.
impl<Req, Res> Unpin for Pages<Req, Res> {}

impl<Req: PagedRequest, Res: PagedResponse> Pages<Req, Res> {
    /// The items of a page, and the closing behind the last.
    fn piece(&mut self, answer: Result<Response<Res>, Status>) -> Result<Bytes, Status> {
        let mut page = answer?.into_inner();
        let token = std::mem::take(page.next_page_token());
        if !token.is_empty() && token == self.token {
            return Err(Status::internal("A page leads to itself"));
        }
        let mut piece = Split::of(self.spec, &mut page, &self.settings)?.further();
        if token.is_empty() {
            piece.extend_from_slice(CLOSING);
        } else {
            self.next = Some(self.caller.page(token.clone()));
            self.token = token;
        }
        Ok(piece.into())
    }
}

impl<Req: PagedRequest, Res: PagedResponse> Stream for Pages<Req, Res> {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let answer = std::task::ready!(next.as_mut().poll(context));
        self.next = None;
        let method = self.spec.method;
        let piece = self.piece(answer);
        Poll::Ready(Some(piece.map_err(|status| refine(method, status))))
    }
}
