// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package reactor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What happens when there are no more descriptors, or no more places under MaxConns.

// inChild runs the calling test once more, alone in a process of its own, and says whether this is that process:
// what follows may then use up the process's descriptors.
func inChild(t *testing.T) bool {
	t.Helper()
	return inChildWith(t, nil)
}

// inChildWith is inChild with attributes for the process.
func inChildWith(t *testing.T, attributes *unix.SysProcAttr) bool {
	t.Helper()
	const marker = "QUARTET_CHILD"
	if os.Getenv(marker) == t.Name() {
		return true
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v", "-test.timeout=30s")
	child.Env = append(os.Environ(), marker+"="+t.Name())
	child.Stdout, child.Stderr = &out, &out
	child.SysProcAttr = attributes
	err := child.Run()
	if attributes != nil && child.Process == nil {
		t.Skip("no process like that: ", err)
	}
	if err != nil {
		t.Errorf("the child: %v\n%s", err, out.String())
	}
	return false
}

// A hoard is all descriptors that the process can have.
type hoard struct {
	t   *testing.T
	fds []int
}

// hoardDescriptors lowers the process's limit and takes all that are left.
func hoardDescriptors(t *testing.T) *hoard {
	t.Helper()
	var was unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(256, was.Max), Max: was.Max}))
	h := &hoard{t: t}
	h.takeAll()
	t.Cleanup(func() {
		h.free(len(h.fds))
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	})
	return h
}

// takeAll takes what is free.
func (h *hoard) takeAll() {
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			require.ErrorIs(h.t, err, unix.EMFILE)
			return
		}
		h.fds = append(h.fds, fd)
	}
}

// free gives n back.
func (h *hoard) free(n int) {
	for range n {
		last := len(h.fds) - 1
		_ = unix.Close(h.fds[last])
		h.fds = h.fds[:last]
	}
}

// dial connects with the last descriptor: the server has none to accept with.
func (h *hoard) dial(addr net.Addr) client {
	h.t.Helper()
	var conn net.Conn
	var err error
	for range 10 {
		h.free(1)
		// A socket that nobody accepts yet is connected all the same.
		if conn, err = net.Dial(addr.Network(), addr.String()); !errors.Is(err, unix.EMFILE) {
			break
		}
		// The server was faster, with one that waited before.
	}
	require.NoError(h.t, err)
	require.NoError(h.t, conn.SetDeadline(time.Now().Add(patience)))
	h.t.Cleanup(func() { _ = conn.Close() })
	return client{halfCloser: conn.(halfCloser), t: h.t}
}

// starve is dial, after which there is no descriptor for sure: the dialer may have used one more for a moment.
func (h *hoard) starve(addr net.Addr) client {
	h.t.Helper()
	cl := h.dial(addr)
	h.takeAll()
	return cl
}

// counted serves a reactor whose events are counted and which listens n times.
func counted(t *testing.T, network string, o reactor.Options, accept reactor.AcceptFunc, so *reactor.StreamOptions, n int, prepare ...func(*reactor.Reactor)) (*server, func() int64) {
	t.Helper()
	s := &server{t: t, Log: new(logBook), served: make(chan error, 1)}
	o.Logger = slog.New(slog.NewTextHandler(s.Log, nil))
	r, err := reactor.New(o)
	require.NoError(t, err)
	s.Reactor = r
	events := reactor.CountEvents(r)
	for _, p := range prepare {
		p(r)
	}
	for range n {
		s.Listener = s.listen(network, transport{network: network}.address(t), accept, so)
	}
	go func() { s.served <- r.Serve(context.Background()) }()
	t.Cleanup(func() {
		_ = r.Close()
		<-s.served
	})
	return s, events
}

// Out of descriptors: existing clients notice nothing, the loop neither spins nor dies, one line is logged, and who
// waits is accepted as soon as a connection closes.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	atOnce(t, []string{"tcp", "unix"}, func(t *testing.T, network string) {
		if !inChild(t) {
			return
		}
		w := watch(t, reactor.DataFunc(echo))
		var clock *reactor.Clock
		s, events := counted(t, network, reactor.Options{Loops: 2}, w.accept, nil, 1, func(r *reactor.Reactor) { clock = reactor.UseClock(r) })
		existing, leaving := s.dial(), s.dial()
		for _, cl := range []client{existing, leaving} {
			cl.send("hello")
			cl.expect("hello")
		}
		h := hoardDescriptors(t)
		waiting := h.starve(s.Listener.Addr())
		waiting.send("anyone?")
		eventually(t, "it is noticed", func() bool { return strings.Contains(s.Log.String(), "not accepting") })
		clock.Advance(time.Second)
		before := events()
		time.Sleep(time.Second) // the window
		require.LessOrEqual(t, events()-before, int64(maxWakeups))
		existing.send("still there?")
		existing.expect("still there?")
		require.Equal(t, 1, strings.Count(s.Log.String(), "not accepting"), s.Log.String())

		_ = leaving.Close()       // gives back its own descriptor and the server's
		waiting.expect("anyone?") // and no back-off has ended, for no time passes
		eventually(t, "the end of it is logged", func() bool { return strings.Contains(s.Log.String(), "accepting again") })

		// The next spell is logged again.
		clock.Advance(time.Minute)
		h.takeAll()
		h.starve(s.Listener.Addr())
		eventually(t, "the next spell is logged", func() bool { return strings.Count(s.Log.String(), "not accepting") == 2 })
	})
}

