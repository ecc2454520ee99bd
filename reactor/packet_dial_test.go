// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// dialedHooks is the handler of a dialled socket, made of functions and channels that tell what it heard.
type dialedHooks struct {
	got    chan string // payloads
	errs   chan error  // of SendError
	closed chan error  // of Close
}

func newDialedHooks() *dialedHooks {
	return &dialedHooks{make(chan string, 256), make(chan error, 256), make(chan error, 1)}
}

func (h *dialedHooks) Datagram(_ *reactor.PacketConn, d *reactor.Datagram) {
	h.got <- string(d.Payload)
}

func (h *dialedHooks) SendError(s *reactor.PacketConn, to netip.AddrPort, err error) {
	if to != s.RemoteAddr() {
		panic(fmt.Sprint("told of ", to))
	}
	h.errs <- err
}

func (h *dialedHooks) Close(_ *reactor.PacketConn, err error) { h.closed <- err }

// dialed dials on s and returns the socket's handle once it is there.
func dialed(t testing.TB, s *reactor.Reactor, network, address string, h reactor.PacketHandler, o *reactor.PacketOptions) reactor.Ref {
	t.Helper()
	refs := make(chan reactor.Ref, 1)
	errs := make(chan error, 1)
	require.NoError(t, s.DialPacket(network, address, func(s *reactor.PacketConn, err error) (reactor.PacketHandler, error) {
		if err != nil {
			errs <- err
			return nil, err
		}
		refs <- s.Ref()
		return h, nil
	}, o))
	select {
	case err := <-errs:
		require.NoError(t, err)
	case ref := <-refs:
		return ref
	case <-time.After(patience):
		require.FailNow(t, "the function of DialPacket was not called")
	}
	panic("unreachable")
}

// dialFails dials and returns the error that the function got.
func dialFails(t testing.TB, s *reactor.Reactor, network, address string, o *reactor.PacketOptions) error {
	t.Helper()
	errs := make(chan error, 1)
	require.NoError(t, s.DialPacket(network, address, func(s *reactor.PacketConn, err error) (reactor.PacketHandler, error) {
		if (s == nil) != (err != nil) {
			panic("neither socket nor error, or both")
		}
		errs <- err
		return nil, err
	}, o))
	return receive(t, errs)
}

// packetServer is a socket of package net to dial to.
func packetServer(t testing.TB, network, address string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UDPConn)
}

// A dialled socket exchanges datagrams of every size with its peer, is known by its tuple, and its handle works from
// any goroutine.
func TestDialPacket(t *testing.T) {
	for _, tc := range []struct {
		network, host string
		largest       int
	}{{"udp", "127.0.0.1", largest4}, {"udp4", "localhost", largest4}, {"udp", "", largest4}, {"udp", "::1", largest6}, {"udp6", "", largest6}} {
		for _, loops := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s to %q/loops=%d", tc.network, tc.host, loops), func(t *testing.T) {
				at := "127.0.0.1:0"
				if tc.largest == largest6 {
					needIPv6(t)
					at = "[::1]:0"
				}
				far := packetServer(t, "udp", at)
				s := start(t, reactor.Options{Loops: loops})
				h := newDialedHooks()
				ref := dialed(t, s.Reactor, tc.network, net.JoinHostPort(tc.host, fmt.Sprint(far.LocalAddr().(*net.UDPAddr).Port)), h, nil)
				require.Equal(t, far.LocalAddr().(*net.UDPAddr).AddrPort(), ref.Tuple().Remote)
				buf := make([]byte, 1<<16)
				for _, size := range []int{0, 1, 1400, tc.largest, 0} {
					n, err := ref.Write(pattern(size))
					require.NoError(t, err)
					require.Equal(t, size, n)
					n, from, err := far.ReadFromUDPAddrPort(buf)
					require.NoError(t, err)
					require.Equal(t, ref.Tuple().Local, from, "connecting had sent something, or the address differs")
					requireSame(t, pattern(size), buf[:n])
					_, err = far.WriteToUDPAddrPort(buf[:n], from)
					require.NoError(t, err)
					requireSame(t, pattern(size), []byte(receive(t, h.got)))
				}
				_, err := ref.Write(make([]byte, tc.largest+1))
				require.ErrorIs(t, err, syscall.EMSGSIZE)

				found, ok := s.Lookup(ref.Tuple())
				require.True(t, ok)
				require.Equal(t, ref, found)
				found, ok = s.ByID(ref.ID())
				require.True(t, ok)
				require.Equal(t, ref, found)
				do(t, ref, func(c *reactor.Conn) {
					sock := c.PacketConn()
					require.Nil(t, c.Session())
					require.Equal(t, ref, sock.Ref())
					require.Equal(t, ref.Tuple(), reactor.FourTuple{Local: sock.LocalAddr(), Remote: sock.RemoteAddr()})
					_, err := sock.Write([]byte("a"))
					require.NoError(t, err)
					require.NoError(t, sock.Send([]byte("b"), netip.AddrPort{}, sock.RemoteAddr()))
					_, err = c.Write([]byte("c"))
					require.NoError(t, err)
					require.ErrorIs(t, sock.Send(nil, netip.AddrPort{}, sock.LocalAddr()), syscall.EISCONN)
				})
				for _, want := range []string{"a", "b", "c"} {
					n, err := far.Read(buf)
					require.NoError(t, err)
					require.Equal(t, want, string(buf[:n]))
				}

				_, err = ref.Write([]byte("last words"))
				require.NoError(t, err)
				require.NoError(t, ref.Close())
				n, err := far.Read(buf)
				require.NoError(t, err)
				require.Equal(t, "last words", string(buf[:n]))
				require.NoError(t, receive(t, h.closed))
				_, err = ref.Write(nil)
				require.ErrorIs(t, err, net.ErrClosed)
				require.ErrorIs(t, ref.Close(), net.ErrClosed)
				_, ok = s.Lookup(ref.Tuple())
				require.False(t, ok)
				require.Zero(t, s.Buffered())
			})
		}
	}
}

