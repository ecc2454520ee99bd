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
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// A dialled is what a ConnectFunc was called with.
type dialled struct {
	ref reactor.Ref
	err error
}

// connected returns a ConnectFunc that gives its connection h and sends what it was called with to the channel, which
// holds many.
func connected(h reactor.Handler) (reactor.ConnectFunc, <-chan dialled) {
	calls := make(chan dialled, 4096)
	return func(c *reactor.Conn, err error) (reactor.Handler, error) {
		if err != nil {
			calls <- dialled{err: err}
			return nil, nil
		}
		calls <- dialled{ref: c.Ref()}
		return h, nil
	}, calls
}

// dialWith dials from s and returns what came of it.
func (s *server) dialWith(ctx context.Context, network, address string, o *reactor.DialOptions) dialled {
	s.t.Helper()
	fn, calls := connected(&hooks{})
	require.NoError(s.t, s.Dial(ctx, network, address, fn, o))
	return receive(s.t, calls)
}

// requireDialError checks that err is what package net would return.
func requireDialError(t *testing.T, err error, network, address string) {
	t.Helper()
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, "dial", op.Op)
	require.Equal(t, network, op.Net)
	require.Equal(t, address, op.Addr.String())
}

// fullListener returns the address of a listening socket that takes nobody more: on tcp who connects hears nothing.
func fullListener(t testing.TB, network string) (addr net.Addr, accept func() net.Conn) {
	t.Helper()
	lis, err := net.Listen(network, transport{network: network}.address(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	raw, err := lis.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { require.NoError(t, syscall.Listen(int(fd), 0)) }))
	dialTo(t, lis.Addr()) // a backlog of 0 holds one
	return lis.Addr(), func() net.Conn {
		conn, err := lis.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

// deadAddress returns one that refuses: somebody listened there, and for the length of the test nobody else can.
func deadAddress(t testing.TB, network string) string {
	t.Helper()
	if network == "unix" {
		lis, err := net.Listen(network, socketPath(t))
		require.NoError(t, err)
		lis.(*net.UnixListener).SetUnlinkOnClose(false)
		require.NoError(t, lis.Close())
		return lis.Addr().String()
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0) // bound and not listening
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	sa, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
}

// A reactor is its own client: what it dials is a connection like those it accepts.
func TestDial(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		w := watch(t, reactor.DataFunc(echo))
		s := tr.serve(t, w.accept, nil)
		got := make(chan string, 1)
		client := watch(t, reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			if len(in) < len("hello") {
				return 0, nil
			}
			got <- string(in)
			return len(in), c.Close()
		}))
		require.NoError(t, s.Dial(context.Background(), tr.network, s.Listener.Addr().String(), func(c *reactor.Conn, err error) (reactor.Handler, error) {
			require.NoError(t, err)
			_, err = c.Write([]byte("hello"))
			require.NoError(t, err)
			return client.accept(c)
		}, nil))
		there, here := receive(t, w.refs), receive(t, client.refs)
		require.Equal(t, reactor.FourTuple{Local: there.Tuple().Remote, Remote: there.Tuple().Local}, here.Tuple())
		found, ok := s.ByID(here.ID())
		require.True(t, !ok || found == here)
		require.NotEqual(t, there.ID(), here.ID())
		require.Equal(t, "hello", receive(t, got))
		require.NoError(t, receive(t, client.ends))
		require.ErrorIs(t, receive(t, w.ends), io.EOF)
	})
}

// A dialled connection is found like any other, and does not take a place under MaxConns.
func TestDialledIsFound(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(reactor.DataFunc(echo))
		s := tr.serveWith(t, reactor.Options{MaxConns: 2}, accept, nil)
		var here []reactor.Ref
		for range 2 {
			d := s.dialWith(t.Context(), tr.network, s.Listener.Addr().String(), nil)
			require.NoError(t, d.err)
			receive(t, refs)
			here = append(here, d.ref)
		}
		all := make(map[reactor.Ref]bool)
		for ref := range s.Conns() {
			all[ref] = true
		}
		require.Len(t, all, 4)
		for _, ref := range here {
			require.True(t, all[ref])
			found, ok := s.ByID(ref.ID())
			require.True(t, ok && found == ref)
			if tr.network == "tcp" {
				found, ok = s.Lookup(ref.Tuple())
				require.True(t, ok && found == ref)
			}
			require.NoError(t, ref.Close())
		}
		cl := s.dial() // both places come free again, and only those
		cl.send("x")
		cl.expect("x")
	})
}