// Trouble that lasts is told once, however often it is met again at the end of a back-off.
func TestLongTroubleIsToldOnce(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		var clock *reactor.Clock
		accept, refs := accepted(&hooks{})
		s := tr.serveWith(t, reactor.Options{MaxConns: 1}, accept, nil, func(r *reactor.Reactor) { clock = reactor.UseClock(r) })
		s.dial()
		ref := receive(t, refs)
		s.dial()
		eventually(t, "it is noticed", func() bool { return s.Log.has("not accepting") })
		clock.Advance(10 * time.Second) // until the back-off is long
		for range 30 {
			release := block(t, ref) // so that the loop is late
			clock.Skip(300 * time.Millisecond)
			release()
			clock.Settle()
		}
		require.Equal(t, 1, strings.Count(s.Log.String(), "not accepting"), s.Log.String())
	})
}

// The sockets of one listener have their trouble together: it is told once.
func TestTroubleOfAListenerIsToldOnce(t *testing.T) {
	t.Parallel()
	s := transport{"tcp", 3}.serveWith(t, reactor.Options{MaxConns: 1}, shared(reactor.DataFunc(echo)), &reactor.StreamOptions{ReusePort: true}, timeless)
	existing := s.dial()
	existing.send("hello")
	existing.expect("hello")
	eventually(t, "all its sockets stop accepting", func() bool {
		s.dial() // to one of them, as the kernel likes
		return s.Listener.Stats().AtMaxConns == 3
	})
	require.Equal(t, 1, strings.Count(s.Log.String(), "not accepting"), s.Log.String())
}

// Several listening sockets that are out of descriptors together do not wake each other for ever.
func TestListenersOutOfDescriptorsTogether(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		listeners int
		opts      *reactor.StreamOptions
	}{
		"three":     {3, nil},
		"ReusePort": {1, &reactor.StreamOptions{ReusePort: true}},
	}
	atOnce(t, slices.Collect(maps.Keys(tests)), func(t *testing.T, name string) {
		test := tests[name]
		if !inChild(t) {
			return
		}
		var addrs []net.Addr
		s, events := counted(t, "tcp", reactor.Options{Loops: 3}, shared(reactor.DataFunc(echo)), test.opts, 1)
		addrs = append(addrs, s.Listener.Addr())
		for range test.listeners - 1 {
			addrs = append(addrs, s.listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(echo)), test.opts).Addr())
		}
		var existing []client
		for range 6 {
			existing = append(existing, s.dial())
			existing[len(existing)-1].send("hello")
			existing[len(existing)-1].expect("hello")
		}
		h := hoardDescriptors(t)
		var waiting []client
		for n := range 9 {
			waiting = append(waiting, h.starve(addrs[n%len(addrs)]))
		}
		time.Sleep(1200 * time.Millisecond) // until the back-off is long
		before := events()
		time.Sleep(time.Second) // the window
		require.LessOrEqual(t, events()-before, int64(3*maxWakeups))
		existing[0].send("still there?")
		existing[0].expect("still there?")
		h.free(20)
		for _, cl := range waiting {
			cl.send("hello")
			cl.expect("hello")
		}
	})
}

// Shutdown while there are no descriptors: who waits in the backlog is served as soon as a connection that drains has
// given one back. Where there is none, Shutdown does not wait for what may never come.
func TestShutdownOutOfDescriptors(t *testing.T) {
	t.Parallel()
	atOnce(t, []string{"tcp", "unix", "tcp, alone", "unix, alone"}, func(t *testing.T, name string) {
		if !inChild(t) {
			return
		}
		network, _, alone := strings.Cut(name, ",")
		releases := make(chan func(), 10)
		w := watch(t, &hooks{data: echo, draining: func(c *reactor.Conn) { releases <- c.Hold() }})
		s, _ := counted(t, network, reactor.Options{Loops: 2}, w.accept, nil, 1)
		var existing client
		if !alone {
			existing = s.dial()
			existing.send("hello")
			existing.expect("hello")
		}
		h := hoardDescriptors(t)
		waiting := h.starve(s.Listener.Addr())
		waiting.send("anyone?")
		eventually(t, "it is noticed", func() bool { return s.Log.has("not accepting") })
		done := s.shutdown()
		if alone {
			require.NoError(t, receive(t, done))
			waiting.expectReset()
			return
		}
		release := receive(t, releases)
		require.Empty(t, done)
		release()
		existing.expectEOF()
		_ = existing.Close()
		receive(t, releases)()
		require.Equal(t, "anyone?", waiting.rest())
		_ = waiting.Close()
		require.NoError(t, receive(t, done))
	})
}

