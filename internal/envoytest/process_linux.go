package envoytest

import "syscall"

// childAttributes put Envoy in a process group of its own and have the kernel kill it with us, also
// when the test binary is killed and no cleanup runs.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
