package files

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// What is under way isn't meant yet: a file that is being written may hold half a policy, one that is empty or
// gone may be about to be written anew, or under another name. So such a file keeps what it held for a while.

// errBusy indicates that another program has the file open for writing.
var errBusy = errors.New("is being written by another program; what it held before stays in force until that one closes it")

const (
	// busyFor is how long a file may be in the middle of being written before that is reported.
	busyFor = time.Second
	// settling is how long nothing may happen before a file that is empty or gone has been deleted, and
	// longestSettling how long that may take while things go on happening elsewhere.
	settling, longestSettling = 100 * time.Millisecond, time.Second
)

// holding knows which files keep what they held, and since when. It belongs to one Watch.
type holding struct {
	since map[string]time.Time
	// touched is when something happened last.
	touched time.Time
	// again is after what time a load has to be repeated; 0: not at all.
	again time.Duration
}

func (h *holding) repeat(after time.Duration) {
	if h.again == 0 || after < h.again {
		h.again = after
	}
}

// gone reports whether a file that held something, and now is empty or isn't there, has been deleted.
func (h *holding) gone(name string, now time.Time) bool {
	if h == nil {
		return true
	}
	since := h.first(name, now)
	if now.Sub(h.touched) >= settling || now.Sub(since) >= longestSettling {
		return true
	}
	h.repeat(settling - now.Sub(h.touched))
	return false
}

// busy reports whether a file has been in the middle of being written for so long that it is to be told.
func (h *holding) busy(name string, now time.Time) bool {
	if h == nil {
		return true
	}
	long := now.Sub(h.first(name, now)) >= busyFor
	if long { // the end of writing is no event that is sure to come
		h.repeat(busyFor)
	} else {
		h.repeat(grace)
	}
	return long
}

func (h *holding) first(name string, now time.Time) time.Time {
	since, known := h.since[name]
	if !known {
		since = now
		h.since[name] = now
	}
	return since
}

// settled forgets a file that is as it should be.
func (h *holding) settled(name string) {
	if h != nil {
		delete(h.since, name)
	}
}

// vanished lists the files that a scan doesn't find where they were, sorted.
func (l *loading) vanished(found scan) []string {
	present := map[string]bool{}
	for _, f := range found.files {
		present[f.name] = true
	}
	var names []string
	for name := range l.Source.good {
		if _, kept := l.good[name]; !present[name] && !kept {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
