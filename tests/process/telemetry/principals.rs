//! The access log line and the span of a request name its principal, regardless of the outcome.

use bytes::Bytes;
use http::Method;
use keyward::proto::v1::{
    CreateApiKeyRequest, GetCurrentKeyRequest, ListApiKeysRequest, ListAuditEventsRequest,
};
use keyward_crypto::{Token, TokenKind};
use serde_json::{Value, json};

use crate::support::client::{Answer, Rest, WebForm, frame};
use crate::support::collector::{Collector, attribute};
use crate::support::deployment::{Deployment, Served};
use crate::telemetry::log_lines::served;
use crate::telemetry::spans::Trace;

/// Number of requests in a burst: more than each test caller needs, except one.
const BURST: u8 = 20;

/// The three protocols.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Rest,
    Grpc,
    GrpcWeb,
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Rest, Protocol::Grpc, Protocol::GrpcWeb];

/// A request in each of its forms.
struct Form {
    verb: Method,
    path: String,
    json: Option<Value>,
    rpc: &'static str,
    frame: Bytes,
}

impl Form {
    fn list_api_keys(workspace: &str) -> Self {
        let message = ListApiKeysRequest {
            workspace_id: workspace.to_owned(),
            ..Default::default()
        };
        Self {
            verb: Method::GET,
            path: format!("/apikeys?workspaceId={workspace}"),
            json: None,
            rpc: "ApiKeyService/ListApiKeys",
            frame: frame(&message),
        }
    }

    fn create_nothing() -> Self {
        Self {
            verb: Method::POST,
            path: "/apikeys".to_owned(),
            json: Some(json!({})),
            rpc: "ApiKeyService/CreateApiKey",
            frame: frame(&CreateApiKeyRequest::default()),
        }
    }

    fn list_audit_events() -> Self {
        Self {
            verb: Method::GET,
            path: "/v1/audit-events".to_owned(),
            json: None,
            rpc: "AuditService/ListAuditEvents",
            frame: frame(&ListAuditEventsRequest::default()),
        }
    }

    fn get_current_key() -> Self {
        Self {
            verb: Method::GET,
            path: "/key".to_owned(),
            json: None,
            rpc: "ManagementKeyService/GetCurrentKey",
            frame: frame(&GetCurrentKeyRequest {}),
        }
    }
}

/// The line and the span that a request must leave.
struct Expected {
    trace: Trace,
    protocol: Protocol,
    status: u64,
    code: &'static str,
    principal: Option<(&'static str, String)>,
}

/// Requests over each protocol, each request with a separate trace.
struct TracedRequests {
    http1: Rest,
    http2: Rest,
    next_trace: u8,
    expected: Vec<Expected>,
}

impl TracedRequests {
    fn new(served: &Served) -> Self {
        Self {
            http1: Rest::new(&served.url),
            http2: Rest::http2(&served.url),
            next_trace: 1,
            expected: Vec::new(),
        }
    }

    fn trace(&mut self) -> Trace {
        let number = self.next_trace;
        self.next_trace = number.checked_add(1).unwrap();
        Trace::new(number)
    }

    async fn send(&self, protocol: Protocol, form: &Form, token: &str, trace: &Trace) -> Answer {
        let request = match protocol {
            Protocol::Rest => {
                let request = self.http1.request(form.verb.clone(), &form.path);
                let request = request.bearer_auth(token);
                match &form.json {
                    Some(json) => request
                        .header("content-type", "application/json")
                        .body(json.to_string()),
                    None => request,
                }
            }
            Protocol::Grpc => {
                let path = format!("/keyward.v1.{}", form.rpc);
                let request = self.http2.request(Method::POST, &path);
                let request = request.header("content-type", "application/grpc");
                let request = request.header("te", "trailers").bearer_auth(token);
                request.body(form.frame.clone())
            }
            Protocol::GrpcWeb => {
                let frame = form.frame.clone();
                self.http1.grpc_web(form.rpc, token, WebForm::Binary, frame)
            }
        };
        Answer::of(request.header("traceparent", trace.parent())).await
    }

