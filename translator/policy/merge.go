package policy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// objectName names a policy.
type objectName struct{ namespace, name string }

// mergeSeparator can't be part of an object's name.
const mergeSeparator = "|"

// mergeKey puts the names of a policy and of those that it merges with into one key.
func mergeKey(kind memo.Kind, chain []gatewayapi.Targeting, mergeType func(gatewayapi.Targeting) *egv1alpha1.MergeType) memo.Key {
	key := memo.Key{Kind: kind, Namespace: chain[0].Namespace, Name: chain[0].Name}
	for i := 0; i+1 < len(chain) && mergeType(chain[i]) != nil; i++ {
		key.Name += mergeSeparator + chain[i+1].Namespace + "/" + chain[i+1].Name
	}
	return key
}

// Merges reports whether a key stands for several policies.
func Merges(key memo.Key) bool { return strings.Contains(key.Name, mergeSeparator) }

// together tells of a fault that policies which merge have as a whole.
func together(kind string, names []objectName, fault string) string {
	if fault == "" || len(names) == 1 {
		return fault
	}
	others := make([]string, len(names)-1)
	for i, n := range names[1:] {
		others[i] = kind + " " + n.namespace + "/" + n.name
	}
	return "together with " + strings.Join(others, " and ") + ", with which it merges: " + fault
}

// mergedNames is the reverse of mergeKey: the policy itself first.
func mergedNames(key memo.Key) []objectName {
	policies, _ := placeOf(key)
	parts := strings.Split(policies, mergeSeparator)
	names := make([]objectName, 0, len(parts))
	names = append(names, objectName{key.Namespace, parts[0]})
	for _, part := range parts[1:] {
		namespace, name, _ := strings.Cut(part, "/")
		names = append(names, objectName{namespace, name})
	}
	return names
}

// of returns the resolver of a field: one that a policy further out gave whole is looked up in that
// policy's namespace.
func (r *resolver) of(field string) *resolver {
	from, ok := r.inherited[field]
	if !ok {
		return r
	}
	there := *r
	there.namespace = from.namespace
	return &there
}

// merged reads the policies and merges them, the outermost first (mergeType of Envoy Gateway). nil says
// that a fault was recorded.
func (r *resolver) merged(names []objectName) *resource.SecurityPolicy {
	var result *resource.SecurityPolicy
	for i, n := range slices.Backward(names) {
		object := readSecurity(r.view, n.namespace, n.name)
		switch {
		case object == nil:
			r.fault("SecurityPolicy %s/%s doesn't exist", n.namespace, n.name)
			return nil
		case object.Invalid != "":
			r.fault("%s", object.Invalid)
			return nil
		case result == nil:
			result = object
			continue
		}
		text, err := r.mergeInto(result.JSON, object.JSON, *object.Spec.MergeType, names[i+1])
		if err == nil {
			result, err = resource.DecodeSecurityPolicy(text)
		}
		if err != nil {
			r.fault("merged with SecurityPolicy %s/%s: %v", names[i+1].namespace, names[i+1].name, err)
			return nil
		}
	}
	return result
}

// mergeInto puts the spec of a policy over that of the next one further out, whose fields it inherits.
func (r *resolver) mergeInto(outer, inner []byte, how egv1alpha1.MergeType, from objectName) ([]byte, error) {
	var base, own map[string]any
	if err := json.Unmarshal(outer, &base); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(inner, &own); err != nil {
		return nil, err
	}
	baseSpec, _ := takeTargets(base)
	ownSpec, targets := takeTargets(own)
	inherited := map[string]objectName{}
	for field, value := range baseSpec {
		if _, both := ownSpec[field]; both {
			qualify(value, from.namespace)
		} else if before, ok := r.inherited[field]; ok {
			inherited[field] = before
		} else {
			inherited[field] = from
		}
	}
	r.inherited = inherited
	spec, err := mergeSpecs(baseSpec, ownSpec, how)
	if err != nil {
		return nil, err
	}
	maps.Copy(spec, targets)
	own["spec"] = spec
	return json.Marshal(own)
}

// takeTargets returns a document's spec without what says where it applies, and that apart.
func takeTargets(document map[string]any) (spec, targets map[string]any) {
	spec, _ = document["spec"].(map[string]any)
	targets = map[string]any{}
	for _, field := range []string{"targetRef", "targetRefs", "targetSelectors"} {
		if value, ok := spec[field]; ok {
			targets[field] = value
			delete(spec, field)
		}
	}
	delete(spec, "mergeType")
	return spec, targets
}

// qualify writes the namespace into references that may have one, so that they mean the same in another
// policy.
func qualify(value any, namespace string) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			qualify(item, namespace)
		}
	case map[string]any:
		for field, inner := range v {
			switch field {
			case "users", "backendRef", "backendRefs", "credentialRefs", "clientSecret", "clientIDRef":
				ownReference(inner, namespace)
			default:
				qualify(inner, namespace)
			}
		}
	}
}

func ownReference(reference any, namespace string) {
	switch r := reference.(type) {
	case []any:
		for _, item := range r {
			ownReference(item, namespace)
		}
	case map[string]any:
		if _, ok := r["namespace"]; !ok {
			r["namespace"] = namespace
		}
	}
}

// mergeSpecs merges as the type says. A strategic merge follows the patch strategies of Envoy Gateway's
// type; fields that only Gatehouse has have none, and merge as JSON (RFC 7386).
func mergeSpecs(base, own map[string]any, how egv1alpha1.MergeType) (map[string]any, error) {
	baseText, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	ownText, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	var merged []byte
	if how == egv1alpha1.StrategicMerge {
		merged, err = strategicpatch.StrategicMergePatch(baseText, ownText, egv1alpha1.SecurityPolicySpec{})
	}
	if how != egv1alpha1.StrategicMerge || err != nil {
		merged, err = jsonpatch.MergePatch(baseText, ownText)
	}
	if err != nil {
		return nil, err
	}
	var spec map[string]any
	err = json.Unmarshal(merged, &spec)
	return spec, err
}
