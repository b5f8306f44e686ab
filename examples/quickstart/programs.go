package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programs are the paths of what is started.
type programs struct{ gatehouse, backend, processor string }

// locate finds the programs where `make run` built them, or builds them into dir.
func locate(ctx context.Context, bin, dir string) (programs, error) {
	p := programs{
		gatehouse: filepath.Join(bin, "gatehouse"),
		backend:   filepath.Join(bin, "examples", "backend"),
		processor: filepath.Join(bin, "examples", "processor"),
	}
	if bin != "" {
		return p, nil
	}
	fmt.Fprintln(os.Stderr, "building; the first time takes minutes")
	p = programs{filepath.Join(dir, "gatehouse"), filepath.Join(dir, "backend"), filepath.Join(dir, "processor")}
	const module = "github.com/gatehouse-proxy/gatehouse/"
	build := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", module+"cmd/gatehouse",
		module+"examples/quickstart/backend", module+"examples/quickstart/processor")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return p, fmt.Errorf("go build: %w", err)
	}
	return p, nil
}
