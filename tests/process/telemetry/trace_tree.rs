//! One trace shows the path of a request: REST or gRPC, then authentication, policy, vault and database, each
//! with the correct parent, attributes and status.

use http::Method;
use keyward::proto::v1::CreateApiKeyRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;
use tonic::Code;

use crate::support::client::{Answer, Rest, called_by, channel};
use crate::support::collector::{Collector, Protocol, attribute};
use crate::support::deployment::{Deployment, Served};
use crate::telemetry::spans::Trace;

/// The spans of one trace.
struct Tree {
    spans: Vec<Span>,
    server: Span,
}

impl Tree {
    fn of(trace: &Trace, collector: &Collector) -> Self {
        let server = trace.span(collector);
        let mut spans = collector.spans();
        spans.retain(|span| span.trace_id == trace.0);
        Self { spans, server }
    }

    /// Returns the children of a span, in the order of their start.
    fn children(&self, parent: &Span) -> Vec<&Span> {
        let mut children: Vec<_> = self
            .spans
            .iter()
            .filter(|span| span.parent_span_id == parent.span_id)
            .collect();
        children.sort_by_key(|span| span.start_time_unix_nano);
        children
    }

    fn names(&self, parent: &Span) -> Vec<&str> {
        let children = self.children(parent).into_iter();
        children.map(|span| span.name.as_str()).collect()
    }

    /// Returns the only child of that name.
    #[track_caller]
    fn child(&self, parent: &Span, name: &str) -> &Span {
        let mut children = self.children(parent);
        children.retain(|span| span.name == name);
        assert_eq!(children.len(), 1, "{name} of {:?}", self.names(parent));
        children[0]
    }

    /// Expects that each span is inside its parent's time, and that only these have errors.
    #[track_caller]
    fn expect_errors(&self, names: &[&str]) {
        let mut found: Vec<_> = self.spans.iter().filter(|span| failed(span)).collect();
        found.sort_by_key(|span| span.start_time_unix_nano);
        let found: Vec<_> = found.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(found, names);
        for span in &self.spans {
            for child in self.children(span) {
                assert!(child.start_time_unix_nano >= span.start_time_unix_nano);
                // SQLite's own thread leaves a statement's span after its response, possibly after the
                // waiting task has continued.
                let is_sqlite = attribute(child, "db.system.name").as_deref() == Some("sqlite");
                let ends_in_time = child.end_time_unix_nano <= span.end_time_unix_nano;
                assert!(
                    ends_in_time || is_sqlite,
                    "{} outlasts {}",
                    child.name,
                    span.name
                );
            }
        }
    }
}

fn failed(span: &Span) -> bool {
    let status = span.status.as_ref();
    status.is_some_and(|status| status.code() == StatusCode::Error)
}

#[track_caller]
fn expect(span: &Span, expected: &[(&str, Option<&str>)]) {
    for (name, expected) in expected {
        assert_eq!(
            attribute(span, name).as_deref(),
            *expected,
            "`{name}` of {span:#?}"
        );
    }
}

/// Expects the spans of a successful creation of a credential, except the server span.
fn expect_created(tree: &Tree, system: &str) {
    let server = &tree.server;
    let authenticate = tree.child(server, "authenticate");
    let accepted = [
        ("keyward.authentication.outcome", Some("accepted")),
        ("keyward.principal.kind", Some("user")),
    ];
    expect(authenticate, &accepted);
    let member = tree.child(authenticate, "store.read");
    expect(member, &[("operation", Some("member"))]);

    let policy = tree.child(server, "policy.authorize");
    let granted = [
        ("keyward.action", Some("api_key.create")),
        ("keyward.policy.outcome", Some("granted")),
    ];
    expect(policy, &granted);

    let keys = tree.child(server, "vault.keys");
    let unwrapped = tree.children(keys).into_iter();
    let unwrapped: Vec<_> = unwrapped
        .filter(|span| span.name == "vault.unwrap")
        .collect();
    assert_eq!(unwrapped.len(), 2, "{:?}", tree.names(keys));
    let seal = tree.child(server, "vault.seal");
    for span in unwrapped.into_iter().chain([seal]) {
        expect(span, &[("keyward.kek.version", Some("1"))]);
    }
    let read = tree.child(keys, "store.read");
    let select = tree.child(read, "SELECT data_keys");
    let query = |operation, table| {
        [
            ("db.system.name", Some(system)),
            ("db.operation.name", Some(operation)),
            ("db.collection.name", table),
            ("db.response.status_code", None),
            ("db.query.text", None),
            ("error.type", None),
        ]
    };
    expect(select, &query("SELECT", Some("data_keys")));

    let write = tree.child(server, "store.write");
    expect(write, &[("operation", Some("insert"))]);
    for (name, operation, table) in [
        ("BEGIN", "BEGIN", None),
        ("INSERT provider_keys", "INSERT", Some("provider_keys")),
        ("INSERT audit_events", "INSERT", Some("audit_events")),
        ("COMMIT", "COMMIT", None),
    ] {
        let statement = tree.child(write, name);
        assert_eq!(statement.kind(), SpanKind::Client);
        expect(statement, &query(operation, table));
    }
    tree.expect_errors(&[]);
}

