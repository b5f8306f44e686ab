package cors

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// The limits of what a client may make the policy compare, and of what a policy may list.
const (
	maxOrigin        = 512
	maxRequested     = 64
	maxRequestedSize = 4096
	maxEntries       = 1000
)

// Policy is compiled and immutable. It is safe for concurrent use.
type Policy struct {
	exact    map[string][]exchange.Field // with the headers of a response
	patterns []*regexp.Regexp

	methods, headers       []string
	anyMethod, anyHeader   bool
	methodList, headerList string
	exposed, maxAge        string
	credentials            bool
}

// Compile checks and compiles spec. The error names the field and the entry.
func Compile(spec *config.CORS) (*Policy, error) {
	if len(spec.AllowOrigins) > maxEntries {
		return nil, fmt.Errorf("cors.allowOrigins: %d entries, at most %d are supported", len(spec.AllowOrigins), maxEntries)
	}
	p := &Policy{exact: map[string][]exchange.Field{}, credentials: Credentials(spec)}
	for _, entry := range spec.AllowOrigins {
		exact, pattern, err := OriginPattern(entry)
		if err != nil {
			return nil, fmt.Errorf("cors.allowOrigins: %w", err)
		}
		if exact != "" {
			p.exact[exact] = nil
			continue
		}
		compiled, err := regexp.Compile(`^(?:` + pattern + `)$`)
		if err != nil {
			return nil, fmt.Errorf("cors.allowOrigins: %q: %w", entry, err)
		}
		p.patterns = append(p.patterns, compiled)
	}
	if err := p.compileLists(spec); err != nil {
		return nil, err
	}
	for origin := range p.exact {
		p.exact[origin] = p.simple(origin)
	}
	return p, nil
}

// Credentials reports whether responses may carry Access-Control-Allow-Credentials. "*" or
// scheme://* among the origins turns credentials off for the whole policy: together they would hand
// every site the user's session (S35), and Envoy's filter has one setting for all origins of a route.
func Credentials(spec *config.CORS) bool {
	return spec.AllowCredentials && !slices.ContainsFunc(spec.AllowOrigins, func(entry string) bool {
		_, host, found := strings.Cut(entry, "://")
		return entry == "*" || found && (host == "*" || strings.HasPrefix(host, "*:"))
	})
}

func (p *Policy) compileLists(spec *config.CORS) error {
	for _, list := range []struct {
		field   string
		entries []string
	}{{"allowMethods", spec.AllowMethods}, {"allowHeaders", spec.AllowHeaders}, {"exposeHeaders", spec.ExposeHeaders}} {
		for _, entry := range list.entries {
			if !exchange.IsToken(entry) {
				return fmt.Errorf("cors.%s: %q is neither a name nor \"*\"", list.field, entry)
			}
		}
	}
	p.methods, p.headers = spec.AllowMethods, spec.AllowHeaders
	p.anyMethod, p.anyHeader = slices.Contains(p.methods, "*"), slices.Contains(p.headers, "*")
	p.methodList, p.headerList = strings.Join(p.methods, ", "), strings.Join(p.headers, ", ")
	p.exposed = strings.Join(spec.ExposeHeaders, ", ")
	if spec.MaxAge != nil {
		if *spec.MaxAge < 0 {
			return fmt.Errorf("cors.maxAge: %s is negative", *spec.MaxAge)
		}
		p.maxAge = strconv.FormatInt(int64(*spec.MaxAge/time.Second), 10)
	}
	return nil
}

// Match reports whether the policy allows the value of an Origin header. Values with bytes that no
// browser sends match nothing, for expressions see bytes differently in different engines (S10).
func (p *Policy) Match(origin string) bool {
	if origin == "" || len(origin) > maxOrigin || !visible(origin) {
		return false
	}
	if _, found := p.exact[origin]; found {
		return true
	}
	return slices.ContainsFunc(p.patterns, func(re *regexp.Regexp) bool { return re.MatchString(origin) })
}

// Origin returns the request's origin if it has exactly one and the policy allows it, else "" (S13).
func (p *Policy) Origin(r *exchange.Request) string {
	origin, lines := r.Header.Lookup("origin")
	if lines != 1 || !p.Match(origin) {
		return ""
	}
	return origin
}

// Vary is the header of every answer that depends on the origin, also of one that allows nothing.
var Vary = exchange.Field{Name: "vary", Value: "Origin"}

var varyOnly = []exchange.Field{Vary}

// Headers returns the headers of a simple response to an origin that [Policy.Origin] returned; for ""
// only Vary. The origin is sent back also where "*" is allowed, as Envoy's filter does. The slice may be
// shared with other requests: it must not be changed in place.
func (p *Policy) Headers(origin string) []exchange.Field {
	if origin == "" {
		return varyOnly
	}
	if fields, found := p.exact[origin]; found {
		return fields
	}
	return p.simple(origin)
}

func (p *Policy) simple(origin string) []exchange.Field {
	fields := append(make([]exchange.Field, 0, 4), exchange.Field{Name: "access-control-allow-origin", Value: origin})
	if p.credentials {
		fields = append(fields, exchange.Field{Name: "access-control-allow-credentials", Value: "true"})
	}
	if p.exposed != "" {
		fields = append(fields, exchange.Field{Name: "access-control-expose-headers", Value: p.exposed})
	}
	return append(fields, Vary)
}

// visible is printable ASCII without space: two origins in one value never match (RFC 6454 section 7.1).
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
