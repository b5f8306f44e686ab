package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

func TestTheHandlerSeesOnlyWhatThePolicyAllows(t *testing.T) {
	t.Parallel()
	protected, err := handler()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(protected)
	t.Cleanup(server.Close)
	for name, test := range map[string]struct {
		method, path, user, password string
		header                       [2]string
		status                       int
		says                         string // in the header or the body
	}{
		"a stranger":            {path: "/reports/1", status: 401, says: `Basic realm="reports"`},
		"a wrong password":      {path: "/reports/1", user: "alice", password: "guess", status: 401},
		"alice":                 {path: "/reports/1", user: "alice", password: "wonderland", status: 200, says: "hello alice"},
		"alice, under no other": {path: "/reports/1", user: "alice", password: "wonderland", header: [2]string{"X_User", "root"}, status: 200, says: "hello alice"},
		"not for alice":         {path: "/admin", user: "alice", password: "wonderland", status: 403},
		"a crooked path":        {path: "/x/../reports/1", user: "alice", password: "wonderland", status: 403},
		"a script may read it":  {path: "/reports/1", header: [2]string{"Origin", "https://app.example"}, status: 401, says: "https://app.example"},
		"another page may not":  {path: "/reports/1", header: [2]string{"Origin", "https://evil.example"}, status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Opaque = test.path // as it is, without cleaning
			if test.user != "" {
				r.SetBasicAuth(test.user, test.password)
			}
			if test.header[0] != "" {
				r.Header[test.header[0]] = []string{test.header[1]}
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, _ := io.ReadAll(answer.Body)
			var all strings.Builder
			_ = answer.Header.Write(&all)
			if answer.StatusCode != test.status || !strings.Contains(all.String()+string(body), test.says) {
				t.Errorf("%d, want %d and %q in:\n%s%s", answer.StatusCode, test.status, test.says, &all, body)
			}
			if test.status != http.StatusOK && strings.Contains(string(body), "hello") {
				t.Error("the handler has seen a request that was denied")
			}
		})
	}
}

func TestAnAuthorizerWithoutAnAnswerDenies(t *testing.T) {
	t.Parallel()
	for status, authorizer := range map[int]exchange.AuthorizerFunc{
		http.StatusServiceUnavailable: func(context.Context, *exchange.Request) (exchange.Verdict, error) {
			return exchange.Verdict{Allow: true}, errors.New("out of order")
		},
		http.StatusForbidden: func(context.Context, *exchange.Request) (exchange.Verdict, error) { return exchange.Verdict{}, nil },
	} {
		w := httptest.NewRecorder()
		Protect(authorizer, http.HandlerFunc(reports)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != status {
			t.Errorf("%d, want %d", w.Code, status)
		}
	}
}
