package extauthz_test

import (
	"context"
	"slices"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
)

// TestAPreparedVerdictAnswersAsAnyOther: what is encoded once says the same as what is encoded each time, also
// where a wrapper has changed the verdict, and for verdicts that no answer can say.
func TestAPreparedVerdictAnswersAsAnyOther(t *testing.T) {
	t.Parallel()
	vary := exchange.Field{Name: "Vary", Value: "Origin"}
	plain := exchange.Verdict{
		Allow: true, RecomputeRoute: true, Remove: []string{"x_user"}, Metadata: map[string]any{"seal": "s", "idp": map[string]any{"roles": []any{"a", 1.5, nil}}},
		Set: []exchange.Field{{Name: "X-User", Value: "ada"}, {Name: "x-role", Value: "a"}, {Name: "x-role", Value: "b"}},
	}
	msg := checkRequest(t)
	for name, base := range map[string]exchange.Verdict{
		"allows": plain, "nothing": {Allow: true}, "denies": {Reply: exchange.Deny(401, "no")},
		"adds":          {Allow: true, Add: []exchange.Field{{Name: "accept", Value: "text/plain"}}},
		"response":      {Allow: true, ResponseSet: []exchange.Field{vary}},
		"no such name":  {Allow: true, Set: []exchange.Field{{Name: "a b", Value: "c"}}},
		"no such value": {Allow: true, Set: []exchange.Field{{Name: "a", Value: "b\nc"}}},
		"no metadata":   {Allow: true, Metadata: map[string]any{"a": struct{}{}}},
	} {
		prepared := exchange.Prepare(base)
		for edited, edit := range map[string]func(v *exchange.Verdict){
			"as it is":      func(*exchange.Verdict) {},
			"with response": func(v *exchange.Verdict) { v.ResponseSet = []exchange.Field{{Name: "A", Value: "1"}, vary} },
			"bad response":  func(v *exchange.Verdict) { v.ResponseSet = []exchange.Field{{Name: "a", Value: "\x00"}} },
			"one removed":   func(v *exchange.Verdict) { v.Remove = []string{"x-other"} },
			"one more set": func(v *exchange.Verdict) {
				v.Set = append(slices.Clip(v.Set), exchange.Field{Name: "z", Value: "1"})
			},
			"denied": func(v *exchange.Verdict) { *v = exchange.Verdict{Reason: "wrapper"} },
		} {
			for range 2 { // the first prepares, the second uses it
				want, got := base, prepared.Verdict()
				edit(&want)
				edit(&got)
				if diff := cmp.Diff(answer(t, msg, want), answer(t, msg, got), protocmp.Transform()); diff != "" {
					t.Errorf("%s, %s: %s", name, edited, diff)
				}
			}
		}
	}
}

func checkRequest(t *testing.T) string {
	t.Helper()
	msg, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Path: "/", Host: "shop.example", Scheme: "http", Headers: map[string]string{"accept": "text/html"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(msg)
}

func answer(t *testing.T, msg string, v exchange.Verdict) *authv3.CheckResponse {
	t.Helper()
	server := extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(func(context.Context, *exchange.Request) (exchange.Verdict, error) { return v, nil })), quiet)
	out := &authv3.CheckResponse{}
	if err := proto.Unmarshal(server.Decide(t.Context(), msg, nil), out); err != nil {
		t.Fatal(err)
	}
	return out
}
