"""Schemas of the custom resources that the chart renders, limited to the fields that it writes.

Their full schemas are not available offline. These are closed excerpts of the published ones
(monitoring.coreos.com/v1, gateway.networking.k8s.io/v1), without the fields that the chart does not write.
"""

import jsonschema


def _object(required, **properties):
    return {"type": "object", "additionalProperties": False, "properties": properties,
            "required": required.split()}


def _list(item, least=1):
    return {"type": "array", "items": item, "minItems": least}


TEXT = {"type": "string", "minLength": 1}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
DURATION = {"type": "string", "pattern": "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?"
                                         "(([0-9]+)s)?(([0-9]+)ms)?)$", "minLength": 1}
METADATA = _object("name namespace labels", name=TEXT, namespace=TEXT, labels=LABELS,
                   annotations=LABELS)


def _resource(version, kind, spec):
    return _object("apiVersion kind metadata spec", apiVersion={"const": version},
                   kind={"const": kind}, metadata=METADATA, spec=spec)


def _route(kind):
    parent = _object("name", name=TEXT, namespace=TEXT, sectionName=TEXT, port=PORT, group=TEXT,
                     kind=TEXT)
    rule = _object("backendRefs", backendRefs=_list(_object("name port", name=TEXT, port=PORT)))
    return _resource("gateway.networking.k8s.io/v1", kind, _object(
        "parentRefs hostnames rules", parentRefs=_list(parent), hostnames=_list(TEXT),
        rules=_list(rule)))


_ENDPOINT = _object(
    "port path interval scrapeTimeout", port=TEXT, path={"const": "/metrics"}, interval=DURATION,
    scrapeTimeout=DURATION, relabelings=_list(_object(
        "action targetLabel replacement", action={"const": "replace"}, targetLabel=TEXT,
        replacement=TEXT)))
_RULE = _object("alert expr labels annotations", alert=TEXT, expr=TEXT, **{"for": DURATION},
                labels=LABELS, annotations=LABELS)
_RECORD = _object("record expr", record=TEXT, expr=TEXT, labels=LABELS)

SCHEMAS = {
    "ServiceMonitor": _resource("monitoring.coreos.com/v1", "ServiceMonitor", _object(
        "selector endpoints", namespaceSelector=_object("matchNames", matchNames=_list(TEXT)),
        selector=_object("matchLabels", matchLabels=LABELS), endpoints=_list(_ENDPOINT))),
    "PrometheusRule": _resource("monitoring.coreos.com/v1", "PrometheusRule", _object(
        "groups", groups=_list(_object("name rules", name=TEXT, interval=DURATION,
                                       rules=_list({"anyOf": [_RULE, _RECORD]}))))),
    "HTTPRoute": _route("HTTPRoute"),
    "GRPCRoute": _route("GRPCRoute"),
}


def problems(manifest):
    """Returns the problems of a custom resource."""
    validator = jsonschema.Draft202012Validator(SCHEMAS[manifest["kind"]])
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(manifest)]
