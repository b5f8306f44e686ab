package basic

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"weak"
)

// sharedKey is what two policies must agree in to share a file.
type sharedKey struct {
	content [32]byte
	options Options
}

// shared holds the files in use, as weak.Pointer[Users] by sharedKey.
var shared sync.Map

// Shared is [Parse] that returns the Users of an equal file with equal options, if one is in use: policies
// that name one Secret, and later versions of a policy whose Secret hasn't changed, know of each other's
// successes. Without it each edit of a policy would cost a hash for every user.
func Shared(file []byte, opts Options) (*Users, error) {
	opts.setDefaults()
	key := sharedKey{sha256.Sum256(file), opts}
	if found, ok := shared.Load(key); ok {
		if users := found.(weak.Pointer[Users]).Value(); users != nil { //nolint:forcetypeassert // nothing else is in the map
			return users, nil
		}
	}
	users, err := Parse(file, opts)
	if err != nil {
		return nil, err
	}
	entry := weak.Make(users)
	shared.Store(key, entry)
	runtime.AddCleanup(users, func(key sharedKey) { shared.CompareAndDelete(key, entry) }, key)
	return users, nil
}
