// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// A nameServer answers questions for addresses over UDP (RFC 1035) from a table. A name with no addresses gets no
// answer at all, one that is not there does not exist.
type nameServer struct {
	conn  net.PacketConn
	names map[string][]string
}

// resolver serves names and returns a Resolver that asks there.
func resolver(t *testing.T, names map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	ns := &nameServer{conn, names}
	done := make(chan struct{})
	go func() { ns.serve(); close(done) }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (ns *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := ns.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := ns.answer(buf[:n]); answer != nil {
			_, _ = ns.conn.WriteTo(answer, from)
		}
	}
}

// answer makes a message of the question's header and first question, and the addresses of the type asked for.
func (ns *nameServer) answer(q []byte) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	var labels []string
	at := header
	for q[at] != 0 {
		labels = append(labels, string(q[at+1:at+1+int(q[at])]))
		at += 1 + int(q[at])
	}
	kind := binary.BigEndian.Uint16(q[at+1:])
	a := append([]byte(nil), q[:at+5]...)
	copy(a[2:header], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}) // a response, one question, no records
	addresses, known := ns.names[strings.Join(labels, ".")]
	if !known {
		a[3] |= 3 // NXDOMAIN
		return a
	}
	if len(addresses) == 0 {
		return nil
	}
	for _, text := range addresses {
		ip := netip.MustParseAddr(text)
		if ip.Is4() != (kind == typeA) || ip.Is6() != (kind == typeAAAA) {
			continue
		}
		a[7]++
		a = append(a, 0xc0, header, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(ip.BitLen()/8))
		a = append(a, ip.AsSlice()...)
	}
	return a
}

// A name is looked up, and its addresses are tried in order until one answers.
func TestDialName(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.3:0")
	require.NoError(t, err)
	defer lis.Close()
	_, port, _ := net.SplitHostPort(lis.Addr().String())
	names := resolver(t, map[string][]string{
		"one.test":   {"127.0.0.3"},
		"third.test": {"127.0.0.1", "127.0.0.2", "127.0.0.3"},
		"none.test":  {"127.0.0.2", "127.0.0.1"},
		"six.test":   {"::1"},
	})
	for _, loops := range []int{1, 3} {
		s := start(t, reactor.Options{Loops: loops})
		for _, row := range []struct {
			network, host string
			want          func(d dialled)
		}{
			{"tcp", "one.test", func(d dialled) { require.NoError(t, d.err) }},
			{"tcp4", "third.test", func(d dialled) {
				require.NoError(t, d.err)
				require.Equal(t, lis.Addr().String(), d.ref.Tuple().Remote.String())
			}},
			{"tcp", "none.test", func(d dialled) {
				require.ErrorIs(t, d.err, syscall.ECONNREFUSED)
				requireDialError(t, d.err, "tcp", "127.0.0.2:"+port) // the first
			}},
			{"tcp6", "one.test", func(d dialled) { require.Error(t, d.err) }},
			{"tcp4", "six.test", func(d dialled) { require.Error(t, d.err) }},
			{"tcp", "missing.test", func(d dialled) {
				requireDialError(t, d.err, "tcp", "missing.test:"+port)
				var dns *net.DNSError
				require.ErrorAs(t, d.err, &dns)
				require.True(t, dns.IsNotFound)
				require.ErrorContains(t, d.err, "no such host")
			}},
		} {
			row.want(s.dialWith(t.Context(), row.network, row.host+":"+port, &reactor.DialOptions{Resolver: names}))
		}
		d := s.dialWith(t.Context(), "tcp", "third.test:"+port, &reactor.DialOptions{Resolver: names, Local: netip.MustParseAddrPort("[::1]:0")})
		require.ErrorContains(t, d.err, "no suitable address")
	}
}

// The system's own names work too.
func TestDialLocalhost(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, shared(&hooks{}), nil)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, s.dialWith(t.Context(), "tcp", "localhost:"+port, nil).err)
}