// Nobody but the peer is heard.
func TestDialPacketHearsItsPeerAlone(t *testing.T) {
	far, stranger := packetServer(t, "udp", "127.0.0.1:0"), packetServer(t, "udp", "127.0.0.1:0")
	s := start(t, reactor.Options{Loops: 1})
	h := newDialedHooks()
	ref := dialed(t, s.Reactor, "udp", far.LocalAddr().String(), h, nil)
	for range 3 {
		_, _ = stranger.WriteToUDPAddrPort([]byte("psst"), ref.Tuple().Local) // may be told that nobody listens
	}
	_, err := far.WriteToUDPAddrPort([]byte("hello"), ref.Tuple().Local)
	require.NoError(t, err)
	require.Equal(t, "hello", receive(t, h.got))
	require.Empty(t, h.got)
}

// What ICMP says is told, costs no datagram, and the socket works once somebody is there.
func TestDialPacketRefused(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what is reported, and when, is Linux's")
	}
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprint("loops=", loops), func(t *testing.T) {
			gone, err := net.ListenPacket("udp", "127.0.0.1:0")
			require.NoError(t, err)
			address := gone.LocalAddr().String()
			s := start(t, reactor.Options{Loops: loops})
			h := newDialedHooks()
			ref := dialed(t, s.Reactor, "udp", address, h, nil)
			require.NoError(t, gone.Close())

			_, err = ref.Write([]byte("anybody?"))
			require.NoError(t, err)
			err = receive(t, h.errs)
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, "read", op.Op)
			require.Equal(t, address, op.Addr.String())

			// Two in a row: the second meets the error of the first, if that is not late, and leaves nevertheless.
			do(t, ref, func(c *reactor.Conn) {
				sock := c.PacketConn()
				for range 2 {
					_, err := sock.Write([]byte("nobody?"))
					require.NoError(t, err)
				}
			})
			require.ErrorIs(t, receive(t, h.errs), syscall.ECONNREFUSED)
			do(t, ref, func(c *reactor.Conn) {
				stats := c.PacketConn().Stats()
				require.EqualValues(t, 3, stats.Sent)
				require.Zero(t, stats.Unsent)
				require.GreaterOrEqual(t, stats.ReceiveErrors, uint64(2))
			})

			far, err := net.ListenPacket("udp", address)
			if errors.Is(err, syscall.EADDRINUSE) {
				t.Skip("somebody else took the port")
			}
			require.NoError(t, err)
			defer far.Close()
			require.NoError(t, far.SetDeadline(time.Now().Add(patience)))
			_, err = ref.Write([]byte("now?"))
			require.NoError(t, err)
			buf := make([]byte, 16)
			n, from, err := far.ReadFrom(buf)
			require.NoError(t, err)
			require.Equal(t, "now?", string(buf[:n]))
			_, err = far.WriteTo([]byte("yes"), from)
			require.NoError(t, err)
			require.Equal(t, "yes", receive(t, h.got))
		})
	}
}

