package geo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
)

// coarse is more than the grain of a file system's time stamps: a file that was written so short a time ago
// may be written again without another stamp.
const coarse = 100 * time.Millisecond

var errChanging = errors.New("it is being written; it is read once it stays the same")

// source is one file.
type source struct {
	*poll.Source

	databases *Databases
	path      string
	uses      poll.Uses[*use]

	// These belong to Look.
	seen    os.FileInfo // at the last look
	read    os.FileInfo // when the contents at hand were read, or refused; nil: read at the next chance
	failure error       // of the last reading

	mu   sync.Mutex
	last *database // the last that is a database at all
}

func newSource(d *Databases, path string) *source {
	s := &source{databases: d, path: path}
	s.Source = d.sources.NewSource(s, poll.Messages{
		Failed: "database can't be read", Recovered: "database is there again", Attrs: []any{"path", path},
	})
	return s
}

// hold has a policy use what there is, after the first look.
func (s *source) hold(u *use) {
	if s.uses.Add(u, s.databases.opts.Interval) == 1 {
		s.LookNow() // gives it to u
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		u.take(s.last)
	}
}

// Interval implements [poll.Task].
func (s *source) Interval() time.Duration { return s.databases.opts.Interval }

// Looked implements [poll.Task].
func (s *source) Looked(bool) {}

// Look implements [poll.Task]. It reads the file if it is another than the one at hand. One that took the place of
// another is read only once it was the same at two looks: until then somebody may be writing it.
func (s *source) Look(context.Context) (changed bool, err error) {
	info, err := os.Stat(s.path)
	if err != nil {
		s.seen, s.read = nil, nil
		s.failure = fmt.Errorf("it can't be read (%w); put the database there", withoutPath(err))
		return false, s.failure
	}
	settled := s.last == nil || s.seen != nil && same(s.seen, info)
	s.seen = info
	if !settled || s.read != nil && same(s.read, info) {
		return false, s.failure
	}
	s.read = nil
	db, err := s.load(info)
	if s.failure = err; err != nil {
		return false, err
	}
	s.give(db)
	return true, nil
}

// same reports whether nothing shows that a file was changed between two looks.
func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// load reads into memory instead of mapping the file: it may be truncated at any time, and reading beyond the
// end of a mapping ends the process.
func (s *source) load(info os.FileInfo) (*database, error) {
	switch {
	case !info.Mode().IsRegular(): // a pipe would wait for its writer for ever
		return nil, errors.New("it is no regular file")
	case info.Size() > s.databases.opts.MaxBytes:
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", info.Size(), s.databases.opts.MaxBytes)
	}
	file, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("it can't be read (%w); see its permissions", withoutPath(err))
	}
	defer func() { _ = file.Close() }() // it was only read
	contents := make([]byte, info.Size())
	if _, err := io.ReadFull(file, contents); err != nil {
		return nil, errChanging
	}
	if after, err := file.Stat(); err != nil || !same(info, after) {
		return nil, errChanging
	}
	if time.Since(info.ModTime()) > coarse {
		s.read = info
	}
	reader, err := maxminddb.OpenBytes(contents)
	if err != nil {
		return nil, fmt.Errorf("it is no database in MaxMind's format (%w); put one there", err)
	}
	return &database{reader: reader, checked: map[Kind]error{}}, nil
}

// withoutPath drops the path from the system's error: whoever tells of it names it.
func withoutPath(err error) error {
	if of, ok := errors.AsType[*os.PathError](err); ok {
		return of.Err
	}
	return err
}

// give has all uses go on with new contents.
func (s *source) give(db *database) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = db
	for _, u := range s.uses.All() {
		u.take(db)
	}
}
