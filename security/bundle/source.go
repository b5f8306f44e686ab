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
	"sync/atomic"
	"time"

	opabundle "github.com/open-policy-agent/opa/v1/bundle"

	"github.com/gatehouse-proxy/gatehouse/security/internal/fetch"
	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
)

// source is one bundle.
type source struct {
	*poll.Source

	fetcher *Fetcher
	key     sourceKey
	name    string
	keys    *opabundle.VerificationConfig
	client  *http.Client
	uses    poll.Uses[*Subscription]

	good atomic.Pointer[contents]

	// These belong to Look.
	etag string
	sum  [32]byte
	file os.FileInfo
}

func newSource(f *Fetcher, key sourceKey, roots *x509.CertPool, keys *opabundle.VerificationConfig) *source {
	s := &source{fetcher: f, key: key, name: fetch.Shown(key.url), keys: keys, client: fetch.NewClient(roots, key.private)}
	s.Source = f.sources.NewSource(s, poll.Messages{
		Failed: "can't get bundle", Recovered: "bundle is there again", Attrs: []any{"url", s.name},
	})
	return s
}

// Look implements [poll.Task].
func (s *source) Look(ctx context.Context) (changed bool, err error) {
	fresh, archive, err := s.news(ctx)
	if err != nil {
		s.etag, s.file = "", nil // what was refused is fetched again whole
		return s.good.Load() == nil && s.recall(), err
	}
	if fresh != nil {
		s.sum = sha256.Sum256(archive)
		s.good.Store(fresh)
	}
	if !isFile(s.key.url) {
		s.store(archive)
	}
	return fresh != nil, nil
}

// news returns the contents and their archive, nil contents if they are those in force.
func (s *source) news(ctx context.Context) (*contents, []byte, error) {
	archive, err := s.get(ctx)
	if err != nil || archive == nil || s.good.Load() != nil && s.sum == sha256.Sum256(archive) {
		return nil, nil, err
	}
	fresh, err := read(s.name, archive, s.keys, s.key.version)
	return fresh, archive, err
}

// Looked implements [poll.Task]. It has every policy try new contents.
func (s *source) Looked(changed bool) {
	if changed {
		for _, use := range s.uses.All() {
			use.changed()
		}
	}
	if s.fetcher.opts.OnFetch != nil {
		s.fetcher.opts.OnFetch(s.state())
	}
}

// Interval implements [poll.Task].
func (s *source) Interval() time.Duration { return max(s.uses.Shortest(), minPollInterval) }

// store is for the next start; that it fails harms nothing now.
func (s *source) store(archive []byte) {
	if err := s.fetcher.keep.Put(s.key.kept(), archive); err != nil {
		s.fetcher.sources.Log.Warn("can't keep bundle for the next start", "url", s.name, "error", err)
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
	s.Kept(at)
	return true
}

// get returns the archive, nil if it is the one that was fetched last.
func (s *source) get(ctx context.Context) ([]byte, error) {
	if isFile(s.key.url) {
		return s.readFile()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.key.url, nil)
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
