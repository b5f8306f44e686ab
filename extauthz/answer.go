package extauthz

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/verdict"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// RecomputeHeader is set on an allowed request whose verdict asks for a new choice of the route. The
// filter's clear_route_cache_headers must name it.
const RecomputeHeader = "x-gatehouse-recompute"

// appendAnswer appends the CheckResponse for v, a verdict about r.
func appendAnswer(dst []byte, r *exchange.Request, v *exchange.Verdict) ([]byte, error) {
	if p := v.Prepared(); p != nil && v.Allow && len(v.Add) == 0 {
		if form, ok := p.Form(formOf).(*form); ok {
			return form.append(dst, v)
		}
	}
	if err := verdict.Check(v); err != nil {
		return dst, err
	}
	if v.Allow {
		dst = appendOK(dst, r, v)
	} else {
		dst = appendDenied(dst, v.Reply)
	}
	return appendMetadata(dst, v.Metadata)
}

func appendMetadata(dst []byte, fields map[string]any) ([]byte, error) {
	if fields == nil {
		return dst, nil
	}
	dst, mark := wire.Open(dst, 4)
	dst, err := wire.AppendStruct(dst, fields)
	if err != nil {
		return dst, fmt.Errorf("dynamic metadata: %w", err)
	}
	return wire.Close(dst, mark), nil
}

// form is what is the same in all answers of a prepared verdict that allows and adds no header: the
// OkHttpResponse without its response headers, and the metadata.
type form struct {
	ok, metadata []byte
	err          error // that of every answer
}

func formOf(v *exchange.Verdict) any {
	own := *v
	own.ResponseSet = nil // each answer has its own
	f := &form{err: verdict.Check(&own)}
	if f.err == nil {
		room := make([]byte, 0, 2<<10) // what is kept is as long as it needs to be
		f.ok = bytes.Clone(appendEdits(room, nil, &own))
		var metadata []byte
		metadata, f.err = appendMetadata(room, own.Metadata)
		f.metadata = bytes.Clone(metadata)
	}
	return f
}

func (f *form) append(dst []byte, v *exchange.Verdict) ([]byte, error) {
	if f.err != nil {
		return dst, f.err
	}
	if err := verdict.Check(&exchange.Verdict{Allow: true, ResponseSet: v.ResponseSet}); err != nil {
		return dst, err
	}
	const others = 256 // bytes that the rest of an answer seldom exceeds
	dst = slices.Grow(dst, len(f.ok)+len(f.metadata)+others)
	dst = wire.AppendString(dst, 1, "")
	dst, mark := wire.Open(dst, 3)
	dst = append(dst, f.ok...)
	dst = appendResponseHeaders(dst, v.ResponseSet)
	return append(wire.Close(dst, mark), f.metadata...), nil
}

func appendOK(dst []byte, r *exchange.Request, v *exchange.Verdict) []byte {
	// A status that is present and empty is code OK; an absent one is an answer that says nothing.
	dst = wire.AppendString(dst, 1, "")
	dst, mark := wire.Open(dst, 3)
	dst = appendEdits(dst, r, v)
	dst = appendResponseHeaders(dst, v.ResponseSet)
	return wire.Close(dst, mark)
}

// appendEdits appends the fields of an OkHttpResponse about the request. r is read only where v adds.
func appendEdits(dst []byte, r *exchange.Request, v *exchange.Verdict) []byte {
	dst = appendFields(dst, 2, v.Set, func(i int) bool { return verdict.Named(v.Set[:i], v.Set[i].Name) })
	// Envoy drops a value to append to a header that the request doesn't have.
	dst = appendFields(dst, 2, v.Add, func(i int) bool {
		name := v.Add[i].Name
		return verdict.Named(v.Set, name) || r.Header.Has(name) || verdict.Named(v.Add[:i], name)
	})
	if v.RecomputeRoute {
		dst = wire.AppendHeader(dst, 2, wire.Value, RecomputeHeader, "1", wire.Overwrite)
	}
	for _, name := range v.Remove {
		dst = wire.AppendString(dst, 5, name)
	}
	return dst
}

func appendResponseHeaders(dst []byte, fields []exchange.Field) []byte {
	for f, add := range verdict.ResponseLines(fields) {
		action := uint64(wire.Overwrite)
		if add {
			action = wire.Append
		}
		dst = wire.AppendHeader(dst, 6, wire.Value, strings.ToLower(f.Name), f.Value, action)
	}
	return dst
}

// appendFields appends lines as field num, those for which adds is true to what there is, others in its
// place.
func appendFields(dst []byte, num wire.Num, fields []exchange.Field, adds func(i int) bool) []byte {
	for i, f := range fields {
		action := uint64(wire.Overwrite)
		if adds(i) {
			action = wire.Append
		}
		dst = wire.AppendHeader(dst, num, wire.Value, strings.ToLower(f.Name), f.Value, action)
	}
	return dst
}

// appendDenied can't fail: what of a reply can't be expressed is left out, the denial stands.
func appendDenied(dst []byte, reply *exchange.Reply) []byte {
	if reply == nil {
		reply = verdict.Forbidden()
	}
	dst, status := wire.Open(dst, 1)
	dst = wire.AppendVarint(dst, 1, uint64(grpcCode(reply)))
	dst = wire.Close(dst, status)
	dst, mark := wire.Open(dst, 2)
	dst, code := wire.Open(dst, 1)
	dst = wire.AppendVarint(dst, 1, uint64(reply.Status()))
	dst = wire.Close(dst, code)
	for _, name := range slices.Sorted(maps.Keys(reply.Header)) {
		for _, value := range reply.Header[name] {
			if verdict.ValidName(name) && name[0] != ':' && verdict.ValidValue(value) {
				// Of a denial Envoy sends all lines that overwrite, also those of one name, and none that append.
				dst = wire.AppendHeader(dst, 2, wire.Value, strings.ToLower(name), value, wire.Overwrite)
			}
		}
	}
	if len(reply.Body) > 0 {
		dst = wire.AppendString(dst, 3, strings.ToValidUTF8(string(reply.Body), "\uFFFD"))
	}
	return wire.Close(dst, mark)
}

// grpcCode is the CheckResponse's status: anything but OK denies. What a gRPC caller gets Envoy derives
// from the HTTP status alone; this code is for other clients of the protocol.
func grpcCode(reply *exchange.Reply) codes.Code {
	if reply.GRPC != nil && *reply.GRPC != 0 {
		return codes.Code(*reply.GRPC)
	}
	switch reply.Status() {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	default:
		return codes.PermissionDenied
	}
}
