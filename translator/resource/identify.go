package resource

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// identify finds the kind, and completes and checks the metadata. nil: not an object for a gateway, or
// not one that can be told.
func (r *reader) identify(object map[string]any, d *Document) *kind {
	apiVersion, _ := object["apiVersion"].(string)
	name, _ := object["kind"].(string)
	if apiVersion == "" || name == "" {
		r.fault(nil, "isn't a Kubernetes object: it needs apiVersion and kind")
		return nil
	}
	group, version, found := strings.Cut(apiVersion, "/")
	if !found {
		group, version = "", apiVersion
	}
	r.key = keyOf(object, name)
	kind := r.findKind(group, name, d)
	if kind == nil {
		return nil
	}
	if group == kind.group && !slices.Contains(kind.versions, version) {
		r.fault(path{"apiVersion"}, "there is no %s %s; write %s", apiVersion, kind.name, kind.apiVersion())
	}
	// Versions of one kind that are listed have the same fields, so that one type reads all of them.
	object["apiVersion"], object["kind"] = kind.apiVersion(), kind.name
	r.key.Kind = kind.name
	r.misspeltNames(kind, object)
	r.name(kind, object)
	return kind
}

// misspeltNames takes fields for what they can only mean, with the fault, where a policy or route would
// otherwise be another one or be for nothing.
func (r *reader) misspeltNames(kind *kind, object map[string]any) {
	if !kind.targeted && !kind.routing {
		return
	}
	r.misspeltKeys(nil, object, []string{"apiVersion", "kind", "metadata", "spec", "status"})
	if metadata, ok := object["metadata"].(map[string]any); ok {
		r.misspeltKeys(path{"metadata"}, metadata, metadataFields)
	}
}

// metadataFields are all of metav1.ObjectMeta.
var metadataFields = []string{
	"name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
	"deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields",
}

func (k *kind) apiVersion() string {
	if k.group == "" {
		return k.versions[0]
	}
	return k.group + "/" + k.versions[0]
}

func keyOf(object map[string]any, kind string) Key {
	metadata, _ := object["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	return Key{kind, namespace, name}
}

// findKind looks a kind up. A misspelt group or kind that can only mean a policy is taken for it, with
// the fault, since its targets must not be served without it.
func (r *reader) findKind(group, name string, d *Document) *kind {
	for _, k := range kinds {
		if k.group == group && k.name == name {
			return k
		}
	}
	if group == groupEnvoy && name == "EnvoyGateway" {
		d.note(r, "is configuration of Envoy Gateway's own process and is skipped")
		return nil
	}
	near, field := nearKind(group, name)
	switch {
	case near == nil && (group == groupGateway || group == groupEnvoy):
		r.fault(path{"kind"}, "there is no kind %s in %s; known are %s", name, group, strings.Join(kindsOf(group), ", "))
		return nil
	case near == nil:
		d.note(r, name+" is no kind that a gateway is made of and is skipped")
		return nil
	case field == "kind":
		r.fault(path{"kind"}, "there is no kind %s in %s; did you mean %s?", name, group, near.name)
	default:
		r.fault(path{"apiVersion"}, "there is no %s in this group; did you mean %s?", name, near.apiVersion())
	}
	if !near.targeted {
		return nil
	}
	return near
}

// nearKind returns the kind that was probably meant, and the field that is misspelt. Core kinds aren't
// guessed at: much that isn't for a gateway is called Service.
func nearKind(group, name string) (*kind, string) {
	if group == groupGateway || group == groupEnvoy {
		if meant := nearest(name, kindsOf(group)); meant != "" {
			for _, k := range kinds {
				if k.group == group && k.name == meant {
					return k, "kind"
				}
			}
		}
	}
	for _, k := range kinds {
		if k.name != name || (k.group != groupGateway && k.group != groupEnvoy) {
			continue
		}
		if group == "" || group == groupGateway || group == groupEnvoy || nearest(group, []string{k.group}) != "" {
			return k, "apiVersion"
		}
	}
	return nil, ""
}

func kindsOf(group string) []string {
	var names []string
	for _, k := range kinds {
		if k.group == group {
			names = append(names, k.name)
		}
	}
	slices.Sort(names)
	return names
}

func (d *Document) note(r *reader, message string) {
	d.notes = append(d.notes, finding{line: r.line, key: r.key, message: message})
}

// name completes metadata: the default namespace, and for a policy without a usable name one that is
// made of its text, so that it can be kept with its fault.
func (r *reader) name(kind *kind, object map[string]any) {
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		metadata = map[string]any{}
		object["metadata"] = metadata
	}
	name, isString := metadata["name"].(string)
	switch {
	case metadata["name"] == nil || name == "" && isString:
		r.fault(path{"metadata", "name"}, "is missing; every object needs a name")
	case !isString:
		r.fault(path{"metadata", "name"}, "must be a string: put it in quotes")
	case !nameForm.MatchString(name) || len(name) > 253:
		r.fault(path{"metadata", "name"}, "must be lower-case letters, digits, '-' and '.', at most 253")
		name = ""
	}
	if name == "" {
		// Made of the text, so that it is the same in every set and two of them don't collide. Maps are
		// printed with sorted keys.
		sum := sha256.Sum256(fmt.Append(nil, object["spec"]))
		name = "unnamed-" + hex.EncodeToString(sum[:4])
		metadata["name"] = name
	}
	namespace := ""
	if kind.cluster {
		delete(metadata, "namespace")
	} else {
		namespace = r.namespace(metadata)
	}
	if kind.name == "Namespace" {
		labelNamespace(metadata, name)
	}
	r.key = Key{kind.name, namespace, name}
}

// nameForm is that of DNS subdomains (RFC 1123), which Kubernetes asks for.
var nameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// namespace completes metadata.namespace.
func (r *reader) namespace(metadata map[string]any) string {
	namespace, isString := metadata["namespace"].(string)
	switch {
	case metadata["namespace"] == nil || namespace == "" && isString:
		namespace = "default"
	case !isString:
		r.fault(path{"metadata", "namespace"}, "must be a string: put it in quotes")
		namespace = "default"
	case !nameForm.MatchString(namespace) || len(namespace) > 63:
		r.fault(path{"metadata", "namespace"}, "must be lower-case letters, digits and '-', at most 63")
		namespace = "default"
	}
	metadata["namespace"] = namespace
	return namespace
}

// labelNamespace adds the label that the API server gives every Namespace.
func labelNamespace(metadata map[string]any, name string) {
	if metadata["labels"] == nil {
		metadata["labels"] = map[string]any{}
	}
	if labels, ok := metadata["labels"].(map[string]any); ok {
		labels["kubernetes.io/metadata.name"] = name
	}
}

// foldStringData does what the API server does with a Secret's stringData.
func (r *reader) foldStringData(object map[string]any) {
	given, ok := object["stringData"].(map[string]any)
	if !ok {
		return
	}
	if object["data"] == nil {
		object["data"] = map[string]any{}
	}
	data, ok := object["data"].(map[string]any)
	if !ok {
		return
	}
	for key, value := range given {
		// Checked here, since what is folded no longer says which field it comes from.
		text, isString := value.(string)
		if !isString {
			r.fault(path{"stringData", key}, "must be a string: put it in quotes")
			continue
		}
		data[key] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	delete(object, "stringData")
}
