// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package reactor_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sendSegments sends p as datagrams of size bytes, the last as long as is left, by one call.
func (cl packetClient) sendSegments(p []byte, size int) {
	cl.t.Helper()
	oob := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(size))
	n, _, err := cl.WriteMsgUDP(p, oob, nil)
	require.NoError(cl.t, err)
	require.Equal(cl.t, len(p), n)
}

// coalesces has the client receive as one what came segmented, and says whether the kernel can.
func (cl packetClient) coalesces() (can bool) {
	cl.t.Helper()
	raw, err := cl.SyscallConn()
	require.NoError(cl.t, err)
	require.NoError(cl.t, raw.Control(func(fd uintptr) {
		can = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
	}))
	return can
}

// A receive of several datagrams is delivered as these, whole and in order, whatever the handler does with them.
func TestPacketGRO(t *testing.T) {
	for _, route := range packetRoutes {
		t.Run(fmt.Sprintf("%s %s at %s", route.network, route.address, route.host), func(t *testing.T) {
			if strings.Contains(route.host, "::") {
				needIPv6(t)
			}
			type arrival struct {
				payload  []byte
				where    uintptr
				from, to netip.AddrPort
			}
			arrivals := make(chan arrival, 1024)
			var received uint64
			s := servePacket(t, route.network, route.address, reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
				if received = s.Stats().Received; string(d.Payload) == "panic" {
					panic("ouch")
				}
				arrivals <- arrival{slices.Clone(d.Payload), uintptr(unsafe.Pointer(unsafe.SliceData(d.Payload))), d.From, d.To}
				_ = append(d.Payload, "this must not reach the next"...)
				d.From, d.Payload = netip.AddrPort{}, nil
			}), &reactor.PacketOptions{GRO: true})
			if !s.Listener.Granted().GRO {
				t.Skip("the kernel has no UDP_GRO")
			}
			cl := dialPacket(t, s.Listener, route.host)
			expect := func(want ...[]byte) (where []uintptr) {
				t.Helper()
				for _, p := range want {
					got := receive(t, arrivals)
					requireSame(t, p, got.payload)
					require.Equal(t, cl.LocalAddr().(*net.UDPAddr).AddrPort(), got.from)
					require.Equal(t, cl.RemoteAddr().(*net.UDPAddr).AddrPort(), got.to)
					where = append(where, got.where)
				}
				return where
			}
			all := pattern(5*1000 + 300)
			cl.sendSegments(all, 1000)
			pieces := slices.Collect(slices.Chunk(all, 1000))
			where := expect(pieces...)
			require.Equal(t, where[0]+1000, where[1], "they came apart: nothing was tested")

			cl.sendSegments(all[:4000], 1000) // no last short one
			expect(pieces[:4]...)
			cl.sendSegments(all[:64], 1)
			expect(slices.Collect(slices.Chunk(all[:64], 1))...)
			for _, size := range []int{0, 1, route.largest, 0, 7} {
				cl.send(string(all[:min(size, len(all))]) + strings.Repeat("x", max(0, size-len(all))))
				require.Len(t, receive(t, arrivals).payload, size)
			}
			cl.sendSegments([]byte("12345panic67890end"), 5) // a panic costs one
			expect([]byte("12345"), []byte("67890"), []byte("end"))
			require.EqualValues(t, 6+4+64+5+4, received)
		})
	}
}

// Replies of one size to one client leave as one send, the last may be shorter; the others apart and in order.
func TestPacketGSO(t *testing.T) {
	for _, route := range packetRoutes {
		t.Run(fmt.Sprintf("%s %s at %s", route.network, route.address, route.host), func(t *testing.T) {
			if strings.Contains(route.host, "::") {
				needIPv6(t)
			}
			sizes := []int{100, 100, 100, 40, 100, 0, 0, 200, 200, 201, 7, 30000, 30000, 30000, 5}
			together := []int{340, 100, 0, 0, 400, 208, 60000, 30005}
			s := servePacket(t, route.network, route.address, reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
				if string(d.Payload) == "count" {
					_ = d.Reply(fmt.Append(nil, s.Stats().Sent, s.Stats().Unsent))
					return
				}
				rest := pattern(200000)
				for _, size := range sizes {
					if err := d.Reply(rest[:size]); err != nil {
						panic(err)
					}
					rest = rest[size:]
				}
			}), &reactor.PacketOptions{GSO: true})
			if !s.Listener.Granted().GSO {
				t.Skip("the kernel has no UDP_SEGMENT")
			}
			for _, coalesced := range []bool{false, true} {
				cl, want := dialPacket(t, s.Listener, route.host), sizes
				require.NoError(t, cl.SetReadBuffer(1<<20))
				if coalesced {
					if want = together; !cl.coalesces() {
						t.Skip("the kernel has no UDP_GRO to see it by")
					}
				}
				cl.send("go")
				rest := pattern(200000)
				for _, size := range want {
					requireSame(t, rest[:size], []byte(cl.receive()), size)
					rest = rest[size:]
				}
			}
			cl := dialPacket(t, s.Listener, route.host)
			cl.exchange("count", fmt.Sprint(2*len(sizes), 0))
		})
	}
}

