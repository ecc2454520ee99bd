// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asker sends datagrams to a service of its own and returns what comes back.
func asker(t *testing.T, service string) (ask func(request []byte) []byte, s *server) {
	s = start(t, service, "-listen", "udp://127.0.0.1:0")
	c, err := net.Dial("udp", s.addrs[0])
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	answer := make([]byte, 1<<16)
	return func(request []byte) []byte {
		t.Helper()
		_, err := c.Write(request)
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		n, err := c.Read(answer)
		require.NoError(t, err)
		return answer[:n]
	}, s
}

// datagrams are worth asking with: the lengths at both ends and between.
func datagrams(t *testing.T) (list [][]byte) {
	for _, n := range []int{1, 0, 1, 512, 1472, 9000, 65507} {
		p := make([]byte, n)
		_, err := random(byte(n)).Read(p)
		require.NoError(t, err)
		list = append(list, p)
	}
	return list
}

func TestDatagramEcho(t *testing.T) {
	t.Parallel()
	ask, s := asker(t, "echo")
	for _, p := range datagrams(t) {
		require.Equal(t, string(p), string(ask(p)), "%d bytes", len(p))
	}
	s.stop()
}

func TestDatagramReply(t *testing.T) {
	t.Parallel()
	ask, s := asker(t, "udp-reply")
	require.Equal(t, "The msg was 5 bytes long", string(ask([]byte("hello"))))
	require.Equal(t, "The msg was 0 bytes long", string(ask(nil)))
	require.Equal(t, "The msg was 65507 bytes long", string(ask(make([]byte, 65507))))
	s.stop()
}

func TestDatagramRFCs(t *testing.T) {
	t.Parallel()
	ask, s := asker(t, "daytime")
	asked := time.Now()
	checkDaytime(t, asked, ask(nil))
	s.stop()

	ask, s = asker(t, "time")
	asked = time.Now()
	checkTime(t, asked, ask([]byte("?")))
	s.stop()

	ask, s = asker(t, "chargen")
	line := make([]byte, 74)
	_, _ = new(chargen).Read(line)
	require.Equal(t, string(line), string(ask(nil)))
	require.Equal(t, string(line), string(ask([]byte("again"))))
	s.stop()
}

// Nothing comes back from discard: the first that its client hears is the echo of another server, asked afterwards.
func TestDatagramDiscard(t *testing.T) {
	t.Parallel()
	s, echo := start(t, "discard", "-listen", "udp://127.0.0.1:0"), start(t, "echo", "-listen", "udp://127.0.0.1:0")
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	for _, to := range []*server{s, echo} {
		addr, err := net.ResolveUDPAddr("udp", to.addrs[0])
		require.NoError(t, err)
		_, err = c.WriteTo([]byte(to.addrs[0]), addr)
		require.NoError(t, err)
		if to == s {
			s.stop() // it has served what waited
		}
	}
	answer := make([]byte, 1<<16)
	n, from, err := c.ReadFrom(answer)
	require.NoError(t, err)
	require.Equal(t, echo.addrs[0], from.String())
	require.Equal(t, echo.addrs[0], string(answer[:n]))
	echo.stop()
}

// Both networks of one service, over both families.
func TestBothNetworks(t *testing.T) {
	t.Parallel()
	s := start(t, "echo", "-listen", "tcp://127.0.0.1:0", "-listen", "udp://127.0.0.1:0",
		"-listen", "tcp4://localhost:0", "-listen", "udp4://localhost:0", "-listen", "tcp://:0", "-listen", "udp://:0")
	for i, line := range strings.Split(strings.TrimSpace(s.stdout.String()), "\n") {
		network := []string{"tcp", "udp"}[i%2]
		require.Equal(t, "listening "+network+" "+s.addrs[i], line)
		_, port, err := net.SplitHostPort(s.addrs[i])
		require.NoError(t, err)
		c, err := net.Dial(network, "127.0.0.1:"+port)
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		_, err = c.Write([]byte("hello"))
		require.NoError(t, err)
		answer := make([]byte, 16)
		n, err := c.Read(answer)
		require.NoError(t, err)
		require.Equal(t, "hello", string(answer[:n]))
		c.Close()
	}
	s.stop()
}

// How much the kernel keeps of datagrams that come too fast is its decision, so it is told.
func TestReceiveBufferIsLogged(t *testing.T) {
	_, s := asker(t, "echo")
	s.logs("level=INFO", `msg="receive buffer"`, "udp "+s.addrs[0], "asked=4194304")
	got := regexp.MustCompile(`msg="receive buffer".* got=(\d+)`).FindStringSubmatch(s.stderr.String())
	require.Len(t, got, 2)
	size, err := strconv.Atoi(got[1])
	require.NoError(t, err)
	require.Positive(t, size)
}