// Broadcasting is off until asked for.
func TestDialPacketBroadcast(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("127.255.255.255 is a broadcast address on Linux")
	}
	s := start(t, reactor.Options{Loops: 1})
	const everybody = "127.255.255.255:9"
	require.ErrorIs(t, dialFails(t, s.Reactor, "udp", everybody, nil), syscall.EACCES)
	ref := dialed(t, s.Reactor, "udp", everybody, newDialedHooks(), &reactor.PacketOptions{Broadcast: true})
	do(t, ref, func(c *reactor.Conn) {
		_, err := c.PacketConn().Write([]byte("to all"))
		require.NoError(t, err)
		require.EqualValues(t, 1, c.PacketConn().Stats().Sent)
	})
}

// Whoever cannot be dialled is told, on a loop.
func TestDialPacketFails(t *testing.T) {
	s := start(t, reactor.Options{Loops: 2})
	taken := packetServer(t, "udp", "127.0.0.1:0").LocalAddr().(*net.UDPAddr).AddrPort()
	for _, tc := range []struct {
		network, address string
		local            netip.AddrPort
		want             string
		is               error
	}{
		{"udp4", "[::1]:9", netip.AddrPort{}, "dial udp4 [::1]:9: connect: ", syscall.EAFNOSUPPORT},
		{"udp", "127.0.0.1:no-such-service", netip.AddrPort{}, "dial udp 127.0.0.1:no-such-service: ", nil},
		{"udp", "127.0.0.1:70000", netip.AddrPort{}, "dial udp 127.0.0.1:70000: ", nil},
		{"udp", "127.0.0.1:9", taken, "dial udp " + taken.String() + "->127.0.0.1:9: bind: ", syscall.EADDRINUSE},
		{"udp", "127.0.0.1:9", netip.MustParseAddrPort("[::1]:0"), "dial udp [::1]:0->127.0.0.1:9: bind: ", syscall.EAFNOSUPPORT},
	} {
		t.Run(tc.want, func(t *testing.T) {
			err := dialFails(t, s.Reactor, tc.network, tc.address, &reactor.PacketOptions{Local: tc.local})
			require.ErrorContains(t, err, tc.want)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
			}
		})
	}
	never := func(*reactor.PacketConn, error) (reactor.PacketHandler, error) { panic("called") }
	require.EqualError(t, s.DialPacket("udp", "127.0.0.1:9", nil, nil), "reactor: DialPacket without a function")
	require.EqualError(t, s.DialPacket("tcp", "127.0.0.1:9", never, nil), "dial tcp 127.0.0.1:9: unknown network tcp")
	require.ErrorContains(t, s.DialPacket("udp", "127.0.0.1", never, nil), "missing port in address")
	require.EqualError(t, s.DialPacket("udp", "127.0.0.1:9", never, &reactor.PacketOptions{MaxDatagram: -1}), "reactor: MaxDatagram is -1, must be 0 to 65536")
	_, err := s.ListenPacket("udp", "127.0.0.1:0", packetEcho, &reactor.PacketOptions{Local: taken})
	require.EqualError(t, err, "reactor: Local is "+taken.String()+", must be the zero value for ListenPacket")
}

// The local address is the caller's choice.
func TestDialPacketLocal(t *testing.T) {
	far := packetServer(t, "udp", "127.0.0.1:0")
	s := start(t, reactor.Options{Loops: 1})
	for _, local := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		ref := dialed(t, s.Reactor, "udp", far.LocalAddr().String(), newDialedHooks(), &reactor.PacketOptions{Local: netip.MustParseAddrPort(local)})
		require.Equal(t, "127.0.0.1", ref.Tuple().Local.Addr().String())
		require.NotZero(t, ref.Tuple().Local.Port())
	}
	if runtime.GOOS == "linux" {
		ref := dialed(t, s.Reactor, "udp", far.LocalAddr().String(), newDialedHooks(), &reactor.PacketOptions{Local: netip.MustParseAddrPort("127.0.0.2:0")})
		_, err := ref.Write(nil)
		require.NoError(t, err)
		_, from, err := far.ReadFromUDPAddrPort(nil)
		require.NoError(t, err)
		require.Equal(t, ref.Tuple().Local, from)
		require.Equal(t, "127.0.0.2", from.Addr().String())
	}
}

