//! Configuration of `keyward serve`: everything is read before a port opens, and an error names the field and
//! never its value.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::support::client::Rest;
use crate::support::deployment::{Deployment, Served, configuration};
use crate::support::program::Program;

/// A value that must not be in any output.
const CANARY: &str = "Canary7QzX";
const EXAMPLE: &str = include_str!("../../../deploy/keyward.example.toml");

/// Returns a configuration with every required field, with paths of files that need not exist.
fn complete() -> String {
    configuration(
        Path::new("/nonexistent"),
        "sqlite:///nonexistent/keyward.db",
    )
}

fn serve(directory: &TempDir, text: impl AsRef<[u8]>) -> Program {
    let file = directory.path().join("keyward.toml");
    fs::write(&file, text).unwrap();
    Program::keyward(["serve", "--config", file.to_str().unwrap()])
}

/// Expects that the configuration is rejected with an error that names the field and has no canary.
#[track_caller]
fn rejected(program: Program, field: &str) -> String {
    let printed = program.run().expect(78);
    assert!(printed.contains(field), "`{field}` is not named: {printed}");
    assert!(
        !printed.to_lowercase().contains(&CANARY.to_lowercase()),
        "it holds the value: {printed}"
    );
    printed
}

/// Returns the example's settings by full name, including those commented out, and the example with all of
/// them active.
fn settings() -> (Vec<String>, String) {
    let mut section = String::new();
    let mut names = Vec::new();
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let name = bare
            .split_once(" = ")
            .map(|(name, _)| name.trim_matches('"'));
        if let Some(header) = bare.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
        } else if let Some(name) = name.filter(|name| !name.contains(' ')) {
            names.push(format!("{section}.{name}"));
        } else {
            continue;
        }
        text.push_str(bare);
        text.push('\n');
    }
    (names, text)
}

#[test]
fn settings_named_at_the_top_of_the_example_exist() {
    let (names, _) = settings();
    let top = EXAMPLE.split("\n\n").next().unwrap();
    let lines: Vec<_> = top
        .lines()
        .filter(|line| line.starts_with("# - "))
        .collect();
    assert_eq!(lines.len(), 10);
    for line in lines {
        let dotted = line
            .split([' ', ',', ':', ';'])
            .map(|word| word.trim_end_matches('.'))
            .filter(|word| word.contains('.'));
        for name in dotted {
            assert!(names.contains(&name.to_owned()), "{name} is not a setting");
        }
    }
}

#[test]
fn missing_required_setting_is_named() {
    rejected(
        Program::keyward(["serve"]),
        "`auth.session.jwks` is required",
    );
    let directory = TempDir::new().unwrap();
    for (line, field) in [
        (
            "issuer = \"keyward-dev\"\n",
            "`auth.session.issuer` is required",
        ),
        (
            "audience = \"keyward\"\n",
            "`auth.session.audience` is required",
        ),
        (
            "jwks = \"/nonexistent/jwks.json\"\n",
            "`auth.session.jwks` is required",
        ),
        (
            "keyring_file = \"/nonexistent/keyring.json\"\n",
            "`vault.keyring_file` is required",
        ),
        (
            "url = \"sqlite:///nonexistent/keyward.db\"\n",
            "`database.url`",
        ),
    ] {
        let text = complete();
        assert!(text.contains(line), "{line}");
        rejected(serve(&directory, text.replacen(line, "", 1)), field);
        if let Some((name, _)) = line.split_once(" = ").filter(|_| field.contains("session")) {
            rejected(
                serve(
                    &directory,
                    text.replacen(line, &format!("{name} = \"\"\n"), 1),
                ),
                field,
            );
        }
    }
}

#[test]
fn file_that_cannot_be_read_is_named() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing.toml");
    rejected(
        Program::keyward(["serve", "--config", missing.to_str().unwrap()]),
        "missing.toml",
    );
    rejected(
        Program::keyward(["migrate", "--config", missing.to_str().unwrap()]),
        "missing.toml",
    );
    let itself = directory.path().to_str().unwrap();
    rejected(Program::keyward(["serve", "--config", itself]), itself);
    rejected(
        serve(
            &directory,
            [b"\xff\xfe".as_slice(), CANARY.as_bytes()].concat(),
        ),
        "keyward.toml",
    );
}

