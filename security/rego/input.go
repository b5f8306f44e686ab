package rego

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

// builder makes the input of one request, only the parts that are read. The first error sticks: it
// denies.
type builder struct {
	policy *Policy
	r      *exchange.Request
	err    error
}

// Terms that every request shares.
var (
	emptyObject = ast.NewTerm(ast.NewObject())
	version     = ast.ObjectTerm(member("ext_authz", ast.StringTerm("v3")), member("encoding", ast.StringTerm("protojson")))
	usual       = terms("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "http", "https", "HTTP/1.1", "HTTP/2", "HTTP/3")
)

func terms(texts ...string) map[string]*ast.Term {
	all := map[string]*ast.Term{}
	for _, text := range texts {
		all[text] = ast.StringTerm(text)
	}
	return all
}

func member(name string, value *ast.Term) [2]*ast.Term {
	return [2]*ast.Term{ast.InternedTerm(name), value}
}

// object collects the members that are read, on the stack as long as they are few.
type object struct {
	reads *reads
	count int
	few   [8][2]*ast.Term
	more  [][2]*ast.Term
}

// put adds a member if it is read. build may return nil for one that this request doesn't have.
func (o *object) put(name string, build func(*reads) *ast.Term) {
	if part := o.reads.part(name); part != nil {
		if value := build(part); value != nil {
			o.add(o.reads.key(name), value)
		}
	}
}

func (o *object) text(name, value string) {
	if o.reads.part(name) != nil {
		o.add(o.reads.key(name), textTerm(value))
	}
}

func (o *object) add(key, value *ast.Term) {
	if o.count < len(o.few) {
		o.few[o.count] = [2]*ast.Term{key, value}
	} else {
		o.more = append(o.more, [2]*ast.Term{key, value})
	}
	o.count++
}

func (o *object) term() *ast.Term {
	if len(o.more) == 0 {
		return ast.ObjectTerm(o.few[:o.count]...)
	}
	return ast.ObjectTerm(slices.Concat(o.few[:], o.more)...)
}

// textTerm shares the terms of values that nearly every request has.
func textTerm(value string) *ast.Term {
	if shared, found := usual[value]; found {
		return shared
	}
	return ast.StringTerm(value)
}

func (p *Policy) input(r *exchange.Request, caller *identity.Identity) (*ast.Term, error) {
	b := &builder{policy: p, r: r}
	o := object{reads: p.reads}
	o.put("attributes", b.attributes)
	o.put("identity", func(part *reads) *ast.Term { return identityTerm(part, caller) })
	o.put("peer", b.peer)
	o.put("version", func(*reads) *ast.Term { return version })
	b.target(&o)
	b.body(&o)
	return o.term(), b.err
}

// fail notes the error and gives no term, so that a builder can return it.
func (b *builder) fail(err error) *ast.Term {
	if b.err == nil {
		b.err = err
	}
	return nil
}

// attributes takes those of an earlier request, if of this one nothing is read that they haven't.
func (b *builder) attributes(part *reads) *ast.Term {
	f := b.policy.frequent
	if f == nil {
		return b.newAttributes(part)
	}
	head := b.r.Head()
	key, usual := commonOf(part.path("request", "http"), &head)
	if !usual {
		return b.newAttributes(part)
	}
	if known := f.get(key); known != nil {
		b.checkText(&head)
		return known
	}
	built := b.newAttributes(part)
	if b.err == nil {
		f.put(key, built)
	}
	return built
}

func (b *builder) newAttributes(part *reads) *ast.Term {
	o := object{reads: part}
	o.put("request", b.request)
	o.put("source", b.source)
	o.put("destination", func(part *reads) *ast.Term {
		to := b.r.Conn().Destination
		return addressTerm(part, to.Addr(), to.Port(), "")
	})
	o.put("contextExtensions", func(part *reads) *ast.Term {
		extensions := object{reads: part}
		b.r.Extensions(func(key, value string) bool {
			extensions.text(key, value)
			return true
		})
		return extensions.term()
	})
	o.put("tlsSession", func(part *reads) *ast.Term {
		tls := object{reads: part}
		if name := b.r.Conn().ServerName; name != "" {
			tls.text("sni", name)
		}
		return tls.term()
	})
	return o.term()
}

func (b *builder) request(part *reads) *ast.Term {
	o := object{reads: part}
	o.put("http", b.http)
	o.put("time", func(*reads) *ast.Term {
		return ast.StringTerm(b.r.Head().Time.UTC().Format(time.RFC3339Nano))
	})
	return o.term()
}

// http refuses control data that isn't UTF-8 (S19), whichever part of it is read.
func (b *builder) http(part *reads) *ast.Term {
	head := b.r.Head()
	o := object{reads: part}
	o.text("id", head.ID)
	o.text("method", head.Method)
	o.text("path", head.Path)
	o.text("host", head.Authority)
	o.text("scheme", head.Scheme)
	o.text("protocol", head.Protocol)
	o.put("size", func(*reads) *ast.Term { return ast.NumberTerm(sizeNumber(head.Size)) })
	o.put("headers", b.headers)
	if b.policy.readsBody {
		o.put("body", b.bodyText)
	}
	b.checkText(&head)
	return o.term()
}

func (b *builder) checkText(head *exchange.Head) {
	if !validText(head.Method) || !validText(head.Path) || !validText(head.Authority) {
		b.fail(ErrAmbiguous)
	}
}

// headers builds the named headers, or all of them. Bytes that are no UTF-8 can't be shown as they are,
// and shown otherwise they could match what they aren't (S19).
func (b *builder) headers(part *reads) *ast.Term {
	if !part.all {
		o := object{reads: part}
		for name := range part.parts {
			if value, found := b.header(name); found {
				o.text(name, value)
			}
		}
		return o.term()
	}
	names := []string{":authority", ":method", ":path", ":scheme"}
	for name := range b.r.Header.All() {
		if lower := strings.ToLower(name); !slices.Contains(names, lower) {
			names = append(names, lower)
		}
	}
	members := make([][2]*ast.Term, 0, len(names))
	for _, name := range names {
		value, _ := b.header(name)
		members = append(members, [2]*ast.Term{ast.StringTerm(name), ast.StringTerm(value)})
	}
	return ast.ObjectTerm(members...)
}

// header returns the lines of a lower-case name joined (S12). A policy that writes a name in upper case
// finds nothing, as with opa-envoy-plugin.
func (b *builder) header(name string) (string, bool) {
	if value, found := pseudoHeader(b.r, name); found {
		return value, true
	}
	if name != strings.ToLower(name) {
		return "", false
	}
	value, lines := b.r.Header.Lookup(name)
	if lines > 1 {
		separator := ","
		if name == "cookie" {
			separator = "; "
		}
		value = strings.Join(b.r.Header.Values(name), separator)
	}
	if !validText(value) {
		b.fail(ErrAmbiguous)
	}
	return value, lines > 0
}

// pseudoHeader returns control data by its name in HTTP/2.
func pseudoHeader(r *exchange.Request, name string) (value string, found bool) {
	switch name {
	case ":authority":
		return r.Authority(), true
	case ":method":
		return r.Method(), true
	case ":path":
		return r.Path(), true
	case ":scheme":
		return r.Scheme(), true
	}
	return "", false
}

// source shows the chosen client, whose port is known only if it is the peer itself.
func (b *builder) source(part *reads) *ast.Term {
	conn := b.r.Conn()
	port := uint16(0)
	if conn.Peer.Addr().Unmap() == conn.Client.Unmap() {
		port = conn.Peer.Port()
	}
	return addressTerm(part, conn.Client, port, conn.Principal)
}

// addressTerm is Envoy's shape. An unknown address isn't there, so that a rule about it is undefined.
func addressTerm(part *reads, addr netip.Addr, port uint16, principal string) *ast.Term {
	o := object{reads: part}
	if addr.IsValid() {
		o.put("address", func(part *reads) *ast.Term {
			outer := object{reads: part}
			outer.put("socketAddress", func(part *reads) *ast.Term {
				inner := object{reads: part}
				inner.text("address", addr.Unmap().String())
				if port != 0 {
					inner.put("portValue", func(*reads) *ast.Term { return ast.IntNumberTerm(int(port)) })
				}
				return inner.term()
			})
			return outer.term()
		})
	}
	if principal != "" {
		o.text("principal", principal)
	}
	return o.term()
}

func (b *builder) peer(part *reads) *ast.Term {
	o := object{reads: part}
	if peer := b.r.Conn().Peer; peer.IsValid() {
		o.text("address", peer.Addr().Unmap().String())
		o.put("port", func(*reads) *ast.Term { return ast.IntNumberTerm(int(peer.Port())) })
	}
	return o.term()
}

// target adds what is parsed from the path. The checks run for every policy that reads the path in any
// form: a regular expression on the raw path is as easily deceived as a list of segments.
func (b *builder) target(o *object) {
	path, query := splitPath(b.r.Path())
	var parts []string
	if b.policy.readsPath {
		var err error
		if parts, err = segments(path); err != nil {
			b.fail(err)
			return
		}
	}
	o.put("parsed_path", func(*reads) *ast.Term {
		array := make([]*ast.Term, len(parts))
		for i := range parts {
			array[i] = ast.StringTerm(parts[i])
		}
		return ast.ArrayTerm(array...)
	})
	o.put("parsed_query", func(*reads) *ast.Term {
		value, err := parameters(query)
		if err != nil {
			return b.fail(err)
		}
		return ast.NewTerm(value)
	})
}

func validText(s string) bool { return utf8.ValidString(s) }

func printable(s string) bool {
	return validText(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f })
}
