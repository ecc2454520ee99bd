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
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

const (
	largest4 = 65507 // bytes of the largest datagram over IPv4
	largest6 = 65527 // and over IPv6
)

// packetHooks is a PacketHandler that hears of failures.
type packetHooks struct {
	reactor.PacketFunc
	sendError func(s *reactor.PacketConn, to netip.AddrPort, err error)
}

func (h *packetHooks) SendError(s *reactor.PacketConn, to netip.AddrPort, err error) {
	h.sendError(s, to, err)
}

// packetEcho answers with what came.
var packetEcho = reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
	if err := d.Reply(d.Payload); err != nil {
		panic(err)
	}
})

// listenPacket adds a packet listener.
func (s *server) listenPacket(network, address string, h reactor.PacketHandler, o *reactor.PacketOptions) *reactor.Listener {
	s.t.Helper()
	lis, err := s.ListenPacket(network, address, h, o)
	require.NoError(s.t, err)
	return lis
}

// servePacket starts a reactor of one loop with one packet listener.
func servePacket(t testing.TB, network, address string, h reactor.PacketHandler, o *reactor.PacketOptions) *server {
	t.Helper()
	s := start(t, reactor.Options{Loops: 1})
	s.Listener = s.listenPacket(network, address, h, o)
	return s
}

// A packetClient is a connected UDP socket: it receives only from the address it sends to.
type packetClient struct {
	*net.UDPConn
	t testing.TB
}

// dialPacket connects to the port of the listener at a host.
func dialPacket(t testing.TB, lis *reactor.Listener, host string) packetClient {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(host, fmt.Sprint(lis.Addr().(*net.UDPAddr).Port)))
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() })
	return packetClient{conn.(*net.UDPConn), t}
}

func (cl packetClient) send(p string) {
	cl.t.Helper()
	_, err := cl.Write([]byte(p))
	require.NoError(cl.t, err)
}

// receive returns the next datagram.
func (cl packetClient) receive() string {
	cl.t.Helper()
	buf := make([]byte, 1<<16)
	n, err := cl.Read(buf)
	require.NoError(cl.t, err)
	return string(buf[:n])
}

// exchange sends p and expects want.
func (cl packetClient) exchange(p, want string) {
	cl.t.Helper()
	cl.send(p)
	got := cl.receive()
	require.Equal(cl.t, len(want), len(got))
	require.True(cl.t, want == got, "the bytes differ")
}

// needIPv6 skips the test where the system has none.
func needIPv6(t testing.TB) {
	t.Helper()
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	_ = conn.Close()
}

// packetRoutes are the ways in which a datagram can come: how the listener is bound and where the client sends.
var packetRoutes = []struct {
	network, address, host string
	largest                int
	known                  bool // the address asked for, on every system
}{
	{"udp", "127.0.0.1:0", "127.0.0.1", largest4, true},
	{"udp", "[::1]:0", "::1", largest6, true},
	{"udp4", ":0", "127.0.0.1", largest4, false},
	{"udp4", "0.0.0.0:0", "127.0.0.2", largest4, false},
	{"udp", ":0", "127.0.0.1", largest4, false},
	{"udp", ":0", "127.0.0.2", largest4, false},
	{"udp", "[::]:0", "127.0.0.2", largest4, false},
	{"udp", ":0", "::1", largest6, false},
	{"udp6", ":0", "::1", largest6, false},
}

// Datagrams of every size arrive exactly and are answered from the address that was asked: a connected client
// hears no other.
func TestPacketReply(t *testing.T) {
	for _, route := range packetRoutes {
		for _, loops := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s %s at %s/loops=%d", route.network, route.address, route.host, loops), func(t *testing.T) {
				if strings.Contains(route.host, "::") {
					needIPv6(t)
				}
				type arrival struct {
					from, to  netip.AddrPort
					ifIndex   int
					truncated bool
				}
				arrivals := make(chan arrival, 1)
				s := start(t, reactor.Options{Loops: loops})
				lis := s.listenPacket(route.network, route.address, reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
					arrivals <- arrival{d.From, d.To, d.IfIndex, d.Truncated}
					packetEcho(s, d)
				}), nil)
				cl := dialPacket(t, lis, route.host)
				for _, size := range []int{0, 1, 64, 0, 1400, route.largest, 1} {
					sent := string(pattern(size))
					cl.exchange(sent, sent)
					got := receive(t, arrivals)
					require.Equal(t, cl.LocalAddr().(*net.UDPAddr).AddrPort(), got.from)
					require.False(t, got.truncated)
					if !route.known && runtime.GOOS != "linux" {
						continue
					}
					require.Equal(t, cl.RemoteAddr().(*net.UDPAddr).AddrPort(), got.to)
					if route.known {
						require.Zero(t, got.ifIndex)
					} else {
						require.Equal(t, loopback(t), got.ifIndex)
					}
				}
			})
		}
	}
}

