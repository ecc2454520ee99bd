// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"cmp"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// tracing records on a server until the test ends.
func (s *server) tracing(o reactor.TraceOptions) *reactor.Trace {
	s.t.Helper()
	trace, err := s.Trace(o)
	require.NoError(s.t, err)
	s.t.Cleanup(trace.Stop)
	return trace
}

// awaitEvent reads events until one of the kind is there, and returns all that came.
func awaitEvent(t *testing.T, rd *reactor.TraceReader, kind reactor.TraceKind) (events []reactor.TraceEvent) {
	t.Helper()
	eventually(t, "an event: "+kind.String(), func() bool {
		more, lost := rd.Next()
		require.Zero(t, lost)
		events = append(events, more...)
		return slices.ContainsFunc(more, func(e reactor.TraceEvent) bool { return e.Kind == kind })
	})
	return events
}

// about returns the kinds of what concerns connections, in order.
func about(events []reactor.TraceEvent) (kinds []reactor.TraceKind) {
	for _, e := range events {
		if e.Conn != 0 {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

// The life of a connection, from accept to close, with what it moved.
func TestTraceTellsALife(t *testing.T) {
	forEachTransport(t, func(t *testing.T, tr transport) {
		lines := reactor.Frames(codec.Line(0), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
			_, err := c.Write(line)
			return err
		}))
		s := tr.serve(t, shared(lines), nil)
		trace := s.tracing(reactor.TraceOptions{})
		rd := trace.Reader()
		cl := s.dial()
		cl.send("hello\nwor")
		cl.expect("hello")
		require.NoError(t, cl.CloseWrite())
		cl.expectEOF()

		events := awaitEvent(t, rd, reactor.TraceClose)
		slices.SortStableFunc(events, func(a, b reactor.TraceEvent) int { return int(a.At - b.At) })
		var last int
		for _, kind := range []reactor.TraceKind{
			reactor.TraceAccept, reactor.TraceOpen, reactor.TraceRead, reactor.TraceFrame, reactor.TracePartial,
			reactor.TraceWrite, reactor.TraceEOF, reactor.TraceClose,
		} {
			i := slices.IndexFunc(events, func(e reactor.TraceEvent) bool { return e.Kind == kind })
			require.GreaterOrEqual(t, i, last, "%v in %v", kind, about(events))
			last = i
			e := events[i]
			require.NotZero(t, e.Conn)
			require.Less(t, e.Loop, tr.loops)
			if tr.network == "tcp" {
				require.Equal(t, cl.LocalAddr().String(), e.Tuple.Remote.String())
			}
			switch kind {
			case reactor.TraceRead:
				require.Equal(t, 9, e.N)
			case reactor.TraceFrame:
				require.Equal(t, []int{5, 6}, []int{e.N, e.Of})
			case reactor.TracePartial:
				require.Equal(t, 3, e.N)
			case reactor.TraceWrite:
				require.Equal(t, []int{5, 5}, []int{e.N, e.Of})
			case reactor.TraceClose:
				require.Equal(t, reactor.CloseTruncated, reactor.CloseReason(e.N))
			}
			require.NotEmpty(t, e.String())
		}
	})
}

// Pausing and blocked output are told, with the interest that follows from them.
func TestTraceTellsFlowControl(t *testing.T) {
	w := watch(t, &hooks{data: func(c *reactor.Conn, in []byte) (int, error) {
		_, err := c.Write(morePattern()[:1<<20]) // far more than narrow sockets hold
		return len(in), err
	}})
	s := transport{"tcp", 1}.serve(t, w.narrowed, nil)
	rd := s.tracing(reactor.TraceOptions{}).Reader()
	cl := s.dialNarrow()
	ref := receive(t, w.refs)
	do(t, ref, func(c *reactor.Conn) { c.Pause() })
	stopped := awaitEvent(t, rd, reactor.TraceStopped)
	require.Equal(t, reactor.StopPaused, reactor.StopReason(stopped[slices.Index(kinds(stopped), reactor.TraceStopped)].N))
	do(t, ref, func(c *reactor.Conn) { c.Resume() })
	awaitEvent(t, rd, reactor.TraceResumed)
	cl.send("go")
	events := awaitEvent(t, rd, reactor.TraceStopped)
	require.Equal(t, reactor.StopHighWater, reactor.StopReason(events[slices.Index(kinds(events), reactor.TraceStopped)].N))
	if at := slices.Index(kinds(events), reactor.TraceStopped); !slices.Contains(kinds(events[at:]), reactor.TraceInterest) {
		awaitEvent(t, rd, reactor.TraceInterest) // at the end of that step
	}
}

func kinds(events []reactor.TraceEvent) (list []reactor.TraceKind) {
	for _, e := range events {
		list = append(list, e.Kind)
	}
	return list
}

// A trace keeps what it is told to, the newest of it; what was overwritten is counted. Spans hold what they span.
func TestTraceIsBounded(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), nil)
	const kept = 64
	trace := s.tracing(reactor.TraceOptions{Events: kept})
	rd := trace.Reader()
	cl := s.dial()
	for range 100 {
		cl.send("x")
		cl.expect("x")
	}
	trace.Stop()
	events, lost := rd.Next()
	require.Len(t, events, kept)
	require.NotZero(t, lost)
	sequence := map[uint64]bool{}
	for i, e := range events {
		sequence[e.Seq] = true
		require.GreaterOrEqual(t, e.Seq, lost)
		require.Less(t, e.Seq, lost+kept)
		if i > 0 {
			require.GreaterOrEqual(t, e.At, events[i-1].At)
		}
	}
	require.Len(t, sequence, kept)
	again, missing := rd.Next()
	require.Empty(t, again)
	require.Zero(t, missing)

	all, _ := trace.Events()
	require.Equal(t, events, all, "another reader reads the same")
	cl.send("y")
	cl.expect("y")
	all, _ = trace.Events()
	require.Equal(t, events, all, "stopped is stopped")
}

