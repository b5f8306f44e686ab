package identity_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

func TestMemoIsBuiltOnce(t *testing.T) {
	t.Parallel()
	var builds atomic.Int32
	caller := &identity.Identity{Method: identity.JWT}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := caller.Memo(func() any { return builds.Add(1) }); got != int32(1) {
				t.Errorf("got %v", got)
			}
		})
	}
	wg.Wait()
}
