"""Counts calls by operation; fails if an operation has too few calls, or if a server error occurred."""

import collections
import json
import sys

LEAST = 50


def scenarios(path):
    with open(path) as report:
        for line in report:
            event = json.loads(line)
            if "ScenarioFinished" in event:
                yield event["ScenarioFinished"]["recorder"]


document, *reports = sys.argv[1:]
with open(document) as file:
    operations = [
        f"{method.upper()} {path}"
        for path, item in json.load(file)["paths"].items()
        for method in item
    ]
calls = collections.Counter()
statuses = collections.defaultdict(collections.Counter)
for recorder in (recorder for report in reports for recorder in scenarios(report)):
    for case_id, case in recorder.get("cases", {}).items():
        label = f'{case["value"]["method"]} {case["value"]["path"]}'
        response = recorder.get("interactions", {}).get(case_id, {}).get("response")
        if response is not None:
            calls[label] += 1
            statuses[label][response["status_code"]] += 1

print(f"\n{'operation':<48} calls  statuses")
for label in operations:
    counts = "  ".join(f"{status}: {count}" for status, count in sorted(statuses[label].items()))
    print(f"{label:<48} {calls[label]:>5}  {counts}")
print(f"{'all, with the methods that paths do not have':<48} {calls.total():>5}")

seldom = [label for label in operations if calls[label] < LEAST]
failed = [label for label, found in statuses.items() if any(status >= 500 for status in found)]
if seldom or failed:
    sys.exit(f"called less than {LEAST} times: {seldom}; server errors: {failed}")
