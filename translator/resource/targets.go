package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What a policy with a fault is still good for: to name what must not be served without it.

// targetFields are those of spec that name targets.
var targetFields = []string{"targetRef", "targetRefs", "targetSelectors"}

// misspeltTargets takes a field of spec that can only mean a target for one, with the fault.
func (r *reader) misspeltTargets(object map[string]any) {
	spec, _ := object["spec"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		meant := nearest(key, targetFields)
		if meant == "" || slices.Contains(targetFields, key) {
			continue
		}
		r.fault(path{"spec", key}, "is not a known field; did you mean %s?", meant)
		value := spec[key]
		delete(spec, key)
		if _, isList := value.([]any); isList && meant == "targetRef" {
			meant = "targetRefs"
		}
		if _, isObject := value.(map[string]any); isObject && meant == "targetRefs" {
			meant = "targetRef"
		}
		if _, taken := spec[meant]; !taken {
			spec[meant] = value
		}
	}
	for _, field := range targetFields {
		known := refFields
		if field == "targetSelectors" {
			known = selectorFields
		}
		switch value := spec[field].(type) {
		case map[string]any:
			r.misspeltKeys(path{"spec", field}, value, known)
		case []any:
			for i, element := range value {
				if ref, ok := element.(map[string]any); ok {
					r.misspeltKeys(path{"spec", field, i}, ref, known)
				}
			}
		}
	}
}

// The fields of a target and of a selector of targets.
var (
	refFields      = []string{"group", "kind", "name", "sectionName"}
	selectorFields = []string{"group", "kind", "namespaces", "matchLabels", "matchExpressions"}
)

func (r *reader) misspeltKeys(at path, object map[string]any, known []string) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		meant := nearest(key, known)
		if meant == "" || slices.Contains(known, key) {
			continue
		}
		r.fault(at.to(key), "is not a known field; did you mean %s?", meant)
		if _, taken := object[meant]; !taken {
			object[meant] = object[key]
		}
		delete(object, key)
	}
}

// placed reports whether an object of a kind that is for others says for which.
func (k *kind) placed(object map[string]any) bool {
	spec, _ := object["spec"].(map[string]any)
	fields := targetFields
	switch {
	case k.targeted:
	case strings.HasSuffix(k.name, "Route"):
		fields = []string{"parentRefs"}
	default:
		return true
	}
	return slices.ContainsFunc(fields, func(field string) bool {
		switch value := spec[field].(type) {
		case map[string]any:
			return len(value) > 0
		case []any:
			return len(value) > 0
		}
		return false
	})
}

// targetsOnly returns what a policy without usable spec must still tell.
func targetsOnly(object map[string]any) map[string]any {
	spec, _ := object["spec"].(map[string]any)
	kept := map[string]any{}
	for _, field := range targetFields {
		if value, ok := spec[field]; ok {
			kept[field] = value
		}
	}
	return map[string]any{
		"apiVersion": object["apiVersion"], "kind": object["kind"],
		"metadata": metadataOf(object), "spec": kept,
	}
}

// metadataOf returns what names an object, and nothing else.
func metadataOf(object map[string]any) map[string]any {
	metadata, _ := object["metadata"].(map[string]any)
	return map[string]any{"name": metadata["name"], "namespace": metadata["namespace"]}
}

// digest of a canonical document.
func digest(object map[string]any) [sha256.Size]byte {
	text, err := json.Marshal(object)
	if err != nil { // decode has encoded the same object before
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(text)
}

// twin returns an invalid policy with the targets of one whose name is taken by another, under a name
// that the input can hardly have.
func twin(kind *kind, object map[string]any, sum [sha256.Size]byte) Object {
	stripped := targetsOnly(object)
	metadata := metadataOf(object)
	stripped["metadata"] = metadata
	metadata["name"] = fmt.Sprintf("%v-duplicate-%s", metadata["name"], hex.EncodeToString(sum[:4]))
	text, err := json.Marshal(stripped)
	if err != nil {
		return nil
	}
	typed, err := kind.decode(text)
	if err != nil {
		return nil
	}
	setInvalid(typed, twinReason)
	return typed
}

const twinReason = "another policy has the same name"

func setInvalid(object Object, reason string) {
	switch policy := object.(type) {
	case *SecurityPolicy:
		policy.Invalid = reason
	case *EnvoyExtensionPolicy:
		policy.Invalid = reason
	}
}