#[test]
fn malformed_text_is_not_quoted() {
    let directory = TempDir::new().unwrap();
    for text in [
        format!("[server]\nlisten = {CANARY}\n"),
        format!("[server]\nlisten = \"{CANARY}\n"),
        format!("{CANARY}\n"),
        format!("[server]\nlisten = \"127.0.0.1:0\"\nlisten = \"{CANARY}\"\n"),
        format!("[server\nlisten = \"{CANARY}\"\n"),
        format!("[server]\nlisten = \"\\q{CANARY}\"\n"),
    ] {
        rejected(serve(&directory, text), "line");
    }
}

#[test]
fn unknown_fields_are_rejected_without_their_values() {
    let directory = TempDir::new().unwrap();
    for section in [
        "server",
        "server.http2",
        "server.tls",
        "database",
        "vault",
        "auth",
        "auth.session",
        "auth.service",
        "operations",
        "requests",
        "limits",
        "cors",
        "ledger",
        "log",
    ] {
        let header = format!("[{section}]\n");
        let mistake = format!("{header}mistake = \"{CANARY}\"\n");
        let text = complete();
        let text = match text.contains(&header) {
            true => text.replacen(&header, &mistake, 1),
            false => text + &mistake,
        };
        rejected(
            serve(&directory, text),
            &format!("`{section}.mistake` is not a setting"),
        );
    }
    let text = format!("mistake = \"{CANARY}\"\n{}", complete());
    rejected(serve(&directory, text), "`mistake` is not a setting");
    let text = format!("{}\n[mistake]\nurl = \"{CANARY}\"\n", complete());
    rejected(serve(&directory, text), "`mistake` is not a setting");
}

#[test]
fn setting_of_the_wrong_type_is_named_for_every_source() {
    let directory = TempDir::new().unwrap();
    let (names, _) = settings();
    assert!(names.len() > 55, "{names:?}");
    for name in names {
        // The names of subjects and of clients have colons, which no environment variable's name can have.
        let Some((section, field)) = name.rsplit_once('.') else {
            panic!("{name}")
        };
        if !["auth.service.subjects", "server.tls.services"].contains(&section) {
            let variable = format!("KEYWARD_{}", name.replace('.', "__").to_uppercase());
            for value in [
                format!("[\"{CANARY}\"]"),
                format!("{{{CANARY}=\"{CANARY}\"}}"),
            ] {
                let program = serve(&directory, complete()).env(&variable, value);
                rejected(program, &format!("`{}`", name.to_lowercase()));
            }
        }
        let quoted = if field.contains(':') {
            format!("\"{field}\"")
        } else {
            field.to_owned()
        };
        let text = format!("[{section}]\n{quoted} = [\"{CANARY}\"]\n");
        rejected(serve(&directory, text), &name);
    }
}

