package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

func (r *resolver) basicAuth(spec *egv1alpha1.BasicAuth, own *resource.BasicAuthOwn, name string) *config.BasicAuth {
	if spec == nil {
		return nil
	}
	out := &config.BasicAuth{Users: r.secret("spec.basicAuth.users", spec.Users, ".htpasswd", "auth", "users"), Realm: name}
	if spec.ForwardUsernameHeader != nil {
		out.ForwardUsernameHeader = *spec.ForwardUsernameHeader
	}
	if own != nil {
		out.AllowPlaintext = own.AllowPlaintext
		if own.Realm != "" {
			out.Realm = own.Realm
		}
	}
	return out
}

func (r *resolver) jwt(spec *egv1alpha1.JWT, own *resource.JWTOwn) *config.JWT {
	if spec == nil {
		return nil
	}
	out := &config.JWT{Optional: deref(spec.Optional), FailOpen: deref(spec.FailOpen)}
	if len(spec.Providers) == 0 {
		r.fault("spec.jwt.providers: at least one provider is needed")
	}
	for i := range spec.Providers {
		var extra resource.JWTProviderOwn
		if own != nil && i < len(own.Providers) {
			extra = own.Providers[i]
		}
		out.Providers = append(out.Providers, r.provider(fmt.Sprintf("spec.jwt.providers[%d]", i), &spec.Providers[i], &extra))
	}
	return out
}

func (r *resolver) provider(field string, p *egv1alpha1.JWTProvider, own *resource.JWTProviderOwn) config.JWTProvider {
	out := config.JWTProvider{
		Name: p.Name, Issuer: p.Issuer, Audiences: p.Audiences,
		ClockSkew:         r.duration(field+".clockSkew", own.ClockSkew, time.Minute),
		RequireExpiration: own.RequireExpiration, RecomputeRoute: deref(p.RecomputeRoute),
	}
	switch {
	case (p.LocalJWKS == nil) == (p.RemoteJWKS == nil):
		r.fault("%s: set exactly one of localJWKS and remoteJWKS", field)
	case p.LocalJWKS != nil:
		out.LocalJWKS = r.localJWKS(field+".localJWKS", p.LocalJWKS)
	default:
		out.RemoteJWKS = r.remoteJWKS(field+".remoteJWKS", p.RemoteJWKS, own.RemoteJWKS)
	}
	for i, c := range p.ClaimToHeaders {
		header := config.ClaimToHeader{Claim: c.Claim, Header: c.Header}
		if i < len(own.ClaimToHeaders) {
			header.Format = string(own.ClaimToHeaders[i].Format)
		}
		out.ClaimToHeaders = append(out.ClaimToHeaders, header)
	}
	out.ExtractFrom = extractFrom(p.ExtractFrom)
	return out
}

func (r *resolver) localJWKS(field string, spec *egv1alpha1.LocalJWKS) *config.Source {
	switch {
	case spec.Inline != nil:
		return &config.Source{Inline: *spec.Inline}
	case spec.ValueRef != nil:
		source := r.localKey(field+".valueRef", *spec.ValueRef, "jwks", "jwks.json")
		return &source
	}
	r.fault("%s: set inline or valueRef", field)
	return nil
}

func (r *resolver) remoteJWKS(field string, spec *egv1alpha1.RemoteJWKS, own *resource.RemoteJWKSOwn) *config.RemoteJWKS {
	if len(spec.BackendRefs) > 0 || spec.BackendRef != nil {
		r.fault("%s: backendRefs have no use here, keys are fetched from uri; remove them", field)
	}
	if unused := given(spec.BackendSettings); len(unused) > 0 {
		r.warn(noEffect, "%s.backendSettings: %s without effect: Gatehouse fetches keys itself, each time over a new connection, and again and again until it has them; remove backendSettings", field, strings.Join(unused, ", "))
	}
	if spec.FailedRefetchDuration != nil {
		r.warn(noEffect, "%s.failedRefetchDuration: without effect: a failed fetch is repeated after 1 s, later after up to 30 s; remove it", field)
	}
	out := &config.RemoteJWKS{
		URI: spec.URI, CacheDuration: r.duration(field+".cacheDuration", spec.CacheDuration, 5*time.Minute), MaxStale: 24 * time.Hour,
	}
	if own == nil {
		return out
	}
	out.MaxStale = r.duration(field+".maxStale", own.MaxStale, out.MaxStale)
	out.AllowPrivateAddresses = own.AllowPrivateAddresses
	if own.CACertificateRef != nil {
		source := r.localKey(field+".caCertificateRef", *own.CACertificateRef, "ca.crt")
		out.CACertificate = &source
	}
	return out
}

// given names the settings that are set.
func given(s *egv1alpha1.ClusterSettings) []string {
	if s == nil {
		return nil
	}
	var all []string
	for field, value := range reflect.ValueOf(s).Elem().Fields() {
		if !value.IsZero() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func extractFrom(spec *egv1alpha1.JWTExtractor) *config.ExtractFrom {
	if spec == nil {
		return nil
	}
	out := &config.ExtractFrom{Cookies: spec.Cookies, Params: spec.Params}
	for _, h := range spec.Headers {
		out.Headers = append(out.Headers, config.ExtractHeader{Name: h.Name, ValuePrefix: deref(h.ValuePrefix)})
	}
	return out
}

func (r *resolver) cors(spec *egv1alpha1.CORS) *config.CORS {
	if spec == nil {
		return nil
	}
	out := &config.CORS{
		AllowMethods: spec.AllowMethods, AllowHeaders: spec.AllowHeaders,
		ExposeHeaders: spec.ExposeHeaders, AllowCredentials: deref(spec.AllowCredentials),
	}
	for _, origin := range spec.AllowOrigins {
		out.AllowOrigins = append(out.AllowOrigins, string(origin))
	}
	if spec.MaxAge != nil {
		age := r.duration("spec.cors.maxAge", spec.MaxAge, 0)
		out.MaxAge = &age
	}
	return out
}

func sortedKeys(m map[string][]byte) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// deref returns what p points to, the zero value for nil.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
