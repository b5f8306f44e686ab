package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

const (
	// quiet is how long nothing may happen before the files are read: a change is usually several
	// events.
	quiet = 20 * time.Millisecond
	// longest is how long a change may wait when events don't end.
	longest = 100 * time.Millisecond
	// grace is how long a path that was asked for may be away before it counts as deleted: some editors
	// move the old file away before they write the new one.
	grace = 100 * time.Millisecond
)

// Watch calls changed with the new state after each change of what the paths lead to, beginning with a
// change since the last Load, until ctx ends; then it returns nil. Calls come one after the other, from
// the goroutine of Watch. While none of the paths is readable it calls changed with the last set and the
// reasons. An error means that watching isn't possible here.
func (s *Source) Watch(ctx context.Context, changed func(set *resource.Set, problems []resource.Problem)) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return watchError("", err)
	}
	defer func() { _ = watcher.Close() }()
	w := watch{Source: s, Watcher: watcher, changed: changed, hold: holding{since: map[string]time.Time{}, touched: time.Now()}}
	timer := time.NewTimer(0) // the state at the beginning
	defer timer.Stop()
	var began time.Time // of the change that is waiting, if any
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			began = time.Time{}
			again, err := w.reload()
			if err != nil {
				return err
			}
			if again > 0 {
				timer.Reset(again)
			}
		// An event tells only that something happened: the files tell what. Errors are lost events.
		case event := <-watcher.Events:
			if w.concerns(event.Name) {
				w.hold.touched = time.Now()
				began = postpone(timer, began)
			}
		case <-watcher.Errors: //nolint:errcheck // see above
			began = postpone(timer, began)
		}
	}
}

// postpone sets the timer to the end of a quiet time, but not beyond the longest wait.
func postpone(timer *time.Timer, began time.Time) time.Time {
	now := time.Now()
	if began.IsZero() {
		began = now
	}
	timer.Reset(max(0, min(quiet, longest-now.Sub(began))))
	return began
}

// watch is a Watch under way.
type watch struct {
	*Source
	*fsnotify.Watcher
	changed func(*resource.Set, []resource.Problem)
	// awaited is set while a path that has gone may still come back.
	awaited bool
	failed  string // the last error of load
	points  points
	hold    holding
}

// reload reads the files and reports a change. again asks for another reload after that time, if not 0.
func (w *watch) reload() (again time.Duration, err error) {
	w.mu.Lock()
	found, err := w.follow()
	if err != nil {
		w.mu.Unlock()
		return 0, err
	}
	// The lock is held over scan and load, so that a Load between them can't take a change away unseen.
	if len(found.missing) > 0 && !w.awaited && w.last != nil {
		w.awaited = true
		w.mu.Unlock()
		return grace, nil
	}
	w.awaited = len(found.missing) > 0
	w.hold.again = 0
	set, problems, changed, err := w.load(found, &w.hold)
	last := w.last
	w.mu.Unlock()
	switch {
	case err != nil && err.Error() != w.failed && last != nil:
		w.failed = err.Error()
		w.changed(last, problems)
	case err == nil && (changed || w.failed != ""):
		w.failed = ""
		w.changed(set, problems)
	}
	return w.hold.again, nil
}

// maxRounds bounds the scans of one reload.
const maxRounds = 8

// follow scans the paths and watches what it finds, until a scan finds nothing that wasn't watched when
// it began: what is made in a new directory before it is watched gives no event.
func (w *watch) follow() (scan, error) {
	for round := 1; ; round++ {
		found := w.steady()
		w.points = newPoints(w.paths, found)
		before := map[string]bool{}
		for _, dir := range w.WatchList() {
			before[dir] = true
		}
		fresh := false
		for dir := range w.points.watched {
			// Adding again is cheap, and needed where another directory has taken the name.
			err := w.Add(dir)
			switch {
			case err == nil:
				fresh = fresh || !before[dir]
			case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
			default:
				return scan{}, watchError(dir, err)
			}
			delete(before, dir)
		}
		for dir := range before { // of no use any more
			_ = w.Remove(dir) // it may be gone already
		}
		// Directories that are made faster than they are found give events of their own.
		if !fresh || round == maxRounds {
			return found, nil
		}
	}
}

// concerns reports whether an event can change what the paths lead to.
func (w *watch) concerns(name string) bool {
	dir, base := filepath.Split(name)
	return w.points.names[name] || w.points.watched[name] ||
		w.points.content[filepath.Clean(dir)] && !strings.HasPrefix(base, ".")
}

func watchError(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) {
		return fmt.Errorf("can't watch %s: %w; raise fs.inotify.max_user_watches and max_user_instances, or run without watching", dir, err)
	}
	return fmt.Errorf("can't watch %s: %w", dir, err)
}
