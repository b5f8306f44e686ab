package translator

import (
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// backendFaults tells of Backends that nothing can be sent to, whether or not a route names them.
func backendFaults(set *resource.Set, graph *memo.Graph) []status.Condition {
	var all []status.Condition
	for _, b := range set.Backends.All() {
		resolved := memo.Value[*gatewayapi.Backend](graph, memo.Key{
			Kind: gatewayapi.BackendKind, Namespace: b.Namespace, Name: "Backend/" + b.Name + "/0",
		})
		// What isn't about the Backend itself is told where it is.
		about := fmt.Sprintf("backendRefs: Backend %s/%s", b.Namespace, b.Name)
		if message, ok := strings.CutPrefix(resolved.Fault, about); ok {
			all = append(all, status.Condition{
				Object: resource.Key{Kind: "Backend", Namespace: b.Namespace, Name: b.Name},
				Type:   "Accepted", Reason: "Invalid", Message: strings.TrimLeft(message, ": "),
			})
		}
	}
	return all
}
