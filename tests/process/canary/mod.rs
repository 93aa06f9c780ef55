//! Canary secrets, tokens and keys appear in no log line at TRACE level, response, span, metric, database
//! file or dump. Harmless marks do appear there, which proves that the search works.

mod plant;
mod search;

use std::path::Path;

use sea_orm::DbBackend;

use crate::support::client::{Rest, channel, resolve};
use crate::support::collector::Collector;
use crate::support::deployment::{Deployment, Served};
use crate::support::program::Program;
use keyward::proto::v1::KeyVerdict;
use plant::keys::{Kind, Minted};
use plant::{AUDIT_MARK, AUDIT_STEM, MARK, NUMBER, Planter, STEM};
use search::{Haystack, Needle, expect_absent, expect_present};

/// Returns everything that must not be found.
fn needles(deployment: &Deployment) -> Vec<Needle> {
    let mut needles = vec![
        Needle::new("a canary", STEM.as_bytes()),
        Needle::new("a canary number", NUMBER.to_string().as_bytes()),
    ];
    for name in [
        "ADMIN_TOKEN",
        "READ_TOKEN",
        "OUTSIDER_TOKEN",
        "SERVICE_TOKEN",
    ] {
        for (part, text) in deployment.env[name].split('.').enumerate().skip(1) {
            needles.push(Needle::new(
                format!("part {part} of {name}"),
                text.as_bytes(),
            ));
        }
    }
    let keyring =
        std::fs::read_to_string(deployment.directory.path().join("keyring.json")).unwrap();
    let key = keyring.split('"').find(|part| part.len() == 64).unwrap();
    let byte = |at: usize| u8::from_str_radix(&key[at..at + 2], 16).unwrap();
    let key: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    needles.push(Needle::new("the key-encryption key", &key));
    let signing_key = std::fs::read(deployment.directory.path().join("signing-key.pk8")).unwrap();
    // Seed of an Ed25519 key, in PKCS #8.
    needles.push(Needle::new("the signing key", &signing_key[16..48]));
    needles
}

