package jwt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

// issuer is a key server with a certificate of its own CA. Its answer can be changed at any time.
type issuer struct {
	*httptest.Server

	ca      string
	hits    atomic.Int64
	respond atomic.Pointer[http.HandlerFunc]
}

func newIssuer(t *testing.T, set string) *issuer {
	t.Helper()
	i := &issuer{}
	i.serve(set)
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.hits.Add(1)
		(*i.respond.Load())(w, r)
	}))
	certificate, ca := issue(t)
	i.ca = ca
	i.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	i.StartTLS()
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) serve(set string) {
	i.answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set) })
}

func (i *issuer) answer(h http.HandlerFunc) { i.respond.Store(&h) }

// issue makes a CA and a certificate for loopback.
func issue(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}))
}

// newFetcher reports each fetch on the channel.
func newFetcher(t *testing.T, opts jwt.FetcherOptions) (*jwt.Fetcher, <-chan jwt.State) {
	t.Helper()
	fetched := make(chan jwt.State, 1000)
	opts.OnFetch = func(s jwt.State) { fetched <- s }
	opts.Logger = slog.New(slog.DiscardHandler)
	f := jwt.NewFetcher(opts)
	t.Cleanup(f.Close)
	return f, fetched
}

func next(t *testing.T, fetched <-chan jwt.State) jwt.State {
	t.Helper()
	select {
	case s := <-fetched:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is fetched")
		return jwt.State{}
	}
}

func remote(t *testing.T, f *jwt.Fetcher, r config.RemoteJWKS) *jwt.Verifier {
	t.Helper()
	v, err := jwt.Compile(&config.JWT{Providers: []config.JWTProvider{{Name: "idp", Issuer: "idp", RemoteJWKS: &r}}}, nil, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func (i *issuer) at(path string) config.RemoteJWKS {
	return config.RemoteJWKS{URI: i.URL + path, CACertificate: &config.Source{Inline: i.ca}, AllowPrivateAddresses: true}
}

func TestKeysAreThereBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	k := keys()
	server := newIssuer(t, keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "1"}), member(t, k.short.Public(), nil)))
	f, fetched := newFetcher(t, jwt.FetcherOptions{})
	v, again := remote(t, f, server.at("/jwks")), remote(t, f, server.at("/jwks"))
	state := next(t, fetched)
	if state.LastError != "" || state.Keys != 1 || len(state.Refused) != 1 || state.Next.Sub(state.LastSuccess) > jwt.DefaultCacheDuration || !strings.HasSuffix(state.URI, "/jwks") {
		t.Errorf("%+v", state)
	}
	token := sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": "1"}, claims())
	for _, v := range []*jwt.Verifier{v, again} {
		if _, err := v.Verify(request(token)); err != nil {
			t.Error(err)
		}
	}
	if hits := server.hits.Load(); hits != 1 {
		t.Errorf("two policies fetch one URI %d times", hits)
	}
	v.Close()
	v.Close()
	if states := f.States(); len(states) != 1 {
		t.Errorf("one policy still needs the keys: %v", states)
	}
	again.Close()
	if states := f.States(); len(states) != 0 {
		t.Errorf("nobody needs the keys: %v", states)
	}
}

func TestWithoutKeysNothingIsDecided(t *testing.T) {
	t.Parallel()
	k := keys()
	server := newIssuer(t, "")
	server.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	f, fetched := newFetcher(t, jwt.FetcherOptions{FirstRetry: 10 * time.Millisecond, LastRetry: 20 * time.Millisecond})
	v := remote(t, f, server.at("/"))
	header := map[string]any{"alg": "EdDSA", "kid": "1"}
	token := sign(t, k.ed, header, claims())
	if _, err := v.Verify(request(token)); !errors.Is(err, jwt.ErrUnavailable) {
		t.Error(err)
	}
	if state := next(t, fetched); !strings.Contains(state.LastError, "500") || !state.LastSuccess.IsZero() {
		t.Errorf("%+v", state)
	}
	// What could never pass is refused all the same: failOpen must not help it.
	for name, bad := range map[string]string{
		"garbage": "garbage", "issuer": sign(t, k.ed, header, claims(map[string]any{"iss": "evil"})), "expired": sign(t, k.ed, header, claims(map[string]any{"exp": 1})),
	} {
		if _, err := v.Verify(request(bad)); !errors.Is(err, jwt.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	server.serve(keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "1"})))
	for next(t, fetched).LastError != "" {
	}
	if _, err := v.Verify(request(token)); err != nil {
		t.Error(err)
	}
}

