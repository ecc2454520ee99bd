// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Each row of the table in docs/sockets.md does what it says.
func TestSocketsTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/sockets.md")
	require.NoError(t, err)
	calls := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(line, "| `") {
			continue
		}
		call := strings.ReplaceAll(strings.TrimSpace(cells[1]), "`", "")
		require.False(t, calls[call], "%s has two rows", call)
		calls[call] = true
		run, ok := socketCalls[call]
		if !ok {
			t.Errorf("%s has a row and no test", call)
			continue
		}
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
	for call := range socketCalls {
		require.True(t, calls[call], "%s has a test and no row", call)
	}
}

// onLocal serves connections on 127.0.0.1.
func onLocal(t *testing.T, h reactor.Handler, o *reactor.StreamOptions) (*server, *witness) {
	return transport{"tcp", 2}.watched(t, h, o)
}

// once answers the first input with what act does, and consumes it.
func once(act func(c *reactor.Conn) error) reactor.Handler {
	return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) { return len(in), act(c) })
}

// connectTo dials and returns the connection's Ref, and what its handler is told.
func (s *server) connectTo(network, address string, h reactor.Handler, o *reactor.DialOptions) (reactor.Ref, error) {
	s.t.Helper()
	type result struct {
		ref reactor.Ref
		err error
	}
	came := make(chan result, 1)
	require.NoError(s.t, s.Dial(context.Background(), network, address, func(c *reactor.Conn, err error) (reactor.Handler, error) {
		if err != nil {
			came <- result{err: err}
			return nil, nil
		}
		came <- result{ref: c.Ref()}
		return h, nil
	}, o))
	r := receive(s.t, came)
	return r.ref, r.err
}

// option reads an option of a connection as the table says.
func option(t *testing.T, c *reactor.Conn, level, name int) (value int) {
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }))
	require.NoError(t, err)
	return value
}

