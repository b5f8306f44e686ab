package main

import "syscall"

// childAttributes also makes a child end with a quickstart that was killed, as gently as by Ctrl-C:
// the gateway then stops its Envoy.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