// Nobody there, and the reasons for it.
func TestDialRefused(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := start(t, reactor.Options{Loops: tr.loops})
		address := deadAddress(t, tr.network)
		d := s.dialWith(t.Context(), tr.network, address, nil)
		requireDialError(t, d.err, tr.network, address)
		require.ErrorIs(t, d.err, syscall.ECONNREFUSED)

		_, err := net.Dial(tr.network, address)
		require.Equal(t, err.Error(), d.err.Error(), "package net says the same")
	})
	t.Run("no such path", func(t *testing.T) {
		s := start(t, reactor.Options{Loops: 1})
		d := s.dialWith(t.Context(), "unix", socketPath(t), nil)
		require.ErrorIs(t, d.err, os.ErrNotExist)
	})
}

// Where nobody answers, Timeout and the context's deadline are the end.
func TestDialTimeout(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		t.Parallel()
		addr, _ := fullListener(t, tr.network)
		s := start(t, reactor.Options{Loops: tr.loops})
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for name, dial := range map[string]func() dialled{
			"Timeout": func() dialled {
				return s.dialWith(t.Context(), tr.network, addr.String(), &reactor.DialOptions{Timeout: 50 * time.Millisecond})
			},
			"context": func() dialled { return s.dialWith(soon, tr.network, addr.String(), nil) },
			"context alone": func() dialled {
				return s.dialWith(soon, tr.network, addr.String(), &reactor.DialOptions{Timeout: -1})
			},
		} {
			began := time.Now()
			d := dial()
			requireDialError(t, d.err, tr.network, addr.String())
			require.ErrorIs(t, d.err, reactor.ErrDialTimeout, name)
			require.ErrorIs(t, d.err, os.ErrDeadlineExceeded, name)
			require.True(t, os.IsTimeout(d.err) && d.err.(net.Error).Timeout(), name)
			if name == "Timeout" {
				require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
			}
		}
	})
}

// A cancelled context ends a dial in each of its states, and nothing is left of it.
func TestDialCancelled(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		addr, _ := fullListener(t, tr.network)
		s := start(t, reactor.Options{Loops: 1})
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		d := s.dialWith(canceled, tr.network, addr.String(), nil)
		requireDialError(t, d.err, tr.network, addr.String())
		require.ErrorIs(t, d.err, context.Canceled)

		ctx, cancel := context.WithCancel(t.Context())
		fn, calls := connected(&hooks{})
		require.NoError(t, s.Dial(ctx, tr.network, addr.String(), fn, nil))
		s.dialWith(t.Context(), tr.network, deadAddress(t, tr.network), nil) // when this is over the first is under way
		require.Empty(t, calls)
		cancel()
		require.ErrorIs(t, receive(t, calls).err, context.Canceled)
		require.Zero(t, s.Connecting())
	})
}

// An event is a hint: it may be about a socket that had the number before.
func TestDialStaleEvent(t *testing.T) {
	addr, _ := fullListener(t, "tcp")
	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 1}.serve(t, accept, nil)
	cl := s.dial()
	ref := receive(t, refs)
	fn, calls := connected(&hooks{})
	require.NoError(t, s.Dial(t.Context(), "tcp", addr.String(), fn, nil))
	do(t, ref, func(c *reactor.Conn) {
		for range 3 {
			require.Equal(t, 1, c.PretendConnected())
		}
	})
	require.Empty(t, calls)
	cl.send("go on")
	cl.expect("go on")
}

// A full backlog of a unix socket is waited for.
func TestDialFullUnixBacklog(t *testing.T) {
	for _, loops := range []int{1, 3} {
		addr, accept := fullListener(t, "unix")
		s := start(t, reactor.Options{Loops: loops})
		fn, calls := connected(reactor.DataFunc(echo))
		require.NoError(t, s.Dial(t.Context(), "unix", addr.String(), fn, nil))
		require.NoError(t, s.Dial(t.Context(), "unix", addr.String(), fn, nil))
		s.dialWith(t.Context(), "unix", deadAddress(t, "unix"), nil)
		for range 3 {
			accept()
		}
		for range 2 {
			require.NoError(t, receive(t, calls).err)
		}
	}
}

// Dials that wait for room in a backlog look at the same moments, whenever they began: a loop wakes as rarely for many
// as for one.
func TestDialsWaitTogether(t *testing.T) {
	t.Parallel()
	addr, _ := fullListener(t, "unix")
	s, clock := transport{"unix", 1}.timedWith(t, shared(&hooks{}), nil)
	fn, _ := connected(&hooks{})
	for range 20 {
		require.NoError(t, s.Dial(t.Context(), "unix", addr.String(), fn, nil))
		clock.Advance(17 * time.Millisecond)
	}
	rings := clock.Rings()
	clock.Advance(10 * time.Second)
	require.Less(t, clock.Rings()-rings, 70)
}

