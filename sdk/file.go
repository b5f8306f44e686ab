package sdk

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// File is what a file says, kept up to date: a configuration of all exchanges, a list, a key. Each Get is of one
// state of the file as a whole. It is used concurrently, and has nothing to close.
type File[T any] struct {
	path    string
	parse   func(text []byte) (T, error)
	value   atomic.Pointer[T]
	checked atomic.Int64 // when, in nanoseconds since 1970
	reading atomic.Bool  // who sets it owns seen and unread
	seen    fs.FileInfo
	unread  string // why the file couldn't be read, "" if it could
}

// fileInterval is how old what is known of a file may be.
const fileInterval = time.Second

// LoadFile reads a file. An error is that of reading or of parse. parse runs once for each state of the file,
// and what it returns is shared: nobody may change it.
//
// A file that has changed, or has been replaced, is noticed by the first Get a second later, which still returns
// the former value; nobody waits for it to be read. One that can't be read or parsed any more is logged, once
// for each change, and the last good value stays.
func LoadFile[T any](path string, parse func(text []byte) (T, error)) (*File[T], error) {
	f := &File[T]{path: path, parse: parse}
	f.checked.Store(time.Now().UnixNano())
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Get returns the latest value.
func (f *File[T]) Get() T {
	if now := time.Now().UnixNano(); now-f.checked.Load() > int64(fileInterval) && f.reading.CompareAndSwap(false, true) {
		f.checked.Store(now)
		go f.check()
	}
	return *f.value.Load()
}

// check reads the file if it isn't as it was seen. One that could not be read is tried again each time, as what it
// takes, a permission for one, shows in no other way; the same fault is told once.
func (f *File[T]) check() {
	defer f.reading.Store(false)
	now, err := os.Stat(f.path)
	if err == nil && f.seen != nil && os.SameFile(now, f.seen) && now.ModTime().Equal(f.seen.ModTime()) && now.Size() == f.seen.Size() {
		return
	}
	before := f.unread
	f.unread = ""
	if err := f.read(); err != nil && (f.unread == "" || f.unread != before) {
		slog.Error("a file that has changed can't be used; what it said before stays", "path", f.path, "error", err)
	}
}

// read takes the file in. What is written to it meanwhile is found later, as it is seen before it is read.
func (f *File[T]) read() error {
	info, err := os.Stat(f.path)
	var text []byte
	if err == nil {
		text, err = os.ReadFile(f.path)
	}
	if err != nil {
		f.seen, f.unread = nil, err.Error()
		return err
	}
	f.seen = info
	value, err := f.parsed(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.value.Store(&value)
	return nil
}

// parsed is parse's result; in the background nobody else would recover from its panic.
func (f *File[T]) parsed(text []byte) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("parse panicked: %T", p)
		}
	}()
	return f.parse(text)
}
