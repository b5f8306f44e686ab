package body_test

import (
	"context"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

// A whole processor, which hides a value in JSON responses, compressed ones too.
func Example() {
	hide, err := body.RewriteJSON(body.ReplaceJSON("/customer/iban", []byte(`"***"`)))
	if err != nil {
		panic(err)
	}
	sdk.Main(hiding(hide))
}

func hiding(hide body.Func) sdk.Processor {
	return sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		x.Request.Header.Del("range") // a part of a document can't be searched
		body.AcceptKnown(x.Request)   // else the upstream may compress in a way that can't be undone
		resp, err := x.Next(ctx, sdk.EditBody)
		if err != nil {
			return err
		}
		kind, _, _ := strings.Cut(resp.Header.Get("content-type"), ";")
		if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
			return nil // passes as it is
		}
		return body.EditResponse(resp, body.Limit{}, hide)
	})
}
