//! Tasks of well-behaved clients, and the expected responses: the status, and the texts and numbers
//! that only the correct response has.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Outcome;
use crate::clients::{Answer, Clients, answered, called_by};
use crate::environment::Environment;
use crate::proto::{
    KeyVerdict, ReserveSpendRequest, ResolveApiKeyRequest, ResolveApiKeyResponse,
    SettleSpendRequest, VerifyKeyRequest,
};
use crate::recorder::Recorder;

/// Number of issued keys, and of provider keys, that exist during the whole run.
const STANDING: usize = 8;
/// Amount of a reservation, and cost of its settlement, in nano-dollars.
const HELD_NANOS: i64 = 2_000;
const COST_NANOS: i64 = 1_000;

/// Task of a client, in one request or several.
#[derive(Debug, Clone, Copy)]
enum Errand {
    List,
    CurrentKey,
    Verify,
    Resolve,
    /// Reserve and settle.
    Spend,
    /// Create, rotate, resolve and delete.
    ProviderKey,
}

use Errand::{CurrentKey, List, ProviderKey, Resolve, Spend, Verify};

/// Sequence of tasks. Reads are more frequent than writes.
const ERRANDS: [Errand; 20] = [
    List,
    Verify,
    Spend,
    CurrentKey,
    Resolve,
    List,
    Verify,
    ProviderKey,
    CurrentKey,
    Spend,
    List,
    Verify,
    Resolve,
    CurrentKey,
    Spend,
    List,
    Verify,
    ProviderKey,
    CurrentKey,
    Resolve,
];
/// Total number of requests of the sequence.
const REQUESTS: usize = 29;
/// Average number of requests per task.
#[allow(clippy::cast_precision_loss, reason = "they are small")]
pub(crate) const REQUESTS_PER_ERRAND: f64 = REQUESTS as f64 / ERRANDS.len() as f64;

/// Callers with the keys that they created for themselves.
#[derive(Debug)]
pub(crate) struct Work {
    clients: Clients,
    recorder: Recorder,
    session: String,
    service: String,
    management: String,
    workspace: String,
    /// Plaintext and hash.
    issued: Vec<(String, String)>,
    /// Id and secret.
    provider: Vec<(String, String)>,
}

impl Work {
    /// Creates the keys that the callers use.
    ///
    /// # Errors
    ///
    /// A variable is absent from the environment, or a key cannot be created.
    pub(crate) async fn begin(clients: Clients, environment: &Environment) -> Outcome<Self> {
        let mut work = Self {
            clients,
            recorder: Recorder::new()?,
            session: environment.get("ADMIN_TOKEN")?.to_owned(),
            service: environment.get("SERVICE_TOKEN")?.to_owned(),
            management: environment.get("MANAGEMENT_KEY")?.to_owned(),
            workspace: environment.get("WORKSPACE_A")?.to_owned(),
            issued: Vec::new(),
            provider: Vec::new(),
        };
        for _ in 0..STANDING {
            work.issued.push(work.issue().await?);
            let secret = name()?;
            let (_, id) = work.create(&secret).await?;
            work.provider.push((id, secret));
        }
        Ok(work)
    }

    /// Deletes the keys.
    ///
    /// # Errors
    ///
    /// A key cannot be deleted.
    pub(crate) async fn end(&self) -> Outcome<()> {
        for (_, hash) in &self.issued {
            let path = format!("/keys/{hash}");
            let answer = self
                .clients
                .rest(Method::DELETE, &path, &self.management, None);
            expect(answer.await, StatusCode::OK)?;
        }
        for (id, _) in &self.provider {
            self.delete(id).await?;
        }
        Ok(())
    }

    /// Returns the recorder of the measurements.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Runs the task with this number. Its first request is timed from `intended`, each further one
    /// from the previous response; the first failure ends it.
    pub(crate) async fn run(&self, number: usize, intended: Instant) {
        let timed = Timed {
            recorder: &self.recorder,
            since: intended,
        };
        match ERRANDS[number % ERRANDS.len()] {
            List => self.list(timed, number).await,
            CurrentKey => self.current_key(timed, number).await,
            Verify => self.verify(timed, number).await,
            Resolve => {
                let (id, secret) = &self.provider[number % STANDING];
                let resolved = self.resolve(timed, "grpc.resolve", id, secret, 1);
                resolved.await.map(|_| ())
            }
            Spend => self.spend(timed, number).await,
            ProviderKey => self.provider_key(timed).await,
        };
    }