#[test]
fn numbers_and_addresses_are_checked() {
    let directory = TempDir::new().unwrap();
    for (variable, value, field) in [
        ("KEYWARD_SERVER__LISTEN", CANARY, "`server.listen`"),
        ("KEYWARD_SERVER__LISTEN", "127.0.0.1", "`server.listen`"),
        (
            "KEYWARD_REQUESTS__MAX_BODY_BYTES",
            CANARY,
            "`requests.max_body_bytes`",
        ),
        (
            "KEYWARD_REQUESTS__MAX_BODY_BYTES",
            "-1",
            "`requests.max_body_bytes`",
        ),
        (
            "KEYWARD_REQUESTS__MAX_BODY_BYTES",
            "0",
            "`requests.max_body_bytes`",
        ),
        (
            "KEYWARD_REQUESTS__DEFAULT_DEADLINE_MS",
            "60001",
            "`requests.default_deadline_ms`",
        ),
        (
            "KEYWARD_DATABASE__MAX_CONNECTIONS",
            "0",
            "`database.max_connections`",
        ),
        (
            "KEYWARD_DATABASE__MAX_CONNECTIONS",
            "4294967296",
            "`database.max_connections`",
        ),
        (
            "KEYWARD_AUTH__TOKEN_CACHE_ENTRIES",
            "1.5",
            "`auth.token_cache_entries`",
        ),
        (
            "KEYWARD_AUTH__JWKS_MIN_REFRESH_MS",
            "600001",
            "`auth.jwks_min_refresh_ms`",
        ),
        (
            "KEYWARD_AUTH__SESSION__JWKS",
            "http://canary7qzx.example.com/jwks.json",
            "`auth.session.jwks` must be an https URL",
        ),
        (
            "KEYWARD_AUTH__SERVICE__JWKS",
            "http://10.0.0.1/Canary7QzX",
            "`auth.service.jwks` must be an https URL",
        ),
        (
            "KEYWARD_AUTH__SESSION__JWKS",
            "https://[Canary7QzX",
            "`auth.session.jwks` must be a file or a URL",
        ),
        (
            "KEYWARD_CORS__ALLOWED_ORIGINS",
            "[\"*\"]",
            "`cors.allowed_origins` must hold origins",
        ),
        (
            "KEYWARD_CORS__ALLOWED_ORIGINS",
            "[\"https://Canary7QzX.example/\"]",
            "`cors.allowed_origins` must hold origins",
        ),
        (
            "KEYWARD_CORS__ALLOWED_ORIGINS",
            CANARY,
            "`cors.allowed_origins`",
        ),
        ("KEYWARD_OPERATIONS__LISTEN", CANARY, "`operations.listen`"),
        ("KEYWARD_LOG__FORMAT", CANARY, "`log.format`"),
        ("KEYWARD_LOG__FILTER", "Canary7QzX=[[[=", "`log.filter`"),
        ("KEYWARD_PROVIDERS__MINIO", "0", "`providers`"),
        ("KEYWARD_PROVIDERS__AWS", "1", "`providers`"),
        (
            "KEYWARD_DATABASE__URL",
            "mysql://root:Canary7QzX@localhost/db",
            "`database.url`",
        ),
        ("KEYWARD_DATABASE__URL", "Canary7QzX", "`database.url`"),
        (
            "KEYWARD_DATABASE__URL",
            "postgres://u:Canary7QzX@[::bad/db",
            "`database.url`",
        ),
        (
            "KEYWARD_DATABASE__URL_FILE",
            "/nonexistent/Canary7QzX",
            "`database.url_file`",
        ),
        (
            "KEYWARD_SERVER__MISTAKE",
            CANARY,
            "`server.mistake` is not a setting",
        ),
        ("KEYWARD_MISTAKE__URL", CANARY, "`mistake` is not a setting"),
    ] {
        rejected(serve(&directory, complete()).env(variable, value), field);
    }
    let same = complete().replace("keyward-internal", "keyward");
    rejected(serve(&directory, same), "`auth.service.audience`");
    let url_file = format!(
        "{}\n[database]\nurl_file = \"{CANARY}\"\n",
        without_url(&complete())
    );
    rejected(serve(&directory, url_file), "`database.url_file`");
}

