package main

import (
	"net/http"
	"net/netip"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Protect lets a handler see only what the authorizer allows, with the headers that the verdict sets and
// without those that it takes away. An authorizer that has no answer denies.
func Protect(authorizer exchange.Authorizer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verdict, err := authorizer.Check(r.Context(), view(r))
		if err != nil {
			verdict = exchange.Verdict{Reply: exchange.Deny(http.StatusServiceUnavailable, "authorization unavailable")}
		}
		if !verdict.Allow {
			deny(w, verdict.Reply)
			return
		}
		// Removals come first: a name to set is never among them, but its variants are.
		for _, name := range verdict.Remove {
			r.Header.Del(name)
		}
		for _, f := range verdict.Set {
			r.Header.Set(f.Name, f.Value)
		}
		for _, f := range verdict.Add {
			r.Header.Add(f.Name, f.Value)
		}
		for _, f := range verdict.ResponseSet {
			w.Header().Set(f.Name, f.Value)
		}
		next.ServeHTTP(w, r)
	})
}

// view is the request as a policy reads it. The path is the client's own text: a policy that goes by paths
// refuses one that others may read differently. The body stays unread, and a policy that needs it denies.
func view(r *http.Request) *exchange.Request {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	head := exchange.Head{
		Method: r.Method, Authority: r.Host, Scheme: scheme, Path: r.RequestURI, Protocol: r.Proto, Size: r.ContentLength,
	}
	var fields []exchange.Field
	for name, values := range r.Header {
		for _, value := range values {
			fields = append(fields, exchange.Field{Name: name, Value: value})
		}
	}
	var conn exchange.Conn
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		conn.Peer, conn.Client = peer, peer.Addr().Unmap()
	}
	body := exchange.Body{}
	if r.ContentLength == 0 {
		body = exchange.BufferedBody(nil, false)
	}
	return exchange.NewRequest(head, conn, exchange.NewHeader(fields...), body, nil)
}

func deny(w http.ResponseWriter, reply *exchange.Reply) {
	if reply == nil {
		reply = exchange.Deny(http.StatusForbidden, "forbidden")
	}
	for name, values := range reply.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(reply.Status())
	_, _ = w.Write(reply.Body) // a client that is gone needs no answer
}
