package proxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// RejectedError is Envoy's refusal of a configuration, in Envoy's own words.
type RejectedError struct{ Words string }

func (e *RejectedError) Error() string { return "Envoy rejects the configuration: " + e.Words }

// Validate lets binary load bootstrap, JSON or YAML, with --mode validate: nothing is bound and nothing
// is run. It takes some 80 ms, and at most 30 s. Envoy's refusal is a *[RejectedError]; any other error
// says that Envoy could not be asked, which tells nothing about bootstrap.
func Validate(ctx context.Context, binary string, bootstrap []byte) error {
	dir, err := os.MkdirTemp("", "gatehouse-validate-") // mode 0700: the bootstrap may hold keys
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path, err := writeBootstrap(dir, bootstrap)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--mode", "validate", "--config-path", path,
		"--disable-hot-restart", "--log-level", "error", "--log-format", logFormat)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("validate: %w", ctx.Err())
	case !errors.As(err, &exit) || !exit.Exited():
		return fmt.Errorf("validate: %w", err)
	}
	return &RejectedError{Words: ownWords(string(out), path)}
}

// ownWords reduces Envoy's output to what it says about the configuration. The temporary file's name
// would tell a reader nothing.
func ownWords(out, path string) string {
	var said []string
	for line := range strings.Lines(out) {
		parts := strings.SplitN(strings.TrimSpace(line), "\t", 3)
		words := parts[len(parts)-1]
		words = strings.TrimPrefix(words, "error initializing configuration '"+path+"': ")
		// Protobuf puts single and double spaces into its errors at random, so that nobody compares them.
		words = strings.Join(strings.Fields(strings.ReplaceAll(words, path, "bootstrap")), " ")
		if words != "" && (len(said) == 0 || said[len(said)-1] != words) {
			said = append(said, words)
		}
	}
	return strings.Join(said, "; ")
}
