package place

import (
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Remove says how to take the places' credentials out of a request: headers to set and to remove, of
// which the pseudo-header :path (RFC 9113 section 8.3.1) is one. No name is in both. What the request
// doesn't have is left out.
func Remove(r *exchange.Request, places []Place) (set []exchange.Field, remove []string) {
	for i := range places {
		if name := strings.ToLower(places[i].Name); places[i].Kind == Header && r.Header.Has(name) {
			remove = append(remove, name)
		}
	}
	if kept, changed := cookies(r, places); changed && kept == "" {
		remove = append(remove, "cookie")
	} else if changed {
		set = append(set, exchange.Field{Name: "cookie", Value: kept})
	}
	if path, changed := parameters(r, places); changed {
		set = append(set, exchange.Field{Name: ":path", Value: path})
	}
	return set, remove
}

// cookies joins what is left of all lines into one (RFC 6265 section 5.4).
func cookies(r *exchange.Request, places []Place) (kept string, changed bool) {
	var pairs []string
	for header, line := range r.Header.All() {
		if !strings.EqualFold(header, "cookie") {
			continue
		}
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			name, _, _ := strings.Cut(pair, "=")
			switch {
			case has(places, Cookie, name), slices.ContainsFunc(places, func(p Place) bool { return p.Kind == Cookie && elsewhere(pair, p.Name) }):
				changed = true
			case pair != "":
				pairs = append(pairs, pair)
			}
		}
	}
	return strings.Join(pairs, "; "), changed
}

// parameters leaves the rest of the query as it is, separators included.
func parameters(r *exchange.Request, places []Place) (target string, changed bool) {
	path, query, ok := strings.Cut(r.Path(), "?")
	if !ok {
		return "", false
	}
	var kept strings.Builder
	separator := ""
	for query != "" {
		end := strings.IndexAny(query, "&;")
		pair, next, rest := query, "", ""
		if end >= 0 {
			pair, next, rest = query[:end], query[end:end+1], query[end+1:]
		}
		rawName, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(rawName); err == nil && has(places, Parameter, name) {
			changed = true
		} else {
			kept.WriteString(separator + pair)
			separator = next
		}
		query = rest
	}
	if kept.Len() == 0 {
		return path, changed
	}
	return path + "?" + kept.String(), changed
}

func has(places []Place, kind Kind, name string) bool {
	for i := range places {
		if places[i].Kind == kind && places[i].Name == name {
			return true
		}
	}
	return false
}