/// Returns the random part of a key, in pieces so that a fragment is found too, and the decoded bytes. The
/// part shown in its label is shorter than a piece.
fn key_needles(what: &str, plaintext: &str) -> Vec<Needle> {
    let body = &plaintext[plaintext.len() - 72..plaintext.len() - 8];
    let byte = |at: usize| u8::from_str_radix(&body[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    let pieces = body.as_bytes().chunks(16).enumerate();
    let mut needles: Vec<_> = pieces
        .map(|(number, piece)| Needle::new(format!("piece {number} of {what}"), piece))
        .collect();
    needles.push(Needle::new(format!("the bytes of {what}"), &bytes));
    needles
}

/// Makes keys and uses them as their owners do, and as they should not; in the end the keys are disabled,
/// deleted or revoked.
async fn plant_keys(planter: &mut Planter) -> Vec<Minted> {
    let mut minted = planter.rest_keys().await;
    minted.extend(planter.grpc_keys().await);
    minted.extend(planter.grpc_web_keys().await);
    for key in &minted {
        let (issued, hash) = match &key.kind {
            Kind::Issued(hash) => (true, hash.clone()),
            _ => (false, String::new()),
        };
        let verdict = |verdict| {
            if issued {
                verdict
            } else {
                KeyVerdict::NotFound
            }
        };
        planter.rest_tokens(key, true).await;
        planter.rest_key_places(key).await;
        planter.rest_key_bodies(key).await;
        planter.grpc_key_places(key, true).await;
        planter.verify(key, verdict(KeyVerdict::Valid)).await;
        planter.verify_repo_ai_key(key, true).await;
        if issued {
            planter.disable_key(&hash).await;
            planter.rest_tokens(key, false).await;
            planter.verify(key, KeyVerdict::Disabled).await;
        }
        planter.end_key(key).await;
        planter.rest_tokens(key, false).await;
        planter.grpc_key_places(key, false).await;
        planter.verify(key, KeyVerdict::NotFound).await;
        planter.verify_repo_ai_key(key, false).await;
    }
    minted
}

/// Returns the database as stored on disk: the files of SQLite, or a dump.
fn stored(deployment: &Deployment, when: &str) -> Vec<Haystack> {
    let url = deployment.database.url();
    if url.starts_with("postgres") {
        let finished = pg_dump(url);
        finished.expect(0);
        return vec![Haystack::new(format!("the dump {when}"), finished.stdout)];
    }
    let file = deployment.database.file();
    let beside = ["", "-wal", "-shm"].map(|suffix| format!("{}{suffix}", file.display()));
    let files = beside.iter().map(Path::new).filter(|path| path.exists());
    files.map(Haystack::file).collect()
}

fn pg_dump(url: &str) -> crate::support::program::Finished {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut candidates: Vec<_> = installed
        .map(|entry| entry.unwrap().path().join("bin/pg_dump"))
        .collect();
    candidates.sort();
    candidates.retain(|path| path.exists());
    let program = candidates.pop().unwrap_or_else(|| "pg_dump".into());
    Program::other(program, ["--inserts", "--dbname", url]).run()
}

async fn nothing_leaks(deployment: Deployment) {
    let collector = Collector::start().await;
    let program = deployment
        .command("serve")
        .env("KEYWARD_LOG__FILTER", "trace");
    // The header for the collector is a secret too.
    let header = format!("authorization={STEM}-for-the-collector");
    let program = program.env("OTEL_EXPORTER_OTLP_HEADERS", header);
    let served = Served::of(collector.of(program));
    let mut planter = Planter::new(&served.url, &deployment.env).await;
    let mut kept = planter.rest_credentials().await;
    planter.audited_values().await;
    let audited = planter.audit_trail(&deployment).await;
    planter.rest_bodies().await;
    planter.rest_places().await;
    kept.extend(planter.grpc().await);
    planter.grpc_web().await;
    let minted = plant_keys(&mut planter).await;

    // The canaries are stored, and only ResolveApiKey returns them.
    let channel = channel(&served.url).await;
    for (id, secret) in &kept {
        assert_eq!(
            &resolve(&channel, &deployment.env["SERVICE_TOKEN"], id).await,
            secret
        );
    }
    let mut stored_while_running = stored(&deployment, "while it runs");
    planter.delete(kept.iter().map(|(id, _)| id)).await;
    let after_deletion = stored(&deployment, "after the deletion");
    let measured = Rest::new(&served.url).get("/metrics", "none").await;
    let measured = [Haystack::new("/metrics", measured.body.to_vec())];
    let finished = served.running.terminate();
    finished.expect(0);
    let after_the_end = stored(&deployment, "after the end");

    let logs = [Haystack::new("standard error", finished.stderr.clone())];
    let spans = [Haystack::new(
        "the spans",
        format!("{:?}", collector.exports().traces),
    )];
    let exported = [Haystack::new(
        "the exported measurements",
        format!("{:?}", collector.exports().metrics),
    )];
    let answers = &planter.answers;

    // Permitted text is found: the search works, the log is at TRACE and the spans have arrived.
    let holds_rows = |haystack: &Haystack| !haystack.name.ends_with("-shm");
    let (rows, shm): (Vec<_>, Vec<_>) = stored_while_running.drain(..).partition(holds_rows);
    let mark = Needle::new("the mark", MARK.as_bytes());
    assert!(
        rows.iter().any(|haystack| haystack.holds(&mark)),
        "no public key is in the database"
    );
    for service in ["ApiKeyService", "ManagementKeyService", "RepoAiKeyService"] {
        expect_present(&spans, &format!("keyward.v1.{service}"));
    }
    for key in &minted {
        let shown = Needle::new(&key.what, key.shown().as_bytes());
        assert!(rows.iter().any(|haystack| haystack.holds(&shown)));
    }
    expect_present(&logs, "POST /apikeys");
    expect_present(&measured, "http_route=\"/apikeys/{uuid}\"");
    expect_present(&exported, "http.server.request.duration");
    for line in [" TRACE ", " DEBUG ", " INFO "] {
        assert!(
            finished.stderr.contains(line),
            "there is no line at{line}level"
        );
    }
    assert!(
        answers.iter().any(|answer| answer.holds(&mark)),
        "no answer lists a public key"
    );
    let rejection = Needle::new("refusal", b"Unsupported provider");
    assert!(
        answers
            .iter()
            .filter(|answer| answer.holds(&rejection))
            .count()
            >= 2
    );

    expect_present(&audited, AUDIT_MARK);
    let unaudited = [Needle::new("an audited canary", AUDIT_STEM.as_bytes())];
    for haystacks in [audited.as_slice(), &logs, &spans, &measured, &exported] {
        expect_absent(haystacks, &unaudited);
    }

    let mut needles = needles(&deployment);
    let management_key = (
        "the deployment's management key",
        &deployment.env["MANAGEMENT_KEY"],
    );
    let made = minted
        .iter()
        .map(|key| (key.what.as_str(), key.plaintext.as_str()));
    for (what, plaintext) in made.chain([management_key]) {
        needles.extend(key_needles(what, plaintext));
    }
    let output = [Haystack::new("standard output", finished.stdout)];
    for haystacks in [
        &logs,
        &output,
        &spans,
        &measured,
        &exported,
        answers.as_slice(),
        &rows,
        &shm,
        &after_deletion,
        &after_the_end,
    ] {
        expect_absent(haystacks, &needles);
    }
    if deployment.database.raw().await.get_database_backend() == DbBackend::Sqlite {
        assert_eq!(
            rows.len() + shm.len(),
            3,
            "the write-ahead log is searched too"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaks_on_sqlite() {
    nothing_leaks(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaks_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        nothing_leaks(deployment).await;
    }
}
