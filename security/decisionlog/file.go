package decisionlog

import (
	"errors"
	"os"
	"path/filepath"
)

// maxFile is in bytes: with its predecessor a policy keeps twice as much.
const maxFile = 64 << 20

// file is the sink of one policy. It belongs to the goroutine that writes.
type file struct {
	path string
	open *os.File
}

// write appends a line in one piece. A file that somebody else has moved away is made anew.
func (f *file) write(line []byte) error {
	if f.open != nil {
		switch here, err := f.open.Stat(); {
		case err != nil || !f.at(here):
			if err := f.close(); err != nil {
				return err
			}
		case here.Size()+int64(len(line)) > maxFile:
			if err := errors.Join(f.close(), os.Rename(f.path, f.path+".1")); err != nil {
				return err
			}
		}
	}
	if f.open == nil {
		if err := f.begin(); err != nil {
			return err
		}
	}
	_, err := f.open.Write(line)
	return err
}

// at reports whether the open file still has its name.
func (f *file) at(here os.FileInfo) bool {
	there, err := os.Stat(f.path)
	return err == nil && os.SameFile(here, there)
}

func (f *file) begin() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	open, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	f.open = open
	return err
}

func (f *file) close() error {
	if f.open == nil {
		return nil
	}
	err := f.open.Close()
	f.open = nil
	return err
}
