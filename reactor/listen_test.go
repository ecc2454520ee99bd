// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// requireListenError checks that err is what package net would return.
func requireListenError(t *testing.T, err error, network, address string) {
	t.Helper()
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, "listen", op.Op)
	require.Equal(t, network, op.Net)
	require.Equal(t, address, op.Addr.String())
}

// linkLocal returns a link-local address of this machine.
func linkLocal(t *testing.T) (ip string, on net.Interface) {
	t.Helper()
	all, err := net.Interfaces()
	require.NoError(t, err)
	for _, on := range all {
		addrs, err := on.Addrs()
		require.NoError(t, err)
		for _, a := range addrs {
			if ip := a.(*net.IPNet).IP; ip.To4() == nil && ip.IsLinkLocalUnicast() {
				return ip.String(), on
			}
		}
	}
	t.Skip("no interface has a link-local address")
	return "", net.Interface{}
}

// The zone of a link-local address may be a name or a number, and goes to the sockets of all loops. It is told as package
// net tells it.
func TestListenOnAZone(t *testing.T) {
	ip, on := linkLocal(t)
	s := start(t, reactor.Options{Loops: 3})
	for _, zone := range []string{on.Name, fmt.Sprint(on.Index)} {
		address := net.JoinHostPort(ip+"%"+zone, "0")
		for _, network := range []string{"tcp", "tcp6"} {
			for _, reuse := range []bool{false, true} {
				lis := s.listen(network, address, shared(reactor.DataFunc(echo)), &reactor.StreamOptions{ReusePort: reuse})
				require.Equal(t, on.Name, lis.Addr().(*net.TCPAddr).Zone)
				cl := dialTo(t, lis.Addr())
				cl.send("x")
				cl.expect("x")
			}
		}
		std, err := net.Listen("tcp", address)
		require.NoError(t, err)
		defer std.Close()
		file, err := std.(*net.TCPListener).File()
		require.NoError(t, err)
		defer file.Close()
		given, err := s.ListenFiles([]*os.File{file}, shared(reactor.DataFunc(echo)), nil)
		require.NoError(t, err)
		require.Equal(t, std.Addr(), given.Addr())
		for _, network := range []string{"udp", "udp6"} {
			lis, err := s.ListenPacket(network, address, packetEcho, nil)
			require.NoError(t, err)
			require.Equal(t, on.Name, lis.Addr().(*net.UDPAddr).Zone)
			conn, err := net.Dial(network, lis.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
			_, err = conn.Write([]byte("x"))
			require.NoError(t, err)
			n, err := conn.Read(make([]byte, 8))
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
	}
}

// An address in use is told, whoever uses it and however.
func TestAddressInUse(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		t.Run(fmt.Sprintf("ReusePort=%v", reuse), func(t *testing.T) {
			s := start(t, reactor.Options{Loops: 3})
			opts := &reactor.StreamOptions{ReusePort: reuse}
			lis := s.listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(echo)), opts)
			address := lis.Addr().String()
			for _, again := range []bool{false, true} {
				_, err := s.Listen("tcp", address, shared(&hooks{}), &reactor.StreamOptions{ReusePort: again})
				requireListenError(t, err, "tcp", address)
				require.ErrorIs(t, err, syscall.EADDRINUSE)
			}
			_, err := net.Listen("tcp", address)
			require.ErrorIs(t, err, syscall.EADDRINUSE)

			other, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer func() { _ = other.Close() }()
			_, err = s.Listen("tcp", other.Addr().String(), shared(&hooks{}), opts)
			require.ErrorIs(t, err, syscall.EADDRINUSE)

			cl := dialTo(t, lis.Addr())
			cl.send("x")
			cl.expect("x")
		})
	}
}

