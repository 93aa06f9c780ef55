//! Compares a generated route with a handwritten axum handler for the same JSON in and out, over
//! loopback and in one run, and measures the steps of the route.
//!
//! ```sh
//! cargo bench -p keyward-gateway-testserver --bench rest
//! ```
//!
//! The two take turns, so that noise affects both; the result is the median of the rounds' ratios.
//! The exit code is 0 if the generated route has at least 0.9 of the handler's requests per second.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark may")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::extract::Path;
use axum::routing::put;
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use keyward_gateway::json::{self, JsonOptions};
use keyward_gateway::{Resolution, RestRouter};
use keyward_gateway_testserver::{Probe, v1};
use serde::{Deserialize, Serialize};

const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(700);
const CONNECTIONS: usize = 8;
const LEAST_RATIO: f64 = 0.9;

/// Handwritten type for the same JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(default)]
    id: String,
    name: String,
    label: String,
    creator: String,
    workspace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    disabled: bool,
    counted: bool,
    limit: f64,
    remaining: f64,
    usage: f64,
    usage_daily: f64,
    usage_weekly: f64,
    usage_monthly: f64,
    bucket_count: i32,
    model_count: i32,
    version: u32,
    tags: Vec<String>,
    place: Option<Place>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    room: String,
    shelf: i32,
}

async fn by_hand(Path(id): Path<String>, Json(row): Json<Row>) -> Json<Row> {
    Json(Row { id, ..row })
}

/// Body without the id, which comes from the path.
const BODY: &str = r#"{"name":"Production","label":"sk-kw-v1-0e6...1c96","creator":"user-17","workspace":"workspace-4","note":"For the nightly reports","disabled":false,"counted":true,"limit":25.5,"remaining":13.25,"usage":12.25,"usageDaily":1.125,"usageWeekly":4.5,"usageMonthly":12.25,"bucketCount":3,"modelCount":2,"version":7,"tags":["nightly","reports"],"place":{"room":"north","shelf":4}}"#;
const PATH: &str = "/rows/4f1d2c";

fn main() -> ExitCode {
    let rest = Probe::default().rest().build().unwrap();
    let generated = serve(Router::new().fallback_service(rest.clone()));
    let handler = serve(Router::new().route("/rows/{id}", put(by_hand)));
    let request = format!(
        "PUT {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let request: Arc<[u8]> = request.into_bytes().into();
    assert_eq!(body_of(generated, &request), body_of(handler, &request));

    let (mut rates, mut hand_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        // The order alternates, and the first round only warms up.
        let (one, hand) = if round % 2 == 0 {
            let one = answers_per_second(generated, &request);
            (one, answers_per_second(handler, &request))
        } else {
            let hand = answers_per_second(handler, &request);
            (answers_per_second(generated, &request), hand)
        };
        if round > 0 {
            rates.push(one);
            hand_rates.push(hand);
            ratios.push(one / hand);
        }
    }
    let ratio = median(ratios);
    println!("{ROUNDS} rounds of {ROUND:?} each, {CONNECTIONS} connections   median");
    println!(
        "axum handler by hand       {:8.0} requests/s",
        median(hand_rates)
    );
    println!(
        "generated route            {:8.0} requests/s",
        median(rates)
    );
    println!("  ratio                    {ratio:8.3} (at least {LEAST_RATIO})");
    steps(&rest);
    if ratio >= LEAST_RATIO {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Serves `app` on its own thread.
fn serve(app: Router) -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

/// Measures the steps of the route, without HTTP around them.
fn steps(rest: &RestRouter) {
    let options = JsonOptions::default();
    let row: v1::Row = json::decode(BODY.as_bytes(), &options).unwrap();
    let by_hand: Row =
        serde_json::from_str(BODY.replacen('{', r#"{"id":"","#, 1).as_str()).unwrap();
    let resolve = || match rest.resolve(&Method::PUT, PATH) {
        Resolution::Matched(matched) => matched,
        other => panic!("{other:?}"),
    };
    let path = resolve().spec().variables.first().unwrap().path;
    let mut bound = row.clone();
    println!("own work of the generated route             median");
    println!(
        "  match                    {:8.0} ns",
        nanos(|| _ = black_box(resolve()))
    );
    println!(
        "  bind the path            {:8.0} ns",
        nanos(|| json::bind_path(&mut bound, path, black_box("4f1d2c"), &options).unwrap())
    );
    println!(
        "  decode {} bytes         {:8.0} ns (serde derived by hand {:.0} ns)",
        BODY.len(),
        nanos(|| _ = black_box(json::decode::<v1::Row>(BODY.as_bytes(), &options))),
        nanos(|| _ = black_box(serde_json::from_slice::<Row>(BODY.as_bytes()))),
    );
    println!(
        "  encode                   {:8.0} ns (serde derived by hand {:.0} ns)",
        nanos(|| _ = black_box(json::encode(&row, &options))),
        nanos(|| _ = black_box(serde_json::to_vec(&by_hand))),
    );
    let call = || {
        let request = Request::put(PATH)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from_static(BODY.as_bytes())))
            .unwrap();
        let response = rest.call(resolve(), request).now_or_never().unwrap();
        assert_eq!(response.status(), 200);
        response
            .into_body()
            .collect()
            .now_or_never()
            .unwrap()
            .unwrap()
    };
    println!(
        "  all, with the request    {:8.0} ns",
        nanos(|| _ = black_box(call()))
    );
}

/// Returns the body of one response.
fn body_of(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut buffer = [0; 16 * 1024];
    let length = read_answer(&mut stream, &mut buffer);
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    text.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

/// Returns the responses per second of the server at `address` for clients that each wait for their
/// response.
fn answers_per_second(address: SocketAddr, request: &Arc<[u8]>) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (stop, request) = (Arc::clone(&stop), Arc::clone(request));
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                let mut count = 0_u32;
                let mut buffer = [0; 16 * 1024];
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(&request).unwrap();
                    read_answer(&mut stream, &mut buffer);
                    count += 1;
                }
                count
            })
        })
        .collect();
    let start = Instant::now();
    thread::sleep(ROUND);
    stop.store(true, Ordering::Relaxed);
    let count: u32 = callers
        .into_iter()
        .map(|caller| caller.join().unwrap())
        .sum();
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// Reads one complete response, whose length its head gives, and requires success. Returns its
/// length.
fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    loop {
        filled += match stream.read(&mut buffer[filled..]).unwrap() {
            0 => panic!("the server closed the connection"),
            count => count,
        };
        let Some(end) = buffer[..filled]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        if filled == end + 4 + length.parse::<usize>().unwrap() {
            return filled;
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Returns the median time of one call, in nanoseconds.
fn nanos(mut step: impl FnMut()) -> f64 {
    let times = (0..201).map(|_| {
        let start = Instant::now();
        for _ in 0..200 {
            step();
        }
        start.elapsed().as_secs_f64() * 1e9 / 200.0
    });
    median(times.collect())
}
