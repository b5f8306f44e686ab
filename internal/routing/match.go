package routing

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Request is a request as the client sends it.
type Request struct {
	// Address is the listener's; invalid: any that has the port.
	Address netip.Addr
	Port    uint16
	TLS     bool
	// ServerName is the SNI of a TLS connection.
	ServerName string
	Method     string
	// Authority is the Host header: host or host:port.
	Authority string
	// Path holds the query too, as on the wire.
	Path   string
	Header []exchange.Field
	// Peer is the address that the connection comes from.
	Peer netip.Addr
}

// Match is what Envoy does with a request before any filter of the route runs.
type Match struct {
	Socket *Socket
	Chain  *Chain
	// Host is nil if there is no virtual host for the authority, or where Status is set.
	Host *Host
	// Route is nil if none matches: the answer is 404.
	Route *Route
	// Status is the answer of the connection manager itself: 400, 307 with Path as Location, 403; else 0.
	Status int
	// Why says what the connection manager objects to.
	Why string
	// Path is the normalised path, with the query.
	Path string
	// Client is the client's address by the listener's detection.
	Client netip.Addr
	// Header is the request's as filters see it.
	Header []exchange.Field
}

// ErrNoListener indicates a port that nothing listens on, or on which a connection finds no filter chain.
var ErrNoListener = errors.New("no listener takes the connection")

// Match finds the route of a request. The error is ErrNoListener, with what there is instead, or names a
// route on the way whose conditions this package doesn't know.
func (t *Table) Match(r *Request) (*Match, error) {
	socket, err := t.socket(r)
	if err != nil {
		return nil, err
	}
	chain := socket.chain(r.ServerName)
	if chain == nil || chain.Manager == nil {
		return nil, fmt.Errorf("%w: %s has no HTTP filter chain for the server name %q", ErrNoListener, socket.Name, r.ServerName)
	}
	return take(socket, chain, r)
}

// Find returns what each HTTP filter chain would do with a request, whatever its address: for a proxy that
// isn't the one of this table. Chains without a route for it are left out. The error is Match's.
func (t *Table) Find(r *Request) ([]*Match, error) {
	var all []*Match
	for _, socket := range t.Sockets {
		for _, chain := range socket.Chains {
			if chain.Manager == nil || socket.UDP {
				continue
			}
			m, err := take(socket, chain, r)
			if err != nil {
				return nil, err
			}
			if m.Route != nil || m.Status != 0 {
				all = append(all, m)
			}
		}
	}
	return all, nil
}

func take(socket *Socket, chain *Chain, r *Request) (*Match, error) {
	out := &Match{Socket: socket, Chain: chain, Path: r.Path, Header: received(chain.Manager, r)}
	if out.Status, out.Why = refused(chain.Manager, r); out.Status != 0 {
		return out, nil
	}
	if r.Path != "*" {
		if out.Path, out.Status = normalised(chain.Manager, r.Path); out.Status != 0 {
			out.Why = "the path isn't in its normal form"
			return out, nil
		}
	}
	if out.Client, out.Status = client(chain.Manager, r); out.Status != 0 {
		out.Why = "the header that tells the client's address is missing or isn't an address"
		return out, nil
	}
	out.Host = chain.host(r.Authority)
	if out.Host == nil {
		return out, nil
	}
	s := seen(r, out)
	for _, candidate := range out.Host.Routes {
		if candidate.unknown != nil {
			return nil, candidate.unknown
		}
		if candidate.conditions.hold(s) {
			out.Route = candidate
			break
		}
	}
	return out, nil
}

// socket prefers a listener on the very address of the request.
func (t *Table) socket(r *Request) (*Socket, error) {
	var found *Socket
	var all []string
	for _, s := range t.Sockets {
		if s.UDP || !s.http() {
			continue
		}
		all = append(all, s.Address.String())
		if s.Address.Port() != r.Port || s.tls() != r.TLS {
			continue
		}
		if found == nil || s.Address.Addr() == r.Address {
			found = s
		}
	}
	if found == nil {
		kind := "HTTP"
		if r.TLS {
			kind = "HTTPS"
		}
		others := "no listener speaks HTTP"
		if len(all) > 0 {
			others = "there are " + strings.Join(all, ", ")
		}
		return nil, fmt.Errorf("%w: nothing speaks %s on port %d; %s", ErrNoListener, kind, r.Port, others)
	}
	return found, nil
}

func (s *Socket) http() bool {
	return slices.ContainsFunc(s.Chains, func(c *Chain) bool { return c.Manager != nil })
}

