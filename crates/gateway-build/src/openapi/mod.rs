//! The OpenAPI 3.1 document of the services, made from their descriptors.
//!
//! It says what the gateway does: the paths that it serves, which requests it takes and which it
//! refuses, and what it answers. What no descriptor tells, such as who may call, comes from the
//! options of `keyward.gateway.v1` and from [`OpenApi`].

mod comment;
pub(crate) mod declared;
mod example;
pub(crate) mod node;
mod operation;
mod page;
mod path;
mod responses;
mod scalar;
mod schema;
mod template;

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::Builder;
use crate::error::{Error, declaration};
use crate::options;
use crate::routes::{Method, Route, Service};
use node::{Node, Object, object};
use operation::Request;
use responses::Failures;
use scalar::Place;
use schema::Schemas;

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
            429 => Some("Retry-After"),
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

/// Makes the document.
pub(crate) fn document(
    settings: &OpenApi,
    builder: &Builder,
    pool: &DescriptorPool,
    services: &[Service],
) -> Result<Node, Error> {
    for error in &settings.errors {
        if options::code(&error.code).is_none() {
            return Err(Error::Declaration {
                file: "build.rs".to_owned(),
                item: "OpenApi".to_owned(),
                reason: format!("{} is the code of no error", error.code),
            });
        }
    }
    let names = operation_names(services);
    let mut document = Document {
        settings,
        builder,
        schemas: schemas(settings, pool, services),
        names,
        paths: BTreeMap::new(),
        responses: BTreeMap::new(),
    };
    let mut tags = Vec::new();
    for service in services.iter().filter(|service| service.has_routes()) {
        tags.push(document.service(service)?);
    }
    document.finish(tags)
}

fn schemas(settings: &OpenApi, pool: &DescriptorPool, services: &[Service]) -> Schemas {
    let (mut requests, mut responses): (Vec<MessageDescriptor>, Vec<MessageDescriptor>) =
        (Vec::new(), Vec::new());
    for method in services.iter().flat_map(|service| &service.methods) {
        if !method.routes.is_empty() {
            requests.push(method.method.input());
            responses.push(method.method.output());
        }
    }
    Schemas::new(
        pool,
        &requests,
        &responses,
        settings.refuses_unknown_members,
    )
}

/// The name of each method in the document: its own, with its service's where two have the same.
fn operation_names(services: &[Service]) -> BTreeMap<String, String> {
    let methods = || services.iter().flat_map(|service| &service.methods);
    let mut names = BTreeMap::new();
    for method in methods().filter(|method| !method.routes.is_empty()) {
        let own = method.method.name();
        let same = methods().filter(|other| other.method.name() == own && !other.routes.is_empty());
        let name = if same.count() == 1 {
            own.to_owned()
        } else {
            format!("{}_{own}", method.method.parent_service().name())
        };
        names.insert(method.method.full_name().to_owned(), name);
    }
    names
}

/// A document under way.
struct Document<'a> {
    settings: &'a OpenApi,
    builder: &'a Builder,
    schemas: Schemas,
    names: BTreeMap<String, String>,
    paths: BTreeMap<String, Object>,
    responses: BTreeMap<String, Node>,
}

