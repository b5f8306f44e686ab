package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// journal is a log, line by line.
type journal chan string

func (j journal) Write(p []byte) (int, error) { j <- string(p); return len(p), nil }

// errors are the lines of errors that have been written.
func (j journal) errors() (found []string) {
	for range len(j) {
		if line := <-j; strings.Contains(line, "level=ERROR") {
			found = append(found, line)
		}
	}
	return found
}

// TestDeclaredNeedsThroughEnvoy: a filter that forbids what one of a chain declares is found by the
// first GET, which has no body; where it allows it, the chain serves.
func TestDeclaredNeedsThroughEnvoy(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(upstream.Close)
	const allowing = `              message_timeout: 5s
              allow_mode_override: true
              grpc_service: {envoy_grpc: {cluster_name: extension}, initial_metadata: [{key: x-gatehouse-extproc, value: "v=1; override"}]}
`
	for name, c := range map[string]struct {
		filter string
		answer string
		ran    int32
		unmet  int
	}{
		"forbidden": {"              message_timeout: 5s\n", "503 processor unavailable", 0, 2},
		"allowed":   {allowing, "200 HELLO", 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ran atomic.Int32
			outer := sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { ran.Add(1); return nil })
			inner := sdk.Declare(sdk.Needs{ResponseBody: sdk.BodyEdited}, sdk.Middleware(shouting))
			log, metrics := make(journal, 100), make(chan string, 1)
			socket := filepath.Join(envoytest.SocketDir(t), "s")
			serving(t, "unix:"+socket, chained{sdk.Chain(outer, inner).(sdk.NeedsProcessor)}, sdk.WithLogger(slog.New(slog.NewTextHandler(log, nil))),
				sdk.WithTracing(noop.NewTracerProvider()), sdk.WithProcessor(extproc.WithName("shout")),
				sdk.WithMetricsListener("127.0.0.1:0", func(addr string) { metrics <- addr }))
			port := envoytest.FreePort(t)
			config := strings.Replace(bootstrap, "              message_timeout: 5s\n", c.filter, 1)
			envoytest.Start(t, fmt.Sprintf(config, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
			for range 2 {
				answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if got := fmt.Sprintf("%d %s", answer.StatusCode, body); err != nil || got != c.answer {
					t.Errorf("%q, %v", got, err)
				}
			}
			told := log.errors() // each is written before the answer
			if ran.Load() != c.ran || len(told) != min(c.unmet, 1) || c.unmet > 0 && !strings.Contains(told[0], "set FULL_DUPLEX_STREAMED") {
				t.Errorf("ran %d times, told %q", ran.Load(), told)
			}
			url, want := "http://"+<-metrics+"/metrics", fmt.Sprintf(`gatehouse_extproc_unmet_needs_total{processor="shout"} %d`, c.unmet)
			await(t, func() string {
				if text := page(t, url); !strings.Contains(text, want+"\n") {
					return "no " + want + " in\n" + text
				}
				return ""
			})
		})
	}
}

// chained is an extension of both kinds whose processor declares.
type chained struct{ sdk.NeedsProcessor }

func (chained) Check(context.Context, *sdk.Request) (sdk.Verdict, error) {
	return sdk.Verdict{Allow: true}, nil
}

// shouting is middleware that rewrites the response.
func shouting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(shouter{w}, r) })
}

type shouter struct{ http.ResponseWriter }

func (s shouter) Write(p []byte) (int, error) { return s.ResponseWriter.Write(bytes.ToUpper(p)) }

func TestAChainNeedsWhatItsProcessorsDeclare(t *testing.T) {
	t.Parallel()
	silent := sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { return nil })
	chain := sdk.Chain(
		sdk.Declare(sdk.Needs{RequestBody: sdk.BodyObserved, ResponseHeaders: true, Metadata: []string{"b", "a"}, Reads: []string{"r"}, Pause: time.Second}, silent),
		silent,
		sdk.Declare(sdk.Needs{RequestBody: sdk.BodyEdited, ResponseTrailers: true, Reply: true, Metadata: []string{"a", "c"}, Pause: 2 * time.Second}, silent))
	want := sdk.Needs{
		RequestBody: sdk.BodyEdited, ResponseHeaders: true, ResponseTrailers: true, Reply: true,
		Metadata: []string{"a", "b", "c"}, Reads: []string{"r"}, Pause: 3 * time.Second,
	}
	if got := exchange.NeedsOf(chain); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := exchange.NeedsOf(sdk.Chain(silent, silent)); !reflect.DeepEqual(got, sdk.Needs{}) {
		t.Errorf("nothing declared: %+v", got)
	}
}

// local edits responses of earlier filters.
type local struct{ sdk.Processor }

func (local) ProcessLocalReply(context.Context, *sdk.Response) error { return errLocal }

var errLocal = errors.New("a local reply was seen")

func TestADeclaringProcessorKeepsItsLocalReplies(t *testing.T) {
	t.Parallel()
	p := sdk.Declare(sdk.Needs{Reply: true}, local{sdk.Chain()})
	if err := exchange.ProcessLocalReply(t.Context(), p, nil); !errors.Is(err, errLocal) {
		t.Errorf("%v", err)
	}
}

// TestWhatIsDeclaredByItself: what can be known of middleware, handlers and authorizers.
func TestWhatIsDeclaredByItself(t *testing.T) {
	t.Parallel()
	pass := sdk.AuthorizerFunc(func(context.Context, *sdk.Request) (sdk.Verdict, error) { return sdk.Verdict{Allow: true}, nil })
	for name, c := range map[string]struct {
		p    sdk.Processor
		want sdk.Needs
	}{
		"middleware":               {sdk.Middleware(shouting), sdk.Needs{ResponseHeaders: true}},
		"handler":                  {sdk.Handler(http.NotFoundHandler()), sdk.Needs{Reply: true}},
		"authorizer":               {sdk.Authorize(pass), sdk.Needs{Reply: true}},
		"authorizer with metadata": {sdk.Authorize(pass, extproc.WithNamespace("mine")), sdk.Needs{Reply: true, Metadata: []string{"mine"}}},
		"declared on top":          {sdk.Declare(sdk.Needs{ResponseBody: sdk.BodyEdited}, sdk.Middleware(shouting)), sdk.Needs{ResponseBody: sdk.BodyEdited}},
	} {
		if got := exchange.NeedsOf(c.p); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
