package emulate

import "sync"

// queue has no limit: whoever puts something must not wait for the filter, which may be waiting for them.
type queue[T any] struct {
	mu     sync.Mutex
	more   *sync.Cond
	items  []T
	closed bool
}

func (q *queue[T]) init() { q.more = sync.NewCond(&q.mu) }

// put is false once the queue is closed.
func (q *queue[T]) put(item T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, item)
	q.more.Signal()
	return true
}

// take waits for an item. Of a closed queue it gives those that were put before.
func (q *queue[T]) take() (item T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.more.Wait()
	}
	if len(q.items) == 0 {
		return item, false
	}
	item = q.items[0]
	q.items = q.items[1:]
	return item, true
}

func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
}
