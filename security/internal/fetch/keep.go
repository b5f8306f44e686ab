package fetch

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// keptFor is how long what nobody has asked for stays on disk.
const keptFor = 30 * 24 * time.Hour

// Keeper keeps what was last fetched and found good, for a start at which its server is down. It holds what a
// private server sent, so only its owner may read it. Without a Dir it keeps nothing.
type Keeper struct {
	Dir       string
	Extension string // of the files' names, such as ".json"
}

func (k Keeper) path(key [32]byte) string {
	return filepath.Join(k.Dir, hex.EncodeToString(key[:])+k.Extension)
}

// Put replaces what is kept under a digest in one step; nil only says that the last is still good.
func (k Keeper) Put(key [32]byte, text []byte) error {
	if k.Dir == "" {
		return nil
	}
	path := k.path(key)
	if text == nil {
		now := time.Now()
		if err := os.Chtimes(path, now, now); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// Open returns what is kept and when it was last good; nil for nothing. The caller closes it.
func (k Keeper) Open(key [32]byte) (file *os.File, at time.Time) {
	if k.Dir == "" {
		return nil, at
	}
	file, err := os.Open(k.path(key))
	if err != nil {
		return nil, at
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // it was only read
		return nil, at
	}
	return file, info.ModTime()
}

// Prune removes what has been of no use for long.
func (k Keeper) Prune(now time.Time) {
	if k.Dir == "" {
		return
	}
	entries, err := os.ReadDir(k.Dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > keptFor {
			_ = os.Remove(filepath.Join(k.Dir, entry.Name())) // another day
		}
	}
}