    async fn list(&self, timed: Timed<'_>, number: usize) -> Option<()> {
        let path = format!("/apikeys?workspaceId={}", self.workspace);
        let (id, _) = &self.provider[number % STANDING];
        let listed = async {
            let answer = self.clients.rest(Method::GET, &path, &self.session, None);
            let body = expect(answer.await, StatusCode::OK)?;
            let keys = body["apiKeys"].as_array().ok_or("no list")?;
            let found = keys.iter().any(|key| key["id"] == **id);
            found
                .then_some(())
                .ok_or("a key is not in the list".to_owned())
        };
        timed.done("rest.list", listed).await.map(|_| ())
    }

    async fn current_key(&self, timed: Timed<'_>, number: usize) -> Option<()> {
        let (key, _) = &self.issued[number % STANDING];
        let current = async {
            let answer = self.clients.rest(Method::GET, "/key", key, None);
            let body = expect(answer.await, StatusCode::OK)?;
            let data = &body["data"];
            let label = data["label"].as_str().unwrap_or_default();
            let end = label.rsplit_once('.').map_or("?", |(_, end)| end);
            let ours = key.ends_with(end) && data["is_management_key"] == false;
            ours.then_some(())
                .ok_or("another key is described".to_owned())
        };
        timed.done("rest.current_key", current).await.map(|_| ())
    }

    async fn verify(&self, timed: Timed<'_>, number: usize) -> Option<()> {
        let (token, hash) = &self.issued[number % STANDING];
        let verified = async {
            let request = VerifyKeyRequest {
                token: token.clone(),
                byok: false,
            };
            let request = called_by(&self.service, request)?;
            let verified = answered(self.clients.management_keys().verify_key(request)).await?;
            if verified.verdict() != KeyVerdict::Valid {
                return Err(verified.verdict().as_str_name().to_owned());
            }
            let right = verified.hash == *hash && verified.workspace_id == self.workspace;
            right
                .then_some(())
                .ok_or("another key's verdict".to_owned())
        };
        timed.done("grpc.verify", verified).await.map(|_| ())
    }

    async fn spend(&self, timed: Timed<'_>, number: usize) -> Option<()> {
        let (_, hash) = &self.issued[number % STANDING];
        let reserve = async {
            let request = ReserveSpendRequest {
                hash: hash.clone(),
                amount_nanos: HELD_NANOS,
                request_id: name().map_err(|error| error.to_string())?,
                ..Default::default()
            };
            let request = called_by(&self.service, request)?;
            let reserved = answered(self.clients.management_keys().reserve_spend(request)).await?;
            let id = reserved.reservation_id;
            (!id.is_empty())
                .then_some(id)
                .ok_or("no reservation".to_owned())
        };
        let (timed, reservation_id) = timed.done("grpc.reserve", reserve).await?;
        let settle = async {
            let request = SettleSpendRequest {
                reservation_id,
                cost_nanos: COST_NANOS,
            };
            let request = called_by(&self.service, request)?;
            let settled = answered(self.clients.management_keys().settle_spend(request)).await?;
            let once = !settled.duplicate;
            once.then_some(())
                .ok_or("it was settled already".to_owned())
        };
        timed.done("grpc.settle", settle).await.map(|_| ())
    }

    /// A change that one process acknowledged must be visible in the next: the rotated secret is
    /// resolved at once.
    async fn provider_key(&self, timed: Timed<'_>) -> Option<()> {
        let secret = name().ok()?;
        let create = async {
            self.create(&secret)
                .await
                .map_err(|error| error.to_string())
        };
        let (timed, (_, id)) = timed.done("rest.create", create).await?;
        let rotated = name().ok()?;
        let rotate = async {
            let path = format!("/apikeys/{id}");
            let body = json!({"secret": rotated});
            let answer = self
                .clients
                .rest(Method::PUT, &path, &self.session, Some(&body));
            succeeded(&expect(answer.await, StatusCode::OK)?)
        };
        let (timed, ()) = timed.done("rest.update", rotate).await?;
        let resolved = self.resolve(timed, "grpc.resolve_rotated", &id, &rotated, 2);
        let timed = resolved.await?;
        let delete = async { self.delete(&id).await.map_err(|error| error.to_string()) };
        timed.done("rest.delete", delete).await.map(|_| ())
    }

