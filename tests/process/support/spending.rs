//! Issued keys and their spending, over gRPC.

use keyward::proto::v1::management_key_service_client::ManagementKeyServiceClient;
use keyward::proto::v1::{
    CreateKeyRequest, GetKeyRequest, IssuedKey, RecordUsageRequest, RecordUsageResponse,
    ReleaseSpendRequest, ReserveSpendRequest, ReserveSpendResponse, SettleSpendRequest,
    SettleSpendResponse,
};
use tonic::Status;
use tonic::transport::Channel;

use crate::support::client::{called_by, channel};
use crate::support::deployment::{Deployment, DevEnv, Served};

/// A connection of an internal service that meters keys; it also administers them.
#[derive(Clone)]
pub(crate) struct Meter {
    client: ManagementKeyServiceClient<Channel>,
    service: String,
    management: String,
}

impl Deployment {
    /// Starts a server with timeouts for a busy machine.
    pub(crate) fn start_patient(&self) -> Served {
        let patient = [
            "KEYWARD_DATABASE__ACQUIRE_TIMEOUT_MS",
            "KEYWARD_DATABASE__BUSY_TIMEOUT_MS",
            "KEYWARD_REQUESTS__DEFAULT_DEADLINE_MS",
        ];
        let serve = patient.iter().fold(self.command("serve"), |serve, name| {
            serve.env(name, "60000")
        });
        Served::of(serve)
    }
}

impl Meter {
    pub(crate) async fn new(url: &str, env: &DevEnv) -> Self {
        Self {
            client: ManagementKeyServiceClient::new(channel(url).await),
            service: env["SERVICE_TOKEN"].to_owned(),
            management: env["MANAGEMENT_KEY"].to_owned(),
        }
    }

    /// Issues a key; returns its hash.
    pub(crate) async fn issue(&self, limit_nanos: Option<i64>) -> String {
        let message = CreateKeyRequest {
            name: "a key".to_owned(),
            limit_nanos,
            ..Default::default()
        };
        let created = self
            .client
            .clone()
            .create_key(called_by(&self.management, message))
            .await
            .unwrap();
        created.into_inner().data.unwrap().hash
    }

    /// Returns a key.
    pub(crate) async fn key(&self, hash: &str) -> IssuedKey {
        let message = GetKeyRequest {
            hash: hash.to_owned(),
        };
        let found = self
            .client
            .clone()
            .get_key(called_by(&self.management, message))
            .await
            .unwrap();
        found.into_inner().data.unwrap()
    }

    pub(crate) async fn record(
        &self,
        charge: RecordUsageRequest,
    ) -> Result<RecordUsageResponse, Status> {
        let request = called_by(&self.service, charge);
        let answer = self.client.clone().record_usage(request).await;
        answer.map(tonic::Response::into_inner)
    }

    pub(crate) async fn reserve(
        &self,
        hold: ReserveSpendRequest,
    ) -> Result<ReserveSpendResponse, Status> {
        let request = called_by(&self.service, hold);
        let answer = self.client.clone().reserve_spend(request).await;
        answer.map(tonic::Response::into_inner)
    }

    pub(crate) async fn settle(
        &self,
        reservation_id: &str,
        cost_nanos: i64,
    ) -> Result<SettleSpendResponse, Status> {
        let message = SettleSpendRequest {
            reservation_id: reservation_id.to_owned(),
            cost_nanos,
        };
        let request = called_by(&self.service, message);
        let answer = self.client.clone().settle_spend(request).await;
        answer.map(tonic::Response::into_inner)
    }

    pub(crate) async fn release(&self, reservation_id: &str) -> Result<(), Status> {
        let message = ReleaseSpendRequest {
            reservation_id: reservation_id.to_owned(),
        };
        let request = called_by(&self.service, message);
        self.client.clone().release_spend(request).await.map(|_| ())
    }
}