// A wrong network or address is an error before anything is opened.
func TestListenMistakes(t *testing.T) {
	s := start(t, reactor.Options{Loops: 2})
	rows := []struct {
		network, address string
		check            func(err error) bool
	}{
		{"udp", "127.0.0.1:0", isUnknownNetwork},
		{"", "127.0.0.1:0", isUnknownNetwork},
		{"tcp5", "127.0.0.1:0", isUnknownNetwork},
		{"unixgram", "x", isUnknownNetwork},
		{"tcp", "127.0.0.1", func(err error) bool { return strings.Contains(err.Error(), "missing port") }},
		{"tcp", "127.0.0.1:70000", func(err error) bool { return strings.Contains(err.Error(), "invalid port") }},
		{"tcp", "192.0.2.1:0", func(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }},
		{"unix", "", func(err error) bool { return err != nil }},
		{"unix", "/nowhere/at/all", func(err error) bool { return errors.Is(err, os.ErrNotExist) }},
		{"unix", "/tmp/" + strings.Repeat("x", 200), func(err error) bool { return strings.Contains(err.Error(), "path of 205 bytes, must be 1 to ") }},
	}
	for _, row := range rows {
		t.Run(row.network+" "+row.address[:min(20, len(row.address))], func(t *testing.T) {
			lis, err := s.Listen(row.network, row.address, shared(&hooks{}), nil)
			require.Nil(t, lis)
			requireListenError(t, err, row.network, row.address)
			require.True(t, row.check(err), err.Error())
		})
	}
	_, err := s.Listen("tcp", "127.0.0.1:0", nil, nil)
	require.EqualError(t, err, "reactor: Listen without an accept func")
}

func isUnknownNetwork(err error) bool {
	var unknown net.UnknownNetworkError
	return errors.As(err, &unknown)
}

// Port 0 is the system's choice; Addr has it.
func TestPortZero(t *testing.T) {
	forEachReusePort(t, func(t *testing.T, s *server, opts *reactor.StreamOptions) {
		one := s.listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(echo)), opts)
		two := s.listen("tcp", "127.0.0.1:0", shared(reactor.DataFunc(echo)), opts)
		require.NotZero(t, one.Addr().(*net.TCPAddr).Port)
		require.NotEqual(t, one.Addr(), two.Addr())
		require.Equal(t, "tcp "+one.Addr().String(), one.String())
		for _, lis := range []*reactor.Listener{one, two} {
			cl := dialTo(t, lis.Addr())
			cl.send("x")
			cl.expect("x")
		}
	})
}

func forEachReusePort(t *testing.T, body func(t *testing.T, s *server, opts *reactor.StreamOptions)) {
	for _, reuse := range []bool{false, true} {
		t.Run(fmt.Sprintf("ReusePort=%v", reuse), func(t *testing.T) {
			body(t, start(t, reactor.Options{Loops: 3}), &reactor.StreamOptions{ReusePort: reuse})
		})
	}
}

// With several loops each gets its connections, by count without ReusePort and by the kernel's hash with it.
func TestAllLoopsServe(t *testing.T) {
	forEachReusePort(t, func(t *testing.T, s *server, opts *reactor.StreamOptions) {
		counts := make(chan int, 1000)
		lis := s.listen("tcp", "127.0.0.1:0", func(c *reactor.Conn) (reactor.Handler, error) {
			counts <- c.LoopIndex()
			return reactor.DataFunc(echo), nil
		}, opts)
		perLoop := map[int]int{}
		conns := 30
		for range conns {
			cl := dialTo(t, lis.Addr())
			cl.send("x")
			cl.expect("x")
			perLoop[receive(t, counts)]++
		}
		if opts.ReusePort {
			for ; len(perLoop) < 3 && conns < 500; conns++ { // chance
				dialTo(t, lis.Addr())
				perLoop[receive(t, counts)]++
			}
			require.Len(t, perLoop, 3)
		} else {
			require.Equal(t, map[int]int{0: 10, 1: 10, 2: 10}, perLoop)
		}
	})
}

// Whether a socket serves one family or both is as with package net.
func TestFamilies(t *testing.T) {
	if !hasIPv6() {
		t.Skip("no IPv6 here")
	}
	rows := []struct {
		network, address string
	}{
		{"tcp", ":0"},
		{"tcp", "[::]:0"},
		{"tcp", "[::1]:0"},
		{"tcp", "127.0.0.1:0"},
		{"tcp4", ":0"},
		{"tcp6", ":0"},
		{"tcp6", "[::]:0"},
	}
	// Somebody else may listen at the same port of the other family, so who answers says who it is.
	const greeting = "the listener of this test"
	reach := func(network, host string, a net.Addr) bool {
		conn, err := net.Dial(network, net.JoinHostPort(host, fmt.Sprint(a.(*net.TCPAddr).Port)))
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		got := make([]byte, len(greeting))
		_, _ = io.ReadFull(conn, got)
		return string(got) == greeting
	}
	forEachReusePort(t, func(t *testing.T, s *server, opts *reactor.StreamOptions) {
		for _, row := range rows {
			t.Run(row.network+" "+row.address, func(t *testing.T) {
				theirs, err := net.Listen(row.network, row.address)
				require.NoError(t, err)
				var accepting sync.WaitGroup
				accepting.Go(func() {
					for conn, err := theirs.Accept(); err == nil; conn, err = theirs.Accept() {
						_, _ = conn.Write([]byte(greeting))
						_ = conn.Close()
					}
				})
				defer func() {
					_ = theirs.Close()
					accepting.Wait()
				}()
				ours := s.listen(row.network, row.address, func(c *reactor.Conn) (reactor.Handler, error) {
					_, _ = c.Write([]byte(greeting))
					return reactor.DataFunc(echo), nil
				}, opts)
				require.Equal(t, reach("tcp4", "127.0.0.1", theirs.Addr()), reach("tcp4", "127.0.0.1", ours.Addr()), "by IPv4")
				require.Equal(t, reach("tcp6", "::1", theirs.Addr()), reach("tcp6", "::1", ours.Addr()), "by IPv6")
				require.Equal(t, theirs.Addr().(*net.TCPAddr).IP.String(), ours.Addr().(*net.TCPAddr).IP.String())
				require.NoError(t, ours.Close())
			})
		}
	})
}

