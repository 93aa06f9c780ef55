//! Masks of PATCH.

use serde_json::{Value, json};

use crate::support::call;

async fn patched(line: &str, body: &str) -> Value {
    let answer = call(line, body).await;
    assert_eq!(answer.status, 200, "{line} {body}: {}", answer.text());
    answer.json()
}

async fn mask(line: &str, body: &str) -> Value {
    patched(line, body).await["updateMask"].clone()
}

#[tokio::test]
async fn the_members_of_a_body_become_its_mask() {
    for (body, expected) in [
        ("", ""),
        ("{}", ""),
        // Names in the proto file, where they differ from those in JSON.
        (r#"{"limit":1.5}"#, "limitNanos"),
        // null is a change; ProtoJSON cannot distinguish it from absence, the mask can.
        (r#"{"limit":null}"#, "limitNanos"),
        // In the order of declaration.
        (r#"{"theNote":null,"limit":0}"#, "limitNanos,theNote"),
        (r#"{"the_note":""}"#, "theNote"),
        (r#"{"unknown":1,"limit_nanos":1}"#, ""),
        // Messages are descended into, as in grpc-gateway's FieldMaskFromRequestBody.
        (
            r#"{"author":{"text":"x","nested":{"bigNumber":1}}}"#,
            "author.text,author.nested.bigNumber",
        ),
        // Lists, maps, values with their own form and empty messages are changed as a whole.
        // grpc-gateway descends into `Struct` and `Value`, and omits empty messages; but a path
        // into a `Struct` names no field, and a present message is a change.
        (r#"{"author":{}}"#, "author"),
        (r#"{"author":null}"#, "author"),
        (
            r#"{"author":{"tags":["x"],"labels":{"a":"b"},"seenAt":"1970-01-01T00:00:00Z"}}"#,
            "author.tags,author.seenAt,author.labels",
        ),
    ] {
        assert_eq!(mask("PATCH /flat/n", body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn where_the_body_is_a_field_the_paths_begin_in_it() {
    // AIP-134, and `allow_patch_feature` of grpc-gateway.
    let line = "PATCH /v1/shelves/1/books/2";
    for (body, expected) in [
        ("", ""),
        (r#"{"title":"x"}"#, "title"),
        (
            r#"{"title":"x","author":{"text":"y"},"limit":1}"#,
            "title,author.text,limitNanos",
        ),
        (
            r#"{"tags":[],"labels":{},"length":"1s"}"#,
            "tags,labels,length",
        ),
        // The path identifies the book and changes nothing.
        (r#"{"name":"other","title":"x"}"#, "title"),
    ] {
        let echoed = patched(line, body).await;
        assert_eq!(echoed["updateMask"], expected, "{body}");
        assert_eq!(echoed["book"]["name"], "shelves/1/books/2");
    }
    // The body is the whole request.
    for (body, expected) in [
        (r#"{"book":{"title":"x"}}"#, "book.title"),
        (r#"{"book":{"name":"other"}}"#, ""),
        (
            r#"{"book":{"name":"other","title":"x"},"validateOnly":true}"#,
            "book.title,validateOnly",
        ),
        (r#"{"book":{"title":"x"},"updateMask":""}"#, "book.title"),
    ] {
        assert_eq!(mask("PATCH /v1/all/n", body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_mask_leaves_out_what_the_path_binds() {
    let body = r#"{"theNote":"b","name":"b","limit":1}"#;
    let echoed = patched("PATCH /flat/n", body).await;
    assert_eq!(echoed["updateMask"], "limitNanos,theNote");
    assert_eq!(echoed["name"], "n");
    let echoed = patched("PATCH /flat/n/p", body).await;
    assert_eq!(echoed["updateMask"], "limitNanos");
    assert_eq!(echoed["theNote"], "p");
}

#[tokio::test]
async fn a_mask_that_the_caller_gives_stays() {
    for (body, expected) in [
        (r#"{"limit":1,"updateMask":"theNote,spot"}"#, "theNote,spot"),
        // JSON names of the members, where these differ.
        (
            r#"{"limit":1,"updateMask":"limit,theNote,author.bigNumber"}"#,
            "limitNanos,theNote,author.bigNumber",
        ),
        // Verbatim, before lowerCamel is undone.
        (r#"{"updateMask":"URL,link"}"#, "link,link"),
        (
            r#"{"updateMask":"shelfMark,shelf_mark,place"}"#,
            "spot,shelfMark,shelfMark",
        ),
        (r#"{"updateMask":"*"}"#, "*"),
        // An empty or null mask is treated as absent.
        (r#"{"update_mask":"","limit":1}"#, "limitNanos"),
        (r#"{"limit":null,"updateMask":null}"#, "limitNanos"),
    ] {
        assert_eq!(mask("PATCH /flat/n", body).await, expected, "{body}");
    }
    let line = "PATCH /v1/shelves/1/books/2?updateMask=URL,author.bigNumber,labels.some_key";
    assert_eq!(
        mask(line, r#"{"title":"x"}"#).await,
        "link,author.bigNumber,labels.someKey"
    );
    let body = r#"{"updateMask":"book.URL,book.limit","book":{}}"#;
    assert_eq!(
        mask("PATCH /v1/all/n", body).await,
        "book.link,book.limitNanos"
    );
    // A PUT changes all fields, but the names are still converted.
    let body = r#"{"updateMask":"URL,limit"}"#;
    assert_eq!(mask("PUT /flat/n", body).await, "link,limitNanos");
    let line = "PATCH /v1/shelves/1/books/2?updateMask=limit,author.text&validateOnly=true";
    let echoed = patched(line, r#"{"title":"x"}"#).await;
    assert_eq!(echoed["updateMask"], "limitNanos,author.text");
    assert_eq!(echoed["validateOnly"], true);
}

#[tokio::test]
async fn a_mask_that_names_no_field_is_rejected() {
    for (line, body, message) in [
        (
            "PATCH /flat/n",
            r#"{"updateMask":"theNote,lmit"}"#,
            "`updateMask` must name fields, and its path 2 does not; did you mean `limit`?",
        ),
        (
            "PATCH /flat/n",
            r#"{"updateMask":"author.txt"}"#,
            "`updateMask` must name fields, and its path 1 does not; did you mean `author.text`?",
        ),
        (
            "PATCH /flat/n",
            r#"{"updateMask":"a__b"}"#,
            "`updateMask` must name fields, and its path 1 does not",
        ),
        (
            "PATCH /flat/n",
            r#"{"updateMask":"name.x"}"#,
            "`updateMask` must name fields, and its path 1 does not",
        ),
        (
            "PUT /flat/n",
            r#"{"updateMask":"uRL"}"#,
            "`updateMask` must name fields, and its path 1 does not; did you mean `URL`?",
        ),
        // The message that the mask applies to is unknown.
        (
            "PATCH /flat?updateMask=a__b",
            "",
            "`updateMask` must name fields, and its path 1 does not",
        ),
    ] {
        let answer = call(line, body).await;
        assert_eq!(
            answer.rejection(),
            format!("400 {message}"),
            "{line} {body}"
        );
        assert_eq!(
            answer.field().as_deref(),
            Some("updateMask"),
            "{line} {body}"
        );
    }
}

#[tokio::test]
async fn nothing_but_a_patch_with_a_body_has_its_mask_made() {
    for line in [
        "PUT /flat/n",
        "PUT /any/flat/n",
        "PUT /v1/shelves/1/books/2",
    ] {
        assert_eq!(mask(line, r#"{"limit":1}"#).await, json!(null), "{line}");
    }
    assert_eq!(mask("PATCH /flat?limit=1", "").await, json!(null));
    // A route for all methods has the method of the request.
    assert_eq!(
        mask("PATCH /any/flat/n", r#"{"limit":1}"#).await,
        "limitNanos"
    );
}

/// Values of an unknown member that JSON parsers reject.
fn odd_values() -> [String; 7] {
    [
        format!("{}1{}", "[".repeat(200), "]".repeat(200)),
        format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200)),
        "1e999".to_owned(),
        r#""\ud800""#.to_owned(),
        r#"{"\ud800":1}"#.to_owned(),
        r#"[{"a":[-1e999]}]"#.to_owned(),
        "01".to_owned(),
    ]
}

#[tokio::test]
async fn a_member_that_is_ignored_loses_no_change() {
    for value in odd_values() {
        for (line, body) in [
            ("PATCH /flat/n", format!(r#"{{"limit":null,"zz":{value}}}"#)),
            ("PATCH /flat/n", format!(r#"{{"zz":{value},"limit":1}}"#)),
            (
                "PATCH /flat/n",
                format!(r#"{{"author":{{"zz":{value},"text":"x"}}}}"#),
            ),
            (
                "PATCH /v1/shelves/1/books/2",
                format!(r#"{{"zz":{value},"title":"x"}}"#),
            ),
        ] {
            let answer = call(line, &body).await;
            assert_eq!(answer.status, 400, "{line} {body}");
            let message = answer.rejection();
            assert!(
                message.starts_with("400 Malformed JSON at line 1"),
                "{message}"
            );
        }
    }
    for value in [
        "1e-999",
        "18446744073709551616",
        r#""\ud83d\ude00""#,
        r#"{"a":1,"a":[[null,true,-1,1.5,"x"]]}"#,
    ] {
        let body = format!(r#"{{"zz":{value},"limit":null,"zz":{value},"theNote":"b"}}"#);
        assert_eq!(
            mask("PATCH /flat/n", &body).await,
            "limitNanos,theNote",
            "{body}"
        );
    }
}

#[tokio::test]
async fn many_members_are_walked_once() {
    let unknown: String = (0..60_000).map(|n| format!(r#""u{n}":1,"#)).collect();
    let body = format!(r#"{{{unknown}"theNote":"b","limit":1}}"#);
    assert_eq!(mask("PATCH /flat/n", &body).await, "limitNanos,theNote");
}
