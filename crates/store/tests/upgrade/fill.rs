//! Rows as a program of each migration stored them. Like the migrations, they never change: they name the columns of
//! that time.

use sea_orm::DbBackend;

/// Returns the rows of a program of this migration for the tables that it created. `UUID(n)` and `BYTES(hex)` are
/// placeholders, which each engine writes differently.
pub(crate) fn statements(migration: &str) -> &'static [&'static str] {
    match migration {
        "m0001_directory" => &[
            "INSERT INTO organizations (id, name, default_workspace_id) \
             VALUES ('org', 'Organization', 'a')",
            "INSERT INTO workspaces (id, organization_id, name) \
             VALUES ('a', 'org', 'A'), ('b', 'org', 'B \u{1f511}')",
            "INSERT INTO members (organization_id, user_id, role, validated) \
             VALUES ('org', 'user', 'BILLING', TRUE)",
            "INSERT INTO workspace_access (organization_id, user_id, workspace_id, access) \
             VALUES ('org', 'user', 'a', 'WRITE')",
            "INSERT INTO repos (id, workspace_id, name) VALUES ('repo', 'a', 'Repo')",
        ],
        "m0002_vault" => &[
            "INSERT INTO data_keys (workspace_id, purpose, version, wrapped, created_at) \
             VALUES ('a', 'seal', 1, BYTES(0100ff), 1785585600000), \
             ('a', 'fingerprint', 1, BYTES(02), 1785585600001)",
        ],
        "m0003_provider_keys" => &[
            "INSERT INTO provider_keys (id, workspace_id, provider, key, endpoint, region, \
             tenant_id, subscription_id, description, sealed_secret, secret_version, fingerprint, \
             created_at, version) VALUES \
             (UUID(1), 'a', 'AWS', 'AKIA', 'https://e', 'r', 't', 's', 'd', BYTES(00ff), 3, \
             BYTES(0101010101010101010101010101010101010101010101010101010101010101), \
             1785585600000, 4), \
             (UUID(2), 'a', 'OTHER', 'bare', NULL, NULL, NULL, NULL, NULL, BYTES(01), 1, \
             BYTES(0202020202020202020202020202020202020202020202020202020202020202), \
             1785585600001, 1)",
            "INSERT INTO provider_key_links (provider_key_id, resource_kind, resource_id, created_at) \
             VALUES (UUID(1), 'bucket', 'bucket-1', 1785585600002)",
        ],
        "m0004_audit" => &[
            "INSERT INTO audit_events (id, occurred_at, actor_kind, actor_id, action, \
             organization_id, workspace_id, resource_kind, resource_id, request_id, source, details) \
             VALUES (UUID(3), 1785585600000, 'user', 'user', 'api_key.create', 'org', 'a', \
             'api_key', 'k', 'request-1', '192.0.2.7', '{\"fields\":\"key\"}'), \
             (UUID(4), 1785585600001, 'service', 'platform', 'organization.upsert', NULL, NULL, \
             'organization', 'org', 'request-2', NULL, '{}')",
        ],
        "m0005_repo_ai_keys_and_management_keys" => &[
            "INSERT INTO repo_ai_keys (id, workspace_id, repo_id, live_repo_id, name, key, ai_type, \
             sealed_secret, secret_hash, created_at, deleted_at) VALUES \
             (UUID(5), 'a', 'repo', 'repo', 'live', 'FB_AI_live', 'OPENAI', BYTES(00ff), \
             BYTES(0303030303030303030303030303030303030303030303030303030303030303), \
             1785585600000, NULL), \
             (UUID(6), 'a', 'repo', NULL, 'gone', 'FB_AI_gone', 'AWS', NULL, \
             BYTES(0404040404040404040404040404040404040404040404040404040404040404), \
             1785585600000, 1785585600001)",
            "INSERT INTO management_keys (id, hash, label, organization_id, live_organization_id, \
             name, created_at, last_used_at, revoked_at) VALUES \
             (UUID(7), '1111111111111111111111111111111111111111111111111111111111111111', \
             'sk-kw-v1-1...1', 'org', 'org', 'CI', 1785585600000, 1785585600001, NULL), \
             (UUID(8), '2222222222222222222222222222222222222222222222222222222222222222', \
             'sk-kw-v1-2...2', 'org', NULL, 'Old', 1785585600000, NULL, 1785585600001)",
        ],
        "m0006_issued_keys" => &[
            "INSERT INTO issued_keys (id, hash, label, organization_id, workspace_id, \
             live_workspace_id, name, disabled, limit_nanos, limit_reset, include_byok_in_limit, \
             expires_at, creator_user_id, external_user, created_at, updated_at, last_used_at, \
             deleted_at, usage_nanos, byok_usage_nanos) VALUES \
             (UUID(9), '3333333333333333333333333333333333333333333333333333333333333333', \
             'sk-kw-v1-3...3', 'org', 'a', 'a', 'App', FALSE, 1000, 'monthly', TRUE, 1985585600000, \
             'user', 'someone', 1785585600000, 1785585600001, 1785585600002, NULL, 30, 4), \
             (UUID(10), '4444444444444444444444444444444444444444444444444444444444444444', \
             'sk-kw-v1-4...4', 'org', 'a', NULL, 'Gone', TRUE, NULL, NULL, FALSE, NULL, NULL, NULL, \
             1785585600000, NULL, NULL, 1785585600003, 5, 0)",
            "INSERT INTO charges (key_id, request_id, amount_nanos, byok, occurred_at, recorded_at, \
             recorded_by) VALUES (UUID(9), 'charge-1', 30, FALSE, 1785585600000, 1785585600001, \
             'gateway'), (UUID(9), 'charge-2', 4, TRUE, 1785585600000, 1785585600001, 'gateway')",
            "INSERT INTO daily_usage (key_id, day, usage_nanos, byok_usage_nanos) \
             VALUES (UUID(9), 20666, 30, 4)",
            "INSERT INTO reservations (id, key_id, request_id, amount_nanos, byok, created_at, \
             expires_at, reserved_by, state, ended_at, ended_by, settled_nanos) VALUES \
             (UUID(11), UUID(9), 'hold-1', 6, FALSE, 1785585600000, 1985585600000, 'gateway', \
             'held', NULL, NULL, NULL), \
             (UUID(12), UUID(9), 'charge-1', 31, FALSE, 1785585600000, 1985585600000, 'gateway', \
             'settled', 1785585600001, 'gateway', 30)",
        ],
        "m0010_retention_runs" => &[
            "INSERT INTO retention_runs (kind, cutoff_at, ran_at) VALUES \
             ('audit_events', 1785585600000, 1785585600001), ('ledger', 1785585600000, 1785585600001)",
        ],
        "m0011_changes" => &[
            "INSERT INTO changes (transaction_id, recorded_at, kind, organization_id, resource_id) \
             VALUES (1, 1785585600000, 'member', 'org', 'user'), \
             (1, 1785585600001, 'trimmed', NULL, '1')",
        ],
        // The migration creates no table.
        _ => &[],
    }
}

/// Converts a statement to an engine's syntax.
pub(crate) fn sql(backend: DbBackend, statement: &str) -> String {
    let uuid = |number: &str| {
        format!(
            "{:032x}",
            0x0190_0000_0000_7000_8000_u128 << 48 | number.parse::<u128>().unwrap()
        )
    };
    let (head, tail) = match backend {
        DbBackend::Postgres => ("'\\x", "'::bytea"),
        _ => ("x'", "'"),
    };
    let text = replaced(statement, "BYTES(", |hex| format!("{head}{hex}{tail}"));
    replaced(&text, "UUID(", |number| match backend {
        DbBackend::Postgres => format!("'{}'::uuid", uuid(number)),
        _ => format!("x'{}'", uuid(number)),
    })
}

/// Replaces every `MARK…)`.
fn replaced(text: &str, mark: &str, value: impl Fn(&str) -> String) -> String {
    let mut parts = text.split(mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (argument, rest) = part.split_once(')').unwrap();
        out.push_str(&value(argument));
        out.push_str(rest);
    }
    out
}
