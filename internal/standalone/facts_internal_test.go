package standalone

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/xds"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// TestRejectionsAreToldWhereTheyHurt: what Envoy refuses as a whole takes Programmed from the listeners it
// belongs to, and is never without a word.
func TestRejectionsAreToldWhereTheyHurt(t *testing.T) {
	t.Parallel()
	gateway := resource.Key{Kind: "Gateway", Namespace: "ns", Name: "gw"}
	result := &translator.Result{Listeners: []status.Listener{
		{Gateway: gateway, Name: "a", Sockets: []string{"127.0.0.1:80"}, RouteConfigs: []string{"http/127.0.0.1:80"}},
		{Gateway: gateway, Name: "b", Sockets: []string{"127.0.0.1:80"}, RouteConfigs: []string{"http/127.0.0.1:80"}},
		{Gateway: gateway, Name: "tls", Sockets: []string{"127.0.0.1:443"}, RouteConfigs: []string{"gateway/ns/gw/listener/tls"}},
	}}
	for _, test := range []struct {
		kind snapshot.Type
		name string
		want string // object and ancestor of each condition
	}{
		{snapshot.Listener, "listener/127.0.0.1:80", "Gateway ns/gw#a Gateway ns/gw#b"},
		{snapshot.Listener, "listener/127.0.0.1:443", "Gateway ns/gw#tls"},
		{snapshot.Route, "gateway/ns/gw/listener/tls", "Gateway ns/gw#tls"},
		{snapshot.Route, "http/127.0.0.1:80", "Gateway ns/gw#a Gateway ns/gw#b"},
		{snapshot.Cluster, "httproute/ns/r/rule/0/backend/0", "HTTPRoute ns/r#"},
		{snapshot.Cluster, "securitypolicy/ns/p/extauth", "SecurityPolicy ns/p#"},
		{snapshot.Secret, "secret/ns/s", ""},
		{snapshot.Endpoint, "service/ns/s/80", ""},
	} {
		r := xds.Rejection{Type: test.kind, Name: test.name, Message: "its words"}
		var got []string
		facts := rejected(result, r)
		for _, c := range facts {
			got = append(got, c.Object.String()+"#"+c.Ancestor)
			if !c.Fault() || !strings.Contains(c.Message, "its words") {
				t.Errorf("%s: %+v is no fault in Envoy's words", test.name, c)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if noted := len(unplaced(result, []xds.Rejection{r})) == 1; noted != (test.want == "") {
			t.Errorf("%s: noted %t", test.name, noted)
		}
		for _, c := range programmed(result.Listeners, facts, true) {
			if strings.Contains(test.want, "#"+c.Ancestor) && c.Object == gateway {
				t.Errorf("%s: listener %s is programmed all the same", test.name, c.Ancestor)
			}
		}
	}
	if all := programmed(result.Listeners, nil, false); len(all) != 0 {
		t.Errorf("programmed before Envoy answered: %v", all)
	}
}
