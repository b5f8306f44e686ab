package exchange

import (
	"context"
	"net/http"
)

// An Authorizer decides about requests. Check is called concurrently. An error, like the zero Verdict,
// denies.
type Authorizer interface {
	Check(ctx context.Context, r *Request) (Verdict, error)
}

// AuthorizerFunc makes a function an [Authorizer].
type AuthorizerFunc func(ctx context.Context, r *Request) (Verdict, error)

// Check calls f.
func (f AuthorizerFunc) Check(ctx context.Context, r *Request) (Verdict, error) { return f(ctx, r) }

// Verdict is an Authorizer's decision. The zero Verdict denies with 403. Its slices and its map may be shared
// with other requests' verdicts: a wrapper replaces them, and changes nothing in place.
type Verdict struct {
	Allow bool
	// Reply is what a denied client gets; nil is a plain 403.
	Reply *Reply
	// Set overwrites, Add appends request headers on their way to the upstream; Remove deletes. A name
	// in Set or Add must not stand in Remove: Envoy removes last.
	Set, Add []Field
	Remove   []string
	// ResponseSet overwrites headers of the response that an allowed request gets, several lines of a name
	// by one of their values joined by commas; Vary and Set-Cookie are added to the upstream's.
	ResponseSet []Field
	// Metadata is emitted as dynamic metadata: strings, float64s, bools, nil, []any and map[string]any
	// of these.
	Metadata map[string]any
	// RecomputeRoute asks the proxy to choose the route again with the headers as changed.
	RecomputeRoute bool
	// Reason is for logs and metrics: short, constant per cause, without any credential.
	Reason string

	prepared *Prepared
}

// Reply is a response in place of the upstream's. As an error it ends a Processor with that answer.
type Reply struct {
	// Code is the HTTP status; below 200 or above 599 becomes 500.
	Code int
	// Header is sent but for what a proxy writes by itself or ignores: Content-Length, the headers of a
	// connection, and x-envoy-* unless the filter is known to allow those ([FilterInfo.MutateAll]).
	Header http.Header
	Body   []byte
	// GRPC is the grpc-status for gRPC requests; nil: derived from Code.
	GRPC *uint32
	// Detail goes to the proxy's %RESPONSE_CODE_DETAILS%.
	Detail string
	// Cause is logged, never sent.
	Cause error
}

// Deny is the answer code with a message that clients may read.
func Deny(code int, publicMsg string) *Reply { return &Reply{Code: code, Body: []byte(publicMsg)} }

// Error gives the status and the cause; it isn't sent to anybody.
func (r *Reply) Error() string {
	if r == nil {
		return "nil reply"
	}
	text := "reply " + http.StatusText(r.Status())
	if r.Cause != nil {
		text += ": " + r.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (r *Reply) Unwrap() error {
	// A nil *Reply becomes a non-nil error all too easily, and hosts must live with it.
	if r == nil {
		return nil
	}
	return r.Cause
}

// Status returns Code, or 500 where Code is no final status.
func (r *Reply) Status() int {
	if r.Code < 200 || r.Code > 599 {
		return http.StatusInternalServerError
	}
	return r.Code
}
