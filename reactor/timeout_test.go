// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// The timeouts of StreamOptions: never early, late by a little, and what counts. Time is virtual: it passes when a
// test says so, and what is due then has been done when Advance returns.

// timed serves h under a witness with a virtual clock.
func (tr transport) timed(t testing.TB, h reactor.Handler, o *reactor.StreamOptions) (*server, *witness, *reactor.Clock) {
	t.Helper()
	w := watch(t, h)
	s, clock := tr.timedWith(t, w.accept, o)
	return s, w, clock
}

// timedWith serves with a virtual clock.
func (tr transport) timedWith(t testing.TB, accept reactor.AcceptFunc, o *reactor.StreamOptions) (*server, *reactor.Clock) {
	t.Helper()
	var clock *reactor.Clock
	s := start(t, reactor.Options{Loops: tr.loops}, func(r *reactor.Reactor) { clock = reactor.UseClock(r) })
	s.Listener = s.listen(tr.network, tr.address(t), accept, o)
	return s, clock
}

// timeless has no time pass in a reactor: what comes about there is not the end of a back-off or of a timeout.
func timeless(r *reactor.Reactor) { reactor.UseClock(r) }

// lateness is how late a timeout may be on a loop that is not busy.
func lateness(timeout time.Duration) time.Duration { return timeout/16 + 2*time.Millisecond }

// requireTimeout checks that err is want, and what package net says of an expiry.
func requireTimeout(t testing.TB, want, err error) {
	t.Helper()
	require.ErrorIs(t, err, want)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
}

// expires checks that the only connection of w ends with want when limit passes, no sooner and not much later.
func expires(t testing.TB, clock *reactor.Clock, w *witness, limit time.Duration, want error) {
	t.Helper()
	clock.Advance(limit - 1)
	require.Empty(t, w.ends, "early")
	clock.Advance(1 + lateness(limit))
	require.Len(t, w.ends, 1, "late")
	requireTimeout(t, want, <-w.ends)
}

// OPEN --idle--> Close(c, ErrIdleTimeout).
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{1, time.Millisecond, 20 * time.Millisecond, 10 * time.Minute, 100 * 365 * 24 * time.Hour} {
		forEachTransport(t, func(t *testing.T, tr transport) {
			s, w, clock := tr.timed(t, &hooks{}, &reactor.StreamOptions{IdleTimeout: idle})
			cl := s.dial()
			receive(t, w.refs)
			expires(t, clock, w, idle, reactor.ErrIdleTimeout)
			cl.expectGone()
		})
	}
}

// The runtime's clock does the same.
func TestIdleTimeoutOfTheRealClock(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
		forEachTransport(t, func(t *testing.T, tr transport) {
			began, ended := make(chan time.Time, 1), make(chan time.Time, 1)
			h := &hooks{close: func(*reactor.Conn, error) { ended <- time.Now() }}
			s := tr.serve(t, func(*reactor.Conn) (reactor.Handler, error) {
				began <- time.Now()
				return h, nil
			}, &reactor.StreamOptions{IdleTimeout: idle})
			s.dial().expectGone()
			require.GreaterOrEqual(t, receive(t, ended).Sub(receive(t, began)), idle)
		})
	}
}

// 0, -1 and more than the clock can tell mean never.
func TestNeverTimesOut(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, -1, math.MaxInt64} {
		o := &reactor.StreamOptions{IdleTimeout: d, FirstByteTimeout: d, FrameTimeout: d}
		s, w, clock := transport{"tcp", 1}.timed(t, &hooks{data: func(*reactor.Conn, []byte) (int, error) { return 0, nil }}, o)
		cl := s.dial()
		ref := receive(t, w.refs)
		clock.Advance(100 * 365 * 24 * time.Hour)
		cl.send("begun")
		awaitInput(t, ref)
		clock.Advance(40 * 365 * 24 * time.Hour)
		require.Empty(t, w.ends)
	}
}

