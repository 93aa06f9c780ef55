//! Metrics of `/metrics`: exact counts after known requests over all protocols, a fixed small number of
//! series regardless of client input, and names from the conventions and from Keyward.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use keyward::proto::v1::{ListApiKeysRequest, RecordUsageRequest, ReserveSpendRequest};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use crate::support::client::{Answer, Rest, WebForm, called_by, channel, frame, resolve};
use crate::support::deployment::{Deployment, Served};
use crate::support::spending::Meter;

/// Metrics at one moment: values by series, each with its labels in order.
#[derive(Debug)]
pub(crate) struct Measured(BTreeMap<String, f64>);

impl Measured {
    pub(crate) async fn at(url: &str) -> Self {
        let answer = Rest::new(url).get("/metrics", "none").await;
        assert_eq!(answer.status, 200);
        let kind = answer.headers["content-type"].to_str().unwrap();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .map(|line| {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    (series.to_owned(), value.parse().unwrap())
                })
                .collect(),
        )
    }

    /// Returns the value of a series.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let found = self.find(series);
        found.unwrap_or_else(|| panic!("{series} is not among {:#?}", self.0.keys()))
    }

    pub(crate) fn find(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// Returns the growth of a series since then.
    #[track_caller]
    fn since(&self, before: &Self, series: &str) -> f64 {
        self.value(series) - before.find(series).unwrap_or_default()
    }

    /// Returns the metric names.
    fn names(&self) -> BTreeSet<&str> {
        self.0
            .keys()
            .map(|series| series.split('{').next().unwrap())
            .collect()
    }

    fn series(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

fn http(method: &str, route: &str, status: u16) -> String {
    format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
         http_response_status_code=\"{status}\",http_route=\"{route}\",\
         url_scheme=\"http\"}}"
    )
}

fn rpc(method: &str, code: &str) -> String {
    format!(
        "rpc_server_call_duration_seconds_count{{rpc_method=\"{method}\",\
         rpc_response_status_code=\"{code}\",rpc_system_name=\"grpc\"}}"
    )
}

async fn counts_are_exact(deployment: Deployment, system: &str) {
    let served = deployment.start();
    let (rest, url) = (Rest::new(&served.url), &served.url);
    let admin = &deployment.env["ADMIN_TOKEN"];
    let workspace = &deployment.env["WORKSPACE_A"];
    let created = rest.create(admin, workspace, "k0", "s").await.expect(201);
    let before = Measured::at(url).await;

    for number in 1..=3 {
        let key = format!("k{number}");
        rest.create(admin, workspace, &key, "s").await.expect(201);
    }
    rest.create(admin, workspace, "k1", "s").await.expect(400);
    for _ in 0..2 {
        rest.get("/apikeys", "no token").await.expect(401);
    }
    let mut grpc = ApiKeyServiceClient::new(channel(url).await);
    for _ in 0..4 {
        let request = called_by(admin, ListApiKeysRequest::default());
        grpc.list_api_keys(request).await.unwrap();
    }
    let rejected = grpc.list_api_keys(called_by("no token", ListApiKeysRequest::default()));
    rejected.await.unwrap_err();
    for form in [WebForm::Binary, WebForm::Text] {
        let body = frame(&ListApiKeysRequest::default());
        let request = rest.grpc_web("ApiKeyService/ListApiKeys", admin, form, body);
        assert_eq!(Answer::of(request).await.status, 200);
    }
    let uuid = created["apiKeyId"].as_str().unwrap();
    resolve(&channel(url).await, &deployment.env["SERVICE_TOKEN"], uuid).await;
    let mut health = HealthClient::new(channel(url).await);
    health.check(HealthCheckRequest::default()).await.unwrap();

    let after = Measured::at(url).await;
    let list = "keyward.v1.ApiKeyService/ListApiKeys";
    let vault = |operation| {
        format!(
            "keyward_vault_operations_total{{kek_version=\"1\",operation=\"{operation}\",\
             outcome=\"success\"}}"
        )
    };
    let inserted = format!(
        "db_client_operation_duration_seconds_count{{db_operation_name=\"COMMIT\",\
         db_system_name=\"{system}\"}}"
    );
    let lookups = |result| format!("keyward_token_cache_lookups_total{{result=\"{result}\"}}");
    for (series, grown) in [
        (http("POST", "/apikeys", 201), 3.0),
        (http("POST", "/apikeys", 400), 1.0),
        (http("GET", "/apikeys", 401), 2.0),
        (http("GET", "/metrics", 200), 1.0),
        // Native gRPC, and both forms of gRPC-Web.
        (rpc(list, "OK"), 6.0),
        (rpc(list, "UNAUTHENTICATED"), 1.0),
        (rpc("grpc.health.v1.Health/Check", "OK"), 1.0),
        (vault("seal"), 4.0),
        (vault("open"), 1.0),
        (vault("unwrap"), 10.0),
        (
            "keyward_requests_rejected_total{reason=\"authentication\"}".to_owned(),
            3.0,
        ),
        (lookups("hit"), 10.0),
        // The invalid tokens, and the service's token.
        (lookups("miss"), 4.0),
        // Three credentials, and the release of one.
        (inserted, 4.0),
    ] {
        assert_eq!(after.since(&before, &series), grown, "{series}");
    }
    let active = "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"}";
    // The metrics request itself.
    assert_eq!(after.value(active), 1.0);
    assert_eq!(after.value("keyward_ready"), 1.0);
    for name in [
        "keyward_connections",
        "keyward_tasks",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
    ] {
        assert!(after.value(name) > 0.0, "{name}");
    }
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exact_on_sqlite() {
    counts_are_exact(Deployment::sqlite().await, "sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exact_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        counts_are_exact(deployment, "postgresql").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spending_is_counted_once() {
    let deployment = Deployment::sqlite().await;
    let served = deployment.start();
    let url = &served.url;
    let meter = Meter::new(url, &deployment.env).await;
    let hash = meter.issue(Some(1000)).await;
    let hold = |request_id: &str, amount_nanos| ReserveSpendRequest {
        hash: hash.clone(),
        request_id: request_id.to_owned(),
        amount_nanos,
        ..Default::default()
    };
    let first = meter.reserve(hold("r1", 400)).await.unwrap();
    let second = meter.reserve(hold("r2", 400)).await.unwrap();
    meter.reserve(hold("r3", 400)).await.unwrap_err();
    meter.settle(&first.reservation_id, 300).await.unwrap();
    // Settling again adds no charge.
    meter.settle(&first.reservation_id, 300).await.unwrap();
    meter.release(&second.reservation_id).await.unwrap();
    for byok in [false, true, true] {
        let charge = RecordUsageRequest {
            hash: hash.clone(),
            request_id: format!("charge {byok}"),
            cost_nanos: 10,
            byok,
            ..Default::default()
        };
        meter.record(charge).await.unwrap();
    }
    let measured = Measured::at(url).await;
    for (series, value) in [
        ("keyward_reservations_total{outcome=\"held\"}", 2.0),
        (
            "keyward_reservations_total{outcome=\"limit_exceeded\"}",
            1.0,
        ),
        ("keyward_reservations_total{outcome=\"settled\"}", 2.0),
        ("keyward_reservations_total{outcome=\"released\"}", 1.0),
        ("keyward_charges_total{byok=\"false\"}", 2.0),
        ("keyward_charges_total{byok=\"true\"}", 1.0),
    ] {
        assert_eq!(measured.value(series), value, "{series}");
    }
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_create_no_metric_series() {
    let deployment = Deployment::sqlite().await;
    let served = deployment.start();
    let (rest, url) = (Rest::new(&served.url), &served.url);
    let admin = &deployment.env["ADMIN_TOKEN"];
    let call = async |number: usize| {
        let odd = Method::from_bytes(format!("CANARY{number}").as_bytes()).unwrap();
        for (method, path, token) in [
            (Method::GET, format!("/canary-{number}"), admin),
            (odd.clone(), format!("/canary-{number}"), admin),
            (odd, "/apikeys".to_owned(), admin),
            (Method::DELETE, format!("/apikeys/canary-{number}"), admin),
            (
                Method::GET,
                format!("/repo/canary-{number}/ai/apikey"),
                admin,
            ),
            (
                Method::GET,
                format!("/apikeys?workspaceId=canary-{number}"),
                admin,
            ),
            (
                Method::GET,
                format!("/keys/canary-{number}"),
                &format!("sk-canary-{number}"),
            ),
        ] {
            Answer::of(rest.request(method, &path).bearer_auth(token)).await;
        }
        for path in [
            format!("canary.v1.S/M{number}"),
            format!("ApiKeyService/M{number}"),
        ] {
            let body = frame(&ListApiKeysRequest::default());
            Answer::of(rest.grpc_web(&path, admin, WebForm::Binary, body)).await;
        }
    };
    call(0).await;
    Measured::at(url).await;
    let few = Measured::at(url).await;
    for number in 1..=200 {
        call(number).await;
    }
    let many = Measured::at(url).await;
    // The name of a path, a method, a key or a workspace makes no difference.
    assert_eq!(few.series(), many.series());
    let text = format!("{many:?}");
    for secret in [
        "canary",
        "CANARY",
        "demo",
        &deployment.env["ORGANIZATION_ID"],
    ] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let other = rpc("_OTHER", "UNIMPLEMENTED");
    let other = other.replace("{rpc", "{error_type=\"UNIMPLEMENTED\",rpc");
    assert_eq!(many.value(&other), 402.0);
    // Reflection is counted as a Keyward service.
    let nothing = futures_util::stream::empty::<ServerReflectionRequest>();
    let mut reflection = ServerReflectionClient::new(channel(url).await);
    let answers = reflection.server_reflection_info(nothing).await.unwrap();
    assert!(answers.into_inner().message().await.unwrap().is_none());
    let reflection = rpc(
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "OK",
    );
    assert_eq!(Measured::at(url).await.value(&reflection), 1.0);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_have_a_listener_of_their_own() {
    let deployment = Deployment::sqlite().await;
    let serve = deployment.command("serve");
    let served = Served::of(serve.env("KEYWARD_OPERATIONS__LISTEN", "127.0.0.1:0"));
    let operations = served.running.stderr.find(|printed| {
        let mut lines = printed.lines();
        let line = lines.find(|line| line.contains("listening for operations"))?;
        let (_, address) = line.split_once("address=")?;
        printed.contains(&format!("{line}\n")).then_some(())?;
        Some(format!("http://{}", address.split_whitespace().next()?))
    });
    let operations = operations.unwrap();
    let (public, rest) = (Rest::new(&served.url), Rest::new(&operations));
    let status = async |rest: &Rest, path: &str| rest.get(path, "none").await.status;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status(&rest, path).await, 200, "{path}");
        assert_eq!(status(&public, path).await, 200, "{path}");
    }
    let measured = Measured::at(&operations).await;
    assert!(measured.names().contains("keyward_ready"));
    // Metrics exist only on the operations listener, which serves nothing else.
    assert_eq!(status(&public, "/metrics").await, 404);
    for path in [
        "/",
        "/apikeys",
        "/openapi.json",
        "/docs",
        "/keys",
        "/metrics/x",
    ] {
        assert_eq!(status(&rest, path).await, 404, "{path}");
    }
    let mut health = HealthClient::new(channel(&operations).await);
    let service = "keyward.v1.ApiKeyService".to_owned();
    let answer = health.check(HealthCheckRequest { service }).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
    let admin = &deployment.env["ADMIN_TOKEN"];
    let mut api = ApiKeyServiceClient::new(channel(&operations).await);
    let request = called_by(admin, ListApiKeysRequest::default());
    api.list_api_keys(request).await.unwrap_err();
    served.running.terminate().expect(0);
}
