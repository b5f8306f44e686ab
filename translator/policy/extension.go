package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// ExtensionKind is the kind of [Extension] values; a key names an EnvoyExtensionPolicy.
const ExtensionKind memo.Kind = "resolved EnvoyExtensionPolicy"

// Extension is one EnvoyExtensionPolicy, resolved. Immutable.
type Extension struct {
	ExtProc []ExtProc
	// Fault, if not empty, makes the policy's routes answer 503.
	Fault      string
	Conditions []status.Condition
}

// ExtProc is a user's ext_proc server.
type ExtProc struct {
	Server
	Request, Response Direction
	AllowModeOverride bool
	// Observe sends copies and ignores answers (shadowMode).
	Observe              bool
	AccessibleNamespaces []string
	WritableNamespaces   []string
}

// Direction says what of one direction is sent to the processor.
type Direction struct {
	Headers, Trailers bool
	Body              string // "", Streamed, Buffered, BufferedPartial or FullDuplexStreamed
	Attributes        []string
}

// ReservedNamespaces hold what the gateway's own verdicts rest on; no user's server may write them.
func ReservedNamespaces() []string { return []string{"envoy.filters.http.ext_authz", "gatehouse"} }

// ExtensionKey is the key of the policy in force where chain applies; see [SecurityKey].
func ExtensionKey(v *memo.View, chain []gatewayapi.Targeting) memo.Key {
	return mergeKey(ExtensionKind, chain, func(t gatewayapi.Targeting) *egv1alpha1.MergeType {
		if object := readExtension(v, objectName{t.Namespace, t.Name}); object != nil {
			return object.Spec.MergeType
		}
		return nil
	})
}

func readExtension(v *memo.View, n objectName) *resource.EnvoyExtensionPolicy {
	return memo.Read[*resource.EnvoyExtensionPolicy](v, memo.Key{Kind: "EnvoyExtensionPolicy", Namespace: n.namespace, Name: n.name})
}

// ExtensionRule resolves one EnvoyExtensionPolicy, or several that merge. Lists replace each other in
// every kind of merge, so the innermost list of processors is the one in force.
func ExtensionRule(v *memo.View, key memo.Key) any {
	names := mergedNames(key)
	r := &resolver{view: v, namespace: key.Namespace, data: config.Data{}, faults: new([]string)}
	out := &Extension{}
	for _, name := range names {
		object := readExtension(v, name)
		switch {
		case object == nil:
			r.fault("EnvoyExtensionPolicy %s/%s doesn't exist", name.namespace, name.name)
		case object.Invalid != "":
			r.fault("%s", object.Invalid)
		case len(out.ExtProc) == 0:
			r.namespace = name.namespace
			r.extension(object, out)
		}
	}
	if len(*r.faults) > 0 {
		out = &Extension{Fault: strings.Join(*r.faults, "; ")}
	}
	out.Conditions = []status.Condition{{
		Object: resource.Key{Kind: "EnvoyExtensionPolicy", Namespace: key.Namespace, Name: names[0].name},
		Type:   "Accepted", True: out.Fault == "", Reason: reason(out.Fault), Message: together("EnvoyExtensionPolicy", names, out.Fault),
	}}
	return out
}

func (r *resolver) extension(object *resource.EnvoyExtensionPolicy, out *Extension) {
	spec := &object.Spec
	if len(spec.Wasm) > 0 || len(spec.Lua) > 0 || len(spec.DynamicModule) > 0 {
		r.fault("spec.wasm, lua and dynamicModule are not supported by this version; remove them")
	}
	for i := range spec.ExtProc {
		var own resource.ExtProcOwn
		if i < len(object.Own.Spec.ExtProc) {
			own = object.Own.Spec.ExtProc[i]
		}
		name := fmt.Sprintf("envoyextensionpolicy/%s/%s/extproc/%d", object.Namespace, object.Name, i)
		out.ExtProc = append(out.ExtProc, r.extProc(fmt.Sprintf("spec.extProc[%d]", i), name, &spec.ExtProc[i], &own))
	}
}

func (r *resolver) extProc(field, name string, spec *egv1alpha1.ExtProc, own *resource.ExtProcOwn) ExtProc {
	out := ExtProc{
		Server: Server{
			Name: name, Timeout: r.duration(field+".messageTimeout", spec.MessageTimeout, 200*time.Millisecond),
			FailOpen: deref(spec.FailOpen), StatusOnError: deref(spec.StatusOnError),
		},
		Observe: deref(spec.ShadowMode),
	}
	out.Backend = r.server(field, "EnvoyExtensionPolicy", &spec.BackendCluster)
	out.Settings = r.settings(field, &spec.BackendCluster, out.Backend, upstream.Use{HTTP2: true, RequestTimeout: field + ".messageTimeout"})
	if mode := spec.ProcessingMode; mode != nil {
		out.AllowModeOverride = mode.AllowModeOverride
		out.Request = direction(mode.Request)
		out.Response = direction(mode.Response)
	}
	if mode := own.ProcessingMode; mode != nil {
		out.Request.Trailers, out.Response.Trailers = mode.RequestTrailers, mode.ResponseTrailers
		out.Request.Headers = out.Request.Headers && (mode.Request == nil || !mode.Request.SkipHeaders)
		out.Response.Headers = out.Response.Headers && (mode.Response == nil || !mode.Response.SkipHeaders)
	}
	// Envoy refuses a filter that streams a body full-duplex and not its trailers.
	out.Request.Trailers = out.Request.Trailers || out.Request.Body == string(egv1alpha1.FullDuplexStreamedExtBodyProcessingMode)
	out.Response.Trailers = out.Response.Trailers || out.Response.Body == string(egv1alpha1.FullDuplexStreamedExtBodyProcessingMode)
	if spec.Metadata != nil {
		out.AccessibleNamespaces = spec.Metadata.AccessibleNamespaces
		out.WritableNamespaces = spec.Metadata.WritableNamespaces
		for _, namespace := range ReservedNamespaces() {
			if slices.Contains(out.WritableNamespaces, namespace) {
				r.fault("%s.metadata.writableNamespaces: %s is reserved for the gateway's verdicts", field, namespace)
			}
		}
	}
	return out
}

func direction(options *egv1alpha1.ProcessingModeOptions) Direction {
	if options == nil {
		return Direction{}
	}
	out := Direction{Headers: true, Attributes: options.Attributes}
	if options.Body != nil {
		out.Body = string(*options.Body)
	}
	return out
}