// A filter by tuple keeps one connection's events, at the same time as another trace keeps all.
func TestTraceFilter(t *testing.T) {
	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 2}.serve(t, accept, nil)
	one, other := s.dial(), s.dial()
	receive(t, refs)
	receive(t, refs)
	var tuple reactor.FourTuple
	for ref := range s.Conns() {
		if ref.Tuple().Remote.String() == one.LocalAddr().String() {
			tuple = ref.Tuple()
		}
	}
	filtered := s.tracing(reactor.TraceOptions{Filter: reactor.FilterTuple(tuple)}).Reader()
	all := s.tracing(reactor.TraceOptions{}).Reader()
	for _, cl := range []client{other, one} {
		cl.send("hello")
		cl.expect("hello")
	}
	for _, e := range awaitEvent(t, filtered, reactor.TraceWrite) {
		require.Equal(t, tuple, e.Tuple)
	}
	tuples := map[reactor.FourTuple]bool{}
	for _, e := range awaitEvent(t, all, reactor.TraceWrite) {
		tuples[e.Tuple] = true
	}
	require.Len(t, tuples, 3, "two connections, and none for the loop's own")
}

// A reader that follows a busy loop from another goroutine misses nothing that is kept, in order.
func TestTraceReaderFollows(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), nil)
	trace := s.tracing(reactor.TraceOptions{Events: 1 << 16})
	done := make(chan struct{})
	cl := s.dial()
	go func() {
		defer close(done)
		for range 2000 {
			cl.send("x")
			cl.expect("x")
		}
		trace.Stop()
	}()
	var sequence []uint64
	rd := trace.Reader()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		events, lost := rd.Next()
		require.Zero(t, lost)
		for _, e := range events {
			sequence = append(sequence, e.Seq)
		}
		if len(events) == 0 {
			time.Sleep(100 * time.Microsecond) // on a single processor the loop had none
		}
	}
	slices.Sort(sequence)
	require.Greater(t, len(sequence), 2*2000)
	for i, seq := range sequence {
		require.EqualValues(t, i, seq)
	}
}

