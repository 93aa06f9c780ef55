//! Routes of paths, and the values of their variables.

use http::Method;
use keyward_gateway::Resolution;

use crate::support::router;

/// Returns the template and the values of its variables, or the reason for a missing route.
fn resolved(line: &str) -> String {
    let (method, path) = line.split_once(' ').unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match router().resolve(&method, path) {
        Resolution::Matched(found) => {
            let mut shown = found.spec().template.to_owned();
            for value in found.variables() {
                shown.push_str(&format!(" [{value}]"));
            }
            shown
        }
        Resolution::Options { allow, .. } => format!("options {allow}"),
        Resolution::MethodNotAllowed { allow, .. } => format!("allow {allow}"),
        Resolution::Malformed { .. } => "malformed".to_owned(),
        Resolution::UnsupportedGrpc { .. } => "unsupported".to_owned(),
        Resolution::NotFound { .. } => "nothing".to_owned(),
    }
}

#[track_caller]
fn table(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(resolved(line), *expected, "{line}");
    }
}

#[test]
fn literals_and_one_segment() {
    table(&[
        ("GET /p/literal", "/p/literal"),
        ("GET /p/other", "/p/{a_string} [other]"),
        // http.proto: a variable without a pattern is `{var=*}`.
        ("GET /w/x/y", "/w/*/{a_string} [y]"),
        ("GET /u/x", "/u/*"),
        ("GET /w/x", "nothing"),
        ("GET /w/x/y/z", "nothing"),
        // Literals are case-sensitive, like paths in RFC 3986.
        ("GET /P/literal", "nothing"),
        // A variable may cover a literal.
        ("GET /p/fixed/x", "/p/{a_string=fixed}/x [fixed]"),
        // An escaped literal is the same literal. Envoy compares the raw text; grpc-gateway decodes
        // first. This gateway decodes: by RFC 3986, 6.2.2.2, the two are one path, and a proxy may
        // convert one to the other.
        ("GET /p/%6Citeral", "/p/literal"),
        ("GET /p/a%20b/%7E", "/p/a%20b/~"),
    ]);
}

#[test]
fn an_empty_segment_is_no_value() {
    table(&[
        // `*` matches one segment that is not empty. grpc-gateway would match an empty segment;
        // Envoy strips trailing slashes instead. The issue requires no match.
        ("GET /w//y", "nothing"),
        ("GET /w/x/", "nothing"),
        ("GET /int/", "nothing"),
        // Slashes are not collapsed: `//` and `/` are two paths. Envoy's comment says that it
        // collapses them, its code does not.
        ("GET //p/literal", "nothing"),
        ("GET /w//x/y", "nothing"),
        // A trailing slash is one more segment. Envoy strips it, grpc-gateway does not. Like
        // grpc-gateway: only one of the two paths can be the resource's.
        ("GET /w/x/y/", "nothing"),
        ("GET /", "nothing"),
        ("GET *", "nothing"),
    ]);
}

#[test]
fn any_number_of_segments() {
    table(&[
        ("GET /p/a/b/c", "/p/{a_string=**} [a/b/c]"),
        ("GET /r/under/a/b", "/r/{a_string=under/**} [under/a/b]"),
        // http.proto: `**` matches zero segments too. So in Envoy, whose node looks for it at the
        // end of a path (`path_matcher_node.cc`), and in grpc-gateway, whose OpPushM may match
        // nothing.
        ("GET /p", "/p/{a_string=**} []"),
        ("GET /r/under", "/r/{a_string=under/**} [under]"),
        ("GET /r", "nothing"),
        ("GET /r/over/a", "nothing"),
        // `**` also covers empty segments.
        ("GET /p/", "/p/{a_string=**} []"),
        ("GET /p/a/", "/p/{a_string=**} [a/]"),
        ("GET /p//a", "/p/{a_string=**} [/a]"),
        ("GET /u/a/b", "/u/**"),
    ]);
}

