#!/usr/bin/env python3
"""summary.py DIR prints the security requirements with their tests, and then "N passed, N failed, N skipped",
for the go test events in DIR/*.json.

Only leaves count, so that a table of ten cases is ten and not eleven. A package that fails without a
failing test (it doesn't compile, it timed out), every line of DIR/faults, and a failed run of which no
event tells are failures too. Exits 1 if anything failed.
"""
import json
import pathlib
import sys


def requirements(lines, results):
    """What the test of the requirements has printed, beside what became of the tests."""
    outcome = {}
    for (_, test), action in results.items():
        top = test.split("/", 1)[0]
        outcome[top] = "fail" if "fail" in (action, outcome.get(top)) else action
    if lines:
        print("security requirements (hostile inputs, tests):")
    for line in lines:
        _, number, title, hostile, tests = line.split(" | ")
        names = [name if outcome.get(name) == "pass" else f"{name} ({outcome.get(name, 'not run')})" for name in tests.split()]
        print(f"  {number:4}{title}: {hostile}; {' '.join(names)}")


def main(directory):
    results = {}  # (package, test or "") -> action
    told = []
    files = sorted(directory.glob("*.json"))
    for file in files:
        with file.open() as lines:
            for line in lines:
                event = json.loads(line)
                if event["Action"] == "output" and event.get("Output", "").startswith("requirement | "):
                    told.append(event["Output"].rstrip("\n"))
                if event["Action"] in ("pass", "fail", "skip", "run"):
                    # A test that began and never ended was cut off by a panic or a timeout.
                    action = "fail" if event["Action"] == "run" else event["Action"]
                    results[event.get("Package", event.get("ImportPath", "")), event.get("Test", "")] = action

    parents = {(package, test.rsplit("/", 1)[0]) for package, test in results if "/" in test}
    counts = {"pass": 0, "fail": 0, "skip": 0}
    failing = set()
    for (package, test), action in results.items():
        # A parent that fails while its children pass failed by itself.
        if test and (action == "fail" or (package, test) not in parents):
            if action == "fail" and any(p == package and t.startswith(test + "/") and a == "fail"
                                        for (p, t), a in results.items()):
                continue
            counts[action] += 1
            if action == "fail":
                failing.add(package)
    counts["fail"] += sum(1 for (package, test), action in results.items()
                          if not test and action == "fail" and package not in failing)
    faults = directory / "faults"
    if faults.exists():
        counts["fail"] += len(faults.read_text().splitlines())
    if not files or ((directory / "failed").exists() and counts["fail"] == 0):
        counts["fail"] += 1
    requirements(told, results)
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