// Lingering connections are the first to go: their descriptors are worth more to who waits.
func TestLingeringGoesWhenDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	atOnce(t, []string{"1", "3"}, func(t *testing.T, name string) {
		loops, _ := strconv.Atoi(name)
		if !inChild(t) {
			return
		}
		w := watch(t, reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			_, err := c.Write(in)
			if string(in) == "bye" {
				_ = c.Close()
			}
			return len(in), err
		}))
		s, _ := counted(t, "tcp", reactor.Options{Loops: loops}, w.accept, nil, 1, timeless) // no linger ends by itself
		var gone []client
		for range 2 * loops {
			cl := s.dial()
			cl.send("bye")
			require.Equal(t, "bye", cl.rest())
			require.NoError(t, receive(t, w.ends))
			gone = append(gone, cl)
		}
		h := hoardDescriptors(t)
		waiting := h.dial(s.Listener.Addr()) // not starve, which would take what the server gives back
		waiting.send("anyone?")
		waiting.expect("anyone?")
		for _, cl := range gone {
			_ = cl.Close()
		}
	})
}

// MaxConns: never more are open, the backlog holds the rest, and a connection that ends admits the next at once.
func TestMaxConns(t *testing.T) {
	t.Parallel()
	const limit, clients = 3, 12
	for _, reusePort := range []bool{false, true} {
		forEachTransport(t, func(t *testing.T, tr transport) {
			if reusePort && tr.network == "unix" {
				t.Skip("tcp only")
			}
			open, most := atomic.Int32{}, atomic.Int32{}
			w := watch(t, &hooks{data: echo, close: func(*reactor.Conn, error) { open.Add(-1) }})
			s := tr.serveWith(t, reactor.Options{MaxConns: limit}, func(c *reactor.Conn) (reactor.Handler, error) {
				n := open.Add(1)
				for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
				}
				return w.accept(c)
			}, &reactor.StreamOptions{ReusePort: reusePort}, timeless)
			served := make(chan client, clients)
			for range clients {
				cl := s.dial()
				go func() {
					if _, err := cl.Write([]byte("x")); err != nil {
						t.Errorf("Write: %v", err)
					}
					if _, err := io.ReadFull(cl, make([]byte, 1)); err != nil {
						t.Errorf("Read: %v", err)
					}
					served <- cl
				}()
			}
			for range clients {
				_ = receive(t, served).Close()
				receive(t, w.ends)
			}
			require.LessOrEqual(t, most.Load(), int32(limit))
			require.LessOrEqual(t, strings.Count(s.Log.String(), "not accepting"), clients)
		})
	}
}

// Who accepts again is told by the poller who comes, and sleeps until then.
func TestAcceptingAgainIsNotTrying(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		var clock *reactor.Clock
		s := start(t, reactor.Options{Loops: 1, MaxConns: 1}, func(r *reactor.Reactor) { clock = reactor.UseClock(r) })
		s.Listener = s.listen(tr.network, tr.address(t), shared(reactor.DataFunc(echo)), nil)
		for range 2 {
			first, second := s.dial(), s.dial()
			for _, cl := range []client{first, second} {
				cl.send("x")
				cl.expect("x")
				require.NoError(t, cl.CloseWrite())
				cl.expectEOF()
			}
		}
		eventually(t, "nobody is there", func() bool { return s.NumConns() == 0 })
		clock.Advance(time.Second) // the alarms of the stops
		rings := clock.Rings()
		clock.Advance(time.Minute)
		require.Equal(t, rings, clock.Rings())
		cl := s.dial()
		cl.send("x")
		cl.expect("x")
	})
}

// Connections that only linger take no place.
func TestLingeringTakesNoPlace(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serveWith(t, reactor.Options{MaxConns: 1}, shared(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			_, err := c.Write(in)
			_ = c.Close()
			return len(in), err
		})), nil, timeless) // no linger ends by itself
		for range 20 {
			cl := s.dial() // and stays
			cl.send("bye")
			require.Equal(t, "bye", cl.rest())
		}
	})
}

// No wake-up is lost under churn: two places, three loops, two hundred clients in turn from several goroutines. After a
// lost one all would wait for the end of a back-off, and no time passes.
func TestMaxConnsUnderChurn(t *testing.T) {
	t.Parallel()
	const clients, dialers = 200, 8
	for _, reusePort := range []bool{false, true} {
		s := transport{"tcp", 3}.serveWith(t, reactor.Options{MaxConns: 2}, shared(reactor.DataFunc(echo)), &reactor.StreamOptions{ReusePort: reusePort}, timeless)
		var all sync.WaitGroup
		for range dialers {
			all.Go(func() {
				for range clients / dialers {
					conn, err := net.Dial("tcp", s.Listener.Addr().String())
					if err != nil {
						t.Errorf("Dial: %v", err)
						return
					}
					_ = conn.SetDeadline(time.Now().Add(patience))
					_, _ = conn.Write([]byte("x"))
					if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
						t.Errorf("Read: %v", err)
					}
					_ = conn.Close()
				}
			})
		}
		all.Wait()
	}
}