// awaitInput waits until the connection has unconsumed input.
func awaitInput(t testing.TB, ref reactor.Ref) {
	t.Helper()
	eventually(t, "input is left", func() (left bool) {
		do(t, ref, func(c *reactor.Conn) { left = !c.OwnsNothing() })
		return left
	})
}

// Traffic in either direction keeps a connection from idling, and only until it ends.
func TestTrafficIsNotIdle(t *testing.T) {
	t.Parallel()
	const idle = time.Second
	tests := map[string]func(ref reactor.Ref, cl client){
		"received": func(_ reactor.Ref, cl client) {
			cl.send("?") // answered
			cl.expect("!")
		},
		"sent by a handler": func(ref reactor.Ref, cl client) {
			do(cl.t, ref, func(c *reactor.Conn) { _, _ = c.Write([]byte("x")) })
			cl.expect("x")
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
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for name, move := range tests {
			t.Run(name, func(t *testing.T) {
				h := &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
					_, err := c.Write([]byte("!"))
					return len(in), err
				}}
				s, w, clock := tr.timed(t, h, &reactor.StreamOptions{IdleTimeout: idle})
				cl := s.dial()
				ref := receive(t, w.refs)
				for range 12 {
					clock.Advance(idle - 1)
					move(ref, cl)
				}
				require.Empty(t, w.ends, "idled out")
				expires(t, clock, w, idle, reactor.ErrIdleTimeout)
			})
		}
	})
}

// A peer that reads slowly, but reads, neither idles nor stalls; the output arrives whole.
func TestSlowReaderIsNotIdle(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s, clock := tr.timedWith(t, w.narrowed, &reactor.StreamOptions{IdleTimeout: limit, WriteTimeout: limit})
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		readSlowly(t, clock, ref, cl, limit-limit/10)
		require.Empty(t, w.ends)
		clock.Advance(2 * limit)
		requireTimeout(t, reactor.ErrIdleTimeout, receive(t, w.ends))
	})
}

// readSlowly has the connection write much and reads it, for four times a piece when step has passed, and then the rest.
func readSlowly(t testing.TB, clock *reactor.Clock, ref reactor.Ref, cl client, step time.Duration) {
	t.Helper()
	left := stall(t, ref, 2<<20)
	unsent := func() (n int) {
		do(t, ref, func(c *reactor.Conn) { n = c.Unsent() })
		return n
	}
	for range 4 {
		clock.Advance(step)
		before := unsent()
		require.Positive(t, before, "all was taken")
		for unsent() == before { // the kernel opens a closed window late
			left -= len(cl.read(16 << 10))
		}
	}
	cl.read(left)
}

// A held connection does not idle out; released, it has its whole time again.
func TestHeldConnectionDoesNotIdle(t *testing.T) {
	t.Parallel()
	const idle = time.Minute
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w, clock := tr.timed(t, &hooks{}, &reactor.StreamOptions{IdleTimeout: idle})
		cl := s.dial()
		ref := receive(t, w.refs)
		var release func()
		do(t, ref, func(c *reactor.Conn) { release = c.Hold() })
		clock.Advance(5 * idle)
		_, err := ref.Write([]byte("still here"))
		require.NoError(t, err)
		cl.expect("still here")
		clock.Advance(5*idle + idle/2)
		require.Empty(t, w.ends)
		release()
		clock.Settle()
		expires(t, clock, w, idle, reactor.ErrIdleTimeout)
	})
}

// A half-closed connection idles like any other.
func TestHalfClosedConnectionIdles(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		ended := make(chan struct{}, 1)
		h := &hooks{eof: func(*reactor.Conn, []byte) error {
			ended <- struct{}{}
			return nil
		}}
		s, w, clock := tr.timed(t, h, &reactor.StreamOptions{IdleTimeout: time.Minute})
		require.NoError(t, s.dial().CloseWrite())
		receive(t, ended)
		receive(t, w.refs)
		expires(t, clock, w, time.Minute, reactor.ErrIdleTimeout)
		s.dial()
		do(t, receive(t, w.refs), func(c *reactor.Conn) { _ = c.CloseWrite() })
		expires(t, clock, w, time.Minute, reactor.ErrIdleTimeout)
	})
}