async fn create(
    deployment: &Deployment,
    rest: &Rest,
    trace: &Trace,
    workspace: &str,
    token: &str,
) -> Answer {
    let body = json!({
        "workspaceId": &deployment.env[workspace], "provider": "AWS",
        "key": format!("key-{}", trace.0[0]), "secret": "a secret",
    });
    let request = rest.request(Method::POST, "/apikeys").bearer_auth(token);
    let request = request
        .header("content-type", "application/json")
        .header("traceparent", trace.parent());
    Answer::of(request.body(body.to_string())).await
}

async fn create_over_grpc(
    deployment: &Deployment,
    url: &str,
    trace: &Trace,
    workspace: &str,
    token: &str,
) -> Result<(), Code> {
    let request = CreateApiKeyRequest {
        workspace_id: deployment.env[workspace].to_owned(),
        provider: "AWS".to_owned(),
        key: format!("key-{}", trace.0[0]),
        secret: "a secret".to_owned(),
        ..Default::default()
    };
    let mut request = called_by(token, request);
    let parent = trace.parent().parse().unwrap();
    request.metadata_mut().insert("traceparent", parent);
    let mut client = ApiKeyServiceClient::new(channel(url).await);
    let answer = client.create_api_key(request).await;
    answer.map(|_| ()).map_err(|status| status.code())
}

