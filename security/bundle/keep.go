package bundle

import (
	"crypto/sha256"
	"encoding/json"
	"time"
)

// kept names an archive by all that tells its source from others: under another key it is another bundle.
func (k *sourceKey) kept() [32]byte {
	text, err := json.Marshal([]any{k.url, k.ca, k.key, k.algorithm, k.private, k.version})
	if err != nil { // plain values
		panic(err)
	}
	return sha256.Sum256(text)
}

// kept returns the archive that was last good, and when; none is no error.
func (f *Fetcher) kept(key *sourceKey) (archive []byte, at time.Time) {
	file, at := f.keep.Open(key.kept())
	if file == nil {
		return nil, at
	}
	defer func() { _ = file.Close() }() // it was only read
	archive, err := bounded(file)
	if err != nil {
		return nil, at
	}
	return archive, at
}
