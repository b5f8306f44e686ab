package jwt_test

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

// traffic verifies valid tokens, remembered ones and new ones, among tokens of random kids, until stop is
// called. A valid one that doesn't pass is an error.
func traffic(t *testing.T, v *jwt.Verifier, valid func(n int) string) (stop func() (verified int64)) {
	t.Helper()
	k := keys()
	var verified atomic.Int64
	var workers sync.WaitGroup
	done := make(chan struct{})
	again := valid(0)
	for worker := range 2 {
		workers.Go(func() {
			for n := worker + 1; ; n += 2 {
				select {
				case <-done:
					return
				default:
				}
				for _, token := range []string{again, valid(n)} {
					if _, err := v.Verify(request(token)); err != nil {
						t.Errorf("a valid token fails: %v", err)
						return
					}
					verified.Add(1)
				}
				if _, err := v.Verify(request(sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": rand.Text()}, claims()))); !errors.Is(err, jwt.ErrInvalid) {
					t.Errorf("a random kid: %v", err)
					return
				}
			}
		})
	}
	return func() int64 {
		close(done)
		workers.Wait()
		return verified.Load()
	}
}

// Whatever a key server does after one good answer, valid tokens pass until maxStale, and no request waits
// for it.
func TestS24S25S26ValidTokensOutliveAHostileKeyServer(t *testing.T) {
	t.Parallel()
	k := keys()
	good := keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "1"}))
	valid := func(n int) string {
		return sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": "1"}, claims(map[string]any{"n": n}))
	}
	write := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"outage":         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"error":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"no keys":        write(`{"keys": []}`),
		"empty":          write(""),
		"HTML":           write("<html>maintenance</html>"),
		"private key":    write(strings.Replace(good, `"kty"`, `"d":"AAAA","kty"`, 1)),
		"cut off":        write(good[:len(good)/2]),
		"deeply nested":  write(strings.Repeat("[", 1<<19)),
		"100 MB":         endless(100 << 20),
		"endless header": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"65 keys":        write(keySet(t, many(t, 65)...)),
		"redirect to a file": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newIssuer(t, good)
			f, fetched := newFetcher(t, jwt.FetcherOptions{Cooldown: time.Nanosecond, FirstRetry: time.Millisecond, LastRetry: 2 * time.Millisecond})
			v := remote(t, f, server.at("/"))
			next(t, fetched)
			server.answer(answer)
			stop := traffic(t, v, valid)
			for failures := 0; failures < 3; {
				if s := next(t, fetched); s.LastError != "" {
					failures++
					if s.LastSuccess.IsZero() || s.Keys != 1 {
						t.Errorf("the good keys are gone: %+v", s)
					}
				}
			}
			if stop() == 0 {
				t.Error("nothing was verified meanwhile")
			}
		})
	}
}

// endless writes until the reader has enough.
func endless(size int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		block := []byte(strings.Repeat(" ", 1<<16))
		for range size / len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
}

func many(t *testing.T, n int) []map[string]any {
	t.Helper()
	all := make([]map[string]any, n)
	for i := range all {
		all[i] = member(t, keys().ed.Public(), map[string]any{"kid": rand.Text()})
	}
	return all
}

// A server that sends a byte now and then holds one fetch, and no request.
func TestS26ASlowKeyServerHoldsNobody(t *testing.T) {
	t.Parallel()
	k := keys()
	server := newIssuer(t, keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "1"})))
	f, fetched := newFetcher(t, jwt.FetcherOptions{Cooldown: time.Nanosecond})
	v := remote(t, f, server.at("/"))
	next(t, fetched)
	arrived := make(chan struct{}, 100)
	server.answer(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-r.Context().Done():
				tick.Stop()
				return
			case <-tick.C:
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	stop := traffic(t, v, func(n int) string {
		return sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": "1"}, claims(map[string]any{"n": n}))
	})
	<-arrived
	before := server.hits.Load()
	for range 500 {
		_, _ = v.Verify(request(sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": rand.Text()}, claims())))
	}
	if stop() == 0 || server.hits.Load() != before {
		t.Errorf("%d fetches at once", server.hits.Load()-before+1)
	}
}

// A rotation as an identity provider does it: the new key is published first, then it signs, then the old
// one goes. No token that is valid at its moment fails.
func TestS25RotationsUnderTraffic(t *testing.T) {
	t.Parallel()
	k := keys()
	first, second := member(t, k.ed.Public(), map[string]any{"kid": "1"}), member(t, k.p256.Public(), map[string]any{"kid": "2"})
	server := newIssuer(t, keySet(t, first))
	f, fetched := newFetcher(t, jwt.FetcherOptions{Cooldown: time.Nanosecond})
	v := remote(t, f, server.at("/"))
	next(t, fetched)
	old := func(n int) string {
		return sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": "1"}, claims(map[string]any{"n": n}))
	}
	fresh := func(n int) string {
		return sign(t, k.p256, map[string]any{"alg": "ES256", "kid": "2"}, claims(map[string]any{"n": n}))
	}
	stopOld := traffic(t, v, old)
	server.serve(keySet(t, first, second))
	for next(t, fetched).Keys != 2 {
	}
	stopNew := traffic(t, v, fresh)
	verified := stopOld()
	server.serve(keySet(t, second))
	for next(t, fetched).Keys != 1 {
	}
	if verified == 0 || stopNew() == 0 {
		t.Error("nothing was verified meanwhile")
	}
	if _, err := v.Verify(request(old(0))); !errors.Is(err, jwt.ErrInvalid) {
		t.Errorf("the withdrawn key still works: %v", err)
	}
}

// A fetch that fails starts the cooldown as a good one does.
func TestS24AFailedFetchStartsTheCooldown(t *testing.T) {
	t.Parallel()
	k := keys()
	for name, answer := range map[string]string{"no keys": `{"keys": []}`, "garbage": "x"} {
		server := newIssuer(t, answer)
		f, fetched := newFetcher(t, jwt.FetcherOptions{Cooldown: time.Hour, FirstRetry: time.Hour, LastRetry: time.Hour})
		v := remote(t, f, server.at("/"))
		next(t, fetched)
		for range 300 {
			if _, err := v.Verify(request(sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": rand.Text()}, claims()))); !errors.Is(err, jwt.ErrUnavailable) {
				t.Fatal(err)
			}
		}
		if hits := server.hits.Load(); hits != 1 {
			t.Errorf("%s: %d fetches", name, hits)
		}
	}
}
