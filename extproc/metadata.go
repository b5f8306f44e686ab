package extproc

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// The kinds of metadata, as fields of config.core.v3.Metadata: maps of Struct, and of Any.
const (
	filterMetadata      = 1<<3 | wire.Len
	typedFilterMetadata = 2<<3 | wire.Len
)

// typedDynamicMetadata is a field of ProcessingResponse: a map of Any.
const typedDynamicMetadata = 13

// SetTypedMetadata emits value as typed dynamic metadata with the next answer to Envoy. Its filter's
// metadata_options must list the namespace under receiving_namespaces.typed, else Envoy drops it without a
// word; where the filter is known not to ([exchange.FilterInfo.Typed]), that is [exchange.ErrNeeds], as is an
// Exchange that no [Server] carries. Other errors are [exchange.ErrEnded], [exchange.ErrDone], and those of
// package proto.
func SetTypedMetadata(x *exchange.Exchange, namespace string, value proto.Message) error {
	s, ok := x.Base().(*stream)
	if !ok {
		return unmet("typed metadata without ext_proc")
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	if s.filter.Described && !slices.Contains(s.filter.Typed, namespace) {
		return s.prevented(unmet("typed metadata namespace " + namespace))
	}
	packed, err := anypb.New(value)
	if err != nil {
		return fmt.Errorf("typed metadata %s: %w", namespace, err)
	}
	text, err := proto.Marshal(packed)
	if err != nil {
		return fmt.Errorf("typed metadata %s: %w", namespace, err)
	}
	out, entry := wire.Open(s.merged, typedDynamicMetadata)
	out = wire.AppendString(out, 1, namespace)
	out = wire.AppendBytes(out, 2, text)
	s.merged = wire.Close(out, entry) // of several entries with one key the last counts
	return nil
}

// TypedMetadata decodes the typed dynamic metadata of a namespace, as it was at the latest message, into value;
// found is false if Envoy forwards none (metadata_options.forwarding_namespaces.typed). An error says that it is
// of another type, or malformed.
func TypedMetadata(x *exchange.Exchange, namespace string, value proto.Message) (found bool, err error) {
	s, ok := x.Base().(*stream)
	if !ok {
		return false, nil
	}
	text, ok := namespaceOf(s.contexts, typedFilterMetadata, namespace)
	if !ok {
		return false, nil
	}
	var packed anypb.Any
	if err := proto.Unmarshal([]byte(text), &packed); err != nil {
		return false, fmt.Errorf("typed metadata %s: %w", namespace, err)
	}
	if err := packed.UnmarshalTo(value); err != nil {
		return false, fmt.Errorf("typed metadata %s: %w", namespace, err)
	}
	return true, nil
}

// readMetadata returns one namespace of a config.core.v3.Metadata, nil if there is none.
func readMetadata(msg, namespace string) map[string]any {
	text, ok := namespaceOf(msg, filterMetadata, namespace)
	fields := map[string]any{}
	if !ok || wire.ReadStruct(fields, text) != nil {
		return nil
	}
	return fields
}

// namespaceOf finds the value of a namespace in one of the maps; the last entry of a key counts.
func namespaceOf(msg string, tag uint64, namespace string) (found string, ok bool) {
	r := wire.Read(msg)
	for r.Next() {
		if r.Tag != tag {
			continue
		}
		if key, value, err := wire.MessageEntry(r.Bytes); err == nil && key == namespace {
			found, ok = value, true
		}
	}
	return found, ok
}
