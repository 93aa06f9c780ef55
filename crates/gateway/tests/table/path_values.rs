//! Conversion of the values of path variables.

use serde_json::{Value, json};

use crate::support::{call, echoed};

#[tokio::test]
async fn every_kind_that_a_variable_can_set() {
    let cases: &[(&str, Value)] = &[
        ("/int/-5", json!({"anInt32": -5})),
        ("/path/double/1e3", json!({"aDouble": 1000.0})),
        ("/path/double/NaN", json!({"aDouble": "NaN"})),
        // grpc-gateway decodes base64 in paths too; Envoy passes the text to the parser that it
        // uses for bodies.
        ("/path/bytes/AQ==", json!({"aBytes": "AQ=="})),
        ("/path/bytes/-_8", json!({"aBytes": "+/8="})),
        ("/path/bytes/%2B%2F8", json!({"aBytes": "+/8="})),
        ("/path/bool/true", json!({"aBool": true})),
        ("/path/color/COLOR_RED", json!({"aColor": "COLOR_RED"})),
        ("/path/color/1", json!({"aColor": "COLOR_RED"})),
        // grpc-gateway rejects `optional` fields in a path at generation; Envoy accepts them. Like
        // Envoy: a path that matches sets them.
        ("/path/maybe/0", json!({"maybeInt32": 0})),
        (
            "/path/timestamp/1970-01-01T00:00:00Z",
            json!({"timestamp": "1970-01-01T00:00:00Z"}),
        ),
        ("/path/duration/3s", json!({"duration": "3s"})),
        (
            "/path/mask/aString,nested.text",
            json!({"mask": "aString,nested.text"}),
        ),
        ("/path/wrapped/0", json!({"int64Value": "0"})),
        ("/path/choice/0", json!({"choiceNumber": 0})),
        ("/path/multi/a/b/c", json!({"other-name": "a/b/c"})),
    ];
    for (path, expected) in cases {
        assert_eq!(
            echoed(&format!("GET {path}"), "").await,
            *expected,
            "{path}"
        );
    }
    let deep = echoed("GET /deep/x/5", "").await;
    assert_eq!(deep["nested"]["nested"]["text"], "x");
    assert_eq!(deep["nested"]["bigNumber"], "5");
}

#[tokio::test]
async fn mismatched_path_value_is_named_and_not_repeated() {
    // grpc-gateway and Envoy respond with 400 too: the path is known, its value is invalid.
    for (path, message) in [
        ("/int/s3cr3t", "`anInt32` must be a 32-bit integer"),
        ("/path/bool/s3cr3t", "`aBool` must be true or false"),
        (
            "/path/color/s3cr3t",
            "`aColor` must be one of COLOR_RED, COLOR_BLUE",
        ),
        (
            "/path/wrapped/s3cr3t",
            "`int64Value` must be a 64-bit integer",
        ),
        (
            "/deep/x/s3cr3t",
            "`nested.bigNumber` must be a 64-bit integer",
        ),
    ] {
        let answer = call(&format!("GET {path}"), "").await;
        assert_eq!(answer.rejection(), format!("400 {message}"), "{path}");
        assert!(message.contains(&answer.field().unwrap()), "{path}");
    }
}
