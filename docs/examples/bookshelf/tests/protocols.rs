//! Runs the examples of docs/gateway.md: both protocols of the shelf, from the client's side.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bookshelf_example::v1::GetBookRequest;
use bookshelf_example::v1::bookshelf_service_client::BookshelfServiceClient;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tonic::Code;
use tower::ServiceExt;

fn app() -> Router {
    bookshelf_example::app(Arc::default()).unwrap()
}

async fn text(app: &Router, line: &str, body: &str) -> (StatusCode, String) {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn call(app: &Router, line: &str, body: &str) -> (u16, Value) {
    let (status, text) = text(app, line, body).await;
    (status.as_u16(), serde_json::from_str(&text).unwrap())
}

/// Returns an app whose shelf has one book.
async fn with_a_book() -> Router {
    let app = app();
    let line = "POST /v1/shelves/sea/books?bookId=moby-dick";
    let (status, book) = call(&app, line, r#"{"title":"Moby Dick","pages":635}"#).await;
    assert_eq!(status, 200, "{book}");
    assert_eq!(book["name"], "shelves/sea/books/moby-dick");
    app
}

#[tokio::test]
async fn a_path_a_query_and_a_body_make_one_request() {
    let app = with_a_book().await;
    let list = |query: &str| format!("GET /v1/shelves/sea/books?{query}");
    for (query, count) in [
        ("", 1),
        ("filter.minPages=100", 1),
        ("filter.min_pages=1000", 0),
        ("genres=GENRE_FICTION&genres=GENRE_NON_FICTION", 0),
        ("genres=GENRE_FICTION&genres=GENRE_UNSPECIFIED", 1),
    ] {
        let (status, found) = call(&app, &list(query), "").await;
        assert_eq!(status, 200, "{query}: {found}");
        assert_eq!(found["books"].as_array().unwrap().len(), count, "{query}");
    }
    let (_, elsewhere) = call(&app, "GET /v1/shelves/land/books", "").await;
    assert_eq!(elsewhere, json!({"books": []}));
}

#[tokio::test]
async fn a_patch_changes_what_its_body_has() {
    let app = with_a_book().await;
    let line = "PATCH /v1/shelves/sea/books/moby-dick";
    let (status, book) = call(&app, line, r#"{"genre":"GENRE_FICTION","pages":null}"#).await;
    assert_eq!(status, 200, "{book}");
    assert_eq!(book["genre"], "GENRE_FICTION");
    assert_eq!(book["title"], "Moby Dick");
    assert!(book.get("pages").is_none(), "{book}");
}

#[tokio::test]
async fn a_stream_comes_line_by_line() {
    let app = with_a_book().await;
    let line = "GET /v1/shelves/sea/books/moby-dick:read";
    let (status, text) = text(&app, line, "").await;
    assert_eq!(status, 200);
    let words: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let word = |word: &str| json!({"result": {"word": word}});
    assert_eq!(words, [word("Moby"), word("Dick")]);
}

#[tokio::test]
async fn both_protocols_reject_alike() {
    let app = with_a_book().await;
    let (status, rejected) = call(&app, "GET /v1/shelves/sea/books/emma", "").await;
    assert_eq!(status, 404);
    assert_eq!(
        rejected,
        json!({"error": {
            "code": 404,
            "message": "There is no such book",
            "status": "NOT_FOUND",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "NOT_FOUND",
                "domain": "bookshelf.example",
                "metadata": {},
            }],
        }})
    );

    let mut client = BookshelfServiceClient::new(app.clone());
    let name = "shelves/sea/books/emma".to_owned();
    let rejected = client.get_book(GetBookRequest { name }).await.unwrap_err();
    assert_eq!(
        (rejected.code(), rejected.message()),
        (Code::NotFound, "There is no such book")
    );
    assert!(!rejected.details().is_empty());

    let name = "shelves/sea/books/moby-dick".to_owned();
    let book = client.get_book(GetBookRequest { name }).await.unwrap();
    assert_eq!(book.into_inner().title, "Moby Dick");

    let (status, _) = call(&app, "DELETE /v1/shelves/sea/books/moby-dick", "").await;
    assert_eq!(status, 200);
    let (status, _) = call(&app, "DELETE /v1/shelves/sea/books/moby-dick", "").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn an_unknown_service_is_rejected_in_grpc() {
    for content_type in ["application/grpc", "application/grpc-web"] {
        let request = Request::post("/none.v1.None/None").header("content-type", content_type);
        let request = request.body(Body::empty()).unwrap();
        let response = app().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.headers().contains_key("grpc-status-details-bin"));
    }
}

#[tokio::test]
async fn it_describes_itself() {
    let app = app();
    let (status, document) = call(&app, "GET /openapi.json", "").await;
    assert_eq!(
        (status, &document["openapi"]),
        (200, &json!("3.1.0")),
        "{document}"
    );
    let operations = &document["paths"]["/v1/shelves/{parent}/books"];
    assert_eq!(
        operations["get"]["operationId"], "ListBooks",
        "{operations}"
    );
    assert!(operations["post"].is_object(), "{operations}");
    // One path, regardless of the names of its parameters in the methods' templates.
    let book = &document["paths"]["/v1/shelves/{name_1}/books/{name_2}"];
    assert_eq!(book["patch"]["operationId"], "UpdateBook", "{document}");
    let (status, page) = text(&app, "GET /docs", "").await;
    assert_eq!(status, 200);
    assert!(page.contains("Moby Dick"), "{page}");
    let (status, _) = text(&app, "DELETE /docs", "").await;
    assert_eq!(status, 405);
}

/// Checks that the files shown in docs/gateway.md equal the files here.
#[test]
fn the_document_shows_these_files() {
    // Cargo runs a test in its package's folder.
    let shown = fs::read_to_string("../../gateway.md").unwrap();
    let mut parts = shown.split("<!-- examples/bookshelf/");
    parts.next();
    let mut count = 0;
    for part in parts {
        let (name, rest) = part.split_once(" -->").unwrap();
        let block = rest.split("```").nth(1).unwrap();
        let (_, block) = block.split_once('\n').unwrap();
        let (file, _) = name.split_once(':').unwrap_or((name, ""));
        let text = fs::read_to_string(Path::new(file)).unwrap();
        assert!(text.contains(block), "docs/gateway.md shows another {name}");
        assert!(block.lines().count() > 3, "{name}");
        count += 1;
    }
    assert_eq!(count, 3);
}
