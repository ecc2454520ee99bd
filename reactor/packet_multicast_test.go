// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package reactor_test

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// groupSender is a socket of package net that sends to groups by the loopback interface.
func groupSender(t *testing.T, network string) *net.UDPConn {
	t.Helper()
	conn := packetServer(t, network, ":0")
	raw, err := conn.SyscallConn()
	require.NoError(t, err)
	lo := loopback(t)
	require.NoError(t, raw.Control(func(fd uintptr) {
		if network == "udp4" {
			err = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(lo)})
		} else {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, lo)
		}
	}))
	require.NoError(t, err)
	return conn
}

// A listener hears a group from Join to Leave, once however many loops there are, and never what others joined.
func TestPacketMulticast(t *testing.T) {
	for _, network := range []string{"udp4", "udp"} {
		for _, loops := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/loops=%d", network, loops), func(t *testing.T) {
				group, other := netip.MustParseAddr("239.255.77.1"), netip.MustParseAddr("239.255.77.2")
				lo := loopback(t)
				type arrival struct {
					payload string
					to      netip.AddrPort
					ifIndex int
				}
				arrivals := make(chan arrival, 64)
				s := start(t, reactor.Options{Loops: loops})
				lis := s.listenPacket(network, ":0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
					arrivals <- arrival{string(d.Payload), d.To, d.IfIndex}
					_ = d.Reply([]byte("answer"))
				}), nil)
				port := lis.Addr().(*net.UDPAddr).AddrPort().Port()
				neighbour := s.listenPacket(network, ":0", packetEcho, nil)
				require.NoError(t, neighbour.Join(other, lo))

				sender := groupSender(t, "udp4")
				send := func(p string, to netip.Addr) {
					t.Helper()
					_, err := sender.WriteToUDPAddrPort([]byte(p), netip.AddrPortFrom(to, port))
					require.NoError(t, err)
				}
				marker := func(p string) { // what was sent to a group before has come, if it comes at all, by the same way
					t.Helper()
					require.NoError(t, lis.Join(netip.MustParseAddr("239.255.77.3"), lo))
					send(p, netip.MustParseAddr("239.255.77.3"))
					require.Equal(t, p, receive(t, arrivals).payload)
					require.NoError(t, lis.Leave(netip.MustParseAddr("239.255.77.3"), lo))
				}
				send("before", group)
				marker("nobody joined")
				require.NoError(t, lis.Join(group, lo))
				send("hello", group)
				send("to others", other)
				require.Equal(t, arrival{"hello", netip.AddrPortFrom(group, port), lo}, receive(t, arrivals))
				require.ErrorIs(t, lis.Join(group, lo), syscall.EADDRINUSE)
				buf := make([]byte, 16)
				for range 2 { // the marker's and this one's
					n, from, err := sender.ReadFromUDPAddrPort(buf)
					require.NoError(t, err)
					require.Equal(t, "answer", string(buf[:n]))
					require.False(t, from.Addr().IsMulticast())
					require.Equal(t, port, from.Port())
				}
				require.NoError(t, lis.Leave(group, lo))
				send("after", group)
				marker("left")
				require.ErrorIs(t, lis.Leave(group, lo), syscall.EADDRNOTAVAIL)
				require.Empty(t, arrivals)

				require.NoError(t, lis.Close())
				require.ErrorIs(t, lis.Join(group, lo), net.ErrClosed)
			})
		}
	}
}

// The same with IPv6, which loopback has no route for; any other interface loops back what its own sockets send.
func TestPacketMulticastIPv6(t *testing.T) {
	ifIndex := multicastInterface(t)
	group := netip.MustParseAddr("ff02::7777")
	for _, network := range []string{"udp6", "udp"} {
		t.Run(network, func(t *testing.T) {
			arrivals := make(chan string, 8)
			s := start(t, reactor.Options{Loops: 2})
			lis := s.listenPacket(network, ":0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
				arrivals <- fmt.Sprint(string(d.Payload), " ", d.To.Addr().WithZone(""), " ", d.IfIndex)
			}), nil)
			to := netip.AddrPortFrom(group, lis.Addr().(*net.UDPAddr).AddrPort().Port())
			relay := func(o reactor.PacketOptions) packetClient {
				o.MulticastInterface = ifIndex
				via := s.listenPacket("udp", ":0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
					if err := s.Send(d.Payload, netip.AddrPort{}, to); err != nil {
						panic(err)
					}
					_ = d.Reply(fmt.Append(nil, s.Stats().Unsent))
				}), &o)
				return dialPacket(t, via, "127.0.0.1")
			}
			loud, quiet := relay(reactor.PacketOptions{}), relay(reactor.PacketOptions{NoMulticastLoop: true})
			loud.exchange("before", "0")
			require.NoError(t, lis.Join(group.WithZone(fmt.Sprint(ifIndex)), 0))
			quiet.exchange("unheard", "0")
			loud.exchange("hello", "0")
			require.Equal(t, fmt.Sprint("hello ", group, " ", ifIndex), receive(t, arrivals))
			require.ErrorIs(t, lis.Join(group, ifIndex), syscall.EADDRINUSE)
			require.NoError(t, lis.Leave(group, ifIndex))
			require.ErrorIs(t, lis.Leave(group, ifIndex), syscall.EADDRNOTAVAIL)
			require.Empty(t, arrivals)
		})
	}
}

