package resource

import "strconv"

// Key names an object. Its API group is implied by Kind. Namespace is empty for cluster-scoped kinds.
type Key struct{ Kind, Namespace, Name string }

// String returns "HTTPRoute tenant/example-app", or "GatewayClass eg" for a cluster-scoped kind.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// Origin is a place in the input. Line counts from 1; 0 is unknown.
type Origin struct {
	File string
	Line int
}

// String returns "file:line", as compilers print it and editors understand it.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}

// Problem is something wrong in the input. Key is zero if the object couldn't be identified, Field is
// empty if no single field is to blame. Message says what is wrong and what to do; it holds no value of
// a Secret.
type Problem struct {
	Origin  Origin
	Key     Key
	Field   string
	Message string
}

// String returns "file:line: Kind ns/name: field: what is wrong and what to do".
func (p Problem) String() string {
	text := ""
	if p.Origin != (Origin{}) {
		text = p.Origin.String() + ": "
	}
	if p.Key != (Key{}) {
		text += p.Key.String() + ": "
	}
	if p.Field != "" {
		text += p.Field + ": "
	}
	return text + p.Message
}

// Warning is something in the input that works but should be written otherwise, such as a spelling that
// isn't canonical.
type Warning Problem

// String has the form of [Problem.String].
func (w Warning) String() string { return Problem(w).String() }