func TestS25WithdrawnKeysStopAndOutagesDoNot(t *testing.T) {
	t.Parallel()
	k := keys()
	server := newIssuer(t, keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "1"}), member(t, k.p256.Public(), map[string]any{"kid": "2"})))
	f, fetched := newFetcher(t, jwt.FetcherOptions{FirstRetry: 10 * time.Millisecond, LastRetry: 20 * time.Millisecond})
	spec := server.at("/")
	spec.CacheDuration, spec.MaxStale = time.Second, time.Hour
	v := remote(t, f, spec)
	next(t, fetched)
	one, two := sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": "1"}, claims(map[string]any{"exp": time.Now().Add(48 * time.Hour).Unix()})), sign(t, k.p256, map[string]any{"alg": "ES256", "kid": "2"}, claims())
	for range 2 {
		if _, err := v.Verify(request(two)); err != nil {
			t.Error(err)
		}
	}
	server.serve(keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "1"})))
	next(t, fetched)
	if _, err := v.Verify(request(two)); !errors.Is(err, jwt.ErrUnknown) {
		t.Errorf("a withdrawn key's token: %v", err)
	}
	for _, broken := range []string{"", `{"keys":[]}`, "<html>", `{"keys":[{"kty":"oct","k":"AA"}]}`} {
		server.serve(broken)
		if state := next(t, fetched); state.LastError == "" && !strings.Contains(broken, "oct") {
			next(t, fetched) // the last good one may have been under way
		}
		if _, err := v.Verify(request(one)); err != nil {
			t.Errorf("%q: the last good keys are gone: %v", broken, err)
		}
	}
	now := time.Now()
	v.Now = func() time.Time { return now.Add(2 * time.Hour) }
	if _, err := v.Verify(request(one)); !errors.Is(err, jwt.ErrUnavailable) {
		t.Errorf("beyond maxStale, and from the cache: %v", err)
	}
}

func TestS24RandomKidsDoNotFlood(t *testing.T) {
	t.Parallel()
	k := keys()
	server := newIssuer(t, keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "1"})))
	f, fetched := newFetcher(t, jwt.FetcherOptions{Cooldown: time.Hour})
	v := remote(t, f, server.at("/"))
	next(t, fetched)
	good := sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": "1"}, claims())
	for i := range 1000 {
		if _, err := v.Verify(request(sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": rand.Text()}, claims(map[string]any{"n": i})))); !errors.Is(err, jwt.ErrInvalid) {
			t.Fatal(err)
		}
		if _, err := v.Verify(request(good)); err != nil {
			t.Fatal(err)
		}
	}
	if hits := server.hits.Load(); hits != 1 {
		t.Errorf("%d fetches within the cooldown", hits)
	}
}

