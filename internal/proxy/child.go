package proxy

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// child is one Envoy process. done is closed when it has ended and was reaped.
type child struct {
	process *os.Process
	done    chan struct{}
	state   string
	words   *lineLogger
}

// startChild starts Envoy. The kernel's parent-death signal fires when the *thread* that started the
// child ends, not the process, and the Go runtime ends idle threads: so one goroutine starts the
// child, keeps its thread for the child's whole life and reaps it.
func startChild(config *Config, args []string) (*child, error) {
	words := &lineLogger{logger: config.Logger}
	cmd := exec.Command(config.Binary, args...) //nolint:noctx // Process drains it before it is killed
	cmd.Dir = config.Dir
	// Always pipes, never the caller's file: Envoy opens /dev/stdout anew for an access log, which
	// truncates a file and fails on a socket.
	cmd.Stdout = &plainWriter{config.Stdout}
	cmd.Stderr = words
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = time.Second

	c := &child{done: make(chan struct{}), words: words}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		c.process = cmd.Process
		started <- nil
		err := cmd.Wait()
		c.state = "exit status 0"
		if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			c.state = err.Error()
		}
		words.flush()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// ended describes how the child ended, with its last error lines. Only to be called after done.
func (c *child) ended() string {
	last := c.words.lastErrors()
	if len(last) == 0 {
		return c.state
	}
	return c.state + ": " + strings.Join(last, "; ")
}

// waitFor reports whether the child ended within d.
func (c *child) waitFor(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
		return false
	}
}
