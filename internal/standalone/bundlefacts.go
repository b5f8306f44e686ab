package standalone

import (
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// bundleFacts tells of the bundles of policies: whether they are there, and what keeps the newest from being
// used.
func bundleFacts(bundles []bundle.State) []status.Condition {
	var all []status.Condition
	for i := range bundles {
		for _, use := range bundles[i].Uses {
			all = append(all, bundleFact(&bundles[i], use))
		}
	}
	return all
}

func bundleFact(s *bundle.State, use bundle.Use) status.Condition {
	c := status.Condition{Object: securityPolicy(use.Policy), Type: "ResolvedRefs"}
	switch {
	case s.LastSuccess.IsZero() && s.LastError == "":
		c.Reason, c.Message = "BundleUnavailable", "the bundle "+s.URL+" is being fetched; until it is there, requests are answered 503"
	case s.LastSuccess.IsZero():
		c.Reason, c.Message = "BundleUnavailable", fmt.Sprintf("the bundle %s isn't there, requests are answered 503: %s", s.URL, oneLine(s.LastError))
	case use.Fault != "" && !use.InForce:
		c.Reason, c.Message = "BundleRefused", fmt.Sprintf("the bundle %s can't be used%s, requests are answered 503: %s", s.URL, revision(s), oneLine(use.Fault))
	case use.Fault != "":
		c.Type, c.True, c.Reason = "Warning", true, "BundleRefused"
		c.Message = fmt.Sprintf("the bundle %s can't be used as it is now%s, what was in force before goes on: %s", s.URL, revision(s), oneLine(use.Fault))
	case s.LastError != "":
		c.Type, c.True, c.Reason = "Warning", true, "BundleStale"
		c.Message = fmt.Sprintf("the bundle %s goes on as it was fetched last%s: %s", s.URL, revision(s), oneLine(s.LastError))
	default:
		c.True, c.Reason, c.Message = true, "ResolvedRefs", "the bundle "+s.URL+" is in force"+revision(s)
	}
	return c
}

func revision(s *bundle.State) string {
	if s.Revision == "" {
		return ""
	}
	return " (revision " + s.Revision + ")"
}
