//go:build unix && !linux

package proxy

import "syscall"

// childAttributes gives the child its own process group, so that a Ctrl-C in the terminal reaches the
// parent alone and Envoy is drained. Only Linux can also make it die with a parent that was killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
