// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// raceBuild says whether the race detector is at work: it makes some costs unmeasurable and large sizes slow.
var raceBuild = buildSetting("-race") == "true"

// buildSetting returns a flag that the tests were built with.
func buildSetting(key string) string {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// patience is how long a test waits for what must happen. Nothing waits so long unless something is broken.
const patience = 20 * time.Second

// A transport is one way to run a test: over which network, on how many loops.
type transport struct {
	network string
	loops   int
}

// transports are all of them. Most tests run over each.
var transports = []transport{{"tcp", 1}, {"tcp", 3}, {"unix", 1}, {"unix", 3}}

func (tr transport) String() string { return fmt.Sprintf("%s/loops=%d", tr.network, tr.loops) }

// forEachTransport runs body as a subtest over each transport.
func forEachTransport(t *testing.T, body func(t *testing.T, tr transport)) {
	t.Helper()
	for _, tr := range transports {
		t.Run(tr.String(), func(t *testing.T) { body(t, tr) })
	}
}

// forEachNetwork is forEachTransport for what the number of loops cannot change.
func forEachNetwork(t *testing.T, body func(t *testing.T, tr transport)) {
	t.Helper()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { body(t, transport{network, 1}) })
	}
}

// address returns one to listen on.
func (tr transport) address(t testing.TB) string {
	if tr.network == "unix" {
		return socketPath(t)
	}
	return "127.0.0.1:0"
}

// socketPath returns a path for a unix socket. t.TempDir's are longer than a socket's may be.
func socketPath(t testing.TB) string {
	dir, err := os.MkdirTemp("", "quartet")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "socket")
}

// A server is a serving reactor with one listener.
type server struct {
	*reactor.Reactor
	Listener *reactor.Listener
	Log      *logBook

	t      testing.TB
	served chan error // gets what Serve returned
}

// start serves a reactor until the test ends; Serve has returned then. Before it serves, it is prepared.
func start(t testing.TB, o reactor.Options, prepare ...func(*reactor.Reactor)) *server {
	t.Helper()
	s := &server{t: t, Log: new(logBook), served: make(chan error, 1)}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(s.Log, nil))
	}
	r, err := reactor.New(o)
	require.NoError(t, err)
	s.Reactor = r
	for _, p := range prepare {
		p(r)
	}
	go func() { s.served <- r.Serve(context.Background()) }()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close of the reactor: %v", err)
		}
		select {
		case <-s.served:
		case <-time.After(patience):
			t.Error("Serve did not return")
		}
	})
	return s
}

// serve starts a reactor that listens on the transport.
func (tr transport) serve(t testing.TB, accept reactor.AcceptFunc, o *reactor.StreamOptions) *server {
	t.Helper()
	return tr.serveWith(t, reactor.Options{}, accept, o)
}

// serveWith is serve with options for the reactor; their Loops are the transport's. See start for prepare.
func (tr transport) serveWith(t testing.TB, ro reactor.Options, accept reactor.AcceptFunc, o *reactor.StreamOptions, prepare ...func(*reactor.Reactor)) *server {
	t.Helper()
	ro.Loops = tr.loops
	s := start(t, ro, prepare...)
	s.Listener = s.listen(tr.network, tr.address(t), accept, o)
	return s
}

// listen adds a listener.
func (s *server) listen(network, address string, accept reactor.AcceptFunc, o *reactor.StreamOptions) *reactor.Listener {
	s.t.Helper()
	lis, err := s.Listen(network, address, accept, o)
	require.NoError(s.t, err)
	return lis
}

// dial connects to the server's listener; see client.
func (s *server) dial() client {
	s.t.Helper()
	return dialTo(s.t, s.Listener.Addr())
}

// dialTo connects to an address.
func dialTo(t testing.TB, a net.Addr) client {
	t.Helper()
	conn, err := dialPlain(a)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() })
	return client{halfCloser: conn, t: t}
}

