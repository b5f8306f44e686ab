package emulate

import "sync"

// window is how much of a message may be on its way into the proxy: whoever sends more waits, as for
// HTTP/2's windows, or for a reader of a socket. It is opened for good when the exchange is over.
type window struct {
	size int

	mu     sync.Mutex
	less   *sync.Cond
	used   int
	closed bool
}

func (w *window) init(size int) {
	w.size = size
	w.less = sync.NewCond(&w.mu)
}

// take waits until n bytes fit, or nothing else is there.
func (w *window) take(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.used > 0 && w.used+n > w.size && !w.closed {
		w.less.Wait()
	}
	w.used += n
}

// give is for bytes that were handled.
func (w *window) give(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used -= n
	w.less.Broadcast()
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.less.Broadcast()
}
