//! Conversion of query parameters.

use serde_json::{Value, json};

use crate::support::{call, call_on, echoed, request};
use keyward_gateway_testserver::Probe;

async fn table(cases: &[(&str, Value)]) {
    for (query, expected) in cases {
        assert_eq!(
            echoed(&format!("GET /query?{query}"), "").await,
            *expected,
            "{query}"
        );
    }
}

/// Expects the status and message, and the field that the details name.
async fn rejected(line: &str, message: &str, field: &str) {
    let answer = call(line, "").await;
    assert_eq!(answer.rejection(), format!("400 {message}"), "{line}");
    assert_eq!(answer.field().unwrap_or_default(), field, "{line}");
    let json = answer.json();
    assert_eq!(json["error"]["status"], "INVALID_ARGUMENT", "{line}");
    assert_eq!(
        json["error"]["details"][0]["reason"], "PARAMETER_MALFORMED",
        "{line}"
    );
}

#[tokio::test]
async fn every_scalar() {
    table(&[
        (
            "aDouble=1.5&aFloat=-2.5",
            json!({"aDouble": 1.5, "aFloat": -2.5}),
        ),
        ("aDouble=1e3", json!({"aDouble": 1000.0})),
        ("aDouble=NaN", json!({"aDouble": "NaN"})),
        ("aDouble=-Infinity", json!({"aDouble": "-Infinity"})),
        (
            "anInt32=-1&anInt64=-9223372036854775808",
            json!({"anInt32": -1, "anInt64": "-9223372036854775808"}),
        ),
        (
            "aUint32=4294967295&aUint64=18446744073709551615",
            json!({"aUint32": 4294967295_u32, "aUint64": "18446744073709551615"}),
        ),
        (
            "aSint32=-3&aSint64=-4",
            json!({"aSint32": -3, "aSint64": "-4"}),
        ),
        (
            "aFixed32=5&aFixed64=6",
            json!({"aFixed32": 5, "aFixed64": "6"}),
        ),
        (
            "aSfixed32=-7&aSfixed64=-8",
            json!({"aSfixed32": -7, "aSfixed64": "-8"}),
        ),
        (
            "aBool=true&aString=x&aBytes=AQI=",
            json!({"aBool": true, "aString": "x", "aBytes": "AQI="}),
        ),
        // Either alphabet, as in a JSON body; Go's and C++'s parsers accept both.
        ("aBytes=-_8", json!({"aBytes": "+/8="})),
        ("aColor=COLOR_RED", json!({"aColor": "COLOR_RED"})),
        ("aColor=2", json!({"aColor": "COLOR_BLUE"})),
        // proto3's enums are open: ProtoJSON accepts a number without a name. grpc-gateway accepts
        // it in a body but not in a query; this gateway treats both alike.
        ("aColor=7", json!({"aColor": 7})),
        // Presence.
        ("maybeInt32=0", json!({"maybeInt32": 0})),
        ("maybeString=", json!({"maybeString": ""})),
        (
            "maybeBool=false&maybeColor=COLOR_UNSPECIFIED",
            json!({"maybeBool": false, "maybeColor": "COLOR_UNSPECIFIED"}),
        ),
    ])
    .await;
}

#[tokio::test]
async fn names() {
    table(&[
        // The name in JSON and the name in the proto file, as in Envoy and grpc-gateway.
        ("a_string=x", json!({"aString": "x"})),
        ("other-name=x", json!({"other-name": "x"})),
        ("renamed=x", json!({"other-name": "x"})),
        // An unknown parameter is ignored. Envoy rejects it unless
        // `ignore_unknown_query_parameters` is set; grpc-gateway ignores it. Like grpc-gateway:
        // links often gain parameters.
        (
            "unknown=1&nested.unknown=2&aString.x=3&utm_source=mail",
            json!({}),
        ),
        ("=1&&x&=", json!({})),
        // Names are case-sensitive.
        ("astring=x", json!({})),
        ("%61String=x", json!({"aString": "x"})),
    ])
    .await;
}

