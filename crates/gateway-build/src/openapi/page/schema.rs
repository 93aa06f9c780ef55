//! Schemas as HTML: a table of members, and the limits of each in words.

use super::super::node::{Node, Object};
use super::text::{blocks, escape};

/// Pattern that the page describes in words.
const NO_CONTROL_CHARACTERS: &str = r"^[^\x00-\x1F\x7F-\x9F]*$";
const SCHEMAS: &str = "#/components/schemas/";

/// Returns the table of an object's members, with a mark for required members; empty without
/// members.
pub(super) fn members(schema: &Object, must: &str) -> String {
    let Some(properties) = schema.get("properties").and_then(Node::as_object) else {
        return String::new();
    };
    let required = schema
        .get("required")
        .and_then(Node::as_list)
        .unwrap_or_default();
    let rows: String = properties
        .iter()
        .filter_map(|(name, member)| Some((name, member.as_object()?)))
        .map(|(name, member)| {
            let is_required = required.iter().any(|other| other.as_str() == Some(name));
            let must = if is_required { must } else { "" };
            row(name, must, member, member)
        })
        .collect();
    table("Member", &rows)
}

/// Returns a table with one name per row.
pub(super) fn table(what: &str, rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\">{what}</th>\
         <th scope=\"col\">Type</th><th scope=\"col\">Meaning</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// Returns a row of such a table. The description is in `about`, the type in `schema`.
pub(super) fn row(name: &str, must: &str, about: &Object, schema: &Object) -> String {
    let mark = match must {
        "" => String::new(),
        must => format!(" <span class=\"required\">{must}</span>"),
    };
    let deprecated = match about.get("deprecated") {
        Some(Node::Bool(true)) => " <span class=\"deprecated\">deprecated</span>",
        _ => "",
    };
    let said = about
        .get("description")
        .and_then(Node::as_str)
        .unwrap_or_default();
    let limits = limits(schema);
    let limits = if limits.is_empty() {
        String::new()
    } else {
        format!("<p class=\"limits\">{}</p>\n", limits.join("; "))
    };
    format!(
        "<tr><th scope=\"row\"><code>{}</code>{mark}{deprecated}</th><td>{}</td><td>{}{limits}</td></tr>\n",
        escape(name),
        kind(schema),
        blocks(said),
    )
}

/// Returns the type of a value in a few words.
pub(super) fn kind(schema: &Object) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Node::as_str) {
        let name = escape(reference.trim_start_matches(SCHEMAS));
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for joined in ["anyOf", "oneOf", "allOf"] {
        let parts = schema
            .get(joined)
            .and_then(Node::as_list)
            .unwrap_or_default();
        let parts = parts.iter().filter_map(Node::as_object);
        let kinds: Vec<String> = parts.map(kind).filter(|kind| !kind.is_empty()).collect();
        if !kinds.is_empty() && schema.get("type").is_none() {
            return kinds.join(if joined == "allOf" { " and " } else { " or " });
        }
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Node::Text(one)) => vec![one],
        Some(Node::List(several)) => several.iter().filter_map(Node::as_str).collect(),
        _ if schema.get("enum").is_some() || schema.get("const").is_some() => vec!["value"],
        _ if schema.is_empty() => vec!["any"],
        _ => return String::new(),
    };
    let format = schema.get("format").and_then(Node::as_str);
    let format = format.map(|format| format!(" ({})", escape(format)));
    let inner = |name: &str| schema.get(name).and_then(Node::as_object).map(kind);
    let words: Vec<String> = types
        .into_iter()
        .map(
            |word| match (word, inner("items"), inner("additionalProperties")) {
                ("array", Some(items), _) => format!("array of {items}"),
                ("object", _, Some(values)) => format!("map to {values}"),
                (word, _, _) => escape(word),
            },
        )
        .collect();
    format!("{}{}", words.join(" or "), format.unwrap_or_default())
}

/// Returns the constraints of a value, each in a few words.
fn limits(schema: &Object) -> Vec<String> {
    let mut found = Vec::new();
    let number = |name: &str| schema.get(name).map(Node::compact);
    if let Some(value) = schema.get("const") {
        found.push(format!("always {}", value_text(value)));
    }
    let rejected = schema.get("not").and_then(Node::as_object);
    for (schema, words) in [(Some(schema), "one of"), (rejected, "not")] {
        let values = schema.map(values).unwrap_or_default();
        if !values.is_empty() {
            found.push(format!("{words} {}", values.join(", ")));
        }
    }
    for (name, before, after) in [
        ("minLength", "at least", " characters"),
        ("maxLength", "at most", " characters"),
        ("minimum", "from", ""),
        ("maximum", "to", ""),
        ("minItems", "at least", " items"),
        ("maxItems", "at most", " items"),
    ] {
        if let Some(bound) = number(name) {
            let after = if bound == "1" {
                after.trim_end_matches('s')
            } else {
                after
            };
            found.push(format!("{before} {bound}{after}"));
        }
    }
    let pattern = schema.get("pattern").and_then(Node::as_str);
    if pattern == Some(NO_CONTROL_CHARACTERS) {
        found.push("no control characters".to_owned());
    }
    // A format implies its pattern and more.
    let has_format = schema.get("format").is_some();
    let is_short = |pattern: &&str| !has_format && pattern.len() <= 60;
    let pattern = pattern.filter(|pattern| *pattern != NO_CONTROL_CHARACTERS);
    if let Some(pattern) = pattern.filter(is_short) {
        found.push(format!("matches <code>{}</code>", escape(pattern)));
    }
    if let Some(examples) = schema.get("examples").and_then(Node::as_list)
        && schema.get("const").is_none()
    {
        let short = examples
            .iter()
            .map(value_text)
            .filter(|text| text.len() <= 120);
        found.extend(short.take(1).map(|text| format!("such as {text}")));
    }
    found
}

/// Returns the values of an enum, which may have one schema per type.
fn values(schema: &Object) -> Vec<String> {
    let list = |schema: &Object, name| match schema.get(name) {
        Some(Node::List(list)) => list.clone(),
        _ => Vec::new(),
    };
    let own = list(schema, "enum");
    let parts = list(schema, "anyOf");
    let of_parts = parts.iter().filter_map(Node::as_object);
    let of_parts = of_parts.flat_map(|part| list(part, "enum"));
    own.into_iter()
        .chain(of_parts)
        .map(|value| value_text(&value))
        .collect()
}

fn value_text(value: &Node) -> String {
    format!("<code>{}</code>", escape(&value.compact()))
}

/// Renders a component with its members or its values.
pub(super) fn component(name: &str, schema: &Object) -> String {
    let said = schema
        .get("description")
        .and_then(Node::as_str)
        .unwrap_or_default();
    let mut html = format!(
        "<section class=\"schema\" id=\"schema-{name}\">\n<h3><code>{name}</code></h3>\n{}",
        blocks(said),
        name = escape(name),
    );
    let members = members(schema, "required");
    if members.is_empty() {
        let limits = limits(schema).join("; ");
        let kind = kind(schema);
        let gap = if limits.is_empty() { "" } else { ": " };
        html.push_str(&format!("<p>{kind}{gap}{limits}</p>\n"));
    } else {
        html.push_str(&members);
    }
    html.push_str("</section>\n");
    html
}
