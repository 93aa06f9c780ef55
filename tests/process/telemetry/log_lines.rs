//! The log: one line for each request, which names its trace; the cause of a failure once.

use http::Method;
use keyward::proto::v1::ListApiKeysRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use serde_json::Value;

use crate::support::client::{Answer, Rest, called_by, channel};
use crate::support::collector::Collector;
use crate::support::deployment::{Deployment, Served};
use crate::support::frames::{DATA, END_STREAM, Frame, HEADERS, Http2, RST_STREAM, request};
use crate::support::program::Program;
use crate::telemetry::spans::Trace;

/// Starts a program with JSON logs.
pub(crate) fn served(serve: Program, collector: Option<&Collector>) -> Served {
    let mut serve = serve.env("KEYWARD_LOG__FORMAT", "json");
    if let Some(collector) = collector {
        serve = collector.of(serve);
    }
    let running = serve.start();
    let address = running.stderr.find(|printed| {
        let mut lines = printed
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let line: Value = lines.find(|line: &Value| line["message"] == "listening")?;
        Some(line["address"].as_str()?.to_owned())
    });
    let url = format!("http://{}", address.unwrap());
    Served { running, url }
}

async fn calls(deployment: &Deployment, served: &Served, traces: &[Trace]) {
    let rest = Rest::new(&served.url);
    let admin = &deployment.env["ADMIN_TOKEN"];
    let get = |path: &str, token: &str, trace: &Trace| {
        let request = rest.request(Method::GET, path).bearer_auth(token);
        let request = request.header("x-request-id", format!("call-{}", trace.0[0]));
        Answer::of(request.header("traceparent", trace.parent()))
    };
    get("/apikeys", admin, &traces[0]).await.expect(200);
    get("/apikeys", "no token", &traces[1]).await.expect(401);
    get("/canary", admin, &traces[2]).await.expect(404);
    get("/apikeys?canary=canary", admin, &traces[5])
        .await
        .expect(400);
    let away = "ALTER TABLE provider_keys RENAME TO away";
    deployment.database.execute(away).await;
    get("/apikeys", admin, &traces[3]).await.expect(500);
    let mut list = called_by(admin, ListApiKeysRequest::default());
    let (parent, id) = (traces[4].parent(), format!("call-{}", traces[4].0[0]));
    list.metadata_mut()
        .insert("traceparent", parent.parse().unwrap());
    list.metadata_mut()
        .insert("x-request-id", id.parse().unwrap());
    let mut grpc = ApiKeyServiceClient::new(channel(&served.url).await);
    grpc.list_api_keys(list).await.unwrap_err();
}

async fn each_call_has_one_line(collector: Option<Collector>) {
    let deployment = Deployment::sqlite().await;
    let served = served(deployment.command("serve"), collector.as_ref());
    let traces: Vec<Trace> = (0x21..0x27).map(Trace::new).collect();
    calls(&deployment, &served, &traces).await;
    let finished = served.running.terminate();
    finished.expect(0);
    let lines = finished.stderr.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |trace: &Trace| -> Vec<&Value> {
        let id = format!("{:02x}", trace.0[0]).repeat(16);
        lines
            .iter()
            .filter(|line| line["span"]["trace_id"] == id.as_str())
            .collect()
    };
    let rows = [
        ("GET /apikeys", Some(200), None, false),
        ("GET /apikeys", Some(401), None, false),
        ("GET", Some(404), None, false),
        ("GET /apikeys", Some(500), None, true),
        (
            "keyward.v1.ApiKeyService/ListApiKeys",
            None,
            Some("INTERNAL"),
            true,
        ),
        ("GET /apikeys", Some(400), None, false),
    ];
    for (trace, (message, status, code, failed)) in traces.iter().zip(rows) {
        let lines = of(trace);
        let access: Vec<_> = lines
            .iter()
            .filter(|line| line["target"] == "keyward::access")
            .collect();
        assert_eq!(access.len(), 1, "{lines:#?}");
        let access = access[0];
        assert_eq!(access["message"], message);
        assert_eq!(access["status"].as_u64(), status);
        assert_eq!(access["code"].as_str(), code);
        assert!(access["duration_us"].is_u64(), "{access}");
        let id = format!("call-{}", trace.0[0]);
        assert_eq!(access["span"]["request_id"], id.as_str());
        let causes: Vec<_> = lines
            .iter()
            .filter(|line| line["level"] == "ERROR")
            .collect();
        assert_eq!(causes.len(), usize::from(failed), "{lines:#?}");
        for cause in causes {
            assert!(cause["cause"].as_str().unwrap().contains("provider_keys"));
            assert_eq!(cause["span"]["request_id"], id.as_str());
        }
        assert_eq!(lines.len(), 1 + usize::from(failed), "{lines:#?}");
    }
    let calls = lines
        .iter()
        .filter(|line| line["target"] == "keyward::access");
    assert_eq!(calls.count(), traces.len());
    assert!(!finished.stderr.contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_one_line_and_a_failure_its_cause_once() {
    each_call_has_one_line(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_the_same_where_spans_are_exported() {
    each_call_has_one_line(Some(Collector::start().await)).await;
}

/// Clients that die before, in and after their request, and while a response is due.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_killed_clients_have_no_unknown_code() {
    let deployment = Deployment::sqlite().await;
    let served = served(deployment.command("serve"), None);
    let token = &deployment.env["ADMIN_TOKEN"];
    let bearer = format!("Bearer {token}");
    let fields = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", bearer.as_str()),
    ];
    let cancel = 8_u32.to_be_bytes();
    for killed in 0..30 {
        let mut client = Http2::connect(served.address(), &[]);
        for call in 0..40 {
            let stream = 2 * call + 1;
            let path = "/keyward.v1.ApiKeyService/ListApiKeys";
            client.send(&request(stream, "POST", path, &fields));
            match call % 4 {
                0 => {}
                1 => client.send(&Frame::new(DATA, 0, stream, &[0; 3])),
                2 => client.send(&Frame::new(DATA, END_STREAM, stream, &[0; 3])),
                _ => client.send(&Frame::new(DATA, END_STREAM, stream, &[0; 5])),
            }
            if killed % 3 == 0 && call % 8 < 4 {
                client.send(&Frame::new(RST_STREAM, 0, stream, &cancel));
            }
        }
        if killed % 3 == 1 {
            client.wait_for(HEADERS);
        }
    }
    let finished = served.running.terminate();
    finished.expect(0);
    let lines = finished.stderr.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let codes: Vec<_> = lines
        .filter(|line| line["target"] == "keyward::access")
        .map(|line| line["code"].as_str().unwrap().to_owned())
        .collect();
    assert!(codes.len() > 100, "{}", codes.len());
    assert!(!codes.iter().any(|code| code == "UNKNOWN"), "{codes:?}");
}
