package policytest

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settled is how long nothing must change before a change counts: editors write in several steps.
const settled = 100 * time.Millisecond

// Watch calls again at once and after each change of the files and directories, until ctx ends.
func Watch(ctx context.Context, paths []string, again func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Close() }()
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watcher.Errors:
			return err
		case event := <-watcher.Events:
			// Reports are written beside cases.
			if slices.Contains(extensions, filepath.Ext(event.Name)) || event.Has(fsnotify.Create) && filepath.Ext(event.Name) == "" {
				quiet.Reset(settled)
			}
		case <-quiet.C:
			// A directory may be new since.
			for _, path := range paths {
				watchTree(watcher, path)
			}
			again()
		}
	}
}

// watchTree watches the directory of a file, which outlives its replacement, or a whole directory. What
// isn't there is told by whoever reads it.
func watchTree(watcher *fsnotify.Watcher, path string) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		_ = watcher.Add(filepath.Dir(path))
		return
	}
	_ = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = watcher.Add(path)
		}
		return nil // a directory that can't be read isn't watched
	})
}
