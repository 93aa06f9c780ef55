"""Checks that every expression of the dashboard and of the alerts parses, and uses only existing series:
those that a running Keyward exposes, those that the alerts' rules record, and `up` and ALERTS, which
Prometheus creates. Labels must exist on the series. If the list has values of a label with a fixed set of
words, a value in an expression must be one of them. The labels of bare names are those in series.txt; those
of /metrics are compared with them. Each series and label of series.txt must be in /metrics, except those
that are not always present.

    check.py SERIES     bare names, NAME{label,…}, or the text of /metrics
    check.py --rules    writes the dashboard's expressions as rules, for promtool
"""

import json
import pathlib
import re
import sys

import promql_parser
import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
# Labels that Prometheus and its scraping add.
TARGET_LABELS = {"job", "instance", "namespace", "alertname", "alertstate", "severity"}
OWN_SERIES = {"up": None, "ALERTS": None}
# Labels whose values depend on events, so that a list of a short run does not have all of them.
OPEN_LABELS = {"http_response_status_code", "rpc_response_status_code", "http_route", "rpc_method",
               "http_request_method", "kek_version", "db_operation_name", "error_type", "operation",
               "reason", "le"}
# Series that a Keyward without TLS does not have.
SOMETIMES = {"keyward_tls_certificate_expiry_timestamp_seconds"}
# Labels that are present only after an error.
RARE_LABELS = {"error_type"}
SUFFIXES = ("_bucket", "_sum", "_count")


def read_series(text):
    """Returns name -> label -> seen values, from a list of names or from the text of /metrics."""
    series = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = re.match(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?", line)
        if not match:
            raise SystemExit(f"this is no series: {line}")
        labels = series.setdefault(match[1], {})
        for name, value in re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)(?:="((?:[^"\\]|\\.)*)")?', match[2] or ""):
            labels.setdefault(name, set())
            if value:
                labels[name].add(value)
    return series


def completed(text, agreed):
    """Returns the series of a list, with the labels of series.txt for bare names and for absent series, and
    the differences from series.txt."""
    series = read_series(text)
    labelled = "{" in text
    completed, missing = dict(series), []
    for name, labels in agreed.items():
        parts = [one for one in (name, *(name + suffix for suffix in SUFFIXES)) if one in series]
        if not parts and name not in SOMETIMES:
            missing.append(f"series.txt: {name} is not there")
        for part in parts:
            found = set(series[part]) - {"le"}
            if labelled and found - set(labels) - RARE_LABELS:
                missing.append(f"series.txt: {name} lacks {', '.join(sorted(found - set(labels)))}")
            if labelled and set(labels) - found - RARE_LABELS:
                missing.append(f"{name} has no {', '.join(sorted(set(labels) - found))}")
            bound = {"le": set()} if part.endswith("_bucket") else {}
            completed[part] = {label: set() for label in labels} | bound | series[part]
        if not parts:
            completed[name] = labels
    return completed, missing


def look_up(series, name):
    """Returns a series' labels; a histogram may be listed by its bare name. None if the
    series does not exist."""
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name.removesuffix(suffix) in series:
            labels = dict(series[name.removesuffix(suffix)])
            return {**labels, "le": set()} if suffix == "_bucket" else labels
    return series.get(name)


