//! The `[cache]` section of the configuration.

use crate::support::deployment::Deployment;

#[tokio::test(flavor = "multi_thread")]
async fn cache_that_could_not_be_current_is_rejected() {
    let deployment = Deployment::sqlite().await;
    for (variable, value, words) in [
        ("LIFETIME_MS", "0", "`cache.lifetime_ms`"),
        (
            "LIFETIME_MS",
            "60001",
            "`cache.lifetime_ms` must be at most",
        ),
        ("MAX_STALENESS_MS", "0", "`cache.max_staleness_ms`"),
        (
            "MAX_STALENESS_MS",
            "499",
            "`cache.poll_interval_ms` must be at most half",
        ),
        (
            "POLL_INTERVAL_MS",
            "1001",
            "`cache.poll_interval_ms` must be at most half",
        ),
        ("POLL_INTERVAL_MS", "0", "`cache.poll_interval_ms`"),
        ("MAX_ENTRIES", "-1", "`cache.max_entries`"),
    ] {
        let serve = deployment.command("serve");
        let serve = serve.env(&format!("KEYWARD_CACHE__{variable}"), value);
        let printed = serve.run().expect(78);
        assert!(printed.contains(words), "{variable}={value}: {printed}");
    }
}