// loopback returns the number of the loopback interface.
func loopback(t testing.TB) int {
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Index
		}
	}
	require.FailNow(t, "no loopback interface")
	return 0
}

// What a broadcast asks for is answered from an address of the machine.
func TestPacketReplyToBroadcast(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("127.255.255.255 is a broadcast address on Linux")
	}
	for _, network := range []string{"udp", "udp4"} {
		t.Run(network, func(t *testing.T) {
			asked := make(chan netip.AddrPort, 1)
			s := servePacket(t, network, ":0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
				asked <- d.To
				packetEcho(s, d)
			}), nil)
			cl, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			require.NoError(t, err)
			defer cl.Close()
			require.NoError(t, cl.SetDeadline(time.Now().Add(patience)))
			port := s.Listener.Addr().(*net.UDPAddr).AddrPort().Port()
			everybody := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 255, 255, 255}), port)
			_, err = cl.WriteToUDPAddrPort([]byte("who is there?"), everybody)
			require.NoError(t, err)
			require.Equal(t, everybody, receive(t, asked))
			_, from, err := cl.ReadFromUDPAddrPort(make([]byte, 64))
			require.NoError(t, err)
			require.Equal(t, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), from)
		})
	}
}

// A datagram longer than MaxDatagram is cut, flagged and counted; others of the same loop are not.
func TestPacketTruncated(t *testing.T) {
	report := reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		_ = d.Reply(fmt.Appendf(nil, "%s %v %d", d.Payload, d.Truncated, s.Stats().Truncated))
	})
	s := servePacket(t, "udp", "127.0.0.1:0", report, &reactor.PacketOptions{MaxDatagram: 4})
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	cl.exchange("abcd", "abcd false 0")
	cl.exchange("abcde", "abcd true 1")

	whole := dialPacket(t, s.listenPacket("udp", "127.0.0.1:0", report, nil), "127.0.0.1")
	whole.exchange("abcde", "abcde false 0")
	cl.exchange(string(pattern(largest4))[1:], string(pattern(5))[1:]+" true 2")
	cl.exchange("", " false 2")
}

// What cannot be sent is told at once: too much for the protocol, an address that the socket does not speak, none.
func TestPacketSendFailsAtOnce(t *testing.T) {
	var (
		none netip.AddrPort
		v4   = netip.MustParseAddrPort("127.0.0.1:9")
		v6   = netip.MustParseAddrPort("[::1]:9")
	)
	for _, tc := range []struct {
		network, address, host string
		size                   int
		from, to               netip.AddrPort
		want                   error
	}{
		{"udp4", "127.0.0.1:0", "127.0.0.1", largest4 + 1, none, v4, syscall.EMSGSIZE},
		{"udp", ":0", "127.0.0.1", largest4 + 1, none, v4, syscall.EMSGSIZE},
		{"udp", "[::1]:0", "::1", largest6 + 1, none, v6, syscall.EMSGSIZE},
		{"udp4", "127.0.0.1:0", "127.0.0.1", 1, none, v6, syscall.EAFNOSUPPORT},
		{"udp", "127.0.0.1:0", "127.0.0.1", 1, v6, v4, syscall.EAFNOSUPPORT},
		{"udp6", "[::1]:0", "::1", 1, none, v4, syscall.EAFNOSUPPORT},
		{"udp", "127.0.0.1:0", "127.0.0.1", 1, none, none, syscall.EDESTADDRREQ},
	} {
		t.Run(fmt.Sprintf("%s %s to %v: %v", tc.network, tc.address, tc.to, tc.want), func(t *testing.T) {
			if strings.Contains(tc.host, "::") {
				needIPv6(t)
			}
			errs := make(chan error, 1)
			s := servePacket(t, tc.network, tc.address, reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
				errs <- s.Send(make([]byte, tc.size), tc.from, tc.to)
				_ = d.Reply(fmt.Append(nil, s.Stats().Sent, s.Stats().Unsent))
			}), nil)
			cl := dialPacket(t, s.Listener, tc.host)
			cl.exchange("try", "0 0")
			err := receive(t, errs)
			require.ErrorIs(t, err, tc.want)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, "write", op.Op)
		})
	}
}

