// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The life of a connection: each arrow of the drawing in life.go, over tcp and unix. linger_test.go goes on from
// DRAINING, timeout_test.go has the deadlines and shutdown_test.go the end of everything.

// A witness stands between the reactor and a handler. It gives each connection a handler of its own that passes the
// calls on and fails the test where the contract of Handler is broken: a call inside another, a second EOF, Data
// after EOF or anything after Close.
type witness struct {
	t    testing.TB
	h    reactor.Handler
	refs chan reactor.Ref // of each connection
	ends chan error       // what each Close got
}

func (w *witness) accept(c *reactor.Conn) (reactor.Handler, error) {
	w.refs <- c.Ref()
	return &witnessed{witness: w}, nil
}

type witnessed struct {
	*witness
	inside, eof, closed bool
}

func (w *witnessed) enter(call string) (leave func()) {
	if w.inside || w.closed {
		w.t.Errorf("%s called inside another call (%t) or after Close (%t)", call, w.inside, w.closed)
	}
	w.inside = true
	return func() { w.inside = false }
}

func (w *witnessed) Data(c *reactor.Conn, in []byte) (int, error) {
	defer w.enter("Data")()
	if w.eof {
		w.t.Errorf("Data called after EOF")
	}
	if len(in) == 0 {
		w.t.Errorf("Data called with nothing")
	}
	return w.h.Data(c, in)
}

func (w *witnessed) EOF(c *reactor.Conn, rest []byte) error {
	defer w.enter("EOF")()
	if w.eof {
		w.t.Errorf("EOF called twice")
	}
	w.eof = true
	return w.h.EOF(c, rest)
}

func (w *witnessed) Writable(c *reactor.Conn) {
	defer w.enter("Writable")()
	w.h.Writable(c)
}

func (w *witnessed) Draining(c *reactor.Conn) {
	defer w.enter("Draining")()
	if d, ok := w.h.(reactor.Drainer); ok {
		d.Draining(c)
	}
}

func (w *witnessed) Close(c *reactor.Conn, err error) {
	defer w.enter("Close")()
	w.closed = true
	defer func() { w.ends <- err }()
	w.h.Close(c, err)
}

// watch returns a witness of h.
func watch(t testing.TB, h reactor.Handler) *witness {
	return &witness{t, h, make(chan reactor.Ref, 4096), make(chan error, 4096)}
}

// watched serves h under a witness.
func (tr transport) watched(t testing.TB, h reactor.Handler, o *reactor.StreamOptions) (*server, *witness) {
	t.Helper()
	w := watch(t, h)
	return tr.serve(t, w.accept, o), w
}

// forEachNetworkAtOnce is forEachNetwork for bodies that mostly wait: they run at the same time, whatever -parallel
// says.
func forEachNetworkAtOnce(t *testing.T, body func(t *testing.T, tr transport)) {
	t.Helper()
	atOnce(t, []string{"tcp", "unix"}, func(t *testing.T, network string) { body(t, transport{network, 1}) })
}

// atOnce runs body as a subtest for each name, all at the same time.
func atOnce(t *testing.T, names []string, body func(t *testing.T, name string)) {
	t.Helper()
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() { t.Run(name, func(t *testing.T) { body(t, name) }) })
	}
	all.Wait()
}

// dialNarrow is dial for a client whose kernel takes little while it does not read, and does not take ever more.
func (s *server) dialNarrow() client {
	s.t.Helper()
	cl := s.dial()
	require.NoError(s.t, cl.SetReadBuffer(64<<10))
	return cl
}

// narrow is an AcceptFunc's first line where a test wants output to wait: the kernel takes little of it.
func narrow(c *reactor.Conn) {
	_ = unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 32<<10)
}

// narrowed makes the connections of a witness narrow.
func (w *witness) narrowed(c *reactor.Conn) (reactor.Handler, error) {
	narrow(c)
	return w.accept(c)
}

// stall has the connection write until n bytes or a few more wait here, which the kernel does not take from a peer
// that must not read. It returns how many were written in all.
func stall(t testing.TB, ref reactor.Ref, n int) (written int) {
	t.Helper()
	for unsent := 0; unsent < n; {
		do(t, ref, func(c *reactor.Conn) {
			k, err := c.Write(pattern(max(n-c.Unsent(), 64)))
			written += k
			if err != nil {
				t.Errorf("Write: %v", err)
			}
		})
		do(t, ref, func(c *reactor.Conn) { unsent = c.Unsent() })
		if unsent >= n {
			unsent = settled(t, ref)
		}
	}
	return written
}

