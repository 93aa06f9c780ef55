//! `[server]` and `[requests]`: values that would serve nothing or make no sense are rejected before a port opens.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::deployment::configuration;
use crate::support::program::Program;

fn serve(directory: &TempDir) -> Program {
    let file = directory.path().join("keyward.toml");
    let text = configuration(Path::new("/nonexistent"), "sqlite:///nonexistent/k.db");
    fs::write(&file, text).unwrap();
    Program::keyward(["serve", "--config", file.to_str().unwrap()])
}

/// Returns the environment variable of a setting.
fn variable(setting: &str) -> String {
    format!("KEYWARD_{}", setting.replace('.', "__").to_uppercase())
}

#[test]
fn no_bound_can_be_nothing() {
    let directory = TempDir::new().unwrap();
    for field in [
        "server.max_connections",
        "server.http2.max_concurrent_streams",
        "server.max_header_bytes",
        "server.max_unread_bytes",
        "server.header_timeout_ms",
        "server.write_timeout_ms",
        "server.keep_alive_interval_ms",
        "server.keep_alive_timeout_ms",
        "server.idle_timeout_ms",
        "server.http2.max_pending_resets",
        "server.http2.stream_window_bytes",
        "server.http2.connection_window_bytes",
        "server.http2.send_buffer_bytes",
        "server.tls.handshake_timeout_ms",
        "server.tls.reload_interval_ms",
        "requests.default_deadline_ms",
        "requests.max_deadline_ms",
        "requests.max_body_bytes",
        "requests.body_timeout_ms",
        "requests.min_body_bytes_per_second",
        "requests.max_total_memory_bytes",
    ] {
        for value in ["0", "-1", "many"] {
            let program = serve(&directory).env(&variable(field), value);
            let printed = program.run().expect(78);
            let named = format!("`{field}` must be ");
            assert!(printed.contains(&named), "{named}: {printed}");
        }
    }
    // Zero means no limit, or no delay, for these fields; the failure is due to the database.
    for field in [
        "server.max_connections_per_address",
        "server.max_connection_age_ms",
        "server.shutdown_delay_ms",
        "server.drain_timeout_ms",
        "requests.max_in_flight",
        "requests.max_in_flight_per_organization",
    ] {
        serve(&directory)
            .env(&variable(field), "0")
            .run()
            .expect(69);
    }
}

#[test]
fn sizes_are_those_that_http_has() {
    let directory = TempDir::new().unwrap();
    for (field, unfit, fit) in [
        (
            "server.max_header_bytes",
            ["8191", "1048577"],
            ["8192", "1048576"],
        ),
        (
            "server.http2.connection_window_bytes",
            ["65534", "2147483648"],
            ["65535", "2147483647"],
        ),
        (
            "server.http2.stream_window_bytes",
            ["0", "2147483648"],
            ["1", "2147483647"],
        ),
    ] {
        let variable = variable(field);
        for value in unfit {
            let printed = serve(&directory).env(&variable, value).run().expect(78);
            assert!(printed.contains(&format!("`{field}` must be from ")));
        }
        for value in fit {
            serve(&directory).env(&variable, value).run().expect(69);
        }
    }
}

#[test]
fn settings_of_tls_that_would_count_for_nothing_are_rejected() {
    let directory = TempDir::new().unwrap();
    let pair = [("CERT_FILE", "c"), ("KEY_FILE", "k")];
    let asks = |asked| ("CLIENT_CERTIFICATES", asked);
    let known = r#"{ "spiffe://a/b" = "service" }"#;
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&pair[..1], "`server.tls.key_file` is required"),
        (&pair[1..], "`server.tls.cert_file` is required"),
        (
            &[asks("optional")],
            "`server.tls.client_certificates` needs",
        ),
        (
            &[pair[0], pair[1], asks("required")],
            "`server.tls.client_ca_file` is required",
        ),
        (
            &[pair[0], pair[1], ("CLIENT_CA_FILE", "a")],
            "`server.tls.client_ca_file` needs",
        ),
        (
            &[pair[0], pair[1], ("SERVICES", known)],
            "`server.tls.services` needs",
        ),
        (
            &[
                pair[0],
                pair[1],
                asks("optional"),
                ("CLIENT_CA_FILE", "a"),
                ("SERVICES", r#"{ "*.example.test" = "service" }"#),
            ],
            "`server.tls.services` must map whole names",
        ),
        (
            &[
                pair[0],
                pair[1],
                asks("optional"),
                ("CLIENT_CA_FILE", "a"),
                ("SERVICES", r#"{ "a.example.test" = "" }"#),
            ],
            "`server.tls.services` must map whole names",
        ),
        (
            &[asks("perhaps")],
            "`server.tls.client_certificates` must be one of",
        ),
    ];
    for (settings, problem) in cases {
        let mut program = serve(&directory);
        for (name, value) in settings {
            program = program.env(&format!("KEYWARD_SERVER__TLS__{name}"), value);
        }
        let printed = program.run().expect(78);
        assert!(printed.contains(problem), "{problem}: {printed}");
    }
}
