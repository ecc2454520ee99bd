// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// The end of everything: what Shutdown finishes, what it waits for and what it aborts. TestMain looks for what is
// left behind.

// shutdown calls Shutdown with the test's patience on a goroutine of its own.
func (s *server) shutdown() <-chan error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	return done
}

// draining waits until Shutdown has begun.
func (s *server) draining() {
	s.t.Helper()
	eventually(s.t, "Shutdown begins", func() bool {
		_, err := s.Listen("tcp", "127.0.0.1:0", shared(&hooks{}), nil) // goes with the others
		return errors.Is(err, net.ErrClosed)
	})
}

// Nobody is connected: Shutdown and Serve return nil at once.
func TestShutdownOfAnIdleReactor(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(&hooks{}), nil)
		require.NoError(t, receive(t, s.shutdown()))
		err := receive(t, s.served)
		s.served <- err
		require.True(t, err == nil || errors.Is(err, net.ErrClosed), err) // the latter if Shutdown was faster than Serve
	})
}

// What waits in the backlog is accepted and served.
func TestShutdownServesTheBacklog(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const clients = 40
		s := tr.serve(t, shared(&hooks{}), nil)
		w := watch(t, reactor.DataFunc(echo))
		lis := s.listen(tr.network, tr.address(t), w.accept, nil)
		// The loop that accepts is kept busy while they come.
		release := blockLoop(t, s, 0, tr)
		var waiting []client
		for range clients {
			cl := dialTo(t, lis.Addr())
			cl.send("hello")
			waiting = append(waiting, cl)
		}
		done := s.shutdown()
		release()
		for _, cl := range waiting {
			require.Equal(t, "hello", cl.rest())
			_ = cl.Close()
		}
		require.NoError(t, receive(t, done))
		for range clients {
			require.NoError(t, receive(t, w.ends))
		}
	})
}

// blockLoop keeps the loop with that number busy until release is called.
func blockLoop(t testing.TB, s *server, index int, tr transport) (release func()) {
	t.Helper()
	refs := make(chan reactor.Ref, 100)
	lis := s.listen(tr.network, tr.address(t), func(c *reactor.Conn) (reactor.Handler, error) {
		refs <- c.Ref()
		return &hooks{}, nil
	}, nil)
	for range 100 {
		cl := dialTo(t, lis.Addr())
		ref := receive(t, refs)
		at := -1
		do(t, ref, func(c *reactor.Conn) { at = c.LoopIndex() })
		if at == index {
			release := block(t, ref)
			return func() { _ = cl.Close(); release() }
		}
	}
	require.FailNow(t, "the loop gets no connection")
	return nil
}

// Clients that connected before Serve are served by Shutdown alone.
func TestShutdownBeforeServe(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		r, err := reactor.New(reactor.Options{Loops: tr.loops})
		require.NoError(t, err)
		w := watch(t, reactor.DataFunc(echo))
		lis, err := r.Listen(tr.network, tr.address(t), w.accept, nil)
		require.NoError(t, err)
		var clients []client
		for range 10 {
			cl := dialTo(t, lis.Addr())
			cl.send("early")
			clients = append(clients, cl)
		}
		s := &server{t: t, Reactor: r, Listener: lis}
		done := s.shutdown()
		for _, cl := range clients {
			require.Equal(t, "early", cl.rest())
			_ = cl.Close()
			require.NoError(t, receive(t, w.ends))
		}
		require.NoError(t, receive(t, done))
		require.ErrorIs(t, r.Serve(context.Background()), net.ErrClosed)
		_, err = r.Listen(tr.network, tr.address(t), w.accept, nil)
		require.ErrorIs(t, err, net.ErrClosed)
		require.NoError(t, r.Shutdown(context.Background()))
		require.NoError(t, r.Close())
	})
}

// Close before Serve gives everything back; who waited is reset.
func TestCloseBeforeServe(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		r, err := reactor.New(reactor.Options{Loops: tr.loops})
		require.NoError(t, err)
		lis, err := r.Listen(tr.network, tr.address(t), shared(&hooks{}), nil)
		require.NoError(t, err)
		cl := dialTo(t, lis.Addr())
		require.NoError(t, r.Close())
		cl.expectReset()
		require.NoError(t, r.Close())
		require.ErrorIs(t, r.Serve(context.Background()), net.ErrClosed)
		_, err = net.Dial(lis.Addr().Network(), lis.Addr().String())
		require.Error(t, err)
	})
}

