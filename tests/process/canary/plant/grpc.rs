//! Canaries over gRPC and gRPC-Web.

use bytes::Bytes;
use http::Method;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use keyward::proto::v1::{
    CreateApiKeyRequest, LinkApiKeyRequest, ListApiKeysRequest, ResolveApiKeyRequest,
    UpdateApiKeyRequest,
};

use super::{MARK, Planter};
use crate::support::client::{Answer, WebForm, called_by, frame};

impl Planter {
    pub(crate) async fn grpc(&mut self) -> Vec<(String, String)> {
        let mut client = ApiKeyServiceClient::new(self.channel.clone());
        let (admin, service) = (
            self.env["ADMIN_TOKEN"].to_owned(),
            self.env["SERVICE_TOKEN"].to_owned(),
        );
        let (secret, rotated, plain) = (self.canary(), self.canary(), self.plain());
        let message = CreateApiKeyRequest {
            workspace_id: self.env["WORKSPACE_A"].to_owned(),
            provider: "AWS".to_owned(),
            key: format!("{MARK}grpc"),
            secret,
            ..Default::default()
        };
        let created = client
            .create_api_key(called_by(&admin, message.clone()))
            .await
            .unwrap();
        let id = created.into_inner().api_key_id;
        let again = client
            .create_api_key(called_by(&admin, message.clone()))
            .await;
        assert!(!self.keep_status("create again", again.map(|_| String::new())));
        let unknown = CreateApiKeyRequest {
            provider: plain.clone(),
            ..message.clone()
        };
        let rejected = client.create_api_key(called_by(&admin, unknown)).await;
        assert!(!self.keep_status("an unknown provider", rejected.map(|_| String::new())));
        let elsewhere = CreateApiKeyRequest {
            workspace_id: plain.clone(),
            ..message
        };
        let rejected = client.create_api_key(called_by(&admin, elsewhere)).await;
        assert!(!self.keep_status("an unknown workspace", rejected.map(|_| String::new())));
        let update = UpdateApiKeyRequest {
            uuid: id.clone(),
            secret: Some(rotated.clone()),
            ..Default::default()
        };
        client
            .update_api_key(called_by(&admin, update))
            .await
            .unwrap();

        for uuid in [plain.clone(), rotated.clone()] {
            let request = called_by(&service, ResolveApiKeyRequest { uuid: uuid.clone() });
            let rejected = client.resolve_api_key(request).await;
            assert!(!self.keep_status("a key's id", rejected.map(|_| String::new())));
            let link = LinkApiKeyRequest {
                uuid,
                resource_kind: 77,
                resource_id: plain.clone(),
            };
            let rejected = client.link_api_key(called_by(&service, link)).await;
            assert!(!self.keep_status("a link", rejected.map(|_| String::new())));
        }
        let request = called_by(&admin, ResolveApiKeyRequest { uuid: id.clone() });
        let rejected = client.resolve_api_key(request).await;
        assert!(!self.keep_status("a user's resolve", rejected.map(|_| String::new())));

        for (name, value) in [("x-canary", &plain), ("x-request-id", &admin)] {
            let mut request = called_by(&admin, ListApiKeysRequest::default());
            request.metadata_mut().insert(name, value.parse().unwrap());
            client.list_api_keys(request).await.unwrap();
        }
        self.grpc_frames(&plain).await;
        vec![(id, rotated)]
    }

    /// Makes calls with wrong frames, paths or headers, over HTTP/2.
    async fn grpc_frames(&mut self, canary: &str) {
        let malformed = [
            b"\0\0\0\0\x20\x1a\x7f".as_slice(),
            canary.as_bytes(),
            &[0; 16],
        ]
        .concat();
        let compressed = [b"\x01\0\0\0\x12".as_slice(), canary.as_bytes()].concat();
        let length = [b"\0\xff\xff\xff\xff".as_slice(), canary.as_bytes()].concat();
        let flag = [b"\x09\0\0\0\x12".as_slice(), canary.as_bytes()].concat();
        let good = frame(&ListApiKeysRequest::default()).to_vec();
        for (what, path, header, body) in [
            (
                "a malformed message",
                "ApiKeyService/CreateApiKey",
                None,
                malformed,
            ),
            (
                "a compressed message",
                "ApiKeyService/CreateApiKey",
                None,
                compressed,
            ),
            ("a false length", "ApiKeyService/CreateApiKey", None, length),
            ("a false flag", "ApiKeyService/CreateApiKey", None, flag),
            (
                "an unknown method",
                &format!("ApiKeyService/{canary}"),
                None,
                good.clone(),
            ),
            (
                "an unknown service",
                &format!("{canary}/List"),
                None,
                good.clone(),
            ),
            (
                "grpc-encoding",
                "ApiKeyService/ListApiKeys",
                Some("grpc-encoding"),
                good.clone(),
            ),
            (
                "grpc-timeout",
                "ApiKeyService/ListApiKeys",
                Some("grpc-timeout"),
                good,
            ),
        ] {
            let path = format!("/keyward.v1.{path}");
            let mut request = self.http2.request(Method::POST, &path).body(body);
            request = request
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            if let Some(name) = header {
                request = request.header(name, canary);
            }
            let request = request.bearer_auth(&self.env["ADMIN_TOKEN"]);
            self.rest(what, 200, request).await;
        }
    }

    pub(crate) async fn grpc_web(&mut self) {
        let admin = self.env["ADMIN_TOKEN"].to_owned();
        for form in [WebForm::Binary, WebForm::Text] {
            let (secret, plain) = (self.canary(), self.plain());
            let message = CreateApiKeyRequest {
                workspace_id: self.env["WORKSPACE_A"].to_owned(),
                provider: "AWS".to_owned(),
                key: format!("{MARK}web{form:?}"),
                secret,
                ..Default::default()
            };
            for what in ["create", "create again"] {
                let create = "ApiKeyService/CreateApiKey";
                let request = self.rest.grpc_web(create, &admin, form, frame(&message));
                self.rest(what, 200, request).await;
            }
            let empty = frame(&ListApiKeysRequest::default());
            let canaries = Bytes::from(format!("\0\0\0\0\x12{plain}"));
            for (what, path, body) in [
                (
                    "an unknown method",
                    format!("ApiKeyService/{plain}"),
                    empty.clone(),
                ),
                (
                    "an unknown service",
                    format!("{plain}/List?{plain}={plain}"),
                    empty.clone(),
                ),
                (
                    "a malformed message",
                    "ApiKeyService/CreateApiKey".to_owned(),
                    canaries.clone(),
                ),
                (
                    "no frame",
                    "ApiKeyService/CreateApiKey".to_owned(),
                    canaries.slice(5..),
                ),
            ] {
                let request = self.rest.grpc_web(&path, &admin, form, body);
                self.rest(what, 200, request).await;
            }
            let list = "ApiKeyService/ListApiKeys";
            for token in [plain.as_str(), &format!("{admin}{plain}")] {
                let request = self.rest.grpc_web(list, token, form, empty.clone());
                self.rest("a token", 200, request).await;
            }
            let request = self.rest.grpc_web(list, &admin, form, empty.clone());
            let request = request.header("content-type", format!("application/grpc-web+{plain}"));
            let answer = Answer::of(request).await;
            self.keep("two content types", &answer);
        }
        let plain = self.plain();
        let request = self.rest.grpc_web(
            "ApiKeyService/ListApiKeys",
            &admin,
            WebForm::Text,
            Bytes::new(),
        );
        let request = request.body(format!("!{plain}!"));
        self.rest("malformed Base64", 200, request).await;
    }
}
