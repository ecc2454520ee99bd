// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// SetDeadline, SetReadDeadline, SetWriteDeadline and SetIdleTimeout, in virtual time.

// farFuture is a moment further away than a duration can tell.
var farFuture = time.Unix(math.MaxInt32*100, 0)

// setDeadline calls one of the three.
func setDeadline(t testing.TB, ref reactor.Ref, set func(*reactor.Conn, time.Time) error, to time.Time) {
	t.Helper()
	do(t, ref, func(c *reactor.Conn) {
		if err := set(c, to); err != nil {
			t.Errorf("setting a deadline: %v", err)
		}
	})
}

// OPEN --read deadline--> Close(c, ErrReadTimeout), unless a byte arrives first.
func TestReadDeadline(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	forEachTransport(t, func(t *testing.T, tr transport) {
		for name, set := range map[string]func(*reactor.Conn, time.Time) error{
			"SetReadDeadline": (*reactor.Conn).SetReadDeadline, "SetDeadline": (*reactor.Conn).SetDeadline,
		} {
			s, w, clock := tr.timed(t, reactor.DataFunc(echo), nil)
			cl := s.dial()
			ref := receive(t, w.refs)
			for range 3 {
				setDeadline(t, ref, set, clock.Now().Add(limit))
				clock.Advance(limit - 1)
				cl.send("x")
				cl.expect("x")
			}
			clock.Advance(100 * limit) // the byte ended the deadline
			setDeadline(t, ref, set, clock.Now().Add(limit))
			setDeadline(t, ref, set, time.Time{})
			clock.Advance(100 * limit)
			setDeadline(t, ref, set, clock.Now().Add(limit))
			setDeadline(t, ref, set, farFuture)
			clock.Advance(100 * limit)
			setDeadline(t, ref, set, clock.Now().Add(10*limit))
			clock.Advance(limit)
			setDeadline(t, ref, set, clock.Now().Add(limit)) // nearer
			require.Empty(t, w.ends, name)
			expires(t, clock, w, limit, reactor.ErrReadTimeout)
			cl.expectGone()
		}
	})
}

// A deadline in the past closes at once, but not before the running method has returned, and what that wrote is sent.
func TestReadDeadlineInThePast(t *testing.T) {
	t.Parallel()
	for _, past := range []time.Time{time.Unix(0, 0), time.Unix(-1<<40, 0)} {
		forEachNetwork(t, func(t *testing.T, tr transport) {
			h := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
				if err := c.SetReadDeadline(past); err != nil {
					t.Errorf("SetReadDeadline: %v", err)
				}
				_, err := c.Write([]byte("late"))
				return len(in), err
			})
			s, w, _ := tr.timed(t, h, nil)
			cl := s.dial()
			cl.send("x")
			cl.expect("late") // no time passes
			requireTimeout(t, reactor.ErrReadTimeout, receive(t, w.ends))
			cl.expectGone()
		})
	}
}

// A byte that waits in the socket has come in time, also while what came before it is still being delivered.
func TestReadDeadlineWhileDelivering(t *testing.T) {
	t.Parallel()
	const lines = 1000 // more than are delivered in one turn
	forEachNetwork(t, func(t *testing.T, tr transport) {
		heard := 0
		s, w, clock := tr.timed(t, reactor.Frames(codec.Line(0), reactor.FrameFunc(func(c *reactor.Conn, _ []byte) error {
			if heard++; heard == 1 {
				c.Pause()
			}
			if heard > lines {
				_, err := c.Write([]byte("done"))
				return err
			}
			return nil
		})), nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		cl.send(strings.Repeat("x\n", lines))
		awaitInput(t, ref)
		setDeadline(t, ref, (*reactor.Conn).SetReadDeadline, clock.Now().Add(time.Second))
		cl.send("y\n")
		clock.Advance(time.Minute)
		do(t, ref, (*reactor.Conn).Resume)
		cl.expect("done")
		clock.Advance(time.Minute)
		require.Empty(t, w.ends)
	})
}

// A peer that has ended owes nothing.
func TestReadDeadlineAfterThePeersEnd(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		ended := make(chan struct{}, 1)
		h := &hooks{eof: func(c *reactor.Conn, _ []byte) error {
			_ = c.SetReadDeadline(time.Unix(0, 0))
			ended <- struct{}{}
			return nil
		}}
		s, w, clock := tr.timed(t, h, nil)
		require.NoError(t, s.dial().CloseWrite())
		receive(t, ended)
		clock.Advance(time.Hour)
		require.Empty(t, w.ends)
	})
}

