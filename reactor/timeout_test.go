// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// IdleTimeout and WriteTimeout: never early, and what counts as movement.

// late is how much later than it should a timeout may be on a busy machine.
const late = 2 * time.Second

// A lifetime measures how long a connection lived, inside: from its accept func, or the last call of touch, to its
// Close.
type lifetime struct {
	from  atomic.Int64
	ended chan time.Duration
	cause chan error
}

var epoch = time.Now()

func newLifetime() *lifetime {
	return &lifetime{ended: make(chan time.Duration, 10), cause: make(chan error, 10)}
}

func (l *lifetime) touch() { l.from.Store(int64(time.Since(epoch))) }

func (l *lifetime) over(_ *reactor.Conn, err error) {
	l.ended <- time.Since(epoch) - time.Duration(l.from.Load())
	l.cause <- err
}

func (l *lifetime) accept(h reactor.Handler) reactor.AcceptFunc {
	return func(*reactor.Conn) (reactor.Handler, error) {
		l.touch()
		return h, nil
	}
}

// OPEN --idle--> Close(c, ErrIdleTimeout): never early, and late by a little.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond} {
		forEachTransport(t, func(t *testing.T, tr transport) {
			l := newLifetime()
			s := tr.serve(t, l.accept(&hooks{close: l.over}), &reactor.StreamOptions{IdleTimeout: idle})
			cl := s.dial()
			cl.expectGone()
			lived := receive(t, l.ended)
			require.GreaterOrEqual(t, lived, idle)
			require.Less(t, lived, idle+late)
			err := receive(t, l.cause)
			require.Equal(t, reactor.ErrIdleTimeout, err)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			var timeout net.Error
			require.True(t, errors.As(err, &timeout) && timeout.Timeout())
		})
	}
}

// 0 and -1 mean never.
func TestNoIdleTimeout(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{0, -1} {
		s, w := transport{"tcp", 1}.watched(t, reactor.DataFunc(echo), &reactor.StreamOptions{IdleTimeout: idle})
		cl := s.dial()
		receive(t, w.refs)
		time.Sleep(200 * time.Millisecond) // the silence
		cl.send("hello")
		cl.expect("hello")
		require.Empty(t, w.ends)
	}
}

// Traffic in either direction keeps a connection from idling, and only until it ends.
func TestTrafficIsNotIdle(t *testing.T) {
	t.Parallel()
	const idle = time.Second
	tests := map[string]func(ref reactor.Ref, cl client){
		"received": func(_ reactor.Ref, cl client) { cl.send("x") },
		"sent by a handler": func(ref reactor.Ref, cl client) {
			do(cl.t, ref, func(c *reactor.Conn) { _, _ = c.Write([]byte("x")) })
		},
		"sent by a Ref": func(ref reactor.Ref, cl client) {
			_, err := ref.Write([]byte("x"))
			require.NoError(cl.t, err)
			cl.expect("x")
		},
		"much sent by a handler": func(ref reactor.Ref, cl client) {
			do(cl.t, ref, func(c *reactor.Conn) { _, _ = c.Write(make([]byte, 30<<10)) })
			cl.read(30 << 10)
		},
	}
	forEachNetworkAtOnce(t, func(t *testing.T, tr transport) {
		atOnce(t, slices.Collect(maps.Keys(tests)), func(t *testing.T, name string) {
			l := newLifetime()
			w := watch(t, &hooks{close: l.over})
			s := tr.serve(t, w.accept, &reactor.StreamOptions{IdleTimeout: idle})
			cl := s.dial()
			ref := receive(t, w.refs)
			for range 12 { // two and a half timeouts
				l.touch() // before: never early is measured from here
				tests[name](ref, cl)
				time.Sleep(idle / 5)
			}
			require.Empty(t, w.ends, "idled out")
			require.ErrorIs(t, receive(t, w.ends), reactor.ErrIdleTimeout)
			require.GreaterOrEqual(t, receive(t, l.ended), idle)
		})
	})
}

// A peer that reads slowly, but reads, is not idle; the output arrives whole.
func TestSlowReaderIsNotIdle(t *testing.T) {
	t.Parallel()
	const idle, size = time.Second, 1 << 20
	forEachNetworkAtOnce(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s := tr.serve(t, w.narrowed, &reactor.StreamOptions{IdleTimeout: idle, WriteTimeout: idle})
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		do(t, ref, func(c *reactor.Conn) { _, _ = c.Write(pattern(size)) })
		for at := 0; at < size; at += size / 16 {
			// Large bites: TCP opens a closed window late for small ones.
			require.Equal(t, string(pattern(size)[at:at+size/16]), cl.read(size/16))
			time.Sleep(idle / 8)
		}
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrIdleTimeout) // but not before all was read
	})
}