// settled waits until the kernel has taken no more output for a while.
func settled(t testing.TB, ref reactor.Ref) (unsent int) {
	t.Helper()
	last, same := -1, 0
	eventually(t, "output settles", func() bool {
		do(t, ref, func(c *reactor.Conn) { unsent = c.Unsent() })
		if same++; unsent != last {
			last, same = unsent, 0
		}
		return same > 50 // a millisecond each, and longer where the machine, so the kernel too, is slow
	})
	return unsent
}

// errGone are the errors that a socket has whose peer went away.
var errGone = []error{syscall.ECONNRESET, syscall.EPIPE}

func isGone(err error) bool {
	return errors.Is(err, errGone[0]) || errors.Is(err, errGone[1])
}

// OPEN --peer FIN--> data delivered -> EOF(c, rest) -> Close with the default handler's cause.
func TestPeerEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, sent string
		consume    int // of each delivery
		rest       string
		cause      error
	}{
		{"at once", "", 0, "", io.EOF},
		{"all consumed", "request", 7, "", io.EOF},
		{"nothing consumed", "request", 0, "request", io.ErrUnexpectedEOF},
		{"half consumed", "request", 3, "uest", io.ErrUnexpectedEOF},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				var seen []byte
				rests := make(chan string, 1)
				s, w := tr.watched(t, &hooks{
					data: func(_ *reactor.Conn, in []byte) (int, error) {
						if len(in) < len(test.sent) {
							return 0, nil // cut by the network
						}
						seen = append(seen, in[:test.consume]...)
						return test.consume, nil
					},
					eof: func(c *reactor.Conn, rest []byte) error {
						rests <- string(rest)
						return reactor.Base{}.EOF(c, rest)
					},
				}, nil)
				cl := s.dial()
				cl.send(test.sent)
				require.NoError(t, cl.CloseWrite())
				require.Equal(t, test.rest, receive(t, rests))
				require.ErrorIs(t, receive(t, w.ends), test.cause)
				require.Equal(t, test.sent[:test.consume], string(seen))
				cl.expectEOF()
			})
		}
	})
}

// EOF that returns nil keeps the connection open for writing, until Close or CloseWrite.
func TestOpenAfterPeerEnded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		end   func(c *reactor.Conn)
		cause error
	}{
		{"Close", func(c *reactor.Conn) { _ = c.Close() }, nil},
		{"CloseWrite", func(c *reactor.Conn) { _ = c.CloseWrite() }, io.EOF},
		{"CloseWrite twice", func(c *reactor.Conn) { _, _ = c.CloseWrite(), c.CloseWrite() }, io.EOF},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				ended := make(chan struct{})
				s, w := tr.watched(t, &hooks{eof: func(c *reactor.Conn, _ []byte) error {
					_, err := c.Write([]byte("in EOF "))
					close(ended)
					return err
				}}, nil)
				cl := s.dial()
				require.NoError(t, cl.CloseWrite())
				receive(t, ended)
				cl.expect("in EOF ")
				ref := receive(t, w.refs)
				_, err := ref.Write([]byte("from elsewhere "))
				require.NoError(t, err)
				cl.expect("from elsewhere ")
				do(t, ref, func(c *reactor.Conn) {
					_, err := c.Write([]byte("last"))
					if err != nil {
						t.Errorf("Write after EOF: %v", err)
					}
					test.end(c)
				})
				require.Equal(t, "last", cl.rest())
				require.Equal(t, test.cause, receive(t, w.ends))
				_, err = ref.Write([]byte("x"))
				require.ErrorIs(t, err, net.ErrClosed)
			})
		}
	})
}

