#!/usr/bin/env python3
"""mutants.py [FILTER] removes each guard of test/security/testdata/mutations.txt in turn and runs its test.

The sources aren't touched: the compiler is given the changed file by -overlay. A mutant is caught if it
compiles and its test fails. Prints a line each and exits 1 if one survives, doesn't compile, or has no
place to be put any more. FILTER is a text that file or test must hold.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "test" / "security" / "testdata" / "mutations.txt"
LIMIT = "300s"


def mutations():
    for block in LIST.read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.strip("\n").splitlines() if ": " in line and not line.startswith("#"))
        for line in block.splitlines():
            if line.rstrip() == "to:":
                fields["to"] = ""
        if "file" in fields:
            yield fields["file"], fields["from"], fields.get("to", ""), *fields["test"].split(" ", 1)


def verdict(work, file, old, new, package, test):
    path = ROOT / file
    text = path.read_text()
    if text.count(old) != 1:
        return f"STALE: the text is there {text.count(old)} times"
    mutant, overlay = work / "mutant.go", work / "overlay.json"
    mutant.write_text(text.replace(old, new))
    overlay.write_text(json.dumps({"Replace": {str(path): str(mutant)}}))
    names = "^(" + "|".join(f"{name}" for name in test.split("|")) + ")"
    command = ["go", "test", "-count=1", "-vet=off", "-timeout", LIMIT, "-run", names, "./" + package]
    # By GOFLAGS, so that a test that builds a program itself builds the mutant.
    env = os.environ | {"GOFLAGS": f"{os.environ['GOFLAGS']} -overlay={overlay}".strip()}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    output = run.stdout + run.stderr
    if "[build failed]" in output or "[setup failed]" in output:
        return "DOESN'T COMPILE: " + " ".join(output.split())[:300]
    if run.returncode == 0:
        return "SURVIVES"
    return "caught"


def main(wanted):
    counts = {"caught": 0, "not": 0}
    with tempfile.TemporaryDirectory() as work:
        for file, old, new, package, test in mutations():
            if wanted not in file and wanted not in test:
                continue
            said = verdict(pathlib.Path(work), file, old, new, package, test)
            counts["caught" if said == "caught" else "not"] += 1
            print(f"{said:8} {file}: {old[:60]}  by {test}", flush=True)
    print(f"{counts['caught']} mutants caught, {counts['not']} not")
    return 1 if counts["not"] or not counts["caught"] else 0


if __name__ == "__main__":
    os.environ.setdefault("GOFLAGS", "")
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
