//! HTML page of the document: a single file, with a script only for its search.

mod operation;
mod schema;
mod text;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::document::SAME_AS;
use super::node::{Node, Object};
use operation::Resolver;
use text::{blocks, escape, line};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Page and its security policy.
pub(crate) struct Page {
    pub(crate) html: String,
    /// Value of `Content-Security-Policy`: allows only the page's own style and script.
    pub(crate) security_policy: String,
}

/// Builds the page.
pub(crate) fn page(document: &Node) -> Page {
    let security_policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    Page {
        html: html(document).unwrap_or_default(),
        security_policy,
    }
}

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// Returns a short hash of a text.
pub(crate) fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    BASE64_URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or_default())
}

fn html(document: &Node) -> Option<String> {
    let info = document.get("info")?.as_object()?;
    let given = |name: &str| info.get(name).and_then(Node::as_str).unwrap_or_default();
    let components = document.get("components")?.as_object()?;
    let operations = operations(document);
    let tags: Vec<&Object> = document
        .get("tags")?
        .as_list()?
        .iter()
        .filter_map(Node::as_object)
        .collect();
    Some(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} API</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">To the content</a>\n\
         <nav aria-label=\"Operations\">\n<p class=\"title\"><a href=\"#top\">{title}</a></p>\n\
         <p id=\"search\" hidden><label>Search <input type=\"search\" autocomplete=\"off\"></label></p>\n\
         {navigation}</nav>\n\
         <main id=\"main\">\n<header id=\"top\">\n<h1>{title} API</h1>\n\
         <p>Version {version} · <a href=\"openapi.json\">OpenAPI document</a></p>\n{about}</header>\n\
         {authentication}{sections}\
         <section id=\"schemas\">\n<h2>Schemas</h2>\n{schemas}</section>\n</main>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        title = escape(given("title")),
        version = escape(given("version")),
        about = blocks(given("description")),
        navigation = navigation(&tags, &operations),
        authentication = authentication(components),
        sections = sections(&tags, &operations, &Resolver { components })?,
        schemas = schemas(components),
    ))
}

/// Operation and its location.
struct OperationRef<'a> {
    path: &'a str,
    method: &'a str,
    operation: &'a Object,
}

impl OperationRef<'_> {
    fn has_tag(&self, tag: &str) -> bool {
        let tags = self
            .operation
            .get("tags")
            .and_then(Node::as_list)
            .unwrap_or_default();
        tags.iter().any(|own| own.as_str() == Some(tag))
    }

    /// Returns the operation of which this is an additional binding.
    fn same_as(&self) -> Option<&str> {
        self.operation.get(SAME_AS).and_then(Node::as_str)
    }

    fn text(&self, name: &str) -> &str {
        self.operation
            .get(name)
            .and_then(Node::as_str)
            .unwrap_or_default()
    }
}

fn operations(document: &Node) -> Vec<OperationRef<'_>> {
    let paths = document.get("paths").and_then(Node::as_object);
    let mut found = Vec::new();
    for (path, item) in paths.into_iter().flat_map(Object::iter) {
        for (method, operation) in item.as_object().into_iter().flat_map(Object::iter) {
            if let Some(operation) = operation.as_object() {
                found.push(OperationRef {
                    path,
                    method,
                    operation,
                });
            }
        }
    }
    found
}

/// Returns the first bindings of a tag's operations.
fn own<'a>(
    operations: &'a [OperationRef<'a>],
    tag: &'a str,
) -> impl Iterator<Item = &'a OperationRef<'a>> {
    let own = move |operation: &&OperationRef<'_>| {
        operation.has_tag(tag) && operation.same_as().is_none()
    };
    operations.iter().filter(own)
}

/// Returns the other paths of an operation, for readers and as link targets.
fn further(operations: &[OperationRef<'_>], id: &str) -> String {
    operations
        .iter()
        .filter(|operation| operation.same_as() == Some(id))
        .map(|operation| {
            format!(
                "<p class=\"route\" id=\"{}\"><span class=\"method {method}\">{upper}</span> \
                 <code>{}</code></p>\n",
                escape(operation.text("operationId")),
                escape(operation.path),
                method = operation.method,
                upper = escape(&shown(operation.method)),
            )
        })
        .collect()
}

fn name(tag: &Object) -> &str {
    tag.get("name").and_then(Node::as_str).unwrap_or_default()
}

/// Returns the HTTP method of a path item's member, for display.
fn shown(member: &str) -> String {
    match member.strip_prefix("x-") {
        Some("any") => "*".to_owned(),
        Some(other) => other.to_uppercase(),
        None => member.to_uppercase(),
    }
}

/// Returns an id for a tag.
fn slug(tag: &str) -> String {
    let word = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    format!("tag-{}", tag.chars().map(word).collect::<String>())
}

fn navigation(tags: &[&Object], operations: &[OperationRef<'_>]) -> String {
    let mut html = String::new();
    for tag in tags {
        let name = name(tag);
        html.push_str(&format!(
            "<p><a href=\"#{}\">{}</a></p>\n<ul>\n",
            slug(name),
            escape(name)
        ));
        for operation in own(operations, name) {
            html.push_str(&format!(
                "<li><a href=\"#{}\"><span class=\"method {method}\">{upper}</span> {}</a></li>\n",
                escape(operation.text("operationId")),
                escape(operation.path),
                method = operation.method,
                upper = escape(&shown(operation.method)),
            ));
        }
        html.push_str("</ul>\n");
    }
    html.push_str("<p><a href=\"#schemas\">Schemas</a></p>\n");
    html
}

fn authentication(components: &Object) -> String {
    let schemes = components.get("securitySchemes").and_then(Node::as_object);
    let rows: String = schemes
        .into_iter()
        .flat_map(Object::iter)
        .map(|(name, scheme)| {
            let text = |name: &str| scheme.get(name).and_then(Node::as_str).unwrap_or_default();
            format!(
                "<dt id=\"auth-{name}\"><code>{name}</code></dt>\n<dd>{} Sent as \
                 <code>Authorization: Bearer {}</code>.</dd>\n",
                line(text("description")),
                escape(text("bearerFormat")),
                name = escape(name),
            )
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("<section id=\"tokens\">\n<h2>Tokens</h2>\n<dl>\n{rows}</dl>\n</section>\n")
}

fn sections(
    tags: &[&Object],
    operations: &[OperationRef<'_>],
    resolver: &Resolver<'_>,
) -> Option<String> {
    let mut html = String::new();
    for tag in tags {
        let name = name(tag);
        let about = tag
            .get("description")
            .and_then(Node::as_str)
            .unwrap_or_default();
        html.push_str(&format!(
            "<section class=\"tag\" id=\"{}\">\n<h2>{}</h2>\n{}",
            slug(name),
            escape(name),
            blocks(about)
        ));
        for operation in own(operations, name) {
            let further = further(operations, operation.text("operationId"));
            html.push_str(&operation::operation(resolver, operation, &further)?);
        }
        html.push_str("</section>\n");
    }
    Some(html)
}

fn schemas(components: &Object) -> String {
    let schemas = components.get("schemas").and_then(Node::as_object);
    let all = schemas.into_iter().flat_map(Object::iter);
    all.filter_map(|(name, schema)| Some(schema::component(name, schema.as_object()?)))
        .collect()
}