// OPEN --CloseWrite--> flushed -> SHUT_WR -> reads go on until the peer ends.
func TestReadsGoOnAfterCloseWrite(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, size := range []int{0, 5, 1 << 20, 8 << 20} {
			var got []byte
			calls := make(chan string, 16)
			s, w := tr.watched(t, &hooks{
				data: func(c *reactor.Conn, in []byte) (int, error) {
					got = append(got, in...)
					if string(got) == "go" {
						if _, err := c.Write(pattern(size)); err != nil {
							t.Errorf("Write: %v", err)
						}
						if first, second := c.CloseWrite(), c.CloseWrite(); first != nil || second != nil {
							t.Errorf("CloseWrite: %v, %v", first, second)
						}
						if _, err := c.Write([]byte("x")); !errors.Is(err, reactor.ErrWriteClosed) {
							t.Errorf("Write after CloseWrite: %v", err)
						}
						if _, err := c.Write(nil); !errors.Is(err, reactor.ErrWriteClosed) {
							t.Errorf("Write of nothing after CloseWrite: %v", err)
						}
						calls <- "shut"
					}
					return len(in), nil
				},
				eof: func(c *reactor.Conn, rest []byte) error {
					calls <- string(got)
					return reactor.Base{}.EOF(c, rest)
				},
			}, nil)
			cl := s.dial()
			cl.send("go")
			require.Equal(t, "shut", receive(t, calls))
			cl.expectStream(pattern(size))
			cl.send(", and on")
			require.Empty(t, w.ends, "closed before the peer ended")
			require.NoError(t, cl.CloseWrite())
			require.Equal(t, "go, and on", receive(t, calls))
			require.Equal(t, io.EOF, receive(t, w.ends))
		}
	})
}

// Both halves end, in each order and at once: no order loses anything or leaves the connection behind.
func TestBothHalvesEnd(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{eof: func(*reactor.Conn, []byte) error { return nil }}, nil)
		for range 30 {
			cl := s.dial()
			ref := receive(t, w.refs)
			cl.send("x")
			var both sync.WaitGroup
			both.Go(func() { _ = ref.Do(func(c *reactor.Conn, _ error) { _ = c.CloseWrite() }) })
			both.Go(func() { _ = cl.CloseWrite() })
			both.Wait()
			cl.expectEOF()
			require.Equal(t, io.EOF, receive(t, w.ends))
		}
	})
}

// OPEN --Close, error from a handler--> DRAINING -> flushed -> Close with nil or the error. Nothing more is
// delivered and all arrives.
func TestDrainsBeforeItCloses(t *testing.T) {
	t.Parallel()
	errMine := errors.New("mine")
	tests := []struct {
		name  string
		data  func(c *reactor.Conn) error
		cause error
	}{
		{"Close", func(c *reactor.Conn) error { return c.Close() }, nil},
		{"an error", func(*reactor.Conn) error { return errMine }, errMine},
		{"an error after Close", func(c *reactor.Conn) error { _ = c.Close(); return errMine }, nil},
		{"CloseWrite and Close", func(c *reactor.Conn) error { _ = c.CloseWrite(); return c.Close() }, nil},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			for _, size := range []int{4, 100 << 10, 4 << 20} {
				deliveries := 0
				s, w := tr.watched(t, &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
					if deliveries++; deliveries > 1 {
						t.Errorf("%s: Data called after it", test.name)
					}
					if _, err := c.Write(pattern(size)); err != nil {
						t.Errorf("Write: %v", err)
					}
					err := test.data(c)
					if _, err := c.Write([]byte("x")); err == nil && test.name != "an error" {
						t.Errorf("%s: Write still works", test.name)
					}
					return len(in), err
				}}, nil)
				cl := s.dial()
				cl.send("go")
				ref := receive(t, w.refs)
				eventually(t, "the request is served", func() bool {
					served := false
					do1(t, ref, func(*reactor.Conn, error) { served = deliveries > 0 })
					return served
				})
				cl.send("more, which nobody wants")
				want := pattern(size)
				if test.name == "an error" {
					want = append(want, 'x')
				}
				cl.expectStream(want)
				require.Equal(t, test.cause, receive(t, w.ends), test.name)
				require.ErrorIs(t, ref.Close(), net.ErrClosed)
			}
		}
	})
}

// do1 is do for a connection that may have ended.
func do1(t testing.TB, ref reactor.Ref, fn func(c *reactor.Conn, err error)) {
	t.Helper()
	done := make(chan struct{})
	require.NoError(t, ref.Do(func(c *reactor.Conn, err error) {
		defer close(done)
		fn(c, err)
	}))
	receive(t, done)
}

// The server closes with 32 MiB still unsent: all bytes arrive, also at a slow reader.
func TestAllUnsentBytesArriveAfterClose(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	reply := pattern(size)
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			if _, err := c.Write(reply); err != nil {
				t.Errorf("Write: %v", err)
			}
			return len(in), c.Close()
		}), nil)
		cl := s.dial()
		cl.send("go")
		ref := receive(t, w.refs)
		require.Positive(t, settled(t, ref), "the kernel took it all: nothing is tested")
		require.Empty(t, w.ends)
		cl.expectStream(reply)
		require.NoError(t, receive(t, w.ends))
	})
}

