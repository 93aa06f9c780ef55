//! Compressed requests and responses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod support;

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::Request;
use http_body_util::{Empty, Full, StreamBody};
use keyward_gateway_testserver::Probe;
use serde_json::Value;

use support::{RestResponse, call_on, router};

const BODY: &[u8] = br#"{"aString":"compressed"}"#;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, 3).unwrap()
}

async fn sent(encoding: &str, body: Vec<u8>) -> RestResponse {
    let request = Request::post("/body")
        .header("content-type", "application/json")
        .header("content-encoding", encoding)
        .body(Full::new(Bytes::from(body)));
    call_on(router(), request.unwrap()).await
}

#[tokio::test]
async fn requests_may_be_compressed() {
    let two_members = [gzip(&BODY[..5]), gzip(&BODY[5..])].concat();
    let two_frames = [zstd(&BODY[..5]), zstd(&BODY[5..])].concat();
    for (encoding, body) in [
        ("gzip", gzip(BODY)),
        ("x-gzip", gzip(BODY)),
        ("GZIP", gzip(BODY)),
        ("gzip", two_members),
        ("zstd", zstd(BODY)),
        ("zstd", two_frames),
        ("identity", BODY.to_vec()),
        ("", BODY.to_vec()),
        ("identity, zstd", zstd(BODY)),
    ] {
        let answer = sent(encoding, body).await;
        assert_eq!(answer.status, 200, "{encoding}: {}", answer.text());
        assert_eq!(answer.json()["aString"], "compressed", "{encoding}");
    }
    // An empty body is absent, regardless of its coding.
    assert_eq!(sent("gzip", Vec::new()).await.status, 200);
}

#[tokio::test]
async fn a_body_may_come_in_pieces() {
    for (encoding, body) in [
        ("gzip", gzip(BODY)),
        ("zstd", zstd(BODY)),
        ("identity", BODY.to_vec()),
    ] {
        let pieces: Vec<_> = body
            .chunks(1)
            .map(|piece| {
                Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::copy_from_slice(piece)))
            })
            .collect();
        let request = Request::post("/body")
            .header("content-type", "application/json")
            .header("content-encoding", encoding)
            .body(StreamBody::new(futures_util::stream::iter(pieces)));
        let answer = call_on(router(), request.unwrap()).await;
        assert_eq!(answer.json()["aString"], "compressed", "{encoding}");
    }
}

