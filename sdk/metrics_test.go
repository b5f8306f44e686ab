package sdk_test

import (
	"context"
	"errors"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// TestFailedChecksAreCountedByCause: each denial that was none of the authorizer's decisions.
func TestFailedChecksAreCountedByCause(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	late, giveUp := context.WithCancel(t.Context())
	addr, _, _ := serving(t, "127.0.0.1:0", sdk.AuthorizerFunc(func(ctx context.Context, r *sdk.Request) (sdk.Verdict, error) {
		switch r.Path() {
		case "/error":
			return sdk.Verdict{}, errors.New("broken")
		case "/panic":
			panic("broken")
		case "/unsendable":
			return sdk.Verdict{Allow: true, Remove: []string{"no name"}}, nil
		case "/late":
			giveUp()
			<-ctx.Done()
			return sdk.Verdict{Allow: true}, nil
		case "/deny":
			return sdk.Verdict{}, nil
		}
		return sdk.Verdict{Allow: true}, nil
	}), sdk.WithMetrics(registry))
	client := authv3.NewAuthorizationClient(dial(t, addr))
	for _, path := range []string{"/error", "/panic", "/unsendable", "/late", "/deny", "/allow", ""} {
		check := &authv3.CheckRequest{}
		if path != "" { // without a request it is malformed
			check.Attributes = &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
				Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Path: path, Host: "a.example"},
			}}
		}
		ctx := t.Context()
		if path == "/late" {
			ctx = late
		}
		if _, err := client.Check(ctx, check, grpc.WaitForReady(true)); (err != nil) != (path == "/late") {
			t.Errorf("%s: %v", path, err)
		}
	}
	await(t, func() string {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		failures := map[string]float64{}
		for _, family := range all {
			if family.GetName() == "gatehouse_extauthz_failures_total" {
				for _, m := range family.GetMetric() {
					failures[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		for _, cause := range []string{"error", "panic", "unsendable", "late", "malformed"} {
			if failures[cause] != 1 {
				return "failures with cause " + cause + " aren't counted once each"
			}
		}
		return ""
	})
}
