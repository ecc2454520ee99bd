// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// What stops something, called where it may least be expected: in every callback, before Serve, during the drain and
// after the end, and several at a time.

// stops are the calls. Each returns what is wrong with the answer it got on a loop of s, where lis is the listener
// that led to the callback.
var stops = []struct {
	name string
	call func(s *server, lis *reactor.Listener) error
}{
	{"Shutdown", func(s *server, _ *reactor.Listener) error {
		return want(reactor.ErrOnLoop, s.Shutdown(context.Background()))
	}},
	{"Close", func(s *server, _ *reactor.Listener) error { return want(reactor.ErrOnLoop, s.Close()) }},
	{"Serve", func(s *server, _ *reactor.Listener) error {
		return want(reactor.ErrOnLoop, s.Serve(context.Background()))
	}},
	{"Listener.Close", func(_ *server, lis *reactor.Listener) error { return want(nil, errors.Join(lis.Close(), lis.Close())) }},
}

// want says that err is not the one wanted.
func want(wanted, err error) error {
	if !errors.Is(err, wanted) || wanted == nil && err != nil {
		return fmt.Errorf("answered %v instead of %v", err, wanted)
	}
	return nil
}

// streamCallbacks are where user code runs for a connection.
var streamCallbacks = []string{"accept", "Data", "Frame", "EOF", "Writable", "Draining", "Close", "Do", "Do on a closed connection"}

// Every stopping call in every callback of a stream answers clearly and disturbs neither the connection nor the loop:
// the client gets its answer and the reactor its end.
func TestStopInEveryStreamCallback(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, stop := range stops {
			for _, callback := range streamCallbacks {
				t.Run(stop.name+" in "+callback, func(t *testing.T) { testStopInStream(t, tr, stop.call, callback) })
			}
		}
	})
}

func testStopInStream(t *testing.T, tr transport, stop func(*server, *reactor.Listener) error, callback string) {
	s := start(t, reactor.Options{Loops: tr.loops})
	var lis *reactor.Listener
	known := make(chan struct{}) // lis is
	complaints := make(chan error, 100)
	at := func(where string) {
		if where == callback {
			<-known
			complaints <- stop(s, lis)
		}
	}
	answer := func(c *reactor.Conn) {
		for callback == "Writable" && !c.Blocked() {
			_, _ = c.Write(morePattern())
		}
		_, _ = c.Write([]byte("answer"))
	}
	h := &hooks{
		data: func(c *reactor.Conn, in []byte) (int, error) {
			at("Data")
			answer(c)
			return len(in), nil
		},
		eof:      func(*reactor.Conn, []byte) error { at("EOF"); return io.EOF },
		writable: func(*reactor.Conn) { at("Writable") },
		draining: func(*reactor.Conn) { at("Draining") },
		close: func(c *reactor.Conn, _ error) {
			at("Close")
			if callback == "Do on a closed connection" {
				_ = c.Ref().Do(func(*reactor.Conn, error) { at(callback) })
			}
		},
	}
	var handler reactor.Handler = h
	if callback == "Frame" {
		handler = reactor.Frames(codec.Fixed(1), &frameHooks{hooks: *h, frame: func(c *reactor.Conn, _ []byte) error {
			at("Frame")
			answer(c)
			return nil
		}})
	}
	w := watch(t, handler)
	lis = s.listen(tr.network, tr.address(t), func(c *reactor.Conn) (reactor.Handler, error) {
		at("accept")
		return w.accept(c)
	}, nil)
	close(known)
	cl := dialTo(t, lis.Addr())
	ref := receive(t, w.refs)
	if callback == "Do" {
		do(t, ref, func(*reactor.Conn) { at("Do") })
	}
	cl.send("x")
	if callback == "Draining" {
		cl.expect("answer")
		s.shutdown()
	} else {
		require.NoError(t, cl.CloseWrite())
	}
	_, err := io.Copy(io.Discard, cl)
	require.NoError(t, err)
	_ = cl.Close()
	require.NoError(t, receive(t, complaints))
	if err := receive(t, w.ends); err != nil {
		require.Equal(t, io.EOF, err)
	}
	require.NoError(t, receive(t, s.shutdown()))
	require.Empty(t, complaints)
	require.NotContains(t, s.Log.String(), "panicked")
}

