package policy

import (
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// identityHeaders are the headers by which an upstream learns who is calling. What the client sent
// under such a name never reaches it, on whatever path a request is allowed (S14), in whatever spelling
// (S16): some servers read x_user and X-User as one.
type identityHeaders struct {
	// names are lower case, as configured; folded are the same with - for _.
	names  []string
	folded map[string]struct{}
	// removals are the names and their spellings with underscores only and with hyphens only.
	removals []string
}

func newIdentityHeaders(names []string) identityHeaders {
	h := identityHeaders{folded: map[string]struct{}{}}
	for _, name := range names {
		name = strings.ToLower(name)
		if slices.Contains(h.names, name) {
			continue
		}
		h.names = append(h.names, name)
		h.folded[fold(name)] = struct{}{}
		for _, spelling := range []string{name, fold(name), strings.ReplaceAll(name, "-", "_")} {
			if !slices.Contains(h.removals, spelling) {
				h.removals = append(h.removals, spelling)
			}
		}
	}
	return h
}

// fold is the spelling under which CGI-like servers merge names (RFC 3875 section 4.1.18).
func fold(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// has reports whether the name is one of the headers in any spelling.
func (h *identityHeaders) has(name string) bool {
	if !strings.ContainsAny(name, "-_") { // most lines of a request, without building a string
		return slices.ContainsFunc(h.names, func(known string) bool { return strings.EqualFold(known, name) })
	}
	_, found := h.folded[fold(name)]
	return found
}

// remove returns what must be removed beside the given overwritten headers: every spelling that is
// configured, and the mixed ones that this request has. None of them is in set, because Envoy removes
// last (S15).
func (h *identityHeaders) remove(r *exchange.Request, set []exchange.Field) []string {
	names := h.spellings(set)
	return append(names, h.misspelt(r, set, names)...)
}

// spellings is the part of remove that is the same for all requests.
func (h *identityHeaders) spellings(set []exchange.Field) []string {
	if len(h.names) == 0 {
		return nil
	}
	out := make([]string, 0, len(h.removals)+1)
	for _, name := range h.removals {
		if !contains(set, name) {
			out = append(out, name)
		}
	}
	return out
}

// misspelt is what remove has beyond known, the spellings: hardly ever anything.
func (h *identityHeaders) misspelt(r *exchange.Request, set []exchange.Field, known []string) (out []string) {
	if len(h.names) == 0 {
		return nil
	}
	for name := range r.Header.All() {
		if strings.IndexByte(name, '_') < 0 || !h.has(name) {
			continue
		}
		if lower := strings.ToLower(name); !contains(set, lower) && !slices.Contains(known, lower) && !slices.Contains(out, lower) {
			out = append(out, lower)
		}
	}
	return out
}

// variants are the names under which this request has the written headers in another spelling (S16).
func variants(r *exchange.Request, written []exchange.Field) (out []string) {
	for name := range r.Header.All() {
		for i := range written {
			if len(name) == len(written[i].Name) && !strings.EqualFold(name, written[i].Name) && fold(name) == fold(written[i].Name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// namedByConnection reports whether the request asks proxies to drop a header that the policy writes (RFC 9110
// section 7.6.1): an upstream proxy that obeys would drop it (S17).
func namedByConnection(r *exchange.Request, writes func(name string) bool) bool {
	if !r.Header.Has("connection") {
		return false
	}
	for _, line := range r.Header.Values("connection") {
		for name := range strings.SplitSeq(line, ",") {
			if writes(strings.Trim(name, " \t")) {
				return true
			}
		}
	}
	return false
}

func contains(fields []exchange.Field, name string) bool {
	for i := range fields {
		if strings.EqualFold(fields[i].Name, name) {
			return true
		}
	}
	return false
}