func (s *Socket) tls() bool {
	return slices.ContainsFunc(s.Chains, func(c *Chain) bool { return c.TLS })
}

// chain goes by the server name as Envoy does: exact, then the longest wildcard, then a chain for any.
func (s *Socket) chain(name string) *Chain {
	name = strings.ToLower(name)
	for candidate := name; candidate != ""; candidate = wider(candidate) {
		for _, c := range s.Chains {
			if slices.Contains(c.ServerNames, candidate) {
				return c
			}
		}
	}
	for _, c := range s.Chains {
		if len(c.ServerNames) == 0 {
			return c
		}
	}
	return nil
}

// wider makes "*.b.c" of "a.b.c" and "*.c" of "*.b.c"; "" where there is nothing wider.
func wider(name string) string {
	_, rest, ok := strings.Cut(strings.TrimPrefix(name, "*."), ".")
	if !ok {
		return ""
	}
	return "*." + rest
}

// host finds the virtual host: exact domain, longest suffix wildcard, longest prefix wildcard, "*"
// (config.route.v3.VirtualHost.domains).
func (c *Chain) host(authority string) *Host {
	name := strings.ToLower(authority)
	if c.Manager.GetStripAnyHostPort() || c.ignorePort {
		name = withoutPort(name)
	}
	if c.Manager.GetStripTrailingHostDot() {
		host, port := name, ""
		if h, p, err := net.SplitHostPort(name); err == nil {
			host, port = h, ":"+p
		}
		name = strings.TrimSuffix(host, ".") + port
	}
	var best *Host
	rank := func(domain string) int {
		switch {
		case domain == name:
			return 1 << 20
		case domain == "*":
			return 1
		case strings.HasPrefix(domain, "*") && len(name) >= len(domain) && strings.HasSuffix(name, domain[1:]):
			return 1<<10 + len(domain)
		case strings.HasSuffix(domain, "*") && len(name) >= len(domain) && strings.HasPrefix(name, domain[:len(domain)-1]):
			return 1 + len(domain)
		}
		return 0
	}
	for _, h := range c.Hosts {
		domain := strings.ToLower(h.Domain)
		if n := rank(domain); n > 0 && (best == nil || n > rank(strings.ToLower(best.Domain))) {
			best = h
		}
	}
	return best
}

func withoutPort(authority string) string {
	at := strings.LastIndexByte(authority, ':')
	if at < 0 || strings.HasSuffix(authority, "]") || strings.Trim(authority[at+1:], "0123456789") != "" || at+1 == len(authority) {
		return authority
	}
	return authority[:at]
}

// methods are those that Envoy's HTTP/1 parser knows.
var methods = strings.Fields(`ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE
	M-SEARCH NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND
	UNLINK UNLOCK UNSUBSCRIBE`)

// refused is what the connection manager doesn't let in.
func refused(m *hcm.HttpConnectionManager, r *Request) (status int, why string) {
	if m.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction() == core.HttpProtocolOptions_REJECT_REQUEST {
		for _, f := range r.Header {
			if strings.Contains(f.Name, "_") {
				return 400, "header " + f.Name + " has an underscore"
			}
		}
	}
	switch {
	case !slices.Contains(methods, r.Method):
		return 400, "HTTP/1.1 has no method " + r.Method
	case r.Authority == "":
		return 400, "Host is missing"
	case r.Path != "*" && !strings.HasPrefix(r.Path, "/"):
		return 400, "the path doesn't begin with /"
	case r.Path == "*" && r.Method != http.MethodOptions:
		return 404, "only OPTIONS has the target *"
	}
	return 0, ""
}

// seen gives the conditions of routes their view. Of repeated query parameters the first counts, and
// neither names nor values are decoded.
func seen(r *Request, m *Match) *subject {
	path, query := splitQuery(m.Path)
	s := &subject{path: path, query: map[string]string{}}
	for pair := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		name, value, _ := strings.Cut(pair, "=")
		if _, known := s.query[name]; !known && pair != "" {
			s.query[name] = value
		}
	}
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	pseudo := map[string]string{":method": r.Method, ":path": m.Path, ":authority": r.Authority, ":scheme": scheme}
	s.header = func(name string) []string {
		name = strings.ToLower(name)
		if value, ok := pseudo[name]; ok {
			return []string{value}
		}
		if name == "host" {
			return []string{r.Authority}
		}
		var values []string
		for _, f := range m.Header {
			if strings.EqualFold(f.Name, name) {
				values = append(values, f.Value)
			}
		}
		return values
	}
	return s
}
