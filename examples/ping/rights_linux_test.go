// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// nobody runs the program without rights.
func nobody(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// ownNetwork gives the calling goroutine's thread, and what it starts, a network of its own with nothing in it but the
// loopback interface, whose sysctls are therefore its own too. The thread ends with the test.
func ownNetwork(t *testing.T, sysctls map[string]string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may make a network")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network of our own:", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	require.NoError(t, err)
	lo.SetUint16(unix.IFF_UP)
	require.NoError(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
	for name, value := range sysctls {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			t.Skip("no sysctls of our own:", err)
		}
	}
}

// A ping socket needs no right but the system's leave.
func TestPingSocket(t *testing.T) {
	ownNetwork(t, map[string]string{"ping_group_range": "65534 65534"})
	r := ping(t, nobody, "-c", "2", "-i", "10ms", "127.0.0.1")
	require.Zero(t, r.code, r)
	require.Contains(t, r.stdout, "2 packets transmitted, 2 received, 0% packet loss")
}

// Without either right both are named.
func TestNoRight(t *testing.T) {
	ownNetwork(t, nil)
	require.Equal(t, result{2, "", "ping: no right to send ICMP: a raw socket needs CAP_NET_RAW (root has it), " +
		"a ping socket a group within net.ipv4.ping_group_range, which is \"1 0\", not group 65534\n"},
		ping(t, nobody, "-c", "1", "127.0.0.1"))
}

// When nobody answers the exit code says so, after the wait, for raw and ping sockets.
func TestNobodyAnswers(t *testing.T) {
	for _, groups := range []string{"1 0", "0 65534"} {
		t.Run(groups, func(t *testing.T) {
			ownNetwork(t, map[string]string{"icmp_echo_ignore_all": "1", "ping_group_range": groups})
			r := ping(t, nil, "-c", "3", "-i", "10ms", "-W", "100ms", "127.0.0.1")
			require.Equal(t, 1, r.code, r)
			require.Equal(t, "PING 127.0.0.1: 56 data bytes\n\n--- 127.0.0.1 ping statistics ---\n"+
				"3 packets transmitted, 0 received, 100% packet loss\n", r.stdout)
		})
	}
}
