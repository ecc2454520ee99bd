// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// serve runs a proxy to the address in this process.
func serve(t *testing.T, to string) (address string) {
	t.Helper()
	_, address = serving(t, to)
	return address
}

// serving is serve for who ends it.
func serving(t *testing.T, to string) (r *reactor.Reactor, address string) {
	t.Helper()
	r, err := reactor.New(reactor.Options{Loops: 2})
	require.NoError(t, err)
	lis, err := r.Listen("tcp", "127.0.0.1:0", (&proxy{to: to}).accept, streamOptions)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- r.Serve(context.Background()) }()
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		require.NoError(t, <-served)
	})
	return r, lis.Addr().String()
}

// listen returns a listener for the server's side.
func listen(t *testing.T) net.Listener {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	return lis
}

// connect makes a pair and returns its two outer ends.
func connect(t *testing.T, proxy string, lis net.Listener) (client, server *net.TCPConn) {
	t.Helper()
	end := func(conn net.Conn, err error) *net.TCPConn {
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		return conn.(*net.TCPConn)
	}
	client = end(net.Dial("tcp", proxy))
	return client, end(lis.Accept())
}

// Each half of the connection ends by itself, whichever first, and everything that was sent before its end arrives.
func TestHalfCloses(t *testing.T) {
	lis := listen(t)
	address := serve(t, lis.Addr().String())
	request, reply := make([]byte, 3<<20), make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{1}).Read(request)
	rand.NewChaCha8([32]byte{2}).Read(reply)
	for _, serverFirst := range []bool{false, true} {
		first, second := connect(t, address, lis)
		if serverFirst {
			first, second = second, first
		}
		go func() {
			_, _ = first.Write(request)
			_ = first.CloseWrite()
		}()
		got, err := io.ReadAll(second)
		require.NoError(t, err)
		require.True(t, bytes.Equal(request, got))
		go func() {
			_, _ = second.Write(reply)
			_ = second.Close()
		}()
		got, err = io.ReadAll(first)
		require.NoError(t, err)
		require.True(t, bytes.Equal(reply, got))
	}
}

// Both directions of several pairs at once, in pieces of any size.
func TestBothWays(t *testing.T) {
	lis := listen(t)
	address := serve(t, lis.Addr().String())
	const size = 1 << 20
	var all sync.WaitGroup
	for seed := range uint64(6) {
		client, server := connect(t, address, lis)
		for i, end := range []*net.TCPConn{client, server} {
			sent := make([]byte, size)
			rand.NewChaCha8([32]byte{byte(seed), byte(i)}).Read(sent)
			want := make([]byte, size)
			rand.NewChaCha8([32]byte{byte(seed), byte(1 - i)}).Read(want)
			all.Go(func() {
				pieces := rand.New(rand.NewPCG(seed, uint64(i)))
				for rest := sent; len(rest) > 0; {
					n := min(len(rest), 1+pieces.IntN(200<<10))
					if _, err := end.Write(rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
				_ = end.CloseWrite()
			})
			all.Go(func() {
				got, err := io.ReadAll(end)
				if err != nil || !bytes.Equal(want, got) {
					t.Errorf("got %d bytes, not those that were sent: %v", len(got), err)
				}
			})
		}
	}
	all.Wait()
}

// A reset on one side is a reset on the other.
func TestResets(t *testing.T) {
	lis := listen(t)
	address := serve(t, lis.Addr().String())
	for _, serverFirst := range []bool{false, true} {
		first, second := connect(t, address, lis)
		if serverFirst {
			first, second = second, first
		}
		_, err := first.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(second, make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, first.SetLinger(0))
		require.NoError(t, first.Close())
		_, err = second.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
}

// The proxy's own end is an end for who is silent, and a reset where a side was stopped in the middle of what it sends:
// nobody takes a part for the whole.
func TestShutdown(t *testing.T) {
	lis := listen(t)
	r, address := serving(t, lis.Addr().String())
	idle := make([]*net.TCPConn, 2)
	idle[0], idle[1] = connect(t, address, lis)
	client, server := connect(t, address, lis)
	for chunk := make([]byte, 1<<20); ; {
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		n, err := client.Write(chunk)
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		if n == 0 && unsent(r) >= int64(streamOptions.LowWater) { // all that are on the way hold what they can
			break
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Shutdown(t.Context()) }()
	for _, end := range idle {
		_, err := end.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, end.Close())
	}
	for _, end := range []*net.TCPConn{client, server} {
		_, err := io.Copy(io.Discard, end)
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	require.NoError(t, <-ended)
}

// unsent is what the proxy holds.
func unsent(r *reactor.Reactor) (n int64) {
	stats := r.Stats()
	for _, l := range stats.Loops {
		n += l.Unsent
	}
	return n
}

// Where there is no server the client is told by the end of its connection.
func TestNobodyThere(t *testing.T) {
	held, err := net.Dial("tcp", listen(t).Addr().String()) // at its own end nobody listens, nor can meanwhile
	require.NoError(t, err)
	defer held.Close()
	client, err := net.Dial("tcp", serve(t, held.LocalAddr().String()))
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.SetDeadline(time.Now().Add(patience)))
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}
