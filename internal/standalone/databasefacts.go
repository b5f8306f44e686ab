package standalone

import (
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// databaseFacts tells of the databases in which policies look addresses up: whether they are there, and what keeps
// the newest contents from being used.
func databaseFacts(databases []geo.State) []status.Condition {
	var all []status.Condition
	for i := range databases {
		for _, use := range databases[i].Uses {
			all = append(all, databaseFact(&databases[i], use))
		}
	}
	return all
}

func databaseFact(s *geo.State, use geo.Use) status.Condition {
	c := status.Condition{Object: securityPolicy(use.Policy), Type: "ResolvedRefs"}
	of, fault := fmt.Sprintf("the %s database %s", use.Kind, s.Path), use.Fault
	if fault == "" {
		fault = s.LastError
	}
	switch {
	case !use.InForce:
		c.Reason, c.Message = "DatabaseUnavailable", fmt.Sprintf("%s isn't there, requests are answered 503: %s", of, oneLine(fault))
	case fault != "":
		c.Type, c.True, c.Reason = "Warning", true, "DatabaseStale"
		c.Message = fmt.Sprintf("%s goes on as it was when it was last good (%s): %s", of, edition(s), oneLine(fault))
	default:
		c.True, c.Reason, c.Message = true, "ResolvedRefs", fmt.Sprintf("%s is in force (%s)", of, edition(s))
	}
	return c
}

// edition tells a database's contents from others.
func edition(s *geo.State) string {
	if s.Type == "" {
		return ""
	}
	return s.Type + " of " + s.Built.UTC().Format("2006-01-02")
}

// missingDatabases warns of the databases that aren't there, for whoever runs nothing: they may be elsewhere.
func missingDatabases(databases []geo.State) []status.Condition {
	var all []status.Condition
	for _, c := range databaseFacts(databases) {
		if !c.True {
			c.Type, c.True = "Warning", true
			all = append(all, c)
		}
	}
	return all
}
