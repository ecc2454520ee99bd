// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e && linux

package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// System calls fail with what may happen to them on any day, injected from outside by strace: nobody notices.
func TestInjectedErrors(t *testing.T) {
	needTool(t, "strace")
	for _, test := range []struct{ network, calls, errno, when string }{
		{"tcp", "recvfrom", "EINTR", "2+3"},
		{"tcp", "recvfrom", "EAGAIN", "2+3"},
		{"tcp", "sendto,sendmsg", "EINTR", "2+3"},
		{"tcp", "sendto,sendmsg", "EAGAIN", "2+3"},
		{"tcp", "sendto,sendmsg", "ENOBUFS", "2+3"},
		{"tcp", "accept4", "EINTR", "1+2"},
		{"tcp", "accept4", "EAGAIN", "1+2"},
		{"tcp", "accept4", "ECONNABORTED", "1+2"},
		{"tcp", "accept4", "EMFILE", "2+3"},
		{"tcp", "accept4", "ENOBUFS", "2+3"},
		{"tcp", "epoll_wait,epoll_pwait", "EINTR", "5+3"},
		{"unix", "recvfrom,sendto,sendmsg,accept4", "EINTR", "2+3"},
		{"unix", "sendto,sendmsg", "ENOBUFS", "2+3"},
		{"udp", "recvmmsg,sendmmsg", "EINTR", "2+3"},
		{"udp", "recvmmsg,sendmmsg", "EAGAIN", "2+3"},
		{"udp", "recvmmsg,sendmmsg", "ENOBUFS", "2+3"},
	} {
		t.Run(test.network+"/"+test.calls+"/"+test.errno, func(t *testing.T) {
			url := test.network + "://127.0.0.1:0"
			if test.network == "unix" {
				url = "unix://" + socketPath(t)
			}
			log := filepath.Join(t.TempDir(), "log")
			s := startCommand(t, exec.Command("strace", "-f", "-o", log, "-e", "trace="+test.calls,
				"-e", "inject="+test.calls+":error="+test.errno+":when="+test.when, binaries.program),
				"echo", "-loops", "1", "-log-level", "error", "-listen", url)
			if test.network == "udp" {
				askUntilAnswered(t, s.addrs[0])
			} else {
				inParallel(t, 20, func(i int) error { return echoes(s.network(), s.addrs[0], byte(i)) })
			}
			require.NoError(t, signalChild(s.cmd.Process.Pid, syscall.SIGTERM))
			require.Zero(t, s.exit(), "%s", s.stderr)

			text, err := os.ReadFile(log)
			require.NoError(t, err)
			n := len(regexp.MustCompile(`= -1 `+test.errno+` .*\(INJECTED\)`).FindAll(text, -1))
			t.Logf("%d injected", n)
			require.GreaterOrEqual(t, n, 3)
		})
	}
}

// echoes has small messages echoed one after the other, then many bytes together with the end.
func echoes(network, address string, seed byte) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	message := make([]byte, 256<<10)
	_, _ = io.ReadFull(random(seed), message)
	got := make([]byte, 1000)
	for i := range 10 {
		p := message[i*1000 : (i+1)*1000]
		if _, err := c.Write(p); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, p) {
			return fmt.Errorf("message %d: %v", i, err)
		}
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(message)
		if err == nil {
			err = c.(conn).CloseWrite()
		}
		sent <- err
	}()
	all, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(all, message) {
		return fmt.Errorf("%d of %d bytes: %v", len(all), len(message), err)
	}
	return <-sent
}

// askUntilAnswered sends datagrams, one after the other, each again until its echo comes: an answer may be lost.
func askUntilAnswered(t *testing.T, address string) {
	c, err := net.Dial("udp", address)
	require.NoError(t, err)
	defer c.Close()
	got := make([]byte, 2000)
	for i := range 50 {
		question := fmt.Sprint("question ", i)
		eventually(t, func() bool {
			if _, err := c.Write([]byte(question)); err != nil {
				return false
			}
			_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			for {
				n, err := c.Read(got)
				if err != nil || string(got[:n]) == question {
					return err == nil
				}
			}
		}, "%q is answered", question)
	}
}