// What the kernel refuses when a batch is sent is told to SendError, each with its address, and counted; the rest
// of the batch leaves.
func TestPacketSendError(t *testing.T) {
	var (
		none    netip.AddrPort
		nowhere = netip.MustParseAddrPort("127.0.0.1:0")
		all     = netip.MustParseAddrPort("127.255.255.255:9")
	)
	type failure struct {
		to  netip.AddrPort
		err error
	}
	failures := make(chan failure, 8)
	h := &packetHooks{
		PacketFunc: func(s *reactor.PacketConn, d *reactor.Datagram) {
			if string(d.Payload) == "count" {
				_ = d.Reply(fmt.Append(nil, s.Stats().Sent, s.Stats().Unsent))
				return
			}
			for _, to := range []netip.AddrPort{nowhere, d.From, all, d.From} {
				if err := s.Send([]byte(to.String()), none, to); err != nil {
					panic(err)
				}
			}
		},
		sendError: func(s *reactor.PacketConn, to netip.AddrPort, err error) {
			failures <- failure{to, err}
			_ = s.Send([]byte("may fail again"), none, to)
		},
	}
	s := servePacket(t, "udp", "127.0.0.1:0", h, nil)
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	cl.send("go")
	for range 2 {
		require.Equal(t, cl.LocalAddr().String(), cl.receive())
	}
	first, second := receive(t, failures), receive(t, failures)
	require.Equal(t, nowhere, first.to)
	require.ErrorIs(t, first.err, syscall.EINVAL)
	require.Equal(t, all, second.to)
	require.ErrorIs(t, second.err, syscall.EACCES, "broadcasting is off until asked for")
	var op *net.OpError
	require.ErrorAs(t, second.err, &op)
	require.Equal(t, all.String(), op.Addr.String())
	cl.exchange("count", "2 4") // the two of SendError included
	require.Empty(t, failures)
}

func TestPacketBroadcastOption(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("127.255.255.255 is a broadcast address on Linux")
	}
	everybody := netip.MustParseAddrPort("127.255.255.255:9")
	s := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		_ = s.Send(d.Payload, netip.AddrPort{}, everybody)
		_ = d.Reply(fmt.Append(nil, s.Stats().Sent, s.Stats().Unsent))
	}), &reactor.PacketOptions{Broadcast: true})
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	cl.exchange("once", "0 0")
	cl.exchange("again", "2 0")
}

// A port in use is told, whoever has it.
func TestPacketPortInUse(t *testing.T) {
	refused := func(t *testing.T, err error) {
		t.Helper()
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		require.Contains(t, err.Error(), "address already in use")
	}
	for _, tc := range []struct{ network, address string }{{"udp", "127.0.0.1:0"}, {"udp4", ":0"}, {"udp", ":0"}} {
		t.Run(tc.network+" "+tc.address, func(t *testing.T) {
			a, b := start(t, reactor.Options{Loops: 2}), start(t, reactor.Options{Loops: 2})
			address := a.listenPacket(tc.network, tc.address, packetEcho, nil).Addr().String()
			_, err := b.ListenPacket(tc.network, address, packetEcho, nil)
			refused(t, err)
			_, err = a.ListenPacket(tc.network, address, packetEcho, nil)
			refused(t, err)
			_, err = net.ListenPacket(tc.network, address)
			refused(t, err)

			other, err := net.ListenPacket(tc.network, tc.address)
			require.NoError(t, err)
			defer other.Close()
			_, err = b.ListenPacket(tc.network, other.LocalAddr().String(), packetEcho, nil)
			refused(t, err)
		})
	}
}

