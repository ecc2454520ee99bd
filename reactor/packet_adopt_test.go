// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// begins returns a BeginFunc that makes h.
func begins(h reactor.PacketHandler) reactor.BeginFunc {
	return func(*reactor.PacketConn) (reactor.PacketHandler, error) { return h, nil }
}

// plainPacket makes a socket of package net, closed with the test.
func plainPacket(t testing.TB, network, address string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// exchange sends p to an address and returns what comes back.
func exchange(t testing.TB, conn net.PacketConn, to net.Addr, p string) string {
	t.Helper()
	_, err := conn.WriteTo([]byte(p), to)
	require.NoError(t, err)
	buf := make([]byte, 1<<16)
	n, _, err := conn.ReadFrom(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

// An adopted socket keeps its address and what waits in it, sends before it has received anything, and is no more its
// first owner's.
func TestAdoptPacket(t *testing.T) {
	t.Parallel()
	for _, loops := range []int{1, 3} {
		for network, address := range map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": ":0"} {
			s := start(t, reactor.Options{Loops: loops})
			conn := plainPacket(t, network, address)
			client := plainPacket(t, "udp4", "127.0.0.1:0")
			if network == "udp6" {
				client = plainPacket(t, "udp6", "[::1]:0")
			}
			to := client.LocalAddr().(*net.UDPAddr).AddrPort()
			own := conn.LocalAddr().(*net.UDPAddr)
			if network == "udp" {
				own = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: own.Port}
			}
			_, err := client.WriteTo([]byte("early"), own)
			require.NoError(t, err)
			lis, err := s.AdoptPacket(conn, func(c *reactor.PacketConn) (reactor.PacketHandler, error) {
				receive, send, err := c.Buffers()
				require.NoError(t, err)
				require.GreaterOrEqual(t, min(receive, send), 20<<10)
				require.LessOrEqual(t, max(receive, send), 60<<10)
				return packetEcho, c.Send([]byte("first"), netip.AddrPort{}, to)
			}, &reactor.PacketOptions{RecvBuffer: 20 << 10, SendBuffer: 30 << 10})
			require.NoError(t, err)
			require.Equal(t, conn.LocalAddr().String(), lis.Addr().String())
			require.Equal(t, "first", exchange(t, client, own, "now"))
			got := map[string]bool{}
			for range 2 {
				buf := make([]byte, 100)
				n, _, err := client.ReadFrom(buf)
				require.NoError(t, err)
				got[string(buf[:n])] = true
			}
			require.Equal(t, map[string]bool{"early": true, "now": true}, got)
			_, err = conn.WriteTo([]byte("x"), own)
			require.ErrorIs(t, err, net.ErrClosed)
			require.NoError(t, lis.Close())
			again := plainPacket(t, network, own.String()) // the port is free
			require.NoError(t, again.Close())
		}
	}
}

// A begin func that makes no handler, however it does not, closes the socket and harms nobody else.
func TestAdoptPacketRefused(t *testing.T) {
	t.Parallel()
	s := start(t, reactor.Options{Loops: 1})
	for name, begin := range map[string]reactor.BeginFunc{
		"error":   func(*reactor.PacketConn) (reactor.PacketHandler, error) { return packetEcho, errors.New("no") },
		"nothing": func(*reactor.PacketConn) (reactor.PacketHandler, error) { return nil, nil },
		"panic":   func(*reactor.PacketConn) (reactor.PacketHandler, error) { panic("told to") },
		"Goexit":  func(*reactor.PacketConn) (reactor.PacketHandler, error) { runtime.Goexit(); return nil, nil },
	} {
		conn := plainPacket(t, "udp4", "127.0.0.1:0")
		begun := make(chan struct{}) // before that there may be no loop yet, and Close gets ahead
		lis, err := s.AdoptPacket(conn, func(c *reactor.PacketConn) (reactor.PacketHandler, error) {
			close(begun)
			return begin(c)
		}, nil)
		require.NoError(t, err)
		receive(t, begun)
		require.NoError(t, lis.Close())
		again := plainPacket(t, "udp4", lis.Addr().String())
		require.NoError(t, again.Close())
		require.Equal(t, name == "panic" || name == "Goexit", s.Log.has("begin func panicked"), name)
		s.Log.reset()
	}
	lis, err := s.AdoptPacket(plainPacket(t, "udp4", "127.0.0.1:0"), begins(packetEcho), nil)
	require.NoError(t, err)
	require.Equal(t, "x", exchange(t, plainPacket(t, "udp4", "127.0.0.1:0"), lis.Addr(), "x"))
}

// What cannot be adopted is told, and left as it was.
func TestAdoptPacketErrors(t *testing.T) {
	t.Parallel()
	s := start(t, reactor.Options{Loops: 1})
	conn := plainPacket(t, "udp4", "127.0.0.1:0")
	_, err := s.AdoptPacket(conn, nil, nil)
	require.EqualError(t, err, "reactor: AdoptPacket without a begin func")
	_, err = s.AdoptPacket(conn, begins(packetEcho), &reactor.PacketOptions{MaxDatagram: -1})
	require.EqualError(t, err, "reactor: MaxDatagram is -1, must be 0 to 65536")
	_, err = s.AdoptPacket(nil, begins(packetEcho), nil)
	require.EqualError(t, err, "reactor: AdoptPacket: <nil> is neither *net.UDPConn nor *net.IPConn")
	unixConn := plainPacket(t, "unixgram", socketPath(t))
	_, err = s.AdoptPacket(unixConn, begins(packetEcho), nil)
	require.EqualError(t, err, "reactor: AdoptPacket: *net.UnixConn is neither *net.UDPConn nor *net.IPConn")
	_, err = s.AdoptPacket(new(net.UDPConn), begins(packetEcho), nil)
	require.EqualError(t, err, "reactor: AdoptPacket: *net.UDPConn has no socket")
	closed := plainPacket(t, "udp4", "127.0.0.1:0")
	require.NoError(t, closed.Close())
	_, err = s.AdoptPacket(closed, begins(packetEcho), nil)
	require.ErrorIs(t, err, net.ErrClosed)

	require.NoError(t, s.Close())
	_, err = s.AdoptPacket(conn, begins(packetEcho), nil)
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, "x", exchange(t, conn, conn.LocalAddr(), "x"))
}

// What a raw socket sends has no header of UDP's: IPv4 leaves it 65,515 bytes, which come back with IP's own.
func TestAdoptPacketRaw(t *testing.T) {
	t.Parallel()
	const most, header = 65515, 20
	conn, err := net.ListenPacket("ip4:253", "127.0.0.1") // for experiments (RFC 3692)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("raw sockets take a right: ", err)
	}
	require.NoError(t, err)
	s := start(t, reactor.Options{Loops: 1})
	came, sent := make(chan string, 1), make(chan error, 3)
	_, err = s.AdoptPacket(conn, func(c *reactor.PacketConn) (reactor.PacketHandler, error) {
		for _, n := range []int{most, most + 1, 1 << 16} {
			sent <- c.Send(pattern(n), netip.AddrPort{}, c.LocalAddr())
		}
		return reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) { came <- string(d.Payload) }), nil
	}, nil)
	require.NoError(t, err)
	require.NoError(t, receive(t, sent))
	require.ErrorIs(t, receive(t, sent), syscall.EMSGSIZE)
	require.ErrorIs(t, receive(t, sent), syscall.EMSGSIZE)
	require.True(t, string(pattern(most)) == receive(t, came)[header:])
}
