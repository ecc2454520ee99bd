// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requireRefused expects a program that could not have its listener: exit 1 and one line.
func requireRefused(t *testing.T, r result, parts ...string) {
	t.Helper()
	require.Equal(t, 1, r.code, r.stderr)
	require.Empty(t, r.stdout)
	requireOneLine(t, r.stderr, parts...)
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "udp"} {
		for _, flags := range [][]string{nil, {"-reuseport"}} {
			command := append([]string{"echo", "-loops", "2"}, flags...)
			s := start(t, append(command, "-listen", network+"://127.0.0.1:0")...)
			requireRefused(t, runToEnd(t, append(command, "-listen", network+"://"+s.addrs[0])...), s.addrs[0], "address already in use")
			s.stop()
		}
	}
}

// Ports below 1024 are for root, which the line says.
func TestPortPrivileged(t *testing.T) {
	t.Parallel()
	if first, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err != nil || strings.TrimSpace(string(first)) != "1024" {
		t.Skip("this system does not keep the ports below 1024 for root")
	}
	cmd := exec.Command(binaries.program)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	requireRefused(t, runCommand(t, cmd, "echo", "-listen", "tcp://127.0.0.1:1022"), "127.0.0.1:1022", "permission denied", "1024")
}

// A listener that cannot be had takes those before it down, the file of a socket included.
func TestAllListenersOrNone(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	requireRefused(t, runToEnd(t, "echo", "-listen", "unix://"+path, "-listen", "tcp://192.0.2.1:1060"), "192.0.2.1:1060", "cannot assign")
	require.NoFileExists(t, path)
}

// Nothing is logged before every listener could be had: of one that cannot there is one line, whatever else was asked for.
func TestOneLineOfListenersThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, before := range [][]string{
		{"-listen", "udp://127.0.0.1:0"},
		{"-metrics", "127.0.0.1:0"},
		{"-trace", filepath.Join(t.TempDir(), "trace")},
	} {
		requireRefused(t, runToEnd(t, slices.Concat([]string{"echo"}, before, []string{"-listen", "tcp://192.0.2.1:1060"})...), "192.0.2.1:1060", "cannot assign")
	}
}

func TestUnknownHost(t *testing.T) {
	t.Parallel()
	requireRefused(t, runToEnd(t, "echo", "-listen", "tcp://no-such-host.invalid:0"), "no-such-host.invalid")
}

// What is at the path of a unix socket stays there, unless it is a socket that nobody serves.
func TestUnixPathTaken(t *testing.T) {
	t.Parallel()
	t.Run("folder", func(t *testing.T) {
		path := socketPath(t)
		require.NoError(t, os.Mkdir(path, 0o700))
		requireRefused(t, runToEnd(t, "echo", "-listen", "unix://"+path), path, "address already in use")
		require.DirExists(t, path)
	})
	t.Run("file", func(t *testing.T) {
		path := socketPath(t)
		require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
		requireRefused(t, runToEnd(t, "echo", "-listen", "unix://"+path), path, "address already in use")
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "precious", string(content))
	})
	t.Run("server", func(t *testing.T) {
		path := socketPath(t)
		s := start(t, "echo", "-listen", "unix://"+path)
		requireRefused(t, runToEnd(t, "echo", "-listen", "unix://"+path), path, "address already in use")
		require.Equal(t, "hello", string(s.ask([]byte("hello"))))
		s.stop()
	})
	t.Run("dead server", func(t *testing.T) {
		path := socketPath(t)
		s := start(t, "echo", "-listen", "unix://"+path)
		s.signal(syscall.SIGKILL)
		s.exit()
		require.FileExists(t, path)
		s = start(t, "echo", "-listen", "unix://"+path)
		require.Equal(t, "hello", string(s.ask([]byte("hello"))))
		s.stop()
	})
}

// The socket's file goes with the server, however that is stopped short of SIGKILL.
func TestUnixFileRemoved(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	s := start(t, "echo", "-listen", "unix://"+path)
	require.Equal(t, "listening unix "+path+"\n", s.stdout.String())
	s.stop()
	require.NoFileExists(t, path)

	s = start(t, "echo", "-listen", "unix://"+path)
	s.signal(syscall.SIGINT)
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	s.exit()
	require.NoFileExists(t, path)
}

// Each way to say where prints the network it is and the real port.
func TestListenURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"tcp://127.0.0.1:0":  "listening tcp 127.0.0.1:",
		"tcp://localhost:0":  "listening tcp 127.0.0.1:", // IPv4 is preferred
		"tcp4://localhost:0": "listening tcp 127.0.0.1:",
		"tcp4://:0":          "listening tcp 0.0.0.0:",
		"tcp6://[::1]:0":     "listening tcp [::1]:",
		"tcp6://:0":          "listening tcp [::]:",
	} {
		if strings.HasPrefix(url, "tcp6") && !haveIPv6() {
			t.Log("left out, no IPv6 here: ", url)
			continue
		}
		s := start(t, "echo", "-listen", url, "-loops", "2", "-reuseport")
		require.True(t, strings.HasPrefix(s.stdout.String(), want), s.stdout)
		require.Equal(t, "hello", string(s.ask([]byte("hello"))))
		s.stop()
	}
}

func haveIPv6() bool {
	lis, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	lis.Close()
	return true
}

// Beyond -max-conns clients wait in the backlog until one goes.
func TestMaxConns(t *testing.T) {
	t.Parallel()
	s := start(t, "echo", "-max-conns", "2", "-backlog", "16")
	first, second, third := s.dial(), s.dial(), s.dial()
	for _, c := range []conn{third, second, first} {
		_, err := c.Write([]byte{'x'})
		require.NoError(t, err)
	}
	require.NoError(t, expect(first, fixed('x'), 1))
	require.NoError(t, expect(second, fixed('x'), 1))
	require.NoError(t, third.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	require.ErrorIs(t, expect(third, fixed('x'), 1), os.ErrDeadlineExceeded)
	first.Close()
	require.NoError(t, third.SetReadDeadline(time.Now().Add(patience)))
	require.NoError(t, expect(third, fixed('x'), 1))
}