func TestS24UnknownKidFetchesOncePerCooldown(t *testing.T) {
	t.Parallel()
	k := keys()
	server := newIssuer(t, keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "1"})))
	f, fetched := newFetcher(t, jwt.FetcherOptions{Cooldown: time.Nanosecond})
	v := remote(t, f, server.at("/"))
	next(t, fetched)
	server.serve(keySet(t, member(t, k.p256.Public(), map[string]any{"kid": "2"})))
	// A token of another issuer is no sign of a rotation.
	if _, err := v.Verify(request(sign(t, k.p256, map[string]any{"alg": "ES256", "kid": "2"}, claims(map[string]any{"iss": "other"})))); !errors.Is(err, jwt.ErrInvalid) {
		t.Error(err)
	}
	rotated := sign(t, k.p256, map[string]any{"alg": "ES256", "kid": "2"}, claims())
	if _, err := v.Verify(request(rotated)); !errors.Is(err, jwt.ErrUnknown) {
		t.Error(err)
	}
	next(t, fetched)
	if _, err := v.Verify(request(rotated)); err != nil {
		t.Error(err)
	}
	if hits := server.hits.Load(); hits != 2 {
		t.Errorf("%d fetches", hits)
	}
}

func TestS26HostileKeyServers(t *testing.T) {
	t.Parallel()
	k := keys()
	set := keySet(t, member(t, k.ed.Public(), nil))
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set) }))
	t.Cleanup(plain.Close)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		edit   func(*config.RemoteJWKS, *issuer)
		want   string
	}{
		"too large":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat(" ", 1<<20)+set) }, nil, "larger"},
		"status":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, nil, "404"},
		"redirect loop":    {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }, nil, "redirects"},
		"redirect to http": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }, nil, "https"},
		"another CA": {nil, func(r *config.RemoteJWKS, _ *issuer) {
			_, ca := issue(t)
			r.CACertificate = &config.Source{Inline: ca}
		}, "certificate"},
		"the system's roots": {nil, func(r *config.RemoteJWKS, _ *issuer) { r.CACertificate = nil }, "certificate"},
		"a public name of a loopback address": {nil, func(r *config.RemoteJWKS, i *issuer) {
			r.AllowPrivateAddresses, r.URI = false, strings.Replace(i.URL, "127.0.0.1", "localhost", 1)
		}, "private"},
	} {
		server := newIssuer(t, set)
		if c.answer != nil {
			server.answer(c.answer)
		}
		f, fetched := newFetcher(t, jwt.FetcherOptions{})
		spec := server.at("/jwks")
		if c.edit != nil {
			c.edit(&spec, server)
		}
		v := remote(t, f, spec)
		if state := next(t, fetched); !strings.Contains(state.LastError, c.want) || state.Keys != 0 {
			t.Errorf("%s: %+v", name, state)
		}
		if _, err := v.Verify(request(sign(t, k.ed, map[string]any{"alg": "EdDSA"}, claims()))); !errors.Is(err, jwt.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Three redirects are fine, and so is http where private addresses are.
	server := newIssuer(t, set)
	server.answer(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.Path) < 4 {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, set)
	})
	f, fetched := newFetcher(t, jwt.FetcherOptions{AllowPrivateAddresses: true})
	remote(t, f, server.at("/"))
	remote(t, f, config.RemoteJWKS{URI: plain.URL})
	for range 2 {
		if state := next(t, fetched); state.LastError != "" || state.Keys != 1 {
			t.Errorf("%+v", state)
		}
	}
}

func TestClosingEndsEveryFetch(t *testing.T) {
	ignored := goleak.IgnoreCurrent()
	arrived, hang := make(chan struct{}), make(chan struct{})
	server := newIssuer(t, "")
	server.answer(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(hang)
	})
	f := jwt.NewFetcher(jwt.FetcherOptions{Logger: slog.New(slog.DiscardHandler)})
	spec := server.at("/")
	if _, err := jwt.Compile(&config.JWT{Providers: []config.JWTProvider{{Name: "a", RemoteJWKS: &spec}}}, nil, f); err != nil {
		t.Fatal(err)
	}
	<-arrived
	f.Close()
	<-hang
	server.Close()
	goleak.VerifyNone(t, ignored)
	if _, err := jwt.Compile(&config.JWT{Providers: []config.JWTProvider{{Name: "a", RemoteJWKS: &spec}}}, nil, f); err == nil {
		t.Error("a closed fetcher takes policies")
	}
}
