// Command redact takes personal data out of JSON responses as they pass.
package main

import (
	"context"
	"mime"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

var hidden = []byte(`"[hidden]"`)

func main() {
	redact, err := body.RewriteJSON(
		body.ReplaceJSON("/customer/iban", hidden),
		body.ReplaceJSON("/customer/email", hidden),
		body.MapJSON("/customer/card", 64, lastFour),
	)
	if err != nil {
		panic(err) // of constant pointers
	}
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		x.Request.Header.Del("range") // a part of a document can't be read, so nobody gets one
		body.AcceptKnown(x.Request)   // nor may it come compressed in a way that isn't known here
		resp, err := x.Next(ctx, sdk.EditBody)
		if err != nil {
			return err
		}
		if kind, _, _ := mime.ParseMediaType(resp.Header.Get("content-type")); kind != "application/json" {
			return nil
		}
		return body.EditResponse(resp, body.Limit{}, redact) // also if it is compressed
	}))
}

// lastFour keeps a card recognisable for its owner.
func lastFour(value []byte) ([]byte, error) {
	if len(value) < len(`"1234567890"`) || value[0] != '"' {
		return hidden, nil
	}
	return append([]byte(`"****`), value[len(value)-5:]...), nil
}
