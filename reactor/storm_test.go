// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
	"github.com/stretchr/testify/require"
)

// A storm is one server with everything at once: hundreds of connections, each a trip of some kind, chosen by a seed.
// Each kind knows what its client may see and which cause its Close may get; storm_kinds_test.go has them.
type storm struct {
	*server
	t     testing.TB
	tr    transport
	seed  uint64
	bits  int // streams are shorter than 1<<bits
	pool  *offload.Pool
	group *reactor.Group

	plain, tight, mirror, refusing *reactor.Listener

	trips          sync.Map // number -> *trip, of those that the server may have to do with yet
	members        sync.Map // ID -> *trip, of the group
	opened, closed atomic.Int64
	dials, told    atomic.Int64 // how many connect funcs were given, and called
	counts         sync.Map     // what happened -> *atomic.Int64
	events         atomic.Int64 // all of them together
	elsewhere      sync.WaitGroup
	stopping       atomic.Bool   // the server is being shut down: connections end before their time
	stopped        chan struct{} // closed when it has been
}

// stormSeed is QUARTET_SEED, which repeats what a run chose, though not how the kernel and the scheduler took it.
func stormSeed(t testing.TB) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("QUARTET_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("QUARTET_SEED=%d", seed)
	return seed
}

// errStorm is what handlers of the storm fail with.
var errStorm = errors.New("an error of the handler")

// A storm of thousands of events over each transport. soak_test.go has the large one.
func TestStorm(t *testing.T) {
	seed := stormSeed(t)
	forEachTransport(t, func(t *testing.T, tr transport) {
		st := newStorm(t, tr, seed, 17)
		st.rage(64, 3000)
		st.calm()
	})
}

// The same, and a Shutdown in the middle of it that loses its patience: each connection has had its Close when it
// returns.
func TestStormShutdown(t *testing.T) {
	seed := stormSeed(t)
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, patience := range []time.Duration{0, 50 * time.Millisecond} {
			newStorm(t, tr, seed, 17).sink(64, 500, patience)
		}
	})
}

// newStorm starts the server of a storm.
func newStorm(t testing.TB, tr transport, seed uint64, bits int) *storm {
	st := &storm{t: t, tr: tr, seed: seed, bits: bits, stopped: make(chan struct{})}
	logger := slog.New(slog.DiscardHandler)
	var err error
	st.pool, err = offload.New(offload.Options{Workers: 8, Queue: 4, Parallel: 2, Logger: logger})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := st.pool.Close(ctx); err != nil {
			t.Errorf("Close of the pool: %v", err)
		}
	})
	st.server = start(t, reactor.Options{Loops: tr.loops, Logger: logger})
	st.group = st.NewGroup()
	guests := func(c *reactor.Conn) (reactor.Handler, error) { return st.attend(&guest{storm: st}), nil }
	st.plain = st.listen(tr.network, tr.address(t), guests, nil)
	st.tight = st.listen(tr.network, tr.address(t), guests, &reactor.StreamOptions{
		HighWater: 8 << 10, LowWater: 1 << 10, MaxOutput: 64 << 10, MaxInput: 16 << 10, SendBuffer: 4 << 10,
	})
	st.mirror = st.listen(tr.network, tr.address(t), func(*reactor.Conn) (reactor.Handler, error) {
		return st.attend(&hooks{data: echo, close: func(_ *reactor.Conn, err error) { st.gone(err) }}), nil
	}, nil)
	st.refusing = st.listen(tr.network, tr.address(t), st.refuse, nil)
	return st
}

