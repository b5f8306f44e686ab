package unixsocket_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/unixsocket"
)

func listen(t *testing.T, path string) *unixsocket.Listener {
	t.Helper()
	l, err := unixsocket.Listen(path, unixsocket.Access{Mode: 0o640, UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func publish(t *testing.T, l *unixsocket.Listener) {
	t.Helper()
	if err := l.Publish(); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// echo serves one connection until its client ends it.
func echo(conn net.Conn) {
	_, _ = io.Copy(conn, conn)
	_ = conn.Close()
}

func TestASocketIsFoundOnceItsModeIsSet(t *testing.T) {
	t.Parallel()
	dir := envoytest.SocketDir(t)
	path := filepath.Join(dir, "s")
	l := listen(t, path)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found before it is published: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("others can come to it: %v, %v", info.Mode(), err)
	}
	publish(t, l)
	publish(t, l)
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if got := l.Addr().String(); got != path {
		t.Errorf("address %s", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestClosingRemovesWhatWasNeverPublished(t *testing.T) {
	t.Parallel()
	dir := envoytest.SocketDir(t)
	if err := listen(t, filepath.Join(dir, "s")).Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAPredecessorLeavesItsSuccessorsPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(envoytest.SocketDir(t), "s")
	first := listen(t, path)
	publish(t, first)
	second := listen(t, path)
	publish(t, second)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	dial(t, path)
}

func TestAPathInUseIsRefused(t *testing.T) {
	t.Parallel()
	dir := envoytest.SocketDir(t)
	used, stale, file := filepath.Join(dir, "used"), filepath.Join(dir, "stale"), filepath.Join(dir, "file")
	publish(t, listen(t, used))
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := errors.Join(left.Close(), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := unixsocket.Vacant(t.Context(), used); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("in use: %v", err)
	}
	for _, path := range []string{stale, filepath.Join(dir, "nothing")} {
		if err := unixsocket.Vacant(t.Context(), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := unixsocket.Vacant(t.Context(), file); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v", err)
	}
	_, err = unixsocket.Listen(filepath.Join(dir, strings.Repeat("d", 100), "s"), unixsocket.Private())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	long := filepath.Join(dir, strings.Repeat("d", 100-len(dir)))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(long, "s"), filepath.Join(dir, strings.Repeat("s", 108-len(dir)))} {
		if _, err := unixsocket.Listen(path, unixsocket.Private()); err == nil || !strings.Contains(err.Error(), "choose a shorter one") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestRetiringLosesNobody: clients that the kernel has connected, and nobody accepted, are answered.
func TestRetiringLosesNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(envoytest.SocketDir(t), "s")
	l := listen(t, path)
	publish(t, l)
	var clients []net.Conn
	for range 8 {
		clients = append(clients, dial(t, path))
	}
	retired, accepting := make(chan error, 1), make(chan error, 1)
	go func() { retired <- l.Retire(t.Context()) }()
	go func() {
		for _, err := os.Lstat(path); err == nil; _, err = os.Lstat(path) { // retiring, a slow server begins only now
			time.Sleep(time.Millisecond)
		}
		for {
			conn, err := l.Accept()
			if err != nil {
				accepting <- err
				return
			}
			go echo(conn)
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := <-retired; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still found: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-accepting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ends with %v", err)
	}
	for i, client := range clients {
		got := make([]byte, 1)
		if _, err := client.Write([]byte{byte(i)}); err != nil {
			t.Errorf("client %d: %v", i, err)
			continue
		}
		if _, err := io.ReadFull(client, got); err != nil || got[0] != byte(i) {
			t.Errorf("client %d: %d, %v", i, got[0], err)
		}
	}
}

// TestRetiringWaitsForTheFirstRead: a server that is told to stop closes what it hasn't begun to read.
func TestRetiringWaitsForTheFirstRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(envoytest.SocketDir(t), "s")
	l := listen(t, path)
	publish(t, l)
	dial(t, path)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = l.Accept() }()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Retire(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it doesn't wait: %v", err)
	}
	go echo(conn)
	if err := l.Retire(t.Context()); err != nil {
		t.Error(err)
	}
}