// DRAINING --reset--> Close(c, *UnsentError) with the number of bytes that the kernel had not taken.
func TestResetWhileDraining(t *testing.T) {
	t.Parallel()
	errMine := errors.New("mine")
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, cause := range []error{nil, errMine} {
			w := watch(t, reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) { return len(in), cause }))
			s := tr.serve(t, w.narrowed, &reactor.StreamOptions{HighWater: 1 << 20}) // input is delivered all the same
			cl := s.dialNarrow()
			ref := receive(t, w.refs)
			stall(t, ref, 300<<10)
			if cause == nil {
				do(t, ref, func(c *reactor.Conn) { _ = c.Close() })
			} else {
				cl.send("fail")
			}
			unsent := settled(t, ref)
			require.Empty(t, w.ends)
			cl.reset()
			err := receive(t, w.ends)
			var lost *reactor.UnsentError
			require.ErrorAs(t, err, &lost)
			require.Positive(t, lost.Bytes)
			require.LessOrEqual(t, lost.Bytes, int64(unsent)) // TCP may have taken a little meanwhile
			if tr.network == "unix" {
				require.EqualValues(t, unsent, lost.Bytes)
			}
			require.Truef(t, isGone(err), "cause %v", err)
			if cause != nil {
				require.ErrorIs(t, err, cause)
			}
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, "write", op.Op)
			require.Equal(t, tr.network, op.Net)
		}
	})
}

// OPEN --socket error--> Close(c, cause).
func TestSocketError(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{}, nil)
		cl := s.dial()
		_, err := receive(t, w.refs).Write([]byte("never read, so that a unix socket knows of a reset, too"))
		require.NoError(t, err)
		cl.waitReadable()
		cl.reset()
		err = receive(t, w.ends)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		require.Equal(t, "read", op.Op)
		require.Equal(t, tr.network, op.Net)
		if tr.network == "tcp" {
			require.Equal(t, cl.RemoteAddr().String(), op.Source.String())
			require.Equal(t, cl.LocalAddr().String(), op.Addr.String())
		}
	})
}

// waitReadable waits until there is something to read.
func (cl client) waitReadable() {
	cl.t.Helper()
	raw, err := cl.SyscallConn()
	require.NoError(cl.t, err)
	require.NoError(cl.t, raw.Read(func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n > 0 || !errors.Is(err, unix.EAGAIN)
	}))
}

// OPEN --Abort--> Close(c, ErrAborted): the peer sees a reset, and output left is counted.
func TestAbort(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, n := range []int{0, 300 << 10} {
			w := watch(t, &hooks{})
			s := tr.serve(t, w.narrowed, nil)
			cl := s.dialNarrow()
			ref := receive(t, w.refs)
			unsent := 0
			if n > 0 {
				stall(t, ref, n)
			}
			do(t, ref, func(c *reactor.Conn) {
				unsent = c.Unsent()
				c.Abort()
				c.Abort()
				if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write after Abort: %v", err)
				}
			})
			err := receive(t, w.ends)
			require.ErrorIs(t, err, reactor.ErrAborted)
			var lost *reactor.UnsentError
			require.Equal(t, n > 0, errors.As(err, &lost), "%v", err)
			if lost != nil {
				require.EqualValues(t, unsent, lost.Bytes)
			}
			cl.expectReset()
		}
	})
}

// DRAINING --Abort--> Close: nobody has to wait for a slow peer.
func TestAbortWhileDraining(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s := tr.serve(t, w.narrowed, nil)
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		stall(t, ref, 300<<10)
		require.NoError(t, ref.Close())
		unsent := 0
		do(t, ref, func(c *reactor.Conn) {
			unsent = c.Unsent()
			c.Abort()
		})
		err := receive(t, w.ends)
		require.ErrorIs(t, err, reactor.ErrAborted)
		var lost *reactor.UnsentError
		require.ErrorAs(t, err, &lost)
		require.EqualValues(t, unsent, lost.Bytes)
		cl.expectReset()
	})
}