// The same in a ConnectFunc, with a connection and without.
func TestStopInAConnectFunc(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, stop := range stops {
			s := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
			gone := s.listen(tr.network, tr.address(t), shared(&hooks{}), nil)
			require.NoError(t, gone.Close())
			for _, to := range []*reactor.Listener{s.Listener, gone} {
				complaints := make(chan error, 2)
				require.NoError(t, s.Dial(t.Context(), tr.network, to.Addr().String(), func(*reactor.Conn, error) (reactor.Handler, error) {
					complaints <- stop.call(s, s.Listener)
					return &hooks{}, nil
				}, nil))
				require.NoError(t, receive(t, complaints), stop.name)
			}
			require.NoError(t, receive(t, s.shutdown()))
			require.NotContains(t, s.Log.String(), "panicked")
		}
	})
}

// The same for datagrams.
func TestStopInEveryPacketCallback(t *testing.T) {
	t.Parallel()
	for _, loops := range []int{1, 3} {
		for _, stop := range stops {
			for _, callback := range []string{"Datagram", "SendError", "Datagram while draining"} {
				t.Run(fmt.Sprintf("loops=%d/%s in %s", loops, stop.name, callback), func(t *testing.T) {
					s := start(t, reactor.Options{Loops: loops})
					var lis *reactor.Listener
					known, held, free := make(chan struct{}), make(chan struct{}), make(chan struct{})
					complaints := make(chan error, 100)
					lis = s.listenPacket("udp", "127.0.0.1:0", &packetHooks{
						PacketFunc: func(s2 *reactor.PacketConn, d *reactor.Datagram) {
							<-known
							switch {
							case string(d.Payload) == "hold":
								close(held)
								<-free
							case callback == "SendError":
								_ = s2.Send(nil, netip.AddrPort{}, netip.MustParseAddrPort("127.0.0.1:0"))
							default:
								complaints <- stop.call(s, lis)
							}
							_ = d.Reply(d.Payload)
						},
						sendError: func(*reactor.PacketConn, netip.AddrPort, error) { complaints <- stop.call(s, lis) },
					}, nil)
					close(known)
					cl := dialPacket(t, lis, "127.0.0.1")
					var done <-chan error
					if callback == "Datagram while draining" {
						cl.send("hold")
						receive(t, held)
						cl.send("x")
						done = s.shutdown()
						s.draining()
						close(free)
						require.Equal(t, "hold", cl.receive())
						require.Equal(t, "x", cl.receive())
					} else {
						cl.exchange("x", "x")
						done = s.shutdown()
					}
					require.NoError(t, receive(t, complaints))
					require.NoError(t, receive(t, done))
					require.Empty(t, complaints)
					require.NotContains(t, s.Log.String(), "panicked")
				})
			}
		}
	}
}

// In whatever state the reactor is, the calls that begin and stop something answer as documented, and leave nothing.
func TestCallsInEveryState(t *testing.T) {
	t.Parallel()
	closed, serving, none := net.ErrClosed, reactor.ErrServing, error(nil)
	states := []struct {
		name  string
		enter func(t *testing.T, s *server)
		serve error // what Serve answers
		open  error // what Listen and ListenPacket answer
	}{
		{"serving", func(*testing.T, *server) {}, serving, none},
		{"draining", func(t *testing.T, s *server) { s.shutdown(); s.draining() }, closed, closed},
		{"after Shutdown", func(t *testing.T, s *server) { receive(t, s.shutdown()) }, closed, closed},
		{"after Close", func(t *testing.T, s *server) { require.NoError(t, s.Close()) }, closed, closed},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, state := range states {
			t.Run(state.name, func(t *testing.T) {
				releases := make(chan func(), 1)
				s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
					releases <- c.Hold() // or the drain would be over
					return &hooks{}, nil
				}, nil)
				cl := s.dial()
				release := receive(t, releases)
				_ = cl.Close()
				if state.name == "after Shutdown" {
					release()
				}
				state.enter(t, s)
				require.Equal(t, state.serve, s.Serve(context.Background()))
				address := tr.address(t)
				lis, err := s.Listen(tr.network, address, shared(&hooks{}), nil)
				require.ErrorIs(t, err, state.open)
				if state.open != nil {
					requireListenError(t, err, tr.network, address)
				} else {
					require.NoError(t, lis.Close())
				}
				lis, err = s.ListenPacket("udp", "127.0.0.1:0", packetEcho, nil)
				require.ErrorIs(t, err, state.open)
				if state.open != nil {
					requireListenError(t, err, "udp", "127.0.0.1:0")
				} else {
					require.NoError(t, lis.Close())
				}
				release()
				require.NoError(t, s.Listener.Close())
				err = receive(t, s.shutdown())
				if state.name == "after Close" {
					require.ErrorIs(t, err, net.ErrClosed)
				} else {
					require.NoError(t, err)
				}
			})
		}
	})
}

