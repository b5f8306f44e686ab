#!/usr/bin/env bash
# test.sh runs go vet and all tests of every module of the repository, and ends with a line of counts.
# Environment: ENVOY, GOTESTSUM (path of the tool), TESTJOBS (packages at a time).
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# A test that finds another Envoy than this one would test something else than it says.
echo "Envoy: $ENVOY"
n=0
while IFS= read -r mod; do
	n=$((n + 1))
	cd "$root/$(dirname "$mod")" || exit 1
	echo "== $(go list -m)"
	go vet ./... || echo vet >>"$results/faults"
	"$root/$GOTESTSUM" --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile "$results/$n.json" -- \
		-count=1 -p "$TESTJOBS" -timeout 20m ./... || echo tests >>"$results/failed"
done < <(cd "$root" && git ls-files -co --exclude-standard 'go.mod' '**/go.mod')
python3 "$root/scripts/summary.py" "$results"