// OPEN --panic--> Close(c, *PanicError), in each method; the loop serves on.
func TestPanicInEachCallback(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := []struct {
		name string
		h    *hooks
	}{
		{"Data", &hooks{data: func(*reactor.Conn, []byte) (int, error) { panic(boom) }}},
		{"EOF", &hooks{eof: func(*reactor.Conn, []byte) error { panic(boom) }}},
		{"Writable", &hooks{
			data: func(c *reactor.Conn, in []byte) (int, error) {
				for !c.Blocked() { // the kernel may take megabytes while the client reads
					_, _ = c.Write(make([]byte, 8<<20))
				}
				return len(in), nil
			},
			writable: func(*reactor.Conn) { panic(boom) },
		}},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			s, w := tr.watched(t, test.h, nil)
			cl := s.dial()
			cl.send("x")
			require.NoError(t, cl.CloseWrite())
			cl.expectGone()
			receive(t, w.refs)
			err := receive(t, w.ends)
			var p *reactor.PanicError
			require.ErrorAs(t, err, &p, test.name)
			require.ErrorIs(t, err, boom, test.name)
			require.Contains(t, string(p.Stack), "life_test.go", test.name)
			// The loop lives.
			other := s.dial()
			do(t, receive(t, w.refs), func(c *reactor.Conn) { _ = c.Close() })
			other.expectEOF()
			require.NoError(t, receive(t, w.ends))
		}
	})
}

// Everything that steers a connection may be called in every callback. Each connection gets one Close, with the cause
// of what was called, and the client an end.
func TestSteeringInEveryCallback(t *testing.T) {
	t.Parallel()
	oneOf := func(errs ...error) []error { return errs }
	actions := []struct {
		name   string
		do     func(c *reactor.Conn)
		causes []error // which of them depends on the callback
	}{
		{"Close", func(c *reactor.Conn) { _ = c.Close() }, oneOf(nil, io.EOF)},
		{"Close twice", func(c *reactor.Conn) { _, _ = c.Close(), c.Close() }, oneOf(nil, io.EOF)},
		{"Abort", (*reactor.Conn).Abort, oneOf(reactor.ErrAborted, io.EOF)},
		{"Close, Abort", func(c *reactor.Conn) { _ = c.Close(); c.Abort() }, oneOf(reactor.ErrAborted, io.EOF)},
		{"Abort, Close", func(c *reactor.Conn) { c.Abort(); _ = c.Close() }, oneOf(reactor.ErrAborted, io.EOF)},
		{"CloseWrite", func(c *reactor.Conn) { _ = c.CloseWrite() }, oneOf(io.EOF)},
		{"CloseRead, CloseWrite", func(c *reactor.Conn) { _, _ = c.CloseRead(), c.CloseWrite() }, oneOf(io.EOF)},
		{"CloseRead, Close", func(c *reactor.Conn) { _, _ = c.CloseRead(), c.Close() }, oneOf(nil, io.EOF)},
		{"CloseRead, Abort", func(c *reactor.Conn) { _ = c.CloseRead(); c.Abort() }, oneOf(reactor.ErrAborted, io.EOF)},
		{"CloseWrite, Close", func(c *reactor.Conn) { _, _ = c.CloseWrite(), c.Close() }, oneOf(nil, io.EOF)},
		{"Pause, Resume", func(c *reactor.Conn) { c.Pause(); c.Resume() }, oneOf(io.EOF)},
		{"Resume", (*reactor.Conn).Resume, oneOf(io.EOF)},
		{"Pause", func(c *reactor.Conn) {
			c.Pause()
			ref := c.Ref()
			go func() { _ = ref.Do(func(c *reactor.Conn, _ error) { c.Resume() }) }()
		}, oneOf(io.EOF)},
		{"Pause, Close", func(c *reactor.Conn) { c.Pause(); _ = c.Close() }, oneOf(nil, io.EOF)},
		{"Hold", func(c *reactor.Conn) { go c.Hold()() }, oneOf(io.EOF)},
		{"Hold, Close", func(c *reactor.Conn) { release := c.Hold(); _ = c.Close(); release() }, oneOf(nil, io.EOF)},
		{"Hijack", func(c *reactor.Conn) {
			if conn, _, err := c.Hijack(); err == nil {
				_ = conn.Close()
			}
		}, oneOf(reactor.ErrHijacked, io.EOF)},
		{"Ref.Close", func(c *reactor.Conn) { _ = c.Ref().Close() }, oneOf(nil, io.EOF)},
		{"Ref.Do", func(c *reactor.Conn) { _ = c.Ref().Do(func(c *reactor.Conn, _ error) { c.Abort() }) }, oneOf(reactor.ErrAborted, io.EOF, nil)},
	}
	// Each ends by itself when the client has.
	big := pattern(200 << 10)
	callbacks := map[string]func(act func(*reactor.Conn)) (reactor.Handler, func(*reactor.Conn)){
		"accept": func(act func(*reactor.Conn)) (reactor.Handler, func(*reactor.Conn)) { return &hooks{}, act },
		"Data": func(act func(*reactor.Conn)) (reactor.Handler, func(*reactor.Conn)) {
			return &hooks{data: func(c *reactor.Conn, in []byte) (int, error) { act(c); return len(in), nil }}, nil
		},
		"EOF": func(act func(*reactor.Conn)) (reactor.Handler, func(*reactor.Conn)) {
			return &hooks{eof: func(c *reactor.Conn, _ []byte) error { act(c); return io.EOF }}, nil
		},
		"Writable": func(act func(*reactor.Conn)) (reactor.Handler, func(*reactor.Conn)) {
			return &hooks{
				data: func(c *reactor.Conn, in []byte) (int, error) {
					for !c.Blocked() {
						_, _ = c.Write(big)
					}
					return len(in), nil
				},
				writable: act,
			}, nil
		},
		"Close": func(act func(*reactor.Conn)) (reactor.Handler, func(*reactor.Conn)) {
			return &hooks{close: func(c *reactor.Conn, _ error) { act(c) }}, nil
		},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for where, handler := range callbacks {
			for _, action := range actions {
				t.Run(where+"/"+action.name, func(t *testing.T) {
					t.Parallel()
					var acted atomic.Int32
					h, inAccept := handler(func(c *reactor.Conn) { acted.Add(1); action.do(c) })
					w := watch(t, h)
					dialed := make(chan struct{})
					s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
						<-dialed // or the reset could come before connect has returned
						if inAccept != nil {
							inAccept(c)
						}
						return w.narrowed(c)
					}, nil)
					cl := s.dialNarrow()
					close(dialed)
					_, _ = cl.Write([]byte("x")) // may find the connection reset
					_ = cl.CloseWrite()
					cl.expectGone()
					err := receive(t, w.ends)
					require.Positive(t, acted.Load())
					for _, cause := range action.causes {
						if errors.Is(err, cause) || err == cause {
							return
						}
					}
					if where == "Close" && isGone(err) {
						return
					}
					t.Errorf("Close got %v", err)
				})
			}
		}
	})
}

