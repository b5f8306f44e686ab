package rego

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// frequent keeps the `attributes` of a policy that reads nothing there but method, scheme and protocol: with
// their usual values there are some dozens, and most requests have one of three. Reading takes no lock.
type frequent struct {
	known atomic.Pointer[map[common]*ast.Term]
	mu    sync.Mutex
}

// common is control data by the terms that all requests share; nil for a part that isn't read.
type common struct{ method, scheme, protocol *ast.Term }

// newFrequent returns nil where attributes depend on anything else.
func newFrequent(root *reads) *frequent {
	http := root.path("attributes", "request", "http")
	if http == nil || http.all || len(root.part("attributes").parts) != 1 || len(root.path("attributes", "request").parts) != 1 {
		return nil
	}
	for name := range http.parts {
		if name != "method" && name != "scheme" && name != "protocol" {
			return nil
		}
	}
	return &frequent{}
}

// commonOf is false for a request with an unusual value.
func commonOf(http *reads, head *exchange.Head) (key common, ok bool) {
	ok = true
	term := func(name, value string) (t *ast.Term) {
		if http.part(name) != nil {
			t = usual[value]
			ok = ok && t != nil
		}
		return t
	}
	key = common{term("method", head.Method), term("scheme", head.Scheme), term("protocol", head.Protocol)}
	return key, ok
}

func (f *frequent) get(key common) *ast.Term {
	if known := f.known.Load(); known != nil {
		return (*known)[key]
	}
	return nil
}

// put copies the whole map: it happens once for each combination.
func (f *frequent) put(key common, term *ast.Term) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := map[common]*ast.Term{key: term}
	if known := f.known.Load(); known != nil {
		maps.Copy(next, *known)
	}
	f.known.Store(&next)
}