    /// Calls over each protocol, and records the expected line and span of each request.
    async fn each(
        &mut self,
        form: &Form,
        token: &str,
        (status, code): (u64, &'static str),
        principal: Option<(&'static str, &str)>,
    ) {
        for protocol in PROTOCOLS {
            let trace = self.trace();
            self.send(protocol, form, token, &trace).await;
            self.expected.push(Expected {
                trace,
                protocol,
                status,
                code,
                principal: principal.map(|(kind, id)| (kind, id.to_owned())),
            });
        }
    }

    /// Calls over REST until the rate limit rejects the key, and then once over each protocol.
    async fn exhaust(&mut self, token: &str, hash: &str) {
        let form = Form::get_current_key();
        for protocol in PROTOCOLS {
            let rejected = loop {
                let trace = self.trace();
                let answer = self.send(Protocol::Rest, &form, token, &trace).await;
                if answer.status == 429 {
                    break trace;
                }
                answer.expect(200);
            };
            let (trace, protocol) = match protocol {
                Protocol::Rest => (rejected, protocol),
                _ => (self.trace(), protocol),
            };
            if !matches!(protocol, Protocol::Rest) {
                self.send(protocol, &form, token, &trace).await;
            }
            self.expected.push(Expected {
                trace,
                protocol,
                status: 429,
                code: "RESOURCE_EXHAUSTED",
                principal: Some(("issued_key", hash.to_owned())),
            });
        }
    }
}

async fn calls(deployment: &Deployment, served: &Served) -> Vec<Expected> {
    let env = |name: &str| deployment.env[name].to_owned();
    let (admin, service, manager) = (
        env("ADMIN_TOKEN"),
        env("SERVICE_TOKEN"),
        env("MANAGEMENT_KEY"),
    );
    let manager_hash = Token::parse(TokenKind::ISSUED_KEY, &manager)
        .unwrap()
        .hash();
    let manager_hash = manager_hash.to_string();
    let mut calls = TracedRequests::new(served);
    let body = json!({ "name": "a key", "workspace_id": env("WORKSPACE_A") });
    let created = calls.http1.send(Method::POST, "/keys", &manager, &body);
    let created = created.await.expect(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (issued, issued_hash) = (text(&created["key"]), text(&created["data"]["hash"]));

    let user = Some(("user", "demo-admin"));
    let own = Form::list_api_keys(&env("WORKSPACE_A"));
    let other = Form::list_api_keys(&env("WORKSPACE_B"));
    let key = Form::get_current_key();
    calls.each(&own, &admin, (200, "OK"), user).await;
    let denied = (403, "PERMISSION_DENIED");
    calls.each(&other, &admin, denied, user).await;
    let invalid = (400, "INVALID_ARGUMENT");
    calls
        .each(&Form::create_nothing(), &admin, invalid, user)
        .await;
    let manages = Some(("management_key", manager_hash.as_str()));
    calls.each(&key, &manager, (200, "OK"), manages).await;
    calls.each(&own, &manager, denied, manages).await;
    let serves = Some(("service", "demo-service"));
    let events = Form::list_audit_events();
    calls.each(&events, &service, (200, "OK"), serves).await;
    calls.each(&key, &service, denied, serves).await;
    let spends = Some(("issued_key", issued_hash.as_str()));
    calls.each(&key, &issued, (200, "OK"), spends).await;
    let anonymous = (401, "UNAUTHENTICATED");
    calls.each(&own, "no token", anonymous, None).await;
    calls.exhaust(&issued, &issued_hash).await;
    calls.expected
}

#[tokio::test(flavor = "multi_thread")]
async fn line_and_span_of_a_call_name_its_principal() {
    let deployment = Deployment::sqlite().await;
    let collector = Collector::start().await;
    let serve = deployment
        .command("serve")
        .env("KEYWARD_LIMITS__CALLER_REQUESTS_PER_SECOND", "1")
        .env("KEYWARD_LIMITS__CALLER_BURST", BURST.to_string());
    let served = served(serve, Some(&collector));
    let calls = calls(&deployment, &served).await;
    let finished = served.running.terminate();
    finished.expect(0);
    // Nine requests of different kinds and the rejected one, over each protocol.
    assert_eq!(calls.len(), 10 * PROTOCOLS.len());
    let lines = finished.stderr.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["target"] == "keyward::access")
        .collect();
    for call in &calls {
        let id = format!("{:02x}", call.trace.0[0]).repeat(16);
        let of_call = |line: &&Value| line["span"]["trace_id"] == id.as_str();
        let line: Vec<_> = lines.iter().filter(of_call).collect();
        assert_eq!(line.len(), 1, "{line:#?}");
        let (line, span) = (line[0], call.trace.span(&collector));
        match call.protocol {
            Protocol::Rest => assert_eq!(line["status"], call.status, "{line}"),
            Protocol::Grpc | Protocol::GrpcWeb => assert_eq!(line["code"], call.code, "{line}"),
        }
        let (kind, id) = match &call.principal {
            Some((kind, id)) => (Some(*kind), Some(id.as_str())),
            None => (None, None),
        };
        assert_eq!(line["principal_kind"].as_str(), kind, "{line}");
        assert_eq!(line["principal_id"].as_str(), id, "{line}");
        let found = attribute(&span, "keyward.principal.kind");
        assert_eq!(found.as_deref(), kind, "{span:#?}");
        let found = attribute(&span, "keyward.principal.id");
        assert_eq!(found.as_deref(), id, "{span:#?}");
    }
}
