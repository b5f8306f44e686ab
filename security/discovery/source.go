package discovery

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
	"github.com/gatehouse-proxy/gatehouse/security/openid"
)

// maxDocument is many times what providers send.
const maxDocument = 256 << 10

// source is one provider's document and the goroutine that keeps it fresh:
//
//	         ┌── good ──▶ wait 80-100 % of max-age ──┐
//	fetch ───┤                                       ├──▶ fetch
//	         └── bad ───▶ wait 1, 2, 4 … 30 s ───────┘
type source struct {
	fetcher *Fetcher
	issuer  string
	url     string
	client  *http.Client
	ctx     context.Context //nolint:containedctx // the life of the goroutine, not of a call
	stop    context.CancelFunc

	good atomic.Pointer[openid.Document]

	mu              sync.Mutex
	attempt         time.Time
	success         time.Time
	next            time.Time
	failure         error
	inARow          int
	fetches, failed uint64
}

// newSource returns nil for an issuer that is no URL.
func newSource(f *Fetcher, issuer string) *source {
	address, err := openid.URL(issuer)
	if err != nil {
		return nil
	}
	at, err := url.Parse(address)
	if err != nil {
		return nil
	}
	ctx, stop := context.WithCancel(f.ctx)
	return &source{fetcher: f, issuer: issuer, url: address, client: fetch.NewClientOf(server(at)), ctx: ctx, stop: stop}
}

// server is host:port, as it will be dialled.
func server(at *url.URL) string {
	port := at.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[at.Scheme]
	}
	return net.JoinHostPort(at.Hostname(), port)
}

func (s *source) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		}
		if s.look() && s.ctx.Err() == nil && s.fetcher.opts.OnChange != nil {
			s.fetcher.opts.OnChange()
		}
		timer.Reset(time.Until(s.state().Next))
	}
}

// look fetches once and reports whether there is another document now. A panic is a failed fetch, not the
// end of the process.
func (s *source) look() (changed bool) {
	s.mu.Lock()
	s.attempt = time.Now()
	s.fetches++
	s.mu.Unlock()
	document, text, refresh, err := s.get()
	if err != nil {
		s.fails(err)
		return false
	}
	last := s.good.Load()
	if changed = last == nil || *last != *document; changed {
		s.good.Store(document)
	}
	s.succeeded(refresh)
	if err := keeper(s.fetcher.opts.Keep).Put(sha256.Sum256([]byte(s.issuer)), text); err != nil {
		s.fetcher.opts.Logger.Warn("can't keep the document of an OpenID provider for the next start", "issuer", s.issuer, "error", err)
	}
	return changed
}

func (s *source) get() (document *openid.Document, text []byte, refresh time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	text, header, err := fetch.Get(s.ctx, s.client, s.url, "application/json", maxDocument)
	if err != nil {
		return nil, nil, 0, err
	}
	document, err = openid.Parse(s.issuer, text)
	return document, text, maxAge(header), err
}

// maxAge is how long a provider wants its document to be used (RFC 9111 section 5.2.2.1), within bounds.
func maxAge(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if seconds, err := strconv.ParseUint(value, 10, 31); strings.EqualFold(name, "max-age") && err == nil && seconds > 0 {
			return min(max(time.Duration(seconds)*time.Second, MinRefresh), MaxRefresh)
		}
	}
	return DefaultRefresh
}

// fails logs only the first of several failures: a provider that is down for a day is one event.
func (s *source) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inARow == 0 && s.ctx.Err() == nil {
		s.fetcher.opts.Logger.Warn("can't get the document of an OpenID provider", "issuer", s.issuer, "url", s.url, "error", err)
	}
	s.failure = err
	s.next = time.Now().Add(fetch.Backoff{First: s.fetcher.opts.FirstRetry, Last: s.fetcher.opts.LastRetry}.Pause(s.inARow))
	s.inARow++
	s.failed++
}

func (s *source) succeeded(refresh time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inARow > 0 {
		s.fetcher.opts.Logger.Info("the document of an OpenID provider is there again", "issuer", s.issuer, "failures", s.inARow)
	}
	s.failure, s.inARow, s.success = nil, 0, s.attempt
	s.next = s.attempt.Add(fetch.Early(refresh))
}

func (s *source) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := State{
		Issuer: s.issuer, URL: s.url, LastSuccess: s.success, LastAttempt: s.attempt, Next: s.next,
		Fetches: s.fetches, Failures: s.failed,
	}
	if s.failure != nil {
		state.LastError = s.failure.Error()
	}
	return state
}
