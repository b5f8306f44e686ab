package proxy

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// MinVersion is the oldest Envoy that Gatehouse runs with. Older ones lack filter_chain filters that
// a route configures, on which the per-route policies are built.
const MinVersion = "1.40.0"

// ErrTooOld means that an Envoy is older than [MinVersion].
var ErrTooOld = errors.New("Envoy is too old") //nolint:staticcheck // Envoy is a name

// versionLine matches `envoy --version`: "envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL".
var versionLine = regexp.MustCompile(`version: [0-9a-fA-F]+/([0-9]+)\.([0-9]+)\.([0-9]+)([^/\s]*)/`)

// Version asks binary for its version, such as "1.40.0" or "1.41.0-dev". It waits at most 10 s.
func Version(ctx context.Context, binary string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", binary, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s --version: not the answer of an Envoy: %.100q", binary, out)
	}
	return fmt.Sprintf("%s.%s.%s%s", m[1], m[2], m[3], m[4]), nil
}

// CheckVersion fails unless binary is an Envoy of [MinVersion] or later. An error that wraps
// [ErrTooOld] says which version was found and which is needed.
func CheckVersion(ctx context.Context, binary string) error {
	found, err := Version(ctx, binary)
	if err != nil {
		return err
	}
	if !atLeast(found, MinVersion) {
		return fmt.Errorf("%w: %s is version %s, and %s or later is needed: name another one by --envoy or $ENVOY, such as the one that `make envoy` fetches",
			ErrTooOld, binary, found, MinVersion)
	}
	return nil
}

// atLeast compares major and minor only: patch releases never add what Gatehouse needs.
func atLeast(found, want string) bool {
	fMajor, fMinor := majorMinor(found)
	wMajor, wMinor := majorMinor(want)
	return fMajor > wMajor || fMajor == wMajor && fMinor >= wMinor
}

var numbers = regexp.MustCompile(`^([0-9]+)\.([0-9]+)\.`)

func majorMinor(version string) (major, minor int) {
	m := numbers.FindStringSubmatch(version)
	if m == nil {
		return 0, 0
	}
	major, _ = strconv.Atoi(m[1])
	minor, _ = strconv.Atoi(m[2])
	return major, minor
}