def selectors(node):
    """Yields every selector of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    else:
        for name in ("expr", "lhs", "rhs", "param"):
            below = getattr(node, name, None)
            if below is not None:
                yield from selectors(below)
        for below in getattr(node, "args", None) or []:
            yield from selectors(below)


def groupings(node):
    """Yields every label that an aggregation keeps."""
    modifier = getattr(node, "modifier", None)
    if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
        yield from modifier.labels
    for name in ("expr", "lhs", "rhs", "param"):
        below = getattr(node, name, None)
        if below is not None:
            yield from groupings(below)
    for below in getattr(node, "args", None) or []:
        yield from groupings(below)


def problems(expression, series):
    """Returns the problems of one expression."""
    try:
        parsed = promql_parser.parse(expression)
    except ValueError as error:
        yield f"does not parse: {error}"
        return
    known, found = set(TARGET_LABELS), 0
    for selector in selectors(parsed):
        found += 1
        labels = look_up(series, selector.name)
        if selector.name in OWN_SERIES:
            continue
        if labels is None:
            yield f"{selector.name} is not there"
            continue
        known |= set(labels)
        for matcher in selector.matchers.matchers:
            if matcher.name in TARGET_LABELS:
                continue
            if matcher.name not in labels:
                yield f"{selector.name} has no label {matcher.name}"
            elif labels[matcher.name] and matcher.name not in OPEN_LABELS:
                plain = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)
                for value in [matcher.value] if plain else matcher.value.split("|"):
                    # A value that is not a plain word is a pattern.
                    if (plain or re.fullmatch(r"\w+", value)) and value not in labels[matcher.name]:
                        yield f"{selector.name} has no {matcher.name} of {value}"
    if not found and not re.fullmatch(r"vector\(.*\)", expression):
        yield "asks for nothing"
    for label in groupings(parsed):
        if label not in known:
            yield f"groups by {label}, which nothing in it has"


def dashboard_expressions(dashboard):
    """Yields (location, expression) of every panel and variable, with Grafana's own variables replaced."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m")
            expression = re.sub(r"\$(instance|namespace)", ".*", expression)
            yield f"panel {panel['title']}", expression
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), ([a-z_]+)\)", variable["query"]["query"])
            yield f"variable {variable['name']}", match[1].replace("$namespace", ".*")


def dashboard_problems(dashboard):
    """Returns the problems of a dashboard beside its expressions."""
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(set(ids)) != len(ids):
        yield "two panels have one id"
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        if taken & cells or place["x"] + place["w"] > 24:
            yield f"panel {panel['title']} lies on another"
        taken |= cells
        if panel["type"] != "row" and panel["datasource"]["uid"] != "${datasource}":
            yield f"panel {panel['title']} has a datasource of its own"
    for _, expression in dashboard_expressions(dashboard):
        if "$" in expression:
            yield f"an unknown variable in {expression}"


def rule_expressions(rules):
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


def annotation_problems(rules, series):
    """Returns labels in an alert's annotations that the alert does not have."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            words = " ".join(rule.get("annotations", {}).values())
            for label in re.findall(r"\$labels\.(\w+)", words):
                kept = set(groupings(promql_parser.parse(rule["expr"])))
                if label not in kept and not (label == "instance" and not kept):
                    yield f"{rule['alert']}: says {label}, which it has not"


def check(series, rules, dashboard):
    """Returns all problems, and the number of checked expressions."""
    series = dict(series)
    for name, _ in rule_expressions(rules):
        if ":" in name:
            series[name] = {}
    found = [*dashboard_problems(dashboard), *annotation_problems(rules, series)]
    count = 0
    for where, expression in [*rule_expressions(rules), *dashboard_expressions(dashboard)]:
        count += 1
        found += [f"{where}: {problem}" for problem in problems(expression, series)]
    return found, count


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: check.py SERIES|--rules")
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
    dashboard = json.loads((ROOT / "deploy/grafana/keyward.json").read_text())
    if sys.argv[1] == "--rules":
        records = [{"record": f"panel:{index}", "expr": expression}
                   for index, (_, expression) in enumerate(dashboard_expressions(dashboard))]
        print(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
        return
    agreed = read_series((pathlib.Path(__file__).parent / "series.txt").read_text())
    series, missing = completed(pathlib.Path(sys.argv[1]).read_text(), agreed)
    found, count = check(series, rules, dashboard)
    found += missing
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"{count} expressions over {len(series)} series, {len(found)} problems")
    raise SystemExit(1 if found or count < 50 else 0)


if __name__ == "__main__":
    main()
