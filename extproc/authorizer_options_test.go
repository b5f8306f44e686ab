package extproc_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// headersOnly is a filter that sends headers only, with initial metadata.
func headersOnly(initialMetadata, more string) string {
	return `grpc_service: {envoy_grpc: {cluster_name: processor}, initial_metadata: [` + initialMetadata + `]}
              ` + more
}

// TestEditsThatEnvoyWouldIgnoreDeny: a header that the upstream believes must not be the client's because
// Envoy dropped the authorizer's.
func TestEditsThatEnvoyWouldIgnoreDeny(t *testing.T) {
	t.Parallel()
	edits := map[string]exchange.Verdict{
		"/set":      {Allow: true, Set: fields{{Name: "X-Envoy-User", Value: "ours"}}},
		"/add":      {Allow: true, Add: fields{{Name: "x-envoy-user", Value: "ours"}}},
		"/remove":   {Allow: true, Remove: []string{"x-envoy-user"}},
		"/response": {Allow: true, ResponseSet: fields{{Name: "x-envoy-user", Value: "ours"}}},
		"/host":     {Allow: true, Set: fields{{Name: "Host", Value: "ours"}}},
		"/method":   {Allow: true, Set: fields{{Name: ":method", Value: "PUT"}}},
		"/path":     {Allow: true, Add: fields{{Name: ":path", Value: "/b"}}},
	}
	authorizer := extproc.Authorize(func(*exchange.Request) exchange.Authorizer {
		return exchange.AuthorizerFunc(func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
			return edits[r.Path()], nil
		})
	}, quiet)
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Seen"] = r.Header.Values("X-Envoy-User")
	})
	plain := start(t, "message_timeout: 11s", upstream, authorizer.Process)
	told := start(t, headersOnly(`{key: x-gatehouse-extproc, value: "v=1; mutate-all"}`,
		"mutation_rules: {allow_all_routing: true, allow_envoy: true}"), upstream, authorizer.Process)
	for path := range edits {
		if answer, _ := plain.get(t, path, "x-envoy-user", "theirs"); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d, seen %q", path, answer.StatusCode, answer.Header.Values("X-Seen"))
		}
	}
	for path, want := range map[string]string{"/set": "ours", "/remove": "", "/response": "theirs"} {
		answer, _ := told.get(t, path, "x-envoy-user", "theirs")
		if answer.StatusCode != http.StatusOK || answer.Header.Get("X-Seen") != want {
			t.Errorf("rules allow %s: %d, seen %q", path, answer.StatusCode, answer.Header.Values("X-Seen"))
		}
	}
	for _, path := range []string{"/method", "/path"} {
		if answer, _ := told.get(t, path); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("rules allow %s: %d", path, answer.StatusCode)
		}
	}
}

// TestAuthorizersAreChosenByTheFiltersConfiguration: the policy comes with the stream's initial metadata, and
// so does the word that a header may be believed.
func TestAuthorizersAreChosenByTheFiltersConfiguration(t *testing.T) {
	t.Parallel()
	reasons := make(chan string, 1)
	authorizer := extproc.Authorize(func(r *exchange.Request) exchange.Authorizer {
		if policy, _ := r.Extension("x-policy"); policy != "mine" {
			return nil
		}
		return exchange.AuthorizerFunc(func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
			if r.Header.Has("x-gatehouse-client-ip") {
				return exchange.Verdict{}, errors.New("the header is an implementation detail")
			}
			return exchange.Verdict{Allow: r.Conn().Client.IsValid(), Reason: r.Conn().Client.String(), Metadata: map[string]any{"seal": "right"}}, nil
		})
	}, quiet, extproc.WithNamespace("mine"), extproc.OnVerdict(func(_ context.Context, _ *exchange.Request, v exchange.Verdict, took time.Duration) {
		if took <= 0 {
			t.Errorf("took %v", took)
		}
		reasons <- v.Reason
		panic("an observer's fault is nobody's verdict")
	}))
	for name, c := range map[string]struct {
		metadata string
		header   []string
		status   int
		reason   string
	}{
		"peer":           {`{key: x-policy, value: mine}`, []string{"x-gatehouse-client-ip", "192.0.2.1"}, 200, "127.0.0.1"},
		"header":         {`{key: x-policy, value: mine}, {key: gatehouse.client-address, value: header}`, []string{"x-gatehouse-client-ip", "192.0.2.1"}, 200, "192.0.2.1"},
		"two headers":    {`{key: x-policy, value: mine}, {key: gatehouse.client-address, value: header}`, []string{"x-gatehouse-client-ip", "192.0.2.1", "x-gatehouse-client-ip", "192.0.2.2"}, 403, "invalid IP"},
		"no header":      {`{key: x-policy, value: mine}, {key: gatehouse.client-address, value: header}`, nil, 403, "invalid IP"},
		"another policy": {`{key: x-policy, value: other}`, nil, 503, exchange.ReasonNoAuthorizer},
		"no namespace":   {`{key: x-policy, value: mine}, {key: x-gatehouse-extproc, value: "v=1; untyped=other"}`, nil, 503, exchange.ReasonUnsendable},
	} {
		g := start(t, headersOnly(c.metadata, ""), http.HandlerFunc(hello), authorizer.Process)
		if answer, _ := g.get(t, "/", c.header...); answer.StatusCode != c.status {
			t.Errorf("%s: status %d", name, answer.StatusCode)
		}
		if reason := <-reasons; reason != c.reason {
			t.Errorf("%s: reason %q", name, reason)
		}
	}
}

// TestAVerdictByExtProcHasAContextOfItsOwn: that of OnCheck, in the check and in the observers.
func TestAVerdictByExtProcHasAContextOfItsOwn(t *testing.T) {
	t.Parallel()
	type key struct{}
	seen := make(chan any, 2)
	authorizer := extproc.Authorize(func(*exchange.Request) exchange.Authorizer {
		return exchange.AuthorizerFunc(func(ctx context.Context, _ *exchange.Request) (exchange.Verdict, error) {
			seen <- ctx.Value(key{})
			return exchange.Verdict{Allow: true, ResponseSet: fields{{Name: "x-judged", Value: "yes"}}}, nil
		})
	}, quiet, extproc.OnCheck(func(ctx context.Context, r *exchange.Request) context.Context {
		return context.WithValue(ctx, key{}, r.Path())
	}), extproc.OnVerdict(func(ctx context.Context, _ *exchange.Request, _ exchange.Verdict, _ time.Duration) {
		seen <- ctx.Value(key{})
	}))
	g := start(t, headersOnly("", ""), http.HandlerFunc(hello), authorizer.Process)
	if answer, _ := g.get(t, "/a"); answer.StatusCode != http.StatusOK || answer.Header.Get("X-Judged") != "yes" {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	if check, verdict := <-seen, <-seen; check != "/a" || verdict != "/a" {
		t.Errorf("check %v, verdict %v", check, verdict)
	}
}