// A panic or Goexit costs the call alone: every other datagram of the batch is answered.
func TestPacketHandlerPanics(t *testing.T) {
	const batch = 40
	for name, crash := range map[string]func(){"panic": func() { panic("ouch") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			s := start(t, reactor.Options{Loops: 1})
			gate := make(chan struct{})
			h := &packetHooks{
				PacketFunc: func(s *reactor.PacketConn, d *reactor.Datagram) {
					switch string(d.Payload) {
					case "wait":
						<-gate // so that what follows is one batch
					case "crash":
						_ = s.Send(nil, netip.AddrPort{}, netip.AddrPortFrom(d.From.Addr(), 0)) // will fail
						crash()
					default:
						packetEcho(s, d)
					}
				},
				sendError: func(s *reactor.PacketConn, to netip.AddrPort, _ error) {
					_ = s.Send(nil, netip.AddrPort{}, to) // fails again, unheard
					crash()
				},
			}
			lis := s.listenPacket("udp", "127.0.0.1:0", h, nil)
			cl := dialPacket(t, lis, "127.0.0.1")
			cl.send("wait")
			for i := range batch {
				cl.send("crash")
				cl.send(fmt.Sprint(i))
			}
			close(gate)
			for i := range batch {
				require.Equal(t, fmt.Sprint(i), cl.receive())
			}
			cl.exchange("still there?", "still there?")
			require.Contains(t, s.Log.String(), "packet handler panicked")
			require.Contains(t, s.Log.String(), "packet_test.go")
		})
	}
}

// A listener may be closed by its own handler; the answers of the batch still leave.
func TestPacketCloseInHandler(t *testing.T) {
	var lis *reactor.Listener
	conns := make(chan *reactor.PacketConn, 1)
	known := make(chan struct{})
	s := start(t, reactor.Options{Loops: 1})
	lis = s.listenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		<-known
		_ = lis.Close()
		packetEcho(s, d)
		conns <- s
	}), nil)
	close(known)
	cl := dialPacket(t, lis, "127.0.0.1")
	cl.exchange("close", "close")
	require.NoError(t, lis.Close()) // returns when the sockets are closed
	conn, err := net.ListenPacket("udp", lis.Addr().String())
	require.NoError(t, err, "the port is free")
	_ = conn.Close()

	// What was kept of it answers net.ErrClosed.
	closed := receive(t, conns)
	errs := make(chan error, 2)
	stream := s.listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) {
		errs <- closed.Send(nil, netip.AddrPort{}, lis.Addr().(*net.UDPAddr).AddrPort())
		_, _, err := closed.Buffers()
		errs <- err
		return nil, errors.New("enough")
	}, nil)
	dialTo(t, stream.Addr())
	require.ErrorIs(t, receive(t, errs), net.ErrClosed)
	require.ErrorIs(t, receive(t, errs), net.ErrClosed)
}

// Shutdown has what waits in the sockets served and the answers sent.
func TestPacketDrain(t *testing.T) {
	const waiting = 150 // more than two batches
	r, err := reactor.New(reactor.Options{Loops: 2})
	require.NoError(t, err)
	lis, err := r.ListenPacket("udp", "127.0.0.1:0", packetEcho, nil)
	require.NoError(t, err)
	cl := dialPacket(t, lis, "127.0.0.1")
	for i := range waiting {
		cl.send(fmt.Sprint(i))
	}
	require.NoError(t, r.Shutdown(context.Background()))
	for i := range waiting {
		require.Equal(t, fmt.Sprint(i), cl.receive())
	}
	_, err = r.ListenPacket("udp", "127.0.0.1:0", packetEcho, nil)
	require.ErrorIs(t, err, net.ErrClosed)
}

// Close of a reactor that never served gives the sockets back.
func TestPacketCloseUnserved(t *testing.T) {
	r, err := reactor.New(reactor.Options{Loops: 2})
	require.NoError(t, err)
	_, err = r.ListenPacket("udp", "127.0.0.1:0", packetEcho, nil)
	require.NoError(t, err)
	require.NoError(t, r.Close())
}

// The kernel spreads the clients over the loops, and each stays with its socket.
func TestPacketSeveralLoops(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("one socket elsewhere")
	}
	s := start(t, reactor.Options{Loops: 3})
	lis := s.listenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		_ = d.Reply(fmt.Appendf(nil, "%p", s))
	}), nil)
	sockets := map[string]bool{}
	for range 64 {
		cl := dialPacket(t, lis, "127.0.0.1")
		cl.send("who?")
		who := cl.receive()
		cl.exchange("who again?", who)
		sockets[who] = true
	}
	require.Len(t, sockets, 3)
}

