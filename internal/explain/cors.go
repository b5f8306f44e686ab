package explain

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// allowedOrigin reports whether Envoy's cors filter takes the request's Origin.
func allowedOrigin(r *routing.Request, w *way) (origin string, ok bool) {
	origin = joined(r.Header, "origin")
	if origin == "" || w.cors == nil {
		return "", false
	}
	for _, m := range w.cors.GetAllowOriginStringMatch() {
		if m.GetExact() == "*" || routing.TextMatches(m, origin) {
			return origin, true
		}
	}
	return "", false
}

// preflight is the answer of Envoy's cors filter, which comes before every other, to a preflight.
func preflight(r *routing.Request, w *way, out *Explanation) bool {
	origin, ok := allowedOrigin(r, w)
	if !ok || r.Method != http.MethodOptions || joined(r.Header, "access-control-request-method") == "" {
		return false
	}
	headers := map[string]string{"access-control-allow-origin": origin}
	for name, value := range map[string]string{
		"access-control-allow-methods": w.cors.GetAllowMethods(), "access-control-allow-headers": w.cors.GetAllowHeaders(),
		"access-control-max-age": w.cors.GetMaxAge(), "access-control-expose-headers": w.cors.GetExposeHeaders(),
	} {
		if value != "" {
			headers[name] = value
		}
	}
	if w.cors.GetAllowCredentials().GetValue() {
		headers["access-control-allow-credentials"] = "true"
	}
	out.Verdict = Verdict{Outcome: Answered, Status: http.StatusOK, By: "the CORS filter", Reason: "cors_preflight", ResponseHeaders: headers}
	return true
}

// crossOrigin adds what Envoy's cors filter and the route put on every answer.
func crossOrigin(r *routing.Request, w *way, match *routing.Match, v *Verdict) {
	set := func(name, value string) {
		if v.ResponseHeaders == nil {
			v.ResponseHeaders = map[string]string{}
		}
		if _, has := v.ResponseHeaders[name]; !has {
			v.ResponseHeaders[name] = value
		}
	}
	for _, h := range slices.Concat(match.Route.GetResponseHeadersToAdd(), w.answered) {
		value := strings.ReplaceAll(h.GetHeader().GetValue(), "%%", "\x00")
		if !strings.Contains(value, "%") {
			set(strings.ToLower(h.GetHeader().GetKey()), strings.ReplaceAll(value, "\x00", "%"))
		}
	}
	origin, ok := allowedOrigin(r, w)
	if !ok {
		return
	}
	set("access-control-allow-origin", origin)
	if w.cors.GetAllowCredentials().GetValue() {
		set("access-control-allow-credentials", "true")
	}
	if expose := w.cors.GetExposeHeaders(); expose != "" {
		set("access-control-expose-headers", expose)
	}
}
