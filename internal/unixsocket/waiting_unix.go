//go:build unix

package unixsocket

import (
	"errors"

	"golang.org/x/sys/unix"
)

// waiting reports whether the kernel has a connection to accept.
func (l *Listener) waiting() (bool, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false, err
	}
	var ready int
	var failed error
	err = raw.Control(func(fd uintptr) {
		ready, failed = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) //nolint:gosec // a file descriptor is small
	})
	return ready > 0, errors.Join(err, failed)
}
