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
    /// string and `$status` for the HTTP status as a JSON number. Without one, an
    /// error is the JSON of <https://google.aip.dev/193>, with its details.
    pub error_body: Option<&'static str>,
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

    /// The JSON text that answers `code`, if one is declared.
    pub(crate) fn body_of(&self, code: Code) -> Option<&'static str> {
        self.rules(code)
            .find_map(|rule| rule.body)
            .or(self.error_body)
    }

    fn rules(&self, code: Code) -> impl Iterator<Item = &'static ErrorRule> {
        self.errors.iter().filter(move |rule| rule.code == code)
    }
}

/// One HTTP binding of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteSpec {
    /// The HTTP method, such as `GET`; `*` stands for all.
    pub http_method: &'static str,
    /// The path as declared, such as `/apikeys/{uuid}`; the `http.route` of a span.
    pub template: &'static str,
    /// The template's segments.
    pub segments: &'static [Segment],
    /// What follows the colon at the template's end.
    pub verb: Option<&'static str>,
    /// The template's variables, in order.
    pub variables: &'static [Variable],
    /// What the body of the HTTP request holds.
    pub body: BodyBinding,
    /// The member of the response that is the body; all of it when there is none.
    pub response_body: Option<usize>,
    /// The method that answers.
    pub method: &'static MethodSpec,
    /// How errors look that are the path's but not the method's.
    pub family: &'static MethodSpec,
}

/// One segment of a path template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// Matches itself; percent-decoded.
    Literal(&'static str),
    /// `*`: matches any one segment that is not empty.
    One,
    /// `**`: matches any number of segments, even none. It is the last.
    Rest,
}

/// A variable of a path template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// The field that it sets: members of messages, from the request inwards.
    pub path: &'static [usize],
    /// The first segment that it covers.
    pub first: usize,
    /// How many segments it covers; [`Variable::OPEN`] for one that ends in `**`.
    pub count: usize,
}

impl Variable {
    /// The count of a variable that ends in `**`.
    pub const OPEN: usize = usize::MAX;

    /// Whether it covers exactly one segment, whose value then is fully decoded.
    pub(crate) fn is_single(&self) -> bool {
        self.count == 1
    }

    /// The segments that it covers, of those of a path.
    pub(crate) fn of<'s, S>(&self, segments: &'s [S]) -> &'s [S] {
        let last = self.first.saturating_add(self.count).min(segments.len());
        segments.get(self.first..last).unwrap_or_default()
    }
}

/// What the body of an HTTP request holds. What neither it nor the path gives
/// comes from the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyBinding {
    /// Nothing; a body is not read.
    None,
    /// All that the path does not give; the query is ignored.
    All,
    /// This member.
    Member(usize),
}
