//! Every method of the descriptor, called without a token, in the wrong role, from another organization, and
//! with the required right. A new method without a case in `cases.rs` fails here.

use std::collections::BTreeSet;

use http::Method;
use keyward::proto;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value as Reflected};
use serde_json::{Value, json};
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use super::cases::{Case, NOT_IMPLEMENTED, TokenOwner, cases};
use crate::support::{
    NO_HEADER, ORGANIZATION, OTHER_ORGANIZATION, REPO_A, TestServer, UNAUTHENTICATED, User,
    WORKSPACE_A, hold, rejected, sha256_hex,
};

fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(proto::DESCRIPTOR).unwrap();
    let services = pool
        .services()
        .filter(|service| service.package_name() == "keyward.v1");
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

fn method(name: &str) -> MethodDescriptor {
    methods()
        .into_iter()
        .find(|method| method.full_name() == name)
        .unwrap()
}

/// Codec that passes bytes unchanged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length).to_vec()))
    }
}

/// Calls a method with a JSON request, encoded by the descriptor.
async fn call(
    server: &TestServer,
    method: &MethodDescriptor,
    request: &Value,
    token: Option<&str>,
) -> Result<(), Status> {
    let message = DynamicMessage::deserialize(method.input(), request.clone()).unwrap();
    let mut request = Request::new(message.encode_to_vec());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut client = Grpc::new(server.channel());
    client.ready().await.unwrap();
    client
        .unary(request, path.parse().unwrap(), Bytes)
        .await
        .map(drop)
}

/// Returns a method's HTTP bindings: method, path template, and true if there is a body.
fn bindings(method: &MethodDescriptor) -> Vec<(Method, String, bool)> {
    let extension = method
        .parent_pool()
        .get_extension_by_name("google.api.http")
        .unwrap();
    let options = method.options();
    if !options.has_extension(&extension) {
        return Vec::new();
    }
    let Reflected::Message(rule) = options.get_extension(&extension).into_owned() else {
        panic!("google.api.http is a message");
    };
    let additional = rule
        .get_field_by_name("additional_bindings")
        .unwrap()
        .into_owned();
    let more = additional
        .as_list()
        .unwrap()
        .iter()
        .map(|rule| rule.as_message().unwrap().clone());
    std::iter::once(rule.clone())
        .chain(more)
        .map(|rule| binding(&rule))
        .collect()
}

fn binding(rule: &DynamicMessage) -> (Method, String, bool) {
    let text = |name: &str| {
        let value = rule.get_field_by_name(name).unwrap();
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let verb = ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .find(|v| text(v).is_some());
    let verb = verb.unwrap();
    let name = Method::from_bytes(verb.to_ascii_uppercase().as_bytes()).unwrap();
    (name, text(verb).unwrap(), text("body").is_some())
}

/// Calls a method by a single HTTP binding.
async fn call_rest(
    server: &TestServer,
    method: &MethodDescriptor,
    (verb, template, has_body): &(Method, String, bool),
    request: &Value,
    token: Option<&str>,
) -> (u16, String) {
    let mut rest = request.as_object().unwrap().clone();
    let mut path = template.clone();
    for field in method.input().fields() {
        let variable = format!("{{{}}}", field.name());
        if path.contains(&variable) {
            let value = rest.remove(field.json_name()).unwrap_or(json!("x"));
            path = path.replace(&variable, value.as_str().unwrap());
        }
    }
    if !has_body && !rest.is_empty() {
        let pairs: Vec<_> = rest
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
            .collect();
        path = format!("{path}?{}", pairs.join("&"));
    }
    let mut call = server.call(verb.clone(), &path);
    if *has_body {
        call = call.json(&Value::Object(rest));
    }
    if let Some(token) = token {
        call = call.bearer(token);
    }
    let answer = call.send().await;
    assert!(answer.header("x-request-id").is_some());
    (answer.status, answer.body)
}

/// Tokens of callers that are not users.
struct Keys {
    management: String,
    foreign_management: String,
    issued: String,
}

impl Keys {
    async fn new(server: &TestServer) -> Self {
        let management = server.management_key(ORGANIZATION).await;
        Self {
            foreign_management: server.management_key(OTHER_ORGANIZATION).await,
            issued: server.issued_key(&management, json!({})).await.key,
            management,
        }
    }

    fn token(&self, server: &TestServer, owner: TokenOwner) -> String {
        match owner {
            TokenOwner::User(user) => server.token(user),
            TokenOwner::Service => server.service_token(),
            TokenOwner::ManagementKey => self.management.clone(),
            TokenOwner::ForeignManagementKey => self.foreign_management.clone(),
            TokenOwner::IssuedKey => self.issued.clone(),
        }
    }
}

/// Returns the case's request, on resources created for it.
async fn request(server: &TestServer, keys: &Keys, case: &Case, place: usize) -> Value {
    let mut text = case.request.to_string();
    if text.contains("$KEY") {
        let body = json!({
            "workspaceId": WORKSPACE_A, "key": format!("{place}"), "secret": "s", "provider": "AWS",
        });
        text = text.replace("$KEY", &server.create(body).await);
    }
    if text.contains("$REPO_KEY") {
        let name = place.to_string();
        let key = server.create_repo_ai_key(REPO_A, &name).await;
        text = text.replace("$REPO_KEY", &key.id);
    }
    if text.contains("$HASH") {
        let issued = server.issued_key(&keys.management, json!({})).await;
        text = text.replace("$HASH", &issued.hash);
    }
    if text.contains("$MANAGEMENT_HASH") {
        let key = server.management_key(ORGANIZATION).await;
        text = text.replace("$MANAGEMENT_HASH", &sha256_hex(&key));
    }
    if text.contains("$RESERVATION") {
        let issued = server.issued_key(&keys.management, json!({})).await;
        let reservation = server.reserved(hold(&issued.hash, "swept", 1)).await;
        text = text.replace("$RESERVATION", &reservation);
    }
    serde_json::from_str(&text).unwrap()
}

/// Returns the 401 message of a method without a token.
fn without_token(name: &str) -> &'static str {
    if name.contains("ManagementKeyService") || name.contains("AuditService") {
        NO_HEADER
    } else {
        UNAUTHENTICATED
    }
}

