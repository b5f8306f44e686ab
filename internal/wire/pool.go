package wire

import (
	"sync"

	"google.golang.org/grpc/mem"
)

// Pool is a [mem.BufferPool] for messages of a kilobyte or two, as ext_authz has them. grpc's own has no size
// between 256 bytes and 4 KiB, and clears all of a buffer where this one clears what was asked for.
type Pool struct{ buffers sync.Pool }

var _ mem.BufferPool = (*Pool)(nil)

const (
	pooled = 2 << 10 // the capacity of a pooled buffer
	// largest is what a buffer may have grown to; beyond, it is left to the collector.
	largest = 16 << 10
)

// Get returns a buffer of that length, all zero.
func (p *Pool) Get(length int) *[]byte {
	if length > pooled {
		return mem.DefaultBufferPool().Get(length)
	}
	if b, ok := p.buffers.Get().(*[]byte); ok {
		*b = (*b)[:length]
		clear(*b)
		return b
	}
	b := make([]byte, length, pooled)
	return &b
}

// Put takes a buffer back.
func (p *Pool) Put(b *[]byte) {
	switch size := cap(*b); {
	case size < pooled:
	case size <= largest:
		p.buffers.Put(b)
	default:
		mem.DefaultBufferPool().Put(b)
	}
}

// answers are the buffers of messages to be sent.
var answers Pool
