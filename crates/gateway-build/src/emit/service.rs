//! Method specs, the validating wrapper of a service, and its routes.

use super::quoted;
use crate::Builder;
use crate::field_path::index;
use crate::http_rule::{Body, HttpRule, Variable};
use crate::names;
use crate::options::ErrorRule;
use crate::pages;
use crate::routes::{Method, Service};
use crate::template::Segment;

/// Returns all code of one service.
pub(crate) fn service(service: &Service, builder: &Builder) -> String {
    let mut text = String::new();
    text.push_str(&service_defaults(service, builder));
    for method in &service.methods {
        text.push_str(&spec(service, method, builder));
        if !method.routes.is_empty() {
            text.push_str(&route_specs(service, method));
            if method.rest.whole_list {
                text.push_str(&pages::code(&method.method));
            }
        }
    }
    text.push_str(&validated(service));
    if service.has_routes() {
        text.push_str(&routes(service));
    }
    text
}

/// Returns the list of a package's methods.
pub(crate) fn methods(names: &[String]) -> String {
    let list: String = names.iter().map(|name| format!("    &{name},\n")).collect();
    format!(
        "/// Every method of the package, in the order of the proto files.
pub static METHODS: &[&::keyward_gateway::MethodSpec] = &[
{list}];
"
    )
}

fn service_defaults(service: &Service, builder: &Builder) -> String {
    let name = service.service.full_name();
    let doc = format!("Declaration of the errors of paths of `{name}` that belong to no method.");
    let rules = &service.rest.errors;
    method_spec(service, builder, &doc, &service.static_name(), None, rules)
}

fn spec(service: &Service, method: &Method, builder: &Builder) -> String {
    let doc = format!("Declaration of `{}`.", method.method.full_name());
    let rules: Vec<ErrorRule> = method
        .rest
        .errors
        .iter()
        .chain(&service.rest.errors)
        .cloned()
        .collect();
    let name = method.static_name(service);
    method_spec(service, builder, &doc, &name, Some(method), &rules)
}

fn method_spec(
    service: &Service,
    builder: &Builder,
    doc: &str,
    static_name: &str,
    method: Option<&Method>,
    rules: &[ErrorRule],
) -> String {
    let full_name = service.service.full_name();
    let method_name = method.map_or("", |method| method.method.name());
    let domain = Some(builder.error_domain.as_str()).filter(|domain| !domain.is_empty());
    let rules: String = rules.iter().map(error_rule).collect();
    let error_body = service.rest.error_body.as_ref();
    let error_body = error_body.or(builder.error_body.as_ref());
    format!(
        "/// {doc}
pub static {static_name}: ::keyward_gateway::MethodSpec = ::keyward_gateway::MethodSpec {{
    service: {full_name:?},
    method: {method_name:?},
    grpc_path: {path:?},
    success_status: {success_status},
    error_body: {error_body},
    error_domain: {domain:?},
    errors: &[{rules}],
    server_streaming: {streaming},
}};
",
        path = format!("/{full_name}/{method_name}"),
        success_status = method.map_or(200, |method| method.rest.success_status),
        error_body = option(error_body.map(|body| quoted(body))),
        domain = domain.unwrap_or(service.service.package_name()),
        streaming = method.is_some_and(|method| method.method.is_server_streaming()),
    )
}

fn option(value: Option<String>) -> String {
    match value {
        Some(value) => format!("::core::option::Option::Some({value})"),
        None => "::core::option::Option::None".to_owned(),
    }
}

fn error_rule(rule: &ErrorRule) -> String {
    format!(
        "
        ::keyward_gateway::ErrorRule {{
            code: ::tonic::Code::{code},
            status: {status},
            message: {message},
            body: {body},
        }},",
        code = rule.code,
        status = option(rule.status.map(|status| status.to_string())),
        message = option(rule.message.as_deref().map(quoted)),
        body = option(rule.body.as_deref().map(quoted)),
    )
}

fn route_specs(service: &Service, method: &Method) -> String {
    let name = method.static_name(service);
    let specs: String = method
        .routes
        .iter()
        .map(|rule| route_spec(rule, &name, &service.static_name()))
        .collect();
    format!(
        "/// The HTTP bindings of `{full_name}`.
pub static {name}_ROUTES: [::keyward_gateway::RouteSpec; {count}] = [{specs}
];
",
        full_name = method.method.full_name(),
        count = method.routes.len(),
    )
}

fn route_spec(rule: &HttpRule, method: &str, service_defaults: &str) -> String {
    let segments: Vec<String> = rule.segments.iter().map(segment).collect();
    let variables: Vec<String> = rule.variables.iter().map(variable).collect();
    let body = match &rule.body {
        Body::None => "None".to_owned(),
        Body::All => "All".to_owned(),
        Body::Field(field) => format!("Member({})", index(field)),
    };
    format!(
        "
    ::keyward_gateway::RouteSpec {{
        http_method: {http_method:?},
        template: {path:?},
        segments: &[{segments}],
        verb: {verb},
        variables: &[{variables}],
        body: ::keyward_gateway::BodyBinding::{body},
        response_body: {response_body},
        method: &{method},
        service_defaults: &{service_defaults},
    }},",
        http_method = rule.http_method,
        path = rule.path,
        segments = segments.join(", "),
        verb = option(rule.verb.as_deref().map(quoted)),
        variables = variables.join(", "),
        response_body = option(
            rule.response_body
                .as_ref()
                .map(|field| index(field).to_string())
        ),
    )
}

