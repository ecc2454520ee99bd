// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"io"
	"math"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// AfterFunc of connections, packet sockets and reactors, in virtual time.

// A record is what timers did, on one loop.
type record struct {
	clock *reactor.Clock
	from  time.Time
	said  []string
	at    []time.Duration
}

func (r *record) say(what string) {
	r.said = append(r.said, what)
	r.at = append(r.at, r.clock.Now().Sub(r.from))
}

// oneTimed serves one connection in virtual time.
func oneTimed(t *testing.T, tr transport, h reactor.Handler) (client, reactor.Ref, *witness, *record) {
	t.Helper()
	s, w, clock := tr.timed(t, h, nil)
	cl := s.dial()
	ref := receive(t, w.refs)
	clock.Settle()
	return cl, ref, w, &record{clock: clock, from: clock.Now()}
}

// What is due runs in the order in which it is due, then in that of its start; never early, and in one wake-up.
func TestTimersRunInOrder(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		_, ref, _, r := oneTimed(t, tr, &hooks{})
		const due = 100 * time.Millisecond
		do(t, ref, func(c *reactor.Conn) {
			for _, timer := range []struct {
				name string
				d    time.Duration
			}{{"e", due}, {"c", due - 10*time.Microsecond}, {"f", due}, {"d", due - 1}, {"b", due - 20*time.Microsecond}, {"h", due + time.Hour}, {"a", 1}, {"g", due}} {
				c.AfterFunc(timer.d, func(*reactor.Conn) { r.say(timer.name) })
			}
		})
		rings := r.clock.Rings()
		r.clock.Advance(due - 50*time.Microsecond)
		require.Equal(t, []string{"a"}, r.said)
		r.clock.Advance(2 * time.Millisecond)
		require.Equal(t, []string{"a", "b", "c", "d", "e", "f", "g"}, r.said)
		require.LessOrEqual(t, r.clock.Rings()-rings, 3)
		for _, at := range r.at[1:] {
			require.GreaterOrEqual(t, at, due-20*time.Microsecond)
		}
	})
}

// Timers by the thousand that are due together leave others their turn: who asks during the first is answered before the
// last.
func TestTimersStarveNobody(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		const timers, due = 5000, time.Second
		ran, before, all := 0, make(chan int, 1), make(chan struct{}, 1)
		cl, ref, _, r := oneTimed(t, tr, &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
			before <- ran
			return len(in), nil
		}})
		do(t, ref, func(c *reactor.Conn) {
			for range timers {
				c.AfterFunc(due, func(*reactor.Conn) {
					if ran == 0 {
						cl.send("x")
					}
					if ran++; ran == timers {
						all <- struct{}{}
					}
				})
			}
		})
		r.clock.Advance(due + time.Millisecond)
		require.Less(t, receive(t, before), timers)
		receive(t, all)
	})
}

// A timer that is due in a millisecond is never early, one that is due now runs in the next turn.
func TestTimersAreNeverEarly(t *testing.T) {
	t.Parallel()
	_, ref, _, r := oneTimed(t, transport{"tcp", 1}, &hooks{})
	for _, d := range []time.Duration{math.MinInt64, -1, 0, 1, 999 * time.Microsecond, time.Millisecond, 1234567, time.Hour, 100 * 365 * 24 * time.Hour} {
		ran, inside := 0, false
		var lived time.Duration
		do(t, ref, func(c *reactor.Conn) {
			inside = true
			from := r.clock.Now()
			c.AfterFunc(d, func(*reactor.Conn) {
				require.False(t, inside, "in the same turn")
				ran++
				lived = r.clock.Now().Sub(from)
			})
			inside = false
		})
		if d > 0 {
			r.clock.Advance(d - 1)
			require.Zero(t, ran, d)
			r.clock.Advance(1 + time.Millisecond)
		}
		r.clock.Settle()
		require.Equal(t, 1, ran, d)
		require.GreaterOrEqual(t, lived, d)
	}
}

// Durations beyond what the clock can tell never pass.
func TestTimersFarAway(t *testing.T) {
	t.Parallel()
	_, ref, _, r := oneTimed(t, transport{"tcp", 1}, &hooks{})
	do(t, ref, func(c *reactor.Conn) {
		timer := c.AfterFunc(math.MaxInt64, func(*reactor.Conn) { r.say("never") })
		timer.Reset(math.MaxInt64 - 1)
		c.AfterFunc(time.Second, func(*reactor.Conn) { r.say("soon") })
	})
	r.clock.Advance(100 * 365 * 24 * time.Hour)
	require.Equal(t, []string{"soon"}, r.said)
}