// An exchange allocates nothing.
func TestPacketAllocations(t *testing.T) {
	if raceBuild || plainSyscalls {
		t.Skip("the race detector and the ordinary system calls allocate")
	}
	for _, route := range packetRoutes {
		t.Run(fmt.Sprintf("%s %s at %s", route.network, route.address, route.host), func(t *testing.T) {
			if strings.Contains(route.host, "::") {
				needIPv6(t)
			}
			s := servePacket(t, route.network, route.address, packetEcho, nil)
			cl := dialPacket(t, s.Listener, route.host)
			out, in := pattern(512), make([]byte, 1024)
			allocs := testing.AllocsPerRun(200, func() {
				for range 4 {
					if _, err := cl.Write(out); err != nil {
						t.Error(err)
					}
				}
				for range 4 {
					if _, err := cl.Read(in); err != nil {
						t.Error(err)
					}
				}
			})
			require.Zero(t, allocs)
		})
	}
}

// plainSyscalls says whether datagrams take the ordinary system calls.
var plainSyscalls = func() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok || runtime.GOOS != "linux" {
		return true
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" && strings.Contains(s.Value, "quartet_plainsyscalls") {
			return true
		}
	}
	return false
}()

// A flood of datagrams leaves the streams of the loop their turn: each datagram that is handled makes two more, so that
// the socket is never empty.
func TestPacketFloodAndStream(t *testing.T) {
	var flood packetClient
	known := make(chan struct{})
	var stop atomic.Bool
	s := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		<-known
		for range 2 {
			if !stop.Load() {
				_, _ = flood.Write(d.Payload)
			}
		}
	}), nil)
	flood = dialPacket(t, s.Listener, "127.0.0.1")
	close(known)
	flood.send("and again")
	cl := dialTo(t, s.listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(echo)), nil).Addr())
	for range 20 {
		cl.send("ping")
		cl.expect("ping")
	}
	stop.Store(true)
}

// An answer to a client that is gone draws an ICMP message, which changes nothing.
func TestPacketRefused(t *testing.T) {
	s := servePacket(t, "udp", ":0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		to := d.From
		if string(d.Payload) != "me" {
			to = netip.MustParseAddrPort(string(d.Payload))
		}
		if err := s.Send(d.Payload, netip.AddrPort{}, to); err != nil {
			panic(err)
		}
	}), nil)
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	_ = gone.Close()
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	for range 100 {
		cl.send(gone.LocalAddr().String())
		cl.exchange("me", "me")
	}
}

// Sends gather without bound in number or size: they leave in between.
func TestPacketManySends(t *testing.T) {
	for _, tc := range []struct{ count, size int }{{150, 100}, {5, 60000}} {
		t.Run(fmt.Sprintf("%d of %d bytes", tc.count, tc.size), func(t *testing.T) {
			next := make(chan struct{}, tc.count)
			s := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
				answer := make([]byte, tc.size)
				for i := range tc.count {
					answer[0] = byte(i) // Reply keeps nothing of it
					_ = d.Reply(answer)
					if tc.size > 1000 && i > 1 {
						receive(t, next) // the client's receive buffer may hold no more
					}
				}
			}), nil)
			cl := dialPacket(t, s.Listener, "127.0.0.1")
			cl.send("go")
			for i := range tc.count {
				got := cl.receive()
				next <- struct{}{}
				require.Len(t, got, tc.size)
				require.Equal(t, byte(i), got[0])
			}
		})
	}
}