// OPEN or DRAINING --no progress--> Close(c, *UnsentError), which is an os.ErrDeadlineExceeded.
func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	const timeout = time.Minute
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, state := range []string{"open", "draining", "paused", "held"} {
			t.Run(state, func(t *testing.T) {
				w := watch(t, &hooks{})
				s, clock := tr.timedWith(t, w.narrowed, &reactor.StreamOptions{WriteTimeout: timeout})
				cl := s.dialNarrow()
				ref := receive(t, w.refs)
				stall(t, ref, 100<<10)
				unsent := 0
				do(t, ref, func(c *reactor.Conn) {
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
				clock.Advance(timeout - 1)
				require.Empty(t, w.ends, "early")
				clock.Advance(1 + lateness(timeout))
				require.Len(t, w.ends, 1, "late")
				err := <-w.ends
				requireTimeout(t, reactor.ErrWriteTimeout, err)
				var lost *reactor.UnsentError
				require.ErrorAs(t, err, &lost)
				require.Positive(t, lost.Bytes)
				require.LessOrEqual(t, lost.Bytes, int64(unsent))
				cl.expectReset() // a cut reply is not taken for a whole one
			})
		}
	})
}

// Without WriteTimeout a stalled peer is waited for.
func TestNoWriteTimeout(t *testing.T) {
	t.Parallel()
	s, w, clock := transport{"tcp", 1}.timed(t, &hooks{}, &reactor.StreamOptions{WriteTimeout: -1})
	cl := s.dial()
	ref := receive(t, w.refs)
	do(t, ref, func(c *reactor.Conn) { _, _ = c.Write(pattern(12 << 20)) })
	require.NoError(t, ref.Close())
	clock.Advance(365 * 24 * time.Hour)
	cl.expectStream(pattern(12 << 20))
	require.NoError(t, receive(t, w.ends))
}

// Many connections with one timeout each have their own: those that talk live, the others go.
func TestIdleTimeoutOfMany(t *testing.T) {
	t.Parallel()
	const idle, clients = time.Minute, 100
	s, w, clock := transport{"tcp", 2}.timed(t, reactor.DataFunc(echo), &reactor.StreamOptions{IdleTimeout: idle})
	var talkers []client
	for i := range clients {
		if cl := s.dial(); i%2 == 0 {
			talkers = append(talkers, cl)
		}
		receive(t, w.refs)
	}
	for range 5 {
		clock.Advance(idle / 2)
		for _, cl := range talkers {
			cl.send("x")
			cl.expect("x")
		}
	}
	require.Len(t, w.ends, clients/2)
	clock.Advance(idle + lateness(idle))
	require.Len(t, w.ends, clients)
	for range clients {
		require.ErrorIs(t, <-w.ends, reactor.ErrIdleTimeout)
	}
}

// Bytes that came in time but were not read, for the loop was busy, have come in time.
func TestBusyLoopIsNotThePeersFault(t *testing.T) {
	t.Parallel()
	const limit, clients = time.Minute, 30
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w, clock := tr.timed(t, reactor.DataFunc(echo), &reactor.StreamOptions{IdleTimeout: limit, FirstByteTimeout: limit})
		var all []client
		var refs []reactor.Ref
		for range clients {
			all = append(all, s.dial())
			refs = append(refs, receive(t, w.refs))
		}
		for _, ref := range refs {
			do(t, ref, func(c *reactor.Conn) { _ = c.SetReadDeadline(clock.Now().Add(limit)) })
		}
		release := block(t, refs[0])
		for _, cl := range all {
			cl.send("in time")
		}
		clock.Skip(10 * limit)
		release()
		for _, cl := range all {
			cl.expect("in time")
		}
		clock.Advance(limit - 1)
		require.Empty(t, w.ends)
	})
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