// The end of the reactor is the end of its dials, and they do not hold it up.
func TestDialClosedWhileConnecting(t *testing.T) {
	ends := map[string]func(s *server) error{
		"Shutdown": func(s *server) error { return s.Shutdown(context.Background()) },
		"Close":    func(s *server) error { return s.Close() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, tr transport) {
				addr, _ := fullListener(t, tr.network)
				s := start(t, reactor.Options{Loops: tr.loops})
				fn, calls := connected(&hooks{})
				const dials = 10
				for range dials {
					require.NoError(t, s.Dial(t.Context(), tr.network, addr.String(), fn, nil))
				}
				require.NoError(t, end(s))
				require.Len(t, calls, dials, "all have been called")
				for range dials {
					d := receive(t, calls)
					requireDialError(t, d.err, tr.network, addr.String())
					require.ErrorIs(t, d.err, net.ErrClosed)
				}
				err := s.Dial(t.Context(), tr.network, addr.String(), fn, nil)
				requireDialError(t, err, tr.network, addr.String())
				require.ErrorIs(t, err, net.ErrClosed)
				require.Empty(t, calls)
			})
		})
	}
}

// What was dialled before Serve connects with it, or hears that there will be none.
func TestDialBeforeServe(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		target := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
		address := target.Listener.Addr().String()

		r, err := reactor.New(reactor.Options{Loops: tr.loops})
		require.NoError(t, err)
		fn, calls := connected(&hooks{})
		require.NoError(t, r.Dial(t.Context(), tr.network, address, fn, nil))
		require.Empty(t, calls)
		ctx, stop := context.WithCancel(t.Context())
		var served sync.WaitGroup
		served.Go(func() { _ = r.Serve(ctx) })
		require.NoError(t, receive(t, calls).err)
		stop()
		served.Wait()

		r, err = reactor.New(reactor.Options{Loops: tr.loops})
		require.NoError(t, err)
		full, _ := fullListener(t, tr.network)
		require.NoError(t, r.Dial(t.Context(), tr.network, full.String(), fn, nil))
		require.NoError(t, r.Shutdown(t.Context()))
		require.ErrorIs(t, receive(t, calls).err, net.ErrClosed)
	})
}

// A dial that connects in the very turn in which its reactor is closed is told so, once, like any other.
func TestDialWhileClosing(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		target, err := net.Listen(tr.network, tr.address(t))
		require.NoError(t, err)
		defer target.Close()
		for range 10 {
			w := watch(t, &hooks{})
			s := tr.serve(t, w.accept, nil)
			s.dial()
			ref := receive(t, w.refs)
			unblock := block(t, ref)
			fn, calls := connected(&hooks{})
			require.NoError(t, s.Dial(t.Context(), tr.network, target.Addr().String(), fn, nil))
			entered, until := make(chan struct{}), make(chan struct{})
			require.NoError(t, ref.Do(func(*reactor.Conn, error) {
				close(entered)
				<-until
			}))
			unblock()
			receive(t, entered) // the dial is under way, and what came of it not looked at
			var closed sync.WaitGroup
			closed.Go(func() { _ = s.Close() })
			other, _ := connected(&hooks{})
			eventually(t, "closing has begun", func() bool {
				return errors.Is(s.Dial(t.Context(), tr.network, target.Addr().String(), other, nil), net.ErrClosed)
			})
			time.Sleep(time.Millisecond) // the loop is told a moment later; should it be too late, less is tested
			close(until)
			receive(t, calls)
			closed.Wait()
			require.Empty(t, calls)
		}
	})
}

// A handler dials, on its own loop or any, also if there is only one, and may use both connections.
func TestDialFromHandler(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		behind := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
		address := behind.Listener.Addr().String()
		onLoop := make(chan bool, 1)
		s := tr.serve(t, func(front *reactor.Conn) (reactor.Handler, error) {
			front.Pause()
			var back *reactor.Conn
			err := front.Dial(t.Context(), tr.network, address, func(c *reactor.Conn, err error) (reactor.Handler, error) {
				if err != nil {
					front.Abort()
					return nil, err
				}
				back = c
				onLoop <- c.LoopIndex() == front.LoopIndex()
				front.Resume()
				return reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) { return echo(front, in) }), nil
			}, nil)
			return reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) { return echo(back, in) }), err
		}, nil)
		cl := s.dial()
		cl.send("there and back")
		cl.expect("there and back")
		require.True(t, receive(t, onLoop))

		ref, fn := firstConn(t, s), make(chan error, 1)
		do(t, ref, func(*reactor.Conn) {
			err := s.Dial(t.Context(), tr.network, address, func(_ *reactor.Conn, err error) (reactor.Handler, error) {
				fn <- err
				return &hooks{}, err
			}, nil)
			require.NoError(t, err)
		})
		require.NoError(t, receive(t, fn))
	})
}

