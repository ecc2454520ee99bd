// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/reactor"
)

// stall connects a client that sends n bytes to be echoed and reads none.
func (s *server) stall(n int) conn {
	s.t.Helper()
	c := s.dial()
	require.NoError(s.t, sendRandom(c, 1, n))
	return c
}

// roomy are the flags of a server that takes a large request whole, whether or not the client reads.
var roomy = []string{"echo", "-high-water", "64MiB", "-max-output", "256MiB"}

// Idle clients see a clean end.
func TestStopIdle(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]os.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, s *server) {
				clients := make([]conn, 20)
				for i := range clients {
					clients[i] = s.dial()
					_, err := clients[i].Write([]byte{'x'})
					require.NoError(t, err)
					require.NoError(t, expect(clients[i], fixed('x'), 1))
				}
				s.signal(sig)
				for _, c := range clients {
					require.NoError(t, expectEnd(c))
					c.Close()
				}
				require.Zero(t, s.exit())
				s.logs("level=INFO", "started")
				s.logs("level=INFO", "stopping", sig.String())
				s.logs("level=INFO", "stopped")
			}, "echo")
		})
	}
}

// fixed is an endless stream of one byte.
type fixed byte

func (f fixed) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

// What clients sent before the signal is answered, and arrives.
func TestStopAnswersWhatWasRead(t *testing.T) {
	t.Parallel()
	s := start(t, "echo")
	c := s.dial()
	_, err := c.Write([]byte("last words"))
	require.NoError(t, err)
	s.signal(syscall.SIGTERM)
	got := make([]byte, 10)
	n, err := c.Read(got)
	require.NoError(t, err)
	require.Equal(t, "last words", string(got[:n]))
	require.NoError(t, expectEnd(c))
	c.Close()
	require.Zero(t, s.exit())
}

// A client that never reads holds the drain up until its time is over.
func TestStopAborts(t *testing.T) {
	t.Parallel()
	s := start(t, append(roomy, "-drain-timeout", "300ms")...)
	s.stall(24 << 20)
	began := time.Now()
	s.signal(syscall.SIGTERM)
	require.Equal(t, 1, s.exit())
	require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond)
	require.Less(t, time.Since(began), reactor.DefaultDrainTimeout)
	s.logs("level=ERROR", "stopped")
}

// No time to drain is enough for clients that wait for nothing.
func TestStopWithoutTime(t *testing.T) {
	t.Parallel()
	s := start(t, "echo", "-drain-timeout", "0")
	c := s.dial()
	_, err := c.Write([]byte{'x'})
	require.NoError(t, err)
	require.NoError(t, expect(c, fixed('x'), 1))
	s.signal(syscall.SIGTERM)
	require.Zero(t, s.exit(), "%s", s.stderr)
	require.NoError(t, expectEnd(c))
}

// The second signal does not wait, and nobody connects during the drain.
func TestStopAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, append(roomy, "-drain-timeout", "10m")...)
	s.stall(24 << 20)
	s.signal(syscall.SIGTERM)
	s.refuses()
	require.False(t, s.gone())
	_, err := net.Dial("tcp", s.addrs[0])
	require.True(t, errors.Is(err, syscall.ECONNREFUSED), err)
	s.signal(syscall.SIGINT)
	require.Equal(t, 1, s.exit()) // long before the ten minutes
}

// A client that has its answer and does not go is no reason to wait for, nor to fail.
func TestStopWithLingering(t *testing.T) {
	t.Parallel()
	s := start(t, "daytime", "-drain-timeout", "300ms")
	c := s.dial()
	_, err := io.Copy(io.Discard, c)
	require.NoError(t, err)
	s.signal(syscall.SIGTERM)
	require.Zero(t, s.exit())
}

// Connections are logged at debug only, and the profile that was asked for is written at the end.
func TestLogAndProfile(t *testing.T) {
	t.Parallel()
	profile := filepath.Join(t.TempDir(), "profile")
	s := start(t, "echo", "-log-level", "debug", "-cpuprofile", profile)
	require.Equal(t, "hello", string(s.ask([]byte("hello"))))
	s.logs("level=DEBUG", "connection opened", "conn="+s.addrs[0]+"<-127.0.0.1:")
	s.logs("level=DEBUG", "connection closed", "conn="+s.addrs[0]+"<-127.0.0.1:", "err=EOF")
	s.stop()
	info, err := os.Stat(profile)
	require.NoError(t, err)
	require.NotZero(t, info.Size())

	s = start(t, "echo", "-log-level", "warn", "-slow-handler", "0") // a busy machine makes any slow
	require.Equal(t, "hello", string(s.ask([]byte("hello"))))
	s.stop()
	require.Empty(t, s.stderr.String())
}
