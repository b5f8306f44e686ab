// Package apikey authenticates clients by a key that they send with each request.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/field"
	"github.com/gatehouse-proxy/gatehouse/security/place"
)

// The bounds of one policy (S43). A longer key wouldn't fit a header.
const (
	maxClients = 10000
	maxKey     = 4 << 10
	maxPlaces  = 64
)

// What [Keys.Client] can find, and nothing of the key in it.
var (
	// ErrMissing indicates a request without a key.
	ErrMissing = errors.New("no API key")
	// ErrInvalid indicates a key that is nobody's, or several in one place.
	ErrInvalid = errors.New("invalid API key")
)

// Keys are a policy's clients. They are immutable and safe for concurrent use.
type Keys struct {
	places []place.Place
	// salt keeps anybody from choosing keys whose digests share a prefix with a known one's: the time
	// that a look-up takes says nothing about any key.
	salt    [sha256.Size]byte
	clients map[[sha256.Size]byte]string
}

// Compile checks spec and reads the clients. The error names the Secret and the client, never a key.
func Compile(spec *config.APIKey, data config.Data) (*Keys, error) {
	k := &Keys{clients: map[[sha256.Size]byte]string{}}
	if _, err := rand.Read(k.salt[:]); err != nil {
		return nil, err
	}
	if err := k.addPlaces(spec.Places); err != nil {
		return nil, err
	}
	owners := map[string]string{}
	for i, source := range spec.Credentials {
		text, err := data.Resolve(source)
		if err == nil {
			err = k.add(text, source.Ref, owners)
		}
		if err != nil {
			return nil, fmt.Errorf("credentialRefs[%d]: %w", i, err)
		}
	}
	if len(k.clients) == 0 {
		return nil, errors.New("credentialRefs: there is no client in any of the Secrets; add one as client id: key")
	}
	return k, nil
}

func (k *Keys) addPlaces(specs []config.KeyPlace) error {
	if len(specs) == 0 || len(specs) > maxPlaces {
		return fmt.Errorf("extractFrom: %d places; 1 to %d are supported", len(specs), maxPlaces)
	}
	for _, spec := range specs {
		p := place.Place{Name: spec.Name}
		switch spec.Kind {
		case "Header":
			if err := field.CheckName(spec.Name); err != nil {
				return fmt.Errorf("extractFrom: %w", err)
			}
			p.Kind, p.Name = place.Header, strings.ToLower(spec.Name)
		case "Cookie":
			p.Kind = place.Cookie
		case "Param":
			p.Kind = place.Parameter
		default:
			return fmt.Errorf("extractFrom: %q is none of Header, Cookie and Param", spec.Kind)
		}
		if p.Name == "" {
			return errors.New("extractFrom: a place without a name")
		}
		k.places = append(k.places, p)
	}
	return nil
}

// add reads one Secret. A client in two Secrets, and two clients with one key, are faults: whichever
// counted, a rotation or a revocation in the other would be without effect.
func (k *Keys) add(text []byte, from string, owners map[string]string) error {
	var keys map[string][]byte
	if json.Unmarshal(text, &keys) != nil { // its error may quote the text
		return errors.New("the contents can't be read")
	}
	for _, client := range slices.Sorted(maps.Keys(keys)) {
		if other, taken := owners[client]; taken {
			return fmt.Errorf("client %q is in %s too; keep it in one Secret", client, strings.TrimSuffix(other, "/*"))
		}
		owners[client] = from
		if err := checkKey(client, keys[client]); err != nil {
			return err
		}
		digest := k.digest(string(keys[client]))
		if other, taken := k.clients[digest]; taken {
			return fmt.Errorf("clients %q and %q have the same key; give each its own", other, client)
		}
		if k.clients[digest] = client; len(k.clients) > maxClients {
			return fmt.Errorf("more than %d clients", maxClients)
		}
	}
	return nil
}

func checkKey(client string, key []byte) error {
	switch {
	case len(key) == 0:
		return fmt.Errorf("the key of client %q is empty", client)
	case len(key) > maxKey:
		return fmt.Errorf("the key of client %q is longer than %d bytes", client, maxKey)
	case !field.ValidValue(client):
		return errors.New("a client id can't be written as a header")
	case strings.TrimSpace(string(key)) != string(key) || !field.ValidValue(string(key)):
		return fmt.Errorf("the key of client %q has a line break, a space at an end, or a control character: no request can carry it", client)
	}
	return nil
}

func (k *Keys) digest(key string) [sha256.Size]byte {
	var buffer [sha256.Size + 256]byte // the usual key needs no allocation
	return sha256.Sum256(append(append(buffer[:0], k.salt[:]...), key...))
}

// Client returns the id of the client whose key the request carries in the first of the places that has
// one. The error is [ErrMissing] or [ErrInvalid].
func (k *Keys) Client(r *exchange.Request) (id string, err error) {
	for i := range k.places {
		key, found, err := k.places[i].Find(r)
		if err != nil {
			return "", ErrInvalid
		}
		if !found || key == "" {
			continue
		}
		if k.places[i].Kind == place.Header {
			key = withoutScheme(key)
		}
		if len(key) > maxKey {
			return "", ErrInvalid
		}
		if id, found := k.clients[k.digest(key)]; found {
			return id, nil
		}
		return "", ErrInvalid
	}
	return "", ErrMissing
}

// withoutScheme drops the scheme that Envoy's api_key_auth drops, in any case of letters (RFC 9110
// section 11.1).
func withoutScheme(value string) string {
	const scheme = "bearer "
	if len(value) > len(scheme) && strings.EqualFold(value[:len(scheme)], scheme) {
		return strings.TrimLeft(value[len(scheme):], " ")
	}
	return value
}

// Sanitize says how to take keys out of a request, of whatever place and whether they are valid or not;
// see [place.Remove].
func (k *Keys) Sanitize(r *exchange.Request) (set []exchange.Field, remove []string) {
	return place.Remove(r, k.places)
}
