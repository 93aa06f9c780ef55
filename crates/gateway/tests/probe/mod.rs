//! A small service as the generator would make it.

mod change;

use std::sync::Arc;

use keyward_gateway::serde::de::MapAccess;
use keyward_gateway::serde::ser::SerializeStruct;
use keyward_gateway::{
    Bind, Binding, MethodSpec, Parameter, RestRouter, Route, RouteSpec, Segment, json,
};
use tonic::Status;

/// A message as the generator would make it: a text, a flag, numbers.
#[derive(Debug, Default, Clone, PartialEq)]
struct Probe {
    text: String,
    flag: Option<bool>,
    numbers: Vec<i64>,
}

impl json::JsonMessage for Probe {
    const NAME: &'static str = "Probe";
    const MEMBERS: &'static [&'static str] = &["theText", "flag", "numbers"];

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
    ) -> Result<(), A::Error> {
        match member {
            0 => self.text = json::take::<json::Text, A>(from)?.unwrap_or_default(),
            1 => self.flag = json::take::<json::Bool, A>(from)?,
            _ => self.numbers = json::take::<json::List<json::Int64>, A>(from)?.unwrap_or_default(),
        }
        Ok(())
    }

    fn write<S: SerializeStruct>(&self, to: &mut S) -> Result<(), S::Error> {
        json::put::<json::Text, S>(to, "theText", &self.text)?;
        json::put_present::<json::Bool, S>(to, "flag", &self.flag)?;
        json::put::<json::List<json::Int64>, S>(to, "numbers", &self.numbers)
    }
}

impl Bind for Probe {
    fn parameter(member: usize) -> Parameter {
        if member == 2 {
            Parameter::Repeated
        } else {
            Parameter::Single
        }
    }

    fn bind(&mut self, member: usize, text: &str) -> Result<(), &'static str> {
        match member {
            0 => self.text = json::text::<json::Text>(text)?,
            1 => self.flag = Some(json::text::<json::Bool>(text)?),
            _ => self.numbers.push(json::text::<json::Int64>(text)?),
        }
        Ok(())
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
