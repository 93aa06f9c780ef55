//! Responses of an operation.

use std::collections::BTreeMap;

use super::OpenApi;
use super::node::{Node, Object, object};
use super::schema::Schemas;
use super::template::ErrorBody;
use crate::Builder;
use crate::error::{Error, declaration};
use crate::options::{self, ErrorRule};
use crate::routes::{Method, Service};

/// Texts of the gateway's own responses.
const METHOD_NOT_ALLOWED: &str = "Method not allowed";
const UNSUPPORTED_MEDIA_TYPE: &str = "The content type must be application/json";
const UNSUPPORTED_ENCODING: &str = "The content encoding must be gzip, zstd or none";
const BODY_TOO_LARGE: &str = "The request body is larger than allowed";
const MALFORMED_BODY: &str = "Malformed JSON at line 1 column 2";
const MALFORMED: &str = "Invalid request";
const INTERNAL: &str = "Internal server error";

/// Error that an operation may return.
#[derive(Debug)]
struct Failure {
    status: u32,
    code: &'static str,
    description: String,
    messages: Vec<String>,
    /// Declared body, if there is one.
    body: Option<String>,
    /// True if the method declares more about it than its service.
    is_own: bool,
}

/// Errors of one method.
pub(crate) struct Failures<'a> {
    settings: &'a OpenApi,
    builder: &'a Builder,
    service: &'a Service,
    method: &'a Method,
    found: Vec<Failure>,
}

impl<'a> Failures<'a> {
    /// Collects the errors of the method's service, the method itself and the gateway.
    pub(crate) fn of(
        settings: &'a OpenApi,
        builder: &'a Builder,
        service: &'a Service,
        method: &'a Method,
    ) -> Self {
        let found = Vec::new();
        Self {
            settings,
            builder,
            service,
            method,
            found,
        }
    }

    /// Returns the responses by status, with the additions of `has_body`.
    pub(crate) fn responses(
        mut self,
        has_body: bool,
        schemas: &mut Schemas,
        shared: &mut BTreeMap<String, Node>,
    ) -> Result<Vec<(u32, Node)>, Error> {
        self.collect(has_body);
        let mut by_status: BTreeMap<u32, Vec<Failure>> = BTreeMap::new();
        for failure in std::mem::take(&mut self.found) {
            by_status.entry(failure.status).or_default().push(failure);
        }
        let mut responses = Vec::new();
        for (status, failures) in by_status {
            let is_own = failures.iter().any(|failure| failure.is_own);
            let name = if is_own {
                format!("{}{status}", self.method.method.name())
            } else {
                format!("{}{status}", schema_prefix(self.service.service.name()))
            };
            let response = self.response(status, &failures, schemas)?;
            shared.insert(name.clone(), response.into());
            let reference = object! {"$ref" => format!("#/components/responses/{name}")};
            responses.push((status, reference.into()));
        }
        Ok(responses)
    }

    fn collect(&mut self, has_body: bool) {
        let malformed = if has_body { MALFORMED_BODY } else { MALFORMED };
        self.add(
            "InvalidArgument",
            None,
            "The request is malformed, or a field does not fit.",
            &[malformed],
        );
        let known = "The path is known, but not with this method; `Allow` lists those that are.";
        self.add("Unimplemented", Some(405), known, &[METHOD_NOT_ALLOWED]);
        if has_body {
            self.add(
                "ResourceExhausted",
                Some(413),
                "The body is too large.",
                &[BODY_TOO_LARGE],
            );
            let text = "The body is not JSON by its `Content-Type`, or compressed in a way that is not \
                        known.";
            self.add(
                "InvalidArgument",
                Some(415),
                text,
                &[UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING],
            );
        }
        self.add(
            "Internal",
            None,
            "Something went wrong inside.",
            &[INTERNAL],
        );
        let settings = self.settings;
        for common in &settings.errors {
            if let Some(code) = options::code(&common.code) {
                self.add(code, None, &common.description, &[&common.message]);
            }
        }
        let (own, shared) = (&self.method.rest.errors, &self.service.rest.errors);
        let says = |rule: &&ErrorRule| {
            rule.description.is_some() || rule.message.is_some() || !rule.examples.is_empty()
        };
        for rule in own.iter().chain(shared.iter().filter(says)) {
            self.add(rule.code, None, "", &[]);
        }
    }

