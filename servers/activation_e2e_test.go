// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e && linux

package main_test

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// systemd's own helper binds the address and starts the program with the first that comes: it must not have to come
// again, and SIGHUP replaces what was started so like any other.
func TestSystemdSocketActivate(t *testing.T) {
	const helper = "systemd-socket-activate"
	if _, err := exec.LookPath(helper); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
		t.Skip(err)
	}
	for _, test := range []struct {
		network string
		args    []string // of the helper
	}{
		{"tcp", nil},
		{"tcp", []string{"--fdname=front"}},
		{"unix", nil},
		{"udp", []string{"--datagram"}},
	} {
		t.Run(test.network, func(t *testing.T) {
			address := freeAddress(t, test.network)
			cmd := exec.Command(helper, append(test.args, "--listen="+address, binaries.program, "echo")...)
			s := launch(t, cmd)
			t.Cleanup(s.cleanup)
			s.logs("Listening on")
			require.NoError(t, ask(test.network, address, "wake up"))
			eventually(t, func() bool { return s.stdout.String() == "listening "+test.network+" "+address+"\n" }, "one line for the socket")

			c := &chain{server: s, last: s.cmd.Process.Pid}
			c.replace(1)
			require.NoError(t, ask(test.network, address, "and you"))
			require.NoError(t, syscall.Kill(c.last, syscall.SIGTERM))
			require.Zero(t, c.exit(), "%s", s.stderr)
			if test.network == "unix" {
				require.FileExists(t, address) // systemd's to remove
			}
		})
	}
}

// freeAddress returns an address that nobody has: the helper cannot be asked which one it chose.
func freeAddress(t *testing.T, network string) string {
	t.Helper()
	switch network {
	case "unix":
		return socketPath(t)
	case "udp":
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer c.Close()
		return c.LocalAddr().String()
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer lis.Close()
	return lis.Addr().String()
}
