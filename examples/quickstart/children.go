package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

const (
	// readyWithin is what the gateway gets to become ready.
	readyWithin = time.Minute
	// endWithin is what a child gets to end; the gateway drains for up to 5 s.
	endWithin = 20 * time.Second
)

// family is the programs that were started. It is used by one goroutine.
type family struct {
	children []*child
	over     chan string
}

type child struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

// start runs a program with its output on ours.
func (f *family) start(name, path string, args ...string) error {
	return f.spawn(name, os.Stdout, path, args...)
}

// spawn puts a program into a process group of its own: Ctrl-C in a terminal goes to a whole group, and
// the backend must not end before the gateway is drained.
func (f *family) spawn(name string, stdout io.Writer, path string, args ...string) error {
	cmd := exec.Command(path, args...) //nolint:noctx // stop ends it, in its turn
	cmd.Stdout, cmd.Stderr = stdout, os.Stderr
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, done: make(chan struct{})}
	f.children = append(f.children, c)
	over := f.ended()
	go func() {
		_ = cmd.Wait()
		close(c.done)
		select {
		case over <- name:
		default: // somebody else's end is already known
		}
	}()
	return nil
}

// startGateway runs the gateway until it prints the line "ready". Its other lines are shown.
func (f *family) startGateway(ctx context.Context, path string, args ...string) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	// The gateway has its own copy of the writing end; ours would keep the pipe open when it has ended.
	if err := errors.Join(f.spawn("gatehouse", in, path, args...), in.Close()); err != nil {
		return errors.Join(err, out.Close())
	}
	ready := make(chan struct{})
	go func() {
		defer func() { _ = out.Close() }()
		announced := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "ready" && !announced {
				announced = true
				close(ready)
			} else {
				fmt.Println(lines.Text())
			}
		}
	}()
	select {
	case <-ready:
		return nil
	case name := <-f.ended():
		return fmt.Errorf("%s ended before the gateway was ready", name)
	case <-time.After(readyWithin):
		return fmt.Errorf("the gateway was not ready within %s", readyWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended receives the name of the first child that ends.
func (f *family) ended() chan string {
	if f.over == nil {
		f.over = make(chan string, 1)
	}
	return f.over
}

// stop ends all children, the last started first, and returns when they have ended.
func (f *family) stop() {
	for _, c := range slices.Backward(f.children) {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.done:
		case <-time.After(endWithin):
			fmt.Fprintf(os.Stderr, "quickstart: %s did not end and is killed\n", c.name)
			_ = c.cmd.Process.Kill()
			<-c.done
		}
	}
	f.children = nil
}
