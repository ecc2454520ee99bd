// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"encoding/binary"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDiscard(t *testing.T) {
	t.Parallel()
	s := start(t, "discard")
	c := s.dial()
	require.NoError(t, sendRandom(c, 1, 8<<20))
	require.NoError(t, c.CloseWrite())
	require.NoError(t, expectEnd(c))
	s.stop()
}

func TestDaytime(t *testing.T) {
	t.Parallel()
	s := start(t, "daytime")
	for _, request := range []string{"what follows the request is ignored", ""} {
		asked := time.Now()
		checkDaytime(t, asked, s.ask([]byte(request)))
	}
	s.stop()
}

// checkDaytime expects the time between the question and now, in whole seconds.
func checkDaytime(t *testing.T, asked time.Time, got []byte) {
	t.Helper()
	told, err := time.Parse("Monday, January 2, 2006 15:04:05-MST\r\n", string(got))
	require.NoError(t, err)
	require.WithinRange(t, told, asked.Truncate(time.Second), time.Now())
	require.Equal(t, "UTC", told.Location().String())
}

func TestTime(t *testing.T) {
	t.Parallel()
	s := start(t, "time")
	asked := time.Now()
	checkTime(t, asked, s.ask(nil))
	s.stop()
}

// checkTime is checkDaytime for seconds since 1900.
func checkTime(t *testing.T, asked time.Time, got []byte) {
	t.Helper()
	require.Len(t, got, 4)
	const since1900 = 2208988800 // of 1970
	told := time.Unix(int64(binary.BigEndian.Uint32(got))-since1900, 0)
	require.WithinRange(t, told, asked.Truncate(time.Second), time.Now())
}

// chargen is the pattern, line by line as the RFC has it.
type chargen struct {
	line int
	rest []byte
}

func (g *chargen) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(g.rest) == 0 {
			for i := range 72 {
				g.rest = append(g.rest, byte(' '+(g.line+i)%95))
			}
			g.rest = append(g.rest, '\r', '\n')
			g.line++
		}
		copied := copy(p[n:], g.rest)
		g.rest = g.rest[copied:]
		n += copied
	}
	return n, nil
}

// The pattern is exact, for a client that reads at once, one that begins late, and one that has shut down its writing
// half.
func TestChargen(t *testing.T) {
	t.Parallel()
	s := start(t, "chargen", "-loops", "1")
	slow, silent := s.dial(), s.dial()
	require.NoError(t, silent.CloseWrite())
	require.NoError(t, expect(s.dial(), new(chargen), 1<<20))
	require.NoError(t, expect(silent, new(chargen), 1<<20))
	require.NoError(t, expect(slow, new(chargen), 1<<20))
}

// A client that reads as fast as the server writes does not keep it from the others of its loop.
func TestChargenIsFair(t *testing.T) {
	t.Parallel()
	s := start(t, "chargen", "-loops", "1")
	for range 4 {
		fast := s.dial()
		go io.Copy(io.Discard, fast)
	}
	for range 20 {
		began := time.Now()
		c := s.dial()
		require.NoError(t, expect(c, new(chargen), 74))
		require.Less(t, time.Since(began), 5*time.Second)
		c.Close()
	}
}

// What has no end of its own ends with the server, in order.
func TestChargenStops(t *testing.T) {
	t.Parallel()
	s := start(t, "chargen")
	c, want := s.dial(), new(chargen)
	require.NoError(t, expect(c, want, 1<<20))
	s.signal(syscall.SIGTERM)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	rest := make([]byte, len(got))
	_, _ = want.Read(rest)
	require.Equal(t, rest, got)
	c.Close()
	require.Zero(t, s.exit())
}
