package standalone

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// SealKeyFile is the seal key's name in a state directory.
const SealKeyFile = "seal.key"

const sealKeyBytes = 32

// SealKey reads the key at path, and makes a random one if there is none.
func SealKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == sealKeyBytes {
		return key, nil
	}
	if err == nil {
		return nil, fmt.Errorf("%s is not a key of %d bytes; delete it and start again", path, sealKeyBytes)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key = make([]byte, sealKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, key, 0o600)
}
