package basic

import (
	"sync/atomic"

	"github.com/tg123/go-htpasswd"
)

// observed stands before a hash and sees each computation of it.
type observed struct {
	htpasswd.EncodedPasswd

	seen func()
}

func (o observed) MatchesPassword(password string) bool {
	o.seen()
	return o.EncodedPasswd.MatchesPassword(password)
}

// Count counts the hashes computed for u. Each of them calls during, if that isn't nil.
func Count(u *Users, during func()) *atomic.Int64 {
	n := &atomic.Int64{}
	for _, e := range u.all {
		e.matcher = observed{e.matcher, func() {
			n.Add(1)
			if during != nil {
				during()
			}
		}}
	}
	return n
}

// Slots returns how many hashes are computed at a time.
func Slots() int { return cap(slots) }

// Running returns how many computations run for u, or wait for their turn.
func Running(u *Users) int {
	u.checks.mu.Lock()
	defer u.checks.mu.Unlock()
	return len(u.checks.running)
}
