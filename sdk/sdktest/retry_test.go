package sdktest_test

import (
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// retryCases: what reaches the upstream when a route tries a request again.
func retryCases() (all []conform) {
	failures := []struct {
		name string
		sdktest.Response
	}{
		{"503", sdktest.Response{Status: 503, Body: []string{"not now"}}},
		{"reset", sdktest.Response{Status: -1}},
	}
	for _, m := range modes {
		for _, c := range []content{contents()[0], contents()[1], contents()[2], contents()[4]} {
			for _, p := range paces {
				for _, fail := range failures {
					if c.name == "no body" && p == sdktest.Late {
						continue
					}
					f, r := m.filter(), c.request(p)
					f.Retries, r.Tries, r.Upstream.Body = 1, []sdktest.Response{fail.Response}, []string{"at last"}
					all = append(all, conform{group: "Retries", name: fmt.Sprintf("%s, %s, %s, %s", fail.name, m.name, c.name, paceName(p)),
						processor: script{}.processor(), filter: f, request: r})
				}
			}
		}
		f := m.filter()
		f.Retries = 1
		r := sdktest.Request{Body: []string{"one body"}, Tries: []sdktest.Response{failures[0].Response}, Upstream: failures[0].Response}
		all = append(all, conform{group: "Retries", name: "none left, " + m.name, processor: script{}.processor(), filter: f, request: r})
		if m.BodyMode == sdktest.Buffered {
			continue // which refuses what exceeds the buffer
		}
		f.BufferLimit = 65535
		r = sdktest.Request{Tries: []sdktest.Response{failures[0].Response}}
		for range 8 {
			r.Body = append(r.Body, strings.Repeat("x", 16<<10))
		}
		all = append(all, conform{group: "Retries", name: "none of a body over the buffer limit, " + m.name, processor: script{}.processor(), filter: f, request: r}.loose("the body flows"))
	}
	return all
}
