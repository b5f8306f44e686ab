// Command compress compresses responses with what the client likes best of br, zstd and gzip.
package main

import (
	"context"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

func main() { sdk.Main(sdk.ProcessorFunc(compress)) }

func compress(ctx context.Context, x *sdk.Exchange) error {
	resp, err := x.Next(ctx, sdk.EditBody)
	if err != nil {
		return err
	}
	_, err = body.EncodeResponse(x.Request, resp, body.Compression{MinSize: 256})
	return err
}
