//! Independent, naive check of the fields that a PATCH changes.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use keyward_gateway::json::{JsonMessage, MemberKind, MessageInfo};
use keyward_gateway_testserver::v1::UpdateFlatRequest;
use serde_json::{Map, Value};

/// Checks that an accepted body is JSON, and that each known member in it is in the mask.
pub(crate) fn check(data: &[u8]) {
    let request = Request::patch("/flat/n")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(data)))
        .unwrap();
    let Some((status, answer)) = crate::call(request) else {
        return;
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let given = serde_json::from_slice::<Value>(data);
    let members = given.as_ref().ok().and_then(Value::as_object);
    let has_mask = |members: &Map<String, Value>| {
        let mut names = ["updateMask", "update_mask"].iter();
        names.any(|name| members.get(*name).is_some_and(|mask| !is_empty(mask)))
    };
    if status != 200 {
        // A mask from the client may have paths without a form in JSON.
        let is_known = matches!(status, 400 | 413);
        assert!(is_known || status == 500 && members.is_some_and(has_mask));
        return;
    }
    let Some(members) = members else {
        assert!(data.is_empty());
        return;
    };
    if !has_mask(members) {
        let mask = answer.get("updateMask").and_then(Value::as_str).unwrap();
        let mask: Vec<&str> = mask.split(',').collect();
        covered(UpdateFlatRequest::INFO, members, "", &mask);
    }
}

/// Returns true if a mask is empty.
fn is_empty(mask: &Value) -> bool {
    match mask.as_str() {
        Some(text) => text.split(',').all(str::is_empty),
        None => mask.is_null(),
    }
}

fn covered(info: &'static MessageInfo, members: &Map<String, Value>, outer: &str, mask: &[&str]) {
    for (name, value) in members {
        let known = info.members.iter().find(|member| {
            member.json_name == name || member.reads_proto_name && member.proto_name == name
        });
        // Fields in the URL's path identify the resource and are not changed.
        let Some(member) = known.filter(|member| !outer.is_empty() || !is_own(member.proto_name))
        else {
            continue;
        };
        let path = format!("{outer}{}", camel(member.proto_name));
        let below = format!("{path}.");
        let mut paths = mask.iter();
        assert!(
            paths.any(|named| *named == path || named.starts_with(&below)),
            "{path} is not in the mask"
        );
        if let (MemberKind::Message(inner), Value::Object(members)) = (member.kind, value) {
            covered(inner(), members, &below, mask);
        }
    }
}

fn is_own(name: &str) -> bool {
    matches!(name, "name" | "update_mask")
}

/// Returns `a_b` as `aB`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}
