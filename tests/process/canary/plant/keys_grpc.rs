//! The keys that Keyward makes, over gRPC and gRPC-Web.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use keyward::proto::v1::management_key_service_client::ManagementKeyServiceClient;
use keyward::proto::v1::repo_ai_key_service_client::RepoAiKeyServiceClient;
use keyward::proto::v1::{
    AiType, CreateKeyRequest, CreateKeyResponse, CreateManagementKeyRequest,
    CreateRepoAiKeyRequest, GetCurrentKeyRequest, GetKeyRequest, KeyVerdict, ListKeysRequest,
    ListManagementKeysRequest, RecordUsageRequest, ReleaseSpendRequest, RepoAiKeyVerdict,
    RevokeManagementKeyRequest, SettleSpendRequest, VerifyKeyRequest, VerifyKeyResponse,
    VerifyRepoAiKeyRequest,
};
use prost::Message;
use tonic::{Code, Status};

use super::Planter;
use super::keys::{Kind, Minted};
use crate::support::client::{Answer, WebForm, called_by, frame};

fn text<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>) -> Result<String, Status> {
    answer.map(|answer| format!("{answer:?}"))
}

/// Returns the message of a gRPC-Web response, which comes first.
fn first_message(form: WebForm, body: &Bytes) -> Bytes {
    let bytes: Vec<u8> = match form {
        WebForm::Binary => body.to_vec(),
        // Each frame may have separate padding, so only groups of four decode independently.
        WebForm::Text => body
            .chunks(4)
            .flat_map(|group| STANDARD.decode(group).unwrap())
            .collect(),
    };
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
    Bytes::from(bytes).slice(5..5 + usize::try_from(length).unwrap())
}

impl Planter {
    fn keys(&self) -> ManagementKeyServiceClient<tonic::transport::Channel> {
        ManagementKeyServiceClient::new(self.channel.clone())
    }

    fn repo_ai_keys(&self) -> RepoAiKeyServiceClient<tonic::transport::Channel> {
        RepoAiKeyServiceClient::new(self.channel.clone())
    }

    /// Makes keys over gRPC.
    pub(crate) async fn grpc_keys(&mut self) -> Vec<Minted> {
        let mut minted = Vec::new();
        let message = CreateKeyRequest {
            name: "over gRPC".to_owned(),
            ..Default::default()
        };
        let request = called_by(&self.management_key(), message);
        let created = self.keys().create_key(request).await.unwrap().into_inner();
        let kind = Kind::Issued(created.data.unwrap().hash);
        minted.push((created.key, kind));
        let message = CreateManagementKeyRequest {
            organization_id: self.env["ORGANIZATION_ID"].to_owned(),
            name: "over gRPC".to_owned(),
        };
        let request = called_by(&self.env["SERVICE_TOKEN"], message);
        let created = self.keys().create_management_key(request).await;
        let created = created.unwrap().into_inner();
        let kind = Kind::Management(created.management_key.unwrap().hash);
        minted.push((created.key, kind));
        let message = CreateRepoAiKeyRequest {
            repo_id: self.env["REPO_A"].to_owned(),
            name: "over gRPC".to_owned(),
            ai_type: AiType::Anthropic.into(),
        };
        let request = called_by(&self.env["ADMIN_TOKEN"], message);
        let created = self.repo_ai_keys().create_repo_ai_key(request).await;
        let created = created.unwrap().into_inner();
        minted.push((created.secret, Kind::RepoAi(created.id, created.key)));
        let name = |(plaintext, kind)| Minted {
            what: format!("{kind:?} over gRPC"),
            plaintext,
            kind,
        };
        minted.into_iter().map(name).collect()
    }

    /// Makes keys over gRPC-Web.
    pub(crate) async fn grpc_web_keys(&mut self) -> Vec<Minted> {
        let mut minted = Vec::new();
        for form in [WebForm::Binary, WebForm::Text] {
            let what = format!("issue over gRPC-Web as {form:?}");
            let message = CreateKeyRequest {
                name: "over gRPC-Web".to_owned(),
                ..Default::default()
            };
            let (method, caller) = ("ManagementKeyService/CreateKey", self.management_key());
            let request = self.rest.grpc_web(method, &caller, form, frame(&message));
            let answer = Answer::of(request).await;
            let created = first_message(form, &answer.body);
            let created = CreateKeyResponse::decode(created).unwrap();
            if let WebForm::Binary = form {
                self.keep_without(&what, &answer, &created.key);
            }
            minted.push(Minted {
                what,
                plaintext: created.key,
                kind: Kind::Issued(created.data.unwrap().hash),
            });
        }
        minted
    }

    /// Presents a key for verification, with and without typos, and in fields of other keys.
    pub(crate) async fn verify(&mut self, minted: &Minted, verdict: KeyVerdict) {
        let service = self.env["SERVICE_TOKEN"].to_owned();
        let message = VerifyKeyRequest {
            token: minted.plaintext.clone(),
            byok: false,
        };
        let method = "ManagementKeyService/VerifyKey";
        for form in [WebForm::Binary, WebForm::Text] {
            let request = self.rest.grpc_web(method, &service, form, frame(&message));
            let answer = self.rest("verify", 200, request).await;
            let answered = VerifyKeyResponse::decode(first_message(form, &answer.body)).unwrap();
            assert_eq!(answered.verdict(), verdict, "{}", minted.what);
        }
        for typo in minted.typos() {
            let request = called_by(
                &service,
                VerifyKeyRequest {
                    token: typo,
                    byok: true,
                },
            );
            let answer = self.keys().verify_key(request).await.unwrap();
            assert_eq!(answer.get_ref().verdict(), KeyVerdict::NotFound);
            self.keep_status("a typo", text(Ok(answer)));
        }
        for caller in [self.env["ADMIN_TOKEN"].to_owned(), self.management_key()] {
            let rejected = self
                .keys()
                .verify_key(called_by(&caller, message.clone()))
                .await;
            assert!(!self.keep_status("another's verification", text(rejected)));
        }
    }