// A loop that is stuck is still read.
func TestTraceOfAStuckLoop(t *testing.T) {
	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 1}.serve(t, accept, nil)
	trace := s.tracing(reactor.TraceOptions{})
	cl := s.dial()
	ref := receive(t, refs)
	cl.send("hello")
	cl.expect("hello")
	block(t, ref)
	events, _ := trace.Events()
	require.Contains(t, kinds(events), reactor.TraceWrite)
}

// Traces are bounded in number and size, and end with the reactor.
func TestTraceLimits(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), nil)
	_, err := s.Trace(reactor.TraceOptions{Events: -1})
	require.EqualError(t, err, "reactor: Events is -1, must be 0 to 16777216")
	_, err = s.Trace(reactor.TraceOptions{Burst: 1<<24 + 1})
	require.EqualError(t, err, "reactor: Burst is 16777217, must be 0 to 16777216")
	var traces []*reactor.Trace
	for range 8 {
		traces = append(traces, s.tracing(reactor.TraceOptions{Events: 1}))
	}
	_, err = s.Trace(reactor.TraceOptions{})
	require.EqualError(t, err, "reactor: 8 traces record already")
	for _, trace := range traces {
		trace.Stop()
		trace.Stop()
	}
	_ = s.tracing(reactor.TraceOptions{})
	require.NoError(t, s.Close())
	_, err = s.Trace(reactor.TraceOptions{})
	require.ErrorIs(t, err, net.ErrClosed)
}

// A trace can begin before Serve, and on a loop.
func TestTraceFromAnywhere(t *testing.T) {
	r, err := reactor.New(reactor.Options{Loops: 1})
	require.NoError(t, err)
	trace, err := r.Trace(reactor.TraceOptions{})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	events, _ := trace.Events()
	require.Contains(t, kinds(events), reactor.TraceTurn)

	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 2}.serve(t, accept, nil)
	cl := s.dial()
	do(t, receive(t, refs), func(*reactor.Conn) {
		if trace, err = s.Trace(reactor.TraceOptions{}); err != nil {
			t.Error(err)
		}
	})
	rd := trace.Reader()
	cl.send("hello")
	awaitEvent(t, rd, reactor.TraceRead)
	trace.Stop()
}

// A loop records a burst of events, then only what lasts until it is allowed more, and tells what it left out.
func TestTraceBurst(t *testing.T) {
	const burst = 10
	accept, refs := accepted(reactor.DataFunc(echo))
	s := transport{"tcp", 1}.serve(t, accept, nil)
	cl := s.dial()
	ref := receive(t, refs)
	all, bounded := s.tracing(reactor.TraceOptions{}), s.tracing(reactor.TraceOptions{Burst: burst})
	rd := bounded.Reader()
	for range 20 {
		cl.send("hello")
		cl.expect("hello")
	}
	events, lost := rd.Next()
	require.Len(t, events, burst)
	require.Zero(t, lost)
	last := slices.MaxFunc(events, func(a, b reactor.TraceEvent) int { return cmp.Compare(a.Seq, b.Seq) })
	whole, _ := all.Events()
	require.Greater(t, len(whole), 60, "another trace goes on")
	for range burst {
		do(t, ref, func(c *reactor.Conn) { c.Pause(); c.Resume() })
	}
	events, lost = rd.Next()
	require.Equal(t, slices.Repeat([]reactor.TraceKind{reactor.TraceStopped, reactor.TraceResumed}, burst/2), kinds(events))
	require.Zero(t, lost)

	bounded.Refill()
	bounded.Refill() // again is the same
	events = awaitEvent(t, rd, reactor.TraceGap)
	gap := events[slices.Index(kinds(events), reactor.TraceGap)]
	require.GreaterOrEqual(t, gap.At, last.At+last.Duration)
	require.Equal(t, last.Seq+burst+1, gap.Seq)
	require.NotZero(t, gap.Duration)
	cl.send("world")
	cl.expect("world")
	awaitEvent(t, rd, reactor.TraceRead)

	for range 20 { // use it up
		cl.send("hello")
		cl.expect("hello")
	}
	bounded.Stop()
	bounded.Refill() // nothing any more
	before, _ := bounded.Events()
	cl.send("hello")
	cl.expect("hello")
	after, _ := bounded.Events()
	require.Equal(t, before, after)
}