// What the methods of a Conn answer when it has ended: they do nothing, in the handler's Close and ever after.
func TestEndedConnDoesNothing(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		id, tuple := uint64(0), reactor.FourTuple{}
		check := func(c *reactor.Conn) {
			_, err := c.Write([]byte("x"))
			for what, err := range map[string]error{"Write": err, "Close": c.Close(), "CloseWrite": c.CloseWrite(), "CloseRead": c.CloseRead()} {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v", what, err)
				}
			}
			c.Pause()
			c.Resume()
			c.Abort()
			c.Hold()()
			if c.ID() != id || c.Tuple() != tuple {
				t.Errorf("ID %d and tuple %v, were %d and %v", c.ID(), c.Tuple(), id, tuple)
			}
		}
		s, w := tr.watched(t, &hooks{close: func(c *reactor.Conn, _ error) { check(c) }}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		do(t, ref, func(c *reactor.Conn) { id, tuple = c.ID(), c.Tuple(); _ = c.Close() })
		require.NoError(t, receive(t, w.ends))
		cl.expectEOF()
		do1(t, ref, func(c *reactor.Conn, err error) {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("Do: %v", err)
			}
			check(c)
		})
		require.Empty(t, w.ends, "Close called twice")
	})
}

// Abort in the handler's Close does not take back what the kernel has still to send.
func TestAbortInCloseDoesNothing(t *testing.T) {
	t.Parallel()
	reply := pattern(300 << 10)
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{
			eof: func(c *reactor.Conn, _ []byte) error {
				_ = unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
				_, err := c.Write(reply)
				if n := c.Unsent(); n > 0 && tr.network == "tcp" {
					t.Logf("the kernel did not take %d bytes", n)
				}
				return errors.Join(err, io.EOF)
			},
			close: func(c *reactor.Conn, _ error) { c.Abort() },
		})
		s := tr.serve(t, w.accept, nil)
		cl := s.dial()
		require.NoError(t, cl.SetReadBuffer(32<<10))
		require.NoError(t, cl.CloseWrite())
		if tr.network == "tcp" {
			require.ErrorIs(t, receive(t, w.ends), io.EOF) // before anything is read: most of it waits in the kernel
		}
		cl.expectStream(reply)
	})
}

