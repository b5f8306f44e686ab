package envoy

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// Field numbers of config.route.v3.RouteConfiguration and VirtualHost. Both are put together from
// serialized routes, so that an edit of one route among thousands serializes one route.
const (
	configName          = 1
	configVirtualHosts  = 2
	configRemoveHeaders = 8
	configIgnorePort    = 14

	hostName    = 1
	hostDomains = 2
	hostRoutes  = 3
)

// VirtualHost is a domain ("*" is any) with its entries in any order.
type VirtualHost struct {
	Domain  string
	Entries []*Entry
}

// RouteConfig puts virtual hosts together. An empty one is valid and answers 404.
func RouteConfig(name string, hosts []VirtualHost) snapshot.Resource {
	var body []byte
	body = appendString(body, configName, name)
	slices.SortFunc(hosts, func(a, b VirtualHost) int {
		if a.Domain < b.Domain {
			return -1
		}
		return 1
	})
	for _, host := range hosts {
		body = protowire.AppendTag(body, configVirtualHosts, protowire.BytesType)
		body = protowire.AppendBytes(body, virtualHost(name, host))
	}
	body = appendString(body, configRemoveHeaders, headerClientAddress)
	body = appendString(body, configRemoveHeaders, headerRecompute)
	body = protowire.AppendTag(body, configIgnorePort, protowire.VarintType)
	body = protowire.AppendVarint(body, 1)
	sum := sha256.Sum256(body)
	return snapshot.Resource{Name: name, Version: hex.EncodeToString(sum[:8]), Body: body}
}

func virtualHost(config string, host VirtualHost) []byte {
	entries := slices.Clone(host.Entries)
	slices.SortStableFunc(entries, func(a, b *Entry) int { return a.Order.Compare(b.Order) })
	size := 0
	for _, e := range entries {
		size += len(e.Body) + 6
	}
	body := make([]byte, 0, size+len(config)+2*len(host.Domain)+16)
	body = appendString(body, hostName, config+"/"+host.Domain)
	body = appendString(body, hostDomains, host.Domain)
	for _, e := range entries {
		body = protowire.AppendTag(body, hostRoutes, protowire.BytesType)
		body = protowire.AppendBytes(body, e.Body)
	}
	return body
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}
