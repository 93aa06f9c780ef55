//! Independent, naive implementation of the matching rules.

use http::Method;
use keyward_gateway::{RouteSpec, Segment};

/// Returns the preferred route of all that match.
pub(crate) fn best(
    routes: &[&'static RouteSpec],
    method: &Method,
    path: &str,
) -> Option<&'static RouteSpec> {
    let ways = ways(path)?;
    let fits = |spec: &&RouteSpec| preference(spec, method).is_some();
    routes
        .iter()
        .copied()
        .filter(fits)
        .filter(|spec| {
            ways.iter().any(|(segments, verb)| {
                spec.verb.map(str::to_owned) == *verb && covers(spec.segments, segments)
            })
        })
        .min_by_key(|spec| rank(spec, method))
}

/// Returns the path's decoded segments, first without a verb, then with the text after the last
/// colon as the verb.
fn ways(path: &str) -> Option<Vec<(Vec<String>, Option<String>)>> {
    let raw: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let decoded = |parts: &[&str]| parts.iter().map(|part| decode(part)).collect::<Option<_>>();
    let mut ways = vec![(decoded(&raw)?, None)];
    let (last, before) = raw.split_last()?;
    if let Some((last, verb)) = last.rsplit_once(':') {
        let mut parts = before.to_vec();
        parts.push(last);
        ways.push((decoded(&parts)?, Some(decode(verb)?)));
    }
    Some(ways)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            let digits = std::str::from_utf8(&digits).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

fn covers(template: &[Segment], path: &[String]) -> bool {
    match (template, path) {
        ([], []) => true,
        ([Segment::CatchAll], _) => true,
        ([Segment::Literal(literal), template @ ..], [first, path @ ..]) => {
            literal == first && covers(template, path)
        }
        ([Segment::Wildcard, template @ ..], [first, path @ ..]) => {
            !first.is_empty() && covers(template, path)
        }
        _ => false,
    }
}

/// Returns the rank of a route, lower is better: a verb before none; then segment by segment the
/// literal before `*` before `**`; and a method by its name before all of them.
fn rank(spec: &RouteSpec, method: &Method) -> (bool, Vec<u8>, Option<u8>) {
    let segments = spec.segments.iter().map(|segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Wildcard => 1,
        Segment::CatchAll => 2,
    });
    (
        spec.verb.is_none(),
        segments.collect(),
        preference(spec, method),
    )
}

/// Returns the rank of a route's method: its own name, then GET for HEAD, then all methods.
fn preference(spec: &RouteSpec, method: &Method) -> Option<u8> {
    match spec.http_method {
        own if own == method.as_str() => Some(0),
        "GET" if method == Method::HEAD => Some(1),
        "*" => Some(2),
        _ => None,
    }
}