// An idle connection is read once more and what came is answered.
func TestShutdownReadsOnceMore(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, reactor.DataFunc(echo), nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		release := block(t, ref)
		cl.send("just in time")
		done := s.shutdown()
		s.draining()
		release()
		require.Equal(t, "just in time", cl.rest())
		require.NoError(t, receive(t, w.ends))
		_ = cl.Close()
		require.NoError(t, receive(t, done))
	})
}

// A connection in the middle of its input closes with ErrShutdown, after the answers to what was whole.
func TestShutdownInTheMiddleOfInput(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		whole := make(chan struct{}, 10)
		s, w := tr.watched(t, reactor.Frames(codec.Fixed(4), reactor.FrameFunc(func(c *reactor.Conn, p []byte) error {
			_, err := c.Write(p)
			whole <- struct{}{}
			return err
		})), nil)
		cl := s.dial()
		cl.send("wholeha")
		receive(t, whole)
		ref := receive(t, w.refs)
		do(t, ref, func(*reactor.Conn) {})
		done := s.shutdown()
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrShutdown)
		require.Equal(t, "whol", cl.rest())
		_ = cl.Close()
		require.NoError(t, receive(t, done))
	})
}

// Unsent output is delivered first, held connections are awaited, half-closed ones are closed by their handlers and
// paused ones resumed.
func TestShutdownWaitsForWhoIsBusy(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	tests := []struct {
		name   string
		make   func(t *testing.T, ref reactor.Ref, cl client) (finish func())
		answer int
		cause  error
	}{
		{"output unsent", func(t *testing.T, ref reactor.Ref, _ client) func() {
			do(t, ref, func(c *reactor.Conn) { _, _ = c.Write(pattern(size)) })
			return func() {}
		}, size, nil},
		{"held", func(t *testing.T, ref reactor.Ref, _ client) func() {
			var release func()
			do(t, ref, func(c *reactor.Conn) { release = c.Hold() })
			return func() {
				_, err := ref.Write(pattern(size))
				require.NoError(t, err)
				release()
			}
		}, size, nil},
		{"held after the peer's end", func(t *testing.T, ref reactor.Ref, cl client) func() {
			var release func()
			do(t, ref, func(c *reactor.Conn) { release = c.Hold() })
			require.NoError(t, cl.CloseWrite())
			eventually(t, "EOF", func() (ended bool) {
				do(t, ref, func(c *reactor.Conn) { ended = noted(&eofs, c) })
				return ended
			})
			return func() {
				_, err := ref.Write(pattern(size))
				require.NoError(t, err)
				release()
			}
		}, size, nil},
		{"half-closed", func(t *testing.T, ref reactor.Ref, cl client) func() {
			require.NoError(t, cl.CloseWrite())
			eventually(t, "EOF", func() (ended bool) {
				do(t, ref, func(c *reactor.Conn) { ended = noted(&eofs, c) })
				return ended
			})
			return func() {
				do(t, ref, func(c *reactor.Conn) {
					_, _ = c.Write(pattern(size))
					_ = c.Close()
				})
			}
		}, size, nil},
		{"paused in the middle", func(t *testing.T, ref reactor.Ref, cl client) func() {
			cl.send("pause")
			eventually(t, "paused", func() (paused bool) {
				do(t, ref, func(c *reactor.Conn) { paused = noted(&pauses, c) })
				return paused
			})
			return func() { do(t, ref, (*reactor.Conn).Resume) }
		}, 5, nil},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			s, w := tr.watched(t, &hooks{
				data: func(c *reactor.Conn, in []byte) (int, error) {
					if noted(&pauses, c) {
						return echo(c, in)
					}
					pauses.Store(c.Ref(), true)
					c.Pause()
					return 0, nil
				},
				eof: func(c *reactor.Conn, _ []byte) error { noteEOF(c); return nil },
			}, nil)
			cl := s.dial()
			ref := receive(t, w.refs)
			finish := test.make(t, ref, cl)
			done := s.shutdown()
			s.draining()
			do(t, ref, func(*reactor.Conn) {})
			require.Empty(t, w.ends, "%s: not awaited", test.name)
			require.Empty(t, done, "%s: not awaited", test.name)
			finish()
			if test.name == "held after the peer's end" {
				do1(t, ref, func(c *reactor.Conn, _ error) { _ = c.Close() })
			}
			if test.answer == 5 {
				require.Equal(t, "pause", cl.rest())
			} else {
				cl.expectStream(pattern(test.answer), test.name)
			}
			require.Equal(t, test.cause, receive(t, w.ends), test.name)
			_ = cl.Close()
			require.NoError(t, receive(t, done), test.name)
		}
	})
}

