package poll

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Uses are the users of one source, and the interval that each asks for. The zero value is empty. It is safe for
// concurrent use.
type Uses[U comparable] struct {
	mu sync.Mutex
	of map[U]time.Duration
}

// Add adds a user and returns how many there are now.
func (u *Uses[U]) Add(user U, interval time.Duration) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil {
		u.of = map[U]time.Duration{}
	}
	u.of[user] = interval
	return len(u.of)
}

// Drop takes a user away and returns how many are left.
func (u *Uses[U]) Drop(user U) (left int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.of, user)
	return len(u.of)
}

// All returns the users, in no order.
func (u *Uses[U]) All() []U {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.of))
}

// Shortest is the shortest interval that any of them asks for, 0 without any.
func (u *Uses[U]) Shortest() (shortest time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, interval := range u.of {
		if shortest == 0 || interval < shortest {
			shortest = interval
		}
	}
	return shortest
}
