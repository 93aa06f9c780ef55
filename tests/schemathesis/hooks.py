"""Facts about a running Keyward that schemathesis cannot derive: existing names, used values, and the time.

The hooks do not change cases that must be rejected. They change only one check, which becomes stricter: a
response must not contain members that the document does not list.
"""

import itertools
import json
import os
import urllib.request

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

URL = os.environ["KEYWARD_URL"]
WORKSPACE = os.environ["WORKSPACE_A"]
REPO = os.environ["REPO_A"]
SESSION = os.environ["ADMIN_TOKEN"]
MANAGEMENT_KEY = os.environ["MANAGEMENT_KEY"]

numbers = itertools.count(1)
calls = itertools.count(1)
taken = set()


def post(path, token, body):
    request = urllib.request.Request(
        URL + path,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def seed(*names):
    """Returns a text that no case has used under these names, and reserves it."""
    text = f"seed-{next(numbers)}"
    taken.update((name, text) for name in names)
    return text


def new_api_key():
    text = seed("key", "secret")
    body = {"workspaceId": WORKSPACE, "provider": "AWS", "key": text, "secret": text}
    return post("/apikeys", SESSION, body)["apiKeyId"]


def new_repo_ai_key():
    body = {"name": seed("name"), "aiType": "OTHER"}
    return post(f"/repo/{REPO}/ai/apikey", SESSION, body)["id"]


def new_key():
    return post("/keys", MANAGEMENT_KEY, {"name": "seed", "limit": 1})["data"]["hash"]


# A random value of these refers to no object, so without existing ones every call would end with 403 or 404.
CREATED = {
    "uuid": new_api_key,
    "apikeyId": new_repo_ai_key,
    "hash": new_key,
}
PLACES = {
    "repoId": lambda: REPO,
    "workspaceId": lambda: WORKSPACE,
    "workspace_id": lambda: WORKSPACE,
}
# The contract requires these to be unique: credentials in a workspace, the name of a key in a repo.
UNIQUE = {
    ("/apikeys", "key"),
    ("/apikeys", "secret"),
    ("/apikeys/{uuid}", "key"),
    ("/apikeys/{uuid}", "secret"),
    ("/repo/{repoId}/ai/apikey", "name"),
    ("/repo/{repoId}/ai/apikey/{apikeyId}", "name"),
}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Closes the schemas of responses. The published ones are open, since members may be added."""
    schemas = raw_schema["components"]["schemas"]
    seen = set()

    def close(node):
        if isinstance(node, list):
            for item in node:
                close(item)
        elif isinstance(node, dict):
            name = node.get("$ref", "").removeprefix("#/components/schemas/")
            if name in schemas and name not in seen:
                seen.add(name)
                close(schemas[name])
            if node.get("type") == "object":
                node.setdefault("additionalProperties", False)
            for item in node.values():
                close(item)

    def responses():
        yield from raw_schema["components"]["responses"].values()
        for item in raw_schema["paths"].values():
            for operation in item.values():
                yield from operation["responses"].values()

    for response in responses():
        for media in response.get("content", {}).values():
            close(media["schema"])


@schemathesis.hook
def before_call(context, case, kwargs):
    meta = case.meta
    if meta is None:
        return
    is_meant = {
        location: not meta.is_negative_at(location)
        for location in (ParameterLocation.PATH, ParameterLocation.QUERY, ParameterLocation.BODY)
    }
    for location, values in (
        (ParameterLocation.PATH, case.path_parameters),
        (ParameterLocation.QUERY, case.query),
        (ParameterLocation.BODY, case.body),
    ):
        if is_meant[location]:
            use(existing(meta.phase, location), values)
    if is_meant[ParameterLocation.QUERY] and isinstance(case.query, dict):
        # Only Keyward creates page tokens; generated texts are never valid.
        case.query.pop("pageToken", None)
    if is_meant[ParameterLocation.BODY]:
        use_unique(case)
        use_fitting(case)


def existing(phase, location):
    """Returns existing values for one location of a case."""
    if phase.name == TestPhase.STATEFUL:
        # The steps of a stateful test create the objects that they use.
        return PLACES
    if phase.name == TestPhase.COVERAGE:
        # A test of one location must not fail because of another location.
        is_tried = getattr(phase.data, "parameter_location", None) == location
        return {} if is_tried else PLACES | CREATED
    # Most calls, but not all.
    return PLACES | CREATED if next(calls) % 4 else {}


def use(existing, values):
    if isinstance(values, dict):
        for name in sorted(existing.keys() & values.keys()):
            values[name] = existing[name]()


def use_fitting(case):
    """Moves an expiry into the future and rounds a limit to nano-dollars. A schema cannot express the first,
    and validators that divide floating-point numbers evaluate `multipleOf` of 1e-9 wrongly."""
    if not isinstance(case.body, dict):
        return
    expiry, limit = case.body.get("expires_at"), case.body.get("limit")
    # Each date of any year exists in 2096.
    if isinstance(expiry, str) and expiry[:4].isdigit() and expiry < "2096":
        case.body["expires_at"] = "2096" + expiry[4:]
    if isinstance(limit, float):
        case.body["limit"] = round(limit, 9)


def use_unique(case):
    """Replaces a used value with one that has another suffix, and the same length if it is long enough."""
    if not isinstance(case.body, dict):
        return
    for path, name in UNIQUE:
        value = case.body.get(name)
        if path != case.path or not isinstance(value, str) or not value:
            continue
        if (name, value) in taken:
            end = f"-{next(numbers)}"
            value = case.body[name] = value[: -len(end)] + end
        taken.add((name, value))
