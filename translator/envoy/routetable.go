package envoy

import (
	"cmp"
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

// Entry is one Envoy route, serialized, with its place among others. Immutable once it is in a table.
type Entry struct {
	Order Order
	Body  []byte
	sum   [16]byte // of Body
}

func newEntry(order Order, body []byte) Entry {
	sum := sha256.Sum256(body)
	return Entry{Order: order, Body: body, sum: [16]byte(sum[:])}
}

// RouteTable is a RouteConfiguration that changes entry by entry. An edit costs the search for a place,
// and the copying of the whole configuration's bytes: Envoy takes it only as a whole. A table is used by
// one goroutine; the resources that it makes are immutable.
type RouteTable struct {
	name  string
	hosts map[string]*virtualHost // by domain
	order []*virtualHost          // by domain
	added []*virtualHost          // hosts that aren't in their place yet
	built *snapshot.Resource      // nil after a change
}

// virtualHost has the routes of one domain; "*" is any.
type virtualHost struct {
	domain  string
	head    []byte   // its name and domain
	entries []*Entry // by Order; of equal ones the first that was added comes first
	added   []*Entry // entries that aren't in their place yet
	size    int      // in bytes
	sum     [sha256.Size]byte
	fresh   bool // sum holds
	pinned  bool // it stays without entries
}

// NewRouteTable returns an empty configuration, which is valid and answers 404.
func NewRouteTable(name string) *RouteTable {
	return &RouteTable{name: name, hosts: map[string]*virtualHost{}}
}

// Has reports whether there is a virtual host of the domain.
func (t *RouteTable) Has(domain string) bool { return t.hosts[domain] != nil }

// Declare makes a virtual host that stays when it has no entries: it keeps requests from wider ones.
func (t *RouteTable) Declare(domain string) { t.host(domain).pinned = true }

// Add puts entries below a domain, each behind those that come before it or are its equals.
func (t *RouteTable) Add(domain string, entries ...*Entry) {
	host := t.host(domain)
	host.added = append(host.added, entries...)
	t.touch(host)
}

// Remove takes away entries that were added.
func (t *RouteTable) Remove(domain string, entries ...*Entry) {
	host := t.host(domain)
	host.settle()
	for _, e := range entries {
		at, _ := slices.BinarySearchFunc(host.entries, e, (*Entry).compare)
		for host.entries[at] != e {
			at++
		}
		host.entries = slices.Delete(host.entries, at, at+1)
		host.size -= framed(len(e.Body))
	}
	t.touch(host)
	if len(host.entries) == 0 && !host.pinned {
		delete(t.hosts, domain)
		t.settle()
		at, _ := slices.BinarySearchFunc(t.order, host, (*virtualHost).compare)
		t.order = slices.Delete(t.order, at, at+1)
	}
}

func (t *RouteTable) host(domain string) *virtualHost {
	host, known := t.hosts[domain]
	if !known {
		host = &virtualHost{domain: domain}
		host.head = appendString(host.head, hostName, t.name+"/"+domain)
		host.head = appendString(host.head, hostDomains, domain)
		host.size = len(host.head)
		t.hosts[domain] = host
		t.added = append(t.added, host)
		t.touch(host)
	}
	return host
}

func (t *RouteTable) touch(host *virtualHost) { host.fresh, t.built = false, nil }

// settle puts everything in its place.
func (t *RouteTable) settle() {
	t.order = merge(t.order, t.added, (*virtualHost).compare)
	t.added = nil
}

func (h *virtualHost) settle() {
	for _, e := range h.added {
		h.size += framed(len(e.Body))
	}
	h.entries = merge(h.entries, h.added, (*Entry).compare)
	h.added = nil
}

func (h *virtualHost) compare(o *virtualHost) int { return cmp.Compare(h.domain, o.domain) }

func (e *Entry) compare(o *Entry) int { return e.Order.Compare(o.Order) }

// merge puts items in their places in a sorted slice, behind their equals. Many are sorted together.
func merge[T any](sorted, items []T, compare func(a, b T) int) []T {
	if len(items) > 16 {
		sorted = append(sorted, items...)
		slices.SortStableFunc(sorted, compare)
		return sorted
	}
	for _, item := range items {
		at, _ := slices.BinarySearchFunc(sorted, item, func(other, item T) int {
			if order := compare(other, item); order != 0 {
				return order
			}
			return -1 // behind its equals
		})
		sorted = slices.Insert(sorted, at, item)
	}
	return sorted
}

// framed is the size of a body of n bytes as a field.
func framed(n int) int { return protowire.SizeTag(hostRoutes) + protowire.SizeBytes(n) }

// Resource returns the configuration as it is now, the same one for as long as nothing changes. Its
// version is a digest of the digests of its routes.
func (t *RouteTable) Resource() snapshot.Resource {
	if t.built != nil {
		return *t.built
	}
	t.settle()
	for _, host := range t.order {
		host.settle()
	}
	head := appendString(nil, configName, t.name)
	tail := appendString(nil, configRemoveHeaders, headerClientAddress)
	tail = appendString(tail, configRemoveHeaders, headerRecompute)
	tail = protowire.AppendTag(tail, configIgnorePort, protowire.VarintType)
	tail = protowire.AppendVarint(tail, 1)

	size := len(head) + len(tail)
	for _, host := range t.order {
		size += framed(host.size)
	}
	body := append(make([]byte, 0, size), head...)
	digest := sha256.New()
	digest.Write(head)
	digest.Write(tail)
	for _, host := range t.order {
		body = host.append(body)
		sum := host.digest()
		digest.Write(sum[:])
	}
	body = append(body, tail...)
	t.built = &snapshot.Resource{Name: t.name, Version: hex.EncodeToString(digest.Sum(nil)[:8]), Body: body}
	return *t.built
}

func (h *virtualHost) append(body []byte) []byte {
	body = protowire.AppendTag(body, configVirtualHosts, protowire.BytesType)
	body = protowire.AppendVarint(body, uint64(h.size)) //nolint:gosec // a size is never negative
	body = append(body, h.head...)
	for _, e := range h.entries {
		body = protowire.AppendTag(body, hostRoutes, protowire.BytesType)
		body = protowire.AppendBytes(body, e.Body)
	}
	return body
}

func (h *virtualHost) digest() [sha256.Size]byte {
	if h.fresh {
		return h.sum
	}
	sums := make([]byte, 0, len(h.head)+len(h.entries)*len(Entry{}.sum))
	sums = append(sums, h.head...)
	for _, e := range h.entries {
		sums = append(sums, e.sum[:]...)
	}
	h.sum, h.fresh = sha256.Sum256(sums), true
	return h.sum
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}
