package envoy

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"regexp/syntax"
	"slices"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// Piece is one serialized route of a RouteConfiguration. Key identifies its very bytes.
type Piece struct {
	Key  string
	Name string
	Body []byte
}

// Replacement stands in for a route that Envoy refuses.
type Replacement struct {
	Route string // the refused route's name
	Words string // why, in Envoy's words
	Body  []byte
	// Last puts it behind all others of its virtual host: it matches more than the refused route did, and
	// that one had no policy to hold on to.
	Last bool
}

// Pieces lists the routes of a RouteConfiguration.
func Pieces(config snapshot.Resource) []Piece {
	var all []Piece
	eachField(config.Body, func(field protowire.Number, _, host []byte) {
		if field != configVirtualHosts {
			return
		}
		eachField(host, func(field protowire.Number, _, body []byte) {
			if field == hostRoutes {
				all = append(all, piece(body))
			}
		})
	})
	return all
}

func piece(body []byte) Piece {
	sum := sha256.Sum256(body)
	p := Piece{Key: hex.EncodeToString(sum[:16]), Body: body}
	r := &route.Route{}
	if proto.Unmarshal(body, r) == nil {
		p.Name = r.Name
	}
	return p
}

// trial names everything in a Trial.
const trial = "trial"

// Trial is a bootstrap of nothing but these routes, for `envoy --mode validate`.
func Trial(pieces []Piece) ([]byte, error) {
	table := NewRouteTable(trial)
	for _, p := range pieces {
		table.Add("*", &Entry{Body: p.Body})
	}
	config := &route.RouteConfiguration{}
	if err := proto.Unmarshal(table.Resource().Body, config); err != nil {
		return nil, err
	}
	config.ValidateClusters = boolean(false)
	secrets, err := staticLogins(config)
	if err != nil {
		return nil, err
	}
	manager := &hcm.HttpConnectionManager{
		StatPrefix: trial, HttpFilters: httpFilters(gatewayapi.ClientSettings{}),
		RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: config},
	}
	b := NewBootstrap(BootstrapOptions{NodeID: trial, AuthorizerSocket: "/nonexistent"})
	b.StaticResources.Listeners = []*listener.Listener{{
		Name: trial, Address: socket("127.0.0.1", 1),
		FilterChains: []*listener.FilterChain{{Filters: []*listener.Filter{{
			Name: trial, ConfigType: &listener.Filter_TypedConfig{TypedConfig: typed(manager)},
		}}}},
	}}
	slices.Sort(secrets)
	for _, name := range slices.Compact(secrets) {
		b.StaticResources.Secrets = append(b.StaticResources.Secrets, &tls.Secret{
			Name: name, Type: &tls.Secret_GenericSecret{GenericSecret: &tls.GenericSecret{Secret: inline([]byte(trial))}},
		})
	}
	return YAML(b)
}

// StandIns returns what may replace a refused route, the better one first: the same match with a 503;
// then, in case it is the match that Envoy refuses, one whose expressions are simpler and match all that
// the refused ones do, so that nothing meant for the route reaches a wider one; at last, behind all
// others, the widest match.
func StandIns(p Piece, words string) []Replacement {
	refused := &route.Route{}
	if proto.Unmarshal(p.Body, refused) != nil {
		return nil
	}
	standIn := func(match *route.RouteMatch, last bool) Replacement {
		r := &route.Route{Name: refused.Name, Match: match}
		respond(r, 503)
		return Replacement{Route: p.Name, Words: words, Body: marshal(r), Last: last}
	}
	return []Replacement{
		standIn(refused.GetMatch(), false), standIn(simpler(refused.GetMatch()), false), standIn(widest(refused.GetMatch()), true),
	}
}

// simpler replaces counted repetitions, which make an expression's program large, by unbounded ones.
func simpler(m *route.RouteMatch) *route.RouteMatch {
	out, ok := proto.Clone(m).(*route.RouteMatch)
	if !ok {
		return m
	}
	simplify(out.GetSafeRegex())
	for _, h := range out.GetHeaders() {
		simplify(h.GetStringMatch().GetSafeRegex())
	}
	for _, q := range out.GetQueryParameters() {
		simplify(q.GetStringMatch().GetSafeRegex())
	}
	return out
}

func simplify(m *matcher.RegexMatcher) {
	if m == nil {
		return
	}
	if parsed, err := syntax.Parse(m.GetRegex(), syntax.Perl); err == nil {
		unbound(parsed)
		m.Regex = parsed.String()
	}
}

func unbound(expression *syntax.Regexp) {
	for _, part := range expression.Sub {
		unbound(part)
	}
	if expression.Op == syntax.OpRepeat {
		expression.Op = syntax.OpStar
		if expression.Min > 0 {
			expression.Op = syntax.OpPlus
		}
	}
}

// widest keeps of a match what Envoy is sure to take: no regular expression.
func widest(m *route.RouteMatch) *route.RouteMatch {
	expression, ok := m.GetPathSpecifier().(*route.RouteMatch_SafeRegex)
	if !ok {
		return &route.RouteMatch{PathSpecifier: m.GetPathSpecifier()}
	}
	prefix := "/"
	if compiled, err := regexp.Compile(expression.SafeRegex.GetRegex()); err == nil {
		if literal, _ := compiled.LiteralPrefix(); literal != "" {
			prefix = literal
		}
	}
	return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: prefix}}
}

// Replace puts stand-ins, by Piece.Key, in place of refused routes. A RouteConfiguration without any is
// returned as it is.
func Replace(config snapshot.Resource, by map[string]Replacement) snapshot.Resource {
	var body []byte
	replaced := false
	eachField(config.Body, func(field protowire.Number, raw, value []byte) {
		if field != configVirtualHosts {
			body = append(body, raw...)
			return
		}
		host, changed := replaceInHost(value, by)
		replaced = replaced || changed
		body = protowire.AppendBytes(protowire.AppendTag(body, configVirtualHosts, protowire.BytesType), host)
	})
	if !replaced {
		return config
	}
	return snapshot.NewResource(config.Name, body)
}

func replaceInHost(host []byte, by map[string]Replacement) (body []byte, changed bool) {
	var last [][]byte
	eachField(host, func(field protowire.Number, raw, value []byte) {
		if field != hostRoutes {
			body = append(body, raw...)
			return
		}
		sum := sha256.Sum256(value)
		r, refused := by[hex.EncodeToString(sum[:16])]
		switch {
		case !refused:
			body = append(body, raw...)
		case r.Last:
			last, changed = append(last, r.Body), true
		default:
			body, changed = protowire.AppendBytes(protowire.AppendTag(body, hostRoutes, protowire.BytesType), r.Body), true
		}
	})
	for _, route := range last {
		body = protowire.AppendBytes(protowire.AppendTag(body, hostRoutes, protowire.BytesType), route)
	}
	return body, changed
}

// eachField calls visit with every field of a message that this package serialized: its whole encoding
// and, if it is length-delimited, its value.
func eachField(message []byte, visit func(field protowire.Number, raw, value []byte)) {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(field, kind, message[n:])
		if size < 0 {
			return
		}
		var value []byte
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(message[n:])
		}
		visit(field, message[:n+size], value)
		message = message[n+size:]
	}
}
