//! Static declarations of methods and routes, from the proto files.

use tonic::Code;

/// Declaration of one method.
///
/// A service has an additional one, its defaults, whose `method` is empty: the error format for paths
/// of the service that belong to no method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodSpec {
    /// Full name of the service, such as `keyward.v1.ApiKeyService`.
    pub service: &'static str,
    /// Name of the method, such as `ListApiKeys`.
    pub method: &'static str,
    /// Path of the gRPC call, such as `/keyward.v1.ApiKeyService/ListApiKeys`.
    pub grpc_path: &'static str,
    /// HTTP status of success.
    pub success_status: u16,
    /// JSON text of an error; `$message` stands for the message as a JSON string and `$status` for
    /// the HTTP status as a JSON number. Without it, an error is the JSON of
    /// <https://google.aip.dev/193>, with its details.
    pub error_body: Option<&'static str>,
    /// Domain of each error's `ErrorInfo`.
    pub error_domain: &'static str,
    /// Rules for single codes: the method's rules, then its service's.
    pub errors: &'static [ErrorRule],
    /// True if the method returns a stream.
    pub server_streaming: bool,
}

/// Rule for one gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRule {
    /// Code that the rule applies to.
    pub code: Code,
    /// HTTP status of the response, if not the code's usual one.
    pub status: Option<u16>,
    /// Text that replaces the error's own.
    pub message: Option<&'static str>,
    /// JSON text of the response, if not the service's.
    pub body: Option<&'static str>,
}

impl MethodSpec {
    /// Returns the first HTTP status that a rule gives `code`.
    pub(crate) fn status_of(&self, code: Code) -> Option<u16> {
        self.rules(code).find_map(|rule| rule.status)
    }

    /// Returns the first fixed text that a rule gives `code`.
    pub(crate) fn message_of(&self, code: Code) -> Option<&'static str> {
        self.rules(code).find_map(|rule| rule.message)
    }

    /// Returns the JSON text of the response for `code`, if one is declared.
    pub(crate) fn body_of(&self, code: Code) -> Option<&'static str> {
        self.rules(code)
            .find_map(|rule| rule.body)
            .or(self.error_body)
    }

    fn rules(&self, code: Code) -> impl Iterator<Item = &'static ErrorRule> {
        self.errors.iter().filter(move |rule| rule.code == code)
    }
}

/// HTTP binding of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteSpec {
    /// HTTP method, such as `GET`; `*` stands for all.
    pub http_method: &'static str,
    /// Path as declared, such as `/apikeys/{uuid}`; the `http.route` of a span.
    pub template: &'static str,
    /// Segments of the template.
    pub segments: &'static [Segment],
    /// Verb after the colon at the template's end.
    pub verb: Option<&'static str>,
    /// Variables of the template, in order.
    pub variables: &'static [Variable],
    /// Content of the HTTP request's body.
    pub body: BodyBinding,
    /// Member of the response that is the body; `None` for the whole response.
    pub response_body: Option<usize>,
    /// Method of the route.
    pub method: &'static MethodSpec,
    /// Error format for errors of the path that are not the method's.
    pub service_defaults: &'static MethodSpec,
}

/// Segment of a path template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Matches the literal text; percent-decoded.
    Literal(&'static str),
    /// `*`: matches one segment that is not empty.
    Wildcard,
    /// `**`: matches any number of segments, including zero. Always the last segment.
    CatchAll,
}

/// Variable of a path template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Field that it sets: members of messages, from the request inwards.
    pub path: &'static [usize],
    /// First segment that it covers.
    pub first: usize,
    /// Number of segments that it covers; [`Variable::OPEN`] for one that ends in `**`.
    pub count: usize,
}

impl Variable {
    /// Count of a variable that ends in `**`.
    pub const OPEN: usize = usize::MAX;

    /// Returns true if it covers exactly one segment, whose value is then fully decoded.
    pub(crate) fn is_single(&self) -> bool {
        self.count == 1
    }

    /// Returns the segments of a path that it covers.
    pub(crate) fn of<'s, S>(&self, segments: &'s [S]) -> &'s [S] {
        let last = self.first.saturating_add(self.count).min(segments.len());
        segments.get(self.first..last).unwrap_or_default()
    }
}

/// Content of an HTTP request's body. Fields that neither body nor path sets come from the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyBinding {
    /// No content; the body is not read.
    None,
    /// All fields that the path does not set; the query is ignored.
    All,
    /// This member.
    Member(usize),
}