// Outside its own batch a socket sends at once: from another socket's handler, whose own sends keep their order,
// and from a connection's.
func TestPacketSendFromElsewhere(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	var target netip.AddrPort
	var conn *reactor.PacketConn
	a := s.listenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		conn, target = s, d.From
		packetEcho(s, d)
	}), nil)
	through := func(p []byte) error { return conn.Send(p, netip.AddrPortFrom(netip.IPv6Unspecified(), 0), target) }
	b := s.listenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		_ = d.Reply([]byte("first"))
		_ = d.Reply(fmt.Append(nil, through(d.Payload)))
		_ = d.Reply([]byte("last"))
	}), nil)
	stream := s.listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		_ = through(in)
		err := conn.Send(nil, netip.AddrPort{}, netip.AddrPortFrom(target.Addr(), 0))
		if !errors.Is(err, syscall.EINVAL) || conn.Stats().Unsent != 1 {
			panic(err)
		}
		return len(in), nil
	})), nil)

	ca, cb := dialPacket(t, a, "127.0.0.1"), dialPacket(t, b, "127.0.0.1")
	ca.exchange("here I am", "here I am")
	cb.send("from b")
	require.Equal(t, "from b", ca.receive())
	for _, want := range []string{"first", "<nil>", "last"} {
		require.Equal(t, want, cb.receive())
	}
	dialTo(t, stream.Addr()).send("from a stream")
	require.Equal(t, "from a stream", ca.receive())
	require.NotContains(t, s.Log.String(), "panicked")
}

// Every datagram is accounted for: received, or dropped by the kernel.
func TestPacketDropped(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SO_RXQ_OVFL is Linux's")
	}
	gate := make(chan struct{})
	s := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
		switch string(d.Payload) {
		case "wait":
			<-gate
		case "count":
			_ = d.Reply(fmt.Append(nil, s.Stats().Received+s.Stats().Dropped, s.Stats().Dropped > 0))
		}
	}), &reactor.PacketOptions{RecvBuffer: 8 << 10})
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	cl.send("wait")
	const flood = 1000
	for range flood {
		cl.send("flood")
	}
	close(gate)
	buf := make([]byte, 64)
	for asked := flood + 2; ; asked++ { // the question may be dropped like the others
		cl := dialPacket(t, s.Listener, "127.0.0.1") // hears no late answer to the one before
		cl.send("count")
		require.NoError(t, cl.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
		n, err := cl.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && asked < flood+100 {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(asked, true), string(buf[:n]))
		return
	}
}

func TestPacketBuffers(t *testing.T) {
	type sizes struct{ receive, send int }
	granted := func(o *reactor.PacketOptions) sizes {
		got := make(chan sizes, 1)
		s := servePacket(t, "udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, _ *reactor.Datagram) {
			receive, send, err := s.Buffers()
			if err != nil {
				panic(err)
			}
			got <- sizes{receive, send}
		}), o)
		dialPacket(t, s.Listener, "127.0.0.1").send("how much?")
		return receive(t, got)
	}
	usual := granted(nil)
	require.Positive(t, usual.receive)
	require.Positive(t, usual.send)
	small := granted(&reactor.PacketOptions{RecvBuffer: 32 << 10, SendBuffer: 48 << 10})
	require.GreaterOrEqual(t, small.receive, 32<<10)
	require.GreaterOrEqual(t, small.send, 48<<10)
	require.Less(t, small.receive, usual.receive)
	require.Less(t, small.send, usual.send)
}

func TestPacketOptionsChecked(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	for _, tc := range []struct {
		o    reactor.PacketOptions
		want string
	}{
		{reactor.PacketOptions{MaxDatagram: -1}, "reactor: MaxDatagram is -1, must be 0 to 65536"},
		{reactor.PacketOptions{MaxDatagram: 65537}, "reactor: MaxDatagram is 65537, must be 0 to 65536"},
		{reactor.PacketOptions{RecvBuffer: -1}, "reactor: RecvBuffer is -1, must be 0 to 1073741824"},
		{reactor.PacketOptions{SendBuffer: 1<<30 + 1}, "reactor: SendBuffer is 1073741825, must be 0 to 1073741824"},
	} {
		_, err := s.ListenPacket("udp", "127.0.0.1:0", packetEcho, &tc.o)
		require.EqualError(t, err, tc.want)
	}
	_, err := s.ListenPacket("udp", "127.0.0.1:0", nil, nil)
	require.EqualError(t, err, "reactor: ListenPacket without a handler")
	_, err = s.ListenPacket("tcp", "127.0.0.1:0", packetEcho, nil)
	require.EqualError(t, err, "listen tcp 127.0.0.1:0: unknown network tcp")
	_, err = s.ListenPacket("udp", "127.0.0.1", packetEcho, nil)
	require.ErrorContains(t, err, "missing port in address")
}
