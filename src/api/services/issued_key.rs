//! ManagementKeyService.

use keyward_core::id::ReservationId;
use keyward_core::services::{IssuedKeys, Ledger, ManagementKeys};
use keyward_crypto::{KeyHash, Secret};
use tonic::{Request, Response, Status};

use crate::api::convert::directory::organization_id_from_proto;
use crate::api::convert::{issued_key, ledger, timestamp_from_proto};
use crate::api::proto::v1::management_key_service_server::ManagementKeyService;
use crate::api::proto::v1::{
    CreateKeyRequest, CreateKeyResponse, CreateManagementKeyRequest, CreateManagementKeyResponse,
    DeleteKeyRequest, DeleteKeyResponse, GetCurrentKeyRequest, GetCurrentKeyResponse,
    GetKeyRequest, GetKeyResponse, ListKeysRequest, ListKeysResponse, ListManagementKeysRequest,
    ListManagementKeysResponse, RecordUsageRequest, RecordUsageResponse, ReleaseSpendRequest,
    ReleaseSpendResponse, ReserveSpendRequest, ReserveSpendResponse, RevokeManagementKeyRequest,
    RevokeManagementKeyResponse, SettleSpendRequest, SettleSpendResponse, UpdateKeyRequest,
    UpdateKeyResponse, VerifyKeyRequest, VerifyKeyResponse,
};
use crate::api::services::{
    Pages, begin_call, begin_call_of, begin_change_of, begin_list, uncompressed,
};
use crate::api::status::to_status;

/// Serves issued keys, the keys that administer them, and the ledger.
pub(crate) struct IssuedKeyGrpc {
    keys: IssuedKeys,
    management_keys: ManagementKeys,
    ledger: Ledger,
    pages: Pages,
}

impl IssuedKeyGrpc {
    /// Serves these keys, with pages of this size.
    pub(crate) fn new(
        keys: IssuedKeys,
        management_keys: ManagementKeys,
        ledger: Ledger,
        pages: Pages,
    ) -> Self {
        Self {
            keys,
            management_keys,
            ledger,
            pages,
        }
    }
}

#[tonic::async_trait]
impl ManagementKeyService for IssuedKeyGrpc {
    async fn get_current_key(
        &self,
        request: Request<GetCurrentKeyRequest>,
    ) -> Result<Response<GetCurrentKeyResponse>, Status> {
        let (caller, _, _running) = begin_call(request).await?;
        let current = self.keys.current(&caller).await.map_err(to_status)?;
        let data = Some(issued_key::current_key_to_proto(current));
        Ok(Response::new(GetCurrentKeyResponse { data }))
    }

