//! OpenAPI 3.1 document of the services, generated from their descriptors.
//!
//! It describes the gateway: its paths, the requests that it accepts and rejects, and its
//! responses. Facts that are not in the descriptors, such as the required authentication, come from
//! the options of `keyward.gateway.v1` and from [`OpenApi`].

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

/// File name of the document.
const DOCUMENT: &str = "openapi.json";
/// File name of the page.
const PAGE: &str = "docs.html";

/// Contents of the OpenAPI document that are not in the proto files.
#[derive(Debug, Clone)]
pub struct OpenApi {
    title: String,
    version: String,
    description: Option<String>,
    license: Option<(String, String)>,
    schemes: Vec<Scheme>,
    headers: Vec<Header>,
    errors: Vec<CommonError>,
    rejects_unknown_members: bool,
}

/// Bearer token scheme.
#[derive(Debug, Clone)]
struct Scheme {
    name: String,
    format: Option<String>,
    description: String,
}

/// Header of every response.
#[derive(Debug, Clone)]
struct Header {
    name: String,
    description: String,
}

/// Error that any method may return.
#[derive(Debug, Clone)]
struct CommonError {
    code: String,
    description: String,
    message: String,
}

impl OpenApi {
    /// Creates the document of an API with this name and version.
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            version: version.into(),
            description: None,
            license: None,
            schemes: Vec::new(),
            headers: Vec::new(),
            errors: Vec::new(),
            rejects_unknown_members: false,
        }
    }

    /// Sets the description of the API, in CommonMark.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Sets the licence's name and its SPDX identifier.
    #[must_use]
    pub fn license(mut self, name: impl Into<String>, identifier: impl Into<String>) -> Self {
        self.license = Some((name.into(), identifier.into()));
        self
    }

    /// Adds a bearer token scheme, for the `security` options of services and methods; `format`
    /// describes the token, such as `JWT`.
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

    /// Adds a header that every response has.
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

    /// Adds an error that any method may return, by the name of its code such as `UNAVAILABLE`: its
    /// condition and its text. An unknown code fails the build.
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

    /// Declares that requests with unknown members are rejected, which the JSON options of the
    /// routes must also set.
    #[must_use]
    pub fn rejects_unknown_members(mut self) -> Self {
        self.rejects_unknown_members = true;
        self
    }

    /// Returns every header, by name.
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

    /// Returns references to the headers of a response of that status.
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

/// Returns the names and contents of the generated files.
pub(crate) fn files(document: &Node) -> [(&'static str, String); 3] {
    let text = document.pretty();
    let page = page::page(document);
    let code = emit(&text, &page);
    [(DOCUMENT, text), (PAGE, page.html), ("openapi.rs", code)]
}

/// Returns the server's responses as Rust. The tags change with the content.
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
