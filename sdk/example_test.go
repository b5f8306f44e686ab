package sdk_test

import (
	"context"
	"net/http"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// The smallest processor: every request gets a header.
func Example() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		x.Request.Header.Set("x-hello", "world")
		return nil
	}))
}

// A processor that looks at both sides of an exchange.
func ExampleExchange_Next() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		if x.Request.Header.Get("x-api-key") == "" {
			return sdk.Deny(http.StatusUnauthorized, "missing API key")
		}
		x.Request.Header.Del("x-api-key") // the upstream needn't know it

		resp, err := x.Next(ctx)
		if err != nil {
			return err
		}
		if resp.Status() == http.StatusNotFound {
			return sdk.Deny(http.StatusNotFound, "no such thing here")
		}
		resp.Header.Set("cache-control", "no-store")
		return nil
	}))
}

// Accounting that the client needn't wait for stands after Finish.
func ExampleExchange_Finish() {
	account := func(user string, status int) {}
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx)
		if err != nil {
			return err
		}
		if err := x.Finish(ctx); err != nil {
			return err
		}
		account(x.Request.Header.Get("x-user"), resp.Status())
		return nil
	}))
}

// A version in the path becomes a header, and the route is chosen by what is left.
func ExampleRequest_SetPath() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		if rest, ok := strings.CutPrefix(x.Request.Path(), "/v2/"); ok {
			x.Request.Header.Set("x-version", "2")
			x.Request.SetPath("/"+rest, true)
		}
		return nil
	}))
}

// Processors nest: the first one's header is on the second one's denial too.
func ExampleChain() {
	cors := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx)
		if err != nil {
			return err
		}
		resp.Header.Set("access-control-allow-origin", "https://app.example")
		return nil
	})
	guard := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		if !x.Request.Header.Has("authorization") {
			return sdk.Deny(http.StatusUnauthorized, "who are you?")
		}
		return nil
	})
	sdk.Main(sdk.Chain(cors, guard))
}

// An authorizer only decides; it is served as ext_authz.
func ExampleAuthorizer() {
	sdk.Main(sdk.AuthorizerFunc(func(ctx context.Context, r *sdk.Request) (sdk.Verdict, error) {
		if key, lines := r.Header.Lookup("x-api-key"); lines != 1 || key != "open sesame" {
			return sdk.Verdict{Reply: sdk.Deny(http.StatusUnauthorized, "who are you?")}, nil
		}
		return sdk.Verdict{
			Allow:  true,
			Set:    []sdk.Field{{Name: "x-user", Value: "ali"}},
			Remove: []string{"x-api-key"},
		}, nil
	}))
}
