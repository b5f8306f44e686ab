package sdk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// newRequest is the request as a server would give it to its handler.
func (h *hosted) newRequest() (*http.Request, error) {
	r := h.x.Request
	head, conn := r.Head(), r.Conn()
	target, err := requestURL(&head)
	if err != nil {
		return nil, exchange.Deny(http.StatusBadRequest, "malformed request target")
	}
	out := &http.Request{
		Method: head.Method, URL: target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.Header.HTTP(), Host: head.Authority, RequestURI: head.Path, ContentLength: head.Size, Body: http.NoBody,
	}
	if major, minor, ok := http.ParseHTTPVersion(head.Protocol); ok {
		out.Proto, out.ProtoMajor, out.ProtoMinor = head.Protocol, major, minor
	} else if head.Protocol == "HTTP/2" || head.Protocol == "HTTP/3" {
		out.Proto, out.ProtoMajor, out.ProtoMinor = head.Protocol+".0", int(head.Protocol[5]-'0'), 0
	}
	if conn.Peer.IsValid() {
		out.RemoteAddr = conn.Peer.String()
	}
	if head.Scheme == "https" {
		out.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: conn.ServerName}
	}
	h.target, h.host = target.RequestURI(), head.Authority
	if !r.Body.Empty() && !r.IsUpgrade() {
		r.Body.Limit(h.limit)
		h.body = &hostedBody{hosted: h}
		out.Body = h.body
	}
	return out.WithContext(context.WithValue(h.ctx, hostedKey{}, h)), nil
}

func requestURL(head *exchange.Head) (*url.URL, error) {
	switch {
	case head.Method == http.MethodConnect && head.Path == "":
		return &url.URL{Host: head.Authority}, nil
	case head.Path == "*":
		return &url.URL{Path: "*"}, nil
	}
	return url.ParseRequestURI(head.Path)
}

// framing are the headers that say how long a body is or belong to a connection: the proxy's affair, for which
// a server's handler would not be asked either. What middleware does to them is left out.
var framing = []string{"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Host"}

// editRequest makes the middleware's edits those of the exchange. mu must be held.
func (h *hosted) editRequest(r *http.Request) error {
	x := h.x.Request
	switch {
	case r.Method != x.Method():
		return fmt.Errorf("%w has changed the method", errNextInvalid)
	case r.Host != h.host && !h.x.Filter().MutateAll:
		return fmt.Errorf("%w has changed the host", errNextInvalid)
	case r.Host != h.host:
		x.Header.Set("host", r.Host)
	}
	if target := r.URL.RequestURI(); target != h.target {
		x.SetPath(target, false)
	}
	editHeader(&x.Header, r.Header)
	if h.keepBody || x.Body.Empty() && (r.Body == nil || r.Body == http.NoBody) || x.IsUpgrade() {
		return nil
	}
	return h.editBody(r.Body)
}

// editHeader edits h into what to says.
func editHeader(h *Header, to http.Header) {
	var gone []string
	for name := range h.All() {
		name = http.CanonicalHeaderKey(name)
		if _, ok := to[name]; !ok && !slices.Contains(framing, name) && !slices.Contains(gone, name) {
			gone = append(gone, name)
		}
	}
	for _, name := range gone {
		h.Del(name)
	}
	for name, values := range to {
		if !slices.Contains(framing, name) && !slices.Equal(values, h.Values(name)) {
			h.Set(name, values...)
		}
	}
}

// editBody has the body go through another one that the middleware has put around it, or replaces it.
func (h *hosted) editBody(body io.ReadCloser) error {
	switch {
	case h.body != nil && body == io.ReadCloser(h.body):
		return nil
	case body == nil || body == http.NoBody:
		h.x.Request.Body.Set(nil)
		return nil
	case h.body == nil || h.body.read:
		if h.body != nil {
			h.body.locked = true
			defer func() { h.body.locked = false }()
		}
		data, err := io.ReadAll(io.LimitReader(body, int64(h.limit)+1))
		if err != nil {
			return tooLarge(err)
		}
		if len(data) > h.limit {
			return ErrTooLarge
		}
		if h.body != nil || len(data) > 0 {
			h.x.Request.Body.Set(data)
		}
		return body.Close()
	}
	h.x.Request.Body.Transform(func(dst io.Writer, src io.Reader) error {
		h.body.src = src
		_, err := io.Copy(dst, body)
		return tooLarge(errors.Join(err, body.Close()))
	})
	return nil
}

// tooLarge makes the error of http.MaxBytesReader a verdict.
func tooLarge(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return err
}

// hostedBody is the Body of the middleware's request. Reading it before next holds the request.
type hostedBody struct {
	hosted *hosted
	read   bool
	locked bool      // the reader holds mu
	src    io.Reader // while the body flows
}

// Read implements [io.Reader].
func (b *hostedBody) Read(p []byte) (int, error) {
	if b.src != nil {
		return b.src.Read(p)
	}
	if !b.locked {
		b.hosted.mu.Lock()
		defer b.hosted.mu.Unlock()
	}
	if b.hosted.over {
		return 0, ErrDone
	}
	b.read = true
	n, err := b.hosted.x.Request.Body.Read(p)
	if errors.Is(err, ErrNeeds) {
		b.hosted.fail(err) // whatever the middleware makes of it
	}
	return n, err
}

// Close implements [io.Closer].
func (b *hostedBody) Close() error { return nil }
