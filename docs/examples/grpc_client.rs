//! The calls of an internal service over gRPC, as a small command:
//!
//! ```text
//! cargo run -q --example grpc_client -- link    UUID bucket|ai-model RESOURCE
//! cargo run -q --example grpc_client -- unlink  UUID bucket|ai-model RESOURCE
//! cargo run -q --example grpc_client -- links   UUID
//! cargo run -q --example grpc_client -- resolve UUID
//! ```
//!
//! It takes `KEYWARD_URL` and `SERVICE_TOKEN` from the environment.

use std::error::Error;

use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use keyward::proto::v1::{
    LinkApiKeyRequest, ListApiKeyLinksRequest, ResolveApiKeyRequest, ResourceKind,
    UnlinkApiKeyRequest,
};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

const USAGE: &str = "link|unlink UUID bucket|ai-model RESOURCE, links UUID or resolve UUID";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("KEYWARD_URL")?;
    let bearer: MetadataValue<Ascii> =
        format!("Bearer {}", std::env::var("SERVICE_TOKEN")?).parse()?;
    let channel = Channel::from_shared(url)?.connect().await?;
    let client = ApiKeyServiceClient::with_interceptor(channel, move |mut request: Request<()>| {
        request
            .metadata_mut()
            .insert("authorization", bearer.clone());
        Ok(request)
    });
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(client, &arguments).await {
        Err(Failure::Status(status)) => {
            Err(format!("{:?}: {}", status.code(), status.message()).into())
        }
        Err(Failure::Usage) => Err(USAGE.into()),
        Ok(()) => Ok(()),
    }
}

enum Failure {
    Status(Status),
    Usage,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

async fn run<T>(mut client: ApiKeyServiceClient<T>, arguments: &[&str]) -> Result<(), Failure>
where
    T: tonic::client::GrpcService<tonic::body::Body>,
    T::Error: Into<Box<dyn Error + Send + Sync>>,
    T::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<Box<dyn Error + Send + Sync>> + Send,
{
    let (command, uuid) = match arguments {
        [command, uuid, ..] => (*command, (*uuid).to_owned()),
        _ => return Err(Failure::Usage),
    };
    match (command, &arguments[2..]) {
        ("link", [kind, resource]) => {
            let resource_kind = parse_kind(kind)?.into();
            let resource_id = (*resource).to_owned();
            let request = LinkApiKeyRequest {
                uuid,
                resource_kind,
                resource_id,
            };
            client.link_api_key(request).await?;
            println!("linked {kind} {resource}");
        }
        ("unlink", [kind, resource]) => {
            let resource_kind = parse_kind(kind)?.into();
            let resource_id = (*resource).to_owned();
            let request = UnlinkApiKeyRequest {
                uuid,
                resource_kind,
                resource_id,
            };
            client.unlink_api_key(request).await?;
            println!("unlinked {kind} {resource}");
        }
        ("links", []) => {
            let request = ListApiKeyLinksRequest {
                uuid,
                ..Default::default()
            };
            for link in client.list_api_key_links(request).await?.into_inner().links {
                println!(
                    "{} {}",
                    link.resource_kind().as_str_name(),
                    link.resource_id
                );
            }
        }
        ("resolve", []) => {
            let request = ResolveApiKeyRequest { uuid };
            let credential = client.resolve_api_key(request).await?.into_inner();
            println!("provider {}", credential.provider);
            println!("key      {}", credential.key);
            println!("secret   {}", credential.secret);
            println!("version  {}", credential.version);
        }
        _ => return Err(Failure::Usage),
    }
    Ok(())
}

fn parse_kind(text: &str) -> Result<ResourceKind, Failure> {
    match text {
        "bucket" => Ok(ResourceKind::Bucket),
        "ai-model" => Ok(ResourceKind::AiModel),
        _ => Err(Failure::Usage),
    }
}
