//! Tree of all templates.
//!
//! Segment by segment, a literal takes precedence over `*`, and both over `**`; if the preferred
//! branch has no match, the search backtracks to the next. Since `**` is the last segment of its
//! template, a search visits each node at most once: its time is bounded by the size of the tree,
//! regardless of the path.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::percent::{self, Keep};
use crate::spec::{MethodSpec, RouteSpec, Segment, Variable};

/// Node of the tree.
#[derive(Debug, Default)]
pub(crate) struct Node {
    literals: BTreeMap<&'static str, Node>,
    wildcard: Option<Box<Node>>,
    /// Routes whose templates end here.
    ends: Vec<End>,
    /// Routes whose `**` begins here.
    catch_all: Vec<End>,
    /// Error format at this node and below.
    service_defaults: Option<&'static MethodSpec>,
}

/// End of a template.
#[derive(Debug)]
struct End {
    verb: Option<&'static str>,
    http_method: &'static str,
    /// Index of the route in the list of all routes.
    route: usize,
}

/// Segment of a request's path.
#[derive(Debug, Clone)]
pub(crate) struct PathSegment<'p> {
    raw: &'p str,
    text: Cow<'p, str>,
    /// True if an escape is malformed or the text is not UTF-8; the text is then the raw one.
    is_malformed: bool,
}

impl<'p> PathSegment<'p> {
    fn new(raw: &'p str) -> Self {
        let text = percent::decode(raw, Keep::Nothing);
        Self {
            raw,
            is_malformed: text.is_none(),
            text: text.unwrap_or(Cow::Borrowed(raw)),
        }
    }

    /// Splits at the last colon into segment and verb.
    fn split_verb(&self) -> Option<(Self, Cow<'p, str>)> {
        let (raw, verb) = self.raw.rsplit_once(':')?;
        Some((Self::new(raw), percent::decode(verb, Keep::Nothing)?))
    }
}

impl Node {
    /// Adds a route. Returns the route that matches the same requests, if there is one.
    pub(crate) fn insert(&mut self, spec: &'static RouteSpec, route: usize) -> Result<(), usize> {
        let mut node = self;
        let mut ends_in_rest = false;
        for segment in spec.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text).or_default(),
                Segment::Wildcard => node.wildcard.get_or_insert_default(),
                Segment::CatchAll => {
                    ends_in_rest = true;
                    node
                }
            };
            node.service_defaults.get_or_insert(spec.service_defaults);
        }
        let ends = if ends_in_rest {
            &mut node.catch_all
        } else {
            &mut node.ends
        };
        let same = |end: &&End| end.verb == spec.verb && end.http_method == spec.http_method;
        if let Some(known) = ends.iter().find(same) {
            return Err(known.route);
        }
        ends.push(End {
            verb: spec.verb,
            http_method: spec.http_method,
            route,
        });
        Ok(())
    }

    /// Finds the route of a path, whose last segment may end in a verb. Its last colon begins the
    /// verb only if that leads to a route; the verb is then removed from the segments. Otherwise it
    /// is part of its segment.
    pub(crate) fn find(
        &self,
        http_method: &str,
        segments: &mut [PathSegment<'_>],
    ) -> Option<usize> {
        let whole = segments.last().cloned()?;
        if let Some((before, verb)) = whole.split_verb() {
            replace_last(segments, before);
            let verb = Some(&*verb);
            let found = Search { http_method, verb }.find(self, segments);
            if found.is_some() {
                return found;
            }
            replace_last(segments, whole);
        }
        let verb = None;
        Search { http_method, verb }.find(self, segments)
    }

    /// Returns the methods and the error format near a path that has no route for its method.
    pub(crate) fn near(&self, segments: &mut [PathSegment<'_>]) -> Near {
        let mut near = Near::default();
        near.look(self, segments, None, 0);
        if let Some((before, verb)) = segments.last().and_then(PathSegment::split_verb) {
            replace_last(segments, before);
            near.look(self, segments, Some(&verb), 0);
        }
        near
    }
}

/// Returns the segments of a path, or `None` if no template can match it.
pub(crate) fn split(path: &str) -> Option<Vec<PathSegment<'_>>> {
    let segments = path.strip_prefix('/')?.split('/');
    Some(segments.map(PathSegment::new).collect())
}

