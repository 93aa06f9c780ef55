//! The gateway's own options in combination with maps, oneofs and messages of google.protobuf.

use std::collections::HashMap;

use keyward_gateway::json::{self, JsonMessage, JsonOptions};
use keyward_gateway::{Check, Violation};
use prost_types::Timestamp;

#[allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    reason = "it is generated"
)]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/own.v1.rs"));
}

use v1::{Formed, Inner, Kind, Ruled, Secret, formed, ruled, secret};

fn read<M: JsonMessage>(text: &str) -> Result<M, String> {
    json::decode(text.as_bytes(), &JsonOptions::default()).map_err(|error| error.description)
}

fn written<M: JsonMessage>(message: &M) -> String {
    String::from_utf8(json::encode(message, &JsonOptions::default()).unwrap()).unwrap()
}

fn violations(message: &Ruled) -> Vec<String> {
    let mut found = Vec::new();
    message.check(&mut found);
    let line = |violation: &Violation| format!("{}: {}", violation.field, violation.description);
    found.iter().map(line).collect()
}

#[test]
fn rules_hold_in_maps_and_oneofs() {
    let labels = HashMap::from([("a".to_owned(), String::new())]);
    let ruled = |choice| Ruled {
        labels: labels.clone(),
        choice: Some(choice),
        ..Ruled::default()
    };
    let unnamed = Inner::default;
    assert_eq!(
        violations(&Ruled::default()),
        ["labels: Labels are required"]
    );
    for (choice, expected) in [
        (ruled::Choice::Text("a".into()), None),
        (
            ruled::Choice::Text(String::new()),
            Some("text: Text must not be empty"),
        ),
        (ruled::Choice::Kind(1), None),
        (ruled::Choice::Kind(0), Some("kind: Kind is required")),
        (
            ruled::Choice::Inner(unnamed()),
            Some("inner.name: Name must not be empty"),
        ),
        (
            ruled::Choice::Again(Box::default()),
            Some("again.labels: Labels are required"),
        ),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(violations(&ruled(choice)), expected);
    }
    let inner = Inner {
        name: "a".into(),
        inner: Some(Box::new(unnamed())),
    };
    let message = Ruled {
        inners: HashMap::from([(2, inner), (1, unnamed())]),
        ..ruled(ruled::Choice::Kind(1))
    };
    assert_eq!(
        violations(&message),
        [
            "inners[*].name: Name must not be empty",
            "inners[*].inner.name: Name must not be empty"
        ]
    );
}

#[test]
fn own_forms_hold_in_maps_and_oneofs() {
    let moment = Timestamp {
        seconds: 0,
        nanos: 0,
    };
    let message = Formed {
        prices: HashMap::from([("b".into(), 1_500_000), ("a".into(), -1)]),
        times: HashMap::from([("t".into(), moment)]),
        kinds: HashMap::from([(true, 1), (false, 7)]),
        choice: Some(formed::Choice::Percent(50)),
        update_mask: None,
    };
    let expected = concat!(
        r#"{"prices":{"a":-1e-6,"b":1.5},"times":{"t":"1970-01-01T00:00:00.000Z"},"#,
        r#""kinds":{"false":7,"true":"one"},"share":0.5}"#,
    );
    assert_eq!(written(&message), expected);
    assert_eq!(read(expected), Ok(message));

    let empty = r#"{"prices":{},"times":{},"kinds":{},"share":null}"#;
    assert_eq!(written(&Formed::default()), empty);
    assert_eq!(read(empty), Ok(Formed::default()));
    let note = read::<Formed>(r#"{"note":"n","share":null,"at":null}"#).unwrap();
    assert_eq!(note.choice, Some(formed::Choice::Note("n".into())));
    assert_eq!(
        read::<Formed>(r#"{"times":{"s3cr3t":"1970-01-01T00:00:00+00:00"}}"#),
        Err(
            "`times[*]` must be an RFC 3339 timestamp in UTC, such as 2027-01-31T00:00:00Z"
                .to_owned()
        )
    );
    assert_eq!(
        read::<Formed>(r#"{"type":"a","share":1}"#),
        Err("`share` must not be given beside another member of its oneof".to_owned())
    );
    let masked = read::<Formed>(r#"{"updateMask":"share,times,the_other,aB"}"#).unwrap();
    let paths = masked.update_mask.unwrap().paths;
    assert_eq!(paths, ["share", "times", "the_other", "a_b"]);
    assert_eq!(Kind::One as i32, 1);
}

#[test]
fn secrets_are_not_printed_from_maps_and_oneofs() {
    let secret = |choice| Secret {
        tokens: HashMap::from([("a".into(), "s3cr3t".into())]),
        choice: Some(choice),
        name: "n".into(),
    };
    assert_eq!(
        format!(
            "{:?}",
            secret(secret::ChoiceOneOf::Password("s3cr3t".into()))
        ),
        r#"Secret { tokens: [redacted], name: "n", choice: Some(Password([redacted])) }"#
    );
    assert_eq!(
        format!("{:?}", secret(secret::ChoiceOneOf::Hint(1))),
        r#"Secret { tokens: [redacted], name: "n", choice: Some(Hint(1)) }"#
    );
    let inner = secret::Choice {
        text: "shown".into(),
    };
    assert_eq!(format!("{inner:?}"), r#"Choice { text: "shown" }"#);
}

#[test]
fn messages_of_google_protobuf_are_requests_and_responses() {
    let any: prost_types::Struct = read(r#"{"a":[1,null]}"#).unwrap();
    assert_eq!(written(&any), r#"{"a":[1,null]}"#);
    assert_eq!(written(&()), "{}");
    assert_eq!(written(&"a".to_owned()), "\"a\"");
    assert_eq!(read::<()>(r#"{"a":1}"#), Ok(()));
    assert_eq!(read::<i64>("\"1\""), Ok(1));
    assert_eq!(
        read::<prost_types::Struct>("[]"),
        Err("The body must be a JSON object".to_owned())
    );
    assert_eq!(
        read::<String>("1"),
        Err("The body must be a string".to_owned())
    );
    let value: prost_types::Value = read("null").unwrap();
    assert!(value.kind.is_some());
}

#[test]
fn generated_messages_are_serde_messages_too() {
    let message: Ruled = serde_json::from_str(r#"{"text":"a"}"#).unwrap();
    let text = serde_json::to_string(&message).unwrap();
    assert_eq!(text, r#"{"labels":{},"inners":{},"text":"a"}"#);
    assert_eq!(
        serde_json::from_value::<Ruled>(serde_json::to_value(&message).unwrap()).unwrap(),
        message
    );
}