// DialPacket may be called before Serve and on a loop, and its function refuse, or crash.
func TestDialPacketCalledAnywhere(t *testing.T) {
	far := packetServer(t, "udp", "127.0.0.1:0")
	s := start(t, reactor.Options{Loops: 1})
	h := newDialedHooks()
	relay := reactor.PacketFunc(func(from *reactor.PacketConn, d *reactor.Datagram) {
		asked := string(d.Payload)
		err := s.DialPacket("udp", far.LocalAddr().String(), func(s *reactor.PacketConn, err error) (reactor.PacketHandler, error) {
			if err == nil {
				_, err = s.Write([]byte(asked))
			}
			switch asked {
			case "refuse":
				return h, errors.New("enough")
			case "panic":
				panic("ouch")
			case "Goexit":
				runtime.Goexit()
			case "neither":
				return nil, nil
			}
			return h, err
		}, nil)
		if err != nil {
			panic(err)
		}
	})
	cl := dialPacket(t, s.listenPacket("udp", "127.0.0.1:0", relay, nil), "127.0.0.1")
	buf := make([]byte, 64)
	for _, ask := range []string{"refuse", "panic", "Goexit", "neither", "well"} {
		cl.send(ask)
		n, from, err := far.ReadFromUDPAddrPort(buf)
		require.NoError(t, err)
		require.Equal(t, ask, string(buf[:n]))
		if ask == "well" {
			_, err := far.WriteToUDPAddrPort([]byte("answer"), from)
			require.NoError(t, err)
		}
	}
	require.Equal(t, "answer", receive(t, h.got))
	left := 0
	for range s.Conns() {
		left++
	}
	require.Equal(t, 1, left, "the others are closed")
	require.True(t, s.Log.has("ouch"))
	require.True(t, s.Log.has("neither handler nor error"))
}

// Shutdown has what waits served and tells the handler; who dials too late is told as well, once.
func TestDialPacketShutdown(t *testing.T) {
	for _, how := range []string{"Shutdown", "Close"} {
		t.Run(how, func(t *testing.T) {
			const waiting = 150
			far := packetServer(t, "udp", "127.0.0.1:0")
			r, err := reactor.New(reactor.Options{Loops: 2})
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { served <- r.Serve(context.Background()) }()
			h := newDialedHooks()
			ref := dialed(t, r, "udp", far.LocalAddr().String(), h, nil)
			release := block(t, ref)
			for i := range waiting {
				_, err := far.WriteToUDPAddrPort(fmt.Append(nil, i), ref.Tuple().Local)
				require.NoError(t, err)
			}
			taken, told := 0, make(chan error, 1<<16) // more than are tried
			stopped := make(chan error, 1)
			go func() {
				if how == "Close" {
					stopped <- r.Close()
				} else {
					stopped <- r.Shutdown(context.Background())
				}
			}()
			var refused error
			eventually(t, "DialPacket refuses", func() bool {
				refused = r.DialPacket("udp", "127.0.0.1:9", func(_ *reactor.PacketConn, err error) (reactor.PacketHandler, error) {
					told <- err
					return nil, errors.New("not wanted")
				}, nil)
				if refused == nil {
					taken++
				}
				return refused != nil
			})
			require.ErrorIs(t, refused, net.ErrClosed)
			release()
			require.NoError(t, receive(t, stopped))
			require.Len(t, told, taken)
			require.ErrorIs(t, receive(t, h.closed), reactor.ErrShutdown)
			if how == "Shutdown" {
				for i := range waiting {
					require.Equal(t, fmt.Sprint(i), receive(t, h.got))
				}
			}
			_, err = ref.Write(nil)
			require.ErrorIs(t, err, net.ErrClosed)
			require.NoError(t, receive(t, served))
		})
	}
	// One that never served calls the functions nevertheless: of a literal address and of a name.
	r, err := reactor.New(reactor.Options{Loops: 1})
	require.NoError(t, err)
	errs := make(chan error, 2)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		require.NoError(t, r.DialPacket("udp", host+":9", func(_ *reactor.PacketConn, err error) (reactor.PacketHandler, error) {
			errs <- err
			return nil, errors.New("not wanted")
		}, nil))
	}
	require.NoError(t, r.Close())
	require.Len(t, errs, 2)
}

// crashingDialed is dialedHooks whose SendError and Close crash once they have told.
type crashingDialed struct {
	*dialedHooks
	crash func()
}

func (h *crashingDialed) SendError(s *reactor.PacketConn, to netip.AddrPort, err error) {
	h.dialedHooks.SendError(s, to, err)
	h.crash()
}

func (h *crashingDialed) Close(s *reactor.PacketConn, err error) {
	h.dialedHooks.Close(s, err)
	h.crash()
}

