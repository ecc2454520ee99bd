// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

const answer = "Hello World!"

// Sixteen octets sent one at a time are one message.
func TestMessageInPieces(t *testing.T) {
	t.Parallel()
	s := start(t, "message")
	c := s.dial()
	for _, b := range []byte("0123456789abcdef") {
		_, err := c.Write([]byte{b})
		require.NoError(t, err)
	}
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, answer, string(got))
	s.logs("level=INFO", "octets=16", "text=0123456789abcdef")
	c.Close()
	s.stop()
}

// A peer that ends early gets no answer, and the log says how far it came.
func TestMessageCutShort(t *testing.T) {
	t.Parallel()
	s := start(t, "message")
	require.Empty(t, s.ask([]byte("0123456789")))
	s.logs("level=INFO", "octets=10")
	require.Empty(t, s.ask(nil))
	s.logs("level=INFO", "octets=0")
	s.stop()
}

// What follows the message does no harm: the answer arrives, and no reset overtakes it.
func TestMessageTooLong(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"tcp://127.0.0.1:0", "unix://" + socketPath(t)} {
		s := start(t, "message", "-listen", url)
		require.Equal(t, answer, string(s.ask([]byte("0123456789abcdefghij"))))

		c := s.dial() // it does not end its writing half before it has the answer
		_, err := c.Write(make([]byte, 20))
		require.NoError(t, err)
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, answer, string(got))
		c.Close()
		s.stop()
	}
}

// A message above the reactor's own bound on unconsumed input.
func TestMessageOfTwoMegabytes(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"info", "debug"} {
		s := start(t, "message", "-size", "2MiB", "-log-level", level)
		require.Equal(t, answer, string(s.ask(make([]byte, 2<<20))))
		s.logs("octets=2097152")
		s.stop()
	}
}
