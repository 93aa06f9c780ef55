//! Compares the tree with a search that tries every template.

use super::{Node, split};
use crate::builder::UNDECLARED;
use crate::spec::{BodyBinding, RouteSpec, Segment};

/// Deterministic pseudo-random sequence.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

fn template(random: &mut Random) -> RouteSpec {
    let mut segments = Vec::new();
    for _ in 0..=random.below(4) {
        segments.push(match random.below(4) {
            0 => Segment::Wildcard,
            _ => Segment::Literal(random.one_of(&["a", "b", "c"])),
        });
    }
    if random.below(4) == 0 {
        segments.push(Segment::CatchAll);
    }
    RouteSpec {
        http_method: random.one_of(&["GET", "POST", "HEAD", "*"]),
        template: "",
        segments: segments.leak(),
        verb: random.one_of(&[None, None, Some("v"), Some("w")]),
        variables: &[],
        body: BodyBinding::None,
        response_body: None,
        method: &UNDECLARED,
        service_defaults: &UNDECLARED,
    }
}

/// Returns the rank of a matching template: smaller is better. `None` if it does not match.
fn rank(spec: &RouteSpec, verb: Option<&str>, path: &[&str], method: &str) -> Option<Vec<u8>> {
    let by_method = match spec.http_method {
        name if name == method => 0,
        "GET" if method == "HEAD" => 1,
        "*" => 2,
        _ => return None,
    };
    if spec.verb != verb {
        return None;
    }
    let mut ranks = Vec::new();
    let mut rest = path.iter();
    for segment in spec.segments {
        match segment {
            Segment::Literal(text) if rest.next() == Some(text) => ranks.push(0),
            Segment::Wildcard if rest.next().is_some_and(|text| !text.is_empty()) => ranks.push(1),
            Segment::CatchAll => {
                ranks.push(2);
                rest.by_ref().for_each(drop);
            }
            _ => return None,
        }
    }
    rest.next().is_none().then(|| {
        ranks.push(by_method);
        ranks
    })
}

/// Returns the best of all templates, first with the verb, then without.
fn best(specs: &[&'static RouteSpec], path: &str, method: &str) -> Option<usize> {
    let of = |path: &str, verb: Option<&str>| {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let fits = specs.iter().enumerate();
        fits.filter_map(|(index, spec)| Some((rank(spec, verb, &segments, method)?, index)))
            .min()
            .map(|(_, index)| index)
    };
    let last = path.rfind('/').unwrap_or_default();
    let verb = path[last..]
        .rfind(':')
        .map(|colon| path.split_at(last + colon));
    verb.and_then(|(before, verb)| of(before, verb.strip_prefix(':')))
        .or_else(|| of(path, None))
}

#[test]
fn the_tree_finds_what_trying_every_template_finds() {
    let mut random = Random(1);
    let mut found = 0;
    for _ in 0..300 {
        let mut root = Node::default();
        let mut specs: Vec<&'static RouteSpec> = Vec::new();
        for _ in 0..random.below(30) {
            let spec = Box::leak(Box::new(template(&mut random)));
            if root.insert(spec, specs.len()).is_ok() {
                specs.push(spec);
            }
        }
        for _ in 0..100 {
            let mut path = String::new();
            for _ in 0..=random.below(5) {
                path.push('/');
                path.push_str(random.one_of(&["a", "b", "c", "d", ""]));
            }
            path.push_str(random.one_of(&["", "", ":v", ":w", ":x", ":v:w"]));
            let method = random.one_of(&["GET", "POST", "HEAD", "OPTIONS"]);
            let index = root.find(method, &mut split(&path).unwrap());
            assert_eq!(
                index,
                best(&specs, &path, method),
                "{method} {path} {specs:?}"
            );
            found += usize::from(index.is_some());
        }
    }
    assert!(found > 1_000, "{found}");
}
