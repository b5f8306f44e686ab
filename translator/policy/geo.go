package policy

import (
	"cmp"
	"fmt"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// DatabasesKind is the kind of the databases that a Gateway gives its policies; a key names the Gateway.
const DatabasesKind memo.Kind = "databases of Gateway"

// databases are compared as a plain value: another setting of the EnvoyProxy concerns no policy.
type databases struct {
	config.GeoIP

	from  string // the EnvoyProxy
	fault string
}

// DatabasesRule finds the EnvoyProxy of a Gateway as Envoy Gateway does: by spec.infrastructure.parametersRef, else by
// that of the GatewayClass.
func DatabasesRule(v *memo.View, key memo.Key) any {
	gateway := memo.Read[*gatewayv1.Gateway](v, memo.Key{Kind: "Gateway", Namespace: key.Namespace, Name: key.Name})
	if gateway == nil {
		return databases{}
	}
	of := "Gateway " + key.Namespace + "/" + key.Name
	var own databases
	if in := gateway.Spec.Infrastructure; in != nil && in.ParametersRef != nil {
		ref := in.ParametersRef
		var merges bool
		if own, merges = readDatabases(v, of, parameters{string(ref.Group), string(ref.Kind), gateway.Namespace, ref.Name}); !merges {
			return own.orFault(of)
		}
	}
	class := memo.Read[*gatewayv1.GatewayClass](v, memo.Key{Kind: "GatewayClass", Name: string(gateway.Spec.GatewayClassName)})
	if class == nil || class.Spec.ParametersRef == nil {
		return own.orFault(of)
	}
	ref := class.Spec.ParametersRef
	p := parameters{group: string(ref.Group), kind: string(ref.Kind), name: ref.Name}
	if ref.Namespace != nil {
		p.namespace = string(*ref.Namespace)
	}
	outer, _ := readDatabases(v, "GatewayClass "+class.Name, p)
	return own.over(outer).orFault(of)
}

// parameters is a parametersRef.
type parameters struct{ group, kind, namespace, name string }

// readDatabases also says whether the EnvoyProxy merges with one further out.
func readDatabases(v *memo.View, of string, ref parameters) (d databases, merges bool) {
	if ref.group != egv1alpha1.GroupName || ref.kind != "EnvoyProxy" {
		return databases{fault: fmt.Sprintf("%s: parametersRef names a %s; name an EnvoyProxy of group %s", of, ref.kind, egv1alpha1.GroupName)}, false
	}
	proxy := memo.Read[*egv1alpha1.EnvoyProxy](v, memo.Key{Kind: "EnvoyProxy", Namespace: ref.namespace, Name: ref.name})
	if proxy == nil {
		return databases{fault: fmt.Sprintf("EnvoyProxy %s/%s, which %s names as its parametersRef, doesn't exist or can't be read; create it or correct it", ref.namespace, ref.name, of)}, false
	}
	how := deref(proxy.Spec.MergeType)
	return databasesOf(proxy), how == egv1alpha1.StrategicMerge || how == egv1alpha1.JSONMerge
}

func databasesOf(proxy *egv1alpha1.EnvoyProxy) databases {
	d := databases{from: "EnvoyProxy " + proxy.Namespace + "/" + proxy.Name}
	if fault := GeoIPFault(proxy); fault != "" {
		d.fault = d.from + ": " + fault
		return d
	}
	if proxy.Spec.GeoIP != nil {
		m := proxy.Spec.GeoIP.Provider.MaxMind
		d.GeoIP = config.GeoIP{
			CountryDB: pathOf(m.CountryDBSource), CityDB: pathOf(m.CityDBSource), ASNDB: pathOf(m.ASNDBSource),
			ISPDB: pathOf(m.ISPDBSource), AnonymousIPDB: pathOf(m.AnonymousIPDBSource),
		}
	}
	return d
}

func pathOf(source *egv1alpha1.GeoIPDBSource) string {
	if source == nil {
		return ""
	}
	return source.Local.Path
}

// GeoIPFault says what is wrong with spec.geoIP of an EnvoyProxy, "" if nothing is.
func GeoIPFault(proxy *egv1alpha1.EnvoyProxy) string {
	geo := proxy.Spec.GeoIP
	if geo == nil {
		return ""
	}
	m := geo.Provider.MaxMind
	switch {
	case geo.Provider.Type != egv1alpha1.GeoIPProviderTypeMaxMind:
		return fmt.Sprintf("spec.geoIP.provider.type: %q is not supported; use MaxMind", geo.Provider.Type)
	case m == nil || *m == egv1alpha1.GeoIPMaxMind{}:
		return "spec.geoIP.provider.maxMind: names no database; set one of countryDbSource, cityDbSource, asnDbSource, ispDbSource and anonymousIpDbSource"
	}
	for _, one := range []struct {
		field  string
		source *egv1alpha1.GeoIPDBSource
	}{
		{"countryDbSource", m.CountryDBSource}, {"cityDbSource", m.CityDBSource}, {"asnDbSource", m.ASNDBSource},
		{"ispDbSource", m.ISPDBSource}, {"anonymousIpDbSource", m.AnonymousIPDBSource},
	} {
		if one.source == nil {
			continue
		}
		if err := config.CheckDatabasePath(one.source.Local.Path); err != nil {
			return fmt.Sprintf("spec.geoIP.provider.maxMind.%s.local.path: %q %v", one.field, one.source.Local.Path, err)
		}
	}
	return ""
}

// over takes from outer what d doesn't have.
func (d databases) over(outer databases) databases {
	if d.fault != "" {
		return d
	}
	if outer.fault != "" && d.GeoIP == (config.GeoIP{}) {
		return outer
	}
	return databases{from: cmp.Or(d.from, outer.from), GeoIP: config.GeoIP{
		CountryDB: cmp.Or(d.CountryDB, outer.CountryDB), CityDB: cmp.Or(d.CityDB, outer.CityDB), ASNDB: cmp.Or(d.ASNDB, outer.ASNDB),
		ISPDB: cmp.Or(d.ISPDB, outer.ISPDB), AnonymousIPDB: cmp.Or(d.AnonymousIPDB, outer.AnonymousIPDB),
	}}
}

// orFault says of a Gateway without databases what to set.
func (d databases) orFault(of string) databases {
	if d.fault == "" && d.GeoIP == (config.GeoIP{}) {
		d.fault = of + " has no databases; name an EnvoyProxy in its spec.infrastructure.parametersRef, or in that of its GatewayClass, and set spec.geoIP.provider.maxMind there"
	}
	return d
}

// placeSeparator parts a key's policies from where they apply. It can't be part of an object's name.
const placeSeparator = "@"

// located adds where its databases come from to the key of a policy that needs some.
func located(key memo.Key, place string) memo.Key {
	key.Name += placeSeparator + place
	return key
}

// placeOf is the reverse of located.
func placeOf(key memo.Key) (policies, place string) {
	policies, place, _ = strings.Cut(key.Name, placeSeparator)
	return policies, place
}

// Located reports whether a key stands for policies at a certain Gateway.
func Located(key memo.Key) bool { return strings.Contains(key.Name, placeSeparator) }

// locates reports whether a policy has a rule about where clients are.
func locates(p *resource.SecurityPolicy) bool {
	if p == nil || p.Spec.Authorization == nil {
		return false
	}
	for i := range p.Spec.Authorization.Rules {
		if principal := p.Spec.Authorization.Rules[i].Principal; principal != nil && len(principal.ClientIPGeoLocations) > 0 {
			return true
		}
	}
	return false
}

// LoneKey is the key of a policy for an authorizer that knows no Gateway: it takes the databases of the
// EnvoyProxies, which must be the same in all of them.
func LoneKey(set *resource.Set, p *resource.SecurityPolicy) memo.Key {
	key := memo.Key{Kind: SecurityKind, Namespace: p.Namespace, Name: p.Name}
	if !locates(p) {
		return key
	}
	var first *egv1alpha1.EnvoyProxy
	for _, proxy := range set.EnvoyProxies.All() {
		switch {
		case proxy.Spec.GeoIP == nil:
		case first == nil:
			first = proxy
		case databasesOf(first).GeoIP != databasesOf(proxy).GeoIP:
			return located(key, severalPlaces)
		}
	}
	if first == nil {
		return located(key, noPlace)
	}
	return located(key, "EnvoyProxy/"+first.Namespace+"/"+first.Name)
}

// Places of policies that belong to no Gateway and have no databases.
const (
	noPlace       = "none"
	severalPlaces = "several"
)

// databases finds those of a key's place.
func (r *resolver) databases() databases {
	kind, rest, _ := strings.Cut(r.place, "/")
	namespace, name, _ := strings.Cut(rest, "/")
	switch kind {
	case "Gateway":
		return memo.Read[databases](r.view, memo.Key{Kind: DatabasesKind, Namespace: namespace, Name: name})
	case "EnvoyProxy":
		d, _ := readDatabases(r.view, "the authorizer", parameters{egv1alpha1.GroupName, kind, namespace, name})
		return d
	case severalPlaces:
		return databases{fault: "several EnvoyProxies have different databases; leave one of them with spec.geoIP"}
	}
	return databases{fault: "no EnvoyProxy has databases; add one with spec.geoIP.provider.maxMind"}
}

// geoIP returns the databases that the rules look into, nil for none. Of a policy that is resolved by itself, and
// not for a Gateway, they aren't known.
func (r *resolver) geoIP(authorization *config.Authorization) *config.GeoIP {
	if authorization == nil || r.place == "" {
		return nil
	}
	if needed, missing := (*config.GeoIP)(nil).For(authorization.Rules); needed == (config.GeoIP{}) && len(missing) == 0 {
		return nil
	}
	d := r.databases()
	if d.fault != "" {
		r.fault("spec.authorization: clientIPGeoLocations: %s", d.fault)
		return nil
	}
	needed, missing := d.For(authorization.Rules)
	for _, m := range missing {
		r.fault("spec.authorization.rules[%d].principal.clientIPGeoLocations[%d].%s: %s has no database for it; set spec.geoIP.provider.maxMind.%s there", m.Rule, m.Location, m.Field, d.from, m.Needs)
	}
	return &needed
}

// location refuses an entry that would match everywhere.
func (r *resolver) location(field string, spec *egv1alpha1.ClientIPGeoLocation) config.GeoLocation {
	if *spec == (egv1alpha1.ClientIPGeoLocation{}) {
		r.fault("%s: set country, region, city, asn, isp or anonymous", field)
	}
	text := func(name string, value *string) string {
		if value != nil && *value == "" {
			r.fault("%s.%s: is empty; write a value, or remove it", field, name)
		}
		return deref(value)
	}
	out := config.GeoLocation{
		Country: text("country", spec.Country), Region: text("region", spec.Region), City: text("city", spec.City),
		ASN: deref(spec.ASN), ISP: text("isp", spec.ISP),
	}
	if spec.ASN != nil && *spec.ASN == 0 {
		r.fault("%s.asn: 0 is no autonomous system; write its number, or remove it", field)
	}
	if a := spec.Anonymous; a != nil {
		if *a == (egv1alpha1.GeoIPAnonymousMatch{}) {
			r.fault("%s.anonymous: set isAnonymous, isVPN, isHosting, isTor or isProxy", field)
		}
		out.Anonymous = &config.AnonymousMatch{IsAnonymous: a.IsAnonymous, IsVPN: a.IsVPN, IsHosting: a.IsHosting, IsTor: a.IsTor, IsProxy: a.IsProxy}
	}
	return out
}

// locate adds the Gateway to the key of policies of which one needs its databases.
func locate(v *memo.View, key memo.Key, listener *gatewayapi.Listener) memo.Key {
	for _, n := range mergedNames(key) {
		if locates(readSecurity(v, n.namespace, n.name)) {
			return located(key, "Gateway/"+listener.Namespace+"/"+listener.Gateway)
		}
	}
	return key
}
