//! Server-streaming methods in REST.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use keyward_gateway_testserver::Probe;
use serde_json::{Value, json};

use support::{RestResponse, call, call_on, router};

async fn watched(uri: &str, accept: Option<&str>) -> RestResponse {
    let mut builder = Request::get(uri);
    if let Some(accept) = accept {
        builder = builder.header("accept", accept);
    }
    call_on(router(), builder.body(Empty::<Bytes>::new()).unwrap()).await
}

fn lines(answer: &RestResponse) -> Vec<Value> {
    let text = answer.text();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[tokio::test]
async fn messages_come_as_lines() {
    let answer = watched("/watch?messages=3&message=x", None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(answer.header("vary"), Some("accept"));
    let lines = lines(&answer);
    assert_eq!(lines.len(), 3);
    for (place, line) in lines.iter().enumerate() {
        assert_eq!(line["result"]["text"], "x");
        assert_eq!(line["result"]["bigNumber"], (place + 1).to_string());
    }
    let answer = watched("/watch", None).await;
    assert_eq!((answer.status, answer.bytes.len()), (200, 0));
}

#[tokio::test]
async fn an_error_after_messages_is_the_last_line() {
    let uri = "/watch?messages=1&code=8&message=slow&details=retry&details=own&details=unknown";
    let answer = watched(uri, None).await;
    assert_eq!(answer.status, 200);
    let lines = lines(&answer);
    assert_eq!(lines.len(), 2);
    let error = &lines[1]["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!(8), &json!("slow"))
    );
    let details = error["details"].as_array().unwrap();
    let types: Vec<_> = details
        .iter()
        .map(|detail| detail["@type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "type.googleapis.com/google.rpc.ErrorInfo",
            "type.googleapis.com/google.rpc.RetryInfo",
            "type.googleapis.com/probe.v1.OwnDetail",
            "type.googleapis.com/probe.v1.Unknown",
        ]
    );
    // Internal errors are not disclosed.
    let answer = watched("/watch?messages=1&code=13&message=s3cr3t", None).await;
    assert!(
        answer
            .text()
            .contains(r#""code":13,"message":"Internal server error""#)
    );
}

#[tokio::test]
async fn an_error_before_the_first_message_is_any_error() {
    for accept in [None, Some("text/event-stream")] {
        let answer = watched("/watch?code=5&message=gone", accept).await;
        assert_eq!(answer.rejection(), "404 gone");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let answer = watched("/enveloped/watch?code=6&message=there", accept).await;
        assert_eq!(
            answer.text(),
            r#"{"success":false,"code":400,"message":"there"}"#
        );
        let answer = watched("/watch?messages=x", accept).await;
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn event_stream_needs_its_accept_header() {
    let uri = "/watch?messages=2&message=x&code=9";
    let answer = watched(uri, Some("text/event-stream")).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let text = answer.text();
    let events: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 4, "{text}");
    for (place, event) in events.iter().take(2).enumerate() {
        let data: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["bigNumber"], (place + 1).to_string());
    }
    let data = events[2].strip_prefix("event: error\ndata: ").unwrap();
    let error: Value = serde_json::from_str(data).unwrap();
    assert_eq!(error["code"], 9);
    assert_eq!(events[3], "event: end\ndata: {}");
}

/// Without an end event, an `EventSource` requests the whole stream again, for ever.
#[tokio::test]
async fn events_have_an_end() {
    for (uri, messages) in [("/watch?messages=2", 2), ("/watch", 0)] {
        let text = watched(uri, Some("text/event-stream")).await.text();
        let events: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(events.len(), messages + 1, "{text}");
        assert_eq!(events.last(), Some(&"event: end\ndata: {}"), "{text}");
    }
}

/// The end is sent when the stream ends, even while the first message is pending.
#[tokio::test(start_paused = true)]
async fn events_end_behind_a_pause() {
    let text = watched("/watch?messages=1&pause=60s", Some("text/event-stream"));
    let text = text.await.text();
    assert!(text.starts_with("data: {"), "{text}");
    assert_eq!(text.matches("event: end\ndata: {}\n\n").count(), 1);
    assert!(text.ends_with("\n\nevent: end\ndata: {}\n\n"), "{text}");
}

#[tokio::test]
async fn the_better_accepted_format_wins() {
    const LINES: &str = "application/x-ndjson";
    const EVENTS: &str = "text/event-stream";
    for (accept, expected) in [
        ("*/*", LINES),
        ("application/json", LINES),
        ("application/x-ndjson", LINES),
        ("application/*", LINES),
        ("text/event-stream", EVENTS),
        ("text/*", EVENTS),
        ("text/event-stream, */*", LINES),
        ("text/event-stream, */*;q=0.9", EVENTS),
        ("application/json;q=0.2, text/event-stream;q=0.1", LINES),
        ("application/json;q=0.1, text/event-stream;q=0.2", EVENTS),
        ("application/x-ndjson;q=0, */*", EVENTS),
        ("text/event-stream;q=0, text/*", LINES),
        // A client that accepts neither gets lines: a response of one message ignores `Accept` too.
        ("text/html", LINES),
        ("application/xml;q=0.9, image/*", LINES),
        ("", LINES),
    ] {
        let answer = watched("/watch?messages=1", Some(accept)).await;
        assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn a_response_body_is_what_each_line_has() {
    let answer = call("POST /watch", r#"{"messages":2}"#).await;
    assert_eq!(answer.text(), "{\"result\":\"1\"}\n{\"result\":\"2\"}\n");
}

/// Time is paused, so that only timers advance it.
#[tokio::test(start_paused = true)]
async fn each_message_is_sent_on_as_it_comes() {
    let probe = Probe::default();
    let router = probe.rest().build().unwrap();
    let request = Request::get("/watch?endless=true&pause=60s").body(Empty::<Bytes>::new());
    let request = request.unwrap();
    let resolution = router.resolve(request.method(), request.uri().path());
    let started = tokio::time::Instant::now();
    // The head does not wait for a message.
    let mut body = router.call(resolution, request).await.into_body();
    assert_eq!(started.elapsed(), Duration::ZERO);
    for minutes in 1..4 {
        let frame = body.frame().await.unwrap().unwrap();
        let line = frame.into_data().unwrap();
        assert!(line.starts_with(b"{\"result\":") && line.ends_with(b"}\n"));
        assert_eq!(started.elapsed().as_secs() / 60, minutes);
    }
    // Dropping the response drops the service's stream.
    assert_eq!(probe.dropped.count(), 0);
    drop(body);
    assert_eq!(probe.dropped.count(), 1);
}

#[tokio::test]
async fn a_stream_is_not_compressed() {
    let request = Request::get("/watch?messages=100&message=xxxxxxxxxxxxxxxxxxxx")
        .header("accept-encoding", "gzip, zstd")
        .body(Empty::<Bytes>::new());
    let answer = call_on(router(), request.unwrap()).await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(lines(&answer).len(), 100);
}
