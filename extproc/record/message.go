package record

import (
	"fmt"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// Received is a copy of what a server's stream has received into m: of the engine's own kind of message, or
// of the generated one.
func Received(m any) (*extprocv3.ProcessingRequest, error) {
	switch m := m.(type) {
	case *wire.Message:
		out := new(extprocv3.ProcessingRequest)
		return out, proto.Unmarshal([]byte(m.Text), out)
	case *extprocv3.ProcessingRequest:
		return proto.CloneOf(m), nil
	}
	return nil, fmt.Errorf("%T is no message of ext_proc", m)
}

// Sent is a copy of what is about to be sent with m.
func Sent(m any) (*extprocv3.ProcessingResponse, error) {
	switch m := m.(type) {
	case *wire.Message:
		out := new(extprocv3.ProcessingResponse)
		return out, proto.Unmarshal(m.Out, out)
	case *extprocv3.ProcessingResponse:
		return proto.CloneOf(m), nil
	}
	return nil, fmt.Errorf("%T is no message of ext_proc", m)
}
