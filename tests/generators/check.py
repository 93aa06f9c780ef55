"""Imports the output of the generators, and checks that it has every operation and every schema of the document.

Arguments: the document, and the directory of the generators' output.
"""

import importlib
import json
import pkgutil
import re
import sys
from pathlib import Path

document = json.loads(Path(sys.argv[1]).read_text())
output = Path(sys.argv[2])


def plain(name):
    """Returns the letters and digits of a name, since each generator spells names differently."""
    return re.sub("[^a-z0-9]", "", name.lower())


def check(generator, what, expected, found):
    missing = sorted(name for name in expected if plain(name) not in found)
    if missing or not expected:
        sys.exit(f"{generator}: {what} missing: {', '.join(missing)}")
    print(f"{generator}: {len(expected)} {what}")


operations = [
    operation["operationId"]
    for item in document["paths"].values()
    for operation in item.values()
]
schemas = document["components"]["schemas"]
objects = [name for name, schema in schemas.items() if schema.get("type") == "object"]

client = importlib.import_module("keyward_client")
modules = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(client.__path__, "keyward_client.")
]
calls = {plain(module.__name__.split(".")[-1]) for module in modules if hasattr(module, "sync_detailed")}
check("openapi-python-client", "operations", operations, calls)
models = {plain(name) for name in importlib.import_module("keyward_client.models").__all__}
check("openapi-python-client", "models", objects, models)

models = importlib.import_module("keyward_models")
check("datamodel-codegen", "models", objects, {plain(name) for name in dir(models)})
# Examples of bodies are valid instances of the models.
read = 0
for item in document["paths"].values():
    for operation in item.values():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media in (body.get("content", {}).get("application/json", {}) for body in bodies):
            name = media.get("schema", {}).get("$ref", "").removeprefix("#/components/schemas/")
            if name and "example" in media:
                getattr(models, name).model_validate(media["example"])
                read += 1
if read < len(operations):
    sys.exit(f"datamodel-codegen: {read} examples of {len(operations)} operations")
print(f"datamodel-codegen: {read} examples")

calls = re.findall(r"^export const (\w+) =", (output / "ts/sdk.gen.ts").read_text(), re.MULTILINE)
check("@hey-api/openapi-ts", "operations", operations, {plain(name) for name in calls})
types = re.findall(r"^export type (\w+) =", (output / "ts/types.gen.ts").read_text(), re.MULTILINE)
check("@hey-api/openapi-ts", "types", schemas, {plain(name) for name in types})
