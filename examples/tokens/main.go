// Command tokens counts the tokens of a chat completion while its events stream to the client.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

func main() { sdk.Main(sdk.ProcessorFunc(account)) }

func account(ctx context.Context, x *sdk.Exchange) error {
	x.Request.Header.Del("accept-encoding") // events must come plain to be seen
	resp, err := x.Next(ctx, sdk.ObserveBody)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(resp.Header.Get("content-type"), "text/event-stream") {
		return nil
	}
	var tokens, chunks int
	resp.Body.Observe(func(src io.Reader) error {
		for event, err := range body.Events(src, 0) {
			if err != nil {
				return err
			}
			chunks++
			tokens = max(tokens, usage(event.Data))
		}
		return nil
	})
	err = x.Finish(ctx) // each event is on its way to the client as soon as it was seen
	slog.InfoContext(ctx, "used", "key", x.Request.Header.Get("x-api-key-id"), "chunks", chunks, "tokens", tokens, "complete", err == nil)
	return err
}

// usage reads what such APIs put into their last chunk, 0 if it isn't there.
func usage(data string) int {
	var chunk struct {
		Usage struct {
			Total int `json:"total_tokens"`
		} `json:"usage"`
	}
	if json.Unmarshal([]byte(data), &chunk) != nil {
		return 0 // "[DONE]", for one
	}
	return chunk.Usage.Total
}
