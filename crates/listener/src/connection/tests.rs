//! Tests of the decisions about a connection.

use axum::Router;
use http::header::CONNECTION;

use super::*;
use crate::activity::Snapshot;

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn settings() -> Settings {
    Settings {
        max_connections: 1,
        max_connections_per_address: 1,
        connection_rate: None,
        accept_rate: None,
        rejected_call_rate: None,
        max_header_bytes: 32 * 1024,
        header_timeout: 10 * SECOND,
        write_timeout: 10 * SECOND,
        keep_alive_interval: 30 * SECOND,
        keep_alive_timeout: 20 * SECOND,
        idle_timeout: 120 * SECOND,
        max_age: Some(600 * SECOND),
        grace: 60 * SECOND,
        http2: crate::Http2Bounds {
            max_concurrent_streams: 200,
            max_pending_resets: 20,
            stream_window_bytes: 65_536,
            connection_window_bytes: 262_144,
            send_buffer_bytes: 65_536,
        },
        max_unread_bytes: 64 * 1024 * 1024,
        shutdown_delay: 5 * SECOND,
        drain: 30 * SECOND,
    }
}

/// Returns a connection without calls, opened at `now`.
fn idle(version: Version, now: Instant) -> (Snapshot, Times) {
    let snapshot = Snapshot {
        version,
        has_received: true,
        calls: 0,
        idle_since: now,
        head_since: None,
        waiting_since: None,
        must_close: false,
        close_requested: false,
    };
    let times = Times {
        opened: now,
        old: Some(now + 600 * SECOND),
        closing: None,
    };
    (snapshot, times)
}

/// Returns the number of seconds until `step` is decided, checking at the times that the connection asks for.
fn comes(snapshot: &Snapshot, times: &Times, opened: Instant, step: Step) -> Option<u64> {
    let mut now = opened;
    for _ in 0..1000 {
        match decide(snapshot, &settings(), times, now) {
            Step::Wait(until) => {
                assert!(until > now, "it would not wait at all");
                now = until;
            }
            found if found == step => return Some((now - opened).as_secs()),
            found => panic!("{found:?} after {:?}", now - opened),
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn silent_connection_is_closed_and_sooner_on_shutdown() {
    let now = Instant::now();
    for version in [Version::Unknown, Version::Http1, Version::Http2] {
        let (snapshot, mut times) = idle(version, now);
        let silent = Snapshot {
            has_received: false,
            head_since: Some(now),
            ..snapshot
        };
        assert_eq!(comes(&silent, &times, now, Step::Cut), Some(10));
        times.closing = Some(now + 3 * SECOND);
        assert_eq!(comes(&silent, &times, now, Step::Cut), Some(4));
        // A client that connects during shutdown already has this time.
        times.closing = Some(now);
        times.opened = now + 2 * SECOND;
        assert_eq!(comes(&silent, &times, now, Step::Cut), Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn connection_without_a_call_ends_in_time() {
    let now = Instant::now();
    for version in [Version::Http1, Version::Http2] {
        let (snapshot, mut times) = idle(version, now);
        assert_eq!(comes(&snapshot, &times, now, Step::End), Some(120));
        times.closing = Some(now + 7 * SECOND);
        assert_eq!(
            decide(&snapshot, &settings(), &times, now + 7 * SECOND),
            Step::End
        );
    }
}

#[tokio::test(start_paused = true)]
async fn begun_request_is_awaited_up_to_the_header_timeout() {
    let now = Instant::now();
    let (snapshot, mut times) = idle(Version::Http1, now);
    let begun = Snapshot {
        head_since: Some(now),
        ..snapshot
    };
    assert_eq!(comes(&begun, &times, now, Step::Cut), Some(10));
    times.closing = Some(now);
    assert_eq!(comes(&begun, &times, now, Step::Cut), Some(10));
}

#[tokio::test(start_paused = true)]
async fn connection_with_a_call_is_not_idle_but_grows_old() {
    let now = Instant::now();
    let (snapshot, times) = idle(Version::Http2, now);
    let busy = Snapshot {
        calls: 1,
        ..snapshot
    };
    assert_eq!(comes(&busy, &times, now, Step::End), Some(600));
    // Over HTTP/1.1 the response announces it.
    let busy = Snapshot {
        version: Version::Http1,
        ..busy
    };
    assert_eq!(comes(&busy, &times, now, Step::End), None);
    // The wait for a client to read a response is bounded.
    for (version, step, after) in [
        (Version::Http1, Step::End, 120),
        (Version::Http2, Step::Shed, 10),
    ] {
        let waiting = Snapshot {
            version,
            waiting_since: Some(now),
            ..busy
        };
        assert_eq!(comes(&waiting, &times, now, step), Some(after));
    }
}

#[tokio::test]
async fn close_header_ends_the_connection_and_no_call_fails() {
    use axum::Extension;
    use axum::routing::get;

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Returns the port of the peer.
    let answer = |Extension(Peer(peer)): Extension<Peer>| async move {
        ([(CONNECTION, "close")], peer.port().to_string())
    };
    let router = Router::new().route("/", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = crate::Server::new(settings());
    let server = tokio::spawn(server.serve(listener, router, std::future::pending()));
    let builder = || reqwest::Client::builder().no_proxy();
    for client in [builder(), builder().http2_prior_knowledge()] {
        let client = client.build().unwrap();
        let mut ports = std::collections::BTreeSet::new();
        // Only one connection is allowed at a time, so the next one needs this one to end.
        while ports.len() < 10 {
            let answer = client.get(&url).send().await.unwrap();
            ports.insert(answer.text().await.unwrap());
        }
    }
    server.abort();
}

#[test]
fn ages_differ_by_a_tenth_at_most() {
    let age = 100 * SECOND;
    let ages: Vec<_> = (0..1000).map(|_| jittered(age)).collect();
    let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!(
        *least >= 90 * SECOND && *most <= 110 * SECOND,
        "{least:?} {most:?}"
    );
    assert!(*most - *least > 15 * SECOND, "{least:?} {most:?}");
}
