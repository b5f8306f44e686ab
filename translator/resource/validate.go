package resource

import (
	"maps"
	"slices"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// What Go's types can't say, and where a wrong value would leave something unprotected, is checked here.
// References to other objects aren't: they need the whole set.

// emptySections reports fields of spec that are written down with nothing below them: what was meant
// would silently not be there.
func (r *reader) emptySections(object map[string]any) {
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		if object["spec"] == nil {
			r.fault(path{"spec"}, "is missing")
		}
		return
	}
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if spec[key] == nil {
			r.fault(path{"spec", key}, "is empty; check the indentation of what follows, or remove it")
		}
	}
}

func (r *reader) validate(object Object) {
	switch policy := object.(type) {
	case *SecurityPolicy:
		r.security(policy)
	case *EnvoyExtensionPolicy:
		r.targets(&policy.Spec.PolicyTargetReferences)
		r.enum(path{"spec", "mergeType"}, deref(policy.Spec.MergeType), egv1alpha1.StrategicMerge, egv1alpha1.JSONMerge)
		for i := range policy.Spec.ExtProc {
			r.extProc(path{"spec", "extProc", i}, &policy.Spec.ExtProc[i])
		}
	case *egv1alpha1.ClientTrafficPolicy:
		r.targets(&policy.Spec.PolicyTargetReferences)
	case *egv1alpha1.BackendTrafficPolicy:
		r.targets(&policy.Spec.PolicyTargetReferences)
	}
}

func deref[T ~string](value *T) T {
	if value == nil {
		return ""
	}
	return *value
}

// enum reports a value that isn't one of those known. The zero value is no value.
func (r *reader) enum(at path, value any, known ...any) {
	text := word(value)
	if text == "" {
		return
	}
	var words []string
	for _, k := range known {
		words = append(words, word(k))
	}
	if !slices.Contains(words, text) {
		r.fault(at, "must be one of %s", strings.Join(words, ", "))
	}
}

// targets checks that a policy says what it is for.
func (r *reader) targets(refs *egv1alpha1.PolicyTargetReferences) {
	spec := path{"spec"}
	if refs.TargetRef == nil && len(refs.TargetRefs) == 0 && len(refs.TargetSelectors) == 0 {
		r.fault(spec, "has no target; set targetRefs to the Gateway or route that the policy is for")
	}
	if refs.TargetRef != nil {
		if len(refs.TargetRefs) > 0 {
			r.fault(spec.to("targetRef"), "and targetRefs are both set; move it into targetRefs")
		}
		r.target(spec.to("targetRef"), refs.TargetRef)
	}
	for i := range refs.TargetRefs {
		r.target(spec.to("targetRefs", i), &refs.TargetRefs[i])
	}
	for i := range refs.TargetSelectors {
		r.selector(spec.to("targetSelectors", i), &refs.TargetSelectors[i])
	}
}

func (r *reader) selector(at path, selector *egv1alpha1.TargetSelector) {
	r.enum(at.to("kind"), string(selector.Kind), "Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "TCPRoute", "UDPRoute", "TLSRoute")
	if selector.Kind == "" {
		r.fault(at.to("kind"), "is missing")
	}
	if selector.Group != nil && *selector.Group != groupGateway {
		r.fault(at.to("group"), "must be %s", groupGateway)
	}
	if n := selector.Namespaces; n != nil {
		r.targetNamespaces(at.to("namespaces"), n)
	}
	if _, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{
		MatchLabels: selector.MatchLabels, MatchExpressions: selector.MatchExpressions,
	}); err != nil {
		r.fault(at, "isn't a label selector: %v", err)
	}
}

func (r *reader) targetNamespaces(at path, n *egv1alpha1.TargetSelectorNamespaces) {
	r.enum(at.to("from"), string(n.From),
		string(egv1alpha1.TargetNamespaceFromSame), string(egv1alpha1.TargetNamespaceFromAll), string(egv1alpha1.TargetNamespaceFromSelector))
	if n.From == egv1alpha1.TargetNamespaceFromSelector && n.Selector == nil {
		r.fault(at.to("selector"), "is missing; it says by labels which namespaces are meant")
	}
	if _, err := metav1.LabelSelectorAsSelector(n.Selector); err != nil {
		r.fault(at.to("selector"), "isn't a label selector: %v", err)
	}
}

func (r *reader) target(at path, ref *gatewayv1.LocalPolicyTargetReferenceWithSectionName) {
	if ref.Name == "" {
		r.fault(at.to("name"), "is missing")
	}
	if ref.Group != groupGateway {
		r.fault(at.to("group"), "must be %s", groupGateway)
	}
	r.enum(at.to("kind"), string(ref.Kind), "Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "TCPRoute", "UDPRoute", "TLSRoute")
	if ref.Kind == "" {
		r.fault(at.to("kind"), "is missing")
	}
}

// to returns a longer path, which shares no memory with p.
func (p path) to(steps ...any) path { return slices.Concat(p, steps) }

func (r *reader) extProc(at path, proc *egv1alpha1.ExtProc) {
	r.backends(at, &proc.BackendCluster)
	if proc.ProcessingMode == nil {
		return
	}
	for direction, options := range map[string]*egv1alpha1.ProcessingModeOptions{
		"request": proc.ProcessingMode.Request, "response": proc.ProcessingMode.Response,
	} {
		if options != nil {
			r.enum(at.to("processingMode", direction, "body"), deref(options.Body), "Streamed", "Buffered", "BufferedPartial", "FullDuplexStreamed")
		}
	}
}

// backends checks a reference to a server that a policy relies on. A backendRef has become backendRefs
// before, or has been reported.
func (r *reader) backends(at path, cluster *egv1alpha1.BackendCluster) {
	if cluster.BackendRef == nil && len(cluster.BackendRefs) == 0 {
		r.fault(at.to("backendRefs"), "is missing; name the server's Service or Backend")
	}
	for i := range cluster.BackendRefs {
		if cluster.BackendRefs[i].Name == "" {
			r.fault(at.to("backendRefs", i, "name"), "is missing")
		}
	}
}
