package h1

import (
	"net"
	"syscall"
	"unsafe"
)

// unread is how many bytes the peer of a Unix socket hasn't read yet, 0 of one that is closed.
func unread(c net.Conn) (n int32) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	err = raw.Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
			n = 0
		}
	})
	if err != nil {
		return 0
	}
	return n
}
