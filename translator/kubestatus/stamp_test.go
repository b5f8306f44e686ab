package kubestatus_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/statuscases"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
)

const stamped = `
Gateway gw: {gatewayClassName: c, listeners: [{name: http, port: 8080, protocol: HTTP}]}
HTTPRoute r: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: s, port: 80}]}]}
`

// TestTransitionTimesMoveWithTheStatusOnly: a reason or message may change without.
func TestTransitionTimesMoveWithTheStatusOnly(t *testing.T) {
	t.Parallel()
	first, second := time.Unix(1_000_000, 0), time.Unix(2_000_000, 0)
	before := render(t, statuscases.Manifests(t, stamped))
	kubestatus.Stamp(before, nil, first)
	after := render(t, statuscases.Manifests(t, stamped+"\nService s: {clusterIP: 10.0.0.1, ports: [{port: 80}]}"))
	kubestatus.Stamp(after, before, second)
	for i := range after {
		after[i].Status.Each(func(relative string, conditions []metav1.Condition) {
			for _, c := range conditions {
				want := first
				if after[i].Kind == "HTTPRoute" && c.Type == "ResolvedRefs" {
					want = second
				}
				if !c.LastTransitionTime.Time.Equal(want) {
					t.Errorf("%s [%s] %s: %v, want %v", after[i].Key(), relative, c.Type, c.LastTransitionTime, want)
				}
			}
		})
	}
}

func TestTableHasOneLineForEachCondition(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := kubestatus.Table(&out, render(t, statuscases.Manifests(t, stamped))); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")
	if got := strings.Join(strings.Fields(rows[0]), " "); got != "KIND NAMESPACE/NAME CONDITION STATUS REASON MESSAGE" {
		t.Errorf("the head is %q", got)
	}
	if len(rows) != 1+2+4+2 {
		t.Errorf("%d rows:\n%s", len(rows), out.String())
	}
	for _, row := range rows[1:] {
		if len(strings.Fields(row)) < 6 {
			t.Errorf("an empty column in %q", row)
		}
	}
}

// TestEveryConditionIsComplete: Kubernetes refuses one without reason, and observedGeneration tells what it
// is about.
func TestEveryConditionIsComplete(t *testing.T) {
	t.Parallel()
	objects := render(t, statuscases.Manifests(t, strings.Replace(stamped, "HTTPRoute r", "HTTPRoute r generation=7", 1)))
	for i := range objects {
		generation := int64(1)
		if objects[i].Kind == "HTTPRoute" {
			generation = 7
		}
		objects[i].Status.Each(func(_ string, conditions []metav1.Condition) {
			for _, c := range conditions {
				if c.Reason == "" || c.Message == "" || c.Status == "" || c.ObservedGeneration != generation {
					t.Errorf("%s: %+v", objects[i].Key(), c)
				}
			}
		})
	}
}
