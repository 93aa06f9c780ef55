//! Verdicts, charges and reservations, as an internal service requests them.

use std::time::Duration;

use keyward::proto::v1::{
    KeyVerdict, RecordUsageRequest, RecordUsageResponse, ReleaseSpendRequest, ReserveSpendRequest,
    ReserveSpendResponse, SettleSpendRequest, SettleSpendResponse, VerifyKeyRequest,
    VerifyKeyResponse,
};
use tonic::Status;

use super::TestServer;

/// A dollar in nano-dollars.
pub const DOLLAR: i64 = 1_000_000_000;
/// A cent in nano-dollars.
pub const CENT: i64 = DOLLAR / 100;

/// Returns a charge at the current time that is not BYOK.
pub fn charge(hash: &str, request_id: &str, cost_nanos: i64) -> RecordUsageRequest {
    RecordUsageRequest {
        hash: hash.to_owned(),
        cost_nanos,
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

/// Returns a charge of the customer's own provider key.
pub fn byok_charge(hash: &str, request_id: &str, cost_nanos: i64) -> RecordUsageRequest {
    RecordUsageRequest {
        byok: true,
        ..charge(hash, request_id, cost_nanos)
    }
}

/// Sets the time of a charge, in RFC 3339.
pub fn charge_at(moment: &str, charge: RecordUsageRequest) -> RecordUsageRequest {
    RecordUsageRequest {
        occurred_at: Some(moment.parse().unwrap()),
        ..charge
    }
}

/// Returns a reservation that is not BYOK and has the default lifetime.
pub fn hold(hash: &str, request_id: &str, amount_nanos: i64) -> ReserveSpendRequest {
    ReserveSpendRequest {
        hash: hash.to_owned(),
        amount_nanos,
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

/// Returns a reservation for the customer's own provider key.
pub fn byok_hold(hash: &str, request_id: &str, amount_nanos: i64) -> ReserveSpendRequest {
    ReserveSpendRequest {
        byok: true,
        ..hold(hash, request_id, amount_nanos)
    }
}

/// Sets the lifetime of a reservation.
pub fn hold_for(ttl: Duration, hold: ReserveSpendRequest) -> ReserveSpendRequest {
    ReserveSpendRequest {
        ttl: Some(ttl.try_into().unwrap()),
        ..hold
    }
}

impl TestServer {
    pub async fn verify(&self, token: &str) -> VerifyKeyResponse {
        let token = token.to_owned();
        let mut service = self.management_keys(&self.service_token());
        let verified = service
            .verify_key(VerifyKeyRequest { token, byok: false })
            .await;
        verified.unwrap().into_inner()
    }

    pub async fn verdict(&self, token: &str) -> KeyVerdict {
        self.verify(token).await.verdict()
    }

    pub async fn record(&self, charge: RecordUsageRequest) -> Result<RecordUsageResponse, Status> {
        let mut service = self.management_keys(&self.service_token());
        service
            .record_usage(charge)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn reserve(&self, hold: ReserveSpendRequest) -> Result<ReserveSpendResponse, Status> {
        let mut service = self.management_keys(&self.service_token());
        service
            .reserve_spend(hold)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Reserves, and returns the reservation's id.
    pub async fn reserved(&self, hold: ReserveSpendRequest) -> String {
        self.reserve(hold).await.unwrap().reservation_id
    }

    pub async fn settle(
        &self,
        reservation_id: &str,
        cost_nanos: i64,
    ) -> Result<SettleSpendResponse, Status> {
        let request = SettleSpendRequest {
            reservation_id: reservation_id.to_owned(),
            cost_nanos,
        };
        let mut service = self.management_keys(&self.service_token());
        service
            .settle_spend(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn release(&self, reservation_id: &str) -> Result<(), Status> {
        let request = ReleaseSpendRequest {
            reservation_id: reservation_id.to_owned(),
        };
        let mut service = self.management_keys(&self.service_token());
        service.release_spend(request).await.map(drop)
    }
}