// dialPlain connects to an address, for clients that come and go by the hundred.
func dialPlain(a net.Addr) (halfCloser, error) {
	conn, err := net.DialTimeout(a.Network(), a.String(), patience)
	if err != nil {
		return nil, err
	}
	return conn.(halfCloser), nil
}

// A client is the other end of a connection: a socket of package net that gives up after patience and whose methods,
// those in addition to net.Conn's, fail the test. It closes with the test.
type client struct {
	halfCloser
	t testing.TB
}

// halfCloser is what *net.TCPConn and *net.UnixConn share.
type halfCloser interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
	SyscallConn() (syscall.RawConn, error)
}

// send writes p.
func (cl client) send(p string) {
	cl.t.Helper()
	_, err := cl.Write([]byte(p))
	require.NoError(cl.t, err)
}

// expect reads exactly want.
func (cl client) expect(want string) {
	cl.t.Helper()
	require.Equal(cl.t, want, cl.read(len(want)))
}

// read reads n bytes.
func (cl client) read(n int) string {
	cl.t.Helper()
	got := make([]byte, n)
	done, err := io.ReadFull(cl, got)
	require.NoError(cl.t, err, "after %d of %d bytes", done, n)
	return string(got)
}

// rest reads to the end, which must be a clean one.
func (cl client) rest() string {
	cl.t.Helper()
	got, err := io.ReadAll(cl)
	require.NoError(cl.t, err, "after %d bytes", len(got))
	return string(got)
}

// expectStream reads exactly want and then a clean end. Unlike rest it needs no memory of its own for it.
func (cl client) expectStream(want []byte, about ...any) {
	cl.t.Helper()
	cl.expectBytes(want, about...)
	n, err := cl.Read(make([]byte, 1))
	require.Zero(cl.t, n, append([]any{"more than expected"}, about...)...)
	require.ErrorIs(cl.t, err, io.EOF, about...)
}

// expectBytes reads exactly want.
func (cl client) expectBytes(want []byte, about ...any) {
	cl.t.Helper()
	chunk := make([]byte, 64<<10)
	for at := 0; at < len(want); {
		n, err := cl.Read(chunk[:min(len(chunk), len(want)-at)])
		if got := chunk[:n]; !bytes.Equal(got, want[at:at+n]) {
			same := 0
			for got[same] == want[at+same] {
				same++
			}
			require.FailNow(cl.t, fmt.Sprintf("what came differs from byte %d of %d on", at+same, len(want)), about...)
		}
		if at += n; at < len(want) && err != nil {
			require.FailNow(cl.t, fmt.Sprintf("%v after %d of %d bytes", err, at, len(want)), about...)
		}
	}
}

// expectEOF reads a clean end and nothing before it.
func (cl client) expectEOF() {
	cl.t.Helper()
	require.Empty(cl.t, cl.rest())
}

// expectGone reads until the connection ends, cleanly or with a reset.
func (cl client) expectGone() {
	cl.t.Helper()
	_, err := io.Copy(io.Discard, cl)
	require.Falsef(cl.t, os.IsTimeout(err), "still there after %v", patience)
}

// expectReset reads until the connection ends, with a reset. Unix sockets know none unless input was unread; they may
// end cleanly.
func (cl client) expectReset() {
	cl.t.Helper()
	_, err := io.Copy(io.Discard, cl)
	if _, isUnix := cl.LocalAddr().(*net.UnixAddr); isUnix && err == nil {
		return
	}
	require.Truef(cl.t, errors.Is(err, syscall.ECONNRESET), "ended with %v", err)
}

// reset closes the client's end with a reset (on unix sockets, just closes it).
func (cl client) reset() {
	cl.t.Helper()
	if tcp, ok := cl.halfCloser.(*net.TCPConn); ok {
		require.NoError(cl.t, tcp.SetLinger(0))
	}
	require.NoError(cl.t, cl.Close())
}

// hooks is a Handler made of functions; those that are nil do what Base does.
type hooks struct {
	reactor.Base
	data     func(c *reactor.Conn, in []byte) (int, error) // nil discards
	eof      func(c *reactor.Conn, rest []byte) error
	writable func(c *reactor.Conn)
	draining func(c *reactor.Conn)
	close    func(c *reactor.Conn, err error)
}