#[test]
fn better_template_wins_in_any_order() {
    table(&[
        // A literal takes precedence over `*`, and `*` over `**`, segment by segment. grpc-gateway
        // uses the route that was registered last; Envoy's trie has the same order as this gateway.
        ("GET /p/literal", "/p/literal"),
        ("GET /p/liter", "/p/{a_string} [liter]"),
        ("GET /p/literal/b", "/p/{a_string=**} [literal/b]"),
        ("GET /p/literal/b/x", "/p/literal/*/x"),
        // The longer literal takes precedence over the shorter.
        ("GET /p/long/x", "/p/long/{a_string=**} [x]"),
        ("GET /p/long/er/x", "/p/long/er/{a_string=**} [x]"),
        ("GET /p/long/er", "/p/long/er/{a_string=**} []"),
        ("GET /p/longer/x", "/p/{a_string=**} [longer/x]"),
        // If the preferred branch has no match, the search backtracks.
        ("GET /back/literal/one/end", "/back/literal/one/end"),
        ("GET /back/literal/one/other", "/back/*/one/other"),
        (
            "GET /back/literal/one/none",
            "/back/{a_string=**} [literal/one/none]",
        ),
        ("GET /back/x/one/other", "/back/*/one/other"),
        // A template that has no route for the method is not a match: Envoy has the method at the
        // end of its search too.
        ("POST /p/literal", "/p/{a_string} [literal]"),
    ]);
}

#[test]
fn sub_patterns() {
    table(&[
        (
            "GET /projects/a/keys/b",
            "/{a_string=projects/*/keys/*} [projects/a/keys/b]",
        ),
        ("GET /projects/a/keys", "nothing"),
        ("GET /projects//keys/b", "nothing"),
        (
            "GET /projects/a/keys/b:rotate",
            "/{a_string=projects/*}/keys/{renamed}:rotate [projects/a] [b]",
        ),
    ]);
}

#[test]
fn verbs() {
    table(&[
        // A route with a verb takes precedence over one without.
        ("GET /p/literal:read", "/p/literal:read"),
        ("GET /p/x:read", "/p/{a_string=*}:read [x]"),
        ("GET /p/x/y:read", "/p/{a_string=**}:read [x/y]"),
        ("GET /p:read", "/p/{a_string=**}:read []"),
        // Only the last colon can begin a verb.
        ("GET /p/x:y:read", "/p/{a_string=*}:read [x:y]"),
        ("GET /p/x:read:y", "/p/{a_string} [x:read:y]"),
        ("GET /p/x:read/y", "/p/{a_string=**} [x:read/y]"),
        // A text that is not a verb of any template is part of the segment: so in Envoy unless
        // `match_unregistered_custom_verb` is set, and in grpc-gateway.
        ("GET /p/x:other", "/p/{a_string} [x:other]"),
        ("GET /p/x:", "/p/{a_string} [x:]"),
        // So is a verb only of templates that do not match here. Envoy finds no route, since its
        // verbs are global; in grpc-gateway each pattern has its own. Like grpc-gateway: a route
        // must not depend on the verbs of another service.
        ("GET /u/x:read", "/u/*"),
        ("GET /w/x/y:write", "/w/*/{a_string} [y:write]"),
        ("GET /p/x:write", "/p/{a_string} [x:write]"),
        // A verb requires its segment; `**` has that segment, empty.
        ("POST /p/:write", "/p/{a_string} [:write]"),
        ("GET /p/:read", "/p/{a_string=**}:read []"),
        // An escaped colon does not begin a verb: RFC 3986 escapes delimiters used as data.
        ("GET /p/x%3Aread", "/p/{a_string} [x:read]"),
        ("GET /p/x:%72ead", "/p/{a_string=*}:read [x]"),
    ]);
}

#[test]
fn one_segment_is_decoded_to_the_end() {
    table(&[
        // http.proto: "The server side does the reverse decoding."
        ("GET /p/x%2Fy%20%C3%A4%3A", "/p/{a_string} [x/y ä:]"),
        ("GET /p/%25", "/p/{a_string} [%]"),
        ("GET /p/%252F", "/p/{a_string} [%2F]"),
        // A plus is literal in a path.
        ("GET /p/a+b", "/p/{a_string} [a+b]"),
        // Reserved characters that are allowed in a path are literal.
        ("GET /p/!$&'()*,;=@", "/p/{a_string} [!$&'()*,;=@]"),
        // An escaped slash is not a separator.
        ("GET /p/literal%2Fb", "/p/{a_string} [literal/b]"),
        ("GET /p/%2E%2E", "/p/{a_string} [..]"),
    ]);
}

