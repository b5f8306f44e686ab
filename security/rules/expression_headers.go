package rules

import (
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// single are the headers whose commas are part of one value (RFC 9110, RFC 6265).
var single = []string{
	"authorization", "content-type", "cookie", "date", "from", "if-modified-since", "if-range", "if-unmodified-since",
	"proxy-authorization", "referer", "user-agent",
}

// readings are what servers may take for the value of a header; none for an absent one. The first is
// what Envoy shows: the lines of exactly this name, joined (RFC 9110 section 5.3). A rule that denies also
// sees every element of a list by itself (S12), and lines under names that CGI-like servers merge.
func (v *attributeView) readings(name string) (first string, present bool, others []string) {
	if value, pseudo := v.pseudo(name); pseudo {
		return value, true, nil
	}
	var lines, alike []string
	each := func(n, value string) {
		if !sameHeader(n, name) {
			return
		}
		value = strings.Trim(value, " \t")
		if alike = append(alike, value); strings.EqualFold(n, name) {
			lines = append(lines, value)
		}
	}
	v.headerLines(name, each)
	separator := ","
	if name == "cookie" {
		separator = "; "
	}
	first = strings.Join(lines, separator)
	if len(alike) > 1 || len(lines) == 0 {
		others = append(others, alike...)
	}
	if !v.allow && !slices.Contains(single, name) {
		for _, line := range alike {
			if strings.Contains(line, ",") {
				for element := range strings.SplitSeq(line, ",") {
					others = append(others, strings.Trim(element, " \t"))
				}
			}
		}
	}
	return first, len(lines) > 0, others
}

// headerLines calls each for the lines under which the upstream may see the header.
func (v *attributeView) headerLines(name string, each func(name, value string)) {
	if v.owned != nil && v.owned(name) {
		for _, f := range v.Set {
			// What the policy writes replaces all spellings.
			each(strings.ReplaceAll(f.Name, "_", "-"), f.Value)
		}
		return
	}
	for n, value := range v.Request.Header.All() {
		each(n, value)
	}
}

func (v *attributeView) pseudo(name string) (string, bool) {
	switch name {
	case ":method":
		return v.Request.Method(), true
	case ":authority", "host":
		return v.Request.Authority(), true
	case ":scheme":
		return v.Request.Scheme(), true
	case ":path":
		return v.Request.Path(), true
	}
	return "", false
}

// header returns the reading at hand of a header, in lower case.
func (v *attributeView) header(name string) (any, bool) {
	switch name {
	case ":path":
		return v.target("path"), true
	case ":method":
		return v.request("method")
	case ":authority", "host":
		return v.request("host")
	}
	if strings.HasPrefix(name, "x-gatehouse-") {
		return nil, false
	}
	first, present, others := v.readings(name)
	at := v.pick("header "+name, 1+len(others))
	switch {
	case at > 0:
		return text(others[at-1]), true
	case present:
		return text(first), true
	}
	return nil, false
}

// headerMap is request.headers: names in any case of letters, each looked up when it is asked for.
type headerMap struct{ view *attributeView }

var _ traits.Mapper = (*headerMap)(nil)

// Find implements [traits.Mapper].
func (m *headerMap) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key), false
	}
	value, found := m.view.header(strings.ToLower(string(name)))
	if !found {
		return nil, false
	}
	return types.DefaultTypeAdapter.NativeToValue(value), true
}

// Get implements [traits.Indexer].
func (m *headerMap) Get(key ref.Val) ref.Val {
	value, found := m.Find(key)
	switch {
	case found, value != nil:
		return value
	}
	return types.NewErr("no such header")
}

// Contains implements [traits.Container].
func (m *headerMap) Contains(key ref.Val) ref.Val {
	value, found := m.Find(key)
	if value != nil && types.IsUnknownOrError(value) {
		return value
	}
	return types.Bool(found)
}

// whole is for expressions that go through all headers: every name, in a fixed order.
func (m *headerMap) whole() traits.Mapper {
	names := []string{":authority", ":method", ":path", ":scheme"}
	for name := range m.view.Request.Header.All() {
		if lower := strings.ToLower(name); !slices.Contains(names, lower) {
			names = append(names, lower)
		}
	}
	for _, f := range m.view.Set {
		if lower := strings.ToLower(f.Name); !slices.Contains(names, lower) {
			names = append(names, lower)
		}
	}
	slices.Sort(names)
	all := make(map[ref.Val]ref.Val, len(names))
	for _, name := range names {
		if value, found := m.Find(types.String(name)); found {
			all[types.String(name)] = value
		}
	}
	return types.NewRefValMap(types.DefaultTypeAdapter, all)
}

// Iterator implements [traits.Iterable].
func (m *headerMap) Iterator() traits.Iterator { return m.whole().Iterator() }

// Size implements [traits.Sizer].
func (m *headerMap) Size() ref.Val { return m.whole().Size() }

// ConvertToNative implements [ref.Val].
func (m *headerMap) ConvertToNative(kind reflect.Type) (any, error) {
	return m.whole().ConvertToNative(kind)
}

// ConvertToType implements [ref.Val].
func (m *headerMap) ConvertToType(kind ref.Type) ref.Val { return m.whole().ConvertToType(kind) }

// Equal implements [ref.Val].
func (m *headerMap) Equal(other ref.Val) ref.Val { return m.whole().Equal(other) }

// Type implements [ref.Val].
func (m *headerMap) Type() ref.Type { return types.MapType }

// Value implements [ref.Val].
func (m *headerMap) Value() any { return m }
