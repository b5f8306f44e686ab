package rego

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

// A decision may be remembered under exactly what the policy can see of a request. The list of what a key
// can hold is closed: a policy that reads anything else, all headers for one, or whose builtins don't give
// the same result each time, is evaluated on every request.

// keyKind is a piece of the input.
type keyKind int

const (
	keyMethod keyKind = iota
	keyPath
	keyHost
	keyScheme
	keyProtocol
	keyHeader
	keyExtension
	keySource
	keyDestination
	keyServerName
	keyPeer
	keyIdentity
	keyClaims
)

type keyPart struct {
	kind keyKind
	name string // of a header or extension
}

// maxKey bounds an entry's key in bytes. Longer ones belong to requests that seldom come twice.
const maxKey = 2048

// keyPartsOf returns what a key must hold, and false if no key can hold it.
func keyPartsOf(r *reads) (parts []keyPart, ok bool) {
	k := &keyList{ok: true}
	k.each(r, map[string]func(*reads){
		"attributes":  k.attributes,
		"identity":    k.identity,
		"peer":        k.add(keyPeer),
		"parsed_path": k.add(keyPath), "parsed_query": k.add(keyPath),
		"version": func(*reads) {}, "truncated_body": func(*reads) {}, // the same for every request
	})
	return k.parts, k.ok
}

type keyList struct {
	parts []keyPart
	ok    bool
}

// each goes through the names that are read below a part. One that isn't known, or a read of the whole,
// ends it.
func (k *keyList) each(r *reads, known map[string]func(*reads)) {
	if r.all {
		k.ok = false
		return
	}
	for name, below := range r.parts {
		if visit, found := known[name]; found {
			visit(below)
		} else {
			k.ok = false
		}
	}
}

func (k *keyList) add(kind keyKind) func(*reads) {
	return func(*reads) { k.part(keyPart{kind: kind}) }
}

func (k *keyList) part(part keyPart) {
	if !slices.Contains(k.parts, part) {
		k.parts = append(k.parts, part)
	}
}

func (k *keyList) attributes(r *reads) {
	k.each(r, map[string]func(*reads){
		"source": k.add(keySource), "destination": k.add(keyDestination), "tlsSession": k.add(keyServerName),
		"contextExtensions": func(r *reads) { k.names(r, keyExtension) },
		"request": func(r *reads) {
			k.each(r, map[string]func(*reads){"http": k.http})
		},
	})
}

func (k *keyList) http(r *reads) {
	k.each(r, map[string]func(*reads){
		"method": k.add(keyMethod), "path": k.add(keyPath), "host": k.add(keyHost), "scheme": k.add(keyScheme), "protocol": k.add(keyProtocol),
		"headers": func(r *reads) { k.names(r, keyHeader) },
	})
}

func (k *keyList) names(r *reads, kind keyKind) {
	if r.all {
		k.ok = false
		return
	}
	for name := range r.parts {
		k.part(keyPart{kind: kind, name: name})
	}
}

// identity holds all of the caller but the claims, which count by whose they are: see entry.caller.
func (k *keyList) identity(r *reads) {
	k.part(keyPart{kind: keyIdentity})
	if r.part("claims") != nil {
		k.part(keyPart{kind: keyClaims})
	}
}

// repeatable reports whether the modules give the same decision for the same input every time.
func repeatable(c *ast.Compiler) bool {
	changing := map[string]bool{}
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		// OPA doesn't mark what compares a certificate's or token's dates with the clock.
		changing[b.Name] = b.Nondeterministic || strings.HasPrefix(b.Name, "crypto.x509.") || strings.HasPrefix(b.Name, "io.jwt.") || strings.HasPrefix(b.Name, "rand.") || strings.HasPrefix(b.Name, "uuid.")
	}
	same := true
	for _, module := range c.Modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			same = same && !changing[ref.String()]
			return false
		})
	}
	return same
}

// key appends what the policy can see of a request, each piece after its length. false: the request isn't
// one to remember.
func (p *Policy) key(dst []byte, r *exchange.Request, caller *identity.Identity) ([]byte, bool) {
	head, conn := r.Head(), r.Conn()
	// A part that isn't read may still deny (see builder.http); that is for the evaluation to find.
	if !validText(head.Method) || !validText(head.Path) || !validText(head.Authority) {
		return dst, false
	}
	for _, part := range p.keyParts {
		switch part.kind {
		case keyMethod:
			dst = appendText(dst, head.Method)
		case keyPath:
			dst = appendText(dst, head.Path)
		case keyHost:
			dst = appendText(dst, head.Authority)
		case keyScheme:
			dst = appendText(dst, head.Scheme)
		case keyProtocol:
			dst = appendText(dst, head.Protocol)
		case keyHeader:
			dst = appendHeader(dst, r, part.name)
		case keyExtension:
			value, found := r.Extension(part.name)
			dst = appendText(appendFlag(dst, found), value)
		case keySource:
			dst = appendText(appendAddress(appendPeer(dst, conn.Peer), conn.Client), conn.Principal)
		case keyDestination:
			dst = appendPeer(dst, conn.Destination)
		case keyServerName:
			dst = appendText(dst, conn.ServerName)
		case keyPeer:
			dst = appendPeer(dst, conn.Peer)
		case keyIdentity:
			dst = appendCaller(dst, caller)
		case keyClaims: // see Policy.readsClaims
		}
		if len(dst) > maxKey {
			return dst, false
		}
	}
	return dst, true
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

func appendFlag(dst []byte, flag bool) []byte {
	if flag {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendHeader counts the lines: one line "a,b" and two lines are one text to Rego, and two keys here.
func appendHeader(dst []byte, r *exchange.Request, name string) []byte {
	if value, found := pseudoHeader(r, name); found {
		return appendText(dst, value)
	}
	value, lines := r.Header.Lookup(name)
	dst = binary.AppendUvarint(dst, uint64(lines)) //nolint:gosec // a count
	if lines <= 1 {
		return appendText(dst, value)
	}
	for _, value := range r.Header.Values(name) {
		dst = appendText(dst, value)
	}
	return dst
}

func appendAddress(dst []byte, addr netip.Addr) []byte {
	at := len(dst)
	dst = append(dst, 0)
	if addr.IsValid() {
		dst = addr.Unmap().AppendTo(dst)
	}
	dst[at] = byte(len(dst) - at) //nolint:gosec // an address is shorter than 256
	return dst
}

func appendPeer(dst []byte, peer netip.AddrPort) []byte {
	return binary.BigEndian.AppendUint16(appendAddress(dst, peer.Addr()), peer.Port())
}

func appendCaller(dst []byte, caller *identity.Identity) []byte {
	if caller == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, text := range [...]string{caller.Method, caller.Username, caller.ClientID, caller.Provider} {
		dst = appendText(dst, text)
	}
	return dst
}
