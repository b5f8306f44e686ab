package basic

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

// ErrBusy indicates that no hash could be computed in time: too many are waiting. It says nothing about
// the password.
var ErrBusy = errors.New("too many passwords are being checked")

// maxWait is how long a request waits for its turn when its context has no earlier end.
const maxWait = time.Second

// slots bounds the hashes computed at a time in the whole process: whatever policy a flood of wrong
// passwords aims at, the CPUs are the same. One CPU is left for requests that need no hash.
var slots = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))

// Verify reports whether the password is the user's. The error is [ErrBusy] or the context's.
//
// An unknown user costs what a known one with a wrong password costs: the password is compared with
// some other user's hash and the result thrown away. Which user's is fixed by the file and the name,
// so that in a file of mixed hashes repeated tries tell nothing either.
func (u *Users) Verify(ctx context.Context, user, password string) (bool, error) {
	if len(user) > MaxUser || len(password) > MaxPassword {
		return false, nil
	}
	decoy := u.decoy(user)
	e, known := u.byName[user]
	if !known {
		e = decoy
	}
	if !e.slow { // a digest takes less time than to remember one
		return e.match(password) && known, nil
	}
	key := u.key(user, password, e.text)
	for {
		if known && e.remembers(&key) {
			return true, nil
		}
		running, leads := u.checks.join(key)
		if leads {
			return u.lead(ctx, running, e, key, password, known)
		}
		if match, again, err := running.wait(ctx); !again {
			return match, err
		}
	}
}

// lead computes for all who have joined. What is remembered is stored before the computation leaves the
// list: who finds neither must look for the former once more.
func (u *Users) lead(ctx context.Context, running *check, e *entry, key [32]byte, password string, known bool) (bool, error) {
	defer u.checks.finish(key, running)
	if known && e.remembers(&key) { // another has ended meanwhile
		running.match, running.err = true, nil
		return true, nil
	}
	match, err := e.compute(ctx, password)
	running.match, running.err = match && known, err
	if running.match {
		e.verified.Store(&key)
	}
	return running.match, err
}

// decoy runs for known users too: it takes 0.1 µs, as long as a {SHA} digest.
func (u *Users) decoy(user string) *entry {
	var buf [32 + MaxUser]byte
	n := copy(buf[:], u.content[:])
	n += copy(buf[n:], user)
	sum := sha256.Sum256(buf[:n])
	return u.all[binary.LittleEndian.Uint64(sum[:])%uint64(len(u.all))]
}

// key names a success: a hash under a random key of user, password and stored hash, each with its
// length, so that no other three parts give the same bytes. A fixed-size key in front is enough here
// because the sum never leaves the process.
func (u *Users) key(user, password, stored string) [32]byte {
	var buf [1024]byte
	b := append(buf[:0], u.secret[:]...)
	for _, part := range [...]string{user, password, stored} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(part))) //nolint:gosec // at most the size of a file
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

// remembers needs one slot per user, for only one password is right: the memory is as bounded as the
// file, and no attempt can push another's out.
func (e *entry) remembers(key *[32]byte) bool {
	verified := e.verified.Load()
	return verified != nil && subtle.ConstantTimeCompare(verified[:], key[:]) == 1
}

// hashes counts the slow hashes computed by the process.
var hashes atomic.Uint64

// Hashes returns how many slow hashes this process has computed: those of failures, of unknown users, and
// one of each success that wasn't remembered.
func Hashes() uint64 { return hashes.Load() }

// compute waits for a slot first.
func (e *entry) compute(ctx context.Context, password string) (bool, error) {
	select {
	case slots <- struct{}{}:
	default:
		if err := waitForSlot(ctx); err != nil {
			return false, err
		}
	}
	defer func() { <-slots }()
	hashes.Add(1)
	return e.match(password), nil
}

func waitForSlot(ctx context.Context) error {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ErrBusy
	}
}
