package proxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotFound means that no Envoy binary was found. The error that wraps it says what to do.
var ErrNotFound = errors.New("no Envoy found")

// Find returns the absolute path of the Envoy binary: explicit if it isn't empty, else the
// environment variable ENVOY, else envoy in PATH, else what `make envoy` fetched, which is looked for
// below the working directory and its parents, and beside the directory of the running program. An Envoy
// in PATH that is too old counts only if nothing was fetched: distributions ship old ones.
//
// An explicit path or an ENVOY that names no executable is an error, never a reason to look further:
// whoever named a binary would not notice that another one runs. Every error wraps [ErrNotFound].
func Find(ctx context.Context, explicit string) (string, error) {
	if explicit != "" {
		return named(explicit, "--envoy")
	}
	if env := os.Getenv("ENVOY"); env != "" {
		return named(env, "$ENVOY")
	}
	inPath, err := exec.LookPath("envoy")
	if err == nil && CheckVersion(ctx, inPath) == nil {
		return filepath.Abs(inPath)
	}
	for _, dir := range toolDirs() {
		path := filepath.Join(dir, ".tools", "envoy-"+MinVersion, "envoy")
		if executable(path) {
			return path, nil
		}
	}
	if err == nil {
		return filepath.Abs(inPath) // its version is the caller's complaint, better than "not found"
	}
	return "", fmt.Errorf("%w in $ENVOY, PATH or .tools: run `make envoy`, or install Envoy %s or later and name it by --envoy",
		ErrNotFound, MinVersion)
}

func named(name, origin string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %s names %q: %w", ErrNotFound, origin, name, errors.Unwrap(err))
	}
	return filepath.Abs(path)
}

// toolDirs are the directories that may hold a .tools folder, nearest first.
func toolDirs() []string {
	var dirs []string
	if dir, err := os.Getwd(); err == nil {
		for ; ; dir = filepath.Dir(dir) {
			dirs = append(dirs, dir)
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(filepath.Dir(self)))
	}
	return dirs
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