#[tokio::test]
async fn texts() {
    table(&[
        // A plus is a space, as in HTML forms: grpc-gateway's `net/url` does so, Envoy only with
        // `query_param_unescape_plus`. Like grpc-gateway, since `URLSearchParams` writes it.
        ("aString=a+b%2Bc%26", json!({"aString": "a b+c&"})),
        ("aString=a=b", json!({"aString": "a=b"})),
        ("aString=a;b", json!({"aString": "a;b"})),
        // Without `=` the value is empty, as in `net/url`; Envoy drops it.
        ("maybeString", json!({"maybeString": ""})),
        ("aString=%C3%A4", json!({"aString": "ä"})),
        // Texts are not JSON.
        ("aString=%22x%22", json!({"aString": "\"x\""})),
        ("aString=null", json!({"aString": "null"})),
    ])
    .await;
}

#[tokio::test]
async fn repeated_fields() {
    table(&[
        (
            "numbers=1&numbers=-2&numbers=3",
            json!({"numbers": ["1", "-2", "3"]}),
        ),
        (
            "strings=b&aString=x&strings=a&strings=",
            json!({"aString": "x", "strings": ["b", "a", ""]}),
        ),
        ("flags=true&flags=false", json!({"flags": [true, false]})),
        (
            "colors=COLOR_BLUE&colors=1",
            json!({"colors": ["COLOR_BLUE", "COLOR_RED"]}),
        ),
        ("doubles=1&doubles=2.5", json!({"doubles": [1.0, 2.5]})),
        ("blobs=AQ==&blobs=Ag", json!({"blobs": ["AQ==", "Ag=="]})),
        (
            "times=1970-01-01T00:00:01Z&times=1970-01-01T00:00:02Z",
            json!({"times": ["1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z"]}),
        ),
        // A comma is not a separator, as in Envoy and grpc-gateway.
        ("strings=a,b", json!({"strings": ["a,b"]})),
        // http.proto: a repeated message is not a parameter, nor is a map. grpc-gateway has
        // `labels[key]=value`; Envoy does not. Like http.proto.
        ("nesteds=x&nesteds.text=y&labels=z&labels.a=b", json!({})),
        ("labels[a]=b&labels%5Ba%5D=b", json!({})),
    ])
    .await;
}

#[tokio::test]
async fn fields_of_fields() {
    let nested = |text: &str| {
        json!({"nested": {
            "text": text, "bigNumber": "0", "tags": [], "color": "COLOR_UNSPECIFIED", "labels": {}
        }})
    };
    table(&[
        ("nested.text=x", nested("x")),
        (
            "choice_nested.text=x",
            json!({"choiceNested": nested("x")["nested"]}),
        ),
        // A message is not a parameter itself: only its fields are.
        ("nested=x", json!({})),
        ("nested.labels=x", json!({})),
    ])
    .await;
    let all = echoed(
        "GET /query?nested.big_number=5&nested.tags=a&nested.tags=b&nested.color=COLOR_RED\
         &nested.seenAt=1970-01-01T00:00:00Z&nested.nested.maybe=false&nested.nested.nested.text=deep",
        "",
    )
    .await;
    assert_eq!(all["nested"]["bigNumber"], "5");
    assert_eq!(all["nested"]["tags"], json!(["a", "b"]));
    assert_eq!(all["nested"]["color"], "COLOR_RED");
    assert_eq!(all["nested"]["seenAt"], "1970-01-01T00:00:00Z");
    assert_eq!(all["nested"]["nested"]["maybe"], false);
    assert_eq!(all["nested"]["nested"]["nested"]["text"], "deep");
}

#[tokio::test]
async fn well_known_types() {
    table(&[
        (
            "timestamp=2024-03-08T13:00:00.5%2B01:00",
            json!({"timestamp": "2024-03-08T12:00:00.500Z"}),
        ),
        // ProtoJSON's form, as in Envoy; grpc-gateway accepts Go's own, such as `1h`.
        ("duration=-1.5s", json!({"duration": "-1.500s"})),
        (
            "mask=aString,nested.bigNumber",
            json!({"mask": "aString,nested.bigNumber"}),
        ),
        // Wrappers have the form of the wrapped value.
        (
            "doubleValue=0&floatValue=1.5",
            json!({"doubleValue": 0.0, "floatValue": 1.5}),
        ),
        (
            "int64Value=0&uint64Value=1",
            json!({"int64Value": "0", "uint64Value": "1"}),
        ),
        (
            "int32Value=-1&uint32Value=0",
            json!({"int32Value": -1, "uint32Value": 0}),
        ),
        (
            "boolValue=false&stringValue=",
            json!({"boolValue": false, "stringValue": ""}),
        ),
        ("bytesValue=AQ==", json!({"bytesValue": "AQ=="})),
        ("choiceDuration=1s", json!({"choiceDuration": "1s"})),
    ])
    .await;
}

