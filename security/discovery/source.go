package discovery

import (
	"context"
	"crypto/sha256"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
	"github.com/gatehouse-proxy/gatehouse/security/openid"
)

// maxDocument is many times what providers send.
const maxDocument = 256 << 10

// source is one provider's document. How often it is fetched is the provider's to say.
type source struct {
	*poll.Source

	fetcher *Fetcher
	issuer  string
	url     string
	client  *http.Client
	refresh atomic.Int64 // a time.Duration

	good atomic.Pointer[openid.Document]
}

// locate returns where an issuer's document is.
func locate(issuer string) (*url.URL, error) {
	address, err := openid.URL(issuer)
	if err != nil {
		return nil, err
	}
	return url.Parse(address)
}

// newSource has in force what an earlier process has kept.
func newSource(f *Fetcher, issuer string, at *url.URL) *source {
	s := &source{fetcher: f, issuer: issuer, url: at.String(), client: fetch.NewClientOf(server(at))}
	s.Source = f.sources.NewSource(s, poll.Messages{
		Failed: "can't get the document of an OpenID provider", Recovered: "the document of an OpenID provider is there again",
		Attrs: []any{"issuer", s.issuer, "url", s.url},
	})
	if document, at := kept(f.opts.Keep, issuer); document != nil {
		s.good.Store(document)
		s.Kept(at)
	}
	return s
}

// server is host:port, as it will be dialled.
func server(at *url.URL) string {
	port := at.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[at.Scheme]
	}
	return net.JoinHostPort(at.Hostname(), port)
}

// Look implements [poll.Task].
func (s *source) Look(ctx context.Context) (changed bool, err error) {
	text, header, err := fetch.Get(ctx, s.client, s.url, "application/json", maxDocument)
	if err != nil {
		return false, err
	}
	document, err := openid.Parse(s.issuer, text)
	if err != nil {
		return false, err
	}
	s.refresh.Store(int64(maxAge(header)))
	last := s.good.Load()
	if changed = last == nil || *last != *document; changed {
		s.good.Store(document)
	}
	if err := keeper(s.fetcher.opts.Keep).Put(sha256.Sum256([]byte(s.issuer)), text); err != nil {
		s.fetcher.sources.Log.Warn("can't keep the document of an OpenID provider for the next start", "issuer", s.issuer, "error", err)
	}
	return changed, nil
}

// Looked implements [poll.Task].
func (s *source) Looked(changed bool) {
	if changed && s.fetcher.opts.OnChange != nil {
		s.fetcher.opts.OnChange()
	}
}

// Interval implements [poll.Task].
func (s *source) Interval() time.Duration { return time.Duration(s.refresh.Load()) }

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

func (s *source) state() State {
	r := s.Record()
	return State{
		Issuer: s.issuer, URL: s.url, LastSuccess: r.LastSuccess, LastAttempt: r.LastAttempt, LastError: r.LastError,
		Next: r.Next, Fetches: r.Fetches, Failures: r.Failures,
	}
}