// canceled returns a context that is done.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Serve with a context that is done already serves who waits, and drains.
func TestServeWithADoneContext(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		r, err := reactor.New(reactor.Options{Loops: tr.loops})
		require.NoError(t, err)
		w := watch(t, reactor.DataFunc(echo))
		lis, err := r.Listen(tr.network, tr.address(t), w.accept, nil)
		require.NoError(t, err)
		cl := dialTo(t, lis.Addr())
		cl.send("early")
		served := make(chan error, 1)
		go func() { served <- r.Serve(canceled()) }()
		require.Equal(t, "early", cl.rest())
		_ = cl.Close()
		require.NoError(t, receive(t, w.ends))
		require.NoError(t, receive(t, served))
		require.Equal(t, net.ErrClosed, r.Serve(context.Background()))
	})
}

// MaxConns are open and others wait in the backlog when Shutdown begins: they get the places of those who end, and are
// served.
func TestShutdownServesTheBacklogBehindMaxConns(t *testing.T) {
	t.Parallel()
	for _, reusePort := range []bool{false, true} {
		forEachTransport(t, func(t *testing.T, tr transport) {
			if reusePort && tr.network == "unix" {
				t.Skip("tcp only")
			}
			const places, clients = 2, 20
			var open, held atomic.Int32
			releases := make(chan func(), places)
			answered := make(chan struct{}, clients)
			w := watch(t, &hooks{
				data:  func(c *reactor.Conn, in []byte) (int, error) { answered <- struct{}{}; return echo(c, in) },
				close: func(*reactor.Conn, error) { open.Add(-1) },
			})
			s := tr.serveWith(t, reactor.Options{MaxConns: places}, func(c *reactor.Conn) (reactor.Handler, error) {
				if n := open.Add(1); n > places {
					t.Errorf("%d are open", n)
				}
				if held.Add(1) <= places {
					releases <- c.Hold()
				}
				return w.accept(c)
			}, &reactor.StreamOptions{ReusePort: reusePort})
			var all []client
			for range clients {
				cl := s.dial()
				cl.send("hello")
				all = append(all, cl)
			}
			var ends []func()
			for range places {
				ends = append(ends, receive(t, releases))
				receive(t, answered)
			}
			done := s.shutdown()
			s.draining()
			require.Empty(t, done)
			for _, release := range ends {
				release()
			}
			for _, cl := range all {
				require.Equal(t, "hello", cl.rest())
				_ = cl.Close()
				require.NoError(t, receive(t, w.ends))
			}
			require.NoError(t, receive(t, done))
		})
	}
}

// AcceptRate lets in at its own pace who waits when Shutdown begins; none is left out.
func TestShutdownServesTheBacklogBehindAcceptRate(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const clients = 20
		r, err := reactor.New(reactor.Options{Loops: tr.loops, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		w := watch(t, reactor.DataFunc(echo))
		lis, err := r.Listen(tr.network, tr.address(t), w.accept, &reactor.StreamOptions{AcceptRate: 100, AcceptBurst: 5})
		require.NoError(t, err)
		var all []client
		for range clients {
			cl := dialTo(t, lis.Addr())
			cl.send("hello")
			all = append(all, cl)
		}
		s := &server{t: t, Reactor: r, Listener: lis}
		done := s.shutdown()
		for _, cl := range all {
			require.Equal(t, "hello", cl.rest())
			_ = cl.Close()
			require.NoError(t, receive(t, w.ends))
		}
		require.NoError(t, receive(t, done))
	})
}

// An accept func that ends its goroutine during the drain costs its own connection, not those behind it.
func TestGoexitInAcceptWhileDraining(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		const clients = 20
		r, err := reactor.New(reactor.Options{Loops: tr.loops, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		var n atomic.Int32
		lis, err := r.Listen(tr.network, tr.address(t), func(*reactor.Conn) (reactor.Handler, error) {
			if n.Add(1)%2 == 1 {
				runtime.Goexit()
			}
			return reactor.DataFunc(echo), nil
		}, nil)
		require.NoError(t, err)
		var all []client
		for range clients {
			cl := dialTo(t, lis.Addr())
			cl.send("hello")
			all = append(all, cl)
		}
		s := &server{t: t, Reactor: r, Listener: lis}
		done := s.shutdown()
		served := 0
		for _, cl := range all {
			if got, err := io.ReadAll(cl); err == nil && string(got) == "hello" {
				served++
			}
			_ = cl.Close()
		}
		require.NoError(t, receive(t, done))
		require.Equal(t, clients/2, served)
	})
}

