//! `keyward healthcheck`.

use std::time::Duration;

use super::Failure;

#[derive(clap::Args)]
pub(super) struct HealthcheckArgs {
    /// Where Keyward listens.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        env = "KEYWARD_URL"
    )]
    url: String,
    /// How long it may take to answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    timeout_ms: u64,
}

pub(super) async fn run(args: &HealthcheckArgs) -> Result<(), Failure> {
    let url = format!("{}/readyz", args.url.trim_end_matches('/'));
    let unavailable = |error: reqwest::Error| {
        Failure::caused(Failure::UNAVAILABLE, "not ready", &error.without_url())
    };
    let client = reqwest::Client::builder()
        .timeout(Duration::from_millis(args.timeout_ms))
        // What is asked is next door.
        .no_proxy()
        .build()
        .map_err(unavailable)?;
    let response = client.get(url).send().await.map_err(unavailable)?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err(Failure::new(
            Failure::UNAVAILABLE,
            format!("not ready: HTTP {}", response.status()),
        ))
    }
}
