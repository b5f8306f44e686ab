package emulate

import "sync"

// inbox is a queue without a limit: whoever has an event must not wait for the filter, which may be
// waiting for them.
type inbox struct {
	mu     sync.Mutex
	more   *sync.Cond
	events []func()
	closed bool
}

func (b *inbox) init() { b.more = sync.NewCond(&b.mu) }

func (b *inbox) put(event func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.events = append(b.events, event)
	b.more.Signal()
	return true
}

func (b *inbox) take() (event func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.events) == 0 && !b.closed {
		b.more.Wait()
	}
	if b.closed {
		return nil, false
	}
	event = b.events[0]
	b.events = b.events[1:]
	return event, true
}

func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.more.Broadcast()
}