// Listen in one goroutine and the end in another: each listener is either refused or closed by the end, and its
// address is free. Nobody who could connect hangs.
func TestListenWhileStopping(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		for round := range 15 {
			r, err := reactor.New(reactor.Options{Loops: tr.loops})
			require.NoError(t, err)
			s := &server{t: t, Reactor: r}
			served := make(chan error, 1)
			if round%3 != 0 {
				go func() { served <- r.Serve(context.Background()) }()
			}
			var wg sync.WaitGroup
			begun := make(chan struct{}, 3)
			for who := range 3 {
				address := tr.address(t)
				wg.Go(func() {
					for n := 0; ; n++ {
						if n == 3 {
							begun <- struct{}{}
						}
						var lis *reactor.Listener
						var err error
						if who == 0 {
							lis, err = r.ListenPacket("udp", "127.0.0.1:0", packetEcho, nil)
						} else {
							lis, err = r.Listen(tr.network, address, shared(reactor.DataFunc(echo)), nil)
						}
						if err != nil {
							if !errors.Is(err, net.ErrClosed) {
								t.Error(err)
							}
							return
						}
						if who == 2 {
							if conn, err := dialPlain(lis.Addr()); err == nil {
								_ = conn.SetDeadline(time.Now().Add(patience))
								_, _ = conn.Write([]byte("x"))
								if _, err := conn.Read(make([]byte, 1)); err != nil && !isGone(err) && !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, io.EOF) {
									t.Error(err)
								}
								_ = conn.Close()
							}
						}
						_ = lis.Close()
					}
				})
			}
			for who := range 3 {
				if who < 2 || round%3 != 0 { // nobody is answered before Serve
					receive(t, begun)
				}
			}
			if round%2 == 0 {
				require.NoError(t, receive(t, s.shutdown()))
			} else {
				require.NoError(t, r.Close())
			}
			wg.Wait()
			if round%3 != 0 {
				if err := receive(t, served); err != nil && !errors.Is(err, net.ErrClosed) {
					require.NoError(t, err)
				}
			}
		}
	})
}

// Several Shutdowns, and Close among them, end together with the same outcome, the first cause there was.
func TestStopsTogether(t *testing.T) {
	t.Parallel()
	errEnough := errors.New("enough")
	tests := []struct {
		name string
		stop func(s *server, cancel context.CancelCauseFunc)
		want error
	}{
		{"the shorter patience", func(_ *server, cancel context.CancelCauseFunc) { cancel(errEnough) }, errEnough},
		{"a third with none", func(s *server, _ context.CancelCauseFunc) { _ = s.Shutdown(canceled()) }, context.Canceled},
		{"Close", func(s *server, _ context.CancelCauseFunc) {
			if err := s.Close(); err != nil {
				s.t.Errorf("Close: %v", err)
			}
		}, net.ErrClosed},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			s, w := tr.watched(t, &hooks{}, nil)
			s.dial()
			do(t, receive(t, w.refs), func(c *reactor.Conn) { c.Hold() })
			short, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			done := make(chan error, 2)
			go func() { done <- s.Shutdown(context.Background()) }()
			go func() { done <- s.Shutdown(short) }()
			s.draining()
			require.Empty(t, done, test.name)
			test.stop(s, cancel)
			for range 2 {
				err := receive(t, done)
				var aborted *reactor.AbortedError
				require.ErrorAs(t, err, &aborted, test.name)
				require.Equal(t, 1, aborted.Conns)
				require.ErrorIs(t, err, test.want, test.name)
			}
			require.ErrorIs(t, receive(t, w.ends), reactor.ErrShutdown)
		}
	})
}

// A half-closed connection is awaited until its handler has closed it, with what it still had to say.
func TestShutdownOfTheHalfClosed(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		ended := make(chan reactor.Ref, 1)
		s, w := tr.watched(t, &hooks{eof: func(c *reactor.Conn, _ []byte) error {
			ended <- c.Ref()
			return nil
		}}, nil)
		cl := s.dial()
		require.NoError(t, cl.CloseWrite())
		ref := receive(t, ended)
		done := s.shutdown()
		s.draining()
		do(t, ref, func(*reactor.Conn) {})
		require.Empty(t, done)
		_, err := ref.Write([]byte("last words"))
		require.NoError(t, err)
		require.NoError(t, ref.Close())
		require.Equal(t, "last words", cl.rest())
		require.NoError(t, receive(t, w.ends))
		require.NoError(t, receive(t, done))
	})
}