// Stop and Reset say what time.Timer's do, also inside the functions of timers that are due together.
func TestTimersStopAndReset(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		_, ref, _, r := oneTimed(t, tr, &hooks{})
		var own, first, second, stopped, put *reactor.Timer
		do(t, ref, func(c *reactor.Conn) {
			own = c.AfterFunc(time.Second, func(*reactor.Conn) {
				r.say("own")
				require.False(t, own.Stop(), "pending in its own function")
				if len(r.said) < 3 {
					require.False(t, own.Reset(time.Second))
				}
			})
			first = c.AfterFunc(10*time.Second, func(*reactor.Conn) {
				r.say("first")
				require.True(t, second.Stop(), "due, but not run")
				require.False(t, second.Stop())
			})
			second = c.AfterFunc(10*time.Second, func(*reactor.Conn) { r.say("second") })
			stopped = c.AfterFunc(time.Second, func(*reactor.Conn) { r.say("stopped") })
			require.True(t, stopped.Stop())
			require.False(t, stopped.Stop())
			put = c.AfterFunc(time.Second, func(*reactor.Conn) { r.say("put off") })
			require.True(t, put.Reset(20*time.Second))
		})
		r.clock.Advance(15 * time.Second)
		require.Equal(t, []string{"own", "own", "own", "first"}, r.said)
		do(t, ref, func(*reactor.Conn) {
			require.False(t, stopped.Reset(10*time.Second))
			require.False(t, first.Stop())
		})
		r.clock.Advance(time.Hour)
		require.Equal(t, []string{"own", "own", "own", "first", "put off", "stopped"}, r.said)
	})
}

// A timer that starts itself anew at once has its turn with the others, and the loop goes on.
func TestTimersThatRunAtOnceStarveNobody(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		cl, ref, _, r := oneTimed(t, tr, reactor.DataFunc(echo))
		do(t, ref, func(c *reactor.Conn) {
			var again *reactor.Timer
			again = c.AfterFunc(0, func(*reactor.Conn) { again.Reset(0) })
			c.AfterFunc(0, func(*reactor.Conn) { r.say("in its turn") })
		})
		for range 10 {
			cl.send("hello")
			cl.expect("hello")
		}
		do(t, ref, func(*reactor.Conn) { require.Equal(t, []string{"in its turn"}, r.said) })
	})
}

// The function is a step of the connection: what it writes is sent, it may close, and a crash closes this connection
// alone.
func TestTimerIsAStepOfItsConn(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w, clock := tr.timed(t, reactor.DataFunc(echo), nil)
		bystander := s.dial()
		receive(t, w.refs)
		after := func(fn func(c *reactor.Conn)) client {
			cl := s.dial()
			do(t, receive(t, w.refs), func(c *reactor.Conn) { c.AfterFunc(time.Second, fn) })
			clock.Advance(time.Second + time.Millisecond)
			return cl
		}
		cl := after(func(c *reactor.Conn) {
			_, _ = c.Write([]byte("good"))
			_, _ = c.Write([]byte("bye"))
			_ = c.Close()
		})
		require.Equal(t, "goodbye", cl.rest())
		require.NoError(t, receive(t, w.ends))
		for _, how := range crashes {
			after(func(c *reactor.Conn) {
				_, _ = c.Write([]byte("never sent"))
				how.crash()
			}).expectGone()
			var crash *reactor.PanicError
			require.ErrorAs(t, receive(t, w.ends), &crash)
			require.Equal(t, how.value, crash.Value)
		}
		bystander.send("untouched")
		bystander.expect("untouched")
	})
}

// Those that are due with one that crashes run.
func TestTimersSurviveACrash(t *testing.T) {
	t.Parallel()
	for _, how := range crashes {
		forEachNetwork(t, func(t *testing.T, tr transport) {
			s, w, clock := tr.timed(t, &hooks{}, nil)
			ran := make(chan int, 3)
			for i := range 3 {
				s.dial()
				do(t, receive(t, w.refs), func(c *reactor.Conn) {
					c.AfterFunc(time.Second, func(*reactor.Conn) {
						ran <- i
						if i == 1 {
							how.crash()
						}
					})
				})
			}
			clock.Advance(time.Second + time.Millisecond)
			for i := range 3 {
				require.Equal(t, i, receive(t, ran))
			}
		})
	}
}

