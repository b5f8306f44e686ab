package sdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// A MiddlewareOption changes what [Middleware] or [Handler] returns.
type MiddlewareOption interface{ applyMiddleware(*middleware) }

type middlewareOption func(*middleware)

func (o middlewareOption) applyMiddleware(m *middleware) { o(m) }

// ResponseHeadersOnly keeps the response's body from middleware that passes on another ResponseWriter
// only to look at status and headers. The writer sees no bytes; if it would have changed some, the
// response is wrong.
func ResponseHeadersOnly() MiddlewareOption {
	return middlewareOption(func(m *middleware) { m.headersOnly = true })
}

// KeepRequestBody ignores that middleware passes on another Body, for those that only look at it.
func KeepRequestBody() MiddlewareOption {
	return middlewareOption(func(m *middleware) { m.keepBody = true })
}

// HoldLimit bounds, in bytes, what is held of a body: of the request's when it is read before next is
// called, of the response's until its headers are written. The default is [exchange.DefaultBodyLimit].
func HoldLimit(n int) MiddlewareOption { return middlewareOption(func(m *middleware) { m.limit = n }) }

// Middleware runs net/http middleware as a Processor: its next is the upstream. What of the bodies it
// needs is found out for each request at the moment it calls next, which is before the request leaves:
//
//   - It passes on another ResponseWriter: the response's body goes through that. The response's headers
//     are held until the writer calls WriteHeader, so the filter must give that body in FULL_DUPLEX_STREAMED
//     or BUFFERED, or allow the override.
//   - It passes on the ResponseWriter that it was given: only headers. What it does to w.Header(), before
//     and after next, is done to the response's headers, in place of the upstream's value; Vary and
//     Set-Cookie are added to.
//   - It passes on another Body: the request's body goes through that, or, if it has been read already, is
//     replaced by it. Reading the Body without replacing it holds the request, which then goes on whole.
//   - It doesn't call next: what it writes is the reply, streamed where that is possible.
//
// A need that the filter's configuration forbids is the failure verdict, never a silent pass. So is what
// can't be done: another method, another host or an edit of x-envoy-* unless the filter is known to allow it
// ([FilterInfo].MutateAll), a write to the response after next without another writer.
// What middleware does to Content-Length, Host lines and the headers of a connection (Connection, Keep-Alive,
// Proxy-Connection, Transfer-Encoding, Upgrade) is left out, as these are the proxy's: a copied header is none
// of a processor's wishes.
//
// Of what it needs only the response's headers are declared, as the rest shows when a request comes: where a
// middleware is known to wrap bodies, [Declare] has a filter that forbids it found at the first exchange.
//
// mw is called once; what it returns serves concurrently. Differences from a server: 1xx from the
// middleware are dropped, Flush does nothing to a response that passes, Hijack isn't there. An upgrade
// (WebSocket) has no bodies. Without another writer, next returns when the response's headers have come.
// RemoteAddr is empty unless the filter sends the attribute source.address. A changed URL changes the path
// without choosing the route again. Of what runs after next returned in a goroutine of the middleware's,
// nothing has an effect.
func Middleware(mw func(http.Handler) http.Handler, opts ...MiddlewareOption) Processor {
	m := &middleware{limit: exchange.DefaultBodyLimit}
	for _, o := range opts {
		o.applyMiddleware(m)
	}
	m.handler = mw(upstream{})
	return m
}

// Handler answers every request from h, as [Middleware] that never calls next.
func Handler(h http.Handler, opts ...MiddlewareOption) Processor {
	return exchange.Declare(Needs{Reply: true}, Middleware(func(http.Handler) http.Handler { return h }, opts...))
}

// Needs implements [NeedsProcessor]: middleware writes to a response's headers, for all that is known of it.
// What else it needs it shows by what it does; [Declare] says it before.
func (m *middleware) Needs() Needs { return Needs{ResponseHeaders: true} }

type middleware struct {
	handler     http.Handler
	headersOnly bool
	keepBody    bool
	limit       int
}

