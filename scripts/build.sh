#!/usr/bin/env bash
# build.sh DIR/ PACKAGE… builds commands into DIR. A first build takes minutes, so it reports progress
# to standard error in lines that stay few.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
shift
mkdir -p "$out"
echo "building $*" >&2
go build -v -o "$out" "$@" 2>&1 | awk '
	/^go: downloading / { if (++fetched % 25 == 0) print "  " fetched " modules fetched"; fflush(); next }
	/^[a-z0-9][A-Za-z0-9._~\/-]*$/ { if (++compiled % 100 == 0) print "  " compiled " packages compiled"; fflush(); next }
	{ print; fflush() }' >&2