async fn a_trace_shows_the_way(deployment: Deployment, protocol: Protocol, system: &str) {
    let collector = Collector::start().await;
    // Exports do not depend on the log settings.
    let serve = deployment
        .command("serve")
        .env("KEYWARD_LOG__FILTER", "info,keyward_core=off")
        // Every look-up reads the database.
        .env("KEYWARD_CACHE__MAX_ENTRIES", "0");
    let served = Served::of(collector.by(protocol, serve));
    let (rest, url) = (Rest::new(&served.url), &served.url);
    let admin = deployment.env["ADMIN_TOKEN"].to_owned();
    // The first request makes the data keys.
    create(&deployment, &rest, &Trace::new(1), "WORKSPACE_A", &admin)
        .await
        .expect(201);
    let trace: Vec<Trace> = (10..20).map(Trace::new).collect();
    create(&deployment, &rest, &trace[0], "WORKSPACE_A", &admin)
        .await
        .expect(201);
    create(&deployment, &rest, &trace[1], "WORKSPACE_B", &admin)
        .await
        .expect(403);
    create(&deployment, &rest, &trace[2], "WORKSPACE_A", "no token")
        .await
        .expect(401);
    let over_grpc = async |trace, workspace, token: &str| {
        create_over_grpc(&deployment, url, trace, workspace, token).await
    };
    assert_eq!(over_grpc(&trace[4], "WORKSPACE_A", &admin).await, Ok(()));
    let denied = Err(Code::PermissionDenied);
    assert_eq!(over_grpc(&trace[5], "WORKSPACE_B", &admin).await, denied);
    let unknown = Err(Code::Unauthenticated);
    assert_eq!(
        over_grpc(&trace[6], "WORKSPACE_A", "no token").await,
        unknown
    );
    let away = "ALTER TABLE provider_keys RENAME TO away";
    deployment.database.execute(away).await;
    create(&deployment, &rest, &trace[3], "WORKSPACE_A", &admin)
        .await
        .expect(500);
    let internal = Err(Code::Internal);
    assert_eq!(over_grpc(&trace[7], "WORKSPACE_A", &admin).await, internal);
    served.running.terminate().expect(0);

    let tree: Vec<Tree> = trace[..8]
        .iter()
        .map(|it| Tree::of(it, &collector))
        .collect();
    let http = |status| {
        [
            ("http.request.method", Some("POST")),
            ("http.route", Some("/apikeys")),
            ("http.response.status_code", Some(status)),
        ]
    };
    let rpc = |code| {
        [
            ("rpc.system.name", Some("grpc")),
            ("rpc.method", Some("keyward.v1.ApiKeyService/CreateApiKey")),
            ("rpc.response.status_code", Some(code)),
        ]
    };
    for tree in &tree[..4] {
        assert_eq!(tree.server.name, "POST /apikeys");
    }
    for tree in &tree[4..] {
        assert_eq!(tree.server.name, "keyward.v1.ApiKeyService/CreateApiKey");
    }
    let [created, denied, unknown, failing] = ["201", "403", "401", "500"].map(http);
    let codes = ["OK", "PERMISSION_DENIED", "UNAUTHENTICATED", "INTERNAL"];
    let [ok, rejected, unauthenticated, internal] = codes.map(rpc);
    for (tree, expected) in [(&tree[0], created), (&tree[4], ok)] {
        expect(&tree.server, &expected);
        expect_created(tree, system);
    }
    for (tree, expected) in [(&tree[1], denied), (&tree[5], rejected)] {
        expect(&tree.server, &expected);
        expect(
            &tree.server,
            &[("keyward.error.reason", Some("PERMISSION_DENIED"))],
        );
        let policy = tree.child(&tree.server, "policy.authorize");
        expect(policy, &[("keyward.policy.outcome", Some("denied"))]);
        let names = tree.names(&tree.server);
        assert!(
            !names.iter().any(|name| name.starts_with("vault")),
            "{names:?}"
        );
        tree.expect_errors(&[]);
    }
    for (tree, expected) in [(&tree[2], unknown), (&tree[6], unauthenticated)] {
        expect(&tree.server, &expected);
        expect(
            &tree.server,
            &[("keyward.error.reason", Some("TOKEN_INVALID"))],
        );
        assert_eq!(tree.names(&tree.server), ["authenticate"]);
        let rejected = [("keyward.authentication.outcome", Some("refused"))];
        expect(tree.child(&tree.server, "authenticate"), &rejected);
        tree.expect_errors(&[]);
    }
    let faults = [(&tree[3], failing, "500"), (&tree[7], internal, "INTERNAL")];
    for (tree, expected, error) in faults {
        expect(&tree.server, &expected);
        expect(&tree.server, &[("error.type", Some(error))]);
        let write = tree.child(&tree.server, "store.write");
        expect(write, &[("error.type", Some("internal"))]);
        let count = tree.child(write, "SELECT provider_keys");
        let code = if system == "sqlite" { "1" } else { "42P01" };
        let status = [
            ("db.response.status_code", Some(code)),
            ("error.type", Some("_OTHER")),
        ];
        expect(count, &status);
        tree.child(write, "ROLLBACK");
        let server = tree.server.name.as_str();
        tree.expect_errors(&[server, "store.write", "SELECT provider_keys"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_shows_the_path_of_a_request_over_grpc() {
    a_trace_shows_the_way(Deployment::sqlite().await, Protocol::Grpc, "sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_shows_the_path_of_a_request_over_http() {
    a_trace_shows_the_way(Deployment::sqlite().await, Protocol::Http, "sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_shows_the_path_of_a_request_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        a_trace_shows_the_way(deployment, Protocol::Grpc, "postgresql").await;
    }
}

/// The trace has the policy's decision for every request and caller.
#[tokio::test(flavor = "multi_thread")]
async fn trace_shows_the_decision_of_the_policy() {
    let deployment = Deployment::sqlite().await;
    let collector = Collector::start().await;
    let served = Served::of(collector.by(Protocol::Grpc, deployment.command("serve")));
    let rest = Rest::new(&served.url);
    let env = |name: &str| deployment.env[name].to_owned();
    let keys = |workspace| format!("/apikeys?workspaceId={}", env(workspace));
    let repo = format!("/repo/{}/ai/apikey", env("REPO_A"));
    let own = [
        (keys("WORKSPACE_A"), "ADMIN_TOKEN", 200, "granted"),
        (keys("WORKSPACE_B"), "ADMIN_TOKEN", 403, "denied"),
        (repo.clone(), "ADMIN_TOKEN", 200, "granted"),
        (repo, "MANAGEMENT_KEY", 403, "denied"),
        ("/keys".to_owned(), "MANAGEMENT_KEY", 200, "granted"),
        ("/keys".to_owned(), "ADMIN_TOKEN", 403, "denied"),
        ("/key".to_owned(), "MANAGEMENT_KEY", 200, "granted"),
        (
            "/v1/audit-events".to_owned(),
            "SERVICE_TOKEN",
            200,
            "granted",
        ),
        ("/v1/audit-events".to_owned(), "ADMIN_TOKEN", 403, "denied"),
    ];
    let calls: Vec<_> = own
        .into_iter()
        .zip(30..)
        .map(|(call, number)| (call, Trace::new(number)))
        .collect();
    for ((path, token, status, _), trace) in &calls {
        let request = rest.request(Method::GET, path).bearer_auth(env(token));
        let request = request.header("traceparent", trace.parent());
        Answer::of(request).await.expect(*status);
    }
    served.running.terminate().expect(0);
    for ((path, token, _, outcome), trace) in &calls {
        let tree = Tree::of(trace, &collector);
        let names = tree.names(&tree.server);
        let policy = names.iter().filter(|name| **name == "policy.authorize");
        assert_eq!(policy.count(), 1, "{path} by {token}: {names:?}");
        let policy = tree.child(&tree.server, "policy.authorize");
        expect(policy, &[("keyward.policy.outcome", Some(outcome))]);
    }
}