#[test]
fn several_segments_keep_an_escaped_slash_alone() {
    table(&[
        // http.proto, of `HttpRule`: "The server side does the reverse decoding, except %2F and %2f
        // are left unchanged."
        ("GET /p/a/b%2Fc", "/p/{a_string=**} [a/b%2Fc]"),
        ("GET /p/a/b%2fc", "/p/{a_string=**} [a/b%2fc]"),
        (
            "GET /p/a/%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D",
            "/p/{a_string=**} [a/:?#[]@!$&'()*+,;=]",
        ),
        ("GET /p/a/%20%C3%A4%7E%2D", "/p/{a_string=**} [a/ ä~-]"),
        // `%252F` and `%2F` are one value; so in Envoy too.
        ("GET /p/a/b%252Fc", "/p/{a_string=**} [a/b%2Fc]"),
        (
            "GET /projects/a%2Fb/keys/%3A%C3%A4",
            "/{a_string=projects/*/keys/*} [projects/a%2Fb/keys/:ä]",
        ),
        // The result must not depend on `**` covering one segment or two: Envoy calls both
        // "multipart".
        ("GET /r/under/a%2Fb", "/r/{a_string=under/**} [under/a%2Fb]"),
    ]);
}

#[test]
fn several_segments_keep_what_is_reserved_if_asked() {
    // http.proto, of `Http`: "The default behavior is to not decode RFC 6570 reserved characters in
    // multi segment matches." Envoy does so unless `fully_decode_reserved_expansion` is set.
    let router = keyward_gateway_testserver::Probe::default()
        .rest()
        .fully_decode_reserved_expansion(false)
        .build()
        .unwrap();
    for (path, expected) in [
        (
            "/p/a/%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%2f",
            "a/%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%2f",
        ),
        ("/p/a/%20%C3%A4%7E%2D", "a/ ä~-"),
        // One segment is still fully decoded.
        ("/p/a%3Ab%2Fc", "a:b/c"),
    ] {
        let Resolution::Matched(found) = router.resolve(&Method::GET, path) else {
            panic!("{path}");
        };
        assert_eq!(found.variables(), [expected], "{path}");
    }
}

#[test]
fn malformed_escapes_are_not_paths() {
    for path in [
        "/p/%",
        "/p/%2",
        "/p/%zz",
        "/p/%ff",
        "/p/a/%ff/b",
        "/p/%C3",
        "/p/%C3/%A4",
        "/p/x:%ff",
        "/%ff/literal",
        "/none/%zz",
    ] {
        // Envoy keeps them verbatim, and text that is not UTF-8 too; Go's `net/url` rejects the
        // whole request before grpc-gateway. This gateway rejects: a `string` field must be UTF-8.
        assert_eq!(resolved(&format!("GET {path}")), "malformed", "{path}");
        assert_eq!(resolved(&format!("PUT {path}")), "malformed", "{path}");
    }
}

#[test]
fn custom_methods() {
    table(&[
        ("REPORT /custom", "/custom"),
        ("HEAD /custom", "/custom"),
        // http.proto: `*` leaves the HTTP method unspecified.
        ("REPORT /any/x", "/any/{a_string} [x]"),
        ("OPTIONS /any/x", "/any/{a_string} [x]"),
        ("HEAD /any/x", "/any/{a_string} [x]"),
        ("GET /any/x", "/any/{a_string} [x]"),
        // A method's own route takes precedence; so in Envoy's `Find2KeysOrNull`, at the same node.
        ("GET /any/get", "/any/get"),
        ("HEAD /any/get", "/any/get"),
        ("POST /any/get", "/any/{a_string} [get]"),
        // Methods are case-sensitive.
        ("report /custom", "allow GET, HEAD, OPTIONS, REPORT"),
    ]);
}

#[test]
fn other_methods() {
    table(&[
        ("DELETE /p/literal", "allow GET, HEAD, OPTIONS, POST"),
        ("DELETE /p/x/y", "allow GET, HEAD, OPTIONS"),
        ("POST /p/x/y", "allow GET, HEAD, OPTIONS"),
        ("GET /body", "allow DELETE, OPTIONS, POST"),
        ("GET /field/string", "allow OPTIONS, POST"),
        // There are routes both with the verb and without it.
        ("PUT /p/x:write", "allow GET, HEAD, OPTIONS, POST"),
        ("OPTIONS /p/literal", "options GET, HEAD, OPTIONS, POST"),
        ("OPTIONS /none", "nothing"),
        ("HEAD /p/literal", "/p/literal"),
        ("HEAD /body", "allow DELETE, OPTIONS, POST"),
    ]);
}

/// The search visits each node of the tree once, regardless of the length of the path and the
/// number of branches.
#[test]
fn long_paths_are_cheap() {
    let started = std::time::Instant::now();
    for segment in ["a", "literal", "*", "%61", "x:read", ""] {
        let path = format!("/back/{}", [segment; 8_000].join("/"));
        let found = resolved(&format!("GET {path}"));
        assert!(found.starts_with("/back/{a_string=**}"), "{segment}");
        resolved(&format!("PUT {path}:read"));
    }
    assert!(started.elapsed().as_secs() < 5);
}
