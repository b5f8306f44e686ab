#!/usr/bin/env bash
# fuzz.sh TIME runs every fuzz target of the root module for TIME each; go test fuzzes one at a time. Before that, a
# million orders of messages go through the ext_proc engine, and a million spoiled messages through its decoder.
set -euo pipefail
cd "$(dirname "$0")/.."
EXTPROC_ROUNDS=1000000 go test -count 1 -timeout 30m -run 'AnswersAreLegalInEveryOrder|DecodeAgreesWithGeneratedCode' ./extproc
git grep -oE --untracked '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | while IFS=: read -r file func; do
	target=${func#func }
	echo "== $target in $(dirname "$file") for $1"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "./$(dirname "$file")"
done
