package explain

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	csrffilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/csrf/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// million is of what fractions of requests are told.
const million = 1_000_000

// forgery plays Envoy's csrf filter (CsrfFilter::decodeHeaders), which stands behind the authorizer. true: it
// has answered.
func forgery(r *routing.Request, header []exchange.Field, p *csrffilter.CsrfPolicy, out *Explanation) bool {
	changes := []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	if p == nil || !slices.Contains(changes, r.Method) {
		return false
	}
	source, target := routing.HostAndPort(joined(header, "origin")), routing.HostAndPort(r.Authority)
	if source == "" {
		source = routing.HostAndPort(joined(header, "referer"))
	}
	takes := func(m *matcher.StringMatcher) bool { return routing.TextMatches(m, source) }
	if source != "" && (source == target || slices.ContainsFunc(p.GetAdditionalOrigins(), takes)) {
		return false
	}
	why := fmt.Sprintf("csrf: the request is from %q, not from %q", source, target)
	if source == "" {
		why = "csrf: neither Origin nor Referer says where the request is from"
	}
	enforced := p.GetFilterEnabled().GetDefaultValue().GetNumerator()
	if enforced == 0 {
		out.note(why + "; it is only counted")
		return false
	}
	if enforced < million {
		out.note(fmt.Sprintf("csrf refuses only %g %% of such requests and counts the others", float64(enforced)*100/million))
	}
	v := &out.Verdict
	v.Outcome, v.Status, v.By, v.Reason, v.RequestHeaders, v.RemovedHeaders = Denied, http.StatusForbidden, "the CSRF filter", why, nil, nil
	return true
}

// joined are the lines of a header as the filter sees them.
func joined(header []exchange.Field, name string) string {
	var lines []string
	for _, f := range header {
		if named(name)(f) {
			lines = append(lines, f.Value)
		}
	}
	return strings.Join(lines, ",")
}

func named(name string) func(exchange.Field) bool {
	return func(f exchange.Field) bool { return strings.EqualFold(f.Name, name) }
}

// withoutDot is what the connection manager makes of a host.
func withoutDot(authority string) string {
	if host, port, found := strings.Cut(authority, ".:"); found && !strings.Contains(port, ":") {
		return host + ":" + port
	}
	return strings.TrimSuffix(authority, ".")
}
