package standalone

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// BenchmarkEdit takes one edited policy among many routes from the objects to what the agent publishes:
// translation, compiling, statuses. Reading files and Envoy's own part aren't in it.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			write := func(name, text string) {
				if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
					b.Fatal(err)
				}
			}
			write("gateway", "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: c, listeners: [{name: a, port: 80, protocol: HTTP}]}\n---\n"+
				"apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {name: b}\nspec: {endpoints: [{ip: {address: 127.0.0.1, port: 1}}]}")
			for i := range n {
				write(fmt.Sprintf("r%d", i), protectedRoute(i, "GET"))
			}
			source, err := files.New([]string{dir})
			if err != nil {
				b.Fatal(err)
			}
			load := func() *resource.Set {
				set, problems, err := source.Load()
				if err != nil || len(problems) > 0 {
					b.Fatal(err, problems)
				}
				return set
			}
			sets := []*resource.Set{load()}
			write("r7", protectedRoute(7, "POST"))
			sets = append(sets, load())
			log := slog.New(slog.DiscardHandler)
			p := &pipeline{
				translator: translator.New(translator.Options{SealKey: []byte("key")}),
				agent:      agent.New(agent.Config{JWKS: jwt.NewFetcher(jwt.FetcherOptions{Logger: log}), Logger: log}),
				providers:  discovery.NewFetcher(discovery.Options{Logger: log}),
				report:     newReport(log), statuses: newStatuses(), log: log,
			}
			p.apply(sets[0], nil)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p.apply(sets[(i+1)%2], nil)
			}
		})
	}
}

func protectedRoute(i int, method string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r%[1]d}
spec: {parentRefs: [{name: g}], rules: [{matches: [{path: {value: /r%[1]d}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: p%[1]d}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r%[1]d}], cors: {allowOrigins: ["https://a.example"], allowMethods: [%[2]s]}, authorization: {defaultAction: Allow}}
`, i, method)
}
