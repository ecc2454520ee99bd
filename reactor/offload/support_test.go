// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// A transport is one way to run a test.
type transport struct {
	network string
	loops   int
}

// forEachTransport runs body as a subtest over each network, on one loop and on several.
func forEachTransport(t *testing.T, body func(t *testing.T, tr transport)) {
	t.Helper()
	for _, tr := range []transport{{"tcp", 1}, {"tcp", 3}, {"unix", 1}, {"unix", 3}} {
		t.Run(fmt.Sprintf("%s/loops=%d", tr.network, tr.loops), func(t *testing.T) {
			t.Parallel()
			body(t, tr)
		})
	}
}

// A server is a pool and a reactor that serves until the test ends; both have nothing left then.
type server struct {
	*reactor.Reactor
	pool *offload.Pool
	tr   transport
	t    testing.TB
	refs chan reactor.Ref // of those that connected
	ends chan error       // what Close got, in services
}

func (tr transport) start(t testing.TB, o offload.Options) *server {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	o.Logger = quiet
	pool, err := offload.New(o)
	require.NoError(t, err)
	r, err := reactor.New(reactor.Options{Loops: tr.loops, Logger: quiet})
	require.NoError(t, err)
	s := &server{Reactor: r, pool: pool, tr: tr, t: t, refs: make(chan reactor.Ref, 1000), ends: make(chan error, 1000)}
	served := make(chan error, 1)
	go func() { served <- r.Serve(context.Background()) }()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close of the reactor: %v", err)
		}
		receive(t, served)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			t.Errorf("Close of the pool: %v", err)
		}
		if n, g, q := pool.Buffered(), pool.Goroutines(), pool.Queues(); n != 0 || g != 0 || q != 0 {
			t.Errorf("left in the pool: %d bytes, %d goroutines, %d queues", n, g, q)
		}
	})
	return s
}

// listen adds a listener whose connections h serves.
func (s *server) listen(h reactor.Handler) net.Addr {
	s.t.Helper()
	address := "127.0.0.1:0"
	if s.tr.network == "unix" {
		dir, err := os.MkdirTemp("", "quartet")
		require.NoError(s.t, err)
		s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
		address = filepath.Join(dir, "socket")
	}
	lis, err := s.Listen(s.tr.network, address, func(c *reactor.Conn) (reactor.Handler, error) {
		s.refs <- c.Ref()
		return h, nil
	}, &reactor.StreamOptions{HighWater: 32 << 10})
	require.NoError(s.t, err)
	return lis.Addr()
}

var lines = codec.Line(64 << 10)

// work is a FrameHandler that tells its ends.
type work struct {
	offload.FrameFunc
	ends chan<- error
}

func (w work) Close(_ *reactor.Conn, err error) { w.ends <- err }

// serve adds a listener for lines that fn answers.
func (s *server) serve(fn offload.FrameFunc) net.Addr {
	s.t.Helper()
	return s.listen(offload.Frames(s.pool, lines, lines, work{fn, s.ends}))
}

// A client is the other end.
type client struct {
	net.Conn
	in *bufio.Reader
	t  testing.TB
}

func dial(t testing.TB, a net.Addr) *client {
	t.Helper()
	conn, err := net.DialTimeout(a.Network(), a.String(), patience)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn, bufio.NewReader(conn), t}
}

func (cl *client) send(p string) {
	cl.t.Helper()
	_, err := io.WriteString(cl, p)
	require.NoError(cl.t, err)
}

func (cl *client) expect(want string) {
	cl.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(cl.in, got)
	require.NoError(cl.t, err, "after %q", got[:n])
	require.Equal(cl.t, want, string(got))
}

// rest reads to the end, which must be a clean one.
func (cl *client) rest() string {
	cl.t.Helper()
	got, err := io.ReadAll(cl.in)
	require.NoError(cl.t, err)
	return string(got)
}

func (cl *client) closeWrite() {
	cl.t.Helper()
	require.NoError(cl.t, cl.Conn.(interface{ CloseWrite() error }).CloseWrite())
}

// receive takes from ch what must come.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came within "+patience.String())
		panic("unreachable")
	}
}

// eventually waits until what holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			require.FailNow(t, "not within "+patience.String()+": "+what)
		}
	}
}
