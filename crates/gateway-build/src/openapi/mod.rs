//! The OpenAPI 3.1 document of the services, made from their descriptors.
//!
//! It says what the gateway does: the paths that it serves, which requests it takes and which it
//! refuses, and what it answers. What no descriptor tells, such as who may call, comes from the
//! options of `keyward.gateway.v1` and from [`OpenApi`].

mod comment;
pub(crate) mod declared;
mod document;
mod enumeration;
mod example;
mod names;
pub(crate) mod node;
mod operation;
mod page;
mod path;
mod responses;
mod scalar;
mod schema;
mod stream;
mod template;

use node::{Node, Object, object};

pub(crate) use document::document;

/// The file with the document.
const DOCUMENT: &str = "openapi.json";
/// The file with the page.
const PAGE: &str = "docs.html";

/// What the OpenAPI document says beside what the proto files do.
#[derive(Debug, Clone)]
pub struct OpenApi {
    title: String,
    version: String,
    description: Option<String>,
    license: Option<(String, String)>,
    schemes: Vec<Scheme>,
    headers: Vec<Header>,
    errors: Vec<CommonError>,
    refuses_unknown_members: bool,
}

/// A bearer token.
#[derive(Debug, Clone)]
struct Scheme {
    name: String,
    format: Option<String>,
    description: String,
}

/// A header of every response.
#[derive(Debug, Clone)]
struct Header {
    name: String,
    description: String,
}

/// An error that any method may answer.
#[derive(Debug, Clone)]
struct CommonError {
    code: String,
    description: String,
    message: String,
}

impl OpenApi {
    /// The document of an API of this name and version.
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            version: version.into(),
            description: None,
            license: None,
            schemes: Vec::new(),
            headers: Vec::new(),
            errors: Vec::new(),
            refuses_unknown_members: false,
        }
    }

    /// What the API is for, in CommonMark.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// The licence's name and its SPDX identifier.
    #[must_use]
    pub fn license(mut self, name: impl Into<String>, identifier: impl Into<String>) -> Self {
        self.license = Some((name.into(), identifier.into()));
        self
    }

    /// A kind of bearer token, for the `security` options of services and methods to name; `format`
    /// says what it looks like, such as `JWT`.
    #[must_use]
    pub fn bearer(
        mut self,
        name: impl Into<String>,
        format: Option<&str>,
        description: impl Into<String>,
    ) -> Self {
        self.schemes.push(Scheme {
            name: name.into(),
            format: format.map(str::to_owned),
            description: description.into(),
        });
        self
    }

    /// A header that every response has.
    #[must_use]
    pub fn response_header(
        mut self,
        name: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        self.headers.push(Header {
            name: name.into(),
            description: description.into(),
        });
        self
    }

    /// An error that any method may answer, by the name of its code such as `UNAVAILABLE`: when it
    /// is met, and its text. A name that is no code's fails the build.
    #[must_use]
    pub fn error(
        mut self,
        code: &str,
        description: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        self.errors.push(CommonError {
            code: code.to_owned(),
            description: description.into(),
            message: message.into(),
        });
        self
    }

    /// Says that requests with unknown members are refused, as they are where the routes' JSON options
    /// say so too.
    #[must_use]
    pub fn refuses_unknown_members(mut self) -> Self {
        self.refuses_unknown_members = true;
        self
    }

    /// Every header, by name.
    fn headers(&self) -> Object {
        let text = |description: &str| {
            object! {
                "description" => description,
                "required" => true,
                "schema" => object! {"type" => "string"},
            }
        };
        let mut headers = object! {
            "Allow" => text("The methods that the path has."),
            "Retry-After" => object! {
                "description" => "After how many seconds the same may succeed, if time helps.",
                "schema" => object! {"type" => "integer", "minimum" => 0_u64},
            },
            "WWW-Authenticate" => text("What kind of token is wanted: `Bearer`."),
        };
        for header in &self.headers {
            headers.set(header.name.as_str(), text(&header.description));
        }
        headers
    }

    /// References to the headers of a response of that status.
    fn response_headers(&self, status: u32) -> Object {
        let own = self.headers.iter().map(|header| header.name.as_str());
        let more = match status {
            401 => Some("WWW-Authenticate"),
            405 => Some("Allow"),
            429 | 503 => Some("Retry-After"),
            _ => None,
        };
        let mut headers = Object::default();
        for name in own.chain(more) {
            let reference = format!("#/components/headers/{name}");
            headers.set(name, object! {"$ref" => reference});
        }
        headers
    }
}

/// The files that are made: their names and what is in them.
pub(crate) fn files(document: &Node) -> [(&'static str, String); 3] {
    let text = document.pretty();
    let page = page::page(document);
    let code = emit(&text, &page);
    [(DOCUMENT, text), (PAGE, page.html), ("openapi.rs", code)]
}

/// What a server answers with, as Rust. The tags change with what is answered.
fn emit(text: &str, page: &page::Page) -> String {
    let one = |name: &str, doc: &str, file: &str, media_type: &str, policy: &str, text: &str| {
        format!(
            "/// {doc}
pub static {name}: ::keyward_gateway::Document = ::keyward_gateway::Document {{
    content_type: ::keyward_gateway::HeaderValue::from_static({media_type:?}),
    etag: ::keyward_gateway::HeaderValue::from_static({etag:?}),
    security_policy: ::keyward_gateway::HeaderValue::from_static({policy:?}),
    body: ::keyward_gateway::Bytes::from_static(include_bytes!({file:?})),
}};
",
            etag = format!("\"{}\"", page::short_hash(text)),
        )
    };
    let json = "application/json";
    let nothing = "default-src 'none'; frame-ancestors 'none'";
    let mut code = one(
        "OPENAPI",
        "The OpenAPI document.",
        DOCUMENT,
        json,
        nothing,
        text,
    );
    code.push_str(&one(
        "DOCS",
        "The page for people.",
        PAGE,
        "text/html; charset=utf-8",
        &page.security_policy,
        &page.html,
    ));
    code
}
