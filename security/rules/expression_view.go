package rules

import (
	"encoding/json"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

// attributeView is one request as an expression sees it, in one of its readings. What the expression
// reads and has more than one reading of is noted as a choice; advance goes on to the next combination.
type attributeView struct {
	*evaluation

	allow   bool
	choices []choice
}

type choice struct {
	of        string
	at, among int
}

// pick returns which of several readings is the one at hand.
func (v *attributeView) pick(of string, among int) int {
	for i := range v.choices {
		if v.choices[i].of == of {
			return v.choices[i].at
		}
	}
	if among > 1 {
		v.choices = append(v.choices, choice{of: of, among: among})
	}
	return 0
}

// advance reports whether there is another combination of readings.
func (v *attributeView) advance() bool {
	for len(v.choices) > 0 {
		last := &v.choices[len(v.choices)-1]
		if last.at++; last.at < last.among {
			return true
		}
		v.choices = v.choices[:len(v.choices)-1]
	}
	return false
}

// Parent implements [cel.Activation].
func (v *attributeView) Parent() cel.Activation { return nil }

// ResolveName implements [cel.Activation]. What this request doesn't have is an error in the expression.
func (v *attributeView) ResolveName(name string) (any, bool) {
	area, rest, _ := strings.Cut(name, ".")
	switch area {
	case "request":
		return v.request(rest)
	case "source":
		return v.source(rest)
	case "destination":
		return endpoint(rest, v.Request.Conn().Destination)
	case "connection":
		return v.connection(rest)
	case "identity":
		return v.identity(rest)
	case "metadata":
		return v.metadata(rest)
	}
	return nil, false
}

func (v *attributeView) request(name string) (any, bool) {
	head := v.Request.Head()
	switch name {
	case "path", "url_path", "query":
		return v.target(name), true
	case "host":
		return text(v.one("host", hosts(head.Authority, v.allow))), true
	case "method":
		// Some servers take methods in any case of letters.
		return text(v.one("method", distinct(head.Method, strings.ToUpper(head.Method)))), true
	case "scheme":
		return text(head.Scheme), head.Scheme != ""
	case "headers":
		return &headerMap{view: v}, true
	case "referer", "useragent":
		return v.header(map[string]string{"referer": "referer", "useragent": "user-agent"}[name])
	case "time":
		return head.Time, !head.Time.IsZero()
	case "id":
		return text(head.ID), head.ID != ""
	case "protocol":
		return text(head.Protocol), head.Protocol != ""
	case "size":
		return head.Size, head.Size >= 0
	}
	return nil, false
}

// one returns the reading at hand.
func (v *attributeView) one(of string, readings []string) string {
	return readings[v.pick(of, len(readings))]
}

// target returns the path, with or without its query. A path that servers may read as another one than
// the proxy did is an error.
func (v *attributeView) target(name string) any {
	_, query, found := strings.Cut(v.Request.Path(), "?")
	if name == "query" {
		return text(query)
	}
	p := v.path()
	if !p.clear {
		return types.WrapErr(errUnclear)
	}
	path := v.one("path", p.views[:p.count])
	if name == "path" && found {
		path += "?" + query
	}
	return text(path)
}

// hosts are the readings of an authority. Names know no case, and a dot at their end means nothing (RFC
// 1034 section 3.1). That the port is left out makes a difference for a rule that denies.
func hosts(authority string, allow bool) []string {
	lower := strings.ToLower(authority)
	if allow {
		return distinct(authority, lower)
	}
	name := lower
	if host, _, err := net.SplitHostPort(lower); err == nil {
		name = host
	}
	return distinct(authority, lower, name, strings.TrimSuffix(name, "."))
}

func distinct(all ...string) []string {
	out := all[:0]
	for i, s := range all {
		if i == 0 || s != out[len(out)-1] {
			out = append(out, s)
		}
	}
	return out
}

// source is the client as rules about addresses see it. Its port is known only if it is the peer.
func (v *attributeView) source(name string) (any, bool) {
	conn := v.Request.Conn()
	port := uint16(0)
	if conn.Peer.Addr().Unmap() == conn.Client.Unmap() {
		port = conn.Peer.Port()
	}
	return endpoint(name, netip.AddrPortFrom(conn.Client.Unmap().WithZone(""), port))
}

// endpoint is Envoy's form: the address with its port.
func endpoint(name string, at netip.AddrPort) (any, bool) {
	switch {
	case !at.Addr().IsValid():
		return nil, false
	case name == "address":
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()).String(), true
	}
	return int64(at.Port()), true
}

func (v *attributeView) connection(name string) (any, bool) {
	conn := v.Request.Conn()
	if name == "mtls" {
		return conn.Principal != "", true
	}
	return text(conn.ServerName), conn.ServerName != ""
}

// identity has a method for everybody, "" for an anonymous caller, and else only what there is: who
// leaves the token out makes an expression about its claims an error.
func (v *attributeView) identity(name string) (any, bool) {
	caller := v.Caller
	if caller == nil {
		return "", name == "method"
	}
	if name == "claims" {
		return caller.Claims, caller.Claims != nil
	}
	value := map[string]string{
		"method": caller.Method, "username": caller.Username, "client_id": caller.ClientID, "provider": caller.Provider,
	}[name]
	return text(value), value != ""
}

// metadata has a verified token's claims where Envoy's own JWT filter puts them.
func (v *attributeView) metadata(string) (any, bool) {
	all := map[string]any{}
	if v.Caller != nil && v.Caller.Method == identity.JWT && v.Caller.Claims != nil {
		all["envoy.filters.http.jwt_authn"] = map[string]any{v.Caller.Provider: v.Caller.Claims}
	}
	return all, true
}

// text is an error for bytes that are no UTF-8: shown otherwise they could match what they aren't (S19).
func text(value string) any {
	if !utf8.ValidString(value) {
		return types.NewErr("not UTF-8")
	}
	return value
}

// adapter knows the numbers of tokens, which keep their text.
type adapter struct{ types.Adapter }

// NativeToValue implements [types.Adapter].
func (a adapter) NativeToValue(value any) ref.Val {
	switch value := value.(type) {
	case json.Number:
		return number(value)
	case map[string]any:
		return types.NewStringInterfaceMap(a, value)
	case []any:
		return types.NewDynamicList(a, value)
	}
	return a.Adapter.NativeToValue(value)
}

func number(n json.Number) ref.Val {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return types.Int(i)
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return types.Uint(u)
	}
	f, err := n.Float64()
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Double(f)
}
