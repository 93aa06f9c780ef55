//! Query parameters whose text is JSON: `Struct`, `Value` and `ListValue`.

use serde_json::{Value, json};

use crate::support::{call, echoed};

#[tokio::test]
async fn structure_text_is_json() {
    // As in grpc-gateway; Envoy has no such parameters.
    for (query, expected) in [
        ("struct={}", json!({"struct": {}})),
        (
            "struct=%7B%22a%22:%5B1,null,%22x%22%5D%7D",
            json!({"struct": {"a": [1, null, "x"]}}),
        ),
        ("value=null", json!({"value": null})),
        ("value=true", json!({"value": true})),
        ("value=-1.5", json!({"value": -1.5})),
        ("value=%22x%22", json!({"value": "x"})),
        ("value=[1,{%22a%22:{}}]", json!({"value": [1, {"a": {}}]})),
        ("list=[]", json!({"list": []})),
        ("list=[[],null,1]", json!({"list": [[], null, 1]})),
        ("list=+[+1+]+&value=1", json!({"list": [1], "value": 1})),
    ] {
        assert_eq!(
            echoed(&format!("GET /query?{query}"), "").await,
            expected,
            "{query}"
        );
    }
}

#[tokio::test]
async fn any_other_text_is_rejected() {
    for (query, message, field) in [
        ("struct=", "`struct` must be an object", "struct"),
        ("struct=[]", "`struct` must be an object", "struct"),
        ("struct=null", "`struct` must be an object", "struct"),
        (
            "struct={%22a%22:1,%22a%22:2}",
            "`struct` must be an object",
            "struct",
        ),
        ("value=", "`value` must be JSON", "value"),
        ("value=x", "`value` must be JSON", "value"),
        ("value=NaN", "`value` must be JSON", "value"),
        ("value=1e999", "`value` must be JSON", "value"),
        ("value=1+2", "`value` must be JSON", "value"),
        ("value=%22%5Cud800%22", "`value` must be JSON", "value"),
        ("value=1&value=2", "`value` must be given once", "value"),
        (
            "struct={}&struct={}",
            "`struct` must be given once",
            "struct",
        ),
        ("list={}", "`list` must be an array", "list"),
        ("list=1,2", "`list` must be an array", "list"),
        ("list=[]&list=[]", "`list` must be given once", "list"),
    ] {
        let answer = call(&format!("GET /query?{query}"), "").await;
        assert_eq!(answer.rejection(), format!("400 {message}"), "{query}");
        assert_eq!(answer.field().as_deref(), Some(field), "{query}");
    }
}

#[tokio::test]
async fn accepted_value_survives_a_round_trip() {
    for (name, depth) in [
        ("value", 27),
        ("list", 27),
        ("value", 28),
        ("list", 127),
        ("list", 9000),
    ] {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let answer = call(&format!("GET /query?{name}={text}"), "").await;
        if depth > 27 {
            assert_eq!(answer.status, 400, "{name} {depth}");
        } else {
            let again: Value = answer.json();
            assert_eq!(again[name].to_string(), text);
        }
    }
}
