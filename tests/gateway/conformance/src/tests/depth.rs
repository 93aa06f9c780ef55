//! Tests of the maximum nesting depth of messages.

use std::thread;

use super::{All, read, written};

/// Returns the value, enclosed `depth` times.
fn nested(open: &str, thing: &str, close: &str, depth: usize) -> String {
    format!("{}{thing}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn deep_nesting_is_rejected_without_overflow() {
    let url = "x/protobuf_test_messages.proto3.TestAllTypesProto3";
    let any = format!(r#"{{"@type":"{url}","optionalAny":"#);
    let value = r#"{"@type":"x/google.protobuf.Any","value":"#;
    let mixed = format!(
        r#"{{"@type":"{url}",{}"optionalAny":"#,
        r#""recursiveMessage":{"#.repeat(6)
    );
    let cases = [
        (mixed, "{}", "}}}}}}}"),
        (r#"{"recursiveMessage":"#.to_owned(), "{}", "}"),
        (
            r#"{"optionalNestedMessage":{"corecursive":"#.to_owned(),
            "{}",
            "}}",
        ),
        (any, "{}", "}"),
        (value.to_owned(), "{}", "}"),
        ("{\"a\":".to_owned(), "1", "}"),
        ("[".to_owned(), "", "]"),
    ];
    for (open, thing, close) in cases {
        let depth = match open.contains("@type") {
            true => 16,
            false => 120 / close.len(),
        };
        let outer = |inner: String| match open.as_str() {
            "[" => format!(r#"{{"optionalValue":{inner}}}"#),
            "{\"a\":" => format!(r#"{{"optionalStruct":{inner}}}"#),
            any if any.contains("@type") => format!(r#"{{"optionalAny":{inner}}}"#),
            _ => inner,
        };
        let deep = outer(nested(&open, thing, close, depth - 1));
        let message = read(&deep).unwrap_or_else(|error| panic!("{open} {error:?}"));
        assert_eq!(written(&message), Ok(deep), "{open}");
        for deeper in [130, 100_000] {
            let deeper = outer(nested(&open, thing, close, deeper));
            assert!(read(&deeper).is_err(), "{open}");
        }
    }
}

#[test]
fn a_message_that_is_too_deep_is_not_written() {
    // Dropping the value recurses too, which needs stack space.
    let deep = thread::Builder::new().stack_size(64 << 20).spawn(|| {
        let mut message = All::default();
        for _ in 0..10_000 {
            message = All {
                recursive_message: Some(Box::new(message)),
                ..All::default()
            };
        }
        written(&message)
    });
    let error = deep.unwrap().join().unwrap().unwrap_err();
    assert_eq!(error, "the message is nested too deeply for JSON");
}
