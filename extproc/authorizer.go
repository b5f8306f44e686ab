package extproc

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/verdict"
)

// DefaultNamespace is where a verdict's metadata goes without [WithNamespace].
const DefaultNamespace = "gatehouse"

// An AuthorizerOption changes what [Authorize] returns.
type AuthorizerOption interface{ applyAuthorizer(*authorizer) }

type authorizerOption func(*authorizer)

func (o authorizerOption) applyAuthorizer(a *authorizer) { o(a) }

// OnVerdict calls observe with every verdict just before it is sent, concurrently, and the time it took.
// What stands in for a failed authorizer is a verdict too, with a reason such as [exchange.ReasonError].
// observe must not keep the request or edit it; the answer waits for it. Where the option is given several
// times, all are called.
func OnVerdict(observe func(ctx context.Context, r *exchange.Request, v exchange.Verdict, took time.Duration)) AuthorizerOption {
	return authorizerOption(func(a *authorizer) { a.decider.Tell(observe) })
}

// OnCheck calls begin with every request before its authorizer is chosen, concurrently. The check and the
// observers of [OnVerdict] run in the context that it returns: ctx with a span, say. begin must
// not keep the request or edit it; the answer waits for it, and a panic of it changes nothing. Where the option is
// given several times, each gets the context of the one before.
func OnCheck(begin func(ctx context.Context, r *exchange.Request) context.Context) AuthorizerOption {
	return authorizerOption(func(a *authorizer) { a.decider.Before(begin) })
}

// WithNamespace sets the namespace of dynamic metadata that [exchange.Verdict.Metadata] goes to; the
// filter's metadata_options must list it under receiving_namespaces.untyped. The default is
// [DefaultNamespace]. With the option a filter that is known not to list it fails from the first exchange on.
func WithNamespace(namespace string) AuthorizerOption {
	return authorizerOption(func(a *authorizer) { a.namespace, a.named = namespace, true })
}

// Authorize returns a Processor that has each request decided by the Authorizer that choose returns for
// it; nil denies with 503. choose is called concurrently and should go by [exchange.Request.Extension],
// here the stream's initial metadata (ExtProcOverrides.grpc_initial_metadata of a route), never by what
// the client sent. Keys that begin with "gatehouse." may also be attributes of those names. To serve it:
//
//	extproc.NewServer(extproc.Authorize(choose, extproc.OnVerdict(observe))).Register(server)
//
// An authorizer's verdicts have the same outcome as by ext_authz (package extauthz): the zero Verdict
// denies with 403, errors, panics, and verdicts that can't be expressed deny with 503, and a response's
// headers are edited when the response comes. It may stand in a chain with other processors.
//
// What differs: a body is read by holding it, where the filter's modes allow that, and is not cut by the
// filter. Several values of a header reach the upstream as lines of their own. [exchange.Reply.GRPC] and
// Detail count. Metadata goes to the namespace of [WithNamespace].
//
// The filter must send request headers, response headers too if verdicts have a ResponseSet, and must
// not be in observability mode. Connections are known by attributes: its request_attributes should list
// source.address, destination.address, connection.requested_server_name, request.protocol, request.time
// and connection.{uri_san,dns_san,subject}_peer_certificate. The extension gatehouse.client-address, as
// for ext_authz, says that header x-gatehouse-client-ip has the client's address; authorizers never see
// that header. Envoy ignores edits of Host and of x-envoy-* headers unless its mutation_rules allow them,
// so a verdict with one denies, unless the filter is known to have such rules
// ([exchange.FilterInfo.MutateAll]).
func Authorize(choose func(*exchange.Request) exchange.Authorizer, opts ...AuthorizerOption) exchange.Processor {
	a := &authorizer{decider: verdict.Decider{Choose: choose, Log: slog.Default()}, namespace: DefaultNamespace}
	for _, o := range opts {
		o.applyAuthorizer(a)
	}
	return a
}

type authorizer struct {
	decider   verdict.Decider
	namespace string
	named     bool // by an option: then verdicts have metadata
}

// Needs implements [exchange.NeedsProcessor]. Not every authorizer reads bodies, or has edits of responses.
func (a *authorizer) Needs() exchange.Needs {
	n := exchange.Needs{Reply: true}
	if a.named {
		n.Metadata = []string{a.namespace}
	}
	return n
}

