// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// fileOf returns a socket of package net, or of a listener, as a file of its own.
func fileOf(t *testing.T, s interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := s.File()
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// listenPlain returns a listener of package net.
func listenPlain(t *testing.T, tr transport) net.Listener {
	t.Helper()
	lis, err := net.Listen(tr.network, tr.address(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	return lis
}

// A socket that was made elsewhere is served like one's own, with the options, and is not the listener's to do away with.
func TestListenFiles(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		plain := listenPlain(t, tr)
		file := fileOf(t, plain.(interface{ File() (*os.File, error) }))
		// Whoever had it may have left it blocking: the loop would wait in accept for who comes next.
		raw, err := file.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) { require.NoError(t, setNonblock(int(fd), false)) }))

		s := start(t, reactor.Options{Loops: tr.loops})
		tuples := make(chan reactor.FourTuple, 10)
		s.Listener, err = s.ListenFiles([]*os.File{file}, func(c *reactor.Conn) (reactor.Handler, error) {
			tuples <- c.Tuple()
			return reactor.DataFunc(echo), nil
		}, &reactor.StreamOptions{Backlog: 8, ReusePort: true})
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.Equal(t, plain.Addr().String(), s.Listener.Addr().String())
		require.Equal(t, tr.network+" "+plain.Addr().String(), s.Listener.String())
		for range 3 {
			cl := s.dial()
			cl.send("hello")
			cl.expect("hello")
			if tuple := receive(t, tuples); tr.network == "tcp" {
				require.Equal(t, plain.Addr().String(), tuple.Local.String())
				require.Equal(t, cl.LocalAddr().String(), tuple.Remote.String())
			}
		}
		require.NoError(t, s.Listener.Close())
		late := s.dial() // in the backlog, which is the other's now
		conn, err := plain.Accept()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		late.expectEOF()
	})
}

// Files gives each socket, and they outlive the listener: what connects meanwhile waits for who takes them over.
func TestListenerFiles(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, reusePort := range []bool{false, true} {
			if reusePort && tr.network == "unix" {
				continue
			}
			o := &reactor.StreamOptions{ReusePort: reusePort}
			predecessor := tr.serve(t, shared(reactor.DataFunc(echo)), o)
			files, err := predecessor.Listener.Files()
			require.NoError(t, err)
			if reusePort {
				require.Len(t, files, tr.loops)
			} else {
				require.Len(t, files, 1)
			}
			predecessor.Listener.SetUnlinkOnClose(false)
			require.NoError(t, predecessor.Close())
			_, err = predecessor.Listener.Files()
			require.ErrorIs(t, err, net.ErrClosed)

			var waiting []client
			for range 10 {
				cl := predecessor.dial()
				cl.send("first")
				waiting = append(waiting, cl)
			}
			s := start(t, reactor.Options{Loops: tr.loops})
			s.Listener, err = s.ListenFiles(files, shared(reactor.DataFunc(echo)), o)
			require.NoError(t, err)
			for _, f := range files {
				require.NoError(t, f.Close())
			}
			for _, cl := range waiting {
				cl.expect("first")
			}
			if tr.network == "unix" {
				s.Listener.SetUnlinkOnClose(true)
				require.NoError(t, s.Listener.Close())
				require.NoFileExists(t, s.Listener.Addr().String())
			}
		}
	})
}

// Datagrams too are served on the sockets of another.
func TestListenPacketFiles(t *testing.T) {
	reply := reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) { _ = d.Reply(d.Payload) })
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", ":0"} {
		predecessor := start(t, reactor.Options{Loops: 2})
		lis, err := predecessor.ListenPacket("udp", address, reply, nil)
		require.NoError(t, err)
		files, err := lis.Files()
		require.NoError(t, err)
		require.NoError(t, lis.Close())
		_, port, err := net.SplitHostPort(lis.Addr().String())
		require.NoError(t, err)
		conn, err := net.Dial("udp4", "127.0.0.1:"+port)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = conn.Write([]byte("while nobody serves"))
		require.NoError(t, err)

		s := start(t, reactor.Options{Loops: 2})
		again, err := s.ListenPacketFiles(files, reply, &reactor.PacketOptions{Broadcast: true, RecvBuffer: 1 << 16})
		require.NoError(t, err)
		require.Equal(t, lis.Addr(), again.Addr())
		for _, f := range files {
			require.NoError(t, f.Close())
		}
		got := make([]byte, 100)
		n, err := conn.Read(got)
		require.NoError(t, err)
		require.Equal(t, "while nobody serves", string(got[:n]))
		require.NoError(t, conn.Close())
	}
}

