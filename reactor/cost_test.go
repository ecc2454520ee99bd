// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package reactor_test

import (
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a connection and a message cost, where it can be counted. AllocsPerRun and MemStats count those of all
// goroutines, the loops' too.

// A connection's record is one small object.
func TestConnSize(t *testing.T) {
	require.LessOrEqual(t, reactor.ConnSize, uintptr(192))
}

// skipUnlessLean skips where allocations are not the reactor's own.
func skipUnlessLean(t *testing.T) {
	switch tags := buildSetting("-tags"); {
	case raceBuild:
		t.Skip("with the race detector sync.Pool drops at random")
	case strings.Contains(tags, "quartet_plainsyscalls"):
		t.Skip("the plain system calls of x/sys allocate")
	case strings.Contains(tags, "poll_opt"):
		t.Skip("with poll_opt a descriptor number has an attachment, allocated once")
	}
}

// No message allocates: echoed, framed, cut by the network, or waiting for its rest.
func TestMessagesAllocateNothing(t *testing.T) {
	skipUnlessLean(t)
	frames := codec.LengthPrefix(2, 0)
	one, err := frames.AppendFrame(nil, pattern(100))
	require.NoError(t, err)
	var sixteen []byte
	for range 16 {
		sixteen = append(sixteen, one...)
	}
	echoFrames := reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error { return c.Send(frames, payload) }))
	largeFrames := codec.LengthPrefix(4, 2<<20)
	echoLarge := reactor.Frames(largeFrames, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error { return c.Send(largeFrames, payload) }))
	large, err := largeFrames.AppendFrame(nil, pattern(1<<20))
	require.NoError(t, err)
	rows := []struct {
		name    string
		handler reactor.Handler
		writes  [][]byte // each waits for what it answers
		answers []int
	}{
		{"64 bytes", reactor.DataFunc(echo), [][]byte{pattern(64)}, []int{64}},
		{"a frame", echoFrames, [][]byte{one}, []int{len(one)}},
		{"16 frames", echoFrames, [][]byte{sixteen}, []int{len(sixteen)}},
		{"frames that overlap", echoFrames, [][]byte{sixteen[:len(one)+50], sixteen[len(one)+50:]}, []int{len(one), 15 * len(one)}},
		{"a frame of 1 MiB", echoLarge, [][]byte{large}, []int{len(large)}},
		{"60 KiB", reactor.DataFunc(echo), [][]byte{pattern(60 << 10)}, []int{60 << 10}},
	}
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				s := tr.serve(t, shared(row.handler), nil)
				cl := s.dial()
				got := make([]byte, 64<<10)
				allocs := testing.AllocsPerRun(200, func() {
					for i, p := range row.writes {
						if _, err := cl.Write(p); err != nil {
							t.Error(err)
						}
						for n := 0; n < row.answers[i]; {
							m, err := cl.Read(got)
							if err != nil {
								t.Error(err)
								return
							}
							n += m
						}
					}
				})
				require.Zero(t, allocs)
			})
		}
	})
}

// awaitQueued waits until so many bytes wait in the socket to be received.
func awaitQueued(t testing.TB, fd, size int) {
	t.Helper()
	eventually(t, "all of it waits in the socket", func() bool {
		n, err := unix.IoctlGetUint32(fd, unix.SIOCINQ)
		return err == nil && int(n) == size
	})
}

// A large frame that waits in the socket is received with few calls. After the first its buffer has room for all of it,
// though 64 KiB have been received by then and the frame is more than three times as long.
func TestLargeFramesAreReceivedInPlace(t *testing.T) {
	frames := codec.LengthPrefix(4, 1<<20)
	frame, err := frames.AppendFrame(nil, pattern(200_000))
	require.NoError(t, err)
	received := make(chan int, 1)
	accept, refs := accepted(reactor.Frames(frames, reactor.FrameFunc(func(_ *reactor.Conn, payload []byte) error {
		received <- len(payload)
		return nil
	})))
	s := transport{"tcp", 1}.serve(t, accept, &reactor.StreamOptions{RecvBuffer: 1 << 20}) // the kernel may grant less
	cl := s.dial()
	ref := receive(t, refs)
	rd := s.tracing(reactor.TraceOptions{}).Reader()
	do(t, ref, func(c *reactor.Conn) { // which keeps the loop from reading meanwhile
		_, err := cl.Write(frame)
		require.NoError(t, err)
		awaitQueued(t, c.FD(), len(frame))
	})
	require.Equal(t, 200_000, receive(t, received))
	var reads []int
	for _, e := range awaitEvent(t, rd, reactor.TraceFrame) {
		if e.Kind == reactor.TraceRead {
			reads = append(reads, e.N)
		}
	}
	require.Equal(t, []int{64 << 10, 128 << 10, len(frame) - 192<<10}, reads)
}

