package envoytest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports come from below the ephemeral range, where the kernel never takes one for an outgoing
// connection between our look and Envoy's bind.
const firstPort, lastPort = 20000, 32000

// FreePort returns a free TCP port of 127.0.0.1 that no other test gets before this one has ended,
// in whatever process it runs. That matters because Envoy listens with SO_REUSEPORT: two of them on
// one port share its connections without a word.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		// An abstract socket is a lock that the kernel releases with the process.
		lock, err := net.Listen("unix", fmt.Sprintf("@gatehouse-envoytest-port-%d", port))
		if err != nil {
			continue
		}
		probe, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			_ = lock.Close()
			continue
		}
		_ = probe.Close()
		t.Cleanup(func() { _ = lock.Close() })
		return port
	}
	t.Fatal("no free port")
	return 0
}
