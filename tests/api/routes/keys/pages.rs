//! Pages of ListKeys.

use keyward::proto::v1::{ListKeysRequest, ListKeysResponse};
use prost::Message;
use serde_json::json;
use tonic::{Code, Status};

use crate::support::{
    MOUNTS, ORGANIZATION, OTHER_ORGANIZATION, Setup, TestServer, WORKSPACE_A, WORKSPACE_B,
    WebFlavor, rejected,
};

const INVALID: &str = "Page token is not valid";
const OTHER_FILTERS: &str = "Page token is of a list with other filters";
const WITH_OFFSET: &str = "Offset must not be given with a page token";

/// Issues a key of this name in a workspace.
async fn issue(server: &TestServer, token: &str, name: &str, workspace: &str) -> String {
    let body = json!({ "name": name, "workspace_id": workspace });
    server.issued_key(token, body).await.hash
}

async fn page(
    server: &TestServer,
    token: &str,
    request: &ListKeysRequest,
) -> Result<ListKeysResponse, Status> {
    let mut client = server.management_keys(token);
    let listed = client.list_keys(request.clone()).await?;
    Ok(listed.into_inner())
}

/// Lists the names page by page, and issues a key after each page. Also returns the sizes of the pages.
async fn all_pages(
    server: &TestServer,
    token: &str,
    mut request: ListKeysRequest,
) -> (Vec<String>, Vec<usize>) {
    let (mut names, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = page(server, token, &request).await.unwrap();
        sizes.push(page.data.len());
        names.extend(page.data.into_iter().map(|key| key.name));
        issue(server, token, "later", WORKSPACE_A).await;
        if page.next_page_token.is_empty() {
            return (names, sizes);
        }
        request.page_token = page.next_page_token;
        request.offset = 0;
    }
}

async fn pages_are_stable_while_keys_are_issued(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for number in 0..7 {
        let hash = issue(&server, &token, &number.to_string(), WORKSPACE_A).await;
        let disabled = json!({ "disabled": number % 3 == 0 });
        server.change_key(&token, &hash, disabled).await;
        if number % 2 == 0 {
            server.advance_seconds(1);
        }
    }
    for (page_size, offset, include_disabled) in [
        (1, 0, true),
        (2, 0, true),
        (3, 0, false),
        (7, 0, true),
        (100, 0, false),
        (2, 3, true),
        (0, 0, true),
        (u32::MAX, 0, true),
    ] {
        let request = ListKeysRequest {
            page_size,
            offset,
            include_disabled,
            ..Default::default()
        };
        let whole = ListKeysRequest {
            page_size: 0,
            ..request.clone()
        };
        let whole = page(&server, &token, &whole).await.unwrap();
        assert_eq!(whole.next_page_token, "");
        let whole: Vec<_> = whole.data.into_iter().map(|key| key.name).collect();
        let (names, sizes) = all_pages(&server, &token, request.clone()).await;
        assert_eq!(names, whole, "{request:?}");
        let (last, full) = sizes.split_last().unwrap();
        assert!(full.iter().all(|size| *size == page_size as usize));
        assert!(page_size == 0 || *last <= page_size as usize);
        server.advance_seconds(1);
    }
}

async fn page_size_has_a_default_and_a_maximum(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for number in 0..105 {
        issue(&server, &token, &number.to_string(), WORKSPACE_A).await;
    }
    for (page_size, expected) in [(0, 100), (1, 1), (104, 104), (105, 105), (u32::MAX, 105)] {
        let request = ListKeysRequest {
            page_size,
            ..Default::default()
        };
        let page = page(&server, &token, &request).await.unwrap();
        assert_eq!(page.data.len(), expected, "{page_size}");
        assert_eq!(page.next_page_token.is_empty(), expected == 105);
    }
}

async fn operator_bounds_the_page_size(setup: Setup) {
    let max_page_items = 2;
    let setup = Setup {
        max_page_items,
        ..setup
    };
    let server = setup.start().await;
    let token = server.management_key(ORGANIZATION).await;
    for number in 0..3 {
        issue(&server, &token, &number.to_string(), WORKSPACE_A).await;
    }
    for (page_size, expected) in [(0, 2), (1, 1), (2, 2), (3, 2), (u32::MAX, 2)] {
        let request = ListKeysRequest {
            page_size,
            ..Default::default()
        };
        let page = page(&server, &token, &request).await.unwrap();
        assert_eq!(page.data.len(), expected, "{page_size}");
        assert_ne!(page.next_page_token, "");
    }
    let listed = server.get("/keys?offset=1").bearer(&token).send().await;
    assert_eq!(listed.json()["data"].as_array().unwrap().len(), 2);
}