// Process implements [Processor].
func (m *middleware) Process(ctx context.Context, x *Exchange) error {
	h := &hosted{middleware: m, x: x, ctx: ctx}
	h.writer = newHostedWriter(h)
	r, err := h.newRequest()
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned { // it panics: nothing may go on in the background
			h.abort()
		}
	}()
	m.handler.ServeHTTP(h.writer, r)
	returned = true
	return h.end()
}

// hosted is one exchange in the middleware. Middleware may call next in a goroutine of its own, as
// http.TimeoutHandler does, and go on meanwhile: mu is held by whoever uses the Exchange.
type hosted struct {
	*middleware

	x      *Exchange
	ctx    context.Context
	body   *hostedBody
	writer *hostedWriter
	target string // what the URL is at first
	host   string

	mu       sync.Mutex
	over     bool // Process is about to return
	called   bool // next was
	nextCtx  context.Context
	response *Response
	wanted   bool     // the response's body may be edited
	other    bool     // next was given another writer, and the response has a body for it
	whole    bool     // all of the response's body has been held
	conduit  *conduit // once the response flows
	err      error    // what stays the verdict
	gone     error    // the end of next's context
}

// hostedKey is that of the exchange in a request's context.
type hostedKey struct{}

// upstream is what middleware calls next.
type upstream struct{}

// ServeHTTP implements [http.Handler].
func (upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, ok := r.Context().Value(hostedKey{}).(*hosted)
	if !ok {
		// The middleware has made a context of its own.
		http.Error(w, "processor unavailable", http.StatusServiceUnavailable)
		return
	}
	h.next(w, r)
}

var errNextInvalid = fmt.Errorf("%w: middleware", exchange.ErrNeeds)

// fail notes what stays the verdict. mu must be held.
func (h *hosted) fail(err error) {
	if h.err == nil {
		h.err = err
	}
}

// next releases the request and brings the response's headers, and with another writer the body.
func (h *hosted) next(w http.ResponseWriter, r *http.Request) {
	if resp := h.headers(w, r); resp != nil && w != http.ResponseWriter(h.writer) {
		h.deliver(w, resp)
	}
}

// headers is next up to the response's headers, which are in w.Header() when it returns.
func (h *hosted) headers(w http.ResponseWriter, r *http.Request) *Response {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.over:
		return nil
	case h.called:
		h.fail(ErrNextTwice)
		return nil
	case h.writer.begun():
		h.fail(fmt.Errorf("%w has answered and called next", errNextInvalid))
		return nil
	}
	h.called, h.nextCtx = true, r.Context()
	if err := h.editRequest(r); err != nil {
		h.fail(err)
		return nil
	}
	var want Want
	h.wanted = w != http.ResponseWriter(h.writer) && !h.headersOnly && !h.x.Request.IsUpgrade() && r.Method != http.MethodHead
	if h.wanted {
		want = EditBody
	}
	resp, err := h.x.Next(r.Context(), want)
	if err != nil {
		if ctxErr := r.Context().Err(); ctxErr != nil && errors.Is(err, ctxErr) {
			h.gone = err // the middleware may answer in place of the upstream
		} else {
			h.fail(err)
		}
		return nil
	}
	h.response = resp
	h.other = h.wanted && !resp.Body.Empty()
	load(w.Header(), &resp.Header)
	if w == http.ResponseWriter(h.writer) {
		h.writer.pass()
	}
	return resp
}

// load puts the upstream's headers among those that the middleware has set before, which stand.
func load(header http.Header, upstream *Header) {
	added := http.Header{}
	for _, name := range []string{"Vary", "Set-Cookie"} {
		if values := header[name]; len(values) > 0 {
			added[name] = values
			delete(header, name)
		}
	}
	ours := map[string]bool{}
	for name := range header {
		ours[name] = true
	}
	for name, value := range upstream.All() {
		if name = http.CanonicalHeaderKey(name); !ours[name] {
			header[name] = append(header[name], value)
		}
	}
	for name, values := range added {
		header[name] = append(header[name], values...)
	}
}
