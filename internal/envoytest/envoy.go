package envoytest

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// readyTimeout is generous: Envoy is ready in 100 ms, on a machine that runs five test binaries later.
const readyTimeout = 60 * time.Second

// Envoy is a running Envoy. Its methods may be called concurrently.
type Envoy struct {
	socket string
	output lockedBuffer
	stop   chan struct{}
	done   chan struct{} // closed when the process has ended
}

// Start runs Envoy with one worker until the test ends and returns once it is live, that is, all
// listeners of the bootstrap are open. When the test has failed, Envoy's output is in the test's log.
// More arguments than the usual ones go to args, such as "--component-log-level", "ext_proc:debug".
func Start(t testing.TB, bootstrap string, args ...string) *Envoy {
	t.Helper()
	dir := SocketDir(t)
	e := &Envoy{socket: filepath.Join(dir, "admin.sock"), stop: make(chan struct{}), done: make(chan struct{})}
	arguments := []string{
		"-c", writeBootstrap(t, dir, bootstrap),
		"--config-yaml", fmt.Sprintf("admin: {address: {pipe: {path: %q, mode: 384}}}", e.socket),
		"--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning",
	}
	cmd := exec.Command(Binary(t), append(arguments, args...)...)
	cmd.Stdout, cmd.Stderr = &e.output, &e.output
	cmd.SysProcAttr = childAttributes()
	started := make(chan error)
	go e.run(cmd, started)
	if err := <-started; err != nil {
		t.Fatalf("start envoy: %v", err)
	}
	t.Cleanup(func() {
		e.Stop()
		if t.Failed() {
			t.Logf("envoy's output:\n%s", e.Output())
		}
	})
	e.awaitReady(t)
	return e
}

// run owns the child. The parent-death signal fires when the thread that started the child ends, not
// the process, so that thread is kept for the child's whole life.
func (e *Envoy) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(e.done)
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	exited := make(chan struct{})
	go func() {
		select {
		case <-e.stop:
			killGroup(cmd.Process.Pid)
		case <-exited:
		}
	}()
	_ = cmd.Wait()
	close(exited)
}

// Stop kills Envoy and waits for its end. Tests need it only to see what happens without Envoy.
func (e *Envoy) Stop() {
	select {
	case <-e.stop:
	default:
		close(e.stop)
	}
	<-e.done
}

// Output returns what Envoy has logged so far.
func (e *Envoy) Output() string { return e.output.String() }

func (e *Envoy) awaitReady(t testing.TB) {
	t.Helper()
	deadline := time.After(readyTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-e.done:
			t.Fatalf("envoy ended at start")
		case <-deadline:
			t.Fatalf("envoy was not ready after %v", readyTimeout)
		case <-t.Context().Done():
			t.Fatalf("test ended before envoy was ready")
		case <-tick.C:
		}
		if body, err := e.get(t.Context(), "/ready"); err == nil && strings.HasPrefix(string(body), "LIVE") {
			return
		}
	}
}

// lockedBuffer takes the child's output while a test reads it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
