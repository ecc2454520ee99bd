// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e && linux

package main_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/internal/unused"
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
			address := socketPath(t)
			if test.network != "unix" {
				address = unused.Address(test.network) // the helper cannot be asked which one it chose
			}
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