// Process implements [exchange.Processor].
func (a *authorizer) Process(ctx context.Context, x *exchange.Exchange) error {
	start := time.Now()
	r := judged(x.Request)
	check := a.decider.Begin(ctx, r)
	v := a.decider.Decide(check, r)
	if err := a.prepare(x, &v); err != nil {
		v = a.decider.Unsendable(check, v, err)
	}
	a.decider.Report(check, r, v, start)
	if !v.Allow {
		return denial(v.Reply)
	}
	edit(x.Request, &v)
	if len(v.ResponseSet) == 0 {
		return nil
	}
	resp, err := x.Next(ctx)
	if err != nil {
		return err
	}
	for f, add := range verdict.ResponseLines(v.ResponseSet) {
		if add {
			resp.Header.Add(f.Name, f.Value)
		} else {
			resp.Header.Set(f.Name, f.Value)
		}
	}
	return nil
}

// judged is the request as an authorizer may see it, and edit without effect.
func judged(r *exchange.Request) *exchange.Request {
	conn := r.Conn()
	fields := make([]exchange.Field, 0, r.Header.Len())
	address, lines := r.Header.Lookup(verdict.ClientIPHeader)
	for name, value := range r.Header.All() {
		if lines == 0 || !strings.EqualFold(name, verdict.ClientIPHeader) {
			fields = append(fields, exchange.Field{Name: name, Value: value})
		}
	}
	if from, _ := r.Extension(verdict.ClientAddressKey); from == "header" {
		if lines != 1 {
			address = ""
		}
		conn.Client = verdict.ClientAddress(address, fields)
	}
	head := r.Head()
	if !r.Header.Has("content-length") {
		head.Size = -1 // ext_authz doesn't know of a body that isn't there
	}
	seen := exchange.NewRequest(head, conn, exchange.NewHeader(fields...), r.Body.View(), r)
	seen.ShareValues(r)
	return seen
}

// prepare finds out whether v can be sent, and emits its metadata.
func (a *authorizer) prepare(x *exchange.Exchange, v *exchange.Verdict) error {
	if err := verdict.Check(v); err != nil {
		return err
	}
	if v.Allow {
		if err := refused(v, x.Filter().MutateAll); err != nil {
			return err
		}
	}
	for key, value := range v.Metadata {
		if err := x.SetMetadata(a.namespace, key, value); err != nil {
			return err
		}
	}
	return nil
}

// refused finds the edits that can't be sent. all says that the filter's rules allow every header.
func refused(v *exchange.Verdict, all bool) error {
	for i, fields := range [...][]exchange.Field{v.Set, v.Add, v.ResponseSet} {
		for _, f := range fields {
			name := strings.ToLower(f.Name)
			if i == 0 && name == ":path" {
				continue
			}
			if err := refusedByVerdict(name, f.Value, false, all); err != nil {
				return err
			}
		}
	}
	for _, name := range v.Remove {
		if err := refusedByVerdict(strings.ToLower(name), "", true, all); err != nil {
			return err
		}
	}
	return nil
}

func refusedByVerdict(name, value string, remove, all bool) error {
	if name[0] == ':' {
		return fmt.Errorf("%w: %s", exchange.ErrBadEdit, name)
	}
	return refusedEdit(name, value, remove, all)
}

// denial is the error for a verdict's reply.
func denial(reply *exchange.Reply) error {
	if reply == nil {
		return verdict.Forbidden()
	}
	sent := *reply
	sent.Cause = nil // the decider has logged it
	return &sent
}

// edit makes the verdict's edits of the request.
func edit(r *exchange.Request, v *exchange.Verdict) {
	apply := func(name, value string, add bool) {
		switch {
		case strings.EqualFold(name, ":path"):
			r.SetPath(value, false)
		case add:
			r.Header.Add(name, value)
		default:
			r.Header.Set(name, value)
		}
	}
	for i, f := range v.Set {
		apply(f.Name, f.Value, verdict.Named(v.Set[:i], f.Name))
	}
	for _, f := range v.Add {
		apply(f.Name, f.Value, true)
	}
	for _, name := range v.Remove {
		r.Header.Del(name)
	}
	if v.RecomputeRoute {
		r.SetPath(r.Path(), true) // the route is chosen anew only along with an edit
	}
}
