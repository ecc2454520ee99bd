// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pipe returns the two ends of a connection that package net made.
func (tr transport) pipe(t testing.TB) (net.Conn, client) {
	t.Helper()
	lis, err := net.Listen(tr.network, tr.address(t))
	require.NoError(t, err)
	defer lis.Close()
	there := dialTo(t, lis.Addr())
	here, err := lis.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = here.Close() })
	return here, there
}

// What package net began, the reactor goes on with, from the next byte on, and the descriptor has changed hands.
func TestAdopt(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		here, there := tr.pipe(t)
		if tcp, ok := here.(*net.TCPConn); ok {
			require.NoError(t, tcp.SetLinger(0)) // or the answer would be lost with the last close
		}
		there.send("helloworld")
		client{halfCloser: here.(halfCloser), t: t}.expect("hello")

		w := watch(t, reactor.DataFunc(echo))
		s := start(t, reactor.Options{Loops: tr.loops, MaxConns: 1})
		require.NoError(t, s.Adopt(here, func(c *reactor.Conn, err error) (reactor.Handler, error) {
			require.NoError(t, err)
			return w.accept(c)
		}, nil))
		_, err := here.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		ref := receive(t, w.refs)
		if tr.network == "tcp" {
			require.Equal(t, there.LocalAddr().String(), ref.Tuple().Remote.String())
			require.Equal(t, there.RemoteAddr().String(), ref.Tuple().Local.String())
			found, ok := s.Lookup(ref.Tuple())
			require.True(t, ok && found == ref)
		}
		there.send("!")
		there.expect("world!")
		_, err = ref.Write(morePattern())
		require.NoError(t, err)
		require.NoError(t, ref.Close())
		there.expectStream(morePattern())
		require.NoError(t, receive(t, w.ends))
	})
}

// Adopt takes what it can watch and leaves anything else as it was.
func TestAdoptMistakes(t *testing.T) {
	never := func(*reactor.Conn, error) (reactor.Handler, error) {
		t.Error("called, though Adopt failed")
		return nil, nil
	}
	s := start(t, reactor.Options{Loops: 1})
	here, there := transport{"tcp", 1}.pipe(t)
	require.ErrorContains(t, s.Adopt(here, nil, nil), "without a connect func")
	require.ErrorContains(t, s.Adopt(here, never, &reactor.StreamOptions{LowWater: -1}), "LowWater -1")
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	require.ErrorContains(t, s.Adopt(a, never, nil), "*net.pipe is no TCP or unix stream")
	udp, err := net.Dial("udp", "127.0.0.1:9")
	require.NoError(t, err)
	defer udp.Close()
	require.ErrorContains(t, s.Adopt(udp, never, nil), "*net.UDPConn is no TCP or unix stream")
	gram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socketPath(t), Net: "unixgram"})
	require.NoError(t, err)
	defer gram.Close()
	require.ErrorContains(t, s.Adopt(gram, never, nil), "*net.UnixConn is no TCP or unix stream")
	for _, nobody := range []net.Conn{nil, new(net.TCPConn), new(net.UnixConn)} {
		require.ErrorContains(t, s.Adopt(nobody, never, nil), "is no TCP or unix stream")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), "unconnected")
	defer file.Close()
	unconnected, err := net.FileConn(file)
	require.NoError(t, err)
	defer unconnected.Close()
	require.ErrorIs(t, s.Adopt(unconnected, never, nil), unix.ENOTCONN)

	require.NoError(t, s.Shutdown(context.Background()))
	require.ErrorIs(t, s.Adopt(here, never, nil), net.ErrClosed)
	there.send("hello") // it is as it was
	client{halfCloser: here.(halfCloser), t: t}.expect("hello")
	require.NoError(t, here.Close())
	require.ErrorIs(t, s.Adopt(here, never, nil), net.ErrClosed)
}

// What is adopted before Serve waits for it, or hears that there will be none.
func TestAdoptBeforeServe(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		for _, serve := range []bool{true, false} {
			here, there := tr.pipe(t)
			r, err := reactor.New(reactor.Options{Loops: 1})
			require.NoError(t, err)
			fn, calls := connected(reactor.DataFunc(echo))
			require.NoError(t, r.Adopt(here, fn, nil))
			require.Empty(t, calls)
			if !serve {
				require.NoError(t, r.Close())
				require.Len(t, calls, 1)
				there.expectGone()
				continue
			}
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- r.Serve(ctx) }()
			there.send("hello")
			there.expect("hello")
			require.NoError(t, there.Close())
			stop()
			require.NoError(t, receive(t, served))
		}
	})
}

// Options of the socket are those that were asked for, whatever package net had set.
func TestAdoptOptions(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("asks the socket as Linux does")
	}
	for _, nagle := range []bool{false, true} {
		here, _ := transport{"tcp", 1}.pipe(t)
		s := start(t, reactor.Options{Loops: 1})
		fn, calls := connected(&hooks{})
		require.NoError(t, s.Adopt(here, fn, &reactor.StreamOptions{Nagle: nagle, KeepAliveIdle: -1}))
		do(t, receive(t, calls).ref, func(c *reactor.Conn) {
			noDelay, err := syscall.GetsockoptInt(c.FD(), syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
			require.NoError(t, err)
			require.Equal(t, nagle, noDelay == 0)
			keepAlive, err := syscall.GetsockoptInt(c.FD(), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
			require.NoError(t, err)
			require.Zero(t, keepAlive)
		})
	}
}
