package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// keptFor is how long an archive that nobody has asked for stays on disk.
const keptFor = 30 * 24 * time.Hour

// keeper keeps the last good archive of each server's bundle, for a start at which the server is down. It
// holds what a private server sent, so only its owner may read it.
type keeper struct{ dir string }

// path names an archive by all that tells its source from others: under another key it is another bundle.
func (k keeper) path(key *sourceKey) string {
	text, err := json.Marshal([]any{key.url, key.ca, key.key, key.algorithm, key.private, key.version})
	if err != nil { // plain values
		panic(err)
	}
	sum := sha256.Sum256(text)
	return filepath.Join(k.dir, hex.EncodeToString(sum[:])+".tar.gz")
}

// put replaces an archive in one step; nil only says that the last is still good.
func (k keeper) put(key *sourceKey, archive []byte) error {
	if k.dir == "" {
		return nil
	}
	path := k.path(key)
	if archive == nil {
		now := time.Now()
		if err := os.Chtimes(path, now, now); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, archive, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// get returns an archive and when it was last good; none is no error.
func (k keeper) get(key *sourceKey) (archive []byte, at time.Time) {
	if k.dir == "" {
		return nil, at
	}
	file, err := os.Open(k.path(key))
	if err != nil {
		return nil, at
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, at
	}
	if archive, err = bounded(file); err != nil {
		return nil, at
	}
	return archive, info.ModTime()
}

// prune removes what has been of no use for long.
func (k keeper) prune(now time.Time) {
	if k.dir == "" {
		return
	}
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > keptFor {
			_ = os.Remove(filepath.Join(k.dir, entry.Name())) // another day
		}
	}
}
