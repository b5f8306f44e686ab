// Package envoy builds Envoy's protos, and is the only place that does: what Gatehouse means by a
// listener, a route or a policy is decided elsewhere and arrives here as plain structs.
//
// Output is deterministic: equal input gives equal bytes.
package envoy

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// marshal can't fail: every message here is built by this package from valid UTF-8.
func marshal(m proto.Message) []byte {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return body
}

func typed(m proto.Message) *anypb.Any {
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: marshal(m)}
}

func resource(name string, m proto.Message) snapshot.Resource {
	return snapshot.NewResource(name, marshal(m))
}

func duration(d time.Duration) *durationpb.Duration { return durationpb.New(d) }

func boolean(b bool) *wrapperspb.BoolValue { return wrapperspb.Bool(b) }

func number(n uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(n) }
