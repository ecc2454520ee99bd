// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
)

// hijacked is what Hijack returned.
type hijacked struct {
	net.Conn
	rest []byte
	err  error
}

func hijack(c *reactor.Conn) hijacked {
	conn, rest, err := c.Hijack()
	return hijacked{conn, rest, err}
}

// hijackVia hijacks from outside the handler. The connection closes with the test.
func hijackVia(t testing.TB, ref reactor.Ref) (h hijacked) {
	t.Helper()
	do(t, ref, func(c *reactor.Conn) { h = hijack(c) })
	h.require(t)
	return h
}

// require fails the test if nothing was hijacked, and closes the connection with it.
func (h hijacked) require(t testing.TB) {
	t.Helper()
	require.NoError(t, h.err)
	t.Cleanup(func() { _ = h.Close() })
	require.NoError(t, h.SetDeadline(time.Now().Add(patience)))
}

// A hijacked connection is a net.Conn like any other.
func TestHijackedIsANetConn(t *testing.T) {
	t.Parallel()
	forEachNetworkAtOnce(t, func(t *testing.T, tr transport) {
		s, w := tr.watched(t, reactor.DataFunc(echo), nil)
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			c1, err = dialPlain(s.Listener.Addr())
			if err != nil {
				return nil, nil, nil, err
			}
			var h hijacked
			do(t, receive(t, w.refs), func(c *reactor.Conn) { h = hijack(c) })
			if h.err != nil {
				_ = c1.Close()
				return nil, nil, nil, h.err
			}
			return c1, h.Conn, func() { _, _ = c1.Close(), h.Close() }, nil
		})
	})
}

// What had come and was not consumed is handed over, from wherever Hijack is called; what comes later is read from the
// connection, and nothing lies between.
func TestHijackHandsOverWhatIsUnconsumed(t *testing.T) {
	t.Parallel()
	big := string(pattern(700 << 10))
	got := make(chan hijacked, 1)
	take := func(c *reactor.Conn) { got <- hijack(c) }
	frames := reactor.Frames(codec.Line(1<<20), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
		if string(line) == "now" {
			take(c)
		}
		return nil
	}))
	dataWhen := func(n int) reactor.Handler {
		return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			if len(in) == n {
				take(c)
			}
			return 0, nil
		})
	}
	tests := []struct {
		name    string
		h       reactor.Handler
		sent    string
		shut    bool
		outside bool // hijacked from outside once the input has come
		rest    string
	}{
		{name: "Data", h: dataWhen(5), sent: "hello", rest: "hello"},
		{name: "Data that says it consumes all", h: reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			take(c)
			return len(in), errors.New("too late to be heard")
		}), sent: "hello", rest: "hello"},
		{name: "Data with a large leftover", h: dataWhen(len(big)), sent: big, rest: big},
		{name: "Frame", h: frames, sent: "one\ntwo\nnow\nthree\nfo", rest: "three\nfo"},
		{name: "Frame without more", h: frames, sent: "one\nnow\n"},
		{name: "EOF", h: &hooks{
			data: func(*reactor.Conn, []byte) (int, error) { return 1, nil },
			eof:  func(c *reactor.Conn, _ []byte) error { take(c); return io.EOF },
		}, sent: "hello", shut: true, rest: "ello"},
		{name: "elsewhere", h: &hooks{data: func(*reactor.Conn, []byte) (int, error) { return 1, nil }}, sent: "hello", outside: true, rest: "ello"},
		{name: "elsewhere, all consumed", h: &hooks{}, sent: "hello", outside: true},
		{name: "after CloseRead", h: reactor.DataFunc(func(c *reactor.Conn, _ []byte) (int, error) {
			_ = c.CloseRead()
			take(c)
			return 0, nil
		}), sent: "hello"},
	}
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				delivered := make(chan struct{}, 1024)
				h := &hooks{
					data: func(c *reactor.Conn, in []byte) (int, error) {
						defer func() { delivered <- struct{}{} }()
						return test.h.Data(c, in)
					},
					eof: test.h.EOF,
				}
				s, w := tr.watched(t, h, nil)
				cl := s.dial()
				ref := receive(t, w.refs)
				cl.send(test.sent)
				if test.shut {
					receive(t, delivered)
					require.NoError(t, cl.CloseWrite())
				}
				if test.outside {
					receive(t, delivered)
					do(t, ref, take)
				}
				conn := receive(t, got)
				conn.require(t)
				require.Equal(t, test.rest, string(conn.rest))
				require.Equal(t, reactor.ErrHijacked, receive(t, w.ends))

				if !test.shut {
					cl.send("and on")
					require.NoError(t, cl.CloseWrite())
					later, err := io.ReadAll(conn)
					require.NoError(t, err)
					require.Equal(t, "and on", string(later))
				}
				_, err := conn.Write([]byte("bye"))
				require.NoError(t, err)
				require.NoError(t, conn.Close())
				require.Equal(t, "bye", cl.rest())
			})
		}
	})
}

