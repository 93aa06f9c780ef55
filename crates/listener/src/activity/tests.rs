//! Tests of the snapshots and the charges of a connection.

use axum::body::Body;
use http_body_util::BodyExt;
use keyward_throttle::Owner;

use super::*;
use crate::unread::UnreadResponses;

#[tokio::test]
async fn caller_is_charged_for_its_calls_and_cancelled_ones() {
    let activity = Activity::new(Instant::now());
    let address = Payer::from(Owner::Address([127, 0, 0, 1].into()));
    let principal = Payer::principal_of("o".to_owned(), "p".to_owned());
    activity.owe(&address, 1);
    assert!(activity.owed().is_empty(), "the connection is not paced");
    activity.set_paced();
    activity.owe(&address, 3);
    assert!(activity.set_authenticated(Some(&principal)));
    activity.refund(&address);
    drop(activity.begin());
    assert_eq!(activity.owed(), [(address, 2), (principal, 1)]);
    assert!(!activity.set_authenticated(Some(&Owner::Service("s".to_owned()).into())));
    drop(activity.begin());
    assert!(activity.owed().is_empty());
}

#[tokio::test]
async fn version_is_known_from_the_first_bytes_that_decide() {
    for (said, version) in [
        (&b"GET"[..], Version::Http1),
        (b"P", Version::Unknown),
        (b"PUT /", Version::Http1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Version::Unknown),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Version::Http2),
    ] {
        let whole = Activity::new(Instant::now());
        whole.on_bytes(said);
        assert_eq!(whole.snapshot().version, version);
        let in_parts = Activity::new(Instant::now());
        for byte in said {
            in_parts.on_bytes(&[*byte]);
        }
        assert_eq!(in_parts.snapshot().version, version);
    }
}

#[tokio::test(start_paused = true)]
async fn call_is_under_way_until_its_response_is_read() {
    let activity = Activity::new(Instant::now());
    activity.on_bytes(b"GET / HTTP/1.1\r\n\r\n");
    let call = activity.begin();
    assert_eq!(activity.snapshot().calls, 1);
    assert_eq!(activity.snapshot().head_since, None);
    assert_eq!(activity.snapshot().waiting_since, None);
    let answered = Instant::now();
    let payer = Owner::Address([127, 0, 0, 1].into()).into();
    let mut answer = call.respond(Body::from("text"), payer, &UnreadResponses::new(1 << 20));
    assert_eq!(activity.snapshot().waiting_since, Some(answered));
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let taken = answer.frame().await.unwrap().unwrap();
    assert_eq!(activity.snapshot().waiting_since, Some(Instant::now()));
    drop(taken);
    assert_eq!(activity.snapshot().waiting_since, None);
    assert!(answer.frame().await.is_none());
    assert_eq!(activity.snapshot().waiting_since, None);
    assert_eq!(activity.snapshot().calls, 1);
    drop(answer);
    assert_eq!(activity.snapshot().calls, 0);
    assert_eq!(activity.snapshot().idle_since, Instant::now());
    // The next request begins with its first byte.
    assert_eq!(activity.snapshot().head_since, None);
    activity.on_bytes(b"G");
    assert_eq!(activity.snapshot().head_since, Some(Instant::now()));
}
