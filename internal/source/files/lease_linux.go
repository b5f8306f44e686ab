package files

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lease keeps everybody from opening the file for writing until it is closed, and reports whether somebody
// has it open for writing already (fcntl(2), F_SETLEASE): half of a policy may well be a weaker one. Files of
// other owners and some file systems give no lease; then nothing is known.
func lease(opened *os.File) (busy bool) {
	raw, err := opened.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		_, err = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
	})
	return errors.Is(err, unix.EAGAIN)
}