// A unix path that is not ours is left as it is: a directory with what is in it, a file, a socket that somebody serves.
func TestUnixPathInUse(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	fails := func(t *testing.T, path string) {
		t.Helper()
		_, err := s.Listen("unix", path, shared(&hooks{}), nil)
		requireListenError(t, err, "unix", path)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	}
	t.Run("directory", func(t *testing.T) {
		dir := filepath.Dir(socketPath(t))
		inside := filepath.Join(dir, "precious")
		require.NoError(t, os.WriteFile(inside, []byte("data"), 0o600))
		fails(t, dir)
		require.FileExists(t, inside)
	})
	t.Run("empty directory", func(t *testing.T) {
		dir := filepath.Dir(socketPath(t))
		fails(t, dir)
		require.DirExists(t, dir)
	})
	t.Run("file", func(t *testing.T) {
		path := socketPath(t)
		require.NoError(t, os.WriteFile(path, []byte("data"), 0o600))
		fails(t, path)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "data", string(got))
	})
	t.Run("link to nothing", func(t *testing.T) {
		path := socketPath(t)
		require.NoError(t, os.Symlink("/nowhere/at/all", path))
		fails(t, path)
		_, err := os.Lstat(path)
		require.NoError(t, err)
	})
	t.Run("served by another process's library", func(t *testing.T) {
		path := socketPath(t)
		other, err := net.Listen("unix", path)
		require.NoError(t, err)
		defer func() { _ = other.Close() }()
		fails(t, path)
		dialTo(t, other.Addr())
	})
	t.Run("served by the same reactor", func(t *testing.T) {
		path := socketPath(t)
		lis := s.listen("unix", path, shared(reactor.DataFunc(echo)), nil)
		fails(t, path)
		cl := dialTo(t, lis.Addr())
		cl.send("x")
		cl.expect("x")
	})
}

// A socket that nobody serves any more is replaced, and the file goes with the listener.
func TestUnixStaleSocket(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	path := socketPath(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	_, err = os.Lstat(path)
	require.NoError(t, err, "the file is still there")

	lis := s.listen("unix", path, shared(reactor.DataFunc(echo)), nil)
	cl := dialTo(t, lis.Addr())
	cl.send("x")
	cl.expect("x")
	require.NoError(t, lis.Close())
	require.NoFileExists(t, path)
	again := s.listen("unix", path, shared(reactor.DataFunc(echo)), nil)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, again.Close())
	require.FileExists(t, path, "not the listener's")
}

// The longest path that a socket may have works, one more byte is told.
func TestUnixLongestPath(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	dir := filepath.Dir(socketPath(t))
	limit := len(syscall.RawSockaddrUnix{}.Path) - 1
	path := filepath.Join(dir, strings.Repeat("p", limit-len(dir)-1))
	require.Len(t, path, limit)
	lis := s.listen("unix", path, shared(reactor.DataFunc(echo)), nil)
	cl := dialTo(t, lis.Addr())
	cl.send("x")
	cl.expect("x")
	_, err := s.Listen("unix", path+"p", shared(&hooks{}), nil)
	require.ErrorContains(t, err, fmt.Sprintf("path of %d bytes, must be 1 to %d", limit+1, limit))
}

