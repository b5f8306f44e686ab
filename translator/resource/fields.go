package resource

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// checker compares generic values with Go types by their json tags. A value that a type can't take is
// reported and removed, so that the rest of the document decodes.
type checker struct {
	fault func(at path, format string, args ...any)
}

// durationForm is the pattern of gatewayv1.Duration (GEP-2257).
var durationForm = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)

// value checks one value against all types that know it; it is false if the value must be removed. The
// types agree on the value's shape, since one mirrors the other.
func (c *checker) value(value any, types []reflect.Type, at path) bool {
	if value == nil {
		return true
	}
	types = slices.Clone(types)
	for i := range types {
		for types[i].Kind() == reflect.Pointer {
			types[i] = types[i].Elem()
		}
	}
	t := types[0]
	// Such a type's json tags say nothing about the form of its text.
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return c.custom(value, t, at)
	}
	switch t.Kind() {
	case reflect.Struct:
		return c.object(value, types, at)
	case reflect.Map:
		return c.mapping(value, types, at)
	case reflect.Slice, reflect.Array:
		return c.list(value, types, at)
	case reflect.Interface:
		return true
	default:
		return c.scalar(value, t, at)
	}
}

// custom is for types that decode themselves, such as quantities and times.
func (c *checker) custom(value any, t reflect.Type, at path) bool {
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, reflect.New(t).Interface())
	}
	if err != nil {
		c.fault(at, "isn't a valid %s: %s", strings.ToLower(t.Name()), strings.TrimPrefix(err.Error(), "json: "))
		return false
	}
	return true
}

func (c *checker) object(value any, types []reflect.Type, at path) bool {
	object, ok := value.(map[string]any)
	if !ok {
		c.fault(at, "must be an object with fields, not %s", describe(value))
		return false
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		var known []reflect.Type
		for _, t := range types {
			if field, ok := fieldsOf(t)[key]; ok {
				known = append(known, field)
			}
		}
		inner := at.to(key)
		if len(known) == 0 {
			var names []string
			for _, t := range types {
				names = slices.AppendSeq(names, maps.Keys(fieldsOf(t)))
			}
			c.fault(inner, "%s", suggestion(key, names))
			delete(object, key)
			continue
		}
		if !c.value(object[key], known, inner) {
			delete(object, key)
		}
	}
	return true
}

func (c *checker) mapping(value any, types []reflect.Type, at path) bool {
	object, ok := value.(map[string]any)
	if !ok {
		c.fault(at, "must be an object of keys and values, not %s", describe(value))
		return false
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !c.value(object[key], elements(types), at.to(key)) {
			delete(object, key)
		}
	}
	return true
}

func (c *checker) list(value any, types []reflect.Type, at path) bool {
	// encoding/json reads []byte as base64.
	if types[0].Elem().Kind() == reflect.Uint8 {
		text, ok := value.(string)
		if _, err := base64.StdEncoding.DecodeString(text); !ok || err != nil {
			c.fault(at, "must be base64; plain text belongs under stringData")
			return false
		}
		return true
	}
	list, ok := value.([]any)
	if !ok {
		c.fault(at, "must be a list, not %s: put \"- \" before each element", describe(value))
		return false
	}
	for i := range list {
		if !c.value(list[i], elements(types), at.to(i)) {
			list[i] = nil // keeps the place of the elements that follow
		}
	}
	return true
}

func elements(types []reflect.Type) []reflect.Type {
	inner := make([]reflect.Type, len(types))
	for i, t := range types {
		inner[i] = t.Elem()
	}
	return inner
}

func (c *checker) scalar(value any, t reflect.Type, at path) bool {
	switch t.Kind() {
	case reflect.String:
		text, ok := value.(string)
		switch {
		case !ok:
			c.fault(at, "must be a string, not %s%s", describe(value), quoting(value))
			return false
		case t == reflect.TypeFor[gatewayv1.Duration]() && !durationForm.MatchString(text):
			c.fault(at, "must be a duration such as 10s, 1500ms or 1h30m")
			return false
		}
		return true
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			c.fault(at, "must be true or false, not %s", describe(value))
			return false
		}
		return true
	default:
		return c.number(value, t, at)
	}
}

func (c *checker) number(value any, t reflect.Type, at path) bool {
	text, err := json.Marshal(value)
	if err == nil {
		if _, isString := value.(string); !isString {
			err = json.Unmarshal(text, reflect.New(t).Interface())
		} else {
			c.fault(at, "must be a number, not %s: leave the quotes out", describe(value))
			return false
		}
	}
	if err != nil {
		c.fault(at, "must be a number that fits a %s, not %s", t.Kind(), describe(value))
		return false
	}
	return true
}

// describe names a value's type: values themselves may be secrets.
func describe(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64:
		return "a number with a fraction"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "nothing"
}

func quoting(value any) string {
	switch value.(type) {
	case bool, int64, float64:
		return ": put it in quotes"
	}
	return ""
}

// fieldCache holds fieldsOf by type.
var fieldCache sync.Map

// fieldsOf returns the fields of a struct by JSON name, those of inlined structs among them.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	if cached, ok := fieldCache.Load(t); ok {
		return cached.(map[string]reflect.Type) //nolint:forcetypeassert // it holds nothing else
	}
	fields := map[string]reflect.Type{}
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-":
		case name == "" && (field.Anonymous || options == "inline"):
			maps.Copy(fields, fieldsOf(inner))
		case name != "" && field.IsExported():
			fields[name] = field.Type
		}
	}
	// Own fields' structs have no apiVersion, kind and metadata, and need none: the first type has them.
	fieldCache.Store(t, fields)
	return fields
}
