package kubestatus

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// Stamp sets the lastTransitionTime of every condition: that of before where the condition's status is the
// same there, else now. It changes objects, and not before, which may be nil.
func Stamp(objects, before []Object, now time.Time) {
	known := make(map[resource.Key]*Object, len(before))
	for i := range before {
		known[before[i].Key()] = &before[i]
	}
	for i := range objects {
		since := map[string]metav1.Condition{}
		if old := known[objects[i].Key()]; old != nil {
			old.Status.Each(func(relative string, conditions []metav1.Condition) {
				for _, c := range conditions {
					since[relative+" "+c.Type] = c
				}
			})
		}
		objects[i].Status.Each(func(relative string, conditions []metav1.Condition) {
			for k := range conditions {
				conditions[k].LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
				if old, ok := since[relative+" "+conditions[k].Type]; ok && old.Status == conditions[k].Status {
					conditions[k].LastTransitionTime = old.LastTransitionTime
				}
			}
		})
	}
}
