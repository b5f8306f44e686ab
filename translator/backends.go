package translator

import (
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// deadEndKind is the kind of *telling values about Backends.
const deadEndKind memo.Kind = "dead end"

// deadEndRule tells of a Backend that nothing can be sent to, whether or not a route names it.
func deadEndRule(v *memo.View, key memo.Key) any {
	out := &telling{}
	resolved := memo.Read[*gatewayapi.Backend](v, memo.Key{
		Kind: gatewayapi.BackendKind, Namespace: key.Namespace, Name: "Backend/" + key.Name + "/0",
	})
	// What isn't about the Backend itself is told where it is.
	about := fmt.Sprintf("backendRefs: Backend %s/%s", key.Namespace, key.Name)
	if message, ok := strings.CutPrefix(resolved.Fault, about); ok {
		out.conditions = append(out.conditions, status.Condition{
			Object: resource.Key{Kind: "Backend", Namespace: key.Namespace, Name: key.Name},
			Type:   "Accepted", Reason: "Invalid", Message: strings.TrimLeft(message, ": "),
		})
	}
	return out
}
