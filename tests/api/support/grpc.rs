//! The gRPC protocol, through the generated clients.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use keyward::proto::v1::directory_service_client::DirectoryServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetail, StatusExt};

use super::TestServer;

/// Interceptor that adds a token to every request.
#[derive(Clone)]
pub struct Bearer(pub(super) Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

pub(super) type Authorized = InterceptedService<Channel, Bearer>;

/// Returns a request with a token of its own.
pub fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

impl TestServer {
    /// Opens a separate connection.
    pub fn channel(&self) -> Channel {
        Channel::from_shared(self.url("")).unwrap().connect_lazy()
    }

    pub fn api_keys(&self, token: &str) -> ApiKeyServiceClient<Authorized> {
        ApiKeyServiceClient::with_interceptor(self.channel(), bearer(token))
    }

    pub fn api_keys_without_token(&self) -> ApiKeyServiceClient<Authorized> {
        ApiKeyServiceClient::with_interceptor(self.channel(), Bearer(None))
    }

    pub fn directory(&self, token: &str) -> DirectoryServiceClient<Authorized> {
        DirectoryServiceClient::with_interceptor(self.channel(), bearer(token))
    }
}

pub(super) fn bearer(token: &str) -> Bearer {
    Bearer(Some(format!("Bearer {token}").parse().unwrap()))
}

/// A gRPC error and its details.
pub struct Rejection {
    pub status: Status,
    details: Vec<ErrorDetail>,
}

/// Returns the error in which a call must have ended.
#[track_caller]
pub fn rejected<T: fmt::Debug>(result: Result<T, Status>) -> Rejection {
    let status = result.unwrap_err();
    let details = status.check_error_details_vec().unwrap();
    Rejection { status, details }
}

impl Rejection {
    /// Expects this code and message, and exactly one ErrorInfo, with this reason and the Keyward domain.
    #[track_caller]
    pub fn is(&self, code: Code, reason: &str, message: &str) -> &Self {
        assert_eq!((self.status.code(), self.status.message()), (code, message));
        let infos: Vec<_> = self
            .details
            .iter()
            .filter_map(|detail| match detail {
                ErrorDetail::ErrorInfo(info) => Some((info.reason.as_str(), info.domain.as_str())),
                _ => None,
            })
            .collect();
        assert_eq!(infos, [(reason, "keyward")]);
        self
    }

    /// Expects an ErrorInfo with exactly this metadata.
    #[track_caller]
    pub fn metadata(&self, expected: &[(&str, &str)]) -> &Self {
        let found: Vec<BTreeMap<&str, &str>> = self
            .details
            .iter()
            .filter_map(|detail| match detail {
                ErrorDetail::ErrorInfo(info) => Some(&info.metadata),
                _ => None,
            })
            .map(|all| all.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect())
            .collect();
        let expected: BTreeMap<&str, &str> = expected.iter().copied().collect();
        assert_eq!(found, [expected]);
        self
    }

    /// Expects only an ErrorInfo, and for UNAVAILABLE a retry delay of one second.
    #[track_caller]
    pub fn alone(&self) -> &Self {
        let is_unavailable = self.status.code() == Code::Unavailable;
        self.retries_after(is_unavailable.then(|| Duration::from_secs(1)));
        let expected = 1 + usize::from(is_unavailable);
        assert_eq!(self.details.len(), expected, "{:?}", self.details);
        self
    }

    /// Expects one BadRequest, with these fields and their descriptions.
    #[track_caller]
    pub fn fields(&self, expected: &[(&str, &str)]) -> &Self {
        let violations: Vec<_> = self
            .details
            .iter()
            .filter_map(|detail| match detail {
                ErrorDetail::BadRequest(bad) => Some(&bad.field_violations),
                _ => None,
            })
            .map(|violations| {
                violations
                    .iter()
                    .map(|v| (v.field.as_str(), v.description.as_str()))
                    .collect()
            })
            .collect();
        let violations: Vec<Vec<(&str, &str)>> = violations;
        assert_eq!(violations, [expected]);
        self
    }

    /// Expects one PreconditionFailure, with these types, subjects and descriptions.
    #[track_caller]
    pub fn preconditions(&self, expected: &[(&str, &str, &str)]) -> &Self {
        let failures: Vec<Vec<(&str, &str, &str)>> = self
            .details
            .iter()
            .filter_map(|detail| match detail {
                ErrorDetail::PreconditionFailure(failure) => Some(&failure.violations),
                _ => None,
            })
            .map(|violations| {
                violations
                    .iter()
                    .map(|v| {
                        (
                            v.r#type.as_str(),
                            v.subject.as_str(),
                            v.description.as_str(),
                        )
                    })
                    .collect()
            })
            .collect();
        assert_eq!(failures, [expected]);
        self
    }

    /// Expects this retry delay, or its absence.
    #[track_caller]
    pub fn retries_after(&self, expected: Option<Duration>) -> &Self {
        let delays: Vec<_> = self
            .details
            .iter()
            .filter_map(|detail| match detail {
                ErrorDetail::RetryInfo(info) => Some(info.retry_delay),
                _ => None,
            })
            .collect();
        let expected: Vec<_> = expected.map(Some).into_iter().collect();
        assert_eq!(delays, expected);
        self
    }

    /// Expects none of these texts in any part of the error.
    #[track_caller]
    pub fn hides(&self, texts: &[&str]) -> &Self {
        let shown = format!("{:?} {:?}", self.status, self.status.metadata());
        let details = String::from_utf8_lossy(self.status.details());
        for text in texts {
            assert!(
                !shown.contains(text) && !details.contains(text),
                "{text} in {shown}"
            );
        }
        self
    }
}
