//! `/openapi.json` and `/docs`: public, and served without any other server.

use http::Method;
use keyward::http::api_docs::{DOCS, OPENAPI};
use serde_json::Value;

use crate::support::{TestServer, User};

const PATHS: [&str; 2] = ["/openapi.json", "/docs"];

async fn descriptions_need_no_token(server: TestServer) {
    let owner = server.token(User::Owner);
    for (path, content_type) in [
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
    ] {
        let first = server.get(path).send().await;
        assert_eq!(
            (first.status, first.header("content-type")),
            (200, Some(content_type))
        );
        assert!(first.header("x-request-id").is_some());
        for token in ["garbage", owner.as_str()] {
            let answer = server.get(path).bearer(token).send().await;
            assert_eq!(answer.status, 200);
            assert!(answer.body == first.body, "{path} differs by token");
        }
    }
    assert!(server.get("/docs").send().await.body.as_bytes() == DOCS.body);
}

async fn document_has_the_providers_of_the_operator(server: TestServer) {
    let served = server.get("/openapi.json").send().await.json();
    let mut generated: Value = serde_json::from_slice(&OPENAPI.body).unwrap();
    for pointer in [
        "/components/schemas/CreateApiKeyRequest/properties/provider/enum",
        "/components/schemas/UpdateApiKeyRequest/properties/provider/anyOf/0/enum",
        "/paths/~1apikeys/get/parameters/1/schema/enum",
    ] {
        let names = generated
            .pointer_mut(pointer)
            .unwrap()
            .as_array_mut()
            .unwrap();
        names.push("MINIO".into());
    }
    assert!(
        served == generated,
        "the document differs in more than its providers"
    );
}

async fn description_that_is_known_is_not_sent_again(server: TestServer) {
    for path in PATHS {
        let first = server.get(path).send().await;
        let etag = first.header("etag").unwrap();
        for method in [Method::GET, Method::HEAD] {
            let again = server
                .call(method, path)
                .header("if-none-match", etag)
                .send()
                .await;
            assert_eq!((again.status, again.body.as_str()), (304, ""));
            assert_eq!(again.header("etag"), Some(etag));
        }
        let other = server
            .get(path)
            .header("if-none-match", "\"other\"")
            .send()
            .await;
        assert_eq!((other.status, other.body), (200, first.body.clone()));
        assert_eq!(first.header("cache-control"), Some("no-cache"));
    }
}

async fn description_allows_get_head_and_options_alone(server: TestServer) {
    for path in PATHS {
        let whole = server.get(path).send().await;
        let head = server.call(Method::HEAD, path).send().await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        for name in [
            "content-type",
            "content-length",
            "etag",
            "content-security-policy",
        ] {
            assert_eq!(head.header(name), whole.header(name), "{name}");
        }
        let options = server.call(Method::OPTIONS, path).send().await;
        let allow = Some("GET, HEAD, OPTIONS");
        assert_eq!((options.status, options.header("allow")), (204, allow));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = server.call(method, path).send().await;
            answer.rejects(405, "Method not allowed");
            assert_eq!(answer.header("allow"), allow);
        }
    }
}

async fn browser_may_do_nothing_for_a_description_but_what_is_in_it(server: TestServer) {
    for path in PATHS {
        let answer = server.get(path).send().await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
}

#[test]
fn page_loads_nothing() {
    let page = std::str::from_utf8(&DOCS.body).unwrap();
    for loads in [
        " src=",
        "<link",
        "@import",
        "url(",
        "<iframe",
        "<img",
        " style=",
        " onclick=",
    ] {
        assert!(!page.contains(loads), "{loads}");
    }
    let elsewhere = page
        .split(" href=\"")
        .skip(1)
        .filter(|rest| !rest.starts_with('#'));
    let elsewhere: Vec<_> = elsewhere
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(elsewhere, ["openapi.json"]);
}

#[test]
fn every_place_that_the_page_leads_to_is_there() {
    let page = std::str::from_utf8(&DOCS.body).unwrap();
    for rest in page.split(" href=\"#").skip(1) {
        let id = rest.split('"').next().unwrap();
        assert!(
            page.contains(&format!(" id=\"{id}\"")),
            "#{id} leads nowhere"
        );
    }
}

#[test]
fn page_has_every_operation() {
    let page = std::str::from_utf8(&DOCS.body).unwrap();
    let document: Value = serde_json::from_slice(&OPENAPI.body).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(page.contains(&format!(" id=\"{id}\"")), "{method} {path}");
        }
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
    }
}

each_engine! {
    descriptions_need_no_token
    document_has_the_providers_of_the_operator
    description_that_is_known_is_not_sent_again
    description_allows_get_head_and_options_alone
    browser_may_do_nothing_for_a_description_but_what_is_in_it
}