fn segment(segment: &Segment) -> String {
    let of = |kind: &str| format!("::keyward_gateway::Segment::{kind}");
    match segment {
        Segment::Literal(text) => of(&format!("Literal({text:?})")),
        Segment::Wildcard => of("Wildcard"),
        Segment::CatchAll => of("CatchAll"),
    }
}

fn variable(variable: &Variable) -> String {
    let count = match variable.count {
        Some(count) => count.to_string(),
        None => "::keyward_gateway::Variable::OPEN".to_owned(),
    };
    format!(
        "::keyward_gateway::Variable {{ path: &{path:?}, first: {first}, count: {count} }}",
        path = variable.field.indices(),
        first = variable.first,
    )
}

/// Returns the struct that validates the requests of a service.
fn validated(service: &Service) -> String {
    let name = service.service.name();
    let server = format!("{}_server::{name}", names::service_module(name));
    let mut methods = String::new();
    for method in &service.methods {
        methods.push_str(&validated_method(service, method));
    }
    format!(
        "/// Validating [`{name}`]({server}): checks each request before the inner service
/// receives it, and gives each error its final form. gRPC and REST both call it.
pub struct Validated{name}<__S>(pub ::std::sync::Arc<__S>);

impl<__S> ::core::clone::Clone for Validated{name}<__S> {{
    fn clone(&self) -> Self {{
        Self(::std::sync::Arc::clone(&self.0))
    }}
}}

impl<__S> ::core::fmt::Debug for Validated{name}<__S> {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        f.write_str({debug:?})
    }}
}}

impl<__S: {server}> {server} for Validated{name}<__S> {{
{methods}}}
",
        debug = format!("Validated{name}"),
    )
}

fn validated_method(service: &Service, method: &Method) -> String {
    let descriptor = &method.method;
    let package = service.service.package_name();
    let input = names::message(&descriptor.input(), package);
    let output = names::message(&descriptor.output(), package);
    let spec = method.static_name(service);
    let (request, check) = if descriptor.is_client_streaming() {
        (format!("::tonic::Streaming<{input}>"), String::new())
    } else {
        let check = format!(
            "        ::keyward_gateway::check_request(&{spec}, request.get_ref())
            .map_err(|status| ::keyward_gateway::finish_error(&{spec}, status))?;\n"
        );
        (input, check)
    };
    let (response, finished) = if descriptor.is_server_streaming() {
        let finished = format!(
            "
            .map(|response| {{
                response.map(|messages| ::keyward_gateway::finish_stream_error(&{spec}, messages))
            }})"
        );
        (format!("::tonic::codegen::BoxStream<{output}>"), finished)
    } else {
        let finished = "
            .map(::keyward_gateway::uncompressed_if_small)";
        (output, finished.to_owned())
    };
    // Same as the macro of async-trait, whose own text says `Box`, which may be a message here.
    format!(
        "    fn {name}<'life0, 'async_trait>(
        &'life0 self,
        request: ::tonic::Request<{request}>,
    ) -> ::core::pin::Pin<::std::boxed::Box<
        dyn ::core::future::Future<
            Output = ::core::result::Result<::tonic::Response<{response}>, ::tonic::Status>,
        > + ::core::marker::Send + 'async_trait,
    >>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {{
        ::std::boxed::Box::pin(async move {{
{check}            __S::{name}(&self.0, request)
                .await
                .map_err(|status| ::keyward_gateway::finish_error(&{spec}, status)){finished}
        }})
    }}
",
        name = names::snake(descriptor.name()),
    )
}

/// Returns the function that creates a service's routes.
fn routes(service: &Service) -> String {
    let name = service.service.name();
    let server = format!("{}_server::{name}", names::service_module(name));
    let mut list = String::new();
    for method in &service.methods {
        let kind = if method.method.is_server_streaming() {
            "server_streaming"
        } else if method.rest.whole_list {
            "whole_list"
        } else {
            "unary"
        };
        for index in 0..method.routes.len() {
            list.push_str(&format!(
                "        ::keyward_gateway::Route::{kind}(
            &{spec}_ROUTES[{index}],
            ::std::sync::Arc::clone(&service),
            |service, request| async move {{
                {server}::{call}(&*service, request).await
            }},
        ),
",
                spec = method.static_name(service),
                call = names::snake(method.method.name()),
            ));
        }
    }
    format!(
        "/// The REST routes of `{full_name}`, which call `service` inside the process.
pub fn {function}<__S: {server}>(
    service: ::std::sync::Arc<__S>,
) -> ::std::vec::Vec<::keyward_gateway::Route> {{
    let service = ::std::sync::Arc::new(Validated{name}(service));
    ::std::vec![
{list}    ]
}}
",
        full_name = service.service.full_name(),
        function = service.routes_function(),
    )
}
