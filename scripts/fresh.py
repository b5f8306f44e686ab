#!/usr/bin/env python3
"""Try the two commands of the README as on a fresh machine.

A temporary clone of HEAD, an empty home, no Go caches and no Envoy: `make run` until it is ready, every
curl line that it prints, compared with the expectation printed beside it, then Ctrl-C, after which no
process and no file may be left; then `make test`. FRESH_TEST=0 leaves the latter out.
"""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
READY_WITHIN = 40 * 60  # s; without caches everything is downloaded and compiled
END_WITHIN = 60  # s
LAST_LINE = "ready"
# What would let a clone use this machine's state.
DROPPED = {"ENVOY", "GOCACHE", "GOMODCACHE", "GOPATH", "GOBIN", "GOFLAGS", "GOENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS",
           "PORT", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}


def fail(text):
    raise SystemExit(f"fresh: FAILED: {text}")


def environment(work):
    env = {name: value for name, value in os.environ.items() if name not in DROPPED}
    env["HOME"], env["TMPDIR"] = str(work / "home"), str(work / "tmp")
    for name in ("HOME", "TMPDIR"):
        pathlib.Path(env[name]).mkdir()
    env["PATH"] = os.pathsep.join(d for d in env["PATH"].split(os.pathsep) if not os.path.exists(os.path.join(d, "envoy")))
    return env


def free_port():
    """A port that is free together with the one that HTTPS gets."""
    for port in range(18080, 28080, 7):
        try:
            for number in (port, port + 363):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
            return port
        except OSError:
            continue
    fail("no free port")


def session(leader):
    """The processes of a session, without zombies."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().split("(", 1)[1].rsplit(")", 1)
        except (OSError, IndexError):
            continue
        fields = rest.split()
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(f"{stat.parent.name} {name}")
    return found


def read_until_ready(run):
    """The printed lines, up to the one that says that the gateway is ready."""
    timer = threading.Timer(READY_WITHIN, lambda: os.killpg(run.pid, signal.SIGINT))
    timer.start()
    lines = []
    try:
        for line in run.stdout:
            print("  |", line, end="", flush=True)
            lines.append(line.strip())
            if line.strip() == LAST_LINE:
                return lines
    finally:
        timer.cancel()
    fail("make run ended, or was not ready in time")


def attempt(line, token):
    """Run one curl line; return what is wrong with the answer, or None."""
    command, want = line.rsplit("  # ", 1)
    answer = subprocess.run(["bash", "-c", command], env={**os.environ, "TOKEN": token}, capture_output=True,
                            text=True, timeout=60, check=False).stdout
    status, _, parts = want.partition(" with ")
    # The last status line counts: an interim 100 may come first.
    found = re.findall(r"^HTTP/[0-9.]+ (\d{3})", answer, re.MULTILINE)
    if not found or found[-1] != status:
        return f"{command}\n  wanted {want}, got:\n{answer}"
    for part in filter(None, parts.split(" and ")):
        if part.lower() not in answer.lower():
            return f"{command}\n  wanted {part} in:\n{answer}"
    return None


def try_run(clone, env):
    print("== make run", flush=True)
    with subprocess.Popen(["make", "run", f"PORT={free_port()}"], cwd=clone, env=env, stdout=subprocess.PIPE, text=True,
                          start_new_session=True) as run:
        try:
            lines = read_until_ready(run)
            # What follows must be read, or the gateway would block on a full pipe.
            threading.Thread(target=lambda: [None for _ in run.stdout], daemon=True).start()
            token = next(line.removeprefix("TOKEN=") for line in lines if line.startswith("TOKEN="))
            curls = [line for line in lines if line.startswith("curl ")]
            wrong = [fault for fault in (attempt(line, token) for line in curls) if fault]
            if wrong or not curls:
                fail(f"{len(wrong)} of {len(curls)} curl lines:\n" + "\n".join(wrong))
            print(f"== all {len(curls)} curl lines answer as printed; Ctrl-C", flush=True)
            os.killpg(run.pid, signal.SIGINT)
            try:
                run.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                fail(f"still running {END_WITHIN} s after Ctrl-C")
            if left := session(run.pid):
                fail(f"processes are left: {left}")
            if left := [str(p) for p in pathlib.Path(env["TMPDIR"]).rglob("*") if p.is_socket() or p.name.startswith("gatehouse-")]:
                fail(f"files are left: {left}")
        finally:
            for process in session(run.pid):
                os.kill(int(process.split()[0]), signal.SIGKILL)
    print("== nothing is left", flush=True)


def main():
    if not shutil.which("curl"):
        fail("curl is needed")
    work = pathlib.Path(tempfile.mkdtemp(prefix="gh-fresh-"))
    try:
        env = environment(work)
        clone = work / "clone"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        try_run(clone, env)
        if os.environ.get("FRESH_TEST") != "0":
            print("== make test", flush=True)
            if subprocess.run(["make", "test"], cwd=clone, env=env, check=False).returncode != 0:
                fail("make test")
        print("fresh: ok")
    finally:
        # Module caches hold read-only directories where -modcacherw was not in force.
        subprocess.run(["chmod", "-R", "u+w", str(work)], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
