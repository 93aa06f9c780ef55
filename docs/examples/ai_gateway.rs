//! An AI gateway's use of Keyward, as a small command: it identifies the caller, reserves the estimated cost of the
//! call, and settles its true cost.
//!
//! ```text
//! cargo run -q --example ai_gateway -- spend TOKEN REQUEST_ID ESTIMATE COST
//! cargo run -q --example ai_gateway -- who   FB_AI_KEY FB_AI_SECRET
//! ```
//!
//! ESTIMATE and COST are nano-dollars; the call to the model itself is left out, so that its cost is
//! an argument. `docs/ai-gateway.md` tells the story. It takes `KEYWARD_URL` and `SERVICE_TOKEN`
//! from the environment.

use std::error::Error;

use keyward::proto::v1::management_key_service_client::ManagementKeyServiceClient;
use keyward::proto::v1::repo_ai_key_service_client::RepoAiKeyServiceClient;
use keyward::proto::v1::{
    KeyVerdict, ReserveSpendRequest, SettleSpendRequest, VerifyKeyRequest, VerifyRepoAiKeyRequest,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt;

const USAGE: &str = "spend TOKEN REQUEST_ID ESTIMATE COST, or who FB_AI_KEY FB_AI_SECRET";

type Outcome = Result<(), Box<dyn Error>>;

/// Puts the service token into every call.
#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Keyward = InterceptedService<Channel, Bearer>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let token = std::env::var("SERVICE_TOKEN")?;
    let channel = Channel::from_shared(std::env::var("KEYWARD_URL")?)?;
    let bearer = Bearer(format!("Bearer {token}").parse()?);
    let keyward = InterceptedService::new(channel.connect().await?, bearer);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["spend", token, request_id, estimate, cost] => {
            spend(keyward, token, request_id, estimate.parse()?, cost.parse()?).await
        }
        ["who", key, secret] => who(keyward, key, secret).await,
        _ => Err(USAGE.into()),
    }
}

/// One call of an application, from its key to its cost.
async fn spend(
    keyward: Keyward,
    token: &str,
    request_id: &str,
    estimate: i64,
    cost: i64,
) -> Outcome {
    let mut keys = ManagementKeyServiceClient::new(keyward);

    let token = token.to_owned();
    let byok = false;
    let verify = VerifyKeyRequest { token, byok };
    let verified = keys.verify_key(verify).await?.into_inner();
    println!("verdict   {}", verified.verdict().as_str_name());
    if verified.verdict() != KeyVerdict::Valid {
        return Ok(());
    }
    println!("workspace {}", verified.workspace_id);

    let reservation = ReserveSpendRequest {
        hash: verified.hash,
        amount_nanos: estimate,
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    let reserved = match keys.reserve_spend(reservation).await {
        Ok(reserved) => reserved.into_inner(),
        // The estimate does not fit: the model is not called. After any other error the
        // reservation may exist; the same request again would show it.
        Err(status) if is_exceeded(&status) => {
            println!("rejected  {}", status.message());
            return Ok(());
        }
        Err(status) => return Err(status.into()),
    };
    println!("held      {estimate}, {}", left(reserved.available_nanos));

    // Here the model is called. Had it failed, ReleaseSpend would end the reservation.
    let settlement = SettleSpendRequest {
        reservation_id: reserved.reservation_id,
        cost_nanos: cost,
    };
    let settled = keys.settle_spend(settlement).await?.into_inner();
    println!("settled   {cost}, {}", left(settled.limit_remaining_nanos));
    Ok(())
}

fn is_exceeded(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == "LIMIT_EXCEEDED")
}

fn left(remaining: Option<i64>) -> String {
    remaining.map_or("no limit".to_owned(), |nanos| format!("{nanos} left"))
}

/// Whose repo AI key it is.
async fn who(keyward: Keyward, key: &str, secret: &str) -> Outcome {
    let request = VerifyRepoAiKeyRequest {
        key: key.to_owned(),
        secret: secret.to_owned(),
    };
    let mut keys = RepoAiKeyServiceClient::new(keyward);
    let verified = keys.verify_repo_ai_key(request).await?.into_inner();
    println!("verdict   {}", verified.verdict().as_str_name());
    if !verified.id.is_empty() {
        println!("repo      {}", verified.repo_id);
        println!("workspace {}", verified.workspace_id);
        println!("AI type   {}", verified.ai_type().as_str_name());
    }
    Ok(())
}