    async fn list_keys(
        &self,
        request: Request<ListKeysRequest>,
    ) -> Result<Response<ListKeysResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let filter = issued_key::filter_from_proto(message).map_err(to_status)?;
        let page = self.keys.list(&caller, &filter, &page).await;
        let page = page.map_err(to_status)?;
        let next_page_token = page.next_token();
        let keys = page.items.into_iter().map(issued_key::issued_key_to_proto);
        Ok(Response::new(ListKeysResponse {
            data: keys.collect(),
            next_page_token,
        }))
    }

    async fn create_key(
        &self,
        request: Request<CreateKeyRequest>,
    ) -> Result<Response<CreateKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let new = issued_key::new_key_from_proto(message).map_err(to_status)?;
        let minted = self.keys.create(&caller, new).await.map_err(to_status)?;
        Ok(uncompressed(issued_key::created_key_to_proto(minted)))
    }

    async fn get_key(
        &self,
        request: Request<GetKeyRequest>,
    ) -> Result<Response<GetKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let hash = KeyHash::parse(&message.hash);
        let key = self.keys.get(&caller, hash).await.map_err(to_status)?;
        let data = Some(issued_key::issued_key_to_proto(key));
        Ok(Response::new(GetKeyResponse { data }))
    }

    async fn update_key(
        &self,
        request: Request<UpdateKeyRequest>,
    ) -> Result<Response<UpdateKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let hash = KeyHash::parse(&message.hash);
        let patch = issued_key::patch_from_proto(message).map_err(to_status)?;
        let key = self.keys.update(&caller, hash, patch).await;
        let data = Some(issued_key::issued_key_to_proto(key.map_err(to_status)?));
        Ok(Response::new(UpdateKeyResponse { data }))
    }

    async fn delete_key(
        &self,
        request: Request<DeleteKeyRequest>,
    ) -> Result<Response<DeleteKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let hash = KeyHash::parse(&message.hash);
        self.keys.delete(&caller, hash).await.map_err(to_status)?;
        Ok(Response::new(DeleteKeyResponse { deleted: true }))
    }

    async fn verify_key(
        &self,
        request: Request<VerifyKeyRequest>,
    ) -> Result<Response<VerifyKeyResponse>, Status> {
        let (caller, message, _running) = begin_call_of(request, |it| &it.token).await?;
        let token = Secret::new(message.token);
        let verified = self.keys.verify(&caller, &token, message.byok).await;
        Ok(Response::new(issued_key::verified_key_to_proto(
            verified.map_err(to_status)?,
        )))
    }

    async fn record_usage(
        &self,
        request: Request<RecordUsageRequest>,
    ) -> Result<Response<RecordUsageResponse>, Status> {
        let (caller, message, _running) = begin_change_of(request, |it| &it.hash).await?;
        let hash = KeyHash::parse(&message.hash);
        let request_id = ledger::request_id_from_proto(message.request_id).map_err(to_status)?;
        let cost = ledger::cost_from_proto(message.cost_nanos).map_err(to_status)?;
        let occurred_at = message
            .occurred_at
            .map(|at| timestamp_from_proto("occurredAt", "Time of the charge", at))
            .transpose()
            .map_err(to_status)?;
        let recorded = self
            .ledger
            .record(&caller, hash, request_id, cost, message.byok, occurred_at)
            .await
            .map_err(to_status)?;
        Ok(Response::new(ledger::recorded_to_proto(&recorded)))
    }

    async fn reserve_spend(
        &self,
        request: Request<ReserveSpendRequest>,
    ) -> Result<Response<ReserveSpendResponse>, Status> {
        let (caller, message, _running) = begin_change_of(request, |it| &it.hash).await?;
        let hash = KeyHash::parse(&message.hash);
        let new = ledger::reservation_from_proto(message).map_err(to_status)?;
        let reserved = self.ledger.reserve(&caller, hash, new).await;
        let reserved = reserved.map_err(to_status)?;
        Ok(Response::new(ledger::reserved_to_proto(&reserved)))
    }

    async fn settle_spend(
        &self,
        request: Request<SettleSpendRequest>,
    ) -> Result<Response<SettleSpendResponse>, Status> {
        let (caller, message, _running) = begin_change_of(request, |it| &it.reservation_id).await?;
        let id = ReservationId::parse(&message.reservation_id);
        let cost = ledger::cost_from_proto(message.cost_nanos).map_err(to_status)?;
        let settled = self.ledger.settle(&caller, id, cost).await;
        let settled = settled.map_err(to_status)?;
        Ok(Response::new(ledger::settled_to_proto(&settled)))
    }

    async fn release_spend(
        &self,
        request: Request<ReleaseSpendRequest>,
    ) -> Result<Response<ReleaseSpendResponse>, Status> {
        let (caller, message, _running) = begin_change_of(request, |it| &it.reservation_id).await?;
        let id = ReservationId::parse(&message.reservation_id);
        self.ledger.release(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(ReleaseSpendResponse {}))
    }

    async fn create_management_key(
        &self,
        request: Request<CreateManagementKeyRequest>,
    ) -> Result<Response<CreateManagementKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let organization =
            organization_id_from_proto(message.organization_id).map_err(to_status)?;
        let minted = self
            .management_keys
            .create(&caller, &organization, message.name)
            .await
            .map_err(to_status)?;
        Ok(uncompressed(issued_key::created_management_key_to_proto(
            minted,
        )))
    }

    async fn list_management_keys(
        &self,
        request: Request<ListManagementKeysRequest>,
    ) -> Result<Response<ListManagementKeysResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let organization =
            organization_id_from_proto(message.organization_id).map_err(to_status)?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let page = self
            .management_keys
            .list(&caller, &organization, &page)
            .await;
        let page = page.map_err(to_status)?;
        let next_page_token = page.next_token();
        let keys = page
            .items
            .into_iter()
            .map(issued_key::management_key_to_proto);
        Ok(Response::new(ListManagementKeysResponse {
            management_keys: keys.collect(),
            next_page_token,
        }))
    }

    async fn revoke_management_key(
        &self,
        request: Request<RevokeManagementKeyRequest>,
    ) -> Result<Response<RevokeManagementKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let hash = KeyHash::parse(&message.hash);
        let revoked = self.management_keys.revoke(&caller, hash).await;
        revoked.map_err(to_status)?;
        Ok(Response::new(RevokeManagementKeyResponse {}))
    }
}
