//! What the proto files declare of a method and of a route, as static data.

use tonic::Code;

/// What the declaration says of one method.
///
/// A service has one more of these, its family's, whose `method` is empty: it
/// says how errors look that belong to the service's paths but to no method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodSpec {
    /// The service's full name, such as `keyward.v1.ApiKeyService`.
    pub service: &'static str,
    /// The method's own name, such as `ListApiKeys`.
    pub method: &'static str,
    /// The path of the gRPC call, such as `/keyward.v1.ApiKeyService/ListApiKeys`.
    pub grpc_path: &'static str,
    /// The HTTP status of success.
    pub success_status: u16,
    /// The JSON text of an error; `$message` stands for the message as a JSON
    /// string and `$status` for the HTTP status as a JSON number.
    pub error_body: &'static str,
    /// The domain of each error's `ErrorInfo`.
    pub error_domain: &'static str,
    /// What becomes of single codes: the method's rules, then its service's.
    pub errors: &'static [ErrorRule],
    /// Whether the method answers with a stream.
    pub server_streaming: bool,
}

/// What becomes of one gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRule {
    /// The code that the rule is for.
    pub code: Code,
    /// The HTTP status that answers it, if not the code's usual one.
    pub status: Option<u16>,
    /// A text that replaces the error's own.
    pub message: Option<&'static str>,
    /// The JSON text that answers it, if not the service's.
    pub body: Option<&'static str>,
}

impl MethodSpec {
    /// The first HTTP status that a rule gives `code`.
    pub(crate) fn status_of(&self, code: Code) -> Option<u16> {
        self.rules(code).find_map(|rule| rule.status)
    }

    /// The first fixed text that a rule gives `code`.
    pub(crate) fn message_of(&self, code: Code) -> Option<&'static str> {
        self.rules(code).find_map(|rule| rule.message)
    }

    /// The JSON text that answers `code`.
    pub(crate) fn body_of(&self, code: Code) -> &'static str {
        self.rules(code)
            .find_map(|rule| rule.body)
            .unwrap_or(self.error_body)
    }

    fn rules(&self, code: Code) -> impl Iterator<Item = &'static ErrorRule> {
        self.errors.iter().filter(move |rule| rule.code == code)
    }
}

/// One HTTP binding of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteSpec {
    /// The HTTP method, such as `GET`.
    pub http_method: &'static str,
    /// The path as declared, such as `/apikeys/{uuid}`; the `http.route` of a span.
    pub template: &'static str,
    /// The template's segments.
    pub segments: &'static [Segment],
    /// For each variable of the template, in order, its member of the request.
    pub variables: &'static [usize],
    /// Where the rest of the request comes from.
    pub binding: Binding,
    /// The method that answers.
    pub method: &'static MethodSpec,
    /// How errors look that are the path's but not the method's.
    pub family: &'static MethodSpec,
}

/// One segment of a path template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Matches itself.
    Literal(&'static str),
    /// Matches any one segment that is not empty.
    Variable,
}

/// Where the fields of a request come from that the path does not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// From the query; a body is ignored.
    Query,
    /// All from the JSON body; the query is ignored.
    Body,
}
