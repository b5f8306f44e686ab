package extproc_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// TestTheProtocolCanBeReached: what came, and fields to send that the engine knows nothing of.
func TestTheProtocolCanBeReached(t *testing.T) {
	t.Parallel()
	g := start(t, filter("NONE"), http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
		raw := extproc.Raw(x)
		var in extprocv3.ProcessingRequest
		if raw.Response(&in) == nil || raw.Request(new(extprocv3.ProcessingResponse)) == nil {
			return errors.New("a message that can't be had was had")
		}
		if err := raw.Request(&in); err != nil {
			return err
		}
		if in.GetProtocolConfig() == nil || len(in.GetRequestHeaders().GetHeaders().GetHeaders()) == 0 {
			return errors.New("not what Envoy sent")
		}
		for _, m := range []proto.Message{
			&extprocv3.ProcessingRequest{},
			&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{}},
			&extprocv3.ProcessingResponse{OverrideMessageTimeout: durationpb.New(time.Second)},
			&extprocv3.ProcessingResponse{RequestDrainRequests: true},
		} {
			if raw.Merge(m) == nil {
				return errors.New("what is the engine's was merged")
			}
		}
		seal, err := structpb.NewStruct(map[string]any{"gatehouse": map[string]any{"seal": x.Request.Header.Get("x-seal")}})
		if err != nil {
			return err
		}
		if err := raw.Merge(&extprocv3.ProcessingResponse{DynamicMetadata: seal}); err != nil {
			return err
		}
		if _, err := x.Next(ctx); err != nil {
			return err
		}
		return raw.Response(&in)
	})
	for seal, want := range map[string]int{"right": http.StatusOK, "wrong": http.StatusForbidden} {
		if answer, _ := g.get(t, "/sealed", "x-seal", seal); answer.StatusCode != want {
			t.Errorf("%s: %d", seal, answer.StatusCode)
		}
	}
}
