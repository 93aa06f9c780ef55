//! The OpenAPI document is valid, its examples are valid, and `docs/openapi.json` is a copy of it. After an
//! intended change of the API, update the copy with
//! `UPDATE_GOLDEN=1 cargo test --test process docs::openapi`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use keyward::http::api_docs::OPENAPI;
use keyward::proto::METHODS;
use serde_json::{Value, json};

use crate::support::repository::root;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_slice(&OPENAPI.body).unwrap());

#[test]
fn copy_in_docs_is_the_document() {
    let path = root().join("docs/openapi.json");
    let document = std::str::from_utf8(&OPENAPI.body).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, document).unwrap();
    }
    let copy = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        copy == document,
        "docs/openapi.json differs from the document; see the top of this test's file"
    );
}

/// The schema of OpenAPI documents, in which schemas are those of JSON Schema 2020-12.
fn openapi_schema() -> Value {
    let path = root().join("crates/gateway-build/tests/openapi-3.1/schema.json");
    let published: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://keyward.test/openapi",
        "$ref": published["$id"],
        "$defs": {
            "published": published,
            "schema": {
                "$dynamicAnchor": "meta",
                "$ref": "https://json-schema.org/draft/2020-12/schema",
            },
        },
    })
}

#[test]
fn document_is_valid_openapi() {
    let validator = jsonschema::validator_for(&openapi_schema()).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&DOCUMENT)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn invalid_openapi_is_reported() {
    let validator = jsonschema::validator_for(&openapi_schema()).unwrap();
    for (pointer, wrong) in [
        ("/openapi", json!("3.0.3")),
        ("/paths/~1keys/get/parameters/0/in", json!("body")),
        ("/components/schemas/ApiKey/type", json!("struct")),
        (
            "/components/schemas/ApiKey/properties/id/maxLength",
            json!(-1),
        ),
    ] {
        let mut document = DOCUMENT.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[name] = wrong;
        assert!(!validator.is_valid(&document), "{pointer}");
    }
}

/// Expects that a value fits a schema of the document.
#[track_caller]
fn fits(schema: &Value, value: &Value, place: &str) {
    let schema = json!({"allOf": [schema], "components": DOCUMENT["components"]});
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    if let Err(error) = validator.validate(value) {
        panic!("{place}: {value}: {error}");
    }
}

/// Checks every example below a path, and returns the number of examples.
fn check_examples(node: &Value, place: &str) -> usize {
    let mut count = 0;
    match node {
        Value::Array(list) => {
            for (number, item) in list.iter().enumerate() {
                count += check_examples(item, &format!("{place}/{number}"));
            }
        }
        Value::Object(members) => {
            let schema = members.get("schema").unwrap_or(node);
            match members.get("examples") {
                Some(Value::Array(examples)) => {
                    examples
                        .iter()
                        .for_each(|example| fits(node, example, place));
                    count += examples.len();
                }
                Some(Value::Object(examples)) => {
                    let values = examples.values().map(|example| &example["value"]);
                    values.for_each(|value| fits(schema, value, place));
                    count += examples.len();
                }
                _ => {}
            }
            if let Some(example) = members.get("example") {
                fits(schema, example, place);
                count += 1;
            }
            let deeper = members
                .iter()
                .filter(|(name, _)| !name.starts_with("example"));
            count += deeper
                .map(|(name, inner)| check_examples(inner, &format!("{place}/{name}")))
                .sum::<usize>();
        }
        _ => {}
    }
    count
}

#[test]
fn every_example_fits_its_schema() {
    let count = check_examples(&DOCUMENT, "");
    assert!(count > 100, "{count} examples alone");
}

fn operations() -> Vec<(&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let operations = |(path, item): (&'static String, &'static Value)| {
        let item = item.as_object().unwrap();
        item.iter()
            .map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    };
    paths.iter().flat_map(operations).collect()
}

#[test]
fn every_operation_names_its_token_and_every_answer_has_a_body() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let place = format!("{method} {path}");
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{place}"
        );
        assert!(
            !operation["security"].as_array().unwrap().is_empty(),
            "{place}"
        );
        assert!(operation["summary"].is_string(), "{place}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = match response["$ref"].as_str() {
                Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap(),
                None => response,
            };
            let media = &response["content"]["application/json"];
            assert!(media["schema"].is_object(), "{place} {status}");
            let has_example = media["example"].is_object() || media["examples"].is_object();
            assert!(has_example, "{place} {status} has no example");
        }
    }
    assert_eq!(ids.len(), 22);
}

#[test]
fn methods_without_a_path_are_not_in_it() {
    let names: BTreeSet<_> = METHODS.iter().map(|spec| spec.method).collect();
    let ids = operations()
        .into_iter()
        .map(|(_, _, operation)| &operation["operationId"]);
    let described: BTreeSet<_> = ids
        .filter_map(|id| id.as_str()?.split('_').next())
        .collect();
    assert!(described.is_subset(&names), "{described:?}");
    assert_eq!(described.len(), 15);
    assert!(!described.contains("ResolveApiKey"));
}