/// Returns true if a segment has a malformed escape.
pub(crate) fn is_malformed(segments: &[PathSegment<'_>]) -> bool {
    segments.iter().any(|segment| segment.is_malformed)
}

fn replace_last<'p>(segments: &mut [PathSegment<'p>], with: PathSegment<'p>) {
    if let Some(last) = segments.last_mut() {
        *last = with;
    }
}

/// Returns the values of a route's variables. The value of a single segment is fully decoded,
/// including slashes. Several segments are one text that contains slashes, so the characters in
/// `keep` are not decoded; the result must not depend on the number of segments that a `**` covers.
pub(crate) fn values(spec: &RouteSpec, segments: &[PathSegment<'_>], keep: Keep) -> Vec<String> {
    let value = |variable: &Variable| {
        let covered = variable.of(segments);
        if variable.is_single() {
            covered.iter().map(|segment| &*segment.text).collect()
        } else {
            several(covered, keep)
        }
    };
    spec.variables.iter().map(value).collect()
}

/// Returns the value of a variable of several segments. Literal slashes must stay distinct from
/// escaped ones.
fn several(segments: &[PathSegment<'_>], keep: Keep) -> String {
    let mut value = String::new();
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            value.push('/');
        }
        // The segment was decoded before, so this cannot fail.
        value.push_str(&percent::decode(segment.raw, keep).unwrap_or_default());
    }
    value
}

/// Search for a route.
struct Search<'s> {
    http_method: &'s str,
    verb: Option<&'s str>,
}

impl Search<'_> {
    fn find(&self, node: &Node, rest: &[PathSegment<'_>]) -> Option<usize> {
        let further = match rest.split_first() {
            None => self.pick(&node.ends),
            Some((segment, rest)) => {
                let literal = node.literals.get(&*segment.text);
                let one = node
                    .wildcard
                    .as_deref()
                    .filter(|_| !segment.text.is_empty());
                literal
                    .and_then(|literal| self.find(literal, rest))
                    .or_else(|| one.and_then(|one| self.find(one, rest)))
            }
        };
        further.or_else(|| self.pick(&node.catch_all))
    }

    /// Returns the route among these that accepts the method: by name, as GET for HEAD, or as a
    /// route for all methods.
    fn pick(&self, ends: &[End]) -> Option<usize> {
        let by = |name: &str| {
            let mut ends = ends.iter();
            ends.find(|end| end.verb == self.verb && end.http_method == name)
        };
        let get = if self.http_method == "HEAD" {
            "GET"
        } else {
            "*"
        };
        let end = by(self.http_method).or_else(|| by(get)).or_else(|| by("*"));
        end.map(|end| end.route)
    }
}

/// Methods and error format near a path.
#[derive(Default)]
pub(crate) struct Near {
    /// Methods that have a route for the path.
    pub(crate) allowed: Vec<&'static str>,
    /// Service defaults of the deepest known node on the path.
    pub(crate) service_defaults: Option<&'static MethodSpec>,
    depth: usize,
}

impl Near {
    fn look(&mut self, node: &Node, rest: &[PathSegment<'_>], verb: Option<&str>, depth: usize) {
        if depth >= self.depth && node.service_defaults.is_some() {
            self.service_defaults = node.service_defaults;
            self.depth = depth + 1;
        }
        match rest.split_first() {
            None => self.allow(&node.ends, verb),
            Some((segment, rest)) => {
                if let Some(literal) = node.literals.get(&*segment.text) {
                    self.look(literal, rest, verb, depth + 1);
                }
                if let Some(one) = node
                    .wildcard
                    .as_deref()
                    .filter(|_| !segment.text.is_empty())
                {
                    self.look(one, rest, verb, depth + 1);
                }
            }
        }
        self.allow(&node.catch_all, verb);
    }

    fn allow(&mut self, ends: &[End], verb: Option<&str>) {
        let here = ends.iter().filter(|end| end.verb == verb);
        self.allowed.extend(here.map(|end| end.http_method));
    }

    /// Returns the value of `Allow`: HEAD is included with GET, OPTIONS always.
    pub(crate) fn allow_header(&self) -> Option<String> {
        if self.allowed.is_empty() {
            return None;
        }
        let mut methods = self.allowed.clone();
        methods.push("OPTIONS");
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.dedup();
        Some(methods.join(", "))
    }
}

#[cfg(test)]
mod tests;
