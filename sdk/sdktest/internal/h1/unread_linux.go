package h1

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unread is how many bytes the peer of a Unix socket hasn't read yet, 0 of one that is closed.
func unread(c net.Conn) (n int) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	err = raw.Control(func(fd uintptr) {
		if n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ); err != nil {
			n = 0
		}
	})
	if err != nil {
		return 0
	}
	return n
}