// multicastInterface returns the number of an interface with IPv6 multicast, other than loopback.
func multicastInterface(t *testing.T) int {
	t.Helper()
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range interfaces {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if ok && n.IP.To4() == nil && n.IP.IsLinkLocalUnicast() && i.Flags&(net.FlagUp|net.FlagMulticast) == net.FlagUp|net.FlagMulticast {
				return i.Index
			}
		}
	}
	t.Skip("no interface with IPv6 multicast")
	return 0
}

// What is sent to groups crosses as many networks as the options say.
func TestPacketMulticastHops(t *testing.T) {
	group := netip.MustParseAddr("239.255.77.4")
	lo := loopback(t)
	member, err := net.ListenMulticastUDP("udp4", &net.Interface{Index: lo, Name: "lo"}, &net.UDPAddr{IP: group.AsSlice()})
	require.NoError(t, err)
	defer member.Close()
	require.NoError(t, member.SetDeadline(time.Now().Add(patience)))
	raw, err := member.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1) }))
	require.NoError(t, err)
	to := netip.AddrPortFrom(group, member.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	for hops, want := range map[int]byte{0: 1, 7: 7} {
		for _, network := range []string{"udp4", "udp"} {
			s := servePacket(t, network, ":0", reactor.PacketFunc(func(s *reactor.PacketConn, _ *reactor.Datagram) {
				if err := s.Send([]byte("hello"), netip.AddrPort{}, to); err != nil {
					panic(err)
				}
			}), &reactor.PacketOptions{MulticastInterface: lo, MulticastHops: hops})
			dialPacket(t, s.Listener, "127.0.0.1").send("go")
			payload, oob := make([]byte, 16), make([]byte, 64)
			n, control, _, _, err := member.ReadMsgUDP(payload, oob)
			require.NoError(t, err)
			require.Equal(t, "hello", string(payload[:n]))
			messages, err := unix.ParseSocketControlMessage(oob[:control])
			require.NoError(t, err)
			require.Equal(t, want, messages[len(messages)-1].Data[0], network)
		}
	}
}

func TestPacketMulticastRefused(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	v4 := s.listenPacket("udp4", ":0", packetEcho, nil)
	at := v4.Addr().String()
	for _, tc := range []struct {
		group   string
		ifIndex int
		want    string
	}{
		{"127.0.0.1", 0, "join udp4 " + at + "->127.0.0.1: 127.0.0.1 is no multicast address"},
		{"ff02::1", 0, "join udp4 " + at + "->ff02::1: setsockopt: address family not supported by protocol"},
		{"239.255.77.1", -1, "join udp4 " + at + "->239.255.77.1: interface -1, must not be negative"},
		{"239.255.77.1", 1 << 30, "join udp4 " + at + "->239.255.77.1: setsockopt: no such device"},
	} {
		require.EqualError(t, v4.Join(netip.MustParseAddr(tc.group), tc.ifIndex), tc.want)
	}
	stream := s.listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(echo)), nil)
	require.ErrorIs(t, stream.Join(netip.MustParseAddr("239.255.77.1"), 0), syscall.EPROTOTYPE)
	for _, tc := range []struct {
		o    reactor.PacketOptions
		want string
	}{
		{reactor.PacketOptions{MulticastHops: 256}, "reactor: MulticastHops is 256, must be 0 to 255"},
		{reactor.PacketOptions{MulticastInterface: -1}, "reactor: MulticastInterface is -1, must not be negative"},
	} {
		_, err := s.ListenPacket("udp", "127.0.0.1:0", packetEcho, &tc.o)
		require.EqualError(t, err, tc.want)
	}
	_, err := s.ListenPacket("udp4", "127.0.0.1:0", packetEcho, &reactor.PacketOptions{MulticastInterface: 1 << 30})
	require.ErrorContains(t, err, "listen udp4 127.0.0.1:0: setsockopt: ")
}