#[tokio::test]
async fn a_malformed_parameter_is_named_and_not_repeated() {
    for (query, message, field) in [
        (
            "anInt32=s3cr3t",
            "`anInt32` must be a 32-bit integer",
            "anInt32",
        ),
        ("anInt32=", "`anInt32` must be a 32-bit integer", "anInt32"),
        (
            "anInt32=2147483648",
            "`anInt32` must be a 32-bit integer",
            "anInt32",
        ),
        (
            "an_int32=1.5",
            "`anInt32` must be a 32-bit integer",
            "anInt32",
        ),
        (
            "aUint64=-1",
            "`aUint64` must be an unsigned 64-bit integer",
            "aUint64",
        ),
        ("aBool=1", "`aBool` must be true or false", "aBool"),
        // grpc-gateway's ParseBool accepts `1`, `t` and `TRUE`. ProtoJSON and Envoy reject them.
        ("aBool=TRUE", "`aBool` must be true or false", "aBool"),
        ("aDouble=x", "`aDouble` must be a number", "aDouble"),
        ("aFloat=1e39", "`aFloat` must be a 32-bit number", "aFloat"),
        ("aBytes=!", "`aBytes` must be a base64 string", "aBytes"),
        (
            "aColor=RED",
            "`aColor` must be one of COLOR_RED, COLOR_BLUE",
            "aColor",
        ),
        (
            "nested.bigNumber=x",
            "`nested.bigNumber` must be a 64-bit integer",
            "nested.bigNumber",
        ),
        (
            "aString=%ff",
            "`aString` must be percent-encoded UTF-8",
            "aString",
        ),
        (
            "nested.text=%zz",
            "`nested.text` must be percent-encoded UTF-8",
            "nested.text",
        ),
    ] {
        rejected(&format!("GET /query?{query}"), message, field).await;
    }
    let answer = call("GET /query?numbers=1&numbers=s3cr3t", "").await;
    assert_eq!(answer.status, 400);
    assert!(answer.rejection().contains("numbers") && !answer.text().contains("s3cr3t"));
    let answer = call("GET /query?timestamp=s3cr3t", "").await;
    assert!(
        answer.rejection().starts_with("400 `timestamp` must be "),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_scalar_is_given_once() {
    // So in grpc-gateway; in Envoy the last value takes precedence, and the intended value is
    // ambiguous.
    let once = |field: &str| format!("`{field}` must be given once");
    for (query, field) in [
        ("aString=a&aString=a", "aString"),
        ("aString=a&a_string=b", "aString"),
        ("maybeInt32=1&maybeInt32=2", "maybeInt32"),
        ("nested.text=a&nested.text=b", "nested.text"),
        ("int64Value=1&int64Value=1", "int64Value"),
        ("duration=1s&duration=1s", "duration"),
    ] {
        rejected(&format!("GET /query?{query}"), &once(field), field).await;
    }
}

#[tokio::test]
async fn a_oneof_has_one_member() {
    // So in grpc-gateway: "field already set for oneof".
    let answer = call("GET /query?choiceText=a&choiceNumber=1", "").await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.rejection().contains("oneof"), "{}", answer.text());
}

#[tokio::test]
async fn the_path_wins_over_the_query() {
    for query in [
        "aString=other&nested.text=other",
        "a_string=a&a_string=b&nested.text=b",
    ] {
        let echoed = echoed(&format!("GET /query/x/y?{query}&nested.bigNumber=5"), "").await;
        assert_eq!(echoed["aString"], "x", "{query}");
        assert_eq!(echoed["nested"]["text"], "y", "{query}");
        assert_eq!(echoed["nested"]["bigNumber"], "5", "{query}");
    }
    // Also for a oneof.
    let echoed = echoed("GET /path/choice/5?choiceText=x", "").await;
    assert_eq!(echoed, json!({"choiceNumber": 5}));
}

#[tokio::test]
async fn an_unknown_parameter_is_named_with_the_nearest() {
    let router = Probe::default()
        .rest()
        .reject_unknown_members()
        .build()
        .unwrap();
    let long = "x".repeat(100);
    for (query, message, field) in [
        (
            "a_strng=1",
            "`a_strng` is not a known query parameter; did you mean `aString`?",
            "a_strng",
        ),
        (
            "nested.txt=1",
            "`nested.txt` is not a known query parameter; did you mean `nested.text`?",
            "nested.txt",
        ),
        ("zzz=s3cr3t", "`zzz` is not a known query parameter", "zzz"),
        ("x", "`x` is not a known query parameter", "x"),
        (
            "nested=1",
            "`nested` must not be given in the query",
            "nested",
        ),
        (
            "labels=1",
            "`labels` must not be given in the query",
            "labels",
        ),
        ("=1", "The query must have no unknown parameters", ""),
        (
            "%00%E2%80%8B=1",
            "The query must have no unknown parameters",
            "",
        ),
        (
            long.as_str(),
            &format!("`{}...` is not a known query parameter", "x".repeat(12)),
            &format!("{}...", "x".repeat(12)),
        ),
    ] {
        let answer = call_on(&router, request(&format!("GET /query?{query}"), "")).await;
        assert_eq!(answer.rejection(), format!("400 {message}"), "{query}");
        assert_eq!(answer.field().unwrap_or_default(), field, "{query}");
        assert!(!answer.text().contains("s3cr3t"), "{query}");
    }
    let answer = call_on(&router, request("GET /query?a_strng=1", "")).await;
    let metadata = &answer.json()["error"]["details"][0]["metadata"];
    assert_eq!(*metadata, json!({"field": "a_strng", "nearest": "aString"}));
    for query in ["", "aString=x&", "&"] {
        let answer = call_on(&router, request(&format!("GET /query?{query}"), "")).await;
        assert_eq!(answer.status, 200, "{query}");
    }
}

#[tokio::test]
async fn a_parameter_of_the_bodys_field_is_rejected() {
    // It would have no effect: the body is complete.
    let router = Probe::default()
        .rest()
        .reject_unknown_members()
        .build()
        .unwrap();
    for (line, message) in [
        (
            "POST /body?anInt32=1",
            "400 `anInt32` must be given in the body and not in the query",
        ),
        (
            "POST /body?anInt33=1",
            "400 `anInt33` is not a known query parameter; did you mean `anInt32`?",
        ),
        (
            "POST /field/nested?nested.text=x",
            "400 `nested.text` must be given in the body and not in the query",
        ),
    ] {
        let answer = call_on(&router, request(line, "{}")).await;
        assert_eq!(answer.rejection(), message, "{line}");
    }
    // The path takes precedence over the query.
    for line in ["PUT /body/x/y?aString=z", "POST /field/nested?aString=x"] {
        assert_eq!(
            call_on(&router, request(line, "{}")).await.status,
            200,
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_malformed_escape_anywhere_is_rejected() {
    let message = "400 The query must be percent-encoded UTF-8";
    for line in [
        "GET /query?%zz=1",
        "GET /query?unknown=%zz",
        "GET /query?unknown=%ff",
        "GET /query?a%=1",
        "POST /body?x=%2",
    ] {
        assert_eq!(call(line, "{}").await.rejection(), message, "{line}");
    }
    let answer = call("GET /query/x/y?nested.text=%ff", "").await;
    assert_eq!(
        answer.rejection(),
        "400 `nested.text` must be percent-encoded UTF-8"
    );
    let answer = call("GET /p/%zz", "").await;
    assert_eq!(
        answer.rejection(),
        "400 The path must be percent-encoded UTF-8"
    );
}

#[tokio::test]
async fn a_parameter_may_not_lie_too_deep() {
    let path = vec!["nested"; 9_000].join(".");
    let echoed = echoed(&format!("GET /query?{path}.text=x"), "").await;
    assert_eq!(echoed, json!({}));
}
