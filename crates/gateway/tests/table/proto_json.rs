//! Conversion of JSON values in both directions. `tests/gateway/conformance` has the protobuf project's own
//! cases; these are the cases that clients of a route use.

use serde_json::{Value, json};

use crate::support::{call, echoed};

/// Compares the responses with the expected ones.
async fn table(cases: &[(&str, Value)]) {
    for (body, expected) in cases {
        assert_eq!(echoed("POST /body", body).await, *expected, "{body}");
    }
}

/// Expects rejections, and the field in each error.
async fn rejected(cases: &[(&str, &str)]) {
    for (body, field) in cases {
        let answer = call("POST /body", body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert_eq!(answer.field().unwrap_or_default(), *field, "{body}");
    }
}

#[tokio::test]
async fn names() {
    table(&[
        // Parsers accept both names; the JSON name is written.
        (r#"{"aString":"x"}"#, json!({"aString": "x"})),
        (r#"{"a_string":"x"}"#, json!({"aString": "x"})),
        (r#"{"other-name":"x"}"#, json!({"other-name": "x"})),
        (r#"{"renamed":"x"}"#, json!({"other-name": "x"})),
        // The default name is unknown if `json_name` sets another.
        (r#"{"otherName":"x"}"#, json!({})),
        (r#"{"AString":"x","astring":"y"}"#, json!({})),
        (
            r#"{"\u0061String":"\u00e4\ud83d\ude00"}"#,
            json!({"aString": "ä😀"}),
        ),
    ])
    .await;
    // Given twice, under any name: ProtoJSON leaves it open; Envoy and grpc-gateway's protojson
    // reject it too.
    rejected(&[
        (r#"{"aString":"x","aString":"x"}"#, "aString"),
        (r#"{"aString":"x","a_string":"x"}"#, "aString"),
    ])
    .await;
}

#[tokio::test]
async fn integers() {
    table(&[
        (
            r#"{"anInt32":-2147483648}"#,
            json!({"anInt32": -2_147_483_648_i64}),
        ),
        // 64-bit integers are strings; numbers are accepted too.
        (
            r#"{"anInt64":"9007199254740993"}"#,
            json!({"anInt64": "9007199254740993"}),
        ),
        (
            r#"{"anInt64":9007199254740993}"#,
            json!({"anInt64": "9007199254740993"}),
        ),
        (
            r#"{"aUint64":18446744073709551615}"#,
            json!({"aUint64": "18446744073709551615"}),
        ),
        (
            r#"{"aFixed64":"18446744073709551615"}"#,
            json!({"aFixed64": "18446744073709551615"}),
        ),
        // A whole number may be written as any JSON number, and 32 bits as strings.
        (r#"{"anInt32":1e3}"#, json!({"anInt32": 1000})),
        (r#"{"anInt32":"5"}"#, json!({"anInt32": 5})),
        (r#"{"anInt32":5.0}"#, json!({"anInt32": 5})),
        (r#"{"anInt64":"-0"}"#, json!({})),
    ])
    .await;
    rejected(&[
        (r#"{"anInt32":2147483648}"#, "anInt32"),
        (r#"{"anInt32":0.5}"#, "anInt32"),
        (r#"{"anInt32":" 5"}"#, "anInt32"),
        (r#"{"anInt32":""}"#, "anInt32"),
        (r#"{"anInt32":true}"#, "anInt32"),
        (r#"{"aUint32":-1}"#, "aUint32"),
        (r#"{"anInt64":9223372036854775808}"#, "anInt64"),
        (r#"{"aUint64":"18446744073709551616"}"#, "aUint64"),
    ])
    .await;
}

#[tokio::test]
async fn floats() {
    table(&[
        (
            r#"{"aDouble":1.5,"aFloat":"2.5"}"#,
            json!({"aDouble": 1.5, "aFloat": 2.5}),
        ),
        (r#"{"aDouble":"NaN"}"#, json!({"aDouble": "NaN"})),
        (
            r#"{"aDouble":"Infinity","aFloat":"-Infinity"}"#,
            json!({"aDouble": "Infinity", "aFloat": "-Infinity"}),
        ),
        (
            r#"{"aFloat":3.4028235e38}"#,
            json!({"aFloat": 3.402_823_5e38}),
        ),
    ])
    .await;
    rejected(&[
        (r#"{"aDouble":"inf"}"#, "aDouble"),
        (r#"{"aDouble":"nan"}"#, "aDouble"),
        (r#"{"aDouble":""}"#, "aDouble"),
        (r#"{"aFloat":1e39}"#, "aFloat"),
        (r#"{"aDouble":true}"#, "aDouble"),
    ])
    .await;
    assert_eq!(call("POST /body", r#"{"aDouble":NaN}"#).await.status, 400);
    assert_eq!(call("POST /body", r#"{"aDouble":1e999}"#).await.status, 400);
}

#[tokio::test]
async fn booleans_strings_bytes_and_enums() {
    table(&[
        (r#"{"aBool":true}"#, json!({"aBool": true})),
        // base64 in both alphabets, padded or not; padded standard is written.
        (r#"{"aBytes":"+/8="}"#, json!({"aBytes": "+/8="})),
        (r#"{"aBytes":"-_8"}"#, json!({"aBytes": "+/8="})),
        (r#"{"aColor":"COLOR_RED"}"#, json!({"aColor": "COLOR_RED"})),
        (r#"{"aColor":2}"#, json!({"aColor": "COLOR_BLUE"})),
        (r#"{"aColor":-7}"#, json!({"aColor": -7})),
    ])
    .await;
    rejected(&[
        (r#"{"aBool":"true"}"#, "aBool"),
        (r#"{"aBool":1}"#, "aBool"),
        (r#"{"aString":5}"#, "aString"),
        (r#"{"aBytes":"*"}"#, "aBytes"),
        (r#"{"aColor":"RED"}"#, "aColor"),
        (r#"{"aColor":"color_red"}"#, "aColor"),
        (r#"{"aColor":1.5}"#, "aColor"),
    ])
    .await;
}

#[tokio::test]
async fn presence_and_null() {
    table(&[
        // A field with presence is written when it is set, to any value.
        (
            r#"{"maybeInt32":0,"maybeString":"","maybeBool":false,"maybeColor":0}"#,
            json!({"maybeInt32": 0, "maybeString": "", "maybeBool": false, "maybeColor": "COLOR_UNSPECIFIED"}),
        ),
        // null is treated as absent, for every kind.
        (
            r#"{"anInt32":null,"aString":null,"maybeInt32":null,"nested":null,"numbers":null,"labels":null,
               "timestamp":null,"boolValue":null,"choiceText":null,"any":null,"struct":null,"list":null,"aColor":null}"#,
            json!({}),
        ),
        // Except if it is a value.
        (r#"{"value":null}"#, json!({"value": null})),
        (r#"{"choiceNull":null}"#, json!({"choiceNull": null})),
    ])
    .await;
    rejected(&[
        (r#"{"numbers":[null]}"#, "numbers[0]"),
        (r#"{"nesteds":[null]}"#, "nesteds[0]"),
    ])
    .await;
    // A field without presence is always written, so that clients see it.
    let all = call("POST /body", "{}").await.json();
    for (name, value) in [
        ("aDouble", json!(0.0)),
        ("anInt64", json!("0")),
        ("aBool", json!(false)),
        ("aString", json!("")),
        ("aBytes", json!("")),
        ("aColor", json!("COLOR_UNSPECIFIED")),
        ("numbers", json!([])),
        ("labels", json!({})),
    ] {
        assert_eq!(all[name], value, "{name}");
    }
    for name in [
        "maybeInt32",
        "nested",
        "timestamp",
        "choiceText",
        "boolValue",
        "value",
    ] {
        assert!(!all.as_object().unwrap().contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn lists_maps_and_oneofs() {
    table(&[
        (
            r#"{"numbers":["1",2,3.0]}"#,
            json!({"numbers": ["1", "2", "3"]}),
        ),
        (
            r#"{"labels":{"b":"1","a":"2","":"3"}}"#,
            json!({"labels": {"b": "1", "a": "2", "": "3"}}),
        ),
        (
            r#"{"byFlag":{"true":"1","false":2}}"#,
            json!({"byFlag": {"true": "1", "false": "2"}}),
        ),
        (
            r#"{"byColor":{"x":"COLOR_RED","y":2}}"#,
            json!({"byColor": {"x": "COLOR_RED", "y": "COLOR_BLUE"}}),
        ),
        (r#"{"choiceText":""}"#, json!({"choiceText": ""})),
        (r#"{"choiceNumber":0}"#, json!({"choiceNumber": 0})),
        (
            r#"{"choiceDuration":"0s"}"#,
            json!({"choiceDuration": "0s"}),
        ),
        // null does not select a member of a oneof.
        (
            r#"{"choiceText":null,"choiceNumber":5}"#,
            json!({"choiceNumber": 5}),
        ),
        (
            r#"{"choiceNumber":5,"choiceText":null}"#,
            json!({"choiceNumber": 5}),
        ),
    ])
    .await;
    let echoed = echoed("POST /body", r#"{"byNumber":{"-5":{"text":"x"}}}"#).await;
    assert_eq!(echoed["byNumber"]["-5"]["text"], "x");
    rejected(&[
        (r#"{"numbers":1}"#, "numbers"),
        (r#"{"numbers":{}}"#, "numbers"),
        (r#"{"labels":[]}"#, "labels"),
        (r#"{"labels":{"a":"1","a":"2"}}"#, "labels"),
        (r#"{"byNumber":{"x":{}}}"#, "byNumber"),
        (r#"{"byFlag":{"TRUE":1}}"#, "byFlag"),
        (r#"{"labels":{"a":null}}"#, "labels[*]"),
        (r#"{"choiceText":"x","choiceNumber":5}"#, "choiceNumber"),
    ])
    .await;
}

#[tokio::test]
async fn well_known_types() {
    table(&[
        (
            r#"{"timestamp":"2024-03-08T13:00:00.123456789+01:00"}"#,
            json!({"timestamp": "2024-03-08T12:00:00.123456789Z"}),
        ),
        (
            r#"{"timestamp":"1969-12-31T23:59:59.5Z"}"#,
            json!({"timestamp": "1969-12-31T23:59:59.500Z"}),
        ),
        (r#"{"duration":"-0.5s"}"#, json!({"duration": "-0.500s"})),
        (r#"{"duration":"3s"}"#, json!({"duration": "3s"})),
        (
            r#"{"mask":"aString,nested.bigNumber"}"#,
            json!({"mask": "aString,nested.bigNumber"}),
        ),
        (r#"{"mask":""}"#, json!({"mask": ""})),
        (
            r#"{"struct":{"a":[1,"x",null,{"b":true}]}}"#,
            json!({"struct": {"a": [1, "x", null, {"b": true}]}}),
        ),
        (r#"{"list":[1,null]}"#, json!({"list": [1, null]})),
        (r#"{"value":"x"}"#, json!({"value": "x"})),
        (
            r#"{"int64Value":"0","stringValue":""}"#,
            json!({"int64Value": "0", "stringValue": ""}),
        ),
        (r#"{"bytesValue":"AQ=="}"#, json!({"bytesValue": "AQ=="})),
    ])
    .await;
    rejected(&[
        (r#"{"timestamp":"2024-03-08 13:00:00Z"}"#, "timestamp"),
        (r#"{"timestamp":"2024-02-30T00:00:00Z"}"#, "timestamp"),
        (r#"{"timestamp":"10000-01-01T00:00:00Z"}"#, "timestamp"),
        (r#"{"duration":"1"}"#, "duration"),
        (r#"{"duration":"315576000001s"}"#, "duration"),
        (r#"{"struct":[]}"#, "struct"),
        (r#"{"int64Value":"x"}"#, "int64Value"),
    ])
    .await;
}

#[tokio::test]
async fn any_of_a_registered_type() {
    table(&[
        (
            r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.5s"}}"#,
            json!({"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.500s"}}),
        ),
        // The type may come last, and the names are those of any message.
        (
            r#"{"any":{"big_number":"5","@type":"type.googleapis.com/probe.v1.OwnDetail"}}"#,
            json!({"any": {"@type": "type.googleapis.com/probe.v1.OwnDetail", "bigNumber": "5"}}),
        ),
    ])
    .await;
    for body in [
        r#"{"any":{"@type":"type.googleapis.com/probe.v1.Nowhere"}}"#,
        r#"{"any":{"bigNumber":"5"}}"#,
        r#"{"any":{"@type":"probe","@type":"probe"}}"#,
    ] {
        assert_eq!(call("POST /body", body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn deeply_nested_values_are_rejected() {
    let deep = |depth: usize| {
        let opened = r#"{"nested":"#.repeat(depth);
        format!("{opened}{{}}{}", "}".repeat(depth))
    };
    assert_eq!(call("POST /body", &deep(90)).await.status, 200);
    assert_eq!(call("POST /body", &deep(130)).await.status, 400);
    assert_eq!(call("POST /body", &deep(100_000)).await.status, 400);
    let lists = format!(
        r#"{{"value":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(call("POST /body", &lists).await.status, 400);
}

#[tokio::test]
async fn an_aliased_enum_value_has_its_first_name() {
    // Descriptor order, as in protobuf's own writers.
    for (sent, written) in [
        (r#""ALIAS_ALPHA""#, "ALIAS_ZETA"),
        (r#""ALIAS_ZETA""#, "ALIAS_ZETA"),
        ("1", "ALIAS_ZETA"),
        (r#""ALIAS_ZERO""#, "ALIAS_UNSPECIFIED"),
        (r#""second""#, "first"),
        (r#""ALIAS_NEW""#, "first"),
    ] {
        let answer = call("POST /awkward", &format!(r#"{{"alias":{sent}}}"#)).await;
        assert_eq!(answer.json()["alias"], written, "{sent}");
    }
}

#[tokio::test]
async fn messages_may_be_called_as_rusts_own_types() {
    let body = r#"{"box":{"text":"x"},"vec":[{"s":{"inner":{"text":"y"}}}],"some":{"text":"z"},
                   "results":{"a":{"ok":[{"default":{"a":{},"d":{}}}],"err":{"bytes":"AA=="}}}}"#;
    let answer = call("POST /awkward", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["vec"][0]["s"]["inner"]["text"], "y");
    assert_eq!(json["results"]["a"]["err"]["bytes"], "AA==");
    let rejected = call("POST /awkward", r#"{"box":{}}"#).await;
    assert_eq!(rejected.rejection(), "400 Text is required");
}

#[tokio::test]
async fn message_of_a_bundled_file_is_a_field_like_any_other() {
    let status = json!({
        "code": 5, "message": "Not found",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}],
    });
    let body = json!({"status": status, "retry": {"retryDelay": "1.500s"}});
    let answer = call("POST /awkward", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["status"], status);
    assert_eq!(answer.json()["retry"], body["retry"]);
}
