package envoy

import (
	"cmp"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Order is a match's place: Envoy takes the first route that matches, the Gateway API wants the most
// specific (HTTPRouteMatch: exact path, longest prefix, method, most headers, most query parameters,
// older object, namespace/name, first rule).
type Order struct {
	kind                     int // 0 exact, 1 regular expression, 2 prefix
	length                   int
	preflight                int // 0: a twin goes before every route of its path
	method, headers, queries int
	Created                  int64
	Namespace, Name          string
	Rule                     int
	match                    int
	narrow                   int // 0: the same match with one condition more
}

func order(m *gatewayv1.HTTPRouteMatch, index int) Order {
	kind, value := pathOf(m.Path)
	o := Order{length: len(value), preflight: 1, method: 1, narrow: 1, headers: len(m.Headers), queries: len(m.QueryParams), match: index}
	switch kind {
	case gatewayv1.PathMatchRegularExpression:
		o.kind = 1
	case gatewayv1.PathMatchPathPrefix:
		o.kind = 2
		// Slashes at the end match nothing more, so they must not make a match look more specific.
		o.length = max(1, len(strings.TrimRight(value, "/")))
	}
	if m.Method != nil {
		o.method = 0
	}
	return o
}

func (o Order) twin() Order {
	o.preflight = 0
	return o
}

func (o Order) first() Order {
	o.narrow = 0
	return o
}

// Compare sorts the more specific match first.
func (o Order) Compare(p Order) int {
	return cmp.Or(
		cmp.Compare(o.kind, p.kind), cmp.Compare(p.length, o.length), cmp.Compare(o.preflight, p.preflight),
		cmp.Compare(o.method, p.method), cmp.Compare(p.headers, o.headers), cmp.Compare(p.queries, o.queries),
		cmp.Compare(o.Created, p.Created), cmp.Compare(o.Namespace, p.Namespace), cmp.Compare(o.Name, p.Name),
		cmp.Compare(o.Rule, p.Rule), cmp.Compare(o.match, p.match), cmp.Compare(o.narrow, p.narrow))
}
