package extauthz

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// RecomputeHeader is set on an allowed request whose verdict asks for a new choice of the route. The
// filter's clear_route_cache_headers must name it.
const RecomputeHeader = "x-gatehouse-recompute"

// maxValue is Envoy's default limit for all headers of a request together.
const maxValue = 60 << 10

// The reasons why a verdict can't be expressed. They never quote a value, which may be a credential.
var (
	errBadName     = errors.New("not a header name")
	errBadValue    = errors.New("header value has CR, LF or NUL, isn't UTF-8, or is longer than 60 KiB")
	errSetAndGone  = errors.New("header is both set and removed")
	errAllowsReply = errors.New("the verdict allows and has a Reply")
)

// appendAnswer appends the CheckResponse for v, a verdict about r.
func appendAnswer(dst []byte, r *exchange.Request, v *exchange.Verdict) ([]byte, error) {
	var err error
	if v.Allow {
		dst, err = appendOK(dst, r, v)
	} else {
		dst = appendDenied(dst, v.Reply)
	}
	if err != nil || v.Metadata == nil {
		return dst, err
	}
	dst, mark := wire.Open(dst, 4)
	if dst, err = wire.AppendStruct(dst, v.Metadata); err != nil {
		return dst, fmt.Errorf("dynamic metadata: %w", err)
	}
	return wire.Close(dst, mark), nil
}

func appendOK(dst []byte, r *exchange.Request, v *exchange.Verdict) ([]byte, error) {
	if v.Reply != nil {
		return dst, errAllowsReply
	}
	// A status that is present and empty is code OK; an absent one is an answer that says nothing.
	dst = wire.AppendString(dst, 1, "")
	dst, mark := wire.Open(dst, 3)
	dst, err := appendFields(dst, 2, v.Set, func(string) bool { return false })
	if err != nil {
		return dst, err
	}
	// Envoy drops a value to append to a header that the request doesn't have.
	dst, err = appendFields(dst, 2, v.Add, func(name string) bool { return named(v.Set, name) || r.Header.Has(name) })
	if err != nil {
		return dst, err
	}
	if v.RecomputeRoute {
		dst = wire.AppendHeader(dst, 2, wire.Value, RecomputeHeader, "1", wire.Overwrite)
	}
	for _, name := range v.Remove {
		if !validName(name) {
			return dst, errBadName
		}
		// Envoy removes last: what an authorizer set would be gone.
		if named(v.Set, name) || named(v.Add, name) {
			return dst, fmt.Errorf("%w: %s", errSetAndGone, name)
		}
		dst = wire.AppendString(dst, 5, name)
	}
	// Vary is a list to which every hop adds (RFC 9110 section 12.5.5): one that replaced the upstream's
	// would let caches mix up its variants.
	if dst, err = appendFields(dst, 6, v.ResponseSet, func(name string) bool { return strings.EqualFold(name, "vary") }); err != nil {
		return dst, err
	}
	return wire.Close(dst, mark), nil
}

// appendFields appends lines as field num. The first line of a name replaces what there is unless keep
// says otherwise; further lines are added to it.
func appendFields(dst []byte, num wire.Num, fields []exchange.Field, keep func(name string) bool) ([]byte, error) {
	for i, f := range fields {
		if !validName(f.Name) {
			return dst, errBadName
		}
		if !validValue(f.Value) {
			return dst, fmt.Errorf("%s: %w", f.Name, errBadValue)
		}
		action := uint64(wire.Overwrite)
		if named(fields[:i], f.Name) || keep(f.Name) {
			action = wire.Append
		}
		dst = wire.AppendHeader(dst, num, wire.Value, strings.ToLower(f.Name), f.Value, action)
	}
	return dst, nil
}

// appendDenied can't fail: what of a reply can't be expressed is left out, the denial stands.
func appendDenied(dst []byte, reply *exchange.Reply) []byte {
	if reply == nil {
		reply = &exchange.Reply{Code: http.StatusForbidden, Body: []byte("access denied")}
	}
	dst, status := wire.Open(dst, 1)
	dst = wire.AppendVarint(dst, 1, uint64(grpcCode(reply)))
	dst = wire.Close(dst, status)
	dst, mark := wire.Open(dst, 2)
	dst, code := wire.Open(dst, 1)
	dst = wire.AppendVarint(dst, 1, uint64(reply.Status()))
	dst = wire.Close(dst, code)
	for _, name := range slices.Sorted(maps.Keys(reply.Header)) {
		action := uint64(wire.Overwrite)
		for _, value := range reply.Header[name] {
			if validName(name) && name[0] != ':' && validValue(value) {
				dst = wire.AppendHeader(dst, 2, wire.Value, strings.ToLower(name), value, action)
				action = wire.Append
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

func named(fields []exchange.Field, name string) bool {
	return slices.ContainsFunc(fields, func(f exchange.Field) bool { return strings.EqualFold(f.Name, name) })
}

// validName accepts a token, with a colon before it for the pseudo-headers that Envoy lets an
// authorizer change.
func validName(name string) bool {
	return exchange.IsToken(strings.TrimPrefix(name, ":"))
}

func validValue(value string) bool {
	return len(value) <= maxValue && !strings.ContainsAny(value, "\r\n\x00") && utf8.ValidString(value)
}
