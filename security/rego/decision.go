package rego

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/field"
)

// Decision is what a policy decided. A boolean is Allowed and nothing more; an object may have these
// members, and others are ignored:
//
//	allowed                    boolean, required
//	headers                    object of strings or arrays of strings: request headers of an allowed
//	                           request, response headers of a denied one
//	response_headers_to_add    the same, of the response in either case
//	request_headers_to_remove  array of strings
//	http_status                number, 200 to 599, of a denial; default 403
//	body                       string, of a denial
//	dynamic_metadata           object
//
// A member of another type, a header that can't be emitted, or a status out of range is a fault.
type Decision struct {
	Allowed bool
	// Headers are request headers to set if Allowed, else headers of the reply. A name with several
	// values is there several times.
	Headers         []exchange.Field
	ResponseHeaders []exchange.Field
	Remove          []string
	Status          int
	Body            *string
	Metadata        map[string]any
}

// Edits reports whether a request that the decision allows is changed by it, or its response or metadata are.
func (d *Decision) Edits() bool {
	return len(d.Headers)+len(d.ResponseHeaders)+len(d.Remove)+len(d.Metadata) > 0
}

// clone copies what a caller may change: the slices and the top of the metadata.
func (d *Decision) clone() Decision {
	own := *d
	own.Headers, own.ResponseHeaders, own.Remove = slices.Clone(d.Headers), slices.Clone(d.ResponseHeaders), slices.Clone(d.Remove)
	own.Metadata = maps.Clone(d.Metadata)
	return own
}

// decisionOf treats everything but a boolean and an object as a fault: a set or a string from a rule that was
// meant to be a boolean must not pass for true.
func decisionOf(value ast.Value) (Decision, error) {
	switch value := value.(type) {
	case ast.Boolean:
		return Decision{Allowed: bool(value), Status: http.StatusForbidden}, nil
	case ast.Object:
		return decisionFromObject(value)
	}
	return Decision{}, ErrFault
}

func decisionFromObject(o ast.Object) (Decision, error) {
	d := Decision{Status: http.StatusForbidden}
	allowed, ok := get(o, "allowed").(ast.Boolean)
	if !ok {
		return Decision{}, ErrFault
	}
	d.Allowed = bool(allowed)
	for _, read := range []func(ast.Object) bool{d.readHeaders, d.readRemovals, d.readReply, d.readMetadata} {
		if !read(o) {
			return Decision{}, ErrFault
		}
	}
	return d, nil
}

// get returns a member, nil if there is none.
func get(o ast.Object, name string) ast.Value {
	if term := o.Get(ast.InternedTerm(name)); term != nil {
		return term.Value
	}
	return nil
}

func (d *Decision) readHeaders(o ast.Object) (ok bool) {
	if d.Headers, ok = fields(get(o, "headers")); !ok {
		return false
	}
	d.ResponseHeaders, ok = fields(get(o, "response_headers_to_add"))
	return ok
}

func (d *Decision) readRemovals(o ast.Object) bool {
	names, ok := texts(get(o, "request_headers_to_remove"))
	for _, name := range names {
		ok = ok && field.CheckName(name) == nil
	}
	d.Remove = names
	return ok
}

// readReply is strict about the status: a 1xx would hang the client, and a typo must not become a 500 that
// looks like the upstream's.
func (d *Decision) readReply(o ast.Object) bool {
	switch status := get(o, "http_status").(type) {
	case nil:
	case ast.Number:
		code, exact := status.Int()
		if !exact || code < 200 || code > 599 {
			return false
		}
		d.Status = code
	default:
		return false
	}
	switch body := get(o, "body").(type) {
	case nil:
	case ast.String:
		text := string(body)
		d.Body = &text
	default:
		return false
	}
	return true
}

func (d *Decision) readMetadata(o ast.Object) bool {
	value := get(o, "dynamic_metadata")
	if value == nil {
		return true
	}
	decoded, err := ast.JSON(value)
	if err != nil {
		return false
	}
	metadata, ok := plain(decoded)
	if !ok {
		return false
	}
	d.Metadata, ok = metadata.(map[string]any)
	return ok
}

// fields reads {name: value} and {name: [values]}, sorted by name as OPA's objects are.
func fields(value ast.Value) (all []exchange.Field, ok bool) {
	if value == nil {
		return nil, true
	}
	o, ok := value.(ast.Object)
	if !ok {
		return nil, false
	}
	o.Foreach(func(key, value *ast.Term) {
		name, isText := key.Value.(ast.String)
		values, valid := texts(value.Value)
		ok = ok && isText && valid && field.CheckName(string(name)) == nil
		for _, text := range values {
			ok = ok && field.ValidValue(text)
			all = append(all, exchange.Field{Name: string(name), Value: text})
		}
	})
	return all, ok
}

// texts reads a string, or an array or set of strings.
func texts(value ast.Value) (all []string, ok bool) {
	ok = true
	add := func(term *ast.Term) {
		text, isText := term.Value.(ast.String)
		all, ok = append(all, string(text)), ok && isText
	}
	switch value := value.(type) {
	case nil:
	case ast.String:
		all = []string{string(value)}
	case *ast.Array:
		value.Foreach(add)
	case ast.Set:
		value.Foreach(add)
	default:
		return nil, false
	}
	return all, ok
}

// plain turns numbers into float64s, the only ones metadata has.
func plain(value any) (any, bool) {
	ok := true
	switch value := value.(type) {
	case json.Number:
		number, err := value.Float64()
		return number, err == nil && !math.IsInf(number, 0)
	case []any:
		for i := range value {
			var fine bool
			value[i], fine = plain(value[i])
			ok = ok && fine
		}
	case map[string]any:
		for name := range value {
			var fine bool
			value[name], fine = plain(value[name])
			ok = ok && fine
		}
	}
	return value, ok
}