#[tokio::test]
async fn other_encodings_are_rejected_with_those_that_there_are() {
    for encoding in [
        "br",
        "deflate",
        "gzip, gzip",
        "zstd, gzip",
        "*",
        "gzip;q=1",
        "ü",
    ] {
        let request = Request::post("/body")
            .header("content-encoding", encoding)
            .body(Full::<Bytes>::from("x"));
        let answer = call_on(router(), request.unwrap()).await;
        assert_eq!(
            answer.rejection(),
            "415 The content encoding must be gzip, zstd or none",
            "{encoding}"
        );
        assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd"));
    }
    // If no body is bound, the body is ignored.
    let request = Request::get("/query").header("content-encoding", "br");
    let answer = call_on(router(), request.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn body_that_contradicts_its_encoding_is_rejected() {
    let cut = |mut body: Vec<u8>, bytes: usize| {
        body.truncate(body.len() - bytes);
        body
    };
    let flipped = |mut body: Vec<u8>| {
        let last = body.len() - 6;
        body[last] ^= 0xff;
        body
    };
    for (encoding, body) in [
        ("gzip", BODY.to_vec()),
        ("zstd", BODY.to_vec()),
        ("gzip", zstd(BODY)),
        ("zstd", gzip(BODY)),
        ("gzip", cut(gzip(BODY), 1)),
        ("gzip", cut(gzip(BODY), 9)),
        ("gzip", gzip(BODY)[..5].to_vec()),
        ("zstd", cut(zstd(BODY), 1)),
        ("gzip", flipped(gzip(BODY))),
        ("gzip", [gzip(BODY), b"tail".to_vec()].concat()),
        ("zstd", [zstd(BODY), b"tail".to_vec()].concat()),
    ] {
        let answer = sent(encoding, body).await;
        assert_eq!(
            answer.rejection(),
            "400 The request body is not what its content encoding says",
            "{encoding}"
        );
    }
}

#[tokio::test]
async fn the_limit_holds_for_what_comes_out() {
    let router = Probe::default()
        .rest()
        .max_body_bytes(1000)
        .build()
        .unwrap();
    let body =
        |length: usize| format!(r#"{{"aString":"{}"}}"#, "x".repeat(length - 14)).into_bytes();
    assert_eq!(body(1000).len(), 1000);
    for (encoding, code) in [
        ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
        ("zstd", zstd),
        ("identity", <[u8]>::to_vec),
    ] {
        for (length, status) in [(1000, 200), (1001, 413), (100_000, 413)] {
            let request = Request::post("/body")
                .header("content-type", "application/json")
                .header("content-encoding", encoding)
                .body(Full::new(Bytes::from(code(&body(length)))));
            let answer = call_on(&router, request.unwrap()).await;
            assert_eq!(answer.status, status, "{encoding} {length}");
            if status == 413 {
                assert_eq!(
                    answer.rejection(),
                    "413 The request body is larger than 1000 bytes"
                );
            }
        }
    }
}

/// A gigabyte of zeros in a thousandth of it, and in a hundred-thousandth. If they were inflated,
/// the test would take the time and the memory.
#[tokio::test]
async fn bombs_do_not_go_off() {
    let zeros = vec![0; 1 << 20];
    let member = gzip(&zeros);
    let bomb = member.repeat(1024);
    let started = std::time::Instant::now();
    assert_eq!(sent("gzip", bomb).await.status, 413);
    let bomb = zstd(&zeros).repeat(1024);
    assert_eq!(sent("zstd", bomb).await.status, 413);
    // A frame with a window of 128 MiB, more than RFC 9659 allows.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder
        .set_parameter(zstd::zstd_safe::CParameter::WindowLog(27))
        .unwrap();
    encoder.write_all(BODY).unwrap();
    let wide = encoder.finish().unwrap();
    assert_eq!(sent("zstd", wide).await.status, 400);
    assert!(started.elapsed().as_secs() < 5);
}

/// These parts are empty, but each costs work.
#[tokio::test]
async fn parts_are_few_even_if_they_are_empty() {
    // RFC 8878, 3.1.2: a skippable frame, here empty.
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    for (encoding, body, part) in [
        ("gzip", gzip(BODY), gzip(b"")),
        ("zstd", zstd(BODY), zstd(b"")),
        ("zstd", zstd(BODY), skippable.to_vec()),
    ] {
        let answer = sent(encoding, [part.repeat(15), body.clone()].concat()).await;
        assert_eq!(answer.json()["aString"], "compressed", "{encoding}");
        let started = std::time::Instant::now();
        for count in [16, 4 * 1024 * 1024 / part.len() - 100] {
            let body = [part.repeat(count), body.clone()].concat();
            assert_eq!(
                sent(encoding, body).await.rejection(),
                "400 The request body is compressed in more than 16 parts",
                "{encoding} {count}"
            );
        }
        assert!(started.elapsed().as_secs() < 5);
    }
}

/// A skippable frame of zstd can have any length and decompresses to nothing.
#[tokio::test]
async fn the_limit_holds_for_what_is_sent_too() {
    let router = Probe::default()
        .rest()
        .max_body_bytes(1000)
        .build()
        .unwrap();
    let frame = |skipped: u16| {
        let mut frame = vec![0x50, 0x2a, 0x4d, 0x18];
        frame.extend(u32::from(skipped).to_le_bytes());
        frame.resize(8 + usize::from(skipped), 0);
        [frame, zstd(BODY)].concat()
    };
    let rest = u16::try_from(1000 - frame(0).len()).unwrap();
    for (skipped, status) in [(rest, 200), (rest + 1, 413), (u16::MAX, 413)] {
        let body = frame(skipped);
        let pieces: Vec<_> = body
            .chunks(100)
            .map(|piece| {
                Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::copy_from_slice(piece)))
            })
            .collect();
        let request = || {
            Request::post("/body")
                .header("content-type", "application/json")
                .header("content-encoding", "zstd")
        };
        let in_pieces = request().body(StreamBody::new(futures_util::stream::iter(pieces)));
        let whole = request().body(Full::new(Bytes::from(body)));
        for answer in [
            call_on(&router, in_pieces.unwrap()).await,
            call_on(&router, whole.unwrap()).await,
        ] {
            assert_eq!(answer.status, status, "{skipped}: {}", answer.text());
        }
    }
}

async fn asked(uri: &str, accept: Option<&str>) -> RestResponse {
    let mut builder = Request::get(uri);
    if let Some(accept) = accept {
        builder = builder.header("accept-encoding", accept);
    }
    call_on(router(), builder.body(Empty::<Bytes>::new()).unwrap()).await
}

/// Undoes the content coding of a response.
fn decoded(answer: &RestResponse) -> Value {
    let text = match answer.header("content-encoding") {
        None => answer.bytes.to_vec(),
        Some("zstd") => zstd::stream::decode_all(&*answer.bytes).unwrap(),
        Some("gzip") => {
            let mut text = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&*answer.bytes);
            decoder.read_to_end(&mut text).unwrap();
            text
        }
        Some(other) => panic!("{other}"),
    };
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn responses_are_compressed_as_their_callers_like() {
    for (accept, expected) in [
        (None, None),
        (Some(""), None),
        (Some("gzip"), Some("gzip")),
        (Some("x-gzip"), Some("gzip")),
        (Some("zstd"), Some("zstd")),
        (Some("gzip, deflate, br, zstd"), Some("zstd")),
        (Some("gzip, zstd;q=0.5"), Some("gzip")),
        (Some("gzip;q=0.5, zstd;q=0.6"), Some("zstd")),
        (Some("*"), Some("zstd")),
        (Some("zstd;q=0, *"), Some("gzip")),
        (Some("zstd;q=0, gzip;q=0"), None),
        (Some("br, deflate"), None),
        (Some("identity, gzip;q=0.5"), None),
        (Some("identity;q=0.5, gzip"), Some("gzip")),
        // No available coding is acceptable; RFC 9110, 12.5.3, then prefers a response.
        (Some("identity;q=0"), None),
    ] {
        let answer = asked("/fail?message=x&filling=2000", accept).await;
        assert_eq!(answer.header("content-encoding"), expected, "{accept:?}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"), "{accept:?}");
        assert_eq!(decoded(&answer)["aString"].as_str().unwrap().len(), 2000);
        assert_eq!(answer.bytes.len() < 1500, expected.is_some(), "{accept:?}");
    }
}

