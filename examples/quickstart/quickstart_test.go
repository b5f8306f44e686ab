package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestEveryPrintedLineAnswersAsItSays runs the quickstart as a user does, tries what it prints, and
// looks for what it leaves behind.
func TestEveryPrintedLineAnswersAsItSays(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the whole gateway")
	}
	temp, err := os.MkdirTemp("", "gh") // short: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	t.Setenv("TMPDIR", temp)

	p := ports{http: freePair(t)}
	p.https = p.http + httpsOffset
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as the main thread is: the children end with it
		defer runtime.UnlockOSThread()
		err := run(ctx, in, p.http, "")
		in.CloseWithError(io.EOF)
		done <- err
	}()
	printed := readUntilReady(out)
	if len(printed) == 0 {
		t.Fatal(<-done)
	}
	go io.Copy(io.Discard, out)
	_, rest, _ := strings.Cut(strings.Join(printed, "\n"), "TOKEN=")
	token, _, _ := strings.Cut(rest, "\n")
	for _, group := range trials(p) {
		for _, trial := range group.trials {
			if fault := attempt(t, trial, token); fault != "" {
				t.Errorf("%s\n%s", trial.curl(), fault)
			}
			if fault := explained(t, printed, trial, token); fault != "" {
				t.Errorf("%s\n%s", trial.curl(), fault)
			}
		}
	}

	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("files are left: %q", left)
	}
	if left := processesOf(temp); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

func readUntilReady(out io.Reader) []string {
	var lines []string
	for s := bufio.NewScanner(out); s.Scan(); {
		lines = append(lines, s.Text())
		if s.Text() == "ready" {
			return lines
		}
	}
	return nil
}

// attempt sends a trial's request and returns what is wrong with the answer.
func attempt(t *testing.T, trial trial, token string) string {
	t.Helper()
	method := trial.method
	if method == "" {
		method = http.MethodGet
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, trial.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range trial.headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, strings.ReplaceAll(value, "${TOKEN}", token))
	}
	if name, password, ok := strings.Cut(trial.user, ":"); ok {
		req.SetBasicAuth(name, password)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	got, err := httputil.DumpResponse(resp, true)
	if err != nil {
		return err.Error()
	}
	status, parts, _ := strings.Cut(trial.want, " with ")
	if strconv.Itoa(resp.StatusCode) != status {
		return fmt.Sprintf("wanted %s, got:\n%s", trial.want, got)
	}
	for part := range strings.SplitSeq(parts, " and ") {
		if !strings.Contains(strings.ToLower(string(got)), strings.ToLower(part)) {
			return fmt.Sprintf("wanted %s in:\n%s", part, got)
		}
	}
	return ""
}

func freePair(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+httpsOffset)))
		l.Close()
		if err == nil {
			second.Close()
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

// processesOf returns the command lines of processes that were started from or with files below dir.
func processesOf(dir string) []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), dir) {
			found = append(found, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return found
}
