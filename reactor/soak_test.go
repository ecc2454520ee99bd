// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && soak

package reactor_test

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// soakTime is how long clients come; QUARTET_SOAK_SEED repeats a run's choices.
const soakTime = 30 * time.Second

var errSoak = errors.New("an error of the handler")

// TestSoak has clients and handlers do everything that they may, in random order: chunks of all sizes, pauses,
// half-closes, resets, slow reading, holds, writes from elsewhere, errors and panics. Each connection gets one
// Close, with a cause that can be; nothing is left behind.
func TestSoak(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("QUARTET_SOAK_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("QUARTET_SOAK_SEED=%d", seed)
	forEachNetworkAtOnce(t, func(t *testing.T, tr transport) {
		tr.loops = 3
		k := &soaker{t: t, seed: seed}
		s := start(t, reactor.Options{Loops: tr.loops, MaxConns: 40, MaxBuffered: 24 << 20, Logger: slog.New(slog.DiscardHandler)})
		s.Listener = s.listen(tr.network, tr.address(t), k.accept, &reactor.StreamOptions{
			HighWater: 32 << 10, MaxInput: 256 << 10, IdleTimeout: 800 * time.Millisecond, WriteTimeout: 700 * time.Millisecond,
		})
		var clients sync.WaitGroup
		for i := range 60 {
			clients.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(i)))
				for end := time.Now().Add(soakTime); time.Now().Before(end); {
					k.client(rnd, s.Listener.Addr())
				}
			})
		}
		clients.Wait()
		k.elsewhere.Wait()
		eventually(t, "every connection ends", func() bool { return k.opened.Load() == k.closed.Load() })
		for range s.Conns() {
			t.Error("a connection is still found")
		}
		require.Eventually(t, func() bool { return s.Buffered() == 0 }, patience, time.Millisecond, "bytes are still counted: %d", s.Buffered())
		t.Logf("%d connections", k.opened.Load())
		k.causes.Range(func(what, n any) bool {
			t.Logf("%8d %s", n.(*atomic.Int64).Load(), what)
			return true
		})
	})
}

type soaker struct {
	t              *testing.T
	seed           uint64
	opened, closed atomic.Int64
	causes         sync.Map // what -> *atomic.Int64
	elsewhere      sync.WaitGroup
}

func (k *soaker) accept(c *reactor.Conn) (reactor.Handler, error) {
	k.opened.Add(1)
	h := &soaked{k: k, rnd: rand.New(rand.NewPCG(k.seed, c.ID()))}
	return &witnessed{witness: &witness{t: k.t, h: h, ends: make(chan error, 1)}}, nil
}

// soaked is the handler of one connection.
type soaked struct {
	reactor.Base
	k   *soaker
	rnd *rand.Rand
}

func (h *soaked) Data(c *reactor.Conn, in []byte) (int, error) {
	if h.rnd.IntN(4) == 0 {
		c.Need(h.rnd.IntN(2 * len(in)))
		return h.rnd.IntN(len(in) + 1), nil
	}
	_, err := c.Write(in)
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, reactor.ErrWriteClosed) && !errors.Is(err, reactor.ErrOverflow) && !isGone(err) {
		h.k.t.Errorf("Write: %v", err)
	}
	return len(in), h.act(c)
}

// act does something, now and then.
func (h *soaked) act(c *reactor.Conn) error {
	ref := c.Ref()
	switch h.rnd.IntN(60) {
	case 0:
		panic(errSoak)
	case 1:
		runtime.Goexit()
	case 2:
		return errSoak
	case 3:
		c.Abort()
	case 4:
		_ = c.Close()
	case 5:
		_ = c.CloseWrite()
	case 6, 7:
		c.Pause()
		h.later(func() { _ = ref.Do(func(c *reactor.Conn, _ error) { c.Resume() }) })
	case 8:
		c.Pause()
		c.Resume()
	case 9, 10:
		release := c.Hold()
		h.later(func() {
			_, _ = ref.Write(make([]byte, 10_000))
			release()
		})
	case 11:
		_, _ = c.Write(make([]byte, h.rnd.IntN(1<<20)))
	case 12:
		h.later(func() { _ = ref.Close() })
	}
	return nil
}

// later runs fn elsewhere, a little later.
func (h *soaked) later(fn func()) {
	after := time.Duration(h.rnd.IntN(20)) * time.Millisecond
	h.k.elsewhere.Go(func() {
		time.Sleep(after)
		fn()
	})
}

func (h *soaked) EOF(c *reactor.Conn, rest []byte) error {
	if h.rnd.IntN(4) > 0 {
		return h.Base.EOF(c, rest)
	}
	ref := c.Ref()
	h.later(func() { _ = ref.Close() })
	return nil
}

func (h *soaked) Close(_ *reactor.Conn, err error) {
	h.k.closed.Add(1)
	what := "nobody knows"
	var p *reactor.PanicError
	switch {
	case err == nil:
		what = "closed"
	case errors.As(err, &p) && (errors.Is(err, errSoak) || errors.Is(err, reactor.ErrGoexit)):
		what = "panic"
	default:
		for name, cause := range map[string]error{
			"EOF": io.EOF, "unexpected EOF": io.ErrUnexpectedEOF, "error": errSoak, "aborted": reactor.ErrAborted, "idle": reactor.ErrIdleTimeout,
			"write timeout": reactor.ErrWriteTimeout, "input limit": reactor.ErrInputLimit, "buffer limit": reactor.ErrBufferLimit,
			"reset": errGone[0], "broken pipe": errGone[1], "written after the end": net.ErrClosed,
		} {
			if errors.Is(err, cause) {
				what = name
			}
		}
	}
	if what == "nobody knows" {
		h.k.t.Errorf("Close got %v", err)
	}
	n, _ := h.k.causes.LoadOrStore(what, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	if h.rnd.IntN(50) == 0 {
		panic(errSoak)
	}
}

// client is the life of one client.
func (k *soaker) client(rnd *rand.Rand, a net.Addr) {
	conn, err := net.Dial(a.Network(), a.String())
	if err != nil {
		time.Sleep(time.Millisecond) // the backlog is full, or the reset was faster
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	for range rnd.IntN(30) {
		switch rnd.IntN(10) {
		case 0:
			time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond) // slow
		case 1, 2, 3:
			_ = conn.SetReadDeadline(time.Now().Add(time.Duration(rnd.IntN(10)) * time.Millisecond))
			if _, err := conn.Read(make([]byte, 1<<rnd.IntN(18))); err != nil && !os.IsTimeout(err) {
				return
			}
		default:
			_ = conn.SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(50)) * time.Millisecond))
			if _, err := conn.Write(make([]byte, 1+rnd.IntN(1<<rnd.IntN(19)))); err != nil && !os.IsTimeout(err) {
				return
			}
		}
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	switch rnd.IntN(4) {
	case 0:
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	case 1, 2:
		_ = conn.(halfCloser).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
			k.t.Error("a connection does not end")
		}
	}
}

// A server's worth of connections with a timeout of ten minutes hardly wakes its loop.
func TestIdleTimeoutsOfThousandsRarelyWake(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	conns := min(15_000, (int(limit.Cur)-500)/2)
	t.Logf("%d connections", conns)
	rarelyWakes(t, conns)
}
