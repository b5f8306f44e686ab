package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// file is one file to read.
type file struct {
	name string // as reported
	path string // as found; "-" is standard input
	real string // without links, as opened: all files of a scan are of one time, though a link may be swapped
	once bool   // what it gives can be read only once
}

// scan is what the paths lead to at one time.
type scan struct {
	files    []file
	dirs     []string    // every directory that was read
	times    []time.Time // when each was changed last, before it was read
	problems []resource.Problem
	// readable is set if a directory could be read; a file shows it when it is read itself.
	readable bool
	missing  []string // paths that were asked for and aren't there
	lost     []string // paths that are there and can't be read
}

// failed reports a path that can't be read.
func (s *scan) failed(path string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		s.missing = append(s.missing, path)
	} else {
		s.lost = append(s.lost, path)
	}
	s.problem(path, "can't be read: %s", reason(err))
}

// unreadable is the error if nothing could be read.
func unreadable(problems []resource.Problem) error {
	all := make([]error, 0, len(problems))
	for _, p := range problems {
		all = append(all, errors.New(p.String()))
	}
	return errors.Join(all...)
}

func (s *scan) problem(path, format string, args ...any) {
	s.problems = append(s.problems, resource.Problem{
		Origin: resource.Origin{File: path}, Message: fmt.Sprintf(format, args...),
	})
}

// steady scans until nothing moves meanwhile: of a file that is moved between two directories, or renamed, a
// scan may see neither the old name nor the new one.
func (s *Source) steady() scan {
	start := time.Now()
	found := s.scan()
	for range maxRounds {
		if found.still(start) {
			break
		}
		start = time.Now()
		again := s.scan()
		if slices.Equal(found.files, again.files) {
			return again
		}
		found = again
	}
	return found
}

// clock is how fine the times of a file system may be.
const clock = 20 * time.Millisecond

// still reports whether no directory can have changed since the scan began.
func (s *scan) still(start time.Time) bool {
	for i, dir := range s.dirs {
		info, err := os.Stat(dir)
		if err != nil || !info.ModTime().Equal(s.times[i]) || start.Sub(s.times[i]) < clock {
			return false
		}
	}
	return true
}

// scanner walks the paths. Every file and directory is taken once, by its real path, however many links
// lead to it: that also ends loops of links.
type scanner struct {
	scan
	seen map[string]bool
	once map[string]text
}

func (s *Source) scan() scan {
	w := scanner{seen: map[string]bool{}, once: s.once}
	for _, path := range s.paths {
		if path == "-" {
			w.readable = true
			w.files = append(w.files, file{name: "<stdin>", path: "-", once: true})
			continue
		}
		w.root(filepath.Clean(path))
	}
	slices.SortFunc(w.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	w.files = slices.CompactFunc(w.files, func(a, b file) bool { return a.name == b.name })
	return w.scan
}

// root takes a path that was asked for by name.
func (w *scanner) root(path string) {
	if _, done := w.once[path]; done { // a pipe may be gone once it is read
		w.file(path, true)
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		w.failed(path, err)
		return
	}
	if !info.IsDir() {
		w.file(path, !info.Mode().IsRegular())
		return
	}
	before := len(w.files)
	if !w.dir(path) {
		return
	}
	w.readable = true
	if len(w.files) == before {
		w.problem(path, "holds no file *.yaml, *.yml or *.json that isn't read already")
	}
}

func (w *scanner) first(path string) (resolved string, first bool) {
	resolved, err := realPath(path)
	if err != nil {
		resolved = path
	}
	if w.seen[resolved] {
		return "", false
	}
	w.seen[resolved] = true
	return resolved, true
}

func (w *scanner) file(path string, once bool) {
	if resolved, first := w.first(path); first {
		w.files = append(w.files, file{name: path, path: path, real: resolved, once: once})
	}
}

// dir takes a directory and all below it; it is false if the directory can't be read.
func (w *scanner) dir(path string) bool {
	if _, first := w.first(path); !first {
		return true
	}
	var changed time.Time
	if info, err := os.Stat(path); err == nil {
		changed = info.ModTime()
	}
	w.dirs, w.times = append(w.dirs, path), append(w.times, changed)
	entries, err := os.ReadDir(path)
	if err != nil {
		w.failed(path, err)
		return false
	}
	for _, entry := range entries {
		// Names with a dot are editors' and version control's, and the directories behind the links of
		// a mounted ConfigMap (..data and its targets).
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		w.entry(filepath.Join(path, entry.Name()))
	}
	return true
}

// entry takes what is found in a directory.
func (w *scanner) entry(path string) {
	info, err := os.Stat(path) // follows links
	switch {
	case err != nil:
		if _, gone := os.Lstat(path); gone == nil && manifest(path) {
			w.failed(path, err)
		}
	case info.IsDir():
		w.dir(path)
	case manifest(path) && info.Mode().IsRegular():
		w.file(path, false)
	}
}

func manifest(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