async fn page_token_holds_for_its_list_alone(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let other = server.management_key(OTHER_ORGANIZATION).await;
    for name in ["1", "2"] {
        issue(&server, &token, name, WORKSPACE_A).await;
        issue(&server, &token, name, WORKSPACE_B).await;
    }
    let first = ListKeysRequest {
        page_size: 1,
        ..Default::default()
    };
    let next = page(&server, &token, &first).await.unwrap().next_page_token;
    let next = ListKeysRequest {
        page_token: next,
        ..first
    };
    // The page size may change, and the default workspace may be named.
    let same = ListKeysRequest {
        page_size: 5,
        workspace_id: WORKSPACE_A.to_owned(),
        ..next.clone()
    };
    assert_eq!(page(&server, &token, &same).await.unwrap().data.len(), 1);

    let disabled_too = ListKeysRequest {
        include_disabled: true,
        ..next.clone()
    };
    let elsewhere = ListKeysRequest {
        workspace_id: WORKSPACE_B.to_owned(),
        ..next.clone()
    };
    for (token, request) in [
        (&token, &disabled_too),
        (&token, &elsewhere),
        (&other, &next),
    ] {
        rejected(page(&server, token, request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", OTHER_FILTERS)
            .fields(&[("pageToken", OTHER_FILTERS)]);
    }
}

async fn page_token_that_no_page_carried_is_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    issue(&server, &token, "1", WORKSPACE_A).await;
    for page_token in ["canary", "zz", "00", "ff", "313a32", &"61".repeat(2000)] {
        let request = ListKeysRequest {
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        rejected(page(&server, &token, &request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", INVALID)
            .fields(&[("pageToken", INVALID)]);
    }
}

async fn offset_with_a_page_token_is_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for name in ["1", "2", "3"] {
        issue(&server, &token, name, WORKSPACE_A).await;
    }
    let mut request = ListKeysRequest {
        page_size: 1,
        offset: 1,
        ..Default::default()
    };
    let first = page(&server, &token, &request).await.unwrap();
    assert_eq!(first.data[0].name, "2");
    request.page_token = first.next_page_token;
    rejected(page(&server, &token, &request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", WITH_OFFSET)
        .fields(&[("offset", WITH_OFFSET)]);
    request.offset = 0;
    let second = page(&server, &token, &request).await.unwrap();
    assert_eq!(second.data[0].name, "1");
    assert_eq!(second.next_page_token, "");
}

/// The contract of REST has an offset and no pages.
async fn rest_list_has_no_page_fields(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for number in 0..101 {
        issue(&server, &token, &number.to_string(), WORKSPACE_A).await;
    }
    for mount in MOUNTS {
        for name in ["page_size", "pageSize", "page_token", "pageToken"] {
            let call = server.get(&format!("{mount}/keys?{name}=1")).bearer(&token);
            let message = format!("`{name}` is not a known query parameter");
            call.send().await.rejects_key(400, &message);
        }
        let call = server.get(&format!("{mount}/keys")).bearer(&token);
        let listed = call.send().await.json();
        let members: Vec<&String> = listed.as_object().unwrap().keys().collect();
        assert_eq!(members, ["data"]);
        assert_eq!(listed["data"].as_array().unwrap().len(), 100);
    }
}

async fn grpc_web_has_the_pages_of_grpc(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for name in ["1", "2", "3"] {
        issue(&server, &token, name, WORKSPACE_A).await;
    }
    let path = "/keyward.v1.ManagementKeyService/ListKeys";
    let mut request = ListKeysRequest {
        page_size: 2,
        ..Default::default()
    };
    for expected in [2, 1] {
        let grpc = page(&server, &token, &request).await.unwrap();
        assert_eq!(grpc.data.len(), expected);
        for flavor in WebFlavor::ALL {
            let answer = server.grpc_web(flavor, path, Some(&token), &request).await;
            let web = ListKeysResponse::decode(answer.messages[0].as_slice()).unwrap();
            assert_eq!(web, grpc);
        }
        request.page_token = grpc.next_page_token;
    }
}

each_engine! {
    pages_are_stable_while_keys_are_issued
    page_size_has_a_default_and_a_maximum
    operator_bounds_the_page_size
    page_token_holds_for_its_list_alone
    page_token_that_no_page_carried_is_rejected
    offset_with_a_page_token_is_rejected
    rest_list_has_no_page_fields
    grpc_web_has_the_pages_of_grpc
}
