//! Final form of every error before it is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use http::HeaderMap;
use prost_types::Any;
use tonic::codegen::BoxStream;
use tonic::{Code, Status};

use crate::details;
use crate::spec::MethodSpec;

/// Message of an error whose cause is not disclosed to clients.
const INTERNAL_MESSAGE: &str = "Internal server error";

/// Seconds after which an UNAVAILABLE call may be retried, unless the service sets a delay.
pub(crate) const UNAVAILABLE_RETRY_S: i64 = 1;

/// Gives an error the form that the method declares: its fixed message if it has one, the same text
/// for every internal error, INTERNAL instead of UNKNOWN, which says less, exactly one `ErrorInfo`, and a `RetryInfo` for UNAVAILABLE, from which
/// REST clients get `Retry-After`. Other details and the metadata are kept, except that an internal
/// error keeps only its `ErrorInfo`. The original status becomes the source of the new one, for the
/// log. Finishing twice has no further effect.
pub fn finish_error(spec: &MethodSpec, status: Status) -> Status {
    finish_with(Some(spec), spec.error_domain, status)
}

fn finish_with(spec: Option<&MethodSpec>, domain: &str, status: Status) -> Status {
    let code = match status.code() {
        Code::Ok => return status,
        Code::Unknown => Code::Internal,
        code => code,
    };
    let internal = matches!(code, Code::Internal | Code::DataLoss);
    let message = match spec.and_then(|spec| spec.message_of(code)) {
        Some(fixed) => fixed.to_owned(),
        None if internal => INTERNAL_MESSAGE.to_owned(),
        None => status.message().to_owned(),
    };

    let before = details::decode(&status);
    let mut infos = 0;
    let mut list = before.details.clone();
    list.retain(|detail| {
        let is_info = detail.type_url == details::ERROR_INFO;
        infos += usize::from(is_info);
        if is_info { infos == 1 } else { !internal }
    });
    if infos == 0 {
        let reason = details::code_name(code);
        list.insert(0, details::error_info(reason, domain, Vec::new()));
    }
    let is_info = |detail: &&mut Any| detail.type_url == details::ERROR_INFO;
    if let Some(info) = list.iter_mut().find(is_info) {
        details::with_domain(info, domain);
    }
    let says_when = |detail: &Any| detail.type_url == details::RETRY_INFO;
    if code == Code::Unavailable && !list.iter().any(says_when) {
        list.push(details::retry_info(UNAVAILABLE_RETRY_S));
    }
    let unchanged = code == status.code()
        && message == status.message()
        && message == before.message
        && before.code == code as i32
        && list == before.details;
    if unchanged {
        return status;
    }
    let bytes = details::encode(code, &message, list);
    let metadata = status.metadata().clone();
    let mut finished = Status::with_details_and_metadata(code, message, bytes, metadata);
    finished.set_source(Arc::new(status));
    finished
}

/// Applies [`finish_error`] to the errors of a stream.
pub fn finish_stream_error<M: 'static>(
    spec: &'static MethodSpec,
    messages: impl Stream<Item = Result<M, Status>> + Send + 'static,
) -> BoxStream<M> {
    Box::pin(FinishedErrors {
        messages: Box::pin(messages),
        spec,
    })
}

struct FinishedErrors<S> {
    messages: Pin<Box<S>>,
    spec: &'static MethodSpec,
}

impl<M, S: Stream<Item = Result<M, Status>>> Stream for FinishedErrors<S> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let spec = self.spec;
        let next = self.messages.as_mut().poll_next(context);
        next.map(|next| Some(next?.map_err(|status| finish_error(spec, status))))
    }
}

/// Finishes the error in the headers of a gRPC response without a body, such as the responses that
/// tonic generates for an unknown method or a message that it cannot decode. Other responses are
/// not changed.
pub fn finish_error_headers(headers: &mut HeaderMap, spec: Option<&MethodSpec>, domain: &str) {
    let Some(status) = Status::from_header_map(headers) else {
        return;
    };
    if status.code() == Code::Ok {
        return;
    }
    let finished = finish_with(spec, spec.map_or(domain, |spec| spec.error_domain), status);
    let mut rewritten = HeaderMap::new();
    if finished.add_header(&mut rewritten).is_ok() {
        for name in [
            Status::GRPC_STATUS,
            Status::GRPC_MESSAGE,
            Status::GRPC_STATUS_DETAILS,
        ] {
            headers.remove(&name);
            if let Some(value) = rewritten.remove(&name) {
                headers.insert(name, value);
            }
        }
    }
}
