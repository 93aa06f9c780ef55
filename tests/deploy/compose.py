"""Checks deploy/compose.yaml: it conforms to the specification, refers only to existing objects, contains no
secret, and restricts Keyward as in a cluster."""

import json
import os
import pathlib
import re

import compose_spec
import yaml

FOLDER = pathlib.Path(__file__).parent.parent.parent / "deploy"


def _named(services, name, service, problem):
    if name not in services:
        yield f"{service}: {problem} {name} is nowhere"


def filled(text):
    """Returns the text with the defaults of variables, and 1 for required ones."""
    return re.sub(r"\$\{[A-Z_]+(?::-([^}]*)|:\?[^}]*)?\}", lambda match: match[1] or "1", text)


def problems(text):
    """Returns the problems of a compose file."""
    file = yaml.safe_load(text)
    try:
        # As JSON, since the parser does not support merge keys, and with variables replaced.
        spec = compose_spec.PyCompose.from_json(filled(json.dumps(file)))
        spec.validate()
        spec.to_spec()
    except Exception as error:  # The binding has no type for this.
        yield f"is not what the specification says: {error}"
        return
    services = file["services"]
    built = [filled(service["image"]) for service in services.values() if "build" in service]
    for image in sorted({image for image in built if built.count(image) > 1}):
        yield f"{image}: two services build it at once"
    made = (FOLDER / "compose-secrets").read_text()
    for name, secret in file["secrets"].items():
        path = secret["file"].removeprefix("./")
        if path not in made and f"password {pathlib.Path(path).name}\n" not in made:
            yield f"secret {name}: {path} is not made by compose-secrets"
    for name, service in services.items():
        for other in service.get("depends_on", []):
            yield from _named(services, other, name, "service")
        for secret in service.get("secrets", []):
            yield from _named(file["secrets"], secret, name, "secret")
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("."):
                if not (FOLDER / source).exists():
                    yield f"{name}: {source} is nowhere"
                if not rest.endswith(":ro"):
                    yield f"{name}: {source} may be written"
            elif source not in file["volumes"]:
                yield f"{name}: volume {source} is nowhere"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} is open to everyone"
        image = filled(service["image"])
        if not re.search(r":[\w.-]+$", image):
            yield f"{name}: an image without a tag"
        if "build" not in service and image in built and service.get("pull_policy") != "never":
            yield f"{name}: asks a registry for {image}, which is built here"
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|DATABASE__URL", key) and not key.endswith("_FILE"):
                yield f"{name}: {key} is given inline"
            elif re.search(r"://[^/\s:@]+:[^/\s@]+@", str(value)):
                yield f"{name}: {key} holds a password"
            elif key.endswith("_FILE") and os.path.basename(value) not in service.get("secrets", []):
                yield f"{name}: {key} is no secret of it"
    for name in ("keyward", "migrate"):
        service = services[name]
        if not (service.get("read_only") and service.get("cap_drop") == ["ALL"]
                and "no-new-privileges:true" in service.get("security_opt", [])
                and service.get("user", "").startswith("${KEYWARD_USER:?")):
            yield f"{name}: is not restricted"
    if services["keyward"]["healthcheck"]["test"][:2] != ["CMD", "/keyward"]:
        yield "keyward: its health is not asked by the program, and the image has nothing else"
    if services["keyward"]["depends_on"].get("migrate") != {"condition": "service_completed_successfully"}:
        yield "keyward: starts before its schema is there"


def settings(text):
    """Returns the settings that the compose file sets as KEYWARD_SECTION__FIELD."""
    for name in re.findall(r"KEYWARD_([A-Z_]+?)__([A-Z_]+(?:__[A-Z_]+)?):", text):
        yield ".".join(name).lower().replace("__", ".")
