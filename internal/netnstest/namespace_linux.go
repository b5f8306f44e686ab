// Package netnstest runs tests in network namespaces of their own, where every port is free and any address
// can be on the loopback interface. That needs Linux and either root or user namespaces; without them the
// tests fail and say so.
package netnstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const (
	// insideVariable names the test that this process was started for.
	insideVariable = "GATEHOUSE_TEST_NAMESPACE"
	// patience bounds a whole test.
	patience = 3 * time.Minute
)

// Run runs body in a process of its own, in new network, mount and process namespaces, whose loopback
// interface has the IPv4 addresses beside 127.0.0.1. Namespaces belong to threads, and a Go program can't
// keep all of its goroutines on one, so the test binary runs itself again. t must be the test itself, not
// a subtest; it runs in parallel with others.
func Run(t *testing.T, addresses []string, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(insideVariable) == t.Name() {
		prepareNamespace(t, addresses)
		body(t)
		return
	}
	t.Parallel()
	output, err := rerun(t, os.Geteuid() != 0)
	if errors.Is(err, syscall.EPERM) {
		// root of a container may lack the capability for namespaces and still get it in a user namespace
		output, err = rerun(t, true)
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("no namespaces: %v. Run the tests as root, or allow user namespaces "+
			"(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=1000, "+
			"kernel.apparmor_restrict_unprivileged_userns=0); in a container, start it with --cap-add SYS_ADMIN", err)
	}
	if err != nil {
		t.Errorf("in its namespace: %v", err)
	}
	t.Logf("%s", output)
}

func rerun(t *testing.T, user bool) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1",
		fmt.Sprintf("-test.timeout=%v", patience))
	cmd.Env = append(os.Environ(), insideVariable+"="+t.Name(), gatewaytest.BinaryVariable+"="+gatewaytest.Binary(t))
	// The process namespace ends whatever a killed test left running.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if user {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	// The parent-death signal fires when the thread that forked ends, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.CombinedOutput()
}

func prepareNamespace(t *testing.T, addresses []string) {
	t.Helper()
	// Nothing that is mounted here may show outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatalf("make mounts private: %v", err)
	}
	// Where this is refused /proc shows the outer process ids, which none of the tests reads.
	_ = unix.Mount("proc", "/proc", "proc", 0, "")
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(socket) }()
	loopbackUp(t, socket)
	for i, address := range addresses {
		alias := fmt.Sprintf("lo:%d", i+1)
		setAddress(t, socket, unix.SIOCSIFADDR, alias, address)
		setAddress(t, socket, unix.SIOCSIFNETMASK, alias, "255.255.255.255")
	}
}

func loopbackUp(t *testing.T, socket int) {
	t.Helper()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		t.Fatalf("bring lo up: %v", err)
	}
}

func setAddress(t *testing.T, socket int, operation uint, alias, address string) {
	t.Helper()
	request, err := unix.NewIfreq(alias)
	if err != nil {
		t.Fatal(err)
	}
	if err := request.SetInet4Addr(net.ParseIP(address).To4()); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(socket, operation, request); err != nil {
		t.Fatalf("%s: address %s: %v", alias, address, err)
	}
}

// Resolve makes name resolve to 127.0.0.1 for every process of the namespace that [Run] made.
func Resolve(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("127.0.0.1 localhost "+name+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(file, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("replace /etc/hosts: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/etc/hosts", 0) })
}