// A batch for several clients, some of whom cannot be reached: the failures are told and counted datagram by datagram.
func TestPacketGSOFailures(t *testing.T) {
	failures := make(chan netip.AddrPort, 64)
	h := &packetHooks{
		PacketFunc: func(s *reactor.PacketConn, d *reactor.Datagram) {
			if string(d.Payload) == "count" {
				_ = d.Reply(fmt.Append(nil, s.Stats().Sent, s.Stats().Unsent))
				return
			}
			for _, to := range []netip.AddrPort{d.From, d.From, netip.AddrPortFrom(d.From.Addr(), 0), d.From} {
				for range 3 {
					if err := s.Send([]byte("same"), netip.AddrPort{}, to); err != nil {
						panic(err)
					}
				}
			}
		},
		sendError: func(_ *reactor.PacketConn, to netip.AddrPort, _ error) { failures <- to },
	}
	s := servePacket(t, "udp", "127.0.0.1:0", h, &reactor.PacketOptions{GSO: true})
	cl := dialPacket(t, s.Listener, "127.0.0.1")
	cl.send("go")
	for range 9 {
		require.Equal(t, "same", cl.receive())
	}
	for range 3 {
		require.Zero(t, receive(t, failures).Port())
	}
	cl.exchange("count", "9 3")
	require.Empty(t, failures)
}

// Both on a dialled socket.
func TestDialPacketOffload(t *testing.T) {
	const many = 20
	far := packetServer(t, "udp", "127.0.0.1:0")
	s := start(t, reactor.Options{Loops: 1})
	h := newDialedHooks()
	ref := dialed(t, s.Reactor, "udp", far.LocalAddr().String(), h, &reactor.PacketOptions{GRO: true, GSO: true})
	do(t, ref, func(c *reactor.Conn) { require.True(t, c.PacketConn().Granted().GSO && c.PacketConn().Granted().GRO) })
	for range many {
		_, err := ref.Write(pattern(1000))
		require.NoError(t, err)
	}
	buf := make([]byte, 1<<16)
	for range many {
		n, err := far.Read(buf)
		require.NoError(t, err)
		requireSame(t, pattern(1000), buf[:n])
	}
	back, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(ref.Tuple().Local))
	require.NoError(t, err)
	defer back.Close()
	packetClient{back, t}.sendSegments(pattern(3000), 1000) // from a stranger
	_, err = far.WriteToUDPAddrPort([]byte("from the peer"), ref.Tuple().Local)
	require.NoError(t, err)
	require.Equal(t, "from the peer", receive(t, h.got))
}

// What was granted is told; without offload nothing is.
func TestPacketGranted(t *testing.T) {
	s := start(t, reactor.Options{Loops: 2})
	plain := s.listenPacket("udp", "127.0.0.1:0", packetEcho, nil).Granted()
	require.Positive(t, plain.RecvBuffer)
	require.Positive(t, plain.SendBuffer)
	require.False(t, plain.GRO || plain.GSO)
	small := s.listenPacket("udp", "127.0.0.1:0", packetEcho, &reactor.PacketOptions{RecvBuffer: 32 << 10}).Granted()
	require.GreaterOrEqual(t, small.RecvBuffer, 32<<10)
	require.Less(t, small.RecvBuffer, plain.RecvBuffer)
	_, err := s.ListenPacket("udp", "127.0.0.1:0", packetEcho, &reactor.PacketOptions{GRO: true, MaxDatagram: 1500})
	require.EqualError(t, err, "reactor: MaxDatagram is 1500, must be 0 or 65536 with GRO")
	_, err = s.ListenPacket("udp", "127.0.0.1:0", packetEcho, &reactor.PacketOptions{MaxQueued: -1})
	require.EqualError(t, err, "reactor: MaxQueued is -1, must be 0 to 1073741824")
}