// OPEN --first byte--> Close(c, ErrFirstByteTimeout): a greeting from here does not help the peer.
func TestFirstByteTimeout(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	forEachTransport(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s, clock := tr.timedWith(t, func(c *reactor.Conn) (reactor.Handler, error) {
			_, _ = c.Write([]byte("hello"))
			return w.accept(c)
		}, &reactor.StreamOptions{FirstByteTimeout: limit})
		cl := s.dial()
		cl.expect("hello")
		receive(t, w.refs)
		expires(t, clock, w, limit, reactor.ErrFirstByteTimeout)
		cl.expectEOF()
	})
}

// One byte is enough, and the end of a peer that said nothing is for the handler to judge.
func TestFirstByteTimeoutIsOver(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	tests := map[string]func(cl client){
		"a byte":  func(cl client) { cl.send("x") },
		"the end": func(cl client) { require.NoError(cl.t, cl.CloseWrite()) },
	}
	for name, speak := range tests {
		forEachNetwork(t, func(t *testing.T, tr transport) {
			heard := make(chan struct{}, 1)
			h := &hooks{
				data: func(*reactor.Conn, []byte) (int, error) { heard <- struct{}{}; return 0, nil },
				eof:  func(*reactor.Conn, []byte) error { heard <- struct{}{}; return nil },
			}
			s, w, clock := tr.timed(t, h, &reactor.StreamOptions{FirstByteTimeout: limit})
			cl := s.dial()
			receive(t, w.refs)
			clock.Advance(limit - 1)
			speak(cl)
			receive(t, heard)
			clock.Advance(100 * limit)
			require.Empty(t, w.ends, name)
		})
	}
}

// releases are what Hold and Suspend returned.
var releases sync.Map

// respites are the states in which nothing is expected of the peer, and how they end.
var respites = map[string]struct {
	enter, leave func(t testing.TB, ref reactor.Ref, cl client)
}{
	"paused": {
		func(t testing.TB, ref reactor.Ref, _ client) { do(t, ref, (*reactor.Conn).Pause) },
		func(t testing.TB, ref reactor.Ref, _ client) { do(t, ref, (*reactor.Conn).Resume) },
	},
	"suspended": {
		func(t testing.TB, ref reactor.Ref, _ client) {
			do(t, ref, func(c *reactor.Conn) { releases.Store(ref, c.Suspend()) })
		},
		func(t testing.TB, ref reactor.Ref, _ client) {
			resume, _ := releases.LoadAndDelete(ref)
			do(t, ref, func(*reactor.Conn) { resume.(func())() })
		},
	},
	"held": {
		func(t testing.TB, ref reactor.Ref, _ client) {
			do(t, ref, func(c *reactor.Conn) { releases.Store(ref, c.Hold()) })
		},
		func(t testing.TB, ref reactor.Ref, _ client) {
			release, _ := releases.LoadAndDelete(ref)
			release.(func())()
		},
	},
	"blocked": {
		func(t testing.TB, ref reactor.Ref, _ client) { stall(t, ref, 300<<10) }, // above what the kernel could still take
		func(t testing.TB, ref reactor.Ref, cl client) {
			for blocked := true; blocked; {
				cl.read(32 << 10)
				do1(t, ref, func(c *reactor.Conn, err error) { blocked = err == nil && c.Blocked() })
			}
		},
	},
}

