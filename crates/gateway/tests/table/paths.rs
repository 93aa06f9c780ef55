//! Which path leads to which route, and what its variables hold.

use http::Method;
use keyward_gateway::Resolution;

use crate::support::router;

/// The template and the values of its variables, or why there is none.
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
        // Literals are case-sensitive, as RFC 3986 has paths.
        ("GET /P/literal", "nothing"),
        // A variable may cover a literal.
        ("GET /p/fixed/x", "/p/{a_string=fixed}/x [fixed]"),
        // An escaped literal is the same literal. Envoy compares what was sent;
        // grpc-gateway decodes first. We decode: RFC 3986, 6.2.2.2, says that the
        // two are one path, and a proxy on the way may make one of the other.
        ("GET /p/%6Citeral", "/p/literal"),
        ("GET /p/a%20b/%7E", "/p/a%20b/~"),
    ]);
}

#[test]
fn an_empty_segment_is_no_value() {
    table(&[
        // `*` matches one segment, and an empty one is none. grpc-gateway would
        // match; Envoy takes trailing slashes off instead. The issue says no.
        ("GET /w//y", "nothing"),
        ("GET /w/x/", "nothing"),
        ("GET /int/", "nothing"),
        // Slashes are not collapsed: `//` and `/` are two paths. Envoy's comment
        // says that it collapses them, its code does not.
        ("GET //p/literal", "nothing"),
        ("GET /w//x/y", "nothing"),
        // A trailing slash is one more segment. Envoy takes it off, grpc-gateway
        // does not. We do not: of two paths one must be the resource's.
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
        // http.proto: `**` matches zero segments too. So in Envoy, whose node looks
        // for it at the end of a path (`path_matcher_node.cc`), and in grpc-gateway,
        // whose OpPushM may take nothing.
        ("GET /p", "/p/{a_string=**} []"),
        ("GET /r/under", "/r/{a_string=under/**} [under]"),
        ("GET /r", "nothing"),
        ("GET /r/over/a", "nothing"),
        // All that is below is below, empty segments too.
        ("GET /p/", "/p/{a_string=**} []"),
        ("GET /p/a/", "/p/{a_string=**} [a/]"),
        ("GET /p//a", "/p/{a_string=**} [/a]"),
        ("GET /u/a/b", "/u/**"),
    ]);
}

#[test]
fn the_better_template_wins_whatever_the_order() {
    table(&[
        // A literal beats `*`, which beats `**`, segment by segment. grpc-gateway
        // takes whichever was registered last; Envoy's trie does as we do.
        ("GET /p/literal", "/p/literal"),
        ("GET /p/liter", "/p/{a_string} [liter]"),
        ("GET /p/literal/b", "/p/{a_string=**} [literal/b]"),
        ("GET /p/literal/b/x", "/p/literal/*/x"),
        // The longer literal beats the shorter.
        ("GET /p/long/x", "/p/long/{a_string=**} [x]"),
        ("GET /p/long/er/x", "/p/long/er/{a_string=**} [x]"),
        ("GET /p/long/er", "/p/long/er/{a_string=**} []"),
        ("GET /p/longer/x", "/p/{a_string=**} [longer/x]"),
        // Where the better one leads nowhere, the search comes back.
        ("GET /back/literal/one/end", "/back/literal/one/end"),
        ("GET /back/literal/one/other", "/back/*/one/other"),
        (
            "GET /back/literal/one/none",
            "/back/{a_string=**} [literal/one/none]",
        ),
        ("GET /back/x/one/other", "/back/*/one/other"),
        // A template that has no route for the method is no match: Envoy has the
        // method at the end of its search too.
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
        // A verb beats no verb.
        ("GET /p/literal:read", "/p/literal:read"),
        ("GET /p/x:read", "/p/{a_string=*}:read [x]"),
        ("GET /p/x/y:read", "/p/{a_string=**}:read [x/y]"),
        ("GET /p:read", "/p/{a_string=**}:read []"),
        // Only the last colon can begin a verb.
        ("GET /p/x:y:read", "/p/{a_string=*}:read [x:y]"),
        ("GET /p/x:read:y", "/p/{a_string} [x:read:y]"),
        ("GET /p/x:read/y", "/p/{a_string=**} [x:read/y]"),
        // What is no verb of any template is part of the segment: so in Envoy unless
        // `match_unregistered_custom_verb` is set, and in grpc-gateway.
        ("GET /p/x:other", "/p/{a_string} [x:other]"),
        ("GET /p/x:", "/p/{a_string} [x:]"),
        // What is a verb only of templates that do not match here is so too. Envoy
        // finds nothing, since its verbs are known for all paths at once; in
        // grpc-gateway each pattern has its own. We follow grpc-gateway: a route
        // must not depend on what verbs some other service has.
        ("GET /u/x:read", "/u/*"),
        ("GET /w/x/y:write", "/w/*/{a_string} [y:write]"),
        ("GET /p/x:write", "/p/{a_string} [x:write]"),
        // The verb is nothing without its segment; `**` has that segment, empty.
        ("POST /p/:write", "/p/{a_string} [:write]"),
        ("GET /p/:read", "/p/{a_string=**}:read []"),
        // An escaped colon begins no verb: RFC 3986 escapes what would delimit.
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
        // A plus is a plus in a path.
        ("GET /p/a+b", "/p/{a_string} [a+b]"),
        // Reserved characters that may stand in a path stand for themselves.
        ("GET /p/!$&'()*,;=@", "/p/{a_string} [!$&'()*,;=@]"),
        // An escaped slash divides no segments.
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
        // Whether `**` covers one segment or two must make no difference: Envoy
        // calls both "multipart".
        ("GET /r/under/a%2Fb", "/r/{a_string=under/**} [under/a%2Fb]"),
    ]);
}

#[test]
fn several_segments_keep_what_is_reserved_if_asked() {
    // http.proto, of `Http`: "The default behavior is to not decode RFC 6570 reserved characters in
    // multi segment matches." Envoy reads it so unless `fully_decode_reserved_expansion` is set.
    let router = keyward_gateway_probe::Probe::default()
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
        // One segment is decoded to the end all the same.
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
        // Envoy leaves them as they are, and what is not UTF-8 too; Go's `net/url`
        // refuses the whole request before grpc-gateway sees it. We refuse: a
        // `string` field must be UTF-8.
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
        // Where a method has its own route, that is the better one; so in Envoy's
        // `Find2KeysOrNull`, at the same node.
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
        // Both with the verb and without it there is something.
        ("PUT /p/x:write", "allow GET, HEAD, OPTIONS, POST"),
        ("OPTIONS /p/literal", "options GET, HEAD, OPTIONS, POST"),
        ("OPTIONS /none", "nothing"),
        ("HEAD /p/literal", "/p/literal"),
        ("HEAD /body", "allow DELETE, OPTIONS, POST"),
    ]);
}

/// The search sees each node of the tree once, however long the path is and however
/// many ways back there are.
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
