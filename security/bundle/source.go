package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	opabundle "github.com/open-policy-agent/opa/v1/bundle"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
)

// source is one bundle and the goroutine that keeps it fresh:
//
//	         ┌── good ──▶ wait 80-100 % of pollInterval ──┐
//	look ────┤                                            ├──▶ look
//	         └── bad ───▶ wait 1, 2, 4 … 30 s ────────────┘
type source struct {
	fetcher *Fetcher
	key     sourceKey
	name    string
	keys    *opabundle.VerificationConfig
	client  *http.Client
	ctx     context.Context //nolint:containedctx // the life of the goroutine, not of a call
	stop    context.CancelFunc
	sooner  chan struct{} // a policy joined that asks for a shorter wait

	good atomic.Pointer[contents]

	// These belong to look.
	etag string
	sum  [32]byte
	file os.FileInfo

	mu               sync.Mutex
	uses             map[*Subscription]struct{}
	attempt, success time.Time
	next             time.Time
	failure          error
	inARow           int
	fetches, failed  uint64
}

func newSource(f *Fetcher, key sourceKey, roots *x509.CertPool, keys *opabundle.VerificationConfig) *source {
	ctx, stop := context.WithCancel(f.ctx)
	return &source{
		fetcher: f, key: key, name: fetch.Shown(key.url), keys: keys, client: fetch.NewClient(roots, key.private), ctx: ctx, stop: stop,
		sooner: make(chan struct{}, 1), uses: map[*Subscription]struct{}{},
	}
}

// hold adds a policy. One that asks for a shorter interval brings the next look forward.
func (s *source) hold(use *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses[use] = struct{}{}
	if latest := s.attempt.Add(s.interval()); s.next.After(latest) {
		s.next = latest
		select {
		case s.sooner <- struct{}{}:
		default:
		}
	}
}

func (s *source) drop(use *Subscription) (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uses, use)
	return len(s.uses)
}

func (s *source) run() {
	timer := time.NewTimer(time.Until(s.state().Next))
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.sooner:
			timer.Reset(time.Until(s.state().Next))
			continue
		case <-timer.C:
		}
		if s.look() {
			s.tell()
		}
		timer.Reset(time.Until(s.state().Next))
		if s.ctx.Err() == nil && s.fetcher.opts.OnFetch != nil {
			s.fetcher.opts.OnFetch(s.state())
		}
	}
}

// tell has every policy try the new contents, without the lock: that compiles modules.
func (s *source) tell() {
	s.mu.Lock()
	uses := make([]*Subscription, 0, len(s.uses))
	for use := range s.uses {
		uses = append(uses, use)
	}
	s.mu.Unlock()
	for _, use := range uses {
		use.changed()
	}
}

// look fetches once and reports whether there are other contents now.
func (s *source) look() (changed bool) {
	s.mu.Lock()
	s.attempt = time.Now()
	s.fetches++
	s.mu.Unlock()
	archive, err := s.get()
	var fresh *contents
	sum := sha256.Sum256(archive)
	if err == nil && archive != nil && (s.good.Load() == nil || sum != s.sum) {
		fresh, err = read(s.name, archive, s.keys, s.key.version)
	}
	if err != nil {
		s.etag, s.file = "", nil // what was refused is fetched again whole
	}
	if fresh != nil {
		s.sum = sum
		s.good.Store(fresh)
	}
	s.note(err)
	switch {
	case err == nil && !isFile(s.key.url):
		s.store(fresh, archive)
	case err != nil && s.good.Load() == nil:
		return s.recall()
	}
	return fresh != nil
}

// store is for the next start; that it fails harms nothing now.
func (s *source) store(fresh *contents, archive []byte) {
	if fresh == nil {
		archive = nil
	}
	if err := s.fetcher.keep.Put(s.key.kept(), archive); err != nil {
		s.fetcher.opts.Logger.Warn("can't keep bundle for the next start", "url", s.name, "error", err)
	}
}

// recall takes what was good before this start, verified anew, while the server doesn't answer.
func (s *source) recall() bool {
	archive, at := s.fetcher.kept(&s.key)
	if archive == nil {
		return false
	}
	kept, err := read(s.name, archive, s.keys, s.key.version)
	if err != nil {
		return false
	}
	s.good.Store(kept)
	s.mu.Lock()
	s.success = at
	s.mu.Unlock()
	return true
}

// note logs only the first of several failures: a server that is down for a day is one event.
func (s *source) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.fetcher.opts.Logger
	if err != nil {
		if s.inARow == 0 && s.ctx.Err() == nil {
			log.Warn("can't get bundle", "url", s.name, "error", err)
		}
		s.failure = err
		s.next = time.Now().Add(fetch.Backoff{First: s.fetcher.opts.FirstRetry, Last: s.fetcher.opts.LastRetry}.Pause(s.inARow))
		s.inARow++
		s.failed++
		return
	}
	if s.inARow > 0 {
		log.Info("bundle is there again", "url", s.name, "failures", s.inARow)
	}
	s.failure, s.inARow, s.success = nil, 0, s.attempt
	s.next = s.attempt.Add(fetch.Early(s.interval()))
}

// interval is the shortest that a policy asks for.
func (s *source) interval() time.Duration {
	var shortest time.Duration
	for use := range s.uses {
		if shortest == 0 || use.interval < shortest {
			shortest = use.interval
		}
	}
	return max(shortest, minPollInterval)
}

// get returns the archive, nil if it is the one that was fetched last.
func (s *source) get() ([]byte, error) {
	if isFile(s.key.url) {
		return s.readFile()
	}
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.key.url, nil)
	if err != nil {
		return nil, errURL
	}
	request.Header.Set("Accept", "application/gzip, application/vnd.openpolicyagent.bundles, application/octet-stream")
	// An archive's own compression is part of what is signed: no transport may undo it.
	request.Header.Set("Accept-Encoding", "identity")
	if s.etag != "" {
		request.Header.Set("If-None-Match", s.etag)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, fetch.WithoutURL(err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	switch {
	case response.StatusCode == http.StatusNotModified && s.etag != "":
		return nil, nil
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the server answered %d", response.StatusCode)
	}
	archive, err := bounded(response.Body)
	if err != nil {
		return nil, err
	}
	s.etag = response.Header.Get("Etag")
	return archive, nil
}

// readFile reads a regular file: a pipe would wait for its writer for ever.
func (s *source) readFile() ([]byte, error) {
	path := filePath(s.key.url)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s can't be read; put the bundle there", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if old := s.file; old != nil && os.SameFile(old, info) && old.ModTime().Equal(info.ModTime()) && old.Size() == info.Size() {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s can't be read; see its permissions", path)
	}
	defer func() { _ = file.Close() }() // it was only read
	archive, err := bounded(file)
	if err == nil {
		s.file = info
	}
	return archive, err
}

func bounded(from io.Reader) ([]byte, error) {
	var archive bytes.Buffer
	size, err := io.Copy(&archive, io.LimitReader(from, maxPacked+1))
	switch {
	case size > maxPacked:
		return nil, errPacked
	case err == nil && size == 0:
		return nil, errFormat
	case err != nil:
		return nil, fetch.WithoutURL(err)
	}
	return archive.Bytes(), nil
}