// What waits in the socket of a paused connection is served when it resumes, whatever stopped it; without anything there
// nobody has to resume it.
func TestShutdownServesThePaused(t *testing.T) {
	t.Parallel()
	stops := map[string]func(c *reactor.Conn) (resume func()){
		"Pause":   func(c *reactor.Conn) func() { c.Pause(); return c.Resume },
		"Suspend": (*reactor.Conn).Suspend,
	}
	tests := []struct {
		name   string
		comes  func(t *testing.T, cl client)
		answer string
		cause  error
	}{
		{"a request", func(_ *testing.T, cl client) { cl.send("hello") }, "hello", nil},
		{"the peer's end", func(t *testing.T, cl client) { require.NoError(t, cl.CloseWrite()) }, "", io.EOF},
		{"nothing", nil, "", nil},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for how, stop := range stops {
			for _, test := range tests {
				s, w := tr.watched(t, reactor.DataFunc(echo), nil)
				cl := s.dial()
				ref := receive(t, w.refs)
				var resume func()
				do(t, ref, func(c *reactor.Conn) { resume = stop(c) })
				if test.comes != nil {
					test.comes(t, cl)
				}
				done := s.shutdown()
				s.draining()
				if test.comes != nil {
					do(t, ref, func(*reactor.Conn) {})
					require.Empty(t, w.ends, "%s, %s: not awaited", how, test.name)
					do(t, ref, func(*reactor.Conn) { resume() })
				}
				require.Equal(t, test.answer, cl.rest(), "%s, %s", how, test.name)
				require.Equal(t, test.cause, receive(t, w.ends), "%s, %s", how, test.name)
				_ = cl.Close()
				require.NoError(t, receive(t, done))
			}
		}
	})
}

// A connection that resumes as Shutdown begins is read once more, after what it held was delivered.
func TestShutdownServesTheResumed(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
			if noted(&pauses, c) {
				return echo(c, in)
			}
			pauses.Store(c.Ref(), true)
			c.Pause()
			return 0, nil
		}}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		cl.send("one")
		eventually(t, "paused", func() (paused bool) {
			do(t, ref, func(c *reactor.Conn) { paused = noted(&pauses, c) })
			return paused
		})
		cl.send("two")
		release := block(t, ref)
		done := s.shutdown()
		s.draining()
		require.NoError(t, ref.Do(func(c *reactor.Conn, _ error) { c.Resume() }))
		release()
		require.Equal(t, "onetwo", cl.rest())
		require.NoError(t, receive(t, w.ends))
		_ = cl.Close()
		require.NoError(t, receive(t, done))
	})
}

// pauses remembers which connections have paused once.
var pauses sync.Map

// At the context's end the rest is aborted and counted: Close gets ErrShutdown, in an *UnsentError if output was left.
func TestShutdownAbortsAtTheEndOfItsPatience(t *testing.T) {
	t.Parallel()
	errPatience := errors.New("that is enough")
	forEachTransport(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s := tr.serve(t, w.narrowed, nil)
		const held, stalled = 5, 2
		var clients []client
		for i := range held + stalled {
			cl := s.dialNarrow()
			clients = append(clients, cl)
			ref := receive(t, w.refs)
			if i < held {
				do(t, ref, func(c *reactor.Conn) { c.Hold() })
			} else {
				do(t, ref, func(c *reactor.Conn) { _, _ = c.Write(pattern(4 << 20)) })
			}
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		done := make(chan error, 2)
		go func() { done <- s.Shutdown(ctx) }()
		go func() { done <- s.Shutdown(context.Background()) }()
		s.draining()
		require.Empty(t, w.ends)
		cancel(errPatience)
		errs := []error{receive(t, done), receive(t, done), receive(t, s.served)}
		s.served <- nil // for the end of the test
		for who, err := range errs {
			var aborted *reactor.AbortedError
			require.ErrorAs(t, err, &aborted, "%d", who)
			require.Equal(t, held+stalled, aborted.Conns)
			require.ErrorIs(t, err, errPatience, "%d", who)
		}
		require.Len(t, w.ends, held+stalled, "every Close was called when Shutdown returned")
		unsent := 0
		for range held + stalled {
			err := receive(t, w.ends)
			require.ErrorIs(t, err, reactor.ErrShutdown)
			var lost *reactor.UnsentError
			if errors.As(err, &lost) {
				unsent++
			}
		}
		require.Equal(t, stalled, unsent)
		for _, cl := range clients {
			cl.expectReset()
		}
	})
}