// OPEN --write deadline--> Close(c, *UnsentError of ErrWriteTimeout), when nothing of what waits is taken.
func TestWriteDeadline(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for name, set := range map[string]func(*reactor.Conn, time.Time) error{
			"SetWriteDeadline": (*reactor.Conn).SetWriteDeadline, "SetDeadline": (*reactor.Conn).SetDeadline,
		} {
			for _, earlier := range []bool{true, false} { // than the output
				w := watch(t, &hooks{})
				s, clock := tr.timedWith(t, w.narrowed, nil)
				s.dialNarrow()
				ref := receive(t, w.refs)
				if earlier {
					setDeadline(t, ref, set, clock.Now().Add(limit))
					stall(t, ref, 100<<10) // blocked: SetDeadline's reading half waits
				} else {
					stall(t, ref, 100<<10)
					setDeadline(t, ref, set, clock.Now().Add(limit))
				}
				expires(t, clock, w, limit, reactor.ErrWriteTimeout)
				require.NotEmpty(t, name)
			}
		}
	})
}

// The deadline is for output that waits without progress: idle connections and slow readers pass it, again and again.
func TestWriteDeadlineLooksAtProgress(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s, clock := tr.timedWith(t, w.narrowed, &reactor.StreamOptions{WriteTimeout: time.Second})
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		setDeadline(t, ref, (*reactor.Conn).SetWriteDeadline, clock.Now().Add(limit))
		clock.Advance(10 * limit) // nothing waits
		readSlowly(t, clock, ref, cl, limit-limit/10)
		require.Empty(t, w.ends, "slow is not stalled")
		stall(t, ref, 100<<10)
		expires(t, clock, w, limit, reactor.ErrWriteTimeout)
	})
}

// The zero time gives WriteTimeout back, a time that has passed lets no output wait.
func TestWriteDeadlineZeroAndPast(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s, clock := tr.timedWith(t, w.narrowed, &reactor.StreamOptions{WriteTimeout: limit})
		s.dialNarrow()
		ref := receive(t, w.refs)
		setDeadline(t, ref, (*reactor.Conn).SetWriteDeadline, farFuture)
		stall(t, ref, 100<<10)
		clock.Advance(100 * limit)
		require.Empty(t, w.ends)
		setDeadline(t, ref, (*reactor.Conn).SetWriteDeadline, time.Time{})
		expires(t, clock, w, limit, reactor.ErrWriteTimeout)

		cl := s.dialNarrow()
		ref = receive(t, w.refs)
		setDeadline(t, ref, (*reactor.Conn).SetWriteDeadline, clock.Now().Add(-limit))
		do(t, ref, func(c *reactor.Conn) { _, _ = c.Write([]byte("taken at once")) })
		cl.expect("taken at once")
		clock.Advance(time.Hour)
		require.Empty(t, w.ends)
		do(t, ref, func(c *reactor.Conn) {
			for !c.Blocked() {
				_, _ = c.Write(pattern(64 << 10))
			}
		})
		clock.Advance(2 * time.Millisecond)
		requireTimeout(t, reactor.ErrWriteTimeout, receive(t, w.ends))
	})
}

// SetIdleTimeout replaces the listener's, from the accept func on.
func TestSetIdleTimeout(t *testing.T) {
	t.Parallel()
	const limit = time.Minute
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, listeners := range []time.Duration{0, limit / 10, 10 * limit} {
			w := watch(t, reactor.DataFunc(echo))
			s, clock := tr.timedWith(t, func(c *reactor.Conn) (reactor.Handler, error) {
				c.SetIdleTimeout(limit)
				return w.accept(c)
			}, &reactor.StreamOptions{IdleTimeout: listeners})
			cl := s.dial()
			ref := receive(t, w.refs)
			clock.Advance(limit - 1)
			cl.send("x")
			cl.expect("x")
			clock.Advance(limit - 1)
			for _, never := range []time.Duration{0, -1, math.MinInt64, math.MaxInt64} {
				do(t, ref, func(c *reactor.Conn) { c.SetIdleTimeout(never) })
				clock.Advance(1000 * limit)
				cl.send("x")
				cl.expect("x")
			}
			do(t, ref, func(c *reactor.Conn) { c.SetIdleTimeout(limit) })
			expires(t, clock, w, limit, reactor.ErrIdleTimeout)
		}
	})
}

// An ended connection has no deadlines, in its Close and after.
func TestDeadlinesOfAnEndedConn(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		set := func(c *reactor.Conn, _ error) {
			for _, err := range []error{c.SetDeadline(time.Unix(0, 0)), c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Unix(0, 0))} {
				if err != net.ErrClosed {
					t.Errorf("got %v", err)
				}
			}
			c.SetIdleTimeout(1)
		}
		s, w, clock := tr.timed(t, &hooks{close: set}, nil)
		s.dial()
		ref := receive(t, w.refs)
		do(t, ref, (*reactor.Conn).Abort)
		do1(t, ref, set)
		clock.Advance(time.Hour)
		require.Len(t, w.ends, 1)
	})
}
