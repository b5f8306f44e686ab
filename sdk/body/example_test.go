package body_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

// Two values of a JSON document are rewritten, and nothing else of it changes.
func ExampleRewriteJSON() {
	rewrite, err := body.RewriteJSON(
		body.ReplaceJSON("/customer/iban", []byte(`null`)),
		body.MapJSON("/items/0", 0, func(value []byte) ([]byte, error) {
			return fmt.Appendf(nil, `{"was": %s}`, value), nil
		}),
	)
	if err != nil {
		panic(err)
	}
	document := `{"customer": {"iban": "DE02", "since": 1999}, "items": [1.50, 2]}`
	if err := rewrite(os.Stdout, strings.NewReader(document)); err != nil {
		panic(err)
	}
	// Output: {"customer": {"iban": null, "since": 1999}, "items": [{"was": 1.50}, 2]}
}

// Each event of a stream is seen while it passes.
func ExampleEvents() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx, sdk.ObserveBody)
		if err != nil {
			return err
		}
		n := 0
		resp.Body.Observe(func(src io.Reader) error {
			for event, err := range body.Events(src, 64<<10) {
				if err != nil {
					return err
				}
				n += len(event.Data)
			}
			return nil
		})
		return x.Finish(ctx)
	}))
}

// Events that say nothing are dropped, the others get a name.
func ExampleMapEvents() {
	rename := body.MapEvents(0, func(e body.Event, emit func(body.Event) error) error {
		if e.Data == "" {
			return nil
		}
		e.Type = "news"
		return emit(e)
	})
	if err := rename(os.Stdout, strings.NewReader("data\n\ndata: hello\n\n")); err != nil {
		panic(err)
	}
	// Output:
	// event: news
	// data: hello
}

func ExampleJSONLines() {
	type entry struct{ Level, Msg string }
	log := strings.NewReader("{\"level\":\"info\",\"msg\":\"up\"}\n{\"level\":\"warn\",\"msg\":\"hot\"}\n")
	for e, err := range body.JSONLines[entry](log, 0) {
		if err != nil {
			panic(err)
		}
		fmt.Println(e.Level, e.Msg)
	}
	// Output:
	// info up
	// warn hot
}

// A compressed request is unpacked before it is read, but not to more than a megabyte.
func ExampleDecodeRequest() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		if err := body.DecodeRequest(x.Request, body.Limit{Bytes: 1 << 20}); err != nil {
			return err // 415 if it is compressed in a way that nobody knows
		}
		text, err := x.Request.Body.Bytes(1 << 20) // 413 for a bomb
		if err != nil {
			return err
		}
		x.Request.Header.Set("x-lines", fmt.Sprint(strings.Count(string(text), "\n")))
		return nil
	}))
}

// Whatever the client accepts of br, zstd and gzip.
func ExampleEncodeResponse() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx, sdk.EditBody)
		if err != nil {
			return err
		}
		_, err = body.EncodeResponse(x.Request, resp, body.Compression{})
		return err
	}))
}

// Files of a form are judged while the whole is held: none of it has reached the upstream when one is refused.
func ExampleParts() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		x.Request.Body.Limit(8 << 20)
		for part, err := range body.Parts(&x.Request.Body, x.Request.Header.Get("content-type"), body.PartLimit{Parts: 20}) {
			if err != nil {
				return err
			}
			if strings.HasSuffix(part.FileName(), ".exe") {
				return sdk.Deny(http.StatusUnprocessableEntity, "no programs")
			}
		}
		return nil
	}))
}