// What was written before goes before what is written after, and CloseWrite is kept.
func TestHijackSendsFirst(t *testing.T) {
	t.Parallel()
	got := make(chan hijacked, 1)
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, shut := range []bool{false, true} {
			s, w := tr.watched(t, reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
				_, _ = c.Write([]byte("before "))
				if shut {
					_ = c.CloseWrite()
				}
				got <- hijack(c)
				if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write after Hijack: %v", err)
				}
				return len(in), nil
			}), nil)
			cl := s.dial()
			cl.send("x")
			conn := receive(t, got)
			conn.require(t)
			_, err := conn.Write([]byte("after"))
			require.Equal(t, shut, isGone(err), "%v", err)
			if shut {
				require.Equal(t, "before ", cl.rest())
			} else {
				cl.expect("before after")
			}
			require.Equal(t, reactor.ErrHijacked, receive(t, w.ends))
		}
	})
}

// While output waits, here or on its way from a Ref, there is no hijacking, and nothing has happened; later there is.
func TestHijackWaitsForOutput(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s := tr.serve(t, w.narrowed, nil)
		cl := s.dialNarrow()
		ref := receive(t, w.refs)
		written := stall(t, ref, 100<<10)
		refuse := func(c *reactor.Conn) {
			h := hijack(c)
			require.ErrorIs(t, h.err, reactor.ErrUnsent)
			require.Nil(t, h.Conn)
			require.Nil(t, h.rest)
		}
		do(t, ref, refuse)
		cl.read(written)
		require.Zero(t, settled(t, ref))
		do(t, ref, func(c *reactor.Conn) {
			_, err := c.Ref().Write([]byte("posted"))
			require.NoError(t, err)
			refuse(c)
		})
		cl.expect("posted")
		conn := hijackVia(t, ref)
		_, err := conn.Write([]byte("hijacked"))
		require.NoError(t, err)
		cl.expect("hijacked")
		require.Equal(t, reactor.ErrHijacked, receive(t, w.ends))
	})
}

// The reactor is done with a hijacked connection: nobody finds it, a Ref answers net.ErrClosed, it takes no place, and
// its peer hears nothing of the reactor's end.
func TestReactorForgetsTheHijacked(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		w := watch(t, reactor.DataFunc(echo))
		s := tr.serveWith(t, reactor.Options{MaxConns: 1}, w.accept, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		cl.send("x")
		cl.expect("x")
		conn := hijackVia(t, ref)
		require.Equal(t, reactor.ErrHijacked, receive(t, w.ends))
		_, err := ref.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, ref.Close(), net.ErrClosed)
		do1(t, ref, func(c *reactor.Conn, err error) {
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorIs(t, hijack(c).err, net.ErrClosed)
		})
		_, byID := s.ByID(ref.ID())
		_, byTuple := s.Lookup(ref.Tuple())
		require.False(t, byID || byTuple)
		if tr.network == "tcp" {
			require.Equal(t, cl.LocalAddr().String(), conn.RemoteAddr().String())
			require.IsType(t, (*net.TCPConn)(nil), conn.Conn)
		} else {
			require.IsType(t, (*net.UnixConn)(nil), conn.Conn)
		}

		second := s.dial()
		second.send("y")
		second.expect("y")
		require.NoError(t, s.Close())
		second.expectGone()
		receive(t, w.ends)

		_, err = conn.Write([]byte("alive"))
		require.NoError(t, err)
		cl.expect("alive")
		require.NoError(t, conn.Close())
		cl.expectEOF()
		require.Empty(t, w.ends, "Close called twice")
	})
}

// One connection's handler may hijack another, whose events of the same turn then harm nobody.
func TestHijackAnother(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		var other *reactor.Conn
		got := make(chan hijacked, 1)
		s, w := tr.watched(t, reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			if string(in) == "take it" {
				got <- hijack(other)
				return len(in), nil
			}
			return 1, nil
		}), nil)
		first, second := s.dial(), s.dial()
		refs := map[string]reactor.Ref{}
		if tr.network == "tcp" {
			for range 2 {
				ref := receive(t, w.refs)
				refs[ref.Tuple().Remote.String()] = ref
			}
			do(t, refs[second.LocalAddr().String()], func(c *reactor.Conn) { other = c })
		} else {
			receive(t, w.refs) // accepted in their order
			do(t, receive(t, w.refs), func(c *reactor.Conn) { other = c })
		}
		release := block(t, other.Ref())
		first.send("take it")
		second.send("hello")
		require.NoError(t, second.CloseWrite())
		release()
		conn := receive(t, got)
		conn.require(t)
		require.Equal(t, reactor.ErrHijacked, receive(t, w.ends))
		later, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Contains(t, []string{"hello", "ello"}, string(conn.rest)+string(later))
	})
}

// Where there is nothing to hijack, that is told.
func TestHijackRefused(t *testing.T) {
	t.Parallel()
	forEachNetwork(t, func(t *testing.T, tr transport) {
		w := watch(t, &hooks{})
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			require.EqualError(t, hijack(c).err, "reactor: Hijack called in an accept func")
			return w.accept(c)
		}, nil)
		for name, end := range map[string]func(c *reactor.Conn){
			"Close":  func(c *reactor.Conn) { _ = c.Close() },
			"Abort":  (*reactor.Conn).Abort,
			"Hijack": func(c *reactor.Conn) { _ = hijack(c).Close() },
		} {
			cl := s.dial()
			do(t, receive(t, w.refs), func(c *reactor.Conn) {
				end(c)
				require.ErrorIs(t, hijack(c).err, net.ErrClosed, name)
			})
			cl.expectGone()
			receive(t, w.ends)
		}
	})
}
