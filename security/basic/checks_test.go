package basic_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/basic"
)

// TestS33AUserCostsOneHashForEachFile: however many requests come, at the same time from the first on, one
// hash is computed for a user with bcrypt, and one more for each change of the file.
func TestS33AUserCostsOneHashForEachFile(t *testing.T) {
	t.Parallel()
	for rotation := range 5 {
		file := fmt.Appendf(nil, "alice:%s\nbob:%s\n", hashed(t, "secret", 5+rotation%2), hashed(t, "other", 5))
		u, err := basic.Shared(file, basic.Options{})
		if err != nil {
			t.Fatal(err)
		}
		computed := basic.Count(u, nil)
		var clients sync.WaitGroup
		var failed atomic.Int64
		for client := range 50 {
			clients.Go(func() {
				again, err := basic.Shared(file, basic.Options{}) // another policy, or a later version of it
				if err != nil || again != u {
					t.Errorf("an equal file is read anew: %v", err)
					return
				}
				user, password := [2]string{"alice", "bob"}[client%2], [2]string{"secret", "other"}[client%2]
				for range 100 {
					if ok, err := again.Verify(t.Context(), user, password); !ok && !errors.Is(err, basic.ErrBusy) {
						failed.Add(1)
					}
				}
			})
		}
		clients.Wait()
		if n := computed.Load(); n != 2 || failed.Load() != 0 {
			t.Errorf("rotation %d: %d hashes for 5000 requests of two users, %d refused", rotation, n, failed.Load())
		}
	}
}

// TestSharedFilesAreThoseThatAreEqual in contents and in what may be in them.
func TestSharedFilesAreThoseThatAreEqual(t *testing.T) {
	t.Parallel()
	file := []byte("alice:" + hashed(t, "secret", 4))
	first, err := basic.Shared(file, basic.Options{MaxBcryptCost: 14})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file   []byte
		opts   basic.Options
		shares bool
	}{
		"equal": {file, basic.Options{}, true}, "a byte more": {append([]byte("\n"), file...), basic.Options{}, false},
		"laxer": {file, basic.Options{AllowPlaintext: true}, false}, "stricter": {file, basic.Options{MaxBcryptCost: 4}, false},
	} {
		second, err := basic.Shared(c.file, c.opts)
		if err != nil || (second == first) != c.shares {
			t.Errorf("%s: shared %v, %v", name, second == first, err)
		}
	}
	if _, err := basic.Shared([]byte("alice:plain"), basic.Options{}); err == nil {
		t.Error("a bad line is taken")
	}
}

// held lets computations begin, and end when it is released.
type held struct{ begun, release chan struct{} }

func hold() *held { return &held{make(chan struct{}, 100), make(chan struct{})} }

func (h *held) during() { h.begun <- struct{}{}; <-h.release }

// TestS32ConcurrentChecksAreNotConfused: while a right password is checked, others that are asked for at the
// same time get an answer of their own; so do unknown users, though they are compared with its hash.
func TestS32ConcurrentChecksAreNotConfused(t *testing.T) {
	t.Parallel()
	u := parse(t, "alice:"+hashed(t, "secret", 4))
	h := hold()
	basic.Count(u, h.during)
	type attempt struct {
		user, password string
		ok             bool
	}
	results := make(chan attempt, 100)
	try := func(user, password string) {
		for {
			ok, err := u.Verify(t.Context(), user, password)
			if !errors.Is(err, basic.ErrBusy) {
				results <- attempt{user, password, ok}
				return
			}
		}
	}
	go try("alice", "secret")
	<-h.begun
	attempts := [][2]string{{"alice", "wrong"}, {"alice", ""}, {"mallory", "secret"}, {"mallory", "secret"}, {"alic", "esecret"}, {"alices", "ecret"}, {"", "secret"}, {"Alice", "secret"}}
	for _, a := range attempts {
		go try(a[0], a[1])
	}
	close(h.release)
	for range len(attempts) + 1 {
		if a := <-results; a.ok != (a == attempt{"alice", "secret", true}) {
			t.Errorf("%+v", a)
		}
	}
}

// TestACheckOutlivesWhoAskedFirst: a client that goes away before its turn takes nobody's answer with it, and
// one that waits for another's answer goes when it likes. Not parallel: it takes every slot of the process.
func TestACheckOutlivesWhoAskedFirst(t *testing.T) {
	others, h := parse(t, "alice:"+hashed(t, "secret", 4)), hold()
	basic.Count(others, h.during)
	var taken sync.WaitGroup
	for i := range basic.Slots() {
		taken.Go(func() { _, _ = others.Verify(t.Context(), "alice", strconv.Itoa(i)) })
		<-h.begun
	}
	u := parse(t, "alice:"+hashed(t, "secret", 4))
	leaving, leave := context.WithCancel(t.Context())
	verify := func(ctx context.Context, result chan<- error) {
		ok, err := false, basic.ErrBusy
		for errors.Is(err, basic.ErrBusy) { // the machine is slow
			ok, err = u.Verify(ctx, "alice", "secret")
		}
		if err == nil && !ok {
			err = errors.New("refused")
		}
		result <- err
	}
	first, second, third := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go verify(leaving, first)
	go verify(t.Context(), second)
	go verify(leaving, third)
	for basic.Running(u) == 0 {
		runtime.Gosched()
	}
	leave()
	for _, left := range []chan error{first, third} {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who went away: %v", err)
		}
	}
	close(h.release)
	if err := <-second; err != nil {
		t.Errorf("who stayed: %v", err)
	}
	taken.Wait()
	if basic.Running(u)+basic.Running(others) != 0 {
		t.Error("checks are left")
	}
}
