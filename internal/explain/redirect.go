package explain

import (
	"regexp"
	"strconv"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// location is a redirect's target as Envoy makes it (RouteEntryImplBase::newUri). path is the normalised
// one, with the query.
func location(r *routing.Request, path string, rt *routing.Route) string {
	action := rt.GetRedirect()
	old := "http"
	if r.TLS {
		old = "https"
	}
	scheme, port := old, ""
	switch {
	case action.GetSchemeRedirect() != "":
		scheme = action.GetSchemeRedirect()
	case action.GetHttpsRedirect():
		scheme = "https"
	}
	if p := action.GetPortRedirect(); p != 0 {
		port = ":" + strconv.Itoa(int(p))
	}
	host := action.GetHostRedirect()
	if host == "" {
		host = keptHost(r.Authority, old, scheme, port)
	}
	return scheme + "://" + host + port + redirectedPath(path, rt)
}

// keptHost is the request's host; its port goes where another is named, or where it was the old scheme's own.
func keptHost(authority, old, scheme, port string) string {
	at := strings.LastIndexByte(authority, ':')
	if strings.HasPrefix(authority, "[") && !strings.Contains(authority, "]:") || at < 0 {
		return authority
	}
	own := map[string]string{"http": ":80", "https": ":443"}[old]
	if port != "" || scheme != old && authority[at:] == own {
		return authority[:at]
	}
	return authority
}

// redirectedPath keeps the query unless the target has one, or it is to be dropped.
func redirectedPath(path string, rt *routing.Route) string {
	action := rt.GetRedirect()
	plain, query := path, ""
	if at := strings.IndexByte(path, '?'); at >= 0 {
		plain, query = path[:at], path[at:]
	}
	switch p := action.GetPathRewriteSpecifier().(type) {
	case *route.RedirectAction_PathRedirect:
		plain = p.PathRedirect
		if strings.Contains(plain, "?") {
			return plain
		}
	case *route.RedirectAction_PrefixRewrite:
		plain = p.PrefixRewrite + strings.TrimPrefix(plain, matchedPrefix(rt.GetMatch(), plain))
	case *route.RedirectAction_RegexRewrite:
		plain = rewritten(p.RegexRewrite, plain)
	}
	if action.GetStripQuery() {
		query = ""
	}
	return plain + query
}

// matchedPrefix is what a prefix rewrite replaces: the whole path where none was matched.
func matchedPrefix(m *route.RouteMatch, path string) string {
	switch p := m.GetPathSpecifier().(type) {
	case *route.RouteMatch_Prefix:
		return p.Prefix
	case *route.RouteMatch_PathSeparatedPrefix:
		return p.PathSeparatedPrefix
	}
	return path
}

// group is a reference to a group, or an escaped backslash, in a substitution of RE2.
var group = regexp.MustCompile(`\\(\d|\\)`)

// rewritten replaces every match. A pattern that Envoy wouldn't take leaves the path as it is.
func rewritten(r *matcher.RegexMatchAndSubstitute, path string) string {
	pattern, err := regexp.Compile(r.GetPattern().GetRegex())
	if err != nil {
		return path
	}
	substitution := group.ReplaceAllStringFunc(strings.ReplaceAll(r.GetSubstitution(), "$", "$$"), func(reference string) string {
		if reference == `\\` {
			return `\`
		}
		return "${" + reference[1:] + "}"
	})
	return pattern.ReplaceAllString(path, substitution)
}
