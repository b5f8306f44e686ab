package sdk_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"io"
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

// A body that is read is held: the upstream has seen nothing when it is denied.
func ExampleBody_Bytes() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		body, err := x.Request.Body.Bytes(64 << 10)
		if err != nil {
			return err // too large: 413
		}
		if bytes.Contains(body, []byte("DROP TABLE")) {
			return sdk.Deny(http.StatusForbidden, "not here")
		}
		return nil
	}))
}

// Lines of the response are counted as they pass.
func ExampleBody_Observe() {
	account := func(lines int) {}
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx, sdk.ObserveBody)
		if err != nil {
			return err
		}
		lines := 0
		resp.Body.Observe(func(src io.Reader) error {
			scanner := bufio.NewScanner(src)
			for scanner.Scan() {
				lines++
			}
			return scanner.Err()
		})
		err = x.Finish(ctx)
		account(lines)
		return err
	}))
}

// The response goes out compressed.
func ExampleBody_Transform() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx, sdk.EditBody)
		if err != nil || resp.Body.Empty() || resp.Header.Has("content-encoding") {
			return err
		}
		resp.Header.Set("content-encoding", "gzip")
		resp.Body.Transform(func(dst io.Writer, src io.Reader) error {
			zipped := gzip.NewWriter(dst)
			if _, err := io.Copy(zipped, src); err != nil {
				return err
			}
			return zipped.Close()
		})
		return nil
	}))
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