/// Expects that a caller is rejected with that code, over gRPC and by every binding.
async fn rejects(
    server: &TestServer,
    method: &MethodDescriptor,
    request: &Value,
    (owner, token): (TokenOwner, &str),
    (code, message): (Code, &str),
) {
    let name = method.full_name();
    let rejection = rejected(call(server, method, request, Some(token)).await);
    let returned = (rejection.status.code(), rejection.status.message());
    assert_eq!(returned, (code, message), "{name} {owner:?}");
    rejection.alone();
    let expected = if code == Code::NotFound { 404 } else { 403 };
    for binding in bindings(method) {
        let (status, body) = call_rest(server, method, &binding, request, Some(token)).await;
        assert_eq!(status, expected, "{name} {owner:?} {body}");
        assert!(body.contains(message), "{name} {body}");
    }
}

#[test]
fn every_method_of_the_descriptor_is_swept() {
    let described: BTreeSet<_> = methods().iter().map(|m| m.full_name().to_owned()).collect();
    let cases: Vec<_> = cases().iter().map(|case| case.method.to_owned()).collect();
    let listed: BTreeSet<_> = NOT_IMPLEMENTED
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let swept: BTreeSet<_> = cases.iter().cloned().collect();
    assert_eq!(cases.len(), swept.len(), "a method has two cases");
    assert_eq!(
        NOT_IMPLEMENTED.len(),
        listed.len(),
        "a method is listed twice"
    );
    let both: Vec<_> = swept.intersection(&listed).collect();
    assert!(
        both.is_empty(),
        "has a case and is listed as not implemented: {both:?}"
    );
    let covered: BTreeSet<_> = swept.union(&listed).cloned().collect();
    let uncovered: Vec<_> = described.difference(&covered).collect();
    assert!(
        uncovered.is_empty(),
        "give these a case in sweep_cases.rs: {uncovered:?}"
    );
    let unknown: Vec<_> = covered.difference(&described).collect();
    assert!(unknown.is_empty(), "no such method: {unknown:?}");
    for case in self::cases() {
        assert!(
            !case.wrong_role.is_empty(),
            "{} has no wrong role",
            case.method
        );
        assert!(
            !case.other_organization.is_empty(),
            "{} has no outsider",
            case.method
        );
    }
}

async fn every_implemented_method_rejects_all_but_its_callers(server: TestServer) {
    let keys = Keys::new(&server).await;
    for (place, case) in cases().iter().enumerate() {
        let method = method(case.method);
        let request = request(&server, &keys, case, place).await;
        let name = case.method;
        let denied = proto::METHODS
            .iter()
            .find(|spec| format!("{}.{}", spec.service, spec.method) == name)
            .unwrap();
        let denied = denied
            .errors
            .iter()
            .find(|rule| rule.code == Code::PermissionDenied);
        let denied = denied
            .and_then(|rule| rule.message)
            .unwrap_or("Insufficient permissions");
        let denied = (Code::PermissionDenied, denied);

        let unauthenticated = rejected(call(&server, &method, &request, None).await);
        assert_eq!(
            unauthenticated.status.code(),
            Code::Unauthenticated,
            "{name}"
        );
        for binding in bindings(&method) {
            let (status, body) = call_rest(&server, &method, &binding, &request, None).await;
            assert_eq!(status, 401, "{name}");
            assert!(body.contains(without_token(name)), "{name} {body}");
        }
        for owner in &case.wrong_role {
            let token = keys.token(&server, *owner);
            rejects(&server, &method, &request, (*owner, &token), denied).await;
        }
        let unseen = case
            .unseen
            .map_or(denied, |message| (Code::NotFound, message));
        for owner in &case.other_organization {
            let token = keys.token(&server, *owner);
            rejects(&server, &method, &request, (*owner, &token), unseen).await;
        }
        // The request was valid: the rejection was due to the caller.
        let token = keys.token(&server, case.right);
        let answer = call(&server, &method, &request, Some(&token)).await;
        assert!(answer.is_ok(), "{name} {answer:?}");
    }
}

async fn unimplemented_methods_need_authentication_first(server: TestServer) {
    let keys = Keys::new(&server).await;
    for name in NOT_IMPLEMENTED {
        let method = method(name);
        let request = json!({});
        assert!(bindings(&method).is_empty(), "{name}");
        let unauthenticated = rejected(call(&server, &method, &request, None).await);
        assert_eq!(
            unauthenticated.status.code(),
            Code::Unauthenticated,
            "{name}"
        );
        for owner in [
            TokenOwner::User(User::Owner),
            TokenOwner::Service,
            TokenOwner::ManagementKey,
            TokenOwner::IssuedKey,
        ] {
            let token = keys.token(&server, owner);
            rejected(call(&server, &method, &request, Some(&token)).await)
                .is(Code::Unimplemented, "UNIMPLEMENTED", "Not yet implemented")
                .alone();
        }
    }
}

each_engine! {
    every_implemented_method_rejects_all_but_its_callers
    unimplemented_methods_need_authentication_first
}