fn without_url(text: &str) -> String {
    text.replacen(
        "[database]\nurl = \"sqlite:///nonexistent/keyward.db\"\n",
        "",
        1,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_is_printed_when_what_it_names_fails() {
    let deployment = Deployment::sqlite().await;
    let canary = |variable: &str, value: &str| deployment.command("serve").env(variable, value);
    let path = format!("/nonexistent/{CANARY}");
    rejected(
        canary("KEYWARD_VAULT__KEYRING_FILE", &path),
        "`vault.keyring_file`",
    );
    let unreachable = format!("postgres://{CANARY}:{CANARY}@127.0.0.1:1/{CANARY}");
    let unopenable = format!("sqlite:///nonexistent/{CANARY}/keyward.db");
    for url in [unreachable, unopenable] {
        let program = canary("KEYWARD_DATABASE__URL", &url);
        let program = program.env("KEYWARD_DATABASE__ACQUIRE_TIMEOUT_MS", "200");
        let printed = program.env("KEYWARD_LOG__FILTER", "trace").run().expect(69);
        assert!(!printed.contains(CANARY), "{printed}");
    }
    let printed = canary(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        &format!("not {CANARY} a URL"),
    )
    .run()
    .expect(78);
    assert!(!printed.contains(CANARY), "{printed}");
    // A keyring in the wrong setting: its text is read as a path, which does not exist.
    let file = deployment.directory.path().join("wrong.json");
    fs::write(&file, format!("{{\"format\":\"{CANARY}\"}}")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, mode).unwrap();
    rejected(
        canary("KEYWARD_VAULT__KEYRING_FILE", file.to_str().unwrap()),
        "`vault.keyring_file`",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn key_set_file_that_cannot_be_used_ends_the_start() {
    let deployment = Deployment::sqlite().await;
    let path = deployment.directory.path().join(format!("{CANARY}.json"));
    for (section, field) in [
        ("SESSION", "`auth.session.jwks` names a key set"),
        ("SERVICE", "`auth.service.jwks` names a key set"),
    ] {
        for text in [
            None,
            Some(""),
            Some("{}"),
            Some("{\"keys\":[]}"),
            Some(CANARY),
        ] {
            match text {
                Some(text) => fs::write(&path, text).unwrap(),
                None => drop(fs::remove_file(&path)),
            }
            let variable = format!("KEYWARD_AUTH__{section}__JWKS");
            rejected(deployment.command("serve").env(&variable, &path), field);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_that_cannot_be_reached_is_a_warning_at_start() {
    let deployment = Deployment::sqlite().await;
    let program = deployment.command("serve").env(
        "KEYWARD_AUTH__SESSION__JWKS",
        "http://127.0.0.1:1/Canary7QzX",
    );
    let served = Served::of(program);
    served.running.stderr.wait_for("failed to fetch JWKS");
    let answer = reqwest::get(format!("{}/readyz", served.url))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.text().await.unwrap();
    assert!(
        body.contains("auth.session.jwks: the key set cannot be fetched"),
        "{body}"
    );
    let printed = served.running.terminate().expect(0);
    assert!(!printed.contains(CANARY), "{printed}");
}

/// A proxy of the environment would get the request for keys, and could answer it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_over_http_are_fetched_without_a_proxy() {
    let deployment = Deployment::sqlite().await;
    let (issuer, proxy) = (
        TcpListener::bind("127.0.0.1:0"),
        TcpListener::bind("127.0.0.1:0"),
    );
    let (issuer, proxy) = (issuer.unwrap(), proxy.unwrap());
    let url = |listener: &TcpListener| format!("http://{}/jwks", listener.local_addr().unwrap());
    let program = deployment
        .command("serve")
        .env("KEYWARD_AUTH__SESSION__JWKS", url(&issuer))
        .env("HTTP_PROXY", url(&proxy))
        .env("http_proxy", url(&proxy))
        .env("ALL_PROXY", url(&proxy));
    let served = Served::of(program);
    let (mut stream, _) = tokio::task::spawn_blocking(move || issuer.accept())
        .await
        .unwrap()
        .unwrap();
    let mut start = [0; 10];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"GET /jwks ");
    drop(stream);
    served.running.stderr.wait_for("failed to fetch JWKS");
    proxy.set_nonblocking(true).unwrap();
    let asked = proxy.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(asked, Err(ErrorKind::WouldBlock));
}

#[tokio::test(flavor = "multi_thread")]
async fn url_file_that_others_may_read_is_rejected() {
    let deployment = Deployment::sqlite().await;
    let file = deployment.directory.path().join("url");
    fs::write(&file, deployment.database.url()).unwrap();
    let text = fs::read_to_string(deployment.directory.path().join("keyward.toml")).unwrap();
    let url = format!("url = \"{}\"", deployment.database.url());
    assert!(text.contains(&url));
    let text = text.replace(&url, &format!("url_file = \"{}\"", file.display()));
    let directory = TempDir::new().unwrap();
    for (mode, is_fit) in [
        (0o600, true),
        (0o440, true),
        (0o644, false),
        (0o604, false),
        (0o660, false),
    ] {
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        if is_fit {
            let served = Served::of(serve(&directory, &text));
            served.running.terminate().expect(0);
        } else {
            rejected(serve(&directory, &text), "`database.url_file` can be read");
        }
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    rejected(
        serve(&directory, &text),
        "`database.url_file` is not a regular",
    );
}

#[test]
fn postgres_beyond_loopback_needs_verified_tls() {
    let directory = TempDir::new().unwrap();
    let url = |url: &str| serve(&directory, complete()).env("KEYWARD_DATABASE__URL", url);
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let text = format!("postgres://u:{CANARY}@192.0.2.1/k?sslmode={mode}");
        rejected(url(&text), "`database.allow_unverified_tls`");
    }
}

#[test]
fn example_file_is_accepted() {
    let directory = TempDir::new().unwrap();
    // Unchanged, the example has no effect.
    let bare = Program::keyward(["serve"]).run();
    let example = serve(&directory, EXAMPLE).run();
    assert_eq!(
        (bare.code(), &bare.stderr),
        (example.code(), &example.stderr)
    );
    // With everything active, only mutually exclusive settings are rejected.
    let (_, all) = settings();
    let none = "client_certificates = \"none\"";
    let all = all.replace(none, "client_certificates = \"optional\"");
    let printed = rejected(
        serve(&directory, &all),
        "`database.url` or `database.url_file`",
    );
    assert_eq!(printed.matches('`').count(), 4, "{printed}");
    // The TLS files would have to exist.
    let left_out = ["url_file", "cert_file", "key_file", "client_", "\"spiffe:"];
    let all: String = all
        .lines()
        .filter(|line| !left_out.iter().any(|start| line.starts_with(start)))
        .fold(String::new(), |text, line| text + line + "\n");
    serve(&directory, all.replace("/var/lib/keyward", "/nonexistent"))
        .run()
        .expect(69);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_come_from_the_environment_alone() {
    let deployment = Deployment::sqlite().await;
    let path = |name: &str| {
        deployment
            .directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let url_file = path("url");
    fs::write(&url_file, format!("{}\n", deployment.database.url())).unwrap();
    fs::set_permissions(&url_file, PermissionsExt::from_mode(0o600)).unwrap();
    let program = Program::keyward(["serve"])
        .env("KEYWARD_SERVER__LISTEN", "127.0.0.1:0")
        .env("KEYWARD_DATABASE__URL_FILE", url_file)
        .env("KEYWARD_VAULT__KEYRING_FILE", path("keyring.json"))
        .env("KEYWARD_AUTH__SESSION__ISSUER", "keyward-dev")
        .env("KEYWARD_AUTH__SESSION__AUDIENCE", "keyward")
        .env("KEYWARD_AUTH__SESSION__JWKS", path("jwks.json"))
        .env("KEYWARD_PROVIDERS__MINIO", "1")
        // Variable that Kubernetes sets in every pod next to a service named `keyward`.
        .env("KEYWARD_PORT", "tcp://10.0.0.1:8080")
        .env("KEYWARD_SERVICE_HOST", "10.0.0.1")
        .env("KEYWARD_SERVICE_PORT", "8080")
        .env("KEYWARD_PORT_8080_TCP_ADDR", "10.0.0.1");
    let served = Served::of(program);
    let rest = Rest::new(&served.url);
    let (token, workspace) = (
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    );
    rest.create(token, workspace, "key", "secret")
        .await
        .expect(201);
    let body = serde_json::json!({
        "workspaceId": workspace, "provider": "MINIO", "key": "key", "secret": "secret",
    });
    rest.send(http::Method::POST, "/apikeys", token, &body)
        .await
        .expect(201);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_wins_over_the_file() {
    let deployment = Deployment::sqlite().await;
    let program = deployment
        .command("serve")
        .env("KEYWARD_REQUESTS__MAX_BODY_BYTES", "64");
    let served = Served::of(program);
    let rest = Rest::new(&served.url);
    let (token, workspace) = (
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    );
    rest.create(token, workspace, "key", "secret")
        .await
        .expect(413);
    served.running.terminate().expect(0);
    let program = deployment
        .command("serve")
        .env("KEYWARD_LOG__FORMAT", "json");
    let running = program.start();
    let line = running.stderr.find(|text| {
        text.lines()
            .find(|line| line.ends_with('}'))
            .map(ToOwned::to_owned)
    });
    let line = line.unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO", "{line}");
}
