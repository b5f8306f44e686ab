package decisionlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func value(t *testing.T, text string) ast.Value {
	t.Helper()
	v, err := ast.ValueFromReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// written logs one event and returns its line.
func written(t *testing.T, spec *config.DecisionLog, credentials decisionlog.Credentials, e decisionlog.Event) string {
	t.Helper()
	var out bytes.Buffer
	log := decisionlog.New(decisionlog.Options{Stdout: &out, Logger: slog.New(slog.DiscardHandler)})
	logger, err := log.Open("team-a/api", "envoy/authz/allow", spec, credentials)
	if err != nil {
		t.Fatal(err)
	}
	logger.Log(e, 0)
	log.Close()
	return out.String()
}

const input = `{"attributes": {"request": {"http": {
	"path": "/a?access_token=hunter2", "headers": {"authorization": "Bearer hunter2", "cookie": "s=hunter2", "X-Key": "hunter2", ":path": "/a?access_token=hunter2", "x-team": "a"}}}},
	"parsed_query": {"access_token": ["hunter2"], "q": ["1"]}, "parsed_body": {"list": [{"pin": "4711"}, {"pin": "4712"}], "a/b": "slash"}}`

func TestADecisionIsALineOfJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	line := written(t, &config.DecisionLog{}, decisionlog.Credentials{}, decisionlog.Event{
		Time: at, Took: 5 * time.Microsecond, RequestID: "r-1", Input: value(t, `{"attributes": {"request": {"http": {"method": "GET"}}}}`), Result: value(t, `{"allowed": true}`),
	})
	var got map[string]any
	if err := json.Unmarshal([]byte(line), &got); err != nil || strings.Count(line, "\n") != 1 {
		t.Fatalf("%v: %s", err, line)
	}
	delete(got, "decision_id")
	text, _ := json.Marshal(got) //nolint:errchkjson // it was decoded
	want := `{"input":{"attributes":{"request":{"http":{"method":"GET"}}}},"metrics":{"timer_rego_query_eval_ns":5000},"path":"envoy/authz/allow","policy":"team-a/api","request_id":"r-1","result":{"allowed":true},"timestamp":"2026-01-02T03:04:05.000006Z"}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
	failed := written(t, &config.DecisionLog{}, decisionlog.Credentials{}, decisionlog.Event{Err: errors.New("took too long"), Cached: true})
	if !strings.Contains(failed, `"error":{"message":"took too long"}`) || !strings.Contains(failed, `"cached":true`) {
		t.Error(failed)
	}
}

func TestS47CredentialsAreNeverLogged(t *testing.T) {
	t.Parallel()
	line := written(t, &config.DecisionLog{}, decisionlog.Credentials{Headers: []string{"x-key"}, Params: []string{"access_token"}}, decisionlog.Event{
		Input: value(t, input), Result: value(t, `{"allowed": true, "headers": {"Authorization": "hunter2"}, "response_headers_to_add": {"set-cookie": "hunter2"}}`),
	})
	if strings.Contains(line, "hunter2") || !strings.Contains(line, `"x-team":"a"`) || !strings.Contains(line, `"q":["1"]`) {
		t.Error(line)
	}
	for _, erased := range []string{"headers/authorization", "headers/cookie", "headers/X-Key", "http/path", "headers/:path", "parsed_query/access_token", "/result/headers/Authorization"} {
		if !strings.Contains(line, erased) {
			t.Errorf("%s isn't told of: %s", erased, line)
		}
	}
}

func TestS47ParametersWithCredentialsAreNeverLogged(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/a": "/a", "/a?": "/a?", "/a?q=1": "/a?q=1", "/a?access_token=hunter2": "/a?access_token=", "/a?q=1&access_token=hunter2&r=2": "/a?q=1&access_token=&r=2",
		"/a?access%5ftoken=hunter2": "/a?access%5ftoken=", "/a?q=1;access_token=hunter2;r": "/a?q=1;access_token=;r", "/a?access_token=hunter2&access_token=hunter2": "/a?access_token=&access_token=",
		"/a?access_token=hunter2=&": "/a?access_token=&", "/a?%zz=1&access_token=hunter2": "/a?", "/a?access_token=hunter2?x": "/a?access_token=", "/a?&&access_token=hunter2": "/a?&&access_token=",
		"/a?ACCESS_TOKEN=1": "/a?ACCESS_TOKEN=1",
	} {
		term := ast.NewObject([2]*ast.Term{ast.StringTerm("path"), ast.StringTerm(path)})
		for _, name := range []string{"http", "request", "attributes"} {
			term = ast.NewObject([2]*ast.Term{ast.StringTerm(name), ast.NewTerm(term)})
		}
		line := written(t, &config.DecisionLog{}, decisionlog.Credentials{Params: []string{"access_token"}}, decisionlog.Event{Input: term})
		if text, _ := json.Marshal(want); !strings.Contains(strings.ReplaceAll(line, `&`, `\u0026`), `"path":`+string(text)) || strings.Contains(line, "hunter2") { //nolint:errchkjson // a string
			t.Errorf("%s: %s", path, line)
		}
	}
}

func TestMaskedPartsAreLeftOut(t *testing.T) {
	t.Parallel()
	for pointer, gone := range map[string]string{
		"/input/parsed_body/list/1/pin": "4712", "/input/parsed_body/list/0": "4711", "/input/parsed_body/a~1b": "slash",
		"/input/attributes/request/http/headers/x-team": "x-team\":", "/input/parsed_body": "4711", "/result": "secret",
	} {
		line := written(t, &config.DecisionLog{Mask: []string{pointer}}, decisionlog.Credentials{}, decisionlog.Event{Input: value(t, input), Result: value(t, `"secret"`)})
		if strings.Contains(line, gone) || !strings.Contains(line, `"`+pointer+`"`) {
			t.Errorf("%s: %s", pointer, line)
		}
	}
	for _, absent := range []string{"/input/x", "/input/parsed_body/list/2", "/input/parsed_body/list/01", "/input/parsed_body/list/-1", "/input/parsed_body/list/0/pin/x"} {
		if line := written(t, &config.DecisionLog{Mask: []string{absent}}, decisionlog.Credentials{}, decisionlog.Event{Input: value(t, input)}); strings.Contains(line, absent) || !strings.Contains(line, "4711") {
			t.Errorf("%s: %s", absent, line)
		}
	}
	log := decisionlog.New(decisionlog.Options{})
	t.Cleanup(log.Close)
	for _, spec := range []config.DecisionLog{{Mask: []string{"input/a"}}, {Mask: []string{""}}, {Mask: []string{"/labels"}}, {Mask: []string{"/input/~2"}}, {Sink: "Kafka"}, {Sink: "File"}} {
		if _, err := log.Open("a/b", "p", &spec, decisionlog.Credentials{}); err == nil {
			t.Errorf("%+v is accepted", spec)
		}
	}
}

func TestS47ControlBytesAreEscaped(t *testing.T) {
	t.Parallel()
	for name, hostile := range map[string]string{
		"line break": "a\nb", "carriage return": "a\rb", "escape": "\x1b[2J", "DEL": "\x7f", "C1": "\u009b31m", "NUL": "\x00", "separator": "\u2028", "override": "\u202e", "isolate": "\u2066",
	} {
		line := written(t, &config.DecisionLog{}, decisionlog.Credentials{}, decisionlog.Event{
			RequestID: hostile, Input: ast.NewObject([2]*ast.Term{ast.StringTerm(hostile), ast.StringTerm(hostile)}), Err: errors.New(hostile),
		})
		body := strings.TrimSuffix(line, "\n")
		if strings.ContainsFunc(body, func(c rune) bool { return c < ' ' || c >= 0x7f }) {
			t.Errorf("%s: %q", name, line)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil || got["request_id"] != hostile {
			t.Errorf("%s: %v %q", name, err, line)
		}
	}
}

func TestAnEnormousDecisionIsNamedOnly(t *testing.T) {
	t.Parallel()
	line := written(t, &config.DecisionLog{}, decisionlog.Credentials{}, decisionlog.Event{Input: ast.String(strings.Repeat("x", 1<<20))})
	if len(line) > 1000 || !strings.Contains(line, `"omitted"`) {
		t.Errorf("%d bytes", len(line))
	}
}

// stuck is a sink that waits.
type stuck struct {
	once    sync.Once
	entered chan struct{}
	release chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.release
	return len(p), nil
}

func TestASinkThatHangsDelaysNobody(t *testing.T) {
	t.Parallel()
	sink := &stuck{entered: make(chan struct{}), release: make(chan struct{})}
	log := decisionlog.New(decisionlog.Options{Stdout: sink, Queue: 10, QueueBytes: 1 << 20})
	logger, err := log.Open("a/b", "p", &config.DecisionLog{}, decisionlog.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	logger.Log(decisionlog.Event{}, 0)
	<-sink.entered
	for range 100 {
		logger.Log(decisionlog.Event{}, 0)
	}
	if _, dropped := log.Stats(); dropped != 90 {
		t.Errorf("%d dropped", dropped)
	}
	close(sink.release)
	log.Close()
	logger.Log(decisionlog.Event{}, 0)
	if written, dropped := log.Stats(); written != 11 || dropped != 91 {
		t.Errorf("%d written, %d dropped", written, dropped)
	}
}

func TestLargeInputsWaitInBoundedMemory(t *testing.T) {
	t.Parallel()
	sink := &stuck{entered: make(chan struct{}), release: make(chan struct{})}
	log := decisionlog.New(decisionlog.Options{Stdout: sink, QueueBytes: 10 << 20})
	logger, err := log.Open("a/b", "p", &config.DecisionLog{}, decisionlog.Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		logger.Log(decisionlog.Event{}, 1<<20)
	}
	if _, dropped := log.Stats(); dropped < 89 {
		t.Errorf("%d dropped", dropped)
	}
	close(sink.release)
	log.Close()
}

func TestDecisionsInFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "decisions")
	log := decisionlog.New(decisionlog.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	for _, name := range []string{"team-a/api", "team-b/api"} {
		logger, err := log.Open(name, "p", &config.DecisionLog{Sink: "File"}, decisionlog.Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		logger.Log(decisionlog.Event{}, 0)
		logger.Log(decisionlog.Event{}, 0)
	}
	for _, hostile := range []string{"../../etc/x", "/", `a\b`, "a b", "é/x"} {
		if _, err := log.Open(hostile, "p", &config.DecisionLog{Sink: "File"}, decisionlog.Credentials{}); err == nil {
			t.Errorf("%q becomes a file's name", hostile)
		}
	}
	log.Close()
	for _, name := range []string{"team-a.api.jsonl", "team-b.api.jsonl"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.Count(string(text), "\n") != 2 {
			t.Errorf("%s: %v %q", name, err, text)
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
