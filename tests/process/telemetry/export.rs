//! Content, destination and timeout of exports: OpenTelemetry's environment variables.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use http::Method;

use crate::support::client::{Answer, Rest};
use crate::support::collector::{Collector, Protocol, value};
use crate::support::deployment::{Deployment, Served};
use crate::telemetry::spans::Trace;

/// Makes a request without prerequisites, in a trace.
async fn call(served: &Served, parent: Option<String>) {
    let request = Rest::new(&served.url).request(Method::GET, "/healthz");
    let request = match parent {
        Some(parent) => request.header("traceparent", parent),
        None => request,
    };
    Answer::of(request).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn ratio_decides_on_new_traces_and_the_caller_on_theirs() {
    let deployment = Deployment::sqlite().await;
    let (sampled, unsampled) = (Trace::new(1), Trace::new(2));
    for (ratio, spans) in [("0", 1), ("1.0", 2)] {
        let collector = Collector::start().await;
        let serve = collector
            .of(deployment.command("serve"))
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", ratio);
        let served = Served::of(serve);
        call(&served, Some(sampled.parent())).await;
        call(&served, Some(unsampled.parent_with_flags("00"))).await;
        call(&served, None).await;
        served.running.terminate().expect(0);
        let mut found = collector.spans();
        found.retain(|span| span.name == "GET /healthz");
        assert_eq!(found.len(), spans, "{found:#?}");
        assert!(found.iter().any(|span| span.trace_id == sampled.0));
        assert!(found.iter().all(|span| span.trace_id != unsampled.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_sets_the_service_name_and_headers() {
    let deployment = Deployment::sqlite().await;
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let collector = Collector::start().await;
        let serve = collector
            .by(protocol, deployment.command("serve"))
            .env("OTEL_SERVICE_NAME", "vault-of-keys")
            .env(
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=test",
            )
            .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven")
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
        let served = Served::of(serve);
        call(&served, None).await;
        served.running.terminate().expect(0);
        let exports = collector.exports();
        assert!(!exports.headers.is_empty());
        for headers in &exports.headers {
            assert_eq!(headers["x-tenant"], "seven");
            if protocol == Protocol::Http {
                assert_eq!(headers["content-encoding"], "gzip");
            }
        }
        let traces = exports.traces.iter().flat_map(|it| &it.resource_spans);
        let metrics = exports.metrics.iter().flat_map(|it| &it.resource_metrics);
        let resources: Vec<_> = traces
            .map(|it| it.resource.clone().unwrap())
            .chain(metrics.map(|it| it.resource.clone().unwrap()))
            .collect();
        assert!(resources.len() >= 2);
        let instance = value(&resources[0].attributes, "service.instance.id").unwrap();
        for resource in &resources {
            let value = |name| value(&resource.attributes, name);
            assert_eq!(value("service.name").as_deref(), Some("vault-of-keys"));
            assert_eq!(
                value("deployment.environment.name").as_deref(),
                Some("test")
            );
            assert_eq!(value("service.instance.id").as_ref(), Some(&instance));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_are_exported_now_and_then_and_at_the_end() {
    let deployment = Deployment::sqlite().await;
    let collector = Collector::start().await;
    let serve = collector
        .by(Protocol::Http, deployment.command("serve"))
        .env("OTEL_TRACES_EXPORTER", "none");
    let served = Served::of(serve);
    for _ in 0..3 {
        call(&served, None).await;
    }
    // The interval is a minute: the export comes from the shutdown.
    served.running.terminate().expect(0);
    assert!(collector.spans().is_empty());
    let metric = collector.metric("http.server.request.duration").unwrap();
    assert_eq!(metric.unit, "s");
    let text = format!("{metric:?}");
    assert!(
        text.contains("count: 3") && text.contains("/healthz"),
        "{text}"
    );
    for name in ["process.open_fds", "keyward.ready", "keyward.connections"] {
        assert!(collector.metric(name).is_some(), "{name}");
    }

    let collector = Collector::start().await;
    let serve = collector
        .by(Protocol::Grpc, deployment.command("serve"))
        .env("OTEL_METRIC_EXPORT_INTERVAL", "50");
    let served = Served::of(serve);
    let patience = Instant::now() + Duration::from_secs(60);
    while collector.exports().metrics.len() < 3 {
        assert!(Instant::now() < patience, "nothing is exported");
        tokio::task::yield_now().await;
    }
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_when_it_is_turned_off() {
    let deployment = Deployment::sqlite().await;
    let collector = Collector::start().await;
    let serve = collector.of(deployment.command("serve"));
    let served = Served::of(serve.env("OTEL_SDK_DISABLED", "true"));
    call(&served, None).await;
    let measured = Rest::new(&served.url).get("/metrics", "none").await;
    assert_eq!(measured.status, 200);
    served.running.terminate().expect(0);
    assert!(collector.exports().headers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_collector_delays_no_shutdown() {
    let deployment = Deployment::sqlite().await;
    // The system accepts connections, and no process responds.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for protocol in ["grpc", "http/protobuf"] {
        let serve = deployment
            .command("serve")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000");
        let served = Served::of(serve);
        call(&served, None).await;
        let asked = Instant::now();
        let finished = served.running.terminate();
        finished.expect(0);
        let text = finished.stderr;
        assert!(text.contains("some spans were not exported"), "{text}");
        assert!(
            text.contains("some measurements were not exported"),
            "{text}"
        );
        // Five seconds, and a margin for a busy machine.
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(30), "{protocol} took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_variable_fails_the_start_and_is_not_repeated() {
    let deployment = Deployment::sqlite().await;
    for (name, value) in [
        ("OTEL_TRACES_SAMPLER", "Canary7QzX"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Canary7QzX"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "Canary7QzX"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "Canary7QzX"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "Canary7QzX"),
    ] {
        let printed = deployment
            .command("serve")
            .env(name, value)
            .run()
            .expect(78);
        assert!(printed.contains(&format!("`{name}` must be")), "{printed}");
        assert!(!printed.contains("Canary7QzX"), "{printed}");
    }
    let absent = deployment.directory.path().join("Canary7QzX.pem");
    let serve = deployment
        .command("serve")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", absent);
    let printed = serve.run().expect(78);
    let problem = "`OTEL_EXPORTER_OTLP_CERTIFICATE` names a file that cannot be read";
    assert!(printed.contains(problem), "{printed}");
    assert!(!printed.contains("Canary7QzX"), "{printed}");
}