    async fn resolve<'a>(
        &self,
        timed: Timed<'a>,
        kind: &'static str,
        id: &str,
        secret: &str,
        version: u64,
    ) -> Option<Timed<'a>> {
        let resolved = async {
            let uuid = id.to_owned();
            let request = called_by(&self.service, ResolveApiKeyRequest { uuid })?;
            let resolved: ResolveApiKeyResponse =
                answered(self.clients.api_keys().resolve_api_key(request)).await?;
            let right = resolved.secret == secret && resolved.version == version;
            right
                .then_some(())
                .ok_or("another secret or version".to_owned())
        };
        timed.done(kind, resolved).await.map(|(timed, ())| timed)
    }

    async fn issue(&self) -> Outcome<(String, String)> {
        let body = json!({"name": "loadtest", "workspace_id": self.workspace});
        let answer = self
            .clients
            .rest(Method::POST, "/keys", &self.management, Some(&body));
        let body = expect(answer.await, StatusCode::CREATED)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let key = text(&body["key"]).ok_or("no key was issued")?;
        let hash = text(&body["data"]["hash"]).ok_or("the issued key has no hash")?;
        Ok((key, hash))
    }

    async fn create(&self, secret: &str) -> Outcome<(StatusCode, String)> {
        let body = json!({
            "workspaceId": self.workspace,
            "provider": "OPENAI",
            "key": name()?,
            "secret": secret,
            "description": "made by keyward-loadtest",
        });
        let answer = self
            .clients
            .rest(Method::POST, "/apikeys", &self.session, Some(&body));
        let body = expect(answer.await, StatusCode::CREATED)?;
        succeeded(&body)?;
        let id = body["apiKeyId"].as_str().ok_or("the new key has no id")?;
        Ok((StatusCode::CREATED, id.to_owned()))
    }

    async fn delete(&self, id: &str) -> Outcome<()> {
        let path = format!("/apikeys/{id}");
        let answer = self
            .clients
            .rest(Method::DELETE, &path, &self.session, None);
        Ok(succeeded(&expect(answer.await, StatusCode::OK)?)?)
    }
}

/// Start time of the next request of a task.
struct Timed<'a> {
    recorder: &'a Recorder,
    since: Instant,
}

impl Timed<'_> {
    /// Waits for a request's outcome and records it.
    async fn done<T>(
        mut self,
        kind: &'static str,
        request: impl Future<Output = Result<T, String>>,
    ) -> Option<(Self, T)> {
        let outcome = request.await;
        let now = Instant::now();
        let took = now.saturating_duration_since(self.since);
        let failure = outcome.as_ref().err().map(String::as_str);
        self.recorder.record(kind, took, failure);
        self.since = now;
        Some((self, outcome.ok()?))
    }
}

/// Records a request that was not sent, since too many are waiting.
pub(crate) fn overrun(work: &Work) {
    let failure = Some("too many calls are under way");
    work.recorder.record("load", Duration::ZERO, failure);
}

fn expect(answer: Answer, wanted: StatusCode) -> Result<Value, String> {
    let (status, body) = answer?;
    if status == wanted {
        return Ok(body);
    }
    // Keyward's errors repeat no part of the request.
    let message = body["message"].as_str();
    let message = message.or_else(|| body["error"]["message"].as_str());
    Err(format!("{status}: {}", message.unwrap_or_default()))
}

fn succeeded(body: &Value) -> Result<(), String> {
    let succeeded = body["success"] == true;
    succeeded.then_some(()).ok_or("no success".to_owned())
}

/// Returns a unique text.
fn name() -> Outcome<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(hex::encode(random))
}