func (h *hooks) Data(c *reactor.Conn, in []byte) (int, error) {
	if h.data == nil {
		return len(in), nil
	}
	return h.data(c, in)
}

func (h *hooks) EOF(c *reactor.Conn, rest []byte) error {
	if h.eof == nil {
		return h.Base.EOF(c, rest)
	}
	return h.eof(c, rest)
}

func (h *hooks) Writable(c *reactor.Conn) {
	if h.writable != nil {
		h.writable(c)
	}
}

func (h *hooks) Draining(c *reactor.Conn) {
	if h.draining != nil {
		h.draining(c)
	}
}

func (h *hooks) Close(c *reactor.Conn, err error) {
	if h.close != nil {
		h.close(c, err)
	}
}

// frameHooks is hooks for Frames.
type frameHooks struct {
	hooks
	frame func(c *reactor.Conn, payload []byte) error
}

func (h *frameHooks) Frame(c *reactor.Conn, payload []byte) error { return h.frame(c, payload) }

func (h *frameHooks) EOF(c *reactor.Conn, rest []byte) error {
	if h.eof == nil {
		return reactor.FrameBase{}.EOF(c, rest)
	}
	return h.eof(c, rest)
}

// shared returns an AcceptFunc that gives every connection the same handler.
func shared(h reactor.Handler) reactor.AcceptFunc {
	return func(*reactor.Conn) (reactor.Handler, error) { return h, nil }
}

// echo answers with what came.
func echo(c *reactor.Conn, in []byte) (int, error) {
	_, err := c.Write(in)
	return len(in), err
}

// accepted returns an AcceptFunc that gives every connection h and sends its Ref to the channel, which holds many.
func accepted(h reactor.Handler) (reactor.AcceptFunc, <-chan reactor.Ref) {
	refs := make(chan reactor.Ref, 4096)
	return func(c *reactor.Conn) (reactor.Handler, error) {
		refs <- c.Ref()
		return h, nil
	}, refs
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

// do runs fn on the connection's loop and waits for it. The connection must be there.
func do(t testing.TB, ref reactor.Ref, fn func(c *reactor.Conn)) {
	t.Helper()
	done := make(chan error, 1)
	require.NoError(t, ref.Do(func(c *reactor.Conn, err error) {
		cause := errors.New("the function did not return")
		defer func() { done <- cause }()
		if err == nil {
			fn(c)
		}
		cause = err
	}))
	require.NoError(t, receive(t, done))
}

// block keeps the connection's loop busy in a function until release is called, or the test ends.
func block(t testing.TB, ref reactor.Ref) (release func()) {
	t.Helper()
	entered, until := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(until) })
	t.Cleanup(release)
	require.NoError(t, ref.Do(func(*reactor.Conn, error) {
		close(entered)
		<-until
	}))
	receive(t, entered)
	return release
}

// setNonblock changes O_NONBLOCK of a descriptor as somebody else might who shares the open file.
func setNonblock(fd int, on bool) error { return syscall.SetNonblock(fd, on) }

// collectGarbage runs the collector, which a thread that blocks without the scheduler's knowledge would hold up for ever.
func collectGarbage(t testing.TB) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		runtime.GC()
		close(done)
	}()
	receive(t, done)
}

// pattern returns n bytes in which no piece of a few bytes repeats soon, so that lost, doubled and swapped pieces show.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i ^ i>>8*31 ^ i>>16*57)
	}
	return p
}

// morePattern is a pattern that is more than the kernel takes at once. It is not to be written to.
var morePattern = sync.OnceValue(func() []byte { return pattern(8 << 20) })

// A logBook is where a server's logger writes.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// has says whether text was written.
func (b *logBook) has(text string) bool { return strings.Contains(b.String(), text) }

// hasLine says whether one line has all these texts.
func (b *logBook) hasLine(texts ...string) bool {
	for line := range strings.Lines(b.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}

// reset forgets what was written.
func (b *logBook) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}