// Who waits for nothing closes in order even if there is no time at all.
func TestShutdownWithoutTime(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		w := watch(t, reactor.DataFunc(echo))
		s := tr.serve(t, w.accept, nil)
		var clients []client
		for range 20 {
			cl := s.dial()
			cl.send("hello")
			cl.expect("hello")
			clients = append(clients, cl)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.NoError(t, s.Shutdown(ctx))
		for _, cl := range clients {
			cl.expectEOF()
			require.NoError(t, receive(t, w.ends))
		}
	})
}

// Connections that only linger are not waited for beyond the context, and do not count as aborted.
func TestShutdownDoesNotCountLingering(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w, _ := tr.timed(t, sayAndClose(5), nil) // no time passes: the linger does not end by itself
		cl := s.dial()
		cl.send("x")
		require.NoError(t, receive(t, w.ends))
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		require.Equal(t, "\x00\x01\x02\x03\x04", cl.rest())
	})
}

// Every method that waits for loops says so on one, and does nothing.
func TestWaitingOnALoop(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, reactor.DataFunc(echo), nil)
		cl := s.dial()
		do(t, receive(t, w.refs), func(*reactor.Conn) {
			for what, err := range map[string]error{
				"Shutdown": s.Shutdown(context.Background()),
				"Close":    s.Close(),
				"Serve":    s.Serve(context.Background()),
			} {
				if !errors.Is(err, reactor.ErrOnLoop) {
					t.Errorf("%s on a loop: %v", what, err)
				}
			}
		})
		cl.send("still served")
		cl.expect("still served")
	})
}

// A loop that is stuck in a handler is named. When it comes back everything ends as it should have.
func TestShutdownNamesAStuckLoop(t *testing.T) {
	t.Parallel()
	forEachNetworkAtOnce(t, func(t *testing.T, tr transport) {
		tr.loops = 2
		s, w := tr.watched(t, &hooks{}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		at := -1
		do(t, ref, func(c *reactor.Conn) {
			at = c.LoopIndex()
			c.Hold() // or it would close in order, late
		})
		release := block(t, ref)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		err := s.Shutdown(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Contains(t, err.Error(), fmt.Sprintf("loop %d is stuck", at))
		require.Empty(t, w.ends)
		release()
		var aborted *reactor.AbortedError
		require.ErrorAs(t, s.Shutdown(context.Background()), &aborted)
		require.Equal(t, 1, aborted.Conns)
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrShutdown)
		cl.expectGone()
	})
}

// A loop that has much to do is not stuck: Shutdown returns when every Close has been called, however long they take.
func TestShutdownWaitsForASlowLoop(t *testing.T) {
	t.Parallel()
	const conns, each = 30, 100 * time.Millisecond // more than stuckAfter together
	tr := transport{"tcp", 1}
	w := watch(t, &hooks{close: func(*reactor.Conn, error) { time.Sleep(each) }})
	s := tr.serve(t, w.accept, nil)
	for range conns {
		s.dial()
		receive(t, w.refs)
	}
	var aborted *reactor.AbortedError
	require.NoError(t, s.Close())
	require.ErrorAs(t, receive(t, s.served), &aborted)
	s.served <- nil // for the end of the test
	require.Equal(t, conns, aborted.Conns)
	require.Len(t, w.ends, conns)
}

// Serve serves once, and its own context begins the drain, for as long as DrainTimeout.
func TestServe(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		r, err := reactor.New(reactor.Options{Loops: tr.loops, DrainTimeout: 50 * time.Millisecond})
		require.NoError(t, err)
		w := watch(t, reactor.DataFunc(echo))
		lis, err := r.Listen(tr.network, tr.address(t), w.accept, nil)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- r.Serve(ctx) }()
		cl := dialTo(t, lis.Addr())
		cl.send("hello")
		cl.expect("hello")
		require.ErrorIs(t, r.Serve(ctx), reactor.ErrServing)
		ref := receive(t, w.refs)
		do(t, ref, func(c *reactor.Conn) { c.Hold() })
		cancel()
		var aborted *reactor.AbortedError
		err = receive(t, served)
		require.ErrorAs(t, err, &aborted)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, r.Serve(context.Background()), net.ErrClosed)
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrShutdown)
		_, err = ref.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, ref.Do(func(*reactor.Conn, error) {}), net.ErrClosed)
	})
}