impl Document<'_> {
    /// Adds a service's operations; its tag.
    fn service(&mut self, service: &Service) -> Result<Object, Error> {
        let descriptor = &service.service;
        let facts = declared::service(descriptor);
        let tag = facts.title.unwrap_or_else(|| descriptor.name().to_owned());
        for method in &service.methods {
            for (place, route) in method.routes.iter().enumerate() {
                let operation = self.operation(service, method, route, place, &tag)?;
                let path = Request::new(method, &route.rule)?.path.text;
                let item = self.paths.entry(path).or_default();
                item.set(route.rule.http_method.to_lowercase(), operation);
            }
        }
        let file = descriptor.parent_file();
        let comment = self
            .schemas
            .comments
            .of(&file, descriptor.path(), descriptor.full_name())?;
        let mut object = object! {"name" => tag};
        object.set_some("description", comment.description());
        Ok(object)
    }

    fn operation(
        &mut self,
        service: &Service,
        method: &Method,
        route: &Route,
        place: usize,
        tag: &str,
    ) -> Result<Object, Error> {
        let descriptor = &method.method;
        let file = descriptor.parent_file();
        let comment = self
            .schemas
            .comments
            .of(&file, descriptor.path(), descriptor.full_name())?;
        let (summary, description) = comment.split();
        let mut operation = object! {
            "operationId" => self.operation_id(method, place),
            "tags" => vec![tag],
        };
        operation.set_some("summary", summary);
        operation.set_some("description", description);
        if options::flag(&descriptor.options(), "deprecated") {
            operation.set("deprecated", true);
        }
        let request = Request::new(method, &route.rule)?;
        operation.set_list("parameters", request.parameters(&mut self.schemas)?);
        operation.set_some("requestBody", request.body(&mut self.schemas)?);
        let mut responses = object! {
            method.rest.success_status.to_string() => self.success(method, place)?,
        };
        let failures = Failures::of(self.settings, self.builder, service, method);
        let failed =
            failures.responses(request.has_body(), &mut self.schemas, &mut self.responses)?;
        for (status, response) in failed {
            responses.set(status.to_string(), response);
        }
        operation.set("responses", responses);
        operation.set_list("security", self.security(service, method)?);
        Ok(operation)
    }

    /// The method's name, and for further bindings where they differ from the first.
    fn operation_id(&self, method: &Method, place: usize) -> String {
        let name = self.names.get(method.method.full_name());
        let name = name.map_or(method.method.name(), String::as_str);
        let path = |place: usize| {
            method
                .routes
                .get(place)
                .map(|route| route.rule.path.as_str())
        };
        let (Some(first), Some(this)) = (path(0), path(place)) else {
            return name.to_owned();
        };
        if place == 0 {
            return name.to_owned();
        }
        use heck::ToUpperCamelCase;
        match this
            .strip_suffix(first)
            .map(ToUpperCamelCase::to_upper_camel_case)
        {
            Some(mount) if !mount.is_empty() => format!("{name}_{mount}"),
            _ => format!("{name}_{}", place + 1),
        }
    }

    fn success(&mut self, method: &Method, place: usize) -> Result<Object, Error> {
        let output = method.method.output();
        let comment = self.schemas.message_comment(&output)?;
        let (summary, _) = comment.split();
        let schema = if schema::is_plain(&output) {
            object! {"type" => "object"}
        } else {
            self.schemas.message(&output, Place::Response)?
        };
        let example = example::message(&self.schemas, &output, Place::Response, &[])?;
        let content = object! {"schema" => schema, "example" => example};
        let mut response = object! {
            "description" => format!("{}.", summary.as_deref().unwrap_or("Success")),
            "headers" => self.settings.response_headers(method.rest.success_status),
            "content" => object! {"application/json" => content},
        };
        let links = operation::links(method, |target| self.linked(method, place, target))?;
        if !links.is_empty() {
            response.set("links", links);
        }
        Ok(response)
    }

    /// The operation that a link from a binding leads to: with the same mount, if there is one.
    fn linked(&self, method: &Method, place: usize, target: &str) -> String {
        let id = self.operation_id(method, place);
        let own = self.operation_id(method, 0);
        let mount = id.strip_prefix(own.as_str()).unwrap_or_default();
        let name = self.names.get(target).map_or(target, String::as_str);
        format!("{name}{mount}")
    }

    /// The tokens of which a method needs one.
    fn security(&self, service: &Service, method: &Method) -> Result<Vec<Node>, Error> {
        let own = declared::method(&method.method)?.security;
        let names = if own.is_empty() {
            declared::service(&service.service).security
        } else {
            own
        };
        let none = Node::List(Vec::new());
        let mut needs = Vec::new();
        for name in names {
            if self
                .settings
                .schemes
                .iter()
                .all(|scheme| scheme.name != name)
            {
                let reason = format!("there is no security scheme {name:?}");
                let file = method.method.parent_file();
                return Err(declaration(&file, method.method.full_name(), reason));
            }
            needs.push(object! {name => none.clone()}.into());
        }
        Ok(needs)
    }

    fn finish(self, tags: Vec<Object>) -> Result<Node, Error> {
        let settings = self.settings;
        let mut info = object! {"title" => settings.title.as_str()};
        info.set_some("description", settings.description.as_deref());
        if let Some((name, identifier)) = &settings.license {
            info.set(
                "license",
                object! {"name" => name.as_str(), "identifier" => identifier.as_str()},
            );
        }
        info.set("version", settings.version.as_str());
        let mut schemes = Object::default();
        for scheme in &settings.schemes {
            let mut object = object! {"type" => "http", "scheme" => "bearer"};
            object.set_some("bearerFormat", scheme.format.as_deref());
            object.set("description", scheme.description.as_str());
            schemes.set(scheme.name.as_str(), object);
        }
        let mut components = object! {
            "schemas" => self.schemas.into_components(),
            "responses" => Object::from(self.responses),
            "headers" => settings.headers(),
        };
        if !schemes.is_empty() {
            components.set("securitySchemes", schemes);
        }
        Ok(object! {
            "openapi" => "3.1.0",
            "info" => info,
            "tags" => tags,
            "paths" => Object::from(self.paths),
            "components" => components,
        }
        .into())
    }
}
