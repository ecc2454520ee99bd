// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// eachTransport runs test with a server for each transport, with one loop and with several.
func eachTransport(t *testing.T, test func(t *testing.T, s *server), args ...string) {
	for name, url := range map[string]func(t *testing.T) string{
		"tcp":  func(*testing.T) string { return "tcp://127.0.0.1:0" },
		"unix": func(t *testing.T) string { return "unix://" + socketPath(t) },
	} {
		for _, loops := range []string{"1", "4"} {
			t.Run(name+"/"+loops, func(t *testing.T) {
				t.Parallel()
				test(t, start(t, append(slices.Clone(args), "-loops", loops, "-listen", url(t))...))
			})
		}
	}
}

// A client that shuts down its writing half before it reads gets the whole echo, ten times of ten.
func TestEchoAfterHalfClose(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server) {
		for _, size := range []int{64, 1 << 20, 16 << 20} {
			for i := range byte(10) {
				c := s.dial()
				require.NoError(t, sendRandom(c, i, size))
				require.NoError(t, c.CloseWrite())
				require.NoError(t, expectRandom(c, i, size))
				require.NoError(t, expectEnd(c))
				c.Close()
			}
		}
		s.stop()
	}, "echo", "-high-water", "64MiB", "-max-output", "256MiB") // so that the client can send all before it reads
}

// Clients that write and read at the same time, with the default marks, which stop the server many times on the way.
func TestEchoInFlight(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server) {
		const clients, size = 6, 4 << 20
		conns := make([]conn, clients)
		for i := range conns {
			conns[i] = s.dial()
		}
		inParallel(t, 2*clients, func(i int) error {
			c, seed := conns[i/2], byte(i/2)
			if i%2 == 0 {
				if err := sendRandom(c, seed, size); err != nil {
					return err
				}
				return c.CloseWrite()
			}
			if err := expectRandom(c, seed, size); err != nil {
				return err
			}
			return expectEnd(c)
		})
		s.stop()
	}, "echo")
}

// The lowest marks there are: every byte stops the server, and it still gets through.
func TestEchoWithLowestMarks(t *testing.T) {
	t.Parallel()
	s := start(t, "echo", "-high-water", "0", "-low-water", "0", "-max-output", "0")
	c := s.dial()
	const size = 1 << 20
	inParallel(t, 2, func(i int) error {
		if i == 0 {
			return sendRandom(c, 1, size)
		}
		return expectRandom(c, 1, size)
	})
	c.Close()
	s.stop()
}

// A client that is idle for long is closed, one that is not is not.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, "echo", "-idle-timeout", "100ms")
	require.NoError(t, expectEndOrReset(s.dial()))
	s = start(t, "echo", "-idle-timeout", "0")
	require.Equal(t, "hello", string(s.ask([]byte("hello"))))
}

// expectEndOrReset expects that the server ends the connection, in either way.
func expectEndOrReset(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	if err != nil && strings.Contains(err.Error(), "reset") {
		err = nil
	}
	return err
}