    /// Presents the secret of a repo AI key, or another key in its field.
    pub(crate) async fn verify_repo_ai_key(&mut self, minted: &Minted, live: bool) {
        let service = self.env["SERVICE_TOKEN"].to_owned();
        let public = match &minted.kind {
            Kind::RepoAi(_, public) => public.clone(),
            _ => minted.plaintext.clone(),
        };
        let secret = minted.plaintext.clone();
        let is_valid = live && public != secret;
        let mut presented = vec![
            (public.clone(), secret.clone(), is_valid),
            (secret.clone(), public.clone(), false),
            (secret.clone(), secret, false),
        ];
        for typo in minted.typos() {
            presented.push((public.clone(), typo, false));
        }
        for (key, secret, is_valid) in presented {
            let request = called_by(&service, VerifyRepoAiKeyRequest { key, secret });
            let answer = self
                .repo_ai_keys()
                .verify_repo_ai_key(request)
                .await
                .unwrap();
            let valid = answer.get_ref().verdict() == RepoAiKeyVerdict::Valid;
            assert_eq!(valid, is_valid, "{}", minted.what);
            self.keep_status("verify", text(Ok(answer)));
        }
    }

    /// Presents a key as a token, and puts it into fields and metadata where it does not belong.
    pub(crate) async fn grpc_key_places(&mut self, minted: &Minted, live: bool) {
        let (token, service) = (
            minted.plaintext.clone(),
            self.env["SERVICE_TOKEN"].to_owned(),
        );
        let is_key = live && !matches!(minted.kind, Kind::RepoAi(..));
        let shown = self
            .keys()
            .get_current_key(called_by(&token, GetCurrentKeyRequest {}))
            .await;
        assert_eq!(self.keep_status("the current key", text(shown)), is_key);
        for form in [WebForm::Binary, WebForm::Text] {
            let (method, message) = (
                "ManagementKeyService/GetCurrentKey",
                GetCurrentKeyRequest {},
            );
            let request = self.rest.grpc_web(method, &token, form, frame(&message));
            self.rest("the current key", 200, request).await;
        }
        let administers = live && matches!(minted.kind, Kind::Management(_));
        let listed = self
            .keys()
            .list_keys(called_by(&token, ListKeysRequest::default()))
            .await;
        assert_eq!(self.keep_status("list keys", text(listed)), administers);
        for typo in minted.typos() {
            let rejected = self
                .keys()
                .list_keys(called_by(&typo, ListKeysRequest::default()))
                .await;
            assert!(!self.keep_status("a typo", text(rejected)));
        }
        for name in ["x-request-id", "x-api-key", "x-canary"] {
            let mut request = called_by(&self.management_key(), ListKeysRequest::default());
            request.metadata_mut().insert(name, token.parse().unwrap());
            let listed = self.keys().list_keys(request).await;
            assert!(self.keep_status(name, text(listed)));
        }

        let get = GetKeyRequest {
            hash: token.clone(),
        };
        let record = RecordUsageRequest {
            hash: token.clone(),
            request_id: "never recorded".to_owned(),
            ..Default::default()
        };
        let settle = SettleSpendRequest {
            reservation_id: token.clone(),
            cost_nanos: 1,
        };
        let release = ReleaseSpendRequest {
            reservation_id: token.clone(),
        };
        let revoke = RevokeManagementKeyRequest {
            hash: token.clone(),
        };
        let list = ListManagementKeysRequest {
            organization_id: self.env["ORGANIZATION_ID"].to_owned(),
            page_token: token,
            ..Default::default()
        };
        let mut keys = self.keys();
        let answers = [
            text(keys.get_key(called_by(&self.management_key(), get)).await),
            text(keys.record_usage(called_by(&service, record)).await),
            text(keys.settle_spend(called_by(&service, settle)).await),
            text(keys.release_spend(called_by(&service, release)).await),
            text(
                keys.revoke_management_key(called_by(&service, revoke))
                    .await,
            ),
            text(keys.list_management_keys(called_by(&service, list)).await),
        ];
        for answer in answers {
            let code = answer.as_ref().map_err(Status::code).map(|_| ());
            assert!(
                matches!(code, Err(Code::NotFound | Code::InvalidArgument)),
                "{answer:?}"
            );
            self.keep_status("a field", answer);
        }
    }

    pub(in crate::canary) async fn revoke(&mut self, hash: &str) {
        let message = RevokeManagementKeyRequest {
            hash: hash.to_owned(),
        };
        let request = called_by(&self.env["SERVICE_TOKEN"], message);
        let revoked = self.keys().revoke_management_key(request).await;
        assert!(self.keep_status("revoke", text(revoked)));
    }
}
