//! Builds the document from the services.

use std::collections::{BTreeMap, BTreeSet};

use heck::ToUpperCamelCase;
use prost_reflect::{DescriptorPool, MessageDescriptor};

use super::node::{Node, Object, object};
use super::operation::{self, Request};
use super::responses::Failures;
use super::scalar::Position;
use super::schema::Schemas;
use super::{OpenApi, declared, example, scalar, stream};
use crate::Builder;
use crate::error::{Error, declaration};
use crate::http_rule::HttpRule;
use crate::options;
use crate::routes::{Method, Service};

/// Member of an operation that names the operation of which it is an additional binding.
pub(super) const SAME_AS: &str = "x-same-as";

/// Builds the document.
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
                line: None,
                item: "OpenApi".to_owned(),
                reason: format!("{} is the code of no error", error.code),
            });
        }
    }
    let names = operation_names(services);
    let methods = services.iter().flat_map(|service| &service.methods);
    let ids = methods.flat_map(|method| {
        let indices = 0..method.routes.len();
        indices
            .map(|index| operation_id(&names, method, index))
            .collect::<Vec<_>>()
    });
    let mut document = Document {
        ids: ids.collect(),
        settings,
        builder,
        schemas: schemas(settings, pool, services),
        names,
        paths: Object::default(),
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
        settings.rejects_unknown_members,
    )
}

/// Returns the name of each method in the document: its own, prefixed with its service's if two
/// methods have the same name.
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

/// Returns the member of a path item for an HTTP method. OpenAPI defines eight; any other is an
/// extension, which tools skip.
fn member(http_method: &str) -> String {
    match http_method {
        "GET" | "PUT" | "POST" | "DELETE" | "OPTIONS" | "HEAD" | "PATCH" | "TRACE" => {
            http_method.to_lowercase()
        }
        "*" => "x-any".to_owned(),
        other => format!("x-{}", other.to_lowercase()),
    }
}

/// Returns the method's name; for an additional binding, with its mount or its number.
fn operation_id(names: &BTreeMap<String, String>, method: &Method, index: usize) -> String {
    let name = names.get(method.method.full_name());
    let name = name.map_or(method.method.name(), String::as_str);
    let path = |index: usize| method.routes.get(index).map(|route| route.path.as_str());
    let (Some(first), Some(this)) = (path(0), path(index).filter(|_| index > 0)) else {
        return name.to_owned();
    };
    let mount = this
        .strip_suffix(first)
        .map(ToUpperCamelCase::to_upper_camel_case);
    match mount.filter(|mount| !mount.is_empty()) {
        Some(mount) => format!("{name}_{mount}"),
        None => format!("{name}_{}", index + 1),
    }
}

/// Document under construction.
struct Document<'a> {
    settings: &'a OpenApi,
    builder: &'a Builder,
    schemas: Schemas,
    names: BTreeMap<String, String>,
    /// Ids of all operations.
    ids: BTreeSet<String>,
    paths: Object,
    responses: BTreeMap<String, Node>,
}

impl Document<'_> {
    /// Adds a service's operations, additional bindings after all first ones. Returns its tag.
    fn service(&mut self, service: &Service) -> Result<Object, Error> {
        let descriptor = &service.service;
        let facts = declared::service(descriptor);
        let tag = facts.title.unwrap_or_else(|| descriptor.name().to_owned());
        let routes = service.methods.iter().flat_map(|method| {
            let routes = method.routes.iter().enumerate();
            routes.map(move |(index, route)| (index, method, route))
        });
        let mut routes: Vec<_> = routes.collect();
        routes.sort_by_key(|(index, ..)| *index);
        for (index, method, route) in routes {
            let http_method = member(&route.http_method);
            let mut request = Request::new(method, route);
            let is_free = |item: &Node| item.get(&http_method).is_none();
            _ = self
                .paths
                .iter()
                .any(|(known, item)| is_free(item) && request.path.named_as(known));
            for number in 2.. {
                let item = self.paths.get(&request.path.text);
                if item.is_none_or(|item| item.get(&http_method).is_none()) {
                    break;
                }
                request = Request::new(method, route);
                request.path.renamed(number);
            }
            let path = request.path.text.clone();
            let operation = self.operation(service, method, route, &request, index, &tag)?;
            match self.paths.get_mut(&path) {
                Some(Node::Object(item)) => item.set(http_method, operation),
                _ => self.paths.set(path, object! {http_method => operation}),
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
        route: &HttpRule,
        request: &Request,
        index: usize,
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
            "operationId" => self.operation_id(method, index),
            "tags" => vec![tag],
        };
        operation.set_some("summary", summary);
        operation.set_some("description", description);
        if index > 0 {
            operation.set(SAME_AS, self.operation_id(method, 0));
        }
        if options::flag(&descriptor.options(), "deprecated") {
            operation.set("deprecated", true);
        }
        operation.set_list("parameters", request.parameters(&mut self.schemas)?);
        operation.set_some("requestBody", request.body(&mut self.schemas)?);
        let mut responses = object! {
            method.rest.success_status.to_string() => self.success(method, route, index)?,
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

    fn operation_id(&self, method: &Method, index: usize) -> String {
        operation_id(&self.names, method, index)
    }

    fn success(
        &mut self,
        method: &Method,
        route: &HttpRule,
        index: usize,
    ) -> Result<Object, Error> {
        let status = method.rest.success_status;
        let output = method.method.output();
        let (summary, _) = self.schemas.message_comment(&output)?.split();
        let mut response = object! {
            "description" => format!("{}.", summary.as_deref().unwrap_or("Success")),
            "headers" => self.settings.response_headers(status),
        };
        if options::has_content(status) {
            let (schema, example) = self.output(&output, route)?;
            let content = if method.method.is_server_streaming() {
                stream::content(&mut self.schemas, schema, &example)
            } else {
                let media = object! {"schema" => schema, "example" => example};
                object! {"application/json" => media}
            };
            response.set("content", content);
        }
        let links = operation::links(method, |target| self.linked(method, index, target))?;
        if !links.is_empty() {
            response.set("links", links);
        }
        Ok(response)
    }

    /// Returns the schema of a binding's response, and an example.
    fn output(
        &mut self,
        output: &MessageDescriptor,
        route: &HttpRule,
    ) -> Result<(Object, Node), Error> {
        if let Some(field) = &route.response_body {
            let schema = self.schemas.value(field, Position::Response)?;
            return Ok((
                schema,
                example::field(&self.schemas, field, Position::Response)?,
            ));
        }
        let schema = match scalar::well_known(output.full_name(), Position::Response, 0, false) {
            Some(schema) => schema,
            None => self.schemas.message(output, Position::Response)?,
        };
        let example = example::message(&self.schemas, output, Position::Response, &[])?;
        Ok((schema, example))
    }

    /// Returns the operation that a link from a binding leads to: with the same mount, if there is
    /// one.
    fn linked(&self, method: &Method, index: usize, target: &str) -> String {
        let id = self.operation_id(method, index);
        let own = self.operation_id(method, 0);
        let mount = id.strip_prefix(own.as_str()).unwrap_or_default();
        let name = self.names.get(target).map_or(target, String::as_str);
        let mounted = format!("{name}{mount}");
        if self.ids.contains(&mounted) {
            mounted
        } else {
            name.to_owned()
        }
    }

    /// Returns the token schemes of a method, of which a request needs one.
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
            "paths" => self.paths,
            "components" => components,
        }
        .into())
    }
}
