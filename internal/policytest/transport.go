package policytest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
)

// The transports by which verdicts can be asked for. None: the engine is called.
const (
	ExtAuthz = "extauthz"
	ExtProc  = "extproc"
)

// Over returns what has an authorizer asked by a protocol, with the messages that Envoy sends and the
// answers that it gets; nil calls it as it is. stop ends what runs for it.
func Over(transport string) (wrap func(exchange.Authorizer) exchange.Authorizer, stop func(), err error) {
	switch transport {
	case "":
		return nil, func() {}, nil
	case ExtAuthz:
		return func(a exchange.Authorizer) exchange.Authorizer { return checks{a} }, func() {}, nil
	case ExtProc:
		s, err := startStreams()
		if err != nil {
			return nil, nil, err
		}
		return s.wrap, s.close, nil
	}
	return nil, nil, fmt.Errorf("--transport %s is unknown; use extauthz or extproc", transport)
}

// witness keeps an authorizer's own verdict, for its reason, which no protocol carries.
type witness struct {
	exchange.Authorizer

	reason string
}

// Check implements [exchange.Authorizer].
func (w *witness) Check(ctx context.Context, r *exchange.Request) (exchange.Verdict, error) {
	verdict, err := w.Authorizer.Check(ctx, r)
	w.reason = verdict.Reason
	return verdict, err
}

// checks asks by ext_authz.
type checks struct{ inner exchange.Authorizer }

// Check implements [exchange.Authorizer].
func (c checks) Check(ctx context.Context, r *exchange.Request) (exchange.Verdict, error) {
	message, err := proto.Marshal(checkRequest(r))
	if err != nil {
		return exchange.Verdict{}, err
	}
	inner := &witness{Authorizer: c.inner}
	server := extauthz.NewServer(extauthz.Always(inner), extauthz.WithLogger(slog.New(slog.DiscardHandler)))
	answer := &authv3.CheckResponse{}
	if err := proto.Unmarshal(server.Decide(ctx, string(message), nil), answer); err != nil {
		return exchange.Verdict{}, err
	}
	out := exchange.Verdict{Reason: inner.reason, Metadata: answer.GetDynamicMetadata().AsMap()}
	if denied := answer.GetDeniedResponse(); denied != nil || answer.GetStatus().GetCode() != 0 {
		out.Reply = &exchange.Reply{Code: int(denied.GetStatus().GetCode()), Header: http.Header{}, Body: []byte(denied.GetBody())}
		for _, h := range denied.GetHeaders() {
			out.Reply.Header.Add(h.GetHeader().GetKey(), headerValue(h.GetHeader()))
		}
		return out, nil
	}
	out.Allow, out.Remove = true, answer.GetOkResponse().GetHeadersToRemove()
	out.Set, out.Add = edits(answer.GetOkResponse().GetHeaders())
	set, add := edits(answer.GetOkResponse().GetResponseHeadersToAdd())
	out.ResponseSet = slices.Concat(set, add)
	return out, nil
}

// edits parts header options into those that overwrite and those that add.
func edits(options []*core.HeaderValueOption) (set, add []exchange.Field) {
	for _, o := range options {
		f := exchange.Field{Name: o.GetHeader().GetKey(), Value: headerValue(o.GetHeader())}
		if o.GetAppendAction() == core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD {
			add = append(add, f)
		} else {
			set = append(set, f)
		}
	}
	return set, add
}

// checkRequest is what Envoy's filter sends, with encode_raw_headers.
func checkRequest(r *exchange.Request) *authv3.CheckRequest {
	body, partial := contents(r)
	conn := r.Conn()
	extensions := maps.Collect(r.Extensions)
	if len(body) > 0 || r.Body.Empty() { // else an empty one can't be told from one that isn't sent
		extensions[extauthz.BodyKey] = "buffered"
	}
	lines := headerLines(r)
	if partial {
		lines = append(lines, &core.HeaderValue{Key: "x-envoy-auth-partial-body", RawValue: []byte("true")})
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:            &authv3.AttributeContext_Peer{Address: peerAddress(conn.Peer.Addr().String(), conn.Peer.Port())},
		Destination:       &authv3.AttributeContext_Peer{Address: peerAddress(conn.Destination.Addr().String(), conn.Destination.Port())},
		ContextExtensions: extensions,
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: r.Method(), Path: r.Path(), Host: r.Authority(), Scheme: r.Scheme(), Protocol: r.Head().Protocol, Size: r.Head().Size,
			HeaderMap: &core.HeaderMap{Headers: lines}, RawBody: body,
		}},
	}}
}

// contents reads what of the body an authorizer gets to see.
func contents(r *exchange.Request) (body []byte, partial bool) {
	if r.Head().Size <= 0 {
		return nil, false
	}
	view := r.Body.View()
	body, err := io.ReadAll(&view)
	if len(body) == 0 && err != nil { // the filter buffers none
		return nil, false
	}
	return body, int64(len(body)) < r.Head().Size
}

// headerLines are the request's, with pseudo-headers and the client's address.
func headerLines(r *exchange.Request) []*core.HeaderValue {
	line := func(name, value string) *core.HeaderValue {
		return &core.HeaderValue{Key: strings.ToLower(name), RawValue: []byte(value)}
	}
	lines := []*core.HeaderValue{
		line(":method", r.Method()), line(":authority", r.Authority()), line(":path", r.Path()), line(":scheme", r.Scheme()),
	}
	for name, value := range r.Header.All() {
		if !strings.EqualFold(name, extauthz.ClientIPHeader) { // the client's own is overwritten
			lines = append(lines, line(name, value))
		}
	}
	return append(lines, line(extauthz.ClientIPHeader, r.Conn().Client.String()))
}

func peerAddress(address string, port uint16) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: address, PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}
