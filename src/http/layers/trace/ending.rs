//! Outcome of a call. A call ends when the last byte of its response is passed on, so that a client that
//! has read the response finds it measured, or when the client disconnects.
//!
//! A server fault is an error of the span. A rejection is not an error; it has its code and its reason.

use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Outcome of a call.
#[derive(Default)]
pub(super) struct Ending {
    /// HTTP status; `None` until there is a response.
    pub(super) status: Option<StatusCode>,
    /// gRPC code, which may come after the body.
    code: Option<Code>,
    /// Reason of a rejection or failure.
    pub(super) reason: Option<String>,
    /// True if the whole response was passed on.
    pub(super) complete: bool,
}

impl Ending {
    /// Takes the code and the reason of a gRPC status.
    pub(super) fn take(&mut self, status: Option<Status>) {
        let Some(status) = status else { return };
        self.code = Some(status.code());
        if status.code() != Code::Ok {
            self.reason = status.get_details_error_info().map(|info| info.reason);
        }
    }

    /// Returns the gRPC code. Over gRPC-Web it may be inside the body; a complete response without another code
    /// counts as OK.
    pub(super) fn code(&self) -> Code {
        match self.code {
            Some(code) => code,
            None if self.complete => Code::Ok,
            None => Code::Cancelled,
        }
    }
}

/// Returns true for codes that the conventions classify as server errors.
pub(super) fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
