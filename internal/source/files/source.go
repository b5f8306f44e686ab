package files

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// Source reads the objects of some paths. Safe for concurrent use.
type Source struct {
	paths []string
	stdin io.Reader

	mu sync.Mutex // guards what follows
	// once holds the text of what can be read only once: standard input and pipes.
	once      map[string]text
	documents map[digest]*resource.Document // of the last load, by their text
	good      map[string][]placed           // last good documents by file
	last      *resource.Set
	print     digest // of the last load
	lost      map[string]bool
	busy      bool // a file was in the middle of being written
}

type digest [sha256.Size]byte

type text struct {
	content []byte
	err     error
}

// placed is a document at its place.
type placed struct {
	document *resource.Document
	at       resource.Origin
}

// Option changes what New makes.
type Option interface{ apply(*Source) }

type option func(*Source)

func (o option) apply(s *Source) { o(s) }

// Stdin is what the path "-" reads. Default: os.Stdin.
func Stdin(from io.Reader) Option { return option(func(s *Source) { s.stdin = from }) }

// New returns a Source of paths: files, directories (all *.yaml, *.yml and *.json below them; names that
// begin with a dot are left out) and "-" for standard input, which is read once. The paths need not exist
// yet. It fails if there is no path, or an empty one.
func New(paths []string, options ...Option) (*Source, error) {
	if len(paths) == 0 {
		return nil, errors.New("no path to read manifests from; give a file, a directory or - for standard input")
	}
	if slices.Contains(paths, "") {
		return nil, errors.New("a path to read manifests from is empty")
	}
	s := &Source{paths: paths, stdin: os.Stdin, once: map[string]text{}}
	for _, o := range options {
		o.apply(s)
	}
	return s, nil
}

// Load reads everything anew. Objects of documents that haven't changed since the last Load are the same
// pointers. The error is not nil only if none of the paths is readable, and says why for each; what was
// loaded before remains the base of later loads.
func (s *Source) Load() (*resource.Set, []resource.Problem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, problems, _, err := s.load(s.steady(), nil)
	for end := time.Now().Add(busyFor); s.busy && time.Now().Before(end); set, problems, _, err = s.load(s.steady(), nil) {
		time.Sleep(quiet)
	}
	return set, problems, err
}

// Lost returns the problems, of those that came with the last set, for which something isn't known at all: a
// path that can't be read, or a document that doesn't tell which object it is, without a last good form. It
// may be what protects the rest.
func (s *Source) Lost(problems []resource.Problem) []resource.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lost []resource.Problem
	for _, p := range problems {
		if p.Key.Name == "" && s.lost[p.Origin.File] {
			lost = append(lost, p)
		}
	}
	return lost
}

// load makes the set of a scan. changed is false if the scan found what the last load found. hold says which
// files keep what they held; nil: only those that can't be read.
func (s *Source) load(found scan, hold *holding) (set *resource.Set, problems []resource.Problem, changed bool, err error) {
	l := loading{
		Source: s, builder: resource.NewBuilder(s.last), print: sha256.New(), problems: found.problems,
		documents: map[digest]*resource.Document{}, good: map[string][]placed{}, lost: map[string]bool{},
		hold: hold, now: time.Now(),
	}
	s.busy = false
	readable := found.readable
	for _, f := range found.files {
		readable = l.file(f) || readable
	}
	if !readable {
		return nil, l.problems, false, unreadable(l.problems)
	}
	for _, path := range slices.Concat(found.lost, found.missing) {
		if !l.keepBelow(path) {
			l.lost[path] = true
		}
	}
	for _, name := range l.vanished(found) {
		if !hold.gone(name, l.now) {
			l.keep(name)
			fmt.Fprintf(l.print, "%q\n", name)
		} else {
			hold.settled(name)
		}
	}
	for _, p := range l.problems {
		fmt.Fprintf(l.print, "%q\n", p.String())
	}
	set, more := l.builder.Build()
	sum := digest(l.print.Sum(nil))
	changed = sum != s.print || s.last == nil
	s.documents, s.good, s.last, s.print, s.lost = l.documents, l.good, set, sum, l.lost
	return set, append(l.problems, more...), changed, nil
}

