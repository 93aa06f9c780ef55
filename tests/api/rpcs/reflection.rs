//! `grpc.reflection`, without a token.

use std::collections::BTreeSet;

use keyward::proto;
use tonic::{Code, Status};

use crate::support::{Setup, TestServer, WebFlavor, rejected};

/// Lists the services of reflection: one function for each version, with equal messages.
macro_rules! listed_by {
    ($name:ident, $version:ident) => {
        async fn $name(server: &TestServer) -> Result<BTreeSet<String>, Status> {
            use pb::server_reflection_request::MessageRequest;
            use pb::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version as pb;
            let request = pb::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let requests = futures_util::stream::iter([request]);
            let mut client =
                pb::server_reflection_client::ServerReflectionClient::new(server.channel());
            let mut answers = client.server_reflection_info(requests).await?.into_inner();
            let answer = answers.message().await?.unwrap();
            let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response
            else {
                panic!("{answer:?}");
            };
            Ok(listed
                .service
                .into_iter()
                .map(|service| service.name)
                .collect())
        }
    };
}

listed_by!(listed_by_v1, v1);
listed_by!(listed_by_v1alpha, v1alpha);

async fn reflection_lists_the_services_without_a_token(server: TestServer) {
    let listed = listed_by_v1(&server).await.unwrap();
    for method in proto::METHODS {
        assert!(
            listed.contains(method.service),
            "{} is not listed",
            method.service
        );
    }
    assert!(listed.contains("grpc.health.v1.Health"), "{listed:?}");
    assert!(
        listed.contains("grpc.reflection.v1.ServerReflection"),
        "{listed:?}"
    );
    // The previous version lists the same services, except itself.
    let before = listed_by_v1alpha(&server).await.unwrap();
    assert!(
        before.contains("grpc.reflection.v1alpha.ServerReflection"),
        "{before:?}"
    );
    let but_itself = |listed: BTreeSet<String>| -> BTreeSet<String> {
        listed
            .into_iter()
            .filter(|name| !name.contains("reflection"))
            .collect()
    };
    assert_eq!(but_itself(before), but_itself(listed));
}

async fn disabled_reflection_leaves_other_services(setup: Setup) {
    let server = Setup {
        reflection: false,
        ..setup
    }
    .start()
    .await;
    for result in [
        listed_by_v1(&server).await,
        listed_by_v1alpha(&server).await,
    ] {
        rejected(result).is(Code::Unimplemented, "UNIMPLEMENTED", "Unknown method");
    }
    let path = "/grpc.health.v1.Health/Check";
    let answer = server.grpc_web(WebFlavor::Binary, path, None, &()).await;
    assert_eq!(answer.code(), "0");
}

each_engine! {
    reflection_lists_the_services_without_a_token
    disabled_reflection_leaves_other_services
}