// A held connection does not idle out; released, it has its whole time again.
func TestHeldConnectionDoesNotIdle(t *testing.T) {
	t.Parallel()
	const idle = 60 * time.Millisecond
	forEachNetworkAtOnce(t, func(t *testing.T, tr transport) {
		l := newLifetime()
		w := watch(t, &hooks{close: l.over})
		s := tr.serve(t, w.accept, &reactor.StreamOptions{IdleTimeout: idle})
		cl := s.dial()
		ref := receive(t, w.refs)
		var release func()
		do(t, ref, func(c *reactor.Conn) { release = c.Hold() })
		time.Sleep(5 * idle)
		require.Empty(t, w.ends)
		_, err := ref.Write([]byte("still here"))
		require.NoError(t, err)
		cl.expect("still here")
		time.Sleep(3 * idle)
		require.Empty(t, w.ends)
		l.touch()
		release()
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrIdleTimeout)
		require.GreaterOrEqual(t, receive(t, l.ended), idle)
	})
}

// A half-closed connection idles like any other.
func TestHalfClosedConnectionIdles(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{eof: func(*reactor.Conn, []byte) error { return nil }}, &reactor.StreamOptions{IdleTimeout: 50 * time.Millisecond})
		require.NoError(t, s.dial().CloseWrite())
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrIdleTimeout)
		s.dial()
		receive(t, w.refs)
		do(t, receive(t, w.refs), func(c *reactor.Conn) { _ = c.CloseWrite() })
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrIdleTimeout)
	})
}

// OPEN or DRAINING --no progress--> Close(c, *UnsentError), which is an os.ErrDeadlineExceeded.
func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 150 * time.Millisecond
	forEachNetworkAtOnce(t, func(t *testing.T, tr transport) {
		for _, state := range []string{"open", "draining", "paused", "held"} {
			l := newLifetime()
			w := watch(t, &hooks{close: l.over})
			s := tr.serve(t, w.narrowed, &reactor.StreamOptions{WriteTimeout: timeout})
			cl := s.dialNarrow()
			ref := receive(t, w.refs)
			unsent := 0
			do(t, ref, func(c *reactor.Conn) {
				l.touch()
				_, _ = c.Write(pattern(2 << 20))
				unsent = c.Unsent()
				switch state {
				case "draining":
					_ = c.Close()
				case "paused":
					c.Pause()
				case "held":
					c.Hold()
				}
			})
			err := receive(t, w.ends)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, state)
			require.ErrorIs(t, err, reactor.ErrWriteTimeout, state)
			var lost *reactor.UnsentError
			require.ErrorAs(t, err, &lost, state)
			require.Positive(t, lost.Bytes, state)
			require.LessOrEqual(t, lost.Bytes, int64(unsent), state)
			lived := receive(t, l.ended)
			require.GreaterOrEqual(t, lived, timeout, state)
			require.Less(t, lived, timeout+late, state)
			cl.expectReset() // a cut reply is not taken for a whole one
		}
	})
}

// Without WriteTimeout a stalled peer is waited for.
func TestNoWriteTimeout(t *testing.T) {
	t.Parallel()
	s, w := transport{"tcp", 1}.watched(t, &hooks{}, &reactor.StreamOptions{WriteTimeout: -1})
	cl := s.dial()
	ref := receive(t, w.refs)
	do(t, ref, func(c *reactor.Conn) { _, _ = c.Write(pattern(12 << 20)) })
	require.NoError(t, ref.Close())
	time.Sleep(200 * time.Millisecond) // the silence
	cl.expectStream(pattern(12 << 20))
	require.NoError(t, receive(t, w.ends))
}

// Many connections with one timeout each have their own: those that talk live, the others go.
func TestIdleTimeoutOfMany(t *testing.T) {
	t.Parallel()
	const idle, clients = 700 * time.Millisecond, 100
	s, w := transport{"tcp", 2}.watched(t, reactor.DataFunc(echo), &reactor.StreamOptions{IdleTimeout: idle})
	var talkers []client
	for i := range clients {
		if cl := s.dial(); i%2 == 0 {
			talkers = append(talkers, cl)
		}
	}
	stop := time.After(2 * idle)
	for talking := true; talking; {
		select {
		case <-stop:
			talking = false
		default:
			for _, cl := range talkers {
				cl.send("x")
			}
			for _, cl := range talkers {
				cl.expect("x")
			}
		}
	}
	require.Len(t, w.ends, clients/2)
	for range clients {
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrIdleTimeout)
	}
}

// A deadline that comes while the loop is busy accepting is not lost.
func TestDeadlineDuringAnAcceptFunc(t *testing.T) {
	t.Parallel()
	const idle = 30 * time.Millisecond
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		var slow atomic.Bool
		s := tr.serveWith(t, reactor.Options{MaxConns: 2}, func(c *reactor.Conn) (reactor.Handler, error) {
			if slow.Load() {
				time.Sleep(3 * idle) // a handler that keeps its loop busy
			}
			return w.accept(c)
		}, &reactor.StreamOptions{IdleTimeout: idle})
		for range 5 {
			slow.Store(false)
			var clients []client
			for range 2 {
				clients = append(clients, s.dial())
			}
			refs := []reactor.Ref{receive(t, w.refs), receive(t, w.refs)}
			slow.Store(true)
			clients = append(clients, s.dial()) // waits for a place
			_ = refs[0].Close()
			for range 3 {
				err := receive(t, w.ends)
				require.True(t, err == nil || errors.Is(err, reactor.ErrIdleTimeout), err)
			}
			receive(t, w.refs)
			for _, cl := range clients {
				_ = cl.Close()
			}
		}
	})
}
