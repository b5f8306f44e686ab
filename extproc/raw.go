package extproc

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// RawExchange is the protocol below an Exchange. It lives, and is used, as the Exchange.
type RawExchange struct{ stream *stream }

// Raw is the way out for what an Exchange doesn't express: typed dynamic metadata, say, or a field that is
// newer than this package. It returns nil for an Exchange that no [Server] carries. Messages are those of
// envoy.service.ext_proc.v3, from whatever package of generated code the program uses.
func Raw(x *exchange.Exchange) *RawExchange {
	if s, ok := x.Base().(*stream); ok {
		return &RawExchange{s}
	}
	return nil
}

// Request decodes the ProcessingRequest with the request's headers into a message of that type.
func (r *RawExchange) Request(into proto.Message) error { return r.decode(requestSide, into) }

// Response decodes the ProcessingRequest with the response's headers, after Next.
func (r *RawExchange) Response(into proto.Message) error { return r.decode(responseSide, into) }

func (r *RawExchange) decode(side side, into proto.Message) error {
	if err := named(into, "ProcessingRequest"); err != nil {
		return err
	}
	text := r.stream.first[side]
	if text == "" {
		return errors.New("no headers have come in that direction")
	}
	return proto.Unmarshal([]byte(text), into)
}

// Merge adds the fields of a ProcessingResponse to the next answer. Those that the engine answers for are
// an error: the response itself, mode_override, override_message_timeout, drain and window updates.
func (r *RawExchange) Merge(answer proto.Message) error {
	s := r.stream
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	if err := named(answer, "ProcessingResponse"); err != nil {
		return err
	}
	msg, err := proto.Marshal(answer)
	if err != nil {
		return err
	}
	fields := wire.Read(string(msg))
	for fields.Next() {
		switch num := fields.Tag >> 3; num {
		case 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16:
			return fmt.Errorf("field %d of a ProcessingResponse is the engine's", num)
		}
	}
	s.merged = append(s.merged, msg...) // concatenation is what merging means on the wire
	return nil
}

func named(m proto.Message, want protoreflect.Name) error {
	if name := m.ProtoReflect().Descriptor().FullName(); name != "envoy.service.ext_proc.v3."+protoreflect.FullName(want) {
		return fmt.Errorf("%s is no %s", name, want)
	}
	return nil
}