// A readiness event is one read, however much waits. So a request among flooders waits for a read of each, or two if it
// became ready in the middle of a round, and not for all that they have sent.
func TestRequestAmongFlooders(t *testing.T) {
	const flooders, flood = 6, 200_000
	forEachNetwork(t, func(t *testing.T, tr transport) {
		received := make([]int, flooders)
		before := make(chan []int, 1) // the request
		descriptors := make(chan int, 1)
		o := &reactor.StreamOptions{}
		if tr.network == "tcp" {
			o.RecvBuffer = 1 << 20 // the kernel may grant less
		}
		next := 0
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			i := next
			next++
			descriptors <- c.FD()
			return reactor.DataFunc(func(_ *reactor.Conn, in []byte) (int, error) {
				if i < flooders {
					received[i] += len(in)
				} else {
					before <- slices.Clone(received)
				}
				return len(in), nil
			}), nil
		}, o)
		var clients []client
		var fds []int
		for range flooders + 1 {
			cl := s.dial()
			require.NoError(t, cl.SetWriteBuffer(1<<20)) // which bounds what waits on a unix socket
			clients, fds = append(clients, cl), append(fds, receive(t, descriptors))
		}
		var ref reactor.Ref
		for ref = range s.Conns() {
		}
		release := block(t, ref)
		for i, cl := range clients {
			size := flood
			if i == flooders {
				size = 1
			}
			cl.send(strings.Repeat("x", size))
			awaitQueued(t, fds[i], size)
		}
		release()
		for i, n := range receive(t, before) {
			require.LessOrEqual(t, n, 128<<10, "flooder %d", i)
		}
	})
}

// Ref.Write allocates nothing once its loop and the pools are warm.
func TestRefWriteAllocatesNothing(t *testing.T) {
	skipUnlessLean(t)
	forEachNetwork(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(&hooks{})
		s := tr.serve(t, accept, nil)
		cl := s.dial()
		ref := receive(t, refs)
		p, got := pattern(100), make([]byte, 100)
		for range 45 { // bytebufferpool learns sizes, from 42,000 buffers at a time
			for range 1000 {
				if _, err := ref.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			_, err := io.CopyN(io.Discard, cl, int64(1000*len(p)))
			require.NoError(t, err)
		}
		allocs := testing.AllocsPerRun(500, func() {
			if _, err := ref.Write(p); err != nil {
				t.Error(err)
			}
			for n := 0; n < len(p); {
				m, err := cl.Read(got)
				if err != nil {
					t.Error(err)
					return
				}
				n += m
			}
		})
		require.Zero(t, allocs)
	})
}

// Accepting allocates the Conn and nothing else. The clients are bare sockets, made before the count begins; they
// wait in the backlog while the loop is blocked.
func TestAcceptAllocatesTheConnOnly(t *testing.T) {
	skipUnlessLean(t)
	forEachNetwork(t, func(t *testing.T, tr transport) {
		const conns = 100
		h := &hooks{}
		n, all := 0, make(chan struct{}, 1)
		first := make(chan reactor.Ref, 1)
		s := tr.serve(t, func(c *reactor.Conn) (reactor.Handler, error) {
			switch n++; n {
			case 2 * conns:
				first <- c.Ref()
			case 3 * conns:
				all <- struct{}{}
			}
			return h, nil
		}, nil)
		// Room for numbers and tuples in the loop's tables grows with the first, which then go.
		clients := connectBare(t, s.Listener.Addr(), 2*conns)
		ref := receive(t, first)
		for _, fd := range clients[:2*conns-1] {
			_ = syscall.Close(fd)
		}
		eventually(t, "one is left", func() bool {
			left := 0
			for range s.Conns() {
				left++
			}
			return left == 1
		})
		release := block(t, ref)
		again := connectBare(t, s.Listener.Addr(), conns)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		release()
		<-all
		runtime.ReadMemStats(&after)
		mallocs := after.Mallocs - before.Mallocs
		for _, fd := range append(again, clients[2*conns-1]) {
			_ = syscall.Close(fd)
		}
		require.GreaterOrEqual(t, mallocs, uint64(conns))
		require.Less(t, mallocs, uint64(conns+conns/10), "objects for %d connections", conns)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(conns*192+4096), "bytes for %d connections", conns)
	})
}

// connectBare connects n sockets without package net. The caller closes them.
func connectBare(t *testing.T, a net.Addr, n int) (fds []int) {
	var sa syscall.Sockaddr
	family := syscall.AF_UNIX
	switch a := a.(type) {
	case *net.UnixAddr:
		sa = &syscall.SockaddrUnix{Name: a.Name}
	case *net.TCPAddr:
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Port: a.Port, Addr: a.AddrPort().Addr().As4()}
	}
	for range n {
		fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, syscall.Connect(fd, sa))
		fds = append(fds, fd)
	}
	return fds
}

// An idle connection owns no buffers: what it received and wrote has gone back to the pools.
func TestIdleConnectionsOwnNoBuffers(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		accept, refs := accepted(reactor.DataFunc(echo))
		s := tr.serve(t, accept, nil)
		for range 20 {
			cl := s.dial()
			ref := receive(t, refs)
			for _, size := range []int{1, 5000, 200 << 10} {
				go func() { _, _ = cl.Write(pattern(size)) }()
				requireSame(t, pattern(size), []byte(cl.read(size)))
			}
			do(t, ref, func(c *reactor.Conn) { require.True(t, c.OwnsNothing()) })
		}
		require.Zero(t, s.Buffered())
	})
}
