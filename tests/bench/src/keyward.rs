//! The server to measure: `keyward dev` in a directory of its own, with the keys that the calls use.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use tempfile::TempDir;
use tokio::process::Command;

use crate::Outcome;
use crate::call::Call;
use crate::load::once;
use crate::process::Process;
use crate::proto::{
    AiType, CreateApiKeyRequest, CreateApiKeyResponse, CreateKeyRequest, CreateKeyResponse,
    CreateRepoAiKeyRequest, CreateRepoAiKeyResponse, ResolveApiKeyRequest, VerifyKeyRequest,
    VerifyRepoAiKeyRequest,
};

/// Number of keys that take turns in the calls whose name ends with it.
const SPREAD: usize = 200;

/// A running server, and the calls to it.
pub(crate) struct Keyward {
    process: Process,
    _directory: TempDir,
    calls: Vec<Call>,
}

impl Keyward {
    /// Starts a server and creates keys.
    ///
    /// # Errors
    /// The server does not start, or rejects a call.
    pub(crate) async fn start(program: &Path) -> Outcome<Self> {
        // In memory if possible: the calls are measured, not the disk.
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory)?,
            false => tempfile::tempdir()?,
        };
        let mut command = Command::new(program);
        command.args(["dev", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(directory.path());
        command.env("KEYWARD_LOG__FILTER", "warn");
        let address = |line: &str| {
            let (_, url) = line.split_once("http://")?;
            url.split_whitespace().next()?.parse().ok()
        };
        let mut process = Process::start(command, address).await?;
        // The line after which it serves.
        while let Some(line) = process.line().await? {
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        let text = std::fs::read_to_string(directory.path().join("dev.env"))?;
        let variables = text.lines().filter_map(|line| line.split_once('='));
        let environment = variables.collect();
        let calls = calls(process.address, &environment).await?;
        Ok(Self {
            process,
            _directory: directory,
            calls,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(crate) async fn end(self) -> Outcome<()> {
        self.process.end().await
    }
}

/// Creates the keys, and returns the calls with the responses that they have.
async fn calls(address: SocketAddr, environment: &BTreeMap<&str, &str>) -> Outcome<Vec<Call>> {
    let variable = |name: &str| {
        let value = environment.get(name).copied();
        value.ok_or_else(|| format!("dev.env has no {name}"))
    };
    let (service, admin) = (variable("SERVICE_TOKEN")?, variable("ADMIN_TOKEN")?);
    let management = variable("MANAGEMENT_KEY")?;
    let path = "/keyward.v1.ManagementKeyService/CreateKey";
    let mut issued = Vec::with_capacity(SPREAD);
    for number in 0..SPREAD {
        let message = CreateKeyRequest {
            name: format!("key {number}"),
            limit_nanos: Some(1_000_000_000_000_000),
            ..Default::default()
        };
        let call = Call::grpc("CreateKey", path, management, &message);
        let created: CreateKeyResponse = decoded(&once(&call, address).await?)?;
        issued.push((created.key, created.data.ok_or("no key")?.hash));
    }
    let (token, hash) = issued.first().cloned().ok_or("no key")?;
    let message = CreateRepoAiKeyRequest {
        repo_id: variable("REPO_A")?.to_owned(),
        name: "bench".to_owned(),
        ai_type: AiType::Openai.into(),
    };
    let path = "/keyward.v1.RepoAiKeyService/CreateRepoAiKey";
    let call = Call::grpc("CreateRepoAiKey", path, admin, &message);
    let pair: CreateRepoAiKeyResponse = decoded(&once(&call, address).await?)?;
    let message = CreateApiKeyRequest {
        workspace_id: variable("WORKSPACE_A")?.to_owned(),
        provider: "AWS".to_owned(),
        key: "bench".to_owned(),
        secret: "a secret of the usual length, forty bytes".to_owned(),
        ..Default::default()
    };
    let path = "/keyward.v1.ApiKeyService/CreateApiKey";
    let call = Call::grpc("CreateApiKey", path, admin, &message);
    let created: CreateApiKeyResponse = decoded(&once(&call, address).await?)?;
    let verify = VerifyKeyRequest {
        token: token.clone(),
        ..Default::default()
    };
    let verify_pair = VerifyRepoAiKeyRequest {
        key: pair.key,
        secret: pair.secret,
    };
    let resolve = ResolveApiKeyRequest {
        uuid: created.api_key_id,
    };
    let all: Vec<String> = issued.into_iter().map(|(_, hash)| hash).collect();
    let calls = [
        Call::grpc(
            "VerifyKey",
            "/keyward.v1.ManagementKeyService/VerifyKey",
            service,
            &verify,
        ),
        Call::grpc(
            "VerifyRepoAiKey",
            "/keyward.v1.RepoAiKeyService/VerifyRepoAiKey",
            service,
            &verify_pair,
        ),
        Call::rest("GET /key", "/key", &token),
        Call::grpc(
            "ResolveApiKey",
            "/keyward.v1.ApiKeyService/ResolveApiKey",
            service,
            &resolve,
        ),
        Call::charges("RecordUsage", service, vec![hash.clone()]),
        Call::charges("RecordUsage 200", service, all.clone()),
        Call::spending("Reserve+Settle", service, vec![hash]),
        Call::spending("Reserve+Settle 200", service, all),
    ];
    let mut measured = Vec::with_capacity(calls.len());
    for call in calls {
        let answer = once(&call, address).await?;
        measured.push(call.with_answer(answer));
    }
    Ok(measured)
}

/// Decodes a framed message.
fn decoded<M: Message + Default>(answer: &Bytes) -> Outcome<M> {
    Ok(M::decode(
        answer.get(5..).ok_or("the response has no frame")?,
    )?)
}
