//! Tests of the values of each variable.

use std::collections::BTreeMap;

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Environment, Malformed> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Environment::read(|name| variables.get(name).map(|value| (*value).into()))
}

#[track_caller]
fn rejected(variables: &[(&str, &str)], name: &str) {
    let error = read(variables).unwrap_err().to_string();
    assert!(error.starts_with(&format!("`{name}` ")), "{error}");
    for (_, value) in variables {
        assert!(!error.contains(&format!("`{value}`")), "{error}");
    }
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:4318");

#[test]
fn nothing_is_exported_unless_a_collector_is_named() {
    let environment = read(&[]).unwrap();
    assert_eq!((environment.traces, environment.metrics), (None, None));
    assert!(environment.is_nameless && environment.is_one_of_many);
    let environment = read(&[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap();
    assert!(environment.traces.is_some() && environment.metrics.is_none());
}

#[test]
fn one_endpoint_is_for_both_signals_which_may_be_turned_off() {
    let environment = read(&[ENDPOINT]).unwrap();
    let traces = environment.traces.unwrap();
    assert_eq!(traces.protocol, Protocol::HttpProtobuf);
    assert_eq!((traces.is_secure, traces.timeout), (true, DEFAULT_TIMEOUT));
    assert!(environment.metrics.is_some());
    let environment = read(&[ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")]).unwrap();
    assert!(environment.traces.is_some() && environment.metrics.is_none());
    let environment = read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap();
    assert_eq!((environment.traces, environment.metrics), (None, None));
}

#[test]
fn a_signals_own_variable_wins() {
    let environment = read(&[
        ENDPOINT,
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://127.0.0.1:4317",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "200"),
    ])
    .unwrap();
    let (traces, metrics) = (environment.traces.unwrap(), environment.metrics.unwrap());
    assert_eq!((traces.protocol, traces.is_secure), (Protocol::Grpc, false));
    assert_eq!(
        (metrics.protocol, metrics.is_secure),
        (Protocol::HttpProtobuf, true)
    );
    assert_eq!(traces.timeout, Duration::from_secs(3));
    assert_eq!(metrics.timeout, Duration::from_millis(200));
}

#[test]
fn a_name_may_come_from_the_attributes() {
    let attributes = "service.name=k,service.instance.id=1";
    let environment = read(&[("OTEL_RESOURCE_ATTRIBUTES", attributes)]).unwrap();
    assert!(!environment.is_nameless && !environment.is_one_of_many);
}

#[test]
fn malformed_variable_is_named_without_its_value() {
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "canary"),
        ("OTEL_TRACES_EXPORTER", "canary"),
        ("OTEL_METRICS_EXPORTER", "prometheus,canary"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_PROPAGATORS", "baggage"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_TRACES_SAMPLER", "ALWAYS_ON"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "canary"),
        ("OTEL_BSP_SCHEDULE_DELAY", "canary"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "-1"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1s"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "canary"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "canary"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100"),
        ("OTEL_CONFIG_FILE", "canary"),
        ("OTEL_RESOURCE_ATTRIBUTES", "canary"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "canary:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "unix:///canary"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "canary"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x y=canary"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "br"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "canary"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/canary"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "canary",
        ),
    ] {
        rejected(&[(name, value)], name);
    }
}

#[test]
fn variable_that_is_not_utf_8_is_rejected() {
    use std::os::unix::ffi::OsStringExt;
    let text = std::ffi::OsString::from_vec(vec![0xff]);
    let get = |name: &str| (name == "OTEL_SERVICE_NAME").then(|| text.clone());
    let error = Environment::read(get).unwrap_err();
    assert_eq!(error.to_string(), "`OTEL_SERVICE_NAME` must be UTF-8");
}
