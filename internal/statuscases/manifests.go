package statuscases

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// Cases write objects in short: a line is "Kind [namespace/]name [key=value…]: spec", and lines that begin
// with a space go on. For Secret, ConfigMap and EndpointSlice it is the whole object but metadata. A key is
// created, generation or label.NAME. In the text, <HTTPRoute r#rule> is a reference to an object of the
// Gateway API, <Backend b> one to a Backend, and <certificate a.example> the data of a Secret with one.

var certificate = regexp.MustCompile(`<certificate ([a-z.*]+)>`)

// certificates are by name, so that every reading of a case gives the same bytes.
var certificates sync.Map

var reference = regexp.MustCompile(`<([A-Za-z]+) (?:([a-z0-9-]+)/)?([a-z0-9-]+)(?:#([a-z0-9-]+))?>`)

// groups of the kinds that aren't the Gateway API's.
var groups = map[string]string{
	"Namespace": "v1", "Service": "v1", "Secret": "v1", "ConfigMap": "v1", "EndpointSlice": "discovery.k8s.io/v1",
	"SecurityPolicy": "gateway.envoyproxy.io/v1alpha1", "EnvoyExtensionPolicy": "gateway.envoyproxy.io/v1alpha1",
	"ClientTrafficPolicy": "gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy": "gateway.envoyproxy.io/v1alpha1",
	"EnvoyPatchPolicy": "gateway.envoyproxy.io/v1alpha1", "EnvoyProxy": "gateway.envoyproxy.io/v1alpha1",
	"Backend": "gateway.envoyproxy.io/v1alpha1", "HTTPRouteFilter": "gateway.envoyproxy.io/v1alpha1",
}

// whole kinds have no spec.
var whole = map[string]bool{"Secret": true, "ConfigMap": true, "EndpointSlice": true}

// Manifests expands objects that are written in short, as cases do.
func Manifests(t testing.TB, text string) []string {
	t.Helper()
	var all []string
	var current []string
	flush := func() {
		if len(current) > 0 {
			all = append(all, manifest(t, strings.Join(current, "\n")))
		}
		current = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " "):
			current = append(current, line)
		default:
			flush()
			current = []string{line}
		}
	}
	flush()
	return all
}

func manifest(t testing.TB, text string) string {
	t.Helper()
	head, body, found := strings.Cut(text, ": ")
	words := strings.Fields(head)
	if !found || len(words) < 2 {
		t.Fatalf("%q is no object", text)
	}
	kind, metadata := words[0], "name: "+words[1]
	if namespace, name, ok := strings.Cut(words[1], "/"); ok {
		metadata = "name: " + name + ", namespace: " + namespace
	}
	var labels []string
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case key == "created":
			metadata += ", creationTimestamp: '" + value + "-01-01T00:00:00Z'"
		case strings.HasPrefix(key, "label."):
			labels = append(labels, strings.TrimPrefix(key, "label.")+": "+value)
		default:
			metadata += ", " + key + ": " + value
		}
	}
	metadata += ", labels: {" + strings.Join(labels, ", ") + "}"
	apiVersion, own := groups[kind]
	if !own {
		apiVersion = "gateway.networking.k8s.io/v1"
	}
	body = certificate.ReplaceAllStringFunc(strings.TrimSpace(body), func(text string) string {
		name := certificate.FindStringSubmatch(text)[1]
		made, _ := certificates.LoadOrStore(name, gatewaytest.NewCertificate(t, name))
		c := made.(*gatewaytest.Certificate)
		return fmt.Sprintf("{tls.crt: %s, tls.key: %s}", base64.StdEncoding.EncodeToString(c.Chain), base64.StdEncoding.EncodeToString(c.Key))
	})
	body = reference.ReplaceAllStringFunc(body, expand)
	if whole[kind] {
		return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {%s}\n%s\n", apiVersion, kind, metadata, strings.TrimSuffix(strings.TrimPrefix(body, "{"), "}"))
	}
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {%s}\nspec: %s\n", apiVersion, kind, metadata, body)
}

func expand(text string) string {
	parts := reference.FindStringSubmatch(text)
	group := "gateway.networking.k8s.io"
	switch parts[1] {
	case "Service":
		group = `""`
	case "Backend":
		group = "gateway.envoyproxy.io"
	}
	out := "{group: " + group + ", kind: " + parts[1] + ", name: " + parts[3]
	if parts[2] != "" {
		out += ", namespace: " + parts[2]
	}
	if parts[4] != "" {
		out += ", sectionName: " + parts[4]
	}
	return out + "}"
}
