//! Operations as HTML.

use super::super::node::{Node, Object};
use super::schema::{members, row, table};
use super::text::{blocks, code, escape, line};
use super::{OperationRef, shown};

/// Resolves the references of an operation.
pub(super) struct Resolver<'a> {
    pub(super) components: &'a Object,
}

impl<'a> Resolver<'a> {
    /// Returns the target of a reference, or the node itself.
    fn resolve(&self, node: &'a Node) -> Option<&'a Object> {
        let Some(reference) = node.get("$ref").and_then(Node::as_str) else {
            return node.as_object();
        };
        let mut parts = reference.trim_start_matches("#/components/").split('/');
        let kind = self.components.get(parts.next()?)?;
        kind.get(parts.next()?)?.as_object()
    }
}

/// Renders one operation with all its details and its other paths.
pub(super) fn operation(
    resolver: &Resolver<'_>,
    reference: &OperationRef<'_>,
    further: &str,
) -> Option<String> {
    let (path, method, operation) = (reference.path, reference.method, reference.operation);
    let text = |name: &str| {
        operation
            .get(name)
            .and_then(Node::as_str)
            .unwrap_or_default()
    };
    let id = text("operationId");
    let mut html = format!(
        "<article class=\"operation\" id=\"{id}\" data-search=\"{search}\">\n\
         <h3><a class=\"anchor\" href=\"#{id}\">{summary}</a></h3>\n\
         <p class=\"route\"><span class=\"method {method}\">{upper}</span> <code>{path}</code></p>\n{further}",
        id = escape(id),
        search = escape(&format!("{id} {method} {path} {}", text("summary")).to_lowercase()),
        summary = line(text("summary")),
        upper = escape(&shown(method)),
        path = escape(path),
    );
    if let Some(Node::Bool(true)) = operation.get("deprecated") {
        html.push_str("<p class=\"deprecated\">Deprecated.</p>\n");
    }
    html.push_str(&blocks(text("description")));
    html.push_str(&security(operation));
    html.push_str(&parameters(operation));
    html.push_str(&body(resolver, operation));
    html.push_str("<h4>Call</h4>\n");
    html.push_str(&code(&curl(path, method, operation)));
    html.push_str(&responses(resolver, operation)?);
    html.push_str("</article>\n");
    Some(html)
}

fn schemes(operation: &Object) -> Vec<&str> {
    let needs = operation
        .get("security")
        .and_then(Node::as_list)
        .unwrap_or_default();
    let names = needs.iter().filter_map(Node::as_object);
    names
        .flat_map(|need| need.iter().map(|(name, _)| name))
        .collect()
}

fn security(operation: &Object) -> String {
    let links: Vec<String> = schemes(operation)
        .into_iter()
        .map(|name| format!("<a href=\"#auth-{0}\"><code>{0}</code></a>", escape(name)))
        .collect();
    match links.as_slice() {
        [] => "<p>Needs no token.</p>\n".to_owned(),
        links => format!("<p>Token: {}.</p>\n", links.join(" or ")),
    }
}

fn parameters(operation: &Object) -> String {
    let list = operation
        .get("parameters")
        .and_then(Node::as_list)
        .unwrap_or_default();
    let mut html = String::new();
    for (location, title) in [("path", "Path"), ("query", "Query")] {
        let rows: String = list
            .iter()
            .filter_map(Node::as_object)
            .filter(|parameter| parameter.get("in").and_then(Node::as_str) == Some(location))
            .filter_map(|parameter| {
                let name = parameter.get("name")?.as_str()?;
                let schema = parameter.get("schema")?.as_object()?;
                let required = parameter.get("required") == Some(&Node::Bool(true));
                let must = if required { "required" } else { "" };
                Some(row(name, must, parameter, schema))
            })
            .collect();
        if !rows.is_empty() {
            html.push_str(&format!("<h4>{title}</h4>\n{}", table("Name", &rows)));
        }
    }
    html
}

fn json(content: Option<&Node>) -> Option<(&str, &Object)> {
    let content = content?.as_object()?;
    let (name, media) = content.iter().next()?;
    Some((name, media.as_object()?))
}

fn body(resolver: &Resolver<'_>, operation: &Object) -> String {
    let content = operation
        .get("requestBody")
        .and_then(|body| body.get("content"));
    let Some((name, media)) = json(content) else {
        return String::new();
    };
    let schema = media
        .get("schema")
        .and_then(|schema| resolver.resolve(schema));
    format!(
        "<h4>Body <code>{}</code></h4>\n{}",
        escape(name),
        schema
            .map(|schema| members(schema, "required"))
            .unwrap_or_default()
    )
}

/// Returns a call as a shell command.
fn curl(path: &str, method: &str, operation: &Object) -> String {
    let mut path = path.to_owned();
    let list = operation
        .get("parameters")
        .and_then(Node::as_list)
        .unwrap_or_default();
    for parameter in list {
        let name = parameter
            .get("name")
            .and_then(Node::as_str)
            .unwrap_or_default();
        let examples = parameter
            .get("schema")
            .and_then(|schema| schema.get("examples"));
        let example = examples.and_then(Node::as_list).and_then(<[Node]>::first);
        if let Some(Node::Text(example)) = example {
            path = path.replace(&format!("{{{name}}}"), example);
        }
    }
    let mut text = match method {
        "get" => "curl".to_owned(),
        "x-any" => "curl".to_owned(),
        method => format!("curl -X {}", shown(method)),
    };
    text.push_str(&format!(" \"$URL{path}\""));
    if !schemes(operation).is_empty() {
        text.push_str(" \\\n  -H \"Authorization: Bearer $TOKEN\"");
    }
    let content = operation
        .get("requestBody")
        .and_then(|body| body.get("content"));
    if let Some((name, media)) = json(content) {
        text.push_str(&format!(" \\\n  -H 'Content-Type: {name}'"));
        if let Some(example) = media.get("example") {
            let example = example.compact().replace('\'', r"'\''");
            text.push_str(&format!(" \\\n  -d '{example}'"));
        }
    }
    text
}

fn responses(resolver: &Resolver<'_>, operation: &Object) -> Option<String> {
    let mut html = String::from("<h4>Responses</h4>\n");
    for (status, response) in operation.get("responses")?.as_object()?.iter() {
        let response = resolver.resolve(response)?;
        let said = response
            .get("description")
            .and_then(Node::as_str)
            .unwrap_or_default();
        let open = if status.starts_with('2') { " open" } else { "" };
        let first = said.split("\n\n").next().unwrap_or_default();
        html.push_str(&format!(
            "<details{open}><summary><span class=\"status s{kind}\">{status}</span> {}</summary>\n",
            line(first),
            kind = status.get(..1).unwrap_or_default(),
        ));
        html.push_str(&blocks(said.strip_prefix(first).unwrap_or_default()));
        html.push_str(&headers(response));
        if let Some((_, media)) = json(response.get("content")) {
            html.push_str(&response_body(resolver, media));
        }
        html.push_str("</details>\n");
    }
    Some(html)
}

fn headers(response: &Object) -> String {
    let headers = response.get("headers").and_then(Node::as_object);
    let names: Vec<String> = headers
        .into_iter()
        .flat_map(|headers| headers.iter())
        .map(|(name, _)| format!("<code>{}</code>", escape(name)))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!("<p class=\"limits\">Headers: {}</p>\n", names.join(", "))
}

fn response_body(resolver: &Resolver<'_>, media: &Object) -> String {
    let mut html = String::new();
    if let Some(schema) = media.get("schema") {
        let named = schema.get("$ref").is_some();
        if let Some(schema) = resolver.resolve(schema).filter(|_| named) {
            html.push_str(&members(schema, "always there"));
        }
    }
    if let Some(example) = media.get("example") {
        html.push_str(&code(&example.pretty()));
    }
    let examples = media.get("examples").and_then(Node::as_object);
    for (_, example) in examples.into_iter().flat_map(|examples| examples.iter()) {
        if let Some(value) = example.get("value") {
            html.push_str(&code(&value.compact()));
        }
    }
    html
}