// firstConn returns one of the reactor's connections.
func firstConn(t testing.TB, s *server) reactor.Ref {
	for ref := range s.Conns() {
		return ref
	}
	require.FailNow(t, "there is no connection")
	return reactor.Ref{}
}

// No more than MaxDials are in progress; who is refused may try again as soon as one has ended, in its ConnectFunc too.
func TestDialLimit(t *testing.T) {
	addr, _ := fullListener(t, "tcp")
	s := start(t, reactor.Options{Loops: 2, MaxDials: 2})
	ctx, cancel := context.WithCancel(t.Context())
	fn, calls := connected(&hooks{})
	again := make(chan error, 1)
	require.NoError(t, s.Dial(ctx, "tcp", addr.String(), func(*reactor.Conn, error) (reactor.Handler, error) {
		again <- s.Dial(t.Context(), "tcp", deadAddress(t, "tcp"), fn, nil)
		return nil, nil
	}, nil))
	other, cancelOther := context.WithCancel(t.Context())
	defer cancelOther()
	require.NoError(t, s.Dial(other, "tcp", addr.String(), fn, nil))
	err := s.Dial(ctx, "tcp", addr.String(), fn, nil)
	requireDialError(t, err, "tcp", addr.String())
	require.ErrorIs(t, err, reactor.ErrDialLimit)
	require.ErrorContains(t, err, "2 in progress")
	cancel()
	require.NoError(t, receive(t, again))
	require.ErrorIs(t, receive(t, calls).err, syscall.ECONNREFUSED)
}

// A mistake is told before anything is opened.
func TestDialMistakes(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	never := func(*reactor.Conn, error) (reactor.Handler, error) {
		t.Error("called, though Dial failed")
		return nil, nil
	}
	local := netip.MustParseAddrPort("127.0.0.1:0")
	for _, row := range []struct {
		network string
		fn      reactor.ConnectFunc
		opts    *reactor.DialOptions
		want    string
	}{
		{"udp", never, nil, "dial udp 127.0.0.1:1: unknown network udp"},
		{"", never, nil, "unknown network"},
		{"unixgram", never, nil, "unknown network unixgram"},
		{"tcp", nil, nil, "reactor: Dial without a connect func"},
		{"tcp", never, &reactor.DialOptions{Timeout: -2}, "reactor: Timeout is -2ns, must be positive, 0 for the default or -1 for none"},
		{"tcp", never, &reactor.DialOptions{FallbackDelay: -time.Second}, "reactor: FallbackDelay is -1s, must be positive"},
		{"unix", never, &reactor.DialOptions{Local: local}, "reactor: Local is 127.0.0.1:0, is for tcp only"},
		{"tcp", never, &reactor.DialOptions{Stream: &reactor.StreamOptions{HighWater: -1}}, "HighWater is -1 and LowWater 0"},
		{"unix", never, &reactor.DialOptions{Stream: &reactor.StreamOptions{UserTimeout: time.Second}}, "reactor: UserTimeout is for tcp"},
	} {
		require.ErrorContains(t, s.Dial(t.Context(), row.network, "127.0.0.1:1", row.fn, row.opts), row.want)
	}
	for _, row := range []struct{ network, address, want string }{
		{"tcp", "127.0.0.1", "dial tcp 127.0.0.1: address 127.0.0.1: missing port in address"},
		{"tcp", "127.0.0.1:70000", "invalid port"},
		{"tcp", "127.0.0.1:no-such-service", "unknown port"},
		{"tcp4", "[::1]:1", "no suitable address"},
		{"tcp6", "127.0.0.1:1", "no suitable address"},
		{"unix", "", "path of 0 bytes, must be 1 to "},
		{"unix", string(make([]byte, 200)), "path of 200 bytes, must be 1 to "},
	} {
		require.ErrorContains(t, s.dialWith(t.Context(), row.network, row.address, nil).err, row.want)
	}
	d := s.dialWith(t.Context(), "tcp", "[::1]:1", &reactor.DialOptions{Local: local})
	require.ErrorContains(t, d.err, "no suitable address")
}

// No host, and an unspecified one, is this host.
func TestDialThisHost(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), nil)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	for _, host := range []string{"", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"} {
		d := s.dialWith(t.Context(), "tcp", host+":"+port, nil)
		require.NoError(t, d.err, host)
		require.Equal(t, "127.0.0.1:"+port, d.ref.Tuple().Remote.String())
	}
}

