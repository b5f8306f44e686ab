package sdk_test

import (
	"context"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// still is a host whose upstream answers at once.
type still struct {
	recorder

	resp sdk.Response
}

func (s *still) Next(context.Context, sdk.Want) (*sdk.Response, error) { return &s.resp, nil }
func (s *still) Finish(context.Context) error                          { return nil }

// BenchmarkChain is a chain of processors that edit both ways, over a host that costs nothing.
func BenchmarkChain(b *testing.B) {
	both := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		x.Request.Header.Set("x-user", "ada")
		resp, err := x.Next(ctx)
		if err == nil {
			resp.Header.Set("x-served-by", "me")
		}
		return err
	})
	leaves := sdk.ProcessorFunc(func(_ context.Context, x *sdk.Exchange) error {
		x.Request.Header.Set("x-user", "ada")
		return nil
	})
	for name, p := range map[string]sdk.Processor{
		"1": both, "2": sdk.Chain(both, both), "4": sdk.Chain(both, both, both, both), "4 that leave": sdk.Chain(leaves, leaves, leaves, leaves),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := exchange.NewRequest(exchange.Head{}, exchange.Conn{}, sdk.Header{}, sdk.Body{}, nil)
				if err := p.Process(b.Context(), exchange.NewExchange(r, new(still))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