    /// Adds an error, unless it is present; the declared rules take precedence over the arguments.
    fn add(&mut self, code: &'static str, status: Option<u32>, description: &str, texts: &[&str]) {
        let rules: Vec<&ErrorRule> = self
            .method
            .rest
            .errors
            .iter()
            .chain(&self.service.rest.errors)
            .filter(|rule| rule.code == code)
            .collect();
        let declared = rules.iter().find_map(|rule| rule.status);
        let status = status.or(declared).unwrap_or_else(|| http_status(code));
        if self
            .found
            .iter()
            .any(|known| known.code == code && known.status == status)
        {
            return;
        }
        let is_plain = status == declared.unwrap_or_else(|| http_status(code));
        let said = rules.iter().find_map(|rule| rule.description.as_deref());
        let description = said.filter(|_| is_plain).unwrap_or(description);
        let fixed = rules.iter().find_map(|rule| rule.message.clone());
        let mut messages: Vec<String> = match fixed {
            Some(fixed) => vec![fixed],
            None if is_plain => rules
                .iter()
                .flat_map(|rule| rule.examples.clone())
                .collect(),
            None => Vec::new(),
        };
        if messages.is_empty() {
            messages.extend(texts.iter().map(|text| (*text).to_owned()));
        }
        let is_own = self.method.rest.errors.iter().any(|rule| rule.code == code);
        let body = rules.iter().find_map(|rule| rule.body.clone());
        let body = body.or_else(|| self.service.rest.error_body.clone());
        self.found.push(Failure {
            status,
            code,
            description: description.to_owned(),
            messages,
            body: body.or_else(|| self.builder.error_body.clone()),
            is_own,
        });
    }

    /// Returns the response of one status.
    fn response(
        &self,
        status: u32,
        failures: &[Failure],
        schemas: &mut Schemas,
    ) -> Result<Object, Error> {
        let prefix = schema_prefix(self.service.service.name());
        let mut bodies: Vec<Option<&str>> = Vec::new();
        let (mut descriptions, mut examples) = (Vec::new(), Object::default());
        for failure in failures {
            if !bodies.contains(&failure.body.as_deref()) {
                bodies.push(failure.body.as_deref());
            }
            if !failure.description.is_empty() && !descriptions.contains(&failure.description) {
                descriptions.push(failure.description.clone());
            }
            let body = self.parse(failure.body.as_deref())?;
            for (number, message) in failure.messages.iter().enumerate() {
                let mut name = code_name(failure.code);
                if number > 0 {
                    name.push_str(&format!("_{}", number + 1));
                }
                let value = body.example(message, status, &code_name(failure.code));
                examples.set(
                    name,
                    object! {"summary" => message.as_str(), "value" => value},
                );
            }
        }
        let mut alternatives = Vec::new();
        for body in bodies {
            let own = &self.service.rest.error_body;
            let own = own.as_deref().or(self.builder.error_body.as_deref());
            let name = if own == body {
                format!("{prefix}Error")
            } else {
                format!("{}{status}Error", self.method.method.name())
            };
            let parsed = self.parse(body)?;
            let reference = schemas.add(&name, parsed.schema());
            alternatives.push(match parsed.with_status(status) {
                None => reference,
                Some(more) => object! {"allOf" => vec![reference, more]},
            });
        }
        let schema = match <[Object; 1]>::try_from(alternatives) {
            Ok([one]) => one,
            Err(several) => object! {"anyOf" => several},
        };
        let mut media = object! {"schema" => schema};
        if !examples.is_empty() {
            media.set("examples", examples);
        }
        if descriptions.is_empty() {
            descriptions.push(reason(status).to_owned());
        }
        Ok(object! {
            "description" => descriptions.join("\n\n"),
            "headers" => self.settings.response_headers(status),
            "content" => object! {"application/json" => media},
        })
    }

    fn parse(&self, body: Option<&str>) -> Result<ErrorBody, Error> {
        let Some(body) = body else {
            return Ok(ErrorBody::aip_193());
        };
        ErrorBody::parse(body).map_err(|reason| {
            let method = &self.method.method;
            declaration(&method.parent_file(), method.full_name(), reason)
        })
    }
}

/// Returns the name of a service without its common suffix.
fn schema_prefix(service: &str) -> &str {
    service
        .strip_suffix("Service")
        .filter(|rest| !rest.is_empty())
        .unwrap_or(service)
}

/// Returns the name of a code in the protocol.
fn code_name(code: &str) -> String {
    use heck::ToShoutySnakeCase;
    code.to_shouty_snake_case()
}

/// Returns the usual HTTP status of a code.
fn http_status(code: &str) -> u32 {
    match code {
        "Cancelled" => 499,
        "InvalidArgument" | "FailedPrecondition" | "OutOfRange" => 400,
        "Unauthenticated" => 401,
        "PermissionDenied" => 403,
        "NotFound" => 404,
        "AlreadyExists" | "Aborted" => 409,
        "ResourceExhausted" => 429,
        "Unimplemented" => 501,
        "Unavailable" => 503,
        "DeadlineExceeded" => 504,
        _ => 500,
    }
}

/// Returns the default description of a status.
fn reason(status: u32) -> &'static str {
    match status {
        400 => "The request is malformed, or a field does not fit.",
        401 => "There is no token, or it is not valid.",
        403 => "The caller may not do this.",
        404 => "There is no such thing.",
        409 => "Something is in the way.",
        429 => "Too many requests.",
        500 => "Something went wrong inside.",
        501 => "It is not there yet.",
        503 => "Something that is needed cannot be reached now.",
        504 => "The deadline expired.",
        _ => "The call failed.",
    }
}