// What cannot be served is said in so many words, and stays as it is.
func TestListenFilesRefuses(t *testing.T) {
	tcp := transport{"tcp", 1}
	listening, other := listenPlain(t, tcp).(*net.TCPListener), listenPlain(t, tcp).(*net.TCPListener)
	conn, err := net.Dial("tcp", listening.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer udp.Close()
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socketPath(t), Net: "unixgram"})
	require.NoError(t, err)
	defer datagrams.Close()
	plain, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer plain.Close()
	closed := fileOf(t, listening)
	require.NoError(t, closed.Close())

	s := start(t, reactor.Options{Loops: 1})
	handler := reactor.PacketFunc(func(*reactor.PacketConn, *reactor.Datagram) {})
	for _, row := range []struct {
		want   string
		files  []*os.File
		packet bool
	}{
		{want: "no files to listen on"},
		{want: "use of closed file", files: []*os.File{closed}},
		{want: "listen file " + os.DevNull + ": not a socket", files: []*os.File{plain}},
		{want: fmt.Sprintf("a tcp socket that does not listen, at %q", conn.LocalAddr()), files: []*os.File{fileOf(t, conn.(*net.TCPConn))}},
		{want: "a udp socket, want tcp or unix", files: []*os.File{fileOf(t, udp.(*net.UDPConn))}},
		{want: "a tcp socket, want udp", files: []*os.File{fileOf(t, listening)}, packet: true},
		{want: "want tcp, udp, or a unix stream", files: []*os.File{fileOf(t, datagrams)}},
		{
			want:  fmt.Sprintf("a tcp socket of %v among those of tcp %v", other.Addr(), listening.Addr()),
			files: []*os.File{fileOf(t, listening), fileOf(t, other)},
		},
	} {
		if row.packet {
			_, err = s.ListenPacketFiles(row.files, handler, nil)
		} else {
			_, err = s.ListenFiles(row.files, shared(&hooks{}), nil)
		}
		require.ErrorContains(t, err, row.want)
	}
	_, err = s.ListenFiles([]*os.File{fileOf(t, listening)}, nil, nil)
	require.EqualError(t, err, "reactor: ListenFiles without an accept func")
	_, err = s.ListenPacketFiles([]*os.File{fileOf(t, udp.(*net.UDPConn))}, handler, &reactor.PacketOptions{Local: netip.MustParseAddrPort("127.0.0.1:0")})
	require.EqualError(t, err, "reactor: Local is 127.0.0.1:0, must be the zero value for ListenPacket")
	_, err = s.ListenPacketFiles([]*os.File{fileOf(t, listening)}, nil, nil)
	require.EqualError(t, err, "reactor: ListenPacketFiles without a handler")
	require.NoError(t, s.Close())
	_, err = s.ListenFiles([]*os.File{fileOf(t, listening)}, shared(&hooks{}), nil)
	require.ErrorIs(t, err, net.ErrClosed)
}

// roleVariable makes the test binary a process that is given sockets, see TestSuccessor.
const roleVariable = "QUARTET_TEST_ROLE"

// successor is a command that runs TestSuccessor in one of its roles.
func successor(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestSuccessor$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), roleVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd
}

// TestSuccessor is no test but, in a process of its own, who takes over.
func TestSuccessor(t *testing.T) {
	role := os.Getenv(roleVariable)
	if role == "" {
		t.Skip("only in a process that a test starts")
	}
	given, err := reactor.Inherited()
	switch role {
	case "tell": // what it was given
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(given.Sockets), "from predecessor:", given.FromPredecessor())
		for _, s := range given.Sockets {
			fmt.Printf("%s %v %q %d\n", s.Network, s.Addr, s.Name, len(s.Files))
		}
		again, err := reactor.Inherited()
		fmt.Println("again:", len(again.Sockets), err, os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_PID"))
	case "fail":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "serve": // until the first connection has ended
		require.NoError(t, err)
		r, err := reactor.New(reactor.Options{Loops: 2})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		h := &hooks{data: echo, close: func(*reactor.Conn, error) { cancel() }}
		for _, s := range given.Sockets {
			lis, err := r.ListenFiles(s.Files, shared(h), nil)
			require.NoError(t, err)
			lis.SetUnlinkOnClose(s.Unlink)
		}
		require.True(t, given.FromPredecessor())
		require.NoError(t, given.Ready())
		require.NoError(t, given.Ready())
		given.Close()
		require.NoError(t, r.Serve(ctx))
	}
	given.Close()
}

