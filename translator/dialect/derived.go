package dialect

import (
	"reflect"
	"slices"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// derived makes the rows that follow from the API's types: integer seconds for every duration, a single
// object for every list of objects, backendRef for every backendRefs.
func derived() []Row {
	var d deriver
	for kind, spec := range map[string]reflect.Type{
		"SecurityPolicy":       reflect.TypeFor[egv1alpha1.SecurityPolicySpec](),
		"EnvoyExtensionPolicy": reflect.TypeFor[egv1alpha1.EnvoyExtensionPolicySpec](),
		"BackendTrafficPolicy": reflect.TypeFor[egv1alpha1.BackendTrafficPolicySpec](),
		"ClientTrafficPolicy":  reflect.TypeFor[egv1alpha1.ClientTrafficPolicySpec](),
		"EnvoyProxy":           reflect.TypeFor[egv1alpha1.EnvoyProxySpec](),
		"Backend":              reflect.TypeFor[egv1alpha1.BackendSpec](),
		"HTTPRouteFilter":      reflect.TypeFor[egv1alpha1.HTTPRouteFilterSpec](),
		"HTTPRoute":            reflect.TypeFor[gatewayv1.HTTPRouteSpec](),
		"GRPCRoute":            reflect.TypeFor[gatewayv1.GRPCRouteSpec](),
	} {
		d.kind = kind
		d.object(spec, "spec", nil)
	}
	return d.rows
}

// deriver walks the types of one kind.
type deriver struct {
	kind string
	rows []Row
}

// foreign types are Kubernetes' own, such as the parts of a Pod: their spelling is nobody's dialect.
func foreign(t reflect.Type) bool {
	return t.PkgPath() != reflect.TypeFor[egv1alpha1.SecurityPolicy]().PkgPath() &&
		t.PkgPath() != reflect.TypeFor[gatewayv1.HTTPRoute]().PkgPath()
}

// object adds the rows of a struct at a path. Outer lists come before inner ones.
func (d *deriver) object(t reflect.Type, at string, within []reflect.Type) {
	if slices.Contains(within, t) { // a recursive type
		return
	}
	within = append(slices.Clip(within), t)
	fields := reflect.VisibleFields(t)
	names := map[string]bool{}
	for _, field := range fields {
		names[jsonName(field)] = true
	}
	if names["backendRef"] && names["backendRefs"] {
		d.rows = append(d.rows, wrap(d.kind, at, "backendRef", "backendRefs"))
	}
	for _, field := range fields {
		if name := jsonName(field); name != "" {
			d.field(field.Type, at, name, within)
		}
	}
}

func (d *deriver) field(t reflect.Type, at, name string, within []reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[gatewayv1.Duration]() || t == reflect.TypeFor[metav1.Duration]() {
		d.rows = append(d.rows, duration(d.kind, at, name))
		return
	}
	path := at + "." + name
	if t.Kind() == reflect.Slice {
		t = t.Elem()
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() == reflect.Struct && !foreign(t) {
			d.rows = append(d.rows, list(d.kind, at, name))
		}
		path += "[]"
	}
	if t.Kind() == reflect.Struct && !foreign(t) {
		d.object(t, path, within)
	}
}

// jsonName returns "" for what has no name of its own: inlined structs, and fields that JSON ignores.
func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if name == "-" || !field.IsExported() {
		return ""
	}
	return name
}