// Draining is told once to each connection, those that come out of the backlog included, and may write and hold.
func TestDrainingIsToldOnce(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const waiting = 6
		r, err := reactor.New(reactor.Options{Loops: tr.loops})
		require.NoError(t, err)
		var told atomic.Int32
		releases := make(chan func(), 100)
		w := watch(t, &hooks{draining: func(c *reactor.Conn) {
			told.Add(1)
			_, _ = c.Write([]byte("farewell"))
			releases <- c.Hold()
		}})
		lis, err := r.Listen(tr.network, tr.address(t), w.accept, nil)
		require.NoError(t, err)
		s := &server{t: t, Reactor: r, Listener: lis}
		var clients []client
		for range waiting {
			clients = append(clients, s.dial())
		}
		done := s.shutdown()
		var held []func()
		for range waiting {
			held = append(held, receive(t, releases))
		}
		for range waiting {
			do(t, receive(t, w.refs), func(*reactor.Conn) {})
		}
		require.EqualValues(t, waiting, told.Load())
		for _, release := range held {
			release()
		}
		for _, cl := range clients {
			require.Equal(t, "farewell", cl.rest())
			_ = cl.Close()
			require.NoError(t, receive(t, w.ends))
		}
		require.NoError(t, receive(t, done))
		require.EqualValues(t, waiting, told.Load())
	})
}

// A handler that ends its goroutine while Shutdown is telling does not keep the others from hearing.
func TestGoexitWhileDraining(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		const clients = 10
		ends := make(chan error, clients)
		s := tr.serve(t, shared(&hooks{
			draining: func(*reactor.Conn) { runtime.Goexit() },
			close:    func(_ *reactor.Conn, err error) { ends <- err },
		}), nil)
		for range clients {
			s.dial()
		}
		eventually(t, "all are accepted", func() bool {
			n := 0
			for range s.Conns() {
				n++
			}
			return n == clients
		})
		require.NoError(t, receive(t, s.shutdown()))
		for range clients {
			require.ErrorIs(t, receive(t, ends), reactor.ErrGoexit)
		}
	})
}

// Shutdown loses no wake-up: hundreds of reactors end at once, with their loops in every state of falling asleep.
func TestShutdownOverAndOver(t *testing.T) {
	t.Parallel()
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for round := range rounds {
		r, err := reactor.New(reactor.Options{Loops: 3})
		require.NoError(t, err)
		lis, err := r.Listen("tcp", "127.0.0.1:0", shared(&hooks{}), &reactor.StreamOptions{ReusePort: round%2 == 0})
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- r.Serve(context.Background()) }()
		if round%3 == 0 {
			_ = dialTo(t, lis.Addr()).Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		require.NoError(t, r.Shutdown(ctx), "round %d", round)
		cancel()
		if err := receive(t, served); err != nil {
			require.ErrorIs(t, err, net.ErrClosed)
		}
	}
}

// Connections that come while Shutdown begins are either served or told that nobody is there; none hangs and no end
// is forgotten.
func TestShutdownWhileClientsCome(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		for range 5 {
			var opened, closed atomic.Int32
			h := &hooks{data: echo, close: func(*reactor.Conn, error) { closed.Add(1) }}
			s := tr.serve(t, func(*reactor.Conn) (reactor.Handler, error) {
				opened.Add(1)
				return h, nil
			}, nil)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
					}
					conn, err := net.Dial(s.Listener.Addr().Network(), s.Listener.Addr().String())
					if err != nil {
						return
					}
					_ = conn.SetDeadline(time.Now().Add(patience))
					_, _ = conn.Write([]byte("x"))
					if got, err := io.ReadAll(io.LimitReader(conn, 1)); err != nil && !isGone(err) && !errors.Is(err, syscall.ENOTCONN) {
						t.Errorf("%d bytes, then %v", len(got), err)
					}
					_ = conn.Close()
				}
			}()
			eventually(t, "some were served", func() bool { return closed.Load() > 10 })
			require.NoError(t, receive(t, s.shutdown()))
			require.Equal(t, opened.Load(), closed.Load())
			close(stop)
			receive(t, stopped)
			require.False(t, strings.Contains(s.Log.String(), "panic"), s.Log.String())
		}
	})
}
