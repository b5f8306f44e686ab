package exchange

// A Key names a value that belongs to one request and goes along with it: from an Authorizer to the
// Processors behind it in a chain, from one of these to the next, from a Processor to its own hooks. Keys are
// compared by identity; make each once, as a variable of its package:
//
//	var userKey = exchange.NewKey[*User]("user")
//
// A Key may be used concurrently for different requests; a request belongs to one goroutine.
type Key[T any] struct{ name string }

// NewKey returns a new Key. Its name is for people.
func NewKey[T any](name string) *Key[T] { return &Key[T]{name: name} }

// String returns the name.
func (k *Key[T]) String() string { return k.name }

// Set makes value the request's, in place of an earlier one.
func (k *Key[T]) Set(r *Request, value T) {
	values := r.shared()
	for i := range values.list {
		if values.list[i].key == any(k) {
			values.list[i].value = value
			return
		}
	}
	values.list = append(values.list, keyed{k, value})
}

// Get returns the request's value; ok is false, and the value zero, if none was set.
func (k *Key[T]) Get(r *Request) (value T, ok bool) {
	if r.values == nil {
		return value, false
	}
	for i := range r.values.list {
		if r.values.list[i].key == any(k) {
			value, ok = r.values.list[i].value.(T)
			return value, ok
		}
	}
	return value, false
}

// values are few, and a scan is cheaper than a map made for one exchange.
type values struct{ list []keyed }

type keyed struct{ key, value any }

func (r *Request) shared() *values {
	if r.values == nil {
		r.values = new(values)
	}
	return r.values
}

// ShareValues makes the values of keys those of other, now and later. For hosts that show one request to
// several.
func (r *Request) ShareValues(other *Request) { r.values = other.shared() }