// count notes an event.
func (st *storm) count(what string) {
	st.events.Add(1)
	n, ok := st.counts.Load(what)
	if !ok {
		n, _ = st.counts.LoadOrStore(what, new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
}

// rage has n clients at a time make trips until there have been so many events.
func (st *storm) rage(n int, events int64) {
	stop := make(chan struct{})
	var broadcaster, clients sync.WaitGroup
	broadcaster.Go(func() { st.broadcast(stop) })
	var trips atomic.Uint64
	for range n {
		clients.Go(func() {
			for st.events.Load() < events && !st.t.Failed() && !st.stopping.Load() {
				st.travel(trips.Add(1))
			}
		})
	}
	clients.Wait()
	close(stop)
	broadcaster.Wait()
	st.elsewhere.Wait()
}

// calm sees to it that a storm has left nothing, and tells what it was.
func (st *storm) calm() {
	st.t.Helper()
	eventually(st.t, "every connection has ended", func() bool { return st.opened.Load() == st.closed.Load() })
	for ref := range st.Conns() {
		st.t.Errorf("connection %d is still found", ref.ID())
	}
	require.Equal(st.t, st.dials.Load(), st.told.Load(), "connect funcs called")
	eventually(st.t, "no dial is in progress", func() bool { return st.Connecting() == 0 })
	eventually(st.t, "nothing is buffered", func() bool { return st.Buffered() == 0 })
	eventually(st.t, "no connection lingers, no deadline, timer or task is left", func() bool { return reactor.Leftovers(st.Reactor) == 0 })
	require.Zero(st.t, st.group.Len(), "members are left")
	st.report()
	require.NoError(st.t, st.Close())
	st.requireNoBuffers()
}

func (st *storm) requireNoBuffers() {
	st.t.Helper()
	require.Zero(st.t, st.Buffered(), "bytes are still counted")
	eventually(st.t, "every pooled buffer was given back", func() bool { return reactor.BuffersTaken() == 0 })
}

// sink is a storm in whose midst the server shuts down.
func (st *storm) sink(n int, events int64, patience time.Duration) {
	st.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		st.rage(n, math.MaxInt64)
	}()
	eventually(st.t, "the storm rages", func() bool { return st.events.Load() >= events })
	st.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := st.Shutdown(ctx)
	close(st.stopped)
	if _, aborted := err.(*reactor.AbortedError); err != nil && !aborted {
		st.t.Errorf("Shutdown: %v", err)
	}
	if opened, closed := st.opened.Load(), st.closed.Load(); opened != closed {
		st.t.Errorf("of %d connections %d had their Close when Shutdown returned", opened, closed)
	}
	told := st.told.Load()
	receive(st.t, done)
	require.Equal(st.t, st.dials.Load(), told, "connect funcs called when Shutdown returned")
	require.NoError(st.t, st.Close())
	st.requireNoBuffers()
	st.report()
}

// report prints the counts.
func (st *storm) report() {
	var lines []string
	st.counts.Range(func(what, n any) bool {
		lines = append(lines, fmt.Sprintf("%s %d", what, n.(*atomic.Int64).Load()))
		return true
	})
	slices.Sort(lines)
	st.t.Logf("%d events of %d connections: %s", st.events.Load(), st.opened.Load(), strings.Join(lines, ", "))
}

// attend has a witness watch a handler, of a connection that begins.
func (st *storm) attend(h reactor.Handler) reactor.Handler {
	st.opened.Add(1)
	st.count("open")
	return &witnessed{witness: &witness{t: st.t, h: h, ends: make(chan error, 1)}}
}

// gone is what the Close of each handler calls.
func (st *storm) gone(err error) {
	st.closed.Add(1)
	st.count("close: " + causeName(err))
}

// causeName says what kind of cause it is.
func causeName(err error) string {
	for _, cause := range []error{
		errStorm, reactor.ErrGoexit, reactor.ErrAborted, reactor.ErrIdleTimeout, reactor.ErrReadTimeout, reactor.ErrWriteTimeout,
		reactor.ErrInputLimit, reactor.ErrHijacked, reactor.ErrShutdown, io.EOF, io.ErrUnexpectedEOF, errGone[0], errGone[1],
	} {
		if errors.Is(err, cause) {
			return cause.Error()
		}
	}
	return fmt.Sprint(err)
}

// later runs fn on another goroutine, after a moment.
func (st *storm) later(after time.Duration, fn func()) {
	st.elsewhere.Go(func() {
		time.Sleep(after)
		fn()
	})
}

// A guest is the handler of a connection that has not told yet which trip it is.
type guest struct {
	reactor.Base
	storm *storm
}

func (g *guest) Data(c *reactor.Conn, in []byte) (int, error) {
	if len(in) < 8 {
		c.Need(8)
		return 0, nil
	}
	number := binary.BigEndian.Uint64(in)
	tp, ok := g.storm.trips.Load(number)
	if !ok {
		if !g.storm.stopping.Load() {
			g.storm.t.Errorf("there is no trip %d", number)
		}
		return 0, errStorm
	}
	c.SetHandler(tp.(*trip).handler(c))
	return 8, nil
}

// Close is called only for clients that go before they have said anything.
func (g *guest) Close(_ *reactor.Conn, err error) {
	g.storm.gone(err)
	if early := err == io.EOF || isGone(err) || errors.Is(err, io.ErrUnexpectedEOF); !early && !g.storm.stopping.Load() {
		g.storm.t.Errorf("Close of a connection without a trip got %v", err)
	}
}

// A trip is one connection: what its client and its handler do with each other.
type trip struct {
	*storm
	number uint64
	kind   *kind
	rnd    *rand.Rand // the client's
	dice   *rand.Rand // the handler's, on its loop only
	stream []byte     // what is to be sent or echoed
	cut    int        // where in it something happens
	way    int        // which variant of the kind it is
	ref    chan reactor.Ref
	ends   chan error   // what Close got
	wrote  atomic.Int64 // bytes that the connection took for the client
	missed atomic.Int64 // messages of the group
}

// travel makes one trip, from its beginning to its Close.
func (st *storm) travel(number uint64) {
	rnd := rand.New(rand.NewPCG(st.seed, number))
	size := 1 + rnd.IntN(1<<rnd.IntN(st.bits))
	from := rnd.IntN(len(morePattern()) - size)
	tp := &trip{
		storm: st, number: number, rnd: rnd, dice: rand.New(rand.NewPCG(st.seed, ^number)),
		kind: tripKinds[rnd.IntN(len(tripKinds))], stream: morePattern()[from : from+size], cut: rnd.IntN(size + 1), way: rnd.IntN(1 << 16),
		ref: make(chan reactor.Ref, 1), ends: make(chan error, 2),
	}
	st.trips.Store(number, tp)
	if !tp.kind.mayGo {
		defer st.trips.Delete(number)
	}
	if tp.kind.alone != nil {
		tp.kind.alone(tp)
		return
	}
	cl, ok := tp.dial(tp.listener().Addr())
	if !ok {
		return
	}
	cl.write(binary.BigEndian.AppendUint64(nil, number))
	tp.kind.client(tp, cl)
	_ = cl.Close()
	if tp.kind.mayGo {
		return // perhaps before it was heard of
	}
	if err, ended := tp.await(tp.ends); ended && !tp.kind.cause(tp, err) && !st.stopping.Load() {
		tp.errorf("Close got %v", err)
	}
}

// await takes what must come, unless the server shuts down.
func (tp *trip) await(ends <-chan error) (err error, ended bool) {
	select {
	case err := <-ends:
		return err, true
	case <-tp.stopped:
	case <-time.After(patience):
		tp.errorf("no end within %v", patience)
	}
	return nil, false
}

func (tp *trip) listener() *reactor.Listener {
	if tp.kind.tight {
		return tp.tight
	}
	return tp.plain
}

// errorf fails the test, naming the trip.
func (tp *trip) errorf(format string, args ...any) {
	tp.t.Helper()
	tp.t.Errorf("QUARTET_SEED=%d, trip %d, %s (way %d, cut %d of %d bytes): %s",
		tp.seed, tp.number, tp.kind.name, tp.way, tp.cut, len(tp.stream), fmt.Sprintf(format, args...))
}

// handler is what the connection gets when it has said which trip it is.
func (tp *trip) handler(c *reactor.Conn) reactor.Handler {
	tp.ref <- c.Ref()
	h := tp.kind.handler(tp, c)
	if own, ok := h.(*hooks); ok {
		tp.instrument(own)
	}
	return &witnessed{witness: &witness{t: tp.t, h: h, ends: make(chan error, 1)}}
}

// instrument counts what happens, and passes on what Close gets.
func (tp *trip) instrument(h *hooks) {
	inner := *h
	h.data = func(c *reactor.Conn, in []byte) (int, error) {
		tp.count("Data")
		return inner.Data(c, in)
	}
	h.eof = func(c *reactor.Conn, rest []byte) error {
		tp.count("EOF")
		return inner.EOF(c, rest)
	}
	h.writable = func(c *reactor.Conn) {
		tp.count("Writable")
		inner.Writable(c)
	}
	h.close = func(c *reactor.Conn, err error) {
		tp.over(err)
		inner.Close(c, err)
	}
}

// over is what Close calls.
func (tp *trip) over(err error) {
	tp.gone(err)
	tp.ends <- err
}

// A traveller is the client of a trip.
type traveller struct {
	halfCloser
	*trip
}

// dial connects to an address of the storm's.
func (tp *trip) dial(a net.Addr) (traveller, bool) {
	conn, err := dialPlain(a)
	if err != nil {
		if !tp.stopping.Load() {
			tp.errorf("%v", err)
		}
		return traveller{}, false
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return traveller{conn, tp}, true
}

// write sends p in chunks of all sizes, now and then after a pause. It stops at an error, which reading tells.
func (cl traveller) write(p []byte) error {
	rnd := rand.New(rand.NewPCG(cl.seed, cl.number+1<<40))
	for len(p) > 0 {
		n := min(len(p), 1+rnd.IntN(1<<rnd.IntN(15)))
		if _, err := cl.Write(p[:n]); err != nil {
			return err
		}
		if p = p[n:]; rnd.IntN(16) == 0 {
			time.Sleep(time.Duration(rnd.IntN(3)) * time.Millisecond)
		}
	}
	return nil
}

// read reads to the end what has to be the first bytes of want, slowly if it is told to. It returns how many came, and
// the error if the end was not clean.
func (cl traveller) read(want []byte) (n int, err error) {
	chunk := make([]byte, 1+len(want)/256+cl.rnd.IntN(1<<cl.rnd.IntN(18)))
	slow := cl.rnd.IntN(4) == 0
	for pauses := 0; ; {
		m, err := cl.Read(chunk)
		if got := chunk[:m]; n+m > len(want) || string(got) != string(want[n:n+m]) {
			cl.errorf("after %d bytes come %d that were not sent", n, m)
			return n, nil
		}
		n += m
		switch {
		case err == io.EOF:
			return n, nil
		case os.IsTimeout(err):
			cl.errorf("no end within %v, after %d bytes", patience, n)
			return n, err
		case err != nil:
			return n, err
		case slow && pauses < 20:
			pauses++
			time.Sleep(time.Millisecond)
		}
	}
}

// expect reads to a clean end exactly want.
func (cl traveller) expect(want []byte) {
	n, err := cl.read(want)
	if (err != nil || n < len(want)) && !cl.stopping.Load() {
		cl.errorf("%d of %d bytes came: %v", n, len(want), err)
	}
}

// alongside runs fn while the caller goes on, and is to be called to wait for it.
func alongside(fn func()) (wait func()) {
	var one sync.WaitGroup
	one.Go(fn)
	return one.Wait
}
