// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// These compare one change with another. Client and server share the process and its CPUs: package bench measures
// against others.

// BenchmarkEcho is request and reply of 64 bytes over some connections at once, against a goroutine for each connection.
func BenchmarkEcho(b *testing.B) {
	for _, conns := range []int{1, 64} {
		b.Run(fmt.Sprintf("conns=%d/reactor", conns), func(b *testing.B) {
			s := transport{"tcp", 1}.serve(b, shared(reactor.DataFunc(echo)), nil)
			benchmarkRequests(b, s.Listener.Addr(), conns, pattern(64), 64)
		})
		b.Run(fmt.Sprintf("conns=%d/goroutines", conns), func(b *testing.B) {
			benchmarkRequests(b, goroutineEcho(b), conns, pattern(64), 64)
		})
	}
}

// BenchmarkObserved is BenchmarkEcho with nothing switched on (off), timed events, a watchdog, and a trace.
func BenchmarkObserved(b *testing.B) {
	rows := []struct {
		name  string
		opts  reactor.Options
		trace bool
	}{
		{"off", reactor.Options{}, false},
		{"measure", reactor.Options{Measure: true}, false},
		{"watchdog", reactor.Options{SlowHandler: 100 * time.Millisecond}, false},
		{"trace", reactor.Options{}, true},
	}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) {
			s := transport{"tcp", 1}.serveWith(b, row.opts, shared(reactor.DataFunc(echo)), nil)
			if row.trace {
				trace, err := s.Trace(reactor.TraceOptions{})
				require.NoError(b, err)
				defer trace.Stop()
			}
			benchmarkRequests(b, s.Listener.Addr(), 64, pattern(64), 64)
		})
	}
}

// goroutineEcho serves echo as package net has it.
func goroutineEcho(b *testing.B) net.Addr {
	return goroutines(b, func(conn net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	})
}

// goroutines has serve called for each connection on a goroutine of its own.
func goroutines(b *testing.B, serve func(net.Conn)) net.Addr {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	b.Cleanup(func() {
		_ = lis.Close()
		wg.Wait()
	})
	return lis.Addr()
}

// BenchmarkFrames is 16 pipelined frames of 64 bytes and their answers for each operation.
func BenchmarkFrames(b *testing.B) {
	frames := codec.LengthPrefix(2, 0)
	s := transport{"tcp", 1}.serve(b, shared(reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error {
		return c.Send(frames, payload)
	}))), nil)
	one, err := frames.AppendFrame(nil, pattern(62))
	require.NoError(b, err)
	batch := slices.Repeat(one, 16)
	b.SetBytes(int64(len(batch)))
	benchmarkRequests(b, s.Listener.Addr(), 16, batch, len(batch))
}

// BenchmarkLargeFrames is a frame and its answer over 16 connections at once, against goroutines that know how long all
// frames are.
func BenchmarkLargeFrames(b *testing.B) {
	frames := codec.LengthPrefix(4, 2<<20)
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20} {
		frame, err := frames.AppendFrame(nil, pattern(size))
		require.NoError(b, err)
		b.Run(fmt.Sprintf("%dKiB/reactor", size>>10), func(b *testing.B) {
			s := transport{"tcp", 1}.serve(b, shared(reactor.Frames(frames, reactor.FrameFunc(func(c *reactor.Conn, payload []byte) error {
				return c.Send(frames, payload)
			}))), nil)
			b.SetBytes(int64(len(frame)))
			benchmarkRequests(b, s.Listener.Addr(), 16, frame, len(frame))
		})
		b.Run(fmt.Sprintf("%dKiB/goroutines", size>>10), func(b *testing.B) {
			a := goroutines(b, func(conn net.Conn) {
				buf := make([]byte, len(frame))
				for {
					if _, err := io.ReadFull(conn, buf); err != nil {
						return
					}
					if _, err := conn.Write(buf); err != nil {
						return
					}
				}
			})
			b.SetBytes(int64(len(frame)))
			benchmarkRequests(b, a, 16, frame, len(frame))
		})
	}
}

// benchmarkRequests makes b.N requests over conns connections, one at a time on each.
func benchmarkRequests(b *testing.B, a net.Addr, conns int, request []byte, answer int) {
	clients := make([]client, conns)
	for i := range clients {
		clients[i] = dialTo(b, a)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, cl := range clients {
		requests := b.N / conns
		if i < b.N%conns {
			requests++
		}
		wg.Go(func() {
			got := make([]byte, answer)
			for range requests {
				if _, err := cl.Write(request); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(cl.halfCloser, got); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	for _, cl := range clients {
		_ = cl.Close()
	}
}

// BenchmarkRefWrite is one goroutine's 64 bytes posted to a connection whose peer reads them.
func BenchmarkRefWrite(b *testing.B) {
	accept, refs := accepted(&hooks{})
	s := transport{"tcp", 1}.serve(b, accept, nil)
	cl := s.dial()
	ref := receive(b, refs)
	total := int64(b.N) * 64
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, cl, total)
		read <- err
	}()
	p := pattern(64)
	b.SetBytes(64)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for {
			_, err := ref.Write(p)
			if err == nil {
				break
			}
			if err != reactor.ErrOverflow && err != reactor.ErrMailboxFull {
				b.Fatal(err)
			}
			runtime.Gosched() // the loop has much to do
		}
	}
	require.NoError(b, receive(b, read))
}

// BenchmarkBroadcast is a message of 64 bytes from one connection to 100 of its loop, received by all.
func BenchmarkBroadcast(b *testing.B) {
	const conns = 100
	members := map[*reactor.Conn]bool{}
	h := &hooks{
		data: func(_ *reactor.Conn, in []byte) (int, error) {
			for m := range members {
				if _, err := m.Write(in); err != nil {
					return 0, err
				}
			}
			return len(in), nil
		},
		close: func(c *reactor.Conn, _ error) { delete(members, c) },
	}
	joined := make(chan struct{}, conns)
	s := transport{"tcp", 1}.serve(b, func(c *reactor.Conn) (reactor.Handler, error) {
		members[c] = true
		joined <- struct{}{}
		return h, nil
	}, nil)
	clients := make([]client, conns)
	for i := range clients {
		clients[i] = s.dial()
		receive(b, joined)
	}
	p, got := pattern(64), make([]byte, 64)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := clients[0].Write(p); err != nil {
			b.Fatal(err)
		}
		for _, cl := range clients {
			if _, err := io.ReadFull(cl.halfCloser, got); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPacketEcho is 16 datagrams of 64 bytes and their answers for each operation, plain and in a session.
func BenchmarkPacketEcho(b *testing.B) {
	session := newConversations()
	session.datagram = func(_ *conversation, s *reactor.Session, d *reactor.Datagram) { _, _ = s.Write(d.Payload) }
	for _, row := range []struct {
		name    string
		handler reactor.PacketHandler
		opts    reactor.PacketOptions
	}{
		{"plain", packetEcho, reactor.PacketOptions{}},
		{"session", reactor.Sessions(session.begin, nil), reactor.PacketOptions{}},
		{"offload", packetEcho, reactor.PacketOptions{GRO: true, GSO: true}},
	} {
		b.Run(row.name, func(b *testing.B) {
			s := servePacket(b, "udp", "127.0.0.1:0", row.handler, &row.opts)
			cl := dialPacket(b, s.Listener, "127.0.0.1")
			p, got := pattern(64), make([]byte, 128)
			b.ReportAllocs()
			for b.Loop() {
				for range 16 {
					if _, err := cl.Write(p); err != nil {
						b.Fatal(err)
					}
				}
				for range 16 {
					if _, err := cl.Read(got); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
