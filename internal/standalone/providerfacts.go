package standalone

import (
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/openid"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// ProvidersDir holds the last good descriptions of OpenID providers, in a state directory.
const ProvidersDir = "providers"

// providerFacts tells of the descriptions of OpenID providers, at the policies that need them.
func providerFacts(needed []translator.Provider, documents map[string]*openid.Document, states []discovery.State) []status.Condition {
	known := map[string]discovery.State{}
	for _, s := range states {
		known[s.Issuer] = s
	}
	var all []status.Condition
	for _, p := range needed {
		if s, ok := known[p.Issuer]; ok {
			all = append(all, providerFact(securityPolicy(p.Policy), documents[p.Issuer] != nil, s))
		}
	}
	return all
}

func providerFact(policy resource.Key, there bool, s discovery.State) status.Condition {
	const remedy = "make it reachable, correct the issuer, or give authorizationEndpoint and tokenEndpoint; it is fetched again and again"
	switch {
	case there && s.LastError == "":
		return status.Condition{
			Object: policy, Type: "ResolvedRefs", True: true, Reason: "ResolvedRefs",
			Message: "oidc.provider: the endpoints are those of " + s.URL,
		}
	case there:
		return status.Condition{
			Object: policy, Type: "Warning", True: true, Reason: "ProviderStale",
			Message: fmt.Sprintf("oidc.provider: the endpoints go on as they were fetched last, %s: %s: %s; make it reachable, it is fetched again and again",
				s.LastSuccess.UTC().Format(time.RFC3339), s.URL, oneLine(s.LastError)),
		}
	case s.LastError == "":
		return status.Condition{
			Object: policy, Type: "ResolvedRefs", Reason: "ProviderUnavailable",
			Message: fmt.Sprintf("oidc.provider: %s is being fetched; until it is there, requests are answered 503", s.URL),
		}
	}
	return status.Condition{
		Object: policy, Type: "ResolvedRefs", Reason: "ProviderUnavailable",
		Message: fmt.Sprintf("oidc.provider: %s can't be used, requests are answered 503: %s; %s", s.URL, oneLine(s.LastError), remedy),
	}
}

// Unfetched tells whose descriptions a running gateway would fetch, and what holds until they are there.
func Unfetched(set *resource.Set, result *translator.Result) []resource.Warning {
	var all []resource.Warning
	for _, p := range result.Providers {
		url, err := openid.URL(p.Issuer)
		if err != nil || set.Providers[p.Issuer] != nil {
			continue
		}
		key := securityPolicy(p.Policy)
		origin, _ := set.Origin(key)
		all = append(all, resource.Warning{
			Origin: origin, Key: key, Field: "spec.oidc.provider",
			Message: fmt.Sprintf("a gateway fetches %s for authorizationEndpoint and tokenEndpoint; until it is there, and here, requests are answered 503", url),
		})
	}
	return all
}
