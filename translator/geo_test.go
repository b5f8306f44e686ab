package translator_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// One policy is another one below each Gateway: it looks into that Gateway's databases, and only into those that
// its rules need.
func TestGeoRulesUseTheDatabasesOfTheirGateway(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/security-geo.txtar")
	if err != nil {
		t.Fatal(err)
	}
	result := newTranslator().Translate(load(t, section(txtar.Parse(text), "in.yaml")), nil)
	var usable []config.Policy
	faults := 0
	for _, p := range result.Snapshot.Policies {
		if p.Spec.Fault != "" {
			faults++
			continue
		}
		usable = append(usable, *p.Spec)
	}
	slices.SortFunc(usable, func(a, b config.Policy) int {
		return strings.Compare(a.Name+a.GeoIP.CountryDB, b.Name+b.GeoIP.CountryDB)
	})
	countries := &config.Authorization{Rules: []config.Rule{{Name: "rule-0", Allow: true, Locations: []config.GeoLocation{{Country: "CH"}, {Country: "LI"}}}}}
	want := []config.Policy{
		{Name: "default/country", Authorization: countries, GeoIP: &config.GeoIP{CityDB: "/geo/city.mmdb"}},
		{Name: "default/country", Authorization: countries, GeoIP: &config.GeoIP{CountryDB: "/geo/country.mmdb"}},
		{
			Name: "default/provider", GeoIP: &config.GeoIP{ISPDB: "/geo/isp.mmdb"},
			Authorization: &config.Authorization{DefaultAllow: true, Rules: []config.Rule{{Name: "rule-0", Locations: []config.GeoLocation{{ISP: "Tele", ASN: 64500}}}}},
		},
	}
	if diff := cmp.Diff(want, usable); diff != "" || faults != 3 {
		t.Errorf("%d faults\n%s", faults, diff)
	}
}

const geoGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec: {gatewayClassName: c, infrastructure: {parametersRef: {group: %s, kind: %s, name: p}}, listeners: [{name: a, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: c}
spec: {controllerName: gatehouse.dev/gateway-controller, parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, namespace: default, name: class}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: class}
spec: {geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: /class.mmdb}}, asnDbSource: {local: {path: /asn.mmdb}}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: 1}}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}]
  authorization: {rules: [{action: Allow, principal: {clientIPGeoLocations: [%s]}}]}