// Neither the first byte nor the rest of a frame, nor what a read deadline is for, is awaited while it would not be
// read; after that the peer has its time.
func TestStoppedDeliveryIsNotThePeersFault(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for name, stop := range respites {
			for _, awaited := range []error{reactor.ErrFirstByteTimeout, reactor.ErrFrameTimeout, reactor.ErrReadTimeout} {
				t.Run(name+", "+awaited.Error(), func(t *testing.T) {
					o := &reactor.StreamOptions{WriteTimeout: -1}
					w := watch(t, &hooks{data: func(*reactor.Conn, []byte) (int, error) { return 0, nil }})
					switch awaited {
					case reactor.ErrFirstByteTimeout:
						o.FirstByteTimeout = limit
					case reactor.ErrFrameTimeout:
						o.FrameTimeout = limit
					}
					s, clock := tr.timedWith(t, w.narrowed, o)
					cl := s.dialNarrow()
					ref := receive(t, w.refs)
					switch awaited {
					case reactor.ErrFrameTimeout:
						cl.send("begun")
						awaitInput(t, ref)
					case reactor.ErrReadTimeout:
						do(t, ref, func(c *reactor.Conn) { _ = c.SetReadDeadline(clock.Now().Add(limit)) })
					}
					clock.Advance(limit / 2)
					stop.enter(t, ref, cl)
					clock.Advance(20 * limit)
					require.Empty(t, w.ends)
					stop.leave(t, ref, cl)
					clock.Settle()
					if awaited == reactor.ErrReadTimeout { // a moment, which has passed
						clock.Advance(time.Millisecond)
						requireTimeout(t, awaited, receive(t, w.ends))
						return
					}
					expires(t, clock, w, limit, awaited)
				})
			}
		}
	})
}

// OPEN --frame begun and not finished--> Close(c, ErrFrameTimeout), however its bytes drip.
func TestFrameTimeout(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	frames := codec.LengthPrefix(2, 0)
	handlers := map[string]func() reactor.Handler{
		"frames": func() reactor.Handler {
			return reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, p []byte) error { return c.Send(frames, p) }))
		},
		"data": func() reactor.Handler {
			return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
				_, n, _, _ := frames.Decode(in, 0)
				_, err := c.Write(in[:n])
				return n, err
			})
		},
		"data that needs": func() reactor.Handler {
			return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
				_, n, need, _ := frames.Decode(in, 0)
				c.Need(need)
				_, err := c.Write(in[:n])
				return n, err
			})
		},
	}
	one := "\x00\x14abcdefghijklmnopqrst"
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for name, handler := range handlers {
			t.Run(name, func(t *testing.T) {
				s, w, clock := tr.timed(t, handler(), &reactor.StreamOptions{FrameTimeout: limit})
				cl := s.dial()
				ref := receive(t, w.refs)
				for range 3 { // between frames nothing counts, nor does one that takes nearly all of its time
					clock.Advance(10 * limit)
					cl.send(one[:1])
					awaitInput(t, ref)
					clock.Advance(limit - 1)
					cl.send(one[1:])
					cl.expect(one)
				}
				// A frame finished makes the next one new.
				cl.send(one[:5])
				awaitInput(t, ref)
				for range 5 {
					clock.Advance(limit - 1)
					cl.send(one[5:] + one[:5])
					cl.expect(one)
				}
				require.Empty(t, w.ends)
				for i := 5; len(w.ends) == 0 && i < len(one)-1; i++ {
					require.Less(t, i, 16, "a drip a second keeps the connection")
					cl.send(one[i : i+1])
					clock.Advance(time.Second)
				}
				requireTimeout(t, reactor.ErrFrameTimeout, receive(t, w.ends))
			})
		}
	})
}

// An unfinished frame has its whole time.
func TestFrameTimeoutIsNotEarly(t *testing.T) {
	t.Parallel()
	const limit = 10 * time.Second
	forEachNetwork(t, func(t *testing.T, tr transport) {
		h := reactor.Frames(codec.Fixed(16), reactor.FrameFunc(func(*reactor.Conn, []byte) error { return nil }))
		s, w, clock := tr.timed(t, h, &reactor.StreamOptions{FrameTimeout: limit})
		cl := s.dial()
		ref := receive(t, w.refs)
		clock.Advance(12345 * time.Microsecond)
		cl.send("begun")
		awaitInput(t, ref)
		expires(t, clock, w, limit, reactor.ErrFrameTimeout)
	})
}
