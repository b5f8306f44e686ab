package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// points are the places where a change lets the paths lead to something else. All are absolute and without
// links: inotify knows one directory under one name only.
type points struct {
	watched map[string]bool // directories to watch
	content map[string]bool // those whose every entry matters
	names   map[string]bool // single entries that matter, in the others
}

func newPoints(paths []string, found scan) points {
	p := points{watched: map[string]bool{}, content: map[string]bool{}, names: map[string]bool{}}
	for _, path := range paths {
		if path != "-" {
			p.follow(path)
		}
	}
	for _, dir := range found.dirs {
		p.follow(dir)
		if resolved, err := realPath(dir); err == nil {
			p.content[resolved], p.watched[resolved] = true, true
		}
	}
	for _, f := range found.files {
		if !f.once {
			p.follow(f.path)
		}
	}
	return p
}

// realPath returns the absolute path without links.
func realPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// maxLinks is how many links one path may lead over, as in Linux.
const maxLinks = 40

// follow adds every link on the way of a path, and its end. If a part of the way isn't there, that part.
func (p points) follow(path string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return
	}
	at, rest, links := "/", components(path), 0
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		isLink := err == nil && info.Mode()&fs.ModeSymlink != 0
		if err != nil || isLink || len(rest) == 0 {
			p.watched[at], p.names[next] = true, true
		}
		if err != nil {
			return
		}
		if !isLink {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(components(target), rest...)
	}
}

func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}
