//! A small service as the generator would make it.

mod change;

use std::sync::Arc;

use keyward_gateway::serde::de::MapAccess;
use keyward_gateway::serde::ser::SerializeStruct;
use keyward_gateway::{Binding, MethodSpec, RestRouter, Route, RouteSpec, Segment, json};
use tonic::Status;

/// A message as the generator would make it: a text, a flag, numbers.
#[derive(Debug, Default, Clone, PartialEq)]
struct Probe {
    text: String,
    flag: Option<bool>,
    numbers: Vec<i64>,
}

/// A member that a text can set.
const fn single(
    json_name: &'static str,
    proto_name: &'static str,
    reads_proto_name: bool,
) -> json::MemberInfo {
    json::MemberInfo {
        json_name,
        proto_name,
        reads_proto_name,
        kind: json::MemberKind::Single,
    }
}

static INFO: json::MessageInfo = json::MessageInfo {
    full_name: "probe.Probe",
    members: &[
        single("theText", "the_text", true),
        single("flag", "flag", true),
        json::MemberInfo {
            json_name: "numbers",
            proto_name: "numbers",
            reads_proto_name: true,
            kind: json::MemberKind::Repeated,
        },
    ],
};

impl json::JsonMessage for Probe {
    type Form = json::Message<Self>;
    const INFO: &'static json::MessageInfo = &INFO;

    fn member(name: &str) -> Option<usize> {
        match name {
            "theText" | "the_text" => Some(0),
            "flag" => Some(1),
            "numbers" => Some(2),
            _ => None,
        }
    }

    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        member: usize,
        from: &mut A,
        how: &json::Reading<'_>,
    ) -> Result<(), A::Error> {
        match member {
            0 => json::take::<json::Text, A>(&mut self.text, from, how),
            1 => json::take_present::<json::Bool, A>(&mut self.flag, from, how),
            _ => json::take::<json::List<json::Int64>, A>(&mut self.numbers, from, how),
        }
    }

    fn write<S: SerializeStruct>(
        &self,
        to: &mut S,
        how: &json::Writing<'_>,
    ) -> Result<(), S::Error> {
        json::put::<json::Text, S>(to, "theText", &self.text, how)?;
        json::put_present::<json::Bool, S>(to, "flag", self.flag.as_ref(), how)?;
        json::put::<json::List<json::Int64>, S>(to, "numbers", &self.numbers, how)
    }
}

const fn spec(service: &'static str, method: &'static str) -> MethodSpec {
    MethodSpec {
        service,
        method,
        grpc_path: "",
        success_status: 201,
        error_body: "$message",
        error_domain: "probe",
        errors: &[],
        server_streaming: false,
    }
}

const fn route(
    http_method: &'static str,
    template: &'static str,
    segments: &'static [Segment],
    variables: &'static [usize],
    binding: Binding,
    method: &'static MethodSpec,
) -> RouteSpec {
    let family = if method.service.len() == ONE.service.len() {
        &ONE
    } else {
        &OTHER
    };
    RouteSpec {
        http_method,
        template,
        segments,
        variables,
        binding,
        method,
        family,
    }
}

static ONE: MethodSpec = spec("One", "");
static OTHER: MethodSpec = spec("Other", "");
static UNKNOWN: MethodSpec = spec("Unknown", "");
static LIST: MethodSpec = spec("One", "List");
static CREATE: MethodSpec = spec("One", "Create");
static GET: MethodSpec = spec("One", "Get");
static SPECIAL: MethodSpec = spec("One", "Special");
static DEEP: MethodSpec = spec("Other", "Deep");

use Segment::{Literal, Variable};

static ROUTES: [RouteSpec; 6] = [
    route(
        "GET",
        "/a/{x}",
        &[Literal("a"), Variable],
        &[0],
        Binding::Query,
        &GET,
    ),
    route(
        "PUT",
        "/a/{x}",
        &[Literal("a"), Variable],
        &[0],
        Binding::Body,
        &GET,
    ),
    route("GET", "/a", &[Literal("a")], &[], Binding::Query, &LIST),
    route("POST", "/a", &[Literal("a")], &[], Binding::Body, &CREATE),
    route(
        "GET",
        "/a/special",
        &[Literal("a"), Literal("special")],
        &[],
        Binding::Query,
        &SPECIAL,
    ),
    route(
        "DELETE",
        "/v1/b/{x}/c/{y}",
        &[
            Literal("v1"),
            Literal("b"),
            Variable,
            Literal("c"),
            Variable,
        ],
        &[0, 1],
        Binding::Query,
        &DEEP,
    ),
];

/// Answers with its request, or fails when asked to.
async fn echo<M>(_: Arc<()>, request: tonic::Request<M>) -> Result<tonic::Response<M>, Status> {
    let user_agent = request.metadata().get("user-agent").cloned();
    let extension = request.extensions().get::<&str>().copied();
    let mut response = tonic::Response::new(request.into_inner());
    if let Some(value) = user_agent {
        response.metadata_mut().insert("x-seen", value);
    }
    if let Some(value) = extension.and_then(|value| value.parse().ok()) {
        response.metadata_mut().insert("x-extension", value);
    }
    response.metadata_mut().insert(
        "grpc-hidden",
        "1".parse().map_err(|_| Status::internal(""))?,
    );
    Ok(response)
}

pub(crate) fn router() -> RestRouter {
    let probes = ROUTES
        .iter()
        .map(|spec| Route::unary(spec, Arc::new(()), echo::<Probe>));
    let changes = change::CHANGE_ROUTES
        .iter()
        .map(|spec| Route::unary(spec, Arc::new(()), echo::<change::Change>));
    RestRouter::new(probes.chain(changes).collect(), &UNKNOWN)
}