// An abstract address has no file.
func TestUnixAbstract(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("unix(7) of Linux")
	}
	s := start(t, reactor.Options{Loops: 1})
	name := "@quartet-" + filepath.Base(filepath.Dir(socketPath(t)))
	lis := s.listen("unix", name, shared(reactor.DataFunc(echo)), nil)
	require.Equal(t, name, lis.Addr().String())
	cl := dialTo(t, lis.Addr())
	cl.send("x")
	cl.expect("x")
	require.NoFileExists(t, name)
	_, err := s.Listen("unix", name, shared(&hooks{}), nil)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.NoError(t, lis.Close())
	s.listen("unix", name, shared(&hooks{}), nil)
}

// ReusePort is not for unix sockets.
func TestUnixReusePort(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	path := socketPath(t)
	_, err := s.Listen("unix", path, shared(&hooks{}), &reactor.StreamOptions{ReusePort: true})
	requireListenError(t, err, "unix", path)
	require.ErrorContains(t, err, "ReusePort is for tcp")
	require.NoFileExists(t, path)
}

// A closed listener accepts nobody, its address is free again, and connections that it accepted go on.
func TestListenerClose(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
		cl := s.dial()
		cl.send("x")
		cl.expect("x")
		address := s.Listener.Addr().String()
		for range 3 {
			require.NoError(t, s.Listener.Close())
		}
		_, err := net.Dial(tr.network, address)
		require.Error(t, err)
		again, err := s.Listen(tr.network, address, shared(reactor.DataFunc(echo)), nil)
		require.NoError(t, err)
		cl.send("y")
		cl.expect("y")
		next := dialTo(t, again.Addr())
		next.send("z")
		next.expect("z")
	})
}

// From a handler Close does not wait, but it closes.
func TestListenerCloseOnALoop(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		errs := make(chan error, 1)
		listeners := make(chan *reactor.Listener, 1)
		s := tr.serve(t, shared(reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
			errs <- (<-listeners).Close()
			return echo(c, in)
		})), nil)
		listeners <- s.Listener
		cl := s.dial()
		cl.send("x")
		require.NoError(t, receive(t, errs))
		cl.expect("x")
		require.NoError(t, s.Listener.Close()) // waits
		_, err := net.Dial(tr.network, s.Listener.Addr().String())
		require.Error(t, err)
	})
}

// Before Serve Close gives the address back as well.
func TestListenerCloseBeforeServe(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		r, err := reactor.New(reactor.Options{Loops: 1})
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		address := tr.address(t)
		lis, err := r.Listen(tr.network, address, shared(&hooks{}), nil)
		require.NoError(t, err)
		require.NoError(t, lis.Close())
		again, err := r.Listen(tr.network, lis.Addr().String(), shared(&hooks{}), nil)
		require.NoError(t, err)
		require.NoError(t, again.Close())
	})
}

// Who connects before Serve waits in the backlog.
func TestListenBeforeServe(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		r, err := reactor.New(reactor.Options{Loops: 2})
		require.NoError(t, err)
		lis, err := r.Listen(tr.network, tr.address(t), shared(reactor.DataFunc(echo)), nil)
		require.NoError(t, err)
		cl := dialTo(t, lis.Addr())
		cl.send("early")
		served := make(chan error, 1)
		go func() { served <- r.Serve(t.Context()) }()
		cl.expect("early")
		require.NoError(t, r.Close())
		receive(t, served)
	})
}

// After Shutdown there is no listening any more, and nothing is left at the address.
func TestListenAfterShutdown(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(&hooks{}), nil)
		require.NoError(t, s.Shutdown(t.Context()))
		address := tr.address(t)
		_, err := s.Listen(tr.network, address, shared(&hooks{}), nil)
		requireListenError(t, err, tr.network, address)
		require.ErrorIs(t, err, net.ErrClosed)
		if tr.network == "unix" {
			require.NoFileExists(t, address)
		}
		require.NoError(t, s.Listener.Close())
	})
}

// Listeners come and go from many goroutines while connections are served.
func TestListenersComeAndGo(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
		var wg sync.WaitGroup
		for range 8 {
			address := tr.address(t)
			wg.Go(func() {
				for i := range 20 {
					lis, err := s.Listen(tr.network, address, shared(reactor.DataFunc(echo)), nil)
					if err != nil {
						t.Error(err)
						return
					}
					conn, err := dialPlain(lis.Addr())
					if err != nil {
						t.Error(err)
						return
					}
					if i%2 == 0 {
						_, _ = conn.Write([]byte("x"))
						if _, err := conn.Read(make([]byte, 1)); err != nil {
							t.Error(err)
						}
					}
					_ = lis.Close()
					_ = conn.Close()
				}
			})
		}
		wg.Wait()
		cl := s.dial()
		cl.send("x")
		cl.expect("x")
	})
}