`

const geoProxy = `---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: p}
spec: {%s}
`

// A policy that can't look where it should has its routes answer 503 and says what to set.
func TestS40GeoRulesWithoutTheirDatabaseAreFaults(t *testing.T) {
	t.Parallel()
	const country, maxMind = "{country: CH}", "geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: /own.mmdb}}}}}"
	for name, c := range map[string]struct {
		group, kind, location, proxy string
		uses                         config.GeoIP
		says                         string
	}{
		"its own":                           {location: country, proxy: maxMind, uses: config.GeoIP{CountryDB: "/own.mmdb"}},
		"its own replaces the class's":      {location: "{asn: 1}", proxy: maxMind, says: "[0].asn: EnvoyProxy default/p has no database for it; set spec.geoIP.provider.maxMind.asnDbSource or ispDbSource there"},
		"its own joins the class's":         {location: "{asn: 1, country: CH}", proxy: "mergeType: StrategicMerge, " + maxMind, uses: config.GeoIP{CountryDB: "/own.mmdb", ASNDB: "/asn.mmdb"}},
		"one that merges and has none":      {location: country, proxy: "mergeType: JSONMerge", uses: config.GeoIP{CountryDB: "/class.mmdb"}},
		"one that replaces and has none":    {location: country, proxy: "concurrency: 1", says: "Gateway default/g has no databases; name an EnvoyProxy"},
		"an EnvoyProxy that isn't there":    {location: country, says: "EnvoyProxy default/p, which Gateway default/g names as its parametersRef, doesn't exist"},
		"parameters of another kind":        {kind: "ConfigMap", location: country, proxy: maxMind, says: "parametersRef names a ConfigMap"},
		"parameters of another group":       {group: "example.com", location: country, proxy: maxMind, says: "name an EnvoyProxy of group gateway.envoyproxy.io"},
		"another provider":                  {location: country, proxy: "geoIP: {provider: {type: Other}}", says: "spec.geoIP.provider.type: "},
		"no database":                       {location: country, proxy: "geoIP: {provider: {type: MaxMind}}", says: "names no database"},
		"a relative path":                   {location: country, proxy: "geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: own.mmdb}}}}}", says: "countryDbSource.local.path: \"own.mmdb\" must be an absolute path"},
		"another file":                      {location: country, proxy: "geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: /etc/shadow}}}}}", says: "ends in .mmdb"},
		"an empty entry":                    {location: "{}", proxy: maxMind, says: "clientIPGeoLocations[0]: set country, region"},
		"an empty value":                    {location: "{country: CH, city: ''}", proxy: maxMind, says: "[0].city: is empty"},
		"no flag":                           {location: "{anonymous: {}}", proxy: maxMind, says: "[0].anonymous: set isAnonymous"},
		"no number":                         {location: "{asn: 0}", proxy: maxMind, says: "[0].asn: 0 is no autonomous system"},
		"a kind of database that's missing": {location: "{anonymous: {isTor: true}}", proxy: maxMind, says: "anonymousIpDbSource there"},
	} {
		group, kind := "gateway.envoyproxy.io", "EnvoyProxy"
		if c.group != "" {
			group = c.group
		}
		if c.kind != "" {
			kind = c.kind
		}
		manifests := fmt.Sprintf(geoGateway, group, kind, c.location)
		if c.proxy != "" {
			manifests += fmt.Sprintf(geoProxy, c.proxy)
		}
		result := newTranslator().Translate(load(t, manifests), nil)
		if len(result.Snapshot.Policies) != 1 {
			t.Fatalf("%s: %d policies", name, len(result.Snapshot.Policies))
		}
		spec := result.Snapshot.Policies[0].Spec
		if c.says == "" {
			if spec.GeoIP == nil || *spec.GeoIP != c.uses || spec.Fault != "" {
				t.Errorf("%s: %+v %q", name, spec.GeoIP, spec.Fault)
			}
			continue
		}
		if !strings.Contains(spec.Fault, c.says) || !strings.Contains(conditions(result), "SecurityPolicy default/s [] Accepted=false Invalid: ") {
			t.Errorf("%s: %q\n%s", name, spec.Fault, conditions(result))
		}
	}
}

// An authorizer alone has no Gateway: the databases are those of the EnvoyProxies.
func TestPoliciesByThemselvesUseTheOnlyDatabases(t *testing.T) {
	t.Parallel()
	const policy = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]
  authorization: {rules: [{action: Allow, principal: {clientIPGeoLocations: [{country: CH}]}}]}
`
	proxy := func(name, path string) string {
		return strings.ReplaceAll(fmt.Sprintf(geoProxy, "geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: "+path+"}}}}}"), "name: p", "name: "+name)
	}
	for name, c := range map[string]struct {
		manifests string
		uses      *config.GeoIP
		says      string
	}{
		"one":       {policy + proxy("a", "/a.mmdb"), &config.GeoIP{CountryDB: "/a.mmdb"}, ""},
		"equal":     {policy + proxy("a", "/a.mmdb") + proxy("b", "/a.mmdb") + strings.ReplaceAll(fmt.Sprintf(geoProxy, "concurrency: 1"), "name: p", "name: c"), &config.GeoIP{CountryDB: "/a.mmdb"}, ""},
		"different": {policy + proxy("a", "/a.mmdb") + proxy("b", "/b.mmdb"), nil, "several EnvoyProxies have different databases"},
		"none":      {policy, nil, "no EnvoyProxy has databases"},
	} {
		all := newTranslator().Policies(load(t, c.manifests))
		if len(all) != 1 || !cmp.Equal(all[0].Spec.GeoIP, c.uses) || !strings.Contains(all[0].Spec.Fault, c.says) || c.says == "" && all[0].Spec.Fault != "" {
			t.Errorf("%s: %+v", name, all[0].Spec)
		}
	}
}

// A policy is another one when its databases are, and stays what it is through other edits of the EnvoyProxy.
func TestAnotherDatabaseIsAnotherPolicy(t *testing.T) {
	t.Parallel()
	tr := newTranslator()
	with := func(proxy string) *resource.Set {
		return load(t, fmt.Sprintf(geoGateway, "gateway.envoyproxy.io", "EnvoyProxy", "{country: CH}")+fmt.Sprintf(geoProxy, proxy))
	}
	const at = "geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: %s}}}}}"
	refs := func(r *translator.Result) string { return r.Snapshot.Policies[0].Ref }
	first := tr.Translate(with(fmt.Sprintf(at, "/a.mmdb")), nil)
	before := refs(first)
	second := tr.Translate(with(fmt.Sprintf(at, "/a.mmdb")+", concurrency: 2"), first)
	if refs(second) != before {
		t.Error("another setting is another policy")
	}
	third := tr.Translate(with(fmt.Sprintf(at, "/b.mmdb")), second)
	if refs(third) == before || third.Snapshot.Policies[0].Spec.GeoIP.CountryDB != "/b.mmdb" {
		t.Error("another database is the same policy")
	}
}