// Hold keeps a connection through its peer's end while an answer is made elsewhere.
func TestHoldThroughPeersEnd(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		type held struct {
			ref     reactor.Ref
			release func()
		}
		jobs := make(chan held, 1)
		ended := make(chan struct{}, 1)
		s, w := tr.watched(t, &hooks{
			data: func(c *reactor.Conn, in []byte) (int, error) {
				jobs <- held{c.Ref(), c.Hold()}
				return len(in), nil
			},
			eof: func(c *reactor.Conn, rest []byte) error {
				ended <- struct{}{}
				return reactor.Base{}.EOF(c, rest)
			},
		}, nil)
		answer := pattern(1 << 20)
		for round := range 10 {
			cl := s.dial()
			cl.send("?")
			require.NoError(t, cl.CloseWrite())
			receive(t, ended)
			job := receive(t, jobs)
			do(t, job.ref, func(*reactor.Conn) {})
			require.Empty(t, w.ends, "closed while held")
			_, err := job.ref.Write(answer)
			require.NoError(t, err)
			job.release()
			job.release()
			cl.expectStream(answer, round)
			require.Equal(t, io.EOF, receive(t, w.ends))
		}
	})
}

// A connection held twice waits for both; calling one release twice does not count for the other.
func TestHoldsAreCounted(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		var first, second func()
		do(t, ref, func(c *reactor.Conn) { first, second = c.Hold(), c.Hold() })
		require.NoError(t, cl.CloseWrite())
		for range 3 {
			first()
		}
		for range 10 { // each a turn of the loop
			do(t, ref, func(*reactor.Conn) {})
		}
		_, err := ref.Write([]byte("still here"))
		require.NoError(t, err)
		cl.expect("still here")
		require.Empty(t, w.ends)
		var group sync.WaitGroup
		for range 4 {
			group.Go(second)
		}
		group.Wait()
		require.Equal(t, io.EOF, receive(t, w.ends))
		cl.expectEOF()
	})
}

// Neither Close, nor Abort, nor the peer's reset is held up.
func TestHoldDoesNotHoldUp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(ref reactor.Ref, cl client)
		is   func(error) bool
	}{
		{"Close", func(ref reactor.Ref, _ client) { _ = ref.Close() }, func(err error) bool { return err == nil }},
		{"Abort", func(ref reactor.Ref, _ client) { _ = ref.Do(func(c *reactor.Conn, _ error) { c.Abort() }) }, func(err error) bool { return errors.Is(err, reactor.ErrAborted) }},
		{"reset", func(_ reactor.Ref, cl client) { cl.reset() }, isGone},
		{"reset after the end", func(ref reactor.Ref, cl client) {
			require.NoError(cl.t, cl.CloseWrite())
			eventually(cl.t, "EOF", func() bool {
				reading := true
				do(cl.t, ref, func(c *reactor.Conn) { reading = !noted(&eofs, c) })
				return !reading
			})
			cl.reset()
		}, isGone},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			s, w := tr.watched(t, &hooks{eof: func(c *reactor.Conn, _ []byte) error { noteEOF(c); return io.EOF }}, nil)
			cl := s.dial()
			ref := receive(t, w.refs)
			var release func()
			do(t, ref, func(c *reactor.Conn) {
				release = c.Hold()
				_, _ = c.Write([]byte("unread"))
			})
			cl.waitReadable()
			test.end(ref, cl)
			err := receive(t, w.ends)
			require.Truef(t, test.is(err), "%s: %v", test.name, err)
			release()
		}
	})
}

// eofs remembers which connections have had their EOF.
var eofs sync.Map

func noteEOF(c *reactor.Conn) { eofs.Store(c.Ref(), true) }

// noted says whether c is remembered in one of these.
func noted(in *sync.Map, c *reactor.Conn) bool { _, ok := in.Load(c.Ref()); return ok }