var socketCalls = map[string]func(t *testing.T){
	"socket": func(t *testing.T) {
		s := start(t, reactor.Options{Loops: 1})
		_, err := s.Listen("sctp", "127.0.0.1:0", shared(&hooks{}), nil)
		require.ErrorIs(t, err, net.UnknownNetworkError("sctp"))
		_, err = s.ListenPacket("ip", "127.0.0.1:0", packetEcho, nil)
		require.ErrorIs(t, err, net.UnknownNetworkError("ip"))
	},
	"bind": func(t *testing.T) {
		s, _ := onLocal(t, reactor.DataFunc(echo), nil)
		port := s.Listener.Addr().(*net.TCPAddr).Port
		require.Positive(t, port)
		_, err := s.Listen("tcp", s.Listener.Addr().String(), shared(&hooks{}), nil)
		require.ErrorIs(t, err, syscall.EADDRINUSE)

		local := netip.MustParseAddrPort("127.0.0.1:0")
		ref, err := s.connectTo("tcp", s.Listener.Addr().String(), &hooks{}, &reactor.DialOptions{Local: local})
		require.NoError(t, err)
		require.Equal(t, local.Addr(), ref.Tuple().Local.Addr())
	},
	"listen": func(t *testing.T) {
		s := start(t, reactor.Options{Loops: 1})
		lis := s.listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(echo)), &reactor.StreamOptions{Backlog: 5})
		cl := dialTo(t, lis.Addr())
		cl.send("x")
		cl.expect("x")
	},
	"accept": func(t *testing.T) {
		refused := false
		s := transport{"tcp", 1}.serve(t, func(*reactor.Conn) (reactor.Handler, error) {
			if !refused {
				refused = true
				return nil, errors.New("not you")
			}
			return reactor.DataFunc(echo), nil
		}, nil)
		s.dial().expectGone()
		cl := s.dial()
		cl.send("x")
		cl.expect("x")
	},
	"connect": func(t *testing.T) {
		s, _ := onLocal(t, reactor.DataFunc(echo), nil)
		got := make(chan string, 1)
		ref, err := s.connectTo("tcp", s.Listener.Addr().String(), reactor.Frames(codec.Line(0), reactor.FrameFunc(func(_ *reactor.Conn, line []byte) error {
			got <- string(line)
			return nil
		})), nil)
		require.NoError(t, err)
		_, err = ref.Write([]byte("hello\n"))
		require.NoError(t, err)
		require.Equal(t, "hello", receive(t, got))

		_, err = s.connectTo("unix", socketPath(t), &hooks{}, nil)
		require.ErrorIs(t, err, syscall.ENOENT)
	},
	"getaddrinfo": func(t *testing.T) {
		s := start(t, reactor.Options{Loops: 1})
		lis := s.listen("tcp", "localhost:0", shared(reactor.DataFunc(echo)), nil)
		require.True(t, lis.Addr().(*net.TCPAddr).IP.IsLoopback())
		_, port, err := net.SplitHostPort(lis.Addr().String())
		require.NoError(t, err)
		_, err = s.connectTo("tcp4", "localhost:"+port, &hooks{}, nil)
		require.NoError(t, err)
	},
	"send": func(t *testing.T) {
		s, _ := onLocal(t, once(func(c *reactor.Conn) error {
			for _, p := range []string{"one ", "two ", "three"} {
				if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
					return err
				}
			}
			return nil
		}), nil)
		cl := s.dial()
		cl.send("x")
		cl.expect("one two three")
	},
	"sendall": func(t *testing.T) {
		s, w := onLocal(t, once(func(c *reactor.Conn) error {
			n, err := c.Write(morePattern()) // more than the kernel takes, as a rule
			if n != len(morePattern()) {
				t.Errorf("Write took %d", n)
			}
			return err
		}), nil)
		cl := s.dial()
		cl.send("x")
		cl.expectBytes(morePattern())
		_, err := receive(t, w.refs).Write([]byte("from elsewhere"))
		require.NoError(t, err)
		cl.expect("from elsewhere")
	},
	"sendfile": func(t *testing.T) {
		file := morePattern()
		sent := 0
		more := func(c *reactor.Conn) {
			for !c.Blocked() && sent < len(file) {
				n, err := c.Write(file[sent:min(sent+16<<10, len(file))])
				if sent += n; err != nil {
					t.Errorf("Write: %v", err)
					return
				}
			}
			if sent == len(file) {
				_ = c.Close()
			}
		}
		s, w := onLocal(t, &hooks{data: func(c *reactor.Conn, in []byte) (int, error) { more(c); return len(in), nil }, writable: more}, nil)
		cl := s.dial()
		cl.send("x")
		cl.expectStream(file)
		require.NoError(t, cl.Close())
		require.NoError(t, receive(t, w.ends))
	},
	"recv": func(t *testing.T) {
		s, _ := onLocal(t, reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			if len(in) < 8 {
				c.Need(8)
				return 0, nil
			}
			return echo(c, in)
		}), nil)
		cl := s.dial()
		cl.send("whole")
		cl.send("ness")
		require.Equal(t, "wholenes", cl.read(8))
	},
	"recv of 0 bytes": func(t *testing.T) {
		s, w := onLocal(t, &hooks{eof: func(c *reactor.Conn, rest []byte) error {
			if len(rest) > 0 {
				t.Errorf("EOF with %d bytes", len(rest))
			}
			_, err := c.Write([]byte("after the end"))
			return err
		}}, nil)
		cl := s.dial()
		require.NoError(t, cl.CloseWrite())
		cl.expect("after the end")
		require.NoError(t, receive(t, w.refs).Close())
		cl.expectEOF()
	},
	"sendto": func(t *testing.T) {
		other := plainPacket(t, "udp4", "127.0.0.1:0")
		to := other.LocalAddr().(*net.UDPAddr).AddrPort()
		s := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
			if err := errors.Join(s.Send([]byte("to another"), netip.AddrPort{}, to), d.Reply([]byte("to who asked"))); err != nil {
				t.Errorf("%v", err)
			}
		}), nil)
		require.Equal(t, "to who asked", exchange(t, plainPacket(t, "udp4", "127.0.0.1:0"), s.Listener.Addr(), "x"))
		buf := make([]byte, 100)
		n, from, err := other.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "to another", string(buf[:n]))
		require.Equal(t, s.Listener.Addr().String(), from.String())
	},
	"recvfrom": func(t *testing.T) {
		conn := plainPacket(t, "udp4", "127.0.0.1:0")
		s := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
			_ = d.Reply([]byte(d.From.String() + " " + string(d.Payload)))
		}), nil)
		require.Equal(t, conn.LocalAddr().String()+" hello", exchange(t, conn, s.Listener.Addr(), "hello"))
	},
	"shutdown SHUT_WR": func(t *testing.T) {
		s, w := onLocal(t, once(func(c *reactor.Conn) error {
			_, err := c.Write([]byte("all of it"))
			return errors.Join(err, c.CloseWrite())
		}), nil)
		cl := s.dial()
		cl.send("x")
		require.Equal(t, "all of it", cl.rest())
		require.NoError(t, cl.CloseWrite())
		require.Equal(t, io.EOF, receive(t, w.ends))
	},
	"shutdown SHUT_RD": func(t *testing.T) {
		s, w := onLocal(t, once(func(c *reactor.Conn) error {
			_, err := c.Write([]byte("enough"))
			return errors.Join(err, c.CloseRead(), c.CloseWrite())
		}), nil)
		cl := s.dial()
		cl.send(string(pattern(4 << 20)))
		require.Equal(t, "enough", cl.rest())
		require.NoError(t, cl.Close())
		require.Equal(t, io.EOF, receive(t, w.ends))
	},
	"close": func(t *testing.T) {
		s, w := onLocal(t, once(func(c *reactor.Conn) error {
			_, err := c.Write(morePattern())
			return errors.Join(err, c.Close())
		}), nil)
		cl := s.dial()
		cl.send("x")
		cl.send("and more that is not read")
		cl.expectStream(morePattern())
		require.NoError(t, cl.Close())
		require.NoError(t, receive(t, w.ends))
	},
	"close with SO_LINGER 0": func(t *testing.T) {
		s, w := onLocal(t, once(func(c *reactor.Conn) error {
			c.Abort()
			return nil
		}), nil)
		cl := s.dial()
		cl.send("x")
		cl.expectReset()
		require.ErrorIs(t, receive(t, w.ends), reactor.ErrAborted)
	},
	"setsockopt": func(t *testing.T) {
		s, w := onLocal(t, &hooks{}, &reactor.StreamOptions{Nagle: true})
		s.dial()
		do(t, receive(t, w.refs), func(c *reactor.Conn) {
			require.Zero(t, option(t, c, unix.IPPROTO_TCP, unix.TCP_NODELAY))
			require.NoError(t, c.SetNoDelay(true))
			require.NotZero(t, option(t, c, unix.IPPROTO_TCP, unix.TCP_NODELAY))
			raw, err := c.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) }))
			require.NoError(t, err)
			require.NotZero(t, option(t, c, unix.SOL_SOCKET, unix.SO_OOBINLINE))
		})
	},
	"settimeout": func(t *testing.T) {
		for name, set := range map[string]func(c *reactor.Conn) error{
			"SetDeadline":     func(c *reactor.Conn) error { return c.SetDeadline(time.Now().Add(10 * time.Millisecond)) },
			"SetReadDeadline": func(c *reactor.Conn) error { return c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) },
			"SetWriteDeadline": func(c *reactor.Conn) error {
				_, err := c.Write(morePattern()) // more than the kernel takes
				return errors.Join(err, c.SetWriteDeadline(time.Now().Add(10*time.Millisecond)))
			},
		} {
			s, w := onLocal(t, once(set), nil)
			s.dial().send("x")
			require.ErrorIs(t, receive(t, w.ends), os.ErrDeadlineExceeded, name)
		}
		s, w := onLocal(t, &hooks{}, &reactor.StreamOptions{IdleTimeout: 10 * time.Millisecond})
		s.dial()
		require.ErrorIs(t, receive(t, w.ends), os.ErrDeadlineExceeded)
	},
	"getsockopt": func(t *testing.T) {
		s, w := onLocal(t, &hooks{}, nil)
		s.dial()
		do(t, receive(t, w.refs), func(c *reactor.Conn) {
			require.Equal(t, unix.SOCK_STREAM, option(t, c, unix.SOL_SOCKET, unix.SO_TYPE))
		})
	},
	"getsockname": func(t *testing.T) {
		s, w := onLocal(t, &hooks{}, nil)
		cl := s.dial()
		local := receive(t, w.refs).Tuple().Local.String()
		require.Equal(t, cl.RemoteAddr().String(), local)
		require.Equal(t, s.Listener.Addr().String(), local)
		packets := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
			_ = d.Reply([]byte(s.LocalAddr().String()))
		}), nil)
		require.Equal(t, packets.Listener.Addr().String(), exchange(t, plainPacket(t, "udp4", "127.0.0.1:0"), packets.Listener.Addr(), "x"))
	},
	"getpeername": func(t *testing.T) {
		s, w := onLocal(t, &hooks{}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		require.NoError(t, cl.CloseWrite())
		receive(t, w.ends)
		require.Equal(t, cl.LocalAddr().String(), ref.Tuple().Remote.String())

		server, peer := plainPacket(t, "udp4", "127.0.0.1:0"), make(chan netip.AddrPort, 1)
		require.NoError(t, s.DialPacket("udp", server.LocalAddr().String(), func(s *reactor.PacketConn, err error) (reactor.PacketHandler, error) {
			if err == nil {
				peer <- s.RemoteAddr()
			}
			return packetEcho, err
		}, nil))
		require.Equal(t, server.LocalAddr().String(), receive(t, peer).String())
	},
	"select, poll": func(t *testing.T) {
		s, _ := onLocal(t, reactor.DataFunc(echo), nil)
		var clients []client
		for range 20 {
			clients = append(clients, s.dial())
		}
		for i := range clients {
			cl := clients[len(clients)-1-i]
			cl.send("ready")
			cl.expect("ready")
		}
	},
	"select with a socket left out": func(t *testing.T) {
		came := make(chan string, 10)
		s, w := onLocal(t, &hooks{data: func(_ *reactor.Conn, in []byte) (int, error) {
			came <- string(in)
			return len(in), nil
		}}, nil)
		cl := s.dial()
		ref := receive(t, w.refs)
		do(t, ref, (*reactor.Conn).Pause)
		cl.send("later")
		for range 10 {
			do(t, ref, func(*reactor.Conn) {})
		}
		require.Empty(t, came)
		do(t, ref, (*reactor.Conn).Resume)
		require.Equal(t, "later", receive(t, came))
	},
	"setblocking": func(t *testing.T) {
		s, w := onLocal(t, &hooks{data: func(*reactor.Conn, []byte) (int, error) { return 0, nil }}, nil)
		cl := s.dial()
		conn := hijackVia(t, receive(t, w.refs))
		cl.send("blocking")
		got := make([]byte, 8-len(conn.rest))
		_, err := io.ReadFull(conn, got)
		require.NoError(t, err)
		require.Equal(t, "blocking", string(conn.rest)+string(got))
	},
	"fileno": func(t *testing.T) {
		s, w := onLocal(t, &hooks{}, nil)
		s.dial()
		do(t, receive(t, w.refs), func(c *reactor.Conn) {
			raw, err := c.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) { require.Equal(t, c.FD(), int(fd)) }))
		})
	},
	"fromfd": func(t *testing.T) {
		s, w := onLocal(t, reactor.DataFunc(echo), nil)
		conn, err := dialPlain(s.Listener.Addr())
		require.NoError(t, err)
		receive(t, w.refs)
		got := make(chan string, 1)
		require.NoError(t, s.Adopt(conn, func(c *reactor.Conn, err error) (reactor.Handler, error) {
			if err == nil {
				_, err = c.Write([]byte("adopted"))
			}
			return reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) {
				if len(in) < len("adopted") {
					return 0, nil
				}
				got <- string(in)
				return len(in), nil
			}), err
		}, nil))
		require.Equal(t, "adopted", receive(t, got))

		lis, err := s.AdoptPacket(plainPacket(t, "udp4", "127.0.0.1:0"), begins(packetEcho), nil)
		require.NoError(t, err)
		require.Equal(t, "x", exchange(t, plainPacket(t, "udp4", "127.0.0.1:0"), lis.Addr(), "x"))
	},
}
