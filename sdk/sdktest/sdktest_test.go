package sdktest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// guard is the processor of the package's documentation.
func guard(ctx context.Context, x *sdk.Exchange) error {
	if x.Request.Header.Get("x-api-key") == "" {
		return sdk.Deny(http.StatusUnauthorized, "missing API key")
	}
	x.Request.Header.Set("x-checked", "yes")
	resp, err := x.Next(ctx)
	if err != nil {
		return err
	}
	resp.Header.Set("x-served-by", "guard")
	return nil
}

// ExampleRun is a test as a processor's author writes it.
func ExampleRun() {
	test := func(t *testing.T) {
		r := sdktest.Run(t, sdk.ProcessorFunc(guard), sdktest.Recommended(), sdktest.Request{
			Header: http.Header{"x-api-key": {"secret"}},
			Body:   []string{"one,", "two"},
		})
		if r.Client.Status != http.StatusOK || r.Upstream.Header.Get("x-checked") != "yes" {
			t.Error(r)
		}
	}
	_ = test
}

func TestTheDocumentedTest(t *testing.T) {
	t.Parallel()
	r := sdktest.Run(t, sdk.ProcessorFunc(guard), sdktest.Recommended(), sdktest.Request{
		Header: http.Header{"x-api-key": {"secret"}}, Body: []string{"one,", "two"},
	})
	if r.Client.Status != http.StatusOK || r.Upstream.Header.Get("x-checked") != "yes" || r.Upstream.Body != "one,two" || r.Client.Header.Get("x-served-by") != "guard" {
		t.Error(r)
	}
	denied := sdktest.Run(t, sdk.ProcessorFunc(guard), sdktest.Recommended(), sdktest.Request{})
	if denied.Client.Status != http.StatusUnauthorized || denied.Upstream != nil || denied.Details != "processor" {
		t.Error(denied, denied.Details)
	}
	if got := denied.String(); !strings.Contains(got, "upstream: nothing") || !strings.Contains(got, `401`) {
		t.Error(got)
	}
}

// TestDiffTellsResultsApart in each respect that it compares.
func TestDiffTellsResultsApart(t *testing.T) {
	t.Parallel()
	base := func() (sdktest.Filter, sdktest.Request) {
		return sdktest.Filter{MetadataOptions: sdktest.MetadataOptions{Receive: []string{"mine"}}}, sdktest.Request{Header: http.Header{"X-A": {"1"}}, Body: []string{"one"}, Upstream: sdktest.Response{Body: []string{"two"}}}
	}
	giving := func(value string) any {
		return sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			if err := x.SetMetadata("mine", "k", value); err != nil {
				return err
			}
			_, err := x.Next(ctx)
			return err
		})
	}
	f, r := base()
	first := sdktest.Run(t, giving("v"), f, r)
	if again := sdktest.Run(t, giving("v"), f, r); len(sdktest.Diff(first, again)) > 0 {
		t.Errorf("twice the same: %v", sdktest.Diff(first, again))
	}
	for what, change := range map[string]func(*any, *sdktest.Filter, *sdktest.Request){
		"upstream":         func(_ *any, _ *sdktest.Filter, r *sdktest.Request) { r.Path = "/other" },
		"client":           func(_ *any, _ *sdktest.Filter, r *sdktest.Request) { r.Upstream.Body = []string{"three"} },
		"details":          func(p *any, _ *sdktest.Filter, _ *sdktest.Request) { *p = sdk.ProcessorFunc(guard) },
		"stream":           func(_ *any, f *sdktest.Filter, _ *sdktest.Request) { f.Mode.RequestBody = sdktest.Streamed },
		"message":          func(_ *any, f *sdktest.Filter, _ *sdktest.Request) { f.DisallowedHeaders = []string{"x-a"} },
		"metadata mine":    func(p *any, _ *sdktest.Filter, _ *sdktest.Request) { *p = giving("w") },
		"stream_msgs_sent": func(_ *any, f *sdktest.Filter, _ *sdktest.Request) { f.Mode.ResponseBody = sdktest.Buffered },
		"spurious_msgs_received": func(p *any, _ *sdktest.Filter, _ *sdktest.Request) {
			*p = script{"request_headers": say(&outgoing{})}.processor()
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f, r := base()
			processor := giving("v")
			change(&processor, &f, &r)
			all := strings.Join(sdktest.Diff(first, sdktest.Run(t, processor, f, r)), "\n")
			if !strings.Contains("\n"+all, "\n"+what+": ") {
				t.Errorf("differences: %q", all)
			}
		})
	}
}