// The successor serves who connects from the moment that it is ready, on the same sockets.
func TestHandOver(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(&hooks{}), &reactor.StreamOptions{ReusePort: tr.network == "tcp"})
		cmd := successor("serve")
		require.NoError(t, reactor.HandOver(t.Context(), cmd, s.Listener))
		require.NoError(t, s.Listener.Close())
		cl := s.dial()
		cl.send("who is there?")
		cl.expect("who is there?")
		require.NoError(t, s.Close())
		if tr.network == "unix" {
			require.FileExists(t, s.Listener.Addr().String())
		}
		require.NoError(t, cl.Close())
		require.NoError(t, cmd.Wait())
		if tr.network == "unix" {
			require.NoFileExists(t, s.Listener.Addr().String())
		}
	})
}

// Without a successor that says it is ready, everything is as it was.
func TestHandOverFails(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, tr transport) {
		s := tr.serve(t, shared(reactor.DataFunc(echo)), nil)
		cl := s.dial()
		require.ErrorContains(t, reactor.HandOver(t.Context(), successor("fail"), s.Listener), "the successor did not become ready: exit status 3")

		enough := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, enough)
		defer cancel()
		cmd := successor("hang")
		require.ErrorIs(t, reactor.HandOver(ctx, cmd, s.Listener), enough)
		require.NotNil(t, cmd.ProcessState, "it still hangs")

		require.Error(t, reactor.HandOver(t.Context(), exec.Command("/does/not/exist"), s.Listener))

		for _, cl := range []client{cl, s.dial()} {
			cl.send("still there?")
			cl.expect("still there?")
		}
		require.NoError(t, s.Listener.Close())
		if tr.network == "unix" {
			require.NoFileExists(t, s.Listener.Addr().String())
		}
		require.ErrorIs(t, reactor.HandOver(t.Context(), successor("serve"), s.Listener), net.ErrClosed)
	})
}

// The environment is that of sd_listen_fds(3): meant for one process, and for nobody after it.
func TestInherited(t *testing.T) {
	tcp, unix := listenPlain(t, transport{"tcp", 1}).(*net.TCPListener), listenPlain(t, transport{"unix", 1}).(*net.UnixListener)
	files := []*os.File{fileOf(t, tcp), fileOf(t, unix), fileOf(t, tcp)}
	for _, row := range []struct {
		name, env string
		files     []*os.File
		want      string
	}{
		{"nothing", "", nil, "0 from predecessor: false\nagain: 0 <nil> \n"},
		{"another's", "LISTEN_PID=1 LISTEN_FDS=3", files, "0 from predecessor: false\nagain: 0 <nil> \n"},
		{
			"ours", "LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=front:back", files,
			fmt.Sprintf("2 from predecessor: false\ntcp %v \"front\" 2\nunix %v \"back\" 1\nagain: 0 <nil> \n", tcp.Addr(), unix.Addr()),
		},
		{"no number", "LISTEN_PID=$$ LISTEN_FDS=many", files, "reactor: LISTEN_FDS is \"many\", want a number of descriptors\n"},
		{"too few", "LISTEN_PID=$$ LISTEN_FDS=1000", files, "reactor: descriptor 6 of 1000 that LISTEN_FDS gives: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			cmd := successor("tell")
			cmd.Args = append([]string{"sh", "-c", row.env + ` exec "$0" "$@"`}, cmd.Args...)
			path, err := exec.LookPath("sh")
			require.NoError(t, err)
			cmd.Path = path
			cmd.ExtraFiles = row.files
			cmd.Stdout = nil
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			got, err := io.ReadAll(out)
			require.NoError(t, err)
			require.NoError(t, cmd.Wait(), "%s", got)
			require.Contains(t, string(got), row.want)
			require.Equal(t, row.want, string(got[:len(row.want)]))
		})
	}
	require.NotEqual(t, strconv.Itoa(os.Getpid()), os.Getenv("LISTEN_PID"))
}