// Each socket has got its Close when the reactor's Close returns, which takes no longer, even if those of others crash.
func TestDialPacketCloseCrashes(t *testing.T) {
	for name, crash := range map[string]func(){"panic": func() { panic("ouch") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			far := packetServer(t, "udp", "127.0.0.1:0")
			ended := make(chan error, 1)
			s := transport{"tcp", 1}.serve(t, func(*reactor.Conn) (reactor.Handler, error) {
				return &hooks{close: func(_ *reactor.Conn, err error) { ended <- err }}, nil
			}, nil)
			var all []*dialedHooks
			for range 4 {
				h := newDialedHooks()
				dialed(t, s.Reactor, "udp", far.LocalAddr().String(), &crashingDialed{h, crash}, nil)
				all = append(all, h)
			}
			s.dial()
			eventually(t, "the connection is there", func() bool { return s.NumConns() == 1 })
			require.NoError(t, s.Close())
			for _, h := range all {
				require.ErrorIs(t, receive(t, h.closed), reactor.ErrShutdown)
			}
			require.ErrorIs(t, receive(t, ended), reactor.ErrShutdown)
		})
	}
}

// A SendError that crashes as the socket closes does not take its Close.
func TestDialPacketSendErrorCrashes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what is reported, and when, is Linux's")
	}
	for name, crash := range map[string]func(){"panic": func() { panic("ouch") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			s := start(t, reactor.Options{Loops: 1})
			h := newDialedHooks()
			ref := dialed(t, s.Reactor, "udp", refusing(t), &crashingDialed{h, crash}, nil)
			other := dialed(t, s.Reactor, "udp", packetServer(t, "udp", "127.0.0.1:0").LocalAddr().String(), newDialedHooks(), nil)
			do(t, ref, func(c *reactor.Conn) { // all that is posted here runs in one turn, without the poller in between
				for _, to := range []reactor.Ref{ref, other, ref} { // the last meets, when it leaves, the error of the first
					_, err := to.Write([]byte("x"))
					require.NoError(t, err)
				}
				require.NoError(t, c.PacketConn().Close())
			})
			require.ErrorIs(t, receive(t, h.errs), syscall.ECONNREFUSED)
			require.NoError(t, receive(t, h.closed))
		})
	}
}

// refusing returns the address of a port that answers with ICMP: its socket is connected to itself.
func refusing(t testing.TB) string {
	t.Helper()
	conn := packetServer(t, "udp", "127.0.0.1:0")
	raw, err := conn.SyscallConn()
	require.NoError(t, err)
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	require.NoError(t, raw.Control(func(fd uintptr) {
		err = unix.Connect(int(fd), &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}))
	require.NoError(t, err)
	return at.String()
}

// farewell is dialedHooks whose Close writes.
type farewell struct{ *dialedHooks }

func (h farewell) Close(s *reactor.PacketConn, err error) {
	for range 3 { // the second meets the error of the first
		_, _ = s.Write([]byte("bye"))
	}
	h.dialedHooks.Close(s, err)
}

// Nothing is heard after Close, not even of what it wrote itself.
func TestDialPacketCloseIsLast(t *testing.T) {
	for _, end := range []func(r *reactor.Reactor) error{
		(*reactor.Reactor).Close,
		func(r *reactor.Reactor) error { return r.Shutdown(context.Background()) },
	} {
		s := start(t, reactor.Options{Loops: 1})
		h := newDialedHooks()
		dialed(t, s.Reactor, "udp", refusing(t), farewell{h}, nil)
		require.NoError(t, end(s.Reactor))
		require.ErrorIs(t, receive(t, h.closed), reactor.ErrShutdown)
		require.Empty(t, h.errs)
	}
}

// An exchange by a dialled socket allocates nothing.
func TestDialPacketAllocations(t *testing.T) {
	if raceBuild || plainSyscalls || strings.Contains(buildSetting("-tags"), "poll_opt") {
		t.Skip("not the reactor's own allocations")
	}
	far := packetServer(t, "udp", "127.0.0.1:0")
	s := start(t, reactor.Options{Loops: 1})
	got := make(chan int, 64)
	ref := dialed(t, s.Reactor, "udp", far.LocalAddr().String(), reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		got <- len(d.Payload)
	}), nil)
	out, in := pattern(512), make([]byte, 1024)
	exchange := func() {
		for range 4 {
			if _, err := ref.Write(out); err != nil {
				t.Error(err)
			}
		}
		for range 4 {
			n, from, err := far.ReadFromUDPAddrPort(in)
			if err == nil {
				_, err = far.WriteToUDPAddrPort(in[:n], from)
			}
			if err != nil {
				t.Error(err)
			}
			<-got
		}
	}
	for range 2000 { // the pools grow warm
		exchange()
	}
	require.Zero(t, testing.AllocsPerRun(200, exchange))
}