#[tokio::test]
async fn small_responses_are_left_as_they_are_and_errors_are_not() {
    let answer = asked("/nothing", Some("gzip")).await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("vary"), None);
    let answer = asked("/fail?message=x&filling=2000&code=5", Some("gzip")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(decoded(&answer)["error"]["code"], 404);
    let head = {
        let request =
            Request::head("/fail?message=x&filling=2000").header("accept-encoding", "gzip");
        call_on(router(), request.body(Empty::<Bytes>::new()).unwrap()).await
    };
    let get = asked("/fail?message=x&filling=2000", Some("gzip")).await;
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    assert_eq!(
        head.header("content-length"),
        Some(get.bytes.len().to_string().as_str())
    );
}

#[tokio::test]
async fn compression_can_be_left_to_others() {
    let router = Probe::default()
        .rest()
        .without_compression()
        .build()
        .unwrap();
    let request = Request::get("/fail?message=x&filling=2000").header("accept-encoding", "gzip");
    let answer = call_on(&router, request.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("vary"), None);
}

/// A secret may be next to text from other clients, and the length of both compressed together
/// reveals if one contains the other (BREACH).
#[tokio::test]
async fn response_marked_uncompressed_is_not_compressed() {
    let answer = asked(
        "/fail?message=x&filling=2000&uncompressed=true",
        Some("gzip"),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.json()["aString"].as_str().unwrap().len(), 2000);
}
