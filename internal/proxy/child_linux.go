package proxy

import "syscall"

// childAttributes gives the child its own process group, so that a Ctrl-C in the terminal reaches the
// parent alone and Envoy is drained, and makes it die with the parent, even one that was killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
