//! Which path leads to which route.

mod probe;

use http::Method;
use keyward_gateway::Resolution;
use probe::router;

/// The template and variables, the allowed methods, or whose 404 it is.
fn resolved(method: Method, path: &str) -> String {
    match router().resolve(&method, path) {
        Resolution::Matched(found) => format!("{} {:?}", found.spec().template, found.variables()),
        Resolution::MethodNotAllowed { allow, method } => format!("{allow} of {}", method.service),
        Resolution::NotFound { method } => format!("nothing of {}", method.service),
    }
}

#[test]
fn paths_lead_to_routes() {
    assert_eq!(resolved(Method::GET, "/a"), "/a []");
    assert_eq!(resolved(Method::GET, "/a/1"), r#"/a/{x} ["1"]"#);
    assert_eq!(
        resolved(Method::GET, "/a/x%2Fy%20%C3%A4+"),
        r#"/a/{x} ["x/y ä+"]"#
    );
    assert_eq!(
        resolved(Method::DELETE, "/v1/b/1/c/2"),
        r#"/v1/b/{x}/c/{y} ["1", "2"]"#
    );
}

#[test]
fn the_literal_beats_the_variable_whatever_the_order() {
    assert_eq!(resolved(Method::GET, "/a/special"), "/a/special []");
    assert_eq!(resolved(Method::PUT, "/a/special"), r#"/a/{x} ["special"]"#);
}

#[test]
fn a_known_path_with_another_method_lists_what_is_allowed() {
    assert_eq!(resolved(Method::DELETE, "/a"), "GET, POST of One");
    assert_eq!(resolved(Method::DELETE, "/a/special"), "GET, PUT of One");
    assert_eq!(resolved(Method::HEAD, "/a"), "GET, POST of One");
    assert_eq!(resolved(Method::OPTIONS, "/v1/b/1/c/2"), "DELETE of Other");
}

#[test]
fn an_unknown_path_belongs_to_the_nearest_family() {
    for path in ["/", "", "*", "/b", "//a", "/a%ff", "/A"] {
        assert_eq!(resolved(Method::GET, path), "nothing of Unknown", "{path}");
    }
    for path in ["/a/", "/a/1/", "/a/1/2", "/a//", "/a/special/"] {
        assert_eq!(resolved(Method::GET, path), "nothing of One", "{path}");
    }
    for path in ["/v1", "/v1/b", "/v1/b/1/c/", "/v1/b//c/2", "/v1/x"] {
        assert_eq!(resolved(Method::DELETE, path), "nothing of Other", "{path}");
    }
}

#[test]
fn what_is_no_text_in_a_variable_does_not_match() {
    for path in ["/a/%ff", "/a/%", "/a/%zz"] {
        assert!(resolved(Method::GET, path).starts_with("nothing"), "{path}");
    }
}