// A timer ends with its connection: nothing runs after Close, nor can be started then.
func TestTimersEndWithTheirConn(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		ran := make(chan string, 10)
		note := func(*reactor.Conn) { ran <- "a function" }
		var early *reactor.Timer
		late := func(c *reactor.Conn, _ error) {
			if early.Stop() || early.Reset(0) || c.AfterFunc(0, note).Stop() {
				t.Error("started on an ended connection")
			}
		}
		h := &hooks{close: late}
		s, clock := tr.timedWith(t, func(c *reactor.Conn) (reactor.Handler, error) {
			early = c.AfterFunc(time.Second, note)
			for range 10 {
				c.AfterFunc(time.Minute, note)
			}
			ran <- "accepted"
			return h, nil
		}, nil)
		for name, end := range map[string]func(cl client){
			"the peer ends":   func(cl client) { require.NoError(t, cl.Close()) },
			"the peer resets": func(cl client) { cl.reset() },
		} {
			cl := s.dial()
			require.Equal(t, "accepted", receive(t, ran), name)
			var ref reactor.Ref
			for found := range s.Conns() {
				ref = found
			}
			end(cl)
			eventually(t, "the connection ends", func() bool { return descriptor(t, ref) < 0 })
			do1(t, ref, late)
			clock.Advance(time.Hour)
			require.Empty(t, ran, name)
		}
	})
}

// The timers of a connection that its accept func refuses never run.
func TestTimersOfARefusedConn(t *testing.T) {
	t.Parallel()
	s, clock := transport{"tcp", 1}.timedWith(t, func(c *reactor.Conn) (reactor.Handler, error) {
		c.AfterFunc(time.Second, func(*reactor.Conn) { t.Error("it runs") })
		return nil, io.EOF
	}, nil)
	s.dial().expectGone()
	clock.Advance(time.Hour)
}

// After Conn.Close a timer may still look after output that drains.
func TestTimerWhileDraining(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s, clock := tr.timedWith(t, w.narrowed, nil)
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		stall(t, ref, 100<<10)
		do(t, ref, func(c *reactor.Conn) {
			_ = c.Close()
			c.AfterFunc(5*time.Second, (*reactor.Conn).Abort)
		})
		clock.Advance(5*time.Second - 1)
		require.Empty(t, w.ends)
		clock.Advance(2 * time.Millisecond)
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrAborted)
		cl.expectReset()
	})
}

// Timers that are stopped leave nothing: neither memory nor wake-ups.
func TestStoppedTimersLeaveNothing(t *testing.T) {
	t.Parallel()
	_, ref, _, r := oneTimed(t, transport{"tcp", 1}, &hooks{})
	do(t, ref, func(c *reactor.Conn) {
		timer := c.AfterFunc(time.Hour, func(*reactor.Conn) { r.say("never") })
		for range 1000 {
			c.AfterFunc(time.Hour, func(*reactor.Conn) { r.say("never") }).Stop()
			timer.Reset(time.Hour)
		}
		require.Equal(t, 1, c.PendingTimers())
		timer.Stop()
		require.Zero(t, c.PendingTimers())
	})
	rings := r.clock.Rings()
	r.clock.Advance(24 * time.Hour)
	require.Empty(t, r.said)
	require.LessOrEqual(t, r.clock.Rings()-rings, 1)
}

// A client on a packet socket sends again until it is answered.
func TestPacketTimers(t *testing.T) {
	t.Parallel()
	var clock *reactor.Clock
	s := start(t, reactor.Options{Loops: 1}, func(r *reactor.Reactor) { clock = reactor.UseClock(r) })
	peer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = peer.Close() })
	require.NoError(t, peer.SetDeadline(time.Now().Add(patience)))
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()

	var retry *reactor.Timer
	sends, closed := 0, false
	began, answered := make(chan struct{}), make(chan struct{})
	lis := s.listenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		if d.From != to { // the word to begin
			retry = s.AfterFunc(0, func(s *reactor.PacketConn) {
				sends++
				if err := s.Send([]byte("request"), to, to); err != nil {
					t.Errorf("Send: %v", err)
				}
				retry.Reset(time.Second)
			})
			s.AfterFunc(time.Hour, func(*reactor.PacketConn) { panic("contained") })
			s.AfterFunc(time.Hour, func(*reactor.PacketConn) { runtime.Goexit() })
			s.AfterFunc(2*time.Hour, func(*reactor.PacketConn) { retry.Reset(0) })
			s.AfterFunc(3*time.Hour, func(*reactor.PacketConn) { closed = true })
			close(began)
			return
		}
		if !retry.Stop() {
			t.Error("not pending")
		}
		close(answered)
	}), nil)
	client := dialPacket(t, lis, "127.0.0.1")
	client.send("begin")
	receive(t, began)
	clock.Advance(3*time.Second + time.Millisecond)
	buf := make([]byte, 64)
	for range 4 {
		n, from, err := peer.ReadFromUDPAddrPort(buf)
		require.NoError(t, err)
		require.Equal(t, "request", string(buf[:n]))
		_ = from
	}
	_, err = peer.WriteToUDPAddrPort([]byte("answer"), lis.Addr().(*net.UDPAddr).AddrPort())
	require.NoError(t, err)
	receive(t, answered)
	clock.Advance(time.Hour)
	eventually(t, "both crashes are logged", func() bool {
		return s.Log.has("timer panicked") && s.Log.has("contained") && s.Log.has(reactor.ErrGoexit.Error())
	})
	clock.Settle()
	require.Equal(t, 4, sends)
	clock.Advance(time.Hour)
	clock.Settle() // what is due at once by a timer takes one turn more
	require.Greater(t, sends, 4, "those after the crash run")
	require.NoError(t, lis.Close())
	clock.Settle()
	before := sends
	require.NoError(t, s.AfterFunc(0, func(*reactor.Timer) { require.False(t, retry.Reset(0)) }))
	clock.Advance(10 * time.Hour)
	require.Equal(t, before, sends)
	require.False(t, closed, "a timer of a closed socket ran")
}

