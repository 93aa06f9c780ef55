"""Helm, the cases of values, and the manifests that Helm renders of them."""

import copy
import functools
import json
import os
import pathlib
import subprocess
import tempfile

import yaml

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
CHART = ROOT / "helm" / "keyward"
GOLDEN = HERE / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
CASES = sorted(path.stem for path in (HERE / "values").glob("*.yaml"))
RELEASE, NAMESPACE = "kw", "credentials"
# The oldest version that the chart supports, one between, and the newest that the validator supports.
KUBERNETES = ["1.27", "1.32", "1.37"]


def helm(*arguments, check=True):
    """Runs Helm, and returns the completed process."""
    done = subprocess.run(
        [os.environ["HELM"], *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    if check and done.returncode != 0:
        raise AssertionError(f"helm {arguments[0]}: {done.stderr}")
    return done


def values_file(case):
    return HERE / "values" / f"{case}.yaml"


def template(*arguments, chart=CHART, check=True, kubernetes=KUBERNETES[-1]):
    return helm(
        "template", RELEASE, chart, "--namespace", NAMESPACE, "--kube-version", kubernetes,
        *arguments, check=check,
    )


@functools.cache
def text(case):
    """Returns the manifests of a case, as Helm renders them."""
    return template("--values", values_file(case)).stdout


@functools.cache
def _documents(case):
    return [one for one in yaml.safe_load_all(text(case)) if one]


def documents(case):
    """Returns the parsed manifests of a case, which the caller may change."""
    return copy.deepcopy(_documents(case))


def values(case):
    """Returns the values of a case."""
    return yaml.safe_load(values_file(case).read_text())


def template_values(base, over, check=True):
    """Renders a case with further values that override its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(over, file)
        file.flush()
        return template("--values", values_file(base), "--values", file.name, check=check)


def strings(node):
    """Yields every text in a tree, including keys."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def name_of(manifest):
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pod_of(manifest):
    """Returns the metadata and the spec of a manifest's pod, if it has a pod."""
    if manifest["kind"] == "Pod":
        return manifest["metadata"], manifest["spec"]
    if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
        template = manifest["spec"]["template"]
        return template["metadata"], template["spec"]
    return None


def pods(manifests):
    """Yields each pod: its manifest's name, its metadata and its spec."""
    for manifest in manifests:
        pod = pod_of(manifest)
        if pod:
            yield name_of(manifest), *pod


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def of_kind(manifests, *kinds):
    return [one for one in manifests if one["kind"] in kinds]