// silentAndAnswering returns a port where 127.0.0.1 answers and ::1 is silent.
func silentAndAnswering(t *testing.T) (port string, answering net.Listener) {
	t.Helper()
	for range 20 {
		lis, err := net.Listen("tcp6", "[::1]:0")
		if err != nil {
			t.Skip("no IPv6 here:", err)
		}
		t.Cleanup(func() { _ = lis.Close() })
		_, port, _ = net.SplitHostPort(lis.Addr().String())
		if answering, err = net.Listen("tcp4", "127.0.0.1:"+port); err != nil {
			continue // somebody has it
		}
		t.Cleanup(func() { _ = answering.Close() })
		raw, err := lis.(*net.TCPListener).SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) { require.NoError(t, syscall.Listen(int(fd), 0)) }))
		dialTo(t, lis.Addr())
		return port, answering
	}
	require.FailNow(t, "no port is free for both")
	return "", nil
}

// A family that does not answer does not keep the other from it: beside the first after FallbackDelay, after its
// share of the time if there is no fallback.
func TestDialFallback(t *testing.T) {
	t.Parallel()
	port, answering := silentAndAnswering(t)
	names := resolver(t, map[string][]string{"both.test": {"::1", "127.0.0.1"}})
	s := start(t, reactor.Options{Loops: 1})
	for _, row := range []struct {
		delay, timeout, least time.Duration
	}{
		{20 * time.Millisecond, -1, 20 * time.Millisecond},
		{-1, 4 * time.Second, 2 * time.Second},
	} {
		began := time.Now()
		d := s.dialWith(t.Context(), "tcp", "both.test:"+port, &reactor.DialOptions{
			Resolver: names, FallbackDelay: row.delay, Timeout: row.timeout,
		})
		require.NoError(t, d.err)
		require.Equal(t, answering.Addr().String(), d.ref.Tuple().Remote.String())
		require.GreaterOrEqual(t, time.Since(began), row.least)
	}
	require.Zero(t, s.Connecting())
}

// If the first family fails at once, the other does not wait for FallbackDelay; if both fail, the first is reported.
func TestDialFallbackAtOnce(t *testing.T) {
	lis, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer lis.Close()
	_, port, _ := net.SplitHostPort(lis.Addr().String())
	names := resolver(t, map[string][]string{"both.test": {"::1", "127.0.0.1"}, "neither.test": {"::1", "127.0.0.2"}})
	s := start(t, reactor.Options{Loops: 1})
	opts := &reactor.DialOptions{Resolver: names, FallbackDelay: time.Hour, Timeout: -1}
	require.NoError(t, s.dialWith(t.Context(), "tcp", "both.test:"+port, opts).err)
	d := s.dialWith(t.Context(), "tcp", "neither.test:"+port, opts)
	require.Error(t, d.err)
	requireDialError(t, d.err, "tcp", "[::1]:"+port)
}

// A name server that does not answer holds up neither the loop nor the end of the dial, nor the reactor's.
func TestDialSilentNameServer(t *testing.T) {
	names := resolver(t, map[string][]string{"silent.test": nil})
	opts := &reactor.DialOptions{Resolver: names}
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), nil)
	cl := s.dial()
	ctx, cancel := context.WithCancel(t.Context())
	fn, calls := connected(&hooks{})
	const dials = 200 // more than are looked up at a time
	for i := range dials {
		require.NoError(t, s.Dial(ctx, "tcp", fmt.Sprintf("silent.test:%d", i+1), fn, opts))
	}
	cl.send("and you?")
	cl.expect("and you?")
	d := s.dialWith(t.Context(), "tcp", "silent.test:1", &reactor.DialOptions{Resolver: names, Timeout: 20 * time.Millisecond})
	requireDialError(t, d.err, "tcp", "silent.test:1")
	require.ErrorIs(t, d.err, reactor.ErrDialTimeout)
	require.Empty(t, calls)
	cancel()
	for range dials {
		require.ErrorIs(t, receive(t, calls).err, context.Canceled)
	}
	eventually(t, "their places are free", func() bool { return s.Connecting() == 0 })

	require.NoError(t, s.Dial(t.Context(), "tcp", "silent.test:1", fn, opts))
	require.NoError(t, s.Close())
	require.ErrorIs(t, receive(t, calls).err, net.ErrClosed)
}