// A reactor's timer begins before Serve, may go on for ever, keeps no end waiting and ends with the reactor.
func TestReactorTimers(t *testing.T) {
	t.Parallel()
	var clock *reactor.Clock
	ticks := 0
	s := start(t, reactor.Options{Loops: 2}, func(r *reactor.Reactor) {
		clock = reactor.UseClock(r)
		require.NoError(t, r.AfterFunc(time.Second, func(timer *reactor.Timer) {
			ticks++
			timer.Reset(time.Second)
			if ticks == 2 {
				panic("contained")
			}
		}))
	})
	clock.Advance(5*time.Second + 5*time.Millisecond)
	require.Equal(t, 5, ticks)
	require.True(t, s.Log.has("contained"))
	require.NoError(t, s.Shutdown(t.Context()))
	require.ErrorIs(t, s.AfterFunc(0, func(*reactor.Timer) { t.Error("it runs") }), net.ErrClosed)
	require.EqualError(t, s.AfterFunc(0, nil), "reactor: AfterFunc without a function")
	require.Equal(t, 5, ticks)
}

// Test builds tell who stops a timer from elsewhere.
func TestTimersStayOnTheirLoop(t *testing.T) {
	t.Parallel()
	if !raceBuild {
		t.Skip("asserted with the race detector only")
	}
	_, ref, _, _ := oneTimed(t, transport{"tcp", 1}, &hooks{})
	var timer *reactor.Timer
	do(t, ref, func(c *reactor.Conn) { timer = c.AfterFunc(time.Hour, func(*reactor.Conn) {}) })
	require.Panics(t, func() { timer.Stop() })
	require.Panics(t, func() { timer.Reset(0) })
}

// The functions of real time come too.
func TestTimersOfTheRealClock(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{}, nil)
		s.dial()
		ref := receive(t, w.refs)
		for _, d := range []time.Duration{-1, 0, time.Microsecond, 20 * time.Millisecond} {
			lived := make(chan time.Duration, 1)
			began := time.Now()
			do(t, ref, func(c *reactor.Conn) {
				c.AfterFunc(d, func(*reactor.Conn) { lived <- time.Since(began) })
			})
			require.GreaterOrEqual(t, receive(t, lived), d)
		}
	})
}

// A session's timers are its own: they end with it.
func TestSessionTimers(t *testing.T) {
	t.Parallel()
	var clock *reactor.Clock
	s := start(t, reactor.Options{Loops: 1}, func(r *reactor.Reactor) { clock = reactor.UseClock(r) })
	refs := make(chan reactor.Ref, 1)
	h := reactor.Sessions(func(s *reactor.Session) (reactor.SessionHandler, error) {
		refs <- s.Ref()
		return silentSession{}, nil
	}, &reactor.SessionOptions{IdleTimeout: -1})
	cl := dialPacket(t, s.listenPacket("udp", "127.0.0.1:0", h, nil), "127.0.0.1")
	cl.send("begin")
	ref := receive(t, refs)
	do(t, ref, func(c *reactor.Conn) {
		c.AfterFunc(time.Second, func(c *reactor.Conn) { _, _ = c.Write([]byte("by a timer")) })
		c.AfterFunc(time.Minute, func(*reactor.Conn) { t.Error("it runs") })
	})
	clock.Advance(2 * time.Second)
	require.Equal(t, "by a timer", cl.receive())
	require.NoError(t, ref.Close())
	clock.Advance(time.Hour)
	do1(t, ref, func(c *reactor.Conn, err error) {
		require.ErrorIs(t, err, net.ErrClosed)
		require.Zero(t, c.PendingTimers())
		require.False(t, c.AfterFunc(0, func(*reactor.Conn) { t.Error("it runs") }).Stop())
	})
	clock.Settle()
}

type silentSession struct{}

func (silentSession) Datagram(*reactor.Session, *reactor.Datagram) {}
func (silentSession) Close(*reactor.Session, error)                {}
