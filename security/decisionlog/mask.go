package decisionlog

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// pointer is a JSON pointer (RFC 6901), split and decoded.
type pointer []string

func parsePointer(text string) (pointer, error) {
	names := strings.Split(text, "/")
	if names[0] != "" || len(names) < 2 || names[1] != "input" && names[1] != "result" {
		return nil, fmt.Errorf("%q is no JSON pointer below /input or /result; write it like /input/attributes/request/http/headers/cookie", text)
	}
	for i, name := range names {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(name), "~") {
			return nil, fmt.Errorf("%q has a ~ that is neither ~0 nor ~1", text)
		}
		names[i] = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
	}
	return names[1:], nil
}

func (p pointer) String() string {
	var b strings.Builder
	for _, name := range p {
		b.WriteString("/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// erase removes what is at p and reports whether anything was. An element of an array becomes null, so that
// the others keep their places.
func (p pointer) erase(event map[string]any) bool {
	var at any = event
	for i, name := range p {
		last := i == len(p)-1
		switch container := at.(type) {
		case map[string]any:
			value, found := container[name]
			if !found {
				return false
			}
			if last {
				delete(container, name)
			}
			at = value
		case []any:
			n, err := strconv.Atoi(name)
			if err != nil || n < 0 || n >= len(container) || strconv.Itoa(n) != name {
				return false
			}
			at = container[n]
			if last {
				container[n] = nil
			}
		default:
			return false
		}
	}
	return true
}

// Credentials are the places of a request where a policy looks for tokens and keys.
type Credentials struct {
	Headers []string // beside authorization, proxy-authorization and cookie
	Params  []string // of the query
}

var always = []string{"authorization", "proxy-authorization", "cookie", "set-cookie"}

// erase removes credentials from an event, and returns where they were.
func (c *Credentials) erase(event map[string]any) (erased []string) {
	for _, at := range []pointer{{"input", "attributes", "request", "http", "headers"}, {"result", "headers"}, {"result", "response_headers_to_add"}} {
		headers, _ := at.of(event).(map[string]any)
		for name := range headers {
			if c.secret(name) {
				delete(headers, name)
				erased = append(erased, append(slices.Clone(at), name).String())
			}
		}
	}
	return append(erased, c.erasePath(event)...)
}

func (c *Credentials) secret(name string) bool {
	is := func(known string) bool { return strings.EqualFold(known, name) }
	return slices.ContainsFunc(always, is) || slices.ContainsFunc(c.Headers, is)
}

// of returns what is at p, nil if nothing is.
func (p pointer) of(event map[string]any) any {
	var at any = event
	for _, name := range p {
		container, _ := at.(map[string]any)
		at = container[name]
	}
	return at
}

// withoutParams leaves out the values of the parameters, and the whole query where a name in it can't be read:
// it may be one of theirs to somebody else.
func (c *Credentials) withoutParams(target string) string {
	path, query, found := strings.Cut(target, "?")
	if !found {
		return target
	}
	var kept strings.Builder
	for query != "" {
		end := strings.IndexAny(query, "&;")
		pair, rest := query, ""
		if end >= 0 {
			pair, rest = query[:end], query[end:]
		}
		rawName, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		switch {
		case err != nil:
			return path + "?"
		case slices.Contains(c.Params, name):
			pair = rawName + "="
		}
		kept.WriteString(pair)
		if query = rest; query != "" {
			kept.WriteByte(query[0])
			query = query[1:]
		}
	}
	return path + "?" + kept.String()
}

// erasePath takes parameters out of the query wherever it is shown.
func (c *Credentials) erasePath(event map[string]any) (erased []string) {
	if len(c.Params) == 0 {
		return nil
	}
	http := pointer{"input", "attributes", "request", "http"}
	for _, at := range []pointer{append(slices.Clone(http), "path"), append(slices.Clone(http), "headers", ":path")} {
		name := at[len(at)-1]
		container, _ := at[:len(at)-1].of(event).(map[string]any)
		path, _ := container[name].(string)
		if clean := c.withoutParams(path); clean != path {
			container[name] = clean
			erased = append(erased, at.String())
		}
	}
	query, _ := pointer{"input", "parsed_query"}.of(event).(map[string]any)
	for name := range query {
		if slices.Contains(c.Params, name) {
			delete(query, name)
			erased = append(erased, pointer{"input", "parsed_query", name}.String())
		}
	}
	return erased
}
