//! REST lists that are read in pages inside the process (AIP-158).
//!
//! The REST form of such a method is the complete list. The route requests one page after another
//! from the method and sends each as JSON before it requests the next, so a response holds one page
//! in memory, regardless of the length of the list and the speed of the client. An error on the
//! first page is an ordinary error. After the status is sent, an error can only end the body early:
//! over HTTP/1.1 the last chunk is missing, over HTTP/2 the stream is reset.

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
use crate::finish_error::finish_error;
use crate::json::JsonMessage;
use crate::rejection::Rejection;
use crate::reply::{encode_body, reply};
use crate::settings::Settings;
use crate::spec::RouteSpec;

/// Request of a method whose list is paginated.
pub trait PagedRequest: JsonMessage + Clone + Send {
    /// Sets the token of the page to request.
    fn set_page_token(&mut self, token: String);
}

/// Page of a list. The list is the last member of its JSON.
pub trait PagedResponse: JsonMessage + Send {
    /// Message of an item.
    type Item;

    /// Returns the items.
    fn items(&mut self) -> &mut Vec<Self::Item>;

    /// Returns the token of the next page; empty on the last.
    fn next_page_token(&mut self) -> &mut String;
}

type Called<Res> = Pin<Box<dyn Future<Output = Result<Response<Res>, Status>> + Send>>;

/// Calls a method for each page of one request.
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

/// Responds with the complete list. A list of one page has a length; a longer list is streamed.
pub(crate) async fn whole_list<Req, Res>(
    spec: &'static RouteSpec,
    settings: Arc<Settings>,
    mut caller: Caller<Req, Res>,
) -> Result<http::Response<Body>, Rejection>
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

/// JSON of a page: the text before the items, the items, and the closing.
struct Split {
    json: Vec<u8>,
    items: usize,
}

/// Closes the list and the object whose last member it is.
const CLOSING: &[u8] = b"]}";

impl Split {
    fn of<Res: PagedResponse>(
        spec: &RouteSpec,
        page: &mut Res,
        settings: &Settings,
    ) -> Result<Self, Status> {
        let items = std::mem::take(page.items());
        let empty = encode_body(spec, page, settings)?;
        *page.items() = items;
        let json = encode_body(spec, page, settings)?;
        let items = empty.len().saturating_sub(CLOSING.len());
        if !json.ends_with(CLOSING) || json.get(..items) != empty.get(..items) {
            return Err(Status::internal("The list is not the last of the response"));
        }
        Ok(Self { json, items })
    }

    /// Returns everything but the closing.
    fn head(mut self) -> Vec<u8> {
        self.json.truncate(self.json.len() - CLOSING.len());
        self.json
    }

    /// Returns the items, each after a comma.
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

/// Chunks of a body. One page is requested at a time.
struct Pages<Req, Res> {
    spec: &'static RouteSpec,
    settings: Arc<Settings>,
    caller: Caller<Req, Res>,
    /// Token of the requested page.
    token: String,
    /// `None` if no page is left.
    next: Option<Called<Res>>,
    first: Option<Bytes>,
}

// The fields can move: pinned values are boxed.
impl<Req, Res> Unpin for Pages<Req, Res> {}

impl<Req: PagedRequest, Res: PagedResponse> Pages<Req, Res> {
    /// Returns the items of a page, and the closing after the last page.
    fn piece(&mut self, response: Result<Response<Res>, Status>) -> Result<Bytes, Status> {
        let mut page = response?.into_inner();
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
        let response = std::task::ready!(next.as_mut().poll(context));
        self.next = None;
        let method = self.spec.method;
        let piece = self.piece(response);
        Poll::Ready(Some(piece.map_err(|status| finish_error(method, status))))
    }
}