// Local is where the connection comes from.
func TestDialLocal(t *testing.T) {
	accept, refs := accepted(&hooks{})
	s := transport{"tcp", 2}.serve(t, accept, nil)
	address := s.Listener.Addr().String()
	d := s.dialWith(t.Context(), "tcp", address, &reactor.DialOptions{Local: netip.MustParseAddrPort("127.1.2.3:0")})
	require.NoError(t, d.err)
	require.Equal(t, "127.1.2.3", receive(t, refs).Tuple().Remote.Addr().String())

	free := netip.MustParseAddrPort(deadAddress(t, "tcp")) // taken: by a socket that does not listen
	d = s.dialWith(t.Context(), "tcp", address, &reactor.DialOptions{Local: free})
	require.ErrorIs(t, d.err, syscall.EADDRINUSE)
	require.Equal(t, free.String(), d.err.(*net.OpError).Source.String())

	d = s.dialWith(t.Context(), "tcp", address, &reactor.DialOptions{Local: netip.MustParseAddrPort("192.0.2.1:0")})
	require.ErrorIs(t, d.err, syscall.EADDRNOTAVAIL)
}

// A thousand at once, each with an address of its own to come from, all find their way.
func TestDialThousand(t *testing.T) {
	for _, loops := range []int{1, 3} {
		w := watch(t, reactor.DataFunc(echo))
		s := transport{"tcp", loops}.serve(t, w.accept, nil)
		const dials = 1000
		var inside, left atomic.Int32
		left.Store(dials)
		done := make(chan struct{})
		for i := range dials {
			local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(1 + i/250), byte(1 + i%250)}), 0)
			sent := fmt.Sprintf("%4d", i)
			require.NoError(t, s.Dial(t.Context(), "tcp", s.Listener.Addr().String(), func(c *reactor.Conn, err error) (reactor.Handler, error) {
				if err != nil {
					t.Errorf("dial %d: %v", i, err)
					return nil, err
				}
				inside.Add(1)
				if c.Tuple().Local.Addr() != local.Addr() {
					t.Errorf("dial %d is %v", i, c.Tuple())
				}
				_, _ = c.Write([]byte(sent))
				return &hooks{
					data: func(c *reactor.Conn, in []byte) (int, error) {
						if len(in) < len(sent) {
							return 0, nil
						}
						if string(in) != sent {
							t.Errorf("dial %d got %q", i, in)
						}
						return len(in), c.Close()
					},
					close: func(*reactor.Conn, error) {
						if left.Add(-1) == 0 {
							close(done)
						}
					},
				}, nil
			}, &reactor.DialOptions{Local: local}))
		}
		receive(t, done)
		require.Equal(t, int32(dials), inside.Load())
	}
}

// A ConnectFunc that panics or ends the goroutine, on good news or bad, costs its connection at most.
func TestDialCrashes(t *testing.T) {
	crashes := map[string]func(){"panic": func() { panic("as a test") }, "Goexit": runtime.Goexit}
	for name, crash := range crashes {
		t.Run(name, func(t *testing.T) {
			forEachTransport(t, func(t *testing.T, tr transport) {
				s := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
				cl := s.dial()
				for _, address := range []string{s.Listener.Addr().String(), deadAddress(t, tr.network)} {
					var calls atomic.Int32
					for range 3 {
						require.NoError(t, s.Dial(t.Context(), tr.network, address, func(*reactor.Conn, error) (reactor.Handler, error) {
							calls.Add(1)
							crash()
							return nil, nil
						}, nil))
					}
					eventually(t, "all are called", func() bool { return calls.Load() == 3 })
					cl.send("still there?")
					cl.expect("still there?")
				}
				eventually(t, "both crashes are logged", func() bool { // on other loops, perhaps, than the one that answered
					return s.Log.has("connect func panicked") && s.Log.has("handler panicked")
				})
			})
		})
	}
}

// The options of the connection are those of the dial.
func TestDialStreamOptions(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(&hooks{}), nil)
		ends := make(chan error, 1)
		h := &hooks{close: func(_ *reactor.Conn, err error) { ends <- err }}
		require.NoError(t, s.Dial(t.Context(), tr.network, s.Listener.Addr().String(), func(*reactor.Conn, error) (reactor.Handler, error) {
			return h, nil
		}, &reactor.DialOptions{Stream: &reactor.StreamOptions{IdleTimeout: 50 * time.Millisecond}}))
		require.ErrorIs(t, receive(t, ends), reactor.ErrIdleTimeout)
	})
}