// A peer that resets is noticed within a second in every state in which nothing is read or written, with one Close
// and a cause that says so. A unix socket knows a reset by what its peer left unread.
func TestResetIsNoticedInEveryState(t *testing.T) {
	t.Parallel()
	states := []struct {
		name    string
		prepare func(t *testing.T, ref reactor.Ref, cl client)
	}{
		{"idle", func(*testing.T, reactor.Ref, client) {}},
		{"paused", func(t *testing.T, ref reactor.Ref, _ client) {
			do(t, ref, (*reactor.Conn).Pause)
		}},
		{"paused with data waiting", func(t *testing.T, ref reactor.Ref, cl client) {
			do(t, ref, (*reactor.Conn).Pause)
			cl.send("waiting")
		}},
		{"paused twice", func(t *testing.T, ref reactor.Ref, _ client) {
			for range 2 {
				do(t, ref, (*reactor.Conn).Pause)
				do(t, ref, (*reactor.Conn).Resume)
				do(t, ref, (*reactor.Conn).Pause)
			}
		}},
		{"held after EOF", func(t *testing.T, ref reactor.Ref, cl client) {
			do(t, ref, func(c *reactor.Conn) { c.Hold() })
			require.NoError(t, cl.CloseWrite())
			eventually(t, "EOF", func() (ended bool) {
				do(t, ref, func(c *reactor.Conn) { ended = noted(&eofs, c) })
				return ended
			})
		}},
		{"blocked above high water", func(t *testing.T, ref reactor.Ref, _ client) {
			stall(t, ref, 80<<10)
		}},
		{"blocked and paused", func(t *testing.T, ref reactor.Ref, _ client) {
			stall(t, ref, 80<<10)
			do(t, ref, (*reactor.Conn).Pause)
		}},
		{"draining", func(t *testing.T, ref reactor.Ref, _ client) {
			stall(t, ref, 80<<10)
			require.NoError(t, ref.Close())
		}},
		{"writing half closed", func(t *testing.T, ref reactor.Ref, _ client) {
			do(t, ref, func(c *reactor.Conn) { _ = c.CloseWrite() })
		}},
		{"reading half closed", func(t *testing.T, ref reactor.Ref, cl client) {
			do(t, ref, func(c *reactor.Conn) { _ = c.CloseRead() })
			cl.send("discarded")
		}},
		{"reading half closed and the peer ended", func(t *testing.T, ref reactor.Ref, cl client) {
			do(t, ref, func(c *reactor.Conn) { _ = c.CloseRead() })
			require.NoError(t, cl.CloseWrite())
			eventually(t, "the end is read", func() (read bool) {
				do(t, ref, func(c *reactor.Conn) { read = c.PeerEnded() })
				return read
			})
		}},
		{"both halves closed", func(t *testing.T, ref reactor.Ref, _ client) {
			do(t, ref, func(c *reactor.Conn) { _, _ = c.CloseRead(), c.CloseWrite() })
		}},
		{"writing half closed and paused", func(t *testing.T, ref reactor.Ref, _ client) {
			do(t, ref, func(c *reactor.Conn) { _ = c.CloseWrite(); c.Pause() })
		}},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, state := range states {
			t.Run(state.name, func(t *testing.T) {
				t.Parallel()
				w := watch(t, &hooks{eof: func(c *reactor.Conn, _ []byte) error { noteEOF(c); return io.EOF }})
				s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
					_, err := c.Write([]byte("never read"))
					if err != nil {
						return nil, err
					}
					return w.narrowed(c)
				}, nil)
				cl := s.dialNarrow()
				ref := receive(t, w.refs)
				cl.waitReadable()
				state.prepare(t, ref, cl)
				if n := settled(t, ref); n == 0 {
					do(t, ref, func(*reactor.Conn) {})
				}
				require.Empty(t, w.ends)
				cl.reset()
				err := receive(t, w.ends)
				require.Truef(t, isGone(err), "cause %v", err)
				do1(t, ref, func(*reactor.Conn, error) {})
				require.Empty(t, w.ends, "Close called twice")
			})
		}
	})
}

// Output that a Ref queued after the connection was told to close is lost, and Close counts it. Nothing accepted
// disappears silently.
func TestRefWriteRacesClose(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, &hooks{}, nil)
		for range 20 {
			cl := s.dial()
			ref := receive(t, w.refs)
			var taken atomic.Int64
			var writers sync.WaitGroup
			for range 3 {
				writers.Go(func() {
					for range 1000 {
						n, err := ref.Write([]byte("0123456789"))
						if err != nil {
							return
						}
						taken.Add(int64(n))
					}
				})
			}
			cl.read(100) // at least: it is under way
			require.NoError(t, ref.Close())
			got := 100 + len(cl.readAll())
			err := receive(t, w.ends)
			writers.Wait()
			var lost *reactor.UnsentError
			if errors.As(err, &lost) {
				got += int(lost.Bytes)
			} else {
				require.NoError(t, err)
			}
			require.EqualValues(t, taken.Load(), got, "taken, and got or counted as lost")
		}
	})
}

// readAll reads to the end, clean or not.
func (cl client) readAll() []byte {
	cl.t.Helper()
	got, err := io.ReadAll(cl)
	require.Falsef(cl.t, os.IsTimeout(err), "not ended after %v", patience)
	return got
}
