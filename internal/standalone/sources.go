package standalone

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

// source is what policies fetch by URL, in the form of /api/sources.
type source struct {
	URL         string     `json:"url"`
	LastSuccess *time.Time `json:"lastSuccess,omitempty"`
	AgeSeconds  *int64     `json:"ageSeconds,omitempty"` // since the last success
	LastAttempt time.Time  `json:"lastAttempt"`
	Next        time.Time  `json:"next"`
	Error       string     `json:"error,omitempty"`
	Fetches     uint64     `json:"fetches"`
	Failures    uint64     `json:"failures"`

	Keys     *int     `json:"keys,omitempty"`     // of a key set
	Refused  []string `json:"refused,omitempty"`  // why other keys of it were left out
	Revision string   `json:"revision,omitempty"` // of a bundle
	Policies []use    `json:"policies,omitempty"` // that use a bundle
}

type use struct {
	Name    string `json:"name"`
	InForce bool   `json:"inForce"`
	Fault   string `json:"fault,omitempty"`
}

// sources answers with the state of all that policies fetch.
func (g *gateway) sources() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		answer := struct {
			KeySets []source `json:"keySets"`
			Bundles []source `json:"bundles"`
			// Databases are those of rules about locations; their URL is a path.
			Databases []source `json:"databases"`
			// Providers are the descriptions of OpenID providers.
			Providers []source `json:"providers"`
		}{KeySets: []source{}, Bundles: []source{}, Databases: []source{}, Providers: []source{}}
		for _, s := range g.jwks.States() {
			answer.KeySets = append(answer.KeySets, keySetSource(&s, now))
		}
		for _, s := range g.bundles.States() {
			answer.Bundles = append(answer.Bundles, bundleSource(&s, now))
		}
		for _, s := range g.geo.States() {
			answer.Databases = append(answer.Databases, databaseSource(&s, now))
		}
		for _, s := range g.providers.States() {
			answer.Providers = append(answer.Providers, providerSource(&s, now))
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // a client that is gone needs no answer
	})
}

func keySetSource(s *jwt.State, now time.Time) source {
	out := source{URL: s.Shown(), LastAttempt: s.LastAttempt, Next: s.Next, Error: s.LastError, Fetches: s.Fetches, Failures: s.Failures, Keys: &s.Keys, Refused: s.Refused}
	return out.since(s.LastSuccess, now)
}

func bundleSource(s *bundle.State, now time.Time) source {
	out := source{URL: s.URL, LastAttempt: s.LastAttempt, Next: s.Next, Error: s.LastError, Fetches: s.Fetches, Failures: s.Failures, Revision: s.Revision}
	for _, u := range s.Uses {
		out.Policies = append(out.Policies, use{Name: u.Policy, InForce: u.InForce, Fault: u.Fault})
	}
	return out.since(s.LastSuccess, now)
}

func databaseSource(s *geo.State, now time.Time) source {
	out := source{URL: s.Path, LastAttempt: s.LastAttempt, Next: s.Next, Error: s.LastError, Fetches: s.Looks, Failures: s.Failures, Revision: edition(s)}
	for _, u := range s.Uses {
		out.Policies = append(out.Policies, use{Name: u.Policy, InForce: u.InForce, Fault: u.Fault})
	}
	return out.since(s.LastSuccess, now)
}

func providerSource(s *discovery.State, now time.Time) source {
	out := source{URL: s.URL, LastAttempt: s.LastAttempt, Next: s.Next, Error: s.LastError, Fetches: s.Fetches, Failures: s.Failures}
	return out.since(s.LastSuccess, now)
}

func (s source) since(success, now time.Time) source {
	if !success.IsZero() {
		age := int64(now.Sub(success).Seconds())
		s.LastSuccess, s.AgeSeconds = &success, &age
	}
	return s
}