// loading is one load under way.
type loading struct {
	*Source
	builder   *resource.Builder
	problems  []resource.Problem
	print     hash.Hash
	documents map[digest]*resource.Document
	good      map[string][]placed
	lost      map[string]bool // paths
	hold      *holding
	now       time.Time
}

// file adds the documents of one file, and reports whether it was readable.
func (l *loading) file(f file) bool {
	fmt.Fprintf(l.print, "%q\n", f.name)
	content, err := l.read(f)
	if errors.Is(err, errBusy) {
		l.busy = true
		if !l.hold.busy(f.name, l.now) {
			l.keep(f.name)
			return true
		}
	}
	if err != nil {
		l.problems = append(l.problems, resource.Problem{Origin: resource.Origin{File: f.name}, Message: err.Error()})
		if !l.keep(f.name) {
			l.lost[f.name] = true
		}
		return false
	}
	if _, known := l.Source.good[f.name]; known && len(bytes.TrimSpace(content)) == 0 && !l.hold.gone(f.name, l.now) {
		return l.keep(f.name)
	}
	l.hold.settled(f.name)
	sum := sha256.Sum256(content)
	l.print.Write(sum[:])
	var all []placed
	broken, lost := false, false
	for _, chunk := range resource.Split(content) {
		document := l.decode(chunk.Text)
		at := resource.Origin{File: f.name, Line: chunk.Line}
		l.builder.Add(document, at)
		broken = broken || document.Broken()
		lost = lost || document.Lost()
		all = append(all, placed{document, at})
	}
	if !broken {
		l.good[f.name] = all
	} else if !l.keep(f.name) && lost {
		l.lost[f.name] = true
	}
	return true
}

// decode returns the Document of a text, the same for the same text.
func (l *loading) decode(text []byte) *resource.Document {
	key := digest(sha256.Sum256(text))
	document := l.documents[key]
	if document == nil {
		document = l.Source.documents[key]
	}
	if document == nil {
		document = resource.Decode(text)
	}
	l.documents[key] = document
	return document
}

// keep lets the set have what a file held when it was good, and reports whether it ever was.
func (l *loading) keep(name string) bool {
	old, known := l.Source.good[name]
	if !known {
		return false
	}
	for _, one := range old {
		l.builder.Keep(one.document, one.at)
	}
	l.good[name] = old
	return true
}

// keepBelow does so for all files of a directory, or for one file.
func (l *loading) keepBelow(path string) bool {
	kept := false
	for name := range l.Source.good {
		if name == path || strings.HasPrefix(name, path+string(filepath.Separator)) {
			kept = l.keep(name) || kept
		}
	}
	return kept
}

// maxSize of one file. A manifest in a cluster is at most about 1.5 MiB.
const maxSize = 16 << 20

func (s *Source) read(f file) ([]byte, error) {
	if known, ok := s.once[f.name]; ok {
		return known.content, known.err
	}
	content, err := s.open(f)
	if f.once { // the next load would find it empty, or wait for a writer
		s.once[f.name] = text{content, err}
	}
	return content, err
}

func (s *Source) open(f file) ([]byte, error) {
	from := s.stdin
	if f.path != "-" {
		opened, err := os.Open(f.real)
		if err != nil {
			return nil, fmt.Errorf("can't be read: %s", reason(err))
		}
		defer func() { _ = opened.Close() }()
		if !f.once && lease(opened) {
			return nil, errBusy
		}
		from = opened
	}
	// Reading, not the file's size, is bounded: a pipe has none, and a file may grow meanwhile.
	content, err := io.ReadAll(io.LimitReader(from, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("can't be read: %s", reason(err))
	}
	if len(content) > maxSize {
		return nil, fmt.Errorf("is larger than %d MiB; split it into several files", maxSize>>20)
	}
	return content, nil
}

// reason is an error without the path, which the caller prints.
func reason(err error) string {
	if in, ok := errors.AsType[*os.PathError](err); ok {
		err = in.Err
	}
	return strings.TrimSpace(err.Error())
}
