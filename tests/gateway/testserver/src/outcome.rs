//! Executes a [`Plan`]: messages, pauses, failures with details.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use prost::Message;
use prost_types::Any;
use tonic::codegen::BoxStream;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::v1::{Everything, Nested, OwnDetail, Plan};

/// Number of streams that were dropped, at their end or before it.
#[derive(Debug, Clone, Default)]
pub struct Dropped(Arc<AtomicUsize>);

impl Dropped {
    /// Returns the number so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Increments the counter on drop.
struct Guard(Dropped);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Fails if the plan has an error code, with the details that it names.
pub(crate) fn end(plan: &Plan) -> Result<(), Status> {
    let code = Code::from_i32(plan.code);
    if code == Code::Ok {
        return Ok(());
    }
    let message = plan.message.repeat(plan.filling.max(1) as usize);
    let has = |name: &str| plan.details.iter().any(|detail| detail == name);
    let mut standard = ErrorDetails::new();
    if has("retry") {
        standard.set_retry_info(Some(Duration::from_millis(1_500)));
    }
    if has("quota") {
        standard.add_quota_failure_violation("calls", "too many");
    }
    let status = Status::with_error_details(code, message.clone(), standard);
    let mut packed = pb::Status::decode(status.details()).unwrap_or_default();
    if has("own") {
        packed.details.push(Any {
            type_url: "type.googleapis.com/probe.v1.OwnDetail".to_owned(),
            value: OwnDetail { big_number: 7 }.encode_to_vec(),
        });
    }
    if has("unknown") {
        packed.details.push(Any {
            type_url: "type.googleapis.com/probe.v1.Unknown".to_owned(),
            value: vec![8, 1],
        });
    }
    let details = packed.encode_to_vec().into();
    Err(Status::with_details(code, message, details))
}

/// Returns a response as long as the plan's filling makes it.
pub(crate) fn filled(plan: &Plan) -> Everything {
    Everything {
        a_string: plan.message.repeat(plan.filling as usize),
        ..Everything::default()
    }
}

/// Returns messages, numbered from one, and the end from the plan.
pub(crate) fn stream(plan: Plan, dropped: &Dropped) -> Result<Response<BoxStream<Nested>>, Status> {
    let guard = Guard(dropped.clone());
    let pause = plan.pause.and_then(|pause| Duration::try_from(pause).ok());
    let messages = stream::unfold((0, guard), move |(sent, guard)| {
        let plan = plan.clone();
        async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            if plan.endless || sent < plan.messages {
                let message = Nested {
                    text: plan.message.clone(),
                    big_number: i64::from(sent) + 1,
                    ..Nested::default()
                };
                return Some((Ok(message), (sent + 1, guard)));
            }
            if sent > plan.messages {
                return None;
            }
            let failed = end(&plan).err()?;
            Some((Err(failed), (sent + 1, guard)))
        }
    });
    Ok(Response::new(messages.boxed()))
}
